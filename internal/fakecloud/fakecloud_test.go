package fakecloud

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/golang/snappy"
	"github.com/grafana/loki/pkg/push"
	"github.com/prometheus/prometheus/prompb"
	writev2 "github.com/prometheus/prometheus/prompb/io/prometheus/write/v2"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.opentelemetry.io/collector/pdata/ptrace/ptraceotlp"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	metricsUser = "53715"
	logsUser    = "25836"
	otlpUser    = "123456"
	token       = "glc_one"
)

// start runs a cloud with one user per signal for the length of the test.
func start(t *testing.T, o Options) *Cloud {
	t.Helper()
	o.Instances = []Instance{
		{User: metricsUser, Name: "prod-metrics", Endpoint: Prometheus, Tokens: []string{token}},
		{User: logsUser, Name: "prod-logs", Endpoint: Loki, Tokens: []string{token}},
		{User: otlpUser, Name: "prod-otlp", Endpoint: OTLP, Tokens: []string{token}},
	}
	c := New(o)
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// request is a push by hand.
type request struct {
	path, user, token string
	header            map[string]string
	body              []byte
}

func (p request) send(t *testing.T, c *Cloud) (*http.Response, string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, c.URL()+p.path, bytes.NewReader(p.body))
	if err != nil {
		t.Fatal(err)
	}
	if p.user != "" {
		r.SetBasicAuth(p.user, p.token)
	}
	for k, v := range p.header {
		r.Header.Set(k, v)
	}
	client := http.Client{
		Transport:     &http.Transport{DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	resp, err := client.Do(r)
	if err != nil {
		return nil, "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return resp, string(b), err
}

// status sends and returns the status; a broken connection is 0.
func (p request) status(t *testing.T, c *Cloud) int {
	t.Helper()
	resp, _, err := p.send(t, c)
	if err != nil {
		return 0
	}
	return resp.StatusCode
}

func v1Push(series ...prompb.TimeSeries) request {
	b, err := (&prompb.WriteRequest{Timeseries: series}).Marshal()
	if err != nil {
		panic(err)
	}
	return request{Prometheus, metricsUser, token, map[string]string{
		"Content-Type": "application/x-protobuf", "Content-Encoding": "snappy",
		"X-Prometheus-Remote-Write-Version": "0.1.0",
	}, snappy.Encode(nil, b)}
}

func series(ts int64, pairs ...string) prompb.TimeSeries {
	s := prompb.TimeSeries{Samples: []prompb.Sample{{Value: 1, Timestamp: ts}}}
	for i := 0; i < len(pairs); i += 2 {
		s.Labels = append(s.Labels, prompb.Label{Name: pairs[i], Value: pairs[i+1]})
	}
	return s
}

func v2Push(req *writev2.Request) request {
	b, err := req.Marshal()
	if err != nil {
		panic(err)
	}
	return request{Prometheus, metricsUser, token, map[string]string{
		"Content-Type": "application/x-protobuf;proto=io.prometheus.write.v2.Request", "Content-Encoding": "snappy",
		"X-Prometheus-Remote-Write-Version": "2.0.0",
	}, snappy.Encode(nil, b)}
}

func goodV2() *writev2.Request {
	return &writev2.Request{
		Symbols: []string{"", "__name__", "up", "job", "api"},
		Timeseries: []writev2.TimeSeries{{
			LabelsRefs: []uint32{1, 2, 3, 4}, Samples: []writev2.Sample{{Value: 1, Timestamp: 1000}, {Value: 1, Timestamp: 2000}},
		}},
	}
}

func lokiPush(labels string, lines ...string) request {
	s := push.Stream{Labels: labels}
	for _, l := range lines {
		s.Entries = append(s.Entries, push.Entry{Timestamp: time.Unix(1700000000, 0), Line: l})
	}
	b, err := (&push.PushRequest{Streams: []push.Stream{s}}).Marshal()
	if err != nil {
		panic(err)
	}
	return request{Loki, logsUser, token, map[string]string{"Content-Type": "application/x-protobuf"}, snappy.Encode(nil, b)}
}

func tracesPush(isJSON bool, spans int, change func(ptrace.Span)) request {
	td := ptrace.NewTraces()
	ss := td.ResourceSpans().AppendEmpty().ScopeSpans().AppendEmpty()
	for i := range spans {
		s := ss.Spans().AppendEmpty()
		s.SetName("GET /")
		s.SetTraceID([16]byte{1, byte(i + 1)})
		s.SetSpanID([8]byte{1, byte(i + 1)})
		s.SetStartTimestamp(1000)
		s.SetEndTimestamp(2000)
		if change != nil {
			change(s)
		}
	}
	req := ptraceotlp.NewExportRequestFromTraces(td)
	ct, marshal := "application/x-protobuf", req.MarshalProto
	if isJSON {
		ct, marshal = "application/json", req.MarshalJSON
	}
	b, err := marshal()
	if err != nil {
		panic(err)
	}
	return request{OTLPTraces, otlpUser, token, map[string]string{"Content-Type": ct}, b}
}

func TestEveryDoorStores(t *testing.T) {
	var called atomic.Int64
	c := start(t, Options{OnPush: func(p *Push) { called.Add(int64(p.Items)) }})
	f := func(p request, status, items int) {
		t.Helper()
		before := c.Stats(p.user, p.path)
		resp, body, err := p.send(t, c)
		if err != nil {
			t.Fatal(err)
		}
		if resp.StatusCode != status {
			t.Fatalf("%s: status %d %s, want %d", p.path, resp.StatusCode, body, status)
		}
		after := c.Stats(p.user, p.path)
		if after.Items-before.Items != items || after.Pushes-before.Pushes != 1 || after.Bytes-before.Bytes != len(p.body) {
			t.Errorf("%s: %+v after %+v, want %d items and %d bytes more", p.path, after, before, items, len(p.body))
		}
		if after.Codes[status] != before.Codes[status]+1 {
			t.Errorf("%s: codes %v, want one %d more than %v", p.path, after.Codes, status, before.Codes)
		}
	}
	f(v1Push(series(1000, "__name__", "up", "job", "a"), series(1000, "__name__", "up", "job", "b")), 200, 2)
	f(v1Push(), 200, 0)
	f(v2Push(goodV2()), 200, 2)
	f(lokiPush(`{app="a"}`, "one", "two", "three"), 204, 3)
	lokiJSON := request{Loki, logsUser, token, map[string]string{"Content-Type": "application/json"},
		[]byte(`{"streams":[{"stream":{"app":"a","n":1},"values":[["1700000000000000001","x",{"k":"v"}]]}]}`)}
	f(lokiJSON, 204, 1)
	f(tracesPush(false, 2, nil), 200, 2)
	f(tracesPush(true, 3, nil), 200, 3)
	zipped := tracesPush(false, 4, nil)
	var z bytes.Buffer
	w := gzip.NewWriter(&z)
	_, _ = w.Write(zipped.body)
	_ = w.Close()
	zipped.body = z.Bytes()
	zipped.header["Content-Encoding"] = "gzip"
	f(zipped, 200, 4)

	if v := c.Violations(); len(v) != 0 {
		t.Errorf("violations by correct pushes: %v", v)
	}
	if all := c.Stats("", ""); all.Items != 17 || int(called.Load()) != 17 {
		t.Errorf("%d items, OnPush saw %d, want 17", all.Items, called.Load())
	}
	ps := c.Pushes(logsUser, Loki)
	if len(ps) != 2 || ps[1].Logs.Streams[0].Entries[0].Timestamp.UnixNano() != 1700000000000000001 ||
		ps[1].Logs.Streams[0].Labels != `{app="a", n="1"}` || ps[1].Instance.Name != "prod-logs" {
		t.Errorf("kept %d pushes, the last %+v", len(ps), ps[len(ps)-1].Logs)
	}
}

func TestAnswers(t *testing.T) {
	c := start(t, Options{})
	resp, _, err := v2Push(goodV2()).send(t, c)
	if err != nil || resp.Header.Get("X-Prometheus-Remote-Write-Samples-Written") != "2" ||
		resp.Header.Get("X-Prometheus-Remote-Write-Exemplars-Written") != "0" {
		t.Errorf("v2: %v, headers %v", err, resp.Header)
	}
	resp, _, err = v1Push(series(1, "__name__", "x")).send(t, c)
	if err != nil || resp.Header.Get("X-Prometheus-Remote-Write-Samples-Written") != "" {
		t.Errorf("v1 answers carry no Written headers: %v, %v", err, resp.Header)
	}
	resp, body, _ := tracesPush(true, 1, nil).send(t, c)
	if resp.Header.Get("Content-Type") != "application/json" || body != "{}" {
		t.Errorf("otlp json: %q of type %q", body, resp.Header.Get("Content-Type"))
	}
	_, body, _ = tracesPush(false, 1, nil).send(t, c)
	if body != "" {
		t.Errorf("otlp protobuf: %q, want an empty message", body)
	}
	c.Fail(OTLP, Fault{Reject: 2, Message: "too old"})
	resp, body, _ = tracesPush(false, 3, nil).send(t, c)
	r := ptraceotlp.NewExportResponse()
	if err := r.UnmarshalProto([]byte(body)); err != nil || resp.StatusCode != 200 ||
		r.PartialSuccess().RejectedSpans() != 2 || r.PartialSuccess().ErrorMessage() != "too old" {
		t.Errorf("partial success: %d %q %v", resp.StatusCode, body, err)
	}
	if got := c.Stats(otlpUser, OTLP).Items; got != 3 {
		t.Errorf("%d spans stored, want 1+1+1", got)
	}
}

func TestCredentials(t *testing.T) {
	c := start(t, Options{})
	f := func(user, tok string, status int, text string) {
		t.Helper()
		p := v1Push(series(1, "__name__", "x"))
		p.user, p.token = user, tok
		resp, body, err := p.send(t, c)
		if err != nil || resp.StatusCode != status || !strings.Contains(body, text) {
			t.Errorf("%s:%s: %v %q (%v), want %d %q", user, tok, resp.StatusCode, body, err, status, text)
		}
	}
	f(metricsUser, token, 200, "")
	f(metricsUser, "wrong", 401, `{"status":"error","error":"authentication error: invalid token"}`)
	f(metricsUser, "", 401, "invalid token")
	f(logsUser, token, 401, "invalid token") // right, but for logs
	f("999", token, 401, "invalid token")
	f("", "", 401, "no credentials provided")
	c.SetTokens(metricsUser, token, "glc_two")
	f(metricsUser, token, 200, "")
	f(metricsUser, "glc_two", 200, "")
	c.SetTokens(metricsUser, "glc_two")
	f(metricsUser, token, 401, "invalid token")
	f(metricsUser, "glc_two", 200, "")
	if s := c.Stats(metricsUser, Prometheus); s.Items != 4 || s.Codes[401] != 3 || s.Requests != 7 {
		t.Errorf("%+v", s)
	}
}

func TestNotFound(t *testing.T) {
	c := start(t, Options{})
	p := v1Push()
	p.path = "/nowhere"
	if got := p.status(t, c); got != 404 {
		t.Errorf("status %d, want 404", got)
	}
	p.path = "/api/v1/push"
	if got := p.status(t, c); got != 200 {
		t.Errorf("mimir's own path: status %d, want 200", got)
	}
}

func TestV2Modes(t *testing.T) {
	c := start(t, Options{})
	f := func(m V2Mode, status int) {
		t.Helper()
		c.SetV2(m)
		resp, _, err := v2Push(goodV2()).send(t, c)
		if err != nil || resp.StatusCode != status {
			t.Errorf("mode %d: %v %v, want %d", m, resp, err, status)
		}
		if h := resp.Header.Get("X-Prometheus-Remote-Write-Samples-Written"); h != "" {
			t.Errorf("mode %d: Written %s", m, h)
		}
	}
	f(V2Refuse415, 415)
	f(V2Refuse400, 400)
	f(V2TakenForV1, 200)
	if s := c.Stats("", ""); s.Items != 0 || s.Pushes != 0 {
		t.Errorf("an old receiver stored %+v", s)
	}
	if v := c.Violations(); len(v) != 0 {
		t.Errorf("v2 to an old receiver breaks no rule: %v", v)
	}
	c.SetV2(V2Accept)
	spaced := v2Push(goodV2())
	spaced.header["Content-Type"] = "application/x-protobuf; proto=io.prometheus.write.v2.Request"
	if got := spaced.status(t, c); got != 200 {
		t.Errorf("status %d, want the 200 that Mimir gives", got)
	}
	if c.Stats("", "").Items != 0 || len(c.Violations()) == 0 {
		t.Error("a content type with a space is read as v1, and a violation")
	}
}

func TestViolations(t *testing.T) {
	c := start(t, Options{Strict: true})
	f := func(p request, want string) {
		t.Helper()
		n := len(c.Violations())
		if got := p.status(t, c); want == "" && got/100 != 2 || want != "" && got/100 != 4 {
			t.Errorf("status %d", got)
		}
		got := c.Violations()[n:]
		switch {
		case want == "" && len(got) > 0:
			t.Errorf("unexpected %v", got)
		case want != "" && (len(got) == 0 || !strings.Contains(got[0].Text, want)):
			t.Errorf("violations %v, want %q", got, want)
		}
	}
	header := func(p request, k, v string) request {
		p.header[k] = v
		return p
	}
	good := v1Push(series(1, "__name__", "x", "a", "b"))
	f(good, "")
	f(v1Push(series(1, "a", "b", "__name__", "x")), "not sorted")
	f(v1Push(series(1, "__name__", "x", "a", "b", "a", "c")), "label a twice")
	f(v1Push(series(1, "__name__", "x", "a", "")), "label a is empty")
	f(v1Push(series(1, "__name__", "x", "", "a")), "empty label name")
	f(v1Push(series(1, "a", "b")), "no __name__")
	f(v1Push(series(1, "__name__", "http.requests")), "not valid")
	f(v1Push(series(0, "__name__", "x")), "no timestamp")
	f(v1Push(series(1, "__name__", "x", "a", "\xff")), "not UTF-8")
	backwards := series(2, "__name__", "x")
	backwards.Samples = append(backwards.Samples, prompb.Sample{Timestamp: 1})
	f(v1Push(backwards), "timestamp 1 after 2")
	f(v1Push(prompb.TimeSeries{Labels: series(1, "__name__", "x").Labels,
		Histograms: []prompb.Histogram{{Schema: -53, Timestamp: 1}}}), "custom buckets")
	skip := v1Push()
	skip.body = snappy.Encode(nil, []byte{0xc0, 0x3e, 1}) // field 1000
	f(skip, "field 1000")
	f(header(v1Push(), "X-Scope-OrgID", "1"), "X-Scope-Orgid")
	f(header(v1Push(), "X-Mimir-SkipLabelNameValidation", "1"), "Skiplabelname")
	f(header(v1Push(), "Content-Encoding", "gzip"), "is not snappy")
	f(header(v1Push(), "X-Prometheus-Remote-Write-Version", "2.0.0"), "is not 0.1.0")
	query := v1Push()
	query.path += "?a=b"
	f(query, "query string")
	broken := v1Push()
	broken.body = []byte("not snappy")
	f(broken, "decompress")

	v2 := func(change func(*writev2.Request)) request {
		r := goodV2()
		change(r)
		return v2Push(r)
	}
	f(v2(func(*writev2.Request) {}), "")
	f(v2(func(r *writev2.Request) { r.Symbols[0] = "zero" }), "do not begin")
	f(v2(func(r *writev2.Request) { r.Symbols = append(r.Symbols, "up") }), `symbol "up" twice`)
	f(v2(func(r *writev2.Request) { r.Symbols = append(r.Symbols, "", "") }), "")
	f(v2(func(r *writev2.Request) { r.Timeseries[0].LabelsRefs[3] = 5 }), "of 5 symbols")
	f(v2(func(r *writev2.Request) { r.Timeseries[0].LabelsRefs = []uint32{1} }), "odd")
	f(v2(func(r *writev2.Request) { r.Timeseries[0].LabelsRefs = []uint32{3, 4, 1, 2} }), "not sorted")
	f(v2(func(r *writev2.Request) { r.Timeseries[0].Metadata.HelpRef = 9 }), "metadata refs")
	f(v2(func(r *writev2.Request) {
		r.Timeseries[0].Histograms = []writev2.Histogram{{Timestamp: 1}}
	}), "samples and histograms")
	f(v2(func(r *writev2.Request) { r.Symbols[2] = "http.requests" }), "") // UTF-8 names are v2's

	f(lokiPush(`{a="b"}`, "x"), "")
	f(lokiPush(`{a="b"`, "x"), "parse error")
	f(lokiPush(`{a="b",a="c"}`, "x"), "label a twice")
	f(lokiPush(`{}`, "x"), "no labels")
	f(lokiPush(`{a=""}`, "x"), "empty label")
	f(lokiPush(`{a="b"}`), "no entries")

	f(tracesPush(false, 1, func(s ptrace.Span) { s.SetTraceID([16]byte{}) }), "no trace id")
	f(tracesPush(true, 1, func(s ptrace.Span) { s.SetSpanID([8]byte{}) }), "no span id")
	f(tracesPush(false, 1, func(s ptrace.Span) { s.SetStartTimestamp(0) }), "no start")
	f(tracesPush(false, 1, func(s ptrace.Span) { s.SetEndTimestamp(1) }), "ends before")
	f(header(tracesPush(false, 1, nil), "Content-Encoding", "zstd"), "unsupported compression")
	f(header(tracesPush(false, 1, nil), "Content-Type", "text/plain"), "unsupported content type")
}

func TestFaultAnswers(t *testing.T) {
	c := start(t, Options{})
	good := v1Push(series(1, "__name__", "x"))
	f := func(fault Fault, status int, header, value string) {
		t.Helper()
		c.Fail(Prometheus, fault.For(1))
		resp, body, err := good.send(t, c)
		if err != nil {
			t.Fatal(err)
		}
		if resp.StatusCode != status || resp.Header.Get(header) != value || body != fault.Body {
			t.Errorf("%d %v %q, want %d with %s: %s", resp.StatusCode, resp.Header, body, status, header, value)
		}
		if got := good.status(t, c); got != 200 {
			t.Errorf("after the fault: %d", got)
		}
	}
	f(TooMany(7), 429, "Retry-After", "7")
	f(Redirect("https://grafana.com/login"), 302, "Location", "https://grafana.com/login")
	f(LoginPage(), 200, "Content-Type", "text/html; charset=utf-8")
	f(Fault{Status: 503}, 503, "Retry-After", "")
	if s := c.Stats(metricsUser, ""); s.Items != 4 {
		t.Errorf("%d items stored, want only those after the faults", s.Items)
	}
}

func TestFaultConnections(t *testing.T) {
	c := start(t, Options{})
	f := func(fault Fault, want error, stored int) {
		t.Helper()
		before := c.Stats("", "").Items
		o := c.Fail("", fault.For(1))
		_, _, err := tracesPush(false, 1, nil).send(t, c)
		if !errors.Is(err, want) {
			t.Errorf("break %d: %v, want %v", fault.Break, err, want)
		}
		if got := c.Stats("", "").Items - before; got != stored || o.Hits() != 1 {
			t.Errorf("break %d: %d stored, %d hits; want %d and 1", fault.Break, got, o.Hits(), stored)
		}
	}
	f(Fault{Break: ResetBeforeBody}, syscall.ECONNRESET, 0)
	f(Fault{Break: ResetAfterBody}, syscall.ECONNRESET, 0)
	f(Fault{Break: CloseAfterBody}, io.EOF, 0)
	f(Fault{Break: Truncate, Body: "x"}, io.ErrUnexpectedEOF, 0)
	f(Fault{Break: CloseAfterBody, Stored: true}, io.EOF, 1)
	f(Fault{Break: Truncate, Stored: true}, io.ErrUnexpectedEOF, 1)
}

func TestFaultSelection(t *testing.T) {
	c := start(t, Options{Seed: 1})
	o := c.Fail(OTLP, Fault{Status: 503})
	if a, b := tracesPush(false, 1, nil).status(t, c), lokiPush(`{a="b"}`, "x").status(t, c); a != 503 || b != 204 {
		t.Errorf("traces %d, logs %d; want 503, 204", a, b)
	}
	o.Clear()
	o.Clear() // twice does no harm
	c.Fail("", Fault{Status: 500}.Of(logsUser))
	if a, b := tracesPush(false, 1, nil).status(t, c), lokiPush(`{a="b"}`, "x").status(t, c); a != 200 || b != 500 {
		t.Errorf("traces %d, logs %d; want 200, 500", a, b)
	}
	c.Heal()
	c.Fail("", Fault{Status: 500, Times: 2})
	var got []int
	for range 3 {
		got = append(got, lokiPush(`{a="b"}`, "x").status(t, c))
	}
	if got[0] != 500 || got[1] != 500 || got[2] != 204 {
		t.Errorf("for two pushes: %v", got)
	}
	wrong := lokiPush(`{a="b"}`, "x")
	wrong.token = "wrong"
	c.Fail("", Fault{Status: 500, Times: 1})
	if a, b := wrong.status(t, c), lokiPush(`{a="b"}`, "x").status(t, c); a != 401 || b != 500 {
		t.Errorf("a wrong credential used up the fault: %d, %d", a, b)
	}
	sometimes := c.Fail("", Fault{Status: 500, Probability: 0.5})
	for range 40 {
		lokiPush(`{a="b"}`, "x").status(t, c)
	}
	if n := sometimes.Hits(); n < 8 || n > 32 {
		t.Errorf("%d of 40 hit, at probability 0.5", n)
	}
}

func TestHang(t *testing.T) {
	c := start(t, Options{})
	o := c.Fail(Loki, Fault{Hang: true, Times: 1})
	got := make(chan int)
	go func() { got <- lokiPush(`{a="b"}`, "x").status(t, c) }()
	if err := c.WaitRequests(t.Context(), logsUser, Loki, 1); err != nil {
		t.Fatal(err)
	}
	if s := lokiPush(`{a="b"}`, "y").status(t, c); s != 204 {
		t.Errorf("the second push hangs too, or failed: %d", s)
	}
	select {
	case s := <-got:
		t.Fatalf("answered %d while it should hang", s)
	default:
	}
	o.Clear()
	if s := <-got; s != 204 {
		t.Errorf("after the release: %d", s)
	}

	// Close lets go what hangs.
	c.Fail(Loki, Fault{Hang: true})
	go func() { got <- lokiPush(`{a="b"}`, "z").status(t, c) }()
	if err := c.WaitRequests(t.Context(), logsUser, Loki, 3); err != nil {
		t.Fatal(err)
	}
	c.Close()
	if s := <-got; s != 0 {
		t.Errorf("closed cloud answered %d", s)
	}
}

func TestDelay(t *testing.T) {
	c := start(t, Options{Latency: func() time.Duration { return 20 * time.Millisecond }})
	c.Fail(Loki, Fault{Delay: 30 * time.Millisecond})
	began := time.Now()
	if s := lokiPush(`{a="b"}`, "x").status(t, c); s != 204 {
		t.Errorf("slow answer: %d", s)
	}
	if d := time.Since(began); d < 50*time.Millisecond {
		t.Errorf("answered after %v, want 50ms at least", d)
	}
}

func TestWrittenHeadersWithheld(t *testing.T) {
	c := start(t, Options{})
	c.Fail(Prometheus, Fault{NoWritten: true})
	resp, _, err := v2Push(goodV2()).send(t, c)
	if err != nil || resp.StatusCode != 200 || resp.Header.Get("X-Prometheus-Remote-Write-Samples-Written") != "" {
		t.Errorf("%v %v", resp, err)
	}
	if c.Stats("", "").Items != 2 {
		t.Error("not stored")
	}
}

func TestWaitItems(t *testing.T) {
	c := start(t, Options{})
	short, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if err := c.WaitItems(short, logsUser, Loki, 2); err == nil || !strings.Contains(err.Error(), "0 so far") {
		t.Errorf("waited for nothing: %v", err)
	}
	waited := make(chan error)
	go func() { waited <- c.WaitItems(t.Context(), logsUser, Loki, 2) }()
	lokiPush(`{a="b"}`, "x").status(t, c)
	lokiPush(`{a="b"}`, "y").status(t, c)
	if err := <-waited; err != nil {
		t.Error(err)
	}
}

func TestKeepIsBounded(t *testing.T) {
	f := func(keep, want int) {
		t.Helper()
		c := start(t, Options{Keep: keep})
		for _, l := range []string{"1", "2", "3"} {
			lokiPush(`{a="b"}`, l).status(t, c)
		}
		ps := c.Pushes("", "")
		if len(ps) != want {
			t.Fatalf("keep %d: %d pushes, want %d", keep, len(ps), want)
		}
		if want > 0 && ps[want-1].Logs.Streams[0].Entries[0].Line != "3" {
			t.Errorf("the newest was dropped")
		}
	}
	f(2, 2)
	f(0, 3)
	f(-1, 0)
}

func TestUnreachable(t *testing.T) {
	resp, err := http.Get(Unreachable())
	if !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("%v %v, want a refused connection", resp, err)
	}
}

// As a plain handler it serves under TLS, too.
func TestHandler(t *testing.T) {
	c := New(Options{Instances: []Instance{{User: "1", Endpoint: Loki, Tokens: []string{"t"}}}})
	srv := httptest.NewTLSServer(c)
	defer srv.Close()
	defer c.Close()
	p := lokiPush(`{a="b"}`, "x")
	r, _ := http.NewRequestWithContext(t.Context(), http.MethodPost, srv.URL+Loki, bytes.NewReader(p.body))
	r.SetBasicAuth("1", "t")
	resp, err := srv.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != 204 {
		t.Errorf("status %d", resp.StatusCode)
	}
}
