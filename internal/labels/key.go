package labels

import (
	"crypto/rand"
	"encoding/binary"
	"math/bits"
	"unsafe"
)

// Key is the identity of a series in 128 bits: the sum of the hashes of its labels. The order of labels does not matter,
// and a label comes or goes by one addition.
type Key struct{ Hi, Lo uint64 }

// Plus returns k with l added.
func (k Key) Plus(l Key) Key { return Key{k.Hi + l.Hi, k.Lo + l.Lo} }

// Minus returns k without l.
func (k Key) Minus(l Key) Key { return Key{k.Hi - l.Hi, k.Lo - l.Lo} }

// Place is where a label stands. Equal names in different places are different labels.
type Place uint8

// The places.
const (
	// Own: a label of a series or a stream, an attribute of a data point.
	Own Place = iota
	// Resource and Scope: attributes of the OTLP resource and scope around a data point.
	Resource
	Scope
	// Typed: an attribute of a data point whose value is not a string; the value hashed is its encoding.
	Typed
	// Overwritten: the value that a sender gave to a label which a stamp then set.
	Overwritten
	// Space: what keeps the series of one environment and signal apart from all others.
	Space
)

// Seed makes keys that a sender cannot foresee, so that nobody can make two series look like one.
type Seed struct{ words [6]uint64 }

// NewSeed returns a random seed.
func NewSeed() *Seed {
	var b [48]byte
	_, _ = rand.Read(b[:]) // never fails
	s := new(Seed)
	for i := range s.words {
		s.words[i] = binary.LittleEndian.Uint64(b[8*i:]) | 1
	}
	return s
}

// Label is the hash of one label.
//
// Two lanes of a wyhash-like folded multiplication (https://github.com/wangyi-fudan/wyhash), each keyed with secret
// words: name and value are hashed one after the other, each closed by its length, so that no byte can move from one to
// the other.
func (s *Seed) Label(p Place, name, value []byte) Key {
	hi, lo := s.words[0]^uint64(p), s.words[1]
	hi, lo = s.absorb(hi, lo, name)
	hi, lo = s.absorb(hi, lo, value)
	return Key{fold(hi^s.words[4], lo^s.words[2]), fold(lo^s.words[5], hi^s.words[3])}
}

// Text is Label for strings.
func (s *Seed) Text(p Place, name, value string) Key {
	return s.Label(p, bytesOf(name), bytesOf(value))
}

func (s *Seed) absorb(hi, lo uint64, b []byte) (uint64, uint64) {
	n := uint64(len(b))
	for len(b) > 16 {
		x, y := binary.LittleEndian.Uint64(b), binary.LittleEndian.Uint64(b[8:])
		hi, lo = fold(x^s.words[2], y^hi), fold(x^lo, y^s.words[3])
		b = b[16:]
	}
	var x, y uint64
	switch {
	case len(b) >= 8:
		x, y = binary.LittleEndian.Uint64(b), binary.LittleEndian.Uint64(b[len(b)-8:])
	case len(b) >= 4:
		x, y = uint64(binary.LittleEndian.Uint32(b)), uint64(binary.LittleEndian.Uint32(b[len(b)-4:]))
	case len(b) > 0:
		x, y = uint64(b[0])<<16|uint64(b[len(b)/2])<<8|uint64(b[len(b)-1]), 0
	}
	return fold(x^s.words[2], y^hi^n), fold(x^lo^n, y^s.words[3])
}

// bytes is the hash of b alone, different for each salt. Blocks of 32 bytes go two ways at once, so that no multiplication
// waits for the one before it.
func (s *Seed) bytes(salt Key, b []byte) Key {
	w := &s.words
	n := uint64(len(b))
	hi, lo := w[0]^salt.Hi, w[1]^salt.Lo
	if n < 32 {
		hi, lo = s.absorb(hi, lo, b)
		return Key{fold(hi^w[4], lo^w[2]), fold(lo^w[5], hi^w[3])}
	}
	hi2, lo2 := w[4]^salt.Lo, w[5]^salt.Hi
	last := b[n-32:]
	for ; len(b) > 32; b = b[32:] {
		x, y := binary.LittleEndian.Uint64(b), binary.LittleEndian.Uint64(b[8:16])
		z, v := binary.LittleEndian.Uint64(b[16:24]), binary.LittleEndian.Uint64(b[24:32])
		hi, lo = fold(x^w[2], y^hi), fold(x^lo, y^w[3])
		hi2, lo2 = fold(z^w[2], v^hi2), fold(z^lo2, v^w[3])
	}
	x, y := binary.LittleEndian.Uint64(last), binary.LittleEndian.Uint64(last[8:16])
	z, v := binary.LittleEndian.Uint64(last[16:24]), binary.LittleEndian.Uint64(last[24:32])
	hi, lo = fold(x^w[2], y^hi^n), fold(x^lo^n, y^w[3])
	hi2, lo2 = fold(z^w[2], v^hi2^n), fold(z^lo2^n, v^w[3])
	hi, lo = fold(hi^w[4], hi2^w[2]), fold(lo^w[5], lo2^w[3])
	return Key{fold(hi^w[0], lo^w[3]), fold(lo^w[1], hi^w[2])}
}

func fold(a, b uint64) uint64 {
	hi, lo := bits.Mul64(a, b)
	return hi ^ lo
}

// bytesOf is s as bytes, which are not to be written to.
func bytesOf(s string) []byte { return unsafe.Slice(unsafe.StringData(s), len(s)) }
