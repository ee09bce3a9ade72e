// Command jaeger reports one span by Jaeger's own Go client, which reads where to in the variables of
// deploy/clients/jaeger.env. test/deploy/clients runs it.
package main

import (
	"log"

	"github.com/opentracing/opentracing-go"
	"github.com/uber/jaeger-client-go/config"
)

func main() {
	cfg, err := config.FromEnv()
	if err != nil {
		log.Fatal(err)
	}
	tracer, closer, err := cfg.NewTracer()
	if err != nil {
		log.Fatal(err)
	}
	opentracing.SetGlobalTracer(tracer)
	tracer.StartSpan("place order").Finish()
	if err := closer.Close(); err != nil { // sends what is still in memory
		log.Fatal(err)
	}
}
