package guard

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/axiomhq/hyperloglog"
)

const (
	trackedMetrics = 128 // at once, in one space
	trackedLabels  = 32  // of one metric
	trackedClients = 16  // of one metric
	trackFrom      = 32  // active series; from the first refusal on with fewer
	precision      = 12  // of the sketches: 4 KiB when full, an error of 1.6 %
	// refusedRank is how many active series one refused series counts for, where the sketches of one metric make room for another's.
	refusedRank = 64
	// episode is how many distinct values new series must bring in ten minutes for a growth to go on.
	episode = 8
)

// feeding says what a series is to the sketches.
type feeding uint8

const (
	live      feeding = iota // known: it is refreshed
	fresh                    // new and admitted
	overLimit                // new and refused, or over a limit that observes
	feedings
)

// sketch counts distinct hashes in this window and the one before. nil: none.
type sketch [2]*hyperloglog.Sketch

func (s *sketch) add(h uint64) {
	if s[0] == nil {
		s[0], _ = hyperloglog.NewSketch(precision, true) // fails for other precisions only
	}
	s[0].InsertHash(h)
}

func (s *sketch) roll(windows int32) {
	s[1] = nil
	if windows == 1 {
		s[1] = s[0]
	}
	s[0] = nil
}

func (s sketch) clone() sketch {
	for i, h := range s {
		if h != nil {
			s[i] = h.Clone()
		}
	}
	return s
}

// tracked is one metric whose labels are watched with sketches.
type tracked struct {
	metric  *metric
	window  uint32
	last    time.Time // of the newest series that was new
	feeds   int       // of new series, ever
	fresh   sketch    // new series
	clients []share
	labels  []trackedLabel // sorted by name
	culprit culprit
}

// share is what one client brings of what is new.
type share struct {
	client *client
	n      counter // of what was fed, doubled series too
	fresh  sketch
}

// trackedLabel is the values of one label of one metric.
type trackedLabel struct {
	name   string
	by     [feedings]sketch
	begun  time.Time // the first new series in this window
	since  time.Time // the growth goes on since; zero: it is no older than this window
	recent examples
}

// examples are the newest distinct values of new series.
type examples struct {
	next, n uint8
	hash    [5]uint64
	size    [5]uint8
	text    [5][exampleBytes]byte
}

func (e *examples) add(hash uint64, value string) {
	if slices.Contains(e.hash[:e.n], hash) {
		return
	}
	i := e.next
	e.hash[i] = hash
	e.size[i] = uint8(copy(e.text[i][:], cut(value, exampleBytes)))
	e.next = (i + 1) % 5
	e.n = max(e.n, i+1)
}

// list is the examples, the newest first.
func (e *examples) list() (l []string) {
	for k := range e.n {
		i := (e.next + 5 - 1 - k) % 5
		l = append(l, string(e.text[i][:e.size[i]]))
	}
	return l
}

// consider watches m if it deserves it: where all places are taken a metric that matters more takes that of the one that
// matters least.
func (sp *space) consider(m *metric) {
	if m.track != nil || m.other || m.active < trackFrom && m.refused.sum(sp.window) == 0 {
		return
	}
	if len(sp.tracked) >= trackedMetrics {
		// A quarter more is asked for, or two of a size would take each other's place for ever.
		rank := sp.rank(m)
		if rank <= sp.smallest+sp.smallest/4 {
			return
		}
		least := slices.MinFunc(sp.tracked, func(a, b *tracked) int { return cmp.Compare(sp.rank(a.metric), sp.rank(b.metric)) })
		sp.smallest = sp.rank(least.metric)
		if rank <= sp.smallest+sp.smallest/4 {
			return
		}
		sp.untrack(least.metric)
	}
	m.track = &tracked{metric: m, window: sp.window}
	sp.tracked = append(sp.tracked, m.track)
}

// rank is how much a metric matters: what was refused lately, then how many series it has.
func (sp *space) rank(m *metric) int64 {
	return m.active + refusedRank*int64(m.refused.sum(sp.window))
}

func (sp *space) untrack(m *metric) {
	i := slices.Index(sp.tracked, m.track)
	last := len(sp.tracked) - 1
	sp.tracked[i], sp.tracked[last] = sp.tracked[last], nil
	sp.tracked = sp.tracked[:last]
	m.track = nil
}

// feed tells the sketches of a series.
func (t *tracked) feed(as feeding, p *Policy, a *arrival, hashes []uint64) {
	t.roll(a.window)
	if as != live {
		t.feeds++
		t.last = a.now
		var sum uint64
		for _, h := range hashes {
			sum += h
		}
		t.fresh.add(sum)
		s := t.share(p.client)
		s.n.add(a.window, 1)
		s.fresh.add(sum)
	}
	show := p.g.examples.Load()
	at := 0
	for i := range a.final {
		f := &a.final[i]
		for at < len(t.labels) && t.labels[at].name < f.Name {
			at++
		}
		if at == len(t.labels) || t.labels[at].name != f.Name {
			if len(t.labels) >= trackedLabels || len(f.Name) > longName || oneOf(p.fixed, f.Name) {
				continue
			}
			t.labels = slices.Insert(t.labels, at, trackedLabel{name: strings.Clone(f.Name)})
		}
		l := &t.labels[at]
		l.by[as].add(hashes[i])
		if as == live {
			continue
		}
		if l.begun.IsZero() {
			l.begun = a.now
		}
		if show {
			l.recent.add(hashes[i], f.Value)
		}
	}
}

// share returns c's share. Where there are too many, the smallest makes room: who sends much is never the smallest for long.
func (t *tracked) share(c *client) *share {
	for i := range t.clients {
		if t.clients[i].client == c {
			return &t.clients[i]
		}
	}
	if len(t.clients) < trackedClients {
		t.clients = append(t.clients, share{client: c})
		return &t.clients[len(t.clients)-1]
	}
	least := 0
	for i := range t.clients {
		if t.clients[i].n.sum(t.window) < t.clients[least].n.sum(t.window) {
			least = i
		}
	}
	t.clients[least] = share{client: c}
	return &t.clients[least]
}

// roll begins a new window. A growth that went on in the last one keeps its beginning; labels that were not seen for
// two windows are forgotten.
func (t *tracked) roll(window uint32) {
	d := int32(window - t.window)
	if d <= 0 {
		return
	}
	t.window = window
	t.fresh.roll(d)
	t.clients = slices.DeleteFunc(t.clients, func(s share) bool { return s.fresh[0] == nil })
	for i := range t.clients {
		t.clients[i].fresh.roll(d)
	}
	for i := range t.labels {
		l := &t.labels[i]
		goesOn := d == 1 && union(sketch{l.by[fresh][0], l.by[overLimit][0]}) >= episode
		switch {
		case !goesOn:
			l.since = time.Time{}
		case l.since.IsZero():
			l.since = l.begun
		}
		l.begun = time.Time{}
		for k := range l.by {
			l.by[k].roll(d)
		}
	}
	t.labels = slices.DeleteFunc(t.labels, func(l trackedLabel) bool {
		for _, s := range l.by {
			if s[0] != nil || s[1] != nil {
				return false
			}
		}
		return true
	})
}
