package guard

import (
	"slices"
	"strings"
	"sync"
	"sync/atomic"
)

const (
	otherMetrics = "(other metrics)"
	// idleMetrics is how many metrics without a series one space remembers, because series of theirs were refused lately.
	idleMetrics = 1024
	// pairsPerName and setsPerName bound pairs and sets of values as multiples of Options.MaxMetrics.
	pairsPerName, setsPerName = 4, 4
)

// space is one signal of one environment, with all that is counted in it. One lock for all of it makes limits exact: nobody
// sees a place that another may give back. Below it only the slab's lock is taken.
type space struct {
	g                   *Guard
	environment, signal string
	policy              atomic.Pointer[Policy] // of any client that is not exempt, in force

	mu       sync.Mutex // guards what follows, and all clients, metrics and pairs of this space
	active   int64
	warm     uint64 // series that only the warm-up admitted
	window   uint32 // the newest one seen
	clients  []*client
	metrics  map[string]*metric
	list     []*metric // all of metrics, so that a report can let go of the lock between them
	idle     []*metric // those that had no series when they came here
	tracked  []*tracked
	smallest int64 // rank of the smallest tracked one when last looked
	refusals refusals
}

// client is one sender.
type client struct {
	space  *space
	name   string
	policy atomic.Pointer[Policy] // the one in force

	// The space's lock guards what follows.
	active  int64
	metrics map[string]uint32 // refs
	others  uint32            // ref of otherMetrics; 0: none
	fresh   minutes
	refused minutes
}

// metric is one metric of all clients of a space.
type metric struct {
	name    string
	other   bool // shared by many names: no limit per metric or label holds
	at      int  // in space.list
	active  int64
	idle    bool // stands in space.idle
	values  valueSets
	fresh   counter
	refused counter
	track   *tracked
}

func newSpace(g *Guard, environment, signal string) *space {
	return &space{g: g, environment: environment, signal: signal, metrics: map[string]*metric{}}
}

// sender returns the client of that name.
func (sp *space) sender(name string) *client {
	for _, c := range sp.clients {
		if c.name == name {
			return c
		}
	}
	c := &client{space: sp, name: name, metrics: map[string]uint32{}}
	sp.clients = append(sp.clients, c)
	return c
}

// noun is what limits count here.
func (sp *space) noun() string {
	if sp.signal == "logs" {
		return "streams"
	}
	return "series"
}

// pair returns c's entry for name, which is made if need be.
func (sp *space) pair(c *client, name string) (uint32, *pair) {
	if ref, ok := c.metrics[name]; ok {
		return ref, sp.g.pairs.at(ref)
	}
	if !sp.apart(c, name) {
		return sp.other(c)
	}
	m := sp.metric(name)
	ref, pr := sp.g.pairs.take(pairsPerName * sp.g.maxMetrics)
	if pr == nil {
		if m.active == 0 && !m.idle {
			sp.drop(m)
		}
		return sp.other(c)
	}
	*pr = pair{metric: m, client: c}
	c.metrics[m.name] = ref
	return ref, pr
}

// apart says whether name has, or may get, an entry of its own for c.
func (sp *space) apart(c *client, name string) bool {
	if _, ok := c.metrics[name]; ok {
		return true
	}
	return len(name) <= longName && int64(len(c.metrics)) < (sp.g.maxMetrics+1)/2 &&
		(sp.metrics[name] != nil || sp.g.names.Load() < sp.g.maxMetrics)
}

// metric returns the metric of that name, which is made if need be.
func (sp *space) metric(name string) *metric {
	if m := sp.metrics[name]; m != nil {
		return m
	}
	sp.g.names.Add(1)
	m := &metric{name: strings.Clone(name), at: len(sp.list)}
	sp.list = append(sp.list, m)
	sp.metrics[m.name] = m
	return m
}

func (sp *space) other(c *client) (uint32, *pair) {
	if c.others != 0 {
		return c.others, sp.g.pairs.at(c.others)
	}
	m := &metric{name: otherMetrics, other: true, at: len(sp.list)}
	sp.list = append(sp.list, m)
	ref, pr := sp.g.pairs.take(1 << 32)
	*pr = pair{metric: m, client: c}
	c.others = ref
	return ref, pr
}

// leave takes away a pair that has no series any more, and its metric if that has none either.
func (sp *space) leave(ref uint32, pr *pair) {
	m, c := pr.metric, pr.client
	if m.other {
		c.others = 0
	} else {
		delete(c.metrics, m.name)
	}
	sp.g.sets.Add(-int64(len(pr.values)))
	sp.g.pairs.give(ref)
	if m.active == 0 && !m.idle && !sp.rest(m) {
		sp.drop(m)
	}
}

// rest keeps a metric without series because some were refused lately.
func (sp *space) rest(m *metric) bool {
	if m.refused.sum(sp.window) == 0 || m.other || len(sp.idle) >= idleMetrics {
		return false
	}
	m.idle = true
	sp.idle = append(sp.idle, m)
	return true
}

func (sp *space) drop(m *metric) {
	if !m.other {
		delete(sp.metrics, m.name)
		sp.g.names.Add(-1)
	}
	sp.g.sets.Add(-int64(len(m.values)))
	last := len(sp.list) - 1
	sp.list[m.at] = sp.list[last]
	sp.list[m.at].at = m.at
	sp.list[last], sp.list = nil, sp.list[:last]
	if m.track != nil {
		sp.untrack(m)
	}
}

// roll begins a new window: metrics without series that were not refused for two windows are forgotten.
func (sp *space) roll(t tick) {
	if int32(t.window-sp.window) <= 0 {
		return
	}
	sp.window = t.window
	sp.smallest = 0
	sp.idle = slices.DeleteFunc(sp.idle, func(m *metric) bool {
		if m.active == 0 && m.refused.sum(t.window) > 0 {
			return false
		}
		m.idle = false
		if m.active == 0 {
			sp.drop(m)
		}
		return true
	})
}
