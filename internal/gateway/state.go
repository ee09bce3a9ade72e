package gateway

import (
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"sync/atomic"
	"time"

	"github.com/telemetry-gateway/telemetry-gateway/internal/config"
	"github.com/telemetry-gateway/telemetry-gateway/internal/egress"
	"github.com/telemetry-gateway/telemetry-gateway/internal/fault"
	"github.com/telemetry-gateway/telemetry-gateway/internal/ingest"
	"github.com/telemetry-gateway/telemetry-gateway/internal/labels"
	"github.com/telemetry-gateway/telemetry-gateway/internal/limits"
	"github.com/telemetry-gateway/telemetry-gateway/internal/tenant"
)

// state is a configuration, compiled. It never changes; a reload makes a new one.
type state struct {
	cfg            *config.Config
	environments   map[string]*environment
	identities     map[clientKey]*tenant.Client
	bounds         ingest.Limits
	requestTimeout time.Duration
}

type clientKey struct{ environment, client string }

// environment is one tenant's parts.
type environment struct {
	name    string
	exits   map[string]*exit
	clients map[string]*client
}

// client is what a push needs to know of its sender.
type client struct {
	share    *limits.Share
	stamps   map[ingest.Signal][]labels.Label
	traces   *ingest.TraceRules // nil: spans are left alone
	unnamed  *atomic.Int64      // spans that came without a service.name
	books    map[ingest.Signal]*row
	lastPush *atomic.Int64 // Unix seconds; 0: never
	policies map[ingest.Signal]*policy
}

// anonymous is the client of pushes without credentials.
const anonymous = "anonymous"

// exit returns the upstream by which pushes of p leave.
func (e *environment) exit(p *ingest.Protocol) (*exit, error) {
	for _, name := range p.Exits {
		if x := e.exits[name]; x != nil {
			return x, nil
		}
	}
	return nil, fault.New(fault.NoExit, "environment %s has no exit for %s: environments.%s.upstreams.%s is not configured",
		e.name, p.Signal, e.name, p.Exits[len(p.Exits)-1])
}

// compile makes a state of cfg. What old has and cfg does not change is taken over: exits with their connections and what
// they know of upstream, shares of memory, books.
func (g *Gateway) compile(cfg *config.Config, old *state) (*state, error) {
	st := &state{
		cfg: cfg, environments: make(map[string]*environment), identities: make(map[clientKey]*tenant.Client),
		bounds:         ingest.Limits{BodyBytes: int(cfg.Server.MaxBodyBytes), DecodedBytes: int(cfg.Server.MaxDecodedBytes)},
		requestTimeout: time.Duration(cfg.Server.RequestTimeout),
	}
	var errs []error
	for name, ec := range cfg.Environments {
		e := &environment{name: name, exits: make(map[string]*exit), clients: make(map[string]*client)}
		st.environments[name] = e
		ec.Upstreams.Each(func(exitName string, uc *config.Upstream) {
			x, err := g.compileExit(name, exitName, cfg, uc, old)
			if err != nil {
				errs = append(errs, fmt.Errorf("environments.%s.upstreams.%s: %w", name, exitName, err))
				return
			}
			e.exits[exitName] = x
		})
		for clientName, cc := range ec.Clients {
			e.clients[clientName] = g.compileClient(clientKey{name, clientName}, ec, cc, old)
			st.identities[clientKey{name, clientName}] = &tenant.Client{Environment: name, Name: clientName, Disabled: cc.Disabled}
		}
		if ec.Anonymous {
			e.clients[anonymous] = g.compileClient(clientKey{name, anonymous}, ec, nil, old)
			st.identities[clientKey{name, anonymous}] = &tenant.Client{Environment: name, Name: anonymous}
		}
	}
	return st, errors.Join(errs...)
}

func (g *Gateway) compileExit(env, name string, cfg *config.Config, uc *config.Upstream, old *state) (*exit, error) {
	if old != nil && old.environments[env] != nil && old.cfg.Server.ExampleValues == cfg.Server.ExampleValues {
		if x := old.environments[env].exits[name]; x != nil && reflect.DeepEqual(x.cfg, uc) {
			return x, nil
		}
	}
	http, err := inline(uc.HTTPClientConfig, g.secrets.Get)
	if err != nil {
		return nil, err
	}
	up, err := egress.New(egress.Options{
		Environment: env, Name: name, URL: uc.URL, Headers: uc.Headers, Timeout: time.Duration(uc.Timeout), HTTP: http,
		GRPC:      uc.Transport == "grpc",
		Quiet:     !cfg.Server.ExampleValues,
		UserAgent: "telemetry-gateway/" + g.version,
	})
	if err != nil {
		return nil, err
	}
	return &exit{Upstream: up, cfg: uc, share: &limits.Share{Name: fmt.Sprintf("upstream %q of environment %q", name, env)}}, nil
}

func (g *Gateway) compileClient(k clientKey, ec *config.Environment, cc *config.Client, old *state) *client {
	var own map[string]string
	if cc != nil {
		own = cc.Labels
	}
	c := &client{
		stamps: map[ingest.Signal][]labels.Label{
			ingest.Metrics: stamps(ec.Metrics.Labels, own),
			ingest.Logs:    stamps(ec.Logs.Labels, own),
			ingest.Traces:  stamps(ec.Traces.Labels, own),
		},
		traces: traceRules(ec, k.client),
		books:  make(map[ingest.Signal]*row),
	}
	g.compilePolicies(k, ec, cc, c)
	for _, s := range signals {
		c.books[s] = g.books.row(rowKey{k.environment, k.client, s})
	}
	if old != nil && old.environments[k.environment] != nil {
		if o := old.environments[k.environment].clients[k.client]; o != nil {
			c.share, c.lastPush, c.unnamed = o.share, o.lastPush, o.unnamed
			return c
		}
	}
	c.share = &limits.Share{Name: fmt.Sprintf("client %q of environment %q", k.client, k.environment)}
	c.lastPush, c.unnamed = new(atomic.Int64), new(atomic.Int64)
	return c
}

// traceRules are what an environment does to the spans of one of its clients.
func traceRules(ec *config.Environment, client string) *ingest.TraceRules {
	t := &ingest.TraceRules{Ratio: 1}
	if ec.Traces.FillServiceName {
		t.FillServiceName = client
	}
	if ec.Reduction {
		t.Ratio, t.KeepErrors = ec.Traces.SampleRatio, ec.Traces.KeepErrors
		for _, s := range ec.Traces.Sampling {
			t.Services = append(t.Services, ingest.ServiceRatio(s))
		}
	}
	if t.Ratio >= 1 && len(t.Services) == 0 && t.FillServiceName == "" {
		return nil
	}
	return t
}

// stamps are the environment's labels with the client's own over them, sorted by name.
func stamps(environment, client map[string]string) []labels.Label {
	if len(environment)+len(client) == 0 {
		return nil
	}
	all := maps.Clone(environment)
	if all == nil {
		all = make(map[string]string)
	}
	maps.Copy(all, client)
	return labels.Sorted(all)
}

// vanished are clients that next no longer has and that pushed in the last hour.
func (st *state) vanished(next *state, now time.Time) []string {
	var names []string
	for env, e := range st.environments {
		for name, c := range e.clients {
			if now.Unix()-c.lastPush.Load() < int64(time.Hour/time.Second) && next.identities[clientKey{env, name}] == nil {
				names = append(names, env+"/"+name)
			}
		}
	}
	slices.Sort(names)
	return names
}

// sortedKeys are m's keys in a fixed order, so that errors and lists do not change from run to run.
func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
