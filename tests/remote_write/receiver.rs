//! A receiver that looks closely: it checks every request against the specification and answers as it is told.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use bytes::Bytes;
use davylamp::wire::message::{RequestV1, RequestV2};
use davylamp::wire::{Caps, Message, decompress};
use prost::Message as _;

/// One sample as it came: labels, time, bits of its value.
pub type Seen = (Vec<(String, String)>, i64, u64);

/// A request.
#[derive(Clone, Debug)]
pub struct Taken {
    pub message: Message,
    pub body: Bytes,
    pub samples: Vec<Seen>,
    pub status: u16,
}

/// Status, `Retry-After`, and whether the headers of 2.0 are sent.
pub type Script = fn(usize, Message) -> (u16, Option<u32>, bool);

#[derive(Clone)]
pub struct Receiver {
    pub address: SocketAddr,
    taken: Arc<(Mutex<Vec<Taken>>, Condvar)>,
}

impl Receiver {
    /// One that answers the n-th request as the script says.
    pub fn start(script: Script) -> Receiver {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let receiver = Receiver { address: listener.local_addr().unwrap(), taken: Arc::default() };
        let shared = receiver.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let shared = shared.clone();
                std::thread::spawn(move || shared.serve(stream, script));
            }
        });
        receiver
    }

    /// All requests so far, once there are enough of them.
    pub fn wait(&self, what: &str, done: impl Fn(&[Taken]) -> bool) -> Vec<Taken> {
        let taken = self.taken.0.lock().unwrap();
        let limit = Duration::from_secs(60);
        let (taken, timeout) = self.taken.1.wait_timeout_while(taken, limit, |taken| !done(taken)).unwrap();
        assert!(!timeout.timed_out(), "never saw {what}: {taken:?}");
        taken.clone()
    }

    fn serve(&self, stream: TcpStream, script: Script) -> Option<()> {
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        let mut writer = stream;
        loop {
            let mut lines = Vec::new();
            loop {
                let mut line = String::new();
                (reader.read_line(&mut line).ok()? > 0).then_some(())?;
                if line.trim().is_empty() {
                    break;
                }
                lines.push(line.trim().to_string());
            }
            let header = |name: &str| {
                lines
                    .iter()
                    .find_map(|line| line.split_once(": ").filter(|(n, _)| n.eq_ignore_ascii_case(name)))
                    .map(|(_, value)| value.to_string())
            };
            assert!(lines[0].starts_with("POST /write HTTP/1.1"), "{lines:?}");
            let mut body = vec![0; header("content-length").unwrap().parse().unwrap()];
            reader.read_exact(&mut body).ok()?;
            assert_eq!(header("content-encoding").unwrap(), "snappy");
            assert!(header("user-agent").unwrap().starts_with("davylamp/"));
            let message = Message::of_content_type(&header("content-type").unwrap()).unwrap();
            assert_eq!(header("x-prometheus-remote-write-version").unwrap(), message.version());
            let body = decompress(&body, &Caps::STANDARD).unwrap();
            let samples = match message {
                Message::V1 => v1(&body),
                Message::V2 => v2(&body),
            };
            let mut taken = self.taken.0.lock().unwrap();
            let (status, retry, counted) = script(taken.len(), message);
            let mut head = format!("HTTP/1.1 {status} X\r\nContent-Length: 0\r\n");
            if let Some(seconds) = retry {
                head.push_str(&format!("Retry-After: {seconds}\r\n"));
            }
            if counted {
                head.push_str(&format!("X-Prometheus-Remote-Write-Samples-Written: {}\r\n", samples.len()));
            }
            taken.push(Taken { message, body, samples, status });
            drop(taken);
            self.taken.1.notify_all();
            writer.write_all(format!("{head}\r\n").as_bytes()).ok()?;
        }
    }
}

fn checked(labels: &[(String, String)]) {
    assert!(labels.windows(2).all(|pair| pair[0].0 < pair[1].0), "sorted, none twice: {labels:?}");
    assert!(labels.iter().all(|(name, value)| !name.is_empty() && !value.is_empty()), "{labels:?}");
    assert!(labels.iter().any(|(name, _)| name == "__name__"), "{labels:?}");
}

fn v1(body: &Bytes) -> Vec<Seen> {
    let mut seen = Vec::new();
    for series in RequestV1::decode(body.clone()).unwrap().series {
        let text = |bytes: &Bytes| String::from_utf8(bytes.to_vec()).unwrap();
        let labels: Vec<_> = series.labels.iter().map(|label| (text(&label.name), text(&label.value))).collect();
        checked(&labels);
        seen.extend(series.samples.iter().map(|s| (labels.clone(), s.timestamp, s.value.to_bits())));
    }
    seen
}

fn v2(body: &Bytes) -> Vec<Seen> {
    let request = RequestV2::decode(body.clone()).unwrap();
    assert_eq!(request.symbols[0], "");
    let distinct: std::collections::BTreeSet<_> = request.symbols.iter().collect();
    assert_eq!(distinct.len(), request.symbols.len(), "every symbol once");
    let symbol = |index: u32| request.symbols[index as usize].clone();
    let mut seen = Vec::new();
    for series in &request.series {
        assert!(series.labels.len().is_multiple_of(2) && !series.labels.is_empty());
        let labels: Vec<_> = series.labels.chunks(2).map(|pair| (symbol(pair[0]), symbol(pair[1]))).collect();
        checked(&labels);
        assert!(series.samples.is_empty() != series.histograms.is_empty(), "samples or histograms, never both");
        assert!(series.samples.windows(2).all(|pair| pair[0].timestamp < pair[1].timestamp));
        let metadata = series.metadata.unwrap();
        assert!(!symbol(metadata.help).is_empty() && metadata.kind != 0, "type and help come along");
        seen.extend(series.samples.iter().map(|s| (labels.clone(), s.timestamp, s.value.to_bits())));
    }
    seen
}
