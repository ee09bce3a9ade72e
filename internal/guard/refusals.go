package guard

import (
	"strings"
	"time"
)

const (
	// refusalsKept is how many kinds of refusal one space tells apart; what comes beyond is told of otherMetrics.
	refusalsKept = 256
	// refusalMinutes after the last of its kind a refusal is no longer recent.
	refusalMinutes = 60
)

// refusals are what was refused or observed lately. The space's lock guards them.
type refusals struct {
	kinds map[kind]*seen
	swept uint32 // minute
}

// kind is what makes two refusals one entry. label is set for values_per_label only: other labels are found out later, or
// are a sender's garbage.
type kind struct {
	client, metric, reason, key, label string
	observed                           bool
}

type seen struct {
	n            uint64
	first, last  time.Time
	limit, count int
	label        string // an example, for lengths of names and values
}

func (rs *refusals) add(client string, r *Refusal, t tick, n uint64) {
	k := kind{client: client, metric: cut(r.Metric, longName), reason: r.Reason, key: r.Key, observed: r.Observed}
	if r.Reason == valuesPerLabel.String() {
		k.label = r.Label
	}
	s := rs.kinds[k]
	if s == nil {
		s = rs.insert(k, r, t)
	}
	s.n += n
	s.last, s.limit, s.count = t.now, r.Limit, r.Count
}

// insert makes room for k, if there is none in the entry for all others of its client and reason. Those are few: they come
// from the configuration.
func (rs *refusals) insert(k kind, r *Refusal, t tick) *seen {
	if rs.kinds == nil {
		rs.kinds = map[kind]*seen{}
	}
	if len(rs.kinds) >= refusalsKept && rs.swept != t.minute {
		rs.swept = t.minute
		rs.forget(t.now)
	}
	if len(rs.kinds) >= refusalsKept {
		k.metric, k.label = otherMetrics, ""
		if s := rs.kinds[k]; s != nil {
			return s
		}
	}
	k.metric, k.label = strings.Clone(k.metric), strings.Clone(k.label)
	s := &seen{first: t.now}
	if k.reason == labelNameBytes.String() || k.reason == labelValueBytes.String() {
		s.label = strings.Clone(cut(r.Label, exampleBytes))
	}
	rs.kinds[k] = s
	return s
}

func (rs *refusals) forget(now time.Time) {
	for k, s := range rs.kinds {
		if now.Sub(s.last) >= refusalMinutes*time.Minute {
			delete(rs.kinds, k)
		}
	}
}
