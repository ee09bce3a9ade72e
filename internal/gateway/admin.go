package gateway

import (
	"encoding/json"
	"net"
	"net/http"
	"net/http/pprof"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/prometheus/exporter-toolkit/web"
	"golang.org/x/sync/errgroup"

	"github.com/telemetry-gateway/telemetry-gateway/internal/tenant"
)

// startAdmin serves the admin port. Off loopback and without admin_web_config_file only what holds no detail answers.
func (g *Gateway) startAdmin(group *errgroup.Group, l net.Listener) *http.Server {
	cfg := g.state.Load().cfg.Server
	h := g.adminHandler()
	if !isLoopback(l.Addr()) && cfg.AdminWebConfigFile == "" {
		h = onlyHarmless(h)
	}
	s := g.server(h)
	group.Go(func() error {
		if err := web.Serve(l, s, &web.FlagConfig{WebConfigFile: &cfg.AdminWebConfigFile}, g.log.With("port", "admin")); err != http.ErrServerClosed {
			return err
		}
		return nil
	})
	return s
}

func isLoopback(a net.Addr) bool {
	tcp, ok := a.(*net.TCPAddr)
	return ok && tcp.IP.IsLoopback()
}

// onlyHarmless answers metrics and health; everything else says what would open it.
func onlyHarmless(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/metrics", "/-/healthy", "/-/ready":
			h.ServeHTTP(w, r)
		default:
			plain(w, http.StatusForbidden, "server.admin_listen is not a loopback address: set server.admin_web_config_file to open this path")
		}
	})
}

func (g *Gateway) adminHandler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(g.metrics.registry, promhttp.HandlerOpts{Registry: g.metrics.registry}))
	mux.HandleFunc("GET /-/healthy", g.serveHealth)
	mux.HandleFunc("GET /-/ready", g.serveHealth)
	mux.HandleFunc("POST /-/reload", func(w http.ResponseWriter, r *http.Request) {
		if err := g.Reload("POST /-/reload from " + r.RemoteAddr); err != nil {
			plain(w, http.StatusInternalServerError, err.Error())
			return
		}
		plain(w, http.StatusOK, "reloaded")
	})
	mux.HandleFunc("GET /{$}", g.statusPage)
	status := func(name string, data func() (any, error)) {
		mux.HandleFunc("GET /api/v1/status/"+name, func(w http.ResponseWriter, _ *http.Request) { answerJSON(w, data) })
	}
	status("config", g.statusConfig)
	status("environments", func() (any, error) { return g.statusEnvironments(), nil })
	status("secrets", func() (any, error) { return g.statusSecrets(), nil })
	status("inflight", func() (any, error) {
		return map[string]int64{"bytes": g.inflight.Used(), "max_bytes": int64(g.state.Load().cfg.Server.MaxInflightBytes)}, nil
	})
	status("limits", func() (any, error) { return g.limits(time.Now()), nil })
	status("collisions", func() (any, error) { return g.reduce.Collisions(), nil })
	mux.HandleFunc("GET /api/v1/status/cardinality", g.serveCardinality)
	mux.HandleFunc("POST /api/v1/explain", g.serveExplain)
	status("buildinfo", func() (any, error) { return map[string]string{"version": g.version}, nil })
	// The paths of net/http/pprof, without its registration on the process-wide mux.
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	return mux
}

// answerJSON writes data as {status, data | error}.
func answerJSON(w http.ResponseWriter, data func() (any, error)) {
	w.Header().Set("Content-Type", "application/json")
	v, err := data()
	if err != nil {
		w.WriteHeader(http.StatusInternalServerError)
		_ = json.NewEncoder(w).Encode(map[string]any{"status": "error", "error": err.Error()})
		return
	}
	_ = json.NewEncoder(w).Encode(map[string]any{"status": "success", "data": v})
}

func (g *Gateway) statusConfig() (any, error) {
	cfg := g.state.Load().cfg
	masked, err := cfg.Masked()
	if err != nil {
		return nil, err
	}
	return map[string]string{"file": cfg.Path, "hash": cfg.Hash, "yaml": string(masked)}, nil
}

// environmentStatus is one environment as the status API shows it.
type environmentStatus struct {
	Name      string           `json:"name"`
	Clients   []clientStatus   `json:"clients"`
	Upstreams []upstreamStatus `json:"upstreams"`
}

type clientStatus struct {
	Name     string     `json:"name"`
	Disabled int        `json:"disabled,omitempty"`
	LastPush *time.Time `json:"last_push"`
	// Items by signal since the process started.
	Items map[string]itemStatus `json:"items"`
	// Unnamed is how many spans came without a service.name, or with one that says unknown_service.
	Unnamed int64 `json:"spans_without_service_name,omitempty"`
}

type itemStatus struct {
	Received  int            `json:"received"`
	Forwarded int            `json:"forwarded"`
	Dropped   map[string]int `json:"dropped,omitempty"`
	Failed    map[string]int `json:"failed,omitempty"`
}

type upstreamStatus struct {
	Name               string     `json:"name"`
	URL                string     `json:"url"`
	RemoteWriteVersion int        `json:"remote_write_version,omitempty"`
	LastSuccess        *time.Time `json:"last_success"`
	LastFailure        *failure   `json:"last_failure"`
}

// Failing: the last call that upstream answered, or did not, was a failure.
func (u upstreamStatus) Failing() bool {
	return u.LastFailure != nil && (u.LastSuccess == nil || u.LastFailure.At.After(u.LastSuccess.Add(time.Second)))
}

func (g *Gateway) statusEnvironments() []environmentStatus {
	var list []environmentStatus
	now := time.Now()
	st := g.state.Load()
	for _, e := range st.environments {
		s := environmentStatus{Name: e.name, Clients: []clientStatus{}, Upstreams: []upstreamStatus{}}
		for name, c := range e.clients {
			s.Clients = append(s.Clients, c.status(st.identities[clientKey{e.name, name}]))
		}
		for name, x := range e.exits {
			u := upstreamStatus{Name: name, URL: x.URL(), LastSuccess: moment(x.lastSuccess.Load()), LastFailure: x.lastFailure.Load()}
			if name == "prometheus" {
				u.RemoteWriteVersion = x.remoteWriteVersion(now)
			}
			s.Upstreams = append(s.Upstreams, u)
		}
		slices.SortFunc(s.Clients, func(a, b clientStatus) int { return strings.Compare(a.Name, b.Name) })
		slices.SortFunc(s.Upstreams, func(a, b upstreamStatus) int { return strings.Compare(a.Name, b.Name) })
		list = append(list, s)
	}
	slices.SortFunc(list, func(a, b environmentStatus) int { return strings.Compare(a.Name, b.Name) })
	return list
}

func (c *client) status(who *tenant.Client) clientStatus {
	s := clientStatus{Name: who.Name, Disabled: who.Disabled, LastPush: moment(c.lastPush.Load()),
		Items: make(map[string]itemStatus), Unnamed: c.unnamed.Load()}
	for signal, r := range c.books {
		t := r.sum()
		if t.received > 0 {
			s.Items[string(signal)] = itemStatus{t.received, t.forwarded, t.dropped, t.failed}
		}
	}
	return s
}

// moment is a time in Unix seconds, nil for 0.
func moment(seconds int64) *time.Time {
	if seconds == 0 {
		return nil
	}
	t := time.Unix(seconds, 0).UTC()
	return &t
}
