package integration

import (
	"bytes"
	"context"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"

	"github.com/golang/snappy"
	remoteapi "github.com/prometheus/client_golang/exp/api/remote"
	"github.com/prometheus/common/model"
	"github.com/prometheus/common/promslog"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/metadata"
	"github.com/prometheus/prometheus/prompb"
	writev2 "github.com/prometheus/prometheus/prompb/io/prometheus/write/v2"
	"github.com/prometheus/prometheus/storage/remote"
	"github.com/prometheus/prometheus/tsdb"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/util/teststorage"
)

const (
	contentV1        = "application/x-protobuf"
	contentV2        = "application/x-protobuf;proto=io.prometheus.write.v2.Request"
	exemplarsWritten = "X-Prometheus-Remote-Write-Exemplars-Written"
)

// promReceiver is Prometheus' own write handler in front of a TSDB. It also notes each push that was taken, decoded
// with the reference types, because a TSDB does not give back all that was on the wire (start timestamps, metadata).
type promReceiver struct {
	t       testing.TB
	db      *teststorage.TestStorage
	handler http.Handler
	got     *arrivals
}

func newPromReceiver(t testing.TB, accept ...remoteapi.WriteMessageType) *promReceiver {
	t.Helper()
	rc := &promReceiver{t: t, got: newArrivals()}
	rc.db = teststorage.New(t, func(o *tsdb.Options) { o.EnableMetadataWALRecords = true })
	rc.handler = remote.NewWriteHandler(promslog.NewNopLogger(), nil, rc.db, remoteapi.MessageTypes(accept), false, false, true)
	return rc
}

func (rc *promReceiver) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	var status int
	switch ct := r.Header.Get("Content-Type"); ct {
	case contentV1:
		status = rc.serveV1(w, r, body)
	case contentV2:
		status = rc.serveV2(w, r, body)
	default:
		rc.t.Errorf("upstream saw the Content-Type %q", ct)
		http.Error(w, "content type", http.StatusUnsupportedMediaType)
		return
	}
	if status/100 != 2 {
		rc.t.Logf("Prometheus' receiver answered %d", status)
	}
}

func (rc *promReceiver) serveV1(w http.ResponseWriter, r *http.Request, body []byte) int {
	var req prompb.WriteRequest
	rc.decode(body, req.Unmarshal)
	if v := r.Header.Get("X-Prometheus-Remote-Write-Version"); v != "0.1.0" {
		rc.t.Errorf("upstream saw version %q with a v1 body", v)
	}
	rec := rc.pass(w, r, body, 0)
	if rec.Code/100 != 2 {
		return rec.Code
	}
	b := labels.NewScratchBuilder(0)
	for _, ts := range req.Timeseries {
		rc.checkSorted(ts.Labels)
		ls := ts.ToLabels(&b, nil)
		for _, s := range ts.Samples {
			rc.got.add(ls, 0, s.Timestamp, s.Value, nil, nil)
		}
		for _, h := range ts.Histograms {
			if h.IsFloatHistogram() {
				rc.got.add(ls, 0, h.Timestamp, 0, nil, h.ToFloatHistogram())
			} else {
				rc.got.add(ls, 0, h.Timestamp, 0, h.ToIntHistogram(), nil)
			}
		}
		for _, e := range ts.Exemplars {
			rc.got.addExemplar(ls, e.ToExemplar(&b, nil))
		}
	}
	for _, m := range req.Metadata {
		rc.got.addMetadata(m.MetricFamilyName, metadata.Metadata{Type: modelType(m.Type), Help: m.Help, Unit: m.Unit})
	}
	return rec.Code
}

// serveV2 takes series of nothing but exemplars itself: Prometheus' sender makes them and the protocol (rc.5) allows
// them, but its receiver refuses them.
func (rc *promReceiver) serveV2(w http.ResponseWriter, r *http.Request, body []byte) int {
	var req, rest writev2.Request
	rc.decode(body, req.Unmarshal)
	if v := r.Header.Get("X-Prometheus-Remote-Write-Version"); v != "2.0.0" {
		rc.t.Errorf("upstream saw version %q with a v2 body", v)
	}
	rest.Symbols = req.Symbols
	exemplars := 0
	for _, ts := range req.Timeseries {
		if len(ts.Samples)+len(ts.Histograms) == 0 && len(ts.Exemplars) > 0 {
			exemplars += len(ts.Exemplars)
			continue
		}
		rest.Timeseries = append(rest.Timeseries, ts)
	}
	if exemplars > 0 {
		plain, err := rest.Marshal()
		if err != nil {
			rc.t.Errorf("encode v2: %v", err)
		}
		body = snappy.Encode(nil, plain)
	}
	rec := rc.pass(w, r, body, exemplars)
	if rec.Code/100 != 2 {
		return rec.Code
	}
	b := labels.NewScratchBuilder(0)
	for _, ts := range req.Timeseries {
		ls, err := ts.ToLabels(&b, req.Symbols)
		if err != nil {
			rc.t.Errorf("upstream saw labels: %v", err)
			continue
		}
		m, err := ts.ToMetadata(req.Symbols)
		if err != nil {
			rc.t.Errorf("upstream saw metadata: %v", err)
		}
		if m != (metadata.Metadata{Type: "unknown"}) {
			rc.got.addMetadata(ls.Get(labels.MetricName), m)
		}
		for _, s := range ts.Samples {
			rc.got.add(ls, s.StartTimestamp, s.Timestamp, s.Value, nil, nil)
		}
		for _, h := range ts.Histograms {
			if h.IsFloatHistogram() {
				rc.got.add(ls, h.StartTimestamp, h.Timestamp, 0, nil, h.ToFloatHistogram())
			} else {
				rc.got.add(ls, h.StartTimestamp, h.Timestamp, 0, h.ToIntHistogram(), nil)
			}
		}
		for _, ex := range ts.Exemplars {
			e, err := ex.ToExemplar(&b, req.Symbols)
			if err != nil {
				rc.t.Errorf("upstream saw an exemplar: %v", err)
				continue
			}
			rc.got.addExemplar(ls, e)
		}
	}
	return rec.Code
}

// pass gives the body to Prometheus' handler and adds to its answer the exemplars that it was not given.
func (rc *promReceiver) pass(w http.ResponseWriter, r *http.Request, body []byte, exemplars int) *httptest.ResponseRecorder {
	inner := r.Clone(r.Context())
	inner.Body = io.NopCloser(bytes.NewReader(body))
	inner.ContentLength = int64(len(body))
	rec := httptest.NewRecorder()
	rc.handler.ServeHTTP(rec, inner)
	if rec.Code/100 != 2 {
		rc.t.Errorf("Prometheus' receiver answered %d: %s", rec.Code, rec.Body)
	}
	for name, values := range rec.Header() {
		w.Header()[name] = values
	}
	if exemplars > 0 {
		n, _ := strconv.Atoi(rec.Header().Get(exemplarsWritten))
		w.Header().Set(exemplarsWritten, strconv.Itoa(n+exemplars))
	}
	w.WriteHeader(rec.Code)
	_, _ = w.Write(rec.Body.Bytes())
	return rec
}

func (rc *promReceiver) decode(body []byte, unmarshal func([]byte) error) {
	plain, err := snappy.Decode(nil, body)
	if err == nil {
		err = unmarshal(plain)
	}
	if err != nil {
		rc.t.Errorf("upstream saw a body that does not decode: %v", err)
	}
}

func (rc *promReceiver) checkSorted(ls []prompb.Label) {
	for i := 1; i < len(ls); i++ {
		if ls[i-1].Name >= ls[i].Name {
			rc.t.Errorf("upstream saw label %q after %q", ls[i].Name, ls[i-1].Name)
		}
	}
}

// modelType is the inverse of prompb.FromMetadataType.
func modelType(t prompb.MetricMetadata_MetricType) model.MetricType {
	return model.MetricType(strings.ToLower(t.String()))
}

// stored is what the TSDB gives back. A TSDB has no start timestamps here and makes its own hints.
func (rc *promReceiver) stored() *arrivals {
	rc.t.Helper()
	out := newArrivals()
	q, err := rc.db.Querier(math.MinInt64, math.MaxInt64)
	if err != nil {
		rc.t.Fatal(err)
	}
	defer q.Close()
	set := q.Select(context.Background(), true, nil, labels.MustNewMatcher(labels.MatchNotEqual, labels.MetricName, ""))
	for set.Next() {
		ls := set.At().Labels()
		it := set.At().Iterator(nil)
		for typ := it.Next(); typ != chunkenc.ValNone; typ = it.Next() {
			switch typ {
			case chunkenc.ValFloat:
				t, v := it.At()
				out.add(ls, 0, t, v, nil, nil)
			case chunkenc.ValHistogram:
				t, h := it.AtHistogram(nil)
				out.add(ls, 0, t, 0, h, nil)
			case chunkenc.ValFloatHistogram:
				t, fh := it.AtFloatHistogram(nil)
				out.add(ls, 0, t, 0, nil, fh)
			}
		}
		if err := it.Err(); err != nil {
			rc.t.Fatal(err)
		}
	}
	if err := set.Err(); err != nil {
		rc.t.Fatal(err)
	}
	return out
}
