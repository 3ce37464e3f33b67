//! Tests of rule tests: the same files under promtool and under us, and how differences are shown.

use std::path::Path;
use std::path::PathBuf;

use davylamp::rules::unit;
use davylamp::rules::unit::Outcome;

use super::golden;
use super::promtool;

/// A file of `tests/rules/unit`, named as a user in the project's folder would name it.
fn file(name: &str) -> PathBuf {
    Path::new("tests/rules/unit").join(name)
}

fn outcome(name: &str) -> Outcome {
    unit::run(&file(name), None)
}

#[test]
fn what_holds_for_promtool_holds_for_us() {
    for name in ["holds.test.yml", "newer.test.yml"] {
        let outcome = outcome(name);
        assert!(outcome.passed() && outcome.tests.len() >= 2, "{outcome}");
    }
    let Some(output) = promtool(&["test", "rules"], &[file("holds.test.yml")]) else { return };
    assert!(output.status.success(), "{}", super::text(&output));
}

#[test]
fn a_pattern_that_matches_nothing_is_told() {
    let warnings = outcome("newer.test.yml").warnings;
    assert_eq!(warnings.len(), 1);
    assert!(warnings[0].ends_with("newer.test.yml:2: rule_files[1]: warning: no file matches \"nothing-*.yml\""));
}

#[test]
fn what_fails_is_shown_line_by_line() {
    golden("unit/fails.out", &outcome("fails.test.yml").to_string());
    golden("unit/fails.xml", &unit::junit(&[outcome("fails.test.yml"), outcome("mistakes.test.yml")]));
    let Some(output) = promtool(&["test", "rules"], &[file("fails.test.yml")]) else { return };
    assert!(!output.status.success());
    // One failure more or less would be a difference in meaning, whatever the words.
    let theirs = super::text(&output).matches(", time: ").count();
    let ours = outcome("fails.test.yml").tests.iter().map(|test| test.failures.len()).sum::<usize>();
    assert_eq!(ours, theirs, "{}", super::text(&output));
}

#[test]
fn mistakes_are_told_all_at_once() {
    golden("unit/mistakes.out", &outcome("mistakes.test.yml").to_string());
}

#[test]
fn only_tests_of_a_name_are_run() {
    let only = regex::Regex::new("numbers|nothing").unwrap();
    let outcome = unit::run(&file("holds.test.yml"), Some(&only));
    assert_eq!(
        outcome.tests.iter().map(|test| test.name.as_str()).collect::<Vec<_>>(),
        ["numbers as Prometheus reads them"]
    );
}

#[test]
fn a_test_of_endless_time_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("long.test.yml");
    std::fs::write(&path, "tests: [{promql_expr_test: [{expr: 1, eval_time: 100y}]}]").unwrap();
    let outcome = unit::run(&path, None);
    assert!(outcome.to_string().contains("52560000 evaluations, at most 1000000 are allowed"), "{outcome}");
}
