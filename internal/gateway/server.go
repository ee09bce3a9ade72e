package gateway

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/exporter-toolkit/web"
	"golang.org/x/net/netutil"
	"golang.org/x/sync/errgroup"

	"github.com/telemetry-gateway/telemetry-gateway/internal/config"
	"github.com/telemetry-gateway/telemetry-gateway/internal/tenant"
)

const (
	maxHeaderBytes = 16 << 10
	headerTimeout  = 5 * time.Second
	idleTimeout    = 2 * time.Minute
	maxStreams     = 250 // of one HTTP/2 connection
	// What one HTTP/2 stream and connection may have sent before the handler reads. It is memory that nobody has
	// admitted yet: enough for full speed inside a data centre, and no more.
	streamWindow     = 64 << 10
	connectionWindow = 256 << 10
)

// pushListener is one push port.
type pushListener struct {
	net.Listener
	// in finds what the configuration says of it. Its address cannot change while running, but whom it is pinned to can.
	in func(*config.Server) config.Listener
}

// pinned is the client to whom pushes without credentials belong on this port; nil if it is pinned to none.
func (l *pushListener) pinned(st *state) *tenant.Client {
	c := l.in(&st.cfg.Server)
	if c.Environment == "" {
		return nil
	}
	return st.identities[clientKey{c.Environment, c.Client}]
}

// listen opens all ports, or none.
func (g *Gateway) listen(cfg *config.Server) (push []*pushListener, admin net.Listener, err error) {
	var open []net.Listener
	defer func() {
		if err != nil {
			for _, l := range open {
				_ = l.Close()
			}
		}
	}()
	bind := func(key, address string) (net.Listener, error) {
		l, err := net.Listen("tcp", address)
		if err != nil {
			return nil, fmt.Errorf("server.%s: %w", key, err)
		}
		open = append(open, l)
		return l, nil
	}
	for _, ports := range []struct {
		key  string
		list func(*config.Server) []config.Listener
	}{
		{"http_listen", func(s *config.Server) []config.Listener { return s.HTTPListen }},
		{"grpc_listen", func(s *config.Server) []config.Listener { return s.GRPCListen }},
	} {
		for i, c := range ports.list(cfg) {
			l, err := bind(ports.key, c.Address)
			if err != nil {
				return nil, nil, err
			}
			push = append(push, &pushListener{
				netutil.LimitListener(l, cfg.MaxConnections), func(s *config.Server) config.Listener { return ports.list(s)[i] },
			})
		}
	}
	admin, err = bind("admin_listen", cfg.AdminListen)
	return push, admin, err
}

// pushServer serves all doors on one port: HTTP/1.1, h2c with prior knowledge, and with TLS HTTP/2 by ALPN.
func (g *Gateway) pushServer(l *pushListener) *http.Server {
	s := g.server(&door{g, l})
	s.Protocols = new(http.Protocols)
	s.Protocols.SetHTTP1(true)
	s.Protocols.SetHTTP2(true)
	s.Protocols.SetUnencryptedHTTP2(true)
	s.HTTP2 = &http.HTTP2Config{
		MaxConcurrentStreams: maxStreams, MaxReceiveBufferPerStream: streamWindow, MaxReceiveBufferPerConnection: connectionWindow,
		SendPingTimeout: time.Minute, PingTimeout: 20 * time.Second, // a peer that vanished without a word
	}
	s.ConnContext = func(ctx context.Context, _ net.Conn) context.Context {
		return withConnection(ctx, time.Duration(g.state.Load().cfg.Server.MaxConnectionAge))
	}
	return s
}

// server is what push ports and the admin port have in common.
func (g *Gateway) server(h http.Handler) *http.Server {
	return &http.Server{
		Handler: h, ReadHeaderTimeout: headerTimeout, IdleTimeout: idleTimeout, MaxHeaderBytes: maxHeaderBytes,
		ErrorLog: slog.NewLogLogger(g.log.Handler(), slog.LevelDebug),
	}
}

// Run serves until ctx ends and everything in flight is answered, or until a port fails. ready is called once all ports
// are open, with their addresses.
func (g *Gateway) Run(ctx context.Context, ready func(Addresses)) error {
	cfg := g.state.Load().cfg
	if err := web.Validate(cfg.Server.AdminWebConfigFile); err != nil {
		return fmt.Errorf("server.admin_web_config_file: %w", err)
	}
	push, admin, err := g.listen(&cfg.Server)
	if err != nil {
		return err
	}
	group, groupCtx := errgroup.WithContext(ctx)
	var servers []*http.Server
	start := func(s *http.Server, l net.Listener) {
		servers = append(servers, s)
		group.Go(func() error {
			if err := s.Serve(l); !errors.Is(err, http.ErrServerClosed) {
				return err
			}
			return nil
		})
	}
	for _, l := range push {
		var ln net.Listener = l.Listener
		if g.tls.Load() != nil {
			ln = tls.NewListener(ln, &tls.Config{MinVersion: tls.VersionTLS12, GetConfigForClient: g.tlsConfig})
		}
		start(g.pushServer(l), ln)
	}
	adminServer := g.startAdmin(group, admin)
	// Secrets and configuration are watched until the last push is answered.
	watch, stopWatching := context.WithCancel(context.WithoutCancel(ctx))
	group.Go(func() error { return g.secrets.Run(watch) })
	group.Go(func() error { return g.watchConfig(watch) })
	group.Go(func() error { g.reduce.Run(watch); return nil })

	addresses := g.addresses(push, admin)
	g.log.Info("gateway started", "version", g.version, "config", cfg.Path, "hash", cfg.Hash,
		"http", addresses.HTTP, "grpc", addresses.GRPC, "admin", addresses.Admin)
	ready(addresses)

	<-groupCtx.Done()
	g.drain(ctx, servers)
	stopWatching()
	_ = adminServer.Close()
	err = group.Wait()
	for _, e := range g.state.Load().environments {
		for _, x := range e.exits {
			x.Close()
		}
	}
	return err
}

// drain leaves without cutting anything off: first not ready but still serving, so that load balancers turn away, then no
// new connections, then whatever is in flight gets drain_timeout to finish.
func (g *Gateway) drain(ctx context.Context, servers []*http.Server) {
	cfg := g.state.Load().cfg.Server
	g.phase.Store(unready)
	if ctx.Err() != nil {
		g.log.Info("draining", "drain_delay", time.Duration(cfg.DrainDelay).String(), "drain_timeout", time.Duration(cfg.DrainTimeout).String())
		wait(time.Duration(cfg.DrainDelay))
	}
	g.phase.Store(draining)
	end, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Duration(cfg.DrainTimeout))
	defer cancel()
	var group errgroup.Group
	for _, s := range servers {
		group.Go(func() error {
			if err := s.Shutdown(end); err != nil {
				return s.Close()
			}
			return nil
		})
	}
	_ = group.Wait()
	if end.Err() != nil {
		g.log.Warn("drain_timeout is over: what was still in flight was cut off", "drain_timeout", time.Duration(cfg.DrainTimeout).String())
	} else {
		g.log.Info("drained")
	}
}

// wait waits for d; a timer and not time.Sleep, so that tests in a bubble of synctest can skip it.
func wait(d time.Duration) { <-time.After(d) }

// Addresses are the ports in use, in the order of the configuration.
type Addresses struct {
	HTTP, GRPC []string
	Admin      string
}

func (g *Gateway) addresses(push []*pushListener, admin net.Listener) Addresses {
	a := Addresses{Admin: admin.Addr().String()}
	for i, l := range push {
		if i < len(g.state.Load().cfg.Server.HTTPListen) {
			a.HTTP = append(a.HTTP, l.Addr().String())
		} else {
			a.GRPC = append(a.GRPC, l.Addr().String())
		}
	}
	return a
}
