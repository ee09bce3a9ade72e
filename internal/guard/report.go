package guard

import (
	"cmp"
	"slices"
	"strings"
	"time"
)

// reportLabels is how many labels of a metric a report shows.
const reportLabels = 10

// ReportOptions say how much is reported.
type ReportOptions struct {
	// Top is how many metrics are listed by size and by growth. Default 20.
	Top int
	// Environment and Signal: only of these. Empty: all.
	Environment, Signal string
}

// Report is what the guard knows, for the status API. Counts marked as estimates come from sketches with an error of
// about 2 %.
type Report struct {
	Time time.Time `json:"time"`
	// WarmupUntil: until then limits on series and values admit 1.2 times as much. Absent: the warm-up is over.
	WarmupUntil *time.Time `json:"warmup_until,omitempty"`
	// MetricNames is how many are told apart, of MaxMetricNames.
	MetricNames    int `json:"metric_names"`
	MaxMetricNames int `json:"max_metric_names"`
	// ValueSets is how many pairs of metric and label have their values counted, of MaxValueSets: beyond them values_per_label
	// does not hold.
	ValueSets    int           `json:"value_sets"`
	MaxValueSets int           `json:"max_value_sets"`
	Spaces       []SpaceReport `json:"environments"`
}

// SpaceReport is one signal of one environment.
type SpaceReport struct {
	Environment string `json:"environment"`
	Signal      string `json:"signal"`
	Active      int    `json:"active_series"`
	Limit       int    `json:"limit,omitempty"`
	// NewSeries were admitted in the last twenty minutes, RefusedSeries refused or observed, each time they came.
	NewSeries     int `json:"new_series_20m"`
	RefusedSeries int `json:"refused_series_20m"`
	// WarmupSeries are those that only the warm-up admitted, since the start.
	WarmupSeries uint64          `json:"warmup_series,omitempty"`
	Metrics      int             `json:"metrics"`
	Clients      []ClientReport  `json:"clients"`
	Largest      []MetricReport  `json:"largest_metrics"`
	Growing      []MetricReport  `json:"growing_metrics"`
	Refusals     []RefusalReport `json:"recent_refusals"`
}

// ClientReport is one client of a SpaceReport.
type ClientReport struct {
	Client        string `json:"client"`
	Active        int    `json:"active_series"`
	Limit         int    `json:"limit,omitempty"`
	NewSeries     int    `json:"new_series_20m"`
	RefusedSeries int    `json:"refused_series_20m"`
	Metrics       int    `json:"metrics"`
	// OtherMetrics are series whose metrics are not told apart, since there are too many names.
	OtherMetrics int `json:"other_metrics_series,omitempty"`
}

// MetricReport is one metric of a SpaceReport.
type MetricReport struct {
	Metric string `json:"metric"`
	Active int    `json:"active_series"`
	// Growth is how many different new series came in the last ten to twenty minutes, admitted or refused; an estimate if
	// Watched.
	Growth int `json:"growth"`
	// TopClient sent most of those: TopClientGrowth, an estimate.
	TopClient       string `json:"top_client,omitempty"`
	TopClientGrowth int    `json:"top_client_growth,omitempty"`
	// Watched: its labels are watched, which only the metrics that matter most are.
	Watched bool `json:"watched"`
	// GrowingLabel is the label that a refusal would blame. It stands first in Labels, then come those that grew most.
	GrowingLabel string        `json:"growing_label,omitempty"`
	Labels       []LabelReport `json:"labels,omitempty"`
}

// LabelReport is one label of a MetricReport. Values and Growth are estimates.
type LabelReport struct {
	Label string `json:"label"`
	// Values are the distinct values of the last ten to twenty minutes, those of refused series too.
	Values int `json:"values_estimate"`
	// Growth is how many of those no established series has.
	Growth   int        `json:"growth_estimate"`
	Since    *time.Time `json:"since,omitempty"`
	Examples []string   `json:"examples,omitempty"`
}

// RefusalReport is what was refused, or observed, of one metric of one client in the last hour.
type RefusalReport struct {
	Client   string `json:"client"`
	Metric   string `json:"metric,omitempty"`
	Label    string `json:"label,omitempty"`
	Reason   string `json:"reason"`
	Key      string `json:"key"`
	Observed bool   `json:"observed"`
	Limit    int    `json:"limit"`
	Count    int    `json:"count"`
	// Refused are series, streams or lines, each time they came.
	Refused   uint64    `json:"refused"`
	FirstTime time.Time `json:"first_time"`
	LastTime  time.Time `json:"last_time"`
}

// Report tells what there is at now. It holds no lock for long.
func (g *Guard) Report(now time.Time, o ReportOptions) Report {
	o.Top = cmp.Or(o.Top, 20)
	r := Report{
		Time: now, MaxMetricNames: int(g.maxMetrics), MaxValueSets: int(setsPerName * g.maxMetrics), Spaces: []SpaceReport{},
	}
	if now.Before(g.warmUntil) {
		r.WarmupUntil = &g.warmUntil
	}
	for _, sp := range g.all() {
		if (o.Environment == "" || o.Environment == sp.environment) && (o.Signal == "" || o.Signal == sp.signal) {
			r.Spaces = append(r.Spaces, sp.report(at(now), o.Top))
		}
	}
	r.MetricNames, r.ValueSets = int(g.names.Load()), int(g.sets.Load())
	slices.SortStableFunc(r.Spaces, func(a, b SpaceReport) int {
		return cmp.Or(strings.Compare(a.Environment, b.Environment), strings.Compare(a.Signal, b.Signal))
	})
	return r
}

func (sp *space) report(t tick, top int) SpaceReport {
	grew := sp.watch(t)
	sp.mu.Lock()
	r := SpaceReport{Environment: sp.environment, Signal: sp.signal, Active: int(sp.active), WarmupSeries: sp.warm, Metrics: len(sp.list)}
	if p := sp.policy.Load(); p != nil {
		r.Limit = p.scopes[1].ActiveSeries
	}
	r.Clients = make([]ClientReport, 0, len(sp.clients))
	for _, c := range sp.clients {
		cr := c.report(t)
		r.NewSeries += cr.NewSeries
		r.RefusedSeries += cr.RefusedSeries
		r.Clients = append(r.Clients, cr)
	}
	r.Refusals = sp.refusals.report(t)
	sp.mu.Unlock()

	slices.SortFunc(r.Clients, func(a, b ClientReport) int {
		return cmp.Or(cmp.Compare(b.Active, a.Active), strings.Compare(a.Client, b.Client))
	})
	largest, growing := sp.top(t, top, grew)
	done := map[*metric]MetricReport{}
	for _, m := range slices.Concat(largest, growing) {
		if _, ok := done[m]; !ok {
			done[m] = sp.metricReport(m, t, grew[m])
		}
	}
	list := func(ms []*metric) []MetricReport {
		l := make([]MetricReport, 0, len(ms))
		for _, m := range ms {
			l = append(l, done[m])
		}
		return l
	}
	r.Largest, r.Growing = list(largest), list(growing)
	for i := range r.Refusals {
		if f := &r.Refusals[i]; f.Label == "" && cardinal(f.Reason) {
			f.Label = sp.grew(f.Metric).label
		}
	}
	return r
}

// watch brings the sketches to the window of t, one metric after the other since each takes a while, and returns how many new
// series each of them tells apart.
func (sp *space) watch(t tick) map[*metric]int64 {
	grew := map[*metric]int64{}
	for i := 0; ; i++ {
		sp.mu.Lock()
		sp.roll(t)
		if i >= len(sp.tracked) {
			sp.mu.Unlock()
			return grew
		}
		w := sp.tracked[i]
		w.roll(t.window)
		s := w.fresh.clone()
		sp.mu.Unlock()
		grew[w.metric] = int64(union(s))
	}
}

func (c *client) report(t tick) ClientReport {
	r := ClientReport{
		Client: c.name, Active: int(c.active), Limit: c.policy.Load().scopes[0].ActiveSeries,
		NewSeries: c.fresh.sum(t.minute), RefusedSeries: c.refused.sum(t.minute), Metrics: len(c.metrics),
	}
	if c.others != 0 {
		r.OtherMetrics = int(c.space.g.pairs.at(c.others).active)
	}
	return r
}

// top returns the largest and the fastest growing metrics. It lets go of the lock between a thousand and the next: a metric
// that moves in the list meanwhile may be missed or seen twice.
func (sp *space) top(t tick, n int, grew map[*metric]int64) (largest, growing []*metric) {
	bySize, byGrowth := best{n: n}, best{n: n}
	for i := 0; ; {
		sp.mu.Lock()
		end := min(i+1024, len(sp.list))
		for ; i < end; i++ {
			m := sp.list[i]
			bySize.add(m, m.active)
			byGrowth.add(m, m.growth(t, grew[m]))
		}
		last := i >= len(sp.list)
		sp.mu.Unlock()
		if last {
			return bySize.metrics, byGrowth.metrics
		}
	}
}

// growth is how many new series of m came, admitted or refused. Refused ones come again and again, and are counted as
// the sketch tells them apart: sketched of them.
func (m *metric) growth(t tick, sketched int64) int64 {
	return max(int64(m.fresh.sum(t.window)), sketched)
}

// best are the n metrics with the highest scores, the highest first.
type best struct {
	n       int
	metrics []*metric
	scores  []int64
}

func (b *best) add(m *metric, score int64) {
	if score <= 0 || len(b.scores) == b.n && score <= b.scores[b.n-1] || slices.Contains(b.metrics, m) {
		return
	}
	i, _ := slices.BinarySearchFunc(b.scores, score, func(have, score int64) int {
		if have >= score {
			return -1
		}
		return 1
	})
	b.scores = slices.Insert(b.scores, i, score)
	b.metrics = slices.Insert(b.metrics, i, m)
	if len(b.scores) > b.n {
		b.scores, b.metrics = b.scores[:b.n], b.metrics[:b.n]
	}
}

func (sp *space) metricReport(m *metric, t tick, sketched int64) MetricReport {
	sp.mu.Lock()
	r := MetricReport{Metric: cut(m.name, nameBytes), Active: int(m.active), Growth: int(m.growth(t, sketched)), Watched: m.track != nil}
	var ls []trackedLabel
	var shares []share
	if m.track != nil {
		ls, shares = m.track.snapshot()
	} else {
		r.TopClient, r.TopClientGrowth = sp.topClient(m, t)
	}
	sp.mu.Unlock()

	for _, s := range shares {
		if n := int(union(s.fresh)); n > r.TopClientGrowth || n == r.TopClientGrowth && s.client.name < r.TopClient {
			r.TopClient, r.TopClientGrowth = s.client.name, n
		}
	}
	gs := measureAll(ls)
	r.GrowingLabel = blame(gs).label
	first := func(g growth) int {
		if g.label == r.GrowingLabel {
			return 0
		}
		return 1
	}
	slices.SortFunc(gs, func(a, b growth) int {
		return cmp.Or(cmp.Compare(first(a), first(b)), cmp.Compare(b.grew, a.grew), cmp.Compare(b.values, a.values), strings.Compare(a.label, b.label))
	})
	show := sp.g.examples.Load()
	for _, g := range gs[:min(len(gs), reportLabels)] {
		l := LabelReport{Label: g.label, Values: int(g.values), Growth: int(g.grew)}
		if g.grew > 0 && !g.since.IsZero() {
			l.Since = &g.since
		}
		if show {
			for _, e := range g.examples {
				l.Examples = append(l.Examples, printable(e))
			}
		}
		r.Labels = append(r.Labels, l)
	}
	return r
}

// topClient is who sent most new series of a metric that is not watched.
func (sp *space) topClient(m *metric, t tick) (name string, most int) {
	for _, c := range sp.clients {
		ref, ok := c.metrics[m.name]
		if m.other {
			ref, ok = c.others, c.others != 0 && sp.g.pairs.at(c.others).metric == m
		}
		if !ok {
			continue
		}
		if n := int(sp.g.pairs.at(ref).fresh.sum(t.window)); n > most {
			name, most = c.name, n
		}
	}
	return name, most
}

func (rs *refusals) report(t tick) []RefusalReport {
	rs.forget(t.now)
	l := make([]RefusalReport, 0, len(rs.kinds))
	for k, s := range rs.kinds {
		l = append(l, RefusalReport{
			Client: k.client, Metric: k.metric, Label: cmp.Or(k.label, s.label), Reason: k.reason, Key: k.key, Observed: k.observed,
			Limit: s.limit, Count: s.count, Refused: s.n, FirstTime: s.first, LastTime: s.last,
		})
	}
	slices.SortFunc(l, func(a, b RefusalReport) int {
		return cmp.Or(cmp.Compare(b.Refused, a.Refused), strings.Compare(a.Client, b.Client), strings.Compare(a.Metric, b.Metric),
			strings.Compare(a.Reason, b.Reason), strings.Compare(a.Key, b.Key), strings.Compare(a.Label, b.Label))
	})
	return l
}
