package otlp

import (
	"unsafe"

	"github.com/telemetry-gateway/telemetry-gateway/internal/labels"
	"github.com/telemetry-gateway/telemetry-gateway/internal/wire"
)

// part is the points of a metric that leave under one name.
type part struct {
	name       string
	head, tail int32 // in at
}

// partBytes is what a part takes, with its entry in a map.
const partBytes = int(unsafe.Sizeof(part{})) + 64

// settle finds out what the answers change, and says whether that is anything.
func (p *points) settle() (changed bool, err error) {
	for i := range p.metrics {
		if err := p.settleMetric(i); err != nil {
			return false, err
		}
	}
	for i := range p.resources {
		r := &p.resources[i]
		if r.rewritten {
			p.grow += wire.BytesLen(1, len(r.attrs))
		}
		r.changed = r.changed || r.dropped || r.rewritten
		changed = changed || r.changed
	}
	return changed, nil
}

func (p *points) settleMetric(i int) error {
	m := &p.metrics[i]
	if p.series == nil {
		m.left = m.to - m.from
		p.left += m.left
		return nil
	}
	renamed := false
	for i := m.from; i < m.to; i++ {
		if !p.leaves(i) {
			m.changed = true
			continue
		}
		m.left++
		if c := p.series[i].Change; c != nil {
			m.changed = true
			renamed = renamed || p.nameOf(i, m) != string(m.name)
			// Its own length may take more bytes than it did.
			p.grow += lengthBytes - 1
			for _, l := range c.Add {
				if !ofPoint.reserved(l.Name) {
					p.grow += wire.BytesLen(1, keyValueLen(l))
				}
			}
		}
	}
	p.left += m.left
	if m.changed {
		s := &p.scopes[m.scope]
		s.changed, p.resources[s.resource].changed = true, true
	}
	if renamed {
		return p.split(m)
	}
	return nil
}

// leaves says whether point i is there when the push leaves.
func (p *points) leaves(i int) bool {
	if p.series == nil {
		return true
	}
	s := &p.series[i]
	return s.Verdict.Out() && !(s.DropStale && s.Stale > 0)
}

// nameOf is the name under which point i of m leaves. One that rules took away stays: upstream takes no metric without.
func (p *points) nameOf(i int, m *pointMetric) string {
	if c := p.series[i].Change; c != nil {
		for _, l := range c.Add {
			if l.Name == metricName {
				return l.Value
			}
		}
	}
	return textOf(m.name)
}

// split makes a part of m for each name that its points leave under, in the order in which the names come up.
func (p *points) split(m *pointMetric) (err error) {
	found := map[string]int{}
	m.first = len(p.parts)
	for i := m.from; i < m.to; i++ {
		if !p.leaves(i) {
			continue
		}
		name := p.nameOf(i, m)
		n, ok := found[name]
		if ok {
			p.at[p.parts[n].tail].next = int32(i)
			p.parts[n].tail = int32(i)
			continue
		}
		if err = p.lender.Charge.Take(partBytes); err != nil {
			return err
		}
		found[name] = len(p.parts)
		p.parts = append(p.parts, part{name: name, head: int32(i), tail: int32(i)})
		p.grow += wire.BytesLen(1, len(name))
	}
	m.last = len(p.parts)
	p.scratch = p.scratch[:0]
	if err = reserve(&p.scratch, p.lender, len(m.msg)); err != nil {
		return err
	}
	ofMetric, _, ofData := p.around(m)
	// The last of them has what is around the points from the push, the others have it besides, with two lengths and tags.
	p.grow += (m.last - m.first - 1) * (len(ofMetric) + len(ofData) + 2*(1+lengthBytes))
	return nil
}

// lengthBytes is what a message's length takes at most, since no push is larger than that can say.
const lengthBytes = 5

// around returns, in p.scratch, what of m is no name and no data, and what of its data, field num of it, is no point.
func (p *points) around(m *pointMetric) (ofMetric []byte, num int32, ofData []byte) {
	p.scratch = p.scratch[:0]
	var f wire.Field
	for rest := m.msg; len(rest) > 0; {
		msg := rest
		switch rest = field(rest, &f); {
		case same(f.Data, m.data) && f.Type == wire.Bytes:
			num = f.Num
		case f.Num == 1 || pointsOf(f.Num) != scalar:
		default:
			p.scratch = append(p.scratch, msg[:len(msg)-len(rest)]...)
		}
	}
	n := len(p.scratch)
	for rest := m.data; len(rest) > 0; {
		msg := rest
		if rest = field(rest, &f); f.Num != 1 {
			p.scratch = append(p.scratch, msg[:len(msg)-len(rest)]...)
		}
	}
	return p.scratch[:n:n], num, p.scratch[n:]
}

// bound is what is appended at most.
func (p *points) bound(b *batch, stamps []labels.Label) int {
	// What is around what changes grows by its length alone, as in batch.Bound.
	n := len(b.proto) + b.envelopes*(lengthBytes-1) + p.grow
	if len(stamps) > 0 {
		n += b.holders * holderGrowth(stampsLen(stamps))
	}
	return n
}
