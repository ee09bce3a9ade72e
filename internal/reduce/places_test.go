package reduce

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/telemetry-gateway/telemetry-gateway/internal/guard"
	"github.com/telemetry-gateway/telemetry-gateway/internal/ingest"
	"github.com/telemetry-gateway/telemetry-gateway/internal/series"
)

func limit(n int) func(*Settings) {
	return func(s *Settings) { s.EnvironmentLimits = guard.Limits{Key: "limits", ActiveSeries: n} }
}

func client(name string) func(*Settings) { return func(s *Settings) { s.Client = name } }

// policies compiles one policy for each client and puts them in force.
func (r *rig) policies(text string, clients []string, change ...func(*Settings)) (all []*Policy) {
	r.t.Helper()
	for _, c := range clients {
		s := Settings{Environment: "prod", Client: c, Signal: ingest.Metrics, Rules: rules(r.t, text)}
		for _, f := range change {
			f(&s)
		}
		all = append(all, r.Policy(s))
	}
	r.Adopt(all)
	return all
}

// accounts are what the guard and the table are to hold, in plain maps: series that leave as they came, and outputs.
type accounts struct {
	limit int
	rules int
	now   int
	in    map[string]*account // series that were let in, by their labels as they came
	out   map[string]int      // outputs, and when they were touched last
}

type account struct {
	touched, rules int
	output         string // empty: it leaves as it came and has a place of its own
}

// leaves is what becomes of a series under each of the rules that the test has.
var placeRules = []string{
	"[]",
	dropPod,
	`[{action: labeldrop, regex: pod}, {action: replace, target_label: site, replacement: x}]`,
	`[{action: drop, source_labels: [pod], regex: "3.*"}]`,
}

func (a *accounts) leaves(s string) (out string, dropped bool) {
	metric, pod, _ := strings.Cut(s, ",pod=")
	switch a.rules {
	case 1:
		return metric, false
	case 2:
		return metric + ",site=x", false
	case 3:
		return s, pod[0] == '3'
	}
	return s, false
}

func (a *accounts) active() (n int) {
	for _, s := range a.in {
		if s.output == "" {
			n++
		}
	}
	return n + len(a.out)
}

// expire forgets what is idle: outputs are given a minute more.
func (a *accounts) expire() {
	maps.DeleteFunc(a.in, func(_ string, s *account) bool { return a.now-s.touched > series.IdleMinutes })
	maps.DeleteFunc(a.out, func(_ string, touched int) bool { return a.now-touched > series.IdleMinutes+1 })
}

// push says what is to become of s, and books it.
func (a *accounts) push(s string) (verdict string) {
	was := a.in[s]
	if was != nil && was.output != "" && was.rules != a.rules {
		a.out[was.output] = a.now // an entry takes its output along
	}
	out, dropped := a.leaves(s)
	if dropped {
		delete(a.in, s)
		return "dropped"
	}
	if out == s {
		out = ""
	}
	place := out
	if out == "" {
		place = s
	}
	_, there := a.out[out]
	there = there || out == "" && was != nil && was.output == ""
	if !there && was == nil && a.active() >= a.limit {
		return "refused"
	}
	a.in[s] = &account{touched: a.now, rules: a.rules, output: out}
	if out != "" {
		a.out[out] = a.now
	}
	return place
}

// TestPlacesAgainstModel: what is let in, refused and counted is what plain maps say, over arrivals of several clients, time
// and reloads. So no series is refused while it lives, and none holds two places or none.
func TestPlacesAgainstModel(t *testing.T) {
	verdicts := map[string]int{}
	for seed := range uint64(40) {
		rnd := rand.New(rand.NewPCG(seed, 3))
		r := newRig(t, Options{})
		a := &accounts{limit: 5 + rnd.IntN(30), in: map[string]*account{}, out: map[string]int{}}
		clients := []string{"a", "b", "c"}
		ps := r.policies(placeRules[0], clients, limit(a.limit))
		for range 150 {
			switch n := rnd.IntN(20); {
			case n < 2:
				a.rules = rnd.IntN(len(placeRules))
				ps = r.policies(placeRules[a.rules], clients, limit(a.limit))
			case n < 4:
				minutes := []int{1, 3, 19, 20, 21, 25}[rnd.IntN(6)]
				r.wait(time.Duration(minutes) * time.Minute)
				a.now += minutes
				a.expire()
			}
			var all []sent
			var want []string
			for range 1 + rnd.IntN(8) {
				s := fmt.Sprintf("m%d,pod=%d", rnd.IntN(3), rnd.IntN(40))
				if slices.ContainsFunc(all, func(o sent) bool { return o.labels == s }) {
					continue
				}
				all = append(all, sent{labels: s, lines: 1, weight: 1})
			}
			// What the table knows is found first.
			got := r.push(ps[rnd.IntN(len(ps))], all...).left
			for _, s := range all {
				want = append(want, a.push(s.labels))
			}
			for _, v := range want {
				if v != "refused" && v != "dropped" {
					v = "passed"
				}
				verdicts[v]++
			}
			if !slices.Equal(got, want) {
				t.Fatalf("seed %d: minute %d, rules %d, limit %d: pushed %v\ngot  %v\nwant %v", seed, a.now, a.rules, a.limit, all, got, want)
			}
			if n := r.active(); n != a.active() {
				t.Fatalf("seed %d: %d active after %v, want %d", seed, n, all, a.active())
			}
		}
		r.drain()
	}
	if verdicts["refused"] < 2000 || verdicts["passed"] < 8000 || verdicts["dropped"] < 500 {
		t.Errorf("verdicts %v: the test tests too little", verdicts)
	}
}

// TestKnownIsNeverRefused: also where metrics are suspended and the suspensions lifted, rules change and the limit shrinks.
func TestKnownIsNeverRefused(t *testing.T) {
	refused, suspensions := 0, 0
	for seed := range uint64(30) {
		rnd := rand.New(rand.NewPCG(seed, 4))
		r := newRig(t, Options{})
		most := 10 + rnd.IntN(20)
		texts := []string{"[]", dropPod, `[{action: labeldrop, regex: pod|zone}]`}
		p := r.metrics(texts[1], limit(most))
		left := map[string]time.Time{}
		for range 120 {
			switch n := rnd.IntN(30); {
			case n < 3:
				p = r.metrics(texts[rnd.IntN(len(texts))], limit(most-rnd.IntN(5)))
			case n < 8:
				r.wait(time.Duration(1+rnd.IntN(15)) * time.Minute)
			}
			var all []sent
			for range 1 + rnd.IntN(5) {
				all = append(all, at(fmt.Sprintf("m%d,pod=%d,zone=%d", rnd.IntN(3), rnd.IntN(10), rnd.IntN(2)), int64(r.now.Sub(began)/time.Second)))
			}
			for i, v := range r.push(p, all...).left {
				last, known := left[all[i].labels]
				if known = known && r.now.Sub(last) < series.IdleMinutes*time.Minute; known && v == "refused" {
					t.Fatalf("seed %d: %s left %v ago and is refused", seed, all[i].labels, r.now.Sub(last))
				}
				if v == "refused" {
					refused++
				} else {
					left[all[i].labels] = r.now
				}
			}
			suspensions += len(r.Collisions())
		}
		r.drain()
	}
	if refused < 500 || suspensions < 500 {
		t.Errorf("%d refused, %d suspended: the test tests too little", refused, suspensions)
	}
}

// TestPlacesThroughAllStates takes one series and its output through all that an entry can be.
func TestPlacesThroughAllStates(t *testing.T) {
	r := newRig(t, Options{})
	step := func(want int, p *Policy, all ...sent) {
		t.Helper()
		r.push(p, all...)
		r.wantActive(want)
	}
	sec := func() int64 { return int64(r.now.Sub(began) / time.Second) }
	none := r.metrics("[]")
	step(1, none, at("m,pod=a", 0))
	p := r.metrics(dropPod)
	step(1, p, at("m,pod=a", 15))                      // its output has its place
	step(1, p, at("m", 15+360))                        // a series with the very labels of the output
	step(3, p, at("m,pod=a", 390), at("m,pod=b", 390)) // suspended: a and b, and m, which nobody has sent since
	step(3, p, at("m", 391))
	r.wait(10 * time.Minute)
	none = r.metrics("[]")
	step(3, none, at("m,pod=a", sec()), at("m,pod=b", sec()), at("m", sec()))
	p = r.metrics(dropPod)
	step(3, p, at("m,pod=a", sec()+15), at("m,pod=b", sec()+15), at("m", sec()+15))
	r.wait(22 * time.Minute) // and all of them are gone
	r.wantActive(0)
	step(1, p, at("m", sec()))
	step(1, p, at("m,pod=a", sec()+360))
	p = r.metrics(`[{action: drop, regex: m, source_labels: [__name__]}]`)
	step(1, p, at("m,pod=a", sec()+15))
	r.drain()
}

// TestLiftedSuspensionCountsOnce: the output that was watched while a metric was suspended had no place.
func TestLiftedSuspensionCountsOnce(t *testing.T) {
	r := newRig(t, Options{})
	p := r.metrics(dropPod)
	r.push(p, at("m,pod=a", 0), at("m,pod=b", 0))
	r.wantActive(2)
	for range 22 {
		r.wait(time.Minute)
		r.push(p, at("m,pod=a", int64(r.now.Sub(began)/time.Second)))
	}
	r.wait(time.Minute)
	r.want(p, []sent{at("m,pod=a", int64(r.now.Sub(began)/time.Second))}, "m")
	r.wantActive(1)
	// One that leaves as it came and is the output itself.
	r.push(p, at("n", 1500), at("n,pod=b", 1500))
	r.wantActive(3)
	for range 22 {
		r.wait(time.Minute)
		r.push(p, at("n", int64(r.now.Sub(began)/time.Second)))
	}
	r.wait(time.Minute)
	r.want(p, []sent{at("n", int64(r.now.Sub(began)/time.Second))}, "n")
	r.wantActive(1)
	r.drain()
}

func TestStreamsAreCountedOnce(t *testing.T) {
	for _, order := range [][]string{{"app=x", "app=x,pod=a"}, {"app=x,pod=a", "app=x"}} {
		r := newRig(t, Options{})
		p := r.Policy(Settings{Environment: "prod", Client: "app", Signal: ingest.Logs, Rules: rules(t, dropPod)})
		r.Adopt([]*Policy{p})
		for _, ls := range order {
			r.want(p, []sent{{labels: ls, lines: 1}}, "app=x")
			r.wantActive(1)
		}
		r.drain()
	}
}

func TestSeriesThatBecomesTooLong(t *testing.T) {
	r := newRig(t, Options{})
	p := r.metrics("[]")
	r.push(p, at("m,path=long", 0), at("m", 0))
	r.wantActive(2)
	short := func(s *Settings) { s.EnvironmentLimits = guard.Limits{Key: "limits", LabelValueBytes: 3} }
	p = r.metrics("[]", short)
	for i := range int64(30) {
		r.want(p, []sent{at("m,path=long", 60*i), at("m", 60*i)}, "refused", "m")
		r.wantActive(1)
		r.wait(time.Minute)
	}
	r.drain()
}

// TestOutputLivesAsLongAsItsEntry: a client whose limits refuse a series keeps its entry alive, and so what another client's
// policy has written there must be true when that comes back.
func TestOutputLivesAsLongAsItsEntry(t *testing.T) {
	r := newRig(t, Options{})
	s := Settings{Environment: "prod", Client: "a", Signal: ingest.Metrics, Rules: rules(t, dropPod)}
	a := r.Policy(s)
	s.Client, s.EnvironmentLimits = "b", guard.Limits{Key: "limits", LabelsPerSeries: 7, Observe: true}
	b := r.Policy(s)
	r.Adopt([]*Policy{a, b})
	r.want(a, []sent{at("m,pod=a", 0)}, "m")
	for i := range 60 {
		r.wait(time.Minute)
		r.want(b, []sent{at("m,pod=a", int64(60*i+60))}, "m")
		r.push(a, at(fmt.Sprint("n,pod=", i), int64(60*i+60))) // takes the place of whatever is forgotten
	}
	r.want(a, []sent{at("m,pod=a", 3660)}, "m")
	r.drain()
}

func TestTableIsFull(t *testing.T) {
	f := func(bounded bool, want ...string) {
		t.Helper()
		r := newRig(t, Options{MaxSeries: 2})
		n := 0
		if bounded {
			n = 100
		}
		p := r.metrics("[]", limit(n))
		r.want(p, []sent{at("m,pod=a", 0), at("m,pod=b", 0)}, "m,pod=a", "m,pod=b")
		g := r.want(p, []sent{at("m,pod=a", 15), at("m,pod=c", 15)}, want...)
		if bounded && (len(g.outcome.Refused) != 1 || !strings.Contains(g.outcome.Refused[0].Text, "server.max_series=2")) {
			t.Errorf("refused %+v, want a text that names server.max_series", g.outcome.Refused)
		}
		if n := r.Uncached(); (n == 0) != bounded {
			t.Errorf("bounded %v: %d uncached", bounded, n)
		}
		// Rules that need room for outputs: what is known passes.
		p = r.metrics(dropPod, limit(n))
		r.want(p, []sent{at("m,pod=a", 360), at("m,pod=b", 720)}, "m", "m")
		r.drain()
	}
	f(true, "m,pod=a", "refused")
	f(false, "m,pod=a", "m,pod=c")
}

func TestObserveAndExempt(t *testing.T) {
	r := newRig(t, Options{})
	observe := func(s *Settings) {
		s.EnvironmentLimits = guard.Limits{Key: "limits", ActiveSeries: 1, LabelsPerSeries: 2, Observe: true}
	}
	p := r.metrics("[]", observe)
	g := r.want(p, []sent{at("m,pod=a", 0), at("m,pod=b", 0), at("m,pod=c,zone=z", 0)}, "m,pod=a", "m,pod=b", "m,pod=c,zone=z")
	counts := map[string]int{}
	for _, o := range g.outcome.Observed {
		counts[o.Reason] = o.Items
	}
	if len(counts) != 2 || counts[ingest.ReasonActiveSeries] != 2 || counts[ingest.ReasonLabelsPerSeries] != 1 {
		t.Errorf("observed %v, want 2 over active_series and 1 over labels_per_series", counts)
	}
	// Known ones are not counted again, what is misshapen is.
	g = r.want(p, []sent{at("m,pod=b", 15), at("m,pod=c,zone=z", 15)}, "m,pod=b", "m,pod=c,zone=z")
	if len(g.outcome.Observed) != 1 || g.outcome.Observed[0] != (ingest.Refusal{Reason: ingest.ReasonLabelsPerSeries, Items: 1}) {
		t.Errorf("observed %v", g.outcome.Observed)
	}
	r.wantActive(3)
	p = r.metrics("[]", limit(1), client("monitor"), func(s *Settings) { s.Exempt = true })
	g = r.want(p, []sent{at("x,pod=a", 15), at("x,pod=b", 15)}, "pod=a,x", "pod=b,x")
	if len(g.outcome.Observed)+len(g.outcome.Refused) != 0 {
		t.Errorf("an exempt client's push: %+v", g.outcome)
	}
	r.drain()
}

func TestRefusalSaysWhatGrew(t *testing.T) {
	f := func(shown bool) {
		t.Helper()
		r := newRig(t, Options{})
		r.SetExampleValues(shown)
		// The label that is over its limit is one that a rule has made.
		p := r.metrics(`[{source_labels: [user], target_label: who, replacement: "u-$1"}, {action: labeldrop, regex: user}]`, func(s *Settings) {
			s.EnvironmentLimits = guard.Limits{Key: "limits", ValuesPerLabel: 3}
		})
		var all []sent
		for i := range 10 {
			all = append(all, at(fmt.Sprint("m,user=", i), 0))
		}
		g := r.push(p, all...)
		if len(g.outcome.Refused) != 1 || g.outcome.Refused[0].Items != 7 {
			t.Fatalf("refused %+v, want 7 items", g.outcome.Refused)
		}
		text := g.outcome.Refused[0].Text
		for _, part := range []string{"prod", "app", "metric m", "label who", "values_per_label=3"} {
			if !strings.Contains(text, part) {
				t.Errorf("%q does not name %q", text, part)
			}
		}
		for i := range 10 {
			value := fmt.Sprintf(`"u-%d"`, i)
			if want := shown && i >= 3 && i < 8; strings.Contains(text, value) != want {
				t.Errorf("shown %v: %s in %q is not %v", shown, value, text, want)
			}
		}
		r.push(p, at("n,user=0", 0), at("n,user=1", 0))
		c := r.Collisions()
		if len(c) != 0 {
			t.Fatalf("collisions %+v", c)
		}
	}
	f(true)
	f(false)
}

func TestCollisionShowsNoValues(t *testing.T) {
	r := newRig(t, Options{})
	p := r.metrics(dropPod)
	r.push(p, at("m,pod=secret-a", 0), at("m,pod=secret-b", 0))
	if c := r.Collisions(); len(c) != 1 || !strings.Contains(strings.Join(c[0].Series, " "), "secret-a") {
		t.Fatalf("collisions %+v", c)
	}
	r.SetExampleValues(false)
	if c := r.Collisions(); len(c) != 1 || strings.Contains(strings.Join(c[0].Series, " "), "secret") || len(c[0].Series) != 2 {
		t.Fatalf("collisions %+v", c)
	}
}

// TestWeightGrows: a histogram that gets more buckets takes more places, and is not refused for it.
func TestWeightGrows(t *testing.T) {
	for _, text := range []string{"[]", dropPod} {
		r := newRig(t, Options{})
		p := r.metrics(text, func(s *Settings) { s.EnvironmentLimits = guard.Limits{Key: "limits", ActiveSeries: 20} })
		active := func(want int) {
			t.Helper()
			got := 0
			r.Guard().Each(func(_ guard.Sender, n int) { got += n })
			if got != want {
				t.Errorf("rules %s: %d active series, want %d", text, got, want)
			}
		}
		push := func(weight int, seconds int64) {
			t.Helper()
			s := at("h,pod=a", seconds)
			s.weight = weight
			if got := r.push(p, s).left[0]; got == "refused" {
				t.Errorf("rules %s: a known series is refused when it weighs %d", text, weight)
			}
		}
		push(5, 0)
		active(5)
		push(15, 15)
		active(15)
		push(30, 30) // over the limit, and known
		active(30)
		push(5, 45) // what upstream has seen it bills for 20 minutes
		active(30)
		r.wait(30 * time.Minute)
		active(0)
	}
}
