package generate

import (
	"encoding/binary"
	"math"
	"sync"
	"time"

	"github.com/golang/snappy"

	"github.com/telemetry-gateway/telemetry-gateway/internal/wire"
	"github.com/telemetry-gateway/telemetry-gateway/loadtest/digest"
)

// roundsAnHour is how often a series is written in an hour, at one sample every 15 s.
const roundsAnHour = 240

// seriesWork writes the same series again and again, a part of them in each push.
type seriesWork struct {
	spec    Spec
	v2      bool
	metrics []metric
	parts   []seriesPart
}

// seriesPart is the series of one push, as one template.
type seriesPart struct {
	mu      sync.Mutex // guards what follows, while churn replaces it
	version int
	*seriesTemplate
}

// seriesTemplate never changes.
type seriesTemplate struct {
	*template
	// sets is what each series' labels add up to when it arrives; dropped ones do not.
	sets  []uint64
	drops []bool
	kept  int
}

func newSeries(s Spec) (*Work, error) {
	w := newSeriesWork(s)
	raw, err := snappy.Decode(nil, w.parts[0].body)
	walk := digest.RemoteWriteV1
	if w.v2 {
		walk = digest.RemoteWriteV2
	}
	return &Work{Parts: len(w.parts), Raw: raw, Walk: walk, push: w.push}, err
}

func newSeriesWork(s Spec) *seriesWork {
	s.Items, s.Series = or(s.Items, 2000), or(s.Series, 100_000)
	w := &seriesWork{spec: s, v2: s.Kind == RemoteWriteV2, metrics: metrics(), parts: make([]seriesPart, max(1, s.Series/s.Items))}
	for i := range w.parts {
		w.parts[i].seriesTemplate = w.make(i, 0)
	}
	return w
}

// make makes the template of a part. After its holes are a value of 8 bytes and a time of 6 for each series.
func (w *seriesWork) make(part, version int) *seriesTemplate {
	st := &seriesTemplate{sets: make([]uint64, w.spec.Items), drops: make([]bool, w.spec.Items)}
	series := make([][]Label, w.spec.Items)
	for i := range series {
		n := part*w.spec.Items + i
		series[i] = labels(w.metrics, uint64(n/seriesOfPod)+w.spec.Seed<<32, n%seriesOfPod, version)
		arrives, keep := series[i], true
		if w.spec.Change.Labels != nil {
			arrives, keep = w.spec.Change.Labels(series[i])
		}
		for _, l := range arrives {
			st.sets[i] += digest.Label(l.Name, l.Value)
		}
		if m := w.metrics[n%seriesOfPod]; w.v2 {
			st.sets[i] += digest.Metadata(m.kind, m.help, "")
		}
		if st.drops[i] = !keep; keep {
			st.kept++
		}
	}
	if w.v2 {
		st.template = w.drawV2(series, part).compress()
	} else {
		st.template = drawV1(series).compress()
	}
	return st
}

const sampleSize = 1 + 8 + 1 + 6

// sample appends the sample message without its tag.
func (s *sketch) sample() {
	s.raw = append(s.raw, sampleSize)
	s.raw = wire.AppendTag(s.raw, 1, wire.Fixed64)
	s.hole(8)
	s.raw = wire.AppendTag(s.raw, 2, wire.Varint)
	s.hole(6)
}

func drawV1(series [][]Label) *sketch {
	s := new(sketch)
	for _, set := range series {
		size := 2 + sampleSize
		for _, l := range set {
			n := wire.BytesLen(1, len(l.Name)) + wire.BytesLen(2, len(l.Value))
			size += wire.BytesLen(1, n)
		}
		s.raw = wire.AppendTag(s.raw, 1, wire.Bytes)
		s.raw = binary.AppendUvarint(s.raw, uint64(size))
		for _, l := range set {
			s.raw = wire.AppendTag(s.raw, 1, wire.Bytes)
			s.raw = binary.AppendUvarint(s.raw, uint64(wire.BytesLen(1, len(l.Name))+wire.BytesLen(2, len(l.Value))))
			s.raw = wire.AppendString(s.raw, 1, l.Name)
			s.raw = wire.AppendString(s.raw, 2, l.Value)
		}
		s.raw = wire.AppendTag(s.raw, 2, wire.Bytes)
		s.sample()
	}
	return s
}

func (w *seriesWork) drawV2(series [][]Label, part int) *sketch {
	s := new(sketch)
	refs := map[string]uint64{}
	ref := func(text string) uint64 {
		n, ok := refs[text]
		if !ok {
			n = uint64(len(refs))
			refs[text] = n
			s.raw = wire.AppendString(s.raw, 4, text)
		}
		return n
	}
	ref("")
	bodies := make([][]byte, len(series))
	for i, set := range series {
		var ids, meta []byte
		for _, l := range set {
			ids = binary.AppendUvarint(binary.AppendUvarint(ids, ref(l.Name)), ref(l.Value))
		}
		m := w.metrics[(part*w.spec.Items+i)%seriesOfPod]
		meta = wire.AppendVarint(wire.AppendVarint(meta, 1, m.kind), 3, ref(m.help))
		bodies[i] = wire.AppendBytes(nil, 1, ids)
		bodies[i] = wire.AppendBytes(bodies[i], 5, meta)
	}
	for _, body := range bodies {
		s.raw = wire.AppendTag(s.raw, 5, wire.Bytes)
		s.raw = binary.AppendUvarint(s.raw, uint64(len(body)+2+sampleSize))
		// Fields in the order of their numbers, as some receivers want them: refs, sample, metadata.
		_, rest := cutField(body)
		s.raw = append(s.raw, body[:len(body)-len(rest)]...)
		s.raw = wire.AppendTag(s.raw, 2, wire.Bytes)
		s.sample()
		s.raw = append(s.raw, rest...)
	}
	return s
}

// cutField cuts the first field off a message of our own.
func cutField(msg []byte) (f wire.Field, rest []byte) {
	rest, err := wire.Next(msg, &f)
	if err != nil {
		panic("BUG: generate: " + err.Error())
	}
	return f, rest
}

func (w *seriesWork) push(n uint64, at time.Time, p *Push) {
	part := int(n % uint64(len(w.parts)))
	t := w.current(part, n/uint64(len(w.parts)))
	p.Path, p.Encoding, p.Method = "/api/v1/push", "snappy", ""
	p.ContentType = "application/x-protobuf"
	if w.v2 {
		p.ContentType += ";proto=io.prometheus.write.v2.Request"
	}
	p.Items, p.Sum = w.spec.Items, digest.Sum{}
	p.Body = append(p.Body[:0], t.body...)
	ms := at.UnixMilli()
	checked := digest.Selected(ms, w.spec.Every)
	if !checked {
		p.Sum.Items = uint64(t.kept)
	}
	for i := range w.spec.Items {
		value := math.Float64bits(float64(i*1000) + float64(n))
		binary.LittleEndian.PutUint64(p.Body[t.at[2*i]:], value)
		putVarint(p.Body[t.at[2*i+1]:][:6], uint64(ms))
		if checked && !t.drops[i] {
			p.Sum.Sample(t.sets[i], value, ms, 1)
		}
	}
}

// current is the template of a part in a round: with churn, each part is replaced as a whole when its turn has come, as
// deployments replace all their pods.
func (w *seriesWork) current(part int, round uint64) *seriesTemplate {
	p := &w.parts[part]
	p.mu.Lock()
	defer p.mu.Unlock()
	// Spread over the parts, so that the share of an hour is spread over the hour.
	version := int(float64(round)*w.spec.Churn/roundsAnHour + float64(part)/float64(len(w.parts)))
	if version > p.version {
		p.version, p.seriesTemplate = version, w.make(part, version)
	}
	return p.seriesTemplate
}
