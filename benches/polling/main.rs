//! What a poll costs: CPU per poll and memory per target at 1,000 simulated devices and 5 s, beside bare loops without
//! storage and beside Prometheus; then where the time of one poll goes, and what a search for miners costs.
//!
//! Devices and pollers each run in a process of their own. `DAVYLAMP_BENCH_TARGETS` (1000) and `DAVYLAMP_BENCH_SECONDS`
//! (30, after 10 to warm up; 0 leaves the pollers out) can be set. `-- memory` (or `stages`,
//! `search`, `pollers`) is that part alone.
#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::print_stderr, reason = "a bench prints, and may panic")]

#[path = "../common/mod.rs"]
mod common;
mod memory;
mod pollers;
mod prometheus;
mod search;
mod servers;
mod stages;

use std::time::Duration;

use common::{Child, Process};

const INTERVAL: Duration = Duration::from_secs(5);
/// Two rounds: connections are open and all series known.
const WARM_UP: Duration = Duration::from_secs(10);

fn main() {
    match common::role().split_once(' ').unwrap_or((&common::role(), "")) {
        ("serve", what) => servers::serve(what),
        ("poll", how) => pollers::poll(how),
        ("kept", model) => memory::measure(model),
        ("search", what) => search::measure(what),
        _ => report(),
    }
}

fn targets() -> usize {
    common::option("DAVYLAMP_BENCH_TARGETS", 1000)
}

fn seconds() -> usize {
    common::option("DAVYLAMP_BENCH_SECONDS", 30)
}

#[allow(clippy::disallowed_methods, reason = "this process has no runtime to block")]
fn sleep(duration: Duration) {
    std::thread::sleep(duration);
}

fn report() {
    let only = std::env::args().skip(1).find(|word| !word.starts_with('-'));
    let wanted = |part: &str| only.as_ref().is_none_or(|only| only == part);
    if wanted("stages") {
        stages::report();
    }
    if wanted("memory") {
        memory::report();
    }
    if wanted("search") {
        search::report();
    }
    if wanted("pollers") && seconds() > 0 {
        polls();
    }
}

fn polls() {
    let rows = [
        row("davylamp, `axeos`: a short connection per request", "axeos", "davylamp"),
        row("bare reqwest and serde_json, a short connection", "axeos", "http close"),
        row("davylamp, `cgminer`: a connection per command", "cgminer", "davylamp"),
        row("bare TCP and serde_json, a connection per command", "cgminer", "tcp"),
        row("davylamp, seven models of AxeOS and cgminer", "all", "davylamp"),
        row("davylamp, `http_json`, 20 values, connection kept", "json", "davylamp"),
        row("bare reqwest and serde_json, connection kept", "json", "http keep"),
        row("davylamp, `prometheus`, 40 samples, connection kept", "text", "davylamp"),
    ];
    let rows: Vec<_> = rows.into_iter().chain(prometheus::row()).collect();
    let header = ["", "CPU a poll", "memory a target", "polls made of due", "late: p50", "p99", "worst"];
    let title = format!("{} targets every {} s, for {} s", targets(), INTERVAL.as_secs(), seconds());
    common::table(&title, &header, &rows);
}

/// What one poller did while it was watched.
struct Watched {
    cpu: Duration,
    resident: usize,
    requests: f64,
}

/// Watches a poller once it is warm.
fn watch(poller: Process, server: &mut Child) -> Watched {
    let mut requests = || {
        server.tell("requests");
        server.numbers()[0]
    };
    let (cpu, before) = (poller.cpu(), requests());
    sleep(Duration::from_secs(seconds() as u64));
    let (cpu, requests) = (poller.cpu() - cpu, requests() - before);
    Watched { cpu, resident: poller.resident(), requests }
}

/// The cells of a row but for the lateness.
fn cells(name: &str, watched: &Watched, polls: f64, empty: usize) -> Vec<String> {
    let due = targets() as f64 * seconds() as f64 / INTERVAL.as_secs_f64();
    let memory = watched.resident.saturating_sub(empty) as f64 / targets() as f64;
    vec![
        name.to_string(),
        common::micros(watched.cpu.div_f64(polls)),
        format!("{:.1} kB", memory / 1e3),
        format!("{:.1} %", polls / due * 100.0),
    ]
}

fn row(name: &str, what: &str, how: &str) -> Vec<String> {
    let mut server = Child::start(&format!("serve {what}"));
    let devices: Vec<String> = std::iter::from_fn(|| Some(server.line()).filter(|line| line != "ready")).collect();
    let start = |devices: &[String]| {
        let mut poller = Child::start(&format!("poll {how}"));
        devices.iter().for_each(|device| poller.tell(device));
        poller.tell("");
        assert_eq!(poller.line(), "ready");
        sleep(WARM_UP.min(INTERVAL * devices.len() as u32 + Duration::from_secs(1)));
        poller
    };
    let empty = start(&[]).process().resident();
    let mut poller = start(&devices);
    poller.tell("begin");
    let watched = watch(poller.process(), &mut server);
    poller.tell("end");
    let numbers = poller.numbers();
    let [polls, failed, p50, p99, worst] = numbers[..] else { unreachable!("a poller says five numbers") };
    assert!(failed == 0.0, "{name}: {failed} of {polls} polls failed");
    let mut cells = cells(name, &watched, polls, empty);
    cells.extend([p50, p99, worst].map(|late| format!("{late:.0} ms")));
    cells
}
