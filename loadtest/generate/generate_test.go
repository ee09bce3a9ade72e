package generate

import (
	"bytes"
	"testing"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/prometheus/prometheus/prompb"
	writev2 "github.com/prometheus/prometheus/prompb/io/prometheus/write/v2"

	"github.com/golang/snappy"
	lokipush "github.com/grafana/loki/pkg/push"

	"github.com/telemetry-gateway/telemetry-gateway/loadtest/digest"
)

var kinds = []Kind{RemoteWriteV1, RemoteWriteV2, Loki, LokiJSON, Traces, TracesJSON, Metrics, Logs, Zipkin, Jaeger}

// small is a Spec of a few short pushes.
func small(k Kind) Spec { return Spec{Kind: k, Seed: 7, Items: 100, Series: 300} }

func TestSameSpecMakesSamePushes(t *testing.T) {
	at := time.UnixMilli(1_790_000_000_123)
	make := func(s Spec, n uint64) *Push {
		w, err := New(s)
		if err != nil {
			t.Fatal(err)
		}
		p := new(Push)
		w.Push(n, at, p)
		return p
	}
	for _, k := range kinds {
		a, b := make(small(k), 4), make(small(k), 4)
		if !bytes.Equal(a.Body, b.Body) || a.Sum != b.Sum {
			t.Errorf("%s: two pushes of one Spec differ", k)
		}
		other := small(k)
		other.Seed++
		if c := make(other, 4); bytes.Equal(a.Body, c.Body) {
			t.Errorf("%s: another seed makes the same push", k)
		}
		if c := make(small(k), 5); bytes.Equal(a.Body, c.Body) {
			t.Errorf("%s: the next push is the same", k)
		}
	}
}

func TestTemplatesDecompress(t *testing.T) {
	f := func(s Spec, at time.Time, check func(raw []byte)) {
		t.Helper()
		w, err := New(s)
		if err != nil {
			t.Fatal(err)
		}
		p := new(Push)
		for n := range uint64(5) {
			w.Push(n, at, p)
			raw, err := snappy.Decode(nil, p.Body)
			if err != nil {
				t.Fatal(err)
			}
			sum, err := w.Walk(raw, s.Every)
			if err != nil || sum != p.Sum || sum.Items != uint64(p.Items) {
				t.Errorf("%s, push %d: it holds %+v, said to be %+v (%v)", s.Kind, n, sum, p.Sum, err)
			}
			check(raw)
		}
	}
	at := time.UnixMilli(1_790_000_000_999)
	f(Spec{Kind: RemoteWriteV1, Series: 4000}, at, func(raw []byte) {
		var req prompb.WriteRequest
		if err := req.Unmarshal(raw); err != nil || len(req.Timeseries) != 2000 {
			t.Fatal(err, len(req.Timeseries))
		}
		for _, ts := range req.Timeseries {
			if len(ts.Samples) != 1 || ts.Samples[0].Timestamp != at.UnixMilli() {
				t.Fatalf("%v", ts)
			}
			for i := 1; i < len(ts.Labels); i++ {
				if ts.Labels[i-1].Name >= ts.Labels[i].Name {
					t.Fatalf("labels are not sorted: %v", ts.Labels)
				}
			}
			if n := len(ts.Labels); n < 12 || n > 15 {
				t.Fatalf("%d labels: %v", n, ts.Labels)
			}
		}
		if per := len(raw) / 2000; per < 325 || per > 345 {
			t.Errorf("%d bytes a sample, want about 335", per)
		}
	})
	f(Spec{Kind: RemoteWriteV2, Items: 500, Series: 1000}, at, func(raw []byte) {
		var req writev2.Request
		if err := req.Unmarshal(raw); err != nil || len(req.Timeseries) != 500 || req.Symbols[0] != "" {
			t.Fatal(err, len(req.Timeseries))
		}
		if ts := req.Timeseries[499]; ts.Samples[0].Timestamp != at.UnixMilli() || ts.Metadata.HelpRef == 0 {
			t.Errorf("%v", ts)
		}
	})
	for _, ms := range []int64{0, 1, 268, 269, 999} {
		at := time.UnixMilli(1_790_000_000_000 + ms)
		f(Spec{Kind: Loki, Series: 5000}, at, func(raw []byte) {
			var req lokipush.PushRequest
			if err := req.Unmarshal(raw); err != nil || len(req.Streams) != 20 {
				t.Fatal(err, len(req.Streams))
			}
			first := req.Streams[0].Entries[0]
			if first.Timestamp.Unix() != at.Unix() || len(req.Streams[0].Entries) != 250 {
				t.Errorf("%v", first)
			}
			if per := len(raw) / 5000; per < 205 || per > 250 {
				t.Errorf("%d bytes a line, want about 230", per)
			}
		})
	}
}

// TestSeriesDiffer makes sure that there are as many series as said, and that churn replaces the share it should.
func TestSeriesDiffer(t *testing.T) {
	const series, items = 2000, 100
	f := func(churn float64, rounds uint64, want int) {
		t.Helper()
		w := newSeriesWork(Spec{Kind: RemoteWriteV1, Items: items, Series: series, Churn: churn})
		seen := map[uint64]bool{}
		for round := range rounds {
			for part := range series / items {
				for _, set := range w.current(part, round).sets {
					seen[set] = true
				}
			}
		}
		if len(seen) != want {
			t.Errorf("churn %g: %d series in %d rounds, want %d", churn, len(seen), rounds, want)
		}
	}
	f(0, 3, series)
	f(0.5, 241, series*3/2)
	f(1, 241, series*2)
}

func TestChanges(t *testing.T) {
	drop := Change{Labels: func(set []Label) ([]Label, bool) { return set[1:], set[0].Value != DroppedMetric }}
	w, err := New(Spec{Kind: RemoteWriteV1, Items: 400, Series: 400, Change: drop})
	if err != nil {
		t.Fatal(err)
	}
	plain, err := New(Spec{Kind: RemoteWriteV1, Items: 400, Series: 400})
	if err != nil {
		t.Fatal(err)
	}
	at, changed, asItIs := time.UnixMilli(1_790_000_000_000), new(Push), new(Push)
	w.Push(0, at, changed)
	plain.Push(0, at, asItIs)
	if changed.Items != 400 || changed.Sum.Items != 390 || changed.Sum.Content == asItIs.Sum.Content || !bytes.Equal(changed.Body, asItIs.Body) {
		t.Errorf("%d items sent, %d to arrive; as it is %d", changed.Items, changed.Sum.Items, asItIs.Sum.Items)
	}
	spans := Spec{Kind: Traces, Items: 20, Series: 20, Change: Change{Delete: "enduser.id"}}
	w, err = New(spans)
	if err != nil {
		t.Fatal(err)
	}
	w.Push(0, at, changed)
	sum, err := digest.Traces(changed.Body, 1)
	if err != nil || sum.Content == changed.Sum.Content || sum.Identity != changed.Sum.Identity {
		t.Errorf("a deleted attribute: %+v and %+v, %v", sum, changed.Sum, err)
	}
}

func TestCodecs(t *testing.T) {
	w, err := New(Spec{Kind: Traces, Items: 20, Series: 20, Codec: "gzip"})
	if err != nil {
		t.Fatal(err)
	}
	p := new(Push)
	w.Push(0, time.Now(), p)
	r, err := gzip.NewReader(bytes.NewReader(p.Body))
	if err != nil {
		t.Fatal(err)
	}
	var plain bytes.Buffer
	if _, err := plain.ReadFrom(r); err != nil || !bytes.Equal(plain.Bytes(), w.Raw) {
		t.Errorf("%d bytes, want %d: %v", plain.Len(), len(w.Raw), err)
	}
	if _, err := New(Spec{Kind: Traces, Codec: "rot13"}); err == nil {
		t.Error("a codec that does not exist is taken")
	}
	if _, err := New(Spec{Kind: "telegrams"}); err == nil {
		t.Error("a kind that does not exist is taken")
	}
}
