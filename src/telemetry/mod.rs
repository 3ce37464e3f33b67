//! What davylamp says of itself: logs, and every self-metric, declared in one list.
//!
//! Rooms are handed an `Arc<Telemetry>` and count into its fields; there is no global registry. `prometheus-client`
//! writes OpenMetrics; the exposition reads that text back with the reader of the `prometheus` kind, so that
//! self-metrics reach `/metrics` (in both formats) and the rules on the same road as every other sample.

mod curtail;
mod discovery;
mod history;
mod listen;
mod log;
mod process;
mod remote;

use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError};

use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{EncodeMetric, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

pub use curtail::CurtailmentMetrics;
pub use discovery::DiscoveryMetrics;
pub use history::HistoryMetrics;
pub use listen::ListenMetrics;
pub use log::{LogFormat, log_filter, start_logging};
use process::Process;
pub use remote::{RemoteWriteIn, RemoteWriteOut};

/// Labels of a self-metric: names are ours, values are short words of ours or ids of the configuration.
pub type SelfLabels = Vec<(&'static str, String)>;
/// A counter by labels.
pub type Counters = Family<SelfLabels, Counter>;
/// A gauge by labels.
pub type Gauges = Family<SelfLabels, Gauge<f64, AtomicU64>>;
/// A histogram by labels.
pub type Histograms = Family<SelfLabels, Histogram, fn() -> Histogram>;

/// One counter of a family.
pub type Count = Counter;

/// A histogram in seconds that is counted elsewhere, as plain numbers.
#[derive(Clone, Debug, Default)]
pub struct Figures(Arc<Mutex<FiguresNow>>);

#[derive(Debug, Default)]
struct FiguresNow {
    sum: f64,
    buckets: Vec<(f64, u64)>,
}

impl Figures {
    /// Sets the sum in seconds and the counts by upper bound, not cumulative; the last bound is infinite.
    pub fn set(&self, sum: f64, buckets: impl IntoIterator<Item = (f64, u64)>) {
        let mut now = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        now.sum = sum;
        now.buckets = buckets.into_iter().collect();
    }
}

impl EncodeMetric for Figures {
    fn encode(&self, mut encoder: MetricEncoder) -> Result<(), std::fmt::Error> {
        let now = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = now.buckets.iter().map(|(_, count)| count).sum();
        encoder.encode_histogram::<NoLabelSet>(now.sum, count, &now.buckets, None)
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Histogram
    }
}

/// Every self-metric. Cloning a field is cheap and counts into the same place.
pub struct Telemetry {
    registry: Registry,
    process: Process,
    /// How long polls take, by kind; never by target.
    pub poll_duration: Histograms,
    /// Impossible values that were not exported, by kind and family.
    pub values_rejected: Counters,
    /// Limits that were hit, by limit.
    pub limit_hits: Counters,
    /// The samples on disk.
    pub history: HistoryMetrics,
    /// Device logs.
    pub listening: ListenMetrics,
    /// Samples that a limit dropped, by limit and target.
    pub samples_over_limit: Counters,
    /// Series that are held, by kind.
    pub series: Gauges,
    /// Entries waiting in an internal queue.
    pub queue_depth: Gauges,
    /// Panics that were caught, by task.
    pub panics: Counters,
    /// Bytes of the state database on disk.
    pub store_bytes: Gauges,
    /// How long a durable commit takes.
    pub store_commit_duration: Figures,
    /// Failed operations of the state database.
    pub store_errors: Counters,
    /// 1 when the state database works.
    pub store_healthy: Gauges,
    /// Rule evaluations, by group.
    pub rule_evaluations: Counters,
    /// Rule evaluations that failed, by group.
    pub rule_failures: Counters,
    /// Group evaluations that came too late and were left out, by group.
    pub rule_missed: Counters,
    /// How long the last evaluation of a group took.
    pub rule_group_duration: Gauges,
    /// Alerts by state.
    pub alerts: Gauges,
    /// Playbook runs by result.
    pub runs: Counters,
    /// Playbook runs under way.
    pub runs_running: Gauges,
    /// Runs that wait for a person's word.
    pub runs_waiting_approval: Gauges,
    /// Runs of which it is being seen whether they helped.
    pub runs_verifying: Gauges,
    /// Troubles for which every step was taken in vain.
    pub episodes_exhausted: Counters,
    /// Records of runs that could not be read or written.
    pub run_record_failures: Counters,
    /// Runs that were asked for and not made, by reason.
    pub run_suppressions: Counters,
    /// Alerts that came by webhook, by sender and result.
    pub webhook_alerts: Counters,
    /// What is curtailed.
    pub curtailments: CurtailmentMetrics,
    /// Dashboard files written.
    pub dashboards_written: Counters,
    /// 1 when the last reload succeeded.
    pub reload_successful: Gauges,
    /// When the last successful reload was.
    pub reload_timestamp: Gauges,
    /// Alerts and messages that arrived, by integration and receiver; for an Alertmanager, its address.
    pub notifications_sent: Counters,
    /// Those that did not arrive.
    pub notifications_errors: Counters,
    /// Those that were given up, or too many to wait.
    pub notifications_dropped: Counters,
    /// Alerts that wait for an Alertmanager.
    pub notifications_queue: Gauges,
    /// How long one request takes.
    pub notifications_latency: Histograms,
    /// Requests served, by route and status.
    pub http_requests: Counters,
    /// Calendar jobs that have not run when they should have, by job.
    pub job_overdue: Gauges,
    /// What searching for miners comes to.
    pub discovery: DiscoveryMetrics,
    /// What is sent on by remote write.
    pub remote_write: RemoteWriteOut,
    /// What is received by remote write.
    pub received: RemoteWriteIn,
}

impl Telemetry {
    /// Declares every self-metric.
    pub fn new() -> Arc<Self> {
        let mut registry = Registry::default();
        let process = Process::register(&mut registry);
        let build: Gauges = Family::default();
        registry.register("davylamp_build_info", "1, with the version in its label", build.clone());
        build.get_or_create(&vec![("version", env!("CARGO_PKG_VERSION").to_string())]).set(1.0);
        let mut list = List(registry);
        Arc::new(Telemetry {
            process,
            poll_duration: list.histogram("davylamp_poll_duration", "How long polls take, by kind"),
            values_rejected: list.counter("davylamp_values_rejected", "Impossible values that were not exported"),
            limit_hits: list.counter("davylamp_limit_hits", "How often a limit was hit"),
            history: HistoryMetrics::new(&mut list),
            listening: ListenMetrics::new(&mut list),
            samples_over_limit: list
                .counter("davylamp_samples_over_limit", "Samples that a limit dropped, by limit and target"),
            series: list.gauge("davylamp_series", "Series that are held, by kind"),
            queue_depth: list.gauge("davylamp_queue_depth", "Entries waiting in an internal queue"),
            panics: list.counter("davylamp_panics", "Panics that were caught, by task"),
            store_bytes: list.gauge("davylamp_store_bytes", "Bytes of the state database on disk"),
            store_commit_duration: list.figures("davylamp_store_commit_duration", "How long a durable commit takes"),
            store_errors: list.counter("davylamp_store_errors", "Failed operations of the state database"),
            store_healthy: list.gauge("davylamp_store_healthy", "1 when the state database works"),
            rule_evaluations: list.counter("davylamp_rule_evaluations", "Rule evaluations, by group"),
            rule_failures: list.counter("davylamp_rule_evaluation_failures", "Rule evaluations that failed, by group"),
            rule_missed: list.counter("davylamp_rule_evaluations_missed", "Group evaluations left out for being late"),
            rule_group_duration: list
                .gauge("davylamp_rule_group_last_duration_seconds", "How long the last evaluation of a group took"),
            alerts: list.gauge("davylamp_alerts", "Alerts by state"),
            runs: list.counter("davylamp_runs", "Playbook runs by result"),
            runs_running: list.gauge("davylamp_runs_running", "Playbook runs under way"),
            runs_waiting_approval: list.gauge("davylamp_runs_waiting_approval", "Runs that wait for a person's word"),
            runs_verifying: list.gauge("davylamp_runs_verifying", "Runs of which it is being seen whether they helped"),
            episodes_exhausted: list
                .counter("davylamp_episodes_exhausted", "Troubles for which every step was taken in vain"),
            run_record_failures: list
                .counter("davylamp_run_record_failures", "Records of runs that could not be read or written"),
            run_suppressions: list.counter("davylamp_run_suppressions", "Runs asked for and not made, by reason"),
            curtailments: CurtailmentMetrics::new(&mut list),
            webhook_alerts: list
                .counter("davylamp_webhook_alerts", "Alerts that came by webhook, by sender and result"),
            dashboards_written: list.counter("davylamp_dashboards_written", "Dashboard files written"),
            reload_successful: list.gauge("davylamp_config_last_reload_successful", "1 when the last reload succeeded"),
            reload_timestamp: list.gauge(
                "davylamp_config_last_reload_success_timestamp_seconds",
                "When the configuration was last loaded, seconds since the epoch",
            ),
            notifications_sent: list.counter("davylamp_notifications_sent", "Alerts and messages that arrived"),
            notifications_errors: list
                .counter("davylamp_notifications_errors", "Alerts and messages that did not arrive"),
            notifications_dropped: list.counter("davylamp_notifications_dropped", "Alerts and messages given up"),
            notifications_queue: list
                .gauge("davylamp_notifications_queue_length", "Alerts that wait for an Alertmanager"),
            notifications_latency: list.histogram("davylamp_notifications_latency", "How long one request takes"),
            http_requests: list.counter("davylamp_http_requests", "Requests served, by route and status"),
            job_overdue: list.gauge("davylamp_job_overdue", "1 when a calendar job has not run when it should have"),
            discovery: DiscoveryMetrics::register(&mut list),
            remote_write: RemoteWriteOut::register(&mut list),
            received: RemoteWriteIn::register(&mut list),
            registry: list.0,
        })
    }

    /// All self-metrics as OpenMetrics text, with the process's own figures read now.
    pub fn encode(&self) -> String {
        self.process.refresh();
        let mut text = String::new();
        // Writing to a String cannot fail; an empty page would show up as a missing davylamp_build_info.
        let _ = encode(&mut text, &self.registry);
        text
    }

    /// Counts a caught panic.
    pub fn count_panic(&self, task: &str) {
        self.panics.get_or_create(&vec![("task", task.to_string())]).inc();
    }

    /// Counts a limit that was hit.
    pub fn count_limit(&self, limit: &str) {
        self.limit_hits.get_or_create(&vec![("limit", limit.to_string())]).inc();
    }
}

/// Registers a row of the list and hands back its handle.
struct List(Registry);

impl List {
    fn counter(&mut self, name: &str, help: &str) -> Counters {
        let family = Counters::default();
        self.0.register(name, help, family.clone());
        family
    }

    fn figures(&mut self, name: &str, help: &str) -> Figures {
        let figures = Figures::default();
        self.0.register_with_unit(name, help, Unit::Seconds, figures.clone());
        figures
    }

    fn gauge(&mut self, name: &str, help: &str) -> Gauges {
        let family = Gauges::default();
        self.0.register(name, help, family.clone());
        family
    }

    fn histogram(&mut self, name: &str, help: &str) -> Histograms {
        // 1 ms to 16 s in powers of two: a poll's timeout is seldom longer.
        let family = Histograms::new_with_constructor(|| Histogram::new(exponential_buckets(0.001, 2.0, 15)));
        self.0.register_with_unit(name, help, Unit::Seconds, family.clone());
        family
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_who_it_is_and_what_it_costs() {
        let telemetry = Telemetry::new();
        telemetry.count_panic("poll");
        let text = telemetry.encode();
        assert!(text.contains("davylamp_build_info{version="), "{text}");
        assert!(text.contains("davylamp_panics_total{task=\"poll\"} 1"), "{text}");
        let resident = text.lines().find_map(|line| line.strip_prefix("process_resident_memory_bytes ")).unwrap();
        assert!(resident.parse::<i64>().unwrap() > 1_000_000);
        assert!(text.ends_with("# EOF\n"));
    }
}
