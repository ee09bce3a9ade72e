package integration

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/golang/snappy"
	"github.com/grafana/loki/pkg/push"
	"go.opentelemetry.io/collector/pdata/plog"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
)

// idReceiver takes Loki pushes and OTLP logs whose lines are ids, and counts how often it took each.
type idReceiver struct {
	t     testing.TB
	delay time.Duration // how long an answer takes after the ids were taken

	mu     sync.Mutex // guards what follows
	taken  map[string]int
	stamps map[string]int // values of the stream label or resource attribute gen
}

func newIDReceiver(t testing.TB, delay time.Duration) *idReceiver {
	return &idReceiver{t: t, delay: delay, taken: map[string]int{}, stamps: map[string]int{}}
}

func (rc *idReceiver) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // a sender that went away: nothing was taken, nothing is answered
	}
	var ids []string
	var stamp string
	status := http.StatusNoContent
	if strings.HasPrefix(r.URL.Path, "/loki/") {
		ids, stamp, err = decodeLokiIDs(body)
	} else {
		ids, stamp, err = decodeOTLPIDs(body)
		status = http.StatusOK
		w.Header().Set("Content-Type", "application/x-protobuf")
	}
	if err != nil {
		rc.t.Errorf("upstream saw a body that does not decode: %v", err)
	}
	rc.mu.Lock()
	for _, id := range ids {
		rc.taken[id]++
	}
	rc.stamps[stamp]++
	rc.mu.Unlock()
	time.Sleep(rc.delay)
	w.WriteHeader(status)
}

func decodeLokiIDs(body []byte) (ids []string, stamp string, err error) {
	var req push.PushRequest
	if body, err = snappy.Decode(nil, body); err != nil {
		return nil, "", err
	}
	if err := req.Unmarshal(body); err != nil {
		return nil, "", err
	}
	for _, s := range req.Streams {
		if _, after, ok := strings.Cut(s.Labels, `gen="`); ok {
			stamp, _, _ = strings.Cut(after, `"`)
		}
		for _, e := range s.Entries {
			ids = append(ids, e.Line)
		}
	}
	return ids, stamp, nil
}

func decodeOTLPIDs(body []byte) (ids []string, stamp string, err error) {
	ld, err := (&plog.ProtoUnmarshaler{}).UnmarshalLogs(body)
	if err != nil {
		return nil, "", err
	}
	for _, rl := range ld.ResourceLogs().All() {
		if v, ok := rl.Resource().Attributes().Get("gen"); ok {
			stamp = v.AsString()
		}
		for _, sl := range rl.ScopeLogs().All() {
			for _, r := range sl.LogRecords().All() {
				ids = append(ids, r.Body().AsString())
			}
		}
	}
	return ids, stamp, nil
}

func (rc *idReceiver) snapshot() (taken, stamps map[string]int) {
	rc.mu.Lock()
	defer rc.mu.Unlock()
	return maps.Clone(rc.taken), maps.Clone(rc.stamps)
}

// load pushes unique ids by Loki over HTTP and by OTLP over gRPC until stopped.
type load struct {
	retry bool // an id is pushed again until it is acknowledged
	cease atomic.Bool
	wg    sync.WaitGroup
	n     atomic.Int64

	mu    sync.Mutex // guards what follows
	acked []string
	fails []string
}

func startLoad(t testing.TB, g *gateway, workers int, retry bool) *load {
	t.Helper()
	l := &load{retry: retry}
	for i := range workers {
		var send func(ctx context.Context, id string) error
		if i%2 == 0 {
			send = lokiSender(t, g.http)
		} else {
			send = grpcSender(t, g.grpc)
		}
		l.wg.Go(func() {
			for !l.cease.Load() {
				l.push(send)
			}
		})
	}
	t.Cleanup(l.stop)
	return l
}

// push sends one id. The attempts that a retrying load makes end with the gateway's restart, or after 20 s.
func (l *load) push(send func(context.Context, string) error) {
	id := fmt.Sprintf("id-%d", l.n.Add(1))
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	for {
		err := send(ctx, id)
		l.mu.Lock()
		if err == nil {
			l.acked = append(l.acked, id)
		} else {
			l.fails = append(l.fails, fmt.Sprintf("%s: %v", id, err))
		}
		l.mu.Unlock()
		if err == nil || ctx.Err() != nil {
			return
		}
		time.Sleep(5 * time.Millisecond) // no hot loop while the gateway is down
		if !l.retry {
			return
		}
	}
}

func (l *load) stop() {
	l.cease.Store(true)
	l.wg.Wait()
}

func (l *load) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.acked)
}

// checkAcknowledged fails when upstream lacks an id that was acknowledged.
func (l *load) checkAcknowledged(t testing.TB, taken map[string]int) {
	t.Helper()
	lost := slices.DeleteFunc(slices.Clone(l.acked), func(id string) bool { return taken[id] > 0 })
	if len(lost) > 0 {
		t.Errorf("%d of %d acknowledged pushes are not upstream, %s among them", len(lost), len(l.acked), lost[0])
	}
	t.Logf("%d acknowledged, %d failed attempts, %d upstream", len(l.acked), len(l.fails), len(taken))
}

func lokiSender(t testing.TB, addr string) func(context.Context, string) error {
	c := &http.Client{Transport: &http.Transport{}}
	t.Cleanup(c.CloseIdleConnections)
	return func(ctx context.Context, id string) error {
		body := lokiProtobuf(t, []push.Stream{{Labels: `{app="load"}`, Entries: []push.Entry{{Timestamp: time.Now(), Line: id}}}})
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+addr+"/loki/api/v1/push", bytes.NewReader(body))
		if err != nil {
			return err
		}
		req.Header.Set("Content-Type", "application/x-protobuf")
		req.Header.Set("Authorization", "Bearer "+clientToken)
		resp, err := c.Do(req)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		answer, err := io.ReadAll(resp.Body)
		if err != nil {
			return err
		}
		if resp.StatusCode != http.StatusNoContent {
			return fmt.Errorf("%d %s", resp.StatusCode, answer)
		}
		return nil
	}
}

func grpcSender(t testing.TB, addr string) func(context.Context, string) error {
	conn, err := grpc.NewClient("passthrough:///"+addr, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithConnectParams(grpc.ConnectParams{MinConnectTimeout: time.Second, Backoff: quickBackoff}))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return func(ctx context.Context, id string) error {
		return exportRaw(metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+clientToken), conn, otlpLog(t, id))
	}
}

// otlpLog is an export of one record whose body is text.
func otlpLog(t testing.TB, text string) []byte {
	t.Helper()
	ld := plog.NewLogs()
	r := ld.ResourceLogs().AppendEmpty().ScopeLogs().AppendEmpty().LogRecords().AppendEmpty()
	r.SetTimestamp(1700000000000000000)
	r.Body().SetStr(text)
	body, err := (&plog.ProtoMarshaler{}).MarshalLogs(ld)
	if err != nil {
		t.Fatal(err)
	}
	return body
}
