package otlp

import (
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.opentelemetry.io/collector/pdata/ptrace/ptraceotlp"

	"github.com/telemetry-gateway/telemetry-gateway/internal/labels"
	"github.com/telemetry-gateway/telemetry-gateway/internal/wire"
)

// resourceOf is pdata's encoding of a resource with these attributes.
func resourceOf(t testing.TB, fill func(m pcommon.Map)) []byte {
	t.Helper()
	td := ptrace.NewTraces()
	fill(td.ResourceSpans().AppendEmpty().Resource().Attributes())
	push, err := ptraceotlp.NewExportRequestFromTraces(td).MarshalProto()
	if err != nil {
		t.Fatal(err)
	}
	var out []byte
	if err := each(push, 1, func(rs []byte) error {
		return each(rs, 1, func(r []byte) error { out = r; return nil })
	}); err != nil {
		t.Fatal(err)
	}
	return out
}

// mapOf is the attributes of a resource as pdata reads them.
func mapOf(resource []byte) (pcommon.Map, error) {
	req := ptraceotlp.NewExportRequest()
	err := req.UnmarshalProto(wire.AppendBytes(nil, 1, wire.AppendBytes(nil, 1, resource)))
	if err != nil || req.Traces().ResourceSpans().Len() == 0 {
		return pcommon.NewMap(), err
	}
	return req.Traces().ResourceSpans().At(0).Resource().Attributes(), nil
}

// labelsOf is m as rules should see it.
func labelsOf(m pcommon.Map, prefix string) []labels.Label {
	var set labels.Set
	for k, v := range m.All() {
		set.Add(labels.Label{Name: prefix + k, Value: v.AsString()}, labels.Key{})
	}
	set.Sort()
	return set.All
}

func readLabels(t testing.TB, resource []byte, prefix string) []labels.Label {
	t.Helper()
	var a attributes
	var set labels.Set
	if err := a.add(&set, resource, 1, prefix, ofResource, nil); err != nil {
		t.Fatal(err)
	}
	set.Sort()
	return set.All
}

func checkLabels(t testing.TB, resource []byte) {
	t.Helper()
	m, err := mapOf(resource)
	if err != nil {
		return // upstream will not take it
	}
	for _, prefix := range []string{"", "resource."} {
		if got, want := readLabels(t, resource, prefix), labelsOf(m, prefix); !slices.Equal(got, want) {
			t.Errorf("% x: read as %q, pdata has %q", resource, got, want)
		}
	}
}

func TestAttributeValues(t *testing.T) {
	f := func(fill func(v pcommon.Value)) {
		t.Helper()
		checkLabels(t, resourceOf(t, func(m pcommon.Map) {
			m.PutStr("before", "x")
			fill(m.PutEmpty("a"))
			m.PutInt(strings.Repeat("long", 50), 1)
			fill(m.PutEmptyMap("m").PutEmpty("b"))
			fill(m.PutEmptySlice("s").AppendEmpty())
		}))
	}
	for _, d := range []float64{0, math.Copysign(0, -1), 1, -1.5, 1e-6, 9.99e-7, 1e-9, 1.5e-10, 1e-100, 1e20, 1e21, 1.2345678901234567e22, -1e300, 5e-324,
		math.MaxFloat64, -math.SmallestNonzeroFloat64, math.Pi, math.Inf(1), math.Inf(-1), math.NaN(), 123456789012345680000} {
		f(func(v pcommon.Value) { v.SetDouble(d) })
	}
	for _, i := range []int64{0, 1, -1, 127, 128, math.MaxInt64, math.MinInt64} {
		f(func(v pcommon.Value) { v.SetInt(i) })
	}
	for _, s := range []string{"", "x", "<a href=\"&\">\u2028\x00\n", "\xff\xfe", strings.Repeat("y", 130), strings.Repeat("z", 20000)} {
		f(func(v pcommon.Value) { v.SetStr(s) })
		f(func(v pcommon.Value) { v.SetEmptyBytes().FromRaw([]byte(s)) })
		f(func(v pcommon.Value) { v.SetEmptyMap().PutStr(s, s) })
		f(func(v pcommon.Value) { v.SetEmptySlice().AppendEmpty().SetStr(s) })
	}
	f(func(v pcommon.Value) { v.SetBool(true) })
	f(func(v pcommon.Value) { v.SetBool(false) })
	f(func(pcommon.Value) {})
	f(func(v pcommon.Value) { v.SetEmptyMap() })
	f(func(v pcommon.Value) { v.SetEmptySlice() })
	f(func(v pcommon.Value) {
		m := v.SetEmptyMap()
		m.PutInt("z", 1)
		m.PutEmptySlice("a").AppendEmpty()
		m.PutEmptyMap("m").PutDouble("d", 1e30)
	})
}

// TestAttributesAsTheyCome: what pdata would never write, and reads nevertheless.
func TestAttributesAsTheyCome(t *testing.T) {
	f := func(parts ...[]byte) {
		t.Helper()
		checkLabels(t, wire.AppendBytes(nil, 1, slices.Concat(parts...)))
	}
	name := func(s string) []byte { return wire.AppendString(nil, 1, s) }
	value := func(parts ...[]byte) []byte { return wire.AppendBytes(nil, 2, slices.Concat(parts...)) }
	str := func(s string) []byte { return wire.AppendString(nil, 1, s) }
	num := func(n uint64) []byte { return wire.AppendVarint(nil, 3, n) }
	f(value(str("v")), name("a"))
	f(name("a"), name("b"), value(str("v")))
	f(name("a"), value(str("v")), name("b"))
	f(name("a"), value(str("v"), num(7)))
	f(name("a"), value(num(7), str("v")))
	f(name("a"), value(str("v")), value())
	f(name("a"), value(str("v")), value(num(1)))
	f(name("a"), value(str("v"), wire.AppendVarint(nil, 8, 3)))
	f(name("a"), value(str("v"), wire.AppendString(nil, 99, "unknown")))
	f(name("a"), value(str("v")), wire.AppendString(nil, 99, "unknown"))
	f(name("a"))
	f(value(str("v")))
	f(name(""), value(str("v")))
	array := func(parts ...[]byte) []byte { return value(wire.AppendBytes(nil, 5, slices.Concat(parts...))) }
	f(name("a"), array(wire.AppendBytes(nil, 1, nil), wire.AppendBytes(nil, 1, str("x"))))
	f(name("a"), array(wire.AppendBytes(nil, 1, str("x"))), array(wire.AppendBytes(nil, 1, str("y"))))
	kv := wire.AppendBytes(nil, 1, slices.Concat(name("k"), value(str("1"))))
	again := wire.AppendBytes(nil, 1, slices.Concat(name("k"), value(num(2))))
	f(name("a"), value(wire.AppendBytes(nil, 6, slices.Concat(kv, again))))
	// Doubled names: the first that has a value.
	double := func(vs ...[]byte) (out []byte) {
		for _, v := range vs {
			out = wire.AppendBytes(out, 1, slices.Concat(name("k"), v))
		}
		return out
	}
	checkLabels(t, double(value(str("1")), value(str("2"))))
	checkLabels(t, double(value(str("")), value(str("2")), value(str("3"))))
}

func TestRandomAttributes(t *testing.T) {
	r := rand.New(rand.NewPCG(41, 42))
	for range 300 {
		checkLabels(t, resourceOf(t, func(m pcommon.Map) { fillRandom(r, m, 12, 3) }))
	}
}

func fillRandom(r *rand.Rand, m pcommon.Map, n, depth int) {
	for range r.IntN(n + 1) {
		v := m.PutEmpty(string(rune('a' + r.IntN(20))))
		randomAny(r, v, depth)
	}
}

func randomAny(r *rand.Rand, v pcommon.Value, depth int) {
	switch r.IntN(6 + min(depth, 2)) {
	case 0:
		v.SetBool(r.IntN(2) == 0)
	case 1:
		v.SetInt(r.Int64N(200) - 100)
	case 2:
		v.SetDouble(math.Ldexp(r.NormFloat64(), r.IntN(300)-150))
	case 3:
		v.SetEmptyBytes().FromRaw([]byte{0, 1, 255}[:r.IntN(4)])
	case 6:
		s := v.SetEmptySlice()
		for range r.IntN(4) {
			randomAny(r, s.AppendEmpty(), depth-1)
		}
	case 7:
		fillRandom(r, v.SetEmptyMap(), 3, depth-1)
	default:
		v.SetStr("some value"[:r.IntN(11)])
	}
}

// TestChangedAttributes: pdata sees those that stay as they were, typed ones too, and then those that come.
func TestChangedAttributes(t *testing.T) {
	r := rand.New(rand.NewPCG(43, 44))
	for range 500 {
		n := []int{3, 12, 40}[r.IntN(3)]
		msg := resourceOf(t, func(m pcommon.Map) { fillRandom(r, m, n, 2) })
		msg = wire.AppendString(msg, 99, "unknown")
		var a attributes
		var set labels.Set
		if err := a.add(&set, msg, 1, "", ofResource, nil); err != nil {
			t.Fatal(err)
		}
		set.Sort()
		c := &labels.Change{Keep: make([]uint64, (len(set.All)+63)/64)}
		gone := map[string]bool{}
		for i, l := range set.All {
			if r.IntN(3) > 0 {
				c.Keep[i/64] |= 1 << (i % 64)
			} else if gone[l.Name] = true; r.IntN(3) == 0 {
				c.Add = append(c.Add, labels.Label{Name: l.Name, Value: "written"})
			}
		}
		c.Add = append(c.Add, labels.Label{Name: "z.new", Value: "1"})
		got, err := a.appendChanged(nil, msg, 1, &set, c, ofResource)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(got), string(wire.AppendString(nil, 99, "unknown"))) {
			t.Fatal("an unknown field is lost")
		}
		if len(got) > len(msg)+a.growth() {
			t.Fatalf("%d bytes of %d grew by more than %d", len(got), len(msg), a.growth())
		}
		want, err := mapOf(msg)
		if err != nil {
			t.Fatal(err)
		}
		added := func(k string) bool {
			return slices.ContainsFunc(c.Add, func(l labels.Label) bool { return l.Name == k })
		}
		want.RemoveIf(func(k string, _ pcommon.Value) bool { return gone[k] || added(k) })
		for _, l := range c.Add {
			want.PutStr(l.Name, l.Value)
		}
		m, err := mapOf(got)
		if err != nil || m.Len() != want.Len() {
			t.Fatalf("got %v, want %v (%v)", m.AsRaw(), want.AsRaw(), err)
		}
		if !m.Equal(want) {
			t.Fatalf("got %v, want %v", m.AsRaw(), want.AsRaw())
		}
	}
}

func TestReserved(t *testing.T) {
	f := func(name string, resource, record, point bool) {
		t.Helper()
		if got := [...]bool{ofResource.reserved(name), ofRecord.reserved(name), ofPoint.reserved(name)}; got != [...]bool{resource, record, point} {
			t.Errorf("%q: %v", name, got)
		}
	}
	f("", false, false, false)
	f("a", false, false, false)
	f("__name__", false, false, true)
	f("__name", false, false, false)
	f("resource.a", false, true, true)
	f("resource.", false, true, true)
	f("resource", false, false, false)
	f("scope.name", false, true, true)
	f("scope.version", false, true, true)
	f("scope.other", false, false, false)
}

// FuzzAttributes reads resources of any bytes.
func FuzzAttributes(f *testing.F) {
	r := rand.New(rand.NewPCG(45, 46))
	for range 20 {
		f.Add(resourceOf(f, func(m pcommon.Map) { fillRandom(r, m, 6, 3) }))
	}
	f.Fuzz(func(t *testing.T, resourceBytes []byte) {
		var w walker
		if _, err := w.walk(resourceBytes, resource, 0); err != nil {
			return
		}
		checkLabels(t, resourceBytes)
		// What is written with nothing changed is what came.
		var a attributes
		if err := a.use(&labels.Set{}, &labels.Change{}, ofResource); err != nil {
			t.Fatal(err)
		}
		if got, err := a.appendLeft(nil, resourceBytes, 1); err != nil || string(got) != string(resourceBytes) {
			t.Fatalf("% x became % x: %v", resourceBytes, got, err)
		}
	})
}
