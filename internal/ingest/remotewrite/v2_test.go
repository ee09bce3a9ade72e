package remotewrite

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/prometheus/prompb"

	"github.com/telemetry-gateway/telemetry-gateway/internal/ingest"
	"github.com/telemetry-gateway/telemetry-gateway/internal/ingest/reducetest"
	"github.com/telemetry-gateway/telemetry-gateway/internal/labels"
	"github.com/telemetry-gateway/telemetry-gateway/internal/wire"
)

func TestV2LikeStructs(t *testing.T) {
	r := rand.New(rand.NewPCG(2, 2))
	for range 800 {
		req := randomV2(r)
		raw := must(req.Marshal())
		if r.IntN(4) == 0 {
			raw = shuffleV2(r, raw)
		}
		b := decode(t, V2, raw)
		want := countV2(req)
		if b.Items() != want.Items {
			t.Fatalf("Items is %d, want %d", b.Items(), want.Items)
		}
		for _, stamps := range stampSets {
			res, body := encode(t, b, raw, ingest.Edit{Form: formV2, Stamps: stamps})
			if res.Form != formV2 || res.Sent != want || len(res.Refused)+len(res.Lost) > 0 {
				t.Fatalf("result %+v, want %+v sent", res, want)
			}
			equalV2(t, unmarshalV2(t, body), plainV2(unmarshalV2(t, raw), func(ls []prompb.Label) []prompb.Label { return stampLabels(ls, stamps) }))
			inOrder(t, body)
		}
	}
}

// shuffleV2 moves symbols after series, refs after samples, and takes refs out of their packed field: all the same to protobuf.
func shuffleV2(r *rand.Rand, raw []byte) (out []byte) {
	var f, g wire.Field
	var symbols []byte
	for len(raw) > 0 {
		raw = next(raw, &f)
		switch {
		case f.Num == v2Symbols:
			symbols = append(symbols, f.Raw...)
		case f.Num == v2Series:
			var refs, rest []byte
			for s := f.Data; len(s) > 0; {
				if s = next(s, &g); g.Num != v2Refs {
					rest = append(rest, g.Raw...)
					continue
				}
				for p := g.Data; len(p) > 0; {
					v, n := wire.Uvarint(p)
					refs = wire.AppendVarint(refs, v2Refs, v)
					p = p[n:]
				}
			}
			if r.IntN(2) == 0 {
				refs, rest = rest, refs
			}
			out = wire.AppendBytes(out, v2Series, append(refs, rest...))
		default:
			out = append(out, f.Raw...)
		}
	}
	return append(out, symbols...)
}

// requestV2 builds a push field by field.
func requestV2(symbols []string, series ...[]byte) (b []byte) {
	for _, s := range symbols {
		b = wire.AppendString(b, v2Symbols, s)
	}
	for _, s := range series {
		b = wire.AppendBytes(b, v2Series, s)
	}
	return b
}

var (
	someSymbols = []string{"", "__name__", "up", "job", "x", "environment", "dev"}
	oneSample   = wire.AppendBytes(nil, v2Samples, wire.AppendVarint(wire.AppendFixed64(nil, 1, 1), 2, 1000))
)

func seriesV2(refs []byte, rest ...byte) []byte {
	return append(wire.AppendBytes(nil, v2Refs, refs), rest...)
}

func TestV2StampReusesSymbols(t *testing.T) {
	raw := requestV2(someSymbols, seriesV2([]byte{1, 2, 3, 4}, oneSample...))
	f := func(name, value string, want []byte) {
		t.Helper()
		_, body := encode(t, decode(t, V2, raw), raw, ingest.Edit{Form: formV2, Stamps: []labels.Label{{Name: name, Value: value}}})
		if string(body) != string(want) {
			t.Errorf("got\n%q\nwant\n%q", body, want)
		}
	}
	f("environment", "dev", requestV2(someSymbols, seriesV2([]byte{1, 2, 5, 6, 3, 4}, oneSample...)))
	f("environment", "prod", requestV2(append(someSymbols[:7:7], "prod"), seriesV2([]byte{1, 2, 5, 7, 3, 4}, oneSample...)))
	f("new", "new", requestV2(append(someSymbols[:7:7], "new"), seriesV2([]byte{1, 2, 3, 4, 7, 7}, oneSample...)))
	f("job", "x", raw)
}

func TestV2BadRefs(t *testing.T) {
	good := seriesV2([]byte{1, 2, 3, 4}, oneSample...)
	f := func(bad []byte, text string) {
		t.Helper()
		raw := requestV2(someSymbols, good, bad, good)
		b := decode(t, V2, raw)
		if b.Items() != 3 {
			t.Errorf("Items is %d", b.Items())
		}
		for _, form := range V2.Forms {
			res, body := encode(t, b, raw, ingest.Edit{Form: form})
			if len(res.Refused) != 1 || res.Refused[0].Reason != "invalid_item" || res.Refused[0].Items != 1 || res.Refused[0].Text != text || res.Sent.Items != 2 {
				t.Errorf("%s: %+v", form.Name, res)
			}
			if form == formV2 && string(body) != string(requestV2(someSymbols, good, good)) {
				t.Errorf("%q left", body)
			}
		}
	}
	f(seriesV2([]byte{1, 2, 3, 9}, oneSample...), `series 1 (metric "up"): label ref 9 is outside the symbol table of 7`)
	f(seriesV2([]byte{1, 2, 3}, oneSample...), `series 1 (metric "up"): an odd number of label refs`)
	f(seriesV2([]byte{9, 9}, oneSample...), `series 1: label ref 9 is outside the symbol table of 7`)
	exemplar := wire.AppendBytes(oneSample[:len(oneSample):len(oneSample)], v2Exemplars, wire.AppendBytes(nil, 1, []byte{1, 7}))
	f(seriesV2([]byte{1, 2}, exemplar...), `series 1 (metric "up"): exemplar label ref 7 is outside the symbol table of 7`)
	help := wire.AppendBytes(oneSample[:len(oneSample):len(oneSample)], v2Metadata, wire.AppendVarint(nil, v2MetadataHelp, 1<<20))
	f(seriesV2([]byte{1, 2}, help...), `series 1 (metric "up"): help ref 1048576 is outside the symbol table of 7`)
}

// Only 32 bits of a ref count, also where a rule changes the series: what it means then stays in the table.
func TestV2LongRefs(t *testing.T) {
	f := func(refs string) {
		t.Helper()
		for _, stamps := range [][]labels.Label{nil, {{Name: "zone", Value: "x"}}} {
			raw := requestV2(someSymbols, seriesV2([]byte(refs), oneSample...))
			b := decode(t, V2, raw)
			if err := b.Reduce(reducetest.New(t, stamps, reducetest.Rules(t, "[{action: labeldrop, regex: job}]"), nil).Reducer); err != nil {
				t.Fatal(err)
			}
			_, body := encode(t, b, raw, ingest.Edit{Form: formV2, Stamps: stamps})
			req := unmarshalV2(t, body)
			var got []string
			for _, ref := range req.Timeseries[0].LabelsRefs {
				got = append(got, req.Symbols[ref])
			}
			want := []string{"__name__", "up", "environment", "dev", "zone", "x"}[:4+2*len(stamps)]
			if !slices.Equal(got, want) {
				t.Errorf("%q: %q left, want %q", refs, got, want)
			}
		}
	}
	f("\x01\x02\x05\x06\x03\x04")
	f("\x01\x82\x80\x80\x80\x10\x05\x06\x03\x04")
	f("\x01\x02\x85\x80\x80\x80\x10\x06\x03\x04")
	f("\x01\x02\x05\x86\x80\x80\x80\x80\x80\x80\x80\x80\x01\x03\x04")
}

// Of a doubled message the last scalar counts, so that a ref which is overwritten need not lead anywhere.
func TestV2MetadataMerges(t *testing.T) {
	s := seriesV2([]byte{1, 2}, oneSample...)
	s = wire.AppendBytes(s, v2Metadata, wire.AppendVarint(wire.AppendVarint(nil, metadataType, 1), v2MetadataHelp, 99))
	s = wire.AppendBytes(s, v2Metadata, wire.AppendVarint(nil, v2MetadataHelp, 4))
	raw := requestV2(someSymbols, s)
	res, body := encode(t, decode(t, V2, raw), raw, ingest.Edit{Form: formV1})
	if len(res.Refused) > 0 {
		t.Fatalf("%+v", res)
	}
	m := unmarshalV1(t, body).Metadata
	if len(m) != 1 || m[0].Type != prompb.MetricMetadata_COUNTER || m[0].Help != "x" || m[0].MetricFamilyName != "up" {
		t.Errorf("%v", m)
	}
}

// What only older or newer senders write goes through as it came.
func TestV2UnknownFields(t *testing.T) {
	rest := append([]byte{}, oneSample...)
	rest = wire.AppendBytes(rest, v2Samples, wire.AppendVarint(wire.AppendVarint(wire.AppendFixed64(nil, 1, 1), 2, 1000), sampleStart, 900))
	rest = wire.AppendVarint(rest, v2Created, 900)
	rest = wire.AppendString(rest, 77, "kept")
	tail := wire.AppendString(nil, 78, "kept")
	raw := append(requestV2(someSymbols, seriesV2([]byte{1, 2}, rest...)), tail...)
	private := wire.AppendVarint(wire.AppendVarint(append([]byte{}, raw...), 1000, 1), 1001, 0)
	if _, body := encode(t, decode(t, V2, private), private, ingest.Edit{Form: formV2}); string(body) != string(raw) {
		t.Errorf("got\n%q\nwant\n%q", body, raw)
	}
	want := append(requestV2(someSymbols, seriesV2([]byte{1, 2, 3, 4}, rest...)), tail...)
	if _, body := encode(t, decode(t, V2, raw), raw, ingest.Edit{Form: formV2, Stamps: []labels.Label{{Name: "job", Value: "x"}}}); string(body) != string(want) {
		t.Errorf("got\n%q\nwant\n%q", body, want)
	}
}

func TestMalformed(t *testing.T) {
	f := func(p *ingest.Protocol, raw []byte, text string) {
		t.Helper()
		b, err := p.Decode(raw, ingest.Content{})
		if err == nil {
			t.Fatalf("%q: taken, with %d items", raw, b.Items())
		}
		if !strings.Contains(err.Error(), text) {
			t.Errorf("%q: %q, want %q", raw, err, text)
		}
	}
	v1 := must((&prompb.WriteRequest{Timeseries: []prompb.TimeSeries{{Labels: []prompb.Label{{Name: "a", Value: "b"}}, Samples: []prompb.Sample{{Value: 1, Timestamp: 1}}}}}).Marshal())
	v2 := requestV2(someSymbols, seriesV2([]byte{1, 2}, oneSample...))
	f(V1, v2, "field of remote_write 2.0 in a 1.0 push")
	f(V2, v1, "field of remote_write 1.0 in a 2.0 push")
	f(V2, must((&prompb.WriteRequest{Metadata: []prompb.MetricMetadata{{Help: "h"}}}).Marshal()), "field of remote_write 1.0")
	for n := 1; n < len(v1); n++ {
		f(V1, v1[:n], "ends inside")
	}
	f(V2, v2[:len(v2)-1], "ends inside")
	f(V1, wire.AppendVarint(nil, 1, 1), "another wire type")
	f(V1, wire.AppendBytes(nil, 1, wire.AppendVarint(nil, 1, 1)), "series 0: protobuf: a known field has another wire type")
	f(V1, wire.AppendBytes(nil, 1, wire.AppendBytes(nil, 2, wire.AppendVarint(nil, 1, 1))), "another wire type")
	f(V1, wire.AppendBytes(nil, 1, wire.AppendBytes(nil, 4, wire.AppendBytes(nil, 9, []byte{0x80}))), "packed field ends inside")
	f(V1, wire.AppendBytes(nil, 1, wire.AppendBytes(nil, 4, wire.AppendBytes(nil, 16, []byte{1, 2, 3}))), "packed field ends inside")
	f(V1, wire.AppendBytes(nil, 1, wire.AppendBytes(nil, 2, []byte("\x10\xff\xff\xff\xff\xff\xff\xff\xff\xff\x7f"))), "over 64 bits")
	f(V1, wire.AppendBytes(nil, 1, wire.AppendBytes(nil, 3, wire.AppendBytes(nil, 1, []byte{1<<3 | 2, 9}))), "ends inside")
	f(V1, wire.AppendBytes(nil, 1, []byte(strings.Repeat("\x0a\x00", maxLabels+1))), "over 8192 labels")
	f(V2, requestV2(nil, seriesV2([]byte{0, 0})), "does not begin with the empty string")
	f(V2, requestV2([]string{"a", ""}, seriesV2([]byte{0, 0})), "does not begin with the empty string")
	f(V2, requestV2(someSymbols, seriesV2([]byte{1, 0x80})), "series 0: protobuf: a packed field ends inside a value")
	f(V2, requestV2(someSymbols, wire.AppendFixed64(nil, 1, 1)), "another wire type")
	f(V2, wire.AppendVarint(nil, 4, 1), "another wire type")
}

// A table alone, without series, is judged by nobody.
func TestV2WithoutSeries(t *testing.T) {
	for _, raw := range [][]byte{nil, requestV2([]string{"a"})} {
		b := decode(t, V2, raw)
		if res, _ := encode(t, b, raw, ingest.Edit{Form: formV2, Stamps: stampSets[1]}); !res.Unchanged || res.Form != formV2 {
			t.Errorf("%q: %+v", raw, res)
		}
		if res, body := encode(t, b, raw, ingest.Edit{Form: formV1}); res.Form != formV1 || len(body) != 0 {
			t.Errorf("%q: %+v", raw, res)
		}
	}
}
