package labels

import (
	"encoding/binary"
	"sync"
	"testing"
)

// recall asks about one tag.
func recall(h *Hasher, tag Key) (Key, int) {
	var out [1]Recalled
	h.Recall([]Key{tag}, out[:])
	return out[0].Key, out[0].Labels
}

func TestMemo(t *testing.T) {
	seed := NewSeed()
	m := NewMemo(1 << 10)
	space := seed.Text(Space, "prod", "metrics")
	plain := NewHasher(seed, space, nil).Use(m)
	if _, n := recall(plain, plain.Tag([]byte("up"))); n >= 0 {
		t.Error("known before it was learned")
	}
	key := Key{1 << 63, 7}
	plain.Learn(plain.Tag([]byte("up")), key, 13)
	if k, n := recall(plain, plain.Tag([]byte("up"))); k != key || n != 13 {
		t.Errorf("recalled %x with %d labels", k, n)
	}
	plain.Learn(plain.Tag(nil), Key{}, 0)
	if k, n := recall(plain, plain.Tag(nil)); k != (Key{}) || n != 0 {
		t.Errorf("recalled %x with %d labels", k, n)
	}
	plain.Learn(plain.Tag([]byte("many")), key, 1<<countBits)
	if _, n := recall(plain, plain.Tag([]byte("many"))); n >= 0 {
		t.Errorf("learned more labels than can be written down: %d", n)
	}
	for what, h := range map[string]*Hasher{
		"another space":  NewHasher(seed, seed.Text(Space, "dev", "metrics"), nil).Use(m),
		"a stamp":        NewHasher(seed, space, []Label{{"a", "b"}}).Use(m),
		"another memo":   NewHasher(seed, space, nil).Use(NewMemo(1 << 10)),
		"no memo at all": NewHasher(seed, space, nil),
	} {
		if _, n := recall(h, h.Tag([]byte("up"))); n >= 0 {
			t.Errorf("%s knows it too", what)
		}
	}
	for range m.Shards() {
		m.Forget()
	}
	if _, n := recall(plain, plain.Tag([]byte("up"))); n >= 0 {
		t.Error("it was not forgotten")
	}
}

// Every byte counts, and every length.
func TestTags(t *testing.T) {
	h := NewHasher(NewSeed(), Key{}, nil).Use(NewMemo(0))
	seen := map[Key]bool{}
	add := func(b []byte) {
		tag := h.Tag(b)
		if seen[tag] || tag != h.Tag(b) {
			t.Errorf("the tag of %x is another's", b)
		}
		seen[tag] = true
	}
	for n := range 150 {
		b := make([]byte, n)
		add(b)
		for i := range b {
			b[i] = 1
			add(b)
			b[i] = 0
		}
	}
}

// A Memo is bounded, and knows nearly all while they fit.
func TestMemoHolds(t *testing.T) {
	f := func(bound, n int, least float64) {
		t.Helper()
		m := NewMemo(bound)
		h := NewHasher(NewSeed(), Key{}, nil).Use(m)
		known := 0
		for range 4 {
			known = 0
			for i := range n {
				tag := h.Tag(binary.LittleEndian.AppendUint64(nil, uint64(i)))
				if k, labels := recall(h, tag); labels < 0 {
					h.Learn(tag, Key{uint64(i), 5}, i%100)
				} else if known++; k != (Key{uint64(i), 5}) || labels != i%100 {
					t.Fatalf("recalled %x with %d labels for %d", k, labels, i)
				}
			}
		}
		if got := float64(known) / float64(n); got < least {
			t.Errorf("of %d entries in a memo of %d it knows %g, want %g", n, bound, got, least)
		}
		if most := 32*max(bound, 128) + 8<<10; m.Bytes() > most {
			t.Errorf("%d bytes for %d entries, want %d at most", m.Bytes(), bound, most)
		}
	}
	f(1<<13, 1<<12, 0.95)
	f(1<<13, 1<<13, 0.75)
	f(1<<10, 1<<13, 0)
	f(0, 100, 0)
}

// Whoever reads while others write gets the key of what he asks for, or nothing.
func TestMemoTogether(t *testing.T) {
	m := NewMemo(1 << 8) // so that all write to the same places
	h := NewHasher(NewSeed(), Key{}, nil).Use(m)
	var all sync.WaitGroup
	for g := range 4 {
		all.Go(func() {
			for i := range 20_000 {
				n := uint64(i*7+g) % 1000
				tag := h.Tag(binary.LittleEndian.AppendUint64(nil, n))
				want := h.Sum(Own, nil, []byte{byte(n), byte(n >> 8)}) // as keys are: no two alike in either half
				if k, labels := recall(h, tag); labels >= 0 && (k != want || labels != int(n)) {
					t.Errorf("recalled %x with %d labels for %d", k, labels, n)
				}
				h.Learn(tag, want, int(n))
				if i%1000 == 0 {
					m.Forget()
				}
			}
		})
	}
	all.Wait()
}
