//! A real Prometheus that is told what to do, and can be stopped and started again on the same data.

use std::net::{SocketAddr, TcpListener};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::http::ask;
use crate::lamp::{Aside, end_of};

/// A Prometheus with a folder and a port of its own.
pub struct Prometheus {
    // Before the folder that it writes to.
    child: Option<Aside>,
    folder: tempfile::TempDir,
    pub address: SocketAddr,
}

impl Prometheus {
    /// Prepares one; `None`, said loudly, where it is not installed.
    pub fn new(config: &str) -> Option<Prometheus> {
        if Command::new("prometheus").arg("--version").output().is_err() {
            eprintln!("SKIPPED: prometheus is not installed");
            return None;
        }
        let folder = tempfile::Builder::new().prefix("rw").tempdir_in("/tmp").unwrap();
        // Free a moment ago; Prometheus cannot choose one by itself and say which.
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let config = config.replace("{self}", &address.to_string());
        std::fs::write(folder.path().join("prometheus.yml"), config).unwrap();
        Some(Prometheus { child: None, folder, address })
    }

    pub fn start(&mut self) {
        let log = std::fs::File::options().create(true).append(true).open(self.folder.path().join("log")).unwrap();
        let child = Command::new("prometheus")
            .arg(format!("--config.file={}", self.folder.path().join("prometheus.yml").display()))
            .arg(format!("--storage.tsdb.path={}", self.folder.path().join("data").display()))
            .arg(format!("--web.listen-address={}", self.address))
            .arg("--web.enable-remote-write-receiver")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        self.child = Some(Aside(child));
        let begun = Instant::now();
        while !ask(self.address, "GET", "/-/ready", &[]).is_ok_and(|answer| answer.status == 200) {
            assert!(begun.elapsed() < Duration::from_secs(60), "Prometheus does not start:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    pub fn stop(&mut self) {
        let mut child = self.child.take().unwrap();
        kill_process(Pid::from_child(&child.0), Signal::TERM).unwrap();
        assert!(end_of(&mut child.0, Duration::from_secs(60)).is_some(), "{}", self.log());
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap()
    }

    /// The result of an instant query.
    pub fn query(&self, expr: &str) -> Vec<Value> {
        let expr: String = url::form_urlencoded::byte_serialize(expr.as_bytes()).collect();
        let answer = ask(self.address, "GET", &format!("/api/v1/query?query={expr}"), &[]).unwrap();
        let document: Value = serde_json::from_str(&answer.body).unwrap();
        assert_eq!(document["status"], "success", "{expr}: {document}");
        document["data"]["result"].as_array().unwrap().clone()
    }
}
