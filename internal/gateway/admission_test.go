package gateway

import (
	"bytes"
	"fmt"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/golang/snappy"

	"github.com/telemetry-gateway/telemetry-gateway/internal/fakecloud"
)

// twoTenants are two environments, one of them with two clients.
const twoTenants = `environments:
  prod:
    clients:
      app: {bearer_token_file: secrets/app}
      other: {bearer_token_file: secrets/other}
    upstreams:
      prometheus: {url: $CLOUD/api/prom/push, timeout: 20s, basic_auth: {username: "1001", password_file: secrets/cloud}}
      loki: {url: $CLOUD/loki/api/v1/push, timeout: 20s, basic_auth: {username: "1002", password_file: secrets/cloud}}
  dev:
    clients:
      dev: {bearer_token_file: secrets/dev}
    upstreams:
      prometheus: {url: $CLOUD/api/prom/push, timeout: 20s, basic_auth: {username: "2001", password_file: secrets/dev-cloud}}
`

const (
	otherToken     = "other-token-0123456789"
	devClientToken = "dev-client-token-0123456789"
)

func startTwo(t *testing.T, server string) *gatewayTest {
	return start(t, defaultServer+server+twoTenants, "secrets/other", otherToken, "secrets/dev", devClientToken)
}

// as is h with another client's token.
func as(token string, h http.Header) http.Header {
	h = h.Clone()
	h.Set("Authorization", "Bearer "+token)
	return h
}

// Senders that announce much and send slowly hold what they have sent, and nobody else up.
func TestSlowSendersOfLargeBodies(t *testing.T) {
	g := startTwo(t, "  max_inflight_bytes: 64MiB\n")
	s := samples()["remote_write_v1"]
	var slow []*wire
	for range 32 {
		slow = append(slow, g.wire().send(typed(strings.Repeat("x", 1000), fmt.Sprintf("Content-Length: %d", 16<<20))))
	}
	eventually(t, "all slow senders to hold a buffer", func() bool { return g.inflight.Used() > 32*1000 })
	if n := g.inflight.Used(); n > 32*(256<<10) {
		t.Errorf("32 bodies of which 1000 bytes came hold %d bytes", n)
	}
	if a := g.post(s.path, as(otherToken, s.header), s.body); a.StatusCode != 200 {
		t.Errorf("the other client: %d %s", a.StatusCode, a.body)
	}
	if a := g.post(s.path, s.header, s.body); a.StatusCode != 200 {
		t.Errorf("the same client: %d %s", a.StatusCode, a.body)
	}
	for _, w := range slow {
		_ = w.Close()
	}
	eventually(t, "their memory to come back", func() bool { return g.inflight.Used() == 0 })
}

// incompressible are n bytes that leave about as large as they came.
func incompressible(n int) string {
	b := make([]byte, n)
	x := uint32(1)
	for i := range b {
		x = x*1664525 + 1013904223
		b[i] = 'a' + byte(x>>24)%26
	}
	return string(b)
}

// One client may hold half of the room, and one upstream too; the other half stays for the others.
func TestHalfForOne(t *testing.T) {
	g := startTwo(t, "  max_inflight_bytes: 16MiB\n")
	o := g.cloud.Fail(fakecloud.Loki, fakecloud.Fault{Hang: true})
	defer o.Clear()
	lines := []byte(`{"streams":[{"stream":{"app":"shop"},"values":[["1","` + incompressible(200<<10) + `"]]}]}`)
	h := header("Content-Type", "application/json")
	answers := make(chan int, 64)
	held := 0
	// More and more pushes of one client hang at upstream, until it has its half.
	for refused := false; !refused && held < 64; {
		go func() { answers <- g.post("/loki/api/v1/push", h, lines).StatusCode }()
		eventually(t, "the next push to hang or to be refused", func() bool {
			if len(answers) > 0 {
				refused = true
			}
			return refused || o.Hits() > held
		})
		if !refused {
			held++
		}
	}
	if held < 2 {
		t.Fatalf("only %d pushes of 200 KiB found room in 16 MiB", held)
	}
	if code := <-answers; code != 503 {
		t.Errorf("the push over the half: %d, want 503", code)
	}
	a := g.post("/loki/api/v1/push", h, lines)
	if a.StatusCode != 503 || !strings.Contains(a.body, "server.max_inflight_bytes=8388608") || a.Header.Get("Retry-After") == "" {
		t.Errorf("over the half: %d %q, Retry-After %q", a.StatusCode, a.body, a.Header.Get("Retry-After"))
	}
	// Another client, another upstream.
	s := samples()["remote_write_v1"]
	if a := g.post(s.path, as(otherToken, s.header), s.body); a.StatusCode != 200 {
		t.Errorf("the other client: %d %s", a.StatusCode, a.body)
	}
	// Another client towards the upstream that is stuck: its half is taken.
	if a := g.post("/loki/api/v1/push", as(otherToken, h), lines); a.StatusCode != 503 || !strings.Contains(a.body, `upstream "loki"`) {
		t.Errorf("the other client, the same upstream: %d %.200q", a.StatusCode, a.body)
	}
	o.Clear()
	for range held {
		if code := <-answers; code != 204 {
			t.Errorf("one that hung: %d", code)
		}
	}
	if a := g.post("/loki/api/v1/push", h, lines); a.StatusCode != 204 {
		t.Errorf("when all was over: %d %s", a.StatusCode, a.body)
	}
}

// What a push was read in is given back before it is compressed: rewritten, this one finds room for two of its three large buffers
// at a time, and not for all of them.
func TestRoomToCompress(t *testing.T) {
	g := start(t, strings.Replace(with("    metrics: {labels: {region: eu}}\n"), "drain_delay: 0s\n", "drain_delay: 0s\n  max_inflight_bytes: 12MiB\n", 1))
	body := k8sPush(4400)
	raw, err := snappy.DecodedLen(body)
	if err != nil || raw <= 1<<20 || raw > 2<<20 || len(body) <= 128<<10 {
		t.Fatalf("%d bytes of %d: three buffers of 2 MiB and that of the body would find room", len(body), raw)
	}
	h := header("Content-Type", "application/x-protobuf", "Content-Encoding", "snappy")
	h.Set("Authorization", "Bearer "+clientToken)
	if a := g.post("/api/v1/push", h, body); a.StatusCode != 200 {
		t.Errorf("%d %s", a.StatusCode, a.body)
	}
	if used := g.inflight.Used(); used != 0 {
		t.Errorf("%d bytes are still charged", used)
	}
}

// An environment whose upstream is dead does not hurt the others.
func TestDeadUpstreamOfAnotherEnvironment(t *testing.T) {
	g := startTwo(t, "  max_inflight_bytes: 16MiB\n")
	o := g.cloud.Fail(fakecloud.Prometheus, fakecloud.Fault{Hang: true}.Of(devUser))
	defer o.Clear()
	s := samples()["remote_write_v1"]
	const stuck = 64
	answers := make(chan int, stuck)
	for range stuck {
		go func() { answers <- g.post(s.path, as(devClientToken, s.header), s.body).StatusCode }()
	}
	eventually(t, "all of dev to hang", func() bool { return o.Hits() == stuck })
	for range 20 {
		if a := g.post(s.path, s.header, s.body); a.StatusCode != 200 {
			t.Fatalf("prod: %d %s", a.StatusCode, a.body)
		}
	}
	o.Clear()
	for range stuck {
		if code := <-answers; code != 200 {
			t.Errorf("dev, when its upstream is back: %d", code)
		}
	}
}

// Bodies that decode to much more than they are: the room is charged before it is taken, and refused where there is none.
func TestBombs(t *testing.T) {
	g := start(t, defaultServer+"  max_inflight_bytes: 8MiB\n"+defaultEnvironment)
	zeros := make([]byte, 60<<20)
	gz, sn := gzipped(zeros), snappy.Encode(nil, zeros)
	var most uint64
	f := func(what, path string, h http.Header, body []byte) {
		t.Helper()
		a := g.post(path, h, body)
		if a.StatusCode != 503 || !strings.Contains(a.body, "max_inflight_bytes") {
			t.Errorf("%s: %d %.200q, want 503 for want of room", what, a.StatusCode, a.body)
		}
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		most = max(most, m.HeapInuse)
	}
	zeros = nil
	runtime.GC()
	var before runtime.MemStats
	runtime.ReadMemStats(&before)
	proto := "application/x-protobuf"
	for range 5 {
		f("gzip", "/v1/traces", header("Content-Type", proto, "Content-Encoding", "gzip"), gz)
		f("snappy", "/api/v1/push", header("Content-Type", proto, "Content-Encoding", "snappy"), sn)
		f("gzip of Loki", "/loki/api/v1/push", header("Content-Type", "application/json", "Content-Encoding", "gzip"), gz)
		f("gzip of snappy", "/loki/api/v1/push", header("Content-Type", proto, "Content-Encoding", "gzip"), gzipped(sn))
	}
	if grown := int64(most) - int64(before.HeapInuse); grown > 48<<20 {
		t.Errorf("the heap has grown by %d bytes, where bombs of 60 MiB meet 8 MiB of room", grown)
	}
}

// A sender that goes away in the middle of its body leaves nothing behind.
func TestSenderGoesAway(t *testing.T) {
	g := start(t, strings.ReplaceAll(defaultServer+defaultEnvironment, "timeout: 2s", "timeout: 20s"))
	w := g.wire().send(typed(oneLine[:20], "Content-Length: 500000"))
	eventually(t, "the push to begin", func() bool { return g.inflight.Used() > 0 })
	_ = w.Conn.Close()
	eventually(t, "its memory to come back", func() bool { return g.inflight.Used() == 0 })

	o := g.cloud.Fail(fakecloud.Loki, fakecloud.Fault{Hang: true})
	defer o.Clear()
	w = g.wire().send(typed(oneLine))
	eventually(t, "the push to hang", func() bool { return o.Hits() == 1 })
	began := time.Now()
	_ = w.Conn.Close()
	eventually(t, "the line to be booked as canceled", func() bool { return g.failed("canceled") == 1 })
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("that the sender left was seen after %s", took)
	}
	// It ends without an answer, or with 400 where it was cut off before upstream had read the body.
	eventually(t, "the call to upstream to end", func() bool {
		codes := g.cloud.Stats(logsUser, "").Codes
		return codes[0]+codes[400] == 1
	})
	if n := g.metric("gateway_received_bytes_total", "signal", "logs"); int(n) != len(oneLine) {
		t.Errorf("%v bytes are booked as received, want %d", n, len(oneLine))
	}
	if !bytes.Contains([]byte(g.logs.String()), []byte("reason=canceled")) {
		t.Error("nothing is logged of a sender that left")
	}
}
