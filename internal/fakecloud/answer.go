package fakecloud

import (
	"net/http"
	"strconv"
	"strings"

	"go.opentelemetry.io/collector/pdata/plog/plogotlp"
	"go.opentelemetry.io/collector/pdata/pmetric/pmetricotlp"
	"go.opentelemetry.io/collector/pdata/ptrace/ptraceotlp"
	spb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
)

// accept answers a push that was stored in its protocol's words.
func (p *Push) accept(w http.ResponseWriter, f Fault) {
	switch {
	case p.V2 != nil:
		if !f.NoWritten {
			p.written(w.Header())
		}
		w.WriteHeader(http.StatusOK)
	case p.V1 != nil:
		w.WriteHeader(http.StatusOK)
	case p.Logs != nil:
		w.WriteHeader(http.StatusNoContent)
	default:
		body := p.otlpAnswer(f.Message)
		w.Header().Set("Content-Type", otlpType(p.json))
		w.Header().Set("Content-Length", strconv.Itoa(len(body)))
		w.WriteHeader(http.StatusOK)
		_, _ = w.Write(body)
	}
}

// written sets the three headers without which a v2 sender takes nothing for stored.
func (p *Push) written(h http.Header) {
	var samples, histograms, exemplars int
	for i := range p.V2.Timeseries {
		ts := &p.V2.Timeseries[i]
		samples += len(ts.Samples)
		histograms += len(ts.Histograms)
		exemplars += len(ts.Exemplars)
	}
	h.Set("X-Prometheus-Remote-Write-Samples-Written", strconv.Itoa(samples))
	h.Set("X-Prometheus-Remote-Write-Histograms-Written", strconv.Itoa(histograms))
	h.Set("X-Prometheus-Remote-Write-Exemplars-Written", strconv.Itoa(exemplars))
}

// otlpAnswer is the Export response. partial_success has to be unset on full success, and then nothing is left of it;
// pdata would write an empty one.
func (p *Push) otlpAnswer(message string) []byte {
	if p.Rejected == 0 && message == "" {
		if p.json {
			return []byte("{}")
		}
		return nil
	}
	var toJSON, toProto func() ([]byte, error)
	switch p.Endpoint {
	case OTLPTraces:
		r := ptraceotlp.NewExportResponse()
		r.PartialSuccess().SetRejectedSpans(int64(p.Rejected))
		r.PartialSuccess().SetErrorMessage(message)
		toJSON, toProto = r.MarshalJSON, r.MarshalProto
	case OTLPMetrics:
		r := pmetricotlp.NewExportResponse()
		r.PartialSuccess().SetRejectedDataPoints(int64(p.Rejected))
		r.PartialSuccess().SetErrorMessage(message)
		toJSON, toProto = r.MarshalJSON, r.MarshalProto
	default:
		r := plogotlp.NewExportResponse()
		r.PartialSuccess().SetRejectedLogRecords(int64(p.Rejected))
		r.PartialSuccess().SetErrorMessage(message)
		toJSON, toProto = r.MarshalJSON, r.MarshalProto
	}
	marshal := toProto
	if p.json {
		marshal = toJSON
	}
	body, err := marshal()
	if err != nil {
		panic("BUG: fakecloud: marshal export response: " + err.Error())
	}
	return body
}

// refuse answers an error in the protocol's words: text, or for OTLP a google.rpc.Status in the request's encoding.
func refuse(w http.ResponseWriter, r *http.Request, path string, status int, text string) {
	if !strings.HasPrefix(path, OTLP) {
		http.Error(w, text, status)
		return
	}
	st := &spb.Status{Code: int32(codes.InvalidArgument), Message: text}
	isJSON := strings.HasPrefix(r.Header.Get("Content-Type"), "application/json")
	body, err := proto.Marshal(st)
	if isJSON {
		body, err = protojson.Marshal(st)
	}
	if err != nil {
		panic("BUG: fakecloud: marshal status: " + err.Error())
	}
	w.Header().Set("Content-Type", otlpType(isJSON))
	w.WriteHeader(status)
	_, _ = w.Write(body)
}

func otlpType(isJSON bool) string {
	if isJSON {
		return "application/json"
	}
	return "application/x-protobuf"
}
