// Package digest says what a push holds in a few numbers that can be added up: how many items, and a sum of one hash for each
// item. Sums do not depend on how items were spread over pushes or in which order they came, so what a generator sent and what
// a sink got can be compared after any program between them, as long as that program changes nothing. One item lost, doubled
// or changed changes the sum. It reads wire bytes and keeps nothing; generator and sink call it, each with its own bytes.
//
// The hashes tell accidents apart, not attacks.
package digest

import (
	"math/bits"

	"github.com/cespare/xxhash/v2"

	"github.com/telemetry-gateway/telemetry-gateway/internal/wire"
)

// Sum is what a push, or many, hold.
type Sum struct {
	// Items is how many samples, points, lines or spans there are.
	Items uint64 `json:"items"`
	// Checked is how many of those are in the two sums below. See Walk.
	Checked uint64 `json:"checked"`
	// Content is the sum of the hashes of all that an item says: labels, value, time, attributes, resource.
	Content uint64 `json:"content"`
	// Identity is the sum of the hashes of what stays of an item under a translation or a rule: its times and values, ids
	// and names.
	Identity uint64 `json:"identity"`
}

// Add adds what other holds to s.
func (s *Sum) Add(other Sum) {
	s.Items += other.Items
	s.Checked += other.Checked
	s.Content += other.Content
	s.Identity += other.Identity
}

// item adds one item that is checked. Zero is no hash: an item must change the sum.
func (s *Sum) item(content, identity uint64) {
	s.Items++
	s.Checked++
	s.Content += content | 1<<63
	s.Identity += identity | 1<<63
}

// Walk reads one decompressed push. Only items of every n-th millisecond, picked by a hash of their own time, go into the
// sums of hashes; 0 and 1: all do. The others are counted alone.
type Walk func(raw []byte, every uint64) (Sum, error)

// Selected says whether items of that millisecond are checked.
func Selected(ms int64, every uint64) bool {
	return every <= 1 || mix(uint64(ms), 0x9e3779b97f4a7c15)%every == 0
}

// mix folds two words into one; the order of the two matters.
func mix(a, b uint64) uint64 {
	hi, lo := bits.Mul64(a^0xa0761d6478bd642f, b^0xe7037ed1a0b428db)
	return hi ^ lo
}

// Label is the hash of a label or attribute. Sets of labels are the sum of theirs.
func Label(name, value string) uint64 {
	return mix(xxhash.Sum64String(name), xxhash.Sum64String(value))
}

func label(name, value []byte) uint64 { return mix(xxhash.Sum64(name), xxhash.Sum64(value)) }

// Sample adds a remote_write sample of a series whose labels add up to labels. value is the bits of the number.
func (s *Sum) Sample(labels, value uint64, ms int64, every uint64) {
	if !Selected(ms, every) {
		s.Items++
		return
	}
	s.item(mix(mix(labels, value), uint64(ms)), mix(value, uint64(ms)))
}

// Entry adds a log line of a stream whose labels add up to stream, with structured metadata that adds up to metadata. text is
// Text of the line.
func (s *Sum) Entry(stream, metadata uint64, ns int64, text, every uint64) {
	if !Selected(ns/1e6, every) {
		s.Items++
		return
	}
	s.item(mix(mix(stream, metadata), mix(uint64(ns), text)), mix(uint64(ns), text))
}

// Text is the hash of a text.
func Text(s []byte) uint64 { return xxhash.Sum64(s) }

// message is the hash of a message whose fields may stand in any order. Fields without content are as good as absent, since
// some encoders write them. Messages in it are hashed as the bytes they are.
func message(msg []byte, without int32) (sum uint64, err error) {
	var f wire.Field
	for len(msg) > 0 {
		if msg, err = wire.Next(msg, &f); err != nil {
			return 0, err
		}
		if f.Num == without {
			continue
		}
		switch {
		case f.Type == wire.Bytes && len(f.Data) > 0:
			sum += mix(uint64(f.Num), xxhash.Sum64(f.Data))
		case f.Type != wire.Bytes && f.Int != 0:
			sum += mix(uint64(f.Num), f.Int)
		}
	}
	return sum, nil
}
