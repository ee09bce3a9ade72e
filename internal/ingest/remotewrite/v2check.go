package remotewrite

import (
	"errors"
	"fmt"

	"github.com/telemetry-gateway/telemetry-gateway/internal/ingest"
	"github.com/telemetry-gateway/telemetry-gateway/internal/wire"
)

// seriesChecker checks one TimeSeries of v2.
type seriesChecker struct {
	symbols uint32
	count   ingest.Count
	// fault is what is wrong with refs. The series is well formed but means nothing.
	fault error

	metadata  metadata
	most      int // labels in it or in one of its exemplars
	unknowns  int
	refFields int
	unpacked  bool // a ref that is a field of its own
	late      bool // a ref after a field that is none
}

var errOddRefs = errors.New("an odd number of label refs")

func (c *seriesChecker) check(msg []byte) (err error) {
	var f wire.Field
	refs := 0
	other := false
	for len(msg) > 0 {
		if msg, err = wire.Next(msg, &f); err != nil {
			return err
		}
		if f.Num >= v2Samples && f.Num <= v2Metadata && f.Type != wire.Bytes {
			return errWireType
		}
		switch f.Num {
		case v2Refs:
			c.refFields++
			c.unpacked = c.unpacked || f.Type != wire.Bytes
			c.late = c.late || other
			var n int
			if n, err = c.checkRefs(&f, "label"); err == nil {
				refs += n
			}
		case v2Samples:
			c.count.Samples++
			if !plainSample(f.Data) {
				err = check(f.Data, sampleV2, &c.unknowns)
			}
		case v2Histograms:
			c.count.Histograms++
			err = check(f.Data, histogramV2, &c.unknowns)
		case v2Exemplars:
			c.count.Exemplars++
			err = c.checkExemplar(f.Data)
		case v2Metadata:
			err = c.metadata.read(f.Data, &c.unknowns)
		case v2Created:
			if f.Type != wire.Varint {
				c.unknowns++
			}
		default:
			c.unknowns++
		}
		if err != nil {
			return err
		}
		other = other || f.Num != v2Refs
	}
	c.count.Items = c.count.Samples + c.count.Histograms
	c.inTable(uint64(c.metadata.help), "help")
	c.inTable(uint64(c.metadata.unit), "unit")
	return c.countRefs(refs)
}

// checkRefs checks one field of refs, packed or not, and says how many there are.
func (c *seriesChecker) checkRefs(f *wire.Field, what string) (n int, err error) {
	switch f.Type {
	case wire.Varint:
		c.inTable(f.Int, what)
		return 1, nil
	case wire.Bytes:
	default:
		return 0, errWireType
	}
	p := f.Data
	for i := 0; i < len(p); n++ {
		v := uint64(p[i])
		switch {
		case v < 0x80:
			i++
		case i+1 < len(p) && p[i+1] < 0x80:
			v = v&0x7f | uint64(p[i+1])<<7
			i += 2
		default:
			var l int
			if v, l = wire.Uvarint(p[i:]); l == 0 {
				return n, errPacked
			} else if l < 0 {
				return n, wire.ErrVarint
			}
			i += l
		}
		if uint32(v) >= c.symbols {
			c.inTable(v, what)
		}
	}
	return n, nil
}

// inTable notes a ref that leads out of the symbol table. As in every protobuf reader only 32 bits of it count.
func (c *seriesChecker) inTable(ref uint64, what string) {
	if uint32(ref) >= c.symbols && c.fault == nil {
		c.fault = fmt.Errorf("%s ref %d is outside the symbol table of %d", what, uint32(ref), c.symbols)
	}
}

func (c *seriesChecker) countRefs(n int) error {
	if c.most = max(c.most, n/2); n/2 > maxLabels {
		return errLabels
	}
	if n%2 != 0 && c.fault == nil {
		c.fault = errOddRefs
	}
	return nil
}

func (c *seriesChecker) checkExemplar(msg []byte) (err error) {
	var f wire.Field
	refs := 0
	for len(msg) > 0 {
		if msg, err = wire.Next(msg, &f); err != nil {
			return err
		}
		n := 0
		if f.Num == exemplarLabels {
			n, err = c.checkRefs(&f, "exemplar label")
		} else {
			err = exemplarShape.check(&f, &c.unknowns)
		}
		if err != nil {
			return err
		}
		refs += n
	}
	return c.countRefs(refs)
}

// read reads a Metadata message. What it does not mention keeps its value: doubled messages merge.
func (m *metadata) read(msg []byte, unknowns *int) (err error) {
	var f wire.Field
	for len(msg) > 0 {
		if msg, err = wire.Next(msg, &f); err != nil {
			return err
		}
		if err = metadataV2.check(&f, unknowns); err != nil {
			return err
		}
		switch f.Num {
		case metadataType:
			m.kind = int32(f.Int)
		case v2MetadataHelp:
			m.help = uint32(f.Int)
		case v2MetadataUnit:
			m.unit = uint32(f.Int)
		}
	}
	return nil
}
