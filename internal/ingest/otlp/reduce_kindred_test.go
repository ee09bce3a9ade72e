package otlp_test

import (
	"bytes"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/telemetry-gateway/telemetry-gateway/internal/fault"
	"github.com/telemetry-gateway/telemetry-gateway/internal/ingest"
	"github.com/telemetry-gateway/telemetry-gateway/internal/ingest/reducetest"
	"github.com/telemetry-gateway/telemetry-gateway/internal/labels"
	"github.com/telemetry-gateway/telemetry-gateway/internal/wire"
)

// TestKindred: a push leaves as if every item of it had been asked about, although few of them were.
func TestKindred(t *testing.T) {
	r := rand.New(rand.NewPCG(61, 62))
	asked, items, changed := 0, 0, 0
	for i := range 400 {
		signal := []string{"traces", "logs"}[i%2]
		c := &itemCase{rules: randomItemRules(t, r), resource: randomItemRules(t, r), stamps: stamps[:r.IntN(3)]}
		if c.rules == nil {
			continue
		}
		if signal == "logs" {
			c.longest = []int{0, 20}[r.IntN(2)]
			if r.IntN(4) == 0 {
				c.metadata = []string{"attribute.1"}
			}
		}
		raw := kindredPush(r, signal)
		a, n, some := c.kindred(t, signal, raw)
		asked, items = asked+a, items+n
		if some {
			changed++
		}
	}
	if items-asked < 1000 || changed < 50 {
		t.Errorf("%d of %d items were asked about, and %d pushes changed: not all is tested", asked, items, changed)
	}
}

// kindred compares what is left of raw with what is left when every item is asked about, and says how many are if not all are.
func (c *itemCase) kindred(t testing.TB, signal string, raw []byte) (asked, all int, changed bool) {
	t.Helper()
	run := func(every bool) ([]byte, *reducetest.Reducer, int) {
		stock := stocks.Stock()
		defer stocks.Restock(stock)
		b, err := references[signal].http.Decode(raw, ingest.Content{Stock: stock})
		if err != nil {
			t.Fatal(err)
		}
		r, refused := c.reducer(t)
		if every {
			r.Repeats = nil
		}
		if err = b.Reduce(r.Reducer); err != nil {
			t.Fatal(err)
		}
		e := ingest.Edit{Form: references[signal].http.Forms[0], Stamps: c.stamps}
		res, err := b.Encode(make([]byte, 0, b.Bound(e)), e)
		if err != nil {
			t.Fatal(err)
		}
		return bytes.Clone(res.Body), r, *refused
	}
	want, slow, long := run(true)
	got, fast, refused := run(false)
	if !bytes.Equal(got, want) || fast.Dropped != slow.Dropped || refused != long {
		t.Fatalf("%s: dropped %d, too long %d, want %d and %d; leaves\n%s\nwant\n%s", signal, fast.Dropped, refused, slow.Dropped, long,
			show(signal, got), show(signal, want))
	}
	return fast.Asked, slow.Asked, len(want) > 0
}

// kindredPush is a push of items of a few kinds, of which some look like others.
func kindredPush(r *rand.Rand, signal string) (raw []byte) {
	num := map[string]int32{"traces": 9, "logs": 6}[signal]
	kinds := make([][]string, 4)
	for i := range kinds {
		for range r.IntN(7) {
			kinds[i] = append(kinds[i], []string{"attribute.0", "attribute.1", "attribute.2", "attribute.3", "a", "__name__", "resource.own",
				"scope.name", "environment", strings.Repeat("n", 130)}[r.IntN(10)])
		}
		if i > 0 && r.IntN(2) == 0 {
			kinds[i] = slices.Clone(kinds[i-1])
			r.Shuffle(len(kinds[i]), func(a, b int) { kinds[i][a], kinds[i][b] = kinds[i][b], kinds[i][a] })
		}
	}
	for range 1 + r.IntN(4) {
		var group []byte
		if r.IntN(4) > 0 {
			group = sub(1, attr(1, []string{"attribute.0", "attribute.1", "own"}[r.IntN(3)], []string{"1", "2"}[r.IntN(2)]))
		}
		for range r.IntN(4) {
			items := sub(1, wire.AppendString(nil, 1, []string{"", "scope", "other"}[r.IntN(3)]))
			for range r.IntN(30) {
				items = append(items, kindredItem(r, signal, num, kinds[r.IntN(len(kinds))])...)
			}
			group = append(group, sub(2, items)...)
		}
		raw = append(raw, sub(1, group)...)
	}
	return raw
}

// kindredItem is a span or a record, mostly a plain one, with attributes of those names.
func kindredItem(r *rand.Rand, signal string, num int32, names []string) []byte {
	var item []byte
	if signal == "traces" {
		item = append(item, spanIDs...)
		for range max(1, r.IntN(12)-8) {
			item = append(item, sub(5, []byte([]string{"GET /", "POST", "PUT", ""}[max(0, r.IntN(24)-20)]))...)
		}
	} else if r.IntN(4) == 0 {
		item = sub(5, wire.AppendString(nil, 1, strings.Repeat("y", r.IntN(40))))
	}
	for _, name := range names {
		key, value := wire.AppendString(nil, 1, name), sub(2, oddValue(r))
		kv := slices.Concat(key, value)
		switch r.IntN(100) {
		case 0, 1, 2, 3:
			kv = slices.Concat(value, key)
		case 4:
			kv = slices.Concat(key, value, sub(2, oddValue(r)))
		case 5:
			kv = key
		case 6:
			kv = append(kv, unknown(1)...)
		}
		item = append(item, sub(num, kv)...)
	}
	if r.IntN(3) == 0 {
		item = append(item, unknown(2)...)
	}
	return sub(2, item)
}

// oddValue is an AnyValue, mostly a short string.
func oddValue(r *rand.Rand) []byte {
	text := func(s string) []byte { return wire.AppendString(nil, 1, s) }
	double := wire.AppendFixed64(nil, 4, math.Float64bits([]float64{1, math.NaN(), math.Inf(-1)}[r.IntN(3)]))
	if r.IntN(12) > 0 {
		return text([]string{"v", "t", "1", "2"}[r.IntN(4)])
	}
	switch r.IntN(12) {
	case 0:
		return text("")
	case 1:
		return text(strings.Repeat("v", 120+r.IntN(20)))
	case 2:
		return wire.AppendVarint(nil, 2, r.Uint64N(2))
	case 3:
		return wire.AppendVarint(nil, 3, r.Uint64()>>r.IntN(64))
	case 4:
		return double
	case 5:
		return sub(5, sub(1, double), sub(1, text("v")))
	case 6:
		return sub(6, sub(1, wire.AppendString(nil, 1, "k"), sub(2, sub(5, sub(1, double)))))
	case 7:
		return sub(7, []byte(strings.Repeat("b", r.IntN(2))))
	case 8:
		return slices.Concat(text("v"), text(""))
	case 9:
		return sub(5)
	case 10:
		return unknown(3)
	}
	return nil
}

// TestKindredIsBounded: attributes of a new name in every item, or of a new value, make it ask, not remember without end.
func TestKindredIsBounded(t *testing.T) {
	f := func(rules string, most int, attrs func(i int) []byte) {
		t.Helper()
		const n = 5000
		items := make([][]byte, 2*n)
		for i := range n {
			items[i] = sub(2, spanIDs, sub(5, []byte("GET /")), attrs(i))
			items[n+i] = items[i]
		}
		raw := sub(1, sub(2, items...))
		booked := 0
		c := &itemCase{rules: reducetest.Rules(t, rules)}
		r, _ := c.reducer(t)
		r.Charge = func(n int) *fault.Error { booked += n; return nil }
		b, err := references["traces"].http.Decode(raw, ingest.Content{})
		if err == nil {
			err = b.Reduce(r.Reducer)
		}
		if err != nil {
			t.Fatal(err)
		}
		if booked > most {
			t.Errorf("%s: %d bytes were booked, want at most %d", rules, booked, most)
		}
		if r.Asked < n {
			t.Errorf("%d items of %d kinds were asked about", r.Asked, n)
		}
	}
	drop := `[{action: labeldrop, regex: none}]`
	f(drop, 128<<10, func(i int) []byte { return attr(9, fmt.Sprint("a", i), "v") })
	f(drop, 128<<10, func(i int) []byte {
		return slices.Concat(attr(9, fmt.Sprint("a", i%16), "v"), attr(9, fmt.Sprint("b", i/16%16), "v"), attr(9, fmt.Sprint("c", i/256), "v"))
	})
	f(`[{action: drop, source_labels: [a], regex: none}]`, 128<<10, func(i int) []byte { return attr(9, "a", fmt.Sprint(i)) })
}

// TestKindredOfManyNames: no item is compared with more than a few others.
func TestKindredOfManyNames(t *testing.T) {
	f := func(names, want int) {
		t.Helper()
		var items []byte
		for i := range 2 * names {
			items = append(items, sub(2, spanIDs, sub(5, []byte("GET /")), attr(9, fmt.Sprint("a", i%names), "v"))...)
		}
		c := &itemCase{rules: reducetest.Rules(t, `[{action: labeldrop, regex: a}]`)}
		if asked, _, _ := c.kindred(t, "traces", sub(1, sub(2, items))); asked != want {
			t.Errorf("%d names, twice each: asked %d times, want %d", names, asked, want)
		}
	}
	f(16, 16)
	f(17, 18)
}

// TestKindredOfManyAttributes: an item with more attributes than are followed is asked about each time.
func TestKindredOfManyAttributes(t *testing.T) {
	f := func(attributes, want int) {
		t.Helper()
		item := spanIDs
		item = append(slices.Clone(item), sub(5, []byte("GET /"))...)
		for i := range attributes {
			item = append(item, attr(9, fmt.Sprint("a", i), "v")...)
		}
		raw := sub(1, sub(2, sub(2, item), sub(2, item), sub(2, item)))
		c := &itemCase{rules: reducetest.Rules(t, `[{action: labeldrop, regex: 'a.*0'}]`)}
		if asked, _, changed := c.kindred(t, "traces", raw); asked != want || changed != (attributes > 0) {
			t.Errorf("%d attributes: asked %d times, want %d; changed %v", attributes, asked, want, changed)
		}
	}
	f(0, 1)
	f(5, 1)
	f(64, 1)
	f(65, 3)
}

// TestKindredOfOtherScopes: what is known of items goes for others only if what is around them is called the same, and is the
// same as far as it is read.
func TestKindredOfOtherScopes(t *testing.T) {
	f := func(rules string, want int, groups ...[]byte) {
		t.Helper()
		c := &itemCase{rules: reducetest.Rules(t, rules)}
		if asked, _, _ := c.kindred(t, "traces", bytes.Join(groups, nil)); asked != want {
			t.Errorf("%s: asked %d times, want %d", rules, asked, want)
		}
	}
	items := bytes.Repeat(sub(2, spanIDs, sub(5, []byte("GET /")), attr(9, "a", "v")), 3)
	group := func(resource []byte, scopes ...string) []byte {
		out := sub(1, resource)
		for _, s := range scopes {
			out = append(out, sub(2, sub(1, wire.AppendString(nil, 1, s)), items)...)
		}
		return sub(1, out)
	}
	one, two, other := attr(1, "r", "1"), attr(1, "r", "2"), attr(1, "s", "1")
	names := `[{action: labeldrop, regex: a}]`
	f(names, 1, group(one, "x"), group(two, "x", "y"))
	f(names, 2, group(one, "x"), group(other, "x"))
	f(names, 2, group(one, "x", ""))
	f(names, 2, group(one, "x"), group(slices.Concat(one, other), "x"))
	f(`[{action: drop, source_labels: [resource.r], regex: 3}]`, 2, group(one, "x", "y"), group(two, "x"))
	f(`[{action: drop, source_labels: [scope.name], regex: z}]`, 3, group(one, "x", "y"), group(two, "y", "x"))
	f(`[{action: drop, source_labels: [resource.r], regex: 2}]`, 4, group(one, "x"), group(two, "x")) // what goes is asked about each time
}

// TestKindredOfTitles: where rules read the names of spans, spans of one name are known.
func TestKindredOfTitles(t *testing.T) {
	span := func(name string) []byte { return sub(2, spanIDs, sub(5, []byte(name)), attr(9, "a", "v")) }
	raw := sub(1, sub(2, span("GET"), span("GET"), span("PUT"), span("PUT"), span("no"), span("no"), span("GET")))
	c := &itemCase{rules: reducetest.Rules(t, `[{action: drop, source_labels: [__name__], regex: no}]`)}
	if asked, _, _ := c.kindred(t, "traces", raw); asked != 4 {
		t.Errorf("asked %d times, want 4: of GET and PUT once, of what is dropped each time", asked)
	}
	// A name is a label as others are: a span without one is another kind of span, and not a plain one.
	bare := sub(2, spanIDs, attr(9, "a", "v"))
	c.rules = reducetest.Rules(t, `[{action: labeldrop, regex: a}]`)
	if asked, _, _ := c.kindred(t, "traces", sub(1, sub(2, bare, span("GET"), span("PUT"), bare, span("")))); asked != 4 {
		t.Errorf("asked %d times, want 4: of what has a name once", asked)
	}
}

// TestKindredIsAsked: a Reducer that says that its answer goes for no other item is asked about each.
func TestKindredIsAsked(t *testing.T) {
	item := sub(2, spanIDs, sub(5, []byte("GET")), attr(9, "a", "v"))
	raw, asked := sub(1, sub(2, item, item, item)), 0
	b, err := references["traces"].http.Decode(raw, ingest.Content{})
	if err == nil {
		err = b.Reduce(&ingest.Reducer{
			Item:    func(*labels.Set) (*labels.Change, ingest.Verdict) { asked++; return nil, ingest.Pass },
			Repeats: func() bool { return asked == 2 },
		})
	}
	if err != nil || asked != 2 {
		t.Errorf("asked %d times (%v), want 2", asked, err)
	}
}
