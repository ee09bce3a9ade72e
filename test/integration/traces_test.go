package integration

import (
	"bytes"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/ptrace"
)

// traceExit is one way for traces to leave: a gateway, what stands behind it, and what arrived there.
type traceExit struct {
	*gateway
	rc   *otlpReceiver
	name string
}

// traceClients are the senders of these tests: one with a token, and one with a password, as Jaeger's client has it.
const traceClients = "    clients:\n      app: {bearer_token_file: secrets/client}\n" +
	"      jaeger: {basic_auth: {username: jaeger, password_file: secrets/jaeger}}\n"

const jaegerPass = "jaeger-password-0c11d2"

// newTraceExit starts a gateway whose traces leave by name (otlp, tempo) over transport. rest holds further keys of the
// environment.
func newTraceExit(t testing.TB, name, transport, rest string) *traceExit {
	t.Helper()
	x := &traceExit{name: name + " over " + transport}
	var line string
	if transport == "grpc" {
		up := newGRPCUpstream(t)
		x.rc, line = up.otlpReceiver, up.yaml(name, "")
	} else {
		x.rc = newOTLPReceiver(t)
		line = newUpstream(t, x.rc.proxy()).yaml(name, "", "transport: http,")
	}
	x.gateway = startTraceGateway(t, line, rest)
	return x
}

func startTraceGateway(t testing.TB, upstreams, rest string) *gateway {
	t.Helper()
	g := newGateway(t, "", "  prod:\n"+traceClients+"    upstreams:\n"+upstreams+rest)
	g.writeSecret("jaeger", jaegerPass)
	g.start()
	return g
}

// allTraceExits are the four that there are.
func allTraceExits(t testing.TB) []*traceExit {
	t.Helper()
	return []*traceExit{
		newTraceExit(t, "otlp", "http", ""), newTraceExit(t, "otlp", "grpc", ""),
		newTraceExit(t, "tempo", "http", ""), newTraceExit(t, "tempo", "grpc", ""),
	}
}

// take returns the spans that arrived since the last call.
func (x *traceExit) take() []ptrace.Traces {
	all := slices.Clone(x.rc.traces.AllTraces())
	x.rc.traces.Reset()
	return all
}

// tap stands between an HTTP sender and the gateway and keeps each push as the sender wrote it.
type tap struct {
	url string

	mu     sync.Mutex // guards pushes
	pushes []tapped
}

type tapped struct {
	uri    string
	header http.Header
	body   []byte
	status int
	reply  http.Header // headers of the answer
	answer string
}

// newTap passes on to addr.
func newTap(t testing.TB, addr string) *tap {
	t.Helper()
	p := &tap{}
	p.url = serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Errorf("tap: %v", err)
			return
		}
		push := tapped{uri: r.RequestURI, header: r.Header.Clone(), body: body}
		resp := push.replay(t, addr)
		defer resp.Body.Close()
		answer, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Errorf("tap: %v", err)
		}
		push.status, push.reply, push.answer = resp.StatusCode, resp.Header, string(answer)
		p.mu.Lock()
		p.pushes = append(p.pushes, push)
		p.mu.Unlock()
		maps.Copy(w.Header(), resp.Header)
		w.WriteHeader(resp.StatusCode)
		_, _ = w.Write(answer)
	}))
	return p
}

// replay sends the same bytes to addr.
func (p *tapped) replay(t testing.TB, addr string) *http.Response {
	req, err := http.NewRequestWithContext(background(t), http.MethodPost, "http://"+addr+p.uri, bytes.NewReader(p.body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header = p.header.Clone()
	req.Header.Del("Content-Length")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	return resp
}

// addr is host:port.
func (p *tap) addr() string { return strings.TrimPrefix(p.url, "http://") }

// all returns the pushes so far.
func (p *tap) all() []tapped {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.pushes)
}

// checkSpans fails unless the same spans are in both, in the same resources and scopes. In which order they, and their
// attributes, stand says nothing: the Collector takes Zipkin's from maps.
func checkSpans(t testing.TB, where string, want, got []ptrace.Traces) {
	t.Helper()
	w, g := renderSpans(t, want), renderSpans(t, got)
	if len(w) == 0 {
		t.Errorf("%s: nothing to compare with", where)
	}
	if len(g) != len(w) {
		t.Errorf("%s: spans of %d resources and scopes arrived, want %d", where, len(g), len(w))
	}
	for i := range min(len(g), len(w)) {
		a, b := strings.Split(w[i], "\n"), strings.Split(g[i], "\n")
		if len(a) != len(b) {
			t.Errorf("%s: group %d has %d spans, want %d", where, i, len(b)-1, len(a)-1)
		}
		for j := range min(len(a), len(b)) {
			if a[j] != b[j] {
				t.Errorf("%s: group %d, line %d\n got %s\nwant %s", where, i, j, b[j], a[j])
				return
			}
		}
	}
}

// renderSpans is one text for each resource and scope: a line for them, and one for each span.
func renderSpans(t testing.TB, all []ptrace.Traces) []string {
	t.Helper()
	var out []string
	for _, td := range all {
		for _, rs := range td.ResourceSpans().All() {
			sortAttributes(rs.Resource().Attributes())
			for _, ss := range rs.ScopeSpans().All() {
				one := ptrace.NewTraces()
				head := one.ResourceSpans().AppendEmpty()
				rs.Resource().CopyTo(head.Resource())
				ss.Scope().CopyTo(head.ScopeSpans().AppendEmpty().Scope())
				var lines []string
				for _, span := range ss.Spans().All() {
					lines = append(lines, renderSpan(t, span))
				}
				slices.Sort(lines)
				out = append(out, renderTraces(t, one)+"\n"+strings.Join(lines, "\n"))
			}
		}
	}
	slices.Sort(out)
	return out
}

func renderSpan(t testing.TB, span ptrace.Span) string {
	t.Helper()
	td := ptrace.NewTraces()
	s := td.ResourceSpans().AppendEmpty().ScopeSpans().AppendEmpty().Spans().AppendEmpty()
	span.CopyTo(s)
	sortAttributes(s.Attributes())
	for _, e := range s.Events().All() {
		sortAttributes(e.Attributes())
	}
	for _, l := range s.Links().All() {
		sortAttributes(l.Attributes())
	}
	return renderTraces(t, td)
}

func renderTraces(t testing.TB, td ptrace.Traces) string {
	t.Helper()
	out, err := (&ptrace.JSONMarshaler{}).MarshalTraces(td)
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

// eachSpan visits every span with the resource it is of.
func eachSpan(all []ptrace.Traces, f func(resource pcommon.Map, span ptrace.Span)) {
	for _, td := range all {
		for _, rs := range td.ResourceSpans().All() {
			for _, ss := range rs.ScopeSpans().All() {
				for _, span := range ss.Spans().All() {
					f(rs.Resource().Attributes(), span)
				}
			}
		}
	}
}

// books reads the one client's books of a signal and fails unless they balance.
func (g *gateway) books(client, signal string) (received, forwarded, dropped, failed float64) {
	g.t.Helper()
	who := []string{fmt.Sprintf("client=%q", client), fmt.Sprintf("signal=%q", signal)}
	received, forwarded = g.metric("gateway_items_received_total", who...), g.metric("gateway_items_forwarded_total", who...)
	dropped, failed = g.metric("gateway_items_dropped_total", who...), g.metric("gateway_items_failed_total", who...)
	if received != forwarded+dropped+failed {
		g.t.Errorf("%s of %s: received %g, but forwarded %g + dropped %g + failed %g", signal, client, received, forwarded, dropped, failed)
	}
	return received, forwarded, dropped, failed
}
