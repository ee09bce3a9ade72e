// Package gateway is the road: the one function that every push of every protocol walks, and what it needs around it:
// the list of doors, one environment's parts, listeners, drain, reload, the admin port and the books. It decides nothing
// that a room decides (who speaks, how much, what it says, where it goes) and knows no wire format. cmd/gateway calls it.
package gateway

import (
	"crypto/tls"
	"errors"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/telemetry-gateway/telemetry-gateway/internal/config"
	"github.com/telemetry-gateway/telemetry-gateway/internal/fault"
	"github.com/telemetry-gateway/telemetry-gateway/internal/ingest"
	"github.com/telemetry-gateway/telemetry-gateway/internal/limits"
	"github.com/telemetry-gateway/telemetry-gateway/internal/reduce"
	"github.com/telemetry-gateway/telemetry-gateway/internal/secret"
	"github.com/telemetry-gateway/telemetry-gateway/internal/tenant"
)

// Gateway forwards pushes. New makes one, Run serves until its context ends.
type Gateway struct {
	log      *slog.Logger
	version  string
	routes   *routes
	pool     ingest.Pool
	inflight *limits.InFlight
	meters   *limits.Meters
	reduce   *reduce.Engine
	books    *ledger
	metrics  *metrics
	throttle throttle
	secrets  *secret.Store

	// state is the configuration in force, compiled. It is swapped whole; a push keeps the one it began with.
	state atomic.Pointer[state]
	// directory says who a credential belongs to. It changes more often than state: also when a secret file does.
	directory atomic.Pointer[tenant.Directory]

	// tls is what handshakes on the push ports use; nil: plain text.
	tls atomic.Pointer[tls.Config]

	phase atomic.Int32 // serving, unready or draining

	mu        sync.Mutex // one reload at a time; guards what follows
	lastFault string     // why the last reload failed, so that a file that stays bad is not told of again and again
}

// The phases of a gateway's life, in their order.
const (
	serving  = iota
	unready  // SIGTERM came: load balancers are told to go elsewhere, pushes are still taken
	draining // what is in flight is finished, new pushes are refused
)

// Options are what a Gateway needs besides its configuration.
type Options struct {
	Log *slog.Logger
	// Version is told to upstreams and in metrics.
	Version string
}

// New compiles cfg. It opens no port and no connection.
func New(cfg *config.Config, o Options) (*Gateway, error) {
	g := &Gateway{
		log: o.Log, version: o.Version, routes: newRoutes(protocols),
		inflight: limits.NewInFlight(int64(cfg.Server.MaxInflightBytes)), meters: limits.NewMeters(), books: newLedger(), secrets: secret.New(o.Log),
		reduce: reduce.New(reduce.Options{
			Log: o.Log, MaxSeries: cfg.Server.MaxSeries, Warmup: time.Duration(cfg.Server.GuardWarmup), ExampleValues: cfg.Server.ExampleValues,
		}),
	}
	g.metrics = newMetrics(o.Version, g.books)
	g.metrics.gauge("gateway_inflight_bytes", "Memory that pushes in flight hold.", func() float64 { return float64(g.inflight.Used()) })
	g.metrics.gauge("gateway_secret_stale", "Secret files that cannot be used as they are; their last good content is in force.",
		func() float64 { return float64(len(g.secrets.Stale())) })
	g.metrics.registry.MustRegister(versions{g}, reductions{g})
	for _, p := range protocols {
		g.metrics.unbalanced.WithLabelValues(p.Name)
		for _, reason := range tenant.Reasons() {
			g.metrics.authFailures.WithLabelValues(p.Name, string(reason))
		}
	}
	g.secrets.OnChange(g.secretsChanged)
	return g, g.swap(cfg)
}

// serve is the road. It returns what became of the push; only handle answers, counts and logs.
func (g *Gateway) serve(p *push) (ingest.Answer, error) {
	var none ingest.Answer
	// Who speaks, and may they?
	if err := g.identify(p); err != nil {
		return none, err
	}
	// Where does it leave, and can its body be read at all?
	exit, err := p.environment.exit(p.protocol)
	if err != nil {
		return none, err
	}
	if err := p.open(); err != nil {
		return none, err
	}
	if g.phase.Load() == draining {
		return none, fault.New(fault.Overloaded, "this gateway is shutting down").WithAfter(fault.Soon())
	}
	// May they speak now?
	if err := p.askRequest(); err != nil {
		return none, err
	}
	// Is there room? From here on every buffer is charged before it grows.
	p.account = g.inflight.Open(p.client.share, exit.share)
	defer p.close()
	// Bytes in, bounded as sent and decoded.
	if p.body, err = g.pool.Receive(p.reader, p.declared, p.bounds(), p.charge); err != nil {
		return none, err
	}
	p.received()
	// What does it say?
	batch, err := p.read()
	if err != nil {
		return none, err
	}
	// Is it too much?
	if err := p.askItems(batch); err != nil {
		return none, err
	}
	// Less of it: rules and guard.
	if err := p.reduce(batch); err != nil {
		return none, err
	}
	// Away, in the form that upstream wants; once more in another, if upstream turns out not to speak it.
	answer, err := g.forward(p, exit, batch, exit.form(p.protocol, p.start))
	if errors.Is(err, errOtherForm) {
		return g.forwardAsV1(p, exit)
	}
	return answer, err
}

// identify finds out whose push it is.
func (g *Gateway) identify(p *push) error {
	who, reason := g.directory.Load().Identify(p.start, p.credentials)
	if reason != "" {
		g.metrics.authFailures.WithLabelValues(p.protocol.Name, string(reason)).Inc()
		return reason.Fault()
	}
	if !p.assign(g.state.Load(), who) {
		// A push that began with the directory of a client that a reload has just removed.
		g.metrics.authFailures.WithLabelValues(p.protocol.Name, string(tenant.UnknownCredential)).Inc()
		return tenant.UnknownCredential.Fault()
	}
	if status := who.Disabled; status != 0 {
		e := fault.New(fault.Disabled, "environment %s: client %s is switched off by its key disabled: %d", who.Environment, who.Name, status)
		e.Status = status
		if status == http.StatusServiceUnavailable {
			return e.WithAfter(fault.About(30 * time.Second))
		}
		return e
	}
	p.client.lastPush.Store(p.start.Unix())
	return nil
}
