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
func suffixes(kind uint64) []string {
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
func familyOf(name []byte, kind uint64) []byte {
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

// families is the metadata of a 1.0 push by family name.
type families struct {
	all  map[string]*family
	used int // how many of them some series has
}

// family is one MetricMetadata.
type family struct {
	kind       uint64
	help, unit uint32 // in the symbol table
	used       bool
}

// readFamilies reads the metadata of a push into t. Where a family comes twice, the last one counts.
func (b *batchV1) readFamilies(t *symbols) families {
	all := make(map[string]*family, b.metadata)
	var f, g wire.Field
	for msg := b.raw; len(msg) > 0; {
		if msg = next(msg, &f); f.Num != v1Metadata {
			continue
		}
		var m family
		var name, help, unit []byte
		for msg := f.Data; len(msg) > 0; {
			msg = next(msg, &g)
			switch g.Num {
			case metadataType:
				m.kind = g.Int
			case v1MetadataName:
				name = g.Data
			case v1MetadataHelp:
				help = g.Data
			case v1MetadataUnit:
				unit = g.Data
			}
		}
		m.help, m.unit = t.ref(help), t.ref(unit)
		all[string(name)] = &m
	}
	return families{all: all}
}

// of returns the metadata of the metric called name: that of its own name, else of the family that it is a part of.
func (fs *families) of(name []byte) *family {
	if m := fs.all[string(name)]; m != nil {
		return m
	}
	at := bytes.LastIndexByte(name, '_')
	if at <= 0 {
		return nil
	}
	m := fs.all[string(name[:at])]
	if m == nil {
		return nil
	}
	for _, s := range suffixes(m.kind) {
		if string(name[at:]) == s {
			return m
		}
	}
	return nil
}
