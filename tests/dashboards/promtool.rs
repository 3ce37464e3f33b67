//! Every expression before Prometheus' own judge: it must be accepted, and on a fleet that reports everything each
//! query must return at least one series.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::process::Command;

use super::fixture;

fn promtool() -> Option<Command> {
    let found = Command::new("promtool").arg("--version").output().is_ok();
    if !found {
        eprintln!("SKIPPED: promtool is not installed");
    }
    found.then(|| Command::new("promtool"))
}

fn expressions() -> BTreeSet<String> {
    let all = fixture::shipped_dashboards();
    all.iter().flat_map(|(_, dashboard)| fixture::expressions(dashboard)).map(|(_, expr)| expr).collect()
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[test]
fn promtool_accepts_every_expression() {
    let Some(mut promtool) = promtool() else { return };
    let mut rules = "groups:\n- name: dashboards\n  rules:\n".to_string();
    let expressions = expressions();
    assert!(expressions.len() > 100, "{}", expressions.len());
    for (index, expr) in expressions.iter().enumerate() {
        writeln!(rules, "  - record: dashboards:expr{index}\n    expr: {}", quoted(expr)).unwrap();
    }
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("rules.yml");
    std::fs::write(&file, rules).unwrap();
    let output = promtool.args(["check", "rules"]).arg(&file).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// Labels that variables filter, which are replaced by `x`.
const COMMON: &str = r#"site="x",group="x",miner="x",engine="x",container="x",instance="x",job="x""#;

/// One series for every metric that a query names, with the labels that the queries look at.
fn series() -> Vec<(String, &'static str)> {
    let target = r#"target="x",kind="axeos""#;
    let mut list = Vec::new();
    let mut add = |name: &str, labels: &str, values: &'static str| {
        let comma = if labels.is_empty() { "" } else { "," };
        list.push((format!("{name}{{{COMMON}{comma}{labels}}}"), values));
    };
    for kind in ["axeos", "cgminer", "docker"] {
        let labels = format!("target=\"x\",kind=\"{kind}\"");
        // One is up and the others are down: there are panels for both.
        add("davylamp_target_up", &labels, if kind == "axeos" { "1x60" } else { "0x60" });
        for name in ["last_poll_duration_seconds", "last_success_timestamp_seconds"] {
            add(&format!("davylamp_target_{name}"), &labels, "0x60");
        }
        add("davylamp_polls_total", &format!("target=\"x\",kind=\"{kind}\",result=\"timeout\""), "0+1x60");
    }
    for labels in [r#"sensor="chip""#, r#"sensor="vr""#, r#"sensor="board""#] {
        add("miner_temperature_celsius", labels, "55x60");
    }
    for rail in ["input", "core"] {
        add("miner_voltage_volts", &format!("rail=\"{rail}\""), "5x60");
    }
    for result in ["accepted", "rejected"] {
        add("miner_shares_total", &format!("result=\"{result}\""), "0+5x60");
    }
    for state in ["running", "restarting"] {
        add("docker_container_state", &format!("state=\"{state}\""), "1x60");
    }
    add("docker_container_health", r#"health="unhealthy""#, "1x60");
    add("ALERTS", r#"alertname="a",alertstate="firing",severity="page""#, "1x60");
    add("davylamp_alerts", r#"state="firing""#, "1x60");
    for histogram in ["davylamp_poll_duration_seconds_bucket", "davylamp_store_commit_duration_seconds_bucket"] {
        for le in ["0.1", "+Inf"] {
            add(histogram, &format!("kind=\"axeos\",le=\"{le}\""), "0+1x60");
        }
    }
    let set: BTreeSet<String> = list.iter().map(|(series, _)| series.split('{').next().unwrap().to_string()).collect();
    for name in metrics().into_iter().filter(|name| !set.contains(name)) {
        let values = if name.ends_with("_total") { "0+1x60" } else { "1x60" };
        list.push((format!("{name}{{{COMMON},{target}}}"), values));
    }
    list
}

/// Names of metrics in all queries.
fn metrics() -> BTreeSet<String> {
    let prefixes = ["miner_", "docker_", "davylamp_", "process_"];
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let all = expressions();
    let words = all.iter().flat_map(|expr| expr.split(move |c| !is_word(c)));
    words.filter(|word| prefixes.iter().any(|prefix| word.starts_with(prefix))).map(str::to_string).collect()
}

/// Runs `promtool test rules`: these series, and for each expression the one value that it must have after 30 minutes.
fn evaluate(series: &[(String, &str)], expected: &[(String, &str)]) {
    let Some(mut promtool) = promtool() else { return };
    let mut test = "rule_files: []\nevaluation_interval: 1m\ntests:\n- interval: 1m\n  input_series:\n".to_string();
    for (series, values) in series {
        writeln!(test, "  - series: {}\n    values: {}", quoted(series), quoted(values)).unwrap();
    }
    test.push_str("  promql_expr_test:\n");
    for (expr, value) in expected {
        let samples = format!("[{{labels: '{{}}', value: {value}}}]");
        writeln!(test, "  - expr: {}\n    eval_time: 30m\n    exp_samples: {samples}", quoted(expr)).unwrap();
    }
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("test.yml");
    std::fs::write(&file, test).unwrap();
    let output = promtool.args(["test", "rules"]).arg(&file).output().unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{said}");
}

#[test]
fn on_a_fleet_that_reports_everything_every_query_returns_a_series() {
    let expected: Vec<_> = expressions().into_iter().map(|expr| (format!("(count({expr}) > bool 0)"), "1")).collect();
    evaluate(&series(), &expected);
}

/// Two miners of which one died ten minutes ago: the numbers on the wall must say so.
#[test]
fn the_numbers_of_the_fleet_are_right() {
    let miner = |metric: &str, miner: &str, more: &str, values: &'static str| {
        (format!("{metric}{{site=\"x\",group=\"x\",miner=\"{miner}\"{more}}}"), values)
    };
    let up = |target: &str, values: &'static str| {
        (format!("davylamp_target_up{{site=\"x\",group=\"x\",kind=\"axeos\",target=\"{target}\"}}"), values)
    };
    let dies = "1000000000000x19 stale";
    let series = [
        miner("miner_hashrate_hashes_per_second", "a", "", "900000000000x60"),
        miner("miner_hashrate_hashes_per_second", "b", "", dies),
        miner("miner_hashrate_expected_hashes_per_second", "a", "", "1000000000000x60"),
        miner("miner_hashrate_expected_hashes_per_second", "b", "", dies),
        miner("miner_power_watts", "a", ",source=\"measured\"", "18x60"),
        miner("miner_power_watts", "a", ",source=\"estimated\"", "99x60"),
        miner("miner_power_watts", "b", ",source=\"estimated\"", "15x19 stale"),
        // No expectation and no power: it must spoil neither ratio.
        miner("miner_hashrate_hashes_per_second", "c", "", "500000000000x60"),
        up("a", "1x60"),
        up("b", "1x19 0x40"),
        up("c", "1x60"),
    ];
    let fleet = fixture::shipped_dashboards().into_iter().find(|(path, _)| path.ends_with("fleet.json")).unwrap().1;
    let number = |title: &str, value: &'static str| {
        let panel = fixture::panels(&fleet).find(|panel| fixture::text(panel, "/title") == title);
        let expr = fixture::text(panel.unwrap_or_else(|| panic!("{title}")), "/targets/0/expr");
        // All chosen, as Grafana fills it in.
        let expr = ["site", "group", "miner"]
            .iter()
            .fold(expr.to_string(), |expr, name| expr.replace(&format!("\"${name}\""), "\".*\""));
        (expr, value)
    };
    let expected = [
        number("Hashrate", "1400000000000"),
        number("Of expected", "0.45"),
        number("Online", "2"),
        number("Down", "1"),
        number("Power", "18"),
        number("Efficiency", "20"),
        number("Firing alerts", "0"),
    ];
    evaluate(&series, &expected);
    // All dead: zero, and not an empty panel that looks like a broken dashboard.
    let dead = [
        miner("miner_hashrate_hashes_per_second", "b", "", dies),
        miner("miner_hashrate_expected_hashes_per_second", "b", "", dies),
        up("b", "1x19 0x40"),
    ];
    evaluate(&dead, &[number("Hashrate", "0"), number("Of expected", "0"), number("Online", "0"), number("Down", "1")]);
}
