package otlp_test

import (
	"bytes"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/telemetry-gateway/telemetry-gateway/internal/fault"
	"github.com/telemetry-gateway/telemetry-gateway/internal/ingest"
	"github.com/telemetry-gateway/telemetry-gateway/internal/ingest/otlp"
	"github.com/telemetry-gateway/telemetry-gateway/internal/ingest/reducetest"
	"github.com/telemetry-gateway/telemetry-gateway/internal/labels"
	"github.com/telemetry-gateway/telemetry-gateway/internal/wire"
)

// pointKinds are the kinds of points: the field of their metric, and of their attributes.
var pointKinds = map[int32]int32{5: 7, 7: 7, 9: 9, 10: 1, 11: 7}

// intAttr is field num with an attribute that is a number.
func intAttr(num int32, key string, value uint64) []byte {
	return sub(num, wire.AppendString(nil, 1, key), sub(2, wire.AppendVarint(nil, 3, value)))
}

// named is field 2, a metric of that name.
func named(name string, parts ...[]byte) []byte {
	return sub(2, wire.AppendString(nil, 1, name), bytes.Join(parts, nil))
}

// metricsOf is a push of metrics without resource or scope.
func metricsOf(metrics ...[]byte) []byte { return sub(1, sub(2, metrics...)) }

// TestPointsOnTheWire compares bytes: what rules do not change stays as it came, fields that nobody knows too.
func TestPointsOnTheWire(t *testing.T) {
	for data, attrs := range pointKinds {
		f := func(what string, d reduction, raw, want []byte) {
			t.Helper()
			if got, _ := reduce(t, d, raw, ingest.Content{}); !bytes.Equal(got, want) {
				t.Errorf("data %d, %s:\n got %q\nwant %q", data, what, got, want)
			}
		}
		push := func(metrics ...[]byte) []byte {
			return slices.Concat(unknown(1), sub(1, unknown(2), sub(1, attr(1, "r", "s")), sub(2, unknown(3), bytes.Join(metrics, nil), unknown(4)), unknown(5)), unknown(6))
		}
		point := func(attrs ...[]byte) []byte {
			return sub(1, slices.Concat(unknown(7), bytes.Join(attrs, nil)))
		}
		m := func(name string, points ...[]byte) []byte {
			return named(name, unknown(9), sub(12, unknown(10)), sub(data, bytes.Join(points, nil), unknown(11)))
		}
		a, b, n := attr(attrs, "a", "1"), attr(attrs, "b", "2"), intAttr(attrs, "n", 3)
		empty := attr(attrs, "e", "")
		no := reduction{}

		drop := no.with(t, "- {action: labeldrop, regex: a}", "")
		u := unknown(8)
		f("one goes", drop, push(m("x", point(a, u, n, b), point(b, n, a, u), point(n))), push(m("x", point(u, n, b), point(b, n, u), point(n))))
		f("doubled ones and one without a value", drop, push(m("x", point(empty, b, a, empty, b, a))), push(m("x", point(empty, b, empty))))
		f("with one of its name that has no value", drop, push(m("x", point(attr(attrs, "a", ""), b, a))), push(m("x", point(b))))
		f("doubled where nothing changes", drop, push(m("x", point(b, b), point(a))), push(m("x", point(b, b), point())))
		f("written where it was empty", no.with(t, "- {target_label: e, replacement: x}", ""), push(m("x", point(empty, n))), push(m("x", point(n, attr(attrs, "e", "x")))))
		f("a number is a text once it is written", no.with(t, "- {source_labels: [n], target_label: n, regex: (.), replacement: '${1}0'}", ""),
			push(m("x", point(n, a, u))), push(m("x", point(a, u, attr(attrs, "n", "30")))))
		f("a number matches as text", no.with(t, "- {action: drop, source_labels: [n], regex: '3'}", ""), push(m("x", point(n), point(a))), push(m("x", point(a))))
		f("reads what is around", no.with(t, "- {source_labels: [resource.r, __name__], target_label: z}", ""), push(m("x", point(b))), push(m("x", point(b, attr(attrs, "z", "s;x")))))
		own := attr(attrs, "resource.r", "own")
		f("called like what is around", no.with(t, "- {action: labeldrop, regex: 'a|resource.r'}\n- {target_label: resource.r, replacement: x}", ""),
			push(m("x", point(own, a))), push(m("x", point(own))))

		stamped := reduction{stamps: stamps}
		env, cluster := attr(attrs, "environment", "prod"), attr(attrs, "k8s_cluster", "eu-1")
		f("stamped", stamped.with(t, "- {action: labeldrop, regex: a}", ""),
			push(m("x", point(a, attr(attrs, "environment", "dev"), b), point(b))), push(m("x", point(env, b, cluster), point(b, env, cluster))))
		f("a stamp goes", stamped.with(t, "- {action: labeldrop, regex: environment}", ""),
			push(m("x", point(a, attr(attrs, "environment", "dev"), b))), push(m("x", point(a, b, cluster))))
		f("a stamp is written", stamped.with(t, "- {source_labels: [environment], target_label: environment, replacement: '$1-2'}", ""),
			push(m("x", point(a))), push(m("x", point(a, cluster, attr(attrs, "environment", "prod-2")))))
		f("stamps alone", stamped.with(t, "- {action: drop, source_labels: [a], regex: '1'}", ""), push(m("x", point(a)), m("y", point(b))), push(m("y", point(b, env, cluster))))

		// What is around the points of a metric that is renamed stands before them.
		renamed := func(name string, points ...[]byte) []byte { return m(name, points...) }
		byA := no.with(t, "- {action: replace, source_labels: [__name__, a], regex: '(.*);(.+)', target_label: __name__, replacement: '${1}_$2'}", "")
		a2 := attr(attrs, "a", "2")
		f("renamed", byA, push(m("x", point(a), point(a, b)), m("y", point(b))), push(renamed("x_1", point(a), point(a, b)), m("y", point(b))))
		f("split", byA, push(m("x", point(a), point(b), point(a2), point(a, b)), m("y", point(b))),
			push(renamed("x_1", point(a), point(a, b)), renamed("x", point(b)), renamed("x_2", point(a2)), m("y", point(b))))
		f("a name is never taken away", no.with(t, "- {action: labeldrop, regex: '__name__|a'}", ""), push(m("x", point(a, b))), push(m("x", point(b))))
		f("no name", byA, push(sub(2, sub(data, point(a), point(b)))), push(sub(2, wire.AppendString(nil, 1, "_1"), sub(data, point(a))), sub(2, wire.AppendString(nil, 1, ""), sub(data, point(b)))))
	}
}

// TestEmptied: what loses all that it holds goes, what came empty stays.
func TestEmptied(t *testing.T) {
	f := func(what string, raw, want []byte) {
		t.Helper()
		d := reduction{}.with(t, "- {action: drop, source_labels: [a], regex: '1'}", "- {action: drop, source_labels: [a], regex: '1'}")
		if got, _ := reduce(t, d, raw, ingest.Content{}); !bytes.Equal(got, want) {
			t.Errorf("%s:\n got %q\nwant %q", what, got, want)
		}
	}
	gone := sub(5, sub(1, attr(7, "a", "1")))
	stays := sub(5, sub(1, attr(7, "a", "2")))
	f("all", slices.Concat(metricsOf(named("x", gone)), metricsOf(named("x", gone), named("y", gone))), nil)
	f("a metric", metricsOf(named("x", gone), named("y", stays)), metricsOf(named("y", stays)))
	f("an empty metric stays", metricsOf(named("x", gone), named("y")), metricsOf(named("y")))
	f("one with empty data, too", metricsOf(named("x", gone), named("y", sub(7))), metricsOf(named("y", sub(7))))
	f("a scope", sub(1, sub(2, named("x", gone)), sub(2, named("x", stays))), sub(1, sub(2, named("x", stays))))
	f("an empty scope stays", sub(1, sub(2, named("x", gone)), sub(2)), sub(1, sub(2)))
	f("an empty resource stays", slices.Concat(metricsOf(named("x", gone)), sub(1), sub(1, unknown(1))), slices.Concat(sub(1), sub(1, unknown(1))))
	f("by its resource", slices.Concat(sub(1, sub(1, attr(1, "a", "1")), sub(2, named("x", stays))), metricsOf(named("x", stays))), metricsOf(named("x", stays)))
	f("an empty one by its resource", sub(1, sub(1, attr(1, "a", "1"))), nil)
	f("old field", sub(1, sub(1000, named("x", gone)), sub(1000, named("x", stays))), sub(1, sub(1000, named("x", stays))))
	f("nobody reads the old field", sub(1, sub(1000, named("x", stays)), sub(2, named("x", gone))), nil)
	f("nor comes it to light", sub(1, sub(1000, named("x", stays)), sub(2, named("x", gone), named("y", stays))), sub(1, sub(2, named("y", stays))))
	f("data that nobody reads", metricsOf(named("x", sub(7, sub(1)), gone, sub(5, sub(1), sub(1, attr(7, "a", "1"))))), metricsOf(named("x", sub(5, sub(1)))))
}

// TestResourcesOfPoints changes resources on the wire and in what rules for points see.
func TestResourcesOfPoints(t *testing.T) {
	f := func(what string, raw, want []byte) {
		t.Helper()
		d := reduction{}.with(t, "- {source_labels: [resource.a, resource.b], target_label: seen}",
			"- {action: labeldrop, regex: a}\n- {source_labels: [n], target_label: b, regex: (.+)}")
		if got, _ := reduce(t, d, raw, ingest.Content{}); !bytes.Equal(got, want) {
			t.Errorf("%s:\n got %q\nwant %q", what, got, want)
		}
	}
	points := func(seen string) []byte {
		if seen != "" {
			return sub(2, named("x", sub(7, sub(1, unknown(1), attr(7, "seen", seen)))))
		}
		return sub(2, named("x", sub(7, sub(1, unknown(1)))))
	}
	a, b, n := attr(1, "a", "1"), attr(1, "b", "2"), intAttr(1, "n", 3)
	f("one goes", sub(1, sub(1, a, unknown(1), b), points(""), unknown(2)), sub(1, sub(1, unknown(1), b), points(";2"), unknown(2)))
	f("one is written", sub(1, points(""), sub(1, n, b)), sub(1, points(";3"), sub(1, n, attr(1, "b", "3"))))
	f("two are one", sub(1, sub(1, a, b), unknown(1), sub(1, unknown(2), n)), sub(1, sub(1, unknown(2), n, attr(1, "b", "3")), unknown(1)))
	f("two without a change", sub(1, sub(1, b), sub(1, unknown(2)), points("")), sub(1, sub(1, b), sub(1, unknown(2)), points(";2")))
	f("the first that is doubled counts", sub(1, sub(1, b, attr(1, "b", "4")), points("")), sub(1, sub(1, b, attr(1, "b", "4")), points(";2")))

	made := reduction{}.with(t, "", "- {target_label: new, replacement: x}")
	raw, want := slices.Concat(sub(1, points("")), sub(1)), slices.Concat(sub(1, sub(1, attr(1, "new", "x")), points("")), sub(1, sub(1, attr(1, "new", "x"))))
	if got, _ := reduce(t, made, raw, ingest.Content{}); !bytes.Equal(got, want) {
		t.Errorf("none:\n got %q\nwant %q", got, want)
	}
}

// TestResourcesAlone has a Reducer that has nothing to say about points.
func TestResourcesAlone(t *testing.T) {
	drops := reducetest.New(t, nil, nil, reducetest.Rules(t, "- {action: drop, source_labels: [a], regex: '1'}\n- {action: labeldrop, regex: b}"))
	drops.Judge, drops.Keys, drops.Room = nil, nil, nil
	point := sub(2, named("x", sub(5, sub(1), sub(1))))
	raw := slices.Concat(sub(1, sub(1, attr(1, "a", "1")), point), sub(1, sub(1, attr(1, "b", "1")), point))
	b, err := otlp.MetricsHTTP.Decode(raw, ingest.Content{})
	if err != nil {
		t.Fatal(err)
	}
	if err = b.Reduce(drops.Reducer); err != nil {
		t.Fatal(err)
	}
	for _, stamps := range [][]labels.Label{nil, stamps} {
		e := ingest.Edit{Form: otlp.MetricsHTTP.Forms[0], Stamps: stamps}
		want := sub(1, sub(1), point)
		if stamps != nil {
			want = encoded(t, otlp.MetricsHTTP, want, stamps)
		}
		r, err := b.Encode(nil, e)
		if err != nil || !bytes.Equal(r.Body, want) || r.Sent.Items != 2 || drops.Dropped != 2 || len(want) > b.Bound(e) {
			t.Errorf("%+v, %v, want %q", r, err, want)
		}
	}
}

// TestPointSeries: what a point is to a Reducer besides its labels.
func TestPointSeries(t *testing.T) {
	const now = 1_760_000_000_123_999_999
	at := wire.AppendFixed64(nil, 3, now)
	doubles := func(num int32, n int) (one []byte) {
		for range n {
			one = append(one, wire.AppendFixed64(nil, num, math.Float64bits(1))...)
		}
		return one
	}
	f := func(what string, metric []byte, want ingest.Series) {
		t.Helper()
		_, r := reduce(t, reduction{}, metricsOf(named("x", metric)), ingest.Content{})
		if len(r.Seen) != 1 {
			t.Fatalf("%s: %d series", what, len(r.Seen))
		}
		got := r.Seen[0]
		if got.Stale == 0 && (got.First != want.First || got.Last != want.First) || got.Stale > 0 && got.First <= got.Last ||
			got.Items != 1 || got.Stale != want.Stale || got.Weight != want.Weight {
			t.Errorf("%s: %+v, want %+v", what, got, want)
		}
	}
	ms := int64(1_760_000_000_123)
	for data := range pointKinds {
		weight := map[int32]int32{5: 1, 7: 1, 9: 3, 10: 1, 11: 2}[data]
		flags := map[int32]int32{5: 8, 7: 8, 9: 10, 10: 10, 11: 8}[data]
		f("a point", sub(data, sub(1, at)), ingest.Series{First: ms, Weight: weight})
		f("without a time", sub(data, sub(1)), ingest.Series{Weight: weight})
		f("the last time counts", sub(data, sub(1, wire.AppendFixed64(nil, 3, 1e6), at)), ingest.Series{First: ms, Weight: weight})
		f("the last moment", sub(data, sub(1, wire.AppendFixed64(nil, 3, math.MaxUint64))), ingest.Series{First: math.MaxUint64 / 1_000_000, Weight: weight})
		f("no recorded value", sub(data, sub(1, at, wire.AppendVarint(nil, flags, 5))), ingest.Series{Stale: 1, Weight: weight})
		f("another flag", sub(data, sub(1, at, wire.AppendVarint(nil, flags, 6))), ingest.Series{First: ms, Weight: weight})
		f("the last flags count", sub(data, sub(1, at, wire.AppendVarint(nil, flags, 1), wire.AppendVarint(nil, flags, 0))), ingest.Series{First: ms, Weight: weight})
	}
	f("bounds", sub(9, sub(1, sub(7, make([]byte, 80)))), ingest.Series{Weight: 13})
	f("bounds one by one", sub(9, sub(1, doubles(7, 3), sub(7, make([]byte, 16)))), ingest.Series{Weight: 8})
	f("quantiles", sub(11, sub(1, sub(6), sub(6, doubles(1, 1)), sub(6))), ingest.Series{Weight: 5})
}

// TestStale: markers of series whose place another has taken stay here.
func TestStale(t *testing.T) {
	flagged := func(kv []byte) []byte { return sub(1, wire.AppendVarint(nil, 8, 1), kv) }
	a, b := attr(7, "a", "1"), attr(7, "b", "1")
	raw := metricsOf(named("x", sub(5, sub(1, a), flagged(a), flagged(b))))
	d := reduction{stale: func(ls []labels.Label) bool { return ls[len(ls)-1].Name == "a" }}
	want := metricsOf(named("x", sub(5, sub(1, a), flagged(b))))
	if got, _ := reduce(t, d, raw, ingest.Content{}); !bytes.Equal(got, want) {
		t.Errorf("got %q\nwant %q", got, want)
	}
}

// TestPointLabels: what rules see.
func TestPointLabels(t *testing.T) {
	hidden := false // not all that the key is made of can be seen
	f := func(stamps []labels.Label, raw []byte, want ...string) {
		t.Helper()
		_, r := reduce(t, reduction{stamps: stamps}, raw, ingest.Content{})
		b, _ := otlp.MetricsHTTP.Decode(raw, ingest.Content{})
		var got []string
		r.Judge = func(ss []ingest.Series, view func(int, *labels.Set)) {
			for i := range ss {
				var set labels.Set
				view(i, &set)
				var text []string
				var sum labels.Key
				for j, l := range set.All {
					text = append(text, l.Name+"="+l.Value)
					sum = sum.Plus(set.Keys[j])
				}
				got = append(got, strings.Join(text, " "))
				if !hidden && sum != ss[i].Key.Minus(ss[i].Overwritten) {
					t.Errorf("the labels %q do not add up to the key", text)
				}
			}
		}
		if err := b.Reduce(r.Reducer); err != nil || !slices.Equal(got, want) {
			t.Errorf("got %q, %v\nwant %q", got, err, want)
		}
	}
	point := sub(2, sub(1, wire.AppendString(nil, 1, "lib"), wire.AppendString(nil, 2, "1")), named("x", sub(5, sub(1, attr(7, "a", "1")), sub(1, intAttr(7, "n", 7), attr(7, "A", "2")))))
	f(nil, sub(1, sub(1, attr(1, "r", "s"), intAttr(1, "i", 1), attr(1, "e", "")), point),
		"__name__=x a=1 resource.i=1 resource.r=s scope.name=lib scope.version=1",
		"A=2 __name__=x n=7 resource.i=1 resource.r=s scope.name=lib scope.version=1")
	f(stamps, sub(1, sub(1, attr(1, "environment", "dev")), point),
		"__name__=x a=1 environment=prod k8s_cluster=eu-1 resource.environment=dev scope.name=lib scope.version=1",
		"A=2 __name__=x environment=prod k8s_cluster=eu-1 n=7 resource.environment=dev scope.name=lib scope.version=1")
	f(stamps, sub(1, sub(2, named("x", sub(5, sub(1, attr(7, "environment", "dev"), intAttr(7, "k8s_cluster", 1)))))), "__name__=x environment=prod k8s_cluster=eu-1")
	f(nil, sub(1, sub(2, sub(2, sub(5, sub(1, attr(7, "a", "1"))))), sub(2, sub(1, wire.AppendString(nil, 1, "old")), sub(1, wire.AppendString(nil, 1, "new")), named("y", sub(5, sub(1))))),
		"a=1", "__name__=y scope.name=new")
	hidden = true
	f(nil, sub(1, sub(1, attr(1, "r", "1")), sub(1, attr(1, "q", "2")), sub(2, named("x", sub(5, sub(1, attr(7, "resource.r", "own"), attr(7, "resource.s", "own"), attr(7, "__name__", "own")))))),
		"__name__=x resource.q=2 resource.r=1 resource.s=own")
}

// TestPointKeys: what is one series and what is not.
func TestPointKeys(t *testing.T) {
	r := reducetest.New(t, stamps, nil, nil)
	keys := func(raw []byte) (keys []labels.Key) {
		t.Helper()
		r.Judge = func(ss []ingest.Series, _ func(int, *labels.Set)) {
			for _, s := range ss {
				keys = append(keys, s.Key)
			}
		}
		b, err := otlp.MetricsHTTP.Decode(raw, ingest.Content{})
		if err != nil {
			t.Fatal(err)
		}
		if err = b.Reduce(r.Reducer); err != nil {
			t.Fatal(err)
		}
		return keys
	}
	name := func(s string) []byte { return wire.AppendString(nil, 1, s) }
	push := func(resource, scope, metric, data []byte) []byte {
		return sub(1, sub(1, resource), sub(2, sub(1, scope), sub(2, metric, data)))
	}
	a, b, n := attr(7, "a", "1"), attr(7, "b", "2"), intAttr(7, "n", 3)
	same := [][]byte{
		push(attr(1, "r", "1"), name("lib"), name("x"), sub(5, sub(1, a, b, n))),
		push(attr(1, "r", "1"), name("lib"), name("x"), sub(7, sub(1, unknown(1), n, b, attr(7, "e", ""), a, wire.AppendFixed64(nil, 3, 1)))),
		push(attr(1, "r", "1"), name("lib"), name("x"), sub(10, sub(1, attr(1, "b", "2"), intAttr(1, "n", 3), attr(1, "a", "1"), attr(1, "environment", "prod")))),
		sub(1, sub(2, sub(2, name("x"), sub(5, sub(1, a, b, n))), sub(1, name("lib"))), sub(1, unknown(1)), sub(1, attr(1, "r", "1"))),
	}
	first := keys(same[0])
	for i, raw := range same {
		if got := keys(raw); !slices.Equal(got, first) {
			t.Errorf("%d is another series: %x, want %x", i, got, first)
		}
	}
	others := [][]byte{
		push(attr(1, "r", "2"), name("lib"), name("x"), sub(5, sub(1, a, b, n))),
		push(intAttr(1, "r", 1), name("lib"), name("x"), sub(5, sub(1, a, b, n))),
		push(attr(1, "r", "\x18\x01"), name("lib"), name("x"), sub(5, sub(1, a, b, n))),
		push(nil, name("lib"), name("x"), sub(5, sub(1, a, b, n, attr(7, "resource.r", "1")))),
		push(nil, name("lib"), name("x"), sub(5, sub(1, a, b, n, attr(7, "r", "1")))),
		push(attr(1, "r", "1"), name("bil"), name("x"), sub(5, sub(1, a, b, n))),
		push(attr(1, "r", "1"), wire.AppendString(nil, 2, "lib"), name("x"), sub(5, sub(1, a, b, n))),
		push(attr(1, "r", "1"), slices.Concat(name("lib"), attr(3, "k", "v")), name("x"), sub(5, sub(1, a, b, n))),
		push(attr(1, "r", "1"), slices.Concat(name("lib"), attr(3, "k", "w")), name("x"), sub(5, sub(1, a, b, n))),
		push(attr(1, "r", "1"), attr(3, "scope.name", "lib"), name("x"), sub(5, sub(1, a, b, n))),
		push(attr(1, "r", "1"), name("lib"), name("y"), sub(5, sub(1, a, b, n))),
		push(attr(1, "r", "1"), name("lib"), nil, sub(5, sub(1, a, b, n, attr(7, "__name__", "x")))),
		push(attr(1, "r", "1"), name("lib"), name("y"), sub(5, sub(1, a, b, n, attr(7, "__name__", "x")))),
		push(attr(1, "r", "1"), name("lib"), name("x"), sub(5, sub(1, a, b, n, attr(7, "__name__", "y")))),
		push(attr(1, "r", "1"), name("lib"), name("x"), sub(5, sub(1, a, b, attr(7, "n", "3")))),
		push(attr(1, "r", "1"), name("lib"), name("x"), sub(5, sub(1, a, b, attr(7, "n", "\x18\x03")))),
		push(attr(1, "r", "1"), name("lib"), name("x"), sub(5, sub(1, a, b))),
		push(attr(1, "r", "1"), name("lib"), name("x"), sub(5, sub(1, a, b, n, a))),
		push(attr(1, "r", "1"), name("lib"), name("x"), sub(5, sub(1, a, attr(7, "a", "2"), b, n))),
		push(attr(1, "r", "1"), name("lib"), name("x"), sub(5, sub(1, attr(7, "a", "2"), a, b, n))),
		push(slices.Concat(attr(1, "r", "1"), attr(1, "r", "2")), name("lib"), name("x"), sub(5, sub(1, a, b, n))),
		push(slices.Concat(attr(1, "r", "2"), attr(1, "r", "1")), name("lib"), name("x"), sub(5, sub(1, a, b, n))),
		push(attr(1, "r", "1"), name("lib"), name("x"), sub(5, sub(1, a, b, n, attr(7, "environment", "dev")))),
	}
	known := map[labels.Key]int{first[0]: -1}
	for i, raw := range others {
		key := keys(raw)[0]
		if was, ok := known[key]; ok {
			t.Errorf("%d and %d are one series", was, i)
		}
		known[key] = i
	}
}

// TestManyAttributes: doubled ones are found where there are too many to look at each pair.
func TestManyAttributes(t *testing.T) {
	d := reduction{}.with(t, "- {action: labeldrop, regex: a1.*}", "")
	for _, n := range []int{15, 16, 17, 100} {
		attrs := slices.Concat(attr(7, "", ""), attr(7, "", "x"))
		for i := range n {
			attrs = append(attrs, attr(7, fmt.Sprint("a", i*7%n), fmt.Sprint(i))...)
			attrs = append(attrs, attr(7, fmt.Sprint("a", i*3%n), fmt.Sprint(i)[:i%2])...)
		}
		reduce(t, d, metricsOf(named("x", sub(5, sub(1, attrs), sub(1, attrs)))), ingest.Content{})
	}
}

// TestPointsBound has messages pass the sizes at which their lengths take another byte: reduce compares with the bound.
func TestPointsBound(t *testing.T) {
	d := reduction{stamps: stamps[:1]}.with(t, "- {source_labels: [a], target_label: __name__, regex: (..), replacement: 'name-$1'}\n- {target_label: b, replacement: x}",
		"- {target_label: r, replacement: x}")
	add := reduction{}.with(t, "- {target_label: b, replacement: x}", "")
	long := reduction{}.with(t, "- {source_labels: [a], target_label: __name__, replacement: '"+strings.Repeat("long", 50)+"'}", "")
	for size := range 128 {
		points := bytes.Repeat(sub(1, attr(7, "a", string(make([]byte, size)))), 30)
		reduce(t, add, metricsOf(named("x", sub(5, points))), ingest.Content{})
		reduce(t, long, metricsOf(named("x", sub(5, points))), ingest.Content{})
	}
	for _, around := range []int{128, 16384} {
		for size := around - 100; size < around; size++ {
			point := func(a string) []byte {
				return sub(1, attr(7, "a", a), wire.AppendString(nil, 99, string(make([]byte, size/4))))
			}
			reduce(t, d, metricsOf(named("x", wire.AppendString(nil, 2, strings.Repeat("d", size/4)), sub(5, point("a1"), point("a2"), point("a1")))), ingest.Content{})
		}
	}
}

// TestPointsWithoutRoom: wherever room runs out, the push is refused for that, and nothing else happens.
func TestPointsWithoutRoom(t *testing.T) {
	raw := references["metrics"].example(20)
	full := fault.New(fault.Overloaded, "no room")
	for left := 0; ; left++ {
		b, err := otlp.MetricsHTTP.Decode(raw, ingest.Content{})
		if err != nil {
			t.Fatal(err)
		}
		d := reduction{}.with(t, "- {target_label: __name__, replacement: x}", "- {target_label: r, replacement: x}")
		r := pointReducer(t, d)
		calls := 0
		r.Charge = func(n int) *fault.Error {
			if n > 0 {
				calls++
			}
			if calls > left {
				return full
			}
			return nil
		}
		if err = b.Reduce(r.Reducer); err == nil {
			if left < 10 {
				t.Errorf("only %d charges", left)
			}
			return
		}
		if err != error(full) {
			t.Fatal(err)
		}
	}
}

// TestPointsAllocations: what reducing costs does not depend on how many points there are.
func TestPointsAllocations(t *testing.T) {
	for name, change := range map[string]*labels.Change{"nothing": nil, "one attribute": oneAttributeDropped()} {
		allocs := func(items int) float64 {
			raw := varied(t, items)
			r := knownPoints(stamps, items, change)
			e := ingest.Edit{Form: otlp.MetricsHTTP.Forms[0], Stamps: stamps}
			dst := make([]byte, 0, 2*len(raw))
			return testing.AllocsPerRun(10, func() {
				b, _ := otlp.MetricsHTTP.Decode(raw, ingest.Content{})
				_ = b.Reduce(r)
				_, _ = b.Encode(dst, e)
			})
		}
		if few, many := allocs(100), allocs(5000); many > few+6 {
			t.Errorf("%s changes: %v allocations for 100 points, %v for 5000", name, few, many)
		}
	}
}

func FuzzPoints(f *testing.F) {
	for n := range 6 {
		f.Add(references["metrics"].example(n), byte(n), byte(n), byte(n))
	}
	point := sub(5, sub(1, attr(7, "attribute.0", "1"), attr(7, "attribute.0", "2"), attr(7, "environment", ""), intAttr(7, "attribute.1", 3), attr(7, "resource.attribute.0", "x")))
	for i := range pointRules {
		f.Add(sub(1, sub(1, attr(1, "attribute.0", "1"), attr(1, "attribute.0", "2")), sub(1, attr(1, "attribute.1", "")), sub(2, named("a", point), named("b", sub(7), point))), byte(i), byte(i), byte(i))
		f.Add(sub(1, sub(1000, named("", point)), sub(1000, sub(1, wire.AppendString(nil, 1, "s")))), byte(i), byte(i+1), byte(i+1))
	}
	f.Fuzz(func(t *testing.T, raw []byte, rules, resource, how byte) {
		d := reduction{}.with(t, pointRules[int(rules)%len(pointRules)], resourceRules[int(resource)%len(resourceRules)])
		if how&1 != 0 {
			d.stamps = stamps
		}
		if how&2 != 0 {
			d.refuse = func(ls []labels.Label) bool { return len(ls)%3 == 0 }
		}
		if how&4 != 0 {
			d.stale = func(ls []labels.Label) bool { return len(ls)%2 == 0 }
		}
		prepares(t, remembering(t, d), raw)
		b, err := otlp.MetricsHTTP.Decode(raw, ingest.Content{})
		if err != nil {
			return
		}
		if _, _, err := references["metrics"].view(raw, nil); err == nil && !unwritable(raw) {
			reduce(t, d, raw, ingest.Content{})
			return
		}
		r := pointReducer(t, d)
		if err := b.Reduce(r.Reducer); err != nil {
			t.Fatal(err)
		}
		e := ingest.Edit{Form: otlp.MetricsHTTP.Forms[0], Stamps: d.stamps}
		bound := b.Bound(e)
		result, err := b.Encode(nil, e)
		if err != nil || len(result.Body) > bound {
			t.Fatalf("%d bytes, bound %d, %v", len(result.Body), bound, err)
		}
	})
}

// unwritable says whether raw may hold an array with a number that JSON cannot write: it has no text, which pdata's own words for
// doubled attributes do not allow for.
func unwritable(raw []byte) bool {
	return bytes.Contains(raw, []byte{0xf0, 0x7f}) || bytes.Contains(raw, []byte{0xf0, 0xff}) || bytes.Contains(raw, []byte{0xff, 0x7f}) || bytes.Contains(raw, []byte{0xff, 0xff})
}
