//! Logs, traces and metrics of the process.

use std::io::IsTerminal as _;

use anyhow::Context as _;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_otlp::SpanExporter;
use opentelemetry_sdk::{Resource, trace::SdkTracerProvider};
use tracing_subscriber::{EnvFilter, Layer, fmt, prelude::*};

use crate::config::{Log, LogFormat};

/// Bounds in seconds: from a queue's milliseconds to a request's time-out.
const SECONDS: [f64; 12] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 10.0];

/// Sends what is still waiting to the trace collector when dropped: keep it until the program ends.
#[must_use]
#[derive(Debug, Default)]
pub struct Traces(Option<SdkTracerProvider>);

impl Drop for Traces {
    fn drop(&mut self) {
        if let Some(provider) = self.0.take() {
            // The exporter waits for its answer, which a thread of the runtime must not.
            let _ = std::thread::spawn(move || provider.shutdown()).join();
        }
    }
}

/// Starts logging to standard error, and traces to a collector if one is named.
pub fn log(settings: &Log) -> anyhow::Result<Traces> {
    // The filter was checked when the settings were read.
    let filter = EnvFilter::try_new(&settings.filter).unwrap_or_else(|_| EnvFilter::new("info"));
    let lines = match settings.format {
        LogFormat::Text => fmt::layer().with_ansi(std::io::stderr().is_terminal()).with_writer(std::io::stderr).boxed(),
        LogFormat::Json => fmt::layer().json().flatten_event(true).with_writer(std::io::stderr).boxed(),
    };
    let provider = match settings.otel_exporter_otlp_endpoint {
        Some(_) => Some(collector()?),
        None => None,
    };
    let traces = provider
        .as_ref()
        .map(|provider| tracing_opentelemetry::layer().with_tracer(provider.tracer("inkfleet")).boxed());
    // A second start in one process (tests) keeps the first.
    let _ = tracing_subscriber::registry().with(filter).with(lines).with(traces).try_init();
    Ok(Traces(provider))
}

/// The way to the collector; the exporter reads its address, headers and time-outs from the standard variables.
fn collector() -> anyhow::Result<SdkTracerProvider> {
    let _ = rustls::crypto::ring::default_provider().install_default();
    // A client that blocks must not be made on a thread of the runtime.
    let exporter = std::thread::spawn(|| SpanExporter::builder().with_http().build()).join();
    let exporter = exporter.ok().context("OTEL_EXPORTER_OTLP_ENDPOINT: the exporter cannot be made")??;
    let resource = Resource::builder().with_service_name("inkfleet").build();
    Ok(SdkTracerProvider::builder().with_batch_exporter(exporter).with_resource(resource).build())
}

/// Starts collecting metrics; `None` if the process does so already.
pub fn metrics() -> Option<PrometheusHandle> {
    let builder = PrometheusBuilder::new().set_buckets_for_metric(Matcher::Suffix("_seconds".into()), &SECONDS).ok()?;
    let handle = builder.install_recorder().ok()?;
    let upkeep = handle.clone();
    tokio::spawn(async move {
        let mut tick = tokio::time::interval(std::time::Duration::from_secs(5));
        loop {
            tick.tick().await;
            upkeep.run_upkeep();
        }
    });
    Some(handle)
}
