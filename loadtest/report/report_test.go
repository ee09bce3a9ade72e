package report

import (
	"encoding/json"
	"encoding/xml"
	"io"
	"math"
	"strings"
	"testing"
	"time"
)

func result() *Result {
	r := &Result{
		Scenario: "rw1 <&>", Items: 9_000_000, Pushes: 4500, Seconds: 2, CPUSeconds: 2, Goal: 4.5e6, Floor: 4.9e6, RSSPeak: 64 << 20,
		AllocBytes: 1234, AllocObjects: -1, Verdict: "exact", Notes: []string{"a note"},
		Loads: []Load{{Name: "one", Items: 9_000_000, Pushes: 4500, P50: time.Millisecond, P99: 2 * time.Millisecond, P999: 3500 * time.Microsecond}},
	}
	for i := range 10 {
		r.Samples = append(r.Samples, Sample{At: float64(i) / 5, Items: uint64(i) * 1e6, RSS: uint64(i) << 20})
		r.Loads[0].Quantiles = append(r.Loads[0].Quantiles, Quantile{1 - math.Pow(2, -float64(i)), time.Duration(i) * time.Millisecond})
	}
	return r
}

func TestTable(t *testing.T) {
	var b strings.Builder
	two := result()
	two.Scenario = "two"
	two.Loads = append(two.Loads, Load{Name: "other", P50: time.Second})
	if err := (&Run{About{"a command", "1234567", "a machine", "2026-01-02"}, []*Result{result(), two}}).WriteTable(&b); err != nil {
		t.Fatal(err)
	}
	out := b.String()
	for _, want := range []string{"`a command` at 1234567, 2026-01-02; a machine", "4.50 M", "100 %", "4.90 M", "1.00 |", "2.00", "3.50", "64.0", "1.2 k", "exact", "two/one", "two/other", "1000.00", "- two: a note"} {
		if !strings.Contains(out, want) {
			t.Errorf("the table does not have %q:\n%s", want, out)
		}
	}
	length := 0
	for line := range strings.Lines(out) {
		if strings.HasPrefix(line, "|") {
			if length == 0 {
				length = len(line)
			}
			if len(line) != length {
				t.Errorf("a row has %d columns of text, the head %d:\n%s", len(line), length, out)
			}
		}
	}
}

func TestJSON(t *testing.T) {
	text, err := json.Marshal(&Run{About{Machine: "a machine"}, []*Result{result()}})
	if err != nil {
		t.Fatal(err)
	}
	var back Run
	if err := json.Unmarshal(text, &back); err != nil || back.Machine != "a machine" || back.Results[0].PerCPUSecond() != 4.5e6 {
		t.Errorf("%v: %+v", err, back)
	}
}

// points returns all coordinates of the lines of a plot, which must be XML.
func points(t *testing.T, svg string) (list []string) {
	t.Helper()
	d := xml.NewDecoder(strings.NewReader(svg))
	for {
		token, err := d.Token()
		if err == io.EOF {
			return list
		}
		if err != nil {
			t.Fatalf("%v:\n%s", err, svg)
		}
		if e, ok := token.(xml.StartElement); ok && e.Name.Local == "polyline" {
			for _, a := range e.Attr {
				if a.Name.Local == "points" {
					list = append(list, strings.Fields(a.Value)...)
				}
			}
		}
	}
}

func TestPlots(t *testing.T) {
	f := func(r *Result, want int) {
		t.Helper()
		var b strings.Builder
		if err := r.WritePlots(&b); err != nil {
			t.Fatal(err)
		}
		list := points(t, b.String())
		if len(list) != want || strings.Contains(b.String(), "NaN") || strings.Contains(b.String(), "Inf") || strings.Count(b.String(), "<g ") != 3 {
			t.Errorf("%d points, want %d:\n%s", len(list), want, b.String())
		}
	}
	f(result(), 10+9+10)
	f(&Result{Loads: []Load{{Name: "none"}}}, 0)
}

func TestPlotIsToScale(t *testing.T) {
	var b strings.Builder
	err := document(&b, plot("t", "x", "y", number, false, false, []line{{name: "l", x: []float64{0, 5, 10}, y: []float64{0, 50, 100}}}))
	if err != nil {
		t.Fatal(err)
	}
	var x, y []float64
	for _, p := range points(t, b.String()) {
		var px, py float64
		a, c, _ := strings.Cut(p, ",")
		if json.Unmarshal([]byte(a), &px) != nil || json.Unmarshal([]byte(c), &py) != nil {
			t.Fatal(p)
		}
		x, y = append(x, px), append(y, py)
	}
	if x[0] != left || y[0] != height-below || math.Abs(x[1]-(x[0]+x[2])/2) > 0.2 || math.Abs(y[1]-(y[0]+y[2])/2) > 0.2 || y[2] < top {
		t.Errorf("points are at %v and %v", x, y)
	}
}
