package labels

import (
	"math/rand/v2"
	"testing"
)

// key hashes pairs of names and values in the given order.
func key(h *Hasher, pairs ...string) (k, overwritten Key) {
	h.Begin()
	for i := 0; i < len(pairs); i += 2 {
		h.Add([]byte(pairs[i]), []byte(pairs[i+1]))
	}
	return h.End()
}

func TestKeys(t *testing.T) {
	seed := NewSeed()
	plain := NewHasher(seed, seed.Text(Space, "prod", "metrics"), nil)
	f := func(same bool, a, b []string) {
		t.Helper()
		ka, _ := key(plain, a...)
		kb, _ := key(plain, b...)
		if (ka == kb) != same {
			t.Errorf("%q and %q: keys %x and %x, want same=%v", a, b, ka, kb, same)
		}
	}
	f(true, []string{"a", "1", "b", "2"}, []string{"b", "2", "a", "1"})
	f(true, []string{"a", "1", "b", ""}, []string{"a", "1"})
	f(false, []string{"a", "1"}, []string{"a", "2"})
	f(false, []string{"a", "12"}, []string{"a1", "2"})
	f(false, []string{"a", "b"}, []string{"b", "a"})
	f(false, []string{"a", "1", "b", "2"}, []string{"a", "2", "b", "1"})
	f(false, []string{"a", "1"}, nil)
	// Every length takes its own way through the hash: each byte of each length must count, and the length itself.
	for n := 1; n < 70; n++ {
		v := make([]byte, n)
		f(false, []string{"a", string(v)}, []string{"a", string(make([]byte, n+1))})
		for i := range v {
			w := make([]byte, n)
			w[i] = 1
			f(false, []string{"a", string(v)}, []string{"a", string(w)})
			f(false, []string{string(v), "a"}, []string{string(w), "a"})
		}
	}
}

func TestKeysOfSpacesAndSeedsDiffer(t *testing.T) {
	seed := NewSeed()
	a, _ := key(NewHasher(seed, seed.Text(Space, "prod", "metrics"), nil), "a", "1")
	b, _ := key(NewHasher(seed, seed.Text(Space, "dev", "metrics"), nil), "a", "1")
	other := NewSeed()
	c, _ := key(NewHasher(other, other.Text(Space, "prod", "metrics"), nil), "a", "1")
	if a == b || a == c {
		t.Errorf("keys %x %x %x do not differ", a, b, c)
	}
}

func TestStampsInKeys(t *testing.T) {
	seed := NewSeed()
	stamps := []Label{{"cluster", "eu"}, {"env", "prod"}}
	plain, stamped := NewHasher(seed, Key{}, nil), NewHasher(seed, Key{}, stamps)
	f := func(sent, means []string, overwrites bool) {
		t.Helper()
		want, _ := key(plain, means...)
		got, over := key(stamped, sent...)
		if (over != Key{}) != overwrites {
			t.Errorf("%q: overwritten %x, want %v", sent, over, overwrites)
		}
		if got.Minus(over) != want {
			t.Errorf("%q: key %x without %x, want that of %q: %x", sent, got, over, means, want)
		}
	}
	both := []string{"a", "1", "cluster", "eu", "env", "prod"}
	f([]string{"a", "1"}, both, false)
	f([]string{"a", "1", "env", "prod"}, both, false)
	f([]string{"env", "dev", "a", "1"}, both, true)
	f([]string{"a", "1", "env", ""}, both, false)
	f([]string{"env", "dev", "cluster", "us", "a", "1"}, both, true)
	x, _ := key(stamped, "a", "1", "env", "dev")
	y, _ := key(stamped, "a", "1", "env", "test")
	if x == y {
		t.Error("two values that a stamp overwrote have one key")
	}
}

// TestKeySpread is a coarse check of the hash: keys of labels that differ little do not collide in 24 of their bits more
// often than chance has it.
func TestKeySpread(t *testing.T) {
	seed := NewSeed()
	for _, part := range []func(Key) uint64{
		func(k Key) uint64 { return k.Hi >> 40 }, func(k Key) uint64 { return k.Lo >> 40 },
		func(k Key) uint64 { return k.Hi & (1<<24 - 1) }, func(k Key) uint64 { return k.Lo & (1<<24 - 1) },
	} {
		seen := make(map[uint64]bool)
		const n = 1 << 14
		for i := range n {
			v := []byte{byte(i), byte(i >> 8), 'x', 'y', 'z'}
			seen[part(seed.Label(Own, []byte("pod"), v))] = true
		}
		// n²/2/2^24 = 8 are expected; 40 is beyond chance.
		if lost := n - len(seen); lost > 40 {
			t.Errorf("%d of %d keys collide in 24 bits", lost, n)
		}
	}
}

func BenchmarkLabel(b *testing.B) {
	seed := NewSeed()
	h := NewHasher(seed, Key{}, []Label{{"environment", "prod"}})
	name, value := []byte("kubernetes_pod"), []byte("checkout-7d9f8b6c5-x2x7k")
	b.ReportAllocs()
	for b.Loop() {
		h.Begin()
		for range 12 {
			h.Add(name, value)
		}
		h.End()
	}
}

func TestSet(t *testing.T) {
	for range 200 {
		var s Set
		want := map[string]string{}
		for range rand.IntN(30) {
			l := Label{string(rune('a' + rand.IntN(12))), []string{"", "1", "2"}[rand.IntN(3)]}
			s.Add(l, Key{Lo: uint64(l.Name[0])<<8 | uint64(len(l.Value))})
			if _, ok := want[l.Name]; !ok && l.Value != "" {
				want[l.Name] = l.Value
			}
		}
		s.Sort()
		if len(s.All) != len(want) || len(s.Keys) != len(want) {
			t.Fatalf("%v, want %v", s.All, want)
		}
		for i, l := range s.All {
			if want[l.Name] != l.Value || i > 0 && s.All[i-1].Name >= l.Name || s.Keys[i].Lo>>8 != uint64(l.Name[0]) {
				t.Fatalf("%v with keys %v, want %v sorted", s.All, s.Keys, want)
			}
			if s.Find(l.Name) != i {
				t.Fatalf("Find(%q) = %d, want %d", l.Name, s.Find(l.Name), i)
			}
		}
		if s.Find("nowhere") != -1 {
			t.Fatal("found what is not there")
		}
	}
}

func TestChangeAppend(t *testing.T) {
	set := []Label{{"a", "1"}, {"c", "3"}, {"e", "5"}}
	f := func(c *Change, want ...Label) {
		t.Helper()
		got := c.Append(nil, set)
		if len(got) != len(want) {
			t.Fatalf("got %v, want %v", got, want)
		}
		for i := range got {
			if got[i] != want[i] {
				t.Fatalf("got %v, want %v", got, want)
			}
		}
	}
	f(nil, set...)
	f(&Change{Keep: []uint64{0b101}}, Label{"a", "1"}, Label{"e", "5"})
	f(&Change{Keep: []uint64{0b010}, Add: []Label{{"b", "2"}, {"z", "9"}}}, Label{"b", "2"}, Label{"c", "3"}, Label{"z", "9"})
	f(&Change{Keep: []uint64{0}, Add: []Label{{"b", "2"}}}, Label{"b", "2"})
	f(&Change{Keep: []uint64{0}})
}
