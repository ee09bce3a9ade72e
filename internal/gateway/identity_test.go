package gateway

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/collector/pdata/ptrace/ptraceotlp"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/telemetry-gateway/telemetry-gateway/internal/fakecloud"
)

// pushAs pushes five samples with a token, "" for none, and returns the status.
func (g *gatewayTest) pushAs(token string) int {
	g.t.Helper()
	s := samples()["remote_write_v1"]
	h := as(token, s.header)
	if token == "" {
		h.Del("Authorization")
	}
	return g.post(s.path, h, s.body).StatusCode
}

// becomes waits until a push with token gets status.
func (g *gatewayTest) becomes(what, token string, status int) {
	g.t.Helper()
	began := time.Now()
	eventually(g.t, what, func() bool { return g.pushAs(token) == status })
	if took := time.Since(began); took > 10*time.Second {
		g.t.Errorf("%s took %s, want it within 10 s", what, took)
	}
}

// admin gets a path of the admin port and decodes the data of its answer.
func (g *gatewayTest) admin(path string, data any) {
	g.t.Helper()
	res, err := http.Get("http://" + g.addr.Admin + path)
	if err != nil {
		g.t.Fatal(err)
	}
	defer res.Body.Close()
	whole := struct {
		Status string `json:"status"`
		Data   any    `json:"data"`
	}{Data: data}
	if err := json.NewDecoder(res.Body).Decode(&whole); err != nil || whole.Status != "success" {
		g.t.Errorf("%s: status %q, %v", path, whole.Status, err)
	}
}

func TestSecretsOfAClient(t *testing.T) {
	const first, second, third = "first-secret-of-app-123", "second-secret-of-app-123", "third-secret-of-app-123"
	g := start(t, defaultServer+defaultEnvironment, "secrets/app", "# old\n"+first+"\n\n"+second+"\n")
	for token, want := range map[string]int{first: 200, second: 200, "# old": 401, "": 401, first + " ": 200, first + "x": 401} {
		if got := g.pushAs(token); got != want {
			t.Errorf("token %q: %d, want %d", token, got, want)
		}
	}
	var data struct {
		Stale []struct{ Path, Reason string }
		Lines []struct {
			Environment, Client, File string
			Line                      int
			At                        *time.Time
		}
	}
	g.admin("/api/v1/status/secrets", &data)
	if len(data.Lines) != 2 || data.Lines[0].Line != 2 || data.Lines[1].Line != 4 || data.Lines[0].At == nil || data.Lines[1].At == nil {
		t.Errorf("status of secrets: %+v, want lines 2 and 4, both used", data.Lines)
	}

	// Rotation, without a reload: a new line comes, the oldest goes.
	g.file("secrets/app", second+"\n"+third+"\n")
	g.becomes("the new token", third, 200)
	for token, want := range map[string]int{first: 401, second: 200} {
		if got := g.pushAs(token); got != want {
			t.Errorf("after the rotation, token %q: %d, want %d", token, got, want)
		}
	}
	// Emptied by mistake: the last good content stays, and everybody is told.
	g.file("secrets/app", "\n")
	eventually(t, "gateway_secret_stale", func() bool { return g.metric("gateway_secret_stale") == 1 })
	if got := g.pushAs(third); got != 200 {
		t.Errorf("a token of a file that was emptied: %d, want that its last good content stays", got)
	}
	g.admin("/api/v1/status/secrets", &data)
	if len(data.Stale) != 1 || !strings.HasSuffix(data.Stale[0].Path, "secrets/app") {
		t.Errorf("status of secrets: stale %+v", data.Stale)
	}
	g.file("secrets/app", first+"\n")
	g.becomes("the mended file", first, 200)
	eventually(t, "gateway_secret_stale", func() bool { return g.metric("gateway_secret_stale") == 0 })
	for _, secret := range []string{first, second, third} {
		if strings.Contains(g.logs.String()+g.scrape(), secret) {
			t.Errorf("secret %q shows", secret)
		}
	}
}

// Two files that exchange their content are taken in one step: at no moment is either client locked out.
func TestSwappedSecrets(t *testing.T) {
	g := startTwo(t, "")
	g.file("secrets/app", otherToken)
	g.file("secrets/other", clientToken)
	received := func(client string) float64 {
		return g.metric("gateway_items_received_total", "client", client, "signal", "metrics")
	}
	eventually(t, "the clients to be swapped", func() bool {
		before := received("other")
		if got := g.pushAs(clientToken); got != 200 {
			t.Fatalf("a token that never ceased to be valid: %d", got)
		}
		return received("other") == before+5
	})
	before := received("app")
	if got := g.pushAs(otherToken); got != 200 || received("app") != before+5 {
		t.Errorf("the other of the two: %d, %v samples of app, want 5 more than %v", got, received("app"), before)
	}
	if n := g.metric("gateway_secret_stale"); n != 0 {
		t.Errorf("%v files are stale", n)
	}
}

// A credential that would belong to two clients is refused, loudly, and changes nothing.
func TestDoubledSecret(t *testing.T) {
	g := startTwo(t, "")
	g.file("secrets/other", otherToken+"\n"+clientToken+"\n")
	eventually(t, "gateway_secret_stale", func() bool { return g.metric("gateway_secret_stale") == 1 })
	for _, token := range []string{clientToken, otherToken, devClientToken} {
		if got := g.pushAs(token); got != 200 {
			t.Errorf("token %q: %d", token, got)
		}
	}
	if n := g.metric("gateway_items_received_total", "client", "app"); n != 5 {
		t.Errorf("%v samples of app, want 5: its token is its own", n)
	}
	if log := g.logs.String(); !strings.Contains(log, "same credential") || !strings.Contains(log, "secrets/other:2 of prod/other") {
		t.Errorf("the log does not say which line it is:\n%s", log)
	}
}

func TestUpstreamPasswordRotated(t *testing.T) {
	const fresh = "glc_fresh-token-0123456789"
	g := start(t, defaultServer+defaultEnvironment)
	if got := g.pushAs(clientToken); got != 200 {
		t.Fatal(got)
	}
	g.cloud.SetTokens(metricsUser, fresh)
	if got := g.pushAs(clientToken); got != 503 {
		t.Errorf("a password that upstream has withdrawn: %d, want 503", got)
	}
	g.file("secrets/cloud", fresh+"\n")
	g.becomes("the new password", clientToken, 200)
	if strings.Contains(g.logs.String(), fresh) {
		t.Error("the new password shows in the log")
	}
}

func TestDisabledAndAnonymous(t *testing.T) {
	g := start(t, defaultServer+`environments:
  prod:
    anonymous: true
    clients:
      app: {bearer_token_file: secrets/app}
      gone: {bearer_token_file: secrets/gone, disabled: 403}
      paused: {bearer_token_file: secrets/paused, disabled: 503}
    upstreams:
      prometheus: {url: $CLOUD/api/prom/push, basic_auth: {username: "1001", password_file: secrets/cloud}}
`, "secrets/gone", "token-of-gone-123456", "secrets/paused", "token-of-paused-123456")
	for token, want := range map[string]int{"": 200, clientToken: 200, "token-of-gone-123456": 403, "token-of-paused-123456": 503, "wrong": 401} {
		if got := g.pushAs(token); got != want {
			t.Errorf("token %q: %d, want %d", token, got, want)
		}
	}
	s := samples()["remote_write_v1"]
	if a := g.post(s.path, as("token-of-paused-123456", s.header), s.body); a.Header.Get("Retry-After") == "" {
		t.Error("503 without Retry-After")
	}
	if a := g.post(s.path, as("token-of-gone-123456", s.header), s.body); a.Header.Get("Retry-After") != "" {
		t.Error("403 with Retry-After")
	}
	for client, want := range map[string]float64{"anonymous": 5, "app": 5, "gone": 0} {
		if n := g.metric("gateway_items_received_total", "client", client); n != want {
			t.Errorf("%v samples of %s, want %v", n, client, want)
		}
	}
	if n := g.metric("gateway_pushes_total", "client", "gone", "code", "403"); n != 2 {
		t.Errorf("%v pushes of gone are counted, want 2", n)
	}
}

const pinnedListeners = `server:
  http_listen: ["127.0.0.1:0", {address: "127.0.0.1:0", environment: prod, client: PINNED}]
  grpc_listen: [{address: "127.0.0.1:0", environment: prod, client: PINNED}]
  admin_listen: "127.0.0.1:0"
  drain_delay: 0s
environments:
  prod:
    clients:
      app: {bearer_token_file: secrets/app}
      other: {bearer_token_file: secrets/other}
    upstreams:
      prometheus: {url: $CLOUD/api/prom/push, basic_auth: {username: "1001", password_file: secrets/cloud}}
      otlp: {url: $CLOUD/otlp, basic_auth: {username: "1003", password_file: secrets/cloud}}
`

// What comes in by a pinned port without credentials is that client's, also after a reload that pins another.
func TestPinnedListeners(t *testing.T) {
	g := start(t, strings.ReplaceAll(pinnedListeners, "PINNED", "app"), "secrets/other", otherToken)
	received := func(client string) float64 { return g.metric("gateway_items_received_total", "client", client) }
	f := func(pinned string) {
		t.Helper()
		before := received(pinned)
		if got := g.pushAs(""); got != 401 {
			t.Errorf("the port that is pinned to nobody: %d, want 401", got)
		}
		ports := g.addr.HTTP
		g.addr.HTTP = ports[1:]
		if got := g.pushAs(""); got != 200 {
			t.Errorf("the pinned port: %d", got)
		}
		if got := g.pushAs("wrong"); got != 401 {
			t.Errorf("the pinned port with a wrong token: %d, want 401", got)
		}
		g.addr.HTTP = ports
		if _, err := ptraceotlp.NewGRPCClient(g.dial()).Export(deadline(t), spansOf(3)); err != nil {
			t.Errorf("the pinned gRPC port: %v", err)
		}
		if n := received(pinned) - before; n != 8 {
			t.Errorf("%v items of %s, want 8", n, pinned)
		}
	}
	f("app")
	g.configure(strings.ReplaceAll(pinnedListeners, "PINNED", "other"))
	if err := g.Reload("test"); err != nil {
		t.Fatal(err)
	}
	f("other")
}

func TestGRPCCredentials(t *testing.T) {
	g := start(t, defaultServer+defaultEnvironment)
	client := ptraceotlp.NewGRPCClient(g.dial())
	f := func(what string, want codes.Code, pairs ...string) {
		t.Helper()
		ctx := metadata.AppendToOutgoingContext(deadline(t), pairs...)
		if _, err := client.Export(ctx, spansOf(1)); status.Code(err) != want {
			t.Errorf("%s: %v, want %v", what, err, want)
		}
	}
	right := "Bearer " + clientToken
	f("right", codes.OK, "authorization", right)
	f("none", codes.Unauthenticated)
	f("wrong", codes.Unauthenticated, "authorization", "Bearer wrong")
	f("two", codes.Unauthenticated, "authorization", right, "authorization", right)
}

// A client's own labels win over its environment's, and both over what the sender says.
func TestStamps(t *testing.T) {
	g := start(t, defaultServer+`environments:
  prod:
    clients:
      app: {bearer_token_file: secrets/app, labels: {cluster: eu-1, instance: stamped}}
      other: {bearer_token_file: secrets/other}
    metrics: {labels: {environment: prod, cluster: none}}
    upstreams:
      prometheus: {url: $CLOUD/api/prom/push, basic_auth: {username: "1001", password_file: secrets/cloud}}
`, "secrets/other", otherToken)
	f := func(token string, want map[string]string) {
		t.Helper()
		if a := g.pushSeries(token, series("up", "instance", "host-0")); a.StatusCode != 200 {
			t.Fatal(a.StatusCode, a.body)
		}
		p := g.newest(metricsUser, fakecloud.Prometheus)
		for _, ts := range p.V1.Timeseries {
			got := make(map[string]string)
			for _, l := range ts.Labels {
				got[l.Name] = l.Value
			}
			for name, value := range want {
				if got[name] != value {
					t.Errorf("label %s=%q, want %q, in %v", name, got[name], value, got)
				}
			}
		}
	}
	f(clientToken, map[string]string{"environment": "prod", "cluster": "eu-1", "instance": "stamped", "__name__": "up"})
	f(otherToken, map[string]string{"environment": "prod", "cluster": "none", "__name__": "up"})
	if v := g.cloud.Violations(); len(v) > 0 {
		t.Errorf("upstream got what breaks its rules: %v", v)
	}
}
