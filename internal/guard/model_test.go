package guard

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/telemetry-gateway/telemetry-gateway/internal/labels"
)

// model is the guard as plain maps.
type model struct {
	environment, client Limits
	live                map[string]modelSeries
	environmentValues   map[string]time.Time // metric/label/value -> last seen
	clientValues        map[string]time.Time
}

type modelSeries struct {
	client, metric string
	labels         []labels.Label
	ref            uint32
	stays          bool
}

func (m *model) count(f func(s modelSeries) bool) (n int) {
	for _, s := range m.live {
		if f(s) {
			n++
		}
	}
	return n
}

func valuesOf(seen map[string]time.Time, prefix string, now time.Time) map[string]bool {
	vs := map[string]bool{}
	for k, at := range seen {
		if len(k) > len(prefix) && k[:len(prefix)] == prefix && now.Unix()/60-at.Unix()/60 < valueMinutes {
			vs[k] = true
		}
	}
	return vs
}

// admits says which reason refuses s, if any.
func (m *model) admits(now time.Time, s modelSeries) (reason string) {
	for _, l := range s.labels {
		if l.Name == "__name__" || l.Name == "le" || l.Name == "stamp" {
			continue
		}
		prefix := s.client + "/" + s.metric + "/" + l.Name + "/"
		if vs := valuesOf(m.clientValues, prefix, now); !vs[prefix+l.Value] && len(vs) >= m.client.ValuesPerLabel {
			return "values_per_label"
		}
		prefix = s.metric + "/" + l.Name + "/"
		if vs := valuesOf(m.environmentValues, prefix, now); !vs[prefix+l.Value] && len(vs) >= m.environment.ValuesPerLabel {
			return "values_per_label"
		}
	}
	ofClient := func(o modelSeries) bool { return o.client == s.client }
	ofMetric := func(o modelSeries) bool { return o.metric == s.metric }
	both := func(o modelSeries) bool { return ofClient(o) && ofMetric(o) }
	switch {
	case m.count(both) >= m.client.ActiveSeriesPerMetric, m.count(ofMetric) >= m.environment.ActiveSeriesPerMetric:
		return "active_series_per_metric"
	case m.count(ofClient) >= m.client.ActiveSeries, len(m.live) >= m.environment.ActiveSeries:
		return "active_series"
	}
	return ""
}

func (m *model) see(now time.Time, s modelSeries) {
	for _, l := range s.labels {
		if l.Name == "__name__" || l.Name == "le" || l.Name == "stamp" {
			continue
		}
		m.clientValues[s.client+"/"+s.metric+"/"+l.Name+"/"+l.Value] = now
		m.environmentValues[s.metric+"/"+l.Name+"/"+l.Value] = now
	}
}

func TestModel(t *testing.T) {
	for seed := range uint64(4) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		m := &model{
			environment: Limits{ActiveSeries: 60, ActiveSeriesPerMetric: 23, ValuesPerLabel: 14},
			client:      Limits{ActiveSeries: 25, ActiveSeriesPerMetric: 10, ValuesPerLabel: 9},
			live:        map[string]modelSeries{}, environmentValues: map[string]time.Time{}, clientValues: map[string]time.Time{},
		}
		g := New(Options{Started: start})
		policies := map[string]*Policy{}
		for _, c := range []string{"a", "b", "c"} {
			policies[c] = g.Policy(sender(c), m.environment, m.client, false, []string{"stamp"})
			policies[c].TakeEffect()
		}
		for c, p := range policies {
			for i := range 3 {
				s := modelSeries{client: c, metric: fmt.Sprint("m", i), stays: true}
				s.labels = series(s.metric, "x", "0", "y", "0", "le", "0", "stamp", "s")
				s.ref, _, _ = p.Admit(start, s.labels, 1)
				m.live[fmt.Sprint(s.client, s.labels)] = s
				m.see(start, s)
			}
		}
		reasons := map[string]int{}
		now := start
		for range 2500 {
			now = now.Add(time.Duration(rnd.IntN(20)) * time.Second)
			s := modelSeries{client: string(rune('a' + rnd.IntN(3))), metric: fmt.Sprint("m", rnd.IntN(3))}
			s.labels = series(s.metric, "x", fmt.Sprint(rnd.IntN(18)), "y", fmt.Sprint(rnd.IntN(4)), "le", fmt.Sprint(rnd.IntN(40)), "stamp", "s")
			key := fmt.Sprint(s.client, s.labels)
			if known, ok := m.live[key]; ok {
				if rnd.IntN(3) > 0 && !known.stays {
					g.Release(known.ref, 1)
					delete(m.live, key)
				} else {
					g.Refresh(now, known.ref, known.labels)
					m.see(now, known)
				}
				continue
			}
			want := m.admits(now, s)
			ref, r, refused := policies[s.client].Admit(now, s.labels, 1)
			if r.Reason != want || refused != (want != "") {
				t.Fatalf("seed %d: %v of %s: got %+v, want %q", seed, s.labels, s.client, r, want)
			}
			reasons[want]++
			if !refused {
				s.ref = ref
				m.live[key] = s
				m.see(now, s)
			}
			m.forgetOne(g, rnd)
			g.Each(func(s Sender, active int) {
				if want := m.count(func(o modelSeries) bool { return o.client == s.Client }); want != active {
					t.Fatalf("seed %d: %s has %d, want %d", seed, s.Client, active, want)
				}
			})
		}
		for _, why := range []string{"", "active_series", "active_series_per_metric", "values_per_label"} {
			if reasons[why] == 0 {
				t.Errorf("seed %d: %q never happened: %v", seed, why, reasons)
			}
		}
	}
}

// forgetOne releases a series at times. The first of each metric and client stays: with its last series a metric is forgotten.
func (m *model) forgetOne(g *Guard, rnd *rand.Rand) {
	if rnd.IntN(3) > 0 {
		return
	}
	keys := make([]string, 0, len(m.live))
	for k, s := range m.live {
		if !s.stays {
			keys = append(keys, k)
		}
	}
	if len(keys) == 0 {
		return
	}
	slices.Sort(keys)
	k := keys[rnd.IntN(len(keys))]
	g.Release(m.live[k].ref, 1)
	delete(m.live, k)
}
