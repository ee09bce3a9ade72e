// Command checkout shows how a Go service sends traces and metrics to the gateway. It is for reading; where to and with
// which credential is in the environment, as ../otel-sdk.env has it. It makes one span and one counter, and ends.
package main

import (
	"context"
	"errors"
	"log"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/exporters/otlp/otlpmetric/otlpmetrichttp"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/trace"
)

func main() {
	if err := run(context.Background()); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context) (err error) {
	stop, err := setUp(ctx)
	if err != nil {
		return err
	}
	// What is still in memory is sent at the end. The error is the gateway's answer, if it refused.
	defer func() {
		end, cancel := context.WithTimeout(context.WithoutCancel(ctx), 15*time.Second)
		defer cancel()
		err = errors.Join(err, stop(end))
	}()

	orders, err := otel.Meter("checkout").Int64Counter("orders")
	if err != nil {
		return err
	}
	ctx, span := otel.Tracer("checkout").Start(ctx, "place order")
	defer span.End()
	orders.Add(ctx, 1) // attributes with few values only: an id here would be a series for each order
	return nil
}

// setUp connects the SDK. Exporters read OTEL_EXPORTER_OTLP_* themselves and retry 429, 502, 503 and 504 for a minute.
func setUp(ctx context.Context) (stop func(context.Context) error, err error) {
	spans, err := otlptracehttp.New(ctx)
	if err != nil {
		return nil, err
	}
	points, err := otlpmetrichttp.New(ctx)
	if err != nil {
		return nil, err
	}
	traces := trace.NewTracerProvider(trace.WithBatcher(spans))
	// The default, said aloud: Grafana Cloud bills data points per minute.
	metrics := metric.NewMeterProvider(metric.WithReader(metric.NewPeriodicReader(points, metric.WithInterval(time.Minute))))
	otel.SetTracerProvider(traces)
	otel.SetMeterProvider(metrics)
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) { log.Print("telemetry: ", err) }))
	return func(ctx context.Context) error { return errors.Join(traces.Shutdown(ctx), metrics.Shutdown(ctx)) }, nil
}
