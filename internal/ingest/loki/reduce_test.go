package loki

import (
	"bytes"
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	godiff "github.com/google/go-cmp/cmp"
	"github.com/grafana/loki/pkg/push"
	promlabels "github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/relabel"

	"github.com/telemetry-gateway/telemetry-gateway/internal/ingest"
	"github.com/telemetry-gateway/telemetry-gateway/internal/ingest/reducetest"
	"github.com/telemetry-gateway/telemetry-gateway/internal/labels"
)

// plan is what one push is reduced with.
type plan struct {
	stamps  []labels.Label
	rules   []*relabel.Config
	move    []string
	longest int
}

// tooLong refuses every other length, so that what is asked and what is refused differ.
func (p plan) tooLong(line string) bool {
	return p.longest > 0 && len(line) > p.longest && len(line)%2 == 0
}

// planRules are what a plan picks from.
var planRules = []string{
	`[{action: labeldrop, regex: "pod|b"}]`,
	`[{action: labeldrop, regex: "a.*"}]`,
	`[{action: drop, source_labels: [a], regex: "2|b"}]`,
	`[{action: replace, source_labels: [pod, b], target_label: a, regex: "(.*);(.+)", replacement: "$2$1\n\""}]`,
	`[{action: labelmap, regex: "p(.*)", replacement: "x$1"}]`,
	`[{action: replace, target_label: "z.z", replacement: "new"}]`,
	`[{action: lowercase, source_labels: [env], target_label: env}, {action: labelkeep, regex: "a|env|pod_extracted|__name__"}]`,
}

var planMoves = []string{"pod", "a", "pod_extracted", "env", "foo bar", "app"}

// newPlan makes a plan of bits, so that a fuzzer can.
func newPlan(t testing.TB, bits uint32) (p plan) {
	if bits&1 != 0 {
		p.stamps = testStamps
	}
	for i, text := range planRules {
		if bits>>(1+i)&1 != 0 {
			p.rules = append(p.rules, reducetest.Rules(t, text)...)
		}
	}
	for i, name := range planMoves {
		if bits>>(10+i)&1 != 0 {
			p.move = append(p.move, name)
		}
	}
	if bits>>17&1 != 0 {
		p.longest = int(bits >> 18 & 31)
	}
	return p
}

// wanted is what the plain way makes of a push: Loki's own types, Prometheus' relabelling, maps and a stable sort.
type wanted struct {
	push                                        push.PushRequest
	unreadable, dropped, tooLong, metadataBytes int
	changed                                     bool
}

func (p plan) reference(in push.PushRequest) (w wanted) {
	type leaving struct {
		final   string
		stream  push.Stream
		changed bool
	}
	var all []leaving
	for _, s := range in.Streams {
		var set labelSet
		if set.parse([]byte(s.Labels)) != nil { // checkLabels holds parse to the reference
			w.unreadable += len(s.Entries)
			w.changed = true
			continue
		}
		b := promlabels.NewBuilder(promlabels.EmptyLabels())
		for _, l := range set.pairs {
			b.Set(string(l.name), string(l.value))
		}
		for _, l := range p.stamps {
			b.Set(l.Name, l.Value)
		}
		before := b.Labels()
		if !relabel.ProcessBuilder(b, p.rules...) {
			w.dropped += len(s.Entries)
			w.changed = true
			continue
		}
		var moved []promlabels.Label
		for _, name := range p.move {
			if v := b.Get(name); v != "" && b.Labels().Len() > 1 {
				moved = append(moved, promlabels.Label{Name: name, Value: v})
				b.Del(name)
			}
		}
		slices.SortFunc(moved, func(a, b promlabels.Label) int { return cmp.Compare(a.Name, b.Name) })
		l := leaving{final: b.Labels().String(), stream: s, changed: len(moved) > 0 || !promlabels.Equal(before, b.Labels())}
		var entries []push.Entry
		for _, e := range s.Entries {
			if p.tooLong(e.Line) {
				w.tooLong++
				continue
			}
			e.StructuredMetadata = slices.Clone(e.StructuredMetadata)
			w.metadataBytes += addMetadata(&e, moved)
			entries = append(entries, e)
		}
		w.changed = w.changed || l.changed || len(entries) < len(s.Entries)
		if len(entries) == 0 && len(s.Entries) > 0 {
			continue
		}
		l.stream.Entries = entries
		if l.changed || len(p.stamps) > 0 {
			l.stream.Hash = 0
			l.stream.Labels = canonical(b.Labels())
		}
		all = append(all, l)
	}
	in.Streams = nil
	done := map[string]bool{}
	for _, l := range all {
		var same []leaving
		changed := false
		for _, o := range all {
			if o.final == l.final {
				same, changed = append(same, o), changed || o.changed
			}
		}
		switch {
		case !changed:
			in.Streams = append(in.Streams, l.stream)
		case !done[l.final]:
			done[l.final] = true
			one := push.Stream{}
			for _, o := range same {
				if o.changed {
					one.Labels = o.stream.Labels
				}
				one.Entries = append(one.Entries, o.stream.Entries...)
			}
			if len(same) > 1 {
				slices.SortStableFunc(one.Entries, func(a, b push.Entry) int { return a.Timestamp.Compare(b.Timestamp) })
			}
			in.Streams = append(in.Streams, one)
		}
	}
	w.push = in
	return w
}

func canonical(ls promlabels.Labels) string {
	var set labelSet
	ls.Range(func(l promlabels.Label) { set.pairs = append(set.pairs, pair{[]byte(l.Name), []byte(l.Value)}) })
	return string(set.append(nil, nil))
}

// addMetadata adds moved labels to a line and says how many bytes that is.
func addMetadata(e *push.Entry, moved []promlabels.Label) (n int) {
	own := map[string][]string{}
	for _, l := range e.StructuredMetadata {
		own[l.Name] = append(own[l.Name], l.Value)
	}
	taken := func(name string) bool {
		return own[name] != nil || slices.ContainsFunc(moved, func(l promlabels.Label) bool { return l.Name == name })
	}
	for _, l := range moved {
		name := l.Name
		if values, ok := own[name]; ok {
			if name += "_extracted"; slices.Contains(values, l.Value) || taken(name) {
				continue
			}
		}
		e.StructuredMetadata = append(e.StructuredMetadata, push.LabelAdapter{Name: name, Value: l.Value})
		n += len(name) + len(l.Value)
	}
	return n
}

// checkReduced compares a batch of want, reduced by p, with the reference.
func checkReduced(t *testing.T, b *batch, in push.PushRequest, p plan) {
	t.Helper()
	r := reducetest.New(t, p.stamps, p.rules, nil)
	r.Move = p.move
	tooLong := 0
	r.LongestLine = p.longest
	r.TooLong = func(n int) bool {
		if n <= p.longest {
			t.Errorf("asked about a line of %d bytes, %d are allowed", n, p.longest)
		}
		if n%2 == 0 {
			tooLong++
		}
		return n%2 == 0
	}
	before := slices.Clone(b.raw)
	if err := b.Reduce(r.Reducer); err != nil {
		t.Fatal(err)
	}
	edit := ingest.Edit{Form: form, Stamps: p.stamps}
	bound := b.Bound(edit)
	prefix := []byte("already here")
	res, err := b.Encode(append(make([]byte, 0, len(prefix)+bound), prefix...), edit)
	if err != nil {
		t.Fatal(err)
	}
	w := p.reference(in)
	refused := 0
	for _, one := range res.Refused {
		refused += one.Items
	}
	if refused != w.unreadable || r.Dropped != w.dropped || tooLong != w.tooLong || res.MetadataBytes != w.metadataBytes {
		t.Fatalf("%d unreadable, %d dropped, %d too long, %d bytes of metadata; want %d, %d, %d, %d",
			refused, r.Dropped, tooLong, res.MetadataBytes, w.unreadable, w.dropped, w.tooLong, w.metadataBytes)
	}
	if b.Items() != res.Sent.Items+refused+r.Dropped+tooLong {
		t.Fatalf("%d lines, but %d sent, %d refused, %d dropped, %d too long", b.Items(), res.Sent.Items, refused, r.Dropped, tooLong)
	}
	if !w.changed && len(p.stamps) == 0 && !b.json {
		if !res.Unchanged || bound != 0 {
			t.Fatalf("nothing changes, but %+v, bound %d", res, bound)
		}
		return
	}
	if n := len(res.Body) - len(prefix); res.Unchanged || bound == 0 || n > bound || cap(res.Body) != len(prefix)+bound {
		t.Fatalf("%d bytes, bound %d, %d taken, unchanged %v", n, bound, cap(res.Body), res.Unchanged)
	}
	var got push.PushRequest
	if err := got.Unmarshal(res.Body[len(prefix):]); err != nil {
		t.Fatalf("what was written does not decode: %v", err)
	}
	if !bytes.Equal(marshal(t, w.push), marshal(t, got)) {
		t.Fatalf("%+v (-want +got):\n%.3000s", p, godiff.Diff(w.push, got))
	}
	if again, err := b.Encode(nil, edit); err != nil || !bytes.Equal(again.Body, res.Body[len(prefix):]) || !bytes.Equal(b.raw, before) {
		t.Fatalf("a second Encode writes something else, or one wrote to the push: %v", err)
	}
}

// busyPush is a push whose streams and lines meet in all ways that matter.
func busyPush(r *rand.Rand) push.PushRequest {
	pick := func(of ...string) string { return of[r.IntN(len(of))] }
	var p push.PushRequest
	for range r.IntN(8) {
		s := push.Stream{Labels: pick(
			`{a="`+pick("1", "2")+`", pod="`+pick("p1", "p2", "p3")+`"}`,
			`{pod='`+pick("p1", "p2")+`',  a="1", b="`+pick("", "x", `\"`)+`"}`,
			`{a="1"}`, `{pod="p1"}`, `{env="`+pick("PROD", "prod", "dev")+`", pod="p1", a="1"}`, `{a="1", pod_extracted="`+pick("p1", "q")+`", pod="p2"}`,
			`{"foo bar"="\xff", a="1"}`, labelSeeds[r.IntN(len(labelSeeds))])}
		if r.IntN(8) == 0 {
			s.Hash = r.Uint64()
		}
		at := r.Int64N(50)
		for range r.IntN(7) {
			e := push.Entry{Timestamp: time.Unix(at/5, at%5).UTC(), Line: strings.Repeat("x", r.IntN(40))}
			if at += r.Int64N(4); r.IntN(6) == 0 {
				at = r.Int64N(50) - 5
			}
			for range max(0, r.IntN(5)-2) {
				e.StructuredMetadata = append(e.StructuredMetadata, push.LabelAdapter{
					Name: pick("pod", "a", "pod_extracted", "a_extracted", "", "other"), Value: pick("p1", "p2", "1", "")})
			}
			s.Entries = append(s.Entries, e)
		}
		p.Streams = append(p.Streams, s)
	}
	return p
}

// stocks is where the pushes of differential tests build: in what those before them have left behind.
var stocks ingest.Pool

func checkReducedProtobuf(t *testing.T, raw []byte, bits uint32) {
	t.Helper()
	b, err := walk(raw, ingest.Lender{})
	if err != nil {
		return
	}
	b.lender.Stock = stocks.Stock()
	defer stocks.Restock(b.lender.Stock)
	var in push.PushRequest
	if err := in.Unmarshal(raw); err != nil {
		t.Fatal(err)
	}
	checkReduced(t, b, in, newPlan(t, bits))
}

func checkReducedJSON(t *testing.T, in []byte, bits uint32) {
	t.Helper()
	stock := stocks.Stock()
	defer stocks.Restock(stock)
	b, err := fromJSON(in, ingest.Lender{Stock: stock})
	if err != nil {
		return
	}
	var p push.PushRequest
	if err := p.Unmarshal(b.raw); err != nil { // checkJSON holds it to the reference
		t.Fatal(err)
	}
	checkReduced(t, b, p, newPlan(t, bits))
}

func TestReduceRandom(t *testing.T) {
	r := rand.New(rand.NewPCG(11, 12))
	for range 2_000 {
		checkReducedProtobuf(t, marshal(t, busyPush(r)), r.Uint32())
	}
	for range 300 {
		p := randomPush(r)
		checkReducedProtobuf(t, marshal(t, p), r.Uint32())
		checkReducedJSON(t, randomJSON(r, p), r.Uint32())
		checkReducedJSON(t, randomJSON(r, busyPush(r)), r.Uint32())
	}
}

func TestReduceSeeds(t *testing.T) {
	for _, bits := range []uint32{0, 1, 1 << 1, 3 | 1<<10, 1<<4 | 1<<6 | 7<<10, 1<<17 | 3<<18, 1<<32 - 1} {
		for _, raw := range protobufSeeds() {
			checkReducedProtobuf(t, raw, bits)
		}
		for _, in := range jsonSeeds {
			checkReducedJSON(t, []byte(in), bits)
		}
	}
}

func FuzzReduceProtobuf(f *testing.F) {
	for i, raw := range protobufSeeds() {
		f.Add(raw, uint32(i)*0x9e3779b9)
	}
	r := rand.New(rand.NewPCG(13, 14))
	for range 50 {
		f.Add(marshal(f, busyPush(r)), r.Uint32())
	}
	f.Fuzz(checkReducedProtobuf)
}

func FuzzReduceJSON(f *testing.F) {
	r := rand.New(rand.NewPCG(15, 16))
	for range 50 {
		f.Add(randomJSON(r, busyPush(r)), r.Uint32())
	}
	f.Fuzz(checkReducedJSON)
}

// reduced is raw as it leaves by way of p.
func reduced(t *testing.T, raw []byte, p plan) ingest.Result {
	t.Helper()
	b, err := walk(raw, ingest.Lender{})
	if err != nil {
		t.Fatal(err)
	}
	r := reducetest.New(t, p.stamps, p.rules, nil)
	r.Move = p.move
	if err := b.Reduce(r.Reducer); err != nil {
		t.Fatal(err)
	}
	res, err := b.Encode(nil, ingest.Edit{Form: form, Stamps: p.stamps})
	if err != nil {
		t.Fatal(err)
	}
	return res
}

// TestMovedLabels: what a line has of its own stays, and gets no second value under one name.
func TestMovedLabels(t *testing.T) {
	f := func(ls, move, own, want string) {
		t.Helper()
		e := push.Entry{Timestamp: time.Unix(1, 0).UTC(), Line: "x"}
		for _, l := range strings.Fields(own) {
			name, value, _ := strings.Cut(l, "=")
			e.StructuredMetadata = append(e.StructuredMetadata, push.LabelAdapter{Name: name, Value: value})
		}
		raw := marshal(t, push.PushRequest{Streams: []push.Stream{{Labels: ls, Entries: []push.Entry{e}}}})
		res := reduced(t, raw, plan{move: strings.Fields(move)})
		var p push.PushRequest
		if err := p.Unmarshal(res.Body); err != nil {
			t.Fatal(err)
		}
		var got []string
		size := -len(strings.ReplaceAll(strings.ReplaceAll(own, " ", ""), "=", ""))
		for _, l := range p.Streams[0].Entries[0].StructuredMetadata {
			got = append(got, l.Name+"="+l.Value)
			size += len(l.Name) + len(l.Value)
		}
		if g := p.Streams[0].Labels + " " + strings.Join(got, " "); g != want || res.MetadataBytes != size {
			t.Errorf("%s with %q: got %s, %d bytes; want %s, %d", ls, own, g, res.MetadataBytes, want, size)
		}
	}
	f(`{a="1", pod="p"}`, "pod", "", `{a="1"} pod=p`)
	f(`{a="1", pod="p", z="2"}`, "z pod", "", `{a="1"} pod=p z=2`)
	f(`{a="1", pod="p"}`, "pod", "t=5", `{a="1"} t=5 pod=p`)
	f(`{a="1", pod="p"}`, "pod", "pod=p", `{a="1"} pod=p`)
	f(`{a="1", pod="p"}`, "pod", "pod=q", `{a="1"} pod=q pod_extracted=p`)
	f(`{a="1", pod="p"}`, "pod", "pod=q pod=p", `{a="1"} pod=q pod=p`)
	f(`{a="1", pod="p"}`, "pod", "pod_extracted=q", `{a="1"} pod_extracted=q pod=p`)
	f(`{a="1", pod="p"}`, "pod", "pod_extracted=q pod=q", `{a="1"} pod_extracted=q pod=q`)
	f(`{a="1", pod="p"}`, "pod", "pod_extracted=p pod=q", `{a="1"} pod_extracted=p pod=q`)
	f(`{a="1", pod="p", pod_extracted="r"}`, "pod pod_extracted", "pod=q", `{a="1"} pod=q pod_extracted=r`)
	f(`{a="1", pod="p"}`, "pod a", "", `{a="1"} pod=p`) // the last label stays, whatever its name
}

// TestMergedStreams: unknown fields come along, hashes do not, and lines of one time stay as they came.
func TestMergedStreams(t *testing.T) {
	at := func(seconds uint64, line string, more ...[]byte) []byte {
		return msg(2, append([][]byte{msg(1, varint(1, seconds)), str(2, line)}, more...)...)
	}
	drop := plan{rules: reducetest.Rules(t, planRules[0])}
	f := func(p plan, raw, want []byte) {
		t.Helper()
		if res := reduced(t, raw, p); string(res.Body) != string(want) {
			t.Errorf("got  %q\nwant %q", res.Body, want)
		}
	}
	newer := str(77, "newer")
	raw := slices.Concat(newer,
		msg(1, str(1, `{a="1", pod="1"}`), at(5, "five"), at(1, "one", newer), str(9, "x")),
		msg(1, str(1, `{c="2"}`), at(9, "other"), varint(3, 4)),
		str(2, "loki"),
		msg(1, varint(3, 7), str(1, `{a="1"}`), at(1, "also one"), msg(2, str(2, "no time")), str(9, "y")))
	f(drop, raw, slices.Concat(newer,
		msg(1, str(1, `{a="1"}`), msg(2, str(2, "no time")), at(1, "one", newer), at(1, "also one"), at(5, "five"), str(9, "x"), str(9, "y")),
		msg(1, str(1, `{c="2"}`), at(9, "other"), varint(3, 4)), // untouched: its labels do not change
		str(2, "loki")))

	// Streams that were one already are not put together for nothing; as soon as another joins them they are.
	twice := slices.Concat(msg(1, str(1, `{a="1"}`), at(2, "x")), msg(1, str(1, `{ a="1" }`), at(1, "y")))
	other := msg(1, str(1, `{c="2", b="1"}`), at(1, "z"))
	f(drop, slices.Concat(twice, other), slices.Concat(twice, msg(1, str(1, `{c="2"}`), at(1, "z"))))
	joins := msg(1, str(1, `{a="1", b="1"}`), at(1, "z"))
	f(drop, slices.Concat(twice, joins), msg(1, str(1, `{a="1"}`), at(1, "y"), at(1, "z"), at(2, "x")))

	// No time is the year 1, before all others.
	early := msg(2, msg(1, varint(1, ^uint64(9))), str(2, "1969"))
	f(drop, slices.Concat(msg(1, str(1, `{a="1", b="1"}`), early), msg(1, str(1, `{a="1"}`), msg(2, str(2, "none")))),
		msg(1, str(1, `{a="1"}`), msg(2, str(2, "none")), early))

	// A stream alone keeps its own order.
	f(drop, msg(1, str(1, `{a="1", b="1"}`), at(5, "five"), at(1, "one")), msg(1, str(1, `{a="1"}`), at(5, "five"), at(1, "one")))
	// All dropped.
	f(plan{rules: reducetest.Rules(t, planRules[2])}, slices.Concat(newer, msg(1, str(1, `{a="2"}`), at(5, "five"))), newer)
}

// TestInTime compares the merge of runs with a stable sort.
func TestInTime(t *testing.T) {
	r := rand.New(rand.NewPCG(17, 18))
	for n := range 400 {
		rs := make([]record, n)
		now := int64(0)
		for i := range rs {
			if now += r.Int64N(3); r.IntN(1+n%23) == 0 {
				now = r.Int64N(20)
			}
			rs[i] = record{seconds: now / 2, nanos: int32(now % 2), from: i}
		}
		want := slices.Clone(rs)
		slices.SortStableFunc(want, func(a, b record) int {
			return cmp.Or(cmp.Compare(a.seconds, b.seconds), cmp.Compare(a.nanos, b.nanos))
		})
		if got := inTime(rs, make([]record, 0, n)); !slices.Equal(got, want) {
			t.Fatalf("%d records: %v, want %v", n, got, want)
		}
	}
}

// TestRefusedByReducer: what the guard refuses is left out, and its lines are not asked about.
func TestRefusedByReducer(t *testing.T) {
	long := strings.Repeat("x", 50)
	stream := func(ls string, lines ...string) []byte {
		out := [][]byte{str(1, ls)}
		for _, l := range lines {
			out = append(out, msg(2, str(2, l)))
		}
		return msg(1, out...)
	}
	raw := slices.Concat(stream(`{a="1"}`, long, "short"), stream(`{a="bad}`, long), stream(`{a="2"}`, long), stream(`{a="3"}`, long, long), stream(`{a="4"}`))
	b, err := walk(raw, ingest.Lender{})
	if err != nil {
		t.Fatal(err)
	}
	r := reducetest.New(t, nil, nil, nil)
	r.Refuse = func(ls []labels.Label) bool { return ls[0].Value == "2" }
	asked := 0
	r.LongestLine, r.TooLong = 49, func(int) bool { asked++; return true }
	if err := b.Reduce(r.Reducer); err != nil {
		t.Fatal(err)
	}
	res, err := b.Encode(nil, ingest.Edit{Form: form})
	if err != nil {
		t.Fatal(err)
	}
	if want := slices.Concat(stream(`{a="1"}`, "short"), stream(`{a="4"}`)); string(res.Body) != string(want) {
		t.Errorf("got %q, want %q", res.Body, want)
	}
	want := []ingest.Refusal{{Reason: "invalid_item", Items: 1, Text: "stream 2: labels: quoted string does not end at byte 3"}}
	if asked != 3 || r.Refused != 1 || res.Sent.Items != 1 || !slices.Equal(res.Refused, want) {
		t.Errorf("asked %d times, %d refused, %+v", asked, r.Refused, res)
	}
}

// TestLinesAlone: limits of lines need no series.
func TestLinesAlone(t *testing.T) {
	raw := marshal(t, push.PushRequest{Streams: []push.Stream{{Labels: `{a="1"}`, Entries: []push.Entry{{Line: "12345"}, {Line: "1234"}}}, {Labels: `{a=`, Entries: []push.Entry{{Line: "12345"}}}}})
	f := func(longest int, refuse bool, stamps []labels.Label, asked, sent, refused int, unchanged bool) {
		t.Helper()
		b, err := walk(raw, ingest.Lender{})
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		r := &ingest.Reducer{Stamps: stamps, LongestLine: longest, TooLong: func(int) bool { n++; return refuse }}
		if err := b.Reduce(r); err != nil {
			t.Fatal(err)
		}
		res, err := b.Encode(nil, ingest.Edit{Form: form, Stamps: stamps})
		if err != nil || n != asked || res.Sent.Items != sent || len(res.Refused) != refused || res.Unchanged != unchanged {
			t.Errorf("%d, %v: asked %d times, %+v, %v", longest, refuse, n, res, err)
		}
	}
	f(0, true, nil, 0, 3, 0, true)
	f(5, true, nil, 0, 3, 0, true)
	f(4, false, nil, 2, 3, 0, true)
	f(4, true, nil, 2, 1, 0, false)
	f(4, true, testStamps, 1, 1, 1, false)
	f(5, true, testStamps, 0, 2, 1, false)
}

// TestViews: Judge may ask for any stream, more than once, in any order, also behind unreadable ones.
func TestViews(t *testing.T) {
	var raw []byte
	for i := range 9 {
		text := fmt.Sprintf(`{n="\x3%d"}`, i)
		if i%3 != 1 {
			raw = append(raw, msg(1, str(1, text), msg(2, str(2, "x")))...)
		} else {
			raw = append(raw, msg(1, str(1, text[1:]), msg(2, str(2, "x")))...)
		}
	}
	b, err := walk(raw, ingest.Lender{})
	if err != nil {
		t.Fatal(err)
	}
	r := reducetest.New(t, testStamps, nil, nil)
	var got []string
	r.Judge = func(ss []ingest.Series, view func(int, *labels.Set)) {
		for _, i := range []int{5, 0, 3, 5, 1, 2, 4} {
			var set labels.Set
			view(i, &set)
			got = append(got, strings.Clone(set.All[1].Value))
			if len(ss) != 6 || len(set.All) != 3 || set.All[0].Value != "prod" || ss[i].Items != 1 || ss[i].Weight != 1 {
				t.Errorf("%d series, %+v, %v", len(ss), ss[i], set.All)
			}
		}
	}
	if err := b.Reduce(r.Reducer); err != nil {
		t.Fatal(err)
	}
	if want := []string{"8", "0", "5", "8", "2", "3", "6"}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}
