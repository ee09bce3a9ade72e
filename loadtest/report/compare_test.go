package report

import (
	"strings"
	"testing"
	"time"
)

// duel is three rounds in which the gateway forwards 4, 6 and 5 items a CPU-second, and the other 2, 1 and 3.
func duel() *Duel {
	d := &Duel{Scenario: "rw1", Peer: "other 1.0", Goal: 3}
	for i, n := range []uint64{4, 6, 5} {
		theirs := []uint64{2, 1, 3}[i]
		d.Add(&Result{Items: n, CPUSeconds: 1, RSSPeak: 60 << 20, Verdict: "exact"}, &Result{Items: theirs, CPUSeconds: 1, RSSPeak: 120 << 20, Verdict: []string{"exact", "exact", "lost 1 items"}[i]})
	}
	return d
}

func TestRatioIsOfMedians(t *testing.T) {
	if got := duel().Ratio(); got != 2.5 {
		t.Errorf("5 and 2 items a CPU-second in the middle: ratio %g, want 2.5", got)
	}
	if got := new(Duel).Ratio(); got != 0 {
		t.Errorf("nothing was measured, and the ratio is %g", got)
	}
}

func TestComparisonTable(t *testing.T) {
	crash := &Duel{Scenario: "crash", Peer: "other 1.0", Rate: 1000}
	crash.Add(&Result{Acknowledged: 100, Arrived: 110}, &Result{Acknowledged: 100, Arrived: 93, Waited: 12.34, Queued: 56})
	second := &Duel{Scenario: "crash", Peer: "another", Ours: crash.Ours, Theirs: crash.Theirs}
	c := &Comparison{About{Command: "c", Machine: "m", Date: "d"}, []*Duel{duel(), {Scenario: "failed"}, crash, second}}
	var b strings.Builder
	if err := c.WriteTable(&b); err != nil {
		t.Fatal(err)
	}
	words := strings.Join(strings.Fields(b.String()), " ")
	for _, want := range []string{
		"| rw1 | other 1.0 | 5 | 2 | 2.5 x | 3.0 x | 60.0 | 120.0 | exact | exact; lost 1 items |",
		"| crash | gateway | 1 | 1.0 k | 100 | 110 | 0 | 0.0 | 0 |", "| crash | other 1.0 | 1 | 1.0 k | 100 | 93 | 7 | 12.3 | 56 |",
		"| crash | another | 1 | | 100 | 93 | 7 | 12.3 | 56 |",
	} {
		if !strings.Contains(words, want) {
			t.Errorf("the table does not have %q:\n%s", want, b.String())
		}
	}
	if strings.Count(words, "gateway |") != 1 || strings.Contains(words, "failed") {
		t.Errorf("the gateway of one scenario stands there twice, or what failed does:\n%s", b.String())
	}
}

func TestPageAndQuote(t *testing.T) {
	rw1, latency := result(), result()
	rw1.Scenario, latency.Scenario = "rw1", "latency-small"
	latency.Loads[0].AddedP50, latency.Loads[0].AddedP99 = 310*time.Microsecond, 1250*time.Microsecond
	run := &Run{About{Command: "c", Commit: "abc", Machine: "m", Date: "d"}, []*Result{rw1, latency, {Scenario: "overload", About: "too much", RSSPeak: 3 << 20, RSSBound: 4 << 20, Loads: []Load{{}}}}}
	c := &Comparison{Duels: []*Duel{duel()}}
	var page, quoted, none strings.Builder
	if err := WritePage(&page, run, c); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"## Every scenario", "## Beside other programs", "2.5 x", "![rw1](rw1.svg)", "- rw1: a note"} {
		if !strings.Contains(page.String(), want) {
			t.Errorf("the page does not have %q:\n%s", want, page.String())
		}
	}
	if err := WriteQuote(&quoted, run, c); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"commit abc", "4.50 M", "2.5 x other 1.0", "adds 0.31 ms at p50 and 1.25 ms at p99", "3.0 MiB of at most 4.0"} {
		if !strings.Contains(quoted.String(), want) {
			t.Errorf("the quotation does not have %q:\n%s", want, quoted.String())
		}
	}
	if err := WriteQuote(&none, nil, nil); err != nil || !strings.Contains(none.String(), "make results") {
		t.Errorf("%v: %s", err, none.String())
	}
}
