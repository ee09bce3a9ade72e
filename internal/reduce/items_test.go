package reduce

import (
	"slices"
	"testing"

	"github.com/telemetry-gateway/telemetry-gateway/internal/fault"
	"github.com/telemetry-gateway/telemetry-gateway/internal/guard"
	"github.com/telemetry-gateway/telemetry-gateway/internal/ingest"
	"github.com/telemetry-gateway/telemetry-gateway/internal/labels"
)

// TestRepeats: an answer goes for other items only if nothing is counted of it, no label comes, and no limit looks at labels.
func TestRepeats(t *testing.T) {
	r := newRig(t, Options{})
	begin := func(text string, limits guard.Limits) *Push {
		p := r.Policy(Settings{Environment: "prod", Client: "app", Signal: ingest.Traces, Rules: rules(t, text), EnvironmentLimits: limits})
		push := p.Begin(r.now, Attributes, func(int) *fault.Error { return nil })
		t.Cleanup(push.Close)
		return push
	}
	f := func(text, item string, want bool) {
		t.Helper()
		push := begin(text, guard.Limits{})
		set := labels.Set{All: parse(item)}
		push.Reducer.Item(&set)
		if got := push.Reducer.Repeats(); got != want {
			t.Errorf("%s of %s: repeats %v, want %v", text, item, got, want)
		}
	}
	f(`[{action: labeldrop, regex: a}]`, "GET,a=1", true)
	f(`[{action: labeldrop, regex: a}]`, "GET,b=1", true)
	f(`[{action: labeldrop, regex: '.*'}]`, "GET,a=1", false) // the name comes back, and that is counted
	f(`[{action: labelkeep, regex: __name__}]`, "GET,a=1", true)
	f(`[{action: drop, source_labels: [a], regex: 1}]`, "GET,a=1", false)
	f(`[{action: drop, source_labels: [a], regex: 1}]`, "GET,a=2", true)
	f(`[{target_label: b, replacement: x}]`, "GET,a=2", false)
	f(`[{target_label: b, replacement: x}]`, "GET,b=x", true)

	push := begin(`[{action: drop, source_labels: [a], regex: 1}]`, guard.Limits{})
	if !slices.Equal(push.Reducer.Reads, []string{"a"}) {
		t.Errorf("reads %q, want a", push.Reducer.Reads)
	}
	for i, want := range []bool{true, false, true} {
		set := labels.Set{All: parse([]string{"GET,a=2", "GET,a=1", "GET,a=2"}[i])}
		push.Reducer.Item(&set)
		if got := push.Reducer.Repeats(); got != want {
			t.Errorf("item %d: repeats %v, want %v", i, got, want)
		}
	}
	if begin(`[{action: labelmap, regex: a, replacement: b}]`, guard.Limits{}).Reducer.Repeats != nil {
		t.Error("labelmap copies values of labels that it does not name")
	}
	if begin(`[{action: labeldrop, regex: a}]`, guard.Limits{LabelValueBytes: 100}).Reducer.Repeats != nil {
		t.Error("a limit on values looks at all of them")
	}
}
