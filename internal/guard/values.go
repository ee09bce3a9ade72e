package guard

import (
	"math/bits"
	"slices"
	"strings"
)

const (
	// valueMinutes after its last refresh a value is forgotten: the twenty minutes of a series, and one refresh.
	valueMinutes = 30
	// labelsPerMetric are the label names of one metric whose values are counted. Names beyond, and names that are longer than
	// longName, are a sender's garbage: active_series bounds them.
	labelsPerMetric = 256
	longName        = 256
)

// valueSet is the distinct values of one label, in six bytes for each place: 40 bits of a fingerprint, and the minute when it
// was last seen. In a set of a million one new value in a million is taken for one that is there.
type valueSet struct {
	label string
	low   []uint32 // open addressing; with nothing in high: nothing here
	high  []uint16 // the other eight bits, and in the low byte the minute modulo 256
	n     int
	swept uint32 // the minute when what is old was last thrown out
}

// mark is a fingerprint as a set has it.
func mark(hash uint64) (low uint32, high uint16) {
	low, high = uint32(hash), uint16(hash>>32)<<8
	if low == 0 && high == 0 {
		low = 1
	}
	return low, high
}

// tidy forgets old values: when there is no room for others, at most once a minute, and else often enough that no minute
// is ambiguous.
func (v *valueSet) tidy(minute uint32, full bool) {
	switch age := int32(minute - v.swept); {
	case age <= 0:
	case age >= 2*valueMinutes: // the newest came less than valueMinutes after the last sweep
		v.low, v.high, v.n, v.swept = nil, nil, 0, minute
	case full || age >= valueMinutes:
		v.swept = minute
		if v.countOld(minute) > 0 {
			v.rebuild(minute, len(v.low))
		}
	}
}

func (v *valueSet) empty(i int) bool { return v.low[i] == 0 && v.high[i]>>8 == 0 }

func (v *valueSet) old(i int, minute uint32) bool {
	return int8(uint8(minute)-uint8(v.high[i])) >= valueMinutes // tidy keeps every age under 128
}

func (v *valueSet) countOld(minute uint32) (n int) {
	for i := range v.low {
		if !v.empty(i) && v.old(i, minute) {
			n++
		}
	}
	return n
}

// rebuild moves what is not old to a table of so many places.
func (v *valueSet) rebuild(minute uint32, places int) {
	was := *v
	v.low, v.high, v.n = make([]uint32, places), make([]uint16, places), 0
	for i, low := range was.low {
		if was.empty(i) || was.old(i, minute) {
			continue
		}
		j, _ := v.find(low, was.high[i]&^0xff)
		v.low[j], v.high[j] = low, was.high[i]
		v.n++
	}
}

// find returns where a fingerprint is, or would be. There is always a free place.
func (v *valueSet) find(low uint32, high uint16) (i int, found bool) {
	h, _ := bits.Mul64(uint64(low)<<32|uint64(high)<<16, uint64(len(v.low)))
	for i = int(h); ; {
		switch {
		case v.low[i] == low && v.high[i]&^0xff == high:
			return i, true
		case v.empty(i):
			return i, false
		}
		if i++; i == len(v.low) {
			i = 0
		}
	}
}

// with returns how many values there are with this one, 0 if it is one already. From limit on it forgets old ones first; from
// most on it does not count further, since no more are kept.
func (v *valueSet) with(hash uint64, minute uint32, limit, most int64) int {
	v.tidy(minute, int64(v.n) >= limit)
	if len(v.low) > 0 {
		if i, found := v.find(mark(hash)); found && !v.old(i, minute) {
			return 0
		}
	}
	if int64(v.n) >= most {
		return v.n
	}
	return v.n + 1
}

// add makes hash a value seen now, unless there are most of them already. A set is filled to
// between three quarters and nine tenths: it is asked once in ten minutes about a value, and may search long.
func (v *valueSet) add(hash uint64, minute uint32, most int64) {
	v.tidy(minute, int64(v.n) >= most)
	low, high := mark(hash)
	if len(v.low) > 0 {
		if i, found := v.find(low, high); found {
			v.high[i] = high | uint16(uint8(minute))
			return
		}
	}
	if int64(v.n) >= most {
		return
	}
	if (v.n+1)*10 > len(v.low)*9 {
		v.rebuild(minute, (v.n+1)*4/3+2)
	}
	i, _ := v.find(low, high)
	v.low[i], v.high[i] = low, high|uint16(uint8(minute))
	v.n++
}

// valueSets are the sets of one metric, or of one metric of one client, sorted by label.
type valueSets []valueSet

// from returns where label is or would be, at i or after: labels are looked up in their order.
func (v valueSets) from(i int, label string) (at int, ok bool) {
	for i < len(v) && v[i].label < label {
		i++
	}
	return i, i < len(v) && v[i].label == label
}

// insert makes an empty set for label at i.
func (v *valueSets) insert(i int, label string, minute uint32) {
	*v = slices.Insert(*v, i, valueSet{label: strings.Clone(label), swept: minute})
}
