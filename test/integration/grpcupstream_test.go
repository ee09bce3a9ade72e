package integration

import (
	"context"
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/config/configauth"
	"go.opentelemetry.io/collector/config/configgrpc"
	"go.opentelemetry.io/collector/config/configoptional"
	"go.opentelemetry.io/collector/receiver/otlpreceiver"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
)

// grpcUpstream is the Collector's OTLP/gRPC receiver, which is Tempo's too, with Tempo's authentication before it: it
// refuses what does not carry the upstream's credential, reports metadata that should not have left the gateway, and
// fails on demand.
type grpcUpstream struct {
	*otlpReceiver
	component.StartFunc
	component.ShutdownFunc
	t   testing.TB
	url string

	mu        sync.Mutex // guards what follows
	passwords []string
	fault     func(n int) error // nil: no fault; n counts calls from 1
	calls     int
	peers     map[string]bool // the connections that calls came on
}

// allowedMetadata is what may leave, and what gRPC itself adds.
var allowedMetadata = []string{
	":authority", "authorization", "content-length", "content-type", "grpc-accept-encoding", "retry-attempt", "user-agent",
}

// newGRPCUpstream serves until the test ends. Options change how.
func newGRPCUpstream(t testing.TB, options ...func(*configgrpc.ServerConfig)) *grpcUpstream {
	t.Helper()
	u := &grpcUpstream{
		t: t, otlpReceiver: &otlpReceiver{addr: freeAddr(t)}, passwords: []string{upstreamPass}, peers: map[string]bool{},
	}
	u.url = "http://" + u.addr
	id := component.MustNewID("tempo")
	cfg := otlpreceiver.NewFactory().CreateDefaultConfig().(*otlpreceiver.Config)
	cfg.Protocols.HTTP = configoptional.None[otlpreceiver.HTTPConfig]()
	server := cfg.Protocols.GRPC.GetOrInsertDefault()
	server.NetAddr.Endpoint = u.addr
	server.Auth = configoptional.Some(configauth.Config{AuthenticatorID: id})
	for _, o := range options {
		o(server)
	}
	if server.TLS.HasValue() {
		u.url = "https://" + u.addr
	}
	u.start(t, cfg, extensionHost{componenttest.NewNopHost(), map[component.ID]component.Component{id: u}})
	return u
}

// yaml is one line under upstreams: of a config file. extra holds further keys, each followed by a comma.
func (u *grpcUpstream) yaml(name, extra string) string {
	return fmt.Sprintf("      %s: {url: %q, transport: grpc, %s basic_auth: {username: %q, password_file: secrets/upstream}}\n",
		name, u.url, extra, upstreamUser)
}

// Authenticate implements extensionauth.Server.
func (u *grpcUpstream) Authenticate(ctx context.Context, metadata map[string][]string) (context.Context, error) {
	u.checkLeaks(metadata)
	u.mu.Lock()
	u.calls++
	n, fault, passwords := u.calls, u.fault, u.passwords
	if p, ok := peer.FromContext(ctx); ok {
		u.peers[p.Addr.String()] = true
	}
	u.mu.Unlock()

	known := slices.ContainsFunc(passwords, func(p string) bool {
		return slices.Equal(metadata["authorization"], []string{"Basic " + base64.StdEncoding.EncodeToString([]byte(upstreamUser+":"+p))})
	})
	if !known {
		return ctx, status.Error(codes.Unauthenticated, "authentication error: invalid token")
	}
	if fault != nil {
		return ctx, fault(n)
	}
	return ctx, nil
}

func (u *grpcUpstream) checkLeaks(metadata map[string][]string) {
	for name, values := range metadata {
		if !slices.Contains(allowedMetadata, name) {
			u.t.Errorf("upstream saw the metadata %s: %q", name, values)
		}
		if len(values) != 1 || strings.Contains(values[0], clientToken) {
			u.t.Errorf("upstream saw %s: %q, want one value and not the client's", name, values)
		}
	}
}

func (u *grpcUpstream) setFault(f func(n int) error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.fault = f
}

func (u *grpcUpstream) setPasswords(p ...string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.passwords = p
}

// seen returns how many calls there were, on how many connections.
func (u *grpcUpstream) seen() (calls, connections int) {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.calls, len(u.peers)
}

// extensionHost is a Collector with extensions.
type extensionHost struct {
	component.Host
	extensions map[component.ID]component.Component
}

func (h extensionHost) GetExtensions() map[component.ID]component.Component { return h.extensions }
