package gateway

import (
	"net/http"
	"sync/atomic"
	"time"

	"github.com/telemetry-gateway/telemetry-gateway/internal/config"
	"github.com/telemetry-gateway/telemetry-gateway/internal/egress"
	"github.com/telemetry-gateway/telemetry-gateway/internal/fault"
	"github.com/telemetry-gateway/telemetry-gateway/internal/ingest"
	"github.com/telemetry-gateway/telemetry-gateway/internal/limits"
)

// exit is an upstream with what the road has to know of it. It outlives a reload that does not change it.
type exit struct {
	*egress.Upstream
	cfg   *config.Upstream
	share *limits.Share

	// v1Until is when remote_write v2 is tried again after upstream did not understand it, in Unix seconds.
	v1Until atomic.Int64
	// tookV2: this upstream has acknowledged a v2 push, so that a 400 is about the data and not about the version.
	tookV2 atomic.Bool

	lastSuccess atomic.Int64 // Unix seconds; 0: never
	lastFailure atomic.Pointer[failure]
}

// failure is why a call to upstream did not succeed, for the operator.
type failure struct {
	At   time.Time `json:"at"`
	Code string    `json:"code"`
	Text string    `json:"text"`
}

// note remembers how a call ended. That a sender did not wait says nothing of upstream.
func (x *exit) note(at time.Time, code string, err error) {
	if err == nil {
		if s := at.Unix(); x.lastSuccess.Load() < s {
			x.lastSuccess.Store(s)
		}
		return
	}
	if e := fault.From(err); e.Kind != fault.Canceled {
		x.lastFailure.Store(&failure{at.UTC(), code, e.Error()})
	}
}

// v1For is how long v1 is used for an upstream that does not speak v2.
const v1For = time.Hour

// form is the wire form in which a push of p leaves: its own, or for remote_write the version that upstream wants.
func (x *exit) form(p *ingest.Protocol, now time.Time) *ingest.Form {
	own := p.Forms[0]
	if own.Version == 0 {
		return own
	}
	want := own.Version
	switch x.cfg.RemoteWriteVersion {
	case "1":
		want = 1
	case "2":
		want = 2
	}
	if want == 2 && now.Unix() < x.v1Until.Load() {
		want = 1
	}
	return formOf(p, want)
}

// formOf is the form of p with a version, its own if it has none such.
func formOf(p *ingest.Protocol, want int) *ingest.Form {
	for _, f := range p.Forms {
		if f.Version == want {
			return f
		}
	}
	return p.Forms[0]
}

// notUnderstood says whether upstream's answer to a v2 push means that it does not speak v2.
func (x *exit) notUnderstood(status int, otherForm bool) bool {
	return otherForm || status == http.StatusUnsupportedMediaType || status == http.StatusBadRequest && !x.tookV2.Load()
}

// rememberV1 is called when the same push was taken as v1. It reports whether that is news.
func (x *exit) rememberV1(now time.Time) bool {
	return x.v1Until.Swap(now.Add(v1For).Unix()) <= now.Unix()
}

// remoteWriteVersion is the version in which v2 pushes leave now.
func (x *exit) remoteWriteVersion(now time.Time) int {
	if x.cfg.RemoteWriteVersion == "1" || now.Unix() < x.v1Until.Load() {
		return 1
	}
	return 2
}

// codec is the compression in which a push leaves that came in came.
func (x *exit) codec(f *ingest.Form, came []ingest.Codec) ingest.Codec {
	switch {
	case f.Codec != ingest.Identity:
		return f.Codec
	case x.cfg.Compression == "gzip":
		return ingest.Gzip
	case x.cfg.Compression == "none", len(came) == 0:
		return ingest.Identity
	}
	// As it came; but Grafana Cloud takes gzip or nothing.
	return ingest.Gzip
}
