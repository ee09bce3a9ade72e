package labels

import (
	"cmp"
	"slices"
	"sort"
	"strings"
)

// Set is the labels of one series, or the attributes of one item, as rules see them: sorted by name, none empty, none
// doubled. It is filled with Add and finished with Sort, and used again after Reset. Strings in it may point into a push.
type Set struct {
	All []Label
	// Keys say what each of All adds to the key of the series, in the same order. A Set of an item that has no key leaves them zero.
	Keys []Key
}

// Reset empties s.
func (s *Set) Reset() { s.All, s.Keys = s.All[:0], s.Keys[:0] }

// Add adds a label; one without a value is none.
func (s *Set) Add(l Label, k Key) {
	if l.Value != "" {
		s.All, s.Keys = append(s.All, l), append(s.Keys, k)
	}
}

// Sort sorts s by name and drops doubled names; the first that was added stays.
func (s *Set) Sort() {
	inOrder := true
	for i := 1; i < len(s.All) && inOrder; i++ {
		inOrder = s.All[i-1].Name < s.All[i].Name
	}
	if inOrder {
		return
	}
	sort.Stable((*byName)(s))
	n := 0
	for i := range s.All {
		if n > 0 && s.All[n-1].Name == s.All[i].Name {
			continue
		}
		s.All[n], s.Keys[n] = s.All[i], s.Keys[i]
		n++
	}
	s.All, s.Keys = s.All[:n], s.Keys[:n]
}

// byName sorts both slices of a Set as one.
type byName Set

func (s *byName) Len() int           { return len(s.All) }
func (s *byName) Less(i, j int) bool { return s.All[i].Name < s.All[j].Name }
func (s *byName) Swap(i, j int) {
	s.All[i], s.All[j] = s.All[j], s.All[i]
	s.Keys[i], s.Keys[j] = s.Keys[j], s.Keys[i]
}

// Find returns where name stands, -1 if it is not there.
func (s *Set) Find(name string) int {
	i, ok := slices.BinarySearchFunc(s.All, name, func(l Label, name string) int { return strings.Compare(l.Name, name) })
	if !ok {
		return -1
	}
	return i
}

// Change is what rules made of a Set: which of its labels stay as they are, and which come to it. It never changes once made.
type Change struct {
	// Keep has bit i%64 of word i/64 set if label i of the Set stays.
	Keep []uint64
	// Add are labels with other names than those that stay, sorted by name. None is empty.
	Add []Label
	// Move are labels that leave a stream for the structured metadata of its entries, sorted by name; logs only.
	Move []Label
}

// Keeps says whether label i of the Set stays.
func (c *Change) Keeps(i int) bool { return c.Keep[i>>6]>>(i&63)&1 != 0 }

// Append appends set as c leaves it, sorted. A nil Change leaves it as it is.
func (c *Change) Append(dst []Label, set []Label) []Label {
	if c == nil {
		return append(dst, set...)
	}
	add := c.Add
	for i, l := range set {
		if !c.Keeps(i) {
			continue
		}
		for len(add) > 0 && cmp.Less(add[0].Name, l.Name) {
			dst, add = append(dst, add[0]), add[1:]
		}
		dst = append(dst, l)
	}
	return append(dst, add...)
}
