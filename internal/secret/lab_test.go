package secret

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fsnotify/fsnotify"
)

// bound is how long a change may take in these tests. The promise is 10 s.
const bound = 10 * time.Second

// lab is a Store that runs over files of a test.
type lab struct {
	*testing.T
	s   *Store
	dir string

	mu     sync.Mutex // guards what follows
	log    bytes.Buffer
	offers [][]string
	refuse map[string]error
}

func (l *lab) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.log.Write(p)
}

// logged returns how many log lines say msg.
func (l *lab) logged(msg string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.log.String(), "msg=\""+msg)
}

const (
	saysStale = "secret file is stale"
	saysGood  = "secret file is good again"
	saysNew   = "secret file changed"
)

// byEvents and byPolling are the two ways to see a change; each has to do without the other.
func byEvents(s *Store)  { s.poll = time.Hour }
func byPolling(s *Store) { s.poll, s.newWatcher = 20*time.Millisecond, noWatcher }

func noWatcher() (*fsnotify.Watcher, error) { return nil, errors.New("too many open files") }

func newLab(t *testing.T, way func(*Store)) *lab {
	// Resolved, since a temporary directory may be a link, and shorter than the usual wait.
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	l := &lab{T: t, dir: dir}
	l.s = New(slog.New(slog.NewTextHandler(l, nil)))
	l.s.settle = 20 * time.Millisecond
	way(l.s)
	l.s.OnChange(func(o Offer) map[string]error {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.offers = append(l.offers, o.Changed())
		refused := map[string]error{}
		for _, p := range o.Changed() {
			if c, err := o.Get(p); err != nil || len(c) == 0 {
				l.Errorf("offer of %s without content: %v", p, err)
			}
			if why := l.refuse[filepath.Base(p)]; why != nil {
				refused[p] = why
			}
		}
		return refused
	})
	return l
}

// run starts the Store; it is stopped and waited for when the test ends.
func (l *lab) run() {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- l.s.Run(ctx) }()
	l.Cleanup(func() {
		cancel()
		select {
		case err := <-done:
			if err != nil {
				l.Errorf("Run: %v", err)
			}
		case <-time.After(bound):
			l.Error("Run does not end with its context")
		}
		l.mu.Lock()
		defer l.mu.Unlock()
		if strings.Contains(l.log.String(), "token-") {
			l.Errorf("the log quotes content:\n%s", l.log.String())
		}
	})
}

func (l *lab) path(name string) string { return filepath.Join(l.dir, name) }

func (l *lab) write(name, content string) string {
	l.Helper()
	l.must(os.MkdirAll(filepath.Dir(l.path(name)), 0o700))
	l.must(os.WriteFile(l.path(name), []byte(content), 0o600))
	return l.path(name)
}

func (l *lab) must(err error) {
	l.Helper()
	if err != nil {
		l.Fatal(err)
	}
}

// holds waits until path has the content want in force.
func (l *lab) holds(path, want string) {
	l.Helper()
	l.until("content "+want, func() bool {
		c, err := l.s.Get(path)
		l.must(err)
		return string(c) == want
	})
}

// stale waits until exactly one file is stale, with a reason that contains want; "" means none is.
func (l *lab) stale(want string) {
	l.Helper()
	l.until("stale: "+want, func() bool {
		st := l.s.Stale()
		if want == "" {
			return len(st) == 0
		}
		return len(st) == 1 && strings.Contains(st[0].Reason, want) && !st[0].Since.IsZero()
	})
}

func (l *lab) until(what string, ok func() bool) {
	l.Helper()
	end := time.Now().Add(bound)
	for !ok() {
		if time.Now().After(end) {
			l.mu.Lock()
			defer l.mu.Unlock()
			l.Fatalf("no %q within %s; stale %+v; log:\n%s", what, bound, l.s.Stale(), l.log.String())
		}
		<-time.After(2 * time.Millisecond)
	}
}

// eachWay runs a test once with events alone and once with polling alone.
func eachWay(t *testing.T, test func(l *lab)) {
	for name, way := range map[string]func(*Store){"events": byEvents, "polling": byPolling} {
		t.Run(name, func(t *testing.T) { test(newLab(t, way)) })
	}
}
