package gateway

import (
	"cmp"
	"slices"
	"time"

	"github.com/telemetry-gateway/telemetry-gateway/internal/guard"
)

// limitStatus is one limit in force and how much of it is used, as metrics and the status API show it.
type limitStatus struct {
	Environment string `json:"environment"`
	// Client is empty for a limit of the environment as a whole, Signal for one that holds over all signals.
	Client string `json:"client,omitempty"`
	Signal string `json:"signal,omitempty"`
	// Name is the last word of the key: samples_per_second.
	Name  string  `json:"limit"`
	Limit float64 `json:"value"`
	// Used is the part that is used: of a rate's burst, over 1 in debt; of a number of series, over 1 during warm-up.
	// Limits on labels and lines have none.
	Used *float64 `json:"used,omitempty"`
}

// Full: nothing more fits, or next to nothing.
func (l limitStatus) Full() bool { return l.Used != nil && *l.Used >= 0.95 }

// limits are all limits in force, in order.
func (g *Gateway) limits(now time.Time) (list []limitStatus) {
	for _, l := range g.meters.Levels(now) {
		list = append(list, limitStatus{l.Environment, l.Client, l.Signal, l.Limit, l.PerSecond, &l.Used})
	}
	active := make(map[guard.Sender]int)
	g.reduce.Guard().Each(func(s guard.Sender, n int) {
		active[s] += n
		active[guard.Sender{Environment: s.Environment, Signal: s.Signal}] += n
	})
	for env, e := range g.state.Load().environments {
		all := make(map[guard.Sender]guard.Limits) // the same for every client that is held to them
		for name, c := range e.clients {
			for signal, p := range c.policies {
				who := guard.Sender{Environment: env, Client: name, Signal: string(signal)}
				list = appendGuardLimits(list, who, p.limits[own], active[who])
				if p.limits[shared].KeyOf != nil {
					who.Client = ""
					all[who] = p.limits[shared]
				}
			}
		}
		for who, l := range all {
			list = appendGuardLimits(list, who, l, active[who])
		}
	}
	slices.SortFunc(list, func(a, b limitStatus) int {
		return cmp.Or(cmp.Compare(a.Environment, b.Environment), cmp.Compare(a.Client, b.Client), cmp.Compare(a.Signal, b.Signal), cmp.Compare(a.Name, b.Name))
	})
	return list
}

// serverLimits are the bounds of the process, whatever the environment, and how much of them is used.
func (g *Gateway) serverLimits() []limitStatus {
	cfg := &g.state.Load().cfg.Server
	entries, _ := g.reduce.Entries()
	one := func(name string, limit, used float64) limitStatus {
		part := used / limit
		return limitStatus{Name: name, Limit: limit, Used: &part}
	}
	return []limitStatus{
		one("max_inflight_bytes", float64(cfg.MaxInflightBytes), float64(g.inflight.Used())),
		one("max_series", float64(cfg.MaxSeries), float64(entries)),
	}
}

func appendGuardLimits(list []limitStatus, who guard.Sender, l guard.Limits, active int) []limitStatus {
	for _, one := range []struct {
		name  string
		value int
	}{
		{"active_series", l.ActiveSeries}, {"active_series_per_metric", l.ActiveSeriesPerMetric}, {"values_per_label", l.ValuesPerLabel},
		{"labels_per_series", l.LabelsPerSeries}, {"label_name_bytes", l.LabelNameBytes}, {"label_value_bytes", l.LabelValueBytes},
		{"line_bytes", l.LineBytes},
	} {
		if one.value == 0 {
			continue
		}
		s := limitStatus{Environment: who.Environment, Client: who.Client, Signal: who.Signal, Name: one.name, Limit: float64(one.value)}
		if one.name == "active_series" {
			used := float64(active) / float64(one.value)
			s.Used = &used
		}
		list = append(list, s)
	}
	return list
}
