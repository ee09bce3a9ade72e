package report

import (
	"encoding/xml"
	"fmt"
	"io"
	"math"
	"strings"
)

// The size of a plot, and of the room around it.
const (
	width, height           = 720, 320
	left, right, top, below = 78, 150, 40, 46
)

// colors are told apart also by those who see few of them (Okabe and Ito).
var colors = [...]string{"#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000"}

// line is one line of a plot.
type line struct {
	name string
	x, y []float64
}

// axis maps values to where they are drawn.
type axis struct {
	lo, hi   float64
	log      bool
	from, to float64
}

func (a axis) at(v float64) float64 {
	lo, hi := a.lo, a.hi
	if a.log {
		v, lo, hi = math.Log10(v), math.Log10(lo), math.Log10(hi)
	}
	return a.from + (v-lo)/(hi-lo)*(a.to-a.from)
}

// ticks are round values along the axis.
func (a axis) ticks() (list []float64) {
	if a.log {
		for v := math.Pow(10, math.Floor(math.Log10(a.lo))); v <= a.hi*1.001; v *= 10 {
			if v >= a.lo*0.999 {
				list = append(list, v)
			}
		}
		return list
	}
	step := math.Pow(10, math.Floor(math.Log10((a.hi-a.lo)/4)))
	for _, m := range []float64{5, 2} {
		if (a.hi-a.lo)/(step*m) >= 4 {
			step *= m
			break
		}
	}
	for v := math.Ceil(a.lo/step) * step; v <= a.hi*1.0001; v += step {
		list = append(list, v)
	}
	return list
}

// document writes plots below each other.
func document(w io.Writer, plots ...string) error {
	var b strings.Builder
	all := height * len(plots)
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" height="%d" font-family="sans-serif" font-size="12">`+"\n", width, all, width, all)
	b.WriteString(`<rect width="100%" height="100%" fill="#fff"/>` + "\n")
	for i, p := range plots {
		fmt.Fprintf(&b, `<g transform="translate(0 %d)">`+"\n%s</g>\n", i*height, p)
	}
	b.WriteString("</svg>\n")
	_, err := io.WriteString(w, b.String())
	return err
}

// plot is lines with their axes. Lines without points are left out of it.
func plot(title, xName, yName string, xTick func(float64) string, logX, logY bool, lines []line) string {
	x, y := spread(lines, func(l line) []float64 { return l.x }, logX), spread(lines, func(l line) []float64 { return l.y }, logY)
	x.from, x.to, y.from, y.to = left, width-right, height-below, top
	var b strings.Builder
	fmt.Fprintf(&b, `<text x="%d" y="20" font-size="14">%s</text>`+"\n", left, text(title))
	for _, v := range y.ticks() {
		fmt.Fprintf(&b, `<path d="M%d %.1fH%d" stroke="#ddd"/><text x="%d" y="%.1f" text-anchor="end">%s</text>`+"\n", left, y.at(v), width-right, left-6, y.at(v)+4, number(v))
	}
	for _, v := range x.ticks() {
		fmt.Fprintf(&b, `<path d="M%.1f %dV%d" stroke="#ddd"/><text x="%.1f" y="%d" text-anchor="middle">%s</text>`+"\n", x.at(v), top, height-below, x.at(v), height-below+16, text(xTick(v)))
	}
	fmt.Fprintf(&b, `<text x="%d" y="%d" text-anchor="middle">%s</text>`+"\n", (left+width-right)/2, height-8, text(xName))
	fmt.Fprintf(&b, `<text transform="translate(16 %d) rotate(-90)" text-anchor="middle">%s</text>`+"\n", (top+height-below)/2, text(yName))
	for i, l := range lines {
		if len(l.x) == 0 {
			continue
		}
		color := colors[i%len(colors)]
		fmt.Fprintf(&b, `<polyline fill="none" stroke="%s" stroke-width="2" points="`, color)
		for k := range l.x {
			fmt.Fprintf(&b, "%.1f,%.1f ", x.at(l.x[k]), y.at(l.y[k]))
		}
		fmt.Fprintf(&b, `"/><text x="%d" y="%d" fill="%s">%s</text>`+"\n", width-right+8, top+12+16*i, color, text(l.name))
	}
	return b.String()
}

// spread is an axis that holds all values of lines: from 0, or from the smallest where it is logarithmic.
func spread(lines []line, values func(line) []float64, log bool) axis {
	a := axis{log: log}
	if log {
		a.lo, a.hi = math.Inf(1), math.Inf(-1)
	}
	for _, l := range lines {
		for _, v := range values(l) {
			a.lo, a.hi = min(a.lo, v), max(a.hi, v)
		}
	}
	switch {
	case log && !(a.lo > 0 && a.hi > a.lo):
		a.lo, a.hi = 1, 10
	case !(a.hi > a.lo):
		a.hi = a.lo + 1
	case !log:
		a.hi *= 1.05
	}
	return a
}

// number writes a tick.
func number(v float64) string {
	switch {
	case v >= 1e6:
		return fmt.Sprintf("%.3g M", v/1e6)
	case v >= 1e4:
		return fmt.Sprintf("%.3g k", v/1e3)
	}
	return fmt.Sprintf("%.3g", v)
}

// text makes s safe inside SVG.
func text(s string) string {
	var b strings.Builder
	_ = xml.EscapeText(&b, []byte(s)) // a builder takes everything
	return b.String()
}

// WritePlots writes what plots there are of a result: latency, throughput and memory.
func (r *Result) WritePlots(w io.Writer) error {
	return document(w, r.latency(), r.throughput(), r.memory())
}

// latency plots the distribution of latency of every load: how long, up to which share of pushes.
func (r *Result) latency() string {
	var lines []line
	for _, load := range r.Loads {
		l := line{name: load.Name}
		for _, q := range load.Quantiles {
			l.x, l.y = append(l.x, 1/(1-q.Q)), append(l.y, max(0.001, float64(q.D)/1e6))
		}
		lines = append(lines, l)
	}
	share := func(v float64) string { return fmt.Sprintf("%.6g %%", 100*(1-1/v)) }
	return plot(r.Scenario+": latency of accepted pushes", "share of pushes that took no longer", "ms", share, true, true, lines)
}

// throughput plots accepted items per second over time.
func (r *Result) throughput() string {
	l := line{name: "items/s"}
	for i := 1; i < len(r.Samples); i++ {
		a, b := r.Samples[i-1], r.Samples[i]
		if b.At > a.At {
			l.x, l.y = append(l.x, b.At), append(l.y, float64(b.Items-a.Items)/(b.At-a.At))
		}
	}
	return plot(r.Scenario+": throughput", "seconds", "items/s", number, false, false, []line{l})
}

// memory plots the resident set over time.
func (r *Result) memory() string {
	l := line{name: "RSS"}
	for _, s := range r.Samples {
		l.x, l.y = append(l.x, s.At), append(l.y, float64(s.RSS)/(1<<20))
	}
	return plot(r.Scenario+": memory", "seconds", "MiB", number, false, false, []line{l})
}
