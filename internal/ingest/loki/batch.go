package loki

import (
	"errors"
	"math"

	"github.com/telemetry-gateway/telemetry-gateway/internal/ingest"
	"github.com/telemetry-gateway/telemetry-gateway/internal/labels"
	"github.com/telemetry-gateway/telemetry-gateway/internal/wire"
)

// batch is one push as a PushRequest message, with the sums that were taken while it was read.
type batch struct {
	// raw is the message: as it was sent, or as it was written from JSON.
	raw  []byte
	json bool

	lines int
	// counts is how many of them each stream has.
	counts []int32
	// slack is the most that all label strings together can grow when they are written anew.
	slack int
	// regular: every stream begins with its labels, has them once, and has no hash. Then all but the labels is one run of bytes.
	regular bool
	// metadata: a line has structured metadata of its own.
	metadata bool
	// others: a stream has fields that nobody here knows.
	others bool
	// longest is the size of the largest entry: no line is longer.
	longest int
	// lender is where decoding builds from. Reduce and Encode have a Charge of their own.
	lender ingest.Lender
	// reduction is what changes besides stamps; nil: nothing does.
	reduction *reduction
}

// envelope is what a stream may grow by besides its labels and lines: it may get a labels field, and two lengths of up to
// five bytes each may grow.
const envelope = 12

// manyStreams is how many streams are counted in one piece of memory: more than most pushes have.
const manyStreams = 256

// addStream counts a stream of so many lines whose labels can grow by slack.
func (b *batch) addStream(slack, lines int, regular bool) (err error) {
	if len(b.counts) == cap(b.counts) {
		if b.counts, err = ingest.Grow(b.counts, manyStreams, b.lender); err != nil {
			return err
		}
	}
	b.counts = append(b.counts, int32(lines))
	b.slack += slack
	b.regular = b.regular && regular
	return nil
}

// addLine counts a line whose entry has size bytes.
func (b *batch) addLine(size int) {
	b.lines++
	b.longest = max(b.longest, size)
}

// Items is the number of lines.
func (b *batch) Items() int { return b.lines }

// Bound is the push plus what canonical labels and stamps can add to each stream, and what a reduction takes and adds.
func (b *batch) Bound(e ingest.Edit) int {
	n := int64(len(b.raw))
	if len(e.Stamps) > 0 {
		n += int64(b.slack) + int64(len(b.counts))*int64(envelope+stampsLen(e.Stamps))
	}
	switch {
	case b.reduction != nil:
		n += b.reduction.more - b.reduction.less
	case !b.json && len(e.Stamps) == 0:
		return 0
	}
	return int(min(n+1, math.MaxInt)) // one more: what changes never leaves as it was received, also when nothing is in it
}

// stampsLen is how many bytes stamps add to a label string, at most.
func stampsLen(stamps []labels.Label) (n int) {
	for _, s := range stamps {
		n += len(", =") + quotedLen(s.Name) + quotedLen(s.Value)
	}
	return n
}

// Encode writes the push as it was reduced, with e.Stamps on every stream.
func (b *batch) Encode(dst []byte, e ingest.Edit) (ingest.Result, error) {
	res := ingest.Result{Form: e.Form, Sent: ingest.Count{Items: b.lines}}
	s := stamper{out: dst, stamps: e.Stamps, added: stampsLen(e.Stamps), set: labelSet{lender: ingest.Lender{Charge: e.Charge, Stock: b.lender.Stock}}}
	switch {
	case b.reduction != nil:
		w := rewriter{stamper: s, batch: b, d: b.reduction}
		if err := w.push(); err != nil {
			return ingest.Result{}, malformed("Loki push", err)
		}
		res.Body, res.MetadataBytes = w.out, w.bytes
		res.Sent.Items = w.d.left
		if w.d.refused.Items > 0 {
			res.Refused = []ingest.Refusal{w.d.refused}
		}
	case len(e.Stamps) > 0:
		if err := s.push(b); err != nil {
			return ingest.Result{}, malformed("Loki push", err)
		}
		res.Body = s.out
		if s.refused.Items > 0 {
			res.Sent.Items -= s.refused.Items
			res.Refused = []ingest.Refusal{s.refused}
		}
	case b.json:
		res.Body = append(dst, b.raw...)
	default:
		res.Unchanged = true
	}
	return res, nil
}

// stamper writes one push with other labels. Its set serves one stream after the other.
type stamper struct {
	out     []byte
	stamps  []labels.Label
	added   int // how many bytes stamps add to a stream, at most
	set     labelSet
	refused ingest.Refusal
}

func (s *stamper) push(b *batch) error {
	var f wire.Field
	n := 0
	for rest := b.raw; len(rest) > 0; {
		var err error
		if rest, err = wire.Next(rest, &f); err != nil {
			return err
		}
		if f.Num != pushStreams {
			s.out = append(s.out, f.Raw...)
			continue
		}
		n++
		if err = s.stream(f.Data, b.regular, n); err != nil {
			return err
		}
	}
	return nil
}

// stream writes the n-th stream with stamps.
func (s *stamper) stream(msg []byte, regular bool, n int) error {
	if regular {
		return s.regular(msg, n)
	}
	return s.irregular(msg, n)
}

// regular writes a stream whose labels come first and once: all that follows them is copied in one go.
func (s *stamper) regular(msg []byte, n int) error {
	var f wire.Field
	rest, err := wire.Next(msg, &f)
	if err != nil {
		return err
	}
	mark, ok, err := s.open(f.Data, msg, len(rest), n)
	if ok {
		s.out = wire.CloseMessage(append(s.out, rest...), mark)
	}
	return err
}

// irregular writes any stream. Of labels that come twice the last counts. The hash is left out: it was taken over
// other labels, and Loki takes its own.
func (s *stamper) irregular(msg []byte, n int) error {
	var f wire.Field
	var text []byte
	kept := 0
	for rest := msg; len(rest) > 0; {
		var err error
		if rest, err = wire.Next(rest, &f); err != nil {
			return err
		}
		switch f.Num {
		case streamLabels:
			text = f.Data
		case streamHash:
		default:
			kept += len(f.Raw)
		}
	}
	mark, ok, err := s.open(text, msg, kept, n)
	if !ok {
		return err
	}
	for rest := msg; len(rest) > 0; {
		rest, _ = wire.Next(rest, &f) // it was well formed a moment ago
		if f.Num != streamLabels && f.Num != streamHash {
			s.out = append(s.out, f.Raw...)
		}
	}
	s.out = wire.CloseMessage(s.out, mark)
	return nil
}

// open writes the head of a stream and its stamped labels; about kept bytes of other fields are to follow, before mark is
// closed. It reports false for labels that do not parse: Loki would answer 400 for the whole push, so that stream is
// refused alone. An error is not about the labels.
func (s *stamper) open(text, msg []byte, kept, n int) (mark wire.Mark, ok bool, err error) {
	if err := s.set.parse(text); err != nil {
		var bad *syntaxError
		if !errors.As(err, &bad) {
			return mark, false, err
		}
		refuseStream(&s.refused, n, bad, countEntries(msg))
		return mark, false, nil
	}
	var inner wire.Mark
	s.out, mark = wire.OpenMessage(s.out, pushStreams, len(text)+s.added+kept)
	s.out, inner = wire.OpenMessage(s.out, streamLabels, len(text)+s.added)
	s.out = wire.CloseMessage(s.set.append(s.out, s.stamps), inner)
	return mark, true, nil
}
