package reduce

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/telemetry-gateway/telemetry-gateway/internal/labels"
)

const ownValue = `[{source_labels: [user], target_label: who, replacement: "u-$1"}, {action: labeldrop, regex: user}]`

// remembered is what all generations of r hold, by their own account and by what is in them.
func (r *rig) remembered() (counted int64, bytes int) {
	r.Engine.mu.Lock()
	defer r.Engine.mu.Unlock()
	for _, d := range r.stores {
		g := d.current.Load()
		for text := range g.byText {
			bytes += 2*len(text) + 200
		}
	}
	return r.decisionBytes.Load(), bytes
}

// TestDecisionsAreBounded: rules that give each series a value of its own fill the memory of decisions. What has no room there
// is decided each time, and when much of it is about series that are gone, it is begun anew.
func TestDecisionsAreBounded(t *testing.T) {
	r := newRig(t, Options{})
	r.maxDecisions = 20_000
	p := r.metrics(ownValue)
	renewed, last := 0, p.decisions[Plain].current.Load().number
	for round := range 60 {
		var all []sent
		var want []string
		for i := range 100 {
			n := (round/20)*50 + i // half of them are others after twenty rounds
			all = append(all, sent{labels: fmt.Sprint("m,user=", n), lines: 1, weight: 1})
			want = append(want, fmt.Sprint("m,who=u-", n))
		}
		r.want(p, all, want...)
		counted, bytes := r.remembered()
		if counted != int64(bytes) || counted > 10_000 {
			t.Fatalf("round %d: %d bytes are remembered, %d counted, want at most 10000", round, bytes, counted)
		}
		if n := p.decisions[Plain].current.Load().number; n != last {
			renewed, last = renewed+1, n
		}
		r.wait(time.Minute)
	}
	if renewed < 3 || renewed > 6 {
		t.Errorf("begun anew %d times in an hour, want once in ten minutes that it is full", renewed)
	}
	// The next rules have the room to themselves.
	r.metrics("[]")
	if counted, _ := r.remembered(); counted != 0 {
		t.Errorf("%d bytes are counted for rules that are in force no more", counted)
	}
	r.drain()
}

func TestSuspensionsAreBounded(t *testing.T) {
	r := newRig(t, Options{})
	p := r.metrics(dropPod)
	passed, refused := 0, 0
	for round := range 50 {
		var all []sent
		for i := range 100 {
			m := fmt.Sprint("m", round*100+i)
			all = append(all, at(m+",pod=a", 0), at(m+",pod=b", 0))
		}
		for _, left := range r.push(p, all...).left {
			if left == "refused" {
				refused++
			} else {
				passed++
			}
		}
	}
	if n := len(r.Collisions()); n > maxCollisions {
		t.Errorf("%d collisions at once, want at most %d", n, maxCollisions)
	}
	if refused != 5000-maxCollisions || passed != 10_000-refused {
		t.Errorf("%d passed and %d were refused", passed, refused)
	}
	r.wait(25 * time.Minute)
	if n := len(r.Collisions()); n != 0 {
		t.Errorf("%d collisions after 25 quiet minutes", n)
	}
	r.collisions.mu.Lock()
	if a, b, c := len(r.collisions.byOwner), len(r.collisions.byID), r.collisions.awaited.Load(); a != 0 || b != 0 || c != 0 {
		t.Errorf("%d owners, %d suspensions and %d awaited are left", a, b, c)
	}
	r.collisions.mu.Unlock()
	r.drain()
}

// TestCollisionsOfLargeSeriesAreBounded: what is kept of a collision does not grow with what a sender writes.
func TestCollisionsOfLargeSeriesAreBounded(t *testing.T) {
	f := func(value, name int, want ...string) {
		t.Helper()
		r := newRig(t, Options{})
		p := r.metrics(dropPod)
		m := strings.Repeat("m", name)
		large := strings.Repeat("v", value)
		var got []string
		for _, pod := range []string{"a", "b"} {
			for _, left := range r.push(p, at(m+",pod="+pod+",v="+large, 0)).left {
				got = append(got, strings.ReplaceAll(strings.ReplaceAll(left, large, "v"), m, "m"))
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("%d bytes: left as %q, want %q", value+name, got, want)
		}
		r.collisions.mu.Lock()
		kept := 0
		for key, co := range r.collisions.byFamily {
			kept += len(key.family) + size(co.first)
			for _, x := range co.examples {
				kept += len(x.values) + len(x.names)
			}
		}
		r.collisions.mu.Unlock()
		if kept > maxRemembered+4<<10 {
			t.Errorf("%d bytes: %d are kept", value+name, kept)
		}
		r.drain()
	}
	f(1, 1, "m,v=v", "m,pod=b,v=v")
	f(1<<20, 1, "m,v=v", "m,pod=b,v=v")
	f(1, longestFamily, "m,v=v", "m,pod=b,v=v")
	f(1, longestFamily+1, "m,v=v", "refused")
}

// TestSuspendedSeriesMeetOthers: what leaves as it came is not to be what others leave as either.
func TestSuspendedSeriesMeetOthers(t *testing.T) {
	// Stamps make two one, whichever comes first.
	for _, first := range []string{"m,env=dev,pod=a", "m,pod=a"} {
		second := map[string]string{"m,pod=a": "m,env=dev,pod=a", "m,env=dev,pod=a": "m,pod=a"}[first]
		r := newRig(t, Options{})
		p := r.metrics(dropPod, func(s *Settings) { s.Stamps = []labels.Label{{Name: "env", Value: "prod"}} })
		r.push(p, at("m,pod=x", 0), at("m,pod=y", 0))
		r.want(p, []sent{at(first, 15)}, "env=prod,m,pod=a")
		r.want(p, []sent{at(second, 15)}, "refused")
		r.want(p, []sent{at(first, 30), at(second, 30)}, "env=prod,m,pod=a", "refused")
		r.drain()
	}
	// A metric is renamed to one that is suspended, and so keeps its name, which others are renamed to.
	const rename = `[{source_labels: [__name__], regex: n, target_label: __name__, replacement: m},
		{source_labels: [__name__], regex: k, target_label: __name__, replacement: n}]`
	for _, last := range []string{"k", "n"} {
		r := newRig(t, Options{})
		p := r.metrics(rename)
		r.push(p, at("n", 0), at("m", 0))
		if last == "k" {
			r.want(p, []sent{at("n", 15)}, "n")
			r.want(p, []sent{at("k", 15)}, "k")
		} else {
			r.want(p, []sent{at("k", 15)}, "n") // n has no sample since
			r.want(p, []sent{at("n", 15)}, "n")
		}
		r.want(p, []sent{at("n", 30), at("k", 30), at("m", 30)}, "n", "k", "m")
		r.drain()
	}
}

// A push that began before a reload may begin a generation that no reload will end: it takes no room.
func TestDecisionsThatAreGoneTakeNoRoom(t *testing.T) {
	r := newRig(t, Options{})
	old := r.metrics(dropPod)
	r.push(old, at("m,pod=a", 0))
	r.metrics("[]")
	d := old.decisions[Plain]
	d.renew(d.current.Load())
	r.push(old, at("n,pod=a", 0))
	if n := r.decisionBytes.Load(); n != 0 {
		t.Errorf("decisions that nobody has hold %d bytes", n)
	}
}

// The name of an OTLP metric is a field that every metric has, also where rules may remove what is protected.
func TestNameOfAttributesStays(t *testing.T) {
	r := newRig(t, Options{})
	p := r.metrics(`[{action: labeldrop, regex: __name__}]`, func(s *Settings) { s.AllowProtected = true })
	for view, want := range map[View]string{Plain: "", Attributes: "m"} {
		x := p.Explain(r.now, view, parse("m,a=1"))
		name := ""
		for _, l := range x.Labels {
			if l.Name == "__name__" {
				name = l.Value
			}
		}
		if name != want {
			t.Errorf("view %d: the name is %q, want %q", view, name, want)
		}
	}
}
