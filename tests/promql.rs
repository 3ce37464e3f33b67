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

/// Passed and all, by class in the order of the table in the README.
type Figures = [(usize, usize); 3];

const CLASSES: [&str; 3] = ["classic", "experimental", "native_histograms"];

#[test]
fn prometheus_files_pass() {
    let Some(folder) = corpus() else { return };
    let classes = classes(&folder);
    let mut files: BTreeMap<String, Figures> = BTreeMap::new();
    for path in test_files(&folder) {
        let figures = files.entry(name(&path)).or_default();
        for outcome in runner::run(&String::from_utf8_lossy(&std::fs::read(&path).unwrap())) {
            // An indented one is in no class.
            let Some(class) = classes.get(&(name(&path), outcome.line)) else { continue };
            let figures = &mut figures[CLASSES.iter().position(|known| known == class).unwrap()];
            figures.1 += 1;
            match outcome.failure {
                None => figures.0 += 1,
                Some(why) => println!("{class} {}:{} {}\n    {why}", name(&path), outcome.line, outcome.query),
            }
        }
    }
    let sum =
        |class: usize| files.values().fold((0, 0), |sum, figures| (sum.0 + figures[class].0, sum.1 + figures[class].1));
    let [classic, experimental, native] = [0, 1, 2].map(sum);
    let cell = |(passed, all): (usize, usize)| if all == 0 { String::new() } else { format!("{passed} of {all}") };
    let mut table = String::from("| file | classic | experimental | native histograms |\n|---|---|---|---|\n");
    for (file, [a, b, c]) in &files {
        table += &format!("| `{file}` | {} | {} | {} |\n", cell(*a), cell(*b), cell(*c));
    }
    let _ = writeln!(
        std::io::stderr(),
        "{table}promqltest classic: {} of {}, experimental: {} of {}, native histograms: {} of {}",
        classic.0,
        classic.1,
        experimental.0,
        experimental.1,
        native.0,
        native.1
    );
    assert_eq!((classic.1, experimental.1, native.1), (936, 350, 927), "the runner lost evaluations");
    assert_eq!((classic.0, experimental.0, native.0), (936, 350, 927), "evaluations fail");
    let readme = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md")).unwrap();
    assert!(readme.contains(&table), "the table in the README is an old one; this is right:\n{table}");
}
