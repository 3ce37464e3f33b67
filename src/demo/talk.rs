//! One exchange on a socket: a request is read, an answer is written, in the manner of each wire.

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::family::Wire;

/// Longest request that is read.
const MAX_REQUEST: usize = 8 * 1024;

/// What was asked.
#[derive(Default)]
pub struct Request {
    /// `GET`, `POST`; empty for a command.
    pub method: String,
    /// Path with its query; the command with its parameter.
    pub path: String,
    headers: Vec<(String, String)>,
    /// Body over HTTP, the whole request otherwise.
    pub body: String,
}

impl Request {
    /// As a page of replies names it.
    pub fn name(&self) -> String {
        if self.method.is_empty() { self.path.clone() } else { format!("{} {}", self.method, self.path) }
    }

    /// Whether it is no mere question or login.
    pub fn changes(&self) -> bool {
        let commands = ["addpool", "switchpool", "removepool", "setpool", "ascset", "profileset"];
        let command = self.path.split(' ').next().unwrap_or_default();
        matches!(&*self.method, "PUT" | "PATCH")
            || commands.contains(&command)
            || self.method == "POST" && !["login", "unlock", "otp"].iter().any(|word| self.path.contains(word))
    }

    /// The value of a header, by its name in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// Reads one. A command is taken in one read, as the real devices do: in two segments it is "Invalid JSON" to them.
    pub async fn read(stream: &mut TcpStream, wire: Wire) -> std::io::Result<Request> {
        match wire {
            Wire::Http => Request::read_http(stream).await,
            Wire::Rpc => {
                let mut bytes = vec![0; 1024];
                let length = stream.read(&mut bytes).await?;
                Ok(Request::command(&bytes[..length]))
            }
            Wire::Framed => {
                let length = stream.read_u32_le().await? as usize;
                let mut bytes = vec![0; length.min(MAX_REQUEST)];
                stream.read_exact(&mut bytes).await?;
                Ok(Request::command(&bytes))
            }
        }
    }

    fn command(bytes: &[u8]) -> Request {
        let request: Value = serde_json::from_slice(bytes).unwrap_or_default();
        let word = |keys: [&str; 2]| keys.iter().find_map(|key| request.get(key)?.as_str().map(str::to_string));
        let command = word(["command", "cmd"]).unwrap_or_default();
        let path = match word(["parameter", "param"]) {
            Some(parameter) => format!("{command} {parameter}"),
            None => command,
        };
        Request { path, body: String::from_utf8_lossy(bytes).into_owned(), ..Request::default() }
    }

    async fn read_http(stream: &mut TcpStream) -> std::io::Result<Request> {
        let mut bytes = Vec::with_capacity(512);
        let end = loop {
            if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
                break end + 4;
            }
            // What is no HTTP is refused without waiting for its end.
            let foreign = bytes.first() == Some(&b'{');
            if foreign || bytes.len() > MAX_REQUEST || stream.read_buf(&mut bytes).await? == 0 {
                break bytes.len();
            }
        };
        let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
        let mut lines = head.lines();
        let mut words = lines.next().unwrap_or_default().split(' ').map(str::to_string);
        let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let headers = lines.filter_map(|line| line.split_once(':'));
        let headers: Vec<_> =
            headers.map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_string())).collect();
        let mut request = Request { method, path, headers, body: String::new() };
        let length = request.header("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
        let whole = end + usize::min(length, MAX_REQUEST);
        while bytes.len() < whole && stream.read_buf(&mut bytes).await? > 0 {}
        request.body = String::from_utf8_lossy(&bytes[end..]).into_owned();
        Ok(request)
    }
}

/// What is answered.
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// A header of its own, with its value.
    pub header: Option<(&'static str, String)>,
    /// Whether it refuses for want of a login.
    pub is_refusal: bool,
    /// Body.
    pub body: Vec<u8>,
}

impl Answer {
    /// An answer without a header of its own.
    pub fn new(status: u16, body: &str) -> Self {
        Answer { status, header: None, is_refusal: false, body: body.as_bytes().to_vec() }
    }

    /// Writes it; the caller closes.
    pub async fn write(&self, stream: &mut TcpStream, wire: Wire) -> std::io::Result<()> {
        let length = self.body.len();
        let mut bytes = match wire {
            Wire::Rpc => Vec::new(),
            Wire::Framed => (length as u32).to_le_bytes().to_vec(),
            Wire::Http => {
                let reason = match self.status {
                    200 => "OK",
                    302 => "Found",
                    401 => "Unauthorized",
                    404 => "Not Found",
                    _ => "Internal Server Error",
                };
                let sort = if self.body.starts_with(b"{") { "application/json" } else { "text/html" };
                let own = self.header.iter().map(|(name, value)| format!("{name}: {value}\r\n"));
                let location = (self.status == 302).then(|| "Location: /\r\n".to_string());
                let headers: String = own.chain(location).collect();
                format!(
                    "HTTP/1.1 {} {reason}\r\n{headers}Content-Type: {sort}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n",
                    self.status
                )
                .into_bytes()
            }
        };
        bytes.extend_from_slice(&self.body);
        if wire == Wire::Rpc {
            bytes.push(0);
        }
        stream.write_all(&bytes).await
    }
}
