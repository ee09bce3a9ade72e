package remotewrite

import (
	"encoding/binary"
	"math"
	"slices"
	"unsafe"

	"github.com/telemetry-gateway/telemetry-gateway/internal/fault"
	"github.com/telemetry-gateway/telemetry-gateway/internal/ingest"
	"github.com/telemetry-gateway/telemetry-gateway/internal/labels"
	"github.com/telemetry-gateway/telemetry-gateway/internal/wire"
)

// pair is what is known of a symbol of a 2.0 push, so that a label that is in many of its series is hashed once, and names are
// compared as numbers.
type pair struct {
	// key is what the label of this value adds to a key, under the name that name refers to: one more than its ref, 0 is none.
	key  labels.Key
	name uint32
	// order is how the symbol begins: see startOf. It is there once the symbol has been the name of a label.
	order uint64
}

const pairBytes = int(unsafe.Sizeof(pair{}))

// takeKnown is takeSeries for a series as senders write it: labels in order, none of them empty and none overwritten by a stamp,
// then samples and what is said of the metric. It does nothing and reports false where a series is anything else. s is zeroed.
func (b *batchV2) takeKnown(series []byte, s *ingest.Series) bool {
	if len(series) == 0 || series[0] != v2Refs<<3|2 {
		return false
	}
	size, at, ok := shortUvarint(series, 1)
	if !ok || size > uint64(len(series)-at) {
		return false
	}
	end := at + int(size)
	sum, n, ok := b.sum(series[at:end])
	if !ok || n > maxLabels {
		return false
	}
	s.Sorted, s.Weight, s.First, s.Last = true, 1, math.MaxInt64, math.MinInt64
	var m metadata
	if !m.takeRest(series[end:], s) || int(m.help) >= b.symbols || int(m.unit) >= b.symbols {
		*s = ingest.Series{}
		return false
	}
	if m.said() {
		b.metadata++
	}
	h := b.reducer.Keys
	h.BeginWith(sum)
	s.Key, _ = h.End()
	b.most = max(b.most, n)
	b.count.Samples += int(s.Items)
	b.count.Items += int(s.Items)
	return true
}

// takeRest measures what follows the refs of a series, and reads what it says of its metric. It reports false for all but samples
// and metadata as senders write them.
func (m *metadata) takeRest(rest []byte, made *ingest.Series) bool {
	var f wire.Field
	for len(rest) > 0 {
		if p, n, ok := firstSample(rest); ok {
			p.addTo(made)
			rest = rest[n:]
			continue
		}
		if msg, end := shortField(rest, v2Metadata<<3|2); end > 0 && m.readPlain(msg) {
			rest = rest[end:]
			continue
		}
		var err error
		if rest, err = wire.Next(rest, &f); err != nil || f.Type != wire.Bytes {
			return false
		}
		switch {
		case f.Num == v2Samples && plainSample(f.Data):
			layoutV2.measure(made, &f)
		case f.Num == v2Metadata && m.readPlain(f.Data):
		default:
			return false
		}
	}
	return true
}

// readPlain is read for metadata of nothing but fields that it knows.
func (m *metadata) readPlain(msg []byte) bool {
	for len(msg) > 1 {
		v, end, ok := uint64(msg[1]), 2, true
		if v >= 0x80 {
			if v, end, ok = longUvarint(msg, 1); !ok {
				return false
			}
		}
		switch msg[0] {
		case metadataType << 3:
			m.kind = int32(v)
		case v2MetadataHelp << 3:
			m.help = uint32(v)
		case v2MetadataUnit << 3:
			m.unit = uint32(v)
		default:
			return false
		}
		msg = msg[end:]
	}
	return len(msg) == 0
}

// sum is what the n labels of refs add to a key. It reports false where they are not sorted, one is empty or overwritten by a
// stamp, or a ref leads nowhere.
func (b *batchV2) sum(packed []byte) (sum labels.Key, n int, ok bool) {
	pairs := b.pairs
	order, prev := uint64(0), uint64(0)
	for at := 0; at < len(packed); n++ {
		name, value := uint64(packed[at]), uint64(0)
		if at++; name >= 0x80 {
			if name, at, ok = longUvarint(packed, at-1); !ok {
				return sum, n, false
			}
		}
		if at < len(packed) && packed[at] < 0x80 {
			value = uint64(packed[at])
			at++
		} else if at+1 < len(packed) && packed[at+1] < 0x80 {
			value = uint64(packed[at]&0x7f) | uint64(packed[at+1])<<7
			at += 2
		} else if value, at, ok = longUvarint(packed, at); !ok {
			return sum, n, false
		}
		if name >= uint64(len(pairs)) || value >= uint64(len(pairs)) {
			return sum, n, false
		}
		p, q := &pairs[value], &pairs[name]
		if p.name != uint32(name)+1 && !b.learn(p, uint32(name), uint32(value)) {
			return sum, n, false
		}
		if q.order <= order && n > 0 && (q.order < order || !b.follows(uint32(prev), uint32(name))) {
			return sum, n, false
		}
		sum, order, prev = sum.Plus(p.key), q.order, name
	}
	return sum, n, true
}

// follows says whether name comes after prev, which begins alike. What is compared counts as hashed: a megabyte of it may be named
// by eight bytes of a series.
func (b *batchV2) follows(prev, name uint32) bool {
	p, n := b.symbol(prev), b.symbol(name)
	return b.hash(p[:min(len(p), len(n))], nil) && ascends(p, n)
}

// startOf is the first eight bytes of s as a number: of two strings whose starts differ, that with the smaller is the smaller.
func startOf(s []byte) uint64 {
	if len(s) >= 8 {
		return binary.BigEndian.Uint64(s)
	}
	v := uint64(0)
	for i, c := range s {
		v |= uint64(c) << (56 - 8*i)
	}
	return v
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
	if q := &b.pairs[name]; q.order == 0 {
		q.order = startOf(n)
	}
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
