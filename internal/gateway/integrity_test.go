package gateway

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/golang/snappy"
	lokipush "github.com/grafana/loki/pkg/push"
)

// picky is an upstream that checks that a push holds one word alone, and often answers before it has read the body.
func picky(t *testing.T, taken *atomic.Int64) *httptest.Server {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if rand.IntN(3) == 0 {
			_, _ = io.CopyN(io.Discard, r.Body, rand.Int64N(100_000))
			http.Error(w, "not now", http.StatusServiceUnavailable)
			return
		}
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return // the gateway's sender has gone away
		}
		raw, err := snappy.Decode(nil, body)
		if err != nil {
			t.Errorf("upstream got what is no snappy: %v", err)
			return
		}
		var req lokipush.PushRequest
		if err := req.Unmarshal(raw); err != nil {
			t.Errorf("upstream got what is no push: %v", err)
			return
		}
		line := req.Streams[0].Entries[0].Line
		word := line[:8]
		if strings.Count(line, word)*len(word) != len(line) || req.Streams[0].Labels != `{word="`+word+`"}` {
			t.Errorf("upstream got a push of %s in which something else is, too", word)
		}
		taken.Add(1)
		w.WriteHeader(http.StatusNoContent)
	}))
	t.Cleanup(s.Close)
	return s
}

// Buffers are lent from push to push. None may be lent on while a transport still reads it: upstreams that answer early
// and senders that leave early are where that goes wrong.
func TestNoPushHoldsAnother(t *testing.T) {
	var taken atomic.Int64
	upstream := picky(t, &taken)
	g := start(t, strings.ReplaceAll(defaultServer+defaultEnvironment, "$CLOUD", upstream.URL))
	// Long enough for the races that are looked for, and on a slow machine until enough came through to mean something.
	end, limit := time.Now().Add(2*time.Second), time.Now().Add(time.Minute)
	const enough = 50
	var senders sync.WaitGroup
	for sender := range 8 {
		senders.Go(func() {
			dice := rand.New(rand.NewPCG(3, uint64(sender)))
			for i := 0; time.Now().Before(end) || taken.Load() < enough && time.Now().Before(limit); i++ {
				word := fmt.Sprintf("%d-%06d", sender, i)
				// JSON is encoded anew, and protobuf forwarded as it came.
				n := 1 + dice.IntN(40_000)
				body := `{"streams":[{"stream":{"word":"` + word + `"},"values":[["1","` + strings.Repeat(word, n) + `"]]}]}`
				h := header("Content-Type", "application/json")
				if dice.IntN(2) == 0 {
					req := lokipush.PushRequest{Streams: []lokipush.Stream{{
						Labels: `{word="` + word + `"}`, Entries: []lokipush.Entry{{Timestamp: time.Now(), Line: strings.Repeat(word, n)}},
					}}}
					body = string(snappy.Encode(nil, must(req.Marshal())))
					h.Set("Content-Type", "application/x-protobuf")
				}
				ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
				if dice.IntN(4) == 0 {
					ctx, cancel = context.WithTimeout(context.Background(), time.Duration(dice.IntN(5))*time.Millisecond)
				}
				req := must(http.NewRequestWithContext(ctx, http.MethodPost, "http://"+g.addr.HTTP[0]+"/loki/api/v1/push", strings.NewReader(body)))
				req.Header = h
				if res, err := http.DefaultClient.Do(req); err == nil {
					res.Body.Close()
				}
				cancel()
			}
		})
	}
	senders.Wait()
	eventually(t, "all pushes to end", func() bool { return g.inflight.Used() == 0 })
	if taken.Load() < enough {
		t.Errorf("only %d pushes were taken", taken.Load())
	}
}

// Secrets that change while the configuration is replaced are neither lost nor forgotten: a token that never ceased to
// be valid is never refused, and the last one that came is known.
func TestRotationDuringReloads(t *testing.T) {
	g := start(t, defaultServer+defaultEnvironment)
	var stop atomic.Bool
	var others sync.WaitGroup
	others.Go(func() {
		for !stop.Load() {
			if got := g.pushAs(clientToken); got != 200 {
				t.Errorf("a token that is valid all the time: %d", got)
				return
			}
		}
	})
	others.Go(func() {
		for i := 0; !stop.Load(); i++ {
			g.configure(strings.ReplaceAll(defaultServer+defaultEnvironment, "2s", fmt.Sprintf("%dms", 2000+i)))
			if err := g.Reload("test"); err != nil {
				t.Errorf("reload: %v", err)
			}
		}
	})
	for i := range 6 {
		newest := fmt.Sprintf("token-number-%d-of-many", i)
		g.file("secrets/app", clientToken+"\n"+newest+"\n")
		g.becomes("the newest token", newest, 200)
	}
	stop.Store(true)
	others.Wait()
}
