// Package reduce decides what of a push leaves and with which labels. It joins the parts that do not know each other: the
// rules (package relabel), the table of live series (series) and the cardinality guard (guard), and adds the check that no
// rule makes two live series one. It reads no wire format: doors ask it through ingest.Reducer. It forwards nothing, answers
// nobody and keeps nothing on disk. The road makes an Engine, a Policy for each client and signal, and a Push for each push.
package reduce

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/telemetry-gateway/telemetry-gateway/internal/guard"
	"github.com/telemetry-gateway/telemetry-gateway/internal/labels"
	"github.com/telemetry-gateway/telemetry-gateway/internal/series"
)

// Engine is what all pushes of a process share. It survives reloads.
type Engine struct {
	log       *slog.Logger
	seed      *labels.Seed
	table     *series.Table
	memo      *labels.Memo // of keys; see labels.Memo
	forgot    atomic.Int64 // the minute in which it last forgot something
	guard     *guard.Guard
	maxSeries int
	began     time.Time
	pushes    sync.Pool // of *Push
	checker   *checker  // nil but in tests

	uncached  atomic.Int64
	protected counters
	// decisionBytes is what all generations take, maxDecisions what they may.
	decisionBytes atomic.Int64
	maxDecisions  int64

	mu          sync.Mutex // guards what follows
	stores      map[string]*decisions
	generations uint32
	drops       map[ruleKey]*atomic.Int64

	collisions collisions
}

// Options are what an Engine needs.
type Options struct {
	Log *slog.Logger
	// MaxSeries is server.max_series: how many entries the table has at most.
	MaxSeries int
	// Warmup is server.guard_warmup.
	Warmup time.Duration
	// ExampleValues is server.example_values: whether texts and reports may show label values.
	ExampleValues bool
	// Began is when the process began; zero: now.
	Began time.Time
	// KeyBits cuts keys to so many bits, and CheckLabels compares the labels behind every key, so that tests can prove that
	// no decision is ever taken for another series. 0 and false outside of tests.
	KeyBits     int
	CheckLabels bool
}

// maxMemo is how many keys are remembered by the bytes of their labels at most: 34 MB.
const maxMemo = 1 << 20

// New returns an Engine that knows no series.
func New(o Options) *Engine {
	if o.Began.IsZero() {
		o.Began = time.Now()
	}
	e := &Engine{
		log: o.Log, seed: labels.NewSeed(), maxSeries: o.MaxSeries, began: o.Began, maxDecisions: maxDecisionBytes,
		memo:   labels.NewMemo(min(o.MaxSeries, maxMemo)),
		guard:  guard.New(guard.Options{ExampleValues: o.ExampleValues, Warmup: o.Warmup, Started: o.Began}),
		stores: make(map[string]*decisions), drops: make(map[ruleKey]*atomic.Int64),
	}
	e.table = series.New(series.Options{MaxEntries: o.MaxSeries, KeyBits: o.KeyBits, Released: e.guard.Release})
	e.collisions.init(e, o.ExampleValues)
	if o.CheckLabels {
		e.checker = newChecker(o.KeyBits)
	}
	e.pushes.New = func() any { return newPush(e) }
	return e
}

// Run forgets series that are idle and lifts suspensions that are over, until ctx ends.
func (e *Engine) Run(ctx context.Context) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			e.Sweep(now)
		}
	}
}

// Sweep does one step of Run: a few shards each second, so that all of them are done within a minute and none takes long.
func (e *Engine) Sweep(now time.Time) {
	for range (e.table.Shards() + 59) / 60 {
		e.table.Sweep(e.minute(now))
	}
	if minute := int64(e.minute(now)); e.forgot.Swap(minute) != minute {
		e.memo.Forget()
	}
	e.collisions.lift(now)
}

// SetExampleValues changes Options.ExampleValues.
func (e *Engine) SetExampleValues(shown bool) {
	e.guard.SetExampleValues(shown)
	e.collisions.showExamples(shown)
}

// Guard is the cardinality guard behind the engine, for reports.
func (e *Engine) Guard() *guard.Guard { return e.guard }

// Entries is how many entries the table holds, and how many bytes it takes, with what is remembered of keys.
func (e *Engine) Entries() (n, bytes int) { return e.table.Len(), e.table.Bytes() + e.memo.Bytes() }

// Uncached is how many series passed uncached because the table was full.
func (e *Engine) Uncached() int64 { return e.uncached.Load() }

// Protected calls f for how often rules took a protected label that was kept, of each environment.
func (e *Engine) Protected(f func(environment string, n int64)) { e.protected.each(f) }

func (e *Engine) minute(now time.Time) series.Minute {
	return series.Minute(max(0, now.Sub(e.began)) / time.Minute)
}

// counters are a few counters by name.
type counters struct {
	mu     sync.Mutex // guards byName, not what is in it
	byName map[string]*atomic.Int64
}

func (c *counters) of(name string) *atomic.Int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.byName == nil {
		c.byName = make(map[string]*atomic.Int64)
	}
	n := c.byName[name]
	if n == nil {
		n = new(atomic.Int64)
		c.byName[name] = n
	}
	return n
}

func (c *counters) each(f func(name string, n int64)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for name, n := range c.byName {
		f(name, n.Load())
	}
}
