//! Shows how a Rust service sends traces and metrics to the gateway. Where to and with which credential is in the
//! environment, as ../../otel-sdk.env has it.

use std::error::Error;
use std::time::Duration;

use opentelemetry::global;
use opentelemetry::trace::{Span, Tracer};
use opentelemetry_otlp::{MetricExporter, SpanExporter};
use opentelemetry_sdk::metrics::{PeriodicReader, SdkMeterProvider};
use opentelemetry_sdk::trace::SdkTracerProvider;

fn main() -> Result<(), Box<dyn Error>> {
    // The builders read OTEL_EXPORTER_OTLP_ENDPOINT, _HEADERS and _COMPRESSION.
    let spans = SpanExporter::builder().with_http().build()?;
    let points = MetricExporter::builder().with_http().build()?;

    let traces = SdkTracerProvider::builder()
        .with_batch_exporter(spans)
        .build();
    let reader = PeriodicReader::builder(points)
        .with_interval(Duration::from_secs(60))
        .build();
    let metrics = SdkMeterProvider::builder().with_reader(reader).build();
    global::set_tracer_provider(traces.clone());
    global::set_meter_provider(metrics.clone());

    let orders = global::meter("checkout").u64_counter("orders").build();
    let mut span = global::tracer("checkout").start("place order");
    orders.add(1, &[]);
    span.end();

    // What is still in memory is sent here; the error is the gateway's answer, if it refused.
    traces.shutdown()?;
    metrics.shutdown()?;
    Ok(())
}
