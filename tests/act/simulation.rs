//! `remediations test`: files of tests played on the acting room, each guard's reason reached, and how differences are
//! shown.
//!
//! `GOLDEN=1 cargo test --test act_steps` rewrites the expected texts in `tests/remediations/*.out`.

use std::collections::BTreeSet;
use std::path::Path;

use davylamp::act::reason::Reason;
use davylamp::daemon::remediation_tests;
use davylamp::simulation::{Outcome, What, junit};

/// A file of `tests/remediations`, named as a user in the project's folder would name it.
fn outcome(name: &str) -> Outcome {
    remediation_tests(&Path::new("tests/remediations").join(name), None)
}

fn golden(name: &str, found: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/remediations").join(name);
    if std::env::var_os("GOLDEN").is_some() {
        std::fs::write(&path, found).unwrap();
    }
    assert_eq!(found, std::fs::read_to_string(&path).unwrap_or_default(), "{name}");
}

#[test]
fn every_reason_is_reached_by_a_test_of_its_own() {
    let outcome = outcome("guards.test.yml");
    assert!(outcome.passed(), "{outcome}");
    for reason in Reason::ALL.map(Reason::as_str) {
        let own = outcome.tests.iter().filter(|test| test.name.split([',', ' ']).next() == Some(reason));
        let reached = own.flat_map(|test| &test.timeline);
        let reached = reached.filter(|event| event.what == What::Suppressed && event.state == reason).count();
        assert!(reached > 0, "no test of guards.test.yml reaches {reason}");
    }
}

#[test]
fn stories_come_as_they_are_told() {
    let outcome = outcome("stories.test.yml");
    assert!(outcome.passed() && outcome.tests.len() >= 10, "{outcome}");
}

#[test]
fn differences_are_shown_line_by_line() {
    let outcome = outcome("fails.test.yml");
    assert!(!outcome.passed());
    golden("fails.out", &outcome.to_string());
    golden("fails.xml", &junit(&[outcome]));
}

#[test]
fn without_expectations_the_timeline_is_told() {
    let outcome = outcome("timeline.test.yml");
    assert!(outcome.passed());
    golden("timeline.out", &outcome.to_string());
    golden("timeline.json", &serde_json::to_string_pretty(&outcome).unwrap());
}

#[test]
fn mistakes_are_told_all_at_once() {
    for name in ["mistakes", "words"] {
        let outcome = outcome(&format!("{name}.test.yml"));
        let lines: BTreeSet<&String> = outcome.errors.iter().collect();
        assert_eq!(lines.len(), outcome.errors.len(), "a thing is told twice");
        golden(&format!("{name}.out"), &outcome.to_string());
    }
    let missing = remediation_tests(Path::new("tests/remediations/none.test.yml"), None);
    assert!(missing.errors[0].contains("cannot be read"), "{missing}");
}

#[test]
fn the_shipped_remediations_do_what_their_tests_say() {
    let outcome =
        remediation_tests(&Path::new(env!("CARGO_MANIFEST_DIR")).join("config/examples/miners.test.yml"), None);
    assert!(outcome.passed() && outcome.tests.len() >= 5, "{outcome}");
}

#[test]
fn the_example_of_the_readme_holds() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let readme = std::fs::read_to_string(root.join("README.md")).unwrap();
    let examples = readme.split("```yaml\n").skip(1).filter_map(|rest| rest.split("```").next());
    let example =
        examples.into_iter().find(|example| example.contains("tests:") && example.contains("expect:")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("readme.test.yml");
    let config = root.join("config/examples/miners.yml");
    std::fs::write(&path, example.replace("miners.yml", config.to_str().unwrap())).unwrap();
    let outcome = remediation_tests(&path, None);
    assert!(outcome.passed() && outcome.tests[0].checks.is_some_and(|checks| checks > 3), "{outcome}");
}
