package generate

import "encoding/binary"

// template is a snappy body in which some bytes, its holes, can be set without compressing it again. Compressing a push costs
// more than a good gateway takes to forward it; this way the generator is not what is measured.
//
// It needs an encoder of its own: no copy may reach into a hole, neither from it nor over it. What it makes is about as
// large as what other encoders make, but for the times, which compress when all samples of a push have the same.
type template struct {
	body []byte
	// at is where each hole begins in body.
	at []int32
}

// sketch is a push before it is compressed.
type sketch struct {
	raw []byte
	// holes are where they begin in raw, ascending, and how long they are.
	holes []hole
}

type hole struct{ at, n int }

// hole leaves out n bytes.
func (s *sketch) hole(n int) {
	s.holes = append(s.holes, hole{len(s.raw), n})
	s.raw = append(s.raw, make([]byte, n)...)
}

const (
	tableBits = 15
	minMatch  = 4
	maxOffset = 1<<16 - 1
)

// compress makes a template: greedily, with the latest place of each four bytes.
//
// Source: https://github.com/google/snappy/blob/main/format_description.txt
func (s *sketch) compress() *template {
	t := &template{body: binary.AppendUvarint(nil, uint64(len(s.raw))), at: make([]int32, 0, len(s.holes))}
	var table [1 << tableBits]int32 // place + 1
	holes, literal := s.holes, 0
	end := len(s.raw) // of what lies before the next hole
	if len(holes) > 0 {
		end = holes[0].at
	}
	for i := 0; i < len(s.raw); {
		if i+minMatch > end {
			if len(holes) == 0 {
				break
			}
			i, holes, end = holes[0].at+holes[0].n, holes[1:], len(s.raw)
			if len(holes) > 0 {
				end = holes[0].at
			}
			continue
		}
		four := binary.LittleEndian.Uint32(s.raw[i:])
		slot := &table[four*0x1e35a7bd>>(32-tableBits)]
		from := int(*slot) - 1
		*slot = int32(i) + 1
		if from < 0 || i-from > maxOffset || binary.LittleEndian.Uint32(s.raw[from:]) != four {
			i++
			continue
		}
		n := s.match(from, i, end)
		t.literal(s, literal, i)
		t.copy(i-from, n)
		i += n
		literal = i
	}
	t.literal(s, literal, len(s.raw))
	return t
}

// match is how many bytes at i, which lie before end, are as those at from, up to the next hole.
func (s *sketch) match(from, i, end int) int {
	n := minMatch
	limit := end - i
	// The first hole after from: holes are few for each copy, so that a search by halves is enough.
	lo, hi := 0, len(s.holes)
	for lo < hi {
		if mid := (lo + hi) / 2; s.holes[mid].at <= from {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	if lo < len(s.holes) {
		limit = min(limit, s.holes[lo].at-from)
	}
	for n < limit && s.raw[from+n] == s.raw[i+n] {
		n++
	}
	return n
}

// literal writes raw[from:to] as it is, and notes the holes in it.
func (t *template) literal(s *sketch, from, to int) {
	if from == to {
		return
	}
	switch n := to - from - 1; {
	case n < 60:
		t.body = append(t.body, byte(n)<<2)
	case n < 1<<8:
		t.body = append(t.body, 60<<2, byte(n))
	case n < 1<<16:
		t.body = append(t.body, 61<<2, byte(n), byte(n>>8))
	default:
		t.body = append(t.body, 63<<2, byte(n), byte(n>>8), byte(n>>16), byte(n>>24))
	}
	for len(t.at) < len(s.holes) && s.holes[len(t.at)].at < to {
		t.at = append(t.at, int32(len(t.body)+s.holes[len(t.at)].at-from))
	}
	t.body = append(t.body, s.raw[from:to]...)
}

// copy repeats n bytes from offset bytes ago.
func (t *template) copy(offset, n int) {
	for n > 0 {
		if n >= 4 && n <= 11 && offset < 1<<11 {
			t.body = append(t.body, byte(offset>>8)<<5|byte(n-4)<<2|1, byte(offset))
			return
		}
		m := min(n, 64)
		t.body = append(t.body, byte(m-1)<<2|2, byte(offset), byte(offset>>8))
		n -= m
	}
}

// putVarint writes v as a varint that fills dst, which has as many bytes as v takes.
func putVarint(dst []byte, v uint64) {
	for i := range len(dst) - 1 {
		dst[i] = byte(v) | 0x80
		v >>= 7
	}
	dst[len(dst)-1] = byte(v)
}
