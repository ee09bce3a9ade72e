package limits

import (
	"math"
	"strings"
)

const (
	// askedOver is how many seconds back the rate goes that a refusal reports.
	askedOver = 10
	// soonEnough is a wait in seconds that is none: what rounding leaves when a bucket has been waited for exactly.
	soonEnough = 1e-6
	// mostTokens bounds a capacity, so that sums stay exact to a fraction of a token and never become infinite.
	mostTokens = 1e15
	// defaultBurst is burst_seconds where a Rates has none.
	defaultBurst = 10
)

// bucket holds the tokens of one limit. It gains limit tokens a second until it holds its capacity. What is larger than
// the capacity passes when the bucket is full, and leaves it in debt. Its owner's mutex guards it.
type bucket struct {
	key      string  // environments.prod.metrics.limits.samples_per_second
	limit    float64 // tokens a second; 0: no limit
	capacity float64
	level    float64 // negative: debt
	asked    float64 // tokens a second that were asked for lately, whether or not they were there
	at       float64 // the moment that level and asked are of, in seconds of the environment's clock
	// backpressure: a refusal is a 503, not a 429.
	backpressure bool
}

// set gives b its limit. A full bucket stays full and an empty one empty; a debt stays what it is, so that a higher limit
// pays it sooner.
func (b *bucket) set(key string, limit float64, r *Rates) {
	if !(limit > 0) { // NaN too
		*b = bucket{}
		return
	}
	burst := r.BurstSeconds
	if !(burst > 0) {
		burst = defaultBurst
	}
	// Less than one whole token would let nothing pass but by debt.
	capacity := min(max(1, limit*burst), mostTokens)
	switch {
	case b.limit == 0:
		b.level = capacity
	case b.level > 0:
		b.level *= capacity / b.capacity
	}
	b.key, b.limit, b.capacity, b.backpressure = key, limit, capacity, r.Backpressure
}

// name is the key's last word.
func (b *bucket) name() string { return b.key[strings.LastIndexByte(b.key, '.')+1:] }

// advance brings b to now. Pushes do not come in the order of their times: an earlier one changes nothing.
func (b *bucket) advance(now float64) {
	if dt := now - b.at; dt > 0 {
		b.level = min(b.capacity, b.level+dt*b.limit)
		b.asked *= math.Exp(-dt / askedOver)
		b.at = now
	}
}

// ask notes that n tokens are wanted.
func (b *bucket) ask(n float64) { b.asked += n / askedOver }

// wait is how many seconds it takes until n tokens can be taken, if nobody else takes any. 0: they can be now.
func (b *bucket) wait(n float64) float64 {
	return patience((min(n, b.capacity) - b.level) / b.limit)
}

// give puts n tokens back.
func (b *bucket) give(n float64) { b.level = min(b.capacity, b.level+n) }

func patience(seconds float64) float64 {
	if seconds <= soonEnough {
		return 0
	}
	return seconds
}
