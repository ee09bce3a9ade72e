package remotewrite

import (
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/prometheus/prompb"
	writev2 "github.com/prometheus/prometheus/prompb/io/prometheus/write/v2"

	"github.com/telemetry-gateway/telemetry-gateway/internal/ingest"
	"github.com/telemetry-gateway/telemetry-gateway/internal/wire"
)

func TestV1ToV2LikeStructs(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 3))
	for range 800 {
		req := randomV1(r)
		raw := must(req.Marshal())
		if len(req.Timeseries) == 0 {
			continue
		}
		b := decode(t, V1, raw)
		for _, stamps := range stampSets {
			res, body := encode(t, b, raw, ingest.Edit{Form: formV2, Stamps: stamps})
			want, lost := toV2Reference(req, &judge{stamps: stamps})
			if res.Form != formV2 || res.Unchanged || res.Sent != countV1(req) || len(res.Refused) > 0 || lossOf(res, "metadata") != lost {
				t.Fatalf("result %+v, want %d metadata lost", res, lost)
			}
			got := unmarshalV2(t, body)
			equalV2(t, got, want)
			inOrder(t, body)
			if doubled := slices.Clone(got.Symbols); got.Symbols[0] != "" || len(slices.Compact(sortedStrings(doubled))) != len(got.Symbols) {
				t.Fatalf("the table is not a set that begins with the empty string: %q", got.Symbols)
			}
			decode(t, V2, body)
		}
	}
}

func TestV2ToV1LikeStructs(t *testing.T) {
	r := rand.New(rand.NewPCG(4, 4))
	for range 800 {
		req := randomV2(r)
		raw := must(req.Marshal())
		if r.IntN(4) == 0 {
			raw = shuffleV2(r, raw)
		}
		b := decode(t, V2, raw)
		for _, stamps := range stampSets {
			res, body := encode(t, b, raw, ingest.Edit{Form: formV1, Stamps: stamps})
			want, custom, starts, unlifted := toV1Reference(req, &judge{stamps: stamps})
			if res.Form != formV1 || res.Unchanged || res.Sent != countV1(want) || lossOf(res, "start_timestamps") != starts || lossOf(res, "metadata") != unlifted {
				t.Fatalf("result %+v, want %+v sent, %d start timestamps and %d metadata lost", res, countV1(want), starts, unlifted)
			}
			refused := 0
			for _, x := range res.Refused {
				refused += x.Items
				if x.Reason != "unconvertible" || !strings.Contains(x.Text, "custom buckets") {
					t.Fatalf("refused %+v", x)
				}
			}
			if refused != custom || res.Sent.Items+refused != b.Items() {
				t.Fatalf("%d refused and %d sent of %d, want %d refused", refused, res.Sent.Items, b.Items(), custom)
			}
			equalV1(t, unmarshalV1(t, body), want)
			decode(t, V1, body)
		}
	}
}

func lossOf(res ingest.Result, what string) (n int) {
	for _, l := range res.Lost {
		if l.What == what {
			n += l.N
		}
	}
	return n
}

func sortedStrings(s []string) []string {
	slices.Sort(s)
	return s
}

// A push that goes there and back is what it was, but for what the way says it loses.
func TestThereAndBack(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 5))
	for range 1000 {
		req := randomV1(r)
		req.Metadata = nil
		for i := range req.Timeseries {
			ts := &req.Timeseries[i]
			ts.Labels = canonicalLabels(ts.Labels, nil)
			ts.Histograms = slices.DeleteFunc(ts.Histograms, func(h prompb.Histogram) bool { return h.Schema == -53 || len(ts.Samples) > 0 })
			for j := range ts.Exemplars {
				ts.Exemplars[j].Labels = sortedExemplar(ts.Exemplars[j].Labels)
			}
		}
		req.Timeseries = slices.DeleteFunc(req.Timeseries, func(ts prompb.TimeSeries) bool {
			return len(ts.Samples)+len(ts.Histograms)+len(ts.Exemplars) == 0
		})
		raw := must(req.Marshal())
		_, v2 := encode(t, decode(t, V1, raw), raw, ingest.Edit{Form: formV2})
		if len(req.Timeseries) == 0 {
			continue
		}
		_, back := encode(t, decode(t, V2, v2), v2, ingest.Edit{Form: formV1})
		equalV1(t, unmarshalV1(t, back), req)
	}
}

func TestFamilies(t *testing.T) {
	// f says under which family the metadata of a metric travels in 1.0, and that a 1.0 push finds it again there.
	f := func(metric string, typ prompb.MetricMetadata_MetricType, family string) {
		t.Helper()
		symbols := []string{"", "__name__", metric, "help me", "seconds"}
		m := wire.AppendVarint(wire.AppendVarint(wire.AppendVarint(nil, metadataType, uint64(typ)), v2MetadataHelp, 3), v2MetadataUnit, 4)
		raw := requestV2(symbols, wire.AppendBytes(seriesV2([]byte{1, 2}, oneSample...), v2Metadata, m))
		_, v1 := encode(t, decode(t, V2, raw), raw, ingest.Edit{Form: formV1})
		got := unmarshalV1(t, v1).Metadata
		want := prompb.MetricMetadata{Type: typ, MetricFamilyName: family, Help: "help me", Unit: "seconds"}
		if len(got) != 1 || got[0].String() != want.String() {
			t.Errorf("%s: got %v, want %v", metric, got, want)
		}
		res, v2 := encode(t, decode(t, V1, v1), v1, ingest.Edit{Form: formV2})
		equalV2(t, unmarshalV2(t, v2), unmarshalV2(t, raw))
		if len(res.Lost) > 0 {
			t.Errorf("%s: lost %+v", metric, res.Lost)
		}
	}
	f("up", prompb.MetricMetadata_GAUGE, "up")
	f("requests_total", prompb.MetricMetadata_COUNTER, "requests_total")
	f("latency_bucket", prompb.MetricMetadata_HISTOGRAM, "latency")
	f("latency_sum", prompb.MetricMetadata_HISTOGRAM, "latency")
	f("latency_count", prompb.MetricMetadata_SUMMARY, "latency")
	f("latency", prompb.MetricMetadata_SUMMARY, "latency")
	f("latency_bucket", prompb.MetricMetadata_SUMMARY, "latency_bucket")
	f("size_gsum", prompb.MetricMetadata_GAUGEHISTOGRAM, "size")
	f("build_info", prompb.MetricMetadata_INFO, "build_info")
	f("item_count", prompb.MetricMetadata_GAUGE, "item_count")
	f("_count", prompb.MetricMetadata_HISTOGRAM, "_count")

	// OpenMetrics calls a counter's and an info's family without their suffix.
	g := func(family string, typ prompb.MetricMetadata_MetricType, metric string, found bool) {
		t.Helper()
		raw := must((&prompb.WriteRequest{
			Timeseries: []prompb.TimeSeries{{Labels: []prompb.Label{{Name: "__name__", Value: metric}}}},
			Metadata:   []prompb.MetricMetadata{{Type: typ, MetricFamilyName: family}},
		}).Marshal())
		res, _ := encode(t, decode(t, V1, raw), raw, ingest.Edit{Form: formV2})
		if (lossOf(res, "metadata") == 0) != found {
			t.Errorf("%s of family %s: %+v", metric, family, res.Lost)
		}
	}
	g("requests", prompb.MetricMetadata_COUNTER, "requests_total", true)
	g("build", prompb.MetricMetadata_INFO, "build_info", true)
	g("latency", prompb.MetricMetadata_GAUGE, "latency_sum", false)
	g("latency", prompb.MetricMetadata_HISTOGRAM, "other_latency", false)
	g("", prompb.MetricMetadata_HISTOGRAM, "_sum", false)
}

// 1.0 may hold both in one series, 2.0 may not.
func TestMixedSeriesSplit(t *testing.T) {
	raw := must((&prompb.WriteRequest{Timeseries: []prompb.TimeSeries{{
		Labels:     []prompb.Label{{Name: "__name__", Value: "m"}},
		Samples:    []prompb.Sample{{Value: 1, Timestamp: 1}},
		Histograms: []prompb.Histogram{{Count: &prompb.Histogram_CountInt{CountInt: 1}, Timestamp: 2}},
	}}}).Marshal())
	_, body := encode(t, decode(t, V1, raw), raw, ingest.Edit{Form: formV2})
	got := unmarshalV2(t, body).Timeseries
	if len(got) != 2 || len(got[0].Samples) != 1 || len(got[0].Histograms) != 0 || len(got[1].Samples) != 0 || len(got[1].Histograms) != 1 {
		t.Errorf("%v", got)
	}
}

// Field 3 of a sample is unknown to 1.0 and a start timestamp in 2.0: it must not become one by accident.
func TestUnknownFieldsDoNotCross(t *testing.T) {
	sample := wire.AppendString(wire.AppendVarint(wire.AppendFixed64(nil, 1, 1), 2, 5), 3, "not a number")
	series := wire.AppendString(wire.AppendBytes(appendLabel(nil, []byte("a"), []byte("b")), v1Samples, sample), 5, "not metadata")
	raw := wire.AppendVarint(wire.AppendBytes(nil, v1Series, series), 2, 1)
	_, body := encode(t, decode(t, V1, raw), raw, ingest.Edit{Form: formV2})
	got := unmarshalV2(t, body)
	if s := got.Timeseries[0].Samples[0]; s.StartTimestamp != 0 || s.Timestamp != 5 || math.Float64bits(s.Value) != 1 || len(got.XXX_unrecognized) > 0 {
		t.Errorf("%v", got)
	}
}

// What stays behind at any level is counted; what the two versions share goes along with all that is in it.
func TestUnknownFieldsAreCounted(t *testing.T) {
	u := func(msg []byte) []byte { return wire.AppendString(msg[:len(msg):len(msg)], 77, "newer") }
	field := func(num int32, msg []byte) []byte { return wire.AppendBytes(nil, num, u(msg)) }
	f := func(p *ingest.Protocol, want int, parts ...[]byte) {
		t.Helper()
		raw := slices.Concat(parts...)
		b := decode(t, p, raw)
		if res, _ := encode(t, b, raw, ingest.Edit{Form: p.Forms[1]}); lossOf(res, "unknown_fields") != want {
			t.Errorf("%s: lost %+v, want %d unknown fields", p.Name, res.Lost, want)
		}
		if res, _ := encode(t, b, raw, ingest.Edit{Form: p.Forms[0], Stamps: stampSets[2]}); len(res.Lost) > 0 {
			t.Errorf("%s to itself: lost %+v", p.Name, res.Lost)
		}
	}
	sample := wire.AppendVarint(wire.AppendFixed64(nil, 1, 1), 2, 5)
	histogram := field(8, wire.AppendVarint(nil, 1, 3)) // a span, which both versions have
	name := appendLabel(nil, []byte("__name__"), []byte("m"))
	odd := field(v1Labels, wire.AppendString(wire.AppendString(nil, 1, "a"), 2, "b"))

	f(V1, 0, wire.AppendBytes(nil, v1Series, wire.AppendBytes(name, v1Samples, sample)))
	f(V1, 1, u(wire.AppendBytes(nil, v1Series, name)))
	f(V1, 1, wire.AppendBytes(nil, v1Series, u(name)))
	f(V1, 1, wire.AppendBytes(nil, v1Series, odd))
	f(V1, 1, wire.AppendBytes(nil, v1Series, slices.Concat(name, field(v1Samples, sample))))
	f(V1, 1, wire.AppendBytes(nil, v1Series, slices.Concat(name, wire.AppendBytes(nil, v1Samples, wire.AppendVarint(sample, sampleStart, 3)))))
	f(V1, 1, wire.AppendBytes(nil, v1Series, slices.Concat(name, field(v1Histograms, histogram))))
	f(V1, 2, wire.AppendBytes(nil, v1Series, slices.Concat(name, field(v1Exemplars, odd))))
	f(V1, 1, wire.AppendBytes(nil, v1Series, name), field(v1Metadata, wire.AppendString(nil, v1MetadataName, "m")))
	f(V1, 3, wire.AppendBytes(nil, v1Series, u(slices.Concat(name, field(v1Samples, sample), field(v1Histograms, histogram))))) // split
	f(V1, 1, wire.AppendVarint(nil, 2, 1), wire.AppendBytes(nil, v1Series, name), wire.AppendVarint(nil, skipLabelValidation, 1))

	table := requestV2(someSymbols)
	refs := seriesV2([]byte{1, 2}, oneSample...)
	with := func(num int32, msg []byte) []byte {
		return wire.AppendBytes(nil, v2Series, slices.Concat(refs, field(num, msg)))
	}
	f(V2, 0, table, wire.AppendBytes(nil, v2Series, refs))
	f(V2, 1, u(table), wire.AppendBytes(nil, v2Series, refs))
	f(V2, 1, table, field(v2Series, refs))
	f(V2, 1, table, with(v2Samples, sample))
	f(V2, 1, table, with(v2Samples, wire.AppendVarint(sample, sampleStart, 3)))
	f(V2, 1, table, with(v2Histograms, histogram))
	f(V2, 1, table, with(v2Exemplars, wire.AppendBytes(nil, 1, []byte{3, 4})))
	f(V2, 1, table, with(v2Metadata, wire.AppendVarint(nil, metadataType, 1)))
	f(V2, 0, table, wire.AppendBytes(nil, v2Series, wire.AppendVarint(refs, v2Created, 9)))
	f(V2, 1, table, wire.AppendBytes(nil, v2Series, wire.AppendString(refs, v2Created, "not a time")))
}

// Metadata that 1.0 has no place for is counted by series: that of no metric, and what contradicts the first of its family.
func TestMetadataLost(t *testing.T) {
	symbols := []string{"", "__name__", "latency_sum", "latency_count", "help", "help", "other", "job", "x"}
	// Each series is refs, type and help.
	type series struct {
		refs []byte
		kind prompb.MetricMetadata_MetricType
		help byte
	}
	f := func(lost, sent int, all ...series) {
		t.Helper()
		var msgs [][]byte
		for _, s := range all {
			m := wire.AppendVarint(wire.AppendVarint(nil, metadataType, uint64(s.kind)), v2MetadataHelp, uint64(s.help))
			msgs = append(msgs, wire.AppendBytes(seriesV2(s.refs, oneSample...), v2Metadata, m))
		}
		raw := requestV2(symbols, msgs...)
		res, body := encode(t, decode(t, V2, raw), raw, ingest.Edit{Form: formV1})
		if got := len(unmarshalV1(t, body).Metadata); got != sent || lossOf(res, "metadata") != lost || res.Sent.Items != len(all) {
			t.Errorf("%v: %d metadata sent, want %d; lost %+v, want %d", all, got, sent, res.Lost, lost)
		}
	}
	const gauge, summary = prompb.MetricMetadata_GAUGE, prompb.MetricMetadata_SUMMARY
	sum, count, unnamed := []byte{1, 2}, []byte{1, 3}, []byte{7, 8}
	f(0, 1, series{sum, summary, 4}, series{sum, summary, 4}, series{count, summary, 4})
	f(0, 1, series{sum, summary, 4}, series{sum, summary, 5}) // one string twice in the table
	f(0, 2, series{sum, gauge, 4}, series{count, gauge, 6})   // two families
	f(0, 2, series{sum, gauge, 4}, series{sum, summary, 6}, series{sum, gauge, 4})
	f(0, 0, series{unnamed, 0, 0}) // says nothing
	f(2, 0, series{unnamed, gauge, 4}, series{unnamed, gauge, 4})
	f(1, 1, series{sum, summary, 4}, series{sum, summary, 6})
	f(2, 1, series{sum, summary, 4}, series{count, summary, 6}, series{count, summary, 6}, series{count, summary, 4})
	f(1, 1, series{sum, summary, 4}, series{count, summary, 0}, series{sum, summary, 4})
}

// A created timestamp of 2.0-rc.1 counts as lost, and histograms with buckets of their own take nothing else with them.
func TestV2ToV1Losses(t *testing.T) {
	req := &writev2.Request{Symbols: []string{"", "__name__", "m", "trace_id", "x"}, Timeseries: []writev2.TimeSeries{{
		LabelsRefs: []uint32{1, 2},
		Histograms: []writev2.Histogram{{Schema: -53, CustomValues: []float64{1}, StartTimestamp: 5}, {Schema: 3, StartTimestamp: 5}},
		Exemplars:  []writev2.Exemplar{{LabelsRefs: []uint32{3, 4}, Value: 1}},
	}, {
		LabelsRefs: []uint32{1, 2},
		Histograms: []writev2.Histogram{{Schema: -53}},
	}}}
	req.Timeseries[0].XXX_unrecognized = wire.AppendVarint(nil, v2Created, 77)
	raw := must(req.Marshal())
	res, body := encode(t, decode(t, V2, raw), raw, ingest.Edit{Form: formV1})
	if lossOf(res, "start_timestamps") != 2 || res.Sent != (ingest.Count{Items: 1, Histograms: 1, Exemplars: 1}) {
		t.Errorf("%+v", res)
	}
	if len(res.Refused) != 1 || res.Refused[0].Items != 2 || !strings.Contains(res.Refused[0].Text, `metric "m"`) {
		t.Errorf("%+v", res.Refused)
	}
	got := unmarshalV1(t, body).Timeseries
	if len(got) != 1 || len(got[0].Histograms) != 1 || len(got[0].Exemplars) != 1 {
		t.Errorf("%v", got)
	}
}

// A push of refs to one long symbol grows a hundred thousand times in 1.0. Bound says so without taking that memory.
func TestExpansionBomb(t *testing.T) {
	const symbol, refs, series = 1 << 20, 2 * maxLabels, 64
	one := seriesV2([]byte(strings.Repeat("\x01\x01", refs/2)), oneSample...)
	var all [][]byte
	for range series {
		all = append(all, one)
	}
	raw := requestV2([]string{"", strings.Repeat("x", symbol)}, all...)
	b := decode(t, V2, raw)
	if got := b.Bound(ingest.Edit{Form: formV1}); got < symbol*refs*series {
		t.Errorf("Bound is %d for %d bytes that would be %d", got, len(raw), symbol*refs*series)
	}
	if got := b.Bound(ingest.Edit{Form: formV2, Stamps: stampSets[1]}); got > len(raw)+100*series {
		t.Errorf("Bound is %d for %d bytes that hardly grow", got, len(raw))
	}
}
