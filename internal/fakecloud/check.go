package fakecloud

import (
	"bytes"
	"fmt"
	"net/http"
	"unicode/utf8"

	"github.com/grafana/loki/pkg/push"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/prompb"
	writev2 "github.com/prometheus/prometheus/prompb/io/prometheus/write/v2"
	"github.com/prometheus/prometheus/promql/parser"
	"google.golang.org/protobuf/encoding/protowire"
)

// forbidden are headers that give a sender power over upstream, or make Go's transport send a POST twice.
var forbidden = []string{
	"X-Scope-Orgid", "Cookie", "Idempotency-Key", "X-Idempotency-Key", "X-Loki-Backfill-Shard",
	"X-Mimir-Skiplabelnamevalidation", "X-Mimir-Skiplabelcountvalidation", "X-Forwarded-For", "X-Forwarded-Client-Cert",
	"Trailer", "Te",
}

// checkHeaders says what is wrong with a request before its body is looked at.
func checkHeaders(r *http.Request, path string) (breaches []string) {
	add := func(format string, args ...any) { breaches = append(breaches, fmt.Sprintf(format, args...)) }
	for _, h := range forbidden {
		if r.Header.Get(h) != "" {
			add("header %s must not leave a gateway", h)
		}
	}
	if r.URL.RawQuery != "" {
		add("query string %q must not leave a gateway", r.URL.RawQuery)
	}
	if len(r.Trailer) > 0 {
		add("trailers must not leave a gateway")
	}
	if r.Header.Get("User-Agent") == "" {
		add("no User-Agent")
	}
	for _, h := range []string{"Authorization", "Content-Type", "Content-Encoding"} {
		if n := len(r.Header.Values(h)); n > 1 {
			add("%d headers %s", n, h)
		}
	}
	if path != Prometheus {
		return breaches
	}
	if enc := r.Header.Get("Content-Encoding"); enc != "snappy" {
		add("Content-Encoding %q of remote_write is not snappy", enc)
	}
	// The one spelling without a space is what Mimir understands.
	version := r.Header.Get("X-Prometheus-Remote-Write-Version")
	switch ct := r.Header.Get("Content-Type"); ct {
	case "application/x-protobuf", "application/x-protobuf;proto=prometheus.WriteRequest":
		if version != "0.1.0" {
			add("X-Prometheus-Remote-Write-Version %q of v1 is not 0.1.0", version)
		}
	case "application/x-protobuf;proto=io.prometheus.write.v2.Request":
		if version != "2.0.0" {
			add("X-Prometheus-Remote-Write-Version %q of v2 is not 2.0.0", version)
		}
	default:
		add("Content-Type %q is not one of remote_write's", ct)
	}
	return breaches
}

// check says what is wrong with what was decoded, at most one breach per series, stream or item.
func (p *Push) check() []string {
	switch {
	case p.V1 != nil:
		return checkV1(p.V1, p.Body)
	case p.V2 != nil:
		return checkV2(p.V2, p.Body)
	case p.Logs != nil:
		return checkLoki(p.Logs)
	}
	return p.checkOTLP()
}

func checkV1(req *prompb.WriteRequest, body []byte) (breaches []string) {
	for num := range fields(body) {
		if num != 1 && num != 3 {
			breaches = append(breaches, fmt.Sprintf("field %d in a remote_write v1 push", num))
		}
	}
	for i := range req.Timeseries {
		ts := &req.Timeseries[i]
		pairs := make([][2]string, len(ts.Labels))
		for j, l := range ts.Labels {
			pairs[j] = [2]string{l.Name, l.Value}
		}
		err := checkLabels(pairs, model.LegacyValidation)
		var last int64
		for _, s := range ts.Samples {
			err, last = checkTime(err, s.Timestamp, last)
		}
		last = 0
		for _, h := range ts.Histograms {
			err, last = checkTime(err, h.Timestamp, last)
			if err == nil && (h.Schema == -53 || len(h.CustomValues) > 0) {
				err = fmt.Errorf("native histogram with custom buckets over v1")
			}
		}
		for _, e := range ts.Exemplars {
			err, _ = checkTime(err, e.Timestamp, 0)
		}
		if err != nil {
			breaches = append(breaches, fmt.Sprintf("series %v: %v", pairs, err))
		}
	}
	return breaches
}

func checkV2(req *writev2.Request, body []byte) (breaches []string) {
	series := false
	for num := range fields(body) {
		switch {
		case num != 4 && num != 5:
			breaches = append(breaches, fmt.Sprintf("field %d in a remote_write v2 push", num))
		case num == 4 && series:
			breaches = append(breaches, "symbols after timeseries")
		}
		series = series || num == 5
	}
	if len(req.Symbols) == 0 && len(req.Timeseries) > 0 || len(req.Symbols) > 0 && req.Symbols[0] != "" {
		breaches = append(breaches, "symbols do not begin with the empty one")
	}
	seen := make(map[string]bool, len(req.Symbols))
	for _, s := range req.Symbols {
		// Empty ones stand where a proxy has taken out what nothing refers to any more: no ref is ambiguous by them.
		if seen[s] && s != "" {
			breaches = append(breaches, fmt.Sprintf("symbol %q twice", s))
		}
		seen[s] = true
	}
	for i := range req.Timeseries {
		if err := checkSeriesV2(req.Symbols, &req.Timeseries[i]); err != nil {
			breaches = append(breaches, fmt.Sprintf("series %d: %v", i, err))
		}
	}
	return breaches
}

func checkSeriesV2(symbols []string, ts *writev2.TimeSeries) error {
	pairs, err := resolve(symbols, ts.LabelsRefs)
	if err != nil {
		return err
	}
	if err := checkLabels(pairs, model.UTF8Validation); err != nil {
		return fmt.Errorf("%v: %w", pairs, err)
	}
	if len(ts.Samples) > 0 && len(ts.Histograms) > 0 {
		return fmt.Errorf("%v: samples and histograms in one", pairs)
	}
	var last int64
	for _, s := range ts.Samples {
		err, last = checkTime(err, s.Timestamp, last)
	}
	last = 0
	for _, h := range ts.Histograms {
		err, last = checkTime(err, h.Timestamp, last)
	}
	for _, e := range ts.Exemplars {
		err, _ = checkTime(err, e.Timestamp, 0)
		if _, bad := resolve(symbols, e.LabelsRefs); err == nil {
			err = bad
		}
	}
	if m := ts.Metadata; err == nil && (int(m.HelpRef) >= max(len(symbols), 1) || int(m.UnitRef) >= max(len(symbols), 1)) {
		err = fmt.Errorf("metadata refs %d and %d, of %d symbols", m.HelpRef, m.UnitRef, len(symbols))
	}
	if err != nil {
		return fmt.Errorf("%v: %w", pairs, err)
	}
	return nil
}

// resolve turns refs into names and values.
func resolve(symbols []string, refs []uint32) ([][2]string, error) {
	if len(refs)%2 != 0 {
		return nil, fmt.Errorf("%d label refs, an odd number", len(refs))
	}
	var pairs [][2]string
	for i := 0; i < len(refs); i += 2 {
		n, v := int(refs[i]), int(refs[i+1])
		if n >= len(symbols) || v >= len(symbols) {
			return nil, fmt.Errorf("label refs %d and %d, of %d symbols", n, v, len(symbols))
		}
		pairs = append(pairs, [2]string{symbols[n], symbols[v]})
	}
	return pairs, nil
}

// checkLabels wants names sorted, none doubled, no name or value empty, and a __name__.
func checkLabels(pairs [][2]string, names model.ValidationScheme) error {
	named := false
	for i, p := range pairs {
		n, v := p[0], p[1]
		switch {
		case n == "":
			return fmt.Errorf("empty label name")
		case v == "":
			return fmt.Errorf("label %s is empty", n)
		case !names.IsValidLabelName(n):
			return fmt.Errorf("label name %q is not valid", n)
		case !utf8.ValidString(v):
			return fmt.Errorf("label %s is not UTF-8", n)
		case i > 0 && pairs[i-1][0] == n:
			return fmt.Errorf("label %s twice", n)
		case i > 0 && pairs[i-1][0] > n:
			return fmt.Errorf("label %s not sorted", n)
		}
		if n == model.MetricNameLabel {
			named = true
			if !names.IsValidMetricName(v) {
				return fmt.Errorf("metric name %q is not valid", v)
			}
		}
	}
	if !named {
		return fmt.Errorf("no __name__")
	}
	return nil
}

// checkTime keeps the first error. Times of one series rise; the same one twice is the first one kept.
func checkTime(err error, ts, last int64) (error, int64) {
	switch {
	case err != nil:
	case ts == 0:
		err = fmt.Errorf("no timestamp")
	case ts <= last:
		err = fmt.Errorf("timestamp %d after %d", ts, last)
	}
	return err, ts
}

func checkLoki(req *push.PushRequest) (breaches []string) {
	syntax := parser.NewParser(parser.Options{})
	for i := range req.Streams {
		if err := checkStream(syntax, &req.Streams[i]); err != nil {
			breaches = append(breaches, fmt.Sprintf("stream %s: %v", req.Streams[i].Labels, err))
		}
	}
	return breaches
}

func checkStream(syntax parser.Parser, s *push.Stream) error {
	ls, err := syntax.ParseMetric(s.Labels)
	if err != nil {
		return err
	}
	if ls.Len() == 0 {
		return fmt.Errorf("no labels")
	}
	if n, doubled := ls.HasDuplicateLabelNames(); doubled {
		return fmt.Errorf("label %s twice", n)
	}
	if ls.WithoutEmpty().Len() != ls.Len() {
		return fmt.Errorf("empty label")
	}
	if len(s.Entries) == 0 {
		return fmt.Errorf("no entries")
	}
	for _, e := range s.Entries {
		if e.Timestamp.IsZero() || e.Timestamp.UnixNano() == 0 {
			return fmt.Errorf("no timestamp")
		}
		if len(e.Parsed) > 0 {
			return fmt.Errorf("parsed labels, which are for answers only")
		}
		names := map[string]bool{}
		for _, m := range e.StructuredMetadata {
			if m.Name == "" || names[m.Name] {
				return fmt.Errorf("structured metadata %q empty or twice", m.Name)
			}
			names[m.Name] = true
		}
	}
	return nil
}

// fields yields the numbers of the fields of a message in wire order. The message is known to be well formed.
func fields(b []byte) func(yield func(protowire.Number) bool) {
	return func(yield func(protowire.Number) bool) {
		for len(b) > 0 {
			num, typ, n := protowire.ConsumeTag(b)
			if n < 0 {
				return
			}
			m := protowire.ConsumeFieldValue(num, typ, b[n:])
			if m < 0 || !yield(num) {
				return
			}
			b = b[n+m:]
		}
	}
}

var zeros = make([]byte, 16)

// isZero says whether an id is all zero, which means there is none.
func isZero(id []byte) bool { return bytes.Equal(id, zeros[:len(id)]) }
