package integration

import (
	"context"
	"fmt"
	"log/slog"
	"math"
	"net/url"
	"testing"
	"time"

	remoteapi "github.com/prometheus/client_golang/exp/api/remote"
	"github.com/prometheus/client_golang/prometheus"
	promconfig "github.com/prometheus/common/config"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/model/exemplar"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/metadata"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/storage/remote"
	"github.com/prometheus/prometheus/tsdb"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/tsdb/tsdbutil"
	"github.com/prometheus/prometheus/util/teststorage"
)

// promSender is Prometheus' own remote write: a TSDB, its write-ahead log, and the queue manager that ships it.
type promSender struct {
	t    testing.TB
	db   *teststorage.TestStorage
	rs   *remote.Storage
	reg  *prometheus.Registry
	log  *logBuffer
	want *arrivals // what was appended, as a receiver should see it
	v2   bool      // start timestamps and per-series metadata travel
	base int64     // the first timestamp, in milliseconds
}

// newPromSender sends what is appended to a gateway's address. scraper gives v1's metadata; nil: none. options change how
// it sends.
func newPromSender(t testing.TB, addr string, proto remoteapi.WriteMessageType, scraper remote.ReadyScrapeManager, options ...func(*config.RemoteWriteConfig)) *promSender {
	t.Helper()
	v2 := proto == remoteapi.WriteV2MessageType
	s := &promSender{t: t, reg: prometheus.NewRegistry(), log: &logBuffer{}, want: newArrivals(), v2: v2}
	// The write-ahead log's watcher ships only what is later than its own start, receivers refuse what is over ten
	// minutes ahead. A minute ahead is inside both, however late the watcher starts.
	s.base = time.Now().Add(time.Minute).UnixMilli()
	s.db = teststorage.New(t, func(o *tsdb.Options) {
		o.EnableMetadataWALRecords = true
		o.EnableSTStorage = v2
		if v2 {
			o.FloatChunkEncoding = chunkenc.EncXOR2
		}
	})
	s.rs = remote.NewStorage(slog.New(slog.NewTextHandler(s.log, nil)), s.reg, nil, s.db.Dir(), 5*time.Second, scraper, false)
	t.Cleanup(func() { s.rs.Close() })
	s.db.SetWriteNotified(s.rs)

	cfg := config.DefaultRemoteWriteConfig
	u, err := url.Parse("http://" + addr + "/api/v1/write?leak=query")
	if err != nil {
		t.Fatal(err)
	}
	cfg.URL = &promconfig.URL{URL: u}
	cfg.ProtobufMessage = proto
	cfg.SendExemplars, cfg.SendNativeHistograms = true, true
	cfg.Headers = leakHeaders
	cfg.HTTPClientConfig.Authorization = &promconfig.Authorization{Type: "Bearer", Credentials: clientToken}
	cfg.QueueConfig.BatchSendDeadline = model.Duration(50 * time.Millisecond)
	cfg.QueueConfig.MaxSamplesPerSend = 200 // several pushes a test
	cfg.QueueConfig.MinShards, cfg.QueueConfig.MaxShards = 2, 2
	cfg.QueueConfig.RetryOnRateLimit = true // as Grafana Alloy has it; Prometheus drops on 429 unless told so
	cfg.MetadataConfig.Send = scraper != nil
	cfg.MetadataConfig.SendInterval = model.Duration(200 * time.Millisecond)
	for _, option := range options {
		option(&cfg)
	}
	err = s.rs.ApplyConfig(&config.Config{
		GlobalConfig:       config.DefaultGlobalConfig,
		RemoteWriteConfigs: []*config.RemoteWriteConfig{&cfg},
	})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// series is one series to append: its labels and what it is about.
type series struct {
	labels labels.Labels
	meta   metadata.Metadata
}

func newSeries(name string, typ model.MetricType, pairs ...string) series {
	return series{
		labels: labels.NewBuilder(labels.FromStrings(pairs...)).Set(labels.MetricName, name).Labels(),
		meta:   metadata.Metadata{Type: typ, Help: "What " + name + " is, with \"quotes\" and ü.", Unit: "seconds"},
	}
}

func (s *promSender) at(i int) int64 { return s.base + int64(i)*100 }

// transaction is one append to the sender's TSDB.
type transaction struct {
	s   *promSender
	app storage.AppenderV2
}

func (s *promSender) begin() transaction {
	return transaction{s, s.db.AppenderV2(context.Background())}
}

// add appends the i-th sample of a series and notes what a receiver should see of it. h and fh nil: v is the sample.
func (tx transaction) add(sr series, i int, v float64, h *histogram.Histogram, fh *histogram.FloatHistogram, ex ...exemplar.Exemplar) {
	tx.s.t.Helper()
	tx.addAt(sr, tx.s.at(i), v, h, fh, ex...)
}

// addAt is add for a sample of the time at, in milliseconds.
func (tx transaction) addAt(sr series, at int64, v float64, h *histogram.Histogram, fh *histogram.FloatHistogram, ex ...exemplar.Exemplar) {
	s := tx.s
	s.t.Helper()
	var start int64
	if s.v2 && sr.meta.Type != model.MetricTypeGauge {
		start = s.base - 60_000
	}
	s.want.add(sr.labels, start, at, v, h, fh)
	for _, e := range ex {
		s.want.addExemplar(sr.labels, e)
	}
	if s.v2 {
		s.want.addMetadata(sr.labels.Get(labels.MetricName), sr.meta)
	}
	_, err := tx.app.Append(0, sr.labels, start, at, v, h, fh, storage.AOptions{Metadata: sr.meta, Exemplars: ex})
	if err != nil {
		s.t.Fatalf("append %s: %v", sr.labels, err)
	}
}

func (tx transaction) commit() {
	tx.s.t.Helper()
	if err := tx.app.Commit(); err != nil {
		tx.s.t.Fatalf("commit: %v", err)
	}
}

// oddFloats are the bit patterns that careless code changes; negative zero is not among them, because Prometheus' own
// encoder leaves it out as the default value.
var oddFloats = []float64{
	0, math.Inf(1), math.Inf(-1), math.Float64frombits(value.NormalNaN), math.SmallestNonzeroFloat64,
	math.MaxFloat64, math.Float64frombits(value.StaleNaN), 0.1 + 0.2, math.Float64frombits(0x7ff8000000000abc),
}

// appendFloats appends floats of every kind of bits, and exemplars; the series end stale here and there.
func (s *promSender) appendFloats(nSeries, nSamples int) {
	s.t.Helper()
	tx := s.begin()
	for n := range nSeries {
		typ, name := model.MetricTypeCounter, fmt.Sprintf("requests_%d_total", n%7)
		if n%2 == 0 {
			typ, name = model.MetricTypeGauge, fmt.Sprintf("temperature_%d", n%7)
		}
		sr := newSeries(name, typ, "instance", fmt.Sprintf("host-%d:9090", n), "job", "api", "path", "/a\nb\"c\\d/ü")
		for i := range nSamples {
			v := float64(n*1000 + i)
			if n%4 == 1 {
				v = oddFloats[i%len(oddFloats)]
			}
			if i == nSamples-1 && n%5 == 0 {
				v = math.Float64frombits(value.StaleNaN) // the target went away
			}
			var ex []exemplar.Exemplar
			if i%10 == 3 {
				trace := labels.FromStrings("span", "ü", "trace_id", fmt.Sprintf("%032x", n*100+i))
				ex = []exemplar.Exemplar{{Labels: trace, Value: v, Ts: s.at(i) - 1, HasTs: true}}
			}
			tx.add(sr, i, v, nil, nil, ex...)
		}
	}
	tx.commit()
}

// appendHistograms appends native histograms of integers and floats, counters and gauges, and their stale markers.
func (s *promSender) appendHistograms(nSamples int) {
	s.t.Helper()
	ints := newSeries("latency_int_seconds", model.MetricTypeHistogram, "job", "api")
	floats := newSeries("latency_float_seconds", model.MetricTypeHistogram, "job", "api")
	gauges := newSeries("sizes_seconds", model.MetricTypeGaugeHistogram, "job", "api")
	tx := s.begin()
	for i := range nSamples {
		trace := labels.FromStrings("trace_id", fmt.Sprintf("%032x", 7000+i))
		tx.add(ints, i, 0, tsdbutil.GenerateTestHistogram(int64(i)), nil,
			exemplar.Exemplar{Labels: trace, Value: 0.5, Ts: s.at(i), HasTs: true})
		tx.add(floats, i, 0, nil, tsdbutil.GenerateTestFloatHistogram(int64(i)))
		tx.add(gauges, i, 0, tsdbutil.GenerateTestGaugeHistogram(int64(i)), nil)
	}
	stale := math.Float64frombits(value.StaleNaN)
	tx.add(ints, nSamples, 0, &histogram.Histogram{Sum: stale}, nil)
	tx.add(floats, nSamples, 0, nil, &histogram.FloatHistogram{Sum: stale})
	tx.commit()
}

// appendCustomBuckets appends histograms with custom bounds, which only v2 can carry; their names start with custom_.
func (s *promSender) appendCustomBuckets(nSamples int) {
	s.t.Helper()
	ints := newSeries("custom_int_seconds", model.MetricTypeHistogram, "job", "api")
	floats := newSeries("custom_float_seconds", model.MetricTypeHistogram, "job", "api")
	tx := s.begin()
	for i := range nSamples {
		tx.add(ints, i, 0, tsdbutil.GenerateTestCustomBucketsHistogram(int64(i)), nil)
		tx.add(floats, i, 0, nil, tsdbutil.GenerateTestCustomBucketsFloatHistogram(int64(i)))
	}
	tx.commit()
}

// delivered waits until got holds as much as was appended. It wakes the watcher itself: a notification that comes
// while the watcher is busy is dropped, and the watcher's own clock takes 15 s.
func (s *promSender) delivered(got *arrivals, want int, timeout time.Duration) {
	s.t.Helper()
	end := time.Now().Add(timeout)
	for got.len() < want {
		if time.Now().After(end) {
			s.t.Fatalf("%d of %d items arrived in %s; sender: %s", got.len(), want, timeout, s.state())
		}
		s.rs.Notify()
		time.Sleep(20 * time.Millisecond)
	}
}

// settled waits until everything that was appended has been answered.
func (s *promSender) settled(timeout time.Duration) {
	s.t.Helper()
	eventually(s.t, timeout, "the sender has its answers", func() bool {
		s.rs.Notify()
		return s.counter("samples_total") >= float64(s.want.len()) && s.counter("samples_pending") == 0
	})
}

// counter sums the sender's own counters and gauges whose name starts with prometheus_remote_storage_ and ends so.
func (s *promSender) counter(suffixes ...string) float64 {
	families, err := s.reg.Gather()
	if err != nil {
		s.t.Fatal(err)
	}
	sum := 0.0
	for _, f := range families {
		for _, suffix := range suffixes {
			if f.GetName() == "prometheus_remote_storage_"+suffix {
				for _, m := range f.GetMetric() {
					sum += m.GetCounter().GetValue() + m.GetGauge().GetValue()
				}
			}
		}
	}
	return sum
}

func (s *promSender) failed() float64 {
	return s.counter("samples_failed_total", "histograms_failed_total", "exemplars_failed_total", "metadata_failed_total")
}

func (s *promSender) retried() float64 {
	return s.counter("samples_retried_total", "histograms_retried_total", "exemplars_retried_total")
}

func (s *promSender) state() string {
	return fmt.Sprintf("%g failed, %g retried, %g sent", s.failed(), s.retried(),
		s.counter("samples_total", "histograms_total", "exemplars_total"))
}
