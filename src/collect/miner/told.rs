//! What the tests of commands stand on: a device on loopback that keeps what it was asked and answers as a test says.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::collect::command::{APPLY_PRESET, Call, CommandError, Outcome, Value as CommandValue, able, perform};
use crate::model::{Labels, Target};
use crate::preset::{PresetEntry, check};

/// What the device says to a request.
pub enum Say {
    /// So many bytes, then it closes.
    Bytes(Vec<u8>),
    /// Nothing, and the connection stays open.
    Nothing,
}

impl Say {
    /// An answer of cgminer's API, with its NUL.
    pub fn line(text: &str) -> Say {
        Say::Bytes([text.as_bytes(), b"\0"].concat())
    }

    /// An HTTP answer.
    pub fn http(status: &str, body: &str) -> Say {
        Say::headed(status, "", body)
    }

    /// An HTTP answer with a header of its own.
    pub fn headed(status: &str, header: &str, body: &str) -> Say {
        let length = body.len();
        let text = format!("HTTP/1.1 {status}\r\n{header}content-length: {length}\r\nconnection: close\r\n\r\n{body}");
        Say::Bytes(text.into_bytes())
    }

    /// `200 OK` and JSON.
    pub fn json(value: &Value) -> Say {
        Say::http("200 OK", &value.to_string())
    }
}

/// How requests end on the wire.
#[derive(Clone, Copy)]
pub enum Wire {
    /// JSON, complete when it can be read.
    Line,
    /// A head, and a body of `content-length` bytes.
    Http,
    /// Four bytes of length, then JSON.
    Framed,
}

/// A file that holds a secret, as an option refers to it.
pub fn secret(folder: &tempfile::TempDir, text: &str) -> Value {
    let path = folder.path().join("secret");
    std::fs::write(&path, text).unwrap();
    serde_json::json!({ "file": path })
}

/// A device on loopback.
pub struct Peer {
    pub address: String,
    seen: Arc<Mutex<Vec<String>>>,
    /// Ends with the peer.
    _task: JoinSet<()>,
}

impl Peer {
    /// Listens, and answers each request as `answer` says. Of HTTP it is told `METHOD PATH`, headers and body.
    pub async fn start(wire: Wire, mut answer: impl FnMut(&str) -> Say + Send + 'static) -> Peer {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let seen: Arc<Mutex<Vec<String>>> = Arc::default();
        let log = seen.clone();
        let mut task = JoinSet::new();
        task.spawn(async move {
            let mut silent = Vec::new();
            while let Ok((mut stream, _)) = listener.accept().await {
                let request = read(&mut stream, wire).await;
                log.lock().unwrap_or_else(PoisonError::into_inner).push(request.clone());
                match answer(&request) {
                    Say::Bytes(bytes) => {
                        if let Wire::Framed = wire {
                            let _ = stream.write_all(&(bytes.len() as u32).to_le_bytes()).await;
                        }
                        let _ = stream.write_all(&bytes).await;
                        let _ = stream.shutdown().await;
                    }
                    Say::Nothing => silent.push(stream),
                }
            }
        });
        Peer { address, seen, _task: task }
    }

    /// The requests that hold none of these words: what was not a question.
    pub fn writes(&self, questions: &[&str]) -> Vec<String> {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.iter().filter(|request| !questions.iter().any(|word| request.contains(word))).cloned().collect()
    }

    /// As [`Peer::writes`], of HTTP the first line and the body.
    pub fn sent(&self, questions: &[&str]) -> Vec<String> {
        let short = |request: &String| {
            let (head, body) = request.split_once("\r\n\r\n").unwrap();
            let line = head.lines().next().unwrap().trim_end_matches(" HTTP/1.1");
            format!("{line} {body}").trim_end().to_string()
        };
        self.writes(questions).iter().map(short).collect()
    }

    /// It as a target of a kind.
    pub fn target(&self, kind: &str, options: Value) -> Target {
        target(kind, &self.address, options)
    }

    /// Gives it a command.
    pub async fn told(&self, kind: &str, options: Value, text: &str) -> Result<Outcome, CommandError> {
        told(self.target(kind, options), text).await
    }
}

/// A target on loopback.
pub fn target(kind: &str, address: &str, options: Value) -> Target {
    Target {
        id: "m1".into(),
        kind: kind.into(),
        address: address.to_string(),
        interval: Duration::from_secs(10),
        timeout: Duration::from_millis(1000),
        cron: None,
        labels: Labels::empty(),
        options,
    }
}

/// Gives a target a command, within the time that a test may take.
pub async fn told(target: Target, text: &str) -> Result<Outcome, CommandError> {
    let call = Call::read(&target.kind, text)?;
    perform(target, &call, Duration::from_millis(3500)).await
}

/// `apply-preset` with a preset, which is checked as the configuration checks it.
pub fn preset_call(target: &Target, preset: Value) -> Call {
    let entries: Vec<PresetEntry> = serde_json::from_value(serde_json::json!([preset])).unwrap();
    let (presets, mistakes) = check(&entries, &[], &[], &[target], &able);
    assert_eq!(mistakes, []);
    let mut call = Call::read(&target.kind, APPLY_PRESET).unwrap();
    call.value = CommandValue::of_preset(presets.of(target, &Default::default()).unwrap().clone());
    call
}

/// Sets a target as a preset has it.
pub async fn applied(target: Target, preset: Value) -> Result<Outcome, CommandError> {
    let call = preset_call(&target, preset);
    perform(target, &call, Duration::from_millis(3500)).await
}

async fn read(stream: &mut TcpStream, wire: Wire) -> String {
    let mut bytes = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let complete = match wire {
            Wire::Line => serde_json::from_slice::<Value>(&bytes).is_ok(),
            Wire::Framed => bytes.get(4..).is_some_and(|body| serde_json::from_slice::<Value>(body).is_ok()),
            Wire::Http => text.split_once("\r\n\r\n").is_some_and(|(head, body)| {
                let length = head
                    .lines()
                    .find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ").map(str::to_string));
                body.len() >= length.and_then(|length| length.parse().ok()).unwrap_or(0)
            }),
        };
        if complete || stream.read_buf(&mut bytes).await.unwrap_or(0) == 0 {
            let start = if let Wire::Framed = wire { 4 } else { 0 };
            return String::from_utf8_lossy(bytes.get(start..).unwrap_or_default()).into_owned();
        }
    }
}
