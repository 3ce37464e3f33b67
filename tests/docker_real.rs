//! The kind `docker` against a real dockerd: containers that burn CPU, restart, fail, are killed for want of memory.

#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stderr)] // in a test a failure shows itself

#[path = "support/docker.rs"]
mod docker;

use std::time::Duration;

use davylamp::collect::{Collector, kind};
use davylamp::model::{Labels, Reading, Target};
use docker::Engine;

fn collector(engine: &Engine, options: serde_json::Value) -> Box<dyn Collector> {
    let target = Target {
        id: "test".into(),
        kind: "docker".into(),
        address: format!("unix://{}", engine.socket().display()),
        interval: Duration::from_secs(15),
        timeout: Duration::from_secs(10),
        cron: None,
        labels: Labels::empty(),
        options,
    };
    (kind("docker").unwrap().open)(&target).unwrap()
}

async fn poll(collector: &dyn Collector) -> Reading {
    let replies = collector.fetch().await.unwrap();
    let reading = collector.parse(&replies).unwrap();
    assert_eq!(reading.notes, Vec::<String>::new());
    assert!(reading.rejected.is_empty(), "{:?}", reading.rejected);
    reading
}

/// The value of the one sample of `family` that has these labels.
fn value(reading: &Reading, family: &str, labels: &[(&str, &str)]) -> Option<f64> {
    let mut found = reading.samples.iter().filter(|sample| {
        sample.family.name == family && labels.iter().all(|(name, value)| sample.labels.get(name) == Some(value))
    });
    let first = found.next().map(|sample| sample.value);
    assert!(found.next().is_none(), "{family} {labels:?} is not unique");
    first
}

/// Polls until `done`, at most 20 seconds.
async fn poll_until(collector: &dyn Collector, what: &str, done: impl Fn(&Reading) -> bool) -> Reading {
    for _ in 0..100 {
        let reading = poll(collector).await;
        if done(&reading) {
            return reading;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    panic!("never saw: {what}");
}

#[tokio::test]
async fn a_real_engine_is_read_as_it_is() {
    let Some(engine) = Engine::start() else { return };
    let collector = collector(&engine, serde_json::json!({ "disk_usage": true }));
    engine.run("early", &[], &["sleep", "1000"]);
    let first = poll(&*collector).await;
    let engine_info = [
        ("cgroup_version", &*engine.docker(&["info", "--format", "{{.CgroupVersion}}"])),
        ("api_version", &*engine.docker(&["version", "--format", "{{.Server.APIVersion}}"])),
    ];
    assert_eq!(value(&first, "docker_engine_info", &engine_info), Some(1.0));
    assert_eq!(value(&first, "docker_engine_images", &[]), Some(1.0));
    assert_eq!(value(&first, "docker_container_restarts_total", &[("container", "early")]), Some(0.0));
    assert_eq!(value(&first, "docker_container_last_exit_code", &[("container", "early")]), None);
    assert!(value(&first, "docker_disk_usage_bytes", &[("type", "images")]).unwrap() > 1e5);

    let compose = ["--label", "com.docker.compose.project=shop", "--label", "com.docker.compose.service=web"];
    engine.run("burn", &[&["--cpus", "0.2"], &compose[..]].concat(), &["sh", "-c", "while :; do :; done"]);
    engine.run("three", &[], &["sh", "-c", "exit 3"]);
    engine.run("oom", &["--memory", "8m", "--network", "none"], &["sh", "-c", "x=a; while :; do x=$x$x; done"]);
    engine.run("flapping", &["--restart", "on-failure:2"], &["sh", "-c", "exit 1"]);
    let sick = ["--health-cmd", "false", "--health-interval", "1s", "--health-retries", "1"];
    engine.run("sick", &sick, &["sleep", "1000"]);
    let reading = poll_until(&*collector, "all of them in their states", |reading| {
        let is = |container, state| {
            let labels = [("container", container), ("state", state)];
            value(reading, "docker_container_state", &labels) == Some(1.0)
        };
        let health = [("container", "sick"), ("health", "unhealthy")];
        let exited = ["three", "oom", "flapping"].into_iter().all(|name| is(name, "exited"));
        let flapped = value(reading, "docker_container_restarts_total", &[("container", "flapping")]) == Some(2.0);
        // The engine learns of a kill on another road than of the end, sometimes later.
        let killed = value(reading, "docker_container_oom_kills_total", &[("container", "oom")]) >= Some(1.0);
        exited
            && killed
            && flapped
            && is("burn", "running")
            && value(reading, "docker_container_health", &health) == Some(1.0)
    })
    .await;
    let of = |family: &str, container: &str| value(&reading, family, &[("container", container)]);
    assert_eq!(of("docker_container_last_exit_code", "three"), Some(3.0));
    assert_eq!(of("docker_container_last_exit_code", "flapping"), Some(1.0));
    assert_eq!(of("docker_container_last_exit_code", "oom"), Some(137.0));
    assert_eq!(of("docker_container_oom_kills_total", "three"), Some(0.0));
    assert_eq!(of("docker_container_restarts_total", "three"), Some(0.0), "a first start is no restart");
    assert_eq!(of("docker_container_cpu_limit_cores", "burn"), Some(0.2));
    assert_eq!(of("docker_container_memory_limit_bytes", "oom"), Some(8.0 * 1024.0 * 1024.0));
    assert_eq!(of("docker_container_memory_limit_bytes", "burn"), None);
    assert_eq!(of("docker_container_pids", "early"), Some(1.0));
    let labels = [("container", "burn"), ("compose_project", "shop"), ("compose_service", "web")];
    assert_eq!(value(&reading, "docker_container_info", &labels), Some(1.0));
    assert!(value(&reading, "docker_events_total", &[("type", "container"), ("action", "oom")]) >= Some(1.0));
    assert_eq!(value(&reading, "docker_event_gaps_total", &[]), Some(0.0));
    assert!(!reading.samples.iter().any(|sample| sample.labels.iter().any(|(_, text)| text.contains("exec"))));

    burns_cpu_within_its_limit(&engine, &*collector).await;
    restarts_are_counted_through_manual_ones(&engine, &*collector).await;
    agrees_with_docker_stats(&engine, &*collector).await;
}

async fn burns_cpu_within_its_limit(engine: &Engine, collector: &dyn Collector) {
    let burn = [("container", "burn")];
    let start = std::time::Instant::now();
    let before = poll(collector).await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    let after = poll(collector).await;
    let took = start.elapsed().as_secs_f64();
    let cpu = |reading: &Reading| value(reading, "docker_container_cpu_seconds_total", &burn).unwrap();
    let cores = (cpu(&after) - cpu(&before)) / took;
    assert!((0.02..0.35).contains(&cores), "{cores} cores with a limit of 0.2");
    let throttled = |reading: &Reading| value(reading, "docker_container_cpu_throttled_seconds_total", &burn);
    poll_until(collector, "throttling", |reading| throttled(reading) > Some(0.0)).await;
    engine.docker(&["rm", "--force", "burn"]);
    let gone = poll(collector).await;
    assert!(!gone.samples.iter().any(|sample| sample.labels.get("container") == Some("burn")));
}

async fn restarts_are_counted_through_manual_ones(engine: &Engine, collector: &dyn Collector) {
    let restarts = |reading: &Reading, name| value(reading, "docker_container_restarts_total", &[("container", name)]);
    engine.docker(&["restart", "--time", "0", "early"]);
    assert_eq!(restarts(&poll(collector).await, "early"), Some(1.0));
    engine.docker(&["restart", "--time", "0", "early"]);
    engine.docker(&["restart", "--time", "0", "early"]);
    let reading = poll(collector).await;
    assert_eq!(restarts(&reading, "early"), Some(3.0));
    assert_eq!(value(&reading, "docker_container_last_exit_code", &[("container", "early")]), Some(137.0));
    // The engine's own count begins anew here: 2 restarts, then a manual start and 2 more.
    engine.docker(&["start", "flapping"]);
    poll_until(collector, "five restarts", |reading| restarts(reading, "flapping") == Some(5.0)).await;
    let again = poll(collector).await;
    assert_eq!(restarts(&again, "flapping"), Some(5.0), "none is counted twice");
    assert_eq!(restarts(&again, "early"), Some(3.0));
}

/// The engine's own client is the reference for memory; it rounds, and the two look at different moments, so the
/// smallest difference of a few looks counts.
async fn agrees_with_docker_stats(engine: &Engine, collector: &dyn Collector) {
    // Written again and again: a machine that needs memory takes the page cache away. The writer itself comes and goes,
    // hence a quarter of a MiB of difference.
    let work = "while :; do dd if=/dev/zero of=/big bs=1M count=20; sleep 2; done";
    engine.run("cache", &[], &["sh", "-c", work]);
    let usage = |reading: &Reading| value(reading, "docker_container_memory_usage_bytes", &[("container", "cache")]);
    poll_until(collector, "its file in the page cache", |reading| usage(reading) > Some(15e6)).await;
    let mut differences = Vec::new();
    for _ in 0..15 {
        let reading = poll(collector).await;
        let of = |family: &str| value(&reading, family, &[("container", "cache")]).unwrap();
        let shown = mebibytes(&engine.docker(&["stats", "--no-stream", "--format", "{{.MemUsage}}", "cache"]));
        let ours = of("docker_container_memory_working_set_bytes") / 1_048_576.0;
        let usage = of("docker_container_memory_usage_bytes") / 1_048_576.0;
        if usage - ours < 10.0 {
            differences.push(f64::INFINITY);
            continue;
        }
        let interface = [("container", "cache"), ("interface", "eth0")];
        assert!(value(&reading, "docker_container_network_receive_bytes_total", &interface).is_some());
        differences.push((ours - shown).abs());
        if differences.iter().any(|difference| *difference < 0.25) {
            return;
        }
    }
    panic!(
        "the file of 20 MiB is not told from the working set, or that differs from docker stats by {differences:?} MiB"
    );
}

/// The first number of `1.5MiB / 8GiB`.
fn mebibytes(shown: &str) -> f64 {
    let shown = shown.split('/').next().unwrap().trim();
    let (number, unit) = shown.split_at(shown.find(|c: char| c.is_ascii_alphabetic()).unwrap());
    let unit = match unit {
        "B" => 1.0 / 1_048_576.0,
        "KiB" => 1.0 / 1024.0,
        "MiB" => 1.0,
        other => panic!("{other} of a container that does nothing"),
    };
    number.parse::<f64>().unwrap() * unit
}

/// Seconds of CPU that a process used, its threads included.
fn cpu_seconds(process: &str) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    // Fields 14 and 15 of proc(5), in ticks of 10 ms.
    (fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap()) / 100.0
}

#[tokio::test]
#[ignore = "a measurement: cargo test --test docker_real -- --ignored --nocapture"]
async fn measure_fifty_sleeping_containers() {
    let Some(engine) = Engine::start() else { return };
    for number in 0..50 {
        engine.run(&format!("sleeper-{number}"), &[], &["sleep", "1000"]);
    }
    let collector = collector(&engine, serde_json::Value::Null);
    let first = std::time::Instant::now();
    poll(&*collector).await;
    let first = first.elapsed();
    let (polls, start) = (20, std::time::Instant::now());
    let before = (cpu_seconds("self"), cpu_seconds(&engine.pid()));
    let mut parsing = Duration::ZERO;
    for _ in 0..polls {
        let replies = collector.fetch().await.unwrap();
        let parse = std::time::Instant::now();
        collector.parse(&replies).unwrap();
        parsing += parse.elapsed();
    }
    let milliseconds = |seconds: f64| seconds * 1000.0 / f64::from(polls);
    eprintln!(
        "50 containers: first poll {first:?}; then per poll {:?}, of it parsing {:?}; CPU {:.1} ms ours, {:.1} ms dockerd",
        start.elapsed() / polls,
        parsing / polls,
        milliseconds(cpu_seconds("self") - before.0),
        milliseconds(cpu_seconds(&engine.pid()) - before.1),
    );
}
