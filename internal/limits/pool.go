package limits

// activeFor is for how many seconds after its last push a client still has its share.
const activeFor = 60

// pool is what one signal of an environment may send, all clients together.
//
// Fairness: each of n active clients has a share of every bucket, which gains limit/n a second up to a reserve; all
// reserves together are half of the capacity. What lies in a client's share nobody else takes. So a client may always use
// limit/n, whatever the others do; what it leaves unused overflows and is everybody's, and so is the other half. A push that
// is larger than the reserve passes when its client's share is full and no such push of another is still unpaid.
//
// Shares are not tokens of their own but say whose the bucket's tokens are, so nothing is admitted twice: let D be the level less
// all shares that are positive. Refilling never lowers D, taking from a share leaves it, and only a push that is larger
// than what its client can save up makes D negative, from 0 or more. Hence over any time t what is admitted is at most
// limit*t + capacity + the largest push.
type pool struct {
	buckets [kinds]bucket
	active  []*Meter       // Meter.slot says where
	shares  [kinds][]share // one for each of active; side by side, since a short bucket looks at all
	swept   float64
}

// share is a client's part of a bucket.
type share struct {
	level float64 // negative: its debt
	at    float64
}

// after is the level at now.
func (s *share) after(now, rate, reserve float64) float64 {
	return min(reserve, s.level+max(0, now-s.at)*rate)
}

func (s *share) advance(now, rate, reserve float64) {
	s.level, s.at = s.after(now, rate, reserve), max(s.at, now)
}

// parts returns what every active client's share of bucket k gains a second, and how much it can hold.
func (p *pool) parts(k kind) (rate, reserve float64) {
	b, n := &p.buckets[k], float64(len(p.active))
	return b.limit / n, b.capacity / 2 / n
}

// touch notes that m's client is active.
func (p *pool) touch(m *Meter, now float64) {
	if m.slot < 0 {
		p.settle(now)
		m.slot = len(p.active)
		p.active = append(p.active, m)
		for k := range p.shares {
			p.shares[k] = append(p.shares[k], share{at: now})
		}
	}
	m.seen = max(m.seen, now)
	// Once a second will do: a share that is kept a second longer goes unused, and what is unused is everybody's.
	if now-p.swept < 1 {
		return
	}
	p.swept = now
	for i := len(p.active) - 1; i >= 0; i-- {
		if o := p.active[i]; now-o.seen > activeFor {
			p.settle(now)
			p.drop(o)
		}
	}
}

// settle brings all shares to now, before their number changes and with it what each gains.
func (p *pool) settle(now float64) {
	for k := range p.shares {
		rate, reserve := p.parts(k)
		for i := range p.shares[k] {
			p.shares[k][i].advance(now, rate, reserve)
		}
	}
}

// drop takes m's share away. The last takes its place.
func (p *pool) drop(m *Meter) {
	i, last := m.slot, len(p.active)-1
	if i < 0 {
		return
	}
	p.active[last].slot = i
	m.slot = -1
	p.active[i], p.active[last] = p.active[last], nil
	p.active = p.active[:last]
	for k := range p.shares {
		p.shares[k][i] = p.shares[k][last]
		p.shares[k] = p.shares[k][:last]
	}
}

// set gives bucket k its limit. Shares keep to their bucket.
func (p *pool) set(k kind, key string, limit float64, r *Rates) {
	b := &p.buckets[k]
	before := b.capacity
	b.set(key, limit, r)
	for i := range p.shares[k] {
		s := &p.shares[k][i]
		switch {
		case before == 0 || b.limit == 0:
			*s = share{at: b.at}
		case s.level > 0:
			s.level *= b.capacity / before
		}
	}
}

// wait is how many seconds it takes until m can take n tokens of bucket k, if nobody else takes any, and how many are now
// free for it: its own and those that are nobody's. Both are already at now.
func (p *pool) wait(k kind, m *Meter, now, n float64) (seconds, free float64) {
	b := &p.buckets[k]
	others := float64(len(p.active) - 1)
	if others == 0 {
		return b.wait(n), b.level
	}
	rate, reserve := p.parts(k)
	// Plenty: enough even if all others have saved up what they can. No need to ask them.
	if free = b.level - others*reserve; free >= n {
		return 0, free
	}
	held, filling := 0.0, 0.0
	for i := range p.shares[k] {
		level := p.shares[k][i].after(now, rate, reserve)
		held += max(0, level)
		if level < reserve {
			filling++
		}
	}
	mine := p.shares[k][m.slot].level
	held -= max(0, mine)
	if mine < reserve {
		filling--
	}
	gain := b.limit - filling*rate
	free = b.level - held
	// Of what is free: all that it needs, or everything, where it needs more than can ever be.
	seconds = (min(n, b.capacity-held) - free) / gain
	// Or of its own share. More than a share can hold passes when it is full and no debt of another is still unpaid.
	own := (min(n, reserve) - mine) / rate
	if n > reserve {
		own = max(own, (reserve-free)/gain)
	}
	return patience(min(seconds, own)), free
}

// take takes n tokens of bucket k for m, of which so many were free for it. It takes of the client's share first, then of
// what is nobody's; what remains is the client's debt.
func (p *pool) take(k kind, m *Meter, n, free float64) {
	p.buckets[k].level -= n
	s := &p.shares[k][m.slot]
	s.level = max(s.level-n, min(0, free-n))
}

// give puts n tokens of bucket k back, into m's share as far as they fit.
func (p *pool) give(k kind, m *Meter, n float64) {
	p.buckets[k].give(n)
	if m.slot >= 0 {
		s := &p.shares[k][m.slot]
		_, reserve := p.parts(k)
		s.level = min(reserve, s.level+n)
	}
}
