//! A server that is polled for metrics and told of alerts: it keeps what it was told, and answers as it is bidden.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What was posted.
#[derive(Clone, Debug)]
pub struct Post {
    pub headers: Vec<(String, String)>,
    pub body: String,
}

impl Post {
    pub fn header(&self, name: &str) -> String {
        let found = self.headers.iter().find(|(key, _)| key == name);
        found.unwrap_or_else(|| panic!("no {name}: {:?}", self.headers)).1.clone()
    }
}

#[derive(Default)]
struct State {
    page: String,
    posts: Vec<Post>,
    answers: VecDeque<u16>,
}

/// The server; a thread per connection, until the test's process ends.
pub struct Sink {
    pub address: SocketAddr,
    state: Arc<Mutex<State>>,
}

impl Sink {
    pub fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::<Mutex<State>>::default();
        let shared = state.clone();
        std::thread::spawn(move || {
            while let Ok((stream, _)) = listener.accept() {
                let state = shared.clone();
                std::thread::spawn(move || serve(stream, &state));
            }
        });
        Sink { address, state }
    }

    /// What a poll reads.
    pub fn page(&self, text: &str) {
        self.state.lock().unwrap().page = text.to_string();
    }

    /// What the next posts are answered; 0 is silence.
    pub fn answers(&self, statuses: &[u16]) {
        self.state.lock().unwrap().answers = statuses.iter().copied().collect();
    }

    pub fn posts(&self) -> Vec<Post> {
        self.state.lock().unwrap().posts.clone()
    }
}

/// One connection, one request.
fn serve(stream: TcpStream, state: &Mutex<State>) -> Option<()> {
    stream.set_read_timeout(Some(Duration::from_secs(30))).ok()?;
    let mut reader = BufReader::new(stream);
    let mut first = String::new();
    reader.read_line(&mut first).ok()?;
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim().split_once(": ") else { break };
        headers.push((name.to_ascii_lowercase(), value.to_string()));
    }
    let length = headers.iter().find(|(name, _)| name == "content-length").and_then(|(_, value)| value.parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    reader.read_exact(&mut body).ok()?;
    let (status, text) = {
        let mut state = state.lock().unwrap();
        if first.starts_with("POST") {
            state.posts.push(Post { headers, body: String::from_utf8(body).ok()? });
            (state.answers.pop_front().unwrap_or(200), String::new())
        } else {
            (200, state.page.clone())
        }
    };
    let mut stream = reader.into_inner();
    if status == 0 {
        // Until the other side gives up.
        let _ = stream.read(&mut [0]);
        return None;
    }
    let head = format!("HTTP/1.1 {status} x\r\nContent-Type: text/plain; version=0.0.4\r\nConnection: close\r\n");
    write!(stream, "{head}Content-Length: {}\r\n\r\n{text}", text.len()).ok()
}

/// Posts JSON; the whole answer.
pub fn post(address: SocketAddr, path: &str, body: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    let head = format!("POST {path} HTTP/1.0\r\nHost: {address}\r\nContent-Type: application/json\r\n");
    write!(stream, "{head}Content-Length: {}\r\n\r\n{body}", body.len()).unwrap();
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer);
    answer
}
