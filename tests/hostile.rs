//! Hostile devices, polled by the real collectors over real sockets: each gives its reason, in bounded time and memory,
//! and nothing panics.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::time::{Duration, Instant};

use davylamp::collect::{self, Collector};
use davylamp::demo::{DeviceHandle, DeviceSpec, Fault, Fleet, Hostile, Model};
use davylamp::model::{FailureReason, Labels, PollFailure, Reading, Target};

const TIMEOUT: Duration = Duration::from_secs(2);
/// Beyond the timeout of a poll: time for a loaded machine to notice.
const GRACE: Duration = Duration::from_secs(2);
/// What one hostile reply may cost in memory, the simulated device included.
const MOST_MEMORY: u64 = 32 * 1024 * 1024;

/// What each mode must be called, for axeos and for cgminer. A cgminer knows no HTTP: what is a bomb or a redirect to
/// one kind is merely not its protocol to the other.
const EXPECTED: [(Hostile, FailureReason, FailureReason); 11] = {
    use FailureReason::{Denied, Malformed, Timeout, TooLarge, Unreachable};
    [
        (Hostile::Garbage, Malformed, Malformed),
        (Hostile::TruncatedJson, Malformed, Malformed),
        (Hostile::DeepNesting, Malformed, Malformed),
        (Hostile::EndlessBody, TooLarge, TooLarge),
        (Hostile::GzipBomb, TooLarge, Malformed),
        (Hostile::Redirect, Denied, Malformed),
        (Hostile::BytePerSecond, Timeout, Timeout),
        (Hostile::Reset, Unreachable, Unreachable),
        (Hostile::WrongStatus, Malformed, Malformed),
        (Hostile::Silent, Timeout, Timeout),
        (Hostile::Empty, Unreachable, Malformed),
    ]
};

fn target(kind: &str, address: String) -> Target {
    Target {
        id: "hostile".into(),
        kind: kind.into(),
        address,
        interval: Duration::from_secs(5),
        timeout: TIMEOUT,
        cron: None,
        labels: Labels::empty(),
        options: serde_json::Value::Null,
    }
}

fn collector(device: &DeviceHandle) -> Box<dyn Collector> {
    let target = target(device.kind(), device.address().to_string());
    (collect::kind(device.kind()).unwrap().open)(&target).unwrap()
}

async fn poll(collector: &dyn Collector) -> Result<Reading, (FailureReason, String)> {
    let polled = async { Ok(collector.parse(&collector.fetch().await?)?) }.await;
    polled.map_err(|failure: PollFailure| (failure.reason, failure.detail))
}

/// `VmRSS` or `VmHWM` of this process in bytes.
fn memory(key: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with(key)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}

/// One test, because the peak of memory is the process's.
#[tokio::test]
async fn each_gives_its_reason_in_bounded_time_and_memory() {
    let specs = vec![DeviceSpec::new("http", Model::Bitaxe), DeviceSpec::new("tcp", Model::Cgminer)];
    let fleet = Fleet::start(specs, 1).await.unwrap();
    // The others damage what a sound device answers: tests/fleet/families.rs has them for every family.
    assert_eq!(EXPECTED.map(|row| row.0), Hostile::ALL[..11], "a mode has no row in the table");
    for (mode, axeos, cgminer) in EXPECTED {
        for (device, expected) in fleet.devices().iter().zip([axeos, cgminer]) {
            let collector = collector(device);
            poll(&*collector).await.unwrap();
            device.set_fault(Some(Fault::Hostile(mode)));
            // Resets the peak that the kernel keeps for us.
            std::fs::write("/proc/self/clear_refs", "5").unwrap();
            let (before, started) = (memory("VmRSS"), Instant::now());
            let failure = poll(&*collector).await.err();
            let (took, grown) = (started.elapsed(), memory("VmHWM").saturating_sub(before));
            let place = format!("{mode:?} over {}: {failure:?}, {took:?}, {grown} bytes", device.kind());
            println!("{place}");
            assert_eq!(failure.map(|failure| failure.0), Some(expected), "{place}");
            assert!(took < TIMEOUT + GRACE, "{place}");
            assert!(grown < MOST_MEMORY, "{place}");
            device.set_fault(None);
            // The device serves one caller at a time and must have let go of us.
            tokio::time::timeout(GRACE, async { while poll(&*collector).await.is_err() {} }).await.unwrap();
        }
    }
}

/// A device whose second document hangs still gives its first, before the scheduler would cut the poll.
#[tokio::test]
async fn a_hanging_luxury_does_not_cost_the_poll() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let info = r#"{"ASICModel":"BM1370","hashRate":1000,"uptimeSeconds":90000}"#;
    let summary = r#"{"STATUS":[{"STATUS":"S","Code":11}],"SUMMARY":[{"Elapsed":90000,"MHS 5s":1000}]}"#;
    let axeos = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{info}", info.len());
    for (kind, first) in [("axeos", axeos), ("cgminer", format!("{summary}\0"))] {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let target = target(kind, listener.local_addr().unwrap().to_string());
        let collector = (collect::kind(kind).unwrap().open)(&target).unwrap();
        let mut device = tokio::task::JoinSet::new();
        device.spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let _ = stream.read(&mut [0; 1024]).await.unwrap();
            stream.write_all(first.as_bytes()).await.unwrap();
            drop(stream);
            let hanging = listener.accept().await.unwrap();
            std::future::pending::<()>().await;
            drop(hanging);
        });
        let reading = tokio::time::timeout(TIMEOUT, poll(&*collector)).await.expect("cut by the scheduler").unwrap();
        assert!(reading.samples.len() > 10, "{kind}: {reading:?}");
    }
}
