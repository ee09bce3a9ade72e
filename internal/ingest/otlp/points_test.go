package otlp_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/prometheus/prometheus/model/relabel"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/pdata/pmetric/pmetricotlp"

	"github.com/telemetry-gateway/telemetry-gateway/internal/ingest"
	"github.com/telemetry-gateway/telemetry-gateway/internal/ingest/otlp"
	"github.com/telemetry-gateway/telemetry-gateway/internal/ingest/reducetest"
	"github.com/telemetry-gateway/telemetry-gateway/internal/labels"
)

// pointReducer is reducetest's, but that it lets points differ in what rules do not see: attributes of scopes, doubled ones.
// It holds that what has one key has the same labels.
func pointReducer(t testing.TB, d reduction) *reducetest.Reducer {
	rules := d.rules
	if rules == nil {
		rules = []*relabel.Config{}
	}
	r := reducetest.New(t, d.stamps, rules, d.resource)
	known := map[labels.Key]string{}
	r.Judge = func(ss []ingest.Series, view func(int, *labels.Set)) {
		// In an order of its own, as a table in shards asks.
		for _, i := range rand.New(rand.NewPCG(1, uint64(len(ss)))).Perm(len(ss)) {
			s := &ss[i]
			var set labels.Set
			view(i, &set)
			key, text := s.Key.Minus(s.Overwritten), reducetest.Text(set.All)
			if was, ok := known[key]; ok && was != text {
				t.Errorf("%q and %q have one key, %x", was, text, key)
			}
			known[key] = text
			s.Change, s.Verdict = r.Item(&set)
			left := s.Change.Append(nil, set.All)
			if s.Verdict.Out() && d.refuse != nil && d.refuse(left) {
				s.Verdict = ingest.Refuse
				r.Refused++
			}
			s.DropStale = d.stale != nil && d.stale(left)
		}
		r.Seen = append(r.Seen, ss...)
	}
	return r
}

// reduce has d on raw and compares what leaves with what pdata and Prometheus make of it.
func reduce(t testing.TB, d reduction, raw []byte, c ingest.Content) (out []byte, r *reducetest.Reducer) {
	t.Helper()
	p := otlp.MetricsHTTP
	before := bytes.Clone(raw)
	c.Stock = stocks.Stock()
	defer stocks.Restock(c.Stock)
	r = remembering(t, d)
	c.Reducer = r.Reducer
	var b ingest.Batch
	var err error
	for range 2 { // the second time all is remembered that can be
		if b, err = p.Decode(raw, c); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.Reduce(r.Reducer); err != nil {
		t.Fatal(err)
	}
	e := ingest.Edit{Form: p.Forms[0], Stamps: d.stamps}
	for range 2 { // a push may be written twice
		bound := b.Bound(e)
		dst := make([]byte, 3, 3+bound)
		copy(dst, "pre")
		result, err := b.Encode(dst, e)
		if err != nil {
			t.Fatal(err)
		}
		out = result.Body
		if result.Unchanged {
			if bound != 0 || c.JSON {
				t.Fatalf("unchanged with a bound of %d", bound)
			}
			out = append(dst, raw...)
		} else if !bytes.HasPrefix(out, []byte("pre")) || len(out)-3 > bound || bound > 0 && &out[0] != &dst[0] {
			t.Fatalf("%d bytes appended, bound %d", len(out)-3, bound)
		}
		out = out[3:]
		again, err := p.Decode(out, ingest.Content{})
		if err != nil {
			t.Fatal(err)
		}
		if n := result.Sent.Items; again.Items() != n || len(result.Refused)+len(result.Dropped) > 0 {
			t.Fatalf("%d points left, result %+v", again.Items(), result)
		}
		stale := 0
		for _, s := range r.Seen {
			if s.Verdict.Out() && s.DropStale {
				stale += int(s.Stale)
			}
		}
		if sum := result.Sent.Items + r.Dropped + r.Refused + stale; sum != b.Items() {
			t.Fatalf("%d points came, %d sent, %d dropped, %d refused, %d stale", b.Items(), result.Sent.Items, r.Dropped, r.Refused, stale)
		}
	}
	if !bytes.Equal(raw, before) {
		t.Fatal("what was received was written to")
	}
	source := raw
	if c.JSON {
		if source, _, err = references["metrics"].viewJSON(raw); err != nil {
			t.Fatal(err)
		}
	}
	want, items := d.apply(t, source)
	again, _ := p.Decode(out, ingest.Content{})
	if got := viewOf(t, references["metrics"], out); !bytes.Equal(got, want) || again.Items() != items {
		t.Fatalf("%d points left, want %d; pdata sees another push:\n got %q\nwant %q", again.Items(), items, got, want)
	}
	return out, r
}

// pointRules are rules of all kinds for the pushes that randomMetricsPush makes.
var pointRules = []string{
	"",
	"- {action: labeldrop, regex: attribute.1}",
	"- {action: labeldrop, regex: 'attribute.*|environment|k8s_cluster|team'}",
	"- {action: labelkeep, regex: __name__|attribute.2}",
	"- {action: drop, source_labels: [attribute.0], regex: '.*[0-4]'}",
	"- {action: keep, source_labels: [no such label], regex: x}",
	"- {action: drop, source_labels: [__name__], regex: b}",
	"- {target_label: __name__, replacement: 'all.one'}",
	"- {source_labels: [__name__, attribute.0], target_label: __name__, regex: '(a|b);(..).*', replacement: '$1$2'}",
	"- {action: labeldrop, regex: __name__}",
	"- {target_label: environment, replacement: other}\n- {target_label: empty, replacement: x}\n- {target_label: A, replacement: x}",
	"- {source_labels: [resource.attribute.0, scope.name], target_label: from, separator: /}",
	"- {action: labelmap, regex: 'resource.attribute.(.)', replacement: 'attribute.$1'}",
	"- {action: lowercase, source_labels: [attribute.1], target_label: attribute.1}\n- {action: hashmod, source_labels: [attribute.2], modulus: 3, target_label: attribute.2}",
	"- {action: labelmap, regex: '(attribute)..', replacement: 'resource.$1'}\n- {target_label: scope.name, replacement: x}",
}

// resourceRules are the same for resources.
var resourceRules = []string{
	"",
	"- {action: labeldrop, regex: attribute.1}",
	"- {action: labelkeep, regex: nothing}",
	"- {action: drop, source_labels: [attribute.0], regex: '.*[0-4]'}",
	"- {target_label: resource.x, replacement: 'yes'}\n- {target_label: empty, replacement: x}",
}

// randomMetricsPush is a push that rules have something to say about.
func randomMetricsPush(r *rand.Rand, items int) pmetricotlp.ExportRequest {
	md := randomMetrics(r, items)
	more := func(m pcommon.Map) {
		for _, k := range []string{"resource.attribute.0", "scope.name", "empty", "__name__", "resource.x", "A"} {
			if r.IntN(6) == 0 {
				m.PutStr(k, []string{"", "x", "y"}[r.IntN(3)])
			}
		}
		if r.IntN(8) == 0 {
			for i := range r.IntN(40) {
				m.PutInt(fmt.Sprint("more.", i), int64(i))
			}
		}
	}
	for _, rm := range md.ResourceMetrics().All() {
		more(rm.Resource().Attributes())
		for _, sm := range rm.ScopeMetrics().All() {
			for _, m := range sm.Metrics().All() {
				m.SetName([]string{"", "a", "b"}[r.IntN(3)])
				eachPoint(m, more)
				randomFlags(r, m)
			}
		}
	}
	return pmetricotlp.NewExportRequestFromMetrics(md)
}

func randomFlags(r *rand.Rand, m pmetric.Metric) {
	flags := pmetric.DefaultDataPointFlags.WithNoRecordedValue(true)
	switch m.Type() {
	case pmetric.MetricTypeGauge:
		for _, p := range m.Gauge().DataPoints().All() {
			if r.IntN(3) == 0 {
				p.SetFlags(flags)
			}
		}
	case pmetric.MetricTypeHistogram:
		for _, p := range m.Histogram().DataPoints().All() {
			if r.IntN(3) == 0 {
				p.SetFlags(flags)
			}
		}
	}
}

func (d reduction) with(t testing.TB, rules, resource string) reduction {
	if rules != "" {
		d.rules = reducetest.Rules(t, rules)
	}
	if resource != "" {
		d.resource = reducetest.Rules(t, resource)
	}
	return d
}

func TestPointsLikePrometheus(t *testing.T) {
	r := rand.New(rand.NewPCG(21, 22))
	odd := func(ls []labels.Label) bool { return len(reducetest.Text(ls))%3 == 0 }
	for _, rules := range pointRules {
		for _, resource := range resourceRules {
			d := reduction{}.with(t, rules, resource)
			for n := range 4 {
				if d.stamps = nil; n%2 == 0 {
					d.stamps = stamps
				}
				if d.refuse, d.stale = nil, nil; n%3 == 0 {
					d.refuse = odd
				}
				if n%4 == 0 {
					d.stale = odd
				}
				req := randomMetricsPush(r, r.IntN(40))
				reduce(t, d, must(req.MarshalProto()), ingest.Content{})
				reduce(t, d, must(req.MarshalJSON()), ingest.Content{JSON: true})
			}
		}
	}
}
