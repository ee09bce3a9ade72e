package remotewrite

import (
	"hash/maphash"

	"github.com/telemetry-gateway/telemetry-gateway/internal/wire"
)

// symbols is a symbol table under construction. It keeps every string once, in the bytes in which it will be sent, so
// that writing the table is one copy and comparing touches one place.
type symbols struct {
	buf []byte // the table as field 4 of a Request
	at  []place
	// slots is an open-addressing hash table of half a hash and ref+1; 0 is free. It is at most half full.
	slots []uint64
	seed  maphash.Seed // random, so that nobody can send strings which all collide
}

// place is where a symbol stands in buf.
type place struct{ from, to uint32 }

// newSymbols returns a table that holds the empty string, with room for about n more.
func newSymbols(n int) *symbols {
	size := 64
	for size < 2*n {
		size *= 2
	}
	t := &symbols{slots: make([]uint64, size), at: make([]place, 0, size/2), seed: maphash.MakeSeed()}
	t.ref(nil)
	return t
}

// ref returns the place of s in the table and adds it if it is not there.
func (t *symbols) ref(s []byte) uint32 {
	if len(s) == 0 && len(t.at) > 0 {
		return 0
	}
	h := maphash.Bytes(t.seed, s)
	mask := uint64(len(t.slots) - 1)
	i := h & mask
	for ; t.slots[i] != 0; i = (i + 1) & mask {
		if t.slots[i]>>32 == h>>32 {
			ref := uint32(t.slots[i]) - 1
			if p := t.at[ref]; string(t.buf[p.from:p.to]) == string(s) {
				return ref
			}
		}
	}
	t.buf = wire.AppendBytes(t.buf, v2Symbols, s)
	t.at = append(t.at, place{uint32(len(t.buf) - len(s)), uint32(len(t.buf))})
	t.slots[i] = h>>32<<32 | uint64(len(t.at))
	if 2*len(t.at) > len(t.slots) {
		t.grow()
	}
	return uint32(len(t.at) - 1)
}

func (t *symbols) grow() {
	t.slots = make([]uint64, 2*len(t.slots))
	mask := uint64(len(t.slots) - 1)
	for ref, p := range t.at {
		h := maphash.Bytes(t.seed, t.buf[p.from:p.to])
		i := h & mask
		for t.slots[i] != 0 {
			i = (i + 1) & mask
		}
		t.slots[i] = h>>32<<32 | uint64(ref+1)
	}
}

// add says whether s is new to the table, and adds it.
func (t *symbols) add(s []byte) bool {
	n := len(t.at)
	return int(t.ref(s)) >= n
}
