package remotewrite

import (
	"fmt"
	"mime"
	"net/http"
	"strconv"
	"strings"

	"github.com/telemetry-gateway/telemetry-gateway/internal/fault"
	"github.com/telemetry-gateway/telemetry-gateway/internal/ingest"
)

// The headers in which a v2 receiver says what it stored.
const (
	samplesWritten    = "X-Prometheus-Remote-Write-Samples-Written"
	histogramsWritten = "X-Prometheus-Remote-Write-Histograms-Written"
	exemplarsWritten  = "X-Prometheus-Remote-Write-Exemplars-Written"
)

// vmagentHeader is sent by vmagent alone, which repeats a push for ever when it is answered 413.
const vmagentHeader = "X-VictoriaMetrics-Remote-Write-Version"

// saysV2 says whether the Content-Type names the v2 message. Nothing else decides: not the version header, not the body.
func saysV2(h http.Header) bool {
	v, err := version(h)
	return err == nil && v == 2
}

// version is the remote_write version that the Content-Type names. No Content-Type and no proto parameter mean 1.
func version(h http.Header) (int, error) {
	values := h.Values("Content-Type")
	if len(values) == 0 || len(values) == 1 && values[0] == "" {
		return 1, nil
	}
	if len(values) > 1 {
		return 0, fmt.Errorf("%d Content-Type headers, want one", len(values))
	}
	if values[0] == mediaType {
		return 1, nil
	}
	media, params, err := mime.ParseMediaType(values[0])
	if err != nil {
		return 0, fmt.Errorf("Content-Type %q: %w", values[0], err)
	}
	switch proto := params["proto"]; {
	case media == "application/json":
		return 0, fmt.Errorf("Content-Type %q: remote_write is %s; Loki pushes go to /loki/api/v1/push, OTLP to /v1/metrics", media, mediaType)
	case media != mediaType:
		return 0, fmt.Errorf("Content-Type %q, want %s", media, mediaType)
	case proto == "", strings.EqualFold(proto, protoV1):
		return 1, nil
	case strings.EqualFold(proto, protoV2):
		return 2, nil
	default:
		return 0, fmt.Errorf("Content-Type with proto=%q, want %s or %s", proto, protoV1, protoV2)
	}
}

// open accepts the one compression that remote_write has. Senders that leave the header out mean it too.
func open(h http.Header) (ingest.Content, error) {
	if _, err := version(h); err != nil {
		return ingest.Content{}, fault.New(fault.Unsupported, "remote_write: %v", err)
	}
	switch e := strings.Join(h.Values("Content-Encoding"), ", "); {
	case e == "", strings.EqualFold(e, "snappy"):
	case strings.EqualFold(e, "zstd"):
		// vmagent begins with zstd and falls back to snappy for good when it reads 415.
		return ingest.Content{}, fault.New(fault.Unsupported,
			"remote_write: Content-Encoding zstd, want snappy (vmagent: -remoteWrite.forcePromProto says so from the start)")
	default:
		return ingest.Content{}, fault.New(fault.Unsupported, "remote_write: Content-Encoding %q, want snappy", e)
	}
	return ingest.Content{Codecs: []ingest.Codec{ingest.Snappy}}, nil
}

// readV1 takes any 2xx for stored: 200, Mimir's 202 for a replica's duplicate, Prometheus' 204.
func readV1(status int, _ http.Header, _ []byte) (ingest.Answer, error) {
	return ingest.Answer{Status: status}, nil
}

// readV2 demands that upstream says what it wrote. A receiver that knows only v1 reads a v2 body as an empty push and
// answers 2xx without having stored anything; nothing but these headers tells it from one that understood. That holds for
// a push with nothing in it too: it goes again as v1, which costs nothing.
func readV2(status int, h http.Header, _ []byte) (ingest.Answer, error) {
	samples, ok1 := written(h, samplesWritten)
	histograms, ok2 := written(h, histogramsWritten)
	exemplars, ok3 := written(h, exemplarsWritten)
	if !ok1 && !ok2 && !ok3 {
		return ingest.Answer{Status: status}, ingest.ErrOtherForm
	}
	return ingest.Answer{Status: status, Written: ingest.Count{
		Items: samples + histograms, Samples: samples, Histograms: histograms, Exemplars: exemplars,
	}}, nil
}

// written reads one header. What is no number counts as not sent.
func written(h http.Header, name string) (int, bool) {
	n, err := strconv.ParseUint(strings.TrimSpace(h.Get(name)), 10, 31)
	return int(n), err == nil
}

// acceptV1 never sends the Written headers: a v1 sender would parse them and report an error.
func acceptV1(_ ingest.Content, a ingest.Answer) ingest.Reply { return accept(a) }

func acceptV2(_ ingest.Content, a ingest.Answer) ingest.Reply {
	r := accept(a)
	r.Header = writtenHeader(a.Written)
	return r
}

func accept(a ingest.Answer) ingest.Reply {
	switch {
	case len(a.Refused) > 0:
		return ingest.TextReply(http.StatusBadRequest, ingest.RefusalText(a.Refused))
	case a.Status == 0:
		// Rules dropped everything, on purpose.
		return ingest.Reply{Status: http.StatusNoContent}
	}
	return ingest.Reply{Status: a.Status}
}

func refuseV1(h http.Header, e *fault.Error) ingest.Reply {
	status := e.HTTPStatus()
	if status == http.StatusRequestEntityTooLarge && len(h.Values(vmagentHeader)) > 0 {
		status = http.StatusBadRequest
	}
	return ingest.TextReply(status, e.Public)
}

// refuseV2 says 0 written, as the specification demands for failures after content negotiation.
func refuseV2(h http.Header, e *fault.Error) ingest.Reply {
	r := refuseV1(h, e)
	r.Header = writtenHeader(ingest.Count{})
	return r
}

func writtenHeader(c ingest.Count) []ingest.HeaderField {
	return []ingest.HeaderField{
		{Name: samplesWritten, Value: strconv.Itoa(c.Samples)},
		{Name: histogramsWritten, Value: strconv.Itoa(c.Histograms)},
		{Name: exemplarsWritten, Value: strconv.Itoa(c.Exemplars)},
	}
}
