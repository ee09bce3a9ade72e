package labels

// Hasher makes the keys of one push's series, stamps included. One goroutine owns it.
//
// Begin, then Add for every label, then End. Order does not matter, and a label without a value is no label.
type Hasher struct {
	seed   *Seed
	space  Key
	stamps []Label
	all    Key    // of the stamps together
	names  uint64 // bit n: a stamp's name has n%64 bytes
	memo   *Memo  // nil: nothing is remembered
	cursor memoCursor

	sum         Key
	overwritten Key
}

// NewHasher returns a Hasher of series in space that carry stamps, which are sorted and not to be changed.
func NewHasher(seed *Seed, space Key, stamps []Label) *Hasher {
	h := &Hasher{seed: seed, space: space, stamps: stamps}
	for _, s := range stamps {
		h.all = h.all.Plus(seed.Text(Own, s.Name, s.Value))
		h.names |= 1 << (len(s.Name) % 64)
	}
	return h
}

// Use has h remember keys in m, and returns h. Hashers of one Seed may share one.
func (h *Hasher) Use(m *Memo) *Hasher {
	h.memo = m
	return h
}

// Tag is by what the key of a series is remembered whose labels came as raw. Hashers of other spaces or stamps have other
// tags. Whoever shares a space writes labels in one form only, or two series could be one.
func (h *Hasher) Tag(raw []byte) Key {
	if h.memo == nil {
		return Key{}
	}
	return h.seed.bytes(h.space.Plus(h.all), raw)
}

// Recall fills out with what was learned with each of tags, of which there are no more than Ahead: one after the other would
// take several times as long.
func (h *Hasher) Recall(tags []Key, out []Recalled) {
	if h.memo != nil {
		h.memo.recall(&h.cursor, tags, out)
		return
	}
	for i := range tags {
		out[i] = Recalled{Labels: -1}
	}
}

// Learn remembers the key of a series, of which stamps overwrite nothing. Who learns only what is well formed and so forth
// knows the same of what he recalls.
func (h *Hasher) Learn(tag, key Key, labels int) {
	if h.memo != nil && labels < 1<<countBits {
		h.memo.learn(&h.cursor, tag, key, labels)
	}
}

// Begin begins a series.
func (h *Hasher) Begin() { h.sum, h.overwritten = h.space.Plus(h.all), Key{} }

// BeginWith begins a series of which base has been added already: what all points of a resource share. See Sum.
func (h *Hasher) BeginWith(base Key) { h.Begin(); h.sum = h.sum.Plus(base) }

// Add adds a label. A name that is a stamp's counts with the stamp's value; that it had another is remembered.
func (h *Hasher) Add(name, value []byte) {
	if len(value) == 0 {
		return
	}
	if h.names&(1<<(len(name)%64)) != 0 && h.stamped(name, value) {
		return
	}
	h.sum = h.sum.Plus(h.seed.Label(Own, name, value))
}

// AddTyped adds an attribute whose value is not a string, by its encoding.
func (h *Hasher) AddTyped(name, encoded []byte) {
	if h.names&(1<<(len(name)%64)) != 0 && h.stamped(name, encoded) {
		return
	}
	h.sum = h.sum.Plus(h.seed.Label(Typed, name, encoded))
}

// Sum is what a label adds to a key, for BeginWith and for labels.Set.
func (h *Hasher) Sum(p Place, name, value []byte) Key { return h.seed.Label(p, name, value) }

func (h *Hasher) stamped(name, value []byte) bool {
	for i := range h.stamps {
		if s := &h.stamps[i]; s.Name == string(name) {
			if s.Value != string(value) {
				h.overwritten = h.overwritten.Plus(h.seed.Label(Overwritten, name, value))
			}
			return true
		}
	}
	return false
}

// End returns the key of the series as it came, and what of it is there only because stamps overwrote values that
// differ: two series that differ in nothing else become one by their stamps.
func (h *Hasher) End() (key, overwritten Key) {
	return h.sum.Plus(h.overwritten), h.overwritten
}
