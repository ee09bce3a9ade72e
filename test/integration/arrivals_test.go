package integration

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/prometheus/prometheus/model/exemplar"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/metadata"
)

// arrivals is what was sent or what arrived, per series in order, as text that shows every bit.
type arrivals struct {
	mu       sync.Mutex        // guards what follows
	series   map[string]entry  // by kind and labels
	metadata map[string]string // by metric name
	n        int
}

// entry is what one series has of one kind: samples, or exemplars. How the two interleave says nothing.
type entry struct {
	kind   string
	labels labels.Labels
	items  []string
}

func newArrivals() *arrivals {
	return &arrivals{series: map[string]entry{}, metadata: map[string]string{}}
}

func (a *arrivals) put(kind string, ls labels.Labels, items ...string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	key := kind + " of " + ls.String()
	e, ok := a.series[key]
	if !ok {
		e = entry{kind: kind, labels: ls.Copy()}
	}
	e.items = append(e.items, items...)
	a.series[key] = e
	a.n += len(items)
}

// add takes one sample; h and fh nil: a float.
func (a *arrivals) add(ls labels.Labels, st, t int64, v float64, h *histogram.Histogram, fh *histogram.FloatHistogram) {
	when := fmt.Sprintf("t=%d st=%d ", t, st)
	switch {
	case h != nil:
		a.put("samples", ls, when+fmt.Sprintf("int hint=%d schema=%d zero=%x/%d count=%d sum=%x neg=%v%v pos=%v%v bounds=%x",
			h.CounterResetHint, h.Schema, math.Float64bits(h.ZeroThreshold), h.ZeroCount, h.Count, math.Float64bits(h.Sum),
			h.NegativeSpans, h.NegativeBuckets, h.PositiveSpans, h.PositiveBuckets, bits(h.CustomValues)))
	case fh != nil:
		a.put("samples", ls, when+fmt.Sprintf("float hint=%d schema=%d zero=%x/%x count=%x sum=%x neg=%v%x pos=%v%x bounds=%x",
			fh.CounterResetHint, fh.Schema, math.Float64bits(fh.ZeroThreshold), math.Float64bits(fh.ZeroCount),
			math.Float64bits(fh.Count), math.Float64bits(fh.Sum),
			fh.NegativeSpans, bits(fh.NegativeBuckets), fh.PositiveSpans, bits(fh.PositiveBuckets), bits(fh.CustomValues)))
	default:
		a.put("samples", ls, when+fmt.Sprintf("v=%x", math.Float64bits(v)))
	}
}

func (a *arrivals) addExemplar(ls labels.Labels, e exemplar.Exemplar) {
	a.put("exemplars", ls, fmt.Sprintf("t=%d v=%x %s", e.Ts, math.Float64bits(e.Value), e.Labels))
}

func (a *arrivals) addMetadata(name string, m metadata.Metadata) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.metadata[name] = fmt.Sprintf("%s %q %q", m.Type, m.Help, m.Unit)
}

func (a *arrivals) len() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.n
}

// stamped is what a receiver should see when every series gets one more label.
func (a *arrivals) stamped(name, val string) *arrivals {
	return a.mapped(func(e entry) entry {
		e.labels = labels.NewBuilder(e.labels).Set(name, val).Labels()
		return e
	})
}

// withoutStart is what a receiver should see where the protocol has no start timestamps.
func (a *arrivals) withoutStart() *arrivals {
	return a.mapped(func(e entry) entry {
		for i, item := range e.items {
			before, after, ok := strings.Cut(item, " st=")
			if _, rest, _ := strings.Cut(after, " "); ok {
				e.items[i] = before + " st=0 " + rest
			}
		}
		return e
	})
}

// withoutHints is what a TSDB gives back: it recomputes the hints that tell a reset counter.
func (a *arrivals) withoutHints() *arrivals {
	return a.mapped(func(e entry) entry {
		for i, item := range e.items {
			before, after, ok := strings.Cut(item, "hint=")
			if _, rest, _ := strings.Cut(after, " "); ok {
				e.items[i] = before + rest
			}
		}
		return e
	})
}

// without leaves out the series and the metadata whose names start so.
func (a *arrivals) without(prefix string) *arrivals {
	out := a.mapped(func(e entry) entry {
		if strings.HasPrefix(e.labels.Get(labels.MetricName), prefix) {
			e.items = nil
		}
		return e
	})
	maps.DeleteFunc(out.metadata, func(name, _ string) bool { return strings.HasPrefix(name, prefix) })
	return out
}

// withoutExemplars leaves the samples.
func (a *arrivals) withoutExemplars() *arrivals {
	return a.mapped(func(e entry) entry {
		if e.kind == "exemplars" {
			e.items = nil
		}
		return e
	})
}

// mapped copies; an entry that f leaves without items is left out.
func (a *arrivals) mapped(f func(entry) entry) *arrivals {
	a.mu.Lock()
	defer a.mu.Unlock()
	out := newArrivals()
	maps.Copy(out.metadata, a.metadata)
	for _, e := range a.series {
		e.items = slices.Clone(e.items)
		if e = f(e); len(e.items) > 0 {
			out.put(e.kind, e.labels, e.items...)
		}
	}
	return out
}

// checkEqual compares got, series for series and item for item, with what a says it should be.
func (a *arrivals) checkEqual(t testing.TB, where string, got *arrivals) {
	t.Helper()
	compareMaps(t, where, "the", a.series, got.series, func(want, got entry) string {
		a, b := want.items, got.items
		for i := range max(len(a), len(b)) {
			switch {
			case i >= len(a):
				return fmt.Sprintf("%d items, want %d; the first too many: %s", len(b), len(a), b[i])
			case i >= len(b):
				return fmt.Sprintf("%d items, want %d; the first missing: %s", len(b), len(a), a[i])
			case a[i] != b[i]:
				return fmt.Sprintf("item %d\n got %s\nwant %s", i, b[i], a[i])
			}
		}
		return ""
	})
}

func (a *arrivals) checkMetadata(t testing.TB, where string, got *arrivals) {
	t.Helper()
	compareMaps(t, where, "metadata of", a.metadata, got.metadata, func(a, b string) string {
		if a != b {
			return fmt.Sprintf("got %s, want %s", b, a)
		}
		return ""
	})
}

func compareMaps[V any](t testing.TB, where, noun string, want, got map[string]V, differ func(want, got V) string) {
	t.Helper()
	faults := 0
	fault := func(format string, args ...any) {
		t.Helper()
		if faults++; faults <= 5 {
			t.Errorf(where+": "+noun+" "+format, args...)
		}
	}
	for _, key := range slices.Sorted(maps.Keys(want)) {
		if _, ok := got[key]; !ok {
			fault("%s is missing", key)
		} else if d := differ(want[key], got[key]); d != "" {
			fault("%s: %s", key, d)
		}
	}
	for _, key := range slices.Sorted(maps.Keys(got)) {
		if _, ok := want[key]; !ok {
			fault("%s was never sent", key)
		}
	}
	if faults > 5 {
		t.Errorf("%s: %d differences in all", where, faults)
	}
}

func bits(fs []float64) []uint64 {
	out := make([]uint64, len(fs))
	for i, f := range fs {
		out[i] = math.Float64bits(f)
	}
	return out
}
