// Package labels holds the one noun that all rooms share: a label, and what is made of many: sets, changes, and the keys of
// series, with a memory of keys. It knows no protocol and no rule.
package labels

import "slices"

// Label is a name and its value, as Prometheus means them.
type Label struct{ Name, Value string }

// Sorted returns m as labels ordered by name, byte by byte: the order that remote_write demands on the wire.
func Sorted(m map[string]string) []Label {
	ls := make([]Label, 0, len(m))
	for n, v := range m {
		ls = append(ls, Label{Name: n, Value: v})
	}
	slices.SortFunc(ls, func(a, b Label) int {
		if a.Name < b.Name {
			return -1
		}
		return 1
	})
	return ls
}
