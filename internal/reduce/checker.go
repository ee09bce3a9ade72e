package reduce

import (
	"math"
	"sync"

	"github.com/telemetry-gateway/telemetry-gateway/internal/labels"
)

// checker knows the labels behind every key, so that a series that has another's key is found out. It remembers everything for
// ever and asks for all labels of every push: tests prove with it that nothing else relies on keys being different.
type checker struct {
	mask labels.Key // what the table leaves of a key

	mu    sync.Mutex // guards whole
	whole map[labels.Key]labels.Key
}

func newChecker(keyBits int) *checker {
	if keyBits == 0 {
		keyBits = 128
	}
	return &checker{
		mask:  labels.Key{Hi: math.MaxUint64 << (64 - (keyBits+1)/2), Lo: math.MaxUint64 << (64 - keyBits/2)},
		whole: make(map[labels.Key]labels.Key),
	}
}

// check marks the series whose keys, as the table cuts them, are those of others.
func (c *checker) check(p *Push) {
	for i := range p.ss {
		if c.taken(p.ss[i].Key) {
			p.marks[i].state = foreign
		}
	}
}

// taken says whether k, as the table cuts it, is another key.
func (c *checker) taken(k labels.Key) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	cut := labels.Key{Hi: k.Hi & c.mask.Hi, Lo: k.Lo & c.mask.Lo}
	was, ok := c.whole[cut]
	if !ok {
		c.whole[cut] = k
	}
	return ok && was != k
}

// alien says whether k is another's key. It never is, but where tests cut keys.
func (p *Push) alien(k labels.Key) bool {
	c := p.engine.checker
	return c != nil && c.taken(k)
}
