package config

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Fault is one thing that is wrong with the file, and what to do. It never quotes the value of a secret, a header, a
// proxy URL or an ${env:} expansion.
type Fault struct {
	File string
	// Line and Column count from 1; 0: not known.
	Line, Column int
	// Key is the full path of the key: environments.prod.upstreams.loki.url. Empty: the file as a whole.
	Key  string
	Text string
}

// String is the fault on one line.
func (f Fault) String() string {
	var b strings.Builder
	b.WriteString(f.File)
	if f.Line > 0 {
		fmt.Fprintf(&b, ":%d", f.Line)
	}
	if f.Column > 0 {
		fmt.Fprintf(&b, ":%d", f.Column)
	}
	b.WriteString(": ")
	if f.Key != "" {
		b.WriteString(f.Key + ": ")
	}
	b.WriteString(f.Text)
	return b.String()
}

// Faults is everything that is wrong with a file, ordered by line.
type Faults struct{ List []Fault }

// Error has one fault a line.
func (f *Faults) Error() string {
	lines := make([]string, len(f.List))
	for i, one := range f.List {
		lines[i] = one.String()
	}
	return strings.Join(lines, "\n")
}

// Warning is something that works and may still not be meant. It is shaped and as discreet as a Fault.
type Warning Fault

// String is the warning on one line.
func (w Warning) String() string { return Fault(w).String() }

// Warnings are what `gateway check` says of a file without faults.
func (c *Config) Warnings() []Warning { return slices.Clone(c.warnings) }

// sorted returns list ordered by line, without doubles.
func sorted(list []Fault) []Fault {
	slices.SortStableFunc(list, func(a, b Fault) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column), cmp.Compare(a.Key, b.Key))
	})
	return slices.Compact(list)
}
