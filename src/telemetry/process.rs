//! The process's own figures, from `/proc/self`.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// The `process_*` metrics that every Prometheus client exports, from `/proc/self`.
pub(super) struct Process {
    cpu: Counter<f64, AtomicU64>,
    resident: Gauge<i64, AtomicI64>,
    open_fds: Gauge<i64, AtomicI64>,
    threads: Gauge<i64, AtomicI64>,
}

impl Process {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let process = Process {
            cpu: Counter::default(),
            resident: Gauge::default(),
            open_fds: Gauge::default(),
            threads: Gauge::default(),
        };
        let start: Gauge<f64, AtomicU64> = Gauge::default();
        start.set(start_time_seconds().unwrap_or_default());
        registry.register("process_cpu_seconds", "User and system CPU time spent, in seconds", process.cpu.clone());
        registry.register("process_resident_memory_bytes", "Resident memory, in bytes", process.resident.clone());
        registry.register("process_open_fds", "Open file descriptors", process.open_fds.clone());
        registry.register("process_threads", "Threads of the process", process.threads.clone());
        registry.register("process_start_time_seconds", "Start of the process, seconds since the epoch", start);
        process
    }

    pub(super) fn refresh(&self) {
        if let Some(stat) = self_stat() {
            let seconds = stat.cpu_ticks as f64 / TICKS_PER_SECOND;
            self.cpu.inner().store(seconds.to_bits(), Ordering::Relaxed);
            self.threads.set(stat.threads);
        }
        if let Some(pages) = std::fs::read_to_string("/proc/self/statm").ok().and_then(|text| nth(&text, 1)) {
            self.resident.set(pages * rustix::param::page_size() as i64);
        }
        if let Ok(folder) = std::fs::read_dir("/proc/self/fd") {
            // The folder's own descriptor is not one of ours.
            self.open_fds.set(folder.count() as i64 - 1);
        }
    }
}

/// `USER_HZ`: fixed at 100 in the kernel's ABI towards user space.
const TICKS_PER_SECOND: f64 = 100.0;

struct Stat {
    cpu_ticks: i64,
    threads: i64,
    start_ticks: i64,
}

fn self_stat() -> Option<Stat> {
    let text = std::fs::read_to_string("/proc/self/stat").ok()?;
    // The name in brackets may hold blanks: count from behind it. Field 3 is then number 0.
    let (_, fields) = text.rsplit_once(") ")?;
    let cpu_ticks = nth(fields, 11)? + nth(fields, 12)?;
    Some(Stat { cpu_ticks, threads: nth(fields, 17)?, start_ticks: nth(fields, 19)? })
}

fn start_time_seconds() -> Option<f64> {
    let stat = std::fs::read_to_string("/proc/stat").ok()?;
    let boot: f64 = stat.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()?;
    Some(boot + self_stat()?.start_ticks as f64 / TICKS_PER_SECOND)
}

fn nth(fields: &str, index: usize) -> Option<i64> {
    fields.split_ascii_whitespace().nth(index)?.parse().ok()
}
