package limits

import (
	"testing"
)

func TestReload(t *testing.T) {
	ms := NewMeters()
	m := open(ms, "prod", "a", "metrics", samples(100, 10), Rates{})
	mustSend(t, m, 0, 800, 0)
	again := open(ms, "prod", "a", "metrics", samples(100, 10), Rates{})
	if again != m {
		t.Error("another Meter for the same name")
	}
	mustSend(t, m, 0, 201, 1)
	// Ten times as much: a fifth of the burst is left, as before.
	open(ms, "prod", "a", "metrics", samples(1000, 10), Rates{})
	mustSend(t, m, 0, 2001, 1)
	mustSend(t, m, 0, 2000, 0)
	mustSend(t, m, 1, 1000, 0)
	// Less: what is left is never more than the burst.
	mustSend(t, m, 1000, 0, 0)
	open(ms, "prod", "a", "metrics", samples(10, 10), Rates{})
	mustSend(t, m, 1000, 60, 0)
	mustSend(t, m, 1000, 60, 2)
	// A debt is paid sooner at a higher rate.
	open(ms, "prod", "a", "metrics", samples(10, 10), Rates{})
	mustSend(t, m, 2000, 600, 0)
	mustSend(t, m, 2000, 1, 51)
	open(ms, "prod", "a", "metrics", samples(100, 10), Rates{})
	mustSend(t, m, 2000, 1, 6)
	// No limit, and one again: full.
	open(ms, "prod", "a", "metrics", Rates{}, Rates{})
	mustSend(t, m, 2000, 1<<40, 0)
	open(ms, "prod", "a", "metrics", samples(100, 10), Rates{})
	mustSend(t, m, 2000, 1000, 0)
	mustSend(t, m, 2000, 1, 1)
}

// A configuration that fails half way has changed nothing.
func TestReloadThatFails(t *testing.T) {
	ms := NewMeters()
	a := open(ms, "prod", "a", "metrics", samples(100, 10), Rates{})
	mustSend(t, a, 0, 500, 0)
	if m := ms.Meter("prod", "a", "metrics", samples(1, 1), own(samples(1, 1))); m != a {
		t.Error("another Meter for the same name")
	}
	ms.Meter("prod", "new", "metrics", samples(1, 1), Rates{})
	mustSend(t, a, 0, 500, 0)
	if l := ms.Levels(at(0)); len(l) != 1 || l[0].PerSecond != 100 || l[0].Used != 1 {
		t.Errorf("%+v", l)
	}
	// The next one is whole, and knows nothing of the one that failed.
	ms.Meter("prod", "a", "metrics", samples(200, 10), Rates{})
	ms.Forget(func(_, client string) bool { return client == "a" })
	mustSend(t, a, 5, 1000, 0)
	mustSend(t, a, 5, 1, 1)
	if l := ms.Levels(at(5)); len(l) != 1 || l[0].PerSecond != 200 {
		t.Errorf("%+v", l)
	}
}

func TestForget(t *testing.T) {
	ms := NewMeters()
	a, b := open(ms, "prod", "a", "metrics", samples(100, 10), own(samples(100, 10))), open(ms, "prod", "b", "metrics", samples(100, 10), own(samples(100, 10)))
	open(ms, "dev", "a", "metrics", samples(100, 10), Rates{})
	mustSend(t, a, 0, 500, 0)
	held, e := push(b, at(0), 0, 100)
	if e != nil {
		t.Fatal(e)
	}
	if n := len(ms.Levels(at(0))); n != 4 {
		t.Errorf("%d levels", n)
	}
	ms.Forget(func(env, client string) bool { return env == "prod" && client == "a" })
	levels := ms.Levels(at(0))
	if len(levels) != 2 || levels[0].Client != "" || levels[1].Client != "a" {
		t.Errorf("%+v", levels)
	}
	if n := len(a.pool.active); n != 1 {
		t.Errorf("%d clients share", n)
	}
	held.Return()
	// All of the burst is the other's now.
	mustSend(t, a, 0, 500, 0)
	mustSend(t, a, 0, 1, 1)
}

func TestLevels(t *testing.T) {
	ms := NewMeters()
	r := own(Rates{RequestsPerSecond: 1, BytesPerSecond: 100, ItemsPerSecond: 50, ItemsKey: "samples_per_second"})
	m := open(ms, "prod", "a", "metrics", samples(100, 10), r)
	open(ms, "prod", "b", "logs", Rates{}, Rates{})
	if _, e := push(m, at(0), 200, 500); e != nil {
		t.Fatal(e)
	}
	want := []Level{
		{"prod", "", "metrics", "samples_per_second", "environments.prod.metrics.limits.samples_per_second", 100, 50, 0.5},
		{"prod", "a", "", "bytes_per_second", "environments.prod.clients.a.limits.bytes_per_second", 100, 20, 0.2},
		{"prod", "a", "", "requests_per_second", "environments.prod.clients.a.limits.requests_per_second", 1, 0.1, 0.1},
		{"prod", "a", "metrics", "samples_per_second", "environments.prod.clients.a.limits.samples_per_second", 50, 50, 1},
	}
	got := ms.Levels(at(0))
	if len(got) != len(want) {
		t.Fatalf("%+v", got)
	}
	for i, w := range want {
		if g := got[i]; g.Used < w.Used-1e-9 || g.Used > w.Used+1e-9 {
			t.Errorf("%s: %g used, want %g", g.Key, g.Used, w.Used)
		} else if g.Used = w.Used; g != w {
			t.Errorf("got  %+v\nwant %+v", g, w)
		}
	}
	// To look is not to change, and time heals.
	if got := ms.Levels(at(100)); got[0].Used != 0 || got[0].Asked > 1 {
		t.Errorf("%+v", got[0])
	}
	if got := ms.Levels(at(0)); got[0].Used != 0.5 {
		t.Errorf("%+v", got[0])
	}
}
