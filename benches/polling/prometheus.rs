//! The peer: a real Prometheus that scrapes the same pages as the row above it.

use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::common::{Child, Process};
use crate::{INTERVAL, WARM_UP, cells, sleep, watch};

struct Server(std::process::Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn start(targets: &[String]) -> Option<(Server, tempfile::TempDir)> {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("prometheus.yml");
    let seconds = INTERVAL.as_secs();
    let text = format!(
        "global: {{scrape_interval: {seconds}s, scrape_timeout: 4s}}\nscrape_configs:\n  - job_name: bench\n    \
         static_configs:\n      - {{labels: {{site: bench}}, targets: {targets:?}}}\n"
    );
    std::fs::write(&config, text).unwrap();
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut command = Command::new("prometheus");
    command
        .arg(format!("--config.file={}", config.display()))
        .arg(format!("--storage.tsdb.path={}", folder.path().join("data").display()))
        .arg(format!("--web.listen-address={free}"))
        .arg("--log.level=error")
        .stdout(Stdio::null());
    let server = Server(command.spawn().ok()?);
    sleep(WARM_UP.min(INTERVAL * targets.len() as u32 + Duration::from_secs(3)));
    Some((server, folder))
}

/// The row of Prometheus, if it is installed.
pub fn row() -> Option<Vec<String>> {
    let mut server = Child::start("serve text");
    let lines = std::iter::from_fn(|| Some(server.line()).filter(|line| line != "ready"));
    let targets: Vec<String> = lines.map(|line| line.split(' ').next_back().unwrap().to_string()).collect();
    let Some(empty) = start(&[]) else {
        println!("SKIPPED: prometheus is not installed");
        return None;
    };
    let empty = Process(empty.0.0.id()).resident();
    let full = start(&targets)?;
    let watched = watch(Process(full.0.0.id()), &mut server);
    let mut cells = cells("Prometheus, the same pages", &watched, watched.requests, empty);
    cells.extend(["", "", ""].map(String::from));
    Some(cells)
}
