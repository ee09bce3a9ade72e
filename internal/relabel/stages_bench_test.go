package relabel_test

import (
	"strings"
	"testing"
	"time"

	"github.com/telemetry-gateway/telemetry-gateway/internal/labels"
	"github.com/telemetry-gateway/telemetry-gateway/internal/relabel"
	"github.com/telemetry-gateway/telemetry-gateway/loadtest/measure"
)

// look finds the first label whose name begins with prefix: the least that a rule could do. For a rule that changes something
// it finds all of them, and to gets the others.
func look(set []labels.Label, prefix string, to []labels.Label) (found int, rest []labels.Label) {
	for _, l := range set {
		switch {
		case !strings.HasPrefix(l.Name, prefix):
			if to != nil {
				to = append(to, l)
			}
		case to == nil:
			return 1, nil
		default:
			found++
		}
	}
	return found, to
}

// BenchmarkStages says what one set of labels takes with one rule of a kind, and with three of a typical list, beside a walk over
// the names of the set for each rule, which copies the set where one changes it. Decisions are kept by the table of
// series: this is what a series costs that is new, or an item of OTLP.
func BenchmarkStages(b *testing.B) {
	for _, s := range []struct {
		name, rules, set string
		prefixes         []string // of the names that the floor looks for, one for each rule
		changes, drops   bool
	}{
		{"drop that keeps", `[{source_labels: [__name__], regex: 'go_.*|process_.*', action: drop}]`, series, []string{"__name__"}, false, false},
		{"drop", `[{source_labels: [__name__], regex: 'http_.*', action: drop}]`, series, []string{"__name__"}, false, true},
		{"replace", `[{source_labels: [instance], regex: '([^:]+):\d+', target_label: instance}]`, series, []string{"instance"}, true, false},
		{"labeldrop of none", `[{regex: zone|region, action: labeldrop}]`, series, []string{"zone"}, false, false},
		{"labeldrop", `[{regex: pod|uid, action: labeldrop}]`, series, []string{"pod"}, true, false},
		{"labelmap", `[{regex: 'http\.(.+)', replacement: 'h.$1', action: labelmap}]`, attributes, []string{"http."}, true, false},
		{"hashmod", `[{source_labels: [user.id], modulus: 16, action: hashmod, target_label: shard}]`, attributes, []string{"user.id"}, true, false},
		{"typical", typical, series, []string{"pod", "instance", "__name__"}, true, false},
	} {
		run := func(name string, f func()) {
			b.Run(s.name+"/"+name, func(b *testing.B) {
				b.ReportAllocs()
				began, rounds := time.Duration(0), 0
				for b.Loop() {
					if rounds++; rounds == 1 {
						began = measure.OwnCPU()
					}
					f()
				}
				b.ReportMetric(float64(measure.OwnCPU()-began)/float64(rounds), "cpu-ns/set")
			})
		}
		rules, in := relabel.Compile(rulesOf(b, s.rules), relabel.Options{Protected: []string{"le", "__name__"}}), setOf(s.set)
		var scratch relabel.Scratch
		if r := rules.Apply(&scratch, in); (r.Change != nil) != s.changes || (r.DroppedBy == 0) != s.drops {
			b.Fatalf("%s: %+v", s.name, r)
		}
		run("ours", func() { rules.Apply(&scratch, in) })
		room, found := make([]labels.Label, 0, len(in.All)), 0
		run("floor", func() {
			for i, prefix := range s.prefixes {
				to := room
				if !s.changes || i > 0 {
					to = nil
				}
				n, _ := look(in.All, prefix, to)
				found += n
			}
		})
	}
}
