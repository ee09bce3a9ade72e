package report

import (
	"fmt"
	"io"
	"strings"
)

// plotted are the scenarios whose plots the page shows; it names the files of all others.
var plotted = []string{"rw1", "rw1-reduce", "loki", "traces-gzip", "latency-small", "memory-1m", "overload"}

// WritePage writes the page of results: everything in numbers, and the plots of some. What was not measured is nil.
func WritePage(w io.Writer, run *Run, c *Comparison) error {
	var b strings.Builder
	b.WriteString("# Results\n\nWritten by the commands below; [how to read it](../README.md). `results.json` and `peers.json` have all of it, and the samples.\n")
	if run != nil {
		fmt.Fprintf(&b, "\n## Every scenario\n\n%s\n\n", run.About)
		run.table(&b)
		if run.Profiled() {
			b.WriteString("\n[profiles.md](profiles.md) says what each part of the gateway takes of a push, and what its memory is used for.\n")
		}
		b.WriteString("\n## What does not fit there\n")
		run.notes(&b)
	}
	if c != nil {
		fmt.Fprintf(&b, "\n## Beside other programs\n\n%s\n\n", c.About)
		c.tables(&b)
	}
	if run != nil {
		b.WriteString("\n## Plots\n\n")
		for _, name := range plotted {
			if run.find(name) != nil {
				fmt.Fprintf(&b, "![%s](%s.svg)\n", name, name)
			}
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// find returns the result of a scenario; nil: there is none.
func (run *Run) find(scenario string) *Result {
	if run == nil {
		return nil
	}
	for _, r := range run.Results {
		if r.Scenario == scenario {
			return r
		}
	}
	return nil
}

// WriteQuote writes what a README says of results: few numbers, each of which is in the page.
func WriteQuote(w io.Writer, run *Run, c *Comparison) error {
	var b strings.Builder
	if run == nil {
		b.WriteString("No run is kept here yet; `make results` makes one.\n")
		_, err := io.WriteString(w, b.String())
		return err
	}
	fmt.Fprintf(&b, "%s, commit %s, %s.\n\n", run.Date, run.Commit, run.Machine)
	rows := [][]string{{"scenario", "what it is", "items a CPU-second", "CPU a push", "RSS peak", "beside"}}
	for _, name := range []string{"rw1", "rw1-reduce", "rw2", "loki", "loki-metadata", "traces-gzip", "traces-plain", "metrics-gzip", "logs-plain", "tiny", "memory-100k", "memory-1m"} {
		if r := run.find(name); r != nil {
			rows = append(rows, []string{name, r.About, count(r.PerCPUSecond()), perPush(r) + " us", mib(r.RSSPeak) + " MiB", c.beside(name)})
		}
	}
	columns(&b, rows)
	b.WriteString("\n")
	for _, name := range []string{"latency-small", "latency"} {
		if r := run.find(name); r != nil {
			fmt.Fprintf(&b, "- %s: the gateway adds %s ms at p50 and %s ms at p99.\n", r.About, ms(r.Loads[0].AddedP50), ms(r.Loads[0].AddedP99))
		}
	}
	if r := run.find("quote"); r != nil {
		fmt.Fprintf(&b, "- %s: %s cores, %s MiB.\n", r.About, cores(r), mib(r.RSSPeak))
	}
	for _, name := range []string{"overload", "overload-dead", "overload-connections"} {
		if r := run.find(name); r != nil && r.RSSBound > 0 {
			fmt.Fprintf(&b, "- %s: %s MiB of at most %s.\n", r.About, mib(r.RSSPeak), mib(r.RSSBound))
		}
	}
	if r := run.find("crash"); r != nil {
		fmt.Fprintf(&b, "- %s: %d items acknowledged, %d arrived.\n", r.About, r.Acknowledged, r.Arrived)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// beside says how the gateway stands to each peer in a scenario.
func (c *Comparison) beside(scenario string) string {
	if c == nil {
		return ""
	}
	var list []string
	for _, d := range c.Duels {
		if d.Scenario == scenario && d.Ratio() > 0 {
			list = append(list, times(d.Ratio())+" "+d.Peer)
		}
	}
	return strings.Join(list, ", ")
}
