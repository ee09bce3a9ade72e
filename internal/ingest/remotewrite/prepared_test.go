package remotewrite

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"

	"github.com/prometheus/prometheus/prompb"

	"github.com/telemetry-gateway/telemetry-gateway/internal/fault"
	"github.com/telemetry-gateway/telemetry-gateway/internal/ingest"
	"github.com/telemetry-gateway/telemetry-gateway/internal/ingest/reducetest"
	"github.com/telemetry-gateway/telemetry-gateway/internal/labels"
	"github.com/telemetry-gateway/telemetry-gateway/internal/wire"
)

// newPreparer is a Reducer that remembers keys.
func newPreparer(t testing.TB, stamps []labels.Label) *reducetest.Reducer {
	r := reducetest.New(t, stamps, nil, nil)
	r.Keys.Use(labels.NewMemo(1 << 12))
	return r
}

// prepares fails where a push that is decoded with a Reducer, which knows what it has met before, is taken for something else
// than one that is decoded without. Twice: what came once is known.
func prepares(t testing.TB, p *ingest.Protocol, raw []byte, r *reducetest.Reducer) {
	t.Helper()
	want, wantErr := p.Decode(raw, ingest.Content{})
	var seen []ingest.Series
	if wantErr == nil {
		r.Seen = nil
		if err := want.Reduce(r.Reducer); err != nil {
			t.Fatal(err)
		}
		seen = plainSeries(r.Seen)
	}
	for range 2 {
		got, err := p.Decode(raw, ingest.Content{Reducer: r.Reducer})
		if fmt.Sprint(err) != fmt.Sprint(wantErr) {
			t.Fatalf("with a Reducer: %v, without: %v", err, wantErr)
		}
		if err != nil {
			continue
		}
		r.Seen = nil
		if err := got.Reduce(r.Reducer); err != nil {
			t.Fatal(err)
		}
		if all := plainSeries(r.Seen); !slices.Equal(all, seen) {
			t.Fatalf("judged\n%+v\nwant\n%+v", all, seen)
		}
		if a, b := facts(got), facts(want); !reflect.DeepEqual(a, b) {
			t.Fatalf("with a Reducer\n%+v\nwithout\n%+v", a, b)
		}
	}
}

// plainSeries is ss without what is the door's own.
func plainSeries(ss []ingest.Series) []ingest.Series {
	ss = slices.Clone(ss)
	for i := range ss {
		ss[i].Sorted, ss[i].Change = false, nil
	}
	return ss
}

// facts is what decoding has found out about a push.
func facts(b ingest.Batch) any {
	switch b := b.(type) {
	case *batchV1:
		return []any{b.count, b.series, b.metadata, b.labels, b.most, b.unknowns, b.mixed, b.mixedLabels, b.private}
	case *batchV2:
		return []any{b.count, b.symbols, b.series, b.metadata, b.most, b.unknowns, b.private, b.disorder, b.ragged, b.bad, b.badCount, b.badText}
	}
	panic("another door's")
}

func TestPrepared(t *testing.T) {
	r := rand.New(rand.NewPCG(21, 21))
	for i := range 300 {
		known := newPreparer(t, stampSets[i%len(stampSets)])
		one, two := must(randomV1(r).Marshal()), must(randomV2(r).Marshal())
		if i%4 == 0 {
			two = shuffleV2(r, two)
		}
		for range 4 {
			prepares(t, V1, one, known)
			prepares(t, V2, two, known)
			mutate(r, one)
			mutate(r, two)
		}
	}
	for _, raw := range hostile() {
		for _, p := range []*ingest.Protocol{V1, V2} {
			prepares(t, p, raw, newPreparer(t, stampSets[1]))
		}
	}
}

// Many series, so that some wait while others are looked up, with an odd one among them.
// TestPreparedIsNotTooSure: what only looks like a series as senders write it is read as any other.
func TestPreparedIsNotTooSure(t *testing.T) {
	symbols := []string{"", "__name__", "up", "same_start_a", "same_start_b", "x"}
	f := func(series []byte, sorted bool) {
		t.Helper()
		r := newPreparer(t, nil)
		raw := requestV2(symbols, series)
		prepares(t, V2, raw, r)
		if sorted != judged(must(V2.Decode(raw, ingest.Content{Reducer: r.Reducer})))[0].Sorted {
			t.Errorf("%q counts as sorted: %v", series, !sorted)
		}
	}
	f(seriesV2([]byte{1, 2, 3, 5, 4, 5}, oneSample...), true)
	f(seriesV2([]byte{1, 2, 4, 5, 3, 5}, oneSample...), false) // names that differ in what is not compared as a number
	f(seriesV2([]byte{1, 2, 3, 5, 3, 2}, oneSample...), false)

	for _, field := range []int32{v2MetadataHelp, v2MetadataUnit} {
		bad := wire.AppendBytes(slices.Clone(oneSample), v2Metadata, wire.AppendVarint(nil, field, 6))
		prepares(t, V2, requestV2(symbols, seriesV2([]byte{1, 2}, bad...)), newPreparer(t, nil))
	}

	// A symbol after a series is found also if the series is too long for what steps over many at once.
	long := seriesV2([]byte{1, 2}, slices.Repeat(oneSample, 1<<11)...)
	raw := wire.AppendString(requestV2(symbols, long), v2Symbols, "late")
	if b := must(V2.Decode(raw, ingest.Content{})).(*batchV2); !b.disorder || b.symbols != len(symbols)+1 {
		t.Errorf("%d symbols, out of order: %v", b.symbols, b.disorder)
	}
}

func TestPreparedAmongMany(t *testing.T) {
	f := func(odd string) {
		t.Helper()
		for _, at := range []int{0, 31, 32, 69} {
			var raw []byte
			for i, ts := range k8sSeries(70) {
				s := must(ts.Marshal())
				if i == at {
					s = []byte(odd)
				}
				raw = wire.AppendBytes(raw, v1Series, s)
			}
			known := newPreparer(t, nil)
			prepares(t, V1, v1Of(k8sSeries(70)), known)
			prepares(t, V1, raw, known)
			prepares(t, V1, append(raw, 0xff), known)
		}
	}
	sample := string(must((&prompb.TimeSeries{Samples: []prompb.Sample{{Value: 1, Timestamp: 1_700_000_000_000}}}).Marshal()))
	zero := string(must((&prompb.TimeSeries{Samples: []prompb.Sample{{Timestamp: 1_700_000_000_000}}}).Marshal()))
	label := string(appendLabel(nil, []byte("a"), []byte("b")))
	other := string(appendLabel(nil, []byte("b"), []byte("c")))
	f("")
	f(sample)
	f(zero)
	f(label + sample)
	f(label + zero + zero)
	f(label + sample + other)
	f(label + sample + other + sample)
	f(other + label + sample)
	f(label + label + sample)
	f("\x8a\x00" + label[1:] + sample)
	f(label + "\x0a\x02\x08\x01" + sample) // another wire type in a label
	f(label + "\x0a\x04\x0a\x01x\x18" + sample)
	f(label + "\x0a\x03\x18\x01\x0a" + sample)
	f(label + "\x08\x01" + sample)
	f(label + "\xff" + sample)
	f(string(appendLabel(nil, []byte("a"), []byte("x"+sample))))
	f(string(appendLabel(nil, []byte("a"), []byte("x"+zero))))
	f(label + string(wire.AppendBytes(nil, v1Exemplars, []byte(sample))))
	f(label + string(wire.AppendBytes(nil, v1Exemplars, []byte("\x11"+sample))))
	f(sample[:len(sample)-1] + "\x80")
	f("\x12\x10" + sample)
}

// A push of series that came before allocates nothing but the batch.
func TestPreparedAllocations(t *testing.T) {
	for _, p := range []*ingest.Protocol{V1, V2} {
		raw := k8sV1(500)
		if p == V2 {
			raw = k8sV2(500)
		}
		ss := make([]ingest.Series, 500)
		r := &ingest.Reducer{
			Keys:  labels.NewHasher(labels.NewSeed(), labels.Key{}, nil).Use(labels.NewMemo(1 << 12)),
			Judge: func([]ingest.Series, func(int, *labels.Set)) {},
			Room: func(lent []ingest.Series, n int) ([]ingest.Series, *fault.Error) {
				clear(ss[len(lent):])
				return ss[:len(lent)+n], nil
			},
		}
		n := testing.AllocsPerRun(20, func() {
			b, err := p.Decode(raw, ingest.Content{Reducer: r})
			if err == nil {
				err = b.Reduce(r)
			}
			if err != nil {
				t.Fatal(err)
			}
		})
		if most := map[*ingest.Protocol]float64{V1: 2, V2: 4}[p]; n > most {
			t.Errorf("%s: %v allocations, want %v at most", p.Name, n, most)
		}
	}
}
