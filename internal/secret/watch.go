package secret

import (
	"context"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"time"

	"github.com/fsnotify/fsnotify"
)

// Run watches all files until ctx ends, and returns nil then. Nothing that it started outlives it.
func (s *Store) Run(ctx context.Context) error {
	w := &watch{store: s, dirty: map[string]bool{}, dirs: map[string][]string{}}
	var events <-chan fsnotify.Event
	var lost <-chan error
	if fs, err := s.newWatcher(); err != nil {
		w.blind(err)
	} else {
		w.fs, events, lost = fs, fs.Events, fs.Errors
		defer fs.Close()
	}
	poll := time.NewTicker(s.poll)
	defer poll.Stop()
	insist := time.NewTicker(s.insist)
	defer insist.Stop()
	soon := time.NewTimer(0) // files may have changed since they were read, before Run
	defer soon.Stop()
	waiting, again := true, false
	w.all()
	for {
		var wait time.Duration
		select {
		case <-ctx.Done():
			return nil
		case e := <-events:
			if !w.touch(e.Name) {
				continue
			}
			wait = s.settle
		case <-lost: // mostly the kernel's queue ran over; what matters is that events are missing
			w.all()
			wait = s.settle
		case <-poll.C:
			w.all()
		case <-insist.C:
			again = true
		case <-s.kick:
			w.all()
			again = true
		case <-soon.C:
			waiting = false
			w.sync() // before the files are read, so that no change falls between the two
			unsettled := s.scan(w.dirty, time.Now())
			clear(w.dirty)
			if len(unsettled) == 0 {
				s.decide(time.Now(), again)
				again = false
				continue
			}
			for _, path := range unsettled {
				w.dirty[path] = true
			}
			wait = s.settle
		}
		// A timer that runs is left alone: events that keep coming must not put off the look at the files.
		if !waiting {
			soon.Reset(wait)
			waiting = true
		}
	}
}

// scan reads the files in paths, and returns those of all files that are still changing.
func (s *Store) scan(paths map[string]bool, now time.Time) []string {
	for path := range paths {
		c, err := read(path)
		s.mu.Lock()
		if f, ok := s.files[path]; ok {
			f.observe(now, c, err, s.settle)
		}
		s.mu.Unlock()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var unsettled []string
	for path, f := range s.files {
		if !f.seenAt.IsZero() && !f.settled {
			unsettled = append(unsettled, path)
		}
	}
	return unsettled
}

// decide offers what has changed, and says what went bad or recovered. What was refused before is offered only beside
// something new, or when again is set.
func (s *Store) decide(now time.Time, again bool) {
	s.offering.Lock()
	defer s.offering.Unlock()
	offer := s.changed(again)
	for len(offer) > 0 {
		refused := s.ask(offer)
		s.mu.Lock()
		for path, c := range offer {
			f, ok := s.files[path]
			switch why := refused[path]; {
			case !ok: // forgotten meanwhile
			case why != nil:
				f.refused, f.why = c, why
			case len(refused) == 0:
				f.good, f.refused, f.why = c, nil, nil
				s.log.Info("secret file changed", "path", path)
			}
		}
		s.mu.Unlock()
		if len(refused) == 0 {
			break
		}
		maps.DeleteFunc(offer, func(path string, _ Content) bool { return refused[path] != nil })
	}
	s.judge(now)
}

// changed returns the settled content that is not in force, if any of it is worth an offer.
func (s *Store) changed(again bool) map[string]Content {
	s.mu.Lock()
	defer s.mu.Unlock()
	offer := map[string]Content{}
	worth := again
	for path, f := range s.files {
		if f.settled && f.differs() {
			offer[path] = f.seen
			worth = worth || string(f.seen) != string(f.refused)
		}
	}
	if !worth {
		return nil
	}
	return offer
}

// ask offers content to the user and returns what it refuses. A refusal of nothing that was offered refuses all of it.
func (s *Store) ask(content map[string]Content) map[string]error {
	if s.onChange == nil {
		return nil
	}
	answer := s.onChange(Offer{store: s, content: maps.Clone(content)})
	refused := map[string]error{}
	for path, why := range answer {
		if _, ok := content[path]; ok && why != nil {
			refused[path] = why
		}
	}
	if len(refused) > 0 {
		return refused
	}
	for _, path := range slices.Sorted(maps.Keys(answer)) {
		if why := answer[path]; why != nil {
			for p := range content {
				refused[p] = fmt.Errorf("refused with %s: %w", path, why)
			}
			break
		}
	}
	return refused
}

// judge brings the stale state of every file up to date and logs each change of it once.
func (s *Store) judge(now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for path, f := range s.files {
		var why error
		switch {
		case !f.settled:
			continue
		case f.seenErr != nil:
			why = f.seenErr
		case f.differs():
			why = f.why
		default:
			f.refused, f.why = nil, nil
		}
		switch was := f.stale.Path != ""; {
		case why == nil && was:
			s.log.Info("secret file is good again", "path", path, "stale_seconds", int(now.Sub(f.stale.Since).Seconds()))
			f.stale = Stale{}
		case why != nil && was:
			f.stale.Reason = why.Error()
		case why != nil:
			f.stale = Stale{Path: path, Reason: why.Error(), Since: now}
			s.log.Error("secret file is stale, its last good content stays in force", "path", path, "reason", why)
		}
	}
}

// watch is what Run knows of the file system. One goroutine owns it.
type watch struct {
	store *Store
	fs    *fsnotify.Watcher   // nil: none to be had
	dirty map[string]bool     // paths to be read
	dirs  map[string][]string // directory to the paths that depend on it
	said  bool                // that something cannot be watched
}

// touch notes that name has changed, a directory or an entry of one, and says whether any file depends on it.
func (w *watch) touch(name string) bool {
	found := false
	for _, dir := range [...]string{name, filepath.Dir(name)} {
		for _, path := range w.dirs[dir] {
			w.dirty[path], found = true, true
		}
	}
	return found
}

// all notes that any file may have changed.
func (w *watch) all() {
	w.store.mu.Lock()
	defer w.store.mu.Unlock()
	for path := range w.store.files {
		w.dirty[path] = true
	}
}

// sync watches the directories that the dirty paths depend on now, and no longer those that nothing depends on.
func (w *watch) sync() {
	if w.fs == nil {
		return
	}
	w.store.mu.Lock()
	gone := func(path string) bool { return w.store.files[path] == nil || w.dirty[path] }
	for dir, paths := range w.dirs {
		w.dirs[dir] = slices.DeleteFunc(paths, gone)
	}
	w.store.mu.Unlock()
	for path := range w.dirty {
		for _, dir := range dirs(path) {
			w.dirs[dir] = append(w.dirs[dir], path)
		}
	}
	// The watcher forgets by itself what was deleted or moved: its own list is the truth.
	watched := w.fs.WatchList()
	for _, dir := range watched {
		if len(w.dirs[dir]) == 0 {
			_ = w.fs.Remove(dir) // fails only where it is gone already
		}
	}
	for dir, paths := range w.dirs {
		switch {
		case len(paths) == 0:
			delete(w.dirs, dir)
		case !slices.Contains(watched, dir):
			if err := w.fs.Add(dir); err != nil {
				w.blind(err)
			}
		}
	}
}

// blind says once that changes will be seen later than they could be.
func (w *watch) blind(err error) {
	if !w.said {
		w.said = true
		w.store.log.Warn("cannot watch all secret files, changes are seen by polling", "every", w.store.poll, "err", err)
	}
}
