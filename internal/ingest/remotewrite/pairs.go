package remotewrite

import (
	"math"
	"slices"
	"unsafe"

	"github.com/telemetry-gateway/telemetry-gateway/internal/fault"
	"github.com/telemetry-gateway/telemetry-gateway/internal/ingest"
	"github.com/telemetry-gateway/telemetry-gateway/internal/labels"
	"github.com/telemetry-gateway/telemetry-gateway/internal/wire"
)

// pair is what is known of a symbol of a 2.0 push, so that a label that is in many of its series is hashed once, and names that
// follow each other in many are compared once. Refs in it are one more than they are; 0 is none.
type pair struct {
	// key is what the label of this value adds to a key, under the name that name refers to.
	key  labels.Key
	name uint32
	// after is a name that comes before this one.
	after uint32
}

const pairBytes = int(unsafe.Sizeof(pair{}))

// takeKnown is takeSeries for a series as senders write it: labels in order, none of them empty and none overwritten by a stamp,
// then samples and what is said of the metric. It does nothing and reports false where a series is anything else.
func (b *batchV2) takeKnown(series []byte, s *ingest.Series) bool {
	if len(series) == 0 || series[0] != v2Refs<<3|2 {
		return false
	}
	size, l := wire.Uvarint(series[1:])
	if l <= 0 || size > uint64(len(series)-1-l) {
		return false
	}
	rest := series[1+l+int(size):]
	sum, n, ok := b.sum(series[1+l : 1+l+int(size)])
	if !ok || n > maxLabels {
		return false
	}
	made := ingest.Series{Sorted: true, Weight: 1, First: math.MaxInt64, Last: math.MinInt64}
	var m metadata
	var f wire.Field
	for len(rest) > 0 {
		var err error
		if rest, err = wire.Next(rest, &f); err != nil || f.Type != wire.Bytes {
			return false
		}
		switch {
		case f.Num == v2Samples && plainSample(f.Data):
			layoutV2.measure(&made, &f)
		case f.Num == v2Metadata:
			unknowns := 0
			if m.read(f.Data, &unknowns) != nil || unknowns > 0 {
				return false
			}
		default:
			return false
		}
	}
	if int(m.help) >= b.symbols || int(m.unit) >= b.symbols {
		return false
	}
	if m.said() {
		b.metadata++
	}
	h := b.reducer.Keys
	h.BeginWith(sum)
	made.Key, _ = h.End()
	*s = made
	b.most = max(b.most, n)
	b.count.Samples += int(made.Items)
	b.count.Items += int(made.Items)
	return true
}

// sum is what the n labels of refs add to a key. It reports false where they are not sorted, one is empty or overwritten by a
// stamp, or a ref leads nowhere.
func (b *batchV2) sum(packed []byte) (sum labels.Key, n int, ok bool) {
	prev := uint32(0)
	for len(packed) > 0 {
		name, l := wire.Uvarint(packed)
		if l <= 0 {
			return sum, n, false
		}
		value, m := wire.Uvarint(packed[l:])
		if m <= 0 || name >= uint64(len(b.pairs)) || value >= uint64(len(b.pairs)) {
			return sum, n, false
		}
		packed = packed[l+m:]
		p := &b.pairs[value]
		if p.name != uint32(name)+1 && !b.learn(p, uint32(name), uint32(value)) {
			return sum, n, false
		}
		sum = sum.Plus(p.key)
		if q := &b.pairs[name]; q.after != prev && !b.follows(q, prev, uint32(name)) {
			return sum, n, false
		}
		prev = uint32(name) + 1
		n++
	}
	return sum, n, true
}

// learn makes p say what the label of name and value adds.
func (b *batchV2) learn(p *pair, name, value uint32) bool {
	n, v := b.symbol(name), b.symbol(value)
	if len(v) == 0 {
		return false
	}
	if !b.hash(n, v) {
		return false
	}
	p.key = labels.Key{}
	if at := slices.IndexFunc(b.reducer.Stamps, func(s labels.Label) bool { return s.Name == string(n) }); at < 0 {
		p.key = b.reducer.Keys.Sum(labels.Own, n, v)
	} else if b.reducer.Stamps[at].Value != string(v) {
		p.name = 0
		return false
	}
	p.name = name + 1
	return true
}

// mostHashed is how many times the size of a push its labels may be hashed, when what is known of a symbol does not help. Senders
// refer to a few hundred bytes with some dozen; one that hides work refers to a megabyte with two.
const mostHashed = 32

// hash counts the bytes of a label that is about to be hashed. It reports false where that has become too much.
func (b *batchV2) hash(name, value []byte) bool {
	b.hashed += len(name) + len(value)
	if most := mostHashed*len(b.raw) + 1<<24; b.hashed > most && b.books.err == nil {
		b.books.err = fault.New(fault.TooLarge, "the labels of the push, written out for each of its series, take over %d bytes, %d times the push", most, mostHashed)
	}
	return b.books.err == nil
}

// follows says whether name comes after prev, which is one more than it is, and makes p say so.
func (b *batchV2) follows(p *pair, prev, name uint32) bool {
	if prev != 0 && !ascends(b.symbol(prev-1), b.symbol(name)) {
		return false
	}
	p.after = prev
	return true
}
