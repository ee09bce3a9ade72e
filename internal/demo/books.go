package demo

import (
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/telemetry-gateway/telemetry-gateway/internal/fakecloud"
)

// books hold both sides of the truth: what senders sent and were told, and what the cloud stored. A sender has one push
// under way at a time, and its items are compared one by one when it is answered; so the books need no more room after
// a day than after a second.
type books struct {
	mu       sync.Mutex // guards what follows
	accounts map[string]*account
	order    []string
	// strays are items that the cloud stored and nobody sent, or not so.
	strays uint64
	events []event // the newest, oldest first
}

// account is one sender.
type account struct {
	env, client string
	dialect     dialect

	// What the sender did and was told.
	pushes, sent, acknowledged, refused, abandoned uint64
	answers                                        map[string]int // attempts by answer
	took                                           []time.Duration
	next                                           int             // where in took and added the next one goes
	added                                          []time.Duration // took, without the cloud's own time

	// What the cloud stored.
	stored uint64            // items, each counted once
	users  map[string]uint64 // items by the cloud's user that they came with, doubles included

	// What must not be, and doubles that may.
	lost, altered, misplaced, afterRefusal, doubled uint64
	resent                                          uint64

	// What rules and limits did: items that a rule dropped and that a limit refused, and among those stored the ones that
	// arrived without a label, with one as metadata, or with one that a suspended rule takes elsewhere.
	dropped, limited     uint64
	removed, moved, kept uint64

	open    map[uint64]*open // the items under way, by number
	retried bool             // the push under way was sent more than once
	cloud   time.Duration    // what the cloud itself took for it
	closed  []span           // the last pushes, newest last
}

// open is an item under way.
type open struct {
	sighting
	seen int
}

// span is the items of a push that is done.
type span struct {
	first, last uint64
	retried     bool
}

// event is a line for the viewer.
type event struct {
	at   time.Time
	tone tone
	text string
}

const (
	keepEvents = 50
	keepSpans  = 64
	keepTook   = 512
)

func newBooks() *books { return &books{accounts: map[string]*account{}} }

// enter adds a sender.
func (b *books) enter(id, env, client string, d dialect) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.order = append(b.order, id)
	b.accounts[id] = &account{env: env, client: client, dialect: d, answers: map[string]int{}, users: map[string]uint64{}}
}

// begin enters the items of a new push.
func (b *books) begin(id string, items []sighting) {
	b.mu.Lock()
	defer b.mu.Unlock()
	a := b.accounts[id]
	a.pushes++
	a.sent += uint64(len(items))
	a.retried = false
	a.open = make(map[uint64]*open, len(items))
	for _, s := range items {
		a.open[s.seq] = &open{sighting: s}
	}
}

// attempt enters the answer to one try.
func (b *books) attempt(id string, ans answer, took time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	a := b.accounts[id]
	a.answers[ans.code]++
	if ans.verdict != accepted && ans.verdict != partly {
		return
	}
	if len(a.took) < keepTook {
		a.took, a.added = append(a.took, took), append(a.added, took-a.cloud)
	} else {
		a.took[a.next], a.added[a.next] = took, took-a.cloud
		a.next = (a.next + 1) % keepTook
	}
}

// retry enters that the push under way goes out again: from now on its items may be stored twice.
func (b *books) retry(id string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.accounts[id].retried = true
}

// finish closes the push under way and compares what was said about it with what was stored.
func (b *books) finish(id string, ans answer) {
	b.mu.Lock()
	defer b.mu.Unlock()
	a := b.accounts[id]
	sp := span{first: ^uint64(0), retried: a.retried}
	v, told := ans.verdict, ans.refused
	for seq, o := range a.open {
		sp.first, sp.last = min(sp.first, seq), max(sp.last, seq)
		switch {
		case (v == accepted || v == partly) && o.dropped && o.seen == 0:
			a.dropped++
		case v == partly && o.limited && o.seen == 0 && told > 0:
			a.limited++
			told--
		case v == accepted || v == partly:
			a.acknowledged++
			if o.seen == 0 {
				a.lost++
			}
		case v == refused && o.seen > 0:
			a.afterRefusal++
		case v == refused:
			a.refused++
		case o.seen == 0: // given up, and not stored; where it was stored only the answer is missing
			a.abandoned++
		}
	}
	a.afterRefusal += uint64(told) // refused, it is said, and yet stored
	a.open = nil
	if len(a.closed) == keepSpans {
		a.closed = a.closed[1:]
	}
	a.closed = append(a.closed, sp)
}

// sighted enters what the cloud stored. The cloud calls it before it answers.
func (b *books) sighted(p *fakecloud.Push) {
	seen := sightings(p, effects{}) // decoding is not for under the lock
	cloud := time.Since(p.Arrived)
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, s := range seen {
		a := b.accounts[s.sender]
		if a == nil {
			b.strays++
			continue
		}
		a.users[p.Instance.Name+" "+p.Instance.User]++
		if s.stamp != a.env || !belongs(p.Instance.Name, a.env) {
			a.misplaced++
		}
		if o := a.open[s.seq]; o != nil {
			a.cloud = cloud
			a.see(s, o)
			continue
		}
		a.late(s)
	}
}

// see enters an item of the push under way.
func (a *account) see(s sighting, o *open) {
	o.seen++
	switch {
	case s.digest != o.digest || o.dropped:
		a.altered++
	case o.seen == 1:
		a.stored++
		a.note(o)
	case a.retried:
		a.resent++
	default:
		a.doubled++
	}
}

// note counts what rules did to an item that is stored.
func (a *account) note(o *open) {
	if o.removed {
		a.removed++
	}
	if o.moved {
		a.moved++
	}
	if o.kept {
		a.kept++
	}
}

// late enters an item of a push that was answered already: a double, if the sender ever sent it.
func (a *account) late(s sighting) {
	for _, sp := range a.closed {
		if s.seq >= sp.first && s.seq <= sp.last && sp.retried {
			a.resent++
			return
		}
	}
	a.doubled++
}

// belongs says whether the instance prod-metrics is of the environment prod.
func belongs(instance, env string) bool {
	return len(instance) > len(env) && instance[:len(env)] == env && instance[len(env)] == '-'
}

// say enters an event.
func (b *books) say(t tone, text string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.events) == keepEvents {
		b.events = b.events[1:]
	}
	b.events = append(b.events, event{time.Now(), t, text})
}

// row is an account as it is shown.
type row struct {
	env, client, protocol, signal string
	pushes, sent, stored          uint64
	waiting                       uint64
	answers                       map[string]int
	users                         []string
	p50, p99                      time.Duration
}

// totals are the sums over all accounts.
type totals struct {
	pushes, sent, stored, waiting, refused, abandoned      uint64
	acknowledged, resent                                   uint64
	dropped, limited, removed, moved, kept                 uint64
	lost, altered, misplaced, afterRefusal, doubled, stray uint64
}

// snapshot is one moment of the demo.
type snapshot struct {
	up                     time.Duration
	http, grpc, admin, url string
	rows                   []row
	sum                    totals
	added50, added99       time.Duration // what the gateway and the way to it add to the cloud's own time
	events                 []event
	violations             []string
}

// balanced says whether every item is where it has to be.
func (s snapshot) balanced() bool {
	t := s.sum
	return t.sent == t.stored+t.dropped+t.limited+t.refused+t.waiting+t.abandoned &&
		t.lost+t.altered+t.misplaced+t.afterRefusal+t.doubled+t.stray == 0 && len(s.violations) == 0
}

func (d *demo) snapshot() snapshot {
	s := snapshot{
		up: time.Since(d.began), url: d.cloud.URL(),
		http: d.gateway.HTTP, grpc: d.gateway.GRPC, admin: d.gateway.Admin,
	}
	for _, v := range d.cloud.Violations() {
		s.violations = append(s.violations, v.String())
	}
	d.books.into(&s)
	return s
}

func (b *books) into(s *snapshot) {
	b.mu.Lock()
	defer b.mu.Unlock()
	s.events = slices.Clone(b.events)
	s.sum.stray = b.strays
	var added []time.Duration
	for _, id := range b.order {
		a := b.accounts[id]
		added = append(added, a.added...)
		r := row{
			env: a.env, client: a.client, protocol: a.dialect.name, signal: a.dialect.signal,
			pushes: a.pushes, sent: a.sent, stored: a.stored,
			answers: maps.Clone(a.answers), users: slices.Sorted(maps.Keys(a.users)),
		}
		for _, o := range a.open {
			if o.seen == 0 {
				r.waiting++
			}
		}
		r.p50, r.p99 = quantiles(a.took)
		s.rows = append(s.rows, r)
		s.sum.add(a, r)
	}
	s.added50, s.added99 = quantiles(added)
}

func (t *totals) add(a *account, r row) {
	t.pushes += a.pushes
	t.sent += a.sent
	t.stored += a.stored
	t.waiting += r.waiting
	t.refused += a.refused
	t.abandoned += a.abandoned
	t.acknowledged += a.acknowledged
	t.dropped += a.dropped
	t.limited += a.limited
	t.removed += a.removed
	t.moved += a.moved
	t.kept += a.kept
	t.resent += a.resent
	t.lost += a.lost
	t.altered += a.altered
	t.misplaced += a.misplaced
	t.afterRefusal += a.afterRefusal
	t.doubled += a.doubled
}

// quantiles returns the 50th and the 99th percentile.
func quantiles(took []time.Duration) (p50, p99 time.Duration) {
	if len(took) == 0 {
		return 0, 0
	}
	sorted := slices.Sorted(slices.Values(took))
	return sorted[(len(sorted)-1)/2], sorted[(len(sorted)-1)*99/100]
}
