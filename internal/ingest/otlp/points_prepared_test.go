package otlp_test

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/telemetry-gateway/telemetry-gateway/internal/fault"
	"github.com/telemetry-gateway/telemetry-gateway/internal/ingest"
	"github.com/telemetry-gateway/telemetry-gateway/internal/ingest/otlp"
	"github.com/telemetry-gateway/telemetry-gateway/internal/ingest/reducetest"
	"github.com/telemetry-gateway/telemetry-gateway/internal/labels"
	"github.com/telemetry-gateway/telemetry-gateway/internal/wire"
)

// remembering is d's Reducer, with keys that remember.
func remembering(t testing.TB, d reduction) *reducetest.Reducer {
	r := pointReducer(t, d)
	r.Keys.Use(labels.NewMemo(1 << 10))
	return r
}

// prepares fails where a push that is decoded for a Reducer is taken for something else than one that is decoded for nobody.
// Twice: what came once is remembered.
func prepares(t testing.TB, r *reducetest.Reducer, raw []byte) {
	t.Helper()
	p := otlp.MetricsHTTP
	e := ingest.Edit{Form: p.Forms[0], Stamps: r.Stamps}
	outcome := func(b ingest.Batch) (seen []ingest.Series, bounds [2]int, out []byte) {
		t.Helper()
		bounds[0] = b.Bound(e) // before anybody was asked: it says how many envelopes and holders there are
		r.Seen = nil
		if err := b.Reduce(r.Reducer); err != nil {
			t.Fatal(err)
		}
		bounds[1] = b.Bound(e)
		result, err := b.Encode(nil, e)
		if err != nil {
			t.Fatal(err)
		}
		seen = slices.Clone(r.Seen)
		for i := range seen {
			seen[i].Change = nil
		}
		return seen, bounds, append(result.Body, fmt.Sprint(result.Unchanged, result.Sent)...)
	}
	want, wantErr := p.Decode(raw, ingest.Content{})
	var seen []ingest.Series
	var bounds [2]int
	var out []byte
	if wantErr == nil {
		seen, bounds, out = outcome(want)
	}
	for i := range 3 {
		got, err := p.Decode(raw, ingest.Content{Reducer: r.Reducer})
		if (err == nil) != (wantErr == nil) || err != nil && fault.From(err).Kind != fault.Malformed {
			t.Fatalf("time %d: %v, for nobody %v\n%q", i, err, wantErr, raw)
		}
		if err != nil {
			continue
		}
		s, n, o := outcome(got)
		if got.Items() != want.Items() || !slices.Equal(s, seen) || n != bounds || !bytes.Equal(o, out) {
			t.Fatalf("time %d: %d items, %d for nobody; bounds %d, %d for nobody\n%+v\nfor nobody\n%+v\nleft %q\nfor nobody %q\n%q",
				i, got.Items(), want.Items(), n, bounds, s, seen, o, out, raw)
		}
	}
}

func TestPreparedPoints(t *testing.T) {
	o := oddity{rand.New(rand.NewPCG(41, 42))}
	for i := range 60 {
		d := reduction{}.with(t, pointRules[i%len(pointRules)], resourceRules[o.IntN(len(resourceRules))])
		if i%2 == 0 {
			d.stamps = stamps
		}
		r := remembering(t, d)
		odd, common := o.push(), must(randomMetricsPush(o.Rand, o.IntN(100)).MarshalProto())
		for range 4 {
			prepares(t, r, odd)
			prepares(t, r, common)
			// What was learned of the one must not make the other pass.
			for _, raw := range [][]byte{odd, common} {
				if len(raw) > 0 {
					raw[o.IntN(len(raw))] = byte(o.Uint32())
				}
			}
		}
	}
}

// TestNotTooSure: what looks like attributes that are known, and is not, is read as any other.
func TestNotTooSure(t *testing.T) {
	known := slices.Concat(attr(7, "a", "1"), attr(7, "b", "2"))
	long := append(wire.AppendTag(nil, 7, wire.Bytes), byte(len(known)/2-2)|0x80, 0) // a length of two bytes for one
	long = append(long, known[2:len(known)/2]...)
	deep := wire.AppendString(nil, 1, "x")
	for range 63 {
		deep = sub(5, sub(1, deep))
	}
	r := remembering(t, reduction{stamps: stamps})
	for _, point := range [][]byte{
		known,
		slices.Concat(known, attr(7, "c", "3")),
		slices.Concat(known, wire.AppendFixed64(nil, 3, 1), attr(7, "c", "3")),
		slices.Concat(wire.AppendFixed64(nil, 3, 1), known, known),
		slices.Concat(known, wire.AppendFixed64(nil, 3, 1), known),
		slices.Concat(long, attr(7, "b", "2")),
		slices.Concat(attr(7, "environment", "dev"), known),
		slices.Concat(attr(7, "environment", "prod"), known),
		slices.Concat(known, wire.AppendVarint(nil, 7, 1)),
		slices.Concat(known, []byte{7<<3 | 2}),
		slices.Concat(known, []byte{7<<3 | 2, 0x80}),
		slices.Concat(known, []byte{7<<3 | 2, 5, 1}),
		slices.Concat(known, sub(7, []byte{0xff})),
		slices.Concat(known, sub(7, wire.AppendVarint(nil, 2, 1))),
		slices.Concat(known, sub(7, sub(2, deep))),
		slices.Concat(known, sub(7, sub(2, sub(5, sub(1, deep))))),
		attr(7, "a", string(make([]byte, 20_000))),
		slices.Concat(known, attr(7, "a", string(make([]byte, 20_000))), known),
		slices.Concat(sub(7), sub(7), known),
	} {
		for _, num := range []int32{5, 7, 9, 10, 11} {
			prepares(t, r, metricsOf(named("x", sub(num, sub(1, point), sub(1, known), sub(1, point)))))
			prepares(t, r, metricsOf(named("x", sub(num, sub(1, point)), sub(num, sub(1, known)))))
		}
	}
	// Each of more points than are looked up at once is the only one that is malformed.
	many := func(bad int) (raw []byte) {
		var points []byte
		for i := range 3 * labels.Ahead {
			point := attr(7, "a", fmt.Sprint(i%50))
			if i == bad {
				point = sub(7, []byte{0x0a, 0xff})
			}
			points = append(points, sub(1, point)...)
		}
		return metricsOf(named("x", sub(5, points)))
	}
	for bad := range 3*labels.Ahead + 1 {
		prepares(t, r, many(bad))
	}
}

// TestDecodeWithoutRoom: wherever room runs out while a push is read for a Reducer, that is no fault of the push.
func TestDecodeWithoutRoom(t *testing.T) {
	raw := references["metrics"].example(20)
	full := fault.New(fault.Overloaded, "no room")
	for left := 0; ; left++ {
		r := remembering(t, reduction{})
		calls := 0
		charge := func(n int) *fault.Error {
			if n > 0 {
				calls++
			}
			if calls > left {
				return full
			}
			return nil
		}
		room := r.Room
		r.Room = func(ss []ingest.Series, n int) ([]ingest.Series, *fault.Error) {
			if err := charge(n); err != nil {
				return nil, err
			}
			return room(ss, n)
		}
		_, err := otlp.MetricsHTTP.Decode(raw, ingest.Content{Reducer: r.Reducer, Charge: charge})
		if err == nil {
			if left < 5 {
				t.Errorf("only %d charges", left)
			}
			return
		}
		if !errors.Is(err, full) {
			t.Fatal(err)
		}
	}
}

// TestPreparedAllocations: points of which everything is remembered have room made for what view reads of them.
func TestPreparedAllocations(t *testing.T) {
	allocs := func(attributes int) float64 {
		var point []byte
		for i := range attributes {
			point = append(point, attr(7, fmt.Sprint("a", i), "x")...)
		}
		raw := metricsOf(named("x", sub(5, bytes.Repeat(sub(1, point), 10))))
		r := knownPoints(stamps, 10, nil)
		set := labels.Set{All: make([]labels.Label, 0, 200), Keys: make([]labels.Key, 0, 200)}
		r.Judge = func(ss []ingest.Series, view func(int, *labels.Set)) {
			for i := range ss {
				set.Reset()
				view(i, &set)
			}
		}
		var pool ingest.Pool
		// The one that was restocked last: under the race detector a pool forgets some of what it is given.
		c := ingest.Content{Reducer: r, Stock: pool.Stock()}
		return testing.AllocsPerRun(100, func() {
			b, _ := otlp.MetricsHTTP.Decode(raw, c)
			_ = b.Reduce(r)
			pool.Restock(c.Stock)
		})
	}
	if few, many := allocs(10), allocs(100); many > few {
		t.Errorf("%v allocations for points of 10 attributes, %v for 100", few, many)
	}
}
