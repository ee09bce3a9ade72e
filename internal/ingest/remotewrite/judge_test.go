package remotewrite

import (
	"math"
	"slices"
	"testing"

	"github.com/prometheus/common/model"
	prom "github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/relabel"
	"github.com/prometheus/prometheus/prompb"
	writev2 "github.com/prometheus/prometheus/prompb/io/prometheus/write/v2"

	"github.com/telemetry-gateway/telemetry-gateway/internal/ingest"
	"github.com/telemetry-gateway/telemetry-gateway/internal/ingest/reducetest"
	"github.com/telemetry-gateway/telemetry-gateway/internal/labels"
)

// judge does on structs what a Reducer has a door do. Without rules and funcs it changes nothing but stamps.
type judge struct {
	stamps []labels.Label
	rules  []*relabel.Config
	refuse func([]labels.Label) bool
	stale  func([]labels.Label) bool

	// What it met: items that left nothing behind, and what they were.
	dropped, refused, superseded int
	held                         ingest.Count
	series                       []ingest.Series // without their keys
}

// reducer is a Reducer that judges alike.
func (j *judge) reducer(t testing.TB) *reducetest.Reducer {
	r := reducetest.New(t, j.stamps, j.rules, nil)
	r.Refuse, r.Stale = j.refuse, j.stale
	return r
}

// forget returns j as if it had met nothing.
func (j *judge) forget() *judge {
	return &judge{stamps: j.stamps, rules: j.rules, refuse: j.refuse, stale: j.stale}
}

// final is what the labels of a series become. rewritten: they are no longer what stamps alone make of them.
func (j *judge) final(ls []prompb.Label) (final []prompb.Label, rewritten bool, v ingest.Verdict) {
	view := canonicalLabels(ls, j.stamps)
	view = slices.CompactFunc(view, func(a, b prompb.Label) bool { return a.Name == b.Name })
	b := prom.NewBuilder(prom.EmptyLabels())
	for _, l := range view {
		b.Set(l.Name, l.Value)
	}
	if !relabel.ProcessBuilder(b, j.rules...) {
		return nil, true, ingest.Drop
	}
	b.Labels().Range(func(l prom.Label) {
		// What stays keeps what only the sender knows.
		i := slices.IndexFunc(view, func(v prompb.Label) bool { return v.Name == l.Name && v.Value == l.Value })
		if i >= 0 {
			final = append(final, view[i])
		} else {
			final = append(final, prompb.Label{Name: l.Name, Value: l.Value})
		}
	})
	if j.refuse != nil && j.refuse(plainLabels(final)) {
		return nil, true, ingest.Refuse
	}
	if slices.EqualFunc(final, view, func(a, b prompb.Label) bool { return a.Name == b.Name && a.Value == b.Value }) {
		return ls, false, ingest.Pass
	}
	return final, true, ingest.Pass
}

func plainLabels(ls []prompb.Label) (out []labels.Label) {
	for _, l := range ls {
		out = append(out, labels.Label{Name: l.Name, Value: l.Value})
	}
	return out
}

// unstale says whether the stale markers of a series with these final labels are dropped.
func (j *judge) unstale(final []prompb.Label, rewritten bool) bool {
	if j.stale == nil {
		return false
	}
	if !rewritten {
		final = canonicalLabels(final, j.stamps)
		final = slices.CompactFunc(final, func(a, b prompb.Label) bool { return a.Name == b.Name })
	}
	return j.stale(plainLabels(final))
}

// met adds a series to the books and says whether anything is left of it.
func (j *judge) met(v ingest.Verdict, whole, stale ingest.Count, unstale bool) bool {
	switch {
	case v == ingest.Drop:
		j.dropped += whole.Items
		j.held = j.held.Add(whole)
		return false
	case v == ingest.Refuse:
		j.refused += whole.Items
		return false
	case unstale && stale.Items > 0:
		j.superseded += stale.Items
		j.held = j.held.Add(stale)
		return stale.Items < whole.Items || whole.Exemplars > 0
	}
	return true
}

func isStale(v float64) bool { return math.Float64bits(v) == math.Float64bits(staleNaN) }

// v1 judges ts, takes the stale markers that do not leave, and says what it is called and whether it leaves.
func (j *judge) v1(ts *prompb.TimeSeries) (ls []prompb.Label, rewritten, leaves bool) {
	m := newMeasure()
	for _, x := range ts.Samples {
		m.sample(x.Timestamp, x.Value)
	}
	for _, x := range ts.Histograms {
		m.histogram(x.Timestamp, x.Sum)
	}
	j.series = append(j.series, m.Series)
	whole := countV1(&prompb.WriteRequest{Timeseries: []prompb.TimeSeries{*ts}})
	ls, rewritten, v := j.final(ts.Labels)
	unstale := v == ingest.Pass && j.unstale(ls, rewritten)
	if unstale {
		ts.Samples = slices.DeleteFunc(slices.Clone(ts.Samples), func(x prompb.Sample) bool { return isStale(x.Value) })
		ts.Histograms = slices.DeleteFunc(slices.Clone(ts.Histograms), func(x prompb.Histogram) bool { return isStale(x.Sum) })
	}
	return ls, rewritten, j.met(v, whole, m.stale, unstale)
}

// v2 is v1 for 2.0.
func (j *judge) v2(req *writev2.Request, ts *writev2.TimeSeries) (ls []prompb.Label, rewritten, leaves bool) {
	m := newMeasure()
	for _, x := range ts.Samples {
		m.sample(x.Timestamp, x.Value)
	}
	for _, x := range ts.Histograms {
		m.histogram(x.Timestamp, x.Sum)
	}
	j.series = append(j.series, m.Series)
	whole := countV2(&writev2.Request{Timeseries: []writev2.TimeSeries{*ts}})
	ls, rewritten, v := j.final(labelsOf(req, ts.LabelsRefs))
	unstale := v == ingest.Pass && j.unstale(ls, rewritten)
	if unstale {
		ts.Samples = slices.DeleteFunc(slices.Clone(ts.Samples), func(x writev2.Sample) bool { return isStale(x.Value) })
		ts.Histograms = slices.DeleteFunc(slices.Clone(ts.Histograms), func(x writev2.Histogram) bool { return isStale(x.Sum) })
	}
	return ls, rewritten, j.met(v, whole, m.stale, unstale)
}

// measure is what a door is to say of a series.
type measure struct {
	ingest.Series
	stale ingest.Count
}

func newMeasure() *measure {
	return &measure{Series: ingest.Series{First: math.MaxInt64, Last: math.MinInt64, Weight: 1}}
}

func (m *measure) sample(at int64, v float64) {
	if m.point(at, v) {
		m.stale = m.stale.Add(ingest.Count{Items: 1, Samples: 1})
	}
}

func (m *measure) histogram(at int64, sum float64) {
	if m.point(at, sum) {
		m.stale = m.stale.Add(ingest.Count{Items: 1, Histograms: 1})
	}
}

func (m *measure) point(at int64, v float64) (stale bool) {
	m.Items++
	if isStale(v) {
		m.Stale++
		return true
	}
	m.First, m.Last = min(m.First, at), max(m.Last, at)
	return false
}

// reduceV1 is what leaves of a 1.0 push as 1.0, and the same before its labels changed.
func (j *judge) reduceV1(req *prompb.WriteRequest) (out, left *prompb.WriteRequest) {
	out, left = &prompb.WriteRequest{}, &prompb.WriteRequest{}
	*out, *left = *req, *req
	out.Timeseries, left.Timeseries = nil, nil
	for _, ts := range req.Timeseries {
		ls, rewritten, leaves := j.v1(&ts)
		if !leaves {
			continue
		}
		left.Timeseries = append(left.Timeseries, ts)
		if !rewritten {
			ls = stampLabels(ls, j.stamps)
		}
		ts.Labels = ls
		out.Timeseries = append(out.Timeseries, ts)
	}
	return out, left
}

// reduceV2 is reduceV1 for 2.0.
func (j *judge) reduceV2(req *writev2.Request) (out, left *writev2.Request) {
	left = &writev2.Request{}
	*left = *req
	left.Timeseries = nil
	var changed [][]prompb.Label
	for _, ts := range req.Timeseries {
		ls, rewritten, leaves := j.v2(req, &ts)
		if !leaves {
			continue
		}
		left.Timeseries = append(left.Timeseries, ts)
		if !rewritten {
			ls = stampLabels(ls, j.stamps)
		}
		changed = append(changed, ls)
	}
	n := 0
	return plainV2(left, func([]prompb.Label) []prompb.Label {
		n++
		return changed[n-1]
	}), left
}

// ruleNames are what rules made of bytes read and write, and rulePatterns and ruleTexts what they look for and put there.
var (
	ruleNames    = []string{"__name__", "pod", "instance", "environment", "zone", "Zone", "job", "aaa", "zzz", "namespace", "cluster", ""}
	rulePatterns = []string{"(.*)", "(.+)-(.+)", ".*-[0-2]", "m[01].*", "m(.)_(total|sum|count)", "pod|instance|zzz", "environment|job", "z.*|Z.*", "[^_].*", ""}
	ruleTexts    = []string{"$1", "n${1}_$2", "", "prod", "$2", "a rather long text that no series has, $1"}
	ruleActions  = []relabel.Action{
		relabel.Replace, relabel.Replace, relabel.Replace, relabel.Drop, relabel.Keep, relabel.LabelDrop, relabel.LabelDrop, relabel.LabelKeep, relabel.LabelMap,
		relabel.HashMod, relabel.Lowercase, relabel.Uppercase, relabel.DropEqual, relabel.KeepEqual,
	}
)

// rulesFrom makes rules of bytes, five for each.
func rulesFrom(b []byte) (rules []*relabel.Config) {
	pick := func(i int, from []string) string { return from[int(b[i])%len(from)] }
	for ; len(b) >= 5 && len(rules) < 4; b = b[5:] {
		c := relabel.DefaultRelabelConfig
		c.NameValidationScheme = model.UTF8Validation
		c.Action = ruleActions[int(b[0])%len(ruleActions)]
		c.Regex = relabel.MustNewRegexp(pick(3, rulePatterns))
		c.Replacement = pick(4, ruleTexts)
		if source := pick(1, ruleNames); source != "" {
			c.SourceLabels = model.LabelNames{model.LabelName(source), "job"}[:1+b[4]%2]
		}
		c.TargetLabel = pick(2, ruleNames)
		c.Modulus = 3
		if c.Action == relabel.DropEqual || c.Action == relabel.KeepEqual || c.Action == relabel.LabelDrop || c.Action == relabel.LabelKeep {
			c.Regex, c.Replacement = relabel.DefaultRelabelConfig.Regex, relabel.DefaultRelabelConfig.Replacement
		}
		if c.Action == relabel.LabelDrop || c.Action == relabel.LabelKeep {
			c.Regex, c.SourceLabels, c.TargetLabel = relabel.MustNewRegexp(pick(3, rulePatterns)), nil, ""
			c.Modulus, c.Separator = 0, relabel.DefaultRelabelConfig.Separator
		}
		if c.Validate(model.UTF8Validation) == nil {
			rules = append(rules, &c)
		}
	}
	return rules
}

// judgeFrom makes a judge of bytes.
func judgeFrom(b []byte) *judge {
	if len(b) == 0 {
		return &judge{}
	}
	j := &judge{stamps: stampSets[int(b[0])%len(stampSets)], rules: rulesFrom(b[1:])}
	some := func(of int) func([]labels.Label) bool {
		return func(ls []labels.Label) bool {
			n := 0
			for _, c := range []byte(reducetest.Text(ls)) {
				n += int(c)
			}
			return n%of == 0
		}
	}
	if b[0]&0x40 != 0 {
		j.refuse = some(5)
	}
	if b[0]&0x80 != 0 {
		j.stale = some(2)
	}
	return j
}
