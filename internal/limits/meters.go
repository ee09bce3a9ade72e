package limits

import (
	"cmp"
	"maps"
	"slices"
	"sync"
	"time"
)

// Meters holds all buckets of the process. They are found by name, so that they survive a reload.
type Meters struct {
	mu           sync.Mutex // guards what follows; taken before any environment's
	environments map[string]*environment
}

// NewMeters returns a Meters without buckets.
func NewMeters() *Meters { return &Meters{environments: make(map[string]*environment)} }

// Meter returns the Meter of a client for a signal, and notes the limits that it is to have: of the environment for that
// signal, which all clients share, and its own. Of its own, requests and bytes hold for all signals together: every signal
// of a client is to name the same. Called again it returns the same Meter. The limits take effect with Forget.
func (ms *Meters) Meter(env, name, signal string, shared, own Rates) *Meter {
	ms.mu.Lock()
	defer ms.mu.Unlock()
	e := ms.environments[env]
	if e == nil {
		e = &environment{name: env, pools: make(map[string]*pool), clients: make(map[string]*client)}
		ms.environments[env] = e
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	m := e.meter(name, signal)
	m.next = &terms{shared, own}
	return m
}

// terms are the limits of a Meter.
type terms struct{ shared, own Rates }

// meter finds or makes the Meter of a client for a signal.
func (e *environment) meter(name, signal string) *Meter {
	c := e.clients[name]
	if c == nil {
		c = &client{meters: make(map[string]*Meter)}
		e.clients[name] = c
	}
	m := c.meters[signal]
	if m == nil {
		if e.pools[signal] == nil {
			e.pools[signal] = new(pool)
		}
		m = &Meter{environment: e, pool: e.pools[signal], client: name, signal: signal, slot: -1}
		m.own = [kinds]*bucket{requests: &c.requests, bytes: &c.bytes, items: &m.ownItems}
		c.meters[signal] = m
	}
	return m
}

// Forget ends a reload, once its configuration is in force: what Meter has noted takes effect, at once and for pushes under
// way as well, and the buckets of clients that keep does not name are dropped. Until then a configuration that fails half way
// has changed nothing.
func (ms *Meters) Forget(keep func(env, client string) bool) {
	ms.mu.Lock()
	defer ms.mu.Unlock()
	for name, e := range ms.environments {
		e.mu.Lock()
		for clientName, c := range e.clients {
			kept := keep(name, clientName)
			for _, m := range c.meters {
				if kept {
					m.adopt()
				} else {
					m.pool.drop(m)
				}
			}
			if !kept {
				delete(e.clients, clientName)
			}
		}
		if len(e.clients) == 0 {
			delete(ms.environments, name)
		}
		e.mu.Unlock()
	}
}

// adopt puts the limits in force that were noted last.
func (m *Meter) adopt() {
	if m.next == nil {
		return
	}
	limited := false
	for k := range kinds {
		perSecond, key := m.next.shared.limit(k)
		m.pool.set(k, key, perSecond, &m.next.shared)
		limited = limited || perSecond > 0
		perSecond, key = m.next.own.limit(k)
		m.own[k].set(key, perSecond, &m.next.own)
		limited = limited || perSecond > 0
	}
	m.limited.Store(limited)
	m.next = nil
}

// Level is how one limit stands.
type Level struct {
	Environment string
	// Client is empty for a limit of the environment, Signal for one of a client that holds over all signals.
	Client, Signal string
	// Limit is the key's last word: samples_per_second. Key is all of it, with the limit's place in the file.
	Limit, Key string
	// PerSecond is the limit itself, and Asked what was asked for lately, refused or not.
	PerSecond, Asked float64
	// Used is the part of the burst that is used up: 0 at rest, 1 at the limit, more in debt.
	Used float64
}

// Levels returns all limits that there are and how they stand, in order.
func (ms *Meters) Levels(now time.Time) []Level {
	ms.mu.Lock()
	defer ms.mu.Unlock()
	var list []Level
	for _, e := range ms.environments {
		list = e.levels(list, now)
	}
	slices.SortFunc(list, func(a, b Level) int {
		return cmp.Or(cmp.Compare(a.Environment, b.Environment), cmp.Compare(a.Client, b.Client), cmp.Compare(a.Signal, b.Signal), cmp.Compare(a.Limit, b.Limit))
	})
	return list
}

func (e *environment) levels(list []Level, now time.Time) []Level {
	e.mu.Lock()
	defer e.mu.Unlock()
	add := func(client, signal string, b *bucket) {
		if b.limit > 0 {
			at := *b
			at.advance(e.clock(now))
			list = append(list, Level{
				Environment: e.name, Client: client, Signal: signal, Limit: at.name(), Key: at.key,
				PerSecond: at.limit, Asked: at.asked, Used: 1 - at.level/at.capacity,
			})
		}
	}
	for signal, p := range e.pools {
		for k := range p.buckets {
			add("", signal, &p.buckets[k])
		}
	}
	for _, name := range slices.Sorted(maps.Keys(e.clients)) {
		c := e.clients[name]
		add(name, "", &c.requests)
		add(name, "", &c.bytes)
		for signal, m := range c.meters {
			add(name, signal, &m.ownItems)
		}
	}
	return list
}
