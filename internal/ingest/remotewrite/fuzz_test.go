package remotewrite

import (
	"errors"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/prometheus/prometheus/prompb"
	writev2 "github.com/prometheus/prometheus/prompb/io/prometheus/write/v2"

	"github.com/telemetry-gateway/telemetry-gateway/internal/ingest"
	"github.com/telemetry-gateway/telemetry-gateway/internal/wire"
)

// stricter are the reasons for which we refuse what the reference may take. The package comment lists them.
var stricter = []error{wire.ErrVarint, wire.ErrTag, wire.ErrNesting, errPacked, errLabels, errV1Body, errV2Body, errSymbols}

func isStricter(err error) bool {
	for _, s := range stricter {
		if errors.Is(err, s) {
			return true
		}
	}
	return false
}

// hostile are pushes that no sender writes, for both versions: field numbers 1 to 5 cover either's.
func hostile() (out [][]byte) {
	// A message inside itself, a thousand deep.
	deep := []byte{}
	for range 700 {
		deep = wire.AppendBytes(nil, 1, deep)
	}
	groups := []byte(strings.Repeat("\x9b\x06", 200) + strings.Repeat("\x9c\x06", 200))
	unknown := wire.AppendFixed64(append(wire.AppendTag(nil, 99, wire.Fixed32), 1, 2, 3, 4), 98, 7)
	histogram := wire.AppendVarint(wire.AppendBytes(nil, 9, []byte{1, 2, 0x80, 1}), 9, 3)
	histogram = wire.AppendFixed64(wire.AppendBytes(histogram, 10, make([]byte, 16)), 10, 9)
	histogram = wire.AppendBytes(histogram, 8, wire.AppendVarint(nil, 1, 5))
	for _, num := range []int32{v1Series, v2Series} {
		out = append(out,
			wire.AppendVarint(nil, num, 5),
			wire.AppendBytes(nil, num, unknown),
			wire.AppendBytes(nil, num, deep),
			wire.AppendBytes(nil, num, groups),
			wire.AppendBytes(nil, num, wire.AppendBytes(nil, 4, histogram)),
			wire.AppendBytes(nil, num, wire.AppendBytes(nil, 3, histogram)),
			wire.AppendBytes(nil, num, []byte("\x0a\x80\x80\x80\x00")),                     // overlong length 0
			wire.AppendBytes(nil, num, []byte("\x8a\x80\x00\x00")),                         // overlong tag
			wire.AppendBytes(nil, num, []byte("\x12\xff\xff\xff\xff\xff\xff\xff\xff\x7f")), // length over all
			wire.AppendBytes(nil, num, []byte("\x12\x0b\x10\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01")),
			wire.AppendBytes(nil, num, []byte("\x12\x0b\x10\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02")),
		)
	}
	out = append(out, nil, unknown, groups, deep, []byte{0}, []byte{7}, []byte("\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"))
	return append(out,
		requestV2(someSymbols, wire.AppendVarint(wire.AppendVarint(nil, 1, 1), 1, 2)),
		requestV2(someSymbols, append(wire.AppendVarint(seriesV2([]byte{1}), 1, 2), seriesV2([]byte{3, 0x84, 0})...)),
		append(requestV2(nil, seriesV2([]byte{1, 2}, oneSample...)), requestV2(someSymbols)...),
		requestV2(someSymbols, wire.AppendBytes(oneSample[:len(oneSample):len(oneSample)], 1, []byte{1, 2})),
		requestV2(someSymbols, seriesV2([]byte{0x81, 0x80, 0x80, 0x80, 0x10, 2})), // a ref of 33 bits
		requestV2(someSymbols, seriesV2([]byte{1, 0x82, 0x80, 0x80, 0x80, 0x10, 5, 6, 3, 4}, oneSample...)),
	)
}

func addSeeds(f *testing.F, push func(*rand.Rand) []byte) {
	r := rand.New(rand.NewPCG(9, 9))
	for range 10 {
		raw := push(r)
		f.Add(raw, randomBytes(r))
		f.Add(raw[:len(raw)/2], []byte{})
	}
	for _, raw := range hostile() {
		f.Add(raw, randomBytes(r))
	}
}

func FuzzV1(f *testing.F) {
	addSeeds(f, func(r *rand.Rand) []byte { return must(randomV1(r).Marshal()) })
	f.Fuzz(func(t *testing.T, raw, rules []byte) {
		prepares(t, V1, raw, newPreparer(t, stampSets[len(rules)%len(stampSets)]))
		if agreesV1(t, raw) {
			reducesV1(t, raw, judgeFrom(rules))
		}
	})
}

// agreesV1 fails where raw means something else to us than to the reference, and says whether it is well formed.
func agreesV1(t *testing.T, raw []byte) (ok bool) {
	var req prompb.WriteRequest
	refErr := req.Unmarshal(raw)
	b := &batchV1{raw: raw}
	if err := b.check(); err != nil {
		if refErr == nil && !isStricter(err) {
			t.Fatalf("refused: %v", err)
		}
		return false
	}
	if refErr != nil {
		t.Fatalf("taken, but the reference says %v", refErr)
	}
	if b.count != countV1(&req) {
		t.Fatalf("count %+v, want %+v", b.count, countV1(&req))
	}
	for _, stamps := range stampSets {
		res, body := encode(t, b, raw, ingest.Edit{Form: formV1, Stamps: stamps})
		want := stampV1(unmarshalV1(t, raw), stamps)
		want.XXX_unrecognized = withoutPrivate(want.XXX_unrecognized)
		equalV1(t, unmarshalV1(t, body), want)
		decode(t, V1, body)

		res, body = encode(t, b, raw, ingest.Edit{Form: formV2, Stamps: stamps})
		if res.Form == formV1 {
			continue
		}
		// Conversion leaves unknown fields out; the reference must forget them too.
		known := unmarshalV1(t, raw)
		forgetV1(known)
		converted, lost := toV2Reference(known, &judge{stamps: stamps})
		if unknown := unknownV1(unmarshalV1(t, raw)); lossOf(res, "metadata") != lost || lossOf(res, "unknown_fields") != unknown || res.Sent != b.count {
			t.Fatalf("%+v, want %d metadata and %d unknown fields lost", res, lost, unknown)
		}
		equalV2(t, unmarshalV2(t, body), converted)
		inOrder(t, body)
		decode(t, V2, body)
	}
	return true
}

// withoutPrivate removes fields 1000 and 1001.
func withoutPrivate(fields []byte) (out []byte) {
	var f wire.Field
	for len(fields) > 0 {
		if fields = next(fields, &f); f.Num != 1000 && f.Num != 1001 {
			out = append(out, f.Raw...)
		}
	}
	return out
}

func forgetV1(req *prompb.WriteRequest) {
	req.XXX_unrecognized = nil
	for i := range req.Timeseries {
		ts := &req.Timeseries[i]
		for j := range ts.Histograms {
			ts.Histograms[j].XXX_unrecognized = nil
		}
	}
}

func FuzzV2(f *testing.F) {
	addSeeds(f, func(r *rand.Rand) []byte { return must(randomV2(r).Marshal()) })
	r := rand.New(rand.NewPCG(8, 8))
	for range 10 {
		f.Add(shuffleV2(r, must(randomV2(r).Marshal())), randomBytes(r))
	}
	f.Fuzz(func(t *testing.T, raw, rules []byte) {
		prepares(t, V2, raw, newPreparer(t, stampSets[len(rules)%len(stampSets)]))
		if agreesV2(t, raw) {
			reducesV2(t, raw, judgeFrom(rules))
		}
	})
}

// agreesV2 fails where raw means something else to us than to the reference, and says whether it is well formed.
func agreesV2(t *testing.T, raw []byte) (ok bool) {
	var req writev2.Request
	refErr := req.Unmarshal(raw)
	b := &batchV2{raw: raw}
	err := b.checkRequest()
	if err == nil {
		err = b.checkAllSeries()
	}
	if err != nil {
		if refErr == nil && !isStricter(err) {
			t.Fatalf("refused: %v", err)
		}
		return false
	}
	if refErr != nil {
		t.Fatalf("taken, but the reference says %v", refErr)
	}
	if b.count != countV2(&req) {
		t.Fatalf("count %+v, want %+v", b.count, countV2(&req))
	}
	withoutBad(&req)
	if b.sent() != countV2(&req) {
		t.Fatalf("%+v to send, want %+v", b.sent(), countV2(&req))
	}
	req.XXX_unrecognized = withoutPrivate(req.XXX_unrecognized)
	for _, stamps := range stampSets {
		_, body := encode(t, b, raw, ingest.Edit{Form: formV2, Stamps: stamps})
		equalV2(t, unmarshalV2(t, body), plainV2(&req, func(ls []prompb.Label) []prompb.Label { return stampLabels(ls, stamps) }))
		inOrder(t, body)
		decode(t, V2, body)

		res, body := encode(t, b, raw, ingest.Edit{Form: formV1, Stamps: stamps})
		known := unmarshalV2(t, raw)
		withoutBad(known)
		unknown := unknownV2(known)
		forgetV2(known)
		want, _, _, unlifted := toV1Reference(known, &judge{stamps: stamps})
		if res.Sent != countV1(want) || lossOf(res, "metadata") != unlifted || lossOf(res, "unknown_fields") != unknown {
			t.Fatalf("%+v, want %+v sent, %d metadata and %d unknown fields lost", res, countV1(want), unlifted, unknown)
		}
		equalV1(t, unmarshalV1(t, body), want)
		decode(t, V1, body)
	}
	return true
}

func forgetV2(req *writev2.Request) {
	for i := range req.Timeseries {
		for j := range req.Timeseries[i].Histograms {
			req.Timeseries[i].Histograms[j].XXX_unrecognized = nil
		}
	}
}

// withoutBad removes the series whose refs lead nowhere.
func withoutBad(req *writev2.Request) {
	n := uint32(len(req.Symbols))
	fine := func(refs []uint32) bool {
		for _, ref := range refs {
			if ref >= n {
				return false
			}
		}
		return len(refs)%2 == 0
	}
	keep := req.Timeseries[:0]
	for _, ts := range req.Timeseries {
		ok := fine(ts.LabelsRefs) && ts.Metadata.HelpRef < n && ts.Metadata.UnitRef < n
		for _, x := range ts.Exemplars {
			ok = ok && fine(x.LabelsRefs)
		}
		if ok {
			keep = append(keep, ts)
		}
	}
	req.Timeseries = keep
}

// What random pushes become by a few wrong bytes reaches deeper than the fuzzer does in seconds.
func TestMutated(t *testing.T) {
	r := rand.New(rand.NewPCG(6, 6))
	for range 700 {
		for _, m := range []struct {
			raw     []byte
			agrees  func(*testing.T, []byte) bool
			reduces func(testing.TB, []byte, *judge)
		}{
			{must(randomV1(r).Marshal()), agreesV1, reducesV1},
			{must(randomV2(r).Marshal()), agreesV2, reducesV2},
			{shuffleV2(r, must(randomV2(r).Marshal())), agreesV2, reducesV2},
		} {
			if mutate(r, m.raw); m.agrees(t, m.raw) {
				m.reduces(t, m.raw, judgeFrom(randomBytes(r)))
			}
		}
	}
}

func mutate(r *rand.Rand, raw []byte) {
	if len(raw) == 0 {
		return
	}
	for range 1 + r.IntN(3) {
		switch i := r.IntN(len(raw)); r.IntN(4) {
		case 0:
			raw[i] ^= 1 << r.IntN(8)
		case 1:
			raw[i] = byte(r.IntN(256))
		case 2:
			raw[i] = byte(r.IntN(20)<<3 | r.IntN(6))
		case 3:
			copy(raw[i:], raw[r.IntN(len(raw)):])
		}
	}
}
