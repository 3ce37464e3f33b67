//! A real Prometheus over blocks that promtool made, to ask it the same questions.
#![allow(dead_code, clippy::disallowed_methods, reason = "not every bench asks; none has a runtime here")]

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::Process;

/// A running Prometheus; it ends with this value.
pub struct Peer {
    child: Child,
    port: u16,
}

impl Peer {
    /// Starts it over a folder of blocks; `None` where there is none.
    pub fn start(blocks: &Path) -> Option<Self> {
        let port = TcpListener::bind("127.0.0.1:0").ok()?.local_addr().ok()?.port();
        let config = blocks.join("prometheus.yml");
        std::fs::write(&config, "global: {}\n").ok()?;
        let child = Command::new("prometheus")
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.tsdb.path={}", blocks.display()))
            .args(["--storage.tsdb.retention.time=100y", &format!("--web.listen-address=127.0.0.1:{port}")])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .ok()?;
        let peer = Peer { child, port };
        let begun = Instant::now();
        while !peer.get("/-/ready").is_some_and(|answer| answer.starts_with("HTTP/1.0 200")) {
            if begun.elapsed() > Duration::from_secs(30) {
                return None;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        Some(peer)
    }

    /// CPU time of one of `runs` requests.
    pub fn cpu(&self, path: &str, runs: u32) -> Duration {
        let answer = self.get(path).unwrap_or_default();
        assert!(answer.contains("\"status\":\"success\"") && answer.contains("\"metric\""), "{path}: {answer:.300}");
        let process = Process(self.child.id());
        let before = process.cpu();
        for _ in 0..runs {
            self.get(path);
        }
        (process.cpu() - before) / runs
    }

    fn get(&self, path: &str) -> Option<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).ok()?;
        stream.write_all(format!("GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n").as_bytes()).ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        Some(answer)
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
