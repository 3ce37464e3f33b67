//! Devices on loopback that talk by themselves: lines, states, too much, in drips, and again after they were gone.

use std::time::Duration;

use futures_util::SinkExt;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::accept_async;
use tokio_tungstenite::tungstenite::Message;

use super::*;
use crate::model::Labels;

fn target(address: &str) -> Arc<Target> {
    Arc::new(Target {
        id: "garage/1".into(),
        kind: "axeos".into(),
        address: address.into(),
        interval: Duration::from_secs(15),
        timeout: Duration::from_secs(5),
        cron: None,
        labels: Labels::empty(),
        options: serde_json::Value::Null,
    })
}

/// An ear at a server, and what it hears.
struct Listening {
    heard: Heard,
    telemetry: Arc<Telemetry>,
    _tasks: JoinSet<()>,
}

impl Listening {
    async fn start<F>(
        settings: DeviceLogs,
        state: &std::path::Path,
        serve: impl Fn(u32, TcpStream) -> F + Send + 'static,
    ) -> Listening
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let target = target(&listener.local_addr().unwrap().to_string());
        let (plan, mistakes) = settings.check(state);
        assert_eq!(mistakes, []);
        assert!(plan.wants(&target));
        let heard: Heard = Arc::new(Mutex::new(Ring::new(plan.lines)));
        let telemetry = Telemetry::new();
        let (scribe, work) = Scribe::new();
        let (plan, clock) = (Arc::new(plan), || 1_500);
        let ear = Ear { target, heard: heard.clone(), plan, scribe, telemetry: telemetry.clone(), clock };
        let mut tasks = JoinSet::new();
        tasks.spawn_blocking(work);
        tasks.spawn(async move {
            for number in 0.. {
                let Ok((stream, _)) = listener.accept().await else { return };
                serve(number, stream).await;
            }
        });
        tasks.spawn(ear.listen(CancellationToken::new()));
        Listening { heard, telemetry, _tasks: tasks }
    }

    /// Waits until so many lines were heard.
    async fn lines(&self, count: usize) -> Vec<String> {
        for _ in 0..2_000 {
            let lines = self.heard.lock().unwrap().after(0, usize::MAX);
            if lines.len() >= count {
                return lines.into_iter().map(|line| line.text).collect();
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("only {:?}", self.heard.lock().unwrap());
    }
}

fn settings() -> DeviceLogs {
    let counters = vec![CounterEntry { name: "shares".into(), pattern: "share (accepted|rejected)".into() }];
    DeviceLogs { matchers: vec!["kind=\"axeos\"".into()], counters, ..DeviceLogs::default() }
}

async fn say(socket: &mut WebSocketStream<TcpStream>, text: &str) {
    let _ = socket.send(Message::text(text)).await;
}

#[tokio::test]
async fn lines_and_states_are_heard_counted_and_written_over_several_connections() {
    let folder = tempfile::tempdir().unwrap();
    let files = Some(FilesEntry { path: "logs".into(), max_bytes: 1 << 20, keep: 1 });
    let settings = DeviceLogs { files, ..settings() };
    let listening = Listening::start(settings, folder.path(), |number, stream| async move {
        let mut socket = accept_async(stream).await.unwrap();
        match number {
            // Older firmware; then it restarts with another one.
            0 => say(&mut socket, "\u{1b}[0;32mI (1) stratum: share accepted\u{1b}[0m\nW (2) wifi\u{0}: weak").await,
            _ => {
                say(&mut socket, r#"{"overheat_mode":0,"hashRate":1200.1}"#).await;
                say(&mut socket, r#"{"event":"update","data":{"overheat_mode":1,"hashRate":0}}"#).await;
                let _ = socket.close(None).await;
            }
        }
    })
    .await;
    let lines = listening.lines(3).await;
    assert_eq!(lines[..3], ["I (1) stratum: share accepted", "W (2) wifi: weak", "overheat_mode: 0 → 1"]);
    let metrics = listening.telemetry.encode();
    assert!(
        metrics.contains("davylamp_device_log_matches_total{target=\"garage/1\",counter=\"shares\"} 1"),
        "{metrics}"
    );
    assert!(metrics.contains("davylamp_device_log_lines_total{target=\"garage/1\"} 3"), "{metrics}");
    let written = || std::fs::read_to_string(folder.path().join("logs/garage%2F1.log")).unwrap_or_default();
    let expected = "1.500 I (1) stratum: share accepted\n1.500 W (2) wifi: weak\n";
    for _ in 0..2_000 {
        if written().starts_with(expected) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("{}", written());
}

#[tokio::test]
async fn who_says_too_much_is_heard_in_part_and_the_rest_is_counted() {
    let settings = DeviceLogs { lines_per_second: 1, lines: 5, ..settings() };
    let listening = Listening::start(settings, std::path::Path::new("/nowhere"), |_, stream| async move {
        let mut socket = accept_async(stream).await.unwrap();
        for number in 0..500 {
            say(&mut socket, &format!("line {number}\nline {number}")).await;
        }
        std::future::pending::<()>().await;
    })
    .await;
    let value = |name: &str| {
        let metrics = listening.telemetry.encode();
        let line = metrics.lines().find(|line| line.starts_with(name)).and_then(|line| line.rsplit_once(' '));
        line.map_or(0, |(_, number)| number.parse::<u64>().unwrap())
    };
    let dropped = "davylamp_device_log_lines_dropped_total{target=\"garage/1\",reason=\"budget\"}";
    for _ in 0..2_000 {
        if value(dropped) >= 490 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(value(dropped) >= 490, "{}", listening.telemetry.encode());
    let kept = value("davylamp_device_log_lines_total{");
    assert!((10..100).contains(&kept), "{kept}");
    let mut ring = listening.heard.lock().unwrap();
    assert_eq!(ring.after(0, usize::MAX).len(), 5);
    ring.resize(2);
    assert_eq!(ring.after(0, usize::MAX).iter().map(|line| line.number).max(), Some(kept), "the newest stay");
    assert_eq!(ring.after(0, usize::MAX).len(), 2);
}

#[tokio::test]
async fn what_is_too_much_or_no_websocket_ends_the_connection_and_not_the_listening() {
    let listening = Listening::start(settings(), std::path::Path::new("/nowhere"), |number, mut stream| async move {
        match number {
            // A page instead of a WebSocket.
            0 => {
                let _ = stream.write_all(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n").await;
            }
            // A frame that announces a gigabyte.
            1 => {
                let mut socket = accept_async(stream).await.unwrap();
                say(&mut socket, "before").await;
                let head = [0x81, 127, 0, 0, 0, 0, 0x40, 0, 0, 0];
                let _ = socket.get_mut().write_all(&head).await;
                let _ = socket.get_mut().write_all(&[b'x'; 4096]).await;
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
            // A frame in drips.
            _ => {
                let mut socket = accept_async(stream).await.unwrap();
                for byte in [&[0x81, 5][..], b"a", b"f", b"t", b"e", b"r"].concat() {
                    let _ = socket.get_mut().write_all(&[byte]).await;
                    tokio::task::yield_now().await;
                }
                tokio::time::sleep(Duration::from_secs(5)).await;
            }
        }
    })
    .await;
    assert_eq!(listening.lines(2).await, ["before", "after"]);
}

#[test]
fn a_ring_is_bounded_and_numbers_go_on() {
    let mut ring = Ring::new(3);
    (1..=5).for_each(|number| ring.push(number, format!("line {number}")));
    let numbers = |after, most| ring.after(after, most).iter().map(|line| line.number).collect::<Vec<_>>();
    assert_eq!(
        (numbers(0, 10), numbers(4, 10), numbers(0, 1), numbers(9, 1)),
        (vec![3, 4, 5], vec![5], vec![5], vec![])
    );
    let mut ring = Ring::new(10_000);
    (0..2_000).for_each(|_| ring.push(0, "x".repeat(512)));
    assert_eq!(ring.after(0, usize::MAX).len(), 512);
}

#[test]
fn mistakes_in_the_section_are_told() {
    let wrong = DeviceLogs {
        matchers: vec!["kind".into()],
        lines: 0,
        lines_per_second: 0,
        counters: vec![CounterEntry { name: "a b".into(), pattern: "(".into() }],
        files: Some(FilesEntry { path: "logs".into(), max_bytes: 1, keep: 1 }),
    };
    let paths: Vec<String> = wrong.check(std::path::Path::new("/")).1.into_iter().map(|(path, _)| path).collect();
    assert_eq!(paths, ["match[0]", "lines", "lines_per_second", "counters[0].name", "counters[0].pattern", "files"]);
    let other = Target { kind: "cgminer".into(), ..Target::clone(&target("127.0.0.1")) };
    assert!(!settings().check(std::path::Path::new("/")).0.wants(&other), "a kind that does not speak by itself");
}
