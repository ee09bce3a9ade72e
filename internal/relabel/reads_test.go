package relabel_test

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/telemetry-gateway/telemetry-gateway/internal/labels"
	"github.com/telemetry-gateway/telemetry-gateway/internal/relabel"
)

func TestReads(t *testing.T) {
	f := func(known bool, text string, want ...string) {
		t.Helper()
		names, ok := relabel.Compile(rulesOf(t, text), relabel.Options{}).Reads()
		if ok != known || known && !slices.Equal(names, want) {
			t.Errorf("%s: reads %q, known %v; want %q, %v", text, names, ok, want, known)
		}
	}
	f(true, `[]`)
	f(true, `[{action: labeldrop, regex: 'a.*'}, {action: labelkeep, regex: 'b.*'}]`)
	f(true, `[{action: drop, source_labels: [a, b], regex: x}, {action: keep, source_labels: [b, c], regex: x}]`, "a", "b", "c")
	f(true, `[{action: dropequal, source_labels: [a], target_label: t}]`, "a", "t")
	f(true, `[{action: lowercase, source_labels: [a], target_label: t}]`, "a", "t")
	f(true, `[{source_labels: [a], target_label: t, regex: 'x(.*)'}]`, "a", "t")
	f(true, `[{target_label: t, replacement: x}]`, "t")
	f(true, `[{source_labels: [a], target_label: t, replacement: ''}]`)
	f(true, `[{source_labels: [a], regex: x, target_label: t, replacement: ''}]`, "a", "t")
	f(false, `[{source_labels: [a], target_label: 't_$1'}]`)
	f(false, `[{action: labelmap, regex: a, replacement: b}]`)
}

// TestReadsAreEnough: what rules make of a set they make of every other with the same names, and the same values where they
// read, unless labels come.
func TestReadsAreEnough(t *testing.T) {
	r := rand.New(rand.NewPCG(71, 72))
	tested := 0
	for range 20_000 {
		tested += readsAreEnough(t, randomBytes(r))
	}
	if tested < 2000 {
		t.Errorf("%d sets were compared", tested)
	}
}

func FuzzReadsAreEnough(f *testing.F) {
	r := rand.New(rand.NewPCG(73, 74))
	for range 50 {
		f.Add(randomBytes(r))
	}
	f.Fuzz(func(t *testing.T, b []byte) { readsAreEnough(t, b) })
}

func readsAreEnough(t *testing.T, b []byte) (tested int) {
	t.Helper()
	g := &generator{bytes: b}
	rules := relabel.Compile(g.rules(), relabel.Options{ReadOnly: []string{"resource.", "scope."}, Protected: []string{"__name__"}})
	reads, known := rules.Reads()
	if !known {
		return 0
	}
	set := g.set()
	other := labels.Set{All: slices.Clone(set.All), Keys: set.Keys}
	for i := range other.All {
		if l := &other.All[i]; !slices.Contains(reads, l.Name) {
			l.Value = one(g, genValues...)
		}
	}
	var sa, sb relabel.Scratch
	x := rules.Apply(&sa, set)
	if x.DroppedBy >= 0 || x.Change != nil && len(x.Change.Add) > 0 {
		return 0
	}
	y := rules.Apply(&sb, &other)
	if x.DroppedBy != y.DroppedBy || x.Restored != y.Restored || (x.Change == nil) != (y.Change == nil) ||
		x.Change != nil && (!slices.Equal(x.Change.Keep, y.Change.Keep) || len(y.Change.Add) > 0) {
		t.Fatalf("%v becomes %+v, %v becomes %+v under rules that read %q", set.All, x, other.All, y, reads)
	}
	return 1
}
