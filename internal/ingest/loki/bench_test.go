package loki

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/grafana/loki/pkg/push"
	"github.com/klauspost/compress/s2"

	"github.com/telemetry-gateway/telemetry-gateway/internal/fault"
	"github.com/telemetry-gateway/telemetry-gateway/internal/ingest"
	"github.com/telemetry-gateway/telemetry-gateway/internal/wire"
)

// logPush is lines of 215 bytes of JSON each, spread over streams, as a cluster's agent sends them.
func logPush(streams, lines int) push.PushRequest {
	var p push.PushRequest
	for i := range streams {
		s := push.Stream{Labels: fmt.Sprintf(`{app="checkout", cluster="eu-1", container="server", namespace="shop", pod="checkout-7d9f5c6b8-%05d", stream="stderr"}`, i)}
		for j := range lines / streams {
			line := fmt.Sprintf(`{"ts":"2025-11-14T22:13:%02d.%06dZ","level":"info","msg":"done","method":"GET","path":"/cart/%08d","status":200,"ms":%02d,"trace_id":"%032x"`, j%60, j, i*j, j%90, j)
			line += strings.Repeat("x", 214-len(line)) + "}"
			s.Entries = append(s.Entries, push.Entry{Timestamp: time.Unix(1700000000, int64(j)*1e6), Line: line})
		}
		p.Streams = append(p.Streams, s)
	}
	return p
}

// asJSON is p as a client would write it.
func asJSON(tb testing.TB, p push.PushRequest) []byte {
	tb.Helper()
	var out strings.Builder
	out.WriteString(`{"streams":[`)
	for i, s := range p.Streams {
		if i > 0 {
			out.WriteString(",")
		}
		fmt.Fprintf(&out, `{"stream":{"app":"checkout","cluster":"eu-1","container":"server","namespace":"shop","pod":"checkout-%05d","stream":"stderr"},"values":[`, i)
		for j, e := range s.Entries {
			if j > 0 {
				out.WriteString(",")
			}
			line, err := json.Marshal(e.Line)
			if err != nil {
				tb.Fatal(err)
			}
			fmt.Fprintf(&out, `["%d",%s]`, e.Timestamp.UnixNano(), line)
		}
		out.WriteString("]}")
	}
	out.WriteString("]}")
	return []byte(out.String())
}

// pass is one push through the door, into a buffer that is large enough already.
func pass(tb testing.TB, raw, dst []byte, c ingest.Content, e ingest.Edit) {
	b, err := Push.Decode(raw, c)
	if err != nil {
		tb.Fatal(err)
	}
	bound := b.Bound(e)
	res, err := b.Encode(dst[:0], e)
	if err != nil || len(res.Body) > bound {
		tb.Fatal(err, len(res.Body), bound)
	}
}

// TestAllocations: what a push allocates does not depend on how much is in it.
func TestAllocations(t *testing.T) {
	f := func(name string, json bool, e ingest.Edit, most float64) {
		t.Helper()
		allocs := func(streams, lines int) float64 {
			p := logPush(streams, lines)
			raw := marshal(t, p)
			if json {
				raw = asJSON(t, p)
			}
			dst := make([]byte, 0, 2*len(raw)+1<<20)
			return testing.AllocsPerRun(10, func() { pass(t, raw, dst, ingest.Content{JSON: json}, e) })
		}
		small, large := allocs(2, 10), allocs(200, 4000)
		// Pools of the standard library may be emptied in between, which costs one or two.
		if large > small+2 || large > most {
			t.Errorf("%s: %v allocations for 10 lines, %v for 4000, at most %v wanted", name, small, large, most)
		}
	}
	f("protobuf unchanged", false, ingest.Edit{Form: form}, 2)
	f("protobuf stamped", false, ingest.Edit{Form: form, Stamps: testStamps}, 16)
	f("JSON", true, ingest.Edit{Form: form}, 16)
	f("JSON stamped", true, ingest.Edit{Form: form, Stamps: testStamps}, 32)
}

func BenchmarkPush(b *testing.B) {
	const lines = 5000
	p := logPush(20, lines)
	f := func(name string, json bool, e ingest.Edit) {
		b.Run(name, func(b *testing.B) {
			raw := marshal(b, p)
			if json {
				raw = asJSON(b, p)
			}
			dst := make([]byte, 0, 2*len(raw))
			b.SetBytes(int64(len(raw)))
			b.ReportAllocs()
			for b.Loop() {
				pass(b, raw, dst, ingest.Content{JSON: json}, e)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/lines, "ns/line")
		})
	}
	f("protobuf/unchanged", false, ingest.Edit{Form: form})
	f("protobuf/stamped", false, ingest.Edit{Form: form, Stamps: testStamps})
	f("json", true, ingest.Edit{Form: form})
	f("json/stamped", true, ingest.Edit{Form: form, Stamps: testStamps})
}

// BenchmarkStages measures what a push goes through where a label moves to structured metadata, each stage beside what its parts
// cost in any program: the library alone, a jump from length to length, a copy.
func BenchmarkStages(b *testing.B) {
	const lines = 5000
	raw := marshal(b, logPush(20, lines))
	packed := s2.EncodeSnappy(nil, raw)
	f := func(name string, work func()) {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(len(raw)))
			for b.Loop() {
				work()
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/lines, "ns/line")
		})
	}
	var pool ingest.Pool
	limits := ingest.Limits{BodyBytes: 64 << 20, DecodedBytes: 64 << 20}
	free := func(int) *fault.Error { return nil }
	room := make([]byte, 2*len(raw)+1<<20)
	c := ingest.Content{Charge: free, Stock: pool.Stock()}
	defer pool.Restock(c.Stock)
	p := plan{move: []string{"pod"}}
	r := recorded(b, raw, c, p)
	batch, err := walk(raw, ingest.Lender{Charge: free, Stock: c.Stock})
	if err != nil {
		b.Fatal(err)
	}
	e := ingest.Edit{Form: form, Charge: free}

	f("decode/ours", func() {
		plain, _ := pool.Decompress(packed, []ingest.Codec{ingest.Snappy}, limits, free)
		pool.Return(plain, free)
	})
	f("decode/floor", func() { _, _ = s2.Decode(room, packed) })
	f("walk/ours", func() { _, _ = walk(raw, ingest.Lender{}) })
	f("walk/floor", func() { jump(raw) })
	// Reducing and encoding build: each time out of a Stock of its own, as on the road.
	f("reduce/ours", func() {
		stock := pool.Stock()
		again := *batch
		again.lender.Stock, again.reduction = stock, nil
		_ = again.Reduce(r)
		pool.Restock(stock)
	})
	var set labelSet
	f("reduce/floor", func() { readLabels(raw, &set) })
	if err := batch.Reduce(r); err != nil {
		b.Fatal(err)
	}
	var out []byte
	f("encode/ours", func() {
		stock := pool.Stock()
		batch.lender.Stock = stock
		res, _ := batch.Encode(room[:0], e)
		out = res.Body
		pool.Restock(stock)
	})
	to := make([]byte, len(room))
	f("encode/floor", func() { copy(to, room[:len(raw)]) })
	f("compress/ours", func() {
		one, _ := pool.Compress(out, ingest.Snappy, free)
		pool.Return(one, free)
	})
	f("compress/floor", func() { s2.EncodeSnappy(to, out) })
}

// jump goes over the lines of a push by their lengths alone.
func jump(raw []byte) (lines int) {
	var stream wire.Field
	for len(raw) > 0 {
		raw = next(raw, &stream)
		for msg := stream.Data; len(msg) > 0; lines++ {
			_, end := shortField(msg, msg[0]>>3)
			msg = msg[end:]
		}
	}
	return lines
}

// readLabels reads the labels of all streams.
func readLabels(raw []byte, set *labelSet) {
	var stream wire.Field
	for len(raw) > 0 {
		raw = next(raw, &stream)
		_ = set.parse(labelsOf(stream.Data, true))
	}
}

func BenchmarkLabels(b *testing.B) {
	text := []byte(logPush(1, 1).Streams[0].Labels)
	var s labelSet
	var out []byte
	b.ReportAllocs()
	for b.Loop() {
		if err := s.parse(text); err != nil {
			b.Fatal(err)
		}
		out = s.append(out[:0], testStamps)
	}
}
