package secret

import (
	"bytes"
	"cmp"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/fsnotify/fsnotify"
)

const (
	// pollEvery is the net under the watcher: some file systems tell nothing. A change must be in force within 10 s.
	pollEvery = 3 * time.Second
	// settleFor is how long a file must read the same before it counts: a writer may be half done. Two of these pass
	// between an event and its effect.
	settleFor = 150 * time.Millisecond
	// patience is how long a file may go on changing before it is taken as it is, so that it is not ignored for ever.
	patience = 2 * time.Second
	// insistEvery is when what was refused is offered again though no file has changed: the reason may lie elsewhere.
	insistEvery = time.Minute
)

// Store reads secret files, keeps what they held when they were last good, and watches them while Run runs.
// All methods may be called at once from several goroutines.
type Store struct {
	log        *slog.Logger
	poll       time.Duration
	settle     time.Duration
	insist     time.Duration
	newWatcher func() (*fsnotify.Watcher, error)
	onChange   func(Offer) map[string]error

	// kick wakes Run after the set of files has changed.
	kick chan struct{}

	// offering is held while an offer is made and taken, so that what is in force and what its user has built of it
	// change together. See Hold. It is taken before mu.
	offering sync.Mutex

	mu    sync.Mutex // guards files and what they point to; not held while a file is read again, watched or offered
	files map[string]*file
}

// file is one path: what is in force, and what was last seen on disk.
type file struct {
	good Content // in force

	seen     Content   // what the last read gave, or nil and
	seenErr  error     // why not
	seenAt   time.Time // when it gave that for the first time in a row
	settled  bool      // it gave the same long enough
	restless time.Time // since when it has not settled; zero: it has

	refused Content // what the user refused last, so that it is not offered again without need
	why     error   // the reason of the refusal
	stale   Stale   // Path is empty while the file is fine
}

// Stale is a file whose last good content is in force because what is on disk now cannot be.
type Stale struct {
	Path   string    `json:"path"`
	Reason string    `json:"reason"`
	Since  time.Time `json:"since"`
}

// New returns an empty Store that tells log when a file goes bad, recovers or changes.
func New(log *slog.Logger) *Store {
	return &Store{
		log:        log,
		poll:       pollEvery,
		settle:     settleFor,
		insist:     insistEvery,
		newWatcher: fsnotify.NewWatcher,
		kick:       make(chan struct{}, 1),
		files:      map[string]*file{},
	}
}

// OnChange sets the user of all files: f is called from Run when files have new content, and says by path what it
// refuses and why. It must take the whole offer or, when it refuses anything, nothing of it: the rest is then offered
// again. What was refused keeps its last good content, is Stale with that reason, and is offered again when any file
// changes, after Retain, and every minute. Without f everything is taken. To be called before Run.
func (s *Store) OnChange(f func(Offer) map[string]error) { s.onChange = f }

// Offer is new content that is not in force yet.
type Offer struct {
	store   *Store
	content map[string]Content
}

// Changed are the paths with new content, sorted.
func (o Offer) Changed() []string { return slices.Sorted(maps.Keys(o.content)) }

// Get is Store.Get as it will be once the offer is taken.
func (o Offer) Get(path string) (Content, error) {
	if c, ok := o.content[path]; ok {
		return c, nil
	}
	return o.store.Get(path)
}

// Get returns the content of path that is in force, reading the file at first use. An empty or unreadable file, and one
// over 1 MiB, is an error at first use and Stale later. The error names the path.
func (s *Store) Get(path string) (Content, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if f, ok := s.files[path]; ok {
		return f.good, nil
	}
	c, err := read(path)
	if err != nil {
		return nil, fmt.Errorf("secret file %s %w", path, err)
	}
	s.files[path] = &file{good: c}
	s.wake()
	return c, nil
}

// Retain forgets every file that is not in paths. It is called after a reload, with the files of the new configuration.
func (s *Store) Retain(paths []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	maps.DeleteFunc(s.files, func(path string, _ *file) bool { return !slices.Contains(paths, path) })
	s.wake()
}

// Hold calls f while no offer is made. A reload builds and swaps inside f, else an offer that is taken meanwhile would
// be lost in the swap. f must not wait for Run or call Hold.
func (s *Store) Hold(f func()) {
	s.offering.Lock()
	defer s.offering.Unlock()
	f()
}

// Stale returns the files whose last good content is in force against what is on disk, sorted by path.
func (s *Store) Stale() []Stale {
	s.mu.Lock()
	defer s.mu.Unlock()
	var stale []Stale
	for _, f := range s.files {
		if f.stale.Path != "" {
			stale = append(stale, f.stale)
		}
	}
	slices.SortFunc(stale, func(a, b Stale) int { return cmp.Compare(a.Path, b.Path) })
	return stale
}

// wake makes Run look at the files. One wake waits at most: it stands for all that follow.
func (s *Store) wake() {
	select {
	case s.kick <- struct{}{}:
	default:
	}
}

// observe notes what a read of f gave. A file that reads as what is in force is settled at once: nothing follows from it.
func (f *file) observe(now time.Time, c Content, err error, settle time.Duration) {
	if !f.seenAt.IsZero() && sameText(err, f.seenErr) && bytes.Equal(c, f.seen) {
		f.settled = f.settled || now.Sub(f.seenAt) >= settle
	} else {
		f.seen, f.seenErr, f.seenAt, f.settled = c, err, now, false
	}
	if err == nil && bytes.Equal(c, f.good) {
		f.settled = true
	}
	if f.settled {
		f.restless = time.Time{}
		return
	}
	if f.restless.IsZero() {
		f.restless = now
	}
	if now.Sub(f.restless) >= patience {
		f.settled, f.restless = true, time.Time{}
	}
}

// differs says that the file holds content, and another than what is in force.
func (f *file) differs() bool {
	return !f.seenAt.IsZero() && f.seenErr == nil && !bytes.Equal(f.seen, f.good)
}

func sameText(a, b error) bool {
	if a == nil || b == nil {
		return a == b
	}
	return a.Error() == b.Error()
}
