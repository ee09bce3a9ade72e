package guard

import (
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

// valueSet is the distinct values of one label: fingerprints, and the minute when each was last seen.
type valueSet struct {
	label string
	keys  []uint64 // open addressing; 0: nothing here
	seen  []uint8  // minutes, modulo 256
	n     int
	swept uint32 // the minute when what is old was last thrown out
}

// tidy forgets old values: when there is no room for others, at most once a minute, and else often enough that no minute
// is ambiguous.
func (v *valueSet) tidy(minute uint32, full bool) {
	switch age := int32(minute - v.swept); {
	case age <= 0:
	case age >= 2*valueMinutes: // the newest came less than valueMinutes after the last sweep
		v.keys, v.seen, v.n, v.swept = nil, nil, 0, minute
	case full || age >= valueMinutes:
		v.swept = minute
		if v.countOld(minute) > 0 {
			v.rebuild(minute, len(v.keys))
		}
	}
}

func (v *valueSet) old(i int, minute uint32) bool {
	return int8(uint8(minute)-v.seen[i]) >= valueMinutes // tidy keeps every age under 128
}

func (v *valueSet) countOld(minute uint32) (n int) {
	for i, k := range v.keys {
		if k != 0 && v.old(i, minute) {
			n++
		}
	}
	return n
}

// rebuild moves what is not old to a table of size slots.
func (v *valueSet) rebuild(minute uint32, size int) {
	keys, seen := v.keys, v.seen
	was := *v
	v.keys, v.seen, v.n = make([]uint64, size), make([]uint8, size), 0
	for i, k := range keys {
		if k == 0 || was.old(i, minute) {
			continue
		}
		j := v.slot(k)
		v.keys[j], v.seen[j] = k, seen[i]
		v.n++
	}
}

// slot is where key is, or would be. There is always a free slot.
func (v *valueSet) slot(key uint64) int {
	mask := len(v.keys) - 1
	i := int(key) & mask
	for v.keys[i] != key && v.keys[i] != 0 {
		i = (i + 1) & mask
	}
	return i
}

// with returns how many values there are with key, 0 if key is one already. From limit on it forgets old ones first; from
// most on it does not count further, since no more are kept.
func (v *valueSet) with(key uint64, minute uint32, limit, most int64) int {
	v.tidy(minute, int64(v.n) >= limit)
	if len(v.keys) > 0 {
		if i := v.slot(key); v.keys[i] == key && !v.old(i, minute) {
			return 0
		}
	}
	if int64(v.n) >= most {
		return v.n
	}
	return v.n + 1
}

// add makes key a value seen now, unless there are most of them already.
func (v *valueSet) add(key uint64, minute uint32, most int64) {
	v.tidy(minute, int64(v.n) >= most)
	if len(v.keys) > 0 {
		if i := v.slot(key); v.keys[i] == key {
			v.seen[i] = uint8(minute)
			return
		}
	}
	if int64(v.n) >= most {
		return
	}
	if (v.n+1)*4 > len(v.keys)*3 {
		v.rebuild(minute, max(4, 2*len(v.keys)))
	}
	i := v.slot(key)
	v.keys[i], v.seen[i] = key, uint8(minute)
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
