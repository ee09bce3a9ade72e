package secret

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestGet(t *testing.T) {
	l := newLab(t, byEvents)
	f := func(path, wantErr string) {
		t.Helper()
		c, err := l.s.Get(path)
		if wantErr == "" {
			if err != nil || len(c) == 0 {
				t.Errorf("%s: %d bytes, error %v", path, len(c), err)
			}
			return
		}
		if err == nil || !strings.Contains(err.Error(), wantErr) || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: error %v, want %q and the path", path, err, wantErr)
		}
		if strings.Count(err.Error(), path) != 1 {
			t.Errorf("%v: names the path more than once", err)
		}
	}
	f(l.write("good", "token-1\n"), "")
	f(l.write("largest", strings.Repeat("x", maxBytes)), "")
	f(l.write("larger", strings.Repeat("x", maxBytes+1)), "has more than 1048576 bytes")
	f(l.write("empty", ""), "is empty")
	f(l.write("blank", " \r\n\t\n"), "is empty")
	f(l.path("absent"), "cannot be read: no such file or directory")
	f(l.dir, "is not a regular file")
	pipe := l.path("pipe")
	l.must(syscall.Mkfifo(pipe, 0o600))
	f(pipe, "is not a regular file")
	loop := l.path("loop")
	l.must(os.Symlink("loop", loop))
	f(loop, "too many levels of symbolic links")

	if _, err := l.s.Get(l.path("absent")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%v is not os.ErrNotExist", err)
	}
	l.write("absent", "token-2")
	f(l.path("absent"), "") // an error is not cached
	l.write("good", "token-3")
	if c, _ := l.s.Get(l.path("good")); string(c) != "token-1\n" {
		t.Errorf("Get reads the file again though Run has not seen it: %q", []byte(c))
	}
}

func TestWriteInPlace(t *testing.T) {
	eachWay(t, func(l *lab) {
		p := l.write("a", "token-1")
		l.holds(p, "token-1")
		l.run()
		for _, c := range []string{"token-2", "token-3 is longer", "token-4"} {
			l.write("a", c)
			l.holds(p, c)
		}
		if n := l.logged(saysStale); n != 0 {
			l.Errorf("%d lines say stale", n)
		}
	})
}

func TestChangedBeforeRun(t *testing.T) {
	eachWay(t, func(l *lab) {
		p := l.write("a", "token-1")
		l.holds(p, "token-1")
		l.write("a", "token-2")
		l.run()
		l.holds(p, "token-2")
	})
}

func TestRenameOver(t *testing.T) {
	eachWay(t, func(l *lab) {
		p := l.write("a", "token-1")
		l.holds(p, "token-1")
		l.run()
		for _, c := range []string{"token-2", "token-3"} {
			l.must(os.Rename(l.write(".tmp", c), p))
			l.holds(p, c)
		}
	})
}

// kubelet writes volume as kubelet does: a directory with a time stamp, and ..data renamed onto it at once.
func (l *lab) kubelet(volume, stamp string, files map[string]string) {
	l.Helper()
	for name, content := range files {
		l.write(filepath.Join(volume, stamp, name), content)
		top, _, _ := strings.Cut(name, "/")
		link := l.path(filepath.Join(volume, top))
		if _, err := os.Lstat(link); err != nil {
			l.must(os.Symlink(filepath.Join("..data", top), link))
		}
	}
	data := l.path(filepath.Join(volume, "..data"))
	old, _ := os.Readlink(data)
	l.must(os.Symlink(stamp, data+"_tmp"))
	l.must(os.Rename(data+"_tmp", data))
	if old != "" {
		l.must(os.RemoveAll(filepath.Join(filepath.Dir(data), old)))
	}
}

func TestKubernetesSwap(t *testing.T) {
	eachWay(t, func(l *lab) {
		l.kubelet("vol", "..2024_1", map[string]string{"a": "token-a1", "deep/b": "token-b1"})
		a, b := l.path("vol/a"), l.path("vol/deep/b")
		l.holds(a, "token-a1")
		l.holds(b, "token-b1")
		l.run()
		for _, n := range []string{"2", "3", "4"} {
			l.kubelet("vol", "..2024_"+n, map[string]string{"a": "token-a" + n, "deep/b": "token-b" + n})
			l.holds(a, "token-a"+n)
			l.holds(b, "token-b"+n)
		}
		if n := l.logged(saysStale); n != 0 {
			l.Errorf("%d lines say stale", n)
		}
		// Files that change in one swap are offered as one, else a certificate would meet the key of another.
		l.mu.Lock()
		defer l.mu.Unlock()
		for _, o := range l.offers {
			if !slices.Equal(o, []string{a, b}) {
				l.Errorf("offered %v, want both at once", o)
			}
		}
	})
}

func TestLinkToElsewhere(t *testing.T) {
	eachWay(t, func(l *lab) {
		target := l.write("vault/secret", "token-1")
		p := l.path("a")
		l.must(os.Symlink(target, p))
		l.holds(p, "token-1")
		l.run()
		l.write("vault/secret", "token-2") // the target in place
		l.holds(p, "token-2")
		l.must(os.Rename(l.write("vault/.tmp", "token-3"), target)) // the target by rename
		l.holds(p, "token-3")
		l.must(os.Symlink(l.write("other/secret", "token-4"), p+".tmp"))
		l.must(os.Rename(p+".tmp", p)) // the link itself
		l.holds(p, "token-4")
		l.write("other/secret", "token-5") // and what it points to now
		l.holds(p, "token-5")
	})
}

func TestDeleteAndCreate(t *testing.T) {
	eachWay(t, func(l *lab) {
		p := l.write("a", "token-1")
		l.holds(p, "token-1")
		l.run()
		l.must(os.Remove(p))
		l.stale("cannot be read: no such file or directory")
		l.holds(p, "token-1")
		l.write("a", "token-2")
		l.holds(p, "token-2")
		l.stale("")
		l.until("recovery", func() bool { return l.logged(saysGood) == 1 })
		if n := l.logged(saysStale); n != 1 {
			l.Errorf("%d lines say stale, want 1", n)
		}
	})
}

func TestDirectoryReplaced(t *testing.T) {
	eachWay(t, func(l *lab) {
		p := l.write("secrets/a", "token-1")
		l.holds(p, "token-1")
		l.run()
		l.must(os.RemoveAll(l.path("secrets")))
		l.stale("no such file")
		l.write("secrets/a", "token-2")
		l.holds(p, "token-2")
		l.must(os.Rename(l.path("secrets"), l.path("old")))
		l.stale("no such file")
		l.write("secrets/a", "token-3")
		l.holds(p, "token-3")
		l.write("secrets/a", "token-4") // the new directory is watched, not the old one
		l.holds(p, "token-4")
		l.stale("")
	})
}

func TestEmptied(t *testing.T) {
	eachWay(t, func(l *lab) {
		p := l.write("a", "token-1")
		l.holds(p, "token-1")
		l.run()
		l.write("a", "")
		l.stale("is empty")
		since := l.s.Stale()[0].Since
		l.write("a", "\n \n")
		l.write("a", strings.Repeat("x", maxBytes+1))
		l.stale("has more than 1048576 bytes") // another reason, but stale since the same time
		if got := l.s.Stale()[0]; got.Since != since || got.Path != p {
			l.Errorf("stale is %+v, want %s since %s", got, p, since)
		}
		l.holds(p, "token-1")
		l.write("a", "token-1") // the same as before: good again, and nothing has changed
		l.stale("")
		if s, g, n := l.logged(saysStale), l.logged(saysGood), l.logged(saysNew); s != 1 || g != 1 || n != 0 {
			l.Errorf("%d lines say stale, %d good, %d changed; want 1, 1, 0", s, g, n)
		}
	})
}

func TestPermission(t *testing.T) {
	eachWay(t, func(l *lab) {
		p := l.write("a", "token-1")
		l.holds(p, "token-1")
		l.run()
		// Root reads what nobody may read; a directory in the file's place is unreadable to all.
		if os.Geteuid() == 0 {
			l.must(os.Remove(p))
			l.must(os.Mkdir(p, 0o700))
			l.stale("is not a regular file")
			l.must(os.Remove(p))
		} else {
			l.must(os.Chmod(p, 0))
			l.stale("permission denied")
			l.must(os.Chmod(p, 0o600))
			l.stale("")
		}
		l.holds(p, "token-1")
		l.write("a", "token-2")
		l.holds(p, "token-2")
		l.stale("")
	})
}

func TestRefused(t *testing.T) {
	eachWay(t, func(l *lab) {
		a, b := l.write("a", "token-a1"), l.write("b", "token-b1")
		l.holds(a, "token-a1")
		l.holds(b, "token-b1")
		l.refuse = map[string]error{"a": errors.New("doubles a credential")}
		l.run()
		l.write("a", "token-a2")
		l.stale("doubles a credential")
		l.write("b", "token-b2") // not held up by a
		l.holds(b, "token-b2")
		l.holds(a, "token-a1")
		l.stale("doubles a credential")
		l.mu.Lock()
		l.refuse = nil
		l.mu.Unlock()
		l.s.Retain([]string{a, b}) // a reload: what a collided with may have gone
		l.holds(a, "token-a2")
		l.stale("")
		if s, g := l.logged(saysStale), l.logged(saysGood); s != 1 || g != 1 {
			l.Errorf("%d lines say stale, %d good; want 1 and 1", s, g)
		}
	})
}

// What was refused once is offered at once when it comes again after the file was good.
func TestRefusedThenGoodThenAgain(t *testing.T) {
	l := newLab(t, byEvents)
	p := l.write("a", "token-1")
	l.holds(p, "token-1")
	l.refuse = map[string]error{"a": errors.New("doubles a credential")}
	l.run()
	l.write("a", "token-2")
	l.stale("doubles a credential")
	l.write("a", "token-1")
	l.stale("")
	l.mu.Lock()
	l.refuse = nil
	l.mu.Unlock()
	l.write("a", "token-2")
	l.holds(p, "token-2")
}

// What was refused is offered again from time to time, and not at each poll: its user may log each time.
func TestInsists(t *testing.T) {
	offered := func(insist time.Duration) int {
		l := newLab(t, byPolling)
		l.s.insist = insist
		p := l.write("a", "token-1")
		l.holds(p, "token-1")
		l.refuse = map[string]error{"a": errors.New("doubles a credential")}
		l.run()
		l.write("a", "token-2")
		l.stale("doubles a credential")
		<-time.After(300 * time.Millisecond) // 15 polls
		l.mu.Lock()
		defer l.mu.Unlock()
		return len(l.offers)
	}
	if n := offered(time.Hour); n != 1 {
		t.Errorf("offered %d times, want once", n)
	}
	if n := offered(20 * time.Millisecond); n < 2 {
		t.Errorf("offered %d times, want again", n)
	}
}

// With the waits of the product, not those of the tests.
func TestInForceSoon(t *testing.T) {
	l := newLab(t, func(*Store) {})
	l.s.settle = settleFor
	p := l.write("a", "token-1")
	l.holds(p, "token-1")
	l.run()
	begin := time.Now()
	l.write("a", "token-2")
	l.holds(p, "token-2")
	t.Logf("in force after %s", time.Since(begin))
}

// A credential that moves from one file to another is refused while it is in both and taken when it is in one.
func TestRefusedBesideOther(t *testing.T) {
	l := newLab(t, byEvents)
	a, b := l.write("a", "token-1"), l.write("b", "token-2")
	l.holds(a, "token-1")
	l.holds(b, "token-2")
	l.s.OnChange(func(o Offer) map[string]error {
		ca, _ := o.Get(a)
		cb, _ := o.Get(b)
		if bytes.Equal(ca, cb) {
			return map[string]error{a: errors.New("is also b's"), b: errors.New("is also a's")}
		}
		return nil
	})
	l.run()
	l.write("b", "token-1")
	l.stale("is also a's")
	l.write("a", "token-3")
	l.holds(a, "token-3")
	l.holds(b, "token-1")
	l.stale("")
}

func TestRefusalOfNothingOffered(t *testing.T) {
	l := newLab(t, byEvents)
	p := l.write("a", "token-1")
	l.holds(p, "token-1")
	l.s.OnChange(func(Offer) map[string]error { return map[string]error{"/other": errors.New("is odd")} })
	l.run()
	l.write("a", "token-2")
	l.stale("refused with /other: is odd")
	l.holds(p, "token-1")
}

func TestHalfWritten(t *testing.T) {
	l := newLab(t, byPolling)
	p := l.write("a", "token-1")
	l.holds(p, "token-1")
	l.s.settle = 300 * time.Millisecond
	l.run()
	l.write("a", "")
	for _, part := range []string{"tok", "token-", "token-2"} {
		<-time.After(30 * time.Millisecond)
		l.write("a", part)
	}
	l.holds(p, "token-2")
	if l.logged(saysStale) != 0 || l.logged(saysNew) > 1 {
		l.Errorf("half of a file was taken for the whole:\n%s", l.log.String())
	}
}

func TestObserveNeverWaitsForEver(t *testing.T) {
	now := time.Unix(1000, 0)
	f := file{good: Content("token-0")}
	taken := 0
	for i := range 100 {
		f.observe(now, Content{'a' + byte(i%2)}, nil, settleFor)
		if f.settled {
			taken++
		}
		now = now.Add(settleFor / 2)
	}
	if span := 100 * settleFor / 2; taken < 2 || taken > int(span/patience)+1 {
		t.Errorf("a file that never rests was taken %d times in %s", taken, span)
	}
}

func TestRetain(t *testing.T) {
	l := newLab(t, byEvents)
	a, b := l.write("x/a", "token-a"), l.write("y/b", "token-b")
	l.holds(a, "token-a")
	l.holds(b, "token-b")
	l.run()
	l.must(os.Remove(a))
	l.stale("no such file")
	l.s.Retain([]string{b})
	l.stale("")
	if _, err := l.s.Get(a); err == nil {
		t.Error("a file that was not retained is still known")
	}
	l.write("x/a", "token-a2")
	l.holds(a, "token-a2") // read anew, at first use
	l.write("x/a", "token-a3")
	l.holds(a, "token-a3") // and watched again
}

// Files that come with a reload are watched like those that Run began with.
func TestGetWhileRunning(t *testing.T) {
	l := newLab(t, byEvents)
	l.run()
	p := l.write("late/a", "token-1")
	l.holds(p, "token-1")
	l.write("late/a", "token-2")
	l.holds(p, "token-2")
}

func TestHold(t *testing.T) {
	l := newLab(t, byPolling)
	p := l.write("a", "token-1")
	l.holds(p, "token-1")
	l.run()
	l.s.Hold(func() {
		l.write("a", "token-2")
		<-time.After(200 * time.Millisecond)
		if c, _ := l.s.Get(p); string(c) != "token-1" {
			t.Error("content came into force inside Hold")
		}
	})
	l.holds(p, "token-2")
}

func TestWithoutUser(t *testing.T) {
	l := newLab(t, byEvents)
	l.s.OnChange(nil)
	p := l.write("a", "token-1")
	l.holds(p, "token-1")
	l.run()
	l.write("a", "token-2")
	l.holds(p, "token-2")
}

func TestBlindIsSaidOnce(t *testing.T) {
	l := newLab(t, byPolling)
	l.run()
	l.until("warning", func() bool { return l.logged("cannot watch") == 1 })
}

// Everything at once, for the race detector.
func TestParallel(t *testing.T) {
	l := newLab(t, func(s *Store) { s.poll = 5 * time.Millisecond })
	l.s.settle = time.Millisecond
	paths := []string{l.write("a", "token-1"), l.write("b", "token-1"), l.write("c", "token-1")}
	l.run()
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for i := range 100 {
				for _, p := range paths {
					_, _ = l.s.Get(p)
				}
				l.s.Stale()
				l.s.Hold(func() { l.s.Retain(paths[:1+i%3]) })
			}
		})
	}
	for i := range 50 {
		for _, name := range []string{"a", "b", "c"} {
			l.write(name, "token-"+strings.Repeat("x", i+1))
		}
	}
	wg.Wait()
	for _, p := range paths {
		l.holds(p, "token-"+strings.Repeat("x", 50))
	}
}
