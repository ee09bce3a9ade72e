package demo

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/golang/snappy"
	"github.com/grafana/loki/pkg/push"
	"github.com/prometheus/prometheus/prompb"
	writev2 "github.com/prometheus/prometheus/prompb/io/prometheus/write/v2"
	"go.opentelemetry.io/collector/pdata/plog/plogotlp"
	"go.opentelemetry.io/collector/pdata/pmetric/pmetricotlp"
	"go.opentelemetry.io/collector/pdata/ptrace/ptraceotlp"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/telemetry-gateway/telemetry-gateway/internal/config"
	"github.com/telemetry-gateway/telemetry-gateway/internal/fakecloud"
)

// standIn is the least that a gateway could be: it checks the token, stamps, does what the demo's rules say and no other,
// swaps the credential and passes on. It can be told to misbehave, to see whether the demo notices.
type standIn struct {
	cfg    *config.Config
	tokens map[string]string // token: environment
	client http.Client

	lie       atomic.Bool // every 20th push is acknowledged, and thrown away
	double    atomic.Bool // every push goes twice
	unstamped atomic.Bool
	garble    atomic.Bool // log lines are changed
	unruly    atomic.Bool // what a rule drops arrives
	greedy    atomic.Bool // a refused push loses a sample more than is said
	n         atomic.Int64

	mu    sync.Mutex // guards users
	users map[string]bool
}

func (g *standIn) start(_ context.Context, path string, log *slog.Logger) (*Running, error) {
	cfg, err := config.Load(path)
	if err != nil {
		return nil, err
	}
	g.cfg, g.tokens, g.users = cfg, map[string]string{}, map[string]bool{}
	for name, e := range cfg.Environments {
		for _, c := range e.Clients {
			g.tokens[secretOf(c.BearerTokenFile)] = name
		}
	}
	h, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	srv := &http.Server{Handler: g}
	rpc := grpc.NewServer()
	ptraceotlp.RegisterGRPCServer(rpc, &traceService{g: g})
	plogotlp.RegisterGRPCServer(rpc, &logService{g: g})
	var wg sync.WaitGroup
	wg.Go(func() { _ = srv.Serve(h) })
	wg.Go(func() { _ = rpc.Serve(l) })
	log.Warn("this is a stand-in", "config", cfg.Hash)
	return &Running{HTTP: h.Addr().String(), GRPC: l.Addr().String(), Stop: func(ctx context.Context) error {
		err := srv.Shutdown(ctx)
		rpc.GracefulStop()
		wg.Wait()
		g.client.CloseIdleConnections()
		return err
	}}, nil
}

func secretOf(path string) string {
	b, err := os.ReadFile(path)
	if err != nil {
		panic(err)
	}
	return strings.TrimSpace(string(b))
}

func (g *standIn) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	env, ok := g.tokens[strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")]
	if !ok {
		http.Error(w, "no such token", http.StatusUnauthorized)
		return
	}
	endpoint := fakecloud.Prometheus
	switch {
	case r.URL.Path == "/loki/api/v1/push":
		endpoint = fakecloud.Loki
	case strings.HasPrefix(r.URL.Path, "/v1/"):
		endpoint = "/otlp" + r.URL.Path
	}
	h := http.Header{}
	for _, k := range []string{"Content-Type", "Content-Encoding", "X-Prometheus-Remote-Write-Version", "User-Agent"} {
		if v := r.Header.Get(k); v != "" {
			h.Set(k, v)
		}
	}
	resp, err := g.forward(r.Context(), env, endpoint, h, body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	defer resp.Body.Close()
	for k, v := range resp.Header {
		w.Header()[k] = v
	}
	w.WriteHeader(resp.StatusCode)
	_, _ = io.Copy(w, resp.Body)
}

func (g *standIn) forward(ctx context.Context, env, endpoint string, h http.Header, body []byte) (*http.Response, error) {
	body, items, over := g.stamp(env, endpoint, h, body)
	up := g.cfg.Environments[env].Upstreams.OTLP
	url := ""
	switch endpoint {
	case fakecloud.Prometheus:
		up = g.cfg.Environments[env].Upstreams.Prometheus
		url = up.URL
	case fakecloud.Loki:
		up = g.cfg.Environments[env].Upstreams.Loki
		url = up.URL
	default:
		url = up.URL + strings.TrimPrefix(endpoint, "/otlp")
	}
	if g.lie.Load() && g.n.Add(1)%20 == 0 {
		lie := http.Header{"X-Prometheus-Remote-Write-Samples-Written": {strconv.Itoa(items)}}
		return &http.Response{StatusCode: 200, Header: lie, Body: http.NoBody}, nil
	}
	send := func() (*http.Response, error) {
		r, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
		if err != nil {
			return nil, err
		}
		r.Header = h
		auth := up.HTTPClientConfig.BasicAuth
		r.SetBasicAuth(auth.Username, secretOf(auth.PasswordFile))
		return g.client.Do(r)
	}
	if g.double.Load() {
		if resp, err := send(); err == nil {
			resp.Body.Close()
		}
	}
	resp, err := send()
	if err == nil && over > 0 && resp.StatusCode == 200 {
		resp.Body.Close()
		text := fmt.Sprintf("%d items refused (values_per_label): label %s", over, carelessLabel)
		return &http.Response{StatusCode: 400, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(text))}, nil
	}
	return resp, err
}

// stamp adds environment=env everywhere, and says how many series there are, and how many more were refused.
func (g *standIn) stamp(env, endpoint string, h http.Header, body []byte) (out []byte, items, over int) {
	if g.unstamped.Load() {
		return body, 0, 0
	}
	must := func(err error) {
		if err != nil {
			panic(err)
		}
	}
	isJSON := h.Get("Content-Type") == "application/json"
	plain := body
	if h.Get("Content-Encoding") == "gzip" {
		plain = ungzip(body)
		h.Del("Content-Encoding")
	} else if !isJSON && !strings.HasPrefix(endpoint, fakecloud.OTLP) {
		var err error
		plain, err = snappy.Decode(nil, body)
		must(err)
	}
	switch {
	case endpoint == fakecloud.Prometheus && strings.Contains(h.Get("Content-Type"), "v2"):
		var req writev2.Request
		must(req.Unmarshal(plain))
		n := uint32(len(req.Symbols))
		req.Symbols = append(req.Symbols, "environment", env)
		for i := range req.Timeseries {
			ts := &req.Timeseries[i] // __name__ < environment < instance
			ts.LabelsRefs = slices.Insert(ts.LabelsRefs, 2, n, n+1)
			for j := 0; j < len(ts.LabelsRefs); j += 2 {
				if env == "prod" && req.Symbols[ts.LabelsRefs[j]] == uselessLabel {
					ts.LabelsRefs = slices.Delete(ts.LabelsRefs, j, j+2)
				}
			}
		}
		out, err := req.Marshal()
		must(err)
		return snappy.Encode(nil, out), len(req.Timeseries), 0
	case endpoint == fakecloud.Prometheus:
		var req prompb.WriteRequest
		must(req.Unmarshal(plain))
		for i := range req.Timeseries {
			ts := &req.Timeseries[i]
			ts.Labels = slices.Insert(ts.Labels, 1, prompb.Label{Name: "environment", Value: env})
		}
		if env == "prod" {
			over = g.rule(&req)
		}
		out, err := req.Marshal()
		must(err)
		return snappy.Encode(nil, out), len(req.Timeseries), over
	case endpoint == fakecloud.Loki && isJSON:
		if g.garble.Load() {
			body = bytes.ReplaceAll(body, []byte("served"), []byte("Served"))
		}
		return bytes.ReplaceAll(body, []byte(`"stream":{`), fmt.Appendf(nil, `"stream":{"environment":%q,`, env)), 0, 0
	case endpoint == fakecloud.Loki:
		var req push.PushRequest
		must(req.Unmarshal(plain))
		for i := range req.Streams {
			s := &req.Streams[i]
			s.Labels = strings.Replace(s.Labels, "{", fmt.Sprintf("{environment=%q,", env), 1)
			before, pod, _ := strings.Cut(s.Labels, ", "+streamLabel+"=") // the last of them
			s.Labels = before + "}"
			for j := range s.Entries {
				s.Entries[j].StructuredMetadata = append(s.Entries[j].StructuredMetadata, push.LabelAdapter{Name: streamLabel, Value: strings.Trim(pod, `"}`)})
			}
		}
		out, err := req.Marshal()
		must(err)
		return snappy.Encode(nil, out), 0, 0
	}
	return g.stampOTLP(env, endpoint, isJSON, plain), 0, 0
}

// rule does what the demo's rules and limits say, and returns how many series it refused.
func (g *standIn) rule(req *prompb.WriteRequest) (over int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	req.Timeseries = slices.DeleteFunc(req.Timeseries, func(ts prompb.TimeSeries) bool {
		for _, l := range ts.Labels {
			if l.Name != carelessLabel || g.users[l.Value] {
				continue
			}
			if len(g.users) >= valueLimit {
				over++
				return true
			}
			g.users[l.Value] = true
		}
		return ts.Labels[0].Value == uselessMetric && !g.unruly.Load()
	})
	for i := range req.Timeseries {
		ts := &req.Timeseries[i]
		ts.Labels = slices.DeleteFunc(ts.Labels, func(l prompb.Label) bool { return l.Name == uselessLabel })
	}
	if over > 0 && g.greedy.Load() {
		req.Timeseries = req.Timeseries[1:]
	}
	return over
}

func (g *standIn) stampOTLP(env, endpoint string, isJSON bool, plain []byte) []byte {
	var out []byte
	var err error
	switch endpoint {
	case fakecloud.OTLPTraces:
		req := ptraceotlp.NewExportRequest()
		if isJSON {
			err = req.UnmarshalJSON(plain)
		} else {
			err = req.UnmarshalProto(plain)
		}
		for _, rs := range req.Traces().ResourceSpans().All() {
			rs.Resource().Attributes().PutStr("environment", env)
		}
		if isJSON {
			out, _ = req.MarshalJSON()
		} else {
			out, _ = req.MarshalProto()
		}
	case fakecloud.OTLPMetrics:
		req := pmetricotlp.NewExportRequest()
		err = req.UnmarshalProto(plain)
		for _, d := range req.Metrics().ResourceMetrics().At(0).ScopeMetrics().At(0).Metrics().At(0).Gauge().DataPoints().All() {
			d.Attributes().PutStr("environment", env)
		}
		out, _ = req.MarshalProto()
	default:
		req := plogotlp.NewExportRequest()
		err = req.UnmarshalProto(plain)
		for _, rl := range req.Logs().ResourceLogs().All() {
			rl.Resource().Attributes().PutStr("environment", env)
		}
		out, _ = req.MarshalProto()
	}
	if err != nil {
		panic(err)
	}
	return out
}

// rpc forwards a gRPC export.
func (g *standIn) rpc(ctx context.Context, endpoint string, body []byte) error {
	md, _ := metadata.FromIncomingContext(ctx)
	env, ok := g.tokens[strings.TrimPrefix(strings.Join(md.Get("authorization"), ""), "Bearer ")]
	if !ok {
		return status.Error(codes.Unauthenticated, "no such token")
	}
	h := http.Header{"Content-Type": {"application/x-protobuf"}, "User-Agent": {"stand-in"}}
	resp, err := g.forward(ctx, env, endpoint, h, body)
	if err != nil {
		return status.Error(codes.Unavailable, err.Error())
	}
	defer resp.Body.Close()
	if resp.StatusCode == 200 {
		return nil
	}
	st := status.New(codes.Unavailable, resp.Status)
	if n, err := strconv.Atoi(resp.Header.Get("Retry-After")); err == nil {
		st, _ = status.New(codes.ResourceExhausted, resp.Status).WithDetails(
			&errdetails.RetryInfo{RetryDelay: durationpb.New(time.Duration(n) * time.Second)})
	}
	return st.Err()
}

type traceService struct {
	ptraceotlp.UnimplementedGRPCServer
	g *standIn
}

func (s *traceService) Export(ctx context.Context, req ptraceotlp.ExportRequest) (ptraceotlp.ExportResponse, error) {
	b, _ := req.MarshalProto()
	return ptraceotlp.NewExportResponse(), s.g.rpc(ctx, fakecloud.OTLPTraces, b)
}

type logService struct {
	plogotlp.UnimplementedGRPCServer
	g *standIn
}

func (s *logService) Export(ctx context.Context, req plogotlp.ExportRequest) (plogotlp.ExportResponse, error) {
	b, _ := req.MarshalProto()
	return plogotlp.NewExportResponse(), s.g.rpc(ctx, fakecloud.OTLPLogs, b)
}
