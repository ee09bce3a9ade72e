package remotewrite

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/prometheus/prompb"
	writev2 "github.com/prometheus/prometheus/prompb/io/prometheus/write/v2"

	"github.com/telemetry-gateway/telemetry-gateway/internal/fault"
	"github.com/telemetry-gateway/telemetry-gateway/internal/ingest"
	"github.com/telemetry-gateway/telemetry-gateway/internal/ingest/reducetest"
	"github.com/telemetry-gateway/telemetry-gateway/internal/labels"
	"github.com/telemetry-gateway/telemetry-gateway/internal/wire"
)

// A series has one key, in whatever version, order and company of empty labels it comes.
func TestKeysAreEqualInBothVersions(t *testing.T) {
	r := rand.New(rand.NewPCG(13, 13))
	for range 200 {
		req := randomV1(r)
		table := writev2.NewSymbolTable()
		other := &writev2.Request{}
		for _, ts := range req.Timeseries {
			ls := slices.Clone(ts.Labels)
			if !doubled(ls) { // of these the first counts
				r.Shuffle(len(ls), func(i, j int) { ls[i], ls[j] = ls[j], ls[i] })
			}
			ls = append(ls, prompb.Label{Name: "nothing"})
			other.Timeseries = append(other.Timeseries, writev2.TimeSeries{LabelsRefs: refsOf(&table, ls)})
		}
		other.Symbols = table.Symbols()
		// One Reducer for both: it fails where equal labels have two keys.
		j := judge{stamps: stampSets[r.IntN(len(stampSets))]}
		red := j.reducer(t)
		for p, raw := range map[*ingest.Protocol][]byte{V1: must(req.Marshal()), V2: must(other.Marshal())} {
			if err := decode(t, p, raw).Reduce(red.Reducer); err != nil {
				t.Fatal(err)
			}
		}
		if n := len(req.Timeseries); len(red.Seen) != 2*n {
			t.Fatalf("%d series were judged, want %d", len(red.Seen), 2*n)
		} else {
			for i := range n {
				if a, b := red.Seen[i].Key, red.Seen[n+i].Key; a != b {
					t.Fatalf("series %v has keys %x and %x", req.Timeseries[i].Labels, a, b)
				}
			}
		}
	}
}

func doubled(ls []prompb.Label) bool {
	names := map[string]bool{}
	for _, l := range ls {
		names[l.Name] = true
	}
	return len(names) < len(ls)
}

// What a stamp overwrites is told apart, since the series that it makes one must not be mixed up.
func TestOverwritten(t *testing.T) {
	f := func(text string, overwritten bool) {
		t.Helper()
		for p, raw := range bothVersions(text) {
			r := (&judge{stamps: labelsIn("environment=prod zone=1")}).reducer(t)
			if err := decode(t, p, raw).Reduce(r.Reducer); err != nil {
				t.Fatal(err)
			}
			if got := r.Seen[0].Overwritten != (labels.Key{}); got != overwritten {
				t.Errorf("%s, %s: overwritten is %v", p.Name, text, got)
			}
		}
	}
	f("__name__=up", false)
	f("__name__=up environment=prod", false)
	f("__name__=up environment=dev", true)
	f("zone=2 __name__=up", true)
	f("__name__=up zone=", false)
	f("environment=prod environment=dev", false) // the first counts
	f("environment= environment=dev", true)
}

// bothVersions is a push of one series with a sample, a stale marker, an exemplar and an unknown field.
func bothVersions(text string) map[*ingest.Protocol][]byte {
	sample := func(v float64, at int64) []byte { return must((&prompb.Sample{Value: v, Timestamp: at}).Marshal()) }
	var series []byte
	var refs []uint32
	table := writev2.NewSymbolTable()
	for _, l := range labelsIn(text) {
		series = appendLabel(series, []byte(l.Name), []byte(l.Value))
		refs = append(refs, table.Symbolize(l.Name), table.Symbolize(l.Value))
	}
	x := appendLabel(wire.AppendFixed64(nil, 2, 7), []byte("trace_id"), []byte("t1"))
	series = wire.AppendBytes(wire.AppendBytes(series, v1Samples, sample(1, 1000)), v1Samples, sample(staleNaN, 2000))
	series = wire.AppendString(wire.AppendBytes(series, v1Exemplars, x), 77, "newer")

	var packed []byte
	for _, ref := range refs {
		packed = appendRefs(packed, label{nameRef: ref})[:len(packed)+wire.UvarintLen(uint64(ref))]
	}
	trace := appendRefs(nil, label{nameRef: table.Symbolize("trace_id"), valueRef: table.Symbolize("t1")})
	second := wire.AppendBytes(nil, v2Refs, packed)
	second = wire.AppendBytes(wire.AppendBytes(second, v2Samples, sample(1, 1000)), v2Samples, sample(staleNaN, 2000))
	second = wire.AppendBytes(second, v2Exemplars, wire.AppendBytes(wire.AppendFixed64(nil, 2, 7), 1, trace))
	second = wire.AppendString(second, 77, "newer")
	return map[*ingest.Protocol][]byte{V1: wire.AppendBytes(nil, v1Series, series), V2: requestV2(table.Symbols(), second)}
}

// TestChange says what labels leave, with what the series holds untouched, in all four directions.
func TestChange(t *testing.T) {
	f := func(stamps, rules, in, out string) {
		t.Helper()
		for p, raw := range bothVersions(in) {
			for _, form := range p.Forms {
				r := reducetest.New(t, labelsIn(stamps), reducetest.Rules(t, rules), nil)
				b := decode(t, p, raw)
				if err := b.Reduce(r.Reducer); err != nil {
					t.Fatal(err)
				}
				res, body := encode(t, b, raw, ingest.Edit{Form: form, Stamps: labelsIn(stamps)})
				want := bothVersions(out)[p]
				if res.Sent != (ingest.Count{Items: 2, Samples: 2, Exemplars: 1}) || res.Held != (ingest.Count{}) {
					t.Errorf("%s as %s: %+v", p.Name, form.Name, res)
				}
				switch {
				case p == V1 && form == formV1:
					equalV1(t, unmarshalV1(t, body), unmarshalV1(t, want))
				case p == V2 && form == formV2:
					equalV2(t, unmarshalV2(t, body), unmarshalV2(t, want))
				default:
					_, converted := encode(t, decode(t, p, want), want, ingest.Edit{Form: form})
					if form == formV1 {
						equalV1(t, unmarshalV1(t, body), unmarshalV1(t, converted))
					} else {
						equalV2(t, unmarshalV2(t, body), unmarshalV2(t, converted))
					}
				}
			}
		}
	}
	const drop = "[{action: labeldrop, regex: pod|instance}]"
	f("", drop, "__name__=up instance=i job=x pod=p", "__name__=up job=x")
	f("", drop, "__name__=up job=x", "__name__=up job=x")
	f("", drop, "instance=i pod=p", "")
	f("a=1 pod=q", drop, "__name__=up instance=i pod=p", "__name__=up a=1")
	f("a=1 zz=2", drop, "__name__=up instance=i a=0 pod=p", "__name__=up a=1 zz=2") // not in order
	f("", drop, "b=1 a=2 a=3 e= pod=p", "a=2 b=1")                                  // the first of a doubled one stays
	f("", drop, "b=1 a=2 a=3 e=", "b=1 a=2 a=3 e=")                                 // nothing to change: upstream judges it
	f("environment=prod", "[{source_labels: [environment], target_label: environment, replacement: x}]", "a=1", "a=1 environment=x")
	f("environment=prod", "[{source_labels: [environment], target_label: aa, replacement: x}]", "a=1 b=2", "a=1 aa=x b=2 environment=prod")
	f("environment=prod", "[{target_label: f, replacement: x}, {target_label: a, replacement: y}]", "e=1 g=2", "a=y e=1 environment=prod f=x g=2")
	f("environment=prod", "[{target_label: zz, replacement: prod}, {action: labeldrop, regex: g}]", "e=1 environment=dev g=2", "e=1 environment=prod zz=prod")
	f("", "[{action: labelmap, regex: __meta_(.+)}]", "__meta_b=2 a=1 c=3", "__meta_b=2 a=1 b=2 c=3")
}

// Stale markers of a series that another has taken over from stay here; what is left of the series goes on.
func TestDropStale(t *testing.T) {
	// f has samples by value, stale ones as NaN, as v1 and v2, with or without an exemplar.
	f := func(samples string, exemplar bool, left string) {
		t.Helper()
		ts := prompb.TimeSeries{Labels: []prompb.Label{{Name: "__name__", Value: "up"}}}
		for i, v := range strings.Fields(samples) {
			switch v {
			case "stale":
				ts.Samples = append(ts.Samples, prompb.Sample{Value: staleNaN, Timestamp: int64(i)})
			case "staleH":
				ts.Histograms = append(ts.Histograms, prompb.Histogram{Sum: staleNaN, Timestamp: int64(i)})
			case "H":
				ts.Histograms = append(ts.Histograms, prompb.Histogram{Sum: 1, Timestamp: int64(i)})
			default:
				ts.Samples = append(ts.Samples, prompb.Sample{Value: 1, Timestamp: int64(i)})
			}
		}
		if exemplar {
			ts.Exemplars = []prompb.Exemplar{{Value: 1}}
		}
		req := &prompb.WriteRequest{Timeseries: []prompb.TimeSeries{ts}}
		v2, _ := toV2Reference(req, &judge{})
		for p, raw := range map[*ingest.Protocol][]byte{V1: must(req.Marshal()), V2: must(v2.Marshal())} {
			for _, form := range p.Forms {
				b := decode(t, p, raw)
				r := (&judge{stale: func([]labels.Label) bool { return true }}).reducer(t)
				if err := b.Reduce(r.Reducer); err != nil {
					t.Fatal(err)
				}
				res, body := encode(t, b, raw, ingest.Edit{Form: form})
				n := len(strings.Fields(left))
				if res.Sent.Items != n || res.Held.Items != b.Items()-n || res.Unchanged != (n == b.Items() && form == p.Forms[0]) {
					t.Errorf("%s as %s: %+v, want %d sent", p.Name, form.Name, res, n)
				}
				if p == V2 && form == formV2 {
					_, body = encode(t, decode(t, V2, body), body, ingest.Edit{Form: formV1})
				}
				if p == V1 && form == formV2 {
					_, body = encode(t, decode(t, V2, body), body, ingest.Edit{Form: formV1})
				}
				var got []string
				series := unmarshalV1(t, body).Timeseries
				for _, s := range series {
					for range s.Samples {
						got = append(got, "1")
					}
					for range s.Histograms {
						got = append(got, "H")
					}
				}
				if strings.Join(got, " ") != left || len(series) == 0 != (left == "" && !exemplar) {
					t.Errorf("%s as %s, %q: %v in %d series left, want %q", p.Name, form.Name, samples, got, len(series), left)
				}
			}
		}
	}
	f("1 stale", false, "1")
	f("stale 1 stale", false, "1")
	f("stale", false, "")
	f("stale", true, "")
	f("1 1", false, "1 1")
	f("staleH", false, "")
	f("H staleH", false, "H")
	f("stale H", false, "H")
	f("1 staleH", false, "1")
	f("stale staleH", true, "")
}

// Where every verdict is Pass without a Change, a push leaves as it came.
func TestReducedUnchanged(t *testing.T) {
	for p, raw := range bothVersions("__name__=up environment=prod job=x") {
		for _, stamps := range stampSets[:2] {
			b := decode(t, p, raw)
			if err := b.Reduce((&judge{stamps: stamps}).reducer(t).Reducer); err != nil {
				t.Fatal(err)
			}
			e := ingest.Edit{Form: p.Forms[0], Stamps: stamps}
			if n := b.Bound(e); len(stamps) == 0 && n != 0 {
				t.Errorf("%s: Bound is %d where nothing changes", p.Name, n)
			}
			if res, _ := encode(t, b, raw, e); !res.Unchanged || res.Sent.Items != 2 {
				t.Errorf("%s: %+v", p.Name, res)
			}
		}
		if err := decode(t, p, raw).Reduce(&ingest.Reducer{}); err != nil {
			t.Errorf("%s: %v from a Reducer that has nothing to decide", p.Name, err)
		}
	}
}

// Series whose refs lead nowhere are not judged, and are refused as ever.
func TestBadSeriesAreNotJudged(t *testing.T) {
	up, bad, job := seriesV2([]byte{1, 2}, oneSample...), seriesV2([]byte{1, 99}, oneSample...), seriesV2([]byte{3, 4}, oneSample...)
	raw := requestV2(someSymbols, bad, up, bad, job)
	for _, form := range V2.Forms {
		b := decode(t, V2, raw)
		r := reducetest.New(t, nil, reducetest.Rules(t, "[{action: drop, source_labels: [job], regex: x}]"), nil)
		if err := b.Reduce(r.Reducer); err != nil {
			t.Fatal(err)
		}
		res, _ := encode(t, b, raw, ingest.Edit{Form: form})
		if len(r.Seen) != 2 || r.Dropped != 1 || res.Sent.Items != 1 || res.Held.Items != 1 || len(res.Refused) != 1 || res.Refused[0].Items != 2 {
			t.Errorf("%s: %d judged, %d dropped, %+v", form.Name, len(r.Seen), r.Dropped, res)
		}
	}
	all := requestV2(someSymbols, bad)
	r := (&judge{}).reducer(t)
	if err := decode(t, V2, all).Reduce(r.Reducer); err != nil || len(r.Seen) != 0 {
		t.Errorf("%d judged, %v", len(r.Seen), err)
	}
}

// What a rule takes away does not leave by the symbol table either.
func TestDroppedSymbolsDoNotLeave(t *testing.T) {
	symbols := []string{"", "__name__", "up", "user", "alice@example.com", "down", "trace_id", "t1", "help", "unused"}
	first := wire.AppendBytes(seriesV2([]byte{1, 2, 3, 4}, oneSample...), v2Exemplars, wire.AppendBytes(nil, 1, []byte{6, 7}))
	first = wire.AppendBytes(first, v2Metadata, wire.AppendVarint(nil, v2MetadataHelp, 8))
	raw := requestV2(symbols, first, seriesV2([]byte{1, 5}, oneSample...))
	f := func(rules string, left ...string) {
		t.Helper()
		b := decode(t, V2, raw)
		if err := b.Reduce(reducetest.New(t, nil, reducetest.Rules(t, rules), nil).Reducer); err != nil {
			t.Fatal(err)
		}
		_, body := encode(t, b, raw, ingest.Edit{Form: formV2})
		if got := unmarshalV2(t, body).Symbols; !slices.Equal(got, left) {
			t.Errorf("%s: symbols %q, want %q", rules, got, left)
		}
	}
	f("[{action: labeldrop, regex: user}]", "", "__name__", "up", "", "", "down", "trace_id", "t1", "help", "")
	f("[{action: drop, source_labels: [__name__], regex: up}]", "", "__name__", "", "", "", "down", "", "", "", "")
	f("[{action: drop, source_labels: [__name__], regex: down}]", "", "__name__", "up", "user", "alice@example.com", "", "trace_id", "t1", "help", "")
	f("[{source_labels: [user], regex: .+, target_label: user, replacement: someone}]", "", "__name__", "up", "user", "", "down", "trace_id", "t1", "help", "", "someone")
}

// A rule that brings a long text to many series is seen in Bound: in 1.0 as often as it comes, in 2.0 once.
func TestBoundSeesWhatComes(t *testing.T) {
	const series, text = 300, 1 << 16
	r := reducetest.New(t, nil, reducetest.Rules(t, "[{target_label: text, replacement: "+strings.Repeat("x", text)+"}]"), nil)
	f := func(p *ingest.Protocol, raw []byte, form *ingest.Form, least, most int) {
		t.Helper()
		b := decode(t, p, raw)
		if err := b.Reduce(r.Reducer); err != nil {
			t.Fatal(err)
		}
		if n := b.Bound(ingest.Edit{Form: form}); n < least || n > most {
			t.Errorf("%s as %s: Bound is %d, want %d to %d", p.Name, form.Name, n, least, most)
		}
	}
	v1, v2 := k8sV1(series), k8sV2(series)
	f(V1, v1, formV1, series*text, series*text+2*len(v1))
	f(V2, v2, formV1, series*text, series*text+2*len(v1))
	f(V1, v1, formV2, text, text+2*len(v1))
	f(V2, v2, formV2, text, text+2*len(v2))
}

// Many labels that come to small series outgrow all that is spared elsewhere.
func TestBoundOfManyLabels(t *testing.T) {
	var rules strings.Builder
	for i := range 60 {
		fmt.Fprintf(&rules, "- {target_label: n%d, replacement: v%d}\n", i, i)
	}
	for _, mixed := range []bool{false, true} {
		req := &prompb.WriteRequest{}
		for range 100 {
			ts := prompb.TimeSeries{Samples: []prompb.Sample{{Value: 1}}}
			if mixed {
				ts.Histograms = []prompb.Histogram{{Sum: 1}}
			}
			req.Timeseries = append(req.Timeseries, ts, prompb.TimeSeries{Labels: []prompb.Label{{Name: "a", Value: "b"}}})
		}
		reducesV1(t, must(req.Marshal()), &judge{rules: reducetest.Rules(t, rules.String())})
		v2, _ := toV2Reference(req, &judge{})
		reducesV2(t, must(v2.Marshal()), &judge{rules: reducetest.Rules(t, rules.String())})
	}
}

// What a series that does not leave takes with it is no loss of the conversion.
func TestLossesOfWhatLeaves(t *testing.T) {
	const rules = "[{action: drop, source_labels: [job], regex: gone}]"
	for _, lost := range []int{0, 1} {
		job := []string{"gone", "here"}[lost]
		for p, raw := range bothVersions("__name__=up job=" + job) {
			b := decode(t, p, raw)
			if err := b.Reduce(reducetest.New(t, nil, reducetest.Rules(t, rules), nil).Reducer); err != nil {
				t.Fatal(err)
			}
			if res, _ := encode(t, b, raw, ingest.Edit{Form: p.Forms[1]}); lossOf(res, "unknown_fields") != lost {
				t.Errorf("%s with job %s: lost %+v", p.Name, job, res.Lost)
			}
		}
	}
}

// Two metrics with new names say the same of themselves, each of its own.
func TestRenamedMetricsKeepTheirMetadataApart(t *testing.T) {
	m := wire.AppendBytes(oneSample[:len(oneSample):len(oneSample)], v2Metadata, wire.AppendVarint(nil, metadataType, 1))
	raw := requestV2([]string{"", "__name__", "up", "down"}, seriesV2([]byte{1, 2}, m...), seriesV2([]byte{1, 3}, m...))
	b := decode(t, V2, raw)
	rules := reducetest.Rules(t, "[{source_labels: [__name__], target_label: __name__, replacement: app_$1}]")
	if err := b.Reduce(reducetest.New(t, nil, rules, nil).Reducer); err != nil {
		t.Fatal(err)
	}
	_, v1 := encode(t, b, raw, ingest.Edit{Form: formV1})
	if got := unmarshalV1(t, v1).Metadata; len(got) != 2 || got[0].MetricFamilyName != "app_up" || got[1].MetricFamilyName != "app_down" {
		t.Errorf("%v", got)
	}
}

func TestNoRoomForSeries(t *testing.T) {
	for p, raw := range bothVersions("__name__=up") {
		r := (&judge{}).reducer(t).Reducer
		r.Room = func(_ []ingest.Series, n int) ([]ingest.Series, *fault.Error) {
			return nil, fault.New(fault.Overloaded, "no room for %d series", n)
		}
		var f *fault.Error
		if err := decode(t, p, raw).Reduce(r); !errors.As(err, &f) || f.Kind != fault.Overloaded || f.Public != "no room for 1 series" {
			t.Errorf("%s: %v", p.Name, err)
		}
	}
}

// A metric that a rule gives a new name keeps what the push says of it.
func TestRenamedMetricKeepsMetadata(t *testing.T) {
	const rules = "[{action: replace, source_labels: [__name__], regex: (.+), target_label: __name__, replacement: app_$1}]"
	v1 := must((&prompb.WriteRequest{
		Timeseries: []prompb.TimeSeries{{Labels: []prompb.Label{{Name: "__name__", Value: "up"}}, Samples: []prompb.Sample{{Value: 1}}}},
		Metadata:   []prompb.MetricMetadata{{Type: prompb.MetricMetadata_GAUGE, MetricFamilyName: "up", Help: "help"}},
	}).Marshal())
	b := decode(t, V1, v1)
	if err := b.Reduce(reducetest.New(t, nil, reducetest.Rules(t, rules), nil).Reducer); err != nil {
		t.Fatal(err)
	}
	res, v2 := encode(t, b, v1, ingest.Edit{Form: formV2})
	got := unmarshalV2(t, v2)
	if len(res.Lost) > 0 || got.Symbols[got.Timeseries[0].Metadata.HelpRef] != "help" || labelsOf(got, got.Timeseries[0].LabelsRefs)[0].Value != "app_up" {
		t.Errorf("%+v: %v", res, got)
	}
	b = decode(t, V2, v2)
	if err := b.Reduce(reducetest.New(t, nil, reducetest.Rules(t, rules), nil).Reducer); err != nil {
		t.Fatal(err)
	}
	_, back := encode(t, b, v2, ingest.Edit{Form: formV1})
	if m := unmarshalV1(t, back).Metadata; len(m) != 1 || m[0].MetricFamilyName != "app_app_up" || m[0].Help != "help" {
		t.Errorf("%v", m)
	}
}

// hits is a Reducer that knows every series, and what it says of each.
func hits(stamps []labels.Label, say func(i int, s *ingest.Series)) *ingest.Reducer {
	var ss []ingest.Series
	return &ingest.Reducer{
		Stamps: stamps,
		Keys:   labels.NewHasher(labels.NewSeed(), labels.Key{}, stamps),
		Room: func(lent []ingest.Series, n int) ([]ingest.Series, *fault.Error) {
			ss = reducetest.Lend(ss[:len(lent)], n)
			return ss, nil
		},
		Judge: func(ss []ingest.Series, _ func(int, *labels.Set)) {
			for i := range ss {
				say(i, &ss[i])
			}
		},
	}
}

func passAll(int, *ingest.Series) {}

// dropTenth drops each tenth series, dropTwo two labels of every one, and replaceOne exchanges one for another.
func dropTenth(i int, s *ingest.Series) {
	if i%10 == 0 {
		s.Verdict = ingest.Drop
	}
}

func changeAll(drop []int, add ...labels.Label) func(int, *ingest.Series) {
	c := &labels.Change{Keep: []uint64{1<<63 | (1<<63 - 1)}, Add: add}
	for _, i := range drop {
		c.Keep[0] &^= 1 << i
	}
	return func(_ int, s *ingest.Series) { s.Change = c }
}

var (
	dropTwo    = changeAll([]int{4, 11}) // id and pod
	replaceOne = changeAll([]int{11}, labels.Label{Name: "pod", Value: "any"})
)

// Where all series are known, nothing is allocated for a series.
func TestReduceAllocations(t *testing.T) {
	f := func(p *ingest.Protocol, push func(int) []byte, form *ingest.Form, say func(int, *ingest.Series), most float64) {
		t.Helper()
		allocs := func(raw []byte) float64 {
			r := hits(stampSets[1], say)
			e := ingest.Edit{Form: form, Stamps: stampSets[1]}
			var dst []byte
			return testing.AllocsPerRun(5, func() {
				b, err := p.Decode(raw, ingest.Content{})
				if err == nil {
					err = b.Reduce(r)
				}
				if n := b.Bound(e); cap(dst) < n {
					dst = make([]byte, 0, n)
				}
				if err == nil {
					_, err = b.Encode(dst, e)
				}
				if err != nil {
					t.Fatal(err)
				}
			})
		}
		few, many := allocs(push(10)), allocs(push(300))
		if form == p.Forms[0] && few != many || many > most { // conversions keep a table, which grows
			t.Errorf("%s as %s: %v allocations for 10 series, %v for 300, want %v at most", p.Name, form.Name, few, many, most)
		}
	}
	for _, say := range []func(int, *ingest.Series){passAll, dropTenth, dropTwo, replaceOne} {
		f(V1, k8sV1, formV1, say, 16)
		f(V2, k8sV2, formV2, say, 24)
		f(V1, unsortedV1, formV1, say, 24)
		f(V2, unsortedV2, formV2, say, 32)
		f(V1, k8sV1, formV2, say, 50)
		f(V2, k8sV2, formV1, say, 50)
	}
}

func benchReduce(b *testing.B, p *ingest.Protocol, raw []byte) {
	r := hits(nil, passAll)
	batch := decode(b, p, raw)
	b.ReportAllocs()
	for b.Loop() {
		if err := batch.Reduce(r); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*benchSeries), "ns/series")
}

func BenchmarkV1Reduce(b *testing.B) { benchReduce(b, V1, k8sV1(benchSeries)) }
func BenchmarkV2Reduce(b *testing.B) { benchReduce(b, V2, k8sV2(benchSeries)) }

// BenchmarkReduced is Bound and Encode of a push that has been judged.
func BenchmarkReduced(b *testing.B) {
	pushes := map[*ingest.Protocol][]byte{V1: k8sV1(benchSeries), V2: k8sV2(benchSeries)}
	for _, c := range []struct {
		name string
		say  func(int, *ingest.Series)
	}{{"tenth dropped", dropTenth}, {"two labels dropped", dropTwo}, {"one label replaced", replaceOne}} {
		for _, p := range []*ingest.Protocol{V1, V2} {
			for _, form := range p.Forms {
				b.Run(fmt.Sprintf("%s/%s as %s", c.name, p.Name, form.Name), func(b *testing.B) {
					e := ingest.Edit{Form: form, Stamps: stampSets[1]}
					batch := decode(b, p, pushes[p])
					if err := batch.Reduce(hits(e.Stamps, c.say)); err != nil {
						b.Fatal(err)
					}
					dst := make([]byte, 0, batch.Bound(e))
					b.ReportAllocs()
					for b.Loop() {
						batch.Bound(e)
						if _, err := batch.Encode(dst, e); err != nil {
							b.Fatal(err)
						}
					}
					b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*benchSeries), "ns/series")
				})
			}
		}
	}
}
