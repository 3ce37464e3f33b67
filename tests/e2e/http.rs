//! A client that fits on one page, and a reader of `/metrics` that shares nothing with the product.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// An answer.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    /// Lower case.
    pub head: String,
    pub body: String,
}

/// Asks once, without a body.
pub fn ask(address: SocketAddr, method: &str, path: &str, headers: &[(&str, &str)]) -> std::io::Result<Answer> {
    send(address, method, path, headers, "")
}

/// Asks once. HTTP/1.0: the answer ends with the connection and comes in one piece.
pub fn send(
    address: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> std::io::Result<Answer> {
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(5))?;
    stream.set_read_timeout(Some(Duration::from_secs(15)))?;
    let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let head =
        format!("{method} {path} HTTP/1.0\r\nHost: {address}\r\nContent-Length: {}\r\n{headers}\r\n", body.len());
    stream.write_all(head.as_bytes())?;
    // A server that refuses a body need not read it.
    let _ = stream.write_all(body.as_bytes());
    let mut bytes = Vec::new();
    stream.take(64 << 20).read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    let (head, body) = text.split_once("\r\n\r\n").ok_or_else(|| std::io::Error::other(format!("no head: {text}")))?;
    let status = head.split(' ').nth(1).and_then(|word| word.parse().ok());
    let status = status.ok_or_else(|| std::io::Error::other(format!("no status: {head}")))?;
    Ok(Answer { status, head: head.to_lowercase(), body: body.to_string() })
}

/// A page of metrics.
pub struct Page(pub String);

impl Page {
    /// The sum of all samples of this name that have these labels; `None` when there is none.
    pub fn value(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let wanted: Vec<String> = labels.iter().map(|(name, value)| format!("{name}=\"{value}\"")).collect();
        let found = self.0.lines().filter_map(|line| {
            let rest = line.strip_prefix(name).filter(|rest| rest.starts_with(['{', ' ']))?;
            let (labels, value) = rest.rsplit_once(' ')?;
            let inner = labels.trim_start_matches('{').trim_end_matches('}');
            let has = |wanted: &String| inner.split(',').any(|pair| pair == wanted);
            wanted.iter().all(has).then(|| value.parse::<f64>().unwrap_or_else(|_| panic!("{line}")))
        });
        found.fold(None, |sum, value| Some(sum.unwrap_or(0.0) + value))
    }

    /// Whether an alert of this name is in this state.
    pub fn alert(&self, name: &str, state: &str) -> bool {
        self.value("ALERTS", &[("alertname", name), ("alertstate", state)]).is_some()
    }
}
