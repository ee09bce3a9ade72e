package generate

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"

	"github.com/golang/snappy"

	"github.com/telemetry-gateway/telemetry-gateway/internal/wire"
	"github.com/telemetry-gateway/telemetry-gateway/loadtest/digest"
)

// streamsOfPush is how many streams a push of lines has.
const streamsOfPush = 20

// streamLabels are the labels of the n-th stream.
func streamLabels(n int) []Label {
	app := []string{"checkout", "payments", "catalog", "inventory", "frontend"}[n%5]
	return []Label{
		{"app", app},
		{"cluster", "prod-eu-west-1"},
		{"container", app},
		{"namespace", "shop"},
		{"pod", fmt.Sprintf("%s-7d9f8b6c5-%05x", app, uint32(n)*2654435761>>12)},
	}
}

// line is a JSON log line of about 215 bytes.
func line(r *rand.Rand) string {
	level := [...]string{"info", "info", "info", "info", "warn", "error"}[r.IntN(6)]
	path := [...]string{"/api/v1/cart", "/api/v1/cart/items", "/api/v1/orders", "/healthz", "/api/v1/users/profile"}[r.IntN(5)]
	msg := [...]string{"request served", "served from cache", "upstream took long", "retrying after a conflict"}[r.IntN(4)]
	return fmt.Sprintf(`{"level":"%s","msg":"%s","method":"GET","path":"%s","status":%d,"duration_ms":%d.%03d,"bytes":%d,"trace_id":"%016x%016x","user":"u-%04d","remote":"10.%d.%d"}`,
		level, msg, path, 200+r.IntN(5)*100/2, r.IntN(900), r.IntN(1000), r.IntN(90000), r.Uint64(), r.Uint64(), r.IntN(1e4), r.IntN(250), r.IntN(250))
}

// linesTemplate is one push of lines. After its holes are the seconds and the nanoseconds of each line, of 5 bytes each.
type linesTemplate struct {
	*template
	// streams and metadata are what the labels of a line's stream, and its structured metadata, add up to.
	streams, metadata []uint64
	texts             []uint64
}

func newLines(s Spec) (*Work, error) {
	s.Items = or(s.Items, 5000)
	list := make([]*linesTemplate, max(1, or(s.Series, 20*s.Items)/s.Items))
	for i := range list {
		list[i] = makeLines(s, i)
	}
	raw, err := snappy.Decode(nil, list[0].body)
	return &Work{Parts: len(list), Raw: raw, Walk: digest.Loki, push: func(n uint64, at time.Time, p *Push) {
		list[n%uint64(len(list))].push(at, s.Every, p)
	}}, err
}

// streamSums are what the labels of a stream add up to when they arrive, and what structured metadata each line has then.
func streamSums(set []Label, move string) (stream, metadata uint64) {
	for _, l := range set {
		if l.Name == move {
			metadata += digest.Label(l.Name, l.Value)
		} else {
			stream += digest.Label(l.Name, l.Value)
		}
	}
	return stream, metadata
}

func selector(set []Label) string {
	var b strings.Builder
	for i, l := range set {
		b.WriteString(map[bool]string{true: "{", false: ", "}[i == 0])
		b.WriteString(l.Name + "=" + strconv.Quote(l.Value))
	}
	return b.String() + "}"
}

func makeLines(s Spec, push int) *linesTemplate {
	t, r, sk := new(linesTemplate), dice(s.Seed, uint64(push)), new(sketch)
	for stream := range min(streamsOfPush, s.Items) {
		set := streamLabels(stream)
		sum, metadata := streamSums(set, s.Change.Move)
		texts := make([]string, linesOfStream(s.Items, stream))
		size := wire.BytesLen(1, len(selector(set)))
		for i := range texts {
			texts[i] = line(r)
			size += wire.BytesLen(2, entrySize(texts[i]))
			t.streams, t.metadata = append(t.streams, sum), append(t.metadata, metadata)
			t.texts = append(t.texts, digest.Text([]byte(texts[i])))
		}
		sk.raw = wire.AppendTag(sk.raw, 1, wire.Bytes)
		sk.raw = binary.AppendUvarint(sk.raw, uint64(size))
		sk.raw = wire.AppendString(sk.raw, 1, selector(set))
		for _, text := range texts {
			sk.entry(text)
		}
	}
	t.template = sk.compress()
	return t
}

// linesOfStream is a stream's share of the lines of a push; the first streams take the rest.
func linesOfStream(lines, stream int) int {
	n := lines / streamsOfPush
	if stream < lines%streamsOfPush {
		n++
	}
	return n
}

const stampSize = 1 + 5 + 1 + 5

func entrySize(text string) int { return wire.BytesLen(1, stampSize) + wire.BytesLen(2, len(text)) }

func (s *sketch) entry(text string) {
	s.raw = wire.AppendTag(s.raw, 2, wire.Bytes)
	s.raw = binary.AppendUvarint(s.raw, uint64(entrySize(text)))
	s.raw = wire.AppendTag(s.raw, 1, wire.Bytes)
	s.raw = append(s.raw, stampSize)
	s.raw = wire.AppendTag(s.raw, 1, wire.Varint)
	s.hole(5)
	s.raw = wire.AppendTag(s.raw, 2, wire.Varint)
	s.hole(5)
	s.raw = wire.AppendString(s.raw, 2, text)
}

// betweenLines is the time from one line of a push to the next: a push of 5000 lines ends within its millisecond.
const betweenLines = 199

func (t *linesTemplate) push(at time.Time, every uint64, p *Push) {
	p.Path, p.ContentType, p.Encoding, p.Method = "/loki/api/v1/push", "application/x-protobuf", "snappy", ""
	p.Items, p.Sum = len(t.texts), digest.Sum{}
	p.Body = append(p.Body[:0], t.body...)
	// Nanoseconds below 2^28 would be shorter on the wire than their hole.
	seconds, ms := at.Unix(), 269+int64(at.Nanosecond())/1e6*731/1000
	for i := range t.texts {
		nanos := ms*1e6 + int64(i)*betweenLines
		putVarint(p.Body[t.at[2*i]:][:5], uint64(seconds))
		putVarint(p.Body[t.at[2*i+1]:][:5], uint64(nanos))
		p.Sum.Entry(t.streams[i], t.metadata[i], seconds*1e9+nanos, t.texts[i], every)
	}
}
