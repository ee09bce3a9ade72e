package relabel

import (
	"hash/maphash"
	"strings"
	"sync/atomic"
)

const (
	// memoSets is how many sets of two answers a memo has: a thousand names of labels rarely live at once.
	memoSets = 256
	// memoBytes is the longest text that is remembered, and the longest answer: together they bound a memo to 170 KiB.
	memoBytes = 128
)

// answer is what a rule makes of a text.
type answer struct {
	matched bool
	// target and value are what is to be written; an empty target: nothing.
	target, value string
}

// memo remembers what the regexp machine said. It is safe for concurrent use, and bounded: a text takes the place of another
// only when it comes for the second time in a row, so that a million texts that come once do not sweep out those in use.
type memo struct {
	ask  func(text string) answer // strings in its answers are kept
	seed maphash.Seed
	sets [memoSets]struct {
		seen atomic.Uint64 // the hash of what was last asked for in vain
		last atomic.Pointer[remembered]
		old  atomic.Pointer[remembered]
	}
}

type remembered struct {
	text string
	answer
}

func newMemo(ask func(text string) answer) *memo {
	return &memo{ask: ask, seed: maphash.MakeSeed()}
}

func (m *memo) answer(text string) answer {
	if len(text) > memoBytes {
		return m.ask(text)
	}
	hash := maphash.String(m.seed, text)
	set := &m.sets[hash%memoSets]
	last := set.last.Load()
	if last != nil && last.text == text {
		return last.answer
	}
	if old := set.old.Load(); old != nil && old.text == text {
		return old.answer
	}
	a := m.ask(text)
	if len(a.target)+len(a.value) > memoBytes {
		return a
	}
	// A hash that is another's costs a place, no more.
	if set.seen.Swap(hash) == hash {
		set.old.Store(last)
		set.last.Store(&remembered{strings.Clone(text), a}) // text may point into a push
	}
	return a
}
