package otlp

import (
	"github.com/telemetry-gateway/telemetry-gateway/internal/ingest"
	"github.com/telemetry-gateway/telemetry-gateway/internal/labels"
	"github.com/telemetry-gateway/telemetry-gateway/internal/wire"
)

// resourceWriter asks about resources, and knows of the one at hand what items need.
//
// Stamps are on what rules see, so a resource that rules change is written with its stamps, and not stamped again: a rule
// may have taken one away. From the first such resource on all of the push are written stamped.
type resourceWriter struct {
	stamper *stamper
	// stamping: all resources in dst are stamped.
	stamping bool
	// res is the resource at hand as it leaves, its parts made one; rewritten: it is another than the one that came.
	res       []byte
	rewritten bool
	// moved are its attributes that move to each of its records.
	moved []moved
	// nameless is how many resources are left without a service.name.
	nameless int
	// base are the labels that all items of the scope at hand share, sorted; the first ofResource are the resource's.
	base       []labels.Label
	ofResource int

	// seen are the attributes of the resource at hand as rules see them, and reader holds their texts.
	seen   labels.Set
	reader attributes
	// What res is written in, step by step: attributes that move point to the one before the last.
	partsBuf, stampBuf, changeBuf, restBuf []byte
}

func (w *resourceWriter) init(r *ingest.Reducer, lender ingest.Lender) {
	w.stamper = newStamper(r.Stamps)
	w.reader.lender = lender
}

// itemGroup is what a group holds.
type itemGroup struct {
	// items are all that count, good those that rules are asked about. They are counted only where resources have rules.
	items, good int
	// scopes is the number of the fields whose items count.
	scopes int32
	// resources is how many fields make up the resource.
	resources int
}

// readGroup reads what is in the group msg, and its resource into res.
func (w *itemWriter) readGroup(msg []byte) (g itemGroup, err error) {
	g.scopes = oldScope
	w.res = nil
	var f wire.Field
	for rest := msg; len(rest) > 0; {
		if rest, err = wire.Next(rest, &f); err != nil {
			return g, err
		}
		switch f.Num {
		case 1:
			switch g.resources++; g.resources {
			case 1:
				w.res = f.Data
			case 2:
				w.partsBuf = w.partsBuf[:0]
				if err = w.appendPart(w.res); err == nil {
					err = w.appendPart(f.Data)
				}
			default:
				err = w.appendPart(f.Data)
			}
			if g.resources > 1 {
				w.res = w.partsBuf // messages behind each other are one
			}
		case 2:
			g.scopes = 2
		}
		if err != nil {
			return g, err
		}
	}
	if w.r.Resource != nil || len(w.r.Metadata) > 0 {
		err = w.count(msg, &g)
	}
	return g, err
}

// count counts the items of the group msg.
func (w *itemWriter) count(msg []byte, g *itemGroup) error {
	return each(msg, g.scopes, func(scope []byte) error {
		return each(scope, 2, func(item []byte) error {
			g.items++
			bad, err := w.bad(item)
			if !bad {
				g.good++
			}
			return err
		})
	})
}

// bad says whether item is a span whose ids are bad, which is refused whatever rules say.
func (w *itemWriter) bad(item []byte) (bool, error) {
	if w.whose != ofPoint || w.push.refused.Items == 0 {
		return false, nil
	}
	var v view
	err := v.read(item, true)
	return v.ids != goodIDs, err
}

func (w *itemWriter) appendPart(part []byte) error {
	if err := reserve(&w.partsBuf, w.lender, len(part)); err != nil {
		return err
	}
	w.partsBuf = append(w.partsBuf, part...)
	return nil
}

// askResource asks about the resource of g, and leaves in w what becomes of it; out: it is left.
func (w *itemWriter) askResource(g *itemGroup) (out bool, err error) {
	w.rewritten, w.moved = false, w.moved[:0]
	if w.r.Resource != nil || w.r.Item != nil || len(w.r.Metadata) > 0 {
		if err = w.see(w.r.Stamps); err != nil {
			return false, err
		}
	}
	stamped := false
	if w.r.Resource != nil {
		change, verdict := w.r.Resource(&w.seen, g.good)
		if !verdict.Out() {
			return false, nil
		}
		if change != nil {
			if err = w.stampResource(); err == nil {
				err = w.changeResource(change)
			}
			if err == nil {
				err = w.see(nil) // what change points to does not last
			}
			if err != nil {
				return false, err
			}
			stamped, w.rewritten = true, true
		}
	}
	w.base = w.base[:0]
	if w.r.Item != nil {
		if err = w.readBase(); err != nil {
			return false, err
		}
	}
	if w.whose == ofRecord && g.items > 0 && w.moves() {
		if !stamped {
			if err = w.stampResource(); err != nil {
				return false, err
			}
		}
		if err = w.move(); err != nil {
			return false, err
		}
		stamped, w.rewritten = true, true
	}
	if w.stamping && !stamped {
		w.rewritten = true
		return true, w.stampResource()
	}
	return true, nil
}

// see reads res, with stamps on it, into seen.
func (w *itemWriter) see(stamps []labels.Label) error {
	w.reader.reset()
	w.seen.Reset()
	for _, s := range stamps {
		w.seen.Add(s, labels.Key{})
	}
	if err := w.reader.add(&w.seen, w.res, 1, "", ofResource, nil); err != nil {
		return err
	}
	w.seen.Sort()
	return nil
}

// stampResource makes res the stamped resource.
func (w *itemWriter) stampResource() (err error) {
	s := w.stamper
	w.stampBuf = w.stampBuf[:0]
	if err = reserve(&w.stampBuf, w.lender, len(w.res)+s.size); err != nil {
		return err
	}
	clear(s.seen)
	w.res, err = s.attributes(w.stampBuf, w.res, messages[resource].attrs, true)
	w.stampBuf = w.res
	return err
}

// changeResource makes res what c leaves of it.
func (w *itemWriter) changeResource(c *labels.Change) (err error) {
	w.changeBuf = w.changeBuf[:0]
	if err = reserve(&w.changeBuf, w.lender, len(w.res)+stampsLen(c.Add)); err != nil {
		return err
	}
	w.res, err = w.reader.appendChanged(w.changeBuf, w.res, messages[resource].attrs, &w.seen, c, ofResource)
	w.changeBuf = w.res
	return err
}

// readBase makes base of the resource in seen.
func (w *itemWriter) readBase() error {
	shared := w.seen.All[:min(len(w.seen.All), maxShared)]
	if err := reserve(&w.base, w.lender, len(shared)+2); err != nil {
		return err
	}
	for _, l := range shared {
		name, err := w.reader.join(resourcePrefix, l.Name)
		if err != nil {
			return err
		}
		w.base = append(w.base, labels.Label{Name: name, Value: l.Value})
	}
	w.ofResource, w.kin.met[0] = len(w.base), false
	return nil
}

// readScope makes base what items of the scope msg share.
func (w *itemWriter) readScope(msg []byte) error {
	var name, version []byte
	var f wire.Field
	err := each(msg, 1, func(scope []byte) error {
		for len(scope) > 0 {
			var err error
			if scope, err = wire.Next(scope, &f); err != nil {
				return err
			}
			switch {
			case f.Num == 1 && f.Type == wire.Bytes:
				name = f.Data
			case f.Num == 2 && f.Type == wire.Bytes:
				version = f.Data
			}
		}
		return nil
	})
	w.base, w.unmerged, w.kin.met[1] = w.base[:w.ofResource], true, false
	if len(name) > 0 {
		w.base = append(w.base, labels.Label{Name: scopeName, Value: textOf(name)})
	}
	if len(version) > 0 {
		w.base = append(w.base, labels.Label{Name: scopeVersion, Value: textOf(version)})
	}
	return err
}

// beginStamping stamps what is written already, which is all that comes before head.
func (w *itemWriter) beginStamping(head int) error {
	if err := w.until(head); err != nil {
		return err
	}
	w.stamping = true
	if len(w.dst) == 0 {
		return nil
	}
	var out []byte
	b := w.push
	err := reserve(&out, w.lender, len(w.dst)+b.envelopes*4+b.holders*holderGrowth(w.stamper.size)+len(w.src)-head)
	if err != nil {
		return err
	}
	w.dst, err = w.stamper.walk(out, w.dst, b.signal.request)
	return err
}
