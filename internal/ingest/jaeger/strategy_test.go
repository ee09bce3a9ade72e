package jaeger

import (
	"bytes"
	"testing"

	"github.com/gogo/protobuf/jsonpb"
	"github.com/jaegertracing/jaeger-idl/proto-gen/api_v2"
)

func TestStrategy(t *testing.T) {
	var overGRPC, overHTTP api_v2.SamplingStrategyResponse
	if err := overGRPC.Unmarshal(StrategyMessage()); err != nil {
		t.Fatal(err)
	}
	if err := jsonpb.Unmarshal(bytes.NewReader(StrategyJSON()), &overHTTP); err != nil {
		t.Fatal(err)
	}
	for how, s := range map[string]*api_v2.SamplingStrategyResponse{"gRPC": &overGRPC, "HTTP": &overHTTP} {
		if s.StrategyType != api_v2.SamplingStrategyType_PROBABILISTIC || s.GetProbabilisticSampling().GetSamplingRate() != 1 {
			t.Errorf("over %s: %+v, want every trace", how, s)
		}
	}
}
