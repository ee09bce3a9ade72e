package integration

import (
	"context"
	"net/http"
	"testing"

	"github.com/open-telemetry/opentelemetry-collector-contrib/receiver/jaegerreceiver"
	"github.com/open-telemetry/opentelemetry-collector-contrib/receiver/zipkinreceiver"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/consumer/consumertest"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.opentelemetry.io/collector/receiver"
	"go.opentelemetry.io/collector/receiver/receivertest"
)

// reference is the Collector's own zipkin and jaeger receivers: what they make of a push is what the gateway should.
type reference struct {
	t                        testing.TB
	sink                     consumertest.TracesSink
	zipkin, thrift, jaegerPB string // addresses
}

func newReference(t testing.TB) *reference {
	t.Helper()
	ref := &reference{t: t, zipkin: freeAddr(t), thrift: freeAddr(t), jaegerPB: freeAddr(t)}

	zf := zipkinreceiver.NewFactory()
	zc := zf.CreateDefaultConfig().(*zipkinreceiver.Config)
	zc.ServerConfig.NetAddr.Endpoint = ref.zipkin
	ref.start(zf, zc)

	jf := jaegerreceiver.NewFactory()
	jc := jf.CreateDefaultConfig().(*jaegerreceiver.Config)
	jc.Protocols.ThriftHTTP.GetOrInsertDefault().NetAddr.Endpoint = ref.thrift
	jc.Protocols.GRPC.GetOrInsertDefault().NetAddr.Endpoint = ref.jaegerPB
	ref.start(jf, jc)
	return ref
}

func (ref *reference) start(f receiver.Factory, cfg component.Config) {
	ref.t.Helper()
	ctx := context.Background()
	r, err := f.CreateTraces(ctx, receivertest.NewNopSettings(f.Type()), cfg, &ref.sink)
	if err != nil {
		ref.t.Fatal(err)
	}
	if err := r.Start(ctx, componenttest.NewNopHost()); err != nil {
		ref.t.Fatal(err)
	}
	ref.t.Cleanup(func() {
		if err := r.Shutdown(ctx); err != nil {
			ref.t.Error(err)
		}
	})
}

// of returns what the receiver at addr makes of the pushes.
func (ref *reference) of(addr string, pushes []tapped) []ptrace.Traces {
	ref.t.Helper()
	for _, p := range pushes {
		resp := p.replay(ref.t, addr)
		resp.Body.Close()
		if resp.StatusCode != http.StatusAccepted {
			ref.t.Fatalf("the Collector's receiver answered %s", resp.Status)
		}
	}
	return ref.take()
}

func (ref *reference) take() []ptrace.Traces {
	all := append([]ptrace.Traces(nil), ref.sink.AllTraces()...)
	ref.sink.Reset()
	return all
}
