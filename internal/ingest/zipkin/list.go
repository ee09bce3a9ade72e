package zipkin

import (
	"encoding/json"
	"strconv"
	"strings"
	"time"

	"github.com/open-telemetry/opentelemetry-collector-contrib/pkg/translator/zipkin/zipkinv2"
	"github.com/openzipkin/zipkin-go/model"
	"go.opentelemetry.io/collector/pdata/ptrace"
)

// maxTags bounds the tags of a span. The translators look through all attributes for each that they put: a span of
// a million tags would take hours.
const maxTags = 1024

// What OpenTelemetry's Zipkin exporter puts into tags and annotations for what Zipkin has not, and what of it is read.
const (
	firstLink     = "otlp.link.0"
	linkPrefix    = "otlp.link."
	maxLinkBytes  = 8 << 10
	maxEventAttrs = 128
)

// list is the spans of a v2 push on their way to OTLP.
type list struct {
	spans   []*model.SpanModel
	named   []named
	refused refusals
	n       int // spans so far, those refused too
}

// named is an event whose name the translator would cut: the event-th of span.
type named struct {
	span  *model.SpanModel
	event int
	name  string
}

func (l *list) refuse(reason, why string) { l.refused.add(reason, l.n, why) }

// add takes s unless it cannot be translated.
func (l *list) add(s *model.SpanModel) {
	if len(s.Tags) > maxTags {
		l.refuse(badItem, "over "+strconv.Itoa(maxTags)+" tags")
		return
	}
	if _, ok := s.Tags[firstLink]; ok && !linksWell(s) {
		l.refuse(badItem, "tags "+linkPrefix+"* are not as OpenTelemetry writes them")
		return
	}
	l.spans = append(l.spans, s)
}

// linksWell says whether the links that an OpenTelemetry exporter made tags of can be read.
func linksWell(s *model.SpanModel) bool {
	tags := make(map[string]string)
	for k, v := range s.Tags {
		if strings.HasPrefix(k, linkPrefix) {
			if len(v) > maxLinkBytes {
				return false
			}
			tags[k] = v
		}
	}
	_, err := zipkinv2.ToTranslator{}.ToTraces([]*model.SpanModel{{Tags: tags}})
	return err == nil
}

// annotate adds an annotation to s.
func (l *list) annotate(s *model.SpanModel, at time.Time, value string) {
	if strings.Contains(value, "|") && !isEvent(value) {
		l.named = append(l.named, named{s, len(s.Annotations), value})
		value = ""
	}
	s.Annotations = append(s.Annotations, model.Annotation{Timestamp: at, Value: value})
}

// isEvent says whether value is an event with attributes as OpenTelemetry's exporter writes it: name|{json}|dropped.
// The translator takes every value with two | for one and fails on those that are not, and cuts those with one.
func isEvent(value string) bool {
	first, last := strings.Index(value, "|"), strings.LastIndex(value, "|")
	if first == last {
		return false
	}
	if _, err := strconv.ParseUint(value[last+1:], 10, 32); err != nil {
		return false
	}
	object := value[first+1 : last]
	if len(object) > maxLinkBytes || !nestedWell([]byte(object)) {
		return false
	}
	var attrs map[string]any // as the translator reads it: a number out of range is an error
	return json.Unmarshal([]byte(object), &attrs) == nil && len(attrs) <= maxEventAttrs
}

// traces translates the list. Spans leave grouped by service.
func (l *list) traces() (ptrace.Traces, error) {
	td, err := zipkinv2.ToTranslator{}.ToTraces(l.spans)
	if err != nil || len(l.named) == 0 {
		return td, err
	}
	names := make(map[*model.SpanModel][]named)
	for _, n := range l.named {
		names[n.span] = append(names[n.span], n)
	}
	// The translator has sorted the list, and its spans come in the same order.
	i := 0
	for _, rs := range td.ResourceSpans().All() {
		for _, ss := range rs.ScopeSpans().All() {
			for _, span := range ss.Spans().All() {
				for _, n := range names[l.spans[i]] {
					span.Events().At(n.event).SetName(n.name)
				}
				i++
			}
		}
	}
	return td, nil
}
