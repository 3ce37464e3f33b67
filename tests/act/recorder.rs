//! A small HTTP server for tests, on a port and on a Unix socket, that writes down what it is asked and answers like the
//! things that the shipped playbooks talk to.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::{Arc, Mutex};

/// The server. Its threads wait in `accept` until the test's process ends.
pub struct Recorder {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<String>>>,
}

impl Recorder {
    pub fn start(socket: &Path) -> Recorder {
        let seen: Arc<Mutex<Vec<String>>> = Arc::default();
        let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = tcp.local_addr().unwrap();
        let unix = UnixListener::bind(socket).unwrap();
        let (one, two) = (seen.clone(), seen.clone());
        std::thread::spawn(move || tcp.incoming().flatten().for_each(|stream| answer(&stream, &stream, &one)));
        std::thread::spawn(move || unix.incoming().flatten().for_each(|stream| answer(&stream, &stream, &two)));
        Recorder { address, seen }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What was asked since the last time: `METHOD path authorization`.
    pub fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.seen.lock().unwrap())
    }
}

fn answer(read: impl Read, mut write: impl Write, seen: &Mutex<Vec<String>>) {
    let mut lines = BufReader::new(read).lines().map_while(Result::ok);
    let first = lines.next().unwrap_or_default();
    let headers: Vec<String> = lines.take_while(|line| !line.is_empty()).collect();
    let auth = headers.iter().find(|line| line.to_ascii_lowercase().starts_with("authorization"));
    let asked = first.trim_end_matches(" HTTP/1.1").to_string();
    seen.lock().unwrap().push(format!("{asked} {}", auth.map_or("", String::as_str)));
    let body = if asked.contains("/api/system/info") {
        r#"{"hashRate": 1.5, "hostname": "m1", "wifiPassword": "wifi-hunter2"}"#
    } else if asked.contains("Switch.GetStatus") {
        r#"{"id": 2, "output": true}"#
    } else if asked.contains("/restart?") {
        let _ = write.write_all(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n");
        return;
    } else {
        "{}"
    };
    let length = body.len();
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
    );
    let _ = write.write_all(format!("{head}{body}").as_bytes());
}
