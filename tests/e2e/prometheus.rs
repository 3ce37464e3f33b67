//! A real Prometheus that scrapes the daemon.

use std::net::{SocketAddr, TcpListener};
use std::process::{Command, Stdio};
use std::time::Instant;

use serde_json::Value;

use crate::http::ask;
use crate::lamp::Aside;
use crate::world::{installed, seconds};

/// A running server with a database of its own.
pub struct Prometheus {
    // Before the folder that it writes to.
    _child: Aside,
    folder: tempfile::TempDir,
    address: SocketAddr,
}

impl Prometheus {
    /// Starts one that scrapes this address every two seconds and loads our rule files; `None`, said loudly, where it is not
    /// installed.
    pub fn start(target: SocketAddr) -> Option<Prometheus> {
        if !installed("prometheus") {
            return None;
        }
        let folder = tempfile::Builder::new().prefix("e2e").tempdir_in("/tmp").unwrap();
        let config = format!(
            "global: {{scrape_interval: 2s, scrape_timeout: 2s, evaluation_interval: 2s}}\n\
             rule_files: ['{}/config/rules/*.yml']\nscrape_configs:\n\
             - {{job_name: davylamp, static_configs: [{{targets: ['{target}']}}]}}\n",
            env!("CARGO_MANIFEST_DIR")
        );
        std::fs::write(folder.path().join("prometheus.yml"), config).unwrap();
        // Free a moment ago; Prometheus cannot choose one by itself and say which.
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let log = std::fs::File::create(folder.path().join("log")).unwrap();
        let child = Command::new("prometheus")
            .arg(format!("--config.file={}", folder.path().join("prometheus.yml").display()))
            .arg(format!("--storage.tsdb.path={}", folder.path().join("data").display()))
            .arg(format!("--web.listen-address={address}"))
            .arg("--log.level=debug")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        let server = Prometheus { _child: Aside(child), folder, address };
        let begun = Instant::now();
        while !ask(address, "GET", "/-/ready", &[]).is_ok_and(|answer| answer.status == 200) {
            assert!(begun.elapsed() < seconds(60), "Prometheus does not start:\n{}", server.log());
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
        Some(server)
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What it has logged.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap()
    }

    /// `data` of an answer of its API.
    pub fn api(&self, path: &str) -> Value {
        let answer = ask(self.address, "GET", path, &[]).unwrap();
        let document: Value = serde_json::from_str(&answer.body).unwrap_or_else(|_| panic!("{path}: {}", answer.body));
        assert_eq!(document["status"], "success", "{path}: {document}");
        document["data"].clone()
    }

    /// The series of an instant query.
    pub fn query(&self, expr: &str) -> Vec<Value> {
        let expr: String = url::form_urlencoded::byte_serialize(expr.as_bytes()).collect();
        self.api(&format!("/api/v1/query?query={expr}"))["result"].as_array().unwrap().clone()
    }
}
