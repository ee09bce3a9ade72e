package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/telemetry-gateway/telemetry-gateway/loadtest/digest"
	"github.com/telemetry-gateway/telemetry-gateway/loadtest/drive"
	"github.com/telemetry-gateway/telemetry-gateway/loadtest/sink"
)

// verification is what became of what was accepted.
type verification struct {
	// Verdict is one of those below, or says what is wrong.
	Verdict string `json:"verdict"`
	// Accepted, Arrived and Unknown are items; Checked is how many of those that arrived were compared by content.
	Accepted uint64 `json:"accepted"`
	Arrived  uint64 `json:"arrived"`
	Unknown  uint64 `json:"unknown,omitempty"`
	Checked  uint64 `json:"checked"`
	// Waited is how long what was missing was waited for, and Queued what a program with a queue says that it holds.
	Waited time.Duration `json:"waited,omitempty"`
	Queued float64       `json:"queued,omitempty"`
}

const (
	verdictExact = "exact"
	// verdictBounds: some pushes were never answered, or with 502 or 504, and some of those arrived, which no sender can know.
	verdictBounds = "nothing accepted is missing by count; unanswered pushes arrived in part"
)

func (v verification) ok() bool { return v.Verdict == verdictExact || v.Verdict == verdictBounds }

// verify compares what was accepted with what has arrived, user by user. identityOnly: contents differ by design.
func verify(out *drive.Outcome, st sink.State, identityOnly bool) verification {
	arrived := map[string]digest.Sum{}
	for key, sum := range st.Sums {
		user, _, _ := strings.Cut(key, "/")
		sum.Add(arrived[user])
		arrived[user] = sum
	}
	total := st.Total()
	v := verification{Verdict: verdictExact, Arrived: total.Items, Checked: total.Checked, Unknown: out.Unknown.Items}
	for user, sum := range out.Accepted {
		v.Accepted += sum.Items
		if v.ok() {
			if verdict := compare(sum, arrived[user], out.Unknown, identityOnly); verdict != verdictExact {
				v.Verdict = verdict
			}
		}
	}
	if st.Unreadable > 0 {
		v.Verdict = fmt.Sprintf("%d pushes could not be read: %s", st.Unreadable, st.Error)
	}
	return v
}

// verifyTotals is verify for programs that use one user for all.
func verifyTotals(out *drive.Outcome, st sink.State, identityOnly bool) verification {
	var accepted digest.Sum
	for _, sum := range out.Accepted {
		accepted.Add(sum)
	}
	one := *out
	one.Accepted = map[string]digest.Sum{"": accepted}
	st.Sums = map[string]digest.Sum{"/": st.Total()}
	return verify(&one, st, identityOnly)
}

func compare(want, got, unknown digest.Sum, identityOnly bool) string {
	switch {
	case got.Items < want.Items:
		return fmt.Sprintf("lost %d items", want.Items-got.Items)
	case got.Items > want.Items+unknown.Items:
		return fmt.Sprintf("%d too many items", got.Items-want.Items-unknown.Items)
	case got.Items > want.Items:
		return verdictBounds
	case got.Checked != want.Checked || got.Identity != want.Identity:
		return "changed: times, values or names differ"
	case got.Content != want.Content && !identityOnly:
		return "changed: labels or attributes differ"
	}
	return verdictExact
}
