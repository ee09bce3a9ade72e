package integration

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/golang/snappy"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/prompb"
)

// What a Prometheus sender makes of a rate limit: it loses nothing where it comes again, be it that it is told to retry on
// 429 or that it is answered with 503.
func TestRateLimitPrometheus(t *testing.T) {
	t.Parallel()
	const perSecond = 300
	f := func(extra string, retry bool, status int, keeps bool) {
		t.Helper()
		t.Run(fmt.Sprintf("%d, retries %v", status, retry), func(t *testing.T) {
			t.Parallel()
			rc := newPromReceiver(t, v1)
			g := startGateway(t, "    upstreams:\n"+newUpstream(t, rc).yaml("prometheus", "/api/v1/push", "")+
				fmt.Sprintf("    metrics: {labels: {environment: prod}, limits: {samples_per_second: %d, burst_seconds: 1%s}}\n", perSecond, extra))
			tap := newTap(t, g.http)
			s := newPromSender(t, tap.addr(), v1, nil, func(cfg *config.RemoteWriteConfig) { cfg.QueueConfig.RetryOnRateLimit = retry })
			s.appendRounds(0, 10, userSeries(10, 100))
			total := s.want.len()
			eventually(t, 30*time.Second, "everything arrived, or failed", func() bool {
				s.rs.Notify()
				return rc.got.len()+int(s.failed()) == total
			})
			if keeps {
				s.want.stamped("environment", "prod").checkEqual(t, "on the wire", rc.got)
			}
			if (s.failed() == 0) != keeps || (s.retried() > 0) != keeps {
				t.Errorf("the sender counts %s, want retries: %v", s.state(), keeps)
			}
			refused := 0
			for _, p := range tap.all() {
				if p.status/100 == 2 {
					continue
				}
				n := samplesIn(t, p.body)
				refused += n
				after, err := strconv.Atoi(p.reply.Get("Retry-After"))
				if p.status != status || err != nil || after < 1 || after > 60 {
					t.Errorf("answered %d, Retry-After %q, want %d and 1 to 60", p.status, p.reply.Get("Retry-After"), status)
				}
				for _, word := range []string{"environment prod", "client app", fmt.Sprintf("environments.prod.metrics.limits.samples_per_second=%d", perSecond), fmt.Sprintf("%d samples", n)} {
					if !strings.Contains(p.answer, word) {
						t.Errorf("the answer %q does not say %q", p.answer, word)
					}
				}
			}
			g.checkBooks(map[string]float64{"rate_limit": float64(refused)})
		})
	}
	f("", true, http.StatusTooManyRequests, true)
	f(", on_rate_limit: backpressure", false, http.StatusServiceUnavailable, true)
	f("", false, http.StatusTooManyRequests, false) // as Prometheus is by default
}

// samplesIn counts what a v1 push holds.
func samplesIn(t testing.TB, body []byte) (n int) {
	t.Helper()
	var req prompb.WriteRequest
	plain, err := snappy.Decode(nil, body)
	if err == nil {
		err = req.Unmarshal(plain)
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, ts := range req.Timeseries {
		n += len(ts.Samples)
	}
	return n
}

// One client of an environment floods it. The other, a Prometheus sender that would lose what is refused, stays below its
// share and loses nothing.
func TestRateLimitFairShare(t *testing.T) {
	t.Parallel()
	const perSecond, floodToken = 1000, "flood-token-2f4c1a77"
	rc := newPromReceiver(t, v1)
	g := newGateway(t, "", "  prod:\n    clients:\n      app: {bearer_token_file: secrets/client}\n      flood: {bearer_token_file: secrets/flood}\n"+
		"    upstreams:\n"+newUpstream(t, rc).yaml("prometheus", "/api/v1/push", "")+
		fmt.Sprintf("    metrics: {limits: {samples_per_second: %d, burst_seconds: 5}}\n", perSecond))
	g.writeSecret("flood", floodToken)
	g.start()

	s := newPromSender(t, g.http, v1, nil, func(cfg *config.RemoteWriteConfig) {
		cfg.QueueConfig.RetryOnRateLimit = false
		cfg.QueueConfig.BatchSendDeadline = model.Duration(20 * time.Millisecond)
	})
	s.appendRounds(0, 1, userSeries(10, 100))
	s.delivered(rc.got, s.want.len(), 20*time.Second)

	answers, stop, done := map[int]int{}, make(chan struct{}), make(chan struct{})
	flood := func(from int64) int {
		req := prompb.WriteRequest{Timeseries: []prompb.TimeSeries{{Labels: []prompb.Label{{Name: "__name__", Value: "flood"}}}}}
		for i := range int64(200) {
			req.Timeseries[0].Samples = append(req.Timeseries[0].Samples, prompb.Sample{Timestamp: from + i, Value: 1})
		}
		plain, err := req.Marshal()
		if err != nil {
			t.Error(err)
		}
		resp, _ := post(t, "http://"+g.http+"/api/v1/push", snappy.Encode(nil, plain), map[string]string{
			"Content-Type": contentV1, "Content-Encoding": "snappy", "Authorization": "Bearer " + floodToken})
		return resp.StatusCode
	}
	go func() {
		defer close(done)
		for from := time.Now().UnixMilli(); ; from += 200 {
			select {
			case <-stop:
				return
			case <-time.After(5 * time.Millisecond):
				answers[flood(from)]++
			}
		}
	}()
	eventually(t, 10*time.Second, "the flood is held back", func() bool { return g.metric("gateway_items_dropped_total", `client="flood"`) > 5*perSecond })
	for i := range 8 { // 400 samples a second, where half of the limit is its share
		s.appendRounds(1+i, 1, userSeries(10, 100))
		s.settled(20 * time.Second)
		time.Sleep(250 * time.Millisecond)
	}
	close(stop)
	<-done
	if answers[http.StatusTooManyRequests] == 0 || answers[http.StatusOK]+answers[http.StatusNoContent] == 0 {
		t.Errorf("the flood was answered %v, want some taken and some refused", answers)
	}
	s.want.checkEqual(t, "on the wire", rc.got.without("flood"))
	if s.failed() != 0 || s.retried() != 0 {
		t.Errorf("the other counts %s, want none failed or retried", s.state())
	}
	g.checkBooks(map[string]float64{"rate_limit": 200 * float64(answers[http.StatusTooManyRequests])})
}
