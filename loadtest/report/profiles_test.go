package report

import (
	"strings"
	"testing"
	"time"
)

func TestProfiles(t *testing.T) {
	r := result() // 4500 pushes on 2 s of CPU
	r.Profile = &Profile{Samples: 200, Parts: []Part{
		{Name: "decompress", Share: 0.25, Floor: 100 * time.Microsecond, Functions: []Function{{"s2.Decode", 0.2}, {"x.F[a|b]", 0.046}, {"small", 0.004}}},
		{Name: "nothing"}, {Name: "system calls"}, {Name: "road", Share: 0.75},
	}}
	other := result()
	other.Scenario = "two"
	other.Profile = &Profile{Samples: 3, Parts: []Part{{Name: "decompress"}, {Name: "nothing"}, {Name: "system calls", Share: 0.5}, {Name: "road", Share: 0.5}}}
	run := &Run{About{"c", "", "m", "d"}, []*Result{r, result(), other}}
	if !run.Profiled() || (&Run{Results: []*Result{result()}}).Profiled() || (*Run)(nil).Profiled() {
		t.Error("it does not know whether anything was profiled")
	}
	var b strings.Builder
	if err := WriteProfiles(&b, run); err != nil {
		t.Fatal(err)
	}
	words := strings.Join(strings.Fields(b.String()), " ")
	for _, want := range []string{
		"| scenario | us CPU/push | decompress | system calls | road |",
		"| rw1 <&> | 444 | 25.0 | | 75.0 |", "| two | 444 | | 50.0 | 50.0 |",
		"444 us of CPU a push, 200 samples",
		"| decompress | 111.1 | 25.0 | 100.0 | s2.Decode 20.0, x.F[a/b] 4.6 |", "| road | 333.3 | 75.0 | | |", "| all | 444.4 | 100.0 | 100.0 | |",
	} {
		if !strings.Contains(words, want) {
			t.Errorf("no %q in\n%s", want, b.String())
		}
	}
	if strings.Contains(words, "small") || strings.Contains(words, "nothing") || strings.Count(words, "## ") != 2 {
		t.Errorf("there is too much in\n%s", b.String())
	}
	b.Reset()
	if err := WritePage(&b, run, nil); err != nil || !strings.Contains(b.String(), "(profiles.md)") {
		t.Errorf("%v: the page does not name profiles.md", err)
	}
}

func TestResident(t *testing.T) {
	small, large := result(), result()
	const mib = 1 << 20
	small.Resident = &Resident{50 * mib, []ResidentPart{{"table", 40 * mib}, {"nothing", 100}, {"garbage", 12 * mib}, {"rest", -2 * mib}}}
	large.Scenario, large.RSSEnd = "two", 60*mib
	large.Resident = &Resident{60 * mib, []ResidentPart{{"table", 60 * mib}, {"nothing", 0}, {"garbage", 0}, {"rest", 0}}}
	var b strings.Builder
	(&Run{Results: []*Result{small, result(), large}}).resident(&b)
	words := strings.Join(strings.Fields(b.String()), " ")
	for _, want := range []string{
		"| scenario | RSS peak | while measured | then | table | garbage | rest |",
		"| rw1 <&> | 64.0 | 9.0 | 50.0 | 40.0 | 12.0 | -2.0 |", "| two | 64.0 | 60.0 | 60.0 | 60.0 | | |",
	} {
		if !strings.Contains(words, want) {
			t.Errorf("no %q in\n%s", want, b.String())
		}
	}
}
