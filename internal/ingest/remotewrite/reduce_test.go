package remotewrite

import (
	"math/rand/v2"
	"slices"
	"testing"

	writev2 "github.com/prometheus/prometheus/prompb/io/prometheus/write/v2"

	"github.com/telemetry-gateway/telemetry-gateway/internal/ingest"
)

// reduced calls Reduce and Encode as the road does, and fails unless the books balance and the door has said of each series
// what j says of it. j has met the push.
func reduced(t testing.TB, p *ingest.Protocol, raw []byte, form *ingest.Form, j *judge) (res ingest.Result, body []byte) {
	t.Helper()
	b := decode(t, p, raw)
	r := j.reducer(t)
	if err := b.Reduce(r.Reducer); err != nil {
		t.Fatalf("Reduce: %v", err)
	}
	seen := slices.Clone(r.Seen)
	for i := range seen {
		s := &seen[i]
		seen[i] = ingest.Series{First: s.First, Last: s.Last, Items: s.Items, Stale: s.Stale, Weight: s.Weight}
	}
	if !slices.Equal(seen, j.series) {
		t.Fatalf("judged\n%+v\nwant\n%+v", seen, j.series)
	}
	res, body = encode(t, b, raw, ingest.Edit{Form: form, Stamps: j.stamps})
	if r.Dropped != j.dropped || r.Refused != j.refused || res.Held != j.held {
		t.Fatalf("dropped %d, refused %d, held %+v, want %d, %d, %+v", r.Dropped, r.Refused, res.Held, j.dropped, j.refused, j.held)
	}
	sum := res.Sent.Items + j.dropped + j.refused + j.superseded
	for _, x := range res.Refused {
		sum += x.Items
	}
	if sum != b.Items() {
		t.Fatalf("%+v and %d dropped, %d refused, %d superseded are %d items, want %d", res, j.dropped, j.refused, j.superseded, sum, b.Items())
	}
	return res, body
}

// reducesV1 fails where a Reducer makes something else of raw, which is well formed, than it makes of structs.
func reducesV1(t testing.TB, raw []byte, j *judge) {
	t.Helper()
	req := unmarshalV1(t, raw)
	req.XXX_unrecognized = withoutPrivate(req.XXX_unrecognized)
	as1 := j.forget()
	want, left := as1.reduceV1(req)
	res, body := reduced(t, V1, raw, formV1, as1)
	if res.Sent != countV1(want) {
		t.Fatalf("sent %+v, want %+v", res.Sent, countV1(want))
	}
	equalV1(t, unmarshalV1(t, body), want)
	decode(t, V1, body)
	if len(req.Timeseries) == 0 {
		return
	}

	unknown := unknownV1(left)
	known := unmarshalV1(t, raw)
	forgetV1(known)
	as2 := j.forget()
	converted, lost := toV2Reference(known, as2)
	res, body = reduced(t, V1, raw, formV2, as2)
	if res.Sent != countV2(converted) || lossOf(res, "metadata") != lost || lossOf(res, "unknown_fields") != unknown {
		t.Fatalf("%+v, want %+v sent, %d metadata and %d unknown fields lost", res, countV2(converted), lost, unknown)
	}
	equalV2(t, unmarshalV2(t, body), converted)
	inOrder(t, body)
	decode(t, V2, body)
}

// reducesV2 is reducesV1 for 2.0.
func reducesV2(t testing.TB, raw []byte, j *judge) {
	t.Helper()
	req := unmarshalV2(t, raw)
	withoutBad(req)
	req.XXX_unrecognized = withoutPrivate(req.XXX_unrecognized)
	as2 := j.forget()
	want, left := as2.reduceV2(req)
	res, body := reduced(t, V2, raw, formV2, as2)
	if res.Sent != countV2(want) {
		t.Fatalf("sent %+v, want %+v", res.Sent, countV2(want))
	}
	got := unmarshalV2(t, body)
	equalV2(t, got, want)
	inOrder(t, body)
	decode(t, V2, body)
	// What would come to a series that is left out without its stale markers comes all the same.
	if as2.dropped+as2.refused > 0 && as2.superseded == 0 {
		allUsed(t, got, j)
	}

	unknown := unknownV2(left)
	forgetV2(req)
	as1 := j.forget()
	converted, _, starts, unlifted := toV1Reference(req, as1)
	res, body = reduced(t, V2, raw, formV1, as1)
	if res.Sent != countV1(converted) || lossOf(res, "metadata") != unlifted || lossOf(res, "unknown_fields") != unknown || lossOf(res, "start_timestamps") < starts {
		t.Fatalf("%+v, want %+v sent, %d metadata, %d unknown fields and %d start timestamps lost", res, countV1(converted), unlifted, unknown, starts)
	}
	equalV1(t, unmarshalV1(t, body), converted)
	decode(t, V1, body)
}

// allUsed fails if a symbol leaves that nothing uses, but for stamps.
func allUsed(t testing.TB, req *writev2.Request, j *judge) {
	t.Helper()
	used := map[string]bool{"": true}
	for _, s := range j.stamps {
		used[s.Name], used[s.Value] = true, true
	}
	mark := func(refs ...uint32) {
		for _, ref := range refs {
			used[req.Symbols[ref]] = true
		}
	}
	for _, ts := range req.Timeseries {
		mark(ts.LabelsRefs...)
		mark(ts.Metadata.HelpRef, ts.Metadata.UnitRef)
		for _, x := range ts.Exemplars {
			mark(x.LabelsRefs...)
		}
	}
	for _, s := range req.Symbols {
		if !used[s] {
			t.Fatalf("the symbol %q leaves, which nothing uses", s)
		}
	}
}

func randomBytes(r *rand.Rand) []byte {
	b := make([]byte, 1+5*r.IntN(4))
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

func TestReduceV1LikeStructs(t *testing.T) {
	r := rand.New(rand.NewPCG(11, 11))
	for range 800 {
		reducesV1(t, must(randomV1(r).Marshal()), judgeFrom(randomBytes(r)))
	}
}

func TestReduceV2LikeStructs(t *testing.T) {
	r := rand.New(rand.NewPCG(12, 12))
	for range 800 {
		raw := must(randomV2(r).Marshal())
		if r.IntN(4) == 0 {
			raw = shuffleV2(r, raw)
		}
		reducesV2(t, raw, judgeFrom(randomBytes(r)))
	}
}
