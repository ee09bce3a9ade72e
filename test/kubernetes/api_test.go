//go:build kubernetes

package kubernetes_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"sync"
	"testing"
	"time"
)

// api is the API server, spoken to in plain HTTP and JSON: what is asked here does not want a client library.
type api struct {
	url, token string
	client     *http.Client
}

func trusting(t *testing.T, authority *x509.Certificate) *http.Client {
	t.Helper()
	pool := x509.NewCertPool()
	pool.AddCert(authority)
	tr := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}, ForceAttemptHTTP2: true}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr}
}

// do sends a request and returns the answer whole, whatever its code.
func (a *api) do(t *testing.T, method, path string, body any) (int, []byte, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	resp, err := a.send(ctx, method, path, body)
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	said, err := io.ReadAll(resp.Body)
	return resp.StatusCode, said, err
}

func (a *api) send(ctx context.Context, method, path string, body any) (*http.Response, error) {
	var content io.Reader
	if body != nil {
		raw, err := json.Marshal(body)
		if err != nil {
			return nil, err
		}
		content = bytes.NewReader(raw)
	}
	req, err := http.NewRequestWithContext(ctx, method, a.url+path, content)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Authorization", "Bearer "+a.token)
	req.Header.Set("Content-Type", "application/json")
	return a.client.Do(req)
}

// create makes an object, which must not exist.
func (a *api) create(t *testing.T, path string, body any) {
	t.Helper()
	code, said, err := a.do(t, http.MethodPost, path, body)
	if err != nil || code != http.StatusCreated {
		t.Fatalf("create at %s: %v, %d: %.500s", path, err, code, said)
	}
}

func (a *api) remove(t *testing.T, path string) {
	t.Helper()
	code, said, err := a.do(t, http.MethodDelete, path, nil)
	if err != nil || code/100 != 2 {
		t.Fatalf("delete %s: %v, %d: %.500s", path, err, code, said)
	}
}

// get returns an object, or a list of them.
func get[T any](t *testing.T, a *api, path string) T {
	t.Helper()
	var v T
	code, said, err := a.do(t, http.MethodGet, path, nil)
	if err == nil && code != http.StatusOK {
		err = fmt.Errorf("%d: %.500s", code, said)
	}
	if err := errors.Join(err, json.Unmarshal(said, &v)); err != nil {
		t.Fatalf("get %s: %v", path, err)
	}
	return v
}

// list is what the server answers to a question for many.
type list[T any] struct {
	Metadata struct{ ResourceVersion string }
	Items    []T
}

// known is an object that can be told apart from others, and from itself at another time.
type known interface{ id() (uid, version string) }

// each lists a collection and then watches it: f is called for every object, and again at every change of one, in order.
// The returned func ends that, as soon as f has seen all there is.
func each[T known](t *testing.T, a *api, path, selector string, f func(gone bool, object T)) (stop func()) {
	t.Helper()
	var mu sync.Mutex // guards seen
	seen := map[string]string{}
	show := func(gone bool, object T) {
		mu.Lock()
		defer mu.Unlock()
		uid, version := object.id()
		seen[uid] = version
		if gone {
			delete(seen, uid)
		}
		f(gone, object)
	}
	path += "?labelSelector=" + url.QueryEscape(selector)
	first := get[list[T]](t, a, path)
	for _, object := range first.Items {
		show(false, object)
	}
	ctx, cancel := context.WithCancel(t.Context())
	resp, err := a.send(ctx, http.MethodGet, path+"&watch=true&resourceVersion="+first.Metadata.ResourceVersion, nil)
	if err != nil || resp.StatusCode != http.StatusOK {
		cancel()
		t.Fatalf("watch %s: %v, %v", path, err, resp)
	}
	done := make(chan error, 1)
	go func() {
		defer resp.Body.Close()
		done <- follow(resp.Body, show)
	}()
	return func() {
		t.Helper()
		defer cancel()
		eventually(t, "the watch has seen everything", func() error {
			now := map[string]string{}
			for _, object := range get[list[T]](t, a, path).Items {
				uid, version := object.id()
				now[uid] = version
			}
			mu.Lock()
			defer mu.Unlock()
			if !maps.Equal(seen, now) {
				return fmt.Errorf("it saw %v, there is %v", seen, now)
			}
			return nil
		})
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("watch %s: %v", path, err)
		}
	}
}

// follow reads a watch until it ends.
func follow[T any](events io.Reader, f func(gone bool, object T)) error {
	d := json.NewDecoder(events)
	for {
		var event struct {
			Type   string
			Object T
		}
		if err := d.Decode(&event); err != nil {
			return err
		}
		if event.Type == "ERROR" {
			return errors.New("the server ended it")
		}
		f(event.Type == "DELETED", event.Object)
	}
}

// patience is how long anything may take, on a machine that is busy with other things.
const patience = 3 * time.Minute

// eventually waits until f has nothing to complain about.
func eventually(t *testing.T, what string, f func() error) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for {
		err := f()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: not after %s: %v", what, patience, err)
		}
		select {
		case <-t.Context().Done():
			t.Fatalf("%s: %v", what, err)
		case <-time.After(100 * time.Millisecond):
		}
	}
}
