//! The daemon's samples go on: to a receiver that looks closely, and to a real Prometheus that goes away for a while, with
//! the daemon killed in between.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use davylamp::model::{Family, Labels, Point};
use davylamp::sink::{self, Offer, RemoteWrite, Sink};
use davylamp::telemetry::Telemetry;
use davylamp::wire::Message;
use tokio_util::sync::CancellationToken;

use crate::http::Page;
use crate::lamp::Lamp;
use crate::receiver::{Receiver, Script, Seen, Taken};
use crate::server::Prometheus;

static COUNT: Family = Family::counter("work_total", "Work that was done", &[]);

/// A sink in this process.
struct Sending {
    runtime: tokio::runtime::Runtime,
    sink: Sink,
    telemetry: Arc<Telemetry>,
    stop: CancellationToken,
    work: tokio::task::JoinHandle<()>,
}

impl Sending {
    fn start(address: SocketAddr, folder: &Path, more: &str) -> Sending {
        let text = format!("{{url: 'http://{address}/write', name: there, {more}}}");
        let settings: RemoteWrite = serde_yaml::from_str(&text).unwrap();
        let receiver = sink::check(&settings).unwrap_or_else(|mistakes| panic!("{mistakes:?}"));
        let telemetry = Telemetry::new();
        let (sink, _valve, work) = sink::open(vec![receiver], folder, &telemetry).unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let stop = CancellationToken::new();
        let work = runtime.spawn(work.run(stop.clone()));
        Sending { runtime, sink, telemetry, stop, work }
    }

    fn offer(&self, range: std::ops::Range<i64>) {
        let points: Vec<Offer> = range.map(|n| point(n % 7, 1_000_000 + n, n as f64)).collect();
        self.runtime.block_on(self.sink.offer(points));
    }

    fn value(&self, name: &str) -> f64 {
        Page(self.telemetry.encode()).value(&format!("davylamp_remote_write_{name}"), &[]).unwrap_or(0.0)
    }

    fn until(&self, what: &str, done: impl Fn() -> bool) {
        let begun = std::time::Instant::now();
        while !done() {
            assert!(begun.elapsed() < Duration::from_secs(60), "never saw {what}:\n{}", self.telemetry.encode());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn stop(self) {
        self.stop.cancel();
        self.runtime.block_on(self.work).unwrap();
    }
}

fn point(series: i64, t: i64, v: f64) -> Offer {
    let labels = Labels::new([("__name__", "work_total".to_string()), ("n", series.to_string())]);
    ((&COUNT).into(), labels, Point { t, v })
}

/// What was acknowledged, each sample once; the same sample may come twice only with the same value.
fn kept(taken: &[Taken]) -> Vec<Seen> {
    let mut seen = BTreeMap::new();
    let mut last: BTreeMap<Vec<(String, String)>, i64> = BTreeMap::new();
    for request in taken.iter().filter(|request| request.status == 204) {
        for (labels, t, bits) in &request.samples {
            let before = last.insert(labels.clone(), *t);
            assert!(before.is_none_or(|before| before < *t), "each series only forward: {labels:?} {before:?} {t}");
            assert_eq!(seen.insert((labels.clone(), *t), *bits), None, "nothing twice");
        }
    }
    seen.into_iter().map(|((labels, t), bits)| (labels, t, bits)).collect()
}

const FAST: &str =
    "queue_config: {batch_send_deadline: 50ms, min_backoff: 5ms, max_backoff: 20ms, max_samples_per_send: 100}";

#[test]
fn both_messages_are_as_specified_and_arrive_whole_and_in_order() {
    for message in [Message::V1, Message::V2] {
        let folder = tempfile::tempdir().unwrap();
        // Two failures, then a wait, then all is well.
        let script: Script = |n, _| match n {
            0 => (500, None, false),
            1 => (429, None, false),
            2 => (503, Some(1), false),
            _ => (204, None, true),
        };
        let receiver = Receiver::start(script);
        let more = format!("{FAST}, protobuf_message: {}, metadata_config: {{send: false}}", message.name());
        let sending = Sending::start(receiver.address, folder.path(), &more);
        let begun = std::time::Instant::now();
        (0..5).for_each(|n| sending.offer(n * 70..n * 70 + 70));
        let taken = receiver.wait("all samples", |taken| kept(taken).len() == 350);
        assert!(begun.elapsed() >= Duration::from_secs(1), "Retry-After is heeded");
        assert!(taken.iter().all(|request| request.message == message));
        assert_eq!(taken[0].body, taken[3].body, "a request is repeated as it was");
        sending.until("the end of the queue", || sending.value("samples_pending") == 0.0);
        assert_eq!(sending.value("samples_total"), 350.0);
        assert_eq!(sending.value("samples_failed_total") + sending.value("samples_dropped_total"), 0.0);
        assert_eq!(sending.value("samples_retried_total"), 3.0 * taken[0].samples.len() as f64);
        let last = (1_000_000 + 349) as f64 / 1000.0;
        assert_eq!(sending.value("queue_highest_sent_timestamp_seconds"), last);
        assert_eq!(sending.value("highest_timestamp_in_seconds"), last);
        sending.stop();
    }
}

#[test]
fn what_a_receiver_refuses_for_good_is_dropped_and_counted() {
    let folder = tempfile::tempdir().unwrap();
    let receiver = Receiver::start(|n, _| if n == 0 { (400, None, false) } else { (204, None, true) });
    let more = format!("{FAST}, write_relabel_configs: [{{source_labels: [n], regex: '3', action: drop}}]");
    let sending = Sending::start(receiver.address, folder.path(), &more);
    sending.offer(0..70);
    sending.until("the refusal", || sending.value("samples_failed_total") == 60.0);
    sending.offer(70..140);
    let taken = receiver.wait("the next samples", |taken| kept(taken).len() == 60);
    assert!(taken.iter().flat_map(|request| &request.samples).all(|(labels, ..)| labels[1].1 != "3"));
    assert_eq!(sending.value("samples_dropped_total"), 20.0);
    sending.stop();
}

#[test]
fn a_receiver_that_knows_only_the_first_version_gets_that() {
    let scripts: [Script; 2] = [
        |_, message| if message == Message::V2 { (415, None, false) } else { (204, None, false) },
        // Looks at no content type, reads nothing, and is content.
        |_, _| (200, None, false),
    ];
    for script in scripts {
        let folder = tempfile::tempdir().unwrap();
        let receiver = Receiver::start(script);
        let more =
            format!("{FAST}, protobuf_message: io.prometheus.write.v2.Request, metadata_config: {{send: false}}");
        let sending = Sending::start(receiver.address, folder.path(), &more);
        sending.offer(0..10);
        let taken = receiver.wait("both", |taken| taken.len() == 2);
        assert_eq!((taken[0].message, taken[1].message), (Message::V2, Message::V1));
        assert_eq!(taken[0].samples, taken[1].samples);
        sending.until("success", || sending.value("samples_total") == 10.0);
        sending.stop();
    }
}

#[test]
fn a_restart_loses_nothing_and_a_full_queue_drops_the_oldest() {
    let folder = tempfile::tempdir().unwrap();
    // Nobody answers there.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let nobody = silent.local_addr().unwrap();
    let sending = Sending::start(nobody, folder.path(), FAST);
    sending.offer(0..500);
    sending.stop();
    let receiver = Receiver::start(|_, _| (204, None, true));
    let sending = Sending::start(receiver.address, folder.path(), FAST);
    let taken = receiver.wait("all of before", |taken| kept(taken).len() == 500);
    assert_eq!(taken.iter().filter(|request| !request.samples.is_empty()).count(), 5, "requests are full");
    sending.until("the end of the queue", || sending.value("samples_pending") == 0.0);
    sending.stop();
    let small = FAST.replace("{batch", "{max_bytes: 1048576, batch");
    let sending = Sending::start(nobody, folder.path(), &small);
    // Labels that do not compress fill it sooner.
    for n in 0..200_i64 {
        let points = (0..100).map(|series| {
            let (family, labels, point) = point(series, 2_000_000 + n, n as f64);
            let noise = (0..4)
                .map(|k| format!("{:x}", (n * 1000 + series * 7 + k).wrapping_mul(0x9e37_79b9_7f4a_7c15_u64 as i64)));
            (family, labels.with("noise", noise.collect::<String>()), point)
        });
        sending.runtime.block_on(sending.sink.offer(points.collect()));
    }
    sending.until("a full queue", || {
        sending.value("samples_pending") + sending.value("samples_dropped_total") == 20_000.0
    });
    assert!(sending.value("samples_dropped_total") > 0.0 && sending.value("queue_bytes") <= 1_048_576.0);
    sending.stop();
}

/// A page with a counter that counts the answers: every value is told exactly once.
#[derive(Clone)]
pub struct Pages {
    pub address: SocketAddr,
    told: Arc<AtomicU64>,
    /// When the last one was told, milliseconds since the epoch.
    at: Arc<AtomicU64>,
    frozen: Arc<AtomicBool>,
}

impl Pages {
    pub fn start() -> Pages {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let pages = Pages { address, told: Arc::default(), at: Arc::default(), frozen: Arc::default() };
        let shared = pages.clone();
        std::thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                // A frozen page is no answer, and so no value.
                if shared.frozen.load(SeqCst) || stream.read(&mut [0; 4096]).is_err() {
                    continue;
                }
                let value = shared.told.fetch_add(1, SeqCst) + 1;
                shared.at.store(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as u64, SeqCst);
                let body = format!("# TYPE told_total counter\ntold_total {value}\n");
                let length = body.len();
                let head = format!(
                    "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
                );
                let _ = stream.write_all((head + &body).as_bytes());
            }
        });
        pages
    }

    pub fn told(&self) -> u64 {
        self.told.load(SeqCst)
    }

    /// Waits until the daemon has brought the last value into its queue.
    pub fn settle(&self, lamp: &Lamp) {
        self.frozen.store(true, SeqCst);
        let last = self.at.load(SeqCst) as f64 / 1000.0;
        lamp.wait("the last value in the queue", Duration::from_secs(30), |page| {
            page.value("davylamp_remote_write_highest_timestamp_in_seconds", &[]).is_some_and(|at| at > last - 0.5)
        });
    }
}

#[test]
fn a_prometheus_that_was_away_has_everything_although_the_daemon_was_killed() {
    let Some(mut prometheus) = Prometheus::new("{}") else { return };
    prometheus.start();
    let pages = Pages::start();
    let mut lamp = Lamp::new(&format!(
        "server: {{listen: '127.0.0.1:0'}}\nstorage: {{path: state}}\n\
         targets: [{{id: pages, kind: prometheus, address: 'http://{}/metrics', interval: 1s, timeout: 900ms, options: {{keep_alive: false}}}}]\n\
         remote_write:\n- url: http://{}/api/v1/write\n  queue_config: {{batch_send_deadline: 100ms, max_backoff: 200ms}}\n  \
         write_relabel_configs:\n  - {{source_labels: [__name__], regex: told_total, action: keep}}\n  \
         - {{target_label: from, replacement: lamp}}\n",
        pages.address, prometheus.address
    ));
    lamp.start();
    let until = |lamp: &Lamp, count: u64| {
        lamp.until("polls", Duration::from_secs(60), || (pages.told() >= count).then_some(()))
    };
    until(&lamp, 3);
    for round in 0..3 {
        prometheus.stop();
        until(&lamp, pages.told() + 2);
        pages.settle(&lamp);
        lamp.kill();
        prometheus.start();
        pages.frozen.store(false, SeqCst);
        lamp.start();
        until(&lamp, 5 + round * 3);
        if round == 1 {
            // While requests are under way, not only while they wait.
            pages.settle(&lamp);
            lamp.kill();
            pages.frozen.store(false, SeqCst);
            lamp.start();
        }
    }
    pages.settle(&lamp);
    let wanted: Vec<u64> = (1..=pages.told()).collect();
    let values = || -> Vec<u64> {
        let found = prometheus.query("told_total{from=\"lamp\",target=\"pages\"}[1h]");
        let values = found.first().map(|series| series["values"].as_array().unwrap().clone()).unwrap_or_default();
        let number = |value: &serde_json::Value| value[1].as_str().unwrap().parse::<f64>().unwrap();
        // Stale markers are not shown.
        values.iter().map(number).map(|value| value as u64).collect()
    };
    let found = lamp.until("every value", Duration::from_secs(60), || {
        std::thread::sleep(Duration::from_millis(100));
        Some(values()).filter(|found| found.len() >= wanted.len())
    });
    assert_eq!(found, wanted, "every value once, in order\n{}", lamp.logs());
    assert_eq!(lamp.metrics().value("davylamp_remote_write_samples_dropped_total", &[("reason", "queue_full")]), None);
    lamp.finish();
}
