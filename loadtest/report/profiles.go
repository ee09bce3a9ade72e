package report

import (
	"fmt"
	"io"
	"strings"
	"time"
)

// Profile is where the CPU of a push goes, from a CPU profile of a run after the one that was measured.
type Profile struct {
	// Samples is how often the program was looked at: the smaller a part, the more it needs.
	Samples int64 `json:"samples"`
	// Parts add up to one. They are the same in every profile, with those that take nothing.
	Parts []Part `json:"parts"`
}

// Part is what one part of the program takes of its CPU.
type Part struct {
	Name  string  `json:"name"`
	Share float64 `json:"share"`
	// Floor is the least that this part of a push could take; 0: it was not measured.
	Floor time.Duration `json:"floor_ns,omitempty"`
	// Functions are those that take most of it. Their shares are of all CPU.
	Functions []Function `json:"functions,omitempty"`
}

// Function is what a function takes, with all that it calls and that is no part of its own.
type Function struct {
	Name  string  `json:"name"`
	Share float64 `json:"share"`
}

// Profiled says whether the page of profiles has anything to say.
func (run *Run) Profiled() bool {
	if run == nil {
		return false
	}
	for _, r := range run.Results {
		if r.Profile != nil {
			return true
		}
	}
	return false
}

// microsPerPush is what a push took of the CPU, in the run that was measured.
func (r *Result) microsPerPush() float64 { return r.CPUSeconds * 1e6 / max(float64(r.Pushes), 1) }

// WriteProfiles writes what a push costs by part and what memory is used for: one table of all, and one of CPU for each scenario.
func WriteProfiles(w io.Writer, run *Run) error {
	var b strings.Builder
	b.WriteString("# Where CPU and memory go\n\nWritten with [results.md](results.md), by the same command; [how to read it](../README.md).\n\n" + run.About.String() + "\n\n")
	b.WriteString("Percent of the gateway's CPU:\n\n")
	run.overview(&b)
	b.WriteString("\nMiB of its memory, at the end:\n\n")
	run.resident(&b)
	for _, r := range run.Results {
		if r.Profile != nil {
			r.parts(&b)
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// overview has a row for each scenario, and a column for each part that any of them has.
func (run *Run) overview(b *strings.Builder) {
	rows := [][]string{{"scenario", "us CPU/push"}}
	var shown []bool
	for _, r := range run.Results {
		if r.Profile == nil {
			continue
		}
		row := []string{r.Scenario, perPush(r)}
		for i, p := range r.Profile.Parts {
			if i == len(shown) { // the first: all have the same parts
				shown, rows[0] = append(shown, false), append(rows[0], p.Name)
			}
			shown[i] = shown[i] || p.Share > 0
			row = append(row, percent(p.Share))
		}
		rows = append(rows, row)
	}
	columns(b, keepColumns(rows, 2, shown))
}

// parts writes the table of a scenario.
func (r *Result) parts(b *strings.Builder) {
	fmt.Fprintf(b, "\n## %s\n\n%s: %.0f us of CPU a push, %d samples.\n\n", r.Scenario, r.About, r.microsPerPush(), r.Profile.Samples)
	rows := [][]string{{"part", "us/push", "%", "floor us", "most of it in"}}
	var floors time.Duration
	for _, p := range r.Profile.Parts {
		if p.Share == 0 && p.Floor == 0 {
			continue
		}
		var most []string
		for _, f := range p.Functions {
			if f.Share >= 0.005 {
				most = append(most, fmt.Sprintf("%s %s", strings.ReplaceAll(f.Name, "|", "/"), percent(f.Share)))
			}
		}
		floors += p.Floor
		rows = append(rows, []string{p.Name, fmt.Sprintf("%.1f", p.Share*r.microsPerPush()), percent(p.Share), micros(p.Floor), strings.Join(most, ", ")})
	}
	columns(b, append(rows, []string{"all", fmt.Sprintf("%.1f", r.microsPerPush()), "100.0", micros(floors), ""}))
}

// percent is nothing for nothing.
func percent(share float64) string {
	if share == 0 {
		return ""
	}
	return fmt.Sprintf("%.1f", 100*share)
}

func micros(d time.Duration) string {
	if d == 0 {
		return ""
	}
	return fmt.Sprintf("%.1f", float64(d)/float64(time.Microsecond))
}
