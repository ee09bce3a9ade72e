package otlp_test

import (
	"slices"
	"strings"
	"testing"

	prom "github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/relabel"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/pdata/pmetric/pmetricotlp"

	"github.com/telemetry-gateway/telemetry-gateway/internal/labels"
)

// reduction is what happens to data points, as naively as it can be said: a push of pdata's structs, Prometheus' own rules.
type reduction struct {
	stamps          []labels.Label
	rules, resource []*relabel.Config
	// refuse and stale are reducetest's.
	refuse, stale func(ls []labels.Label) bool
}

// apply returns what leaves of the push raw, in pdata's encoding, and how many points that is.
func (d reduction) apply(t testing.TB, raw []byte) (left []byte, items int) {
	t.Helper()
	req := pmetricotlp.NewExportRequest()
	if err := req.UnmarshalProto(raw); err != nil {
		t.Fatal(err)
	}
	req.Metrics().ResourceMetrics().RemoveIf(func(rm pmetric.ResourceMetrics) bool {
		attrs := rm.Resource().Attributes()
		before := sorted(texts(attrs, ""))
		after, keep := process(before, d.resource)
		if !keep {
			return true
		}
		if !slices.Equal(before, after) {
			rewrite(attrs, before, after, func(string) bool { return false }, false)
		}
		scopes := rm.ScopeMetrics().Len()
		rm.ScopeMetrics().RemoveIf(func(sm pmetric.ScopeMetrics) bool { return d.scope(attrs, sm) })
		return scopes > 0 && rm.ScopeMetrics().Len() == 0
	})
	return must(req.MarshalProto()), req.Metrics().DataPointCount()
}

// scope reduces sm and says whether that emptied it.
func (d reduction) scope(resource pcommon.Map, sm pmetric.ScopeMetrics) (emptied bool) {
	came := pmetric.NewMetricSlice()
	sm.Metrics().MoveAndAppendTo(came)
	for _, m := range came.All() {
		if count(m) == 0 {
			m.CopyTo(sm.Metrics().AppendEmpty())
			continue
		}
		shared := texts(resource, "resource.")
		shared = append(shared, labels.Label{Name: "scope.name", Value: sm.Scope().Name()}, labels.Label{Name: "scope.version", Value: sm.Scope().Version()})
		shared = append(shared, labels.Label{Name: "__name__", Value: m.Name()})
		var names []string // of each point that leaves
		removePoints(m, func(attrs pcommon.Map, stale bool) bool {
			name, out := d.point(m.Name(), attrs, shared, stale)
			if out {
				names = append(names, name)
			}
			return !out
		})
		var different []string
		for _, n := range names {
			if !slices.Contains(different, n) {
				different = append(different, n)
			}
		}
		for _, n := range different {
			leaves := sm.Metrics().AppendEmpty()
			m.CopyTo(leaves)
			leaves.SetName(n)
			i := -1
			removePoints(leaves, func(pcommon.Map, bool) bool { i++; return names[i] != n })
		}
	}
	return came.Len() > 0 && sm.Metrics().Len() == 0
}

// point reduces one point of a metric of that name, and returns under which it leaves, if it does.
func (d reduction) point(name string, attrs pcommon.Map, shared []labels.Label, stale bool) (leavesAs string, out bool) {
	own := slices.DeleteFunc(texts(attrs, ""), func(l labels.Label) bool { return l.Name == "__name__" })
	before := sorted(slices.Concat(shared, d.stamps, own))
	after, keep := process(before, d.rules)
	if !keep || d.refuse != nil && d.refuse(after) || stale && d.stale != nil && d.stale(after) {
		return "", false
	}
	stampMap(attrs, d.stamps)
	if !slices.Equal(before, after) {
		rewrite(attrs, before, after, readOnly, true)
	}
	for _, l := range after {
		if l.Name == "__name__" {
			name = l.Value
		}
	}
	return name, true
}

// readOnly says whether rules cannot change an attribute of a point of that name.
func readOnly(name string) bool {
	return strings.HasPrefix(name, "resource.") || name == "scope.name" || name == "scope.version" || name == "__name__"
}

// texts are the labels that the attributes m are, in no order.
func texts(m pcommon.Map, prefix string) (ls []labels.Label) {
	for k, v := range m.All() {
		ls = append(ls, labels.Label{Name: prefix + k, Value: v.AsString()})
	}
	return ls
}

// sorted is ls sorted, without what is empty or doubled; the first stays.
func sorted(ls []labels.Label) []labels.Label {
	ls = slices.DeleteFunc(ls, func(l labels.Label) bool { return l.Value == "" })
	slices.SortStableFunc(ls, func(a, b labels.Label) int { return strings.Compare(a.Name, b.Name) })
	return slices.CompactFunc(ls, func(a, b labels.Label) bool { return a.Name == b.Name })
}

func process(ls []labels.Label, rules []*relabel.Config) (after []labels.Label, keep bool) {
	b := prom.NewBuilder(prom.EmptyLabels())
	for _, l := range ls {
		b.Set(l.Name, l.Value)
	}
	keep = relabel.ProcessBuilder(b, rules...)
	b.Labels().Range(func(l prom.Label) { after = append(after, labels.Label{Name: l.Name, Value: l.Value}) })
	return after, keep
}

// rewrite makes of the attributes m, which are the labels before, the labels after. Labels that are readOnly stay. If single,
// doubled ones go.
func rewrite(m pcommon.Map, before, after []labels.Label, readOnly func(string) bool, single bool) {
	seen := map[string]bool{}
	m.RemoveIf(func(k string, v pcommon.Value) bool {
		if readOnly(k) {
			return false
		}
		again := false
		if v.AsString() != "" {
			again, seen[k] = seen[k], true
		}
		was, is := find(before, k), find(after, k)
		return single && again || was != is
	})
	for _, l := range after {
		if !readOnly(l.Name) && !slices.Contains(before, l) {
			m.PutStr(l.Name, l.Value)
		}
	}
}

// find is the value of that name; empty if there is none.
func find(ls []labels.Label, name string) string {
	if i := slices.IndexFunc(ls, func(l labels.Label) bool { return l.Name == name }); i >= 0 {
		return ls[i].Value
	}
	return ""
}

func count(m pmetric.Metric) (n int) {
	eachPoint(m, func(pcommon.Map) { n++ })
	return n
}

// removePoints removes points of m.
func removePoints(m pmetric.Metric, remove func(attrs pcommon.Map, stale bool) bool) {
	switch m.Type() {
	case pmetric.MetricTypeGauge:
		m.Gauge().DataPoints().RemoveIf(func(p pmetric.NumberDataPoint) bool { return remove(p.Attributes(), p.Flags().NoRecordedValue()) })
	case pmetric.MetricTypeSum:
		m.Sum().DataPoints().RemoveIf(func(p pmetric.NumberDataPoint) bool { return remove(p.Attributes(), p.Flags().NoRecordedValue()) })
	case pmetric.MetricTypeHistogram:
		m.Histogram().DataPoints().RemoveIf(func(p pmetric.HistogramDataPoint) bool {
			return remove(p.Attributes(), p.Flags().NoRecordedValue())
		})
	case pmetric.MetricTypeExponentialHistogram:
		m.ExponentialHistogram().DataPoints().RemoveIf(func(p pmetric.ExponentialHistogramDataPoint) bool {
			return remove(p.Attributes(), p.Flags().NoRecordedValue())
		})
	case pmetric.MetricTypeSummary:
		m.Summary().DataPoints().RemoveIf(func(p pmetric.SummaryDataPoint) bool {
			return remove(p.Attributes(), p.Flags().NoRecordedValue())
		})
	}
}
