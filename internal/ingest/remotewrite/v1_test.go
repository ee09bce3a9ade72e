package remotewrite

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/prometheus/prompb"

	"github.com/telemetry-gateway/telemetry-gateway/internal/ingest"
	"github.com/telemetry-gateway/telemetry-gateway/internal/labels"
	"github.com/telemetry-gateway/telemetry-gateway/internal/wire"
)

// stampSets are what the tests stamp: nothing, one in the middle, several around, one that is there already.
var stampSets = [][]labels.Label{
	nil,
	{{Name: "environment", Value: "prod"}},
	{{Name: "A_first", Value: "1"}, {Name: "environment", Value: "prod"}, {Name: "k8s_cluster", Value: "eu-1"}, {Name: "zzz", Value: "last"}},
	{{Name: "job", Value: "job-1"}},
}

func TestV1LikeStructs(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	for range 800 {
		req := randomV1(r)
		raw := must(req.Marshal())
		b := decode(t, V1, raw)
		want := countV1(req)
		if b.Items() != want.Items {
			t.Fatalf("Items is %d, want %d", b.Items(), want.Items)
		}
		for _, stamps := range stampSets {
			e := ingest.Edit{Form: formV1, Stamps: stamps}
			if n := b.Bound(e); len(stamps) == 0 && n != 0 {
				t.Fatalf("Bound is %d where nothing changes", n)
			}
			res, body := encode(t, b, raw, e)
			if res.Form != formV1 || res.Sent != want || len(res.Refused)+len(res.Lost) > 0 {
				t.Fatalf("result %+v, want %+v sent", res, want)
			}
			equalV1(t, unmarshalV1(t, body), stampV1(unmarshalV1(t, raw), stamps))
		}
	}
}

func TestV1Stamp(t *testing.T) {
	// Labels are written "name=value name=value".
	f := func(stamps, in, out string) {
		t.Helper()
		build := func(text string) []byte {
			var ts prompb.TimeSeries
			for _, l := range labelsIn(text) {
				ts.Labels = append(ts.Labels, prompb.Label{Name: l.Name, Value: l.Value})
			}
			ts.Samples = []prompb.Sample{{Value: staleNaN, Timestamp: -1}}
			return must((&prompb.WriteRequest{Timeseries: []prompb.TimeSeries{ts}}).Marshal())
		}
		raw := build(in)
		res, body := encode(t, decode(t, V1, raw), raw, ingest.Edit{Form: formV1, Stamps: labelsIn(stamps)})
		if string(body) != string(build(out)) {
			t.Errorf("got\n%v\nwant %v", unmarshalV1(t, body), out)
		}
		if res.Unchanged != (in == out) {
			t.Errorf("Unchanged is %v", res.Unchanged)
		}
	}
	const env = "environment=prod"
	f(env, "__name__=up job=x", "__name__=up environment=prod job=x")
	f(env, "__name__=up environment=dev job=x", "__name__=up environment=prod job=x")
	f(env, "environment=dev", "environment=prod")
	f(env, "a=1", "a=1 environment=prod")
	f(env, "", "environment=prod")
	// Unsorted, doubled and empty ones are put right where the series is rewritten anyway.
	f(env, "job=x environment=dev __name__=up environment=qa e=", "__name__=up environment=prod job=x")
	// Other doubled labels are upstream's to refuse.
	f(env, "a=1 a=2", "a=1 a=2 environment=prod")
	// What carries the stamp is not touched.
	f(env, "environment=prod __name__=up e=", "environment=prod __name__=up e=")
	f(env, "environment=prod environment=prod", "environment=prod")
}

// labelsIn reads "name=value name=value".
func labelsIn(text string) (ls []labels.Label) {
	for _, field := range strings.Fields(text) {
		name, value, _ := strings.Cut(field, "=")
		ls = append(ls, labels.Label{Name: name, Value: value})
	}
	return ls
}

// Unknown fields survive at every level, the two private ones do not.
func TestV1UnknownFields(t *testing.T) {
	unknown := func(dst []byte) []byte {
		dst = wire.AppendString(dst, 77, "kept")
		dst = wire.AppendVarint(dst, 78, 1<<40)
		dst = wire.AppendFixed64(dst, 79, 5)
		dst = append(wire.AppendTag(dst, 80, wire.Fixed32), 1, 2, 3, 4)
		return wire.AppendTag(wire.AppendVarint(wire.AppendTag(dst, 81, wire.StartGroup), 1, 7), 81, wire.EndGroup)
	}
	label := unknown(wire.AppendString(wire.AppendString(nil, 1, "a"), 2, "b"))
	series := wire.AppendBytes(nil, 1, label)
	series = wire.AppendBytes(series, 2, unknown(wire.AppendVarint(wire.AppendFixed64(nil, 1, 9), 2, 3)))
	series = unknown(series)
	push := func(private bool, series []byte) []byte {
		b := unknown(nil)
		if private {
			b = wire.AppendVarint(b, 1000, 1)
		}
		b = wire.AppendVarint(wire.AppendBytes(b, 1, series), 2, 1)
		if private {
			b = wire.AppendVarint(b, 1001, 1)
		}
		return unknown(b)
	}
	f := func(raw []byte, stamps []labels.Label, want []byte) {
		t.Helper()
		_, body := encode(t, decode(t, V1, raw), raw, ingest.Edit{Form: formV1, Stamps: stamps})
		if string(body) != string(want) {
			t.Errorf("got\n%q\nwant\n%q", body, want)
		}
	}
	stamp := []labels.Label{{Name: "z", Value: "1"}}
	stamped := wire.AppendBytes(nil, 1, label)
	stamped = wire.AppendBytes(stamped, 1, wire.AppendString(wire.AppendString(nil, 1, "z"), 2, "1"))
	stamped = append(stamped, series[len(wire.AppendBytes(nil, 1, label)):]...)
	f(push(false, series), nil, push(false, series))
	f(push(true, series), nil, push(false, series))
	f(push(true, series), stamp, push(false, stamped))
	// A label after the samples moves to the others; the unknown fields stay.
	late := wire.AppendBytes(slices.Clone(series), 1, wire.AppendString(wire.AppendString(nil, 1, "A"), 2, "b"))
	sorted := append(wire.AppendBytes(nil, 1, wire.AppendString(wire.AppendString(nil, 1, "A"), 2, "b")), stamped...)
	f(push(true, late), stamp, push(false, sorted))
}

func TestV1MetadataOnlyAndEmpty(t *testing.T) {
	for _, raw := range [][]byte{nil, must((&prompb.WriteRequest{Metadata: []prompb.MetricMetadata{{MetricFamilyName: "up", Help: "h"}}}).Marshal())} {
		for _, form := range V1.Forms {
			res, body := encode(t, decode(t, V1, raw), raw, ingest.Edit{Form: form, Stamps: stampSets[1]})
			if !res.Unchanged || res.Form != formV1 || string(body) != string(raw) {
				t.Errorf("%q as %s: %+v", raw, form.Name, res)
			}
		}
	}
}
