package guard

import (
	"sync"
	"sync/atomic"
)

// pair is one metric of one client: what a ref names. It exists while it has series.
type pair struct {
	metric *metric
	client *client
	active int64
	values valueSets
	fresh  counter
}

const chunkLen = 256

// slab holds all pairs, so that the table keeps four bytes of a series for them. Pairs never move; a ref is used again once
// its pair is gone. 0 is no ref.
type slab struct {
	chunks atomic.Pointer[[]*[chunkLen]pair]

	mu   sync.Mutex // guards what follows, and the growth of chunks
	next uint32
	free []uint32
}

// at returns the pair of ref, which whoever has a series of it may do without a lock.
func (s *slab) at(ref uint32) *pair {
	return &(*s.chunks.Load())[ref/chunkLen][ref%chunkLen]
}

// take returns an unused pair, or none if there are limit of them.
func (s *slab) take(limit int64) (uint32, *pair) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if n := len(s.free); n > 0 {
		ref := s.free[n-1]
		s.free = s.free[:n-1]
		return ref, s.at(ref)
	}
	if int64(s.next) >= limit {
		return 0, nil
	}
	s.next++
	ref := s.next
	var old []*[chunkLen]pair
	if p := s.chunks.Load(); p != nil {
		old = *p
	}
	if int(ref/chunkLen) >= len(old) {
		// A new slice each time, since readers hold the old one.
		grown := append(old[:len(old):len(old)], new([chunkLen]pair))
		s.chunks.Store(&grown)
	}
	return ref, s.at(ref)
}

// give takes ref back.
func (s *slab) give(ref uint32) {
	*s.at(ref) = pair{}
	s.mu.Lock()
	s.free = append(s.free, ref)
	s.mu.Unlock()
}
