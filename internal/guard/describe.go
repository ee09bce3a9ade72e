package guard

import (
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

const (
	exampleValues = 5
	exampleBytes  = 64
	nameBytes     = 200
)

// Describe is r in one line for the sender and the log: who, what, which label grew, the limit, the count and the key. The
// example values come from examples, which is asked for values of one label in the sender's own push. Nil: none.
// It finds out which label grew, so it is not to be called under a lock of the table, nor for each series.
func (p *Policy) Describe(r Refusal, examples func(label string) []string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "environment %s, client %s: ", p.space.environment, p.client.name)
	if r.Observed {
		b.WriteString("observed only: ")
	}
	if r.Metric != "" {
		b.WriteString("metric " + plain(r.Metric) + ": ")
	}
	switch r.Reason {
	case lineBytes.String():
		if r.Key == "" {
			r = p.line(r.Count)
		}
		fmt.Fprintf(&b, "a line of %d bytes", r.Count)
	case labelsPerSeries.String():
		fmt.Fprintf(&b, "%d labels", r.Count)
	case labelNameBytes.String():
		fmt.Fprintf(&b, "label name %s of %d bytes", plain(cut(r.Label, exampleBytes)), r.Count)
	case labelValueBytes.String():
		fmt.Fprintf(&b, "label %s: a value of %d bytes", plain(r.Label), r.Count)
	default:
		p.grown(&b, r, examples)
	}
	fmt.Fprintf(&b, ", over %s=%d", r.Key, r.Limit)
	if r.inForce != 0 {
		fmt.Fprintf(&b, " (%d until %s, after a start)", r.inForce, clock(p.g.warmUntil))
	}
	return b.String()
}

// grown writes what a limit on series or values counted, and the label that is to blame.
func (p *Policy) grown(b *strings.Builder, r Refusal, examples func(label string) []string) {
	c := p.space.grew(r.Metric)
	if r.Reason == valuesPerLabel.String() {
		b.WriteString("label " + plain(r.Label))
		for _, g := range c.all {
			if g.label == r.Label && !g.since.IsZero() {
				b.WriteString(", which grows since " + clock(g.since))
			}
		}
		p.such(b, r.Label, examples)
		fmt.Fprintf(b, ": %d values", r.Count)
		return
	}
	if c.label != "" {
		n := max(c.refused, c.grew)
		if n == 0 || n == c.values {
			fmt.Fprintf(b, "label %s grew to about %s", plain(c.label), plural(c.values, "value"))
		} else {
			fmt.Fprintf(b, "label %s grew by about %s to about %d", plain(c.label), plural(n, "value"), c.values)
		}
		if !c.since.IsZero() {
			b.WriteString(" since " + clock(c.since))
		}
		p.such(b, c.label, examples)
		b.WriteString(": ")
	}
	fmt.Fprintf(b, "%d active %s", r.Count, p.space.noun())
	if r.Reason == perMetric.String() && r.Metric != "" {
		b.WriteString(" of the metric")
	}
}

func plural(n uint64, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// such writes example values.
func (p *Policy) such(b *strings.Builder, label string, examples func(label string) []string) {
	if examples == nil || !p.g.examples.Load() {
		return
	}
	vs := examples(label)
	for i, v := range vs[:min(len(vs), exampleValues)] {
		b.WriteString([]string{" (such as ", ", "}[min(i, 1)] + strconv.Quote(cut(v, exampleBytes)))
	}
	if len(vs) > 0 {
		b.WriteString(")")
	}
}

func clock(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// cut is the first n bytes of s at most, in whole characters.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for i := n; i > max(n-utf8.UTFMax, 0); i-- {
		if utf8.RuneStart(s[i]) {
			return s[:i]
		}
	}
	return s[:n] // not UTF-8
}

// printable is s with a question mark for each character that cannot be shown.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r == utf8.RuneError || !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, s)
}

// plain is a name as it is if it can be printed so, else quoted.
func plain(s string) string {
	s = cut(s, nameBytes)
	for i := range len(s) {
		if c := s[i]; c <= ' ' || c >= 0x7f || strings.IndexByte(`"'\,`, c) >= 0 {
			return strconv.Quote(s)
		}
	}
	if s == "" {
		return `""`
	}
	return s
}
