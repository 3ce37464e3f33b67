//! The dashboards as Grafana and Prometheus see them: official schemas, promtool, the linter's rules, a model of
//! Grafana's file reader, and the shipped files.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "helpers of tests: clippy allows these only inside of the test functions themselves"
)]

mod fixture;
mod linter;
mod promtool;
mod reader;
mod schema;

use std::collections::BTreeSet;
use std::path::Path;

use davylamp::dashboards::{self, Facts, Problem, Settings};
use fixture::{list, panels, text};

/// `GOLDEN=1` rewrites them.
#[test]
fn shipped_files_are_what_the_builder_writes() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("grafana-dashboards");
    let files = fixture::shipped();
    if std::env::var_os("GOLDEN").is_some() {
        dashboards::write(&dir, &files).unwrap();
    }
    let mut findings = dashboards::check(&dir, &files, |_| Ok::<(), String>(()));
    // Modes of a checkout depend on the umask of whoever made it.
    findings.retain(|finding| !matches!(finding.problem, Problem::Closed(_)));
    assert!(findings.is_empty(), "run GOLDEN=1 cargo test --test dashboards and read the difference:\n{findings:#?}");
}

#[test]
fn the_same_input_gives_the_same_bytes() {
    assert_eq!(fixture::shipped(), fixture::shipped());
}

#[test]
fn only_what_is_configured_is_drawn() {
    let paths = |facts: &Facts| -> Vec<String> {
        dashboards::all(&Settings::default(), facts).into_iter().map(|file| file.path).collect()
    };
    let provisioning = ["dashboards/dashboards.yaml", "datasources/datasources.yaml"];
    let mut expected = provisioning.to_vec();
    expected.insert(1, "itself/davylamp-itself.json");
    expected.sort_unstable();
    assert_eq!(paths(&Facts::default()), expected);
    let mut facts = fixture::facts();
    facts.kinds.remove("docker");
    assert!(paths(&facts).iter().all(|path| !path.starts_with("docker/")));
    // A kind that says nothing of its families may have any of them.
    facts.kinds.get_mut("cgminer").unwrap().families.clear();
    let count = |uid: &str| {
        let files = dashboards::all(&Settings::default(), &facts);
        let file = files.iter().find(|file| file.path.ends_with(&format!("{uid}.json"))).unwrap();
        panels(&serde_json::from_str(&file.content).unwrap()).count()
    };
    assert!(count("davylamp-device-cgminer") >= count("davylamp-device-axeos"));
}

#[test]
fn a_kind_without_a_sensor_has_no_panel_for_it() {
    let (_, cgminer) =
        fixture::shipped_dashboards().into_iter().find(|(path, _)| path.ends_with("device-cgminer.json")).unwrap();
    let mut facts = fixture::facts();
    let known = facts.kinds.remove("cgminer").unwrap().families;
    for (place, expr) in fixture::expressions(&cgminer) {
        let words = expr.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        for metric in words.filter(|word| word.starts_with("miner_")) {
            assert!(known.contains(metric), "{place}: {metric} is never reported");
        }
    }
    let rows: Vec<&str> =
        list(&cgminer, "/panels").filter(|item| text(item, "/type") == "row").map(|row| text(row, "/title")).collect();
    for pair in list(&cgminer, "/panels").collect::<Vec<_>>().windows(2) {
        assert!(pair.iter().any(|item| text(item, "/type") != "row"), "a heading without a panel: {rows:?}");
    }
}

#[test]
fn rates_have_their_interval_and_ids_are_unique() {
    let mut facts = fixture::facts();
    facts.kinds.get_mut("docker").unwrap().poll_interval = std::time::Duration::from_secs(60);
    for file in dashboards::all(&Settings::default(), &facts) {
        let Ok(dashboard) = serde_json::from_str::<serde_json::Value>(&file.content) else { continue };
        let expected = if file.path.contains("docker") { "1m" } else { "15s" };
        let mut ids = BTreeSet::new();
        for item in list(&dashboard, "/panels") {
            assert!(ids.insert(item["id"].as_u64().unwrap()), "{}: id {} twice", file.path, item["id"]);
            for target in list(item, "/targets") {
                assert_eq!(text(target, "/interval"), expected, "{}: {}", file.path, text(item, "/title"));
            }
        }
    }
}

#[test]
fn panels_fill_the_grid_without_overlap() {
    for (path, dashboard) in fixture::shipped_dashboards() {
        let mut taken = BTreeSet::new();
        for item in list(&dashboard, "/panels") {
            let at = |name: &str| item["gridPos"][name].as_u64().unwrap();
            assert!(at("x") + at("w") <= 24, "{path}: {}", text(item, "/title"));
            for cell in (at("y")..at("y") + at("h")).flat_map(|y| (at("x")..at("x") + at("w")).map(move |x| (x, y))) {
                assert!(taken.insert(cell), "{path}: {} overlaps at {cell:?}", text(item, "/title"));
            }
        }
    }
}

#[test]
fn colours_come_from_the_rules() {
    let red = |facts: &Facts| {
        let files = dashboards::all(&Settings::default(), facts);
        let fleet = files.iter().find(|file| file.path.ends_with("fleet.json")).unwrap();
        let fleet: serde_json::Value = serde_json::from_str(&fleet.content).unwrap();
        let hottest = panels(&fleet).find(|panel| text(panel, "/title") == "Hottest ten").unwrap();
        hottest.pointer("/fieldConfig/defaults/thresholds/steps/1/value").cloned()
    };
    let mut facts = fixture::facts();
    facts.thresholds[0].value = 66.5;
    assert_eq!(red(&facts), Some(serde_json::json!(66.5)));
    facts.thresholds.clear();
    assert_eq!(red(&facts), None, "no rule, no colour");
}

#[test]
fn settings_with_mistakes_are_told_apart() {
    let mut settings = Settings::default();
    assert_eq!(settings.mistakes(), []);
    settings.datasource_uid = "a b".to_string();
    settings.filters = ["site", "si te", "miner", "site"].map(str::to_string).to_vec();
    settings.folders.docker = settings.folders.miners.clone();
    settings.grafana_path = " ".to_string();
    settings.scrape_interval = std::time::Duration::ZERO;
    let paths: Vec<String> = settings.mistakes().into_iter().map(|mistake| mistake.path).collect();
    let expected =
        ["datasource_uid", "scrape_interval", "grafana_path", "folders", "filters[1]", "filters[2]", "filters[3]"];
    assert_eq!(paths, expected);
    assert!(serde_json::from_str::<Settings>("{\"pth\": \"x\"}").unwrap_err().to_string().contains("pth"));
}

/// The names that telemetry registers, read from its source, without the endings that the text formats add.
fn registered() -> BTreeSet<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/telemetry");
    let mut names = BTreeSet::new();
    for file in std::fs::read_dir(folder).unwrap() {
        let source = std::fs::read_to_string(file.unwrap().path()).unwrap();
        for part in source.split('"').filter(|part| part.starts_with("davylamp_")) {
            if part.chars().all(|c| c.is_ascii_lowercase() || c == '_') {
                names.insert(part.to_string());
            }
        }
    }
    names
}

#[test]
fn what_davylamp_counts_is_drawn_and_what_is_drawn_exists() {
    // For those who look for a cause; the panels show what it leads to.
    const NOT_DRAWN: [&str; 26] = [
        "davylamp_curtailment_actions",
        "davylamp_device_log_lines",
        "davylamp_device_log_lines_dropped",
        "davylamp_device_log_matches",
        "davylamp_discovery_addresses",
        "davylamp_discovery_events",
        "davylamp_discovery_last_search_duration_seconds",
        "davylamp_discovery_last_search_timestamp_seconds",
        "davylamp_discovery_searches",
        "davylamp_history_chunk_bytes",
        "davylamp_history_chunks",
        "davylamp_history_partitions",
        "davylamp_history_samples",
        "davylamp_history_saved_samples",
        "davylamp_history_series",
        "davylamp_job_overdue",
        "davylamp_notifications_latency",
        "davylamp_panics",
        "davylamp_remote_write_bytes",
        "davylamp_remote_write_highest_timestamp_in_seconds",
        "davylamp_remote_write_queue_bytes",
        "davylamp_remote_write_queue_highest_sent_timestamp_seconds",
        "davylamp_remote_write_received_exemplars",
        "davylamp_remote_write_received_requests",
        "davylamp_remote_write_samples",
        "davylamp_remote_write_samples_retried",
    ];
    let (_, dashboard) =
        fixture::shipped_dashboards().into_iter().find(|(path, _)| path.ends_with("davylamp-itself.json")).unwrap();
    let mut drawn = BTreeSet::new();
    for (_, expr) in fixture::expressions(&dashboard) {
        let words = expr.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        drawn.extend(words.filter(|word| word.starts_with("davylamp_")).map(|word| {
            let word = word.strip_suffix("_bucket").unwrap_or(word);
            let plain = word.strip_suffix("_total").unwrap_or(word);
            plain.strip_suffix("_duration_seconds").map_or(plain.to_string(), |short| format!("{short}_duration"))
        }));
    }
    let short = |name: &str| name.replace("_duration_seconds", "_duration");
    let registered: BTreeSet<String> = registered().iter().map(|name| short(name)).collect();
    let polls = davylamp::schedule::about::FAMILIES.map(|family| family.name.trim_end_matches("_total").to_string());
    let known: BTreeSet<String> = registered.iter().cloned().chain(polls.iter().map(|name| short(name))).collect();
    assert_eq!(drawn.difference(&known).collect::<Vec<_>>(), Vec::<&String>::new(), "drawn, and nobody counts it");
    let left: BTreeSet<String> = NOT_DRAWN.map(short).into();
    let missing: Vec<_> = registered.difference(&drawn).filter(|name| !left.contains(*name)).collect();
    assert_eq!(missing, Vec::<&String>::new(), "counted, and on no panel");
    assert_eq!(left.intersection(&drawn).collect::<Vec<_>>(), Vec::<&String>::new(), "drawn after all");
}
