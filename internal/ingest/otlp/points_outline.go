package otlp

import (
	"github.com/telemetry-gateway/telemetry-gateway/internal/ingest"
	"github.com/telemetry-gateway/telemetry-gateway/internal/labels"
	"github.com/telemetry-gateway/telemetry-gateway/internal/wire"
)

// points is a push of data points while a Reducer looks at it, and what that makes of it. It points into the push. Only what
// counts is in it: scopes and metrics without points are not, and so stay as they came.
//
// Where Decode knows who will ask, read checks the push and reads it at once, so that no point is walked twice.
type points struct {
	resources []pointResource // every ResourceMetrics
	scopes    []pointScope
	metrics   []pointMetric
	items     int
	at        []pointAt // nil if nobody asks about points

	// series are what the push says of each of at and then the Reducer. Nil: nothing.
	series []ingest.Series
	parts  []part
	// left is how many points leave, and grow what the push grows by at most, stamps aside.
	left, grow int

	lender ingest.Lender
	walker walker
	keys   *labels.Hasher
	// bare is the key of a series without labels: stamps alone.
	bare   labels.Key
	layout layout
	// most is how many attributes a point has at most, and longest how many bytes the texts of a point's values take.
	most, longest int
	// asked are the labels of the resource at hand, for its own rules.
	asked labels.Set
	// shown holds the texts of resource.<name>, text those of the resource or the point at hand.
	shown, text attributes
	// scratch holds what is around the points of a metric that is written several times.
	scratch []byte
}

type pointResource struct {
	msg []byte
	// attrs is its Resource, all of them together if there are several, as rules left it; fields is how many there are.
	attrs  []byte
	fields int
	// num is the field that holds the scopes: 2, or what it once was.
	num       int32
	from, to  int // in scopes
	dropped   bool
	rewritten bool // attrs is not what came
	changed   bool // anything in it is not what came
	// lost is what rules took from the keys of its points: two resources that rules make one still have series of their own.
	lost labels.Key
	// labels are resource.<name>, once view has asked for them.
	labels labels.Set
	ready  bool
}

type pointScope struct {
	msg           []byte
	name, version []byte
	// scope is the Scope that came first; fields is how many there are.
	scope    []byte
	fields   int
	resource int
	from, to int // in metrics
	changed  bool
}

type pointMetric struct {
	msg, name []byte
	// data is the gauge, sum, ... that counts, and kind what its points are.
	data     []byte
	kind     kind
	scope    int
	from, to int // in at
	changed  bool
	left     int // how many of them leave
	// first and last are its parts, if it leaves under another name or under several.
	first, last int
}

// pointAt is where a point stands: at what offset of its metric's data.
type pointAt struct {
	offset int
	metric int32
	next   int32 // of the same part, if it is not the last of it
}

// field reads the first field of msg into f, but for f.Raw, and returns what follows. It is for what walk has checked.
func field(msg []byte, f *wire.Field) (rest []byte) {
	if rest, ok := quick(msg, f); ok {
		return rest
	}
	return sound(wire.Next(msg, f))
}

// sound is b, which comes of a message that walk has checked.
func sound(b []byte, err error) []byte {
	if err != nil {
		panic("BUG: a push that was walked is malformed: " + err.Error())
	}
	return b
}

// same says whether a is b, not only like it. b is not empty.
func same(a, b []byte) bool { return len(a) > 0 && &a[0] == &b[0] }

// outline checks the push, but for the points that count, and notes where everything stands. It counts as walker does.
func (p *points) outline(push []byte) (err error) {
	// A guess, so that there is little to grow: a metric has some points, of some hundred bytes.
	if err = reserve(&p.metrics, p.lender, len(push)/1024); err != nil {
		return err
	}
	w := &p.walker
	for len(push) > 0 {
		if push, err = w.next(push); err != nil {
			return err
		}
		if w.field.Num != 1 {
			continue
		}
		if w.field.Type != wire.Bytes {
			return errNotSub
		}
		w.envelopes++
		if err = p.addResource(w.field.Data); err != nil {
			return err
		}
	}
	return nil
}

// addResource adds the ResourceMetrics msg with all that is in it.
func (p *points) addResource(msg []byte) (err error) {
	if err = reserve(&p.resources, p.lender, 1); err != nil {
		return err
	}
	w := &p.walker
	r := pointResource{msg: msg, num: oldScope, from: len(p.scopes)}
	for rest := msg; len(rest) > 0; {
		if rest, err = w.next(rest); err != nil {
			return err
		}
		num, data := w.field.Num, w.field.Data
		if num != 1 && num != 2 && num != oldScope {
			continue
		}
		if w.field.Type != wire.Bytes {
			return errNotSub
		}
		switch num {
		case 1:
			if _, err = w.walk(data, resource, 0); err != nil {
				return err
			}
			if err = r.merge(data, p.lender); err != nil {
				return err
			}
		case 2:
			r.num = 2
		}
	}
	var f wire.Field
	for rest := msg; len(rest) > 0; {
		switch rest = field(rest, &f); f.Num {
		case r.num:
			w.envelopes++
			err = p.addScope(f.Data)
		case oldScope: // upstream does not read it
			w.envelopes++
			_, err = w.walk(f.Data, scopeMetrics, 0)
		}
		if err != nil {
			return err
		}
	}
	r.to = len(p.scopes)
	p.resources = append(p.resources, r)
	return nil
}

// merge adds one more Resource to r. Behind each other they are one message.
func (r *pointResource) merge(msg []byte, from ingest.Lender) error {
	r.fields++
	switch r.fields {
	case 1:
		r.attrs = msg
		return nil
	case 2:
		merged, err := ingest.Lend[byte](len(r.msg), from)
		if err != nil {
			return err
		}
		r.attrs = append(merged, r.attrs...)
	}
	r.attrs = append(r.attrs, msg...)
	return nil
}

func (p *points) addScope(msg []byte) (err error) {
	s := pointScope{msg: msg, resource: len(p.resources), from: len(p.metrics)}
	w := &p.walker
	for rest := msg; len(rest) > 0; {
		if rest, err = w.next(rest); err != nil {
			return err
		}
		num, data := w.field.Num, w.field.Data
		if num != 1 && num != 2 {
			continue
		}
		if w.field.Type != wire.Bytes {
			return errNotSub
		}
		if num == 2 {
			w.envelopes++
			err = p.addMetric(data)
		} else if _, err = w.walk(data, scope, 0); err == nil {
			s.read(data)
		}
		if err != nil {
			return err
		}
	}
	if s.to = len(p.metrics); s.from == s.to {
		return nil
	}
	if err = reserve(&p.scopes, p.lender, 1); err != nil {
		return err
	}
	p.scopes = append(p.scopes, s)
	return nil
}

func (s *pointScope) read(msg []byte) {
	if s.fields++; s.fields == 1 {
		s.scope = msg
	}
	var f wire.Field
	for len(msg) > 0 {
		if msg = field(msg, &f); f.Type != wire.Bytes {
			continue
		}
		switch f.Num {
		case 1:
			s.name = f.Data
		case 2:
			s.version = f.Data
		}
	}
}

func (p *points) addMetric(msg []byte) (err error) {
	m := pointMetric{msg: msg, scope: len(p.scopes), from: p.items}
	w := &p.walker
	holds := scalar // what m.data is
	for rest := msg; len(rest) > 0; {
		if rest, err = w.next(rest); err != nil {
			return err
		}
		num, data, isBytes := w.field.Num, w.field.Data, w.field.Type == wire.Bytes
		if num == 1 && isBytes {
			m.name = data
		}
		i, ok := index(num)
		if !ok || messages[metric].sub[i] == scalar {
			continue
		}
		if !isBytes {
			return errNotSub
		}
		k, unread := messages[metric].sub[i], data
		if k != keyValue {
			w.envelopes++
			unread, m.data, k, holds = m.data, data, holds, k
		}
		// Upstream does not read metadata, nor any data but the last.
		if _, err = w.walk(unread, k, 0); err != nil {
			return err
		}
	}
	m.kind = messages[holds].sub[1]
	if err = p.count(m.data); err != nil {
		return err
	}
	if m.to = p.items; m.from == m.to {
		return nil
	}
	if err = reserve(&p.metrics, p.lender, 1); err != nil {
		return err
	}
	p.metrics = append(p.metrics, m)
	return nil
}

// count counts the points in data.
func (p *points) count(data []byte) (err error) {
	w, before := &p.walker, p.items
	for rest := data; len(rest) > 0; {
		if n, size := wire.Run(rest, 1<<3|byte(wire.Bytes)); n > 0 {
			p.items += n
			rest = rest[size:]
			continue
		}
		if rest, err = w.next(rest); err != nil {
			return err
		}
		if w.field.Num != 1 {
			continue
		}
		if w.field.Type != wire.Bytes {
			return errNotSub
		}
		p.items++
	}
	w.holders += p.items - before
	return nil
}

// pointsOf is what points field num of a metric holds; scalar if it holds none.
func pointsOf(num int32) kind {
	if i, ok := index(num); ok && messages[metric].down&(1<<i) != 0 {
		return messages[messages[metric].sub[i]].sub[1]
	}
	return scalar
}

// point is the content of point i.
func (p *points) point(i int) []byte {
	var f wire.Field
	at := p.at[i]
	field(p.metrics[at.metric].data[at.offset:], &f)
	return f.Data
}
