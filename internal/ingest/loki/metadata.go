package loki

import (
	"strings"

	"github.com/telemetry-gateway/telemetry-gateway/internal/ingest"
	"github.com/telemetry-gateway/telemetry-gateway/internal/labels"
	"github.com/telemetry-gateway/telemetry-gateway/internal/wire"
)

// extracted is what Loki puts behind a name that is taken.
const extracted = "_extracted"

// moved are labels of a stream that go to the structured metadata of its lines.
type moved struct {
	labels []labels.Label
	// block is what they are to a line that has no metadata of its own: the same bytes for every line.
	block []byte
	// bytes are those of names and values alone.
	bytes int
}

// growth is the most that they add to a line. own: lines may have metadata of their own, and names more bytes.
func (m *moved) growth(own bool) int64 {
	const length = 4 // that of the line's own length, which is under 2^35
	n := length + len(m.block)
	if own {
		n += len(m.labels) * (len(extracted) + 2) // and two lengths
	}
	return int64(n)
}

// metadata writes a block that parts can point to.
func (m *merging) metadata(ls []labels.Label, lender ingest.Lender) (moved, error) {
	out := moved{labels: ls}
	size := 0
	for _, l := range ls {
		size += wire.BytesLen(entryMetadata, pairLen(l.Name, l.Value))
		out.bytes += len(l.Name) + len(l.Value)
	}
	if err := m.room(size, lender); err != nil {
		return out, err
	}
	from := len(m.text)
	for _, l := range ls {
		m.text = appendPair(m.text, l.Name, "", l.Value)
	}
	out.block = m.text[from:len(m.text):len(m.text)]
	return out, nil
}

func pairLen(name, value string) int {
	return wire.BytesLen(pairName, len(name)) + wire.BytesLen(pairValue, len(value))
}

// appendPair appends metadata of the name name+suffix to an entry.
func appendPair(dst []byte, name, suffix, value string) []byte {
	n := wire.BytesLen(pairName, len(name)+len(suffix)) + wire.BytesLen(pairValue, len(value))
	dst = appendLen(wire.AppendTag(dst, entryMetadata, wire.Bytes), n)
	dst = appendLen(wire.AppendTag(dst, pairName, wire.Bytes), len(name)+len(suffix))
	return wire.AppendString(append(append(dst, name...), suffix...), pairValue, value)
}

// What a line has of its own that is in the way of a label.
const (
	hasName      = 1 << iota // metadata of that name
	hasSame                  // and value
	hasExtracted             // metadata of the name with extracted behind it
)

// entry writes a line with m. What a line has of its own stays: a label that it has already with the same value is not
// written again, and one whose name has another value gets a name of its own.
func (w *rewriter) entry(f *wire.Field, m *moved) error {
	if len(m.block) == 0 {
		w.out = append(w.out, f.Raw...)
		return nil
	}
	if w.batch.metadata {
		switch own, err := w.own(f.Data, m.labels); {
		case err != nil:
			return err
		case own:
			w.beside(f.Data, m)
			return nil
		}
	}
	w.out = appendLen(append(w.out, streamEntries<<3|byte(wire.Bytes)), len(f.Data)+len(m.block))
	w.out = append(append(w.out, f.Data...), m.block...)
	w.bytes += m.bytes
	return nil
}

// own looks for labels in the metadata of an entry, if it has any, and leaves what it finds of each in w.has.
func (w *rewriter) own(entry []byte, ls []labels.Label) (found bool, err error) {
	var f wire.Field
	for len(entry) > 0 {
		if entry = next(entry, &f); f.Num != entryMetadata {
			continue
		}
		if !found {
			found = true
			if w.has, err = ingest.Grow(w.has[:0], len(ls), w.set.lender); err != nil {
				return true, err
			}
			w.has = w.has[:len(ls)]
			clear(w.has)
		}
		name, value := readPair(f.Data)
		for i := range ls {
			switch base := ls[i].Name; {
			case len(name) == len(base) && string(name) == base:
				w.has[i] |= hasName
				if string(value) == ls[i].Value {
					w.has[i] |= hasSame
				}
			case len(name) == len(base)+len(extracted) && string(name[:len(base)]) == base && string(name[len(base):]) == extracted:
				w.has[i] |= hasExtracted
			}
		}
	}
	return found, nil
}

func readPair(msg []byte) (name, value []byte) {
	var f wire.Field
	for len(msg) > 0 {
		switch msg = next(msg, &f); f.Num {
		case pairName:
			name = f.Data
		case pairValue:
			value = f.Data
		}
	}
	return name, value
}

// beside writes a line that has metadata of its own. Where both names are taken, the label's and the one that it would
// get, the line keeps what it has and the label is left: there is no end to making names up.
func (w *rewriter) beside(entry []byte, m *moved) {
	var mark wire.Mark
	w.out, mark = wire.OpenMessage(w.out, streamEntries, len(entry)+len(m.block))
	w.out = append(w.out, entry...)
	for i, l := range m.labels {
		suffix := ""
		switch has := w.has[i]; {
		case has == 0 || has == hasExtracted:
		case has&(hasSame|hasExtracted) != 0 || hasSuffixed(m.labels, l.Name):
			continue
		default:
			suffix = extracted
		}
		w.out = appendPair(w.out, l.Name, suffix, l.Value)
		w.bytes += len(l.Name) + len(suffix) + len(l.Value)
	}
	w.out = wire.CloseMessage(w.out, mark)
}

// hasSuffixed says whether ls has a label of the name that name would get.
func hasSuffixed(ls []labels.Label, name string) bool {
	for _, l := range ls {
		if base, ok := strings.CutSuffix(l.Name, extracted); ok && base == name {
			return true
		}
	}
	return false
}
