package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/golang/snappy"
	"github.com/prometheus/prometheus/prompb"
	writev2 "github.com/prometheus/prometheus/prompb/io/prometheus/write/v2"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/pdata/ptrace"

	"github.com/telemetry-gateway/telemetry-gateway/internal/fakecloud"
)

// sender makes pushes of one door.
type sender struct {
	path   string
	header http.Header
	body   func(items int) ([]byte, error)
}

// senders by the name of their door; OTLP has one for each signal.
func senders() map[string]sender {
	snappyProto := func(message string) http.Header {
		return http.Header{"Content-Type": {"application/x-protobuf" + message}, "Content-Encoding": {"snappy"}}
	}
	json := http.Header{"Content-Type": {"application/json"}}
	return map[string]sender{
		"remote_write_v1": {"/api/v1/push", snappyProto(""), writeV1},
		"remote_write_v2": {"/api/v1/push", snappyProto(";proto=io.prometheus.write.v2.Request"), writeV2},
		"loki":            {"/loki/api/v1/push", json, lines},
		"traces":          {"/v1/traces", json, spans},
		"metrics":         {"/v1/metrics", json, points},
		"logs":            {"/v1/logs", json, records},
	}
}

func writeV1(items int) ([]byte, error) {
	req := &prompb.WriteRequest{}
	for i := range items {
		req.Timeseries = append(req.Timeseries, prompb.TimeSeries{
			Labels:  []prompb.Label{{Name: "__name__", Value: "up"}, {Name: "instance", Value: strconv.Itoa(i)}},
			Samples: []prompb.Sample{{Value: 1, Timestamp: time.Now().UnixMilli()}},
		})
	}
	body, err := req.Marshal()
	return snappy.Encode(nil, body), err
}

func writeV2(items int) ([]byte, error) {
	req := &writev2.Request{Symbols: []string{"", "__name__", "up", "instance"}}
	for i := range items {
		req.Symbols = append(req.Symbols, strconv.Itoa(i))
		req.Timeseries = append(req.Timeseries, writev2.TimeSeries{
			LabelsRefs: []uint32{1, 2, 3, uint32(4 + i)}, Samples: []writev2.Sample{{Value: 1, Timestamp: time.Now().UnixMilli()}},
		})
	}
	body, err := req.Marshal()
	return snappy.Encode(nil, body), err
}

func lines(items int) ([]byte, error) {
	values := make([]string, items)
	for i := range values {
		values[i] = fmt.Sprintf(`["%d", "line %d"]`, time.Now().UnixNano(), i)
	}
	return fmt.Appendf(nil, `{"streams": [{"stream": {"app": "shop"}, "values": [%s]}]}`, strings.Join(values, ", ")), nil
}

func spans(items int) ([]byte, error) {
	td := ptrace.NewTraces()
	list := td.ResourceSpans().AppendEmpty().ScopeSpans().AppendEmpty().Spans()
	for i := range items {
		span := list.AppendEmpty()
		span.SetName("span " + strconv.Itoa(i))
		span.SetTraceID([16]byte{1, byte(i)})
		span.SetSpanID([8]byte{2, byte(i)})
	}
	return (&ptrace.JSONMarshaler{}).MarshalTraces(td)
}

func points(items int) ([]byte, error) {
	md := pmetric.NewMetrics()
	m := md.ResourceMetrics().AppendEmpty().ScopeMetrics().AppendEmpty().Metrics().AppendEmpty()
	m.SetName("requests")
	list := m.SetEmptyGauge().DataPoints()
	for i := range items {
		list.AppendEmpty().SetIntValue(int64(i))
	}
	return (&pmetric.JSONMarshaler{}).MarshalMetrics(md)
}

func records(items int) ([]byte, error) {
	ld := plog.NewLogs()
	list := ld.ResourceLogs().AppendEmpty().ScopeLogs().AppendEmpty().LogRecords()
	for i := range items {
		list.AppendEmpty().Body().SetStr("record " + strconv.Itoa(i))
	}
	return (&plog.JSONMarshaler{}).MarshalLogs(ld)
}

// push sends one push to the first HTTP port.
func (s *script) push(args ...string) {
	s.plain(args, 1, 9)
	door, known := senders()[args[0]]
	if !known {
		s.Fatalf("there is no door %s", args[0])
	}
	later := args[len(args)-1] == "&"
	if later {
		args = args[:len(args)-1]
	}
	items, body := 1, []byte(nil)
	to, h := s.process().http, door.header
	user, password := "", ""
	for _, arg := range args[1:] {
		switch key, value, _ := strings.Cut(arg, "="); key {
		case "token":
			h.Set("Authorization", "Bearer "+s.secret(value))
		case "user":
			user = value
		case "password":
			password = s.secret(value)
		case "body":
			body = []byte(s.ReadFile(value))
		case "items":
			n, err := strconv.Atoi(value)
			s.Check(err)
			items = n
		case "header":
			name, text, _ := strings.Cut(value, ":")
			h.Set(name, text)
		case "to":
			to = value
		default:
			s.Fatalf("push does not know %s", arg)
		}
	}
	if body == nil {
		made, err := door.body(items)
		s.Check(err)
		body = made
	}
	req, err := http.NewRequest(http.MethodPost, "http://"+to+door.path, bytes.NewReader(body))
	s.Check(err)
	req.Header = h
	if user != "" {
		req.SetBasicAuth(user, password)
	}
	s.remember()
	if !later {
		a, err := do(req)
		s.Check(err)
		s.took(a)
		return
	}
	replies := make(chan reply, 1)
	go func() {
		a, err := do(req)
		replies <- reply{a, err}
	}()
	s.waiting[args[0]] = replies
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	s.Check(s.cloud.WaitRequests(ctx, everyone, "", s.before[everyone].Requests+1))
}

// reply is what became of a push that was left waiting.
type reply struct {
	answer
	err error
}

// pushed waits for the answer to the push of a door that was left waiting.
func (s *script) pushed(args ...string) {
	s.plain(args, 1, 1)
	replies := s.waiting[args[0]]
	if replies == nil {
		s.Fatalf("no push of %s waits", args[0])
	}
	r := <-replies // the client's own timeout ends this
	delete(s.waiting, args[0])
	s.Check(r.err)
	s.took(r.answer)
}

// secret is the first line of a file in secrets, or of any other.
func (s *script) secret(name string) string {
	content, err := os.ReadFile(filepath.Join(s.dir, "secrets", name))
	if err != nil {
		content = []byte(s.ReadFile(name))
	}
	line, _, _ := strings.Cut(string(content), "\n")
	return line
}

func (s *script) status(args ...string) {
	s.plain(args, 1, 1)
	if want, err := strconv.Atoi(args[0]); err != nil || want != s.answer.status {
		s.Fatalf("status %d, want %s: %s", s.answer.status, args[0], s.answer.body)
	}
}

func (s *script) header(args ...string) {
	if len(args) != 2 {
		s.Fatalf("usage: header NAME REGEXP")
	}
	re, err := regexp.Compile(args[1])
	s.Check(err)
	values := s.answer.header.Values(args[0])
	s.want(slices.ContainsFunc(values, re.MatchString), "%s: %q, want %q", args[0], values, args[1])
}

// everyone is the name of all users of the cloud together.
const everyone = ""

// remember notes what the cloud has, to compare with.
func (s *script) remember() {
	s.before = map[string]fakecloud.Stats{everyone: s.cloud.Stats(everyone, "")}
	for _, stack := range users {
		for _, in := range stack {
			s.before[in.User] = s.cloud.Stats(in.User, "")
		}
	}
	s.pushes = len(s.cloud.Pushes(everyone, ""))
}

func (s *script) forwarded(args ...string) {
	if s.before == nil {
		s.Fatalf("nothing was pushed yet")
	}
	all := s.cloud.Stats(everyone, "").Requests - s.before[everyone].Requests
	s.want(all == 1, "%d requests have reached the cloud, want 1", all)
	if s.neg {
		if all != 0 || len(args) > 0 {
			s.Fatalf("%d requests have reached the cloud, want none, of whomever", all)
		}
		return
	}
	user := everyone
	for _, arg := range args {
		key, value, _ := strings.Cut(arg, "=")
		if key == "as" {
			user = value
		}
	}
	stats := s.cloud.Stats(user, "")
	if n := stats.Requests - s.before[user].Requests; n != 1 {
		s.Fatalf("%d of them as %s", n, user)
	}
	for _, arg := range args {
		switch key, value, _ := strings.Cut(arg, "="); key {
		case "as":
		case "password":
			req := http.Request{Header: stats.Header}
			if _, password, _ := req.BasicAuth(); password != s.secret(value) {
				s.Fatalf("the password was not that of %s", value)
			}
		case "items":
			if n := stats.Items - s.before[user].Items; strconv.Itoa(n) != value {
				s.Fatalf("%d items were stored, want %s", n, value)
			}
		default:
			s.Fatalf("forwarded does not know %s", arg)
		}
	}
}

// stored compares the items that the cloud has stored since the last push.
func (s *script) stored(args ...string) {
	if len(args) != 1 {
		s.Fatalf("usage: stored REGEXP")
	}
	re, err := regexp.Compile("(?m)" + args[0])
	s.Check(err)
	var text strings.Builder
	for _, p := range s.cloud.Pushes(everyone, "")[s.pushes:] {
		describe(&text, p)
	}
	s.want(re.MatchString(text.String()), "%q does not fit what was stored:\n%s", args[0], &text)
}

// describe writes the items of p, one a line; OTLP as JSON.
func describe(w *strings.Builder, p *fakecloud.Push) {
	var text []byte
	switch {
	case p.V1 != nil:
		for _, ts := range p.V1.Timeseries {
			for _, l := range ts.Labels {
				fmt.Fprint(w, l.Name, "=", l.Value, " ")
			}
			fmt.Fprintln(w)
		}
	case p.V2 != nil:
		for _, ts := range p.V2.Timeseries {
			for i, ref := range ts.LabelsRefs {
				fmt.Fprint(w, p.V2.Symbols[ref], []string{"=", " "}[i%2])
			}
			fmt.Fprintln(w)
		}
	case p.Logs != nil:
		for _, stream := range p.Logs.Streams {
			for _, e := range stream.Entries {
				fmt.Fprintln(w, stream.Labels, e.Line)
			}
		}
	case p.Endpoint == fakecloud.OTLPTraces:
		text, _ = (&ptrace.JSONMarshaler{}).MarshalTraces(p.Traces)
	case p.Endpoint == fakecloud.OTLPMetrics:
		text, _ = (&pmetric.JSONMarshaler{}).MarshalMetrics(p.Metrics)
	case p.Endpoint == fakecloud.OTLPLogs:
		text, _ = (&plog.JSONMarshaler{}).MarshalLogs(p.Records)
	}
	w.Write(text)
}

// endpoints of the cloud by the name of the upstream that uses them.
var endpoints = map[string]string{"prometheus": fakecloud.Prometheus, "loki": fakecloud.Loki, "otlp": fakecloud.OTLP}

func (s *script) cloudCommand(args ...string) {
	s.plain(args, 1, 4)
	verb, args := args[0], append(args[1:], "", "", "")
	endpoint := endpoints[args[0]]
	switch verb {
	case "fail":
		status, err := strconv.Atoi(args[1])
		s.Check(err)
		s.cloud.Fail(endpoint, fakecloud.Fault{Status: status, Body: args[2]})
	case "redirect":
		s.cloud.Fail(endpoint, fakecloud.Redirect(args[1]))
	case "page":
		s.cloud.Fail(endpoint, fakecloud.LoginPage())
	case "hang":
		s.cloud.Fail(endpoint, fakecloud.Fault{Hang: true})
	case "heal":
		s.cloud.Heal()
	case "token":
		s.cloud.SetTokens(args[0], s.secret(args[1]))
	case "tls":
		server := httptest.NewUnstartedServer(s.cloud)
		server.Config.ErrorLog = log.New(io.Discard, "", 0) // refused handshakes are what it is for
		server.StartTLS()
		s.Defer(server.Close)
		s.Setenv("CLOUD_TLS", server.URL)
		s.Setenv("CLOUD_TLS_HOST", server.Listener.Addr().String())
	default:
		s.Fatalf("cloud cannot %s", verb)
	}
}
