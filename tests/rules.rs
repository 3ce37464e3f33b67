//! Rules from file to alert: the shipped rules under promtool and under our own engine, the scenarios of the public
//! alert-generator compliance suite with a fake clock, and the messages for bad rule files.
//!
//! `GOLDEN=1 cargo test --test rules` rewrites the expected messages in `tests/rules/bad/*.err`.

#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "a test may panic, and says loudly what it skips")]

#[path = "rules/harness.rs"]
mod harness;
#[path = "rules/scenarios.rs"]
mod scenarios;

use std::path::Path;
use std::path::PathBuf;
use std::process::Command;
use std::process::Output;

use davylamp::rules::check_files;
use davylamp::rules::check_text;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// Files below the project's root with this ending, sorted.
fn files(folder: &str, ending: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(Path::new(ROOT).join(folder)).unwrap();
    let mut found: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    found.retain(|path| path.to_str().unwrap().ends_with(ending));
    found.sort();
    assert!(!found.is_empty(), "no *{ending} in {folder}");
    found
}

/// Runs promtool, or says that it is not there.
fn promtool(arguments: &[&str], paths: &[PathBuf]) -> Option<Output> {
    match Command::new("promtool").args(arguments).args(paths).output() {
        Ok(output) => Some(output),
        Err(error) => {
            eprintln!("SKIPPED: promtool cannot be run ({error}); install prometheus");
            None
        }
    }
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn shipped_rules_are_sound_for_us() {
    let report = check_files(files("config/rules", ".yml"));
    assert_eq!(report.problems().map(ToString::to_string).collect::<Vec<_>>(), Vec::<String>::new());
    assert!(report.rules() >= 40, "{report}");
    assert!(report.to_string().contains("SUCCESS: "));
    for rule in report.groups.iter().flat_map(|group| &group.rules) {
        let severity = rule.labels.get("severity").unwrap_or_default();
        assert!(["info", "warning", "critical"].contains(&severity), "{}: severity {severity:?}", rule.name);
        let alert = rule.alert().unwrap();
        let names: Vec<&str> = alert.annotations.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["description", "summary"], "{}", rule.name);
    }
}

#[test]
fn shipped_rules_are_sound_for_promtool() {
    let Some(output) = promtool(&["check", "rules", "--lint-fatal"], &files("config/rules", ".yml")) else { return };
    assert!(output.status.success(), "{}", text(&output));
}

#[test]
fn every_shipped_alert_has_a_test() {
    let tests: String =
        files("tests/rules", ".test.yml").iter().map(|path| std::fs::read_to_string(path).unwrap()).collect();
    for rule in check_files(files("config/rules", ".yml")).groups.iter().flat_map(|group| &group.rules) {
        assert!(tests.contains(&format!("alertname: {}\n", rule.name)), "no test for {}", rule.name);
    }
}

#[test]
fn rule_tests_hold_in_our_engine() {
    for path in files("tests/rules", ".test.yml") {
        assert!(harness::run(&path) > 0, "{} expects nothing", path.display());
    }
}

#[test]
fn rule_tests_hold_in_promtool() {
    let Some(output) = promtool(&["test", "rules"], &files("tests/rules", ".test.yml")) else { return };
    assert!(output.status.success(), "{}", text(&output));
}

#[test]
fn bad_files_are_explained_completely() {
    for path in files("tests/rules/bad", ".yml") {
        let name = path.file_name().unwrap().to_str().unwrap();
        let report = check_text(name, &std::fs::read_to_string(&path).unwrap());
        let said: String = report.problems().map(|problem| format!("{problem}\n")).collect();
        assert!(!said.is_empty(), "{name} has no mistake");
        let golden = path.with_extension("err");
        if std::env::var_os("GOLDEN").is_some() {
            std::fs::write(&golden, &said).unwrap();
        }
        assert_eq!(said, std::fs::read_to_string(&golden).unwrap_or_default(), "{name}");
    }
}

/// Prometheus must not be stricter than we are: what we refuse for certain, it refuses too.
#[test]
fn promtool_refuses_bad_files_too() {
    for path in files("tests/rules/bad", ".yml") {
        if !check_files([&path]).has_errors() {
            continue;
        }
        let Some(output) = promtool(&["check", "rules"], std::slice::from_ref(&path)) else { return };
        assert!(!output.status.success(), "promtool accepts {}: {}", path.display(), text(&output));
    }
}
