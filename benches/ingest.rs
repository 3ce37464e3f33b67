//! Remote write received: CPU per sample from the bytes of a request to the recent window, beside a real Prometheus on
//! the same bodies where one is installed.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a bench prints, and may panic")]
#![allow(clippy::disallowed_methods, reason = "it waits for a process, outside of any runtime")]

mod common;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use davylamp::ingest::{Intake, RemoteWriteIn, Request};
use davylamp::model::{Family, Labels, Point, Starts};
use davylamp::store::{Limits, Recent};
use davylamp::telemetry::Telemetry;
use davylamp::wire::{Message, SeriesOut, compress, write};

static SHARES: Family = Family::counter("bench_shares_total", "Shares", &["pool"]);

const SERIES: usize = 10_000;
/// As Prometheus sends by default.
const PER_REQUEST: usize = 2_000;
const ROUNDS: i64 = 20;

/// One round of all series, as requests.
fn round(message: Message, at: i64) -> Vec<Vec<u8>> {
    let series: Vec<SeriesOut> = (0..SERIES)
        .map(|n| SeriesOut {
            labels: Labels::new([
                ("__name__", "bench_shares_total".to_string()),
                ("instance", format!("rig-{:04}:9100", n / 10)),
                ("job", "bench".to_string()),
                ("pool", format!("{}", n % 10)),
                ("site", format!("site{}", n % 7)),
            ]),
            family: (&SHARES).into(),
            samples: vec![Point { t: at, v: (at % 1_000_000 + n as i64) as f64 }],
            histograms: Vec::new(),
            starts: Starts::default(),
        })
        .collect();
    series.chunks(PER_REQUEST).map(|chunk| compress(&write(message, chunk)).unwrap()).collect()
}

fn start() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as i64 - ROUNDS * 15_000
}

fn ours(message: Message) -> Vec<String> {
    let recent = Arc::new(Recent::new(Duration::from_secs(3600), Limits::default()));
    let intake = Intake::new(RemoteWriteIn::default(), recent, Telemetry::new());
    let (start, mut bytes, mut cpu) = (start(), 0, Duration::ZERO);
    for n in 0..ROUNDS {
        for body in round(message, start + n * 15_000) {
            bytes += body.len();
            let request = Request {
                content_type: Some(message.content_type().to_string()),
                content_encoding: Some("snappy".to_string()),
                body: body.into(),
            };
            let before = common::thread_cpu();
            let answer = intake.receive(&request, start + ROUNDS * 15_000);
            cpu += common::thread_cpu() - before;
            assert_eq!(answer.status, 204, "{}", answer.message);
        }
    }
    row(&format!("davylamp, {}", message.name()), bytes, cpu)
}

fn row(name: &str, bytes: usize, cpu: Duration) -> Vec<String> {
    let samples = SERIES as f64 * ROUNDS as f64;
    let rate = format!("{:.0}", samples / cpu.as_secs_f64());
    let each = Duration::from_secs_f64(cpu.as_secs_f64() / samples);
    vec![name.to_string(), format!("{:.1}", bytes as f64 / samples), common::micros(each), rate]
}

struct Prometheus {
    child: Child,
    _folder: tempfile::TempDir,
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Its HTTP server is part of what is measured; ours costs some 50 µs a request.
fn theirs() -> Option<Vec<String>> {
    let folder = tempfile::tempdir().unwrap();
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    std::fs::write(folder.path().join("c.yml"), "{}").unwrap();
    let child = Command::new("prometheus")
        .arg(format!("--config.file={}", folder.path().join("c.yml").display()))
        .arg(format!("--storage.tsdb.path={}", folder.path().join("data").display()))
        .arg(format!("--web.listen-address={address}"))
        .arg("--web.enable-remote-write-receiver")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .ok()?;
    let server = Prometheus { child, _folder: folder };
    let process = common::Process(server.child.id());
    let begun = Instant::now();
    while ask(address, "GET /-/ready", &[]) != Some(200) {
        assert!(begun.elapsed() < Duration::from_secs(60), "Prometheus does not start");
        std::thread::sleep(Duration::from_millis(50));
    }
    let bodies: Vec<_> = (0..ROUNDS).flat_map(|n| round(Message::V1, start() + n * 15_000)).collect();
    let before = process.cpu();
    for body in &bodies {
        assert_eq!(ask(address, "POST /api/v1/write", body), Some(204));
    }
    let bytes = bodies.iter().map(Vec::len).sum();
    Some(row("Prometheus, prometheus.WriteRequest", bytes, process.cpu() - before))
}

fn ask(address: SocketAddr, what: &str, body: &[u8]) -> Option<u16> {
    let mut stream = TcpStream::connect(address).ok()?;
    let head = "Content-Encoding: snappy\r\nContent-Type: application/x-protobuf";
    write!(stream, "{what} HTTP/1.0\r\nHost: {address}\r\n{head}\r\nContent-Length: {}\r\n\r\n", body.len()).ok()?;
    stream.write_all(body).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    answer.split(' ').nth(1)?.parse().ok()
}

fn main() {
    let mut rows = vec![ours(Message::V1), ours(Message::V2)];
    rows.extend(theirs());
    common::table(
        &format!("{SERIES} series, {ROUNDS} samples of each, {PER_REQUEST} samples a request"),
        &["receiver, message", "bytes a sample", "CPU a sample", "samples a second and core"],
        &rows,
    );
}
