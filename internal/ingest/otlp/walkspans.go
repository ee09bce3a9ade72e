package otlp

import (
	"fmt"

	"github.com/telemetry-gateway/telemetry-gateway/internal/ingest"
	"github.com/telemetry-gateway/telemetry-gateway/internal/wire"
)

// maxNameBytes bounds what is quoted of a span's or service's name.
const maxNameBytes = 100

// survey is what has to be known of a push of spans besides what walker counts in every push.
type survey struct {
	// unnamed are the spans of services without a name, nameless the ResourceSpans without one.
	unnamed, nameless int
	// refused are the spans whose ids upstream would not take.
	refused ingest.Refusal
}

// tally is spans that count together.
type tally struct {
	spans, bad int
	// first is the first one with bad ids.
	first []byte
}

// traces is walk for a push of spans, down to the messages in a span. It has a way of its own for what only spans have,
// so that other signals do not pay for it.
func (w *walker) traces(push []byte, s *survey) (items int, err error) {
	for len(push) > 0 {
		if push, err = w.next(push); err != nil {
			return 0, err
		}
		if w.field.Num != 1 {
			continue
		}
		if w.field.Type != wire.Bytes {
			return 0, errNotSub
		}
		n, err := w.resourceSpans(w.field.Data, s)
		if err != nil {
			return 0, err
		}
		items += n
	}
	return items, nil
}

func (w *walker) resourceSpans(msg []byte, s *survey) (items int, err error) {
	w.envelopes++
	w.holders++ // the one that is made where there is none
	g := group{scopes: oldScope}
	var old, counted tally
	for len(msg) > 0 {
		if msg, err = w.next(msg); err != nil {
			return 0, err
		}
		num, data := w.field.Num, w.field.Data
		if num != 1 && num != 2 && num != oldScope {
			continue
		}
		if w.field.Type != wire.Bytes {
			return 0, errNotSub
		}
		switch num {
		case 1:
			w.holders++
			if _, err = w.walk(data, resource, 0); err == nil {
				err = g.readResource(data)
			}
		case 2:
			g.scopes = 2
			err = w.scopeSpans(data, &counted)
		case oldScope:
			err = w.scopeSpans(data, &old)
		}
		if err != nil {
			return 0, err
		}
	}
	if g.scopes == oldScope {
		counted = old
	}
	return counted.spans, s.add(&g, &counted)
}

func (w *walker) scopeSpans(msg []byte, t *tally) (err error) {
	for len(msg) > 0 {
		if msg, err = w.next(msg); err != nil {
			return err
		}
		num, data := w.field.Num, w.field.Data
		if num != 1 && num != 2 {
			continue
		}
		if w.field.Type != wire.Bytes {
			return errNotSub
		}
		if num == 1 {
			if _, err = w.walk(data, scope, 0); err != nil {
				return err
			}
			continue
		}
		ids, err := w.span(data)
		if err != nil {
			return err
		}
		t.spans++
		if ids != goodIDs {
			if t.bad++; t.bad == 1 {
				t.first = data
			}
		}
	}
	return nil
}

// span walks one span and returns what its ids are like.
func (w *walker) span(msg []byte) (ids ids, err error) {
	m := &messages[span]
	for {
		if msg = m.skim(msg, 0); len(msg) == 0 {
			return ids, nil
		}
		if msg, err = w.next(msg); err != nil {
			return 0, err
		}
		num, data, isBytes := w.field.Num, w.field.Data, w.field.Type == wire.Bytes
		switch num {
		case 1:
			ids.traceID(data, isBytes)
		case 2:
			ids.spanID(data, isBytes)
		case 4:
			ids.parentID(data, isBytes)
		case 9, 11, 13, 15:
			if !isBytes {
				return 0, errNotSub
			}
			if _, err = w.walk(data, m.sub[num], 0); err != nil {
				return 0, err
			}
			if num == 13 {
				if err = ids.link(data); err != nil {
					return 0, err
				}
			}
		}
	}
}

// next reads the first field of msg into w.field, but for w.field.Raw.
func (w *walker) next(msg []byte) (rest []byte, err error) {
	if wire.Type(msg[0]&7) == wire.StartGroup {
		return nil, errGroup
	}
	return next(msg, &w.field)
}

// add takes t of the service g into s.
func (s *survey) add(g *group, t *tally) error {
	if unnamed(g.service) {
		s.nameless++
		s.unnamed += t.spans
	}
	if t.bad == 0 {
		return nil
	}
	if s.refused.Items == 0 {
		var v view
		if err := v.read(t.first, true); err != nil {
			return err
		}
		s.refused.Reason = "invalid_id"
		s.refused.Text = fmt.Sprintf("span %q of service %q: %s",
			clip(string(v.name), maxNameBytes), clip(string(g.service), maxNameBytes), v.ids.wrong())
	}
	s.refused.Items += t.bad
	return nil
}
