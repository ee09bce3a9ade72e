package guard

import "time"

// A window is ten minutes long: the table refreshes every live series once in each.
const windowSeconds = 600

// tick is a moment in the units that counts are kept in.
type tick struct {
	now            time.Time
	minute, window uint32
}

func at(now time.Time) tick {
	s := now.Unix()
	return tick{now: now, minute: uint32(s / 60), window: uint32(s / windowSeconds)}
}

// counter counts in this window and the one before. Time that goes back counts as this window.
type counter struct{ window, cur, prev uint32 }

func (c *counter) add(window, n uint32) {
	c.roll(window)
	c.cur += n
}

func (c *counter) roll(window uint32) {
	switch d := int32(window - c.window); {
	case d <= 0:
		return
	case d == 1:
		c.prev = c.cur
	default:
		c.prev = 0
	}
	c.cur, c.window = 0, window
}

// sum is what came in window and the one before.
func (c counter) sum(window uint32) uint32 {
	c.roll(window)
	return c.cur + c.prev
}

// minutes counts in each of the last twenty minutes.
type minutes struct {
	last uint32
	n    [20]uint32
}

func (m *minutes) add(minute, n uint32) {
	m.roll(minute)
	m.n[m.last%20] += n
}

func (m *minutes) roll(minute uint32) {
	d := int32(minute - m.last)
	if d <= 0 {
		return
	}
	for i := range min(uint32(d), 20) {
		m.n[(minute-i)%20] = 0
	}
	m.last = minute
}

func (m minutes) sum(minute uint32) int {
	m.roll(minute)
	n := 0
	for _, x := range m.n {
		n += int(x)
	}
	return n
}
