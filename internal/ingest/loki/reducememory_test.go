package loki

import (
	"errors"
	"fmt"
	"math"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/grafana/loki/pkg/push"

	"github.com/telemetry-gateway/telemetry-gateway/internal/fault"
	"github.com/telemetry-gateway/telemetry-gateway/internal/ingest"
	"github.com/telemetry-gateway/telemetry-gateway/internal/ingest/reducetest"
	"github.com/telemetry-gateway/telemetry-gateway/internal/labels"
)

// recorded is a Reducer for one push that takes no memory of its own: it says again what p made of the push before, and
// shows labels into a set that is large enough.
func recorded(t testing.TB, raw []byte, c ingest.Content, p plan) *ingest.Reducer {
	t.Helper()
	b, err := Push.Decode(raw, c)
	if err != nil {
		t.Fatal(err)
	}
	r := reducetest.New(t, p.stamps, p.rules, nil)
	r.Move = p.move
	if err := b.Reduce(r.Reducer); err != nil {
		t.Fatal(err)
	}
	out := &ingest.Reducer{Stamps: p.stamps, Keys: labels.NewHasher(labels.NewSeed(), labels.Key{}, p.stamps), LongestLine: p.longest}
	asked := 0
	out.TooLong = func(int) bool { asked++; return asked%2 == 0 }
	set := labels.Set{All: make([]labels.Label, 0, 2*maxLabels), Keys: make([]labels.Key, 0, 2*maxLabels)}
	room := make([]ingest.Series, len(b.(*batch).counts))
	out.Room = func(_ []ingest.Series, n int) ([]ingest.Series, *fault.Error) {
		clear(room)
		return room[:n], nil
	}
	out.Judge = func(ss []ingest.Series, view func(int, *labels.Set)) {
		for i := range ss {
			if i%7 == 0 {
				set.Reset()
				view(i, &set)
			}
			ss[i].Verdict, ss[i].Change = r.Seen[i].Verdict, r.Seen[i].Change
		}
	}
	return out
}

// throughReduced is through with a Reducer.
func throughReduced(raw []byte, c ingest.Content, r *ingest.Reducer, b *books) (allocated int, err error) {
	c.Charge, r.Charge = b.charge, b.charge
	e := ingest.Edit{Form: form, Stamps: r.Stamps, Charge: b.charge}
	allocated += took(func() {
		var batch ingest.Batch
		if batch, err = Push.Decode(raw, c); err != nil {
			return
		}
		if err = batch.Reduce(r); err != nil {
			return
		}
		dst := make([]byte, 0, batch.Bound(e))
		allocated -= cap(dst)
		_, err = batch.Encode(dst, e)
	})
	return allocated, err
}

// hostilePlan moves what is large, makes streams one and refuses lines.
func hostilePlan(t testing.TB, stamps []labels.Label) plan {
	return plan{stamps, reducetest.Rules(t, `[{action: labeldrop, regex: "pod|l.*1"}, {target_label: new, replacement: "more"}]`), []string{"a", "l2", "pod"}, 3}
}

// hostileToRules are pushes that are made to take memory where rules apply.
func hostileToRules() map[string][]byte {
	streams := func(n int, one func(i int) []byte) (raw []byte) {
		for i := range n {
			raw = append(raw, one(i)...)
		}
		return raw
	}
	line := msg(streamEntries, msg(entryTimestamp, varint(timeSeconds, 5)), str(entryLine, "x"))
	return map[string][]byte{
		"streams that become one": streams(2000, func(i int) []byte {
			at := msg(entryTimestamp, varint(timeSeconds, uint64(i*7919%2000)))
			return msg(pushStreams, str(streamLabels, fmt.Sprintf(`{b="1", pod="%d"}`, i)), msg(streamEntries, at))
		}),
		"a large and then a small group of streams": streams(2000, func(i int) []byte {
			at := msg(entryTimestamp, varint(timeSeconds, uint64(i*7919%2000)))
			return msg(pushStreams, str(streamLabels, fmt.Sprintf(`{b="%d", pod="%d"}`, i/1990, i)), msg(streamEntries, at))
		}),
		"streams that stay apart": streams(1500, func(i int) []byte {
			return msg(pushStreams, str(streamLabels, fmt.Sprintf(`{b="%d", pod="x"}`, i)), line)
		}),
		"streams that move other labels": streams(1000, func(i int) []byte {
			return msg(pushStreams, str(streamLabels, fmt.Sprintf(`{b="1", pod="x", a="%0100d"}`, i)), line)
		}),
		"empty streams": streams(5000, func(int) []byte { return msg(pushStreams) }),
		"a pair of streams of empty lines": streams(2, func(i int) []byte {
			return msg(pushStreams, str(streamLabels, fmt.Sprintf(`{b="1", a="%d"}`, i)), []byte(strings.Repeat("\x12\x00", 20_000)))
		}),
		"lines that are too long": msg(pushStreams, str(streamLabels, `{b="1"}`), []byte(strings.Repeat("\x12\x06\x12\x04aaaa", 20_000))),
		"a line with much metadata": msg(pushStreams, str(streamLabels, `{b="1", a="2", l2="x", pod="p"}`),
			msg(streamEntries, []byte(strings.Repeat("\x1a\x06\x0a\x01a\x12\x01x", 20_000)))),
	}
}

// TestReduceMemoryIsBooked: reduction too allocates no more than it has booked.
func TestReduceMemoryIsBooked(t *testing.T) {
	f := func(name string, raw []byte, c ingest.Content, stamps []labels.Label) {
		t.Helper()
		if _, err := Push.Decode(raw, c); err != nil {
			return
		}
		r := recorded(t, raw, c, hostilePlan(t, stamps))
		var b books
		allocated, err := throughReduced(raw, c, r, &b)
		if allocated > b.booked+b.booked/8+uncharged || err != nil {
			t.Errorf("%s, %d stamps: %d bytes of push allocated %d and booked %d (%v)", name, len(stamps), len(raw), allocated, b.booked, err)
		}
		for n := 1; n <= b.takes && stamps != nil; n++ {
			b := books{failAt: n}
			allocated, err := throughReduced(raw, c, r, &b)
			var f *fault.Error
			if !errors.As(err, &f) || f.HTTPStatus() != http.StatusServiceUnavailable || b.takes != n || allocated > b.booked+b.booked/8+uncharged {
				t.Errorf("%s: taking %d failed: %d takings, %d bytes allocated, %d booked, %v", name, n, b.takes, allocated, b.booked, err)
			}
		}
	}
	for _, stamps := range [][]labels.Label{nil, testStamps} {
		for name, h := range hostile() {
			f(name, []byte(h.body), ingest.Content{JSON: h.json}, stamps)
		}
		for name, raw := range hostileToRules() {
			f(name, raw, ingest.Content{}, stamps)
		}
	}
}

// TestReduceNoSeries: where there is no room for the series, nothing is judged.
func TestReduceNoSeries(t *testing.T) {
	b, err := walk(msg(1, str(1, `{a="1"}`)), ingest.Lender{})
	if err != nil {
		t.Fatal(err)
	}
	r := reducetest.New(t, nil, nil, nil)
	r.Room = func([]ingest.Series, int) ([]ingest.Series, *fault.Error) {
		return nil, fault.New(fault.Overloaded, "none")
	}
	var f *fault.Error
	if err := b.Reduce(r.Reducer); !errors.As(err, &f) || f.Kind != fault.Overloaded || len(r.Seen) > 0 {
		t.Errorf("got %v, %d judged", err, len(r.Seen))
	}
}

// TestBoundOfMetadata: that a label would be written to each of very many lines is seen before memory is taken.
func TestBoundOfMetadata(t *testing.T) {
	const lines, size = 1_000_000, 64 << 10
	ls := fmt.Sprintf(`{a="%s", b="1"}`, strings.Repeat("x", size))
	raw := msg(pushStreams, str(streamLabels, ls), []byte(strings.Repeat("\x12\x00", lines)))
	r := recorded(t, raw, ingest.Content{}, plan{move: []string{"a"}})
	b, err := walk(raw, ingest.Lender{})
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	took := took(func() {
		if err = b.Reduce(r); err == nil {
			n = b.Bound(ingest.Edit{Form: form})
		}
	})
	if want := lines * (size + len("a")); err != nil || n < want || n > want+100*lines || took > 4*size {
		t.Errorf("bound %d, want about %d; took %d bytes (%v)", n, want, took, err)
	}
}

// TestBoundIsClose: for what senders send, little more is reserved than what is written.
func TestBoundIsClose(t *testing.T) {
	f := func(name string, streams int, p plan) {
		t.Helper()
		raw := marshal(t, logPush(streams, 2000))
		b, err := walk(raw, ingest.Lender{})
		if err != nil {
			t.Fatal(err)
		}
		if err := b.Reduce(recorded(t, raw, ingest.Content{}, p)); err != nil {
			t.Fatal(err)
		}
		edit := ingest.Edit{Form: form, Stamps: p.stamps}
		res, err := b.Encode(nil, edit)
		if n := b.Bound(edit); err != nil || n > len(res.Body)+len(res.Body)/33+uncharged {
			t.Errorf("%s: bound %d for %d bytes: %v", name, n, len(res.Body), err)
		}
	}
	f("one label moves", 20, plan{move: []string{"pod"}})
	f("streams become one", 20, plan{rules: reducetest.Rules(t, planRules[0])})
	f("many streams become one", 2000, plan{rules: reducetest.Rules(t, planRules[0])})
	f("most is dropped", 20, plan{rules: reducetest.Rules(t, `[{action: keep, source_labels: [pod], regex: ".*0"}]`), stamps: testStamps})
	f("long lines are refused", 20, plan{longest: 5})
}

// TestBoundHolds: also where every length grows by a byte and every name by a suffix.
func TestBoundHolds(t *testing.T) {
	f := func(label, line int, own push.LabelsAdapter) {
		t.Helper()
		s := push.Stream{Labels: `{a="1", pod="` + strings.Repeat("p", label) + `"}`}
		for range 500 {
			s.Entries = append(s.Entries, push.Entry{Timestamp: time.Unix(1, 0), Line: strings.Repeat("x", line), StructuredMetadata: own})
		}
		raw := marshal(t, push.PushRequest{Streams: []push.Stream{s}})
		b, err := walk(raw, ingest.Lender{})
		if err != nil {
			t.Fatal(err)
		}
		if err := b.Reduce(recorded(t, raw, ingest.Content{}, plan{move: []string{"pod"}})); err != nil {
			t.Fatal(err)
		}
		n := b.Bound(ingest.Edit{Form: form})
		dst := make([]byte, 0, n)
		if res, err := b.Encode(dst, ingest.Edit{Form: form}); err != nil || cap(res.Body) != n {
			t.Errorf("a label of %d and a line of %d: %d bytes, bound %d (%v)", label, line, len(res.Body), n, err)
		}
	}
	for _, own := range []push.LabelsAdapter{nil, {{Name: "pod", Value: "q"}}} {
		for _, n := range []int{1, 60, 90, 105, 118, 127, 16200, 16384} {
			f(1, n, own)
			f(n, 1, own)
		}
	}
}

// TestReduceAllocations: what reduction allocates does not depend on how much is in a push.
func TestReduceAllocations(t *testing.T) {
	f := func(name string, json bool, p plan, most float64) {
		t.Helper()
		allocs := func(streams, lines int) float64 {
			in := logPush(streams, lines)
			raw := marshal(t, in)
			if json {
				raw = asJSON(t, in)
			}
			c := ingest.Content{JSON: json}
			r := recorded(t, raw, c, p)
			dst := make([]byte, 0, 2*len(raw)+1<<20)
			return testing.AllocsPerRun(10, func() { passReduced(t, raw, dst, c, r) })
		}
		small, large := allocs(2, 10), allocs(200, 4000)
		if large > small+4 || large > most {
			t.Errorf("%s: %v allocations for 10 lines, %v for 4000, at most %v wanted", name, small, large, most)
		}
	}
	f("nothing changes", false, plan{}, 7)
	f("stamps alone", false, plan{stamps: testStamps}, 12)
	f("one label moves", false, plan{move: []string{"pod"}}, 24)
	f("streams become one", false, plan{rules: reducetest.Rules(t, planRules[0]), stamps: testStamps}, 24)
	f("JSON, one label moves", true, plan{move: []string{"pod"}}, 36)
}

// TestReduceBytes: a push builds in what those before it have left, in no more bytes than its structs take.
func TestReduceBytes(t *testing.T) {
	const most = 8 << 10
	f := func(name string, json bool, p plan) {
		t.Helper()
		in := logPush(20, 4000)
		raw := marshal(t, in)
		if json {
			raw = asJSON(t, in)
		}
		r := recorded(t, raw, ingest.Content{JSON: json}, p)
		dst := make([]byte, 0, 2*len(raw)+1<<20)
		var pool ingest.Pool
		least := math.MaxInt
		for range 10 { // the collector may have emptied the pool
			least = min(least, took(func() { passPooled(t, &pool, raw, dst, ingest.Content{JSON: json}, r) }))
		}
		if least > most {
			t.Errorf("%s: %d bytes allocated for a push of %d, want at most %d", name, least, len(raw), most)
		}
	}
	f("JSON", true, plan{})
	f("one label moves", false, plan{move: []string{"pod"}})
	f("streams become one", false, plan{rules: reducetest.Rules(t, planRules[0]), stamps: testStamps})
	f("JSON, one label moves", true, plan{move: []string{"pod"}})
}

// passPooled is passReduced as the road does it.
func passPooled(tb testing.TB, pool *ingest.Pool, raw, dst []byte, c ingest.Content, r *ingest.Reducer) {
	c.Stock = pool.Stock()
	passReduced(tb, raw, dst, c, r)
	pool.Restock(c.Stock)
}

// passReduced is pass with a Reducer.
func passReduced(tb testing.TB, raw, dst []byte, c ingest.Content, r *ingest.Reducer) {
	b, err := Push.Decode(raw, c)
	if err == nil {
		err = b.Reduce(r)
	}
	if err != nil {
		tb.Fatal(err)
	}
	e := ingest.Edit{Form: form, Stamps: r.Stamps}
	bound := b.Bound(e)
	res, err := b.Encode(dst[:0], e)
	if err != nil || len(res.Body) > bound {
		tb.Fatal(err, len(res.Body), bound)
	}
}

func BenchmarkReduce(b *testing.B) {
	const lines = 5000
	f := func(name string, in push.PushRequest, json bool, p plan) {
		b.Run(name, func(b *testing.B) {
			raw := marshal(b, in)
			if json {
				raw = asJSON(b, in)
			}
			c := ingest.Content{JSON: json}
			r := recorded(b, raw, c, p)
			judge := r.Judge
			r.Judge = func(ss []ingest.Series, _ func(int, *labels.Set)) { judge(ss, func(int, *labels.Set) {}) } // all known
			dst := make([]byte, 0, 2*len(raw)+1<<20)
			var pool ingest.Pool
			b.SetBytes(int64(len(raw)))
			b.ReportAllocs()
			for b.Loop() {
				passPooled(b, &pool, raw, dst, c, r)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/lines, "ns/line")
		})
	}
	drop := plan{rules: reducetest.Rules(b, planRules[0])}
	move := plan{move: []string{"pod"}}
	own := logPush(20, lines)
	for _, s := range own.Streams {
		for i := range s.Entries {
			s.Entries[i].StructuredMetadata = push.LabelsAdapter{{Name: "trace_id", Value: "0242ac120002"}, {Name: "pod", Value: "checkout"}}
		}
	}
	f("hits", logPush(20, lines), false, plan{})
	f("hits/stamped", logPush(20, lines), false, plan{stamps: testStamps})
	f("hits/a_stream_a_line", logPush(lines, lines), false, plan{})
	f("longest_line", logPush(20, lines), false, plan{longest: 1000})
	f("move", logPush(20, lines), false, move)
	f("move/own_metadata", own, false, move)
	f("move/json", logPush(20, lines), true, move)
	f("move/a_stream_a_line", logPush(lines, lines), false, move)
	f("drop_and_merge/20", logPush(20, lines), false, drop)
	f("drop_and_merge/5000", logPush(lines, lines), false, drop)
}
