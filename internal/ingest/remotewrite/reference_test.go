package remotewrite

import (
	"cmp"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/prometheus/prompb"
	writev2 "github.com/prometheus/prometheus/prompb/io/prometheus/write/v2"

	"github.com/telemetry-gateway/telemetry-gateway/internal/ingest"
	"github.com/telemetry-gateway/telemetry-gateway/internal/labels"
	"github.com/telemetry-gateway/telemetry-gateway/internal/wire"
)

// What follows does with Prometheus' own structs what the package does with bytes.

// staleNaN is Prometheus' stale marker. Its bits must arrive.
var staleNaN = math.Float64frombits(0x7ff0000000000002)

// randomLabels are usually as they should be and sometimes unsorted, doubled, empty or long.
func randomLabels(r *rand.Rand, name string) []prompb.Label {
	ls := []prompb.Label{{Name: "__name__", Value: name}}
	for _, n := range []string{"Zone", "cluster", "environment", "instance", "job", "namespace", "pod"} {
		if r.IntN(3) > 0 {
			ls = append(ls, prompb.Label{Name: n, Value: fmt.Sprint(n, "-", r.IntN(5))})
		}
	}
	slices.SortStableFunc(ls, func(a, b prompb.Label) int { return cmp.Compare(a.Name, b.Name) })
	switch r.IntN(10) {
	case 0:
		r.Shuffle(len(ls), func(i, j int) { ls[i], ls[j] = ls[j], ls[i] })
	case 1:
		ls = append(ls, prompb.Label{Name: "environment", Value: "prod"}, prompb.Label{Name: "environment", Value: "other"})
	case 2:
		ls = append(ls, prompb.Label{Name: "pod", Value: ""}, prompb.Label{Name: "zone", Value: ""})
	case 3:
		ls = append(ls, prompb.Label{Name: "zz_long", Value: strings.Repeat("x", 100+r.IntN(300))})
	case 4:
		ls = append(ls, prompb.Label{Name: "environment", Value: "prod"})
	case 5:
		ls = nil
	}
	return ls
}

func randomValue(r *rand.Rand) float64 {
	return []float64{0, 1, -1.5, math.Inf(1), math.NaN(), staleNaN, r.Float64()}[r.IntN(7)]
}

func randomHistogram(r *rand.Rand) prompb.Histogram {
	h := prompb.Histogram{
		Sum: randomValue(r), Schema: int32(r.IntN(13)) - 4, ZeroThreshold: r.Float64(), Timestamp: r.Int64() - r.Int64(),
		ResetHint:     prompb.Histogram_ResetHint(r.IntN(4)),
		NegativeSpans: []prompb.BucketSpan{{Offset: -3, Length: 2}}, PositiveSpans: []prompb.BucketSpan{{Offset: 1, Length: 3}, {Offset: 9, Length: 1}},
	}
	if r.IntN(2) == 0 {
		h.Count, h.ZeroCount = &prompb.Histogram_CountInt{CountInt: r.Uint64()}, &prompb.Histogram_ZeroCountInt{ZeroCountInt: 3}
		h.NegativeDeltas, h.PositiveDeltas = []int64{1, -1}, []int64{math.MaxInt64, math.MinInt64, 0, 5}
	} else {
		h.Count, h.ZeroCount = &prompb.Histogram_CountFloat{CountFloat: randomValue(r)}, &prompb.Histogram_ZeroCountFloat{ZeroCountFloat: 1.5}
		h.NegativeCounts, h.PositiveCounts = []float64{1, 2}, []float64{1, 2, 3, randomValue(r)}
	}
	if r.IntN(4) == 0 {
		h.Schema, h.CustomValues = -53, []float64{1, 2.5, 10}
	}
	return h
}

func randomExemplar(r *rand.Rand) prompb.Exemplar {
	e := prompb.Exemplar{Value: randomValue(r), Timestamp: r.Int64()}
	for range r.IntN(3) {
		e.Labels = append(e.Labels, prompb.Label{Name: fmt.Sprint("trace_id", r.IntN(9)), Value: fmt.Sprint(r.IntN(99))})
	}
	return e
}

func randomV1(r *rand.Rand) *prompb.WriteRequest {
	req := &prompb.WriteRequest{}
	for range r.IntN(12) {
		metric := fmt.Sprint("m", r.IntN(4), []string{"", "_total", "_bucket", "_sum", "_count", "_info"}[r.IntN(6)])
		ts := prompb.TimeSeries{Labels: randomLabels(r, metric)}
		for range r.IntN(3) {
			ts.Samples = append(ts.Samples, prompb.Sample{Value: randomValue(r), Timestamp: r.Int64N(1<<43) - 5})
		}
		for range r.IntN(2) {
			ts.Exemplars = append(ts.Exemplars, randomExemplar(r))
		}
		if r.IntN(3) == 0 {
			ts.Histograms = append(ts.Histograms, randomHistogram(r))
		}
		req.Timeseries = append(req.Timeseries, ts)
	}
	for range r.IntN(3) {
		req.Metadata = append(req.Metadata, prompb.MetricMetadata{
			Type: prompb.MetricMetadata_MetricType(r.IntN(8)), MetricFamilyName: fmt.Sprint("m", r.IntN(4)), Help: "help", Unit: []string{"", "seconds"}[r.IntN(2)],
		})
	}
	return req
}

func randomV2(r *rand.Rand) *writev2.Request {
	v1 := randomV1(r)
	t := writev2.NewSymbolTable()
	req := &writev2.Request{}
	for _, ts := range v1.Timeseries {
		s := writev2.TimeSeries{LabelsRefs: refsOf(&t, ts.Labels)}
		for _, x := range ts.Samples {
			s.Samples = append(s.Samples, writev2.Sample{Value: x.Value, Timestamp: x.Timestamp, StartTimestamp: int64(r.IntN(2))})
		}
		for _, x := range ts.Histograms {
			h := histogramToV2(x)
			h.StartTimestamp = int64(r.IntN(2)) * -7
			s.Histograms = append(s.Histograms, h)
		}
		for _, x := range ts.Exemplars {
			s.Exemplars = append(s.Exemplars, writev2.Exemplar{LabelsRefs: refsOf(&t, x.Labels), Value: x.Value, Timestamp: x.Timestamp})
		}
		if r.IntN(2) == 0 {
			s.Metadata = writev2.Metadata{Type: writev2.Metadata_MetricType(r.IntN(8)), HelpRef: t.Symbolize([]string{"help", "help", "", "other"}[r.IntN(4)]), UnitRef: t.Symbolize([]string{"", "bytes"}[r.IntN(2)])}
		}
		req.Timeseries = append(req.Timeseries, s)
	}
	req.Symbols = t.Symbols()
	return req
}

func refsOf(t *writev2.SymbolsTable, ls []prompb.Label) (refs []uint32) {
	for _, l := range ls {
		refs = append(refs, t.Symbolize(l.Name), t.Symbolize(l.Value))
	}
	return refs
}

// histogramToV2 relies on the two messages being the same up to field 16, which both .proto files say.
func histogramToV2(h prompb.Histogram) (out writev2.Histogram) {
	if err := out.Unmarshal(must(h.Marshal())); err != nil {
		panic(err)
	}
	return out
}

func histogramToV1(h writev2.Histogram) (out prompb.Histogram) {
	h.StartTimestamp = 0
	if err := out.Unmarshal(must(h.Marshal())); err != nil {
		panic(err)
	}
	return out
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// canonicalLabels is what a rewritten series has for labels.
func canonicalLabels(ls []prompb.Label, stamps []labels.Label) (out []prompb.Label) {
	for _, l := range ls {
		if l.Value != "" && !slices.ContainsFunc(stamps, func(s labels.Label) bool { return s.Name == l.Name }) {
			out = append(out, l)
		}
	}
	for _, s := range stamps {
		out = append(out, prompb.Label{Name: s.Name, Value: s.Value})
	}
	slices.SortStableFunc(out, func(a, b prompb.Label) int { return cmp.Compare(a.Name, b.Name) })
	return out
}

// stampLabels is what a stamped series has for labels: its own if it carries the stamps.
func stampLabels(ls []prompb.Label, stamps []labels.Label) []prompb.Label {
	for _, s := range stamps {
		var values []string
		for _, l := range ls {
			if l.Name == s.Name {
				values = append(values, l.Value)
			}
		}
		if !slices.Equal(values, []string{s.Value}) {
			return canonicalLabels(ls, stamps)
		}
	}
	return ls
}

func stampV1(req *prompb.WriteRequest, stamps []labels.Label) *prompb.WriteRequest {
	for i := range req.Timeseries {
		req.Timeseries[i].Labels = stampLabels(req.Timeseries[i].Labels, stamps)
	}
	return req
}

func labelsOf(req *writev2.Request, refs []uint32) (ls []prompb.Label) {
	for i := 0; i+1 < len(refs); i += 2 {
		ls = append(ls, prompb.Label{Name: req.Symbols[refs[i]], Value: req.Symbols[refs[i+1]]})
	}
	return ls
}

// plainV2 returns req with a table of its own making, so that two requests that mean the same are the same. The labels
// of each series go through change.
func plainV2(req *writev2.Request, change func([]prompb.Label) []prompb.Label) *writev2.Request {
	t := writev2.NewSymbolTable()
	out := &writev2.Request{XXX_unrecognized: req.XXX_unrecognized}
	for _, s := range req.Timeseries {
		s.LabelsRefs = refsOf(&t, change(labelsOf(req, s.LabelsRefs)))
		s.Exemplars = slices.Clone(s.Exemplars)
		for i, x := range s.Exemplars {
			s.Exemplars[i].LabelsRefs = refsOf(&t, labelsOf(req, x.LabelsRefs))
		}
		s.Metadata.HelpRef = t.Symbolize(req.Symbols[s.Metadata.HelpRef])
		s.Metadata.UnitRef = t.Symbolize(req.Symbols[s.Metadata.UnitRef])
		out.Timeseries = append(out.Timeseries, s)
	}
	out.Symbols = t.Symbols()
	return out
}

func sameLabels(ls []prompb.Label) []prompb.Label { return ls }

func sortedExemplar(ls []prompb.Label) []prompb.Label {
	ls = slices.Clone(ls)
	slices.SortStableFunc(ls, func(a, b prompb.Label) int { return cmp.Compare(a.Name, b.Name) })
	return ls
}

// toV2Reference converts structs, of which j has judged the series.
func toV2Reference(req *prompb.WriteRequest, j *judge) (out *writev2.Request, lostMetadata int) {
	t := writev2.NewSymbolTable()
	out = &writev2.Request{}
	used := map[string]bool{}
	for _, ts := range req.Timeseries {
		m := metadataFor(req.Metadata, canonicalLabels(ts.Labels, j.stamps))
		if m != nil {
			used[m.MetricFamilyName] = true
		}
		ls, rewritten, leaves := j.v1(&ts)
		if !leaves {
			continue
		}
		if !rewritten {
			ls = canonicalLabels(ls, j.stamps)
		}
		s := writev2.TimeSeries{LabelsRefs: refsOf(&t, ls)}
		for _, x := range ts.Samples {
			s.Samples = append(s.Samples, writev2.Sample{Value: x.Value, Timestamp: x.Timestamp})
		}
		for _, x := range ts.Exemplars {
			s.Exemplars = append(s.Exemplars, writev2.Exemplar{LabelsRefs: refsOf(&t, sortedExemplar(x.Labels)), Value: x.Value, Timestamp: x.Timestamp})
		}
		if m != nil {
			s.Metadata = writev2.Metadata{Type: writev2.Metadata_MetricType(m.Type), HelpRef: t.Symbolize(m.Help), UnitRef: t.Symbolize(m.Unit)}
		}
		var hs []writev2.Histogram
		for _, x := range ts.Histograms {
			hs = append(hs, histogramToV2(x))
		}
		if len(s.Samples) > 0 && len(hs) > 0 {
			out.Timeseries = append(out.Timeseries, s, writev2.TimeSeries{LabelsRefs: s.LabelsRefs, Histograms: hs, Metadata: s.Metadata})
			continue
		}
		s.Histograms = hs
		out.Timeseries = append(out.Timeseries, s)
	}
	out.Symbols = t.Symbols()
	return out, len(req.Metadata) - len(used)
}

func metadataFor(all []prompb.MetricMetadata, ls []prompb.Label) *prompb.MetricMetadata {
	name := metricOf(ls)
	allowed := map[prompb.MetricMetadata_MetricType]string{
		prompb.MetricMetadata_COUNTER: "_total", prompb.MetricMetadata_HISTOGRAM: "_bucket _sum _count",
		prompb.MetricMetadata_GAUGEHISTOGRAM: "_bucket _gsum _gcount", prompb.MetricMetadata_SUMMARY: "_sum _count", prompb.MetricMetadata_INFO: "_info",
	}
	for _, exact := range []bool{true, false} {
		for i := range slices.Backward(all) {
			m := &all[i]
			suffix, ok := strings.CutPrefix(name, m.MetricFamilyName)
			if name == "" || !ok || (suffix == "") != exact {
				continue
			}
			last := !slices.ContainsFunc(all[i+1:], func(o prompb.MetricMetadata) bool { return o.MetricFamilyName == m.MetricFamilyName })
			if last && (exact || slices.Contains(strings.Fields(allowed[m.Type]), suffix)) {
				return m
			}
		}
	}
	return nil
}

// toV1Reference converts structs, of which j has judged the series. It returns what does not fit: histograms, start timestamps, and metadata of no metric or
// other than what was said of the family before.
func toV1Reference(req *writev2.Request, j *judge) (out *prompb.WriteRequest, custom, starts, unlifted int) {
	out = &prompb.WriteRequest{}
	families := map[string]prompb.MetricMetadata{}
	for _, s := range req.Timeseries {
		ls, rewritten, leaves := j.v2(req, &s)
		if !leaves {
			continue
		}
		if !rewritten {
			ls = canonicalLabels(ls, j.stamps)
		}
		ts := prompb.TimeSeries{Labels: ls}
		for _, x := range s.Samples {
			ts.Samples = append(ts.Samples, prompb.Sample{Value: x.Value, Timestamp: x.Timestamp})
			starts += btoi(x.StartTimestamp != 0)
		}
		for _, x := range s.Exemplars {
			ts.Exemplars = append(ts.Exemplars, prompb.Exemplar{Labels: sortedExemplar(labelsOf(req, x.LabelsRefs)), Value: x.Value, Timestamp: x.Timestamp})
		}
		for _, x := range s.Histograms {
			if x.Schema == -53 || len(x.CustomValues) > 0 {
				custom++
				continue
			}
			ts.Histograms = append(ts.Histograms, histogramToV1(x))
			starts += btoi(x.StartTimestamp != 0)
		}
		if len(ts.Samples)+len(ts.Exemplars)+len(ts.Histograms) > 0 {
			out.Timeseries = append(out.Timeseries, ts)
		}
		m := prompb.MetricMetadata{Type: prompb.MetricMetadata_MetricType(s.Metadata.Type), Help: req.Symbols[s.Metadata.HelpRef], Unit: req.Symbols[s.Metadata.UnitRef]}
		if s.Metadata.Type == 0 && s.Metadata.HelpRef == 0 && s.Metadata.UnitRef == 0 {
			continue
		}
		name := metricOf(ts.Labels)
		if name == "" {
			unlifted++
			continue
		}
		cut := map[writev2.Metadata_MetricType]string{
			writev2.Metadata_METRIC_TYPE_HISTOGRAM: "_bucket _sum _count", writev2.Metadata_METRIC_TYPE_GAUGEHISTOGRAM: "_bucket _gsum _gcount",
			writev2.Metadata_METRIC_TYPE_SUMMARY: "_sum _count",
		}
		for _, suffix := range strings.Fields(cut[s.Metadata.Type]) {
			if family := strings.TrimSuffix(name, suffix); family != name && family != "" {
				name = family
				break
			}
		}
		m.MetricFamilyName = name
		if before, ok := families[name]; !ok {
			families[name] = m
			out.Metadata = append(out.Metadata, m)
		} else if before.String() != m.String() {
			unlifted++
		}
	}
	return out, custom, starts, unlifted
}

// unknownV1 is how many fields of req Prometheus' structs do not know, but for the two that are never sent on.
func unknownV1(req *prompb.WriteRequest) (n int) {
	labels := func(ls []prompb.Label) {
		for _, l := range ls {
			n += fields(l.XXX_unrecognized)
		}
	}
	n += fields(req.XXX_unrecognized, 1000, 1001)
	for _, ts := range req.Timeseries {
		n += fields(ts.XXX_unrecognized)
		labels(ts.Labels)
		for _, x := range ts.Samples {
			n += fields(x.XXX_unrecognized)
		}
		for _, x := range ts.Exemplars {
			n += fields(x.XXX_unrecognized)
			labels(x.Labels)
		}
		for _, x := range ts.Histograms {
			n += fields(x.XXX_unrecognized)
		}
	}
	for _, m := range req.Metadata {
		n += fields(m.XXX_unrecognized)
	}
	return n
}

// unknownV2 is unknownV1 for 2.0. The created timestamp of its release candidates is known: it counts as what it is.
func unknownV2(req *writev2.Request) (n int) {
	n += fields(req.XXX_unrecognized, 1000, 1001)
	for _, ts := range req.Timeseries {
		var f wire.Field
		for rest := ts.XXX_unrecognized; len(rest) > 0; {
			if rest = next(rest, &f); f.Num != v2Created || f.Type != wire.Varint {
				n++
			}
		}
		n += fields(ts.Metadata.XXX_unrecognized)
		for _, x := range ts.Samples {
			n += fields(x.XXX_unrecognized)
		}
		for _, x := range ts.Exemplars {
			n += fields(x.XXX_unrecognized)
		}
		for _, x := range ts.Histograms {
			n += fields(x.XXX_unrecognized)
		}
	}
	return n
}

// fields is how many fields there are in what a struct did not know, those with the numbers but not counted.
func fields(unrecognized []byte, but ...int32) (n int) {
	var f wire.Field
	for len(unrecognized) > 0 {
		if unrecognized = next(unrecognized, &f); !slices.Contains(but, f.Num) {
			n++
		}
	}
	return n
}

func metricOf(ls []prompb.Label) string {
	for _, l := range ls {
		if l.Name == "__name__" {
			return l.Value
		}
	}
	return ""
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

func countV1(req *prompb.WriteRequest) (c ingest.Count) {
	for _, ts := range req.Timeseries {
		c = c.Add(ingest.Count{Items: len(ts.Samples) + len(ts.Histograms), Samples: len(ts.Samples), Histograms: len(ts.Histograms), Exemplars: len(ts.Exemplars)})
	}
	return c
}

func countV2(req *writev2.Request) (c ingest.Count) {
	for _, ts := range req.Timeseries {
		c = c.Add(ingest.Count{Items: len(ts.Samples) + len(ts.Histograms), Samples: len(ts.Samples), Histograms: len(ts.Histograms), Exemplars: len(ts.Exemplars)})
	}
	return c
}

// encode calls Encode as the road does, with room for what Bound promised, and fails if that was not enough.
// body is the push as it leaves, raw itself if it leaves unchanged.
func encode(t testing.TB, b ingest.Batch, raw []byte, e ingest.Edit) (res ingest.Result, body []byte) {
	t.Helper()
	before := string(raw)
	n := b.Bound(e)
	dst := append(make([]byte, 0, n+3), "abc"...)
	res, err := b.Encode(dst, e)
	if err != nil {
		t.Fatalf("Encode: %v", err)
	}
	if before != string(raw) {
		t.Fatal("Encode wrote to what it was given")
	}
	if res.Unchanged {
		return res, raw
	}
	if n == 0 {
		t.Fatal("Bound is 0, but the push changed")
	}
	if &res.Body[:1][0] != &dst[0] || string(res.Body[:3]) != "abc" {
		t.Fatalf("Bound is %d, but Encode needed more for %d bytes", n, len(res.Body)-3)
	}
	return res, res.Body[3:]
}

func decode(t testing.TB, p *ingest.Protocol, raw []byte) ingest.Batch {
	t.Helper()
	b, err := p.Decode(raw, ingest.Content{})
	if err != nil {
		t.Fatalf("Decode: %v", err)
	}
	return b
}

func unmarshalV1(t testing.TB, raw []byte) *prompb.WriteRequest {
	t.Helper()
	var req prompb.WriteRequest
	if err := req.Unmarshal(raw); err != nil {
		t.Fatalf("the reference does not read it: %v", err)
	}
	return &req
}

func unmarshalV2(t testing.TB, raw []byte) *writev2.Request {
	t.Helper()
	var req writev2.Request
	if err := req.Unmarshal(raw); err != nil {
		t.Fatalf("the reference does not read it: %v", err)
	}
	return &req
}

func equalV1(t testing.TB, got, want *prompb.WriteRequest) {
	t.Helper()
	if len(got.Timeseries) != len(want.Timeseries) {
		t.Fatalf("%d series, want %d: got\n%v\nwant\n%v", len(got.Timeseries), len(want.Timeseries), got, want)
	}
	for i := range got.Timeseries {
		if g, w := &got.Timeseries[i], &want.Timeseries[i]; string(must(g.Marshal())) != string(must(w.Marshal())) {
			t.Fatalf("series %d: got\n%v\nwant\n%v", i, g, w)
		}
	}
	got.Timeseries, want.Timeseries = nil, nil
	if string(must(got.Marshal())) != string(must(want.Marshal())) {
		t.Fatalf("got beside equal series\n%v\nwant\n%v", got, want)
	}
}

func equalV2(t testing.TB, got, want *writev2.Request) {
	t.Helper()
	g, w := plainV2(got, sameLabels), plainV2(want, sameLabels)
	if string(must(g.Marshal())) != string(must(w.Marshal())) {
		t.Fatalf("got\n%v\nwant\n%v", g, w)
	}
}

// inOrder fails unless symbols come before series and refs before all else, which Mimir demands.
func inOrder(t testing.TB, raw []byte) {
	t.Helper()
	var f, g wire.Field
	series := false
	for msg := raw; len(msg) > 0; {
		msg = next(msg, &f)
		if f.Num == v2Symbols && series {
			t.Fatal("symbols after series")
		}
		if f.Num != v2Series {
			continue
		}
		series = true
		other := false
		for s := f.Data; len(s) > 0; {
			if s = next(s, &g); g.Num == v2Refs && other {
				t.Fatal("refs after other fields")
			}
			other = other || g.Num != v2Refs
		}
	}
}
