//! `/api/v1` beside a real Prometheus that scrapes the daemon, and under a real promtool.

use std::process::Command;

use davylamp::demo::Model;
use serde_json::Value;

use crate::http::ask;
use crate::lamp::{Lamp, output};
use crate::prometheus::Prometheus;
use crate::world::{Farm, RULES, config, installed, seconds};

fn lamp(farm: &Farm) -> Lamp {
    let mut lamp = Lamp::new(&(config(None, "") + &farm.targets()));
    lamp.write("rules.yml", &format!("{RULES}  - record: job:up\n    expr: davylamp_target_up * 1\n"));
    lamp.start();
    lamp.wait("a poll", seconds(30), |page| page.value("davylamp_target_up", &[]) == Some(1.0));
    lamp
}

#[test]
fn promtool_takes_the_daemon_for_a_prometheus() {
    if !installed("promtool") {
        return;
    }
    let farm = Farm::start(&[("one", Model::Bitaxe)]);
    let mut lamp = lamp(&farm);
    let url = format!("http://{}", lamp.address());
    let promtool = |args: &[&str]| {
        let done = output(Command::new("promtool").args(args));
        let said = String::from_utf8_lossy(&done.stdout).into_owned();
        assert!(done.status.success(), "promtool {args:?}: {said}{}", String::from_utf8_lossy(&done.stderr));
        said
    };
    let instant = promtool(&["query", "instant", &url, "davylamp_target_up"]);
    assert!(instant.contains("davylamp_target_up{") && instant.contains("=> 1 @["), "{instant}");
    let range = promtool(&["query", "range", "--step=5s", &url, "davylamp_target_up"]);
    assert!(range.contains("davylamp_target_up{") && range.contains("1 @["), "{range}");
    let series = promtool(&["query", "series", "--match=davylamp_target_up", &url]);
    assert!(series.contains("target=\"one\""), "{series}");
    let labels = promtool(&["query", "labels", &url, "target"]);
    assert_eq!(labels.trim(), "one");
    // Newer ones than Debian's ask these by `check healthy` and `check ready`.
    assert_eq!((lamp.get("/-/healthy").status, lamp.get("/-/ready").status), (200, 200));
    lamp.finish();
}

/// The front end's own code, from npm: what it asks, and what it makes of the answers, says `grafana/ask.cjs`.
#[test]
fn grafanas_data_source_takes_the_daemon_for_a_prometheus() {
    const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/target/grafana/node_modules");
    let modules = std::env::var("DAVYLAMP_GRAFANA").unwrap_or_else(|_| FOLDER.into());
    if !std::path::Path::new(&modules).join("@grafana/prometheus").is_dir() {
        return eprintln!(
            "SKIPPED: no @grafana/prometheus in {modules}; tests/run installs it, DAVYLAMP_GRAFANA names another"
        );
    }
    if !installed("node") {
        return;
    }
    let farm = Farm::start(&[("one", Model::Bitaxe)]);
    let mut lamp = lamp(&farm);
    lamp.until("a recorded series", seconds(30), || {
        lamp.get("/api/v1/query?query=job:up").body.contains("\"value\"").then_some(())
    });
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/e2e/grafana/ask.cjs");
    let url = format!("http://{}", lamp.address());
    let done = output(Command::new("node").args([script, &url]).env("NODE_PATH", &modules));
    let [said, wrong] = [&done.stdout, &done.stderr].map(|bytes| String::from_utf8_lossy(bytes).into_owned());
    assert!(done.status.success() && wrong.is_empty(), "{said}{wrong}");
    let routes =
        ["labels", "label/__name__/values", "series", "metadata", "query", "query_range", "query_exemplars", "rules"];
    for route in routes {
        assert!(said.lines().any(|line| line.ends_with(&format!("/api/v1/{route}"))), "{route} was not asked: {said}");
    }
    lamp.finish();
}

/// Answers in which names of series, rules or settings are keys: there only the values can be alike.
const KEYED_BY_DATA: &[&str] =
    &["metric", "labels", "discoveredLabels", "annotations", "flags", "metadata", "series", "target"];

/// Whatever Prometheus says, we say, and of the same type.
fn compare(path: &str, theirs: &Value, ours: &Value) {
    let sort = |value: &Value| match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    assert_eq!(sort(theirs), sort(ours), "{path}: Prometheus says {theirs}, we say {ours}");
    match (theirs, ours) {
        (Value::Object(theirs), Value::Object(ours)) => {
            let last = path.rsplit('.').next().unwrap_or_default().trim_end_matches("[]");
            if KEYED_BY_DATA.contains(&last) {
                if let (Some(theirs), Some(ours)) = (theirs.values().next(), ours.values().next()) {
                    compare(&format!("{path}.*"), theirs, ours);
                }
                return;
            }
            for (key, theirs) in theirs {
                let ours = ours.get(key).unwrap_or_else(|| panic!("{path}: we lack {key:?}: {ours:?}"));
                compare(&format!("{path}.{key}"), theirs, ours);
            }
        }
        (Value::Array(theirs), Value::Array(ours)) => {
            if let (Some(theirs), Some(ours)) = (theirs.first(), ours.first()) {
                compare(&format!("{path}[]"), theirs, ours);
            }
        }
        _ => {}
    }
}

/// Name of the data, and path.
const ENDPOINTS: &[(&str, &str)] = &[
    ("vector", "query?query=davylamp_target_up"),
    ("scalar", "query?query=1%2B1"),
    ("string", "query?query=%22a%22"),
    ("empty", "query?query=nothing_is_called_so"),
    ("matrix", "query?query=davylamp_target_up%5B1m%5D"),
    ("stats", "query?query=davylamp_target_up&stats=all"),
    ("exemplars", "query_exemplars?query=davylamp_target_up&start=1&end=2"),
    ("names", "labels"),
    ("values", "label/__name__/values"),
    ("series", "series?match%5B%5D=davylamp_target_up"),
    ("metadata", "metadata"),
    ("targets", "targets"),
    ("of", "targets/metadata?metric=davylamp_target_up"),
    ("alerts", "alerts"),
    ("alertmanagers", "alertmanagers"),
    ("recording", "rules?type=record"),
    ("alerting", "rules?type=alert"),
    ("build", "status/buildinfo"),
    ("config", "status/config"),
    ("flags", "status/flags"),
    ("runtime", "status/runtimeinfo"),
    ("tsdb", "status/tsdb"),
    ("replay", "status/walreplay"),
    ("format", "format_query?query=a%2Bb"),
];

const WRONG: &[&str] = &[
    "query",
    "query?query=a%7B",
    "query?query=a&time=x",
    "query?query=a&timeout=x",
    "query_range?query=a",
    "query_range?query=a&start=2&end=1&step=1",
    "query_range?query=a&start=1&end=2&step=0",
    "query_range?query=a&start=0&end=11001&step=1",
    "query_range?query=a%5B5m%5D&start=1&end=2&step=1",
    "query?query=davylamp_target_up*on()group_left()%7B__name__=~%22davylamp.*%22%7D",
    "series",
    "rules?type=x",
];

#[test]
fn answers_have_the_shapes_of_a_real_prometheus() {
    let farm = Farm::start(&[("one", Model::Bitaxe)]);
    let mut lamp = lamp(&farm);
    let Some(prometheus) = Prometheus::start(lamp.address()) else { return lamp.finish() };
    let ask_both = |path: &str| {
        [prometheus.address(), lamp.address()].map(|address| {
            let answer = ask(address, "GET", &format!("/api/v1/{path}"), &[]).unwrap();
            let document: Value =
                serde_json::from_str(&answer.body).unwrap_or_else(|_| panic!("{path}: {}", answer.body));
            (answer.status, document)
        })
    };
    lamp.until("a scrape", seconds(60), || {
        let [theirs, _] = ask_both("query?query=davylamp_target_up");
        (!theirs.1["data"]["result"].as_array()?.is_empty()).then_some(())
    });
    for (name, path) in ENDPOINTS {
        let [theirs, ours] = ask_both(path);
        assert_eq!((theirs.0, ours.0), (200, 200), "{path}: {} {}", theirs.1, ours.1);
        compare(name, &theirs.1["data"], &ours.1["data"]);
    }
    for path in WRONG {
        let [theirs, ours] = ask_both(path);
        assert_eq!(theirs.0, ours.0, "{path}: {} {}", theirs.1, ours.1);
        assert_eq!(theirs.1["errorType"], ours.1["errorType"], "{path}: {} {}", theirs.1, ours.1);
        compare(path, &theirs.1, &ours.1);
    }
    lamp.finish();
}
