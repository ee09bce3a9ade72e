package reduce

import (
	"math"
	"sync"

	"github.com/telemetry-gateway/telemetry-gateway/internal/labels"
)

// checker knows the labels behind every key, so that a series that has another's key is found out. It remembers everything for
// ever and asks for all labels of every push: tests prove with it that nothing else relies on keys being different.
type checker struct {
	bits int

	mu    sync.Mutex // guards texts
	texts map[labels.Key]labels.Key
}

func newChecker(keyBits int) *checker {
	if keyBits == 0 {
		keyBits = 128
	}
	return &checker{bits: keyBits, texts: make(map[labels.Key]labels.Key)}
}

// check marks the series whose keys, as the table cuts them, are those of others.
func (c *checker) check(p *Push) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := range p.ss {
		whole := p.ss[i].Key
		// As the table cuts them.
		cut := labels.Key{Hi: whole.Hi & (math.MaxUint64 << (64 - (c.bits+1)/2)), Lo: whole.Lo & (math.MaxUint64 << (64 - c.bits/2))}
		if was, ok := c.texts[cut]; !ok {
			c.texts[cut] = whole
		} else if was != whole {
			p.marks[i].state = foreign
		}
	}
}
