package reduce

import (
	"fmt"
	"strings"
	"testing"

	"github.com/telemetry-gateway/telemetry-gateway/internal/fault"
	"github.com/telemetry-gateway/telemetry-gateway/internal/ingest"
	"github.com/telemetry-gateway/telemetry-gateway/internal/labels"
)

// shared runs a push of n series through p, each of which shows the value that they share, and says how many were shown.
func (r *rig) shared(p *Policy, most, n int, value string) (shown int, spent bool) {
	r.t.Helper()
	push := p.Begin(r.now, Plain, func(int) *fault.Error { return nil })
	defer push.Close()
	push.Most = most
	ss, err := push.Reducer.Room(nil, n)
	if err != nil {
		r.t.Fatal(err)
	}
	for i := range ss {
		ss[i] = ingest.Series{Key: labels.Key{Hi: uint64(i) << 32, Lo: uint64(i)}, Items: 1, Weight: 1, First: 1, Last: 1}
	}
	push.Reducer.Judge(ss, func(i int, set *labels.Set) {
		shown++
		for _, l := range p.settings.Stamps {
			set.Add(l, labels.Key{})
		}
		set.Add(labels.Label{Name: "__name__", Value: fmt.Sprint("m", i)}, labels.Key{})
		set.Add(labels.Label{Name: "shared", Value: value}, labels.Key{})
		set.Sort()
	})
	return shown, push.Spent()
}

func TestSharedLabelsAreBounded(t *testing.T) {
	f := func(most, stamp, atLeast, atMost int, want bool) {
		t.Helper()
		r := newRig(t, Options{})
		p := r.metrics(`[]`, func(s *Settings) { s.Stamps = []labels.Label{{Name: "a", Value: strings.Repeat("x", stamp)}} })
		shown, spent := r.shared(p, most, 100, strings.Repeat("v", 1000))
		if spent != want || shown < atLeast || shown > atMost {
			t.Errorf("most %d: spent %v after %d series, want %v after %d to %d", most, spent, shown, want, atLeast, atMost)
		}
	}
	f(0, 1, 100, 1000, false)
	f(200_000, 1, 100, 1000, false)
	f(10_000, 1, 9, 11, true)            // a hundred series of a kilobyte: it ends after ten
	f(200_000, 10_000, 100, 1000, false) // what we stamp ourselves is not held against the sender
}

func TestSharedAttributesAreBounded(t *testing.T) {
	r := newRig(t, Options{})
	p := r.Policy(Settings{Environment: "prod", Client: "app", Signal: ingest.Traces, Rules: rules(t, `[{action: labeldrop, regex: x}]`)})
	push := p.Begin(r.now, Attributes, func(int) *fault.Error { return nil })
	defer push.Close()
	push.Most = 10_000
	passed := 0
	for range 100 {
		var set labels.Set
		set.Add(labels.Label{Name: "resource.r", Value: strings.Repeat("v", 1000)}, labels.Key{})
		if _, verdict := push.Reducer.Item(&set); verdict.Out() {
			passed++
		}
	}
	if passed > 10 || !push.Spent() {
		t.Errorf("%d items of a kilobyte passed, want 9; spent %v", passed, push.Spent())
	}
}
