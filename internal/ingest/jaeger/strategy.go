package jaeger

import (
	"math"

	"github.com/telemetry-gateway/telemetry-gateway/internal/wire"
)

// StrategyMethod and StrategyRoute are where Jaeger's agents and SDKs ask which traces to send.
const (
	StrategyMethod = "/jaeger.api_v2.SamplingManager/GetSamplingStrategy"
	StrategyRoute  = "/sampling"
)

// The one answer, for every service: all of them. What is too much is sampled here, by trace id and alike for every
// protocol and replica; a share that SDKs sampled by a rule of their own would be sampled twice.
// Source: https://github.com/jaegertracing/jaeger-idl/blob/main/proto/api_v2/sampling.proto

// StrategyJSON is the answer over HTTP.
func StrategyJSON() []byte {
	return []byte(`{"strategyType":"PROBABILISTIC","probabilisticSampling":{"samplingRate":1}}`)
}

// StrategyMessage is the answer over gRPC, a SamplingStrategyResponse.
func StrategyMessage() []byte {
	rate := wire.AppendFixed64(nil, 1, math.Float64bits(1)) // ProbabilisticSamplingStrategy.samplingRate
	return wire.AppendBytes(nil, 2, rate)                   // its type, PROBABILISTIC, is 0 and left out
}
