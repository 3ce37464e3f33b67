//! The side that polls: davylamp's own scheduler, collectors and window, or bare loops that fetch, read JSON and forget.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use davylamp::collect;
use davylamp::model::{Labels, Target, TargetId};
use davylamp::schedule::poll::unix_millis;
use davylamp::schedule::{CONCURRENT_POLLS, Job, OBSERVATION_QUEUE, Scheduler, rhythm};
use davylamp::store::{Limits, Recent};
use davylamp::telemetry::Telemetry;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::runtime::Runtime;
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::INTERVAL;
use crate::common;

/// What happened since the parent said "begin".
#[derive(Default)]
struct Log {
    failed: usize,
    /// Milliseconds between when a poll was due and when it began.
    late: Vec<i64>,
}

impl Log {
    /// Enters a poll that began `since` milliseconds after the origin of all grids.
    fn enter(&mut self, id: &str, since: i64, ok: bool) {
        self.failed += usize::from(!ok);
        let (phase, interval) = (rhythm::phase(id, INTERVAL).as_millis() as i64, INTERVAL.as_millis() as i64);
        let late = (since - phase).rem_euclid(interval);
        // Both clocks are cut to milliseconds, so a poll on time may seem to be one or two early.
        self.late.push(if late >= interval - 2 { 0 } else { late });
    }

    fn say(&mut self) {
        self.late.sort_unstable();
        let at = |part: f64| self.late.get((self.late.len() as f64 * part) as usize).or(self.late.last());
        let [p50, p99, worst] = [0.5, 0.99, 1.0].map(|part| at(part).map_or(0.0, |late| *late as f64));
        common::say(&[self.late.len() as f64, self.failed as f64, p50, p99, worst]);
    }
}

/// Hears the targets up to an empty line, says "ready", and polls until the parent is gone.
pub fn poll(how: &str) {
    let lines: Vec<_> = std::iter::from_fn(|| common::hear().filter(|line| !line.is_empty())).collect();
    let targets: Vec<_> = lines.iter().map(|line| target(line)).collect();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let log = Arc::new(Mutex::new(Log::default()));
    let _scheduler = match how {
        "davylamp" => Some(davylamp(&runtime, targets, &log)),
        _ => {
            bare(&runtime, targets, how.to_string(), &log);
            None
        }
    };
    println!("ready");
    while let Some(word) = common::hear() {
        let mut log = log.lock().unwrap();
        match word.as_str() {
            "begin" => *log = Log::default(),
            _ => log.say(),
        }
    }
}

fn target(line: &str) -> Target {
    let words: Vec<_> = line.split(' ').collect();
    let [id, kind, address] = words[..] else { unreachable!("the server says id, kind and address") };
    let (address, options) = match kind {
        "http_json" => (format!("http://{address}/json"), declared_values()),
        _ => (address.to_string(), Value::Null),
    };
    Target {
        id: id.into(),
        kind: kind.into(),
        address,
        interval: INTERVAL,
        timeout: Duration::from_secs(4),
        cron: None,
        labels: Labels::new([("site", "bench")]),
        options,
    }
}

fn declared_values() -> Value {
    let value = |field: usize| {
        let (name, path) = (format!("bench_measurement_{field:02}"), format!("$.measurement{field:02}"));
        json!({"name": name, "help": "A measurement", "path": path})
    };
    json!({"values": (0..20).map(value).collect::<Vec<_>>()})
}

fn davylamp(runtime: &Runtime, targets: Vec<Target>, log: &Arc<Mutex<Log>>) -> Scheduler {
    let recent = Recent::new(Duration::from_secs(600), Limits::default());
    let (out, mut polled) = mpsc::channel(OBSERVATION_QUEUE);
    let _inside = runtime.enter();
    let (mut scheduler, origin) = (Scheduler::new(out, Telemetry::new(), CONCURRENT_POLLS), unix_millis());
    let job = |target: Target| {
        let kind = collect::kind(&target.kind).unwrap();
        recent.declare(&target, kind.subject);
        let collector = (kind.open)(&target).unwrap().into();
        Job { target: Arc::new(target), collector }
    };
    let jobs = targets.into_iter().map(job).collect();
    runtime.block_on(scheduler.apply(jobs));
    let log = log.clone();
    runtime.spawn(async move {
        while let Some(polled) = polled.recv().await {
            recent.observe(&polled.observation, &polled.about);
            let observation = &polled.observation;
            log.lock().unwrap().enter(&observation.target, observation.at - origin, observation.outcome.is_ok());
        }
    });
    scheduler
}

fn bare(runtime: &Runtime, targets: Vec<Target>, how: String, log: &Arc<Mutex<Log>>) {
    let idle = if how == "http keep" { 1 } else { 0 };
    let client = reqwest::Client::builder().no_proxy().pool_max_idle_per_host(idle).build().unwrap();
    let origin = Instant::now();
    for target in targets {
        let (client, how, log) = (client.clone(), how.clone(), log.clone());
        runtime.spawn(async move {
            let id: TargetId = target.id;
            let address = match how.as_str() {
                "http close" => format!("http://{}/api/system/info", target.address),
                _ => target.address,
            };
            loop {
                let wait = rhythm::until_next(origin.elapsed(), INTERVAL, rhythm::phase(&id, INTERVAL));
                tokio::time::sleep(wait).await;
                let since = origin.elapsed().as_millis() as i64;
                let body =
                    if how == "tcp" { tcp(&address).await.ok() } else { http(&client, &address, idle == 0).await.ok() };
                let read = body.is_some_and(|body| serde_json::from_slice::<Value>(&body).is_ok());
                log.lock().unwrap().enter(&id, since, read);
            }
        });
    }
}

async fn http(client: &reqwest::Client, url: &str, close: bool) -> Result<Vec<u8>, reqwest::Error> {
    let request = client.get(url);
    let request = if close { request.header("connection", "close") } else { request };
    let mut response = request.send().await?;
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

async fn tcp(address: &str) -> std::io::Result<Vec<u8>> {
    let mut stream = tokio::net::TcpStream::connect(address).await?;
    stream.write_all(b"{\"command\":\"summary+pools+devs\"}").await?;
    let mut body = Vec::with_capacity(4096);
    stream.read_to_end(&mut body).await?;
    body.pop();
    Ok(body)
}
