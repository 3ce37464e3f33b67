//! PromQL against test files in Prometheus' own test language: the project's, in `tests/promql/`, and Prometheus',
//! in the folder that `DAVYLAMP_PROMQLTEST` names (default `../shared/promqltest`; skipped, saying so, without it).

// All of this is test code, also what stands outside of test functions.
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout)]

#[path = "promql/language.rs"]
mod language;
#[path = "promql/memory.rs"]
mod memory;
#[path = "promql/properties.rs"]
mod properties;
#[path = "promql/runner.rs"]
mod runner;

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};

/// Classic evaluations that may fail: this one selects only the native histograms that `load_with_nhcb` makes of
/// classic ones, and expects them to collide.
const CLASSIC_EXCEPTIONS: [(&str, usize); 1] = [("histograms.test", 1081)];
/// Experimental evaluations that must pass; the others need start timestamps or the native histograms above.
const EXPERIMENTAL_FLOOR: usize = 335;

fn corpus() -> Option<PathBuf> {
    let default = concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/promqltest");
    let folder = PathBuf::from(std::env::var("DAVYLAMP_PROMQLTEST").unwrap_or_else(|_| default.to_string()));
    if folder.join("classification.tsv").is_file() {
        return Some(folder);
    }
    // Past the harness, which shows the output of failing tests only.
    let _ = writeln!(
        std::io::stderr(),
        "SKIPPED: no Prometheus test files in {} (set DAVYLAMP_PROMQLTEST)",
        folder.display()
    );
    None
}

fn test_files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<PathBuf> = entries.filter(|path| path.extension().is_some_and(|e| e == "test")).collect();
    files.sort();
    files
}

fn name(path: &Path) -> String {
    path.file_name().unwrap().to_string_lossy().into_owned()
}

/// (file, line) → class, from the corpus' own table.
fn classes(folder: &Path) -> BTreeMap<(String, usize), String> {
    let table = std::fs::read_to_string(folder.join("classification.tsv")).unwrap();
    let row = |line: &str| {
        let cells: Vec<&str> = line.split('\t').collect();
        ((cells[0].to_string(), cells[1].parse().unwrap()), cells[3].to_string())
    };
    table.lines().skip(1).map(row).collect()
}

#[test]
fn own_files_pass() {
    let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/promql"));
    let (mut count, mut failures) = (0, Vec::new());
    for path in test_files(folder) {
        for outcome in runner::run(&std::fs::read_to_string(&path).unwrap()) {
            count += 1;
            let place = format!("{}:{} {}", name(&path), outcome.line, outcome.query);
            failures.extend(outcome.failure.map(|why| format!("{place}\n    {why}")));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    assert!(count >= 100, "only {count} evaluations");
}

#[test]
fn prometheus_files_pass() {
    let Some(folder) = corpus() else { return };
    let classes = classes(&folder);
    let mut passed: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
    let mut failed_classics = Vec::new();
    for path in test_files(&folder) {
        for outcome in runner::run(&String::from_utf8_lossy(&std::fs::read(&path).unwrap())) {
            let class = classes.get(&(name(&path), outcome.line)).map_or("unknown", String::as_str);
            let counts = passed.entry(class).or_default();
            counts.1 += 1;
            match outcome.failure {
                None => counts.0 += 1,
                Some(why) => {
                    println!("{class} {}:{} {}\n    {why}", name(&path), outcome.line, outcome.query);
                    if class == "classic" {
                        failed_classics.push((name(&path), outcome.line));
                    }
                }

            }
        }
    }
    let figures = |class: &str| passed.get(class).copied().unwrap_or_default();
    let (classic, experimental, native) = (figures("classic"), figures("experimental"), figures("native_histograms"));
    let _ = writeln!(
        std::io::stderr(),
        "promqltest classic: {} of {}, experimental: {} of {}, native histograms: {} of {}",
        classic.0,
        classic.1,
        experimental.0,
        experimental.1,
        native.0,
        native.1
    );
    assert_eq!((classic.1, experimental.1, native.1), (936, 350, 927), "the runner lost evaluations");
    failed_classics.retain(|(file, line)| !CLASSIC_EXCEPTIONS.contains(&(file.as_str(), *line)));
    assert!(failed_classics.is_empty(), "classic evaluations fail: {failed_classics:?}");
    assert!(experimental.0 >= EXPERIMENTAL_FLOOR, "experimental: {} pass, {EXPERIMENTAL_FLOOR} must", experimental.0);
}
