package remotewrite

import (
	"hash/maphash"

	"github.com/telemetry-gateway/telemetry-gateway/internal/wire"
)

// symbols is a symbol table under construction. It keeps every string once, in the bytes in which it will be sent, so
// that writing the table is one copy and comparing touches one place. Without room it takes no more in.
type symbols struct {
	books *booking
	buf   []byte // the table as field 4 of a Request
	at    []place
	// slots is an open-addressing hash table of half a hash and ref+1; 0 is free. It is twice as long as at can get.
	slots []uint64
	seed  maphash.Seed // random, so that nobody can send strings which all collide
}

// place is where a symbol stands in buf.
type place struct{ from, to uint32 }

// newSymbols returns a table that holds the empty string, with room for about n more.
func newSymbols(books *booking, n int) *symbols {
	size := 64
	for size < 2*n {
		size *= 2
	}
	t := &symbols{books: books, seed: maphash.MakeSeed()}
	t.buf, _ = room(books, t.buf, 1<<10)
	if t.resize(size) {
		t.buf = wire.AppendBytes(t.buf, v2Symbols, nil)
		end := uint32(len(t.buf))
		t.at = append(t.at, place{end, end})
	}
	return t
}

// resize makes a hash table of size slots.
func (t *symbols) resize(size int) bool {
	at, ok := room(t.books, t.at, size/2-len(t.at))
	if !ok || !t.books.take(8*size) {
		return false
	}
	t.at, t.slots = at, make([]uint64, size)
	for ref, p := range t.at {
		_, h, i, _ := t.find(t.buf[p.from:p.to])
		t.slots[i] = h>>32<<32 | uint64(ref+1)
	}
	return true
}

// find returns the place of s in the table, or where in slots its hash h belongs.
func (t *symbols) find(s []byte) (ref uint32, h, slot uint64, ok bool) {
	h = maphash.Bytes(t.seed, s)
	mask := uint64(len(t.slots) - 1)
	for slot = h & mask; t.slots[slot] != 0; slot = (slot + 1) & mask {
		if t.slots[slot]>>32 == h>>32 {
			ref = uint32(t.slots[slot]) - 1
			if p := t.at[ref]; string(t.buf[p.from:p.to]) == string(s) {
				return ref, h, slot, true
			}
		}
	}
	return 0, h, slot, false
}

// ref returns the place of s in the table and adds it if it is not there. Where there is no room, 0.
func (t *symbols) ref(s []byte) uint32 {
	if len(s) == 0 || t.books.err != nil || 2*len(t.at) >= len(t.slots) && !t.resize(2*len(t.slots)) {
		return 0
	}
	ref, h, slot, ok := t.find(s)
	if ok {
		return ref
	}
	if t.buf, ok = room(t.books, t.buf, wire.BytesLen(v2Symbols, len(s))); !ok {
		return 0
	}
	t.buf = wire.AppendBytes(t.buf, v2Symbols, s)
	t.at = append(t.at, place{uint32(len(t.buf) - len(s)), uint32(len(t.buf))})
	t.slots[slot] = h>>32<<32 | uint64(len(t.at))
	return uint32(len(t.at) - 1)
}
