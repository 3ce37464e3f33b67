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

/// One series for every metric that a query names, with the labels that the queries look at. Variables are replaced by
/// `x`, so that is what every label holds that a variable filters.
fn series() -> Vec<(String, &'static str)> {
    let target = r#"target="x",kind="axeos""#;
    let mut list = Vec::new();
    let mut add = |name: &str, labels: &str, values: &'static str| {
        let common = r#"site="x",group="x",miner="x",engine="x",container="x",instance="x",job="x""#;
        let comma = if labels.is_empty() { "" } else { "," };
        list.push((format!("{name}{{{common}{comma}{labels}}}"), values));
    };
    for kind in ["axeos", "cgminer", "docker"] {
        for name in ["up", "last_poll_duration_seconds", "last_success_timestamp_seconds"] {
            let labels = format!("target=\"x\",kind=\"{kind}\"");
            // Down, so that "what is down" has something to show; the first kind answers again at the end.
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
        list.push((format!("{name}{{site=\"x\",group=\"x\",miner=\"x\",engine=\"x\",container=\"x\",instance=\"x\",job=\"x\",{target}}}"), values));
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

#[test]
fn on_a_fleet_that_reports_everything_every_query_returns_a_series() {
    let Some(mut promtool) = promtool() else { return };
    let mut test = "rule_files: []\nevaluation_interval: 1m\ntests:\n- interval: 1m\n  input_series:\n".to_string();
    for (series, values) in series() {
        writeln!(test, "  - series: {}\n    values: {}", quoted(&series), quoted(values)).unwrap();
    }
    test.push_str("  promql_expr_test:\n");
    for expr in expressions() {
        let asks = quoted(&format!("(count({expr}) > bool 0)"));
        writeln!(test, "  - expr: {asks}\n    eval_time: 30m\n    exp_samples: [{{labels: '{{}}', value: 1}}]")
            .unwrap();
    }
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("test.yml");
    std::fs::write(&file, test).unwrap();
    let output = promtool.args(["test", "rules"]).arg(&file).output().unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{said}");
}
