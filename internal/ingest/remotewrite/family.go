package remotewrite

import (
	"bytes"

	"github.com/telemetry-gateway/telemetry-gateway/internal/wire"
)

// The types of a metric, the same numbers in both versions.
const (
	typeCounter        = 1
	typeHistogram      = 3
	typeGaugeHistogram = 4
	typeSummary        = 5
	typeInfo           = 6
)

// suffixes are what the series of a family of that type append to its name. A counter's own name is not among them:
// in Prometheus' text format a counter's family is called like its series, _total included.
func suffixes(kind int32) []string {
	switch kind {
	case typeCounter:
		return []string{"_total"}
	case typeHistogram:
		return []string{"_bucket", "_sum", "_count"}
	case typeGaugeHistogram:
		return []string{"_bucket", "_gsum", "_gcount"}
	case typeSummary:
		return []string{"_sum", "_count"}
	case typeInfo:
		return []string{"_info"}
	}
	return nil
}

// familyOf is the name under which 1.0 sends metadata of the metric called name: without what a histogram or summary
// appends. _total and _info stay: that is what Prometheus' own 1.0 sender shows for them.
func familyOf(name []byte, kind int32) []byte {
	if kind == typeCounter || kind == typeInfo {
		return name
	}
	for _, s := range suffixes(kind) {
		if family, ok := bytes.CutSuffix(name, []byte(s)); ok && len(family) > 0 {
			return family
		}
	}
	return name
}

// metadata is what is said of a metric. Help and unit are in a symbol table.
type metadata struct {
	kind       int32
	help, unit uint32
}

// said says whether anything is.
func (m metadata) said() bool { return m != metadata{} }

// families is the metadata of a push by family name.
type families struct {
	names *symbols
	all   []family // in the order of names; the first is the empty name, which no metric has
	used  int      // how many of them some series has
}

// family is one MetricMetadata.
type family struct {
	metadata
	message []byte // as 1.0 has it; its strings get into the symbol table only if a series needs them
	used    bool
	// symbolized: help and unit are in the symbol table.
	symbolized bool
}

func newFamilies(books *booking, n int) families {
	fs := families{names: newSymbols(books, n)}
	fs.all, _ = room(books, fs.all, n+1)
	fs.all = append(fs.all, family{})
	return fs
}

// add returns where in all the family called name is, and whether it is new. Without room it is the empty name's.
func (fs *families) add(name []byte) (at int, news bool) {
	at = int(fs.names.ref(name))
	if at < len(fs.all) {
		return at, false
	}
	all, ok := room(fs.names.books, fs.all, 1)
	if !ok {
		return 0, false
	}
	fs.all = append(all, family{})
	return at, true
}

// readFamilies reads the metadata of a push. Where a family comes twice, the last one counts.
func (b *batchV1) readFamilies() families {
	// No real metadata is under 32 bytes; what is made of nothing gets its tables as they grow.
	fs := newFamilies(&b.books, min(b.metadata, len(b.raw)/32))
	var f, g wire.Field
	for msg := b.raw; len(msg) > 0 && b.books.err == nil; {
		if msg = next(msg, &f); f.Num != v1Metadata {
			continue
		}
		m := family{message: f.Data}
		var name []byte
		for msg := f.Data; len(msg) > 0; {
			msg = next(msg, &g)
			switch g.Num {
			case metadataType:
				m.kind = int32(g.Int)
			case v1MetadataName:
				name = g.Data
			}
		}
		at, _ := fs.add(name)
		fs.all[at] = m
	}
	return fs
}

// named returns the metadata of the metric that ls names, and counts it as used. Nil: there is none.
func (fs *families) named(ls []label) *family {
	if fs.names == nil {
		return nil
	}
	name, ok := metricName(ls)
	if !ok {
		return nil
	}
	m := fs.of(name.value)
	if m != nil && !m.used {
		m.used = true
		fs.used++
	}
	return m
}

// of returns the metadata of the metric called name: that of its own name, else of the family that it is a part of.
func (fs *families) of(name []byte) *family {
	if ref, _, _, ok := fs.names.find(name); ok {
		return &fs.all[ref]
	}
	at := bytes.LastIndexByte(name, '_')
	if at <= 0 {
		return nil
	}
	ref, _, _, ok := fs.names.find(name[:at])
	if !ok {
		return nil
	}
	m := &fs.all[ref]
	for _, s := range suffixes(m.kind) {
		if string(name[at:]) == s {
			return m
		}
	}
	return nil
}
