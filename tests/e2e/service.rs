//! What a service manager sees: the words of `sd_notify(3)`, and two units that let nobody out of their sandbox.

use std::os::unix::net::UnixDatagram;
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::lamp::{Lamp, output};
use crate::world::{config, installed, seconds};

/// Receives messages until one has these words; all that came.
fn hear(manager: &UnixDatagram, words: &[&str]) -> Vec<String> {
    let begun = Instant::now();
    let mut heard: Vec<String> = Vec::new();
    let mut buffer = [0; 4096];
    for word in words {
        let mut found = false;
        while !found {
            assert!(begun.elapsed() < seconds(30), "{word} did not come; there were {heard:?}");
            if let Ok(length) = manager.recv(&mut buffer) {
                let message = String::from_utf8_lossy(&buffer[..length]).into_owned();
                found = message.lines().any(|line| line == *word);
                heard.push(message);
            }
        }
    }
    heard
}

#[test]
fn the_service_manager_is_told() {
    let mut lamp = Lamp::new(&(config(None, "") + " []"));
    lamp.write("rules.yml", "groups: []");
    let path = lamp.path("notify");
    let manager = UnixDatagram::bind(&path).unwrap();
    manager.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    lamp.env("NOTIFY_SOCKET", path.to_str().unwrap());
    lamp.env("WATCHDOG_USEC", "1000000");
    lamp.start();
    hear(&manager, &["READY=1"]);
    // Two in a second, or a service manager would kill it.
    let begun = Instant::now();
    hear(&manager, &["WATCHDOG=1", "WATCHDOG=1", "WATCHDOG=1", "WATCHDOG=1"]);
    assert!(begun.elapsed() < seconds(4), "{:?}", begun.elapsed());
    lamp.signal(Signal::HUP);
    let heard = hear(&manager, &["RELOADING=1", "READY=1"]);
    let reloading = heard.iter().find(|message| message.contains("RELOADING=1")).unwrap();
    let monotonic = reloading.lines().find_map(|line| line.strip_prefix("MONOTONIC_USEC=")?.parse::<i64>().ok());
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    let age = now.tv_sec * 1_000_000 + now.tv_nsec / 1000 - monotonic.unwrap();
    assert!((0..30_000_000).contains(&age), "{reloading}: {age} µs ago");
    lamp.finish();
    hear(&manager, &["STOPPING=1"]);
}

const UNITS: [&str; 2] = ["davylamp.service", "davylamp-runner.service"];

fn unit(name: &str) -> String {
    std::fs::read_to_string(format!("{}/systemd/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

#[test]
fn the_units_are_closed_sandboxes() {
    if !installed("systemd-analyze") {
        return;
    }
    for name in UNITS {
        let path = format!("{}/systemd/{name}", env!("CARGO_MANIFEST_DIR"));
        let mut analyze = Command::new("systemd-analyze");
        analyze.args(["--no-pager", "security", "--offline=true", "--threshold=12", &path]);
        let done = output(&mut analyze);
        let text = String::from_utf8_lossy(&done.stdout);
        let verdict = text.lines().find(|line| line.contains("Overall exposure level")).unwrap_or(&text);
        assert!(done.status.success(), "{name}: {verdict}\n{}", String::from_utf8_lossy(&done.stderr));
        eprintln!("{name}: {verdict}");
    }
}

#[test]
fn the_units_are_well_formed() {
    if !installed("systemd-analyze") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let mut analyze = Command::new("systemd-analyze");
    analyze.args(["--no-pager", "--man=no", "verify"]);
    for name in UNITS {
        // Nothing is installed here: the binary under test stands in for /usr/bin/davylamp.
        let text = unit(name).replace("/usr/bin/davylamp", crate::lamp::BINARY);
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        analyze.arg(path);
    }
    let done = output(&mut analyze);
    let said = [done.stdout, done.stderr].concat();
    // Units of the machine itself may be the worse for wear; ours may not.
    let said = String::from_utf8_lossy(&said).into_owned();
    let ours: Vec<&str> = said.lines().filter(|line| line.contains("davylamp")).collect();
    assert!(ours.is_empty(), "{said}");
    assert!(done.status.success(), "{said}");
}
