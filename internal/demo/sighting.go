package demo

import (
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/cespare/xxhash/v2"
	"github.com/prometheus/prometheus/promql/parser"
	"go.opentelemetry.io/collector/pdata/pcommon"

	"github.com/telemetry-gateway/telemetry-gateway/internal/fakecloud"
)

// sighting is one item, seen in a message: on the sender's side as it was meant, on the cloud's as it arrived.
type sighting struct {
	sender string
	seq    uint64
	// digest is of all that an item says, but for the stamped label.
	digest uint64
	// stamp is the value of the label `environment`, which the gateway adds.
	stamp string
	// What is to become of it by the rules and limits of its environment: it is to be dropped, to arrive without a label, to
	// arrive with one as metadata, to keep one although a rule takes it; or it may be refused. On the cloud's side all are false.
	dropped, removed, moved, kept, limited bool
}

// effects are what an environment's rules and limits do: the metric that is dropped, and labels. See sighting.
type effects struct{ dropped, removed, moved, kept, limited string }

const stampLabel = "environment"

// sightings reads every item of a message. Sender and cloud use it alike, so that equal digests mean equal items: what the
// sender says with e on it is what has to arrive. The cloud's e is empty.
func sightings(p *fakecloud.Push, e effects) (out []sighting) {
	add := func(at string, seq uint64, sender string, pairs [][2]string, said ...string) {
		out = append(out, e.newSighting(sender, seq, pairs, append(said, at)))
	}
	switch {
	case p.V1 != nil:
		for _, ts := range p.V1.Timeseries {
			var pairs [][2]string
			for _, l := range ts.Labels {
				pairs = append(pairs, [2]string{l.Name, l.Value})
			}
			for _, s := range ts.Samples {
				add(strconv.FormatInt(s.Timestamp, 10), uint64(s.Value), value(pairs, "job"), pairs, bits(s.Value))
			}
		}
	case p.V2 != nil:
		for _, ts := range p.V2.Timeseries {
			var pairs [][2]string
			for i := 0; i+1 < len(ts.LabelsRefs); i += 2 {
				pairs = append(pairs, [2]string{symbol(p.V2.Symbols, ts.LabelsRefs[i]), symbol(p.V2.Symbols, ts.LabelsRefs[i+1])})
			}
			for _, s := range ts.Samples {
				add(strconv.FormatInt(s.Timestamp, 10), uint64(s.Value), value(pairs, "job"), pairs, bits(s.Value))
			}
		}
	case p.Logs != nil:
		syntax := parser.NewParser(parser.Options{})
		for _, s := range p.Logs.Streams {
			var pairs [][2]string
			ls, _ := syntax.ParseMetric(s.Labels) // what does not parse has no job, and is nobody's
			for n, v := range ls.Map() {
				pairs = append(pairs, [2]string{n, v})
			}
			for _, entry := range s.Entries {
				// Which of them are metadata is part of what is said.
				own := slices.Clone(pairs)
				for _, m := range entry.StructuredMetadata {
					own = append(own, [2]string{metadataMark + m.Name, m.Value})
				}
				add(strconv.FormatInt(entry.Timestamp.UnixNano(), 10), lineSeq(entry.Line), value(pairs, "job"), own, entry.Line)
			}
		}
	default:
		otlpSightings(p, add)
	}
	return out
}

func otlpSightings(p *fakecloud.Push, add func(at string, seq uint64, sender string, pairs [][2]string, said ...string)) {
	switch p.Endpoint {
	case fakecloud.OTLPMetrics:
		for _, rm := range p.Metrics.ResourceMetrics().All() {
			res := attributes(nil, rm.Resource().Attributes())
			for _, sm := range rm.ScopeMetrics().All() {
				for _, m := range sm.Metrics().All() {
					for _, d := range m.Gauge().DataPoints().All() {
						add(d.Timestamp().String(), uint64(d.IntValue()), value(res, "service.name"), attributes(res, d.Attributes()),
							m.Name(), strconv.FormatInt(d.IntValue(), 10))
					}
				}
			}
		}
	case fakecloud.OTLPTraces:
		for _, rs := range p.Traces.ResourceSpans().All() {
			res := attributes(nil, rs.Resource().Attributes())
			for _, ss := range rs.ScopeSpans().All() {
				for _, s := range ss.Spans().All() {
					add(s.StartTimestamp().String(), seqOf(s.Attributes()), value(res, "service.name"), attributes(res, s.Attributes()),
						s.TraceID().String(), s.SpanID().String(), s.Name(), s.Kind().String(), s.EndTimestamp().String())
				}
			}
		}
	case fakecloud.OTLPLogs:
		for _, rl := range p.Records.ResourceLogs().All() {
			res := attributes(nil, rl.Resource().Attributes())
			for _, sl := range rl.ScopeLogs().All() {
				for _, r := range sl.LogRecords().All() {
					add(r.Timestamp().String(), seqOf(r.Attributes()), value(res, "service.name"), attributes(res, r.Attributes()),
						r.Body().AsString(), r.SeverityNumber().String())
				}
			}
		}
	}
}

// metadataMark stands before the names of structured metadata.
const metadataMark = "metadata "

func (e effects) newSighting(sender string, seq uint64, pairs [][2]string, said []string) sighting {
	s := sighting{sender: sender, seq: seq}
	pairs = s.after(e, pairs)
	slices.SortFunc(pairs, func(a, b [2]string) int { return strings.Compare(a[0], b[0]) })
	var h xxhash.Digest
	h.Reset()
	for _, p := range pairs {
		if p[0] == stampLabel {
			s.stamp = p[1]
			continue
		}
		said = append(said, p[0], p[1])
	}
	for _, x := range said {
		_, _ = h.WriteString(strconv.Itoa(len(x)) + ":" + x)
	}
	s.digest = h.Sum64()
	return s
}

// after returns pairs as they are to arrive.
func (s *sighting) after(e effects, pairs [][2]string) (out [][2]string) {
	for _, p := range pairs {
		switch p[0] {
		case e.removed:
			s.removed = true
			continue
		case e.moved:
			s.moved = true
			p[0] = metadataMark + p[0]
		case e.kept:
			s.kept = true
		case e.limited:
			s.limited = true
		case "__name__":
			s.dropped = p[1] == e.dropped
		}
		out = append(out, p)
	}
	return out
}

// lineSeq is the number in `seq=17 msg=...`.
func lineSeq(line string) uint64 {
	_, rest, _ := strings.Cut(line, "seq=")
	n, _, _ := strings.Cut(rest, " ")
	seq, _ := strconv.ParseUint(n, 10, 64) // a line without one is nobody's item 0, and its digest differs
	return seq
}

func seqOf(m pcommon.Map) uint64 {
	v, ok := m.Get("seq")
	if !ok {
		return 0
	}
	return uint64(v.Int())
}

func attributes(to [][2]string, m pcommon.Map) [][2]string {
	to = slices.Clone(to)
	for k, v := range m.All() {
		to = append(to, [2]string{k, v.AsString()})
	}
	return to
}

func value(pairs [][2]string, name string) string {
	for _, p := range pairs {
		if p[0] == name {
			return p[1]
		}
	}
	return ""
}

func symbol(symbols []string, ref uint32) string {
	if int(ref) >= len(symbols) {
		return ""
	}
	return symbols[ref]
}

func bits(v float64) string { return strconv.FormatUint(math.Float64bits(v), 16) }
