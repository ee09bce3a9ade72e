package relabel

import (
	"math/bits"
	"slices"
	"strings"
	"unsafe"

	"github.com/telemetry-gateway/telemetry-gateway/internal/labels"
)

const (
	// keptText is how much room for text a Scratch keeps from one set to the next.
	keptText = 64 << 10
	// fewLabels is up to how many labels looking at each is faster than an index. Without one, a sender could make labelmap
	// take a time that grows with the square of what it sends.
	fewLabels = 24
)

// Scratch is a set on its way through the rules, and the room that this takes. One goroutine owns it and uses it again;
// the zero value is ready.
//
// The order in which labels came must be kept: where labelmap makes one name of several, the last one wins. It is that of
// Prometheus' labels.Builder: first the labels that no rule wrote, sorted, then all others in the order of their first writing.
type Scratch struct {
	set     []labels.Label
	gone    []uint64       // bit i%64 of word i/64: a rule removed or wrote label i of set
	came    []arrival      // labels that rules wrote
	index   map[string]int // where in came a name stands; used when there are more than fewLabels
	touched bool           // a rule removed or wrote something
	text    []byte         // of values that rules made

	mapped []labels.Label // what one labelmap writes
	keep   []uint64
	add    []labels.Label
	moved  []labels.Label
	change labels.Change
}

// arrival is a label that a rule wrote.
type arrival struct {
	labels.Label
	at int // where in set that name stands, -1 if it does not
}

func (s *Scratch) begin(set []labels.Label) {
	s.set, s.touched = set, false
	s.came, s.mapped, s.add, s.moved = s.came[:0], s.mapped[:0], s.add[:0], s.moved[:0]
	s.gone = words64(s.gone, len(set))
	clear(s.gone)
	if s.text = s.text[:0]; cap(s.text) > keptText {
		s.text = nil
	}
	if len(s.index) > 0 {
		s.index = nil
	}
}

// words64 is a slice of a bit for each of n, with any content.
func words64(w []uint64, n int) []uint64 { return slices.Grow(w[:0], (n+63)/64)[:(n+63)/64] }

func (s *Scratch) isGone(i int) bool { return s.gone[i>>6]>>(i&63)&1 != 0 }

// remove marks label i of the set.
func (s *Scratch) remove(i int) {
	s.gone[i>>6] |= 1 << (i & 63)
	s.touched = true
}

// len is how many labels there are now.
func (s *Scratch) len() int {
	n := len(s.set) + len(s.came)
	for _, w := range s.gone {
		n -= bits.OnesCount64(w)
	}
	return n
}

// find returns where in the set name stands, gone or not; -1: it never was there.
func (s *Scratch) find(name string) int {
	if len(s.set) <= fewLabels {
		for i := range s.set {
			if s.set[i].Name == name {
				return i
			}
		}
		return -1
	}
	lo, hi := 0, len(s.set)
	for lo < hi {
		mid := int(uint(lo+hi) >> 1)
		if s.set[mid].Name < name {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	if lo < len(s.set) && s.set[lo].Name == name {
		return lo
	}
	return -1
}

// arrived returns where in came name stands, or -1.
func (s *Scratch) arrived(name string) int {
	if len(s.came) <= fewLabels {
		for i := range s.came {
			if s.came[i].Name == name {
				return i
			}
		}
		return -1
	}
	if len(s.index) == 0 {
		if s.index == nil {
			s.index = make(map[string]int, 4*fewLabels)
		}
		for i := range s.came {
			s.index[s.came[i].Name] = i
		}
	}
	if i, ok := s.index[name]; ok {
		return i
	}
	return -1
}

// get returns the value of name, "" if there is none.
func (s *Scratch) get(name string) string {
	if len(s.came) > 0 {
		if i := s.arrived(name); i >= 0 {
			return s.came[i].Value
		}
	}
	// A label without a name is not found in Prometheus' label sets either.
	if i := s.find(name); i >= 0 && !s.isGone(i) && name != "" {
		return s.set[i].Value
	}
	return ""
}

// put writes a label. One without a value is none. A value that is the same is written too: that changes the order.
func (s *Scratch) put(name, value string) {
	if value == "" {
		s.del(name)
		return
	}
	if i := s.arrived(name); i >= 0 {
		s.came[i].Value = value
		return
	}
	at := s.find(name)
	if at >= 0 {
		s.remove(at)
	}
	s.touched = true
	s.came = append(s.came, arrival{labels.Label{Name: name, Value: value}, at})
	if len(s.index) > 0 {
		s.index[name] = len(s.came) - 1
	}
}

// del removes a label, whether it is there or not.
func (s *Scratch) del(name string) {
	if i := s.arrived(name); i >= 0 {
		s.came = slices.Delete(s.came, i, i+1)
		clear(s.index)
	}
	if i := s.find(name); i >= 0 {
		s.remove(i)
	}
}

// filter removes all labels that keep says no to.
func (s *Scratch) filter(keep func(name string) bool) {
	for i := range s.set {
		if !s.isGone(i) && !keep(s.set[i].Name) {
			s.remove(i)
		}
	}
	if len(s.came) > 0 {
		s.came = slices.DeleteFunc(s.came, func(a arrival) bool { return !keep(a.Name) })
		clear(s.index)
	}
}

// since is what was appended to s.text since it had n bytes. It stays as it is when more is appended, even if s.text moves.
func (s *Scratch) since(n int) string {
	if n == len(s.text) {
		return ""
	}
	return unsafe.String(&s.text[n], len(s.text)-n)
}

// dropTemporary removes the labels that rules use among themselves.
func (s *Scratch) dropTemporary() {
	for i := range s.set {
		name := s.set[i].Name
		if name > temporary && !isTemporary(name) {
			break // the set is sorted
		}
		if isTemporary(name) && !s.isGone(i) {
			s.remove(i)
		}
	}
	if len(s.came) > 0 {
		s.came = slices.DeleteFunc(s.came, func(a arrival) bool { return isTemporary(a.Name) })
		clear(s.index)
	}
}

// restore gives back what is protected and gone, and returns how many that was.
func (s *Scratch) restore(protected []string) int {
	n := 0
	for _, name := range protected {
		if i := s.find(name); i >= 0 && s.isGone(i) && s.arrived(name) < 0 {
			s.gone[i>>6] &^= 1 << (i & 63)
			n++
		}
	}
	return n
}

// move takes out the labels that become structured metadata, and leaves one.
func (s *Scratch) move(names []string) {
	if len(names) == 0 {
		return
	}
	left := s.len()
	for _, name := range names {
		if left <= 1 {
			break
		}
		if value := s.get(name); value != "" {
			s.del(name)
			s.moved = append(s.moved, labels.Label{Name: name, Value: value})
			left--
		}
	}
	slices.SortFunc(s.moved, byName)
}

// diff is what became of the set, nil if it is as it was.
func (s *Scratch) diff() *labels.Change {
	if !s.touched {
		return nil
	}
	s.keep = words64(s.keep, len(s.set))
	for i, w := range s.gone {
		s.keep[i] = ^w
	}
	if n := len(s.set) & 63; n != 0 {
		s.keep[len(s.keep)-1] &= 1<<n - 1
	}
	for _, a := range s.came {
		if a.at >= 0 && s.set[a.at].Value == a.Value {
			s.keep[a.at>>6] |= 1 << (a.at & 63)
		} else {
			s.add = append(s.add, a.Label)
		}
	}
	kept := 0
	for _, w := range s.keep {
		kept += bits.OnesCount64(w)
	}
	if kept == len(s.set) && len(s.add) == 0 && len(s.moved) == 0 {
		return nil
	}
	slices.SortFunc(s.add, byName)
	s.change = labels.Change{Keep: s.keep}
	if len(s.add) > 0 {
		s.change.Add = s.add
	}
	if len(s.moved) > 0 {
		s.change.Move = s.moved
	}
	return &s.change
}

// all appends the labels that there are now to dst, sorted.
func (s *Scratch) all(dst []labels.Label) []labels.Label {
	for i, l := range s.set {
		if !s.isGone(i) {
			dst = append(dst, l)
		}
	}
	for _, a := range s.came {
		dst = append(dst, a.Label)
	}
	slices.SortFunc(dst, byName)
	return dst
}

// lasting is what would be left if this had been the last rule, sorted.
func (s *Scratch) lasting(protected []string) []labels.Label {
	ls := s.all(nil)
	for _, name := range protected {
		if i := s.find(name); i >= 0 && s.isGone(i) && s.arrived(name) < 0 {
			ls = append(ls, s.set[i])
		}
	}
	ls = slices.DeleteFunc(ls, func(l labels.Label) bool {
		return isTemporary(l.Name) && !slices.Contains(protected, l.Name)
	})
	slices.SortFunc(ls, byName)
	return ls
}

func byName(a, b labels.Label) int { return strings.Compare(a.Name, b.Name) }
