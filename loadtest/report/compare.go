package report

import (
	"fmt"
	"io"
	"slices"
	"strings"
)

// Comparison is the gateway beside other programs, measured in turn.
type Comparison struct {
	About
	Duels []*Duel `json:"duels"`
}

// Duel is one scenario, the gateway in it, and one other program.
type Duel struct {
	Scenario string `json:"scenario"`
	Peer     string `json:"peer"`
	// Goal is how many times the peer's items per CPU-second were aimed at; 0: there is no goal.
	Goal float64 `json:"goal,omitempty"`
	// WithoutRules: the peer cannot do what the gateway does in this scenario, and only forwarded.
	WithoutRules bool `json:"without_rules,omitempty"`
	// Rate is how many items a second both got; 0: as many as they took, or as the scenario says.
	Rate float64 `json:"rate,omitempty"`
	// Ours and Theirs have one round each at the same index.
	Ours   []Round `json:"ours"`
	Theirs []Round `json:"theirs"`
}

// Round is what is compared of one Result.
type Round struct {
	PerCPUSecond float64 `json:"items_per_cpu_second"`
	RSSPeak      uint64  `json:"rss_peak_bytes"`
	Verdict      string  `json:"verdict"`
	// Acknowledged, Arrived, Waited and Queued are those of a Result.
	Acknowledged uint64  `json:"acknowledged,omitempty"`
	Arrived      uint64  `json:"arrived,omitempty"`
	Waited       float64 `json:"waited_seconds,omitempty"`
	Queued       float64 `json:"queued,omitempty"`
}

// Add adds a round.
func (d *Duel) Add(ours, theirs *Result) {
	round := func(r *Result) Round {
		return Round{
			PerCPUSecond: r.PerCPUSecond(), RSSPeak: r.RSSPeak, Verdict: r.Verdict,
			Acknowledged: r.Acknowledged, Arrived: r.Arrived, Waited: r.Waited, Queued: r.Queued,
		}
	}
	d.Ours, d.Theirs = append(d.Ours, round(ours)), append(d.Theirs, round(theirs))
}

// Ratio is how many times the peer's items per CPU-second the gateway forwards: of the medians. 0: not known.
func (d *Duel) Ratio() float64 {
	theirs := median(d.Theirs, perCPUSecond)
	if theirs == 0 {
		return 0
	}
	return median(d.Ours, perCPUSecond) / theirs
}

// crash: the programs were killed, so that CPU is not compared.
func (d *Duel) crash() bool { return len(d.Ours) > 0 && d.Ours[0].Acknowledged > 0 }

// WriteTable writes the comparison as tables in Markdown.
func (c *Comparison) WriteTable(w io.Writer) error {
	var b strings.Builder
	b.WriteString(c.About.String() + "\n\n")
	c.tables(&b)
	_, err := io.WriteString(w, b.String())
	return err
}

func (c *Comparison) tables(b *strings.Builder) {
	speed := [][]string{{"scenario", "peer", "ours, items/CPU-s", "theirs", "ratio", "goal", "our RSS peak MiB", "theirs", "ours arrived", "theirs arrived"}}
	crash := [][]string{{"scenario", "program", "round", "items/s", "acknowledged", "arrived", "lost", "waited s", "still queued"}}
	last := ""
	for _, d := range c.Duels {
		if len(d.Ours) == 0 {
			continue // it failed, as was said
		}
		if !d.crash() {
			speed = append(speed, d.row())
			continue
		}
		if d.Scenario != last {
			crash = append(crash, d.killed("gateway", d.Ours)...)
		}
		crash = append(crash, d.killed(d.Peer, d.Theirs)...)
		last = d.Scenario
	}
	if len(speed) > 1 {
		columns(b, speed)
	}
	if len(speed) > 1 && len(crash) > 1 {
		b.WriteString("\nKilled with SIGKILL half-way, started again on the same folder, and waited for:\n\n")
	}
	if len(crash) > 1 {
		columns(b, crash)
	}
}

func (d *Duel) row() []string {
	peer, goal := d.Peer, ""
	if d.WithoutRules {
		peer += ", without rules"
	}
	if d.Goal > 0 {
		goal = fmt.Sprintf("%.1f x", d.Goal)
	}
	peak := func(r Round) float64 { return float64(r.RSSPeak) }
	return []string{
		d.Scenario, peer, count(median(d.Ours, perCPUSecond)), count(median(d.Theirs, perCPUSecond)), times(d.Ratio()), goal,
		mib(uint64(median(d.Ours, peak))), mib(uint64(median(d.Theirs, peak))), verdicts(d.Ours), verdicts(d.Theirs),
	}
}

// killed are rows of a program that was killed, round by round.
func (d *Duel) killed(program string, rounds []Round) (rows [][]string) {
	for i, r := range rounds {
		lost := "0"
		if r.Arrived < r.Acknowledged {
			lost = fmt.Sprint(r.Acknowledged - r.Arrived)
		}
		rows = append(rows, []string{
			d.Scenario, program, fmt.Sprint(i + 1), count(d.Rate), fmt.Sprint(r.Acknowledged), fmt.Sprint(r.Arrived), lost, fmt.Sprintf("%.1f", r.Waited), fmt.Sprint(r.Queued),
		})
	}
	return rows
}

// verdicts are all that there were, each once.
func verdicts(rounds []Round) string {
	var list []string
	for _, r := range rounds {
		if !slices.Contains(list, r.Verdict) {
			list = append(list, r.Verdict)
		}
	}
	return strings.Join(list, "; ")
}

func perCPUSecond(r Round) float64 { return r.PerCPUSecond }

// median of an odd number is the one in the middle, of an even one the lower of the two there.
func median(rounds []Round, of func(Round) float64) float64 {
	if len(rounds) == 0 {
		return 0
	}
	values := make([]float64, len(rounds))
	for i, r := range rounds {
		values[i] = of(r)
	}
	slices.Sort(values)
	return values[(len(values)-1)/2]
}

func times(ratio float64) string {
	if ratio == 0 {
		return ""
	}
	return fmt.Sprintf("%.1f x", ratio)
}
