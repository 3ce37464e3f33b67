//! The README's first command: the demo tells its story, in a minute and a half, and leaves nothing behind.
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stderr, reason = "a test may panic")]

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Long enough for the alert, the playbook and the resolve.
const SECONDS: &str = "75";

fn ansible() -> Option<PathBuf> {
    let named = std::env::var_os("DAVYLAMP_ANSIBLE").map(PathBuf::from);
    let in_path =
        std::env::split_paths(&std::env::var_os("PATH")?).map(|folder| folder.join("ansible-playbook")).next();
    named.into_iter().chain(in_path).find(|path| path.is_file())
}

#[test]
fn an_alert_fires_within_a_minute_and_a_playbook_cures_the_miner() {
    let folder = tempfile::tempdir().unwrap();
    let ansible = ansible();
    let mut path = std::env::var_os("PATH").unwrap();
    if let Some(ansible) = &ansible {
        path = std::env::join_paths([ansible.parent().unwrap().into()].into_iter().chain(std::env::split_paths(&path)))
            .unwrap();
    }
    let output = Command::new(env!("CARGO_BIN_EXE_davylamp"))
        .args(["demo", "--listen", "127.0.0.1:0", "--seconds", SECONDS, "--no-docker", "--keep"])
        .arg(folder.path())
        .env("PATH", path)
        .env_remove("RUST_LOG")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{told}");
    let has = |text: &str| assert!(told.contains(text), "{text:?} is missing in\n{told}");
    has("status page   http://127.0.0.1:");
    has("state=\"firing\" labels=\"{alertname=\\\"MinerHashrateLow\\\", miner=\\\"bitaxe-2\\\"");
    has("state=\"firing\" labels=\"{alertname=\\\"TargetDown\\\"");
    assert!(!told.contains("panicked"), "{told}");
    let dashboards = folder.path().join("grafana-dashboards");
    assert!(dashboards.join("miners/davylamp-fleet.json").is_file());
    if ansible.is_none() {
        has("ansible-playbook is not installed");
        eprintln!("SKIPPED: the cure in the demo: ansible-playbook is not installed");
        return;
    }
    has("state=\"succeeded\"");
    has("the simulated miner was restarted, and hashes again miner=\"bitaxe-2\"");
    has("state=\"resolved\" labels=\"{alertname=\\\"MinerHashrateLow\\\", miner=\\\"bitaxe-2\\\"");
    nothing_is_left(folder.path());
}

/// No process that names the demo's folder.
fn nothing_is_left(folder: &Path) {
    let folder = folder.display().to_string();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        assert!(!line.contains(&folder), "still there: {line}");
    }
}
