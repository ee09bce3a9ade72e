package remotewrite

import (
	"fmt"
	"slices"
	"testing"

	"github.com/prometheus/prometheus/prompb"
	writev2 "github.com/prometheus/prometheus/prompb/io/prometheus/write/v2"

	"github.com/telemetry-gateway/telemetry-gateway/internal/ingest"
)

// k8sSeries is n series as a scrape of a cluster gives them: one sample, 13 labels, neighbours alike.
func k8sSeries(n int) []prompb.TimeSeries {
	out := make([]prompb.TimeSeries, n)
	for i := range out {
		pod := fmt.Sprintf("checkout-7d9f8b6c5d-%05x", i/40)
		out[i] = prompb.TimeSeries{
			Labels: []prompb.Label{
				{Name: "__name__", Value: fmt.Sprintf("container_network_receive_packets_%d_total", i%40)},
				{Name: "cluster", Value: "prod-eu-west-1"},
				{Name: "container", Value: "checkout"},
				{Name: "endpoint", Value: "https-metrics"},
				{Name: "id", Value: "/kubepods/burstable/pod" + pod},
				{Name: "image", Value: "registry.example.com/shop/checkout:v1.42.0"},
				{Name: "instance", Value: fmt.Sprintf("10.12.%d.17:10250", i/400)},
				{Name: "job", Value: "kubelet"},
				{Name: "metrics_path", Value: "/metrics/cadvisor"},
				{Name: "namespace", Value: "shop"},
				{Name: "node", Value: fmt.Sprintf("ip-10-12-%d-17.eu-west-1.compute.internal", i/400)},
				{Name: "pod", Value: pod},
				{Name: "service", Value: "kube-prometheus-stack-kubelet"},
			},
			Samples: []prompb.Sample{{Value: float64(i), Timestamp: 1_700_000_000_000}},
		}
	}
	return out
}

func k8sV1(n int) []byte { return v1Of(k8sSeries(n)) }

func v1Of(all []prompb.TimeSeries) []byte {
	return must((&prompb.WriteRequest{Timeseries: all}).Marshal())
}

// unsorted is n series that cannot be stamped in one walk, with as many labels as fill a slice that doubles.
func unsorted(n int) []prompb.TimeSeries {
	all := k8sSeries(n)
	for i := range all {
		ls := append(all[i].Labels, prompb.Label{Name: "x", Value: "1"}, prompb.Label{Name: "y", Value: "2"}, prompb.Label{Name: "z", Value: "3"})
		slices.Reverse(ls)
		all[i].Labels = ls
	}
	return all
}

func unsortedV1(n int) []byte {
	return must((&prompb.WriteRequest{Timeseries: unsorted(n)}).Marshal())
}

func k8sV2(n int) []byte      { return symbolized(k8sSeries(n)) }
func unsortedV2(n int) []byte { return symbolized(unsorted(n)) }

func symbolized(all []prompb.TimeSeries) []byte {
	t := writev2.NewSymbolTable()
	req := &writev2.Request{}
	for _, ts := range all {
		s := writev2.TimeSeries{LabelsRefs: refsOf(&t, ts.Labels)}
		s.Samples = []writev2.Sample{{Value: ts.Samples[0].Value, Timestamp: ts.Samples[0].Timestamp}}
		s.Metadata = writev2.Metadata{Type: writev2.Metadata_METRIC_TYPE_COUNTER, HelpRef: t.Symbolize("Packets received.")}
		req.Timeseries = append(req.Timeseries, s)
	}
	req.Symbols = t.Symbols()
	return must(req.Marshal())
}

// allocs is how many allocations a push costs from Decode to Encode.
func allocs(t *testing.T, p *ingest.Protocol, raw []byte, e ingest.Edit) float64 {
	t.Helper()
	dst := make([]byte, 0, decode(t, p, raw).Bound(e))
	return testing.AllocsPerRun(20, func() {
		b, err := p.Decode(raw, ingest.Content{})
		if err != nil {
			t.Fatal(err)
		}
		b.Bound(e)
		if _, err := b.Encode(dst, e); err != nil {
			t.Fatal(err)
		}
	})
}

func TestAllocations(t *testing.T) {
	f := func(p *ingest.Protocol, push func(int) []byte, form *ingest.Form, stamps int, most float64) {
		t.Helper()
		e := ingest.Edit{Form: form, Stamps: stampSets[stamps]}
		few, many := allocs(t, p, push(10), e), allocs(t, p, push(2000), e)
		// Conversions keep a table of symbols, which grows.
		if form == p.Forms[0] && few != many {
			t.Errorf("%s with %d stamps: %v allocations for 10 series, %v for 2000", p.Name, len(e.Stamps), few, many)
		}
		if many > most {
			t.Errorf("%s as %s with %d stamps: %v allocations, want %v at most", p.Name, form.Name, len(e.Stamps), many, most)
		}
	}
	f(V1, k8sV1, formV1, 0, 1)
	f(V1, k8sV1, formV1, 1, 14)
	f(V2, k8sV2, formV2, 0, 1)
	f(V2, k8sV2, formV2, 1, 14)
	f(V1, unsortedV1, formV1, 1, 22)
	f(V2, unsortedV2, formV2, 1, 22)
	f(V1, unsortedV1, formV2, 1, 50)
	f(V2, unsortedV2, formV1, 1, 50)
}

const benchSeries = 2000

func benchDecode(b *testing.B, p *ingest.Protocol, raw []byte) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := p.Decode(raw, ingest.Content{}); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*benchSeries), "ns/sample")
}

func benchEncode(b *testing.B, p *ingest.Protocol, raw []byte, e ingest.Edit) {
	dst := make([]byte, 0, decode(b, p, raw).Bound(e))
	b.ReportAllocs()
	b.ResetTimer()
	for b.Loop() {
		batch, err := p.Decode(raw, ingest.Content{})
		if err != nil {
			b.Fatal(err)
		}
		batch.Bound(e)
		if _, err := batch.Encode(dst, e); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*benchSeries), "ns/sample")
}

func BenchmarkV1Decode(b *testing.B) { benchDecode(b, V1, k8sV1(benchSeries)) }
func BenchmarkV2Decode(b *testing.B) { benchDecode(b, V2, k8sV2(benchSeries)) }

// The rest is from Decode to Encode.

func BenchmarkV1Stamp(b *testing.B) {
	benchEncode(b, V1, k8sV1(benchSeries), ingest.Edit{Form: formV1, Stamps: stampSets[1]})
}

func BenchmarkV2Stamp(b *testing.B) {
	benchEncode(b, V2, k8sV2(benchSeries), ingest.Edit{Form: formV2, Stamps: stampSets[1]})
}

func BenchmarkV1ToV2(b *testing.B) {
	benchEncode(b, V1, k8sV1(benchSeries), ingest.Edit{Form: formV2, Stamps: stampSets[1]})
}

func BenchmarkV2ToV1(b *testing.B) {
	benchEncode(b, V2, k8sV2(benchSeries), ingest.Edit{Form: formV1, Stamps: stampSets[1]})
}

// BenchmarkReference is what the structs cost: decode alone.
func BenchmarkReference(b *testing.B) {
	raw := k8sV1(benchSeries)
	b.ReportAllocs()
	for b.Loop() {
		var req prompb.WriteRequest
		if err := req.Unmarshal(raw); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*benchSeries), "ns/sample")
}
