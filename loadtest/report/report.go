// Package report writes what runs of the load test have measured: as tables for people, as JSON for programs, and as plots in
// SVG. It measures nothing and judges nothing. The runner calls it.
package report

import (
	"fmt"
	"io"
	"strings"
	"time"
)

// About says what was run, of which commit, where and when.
type About struct {
	Command string `json:"command"`
	Commit  string `json:"commit,omitempty"`
	Machine string `json:"machine"`
	Date    string `json:"date"`
}

func (a About) String() string {
	commit := ""
	if a.Commit != "" {
		commit = " at " + a.Commit
	}
	return fmt.Sprintf("`%s`%s, %s; %s", strings.TrimSpace(a.Command), commit, a.Date, a.Machine)
}

// Run is all that one command measured.
type Run struct {
	About
	Results []*Result `json:"results"`
}

// Result is one scenario, measured once.
type Result struct {
	Scenario string `json:"scenario"`
	About    string `json:"about"`
	// Items and Pushes were accepted in Seconds, on which the measured program spent CPUSeconds.
	Items      uint64  `json:"items"`
	Pushes     uint64  `json:"pushes"`
	Seconds    float64 `json:"seconds"`
	CPUSeconds float64 `json:"cpu_seconds"`
	// Goal and Floor are in items per CPU-second; 0: there is none.
	Goal  float64 `json:"goal,omitempty"`
	Floor float64 `json:"floor,omitempty"`
	// RSS is in bytes: the peak, and at the end.
	RSSPeak uint64 `json:"rss_peak_bytes"`
	RSSEnd  uint64 `json:"rss_end_bytes"`
	// RSSBound is what the configuration promises that RSS does not pass; 0: not known.
	RSSBound uint64 `json:"rss_bound_bytes,omitempty"`
	// Acknowledged and Arrived are items of a program that was killed, since its sink began.
	Acknowledged uint64 `json:"acknowledged,omitempty"`
	Arrived      uint64 `json:"arrived,omitempty"`
	// Waited is how many seconds it had for what was missing once it was started again, and Queued what it then still said
	// that it has to forward, in bytes and blocks.
	Waited float64 `json:"waited_seconds,omitempty"`
	Queued float64 `json:"queued,omitempty"`
	// What was allocated on the heap for each push; negative: not known.
	AllocBytes   float64 `json:"alloc_bytes_per_push"`
	AllocObjects float64 `json:"alloc_objects_per_push"`
	// Loads are the streams of pushes that it had.
	Loads []Load `json:"loads"`
	// Verdict says whether what arrived is what was accepted; Checked is how many items were compared by content.
	Verdict string `json:"verdict"`
	Checked uint64 `json:"checked"`
	// Profile says where its CPU went; nil: it was not asked.
	Profile *Profile `json:"profile,omitempty"`
	// Resident says what was in its memory at the end; nil: it was not asked.
	Resident *Resident `json:"resident,omitempty"`
	// Notes are what else there is to know.
	Notes   []string `json:"notes,omitempty"`
	Samples []Sample `json:"samples"`
}

// Load is one stream of pushes of a scenario.
type Load struct {
	Name   string `json:"name"`
	Items  uint64 `json:"items"`
	Pushes uint64 `json:"pushes"`
	// Rate is how many pushes a second it was to be; 0: as fast as answers came.
	Rate float64 `json:"rate,omitempty"`
	// Answers are pushes by status; 0: no answer.
	Answers map[int]uint64 `json:"answers"`
	P50     time.Duration  `json:"p50_ns"`
	P99     time.Duration  `json:"p99_ns"`
	P999    time.Duration  `json:"p999_ns"`
	Max     time.Duration  `json:"max_ns"`
	// Service is the same from when a push was sent, where P50 to Max count from when it was to be.
	Service50 time.Duration `json:"service_p50_ns"`
	Service99 time.Duration `json:"service_p99_ns"`
	// RefusedP99 is how long refusals took; 0: there were none.
	RefusedP99 time.Duration `json:"refused_p99_ns,omitempty"`
	// AddedP50 and AddedP99 are how much more that is than without the program in between; 0: that was not measured.
	AddedP50  time.Duration `json:"added_p50_ns,omitempty"`
	AddedP99  time.Duration `json:"added_p99_ns,omitempty"`
	Quantiles []Quantile    `json:"quantiles"`
}

// Quantile is one point of a distribution of latency.
type Quantile struct {
	Q float64       `json:"q"`
	D time.Duration `json:"ns"`
}

// Sample is one moment of a run.
type Sample struct {
	// At is seconds since the beginning. Items are all that were accepted until then.
	At    float64 `json:"at"`
	Items uint64  `json:"items"`
	RSS   uint64  `json:"rss_bytes"`
	// Cores is how many were busy on average since the sample before.
	Cores float64 `json:"cores"`
}

// PerCPUSecond is items per CPU-second; 0 when less was used than can be measured.
func (r *Result) PerCPUSecond() float64 {
	if r.CPUSeconds < 0.05 {
		return 0
	}
	return float64(r.Items) / r.CPUSeconds
}

// PerSecond is items per second.
func (r *Result) PerSecond() float64 { return float64(r.Items) / max(r.Seconds, 1e-9) }

// WriteTable writes the results as a table in Markdown, and below it what does not fit there.
func (run *Run) WriteTable(w io.Writer) error {
	var b strings.Builder
	b.WriteString(run.About.String() + "\n\n")
	run.table(&b)
	run.notes(&b)
	_, err := io.WriteString(w, b.String())
	return err
}

func (run *Run) table(b *strings.Builder) {
	rows := [][]string{{
		"scenario", "items/CPU-s", "goal", "of goal", "floor", "items/s", "cores", "us CPU/push", "p50 ms", "p99 ms", "p99.9 ms", "RSS peak MiB", "B/push", "allocs/push", "arrived",
	}}
	for _, r := range run.Results {
		for i, l := range r.Loads {
			row := []string{r.Scenario, "", "", "", "", "", "", "", ms(l.P50), ms(l.P99), ms(l.P999), "", "", "", ""}
			if len(r.Loads) > 1 {
				row[0] += "/" + l.Name
			}
			if i == 0 {
				copy(row[1:], []string{
					count(r.PerCPUSecond()), count(r.Goal), share(r.PerCPUSecond(), r.Goal), count(r.Floor), count(r.PerSecond()),
					cores(r), perPush(r),
				})
				copy(row[11:], []string{mib(r.RSSPeak), count(r.AllocBytes), count(r.AllocObjects), r.Verdict})
			}
			rows = append(rows, row)
		}
	}
	columns(b, rows)
}

func (run *Run) notes(b *strings.Builder) {
	for _, r := range run.Results {
		for _, note := range r.Notes {
			fmt.Fprintf(b, "\n- %s: %s", r.Scenario, note)
		}
	}
	b.WriteString("\n")
}

// WriteColumns writes rows as a table in Markdown; the first row is its head.
func WriteColumns(w io.Writer, rows [][]string) error {
	var b strings.Builder
	columns(&b, rows)
	_, err := io.WriteString(w, b.String())
	return err
}

// columns writes rows with their columns aligned; the first row is the head.
func columns(b *strings.Builder, rows [][]string) {
	width := make([]int, len(rows[0]))
	for _, row := range rows {
		for i, cell := range row {
			width[i] = max(width[i], len(cell))
		}
	}
	for n, row := range rows {
		for i, cell := range row {
			if i == 0 {
				fmt.Fprintf(b, "| %-*s |", width[i], cell)
			} else {
				fmt.Fprintf(b, " %*s |", width[i], cell)
			}
		}
		b.WriteString("\n")
		if n == 0 {
			for i := range row {
				if i == 0 {
					b.WriteString("|")
				}
				b.WriteString(strings.Repeat("-", width[i]+2) + "|")
			}
			b.WriteString("\n")
		}
	}
}

// count writes a number as people do: 4.53 M. Nothing for what is not known.
func count(n float64) string {
	switch {
	case n <= 0:
		return ""
	case n >= 1e6:
		return fmt.Sprintf("%.2f M", n/1e6)
	case n >= 1e3:
		return fmt.Sprintf("%.1f k", n/1e3)
	}
	return fmt.Sprintf("%.0f", n)
}

func cores(r *Result) string {
	if r.CPUSeconds == 0 {
		return ""
	}
	return fmt.Sprintf("%.2f", r.CPUSeconds/max(r.Seconds, 1e-9))
}

func perPush(r *Result) string {
	if r.CPUSeconds == 0 {
		return ""
	}
	return fmt.Sprintf("%.0f", r.microsPerPush())
}

func mib(n uint64) string { return fmt.Sprintf("%.1f", float64(n)/(1<<20)) }

func share(n, of float64) string {
	if of <= 0 || n <= 0 {
		return ""
	}
	return fmt.Sprintf("%.0f %%", 100*n/of)
}

func ms(d time.Duration) string {
	if d == 0 {
		return ""
	}
	return fmt.Sprintf("%.2f", float64(d)/float64(time.Millisecond))
}
