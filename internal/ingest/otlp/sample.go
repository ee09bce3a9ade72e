package otlp

import (
	"encoding/binary"

	"github.com/open-telemetry/opentelemetry-collector-contrib/pkg/sampling"

	"github.com/telemetry-gateway/telemetry-gateway/internal/ingest"
	"github.com/telemetry-gateway/telemetry-gateway/internal/labels"
)

// never is the threshold that no randomness reaches.
const never = 1 << randomBits

// threshold is T of a ratio: traces with randomness below it are sampled away. 0: none are. Ratios next to 0 are the
// smallest there is, so that only 0 keeps nothing.
func threshold(ratio float64) uint64 {
	switch {
	case ratio <= 0:
		return never
	case !(ratio < 1):
		return 0
	}
	t, err := sampling.ProbabilityToThreshold(max(ratio, sampling.MinSamplingProbability))
	if err != nil {
		panic("BUG: a ratio between 0 and 1 has no threshold: " + err.Error())
	}
	return t.Unsigned()
}

// ratioOf is the ratio of the service that g is when it leaves: stamps win over filling, filling over the sender.
func ratioOf(g *group, e *ingest.Edit) float64 {
	name, given := stampOf(e.Stamps, serviceName)
	if !given && e.Traces.FillServiceName != "" && unnamed(g.service) {
		name, given = e.Traces.FillServiceName, true
	}
	for i := range e.Traces.Services {
		s := &e.Traces.Services[i]
		if given && s.Service == name || !given && s.Service == string(g.service) {
			return s.Ratio
		}
	}
	return e.Traces.Ratio
}

func stampOf(stamps []labels.Label, name string) (value string, ok bool) {
	for i := range stamps {
		if stamps[i].Name == name {
			return stamps[i].Value, true
		}
	}
	return "", false
}

// verdict is what becomes of a span.
type verdict uint8

const (
	keep verdict = iota
	drop
	// raise: it is kept, and its th becomes the threshold.
	raise
	// erase: it is kept, and its th is removed, since nobody knows any more with what probability it was.
	erase
)

// sampler decides about spans of one service.
type sampler struct {
	threshold  uint64
	keepErrors bool
	// state is the tracestate of the span at hand, meaningless if it has none.
	state traceState
}

// judge decides by randomness alone, which all spans of a trace share, whatever they came with and wherever they pass.
//
// A span whose th is greater than its randomness should not be here: somebody kept it for another reason, or lies. As
// the specification says, such a th is erased; it is not replaced either, since what T would then stand for is not known.
//
// Source: https://opentelemetry.io/docs/specs/otel/trace/tracestate-probability-sampling/
func (s *sampler) judge(v *view) verdict {
	s.state = traceState{}
	readable := len(v.state) == 0 || s.state.parse(v.state)
	random := binary.BigEndian.Uint64(v.traceID[8:]) & (never - 1)
	hasTh := readable && len(s.state.th) > 0
	if readable && len(s.state.rv) > 0 {
		random = s.state.randomness
	}
	switch {
	case random < s.threshold && !(s.keepErrors && v.failed):
		return drop
	case random < s.threshold || hasTh && random < s.state.threshold:
		if hasTh {
			return erase
		}
		return keep
	case !readable || hasTh && s.state.threshold >= s.threshold:
		return keep
	}
	return raise
}
