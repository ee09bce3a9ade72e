package loki

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/grafana/loki/pkg/push"
	"github.com/prometheus/prometheus/promql/parser"

	"github.com/telemetry-gateway/telemetry-gateway/internal/ingest"
	"github.com/telemetry-gateway/telemetry-gateway/internal/labels"
	"github.com/telemetry-gateway/telemetry-gateway/internal/wire"
)

var testStamps = labels.Sorted(map[string]string{"env": "prod", "region": "eu\n1"})

// checkProtobuf compares walk and Encode with Loki's own types.
func checkProtobuf(t *testing.T, raw []byte) {
	t.Helper()
	var want push.PushRequest
	wantErr := want.Unmarshal(raw)
	b, err := walk(raw, ingest.Lender{})
	if err != nil {
		// Stricter than gogo's generated code only where bytes mean nothing: bits beyond 64, groups that do not match.
		strict := errors.Is(err, wire.ErrVarint) || errors.Is(err, wire.ErrTag) || errors.Is(err, wire.ErrNesting)
		if wantErr == nil && !strict {
			t.Fatalf("refused: %v, the reference takes it", err)
		}
		return
	}
	if wantErr != nil {
		t.Fatalf("taken, reference: %v", wantErr)
	}
	lines := 0
	var counts []int32
	for _, s := range want.Streams {
		lines += len(s.Entries)
		counts = append(counts, int32(len(s.Entries)))
	}
	if b.Items() != lines || !slices.Equal(b.counts, counts) {
		t.Fatalf("%d lines, in streams %v, want %d, %v", b.Items(), b.counts, lines, counts)
	}
	before := slices.Clone(raw)
	plain := ingest.Edit{Form: form}
	if res, err := b.Encode(nil, plain); err != nil || !res.Unchanged || b.Bound(plain) != 0 || res.Sent.Items != lines {
		t.Fatalf("no stamps: %+v, %v, bound %d", res, err, b.Bound(plain))
	}
	checkStamped(t, b, want)
	if !slices.Equal(raw, before) {
		t.Fatal("Encode wrote to the push")
	}
}

// checkStamped compares the stamped push with want, stamped by the reference.
func checkStamped(t *testing.T, b *batch, want push.PushRequest) {
	t.Helper()
	edit := ingest.Edit{Form: form, Stamps: testStamps}
	prefix := []byte("already here")
	res, err := b.Encode(slices.Clone(prefix), edit)
	if err != nil {
		t.Fatalf("encode: %v", err)
	}
	if n := len(res.Body) - len(prefix); n < 0 || string(res.Body[:len(prefix)]) != string(prefix) || n > b.Bound(edit) {
		t.Fatalf("%d bytes appended, bound %d", n, b.Bound(edit))
	}
	var got push.PushRequest
	if err := got.Unmarshal(res.Body[len(prefix):]); err != nil {
		t.Fatalf("what was written does not decode: %v", err)
	}
	refused := 0
	var left []push.Stream
	for _, s := range want.Streams {
		ls, err := parser.NewParser(parser.Options{}).ParseMetric(s.Labels)
		var set labelSet
		if set.parse([]byte(s.Labels)) != nil { // checkLabels holds parse to the reference
			refused += len(s.Entries)
			continue
		}
		if err != nil {
			t.Fatalf("labels %q taken, reference: %v", s.Labels, err)
		}
		s.Labels, s.Hash = string(set.append(nil, testStamps)), 0
		after, err := parser.NewParser(parser.Options{}).ParseMetric(s.Labels)
		if err != nil || after.Get("env") != "prod" || after.Get("region") != "eu\n1" {
			t.Fatalf("stamped labels %q: %s, %v", s.Labels, after, err)
		}
		for _, name := range []string{"a", "b", "app"} {
			if after.Get(name) != ls.WithoutEmpty().Get(name) {
				t.Fatalf("label %s was %q, is %q", name, ls.WithoutEmpty().Get(name), after.Get(name))
			}
		}
		left = append(left, s)
	}
	want.Streams = left
	if !bytes.Equal(marshal(t, want), marshal(t, got)) {
		t.Fatalf("stamped (-want +got):\n%s", cmp.Diff(want, got))
	}
	counted := 0
	for _, r := range res.Refused {
		counted += r.Items
		if r.Reason != "invalid_item" || r.Text == "" {
			t.Fatalf("refusal %+v", r)
		}
	}
	if counted != refused || res.Sent.Items != b.lines-refused || res.Form != form {
		t.Fatalf("refused %d, want %d; sent %d of %d", counted, refused, res.Sent.Items, b.lines)
	}
}

// randomPush is a push of up to 4 streams with all that Loki knows of.
func randomPush(r *rand.Rand) push.PushRequest {
	text := func(n int) string {
		b := make([]byte, r.IntN(n))
		for i := range b {
			b[i] = byte(r.IntN(256))
		}
		return string(b)
	}
	pairs := func() (ls push.LabelsAdapter) {
		for range r.IntN(3) {
			ls = append(ls, push.LabelAdapter{Name: text(10), Value: text(200)})
		}
		return ls
	}
	var p push.PushRequest
	if r.IntN(4) == 0 {
		p.Format = "loki"
	}
	for range r.IntN(5) {
		s := push.Stream{Labels: labelSeeds[r.IntN(len(labelSeeds))]}
		if r.IntN(5) == 0 {
			s.Hash = r.Uint64()
		}
		for range r.IntN(6) {
			e := push.Entry{Timestamp: time.Unix(r.Int64N(4e9)-1e9, r.Int64N(1e9)).UTC(), Line: text(300), StructuredMetadata: pairs()}
			if r.IntN(20) == 0 {
				e.Parsed = pairs()
			}
			s.Entries = append(s.Entries, e)
		}
		p.Streams = append(p.Streams, s)
	}
	return p
}

func marshal(t testing.TB, p push.PushRequest) []byte {
	t.Helper()
	raw, err := p.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func TestProtobufRandom(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for range 3_000 {
		raw := marshal(t, randomPush(r))
		checkProtobuf(t, raw)
		if len(raw) > 0 {
			switch i := r.IntN(len(raw)); r.IntN(3) {
			case 0:
				checkProtobuf(t, raw[:i])
			case 1:
				raw[i] ^= 1 << r.IntN(8)
				checkProtobuf(t, raw)
			}
		}
	}
}

// msg is field num with the concatenated parts as its content.
func msg(num int32, parts ...[]byte) []byte {
	return wire.AppendBytes(nil, num, slices.Concat(parts...))
}

func varint(num int32, v uint64) []byte { return wire.AppendVarint(nil, num, v) }
func str(num int32, s string) []byte    { return wire.AppendString(nil, num, s) }

// protobufSeeds are messages that no generated encoder writes.
func protobufSeeds() [][]byte {
	at := msg(1, varint(1, 1700000000), varint(2, 5))
	group := []byte{9<<3 | 3, 8 << 3, 1, 9<<3 | 4}
	deep := append(slices.Repeat([]byte{9<<3 | 3}, 100), slices.Repeat([]byte{9<<3 | 4}, 100)...)
	seeds := [][]byte{
		{},
		msg(1), // a stream with nothing in it
		msg(1, str(1, `{a="b"}`), msg(2, at, str(2, "line"))),                                               // the usual
		msg(1, msg(2, at, str(2, "line")), str(1, `{a="b"}`)),                                               // labels last
		msg(1, str(1, `{a="b"}`), msg(2, at), str(1, `{b="c"}`)),                                            // labels twice
		msg(1, varint(3, 7), str(1, `{a="b"}`), msg(2, at, at), varint(3, 8)),                               // hash, timestamp twice
		msg(1, str(1, `{a="b"}`), msg(2, at, str(2, "x"), str(2, "y")), str(15, "newer")),                   // line twice, unknown field
		slices.Concat(str(2, "loki"), str(99, "newer"), msg(1, str(1, `{a="b"}`)), varint(98, 1), group),    // unknown around
		msg(1, str(1, `{a="b"}`), msg(2, at, msg(3, str(1, "n"), str(2, "v")), msg(4, str(1, "p")), group)), // metadata, parsed
		msg(1, str(1, `{a="b`), msg(2, at)),                                                                 // bad labels
		slices.Concat(msg(1, str(1, `{a-b="c"}`), msg(2, at)), msg(1, str(1, `{a="b"}`), msg(2, at))),       // bad among good
		msg(1, str(1, `{a="b"}`), []byte{0x92, 0x00, 0x03, 0x12, 0x01, 'x'}),                                // an entry's tag in two bytes
		varint(1, 1), varint(2, 1), msg(1, varint(1, 1)), msg(1, varint(2, 1)), msg(1, str(3, "x")), // wrong wire types
		msg(1, msg(2, varint(1, 1))), msg(1, msg(2, varint(2, 1))), msg(1, msg(2, varint(3, 1))), //
		msg(1, msg(2, msg(3, varint(1, 1)))), msg(1, msg(2, msg(1, str(1, "x")))), //
		msg(1, msg(2, msg(1, varint(1, 1<<62)))), msg(1, msg(2, msg(1, varint(2, 1e9)))), // no timestamp
		msg(1, msg(2, msg(1, varint(1, 1<<62), varint(1, 1)))), msg(1, msg(2, msg(1, varint(2, 1<<32|5)))), // last wins; cut to 32 bits
		{0x0a, 0x05, 0x0a}, {0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01}, {0x0a}, {0xff}, // truncated, overlong
		slices.Repeat([]byte{0x80}, 12), {0x00, 0x00}, {9<<3 | 4}, {9<<3 | 7, 0}, deep, msg(1, deep),
	}
	line := str(2, "a line that is long enough")
	for _, at := range times() {
		seeds = append(seeds, msg(1, str(1, `{a="b"}`), msg(2, at, line)), msg(1, msg(2, at), msg(2, at, line, at, line), msg(2, at, str(3, "x"), line)))
	}
	return seeds
}

// times are timestamps, most of them not as clients write them.
func times() (all [][]byte) {
	second, nano := varint(1, 1700000000), func(v uint64) []byte { return varint(2, v) }
	for _, at := range [][]byte{
		{}, second, nano(1), {8}, {8, 0x80, 0x80, 0x80, 0x80}, second[:5],
		{8, 0x85, 0x80, 0x80, 0x80, 0}, {8, 0xff, 0xff, 0xff, 0xff, 0x7f}, varint(1, 1<<35), varint(1, 1<<28), varint(1, 1<<28-1), // five bytes, six, four
		varint(1, endSeconds), varint(1, endSeconds-1), varint(1, 1<<64-5), varint(1, 1<<64-62135596801),
		append(second, 0x10), append(second, 0x10, 0x80), append(second, 0x10, 0xff, 0xff, 0xff, 0xff), append(second, 0x18, 1), append(second, 0x12, 0),
		append(second, nano(0)...), append(second, nano(127)...), append(second, nano(1<<14-1)...), append(second, nano(1<<21)...),
		append(second, nano(999999999)...), append(second, nano(1e9)...), append(second, nano(1<<35-1)...), append(second, nano(1<<35)...), append(second, nano(1<<64-1)...),
		append(second, 0x10, 0x85, 0), append(second, 0x10, 0x85, 0x80, 0x80, 0x80, 0), append(second, 0x10, 0x85, 0x80, 0x80, 0x80, 0x80, 0),
		append(append(second, nano(5)...), nano(6)...), append(append(second, nano(5)...), second...), append(nano(5), second...),
	} {
		all = append(all, msg(1, at))
	}
	return all
}

// TestPlainEntry: what is read in words is what is read field by field.
func TestPlainEntry(t *testing.T) {
	f := func(msg []byte) (size int) {
		t.Helper()
		got, size := plainEntry(msg)
		if size == 0 {
			return 0
		}
		var entry push.Entry
		if err := entry.Unmarshal(msg[:size]); err != nil {
			t.Fatalf("% x: read as %+v, the reference says %v", msg, got, err)
		}
		if at := entry.Timestamp; at.Unix() != got.seconds || at.Nanosecond() != int(got.nanos) {
			t.Fatalf("% x: %+v, want %v", msg, got, at)
		}
		return size
	}
	line := str(2, "a line that is long enough")
	for _, at := range times() {
		f(slices.Concat(at, line))
		for n := range line {
			f(slices.Concat(at, line[:n]))
		}
	}
	r := rand.New(rand.NewPCG(9, 9))
	usual := 0
	for range 20000 {
		entry := slices.Concat(msg(1, varint(1, r.Uint64()>>(r.IntN(36)+28)), varint(2, uint64(r.IntN(1.1e9)))), line)
		if f(entry) == len(entry) {
			usual++
		}
		for range 1 + r.IntN(3) {
			entry[r.IntN(len(entry))] = byte(r.Uint32())
		}
		f(entry)
	}
	if usual < 2000 {
		t.Errorf("%d of 20000 were read in words", usual)
	}
	for i, nanos := range []int64{0, 1, 1e3, 1e6, 5e8, 999999999} {
		entry := marshalEntry(t, push.Entry{Timestamp: time.Unix(1700000000, nanos), Line: strings.Repeat("x", 10+i*3000)})
		if f(entry) != len(entry) {
			t.Errorf("%d nanoseconds: not read in words", nanos)
		}
	}
}

func marshalEntry(t *testing.T, e push.Entry) []byte {
	t.Helper()
	raw, err := e.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func TestProtobufSeeds(t *testing.T) {
	for i, raw := range protobufSeeds() {
		t.Logf("seed %d: %x", i, raw)
		checkProtobuf(t, raw)
	}
}

func FuzzProtobuf(f *testing.F) {
	for _, raw := range protobufSeeds() {
		f.Add(raw)
	}
	r := rand.New(rand.NewPCG(5, 6))
	for range 20 {
		f.Add(marshal(f, randomPush(r)))
	}
	f.Fuzz(checkProtobuf)
}

func TestUnknownFieldsSurvive(t *testing.T) {
	at := msg(1, varint(1, 1700000000))
	newer := str(77, "newer")
	entry := msg(2, at, newer, str(2, "line"), msg(4, str(1, "p"), str(2, "q")))
	f := func(stream, want []byte) {
		t.Helper()
		raw := slices.Concat(newer, msg(1, stream), varint(78, 9))
		b, err := walk(raw, ingest.Lender{})
		if err != nil {
			t.Fatal(err)
		}
		res, err := b.Encode(nil, ingest.Edit{Form: form, Stamps: testStamps[:1]})
		if err != nil {
			t.Fatal(err)
		}
		if want := slices.Concat(newer, msg(1, want), varint(78, 9)); string(res.Body) != string(want) {
			t.Errorf("got  %q\nwant %q", res.Body, want)
		}
	}
	stamped := str(1, `{a="b", env="prod"}`)
	f(slices.Concat(str(1, `{ a = 'b' }`), entry, newer), slices.Concat(stamped, entry, newer))
	f(slices.Concat(newer, varint(3, 5), str(1, `{c="d"}`), entry, str(1, `{a="b"}`)), slices.Concat(stamped, newer, entry))
	f(entry, slices.Concat(str(1, `{env="prod"}`), entry))
}

func TestRefusedStreams(t *testing.T) {
	entry := msg(2, str(2, "line"))
	good := msg(1, str(1, `{a="b"}`), entry)
	raw := slices.Concat(good, msg(1, str(1, `{a="secret}`), entry, entry), good, msg(1, str(1, `{b`), entry, varint(3, 1)))
	b, err := walk(raw, ingest.Lender{})
	if err != nil {
		t.Fatal(err)
	}
	res, err := b.Encode(nil, ingest.Edit{Form: form, Stamps: testStamps})
	if err != nil {
		t.Fatal(err)
	}
	want := ingest.Refusal{Reason: "invalid_item", Items: 3, Text: `stream 2: labels: quoted string does not end at byte 3`}
	if res.Sent.Items != 2 || !slices.Equal(res.Refused, []ingest.Refusal{want}) {
		t.Errorf("sent %d, refused %+v", res.Sent.Items, res.Refused)
	}
}
