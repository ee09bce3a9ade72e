package guard

import "github.com/telemetry-gateway/telemetry-gateway/internal/labels"

// reason is why something is refused. Its words are the contract's.
type reason uint8

const (
	activeSeries reason = iota
	perMetric
	valuesPerLabel
	labelsPerSeries
	labelNameBytes
	labelValueBytes
	lineBytes
	reasons
)

func (r reason) String() string {
	return [reasons]string{"active_series", "active_series_per_metric", "values_per_label",
		"labels_per_series", "label_name_bytes", "label_value_bytes", "line_bytes"}[r]
}

// Policy is what holds for one sender under one configuration. It never changes.
type Policy struct {
	g      *Guard
	space  *space
	client *client
	exempt bool
	judges bool // there is a limit that a new series can be over

	// scopes are the limits: the client's own, then its environment's. What is over both is told of the client's.
	scopes [2]Limits
	keys   [2][reasons]string
	// uncount are labels that no limit on values holds for; fixed are those that cannot be what grew.
	uncount, fixed []string
}

// Refusal says what is over which limit. Its strings may point into the push.
type Refusal struct {
	// Reason is a word of the fixed list.
	Reason string
	// Key is the configuration key: environments.prod.metrics.limits.active_series.
	Key string
	// Limit is what Key says, and Count what it would be with what is refused.
	Limit, Count int
	// Metric is the name of the metric; empty for streams. Label is the label that is over the limit, or else the one that
	// grew if that has been found out already. Describe finds it out.
	Metric, Label string
	// Observed: the limit only observes, so nothing was refused.
	Observed bool

	inForce int // what held instead of Limit, in the warm-up; 0: Limit
}

func (p *Policy) refusal(scope int, why reason, limit, count int) Refusal {
	return Refusal{Reason: why.String(), Key: p.keys[scope][why], Limit: limit, Count: count, Observed: p.scopes[scope].Observe}
}

// Shape holds the labels of a series, known or new, against the limits of their number and lengths. found: it is over one,
// and refused unless the Refusal says that the limit only observes.
func (p *Policy) Shape(final []labels.Label) (r Refusal, found bool) {
	if p.exempt {
		return Refusal{}, false
	}
	for scope := range p.scopes {
		if s, over := p.shape(scope, final); over && (!found || r.Observed && !s.Observed) {
			r, found = s, true
		}
	}
	if found {
		r.Metric = nameOf(final)
		p.record(r)
	}
	return r, found
}

func (p *Policy) shape(scope int, final []labels.Label) (Refusal, bool) {
	l := &p.scopes[scope]
	if l.LabelsPerSeries > 0 && len(final) > l.LabelsPerSeries {
		return p.refusal(scope, labelsPerSeries, l.LabelsPerSeries, len(final)), true
	}
	if l.LabelNameBytes <= 0 && l.LabelValueBytes <= 0 {
		return Refusal{}, false
	}
	for i := range final {
		f := &final[i]
		if n := len(f.Name); l.LabelNameBytes > 0 && n > l.LabelNameBytes {
			r := p.refusal(scope, labelNameBytes, l.LabelNameBytes, n)
			r.Label = f.Name
			return r, true
		}
		if n := len(f.Value); l.LabelValueBytes > 0 && n > l.LabelValueBytes {
			r := p.refusal(scope, labelValueBytes, l.LabelValueBytes, n)
			r.Label = f.Name
			return r, true
		}
	}
	return Refusal{}, false
}

// LongestLine is how many bytes a log line may have before TooLong is to be asked. 0: any number.
func (p *Policy) LongestLine() int {
	if p.exempt {
		return 0
	}
	a, b := p.scopes[0].LineBytes, p.scopes[1].LineBytes
	if a <= 0 || b > 0 && b < a {
		return max(b, 0)
	}
	return a
}

// TooLong says whether a log line of so many bytes is over a limit, as Shape does, and counts it if it is.
func (p *Policy) TooLong(bytes int) (r Refusal, found bool) {
	if r = p.line(bytes); r.Reason == "" {
		return r, false
	}
	p.record(r)
	return r, true
}

// line is the refusal of a line: a limit that refuses before one that observes.
func (p *Policy) line(bytes int) (r Refusal) {
	for scope, l := range p.scopes {
		if p.exempt || l.LineBytes <= 0 || bytes <= l.LineBytes {
			continue
		}
		if r.Reason == "" || r.Observed && !l.Observe {
			r = p.refusal(scope, lineBytes, l.LineBytes, bytes)
		}
	}
	return r
}

// record remembers a refusal that comes without a time.
func (p *Policy) record(r Refusal) {
	t := at(p.g.now())
	p.space.mu.Lock()
	defer p.space.mu.Unlock()
	p.space.refusals.add(p.client.name, &r, t, 1)
}

// nameOf is the name of a metric. Labels are sorted, and little sorts before it.
func nameOf(final []labels.Label) string {
	for i := range final {
		switch {
		case final[i].Name == "__name__":
			return final[i].Value
		case final[i].Name > "__name__":
			return ""
		}
	}
	return ""
}

// counts says whether limits on values hold for a label.
func (p *Policy) counts(label string) bool { return len(label) <= longName && !oneOf(p.uncount, label) }

func oneOf(names []string, name string) bool {
	for _, n := range names {
		if n == name {
			return true
		}
	}
	return false
}

// cardinal says whether a reason is about how many series or values there are.
func cardinal(word string) bool {
	return word == activeSeries.String() || word == perMetric.String() || word == valuesPerLabel.String()
}
