package fakecloud

import (
	"context"
	"crypto/tls"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/encoding/gzip"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/stats"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"
)

// The gRPC services, and the endpoint in whose books each is: the same as OTLP over HTTP.
var services = map[string]string{
	"opentelemetry.proto.collector.trace.v1.TraceService":     OTLPTraces,
	"opentelemetry.proto.collector.metrics.v1.MetricsService": OTLPMetrics,
	"opentelemetry.proto.collector.logs.v1.LogsService":       OTLPLogs,
}

// GRPCOptions of the gRPC server of a Cloud. The zero value speaks HTTP/2 without TLS, with grpc-go's own limits.
type GRPCOptions struct {
	// TLS is the server's certificate and what it wants of clients.
	TLS *tls.Config
	// MaxStreams is how many calls a connection may carry at once.
	MaxStreams uint32
	// MaxConnectionAge is when a connection gets a GOAWAY. Its calls may finish.
	MaxConnectionAge time.Duration
}

// grpcSide is the gRPC server of a cloud, and those that it has replaced.
type grpcSide struct {
	cloud *Cloud
	opts  GRPCOptions
	port  *port

	mu      sync.Mutex // guards what follows
	servers []*grpc.Server
	gate    *gate         // the last server's
	served  chan struct{} // closed when that one takes no more connections
}

// StartGRPC serves the OTLP endpoints over gRPC, too, on a free port of 127.0.0.1 until Close. It is a real grpc-go
// server, with the same users, faults and books.
func (c *Cloud) StartGRPC(o GRPCOptions) error {
	if encoding.GetCompressor(gzip.Name) == nil {
		panic("BUG: fakecloud: importing gzip did not register it")
	}
	p, err := listenPort()
	if err != nil {
		return fmt.Errorf("listen for the pretend cloud's gRPC: %w", err)
	}
	c.grpc = &grpcSide{cloud: c, opts: o, port: p}
	c.grpc.serve()
	return nil
}

// GRPCURL is http://127.0.0.1:port, or https with TLS, after StartGRPC.
func (c *Cloud) GRPCURL() string {
	scheme := "http://"
	if c.grpc.opts.TLS != nil {
		scheme = "https://"
	}
	return scheme + c.grpc.port.l.Addr().String()
}

// RestartGRPC replaces the server by a new one on the same port: every connection gets a GOAWAY, and its calls finish.
// It returns when they have.
func (c *Cloud) RestartGRPC() {
	old := c.grpc.serve()
	old.GracefulStop()
}

// BreakGRPC resets every gRPC connection that is open now, with the calls that are on it.
func (c *Cloud) BreakGRPC() { c.grpc.port.resetAll() }

// GRPCConnections is how many gRPC connections were accepted so far.
func (c *Cloud) GRPCConnections() int { return c.grpc.port.count() }

// serve starts a server in place of the last, which it returns: that one takes no more connections.
func (g *grpcSide) serve() (old *grpc.Server) {
	creds := insecure.NewCredentials()
	if g.opts.TLS != nil {
		creds = credentials.NewTLS(g.opts.TLS)
	}
	o := []grpc.ServerOption{
		grpc.Creds(creds), grpc.ForceServerCodecV2(rawCodec{}), grpc.StatsHandler(sizes{}), grpc.WaitForHandlers(true),
		grpc.MaxRecvMsgSize(int(g.cloud.opts.MaxBodyBytes)),
		grpc.KeepaliveParams(keepalive.ServerParameters{MaxConnectionAge: g.opts.MaxConnectionAge}),
	}
	if g.opts.MaxStreams > 0 {
		o = append(o, grpc.MaxConcurrentStreams(g.opts.MaxStreams))
	}
	s := grpc.NewServer(o...)
	for name, path := range services {
		s.RegisterService(&grpc.ServiceDesc{ServiceName: name, Methods: []grpc.MethodDesc{{
			MethodName: "Export",
			Handler: func(_ any, ctx context.Context, read func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
				return g.cloud.export(ctx, path, read)
			},
		}}}, nil)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if n := len(g.servers); n > 0 {
		old = g.servers[n-1]
		_ = g.gate.Close()
		<-g.served
	}
	gate, served := g.port.gate(), make(chan struct{})
	g.gate, g.served = gate, served
	g.servers = append(g.servers, s)
	go func() {
		defer close(served)
		_ = s.Serve(gate) // its error says that the gate was closed
	}()
	return old
}

// close ends all servers and waits until no call is being handled.
func (g *grpcSide) close() {
	g.mu.Lock()
	defer g.mu.Unlock()
	_ = g.gate.Close()
	for _, s := range g.servers {
		s.Stop()
	}
	<-g.served
	g.port.close()
}

// export is the road of a gRPC push, which is ServeHTTP's.
func (c *Cloud) export(ctx context.Context, path string, read func(any) error) (any, error) {
	if !c.begin() {
		return nil, status.Error(codes.Unavailable, "closed")
	}
	defer c.active.Done()

	arrived := time.Now()
	r := (&http.Request{Method: http.MethodPost, URL: &url.URL{Path: path}, Header: http.Header{}}).WithContext(ctx)
	md, _ := metadata.FromIncomingContext(ctx)
	for k, vs := range md {
		r.Header[http.CanonicalHeaderKey(k)] = vs
	}
	user, token, _ := r.BasicAuth()
	c.books.arrived(user, path, r.Header)
	code := 0
	defer func() { c.books.answered(user, path, code) }()
	answer := func(msg []byte, err error) (any, error) {
		if code = int(status.Code(err)); err == nil {
			code = http.StatusOK
		}
		return msg, err
	}

	in, ok := c.authenticate(user, token, path)
	if !ok {
		return answer(nil, status.Error(codes.Unauthenticated, "authentication error: invalid token"))
	}
	f := c.faults.claim(path, user)
	if f.Break == ResetBeforeBody {
		return nil, c.grpc.hangUp(ctx, f.Break)
	}
	var body []byte
	if err := read(&body); err != nil {
		return answer(nil, err)
	}
	if !c.linger(r, f) {
		if err := ctx.Err(); err != nil {
			return nil, status.FromContextError(err).Err()
		}
		return nil, status.Error(codes.Unavailable, "closed")
	}
	end := func() (any, error) {
		if f.Break != Intact {
			return nil, c.grpc.hangUp(ctx, f.Break)
		}
		return answer(nil, f.status())
	}
	ends := f.ends() || f.Code != codes.OK
	if ends && !f.Stored {
		return end()
	}
	p := &Push{Endpoint: path, Instance: in, Header: r.Header, WireBytes: sizeOf(ctx), Arrived: arrived, grpc: true}
	if err := c.judge(p, r, V2Accept, body); err != nil {
		return answer(nil, status.Error(codes.InvalidArgument, err.Error()))
	}
	p.Rejected = min(f.Reject, p.Items)
	c.books.store(p)
	if c.opts.OnPush != nil {
		c.opts.OnPush(p)
	}
	c.books.stored(p)
	if ends {
		return end()
	}
	return answer(p.otlpAnswer(f.Message), nil)
}

// hangUp breaks the connection of a call. What it returns nobody gets to see.
func (g *grpcSide) hangUp(ctx context.Context, b Break) error {
	if from, ok := peer.FromContext(ctx); ok {
		g.port.end(from.Addr.String(), b == ResetBeforeBody || b == ResetAfterBody)
	}
	return status.Error(codes.Unavailable, "connection broken on purpose")
}

// status is the fault as a gRPC status. A fault that names only an HTTP status means what OTLP makes of it.
func (f Fault) status() error {
	code, delay := f.Code, f.RetryDelay
	if code == codes.OK {
		code = codeOf(f.Status)
		if s, err := strconv.Atoi(f.Header.Get("Retry-After")); err == nil && delay == 0 {
			delay = time.Duration(s) * time.Second
		}
	}
	st := status.New(code, f.Body)
	if delay != 0 {
		info := &errdetails.RetryInfo{}
		if delay > 0 {
			info.RetryDelay = durationpb.New(delay)
		}
		with, err := st.WithDetails(info)
		if err != nil {
			panic("BUG: fakecloud: add RetryInfo: " + err.Error())
		}
		st = with
	}
	return st.Err()
}

func codeOf(httpStatus int) codes.Code {
	switch httpStatus {
	case http.StatusBadRequest, http.StatusUnprocessableEntity:
		return codes.InvalidArgument
	case http.StatusUnauthorized:
		return codes.Unauthenticated
	case http.StatusForbidden:
		return codes.PermissionDenied
	case http.StatusNotFound:
		return codes.Unimplemented
	case http.StatusConflict:
		return codes.AlreadyExists
	case http.StatusRequestEntityTooLarge, http.StatusTooManyRequests:
		return codes.ResourceExhausted
	case http.StatusBadGateway, http.StatusServiceUnavailable:
		return codes.Unavailable
	case http.StatusGatewayTimeout:
		return codes.DeadlineExceeded
	case http.StatusInternalServerError:
		return codes.Internal
	}
	return codes.Unknown
}

// rawCodec hands messages over as bytes, so that a push can be looked at as it came.
type rawCodec struct{}

func (rawCodec) Name() string { return "proto" }

func (rawCodec) Marshal(v any) (mem.BufferSlice, error) {
	return mem.BufferSlice{mem.SliceBuffer(v.([]byte))}, nil
}

func (rawCodec) Unmarshal(data mem.BufferSlice, v any) error {
	*v.(*[]byte) = data.Materialize()
	return nil
}

// sizes notes in the context of a call how long its message was on the wire; grpc-go tells nobody else.
type sizes struct{}

type sizeKey struct{}

func sizeOf(ctx context.Context) int { return *ctx.Value(sizeKey{}).(*int) }

func (sizes) TagRPC(ctx context.Context, _ *stats.RPCTagInfo) context.Context {
	return context.WithValue(ctx, sizeKey{}, new(int))
}

func (sizes) HandleRPC(ctx context.Context, s stats.RPCStats) {
	if in, ok := s.(*stats.InPayload); ok {
		*ctx.Value(sizeKey{}).(*int) = in.CompressedLength
	}
}

func (sizes) TagConn(ctx context.Context, _ *stats.ConnTagInfo) context.Context { return ctx }

func (sizes) HandleConn(context.Context, stats.ConnStats) {}
