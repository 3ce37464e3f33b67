//! The rules of the house that a compiler does not hold: headers, sizes, doors, arrows.
//!
//! A text scan, on purpose: it is short, and it reads what a person reads.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

const SOURCE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src");

/// Lines of a file without its tests. Above this it no longer fits in a head.
const MOST_LINES: usize = 400;

/// Who may name whom, beside itself. `config` and `daemon` wire and may name all; nobody names them.
const ARROWS: &[(&str, &[&str])] = &[
    ("model", &[]),
    ("secret", &[]),
    ("yaml", &["model"]),
    ("telemetry", &["model"]),
    ("preset", &["model", "secret"]),
    ("store", &["model", "telemetry"]),
    ("collect", &["model", "preset", "telemetry", "secret", "yaml"]),
    ("listen", &["model", "collect", "telemetry"]),
    ("schedule", &["model", "collect", "telemetry"]),
    ("discover", &["model", "collect", "schedule", "secret", "yaml"]),
    ("wire", &["model"]),
    ("ingest", &["model", "store", "telemetry", "wire"]),
    ("sink", &["model", "collect", "telemetry", "secret", "wire"]),
    ("query", &["model"]),
    ("rules", &["model", "query", "telemetry", "yaml"]),
    ("silence", &["model", "schedule"]),
    ("notify", &["model", "collect", "rules", "secret", "silence", "telemetry"]),
    ("act", &["model", "rules", "telemetry", "secret", "yaml"]),
    ("simulation", &["model", "yaml", "query", "rules", "silence", "act"]),
    ("audit", &[]),
    ("curtail", &["model"]),
    ("webhook", &["model", "secret"]),
    ("dashboards", &["model", "collect", "rules"]),
    ("demo", &["model"]),
    (
        "api",
        &[
            "model",
            "preset",
            "listen",
            "store",
            "query",
            "rules",
            "act",
            "secret",
            "silence",
            "telemetry",
            "audit",
            "curtail",
            "webhook",
            "ingest",
            "wire",
            "discover",
        ],
    ),
    ("config", &["*"]),
    ("daemon", &["*"]),
];

/// One door for each heavy crate: the word, and the places in which it may stand.
const DOORS: &[(&str, &[&str])] = &[
    ("sled::", &["store/"]),
    ("bollard", &["collect/docker/"]),
    ("lettre", &["notify/receiver/email.rs", "notify/check.rs"]),
    ("axum", &["api/"]),
    // Only to tell a malformed answer from a broken connection.
    ("hyper::", &["api/", "collect/http.rs"]),
    ("reqwest", &["collect/http.rs", "collect/http/", "collect/docker/client.rs"]),
    ("process::Command", &["act/"]),
    ("tokio::process", &["act/"]),
    ("tokio::spawn", &["daemon/"]),
    ("tokio_cron_scheduler", &["schedule/"]),
    ("prometheus_client", &["telemetry/"]),
    ("prost", &["wire/"]),
    ("snap::", &["wire/"]),
    ("tungstenite", &["listen/"]),
];

struct Source {
    /// Relative to `src/`.
    path: String,
    /// Without the tests at its end.
    lines: Vec<String>,
}

impl Source {
    fn room(&self) -> &str {
        self.path.split('/').next().unwrap_or_default().trim_end_matches(".rs")
    }

    /// Lines of code with their numbers, comments left out.
    fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        let numbered = self.lines.iter().enumerate().map(|(index, line)| (index + 1, line.trim()));
        numbered.filter(|(_, line)| !line.starts_with("//"))
    }
}

fn sources() -> Vec<Source> {
    let mut open = vec![PathBuf::from(SOURCE)];
    let mut found = Vec::new();
    while let Some(folder) = open.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = std::fs::read_to_string(&path).unwrap();
                let lines =
                    text.lines().take_while(|line| !line.starts_with("#[cfg(test)]")).map(String::from).collect();
                found.push(Source { path: path.strip_prefix(SOURCE).unwrap().display().to_string(), lines });
            }
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    assert!(found.len() > 30, "the scan found only {} files", found.len());
    found
}

fn refuse(findings: Vec<String>) {
    assert!(findings.is_empty(), "\n{}\n", findings.join("\n"));
}

#[test]
fn every_file_says_what_it_is_for_and_stays_short() {
    let mut findings = Vec::new();
    for source in sources() {
        if !source.lines.first().is_some_and(|line| line.starts_with("//! ")) {
            findings.push(format!("{}:1: begins with a line `//! what this file is for`", source.path));
        }
        if source.lines.len() > MOST_LINES {
            findings.push(format!("{}: {} lines without tests; at most {MOST_LINES}", source.path, source.lines.len()));
        }
    }
    refuse(findings);
}

#[test]
fn rooms_name_only_the_rooms_they_may() {
    let arrows: BTreeMap<_, _> = ARROWS.iter().copied().collect();
    let mut findings = Vec::new();
    for source in sources() {
        let room = source.room();
        if matches!(room, "main" | "lib" | "args" | "commands") {
            continue;
        }
        let Some(allowed) = arrows.get(room) else {
            findings.push(format!("{}: the room {room:?} has no row in ARROWS", source.path));
            continue;
        };
        for (number, line) in source.code() {
            if line.contains("use crate::{") {
                findings.push(format!(
                    "{}:{number}: one `use crate::room::…` per line, so that this scan sees it",
                    source.path
                ));
            }
            for rest in line.split("crate::").skip(1) {
                let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
                let named = &rest[..end];
                let known = arrows.contains_key(named);
                if known && named != room && !allowed.contains(&named) && !allowed.contains(&"*") {
                    findings.push(format!("{}:{number}: {room} may not name {named}", source.path));
                }
            }
        }
    }
    refuse(findings);
}

#[test]
fn heavy_crates_have_one_door() {
    let mut findings = Vec::new();
    for source in sources() {
        for (number, line) in source.code() {
            for (word, places) in DOORS {
                if line.contains(word) && !places.iter().any(|place| source.path.starts_with(place)) {
                    findings.push(format!("{}:{number}: {word} belongs into {}", source.path, places.join(" or ")));
                }
            }
        }
    }
    refuse(findings);
}

#[test]
fn nothing_is_left_for_later_in_the_code() {
    let words = ["TODO", "FIXME", "XXX", "todo!", "unimplemented!"];
    let mut findings = Vec::new();
    for source in sources() {
        for (index, line) in source.lines.iter().enumerate() {
            if words.iter().any(|word| line.contains(word)) {
                findings.push(format!("{}:{}: {}", source.path, index + 1, line.trim()));
            }
        }
    }
    refuse(findings);
}

#[test]
fn the_readme_has_two_set_up_commands_and_ci_runs_the_second() {
    let read = |name: &str| std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).unwrap();
    let readme = read("README.md");
    let intro = readme.split("## Why").next().unwrap();
    let commands: Vec<&str> = intro.split("```sh\n").skip(1).filter_map(|block| block.split("\n```").next()).collect();
    assert_eq!(commands, ["cargo run -- demo", "tests/run"]);
    assert!(read(".ci/run").contains("exec tests/run"), ".ci/run runs what the README says");
    for picture in ["docs/dashboard.png", "docs/status.png"] {
        assert!(readme.contains(picture) && Path::new(env!("CARGO_MANIFEST_DIR")).join(picture).is_file(), "{picture}");
    }
}

#[test]
fn the_top_level_is_the_users() {
    let expected = [
        ".ci",
        ".git",
        ".gitignore",
        "ARCHITECTURE.md",
        "CHANGELOG.md",
        "CONTRIBUTING.md",
        "Cargo.lock",
        "Cargo.toml",
        "LICENSE",
        "README.md",
        "benches",
        "clippy.toml",
        "config",
        "deny.toml",
        "docs",
        "grafana-dashboards",
        "rustfmt.toml",
        "src",
        "systemd",
        "target",
        "tests",
    ];
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let strangers: Vec<String> = std::fs::read_dir(root)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .filter(|name| !expected.contains(&name.as_str()))
        .map(|name| format!("{name}: not part of the top level; see ARCHITECTURE.md"))
        .collect();
    refuse(strangers);
}
