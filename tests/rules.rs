//! Rules from file to alert: the shipped rules under promtool and under our own engine, the scenarios of the public
//! alert-generator compliance suite with a fake clock, and the messages for bad rule files.
//!
//! `GOLDEN=1 cargo test --test rules` rewrites the expected messages in `tests/rules/bad/*.err` and `unit/*.out`.

#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "a test may panic, and says loudly what it skips")]

#[path = "rules/harness.rs"]
mod harness;
#[path = "rules/scenarios.rs"]
mod scenarios;
#[path = "rules/unit.rs"]
mod unit_tests;

use std::path::Path;
use std::path::PathBuf;
use std::process::Command;
use std::process::Output;

use davylamp::collect::KINDS;
use davylamp::rules::Engine;
use davylamp::rules::Samples;
use davylamp::rules::Settings;
use davylamp::rules::check_files;
use davylamp::rules::check_text;
use davylamp::rules::unit;
use davylamp::yaml::Severity;

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

/// Compares with a file below `tests/rules`.
fn golden(name: &str, found: &str) {
    let path = Path::new(ROOT).join("tests/rules").join(name);
    if std::env::var_os("GOLDEN").is_some() {
        std::fs::write(&path, found).unwrap();
    }
    assert_eq!(found, std::fs::read_to_string(&path).unwrap_or_default(), "{name}");
}

#[test]
fn shipped_rules_are_sound_for_us() {
    let report = check_files(files("config/rules", ".yml"));
    assert_eq!(report.problems().map(ToString::to_string).collect::<Vec<_>>(), Vec::<String>::new());
    assert!(report.rules() >= 40, "{report}");
    assert!(report.to_string().contains("SUCCESS: "));
    for rule in report.groups.iter().flat_map(|group| &group.rules).filter(|rule| rule.alert().is_some()) {
        let severity = rule.labels.get("severity").unwrap_or_default();
        assert!(["info", "warning", "critical"].contains(&severity), "{}: severity {severity:?}", rule.name);
        let alert = rule.alert().unwrap();
        let names: Vec<&str> = alert.annotations.iter().map(|(name, _)| name.as_str()).collect();
        let expected: &[&str] = match rule.name.starts_with("Miner") {
            true => &["description", "runbook", "summary"],
            false => &["description", "summary"],
        };
        assert_eq!(names, expected, "{}", rule.name);
    }
}

/// The runbook's chapters: the name of an alert, and what is said of it.
fn runbook() -> Vec<(String, String)> {
    let text = std::fs::read_to_string(Path::new(ROOT).join("docs/runbook.md")).unwrap();
    let chapters = text.split("\n### ").skip(1).map(|chapter| chapter.split_once('\n').unwrap());
    chapters.map(|(name, body)| (name.to_string(), body.to_string())).collect()
}

#[test]
fn every_alert_on_miners_has_its_chapter_in_the_runbook() {
    let report = check_files(vec![Path::new(ROOT).join("config/rules/miners.yml")]);
    let alerts = report.groups.iter().flat_map(|group| &group.rules).filter(|rule| rule.alert().is_some());
    let names: Vec<String> = alerts.map(|rule| rule.name.clone()).collect();
    let text = std::fs::read_to_string(Path::new(ROOT).join("config/rules/miners.yml")).unwrap();
    for name in &names {
        let link = format!("runbook: \"docs/runbook.md#{}\"\n", name.to_lowercase());
        assert_eq!(text.matches(&link).count(), 1, "{link}");
    }
    let chapters = runbook();
    assert_eq!(chapters.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>(), names);
    for (name, body) in chapters {
        assert!(body.contains("**By itself:**"), "{name} does not say what may be done by itself");
    }
}

/// Names of kinds that are no miners stand in some rules, because a new family of miners should need no edit there.
#[test]
fn rules_about_all_miners_leave_out_every_other_kind() {
    let others = KINDS.iter().filter(|kind| kind.subject != "miner").map(|kind| kind.name);
    let mut others: Vec<&str> = others.map(|name| if name.starts_with("pool_") { "pool_.+" } else { name }).collect();
    others.dedup();
    for file in ["miners.yml", "fleet.yml", "targets.yml"] {
        let text = std::fs::read_to_string(Path::new(ROOT).join("config/rules").join(file)).unwrap();
        assert!(text.contains(&format!("~\"{}\"", others.join("|"))), "{file}: {others:?}");
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
        // A recorded series is tested by a query, or by the alert that compares with it.
        let alert = || tests.contains(&format!("alertname: {}\n", rule.name));
        let recorded = || rule.name.starts_with("miner:") || tests.contains(&format!("expr: {}\n", rule.name));
        assert!(if rule.alert().is_some() { alert() } else { recorded() }, "no test for {}", rule.name);
    }
}

#[test]
fn rule_tests_hold_in_our_engine() {
    for path in files("tests/rules", ".test.yml") {
        let outcome = unit::run(&path, None);
        assert!(outcome.passed(), "{outcome}");
        assert!(outcome.tests.iter().all(|test| test.checks > 0), "{} expects nothing", path.display());
    }
}

#[test]
fn rule_tests_hold_in_promtool() {
    let Some(output) = promtool(&["test", "rules"], &files("tests/rules", ".test.yml")) else { return };
    assert!(output.status.success(), "{}", text(&output));
}

#[test]
fn everything_that_prometheus_accepts_is_read() {
    let report = check_files(files("tests/rules/good", ".yml"));
    assert_eq!(report.problems().map(ToString::to_string).collect::<Vec<_>>(), Vec::<String>::new());
    assert_eq!(report.rules(), 8);
    let group = report.groups.iter().find(|group| group.name == "all fields").unwrap();
    assert_eq!((group.interval, group.query_offset, group.limit), (seconds(90), seconds(10), 100));
    let rules: Vec<String> = group.rules.iter().map(|rule| format!("{}{}", rule.name, rule.labels)).collect();
    let recorded = "enabled=\"yes\", severity=\"none\", site=\"north\", truth=\"True\", version=\"1.50\"";
    assert_eq!(rules[0], format!("job:up:sum{{{recorded}}}"));
    assert_eq!(rules[1], format!("Name with blanks{{{}}}", recorded.replace("none", "critical")));
    let alert = group.rules[1].alert().unwrap();
    assert_eq!((Some(alert.hold), Some(alert.keep_firing_for)), (seconds(0), seconds(300)));
    assert_eq!(group.rules[1].line, Some(16));
    assert_eq!(group.rules[2].expr_text, "1");
}

/// Reads rule files, holds that promtool finds as many rules in each, and evaluates all of them once.
fn agrees_with_promtool(paths: &[PathBuf]) -> Engine {
    let report = check_files(paths);
    let errors = report.problems().filter(|problem| problem.severity == Severity::Error);
    assert_eq!(errors.map(ToString::to_string).collect::<Vec<_>>(), Vec::<String>::new());
    if let Some(output) = promtool(&["check", "rules", "--lint=none"], paths) {
        assert!(output.status.success(), "{}", text(&output));
        let theirs: Vec<String> =
            text(&output).lines().filter(|line| line.contains("SUCCESS")).map(|line| line.trim().into()).collect();
        let ours = report.files.iter().map(|file| format!("SUCCESS: {} rules found", file.rules));
        assert_eq!(ours.collect::<Vec<_>>(), theirs);
    }
    let rules = report.rules();
    let mut engine = Engine::new(report.groups, Settings::default(), 0);
    let evaluation = harness::evaluate_all(&mut engine, &Samples::default(), 3_600_000);
    assert_eq!((evaluation.rules, evaluation.problems), (rules, Vec::new()));
    engine
}

/// Rules in the manner of the mixins that everybody has: for hosts, clusters, probes, and monitoring itself.
#[test]
fn mixins_load_as_they_do_in_prometheus() {
    let window = agrees_with_promtool(&files("tests/rules/mixins", ".yml")).window();
    assert_eq!(window.as_secs() / 3600, 6, "a forecast over six hours is the longest of them");
}

/// The rule files that projects publish, with the tests that they publish beside them.
#[test]
fn published_mixins_load_as_they_do_in_prometheus() {
    let folder = std::env::var("DAVYLAMP_MIXINS").unwrap_or_else(|_| format!("{ROOT}/target/mixins"));
    let entries = std::fs::read_dir(&folder).into_iter().flatten();
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| [".yml", ".yaml"].iter().any(|ending| path.to_str().unwrap().ends_with(ending)));
    paths.sort();
    let (tests, rules): (Vec<_>, Vec<_>) =
        paths.into_iter().partition(|path| path.to_str().unwrap().contains(".test."));
    if rules.is_empty() {
        return eprintln!(
            "SKIPPED: no published rule files in {folder}; tests/run fetches some, DAVYLAMP_MIXINS names others"
        );
    }
    agrees_with_promtool(&rules);
    for path in tests {
        let outcome = unit::run(&path, None);
        assert!(outcome.passed() && outcome.tests.iter().all(|test| test.checks > 0), "{outcome}");
    }
}

fn seconds(seconds: u64) -> Option<std::time::Duration> {
    Some(std::time::Duration::from_secs(seconds))
}

#[test]
fn files_that_are_not_there_or_too_large_are_problems() {
    let folder = tempfile::tempdir().unwrap();
    let (missing, large, twice) = (folder.path().join("missing"), folder.path().join("large"), folder.path().join("a"));
    std::fs::write(&large, vec![b' '; 1024 * 1024 + 1]).unwrap();
    std::fs::write(&twice, "groups: []").unwrap();
    let report = check_files([&missing, &large, &twice, &twice]);
    let said: Vec<&str> = report.problems().map(|problem| problem.message.as_str()).collect();
    assert!(said[0].starts_with("cannot be read: "), "{said:?}");
    assert_eq!(
        said[1..],
        ["is larger than 1048576 bytes; split it", "the file is listed twice; its rules would be evaluated twice",]
    );
    assert!(report.has_errors());
}

#[test]
fn hostile_files_are_refused_quickly() {
    let nested = format!("groups: {}", "[".repeat(1_000_000));
    let laughs: String = (1..30).map(|n| format!("a{n}: &a{n} [*a{0}, *a{0}, *a{0}]\n", n - 1)).collect();
    let laughs = format!("a0: &a0 [x]\n{laughs}groups: *a29\n");
    for text in [nested, laughs, "\u{0}".to_string(), "a: *b".to_string(), "- ".repeat(5_000)] {
        let started = std::time::Instant::now();
        assert!(check_text("hostile.yml", &text).has_errors());
        assert!(started.elapsed() < std::time::Duration::from_secs(20), "{:?}", started.elapsed());
    }
    let rules =
        "  - {alert: A, expr: up == 0, labels: {n: 1.0}, annotations: {summary: '{{ $vale }}'}}\n".repeat(2_000);
    let text = format!("groups:\n- name: a\n  rules:\n{rules}");
    let started = std::time::Instant::now();
    let report = check_text("large.yml", &text);
    assert_eq!(report.problems().count(), 101, "the first hundred, and that there are more");
    assert!(started.elapsed() < std::time::Duration::from_secs(60), "{:?}", started.elapsed());
}

proptest::proptest! {
    #![proptest_config(proptest::test_runner::Config::with_cases(400))]

    /// Whatever stands in a file or a template: a problem, never a panic.
    #[test]
    fn nothing_that_is_read_panics(
        text in "(\\{\\{|\\}\\}|-| |\\.|\\$|\"|`|'|\\(|\\)|\\||if|range|end|else|define|with|len|printf|:=|[a-z0-9é%\\\\]){0,40}",
    ) {
        let scope = davylamp::rules::template::Scope {
            labels: &davylamp::model::Labels::empty(),
            value: 1.5,
            external_labels: &davylamp::model::Labels::empty(),
            external_url: "",
            at: 0,
            lookup: &NoQueries,
        };
        if let Ok(template) = davylamp::rules::template::Template::parse(&format!("{{{{ {text} }}}}")) {
            let _ = template.expand(&scope);
        }
        check_text("any.yml", &format!("groups: [{{name: a, rules: [{{alert: A, expr: {text}}}]}}]"));
    }
}

struct NoQueries;

impl davylamp::rules::template::Lookup for NoQueries {
    fn query(&self, _: &str) -> Result<Vec<(davylamp::model::Labels, f64)>, davylamp::rules::template::LookupError> {
        Ok(Vec::new())
    }
}

#[test]
fn bad_files_are_explained_completely() {
    for path in files("tests/rules/bad", ".yml") {
        let name = path.file_name().unwrap().to_str().unwrap();
        let report = check_text(name, &std::fs::read_to_string(&path).unwrap());
        let said: String = report.problems().map(|problem| format!("{problem}\n")).collect();
        assert!(!said.is_empty(), "{name} has no mistake");
        golden(&format!("bad/{}", name.replace(".yml", ".err")), &said);
    }
}

/// Prometheus must not be stricter than we are: what we refuse for certain, it refuses too.
#[test]
fn promtool_refuses_bad_files_too() {
    for path in files("tests/rules/bad", ".yml") {
        // Before 3.x, promtool read the first YAML document and said nothing of the others.
        if path.ends_with("documents.yml") || !check_files([&path]).has_errors() {
            continue;
        }
        let Some(output) = promtool(&["check", "rules"], std::slice::from_ref(&path)) else { return };
        assert!(!output.status.success(), "promtool accepts {}: {}", path.display(), text(&output));
    }
}
