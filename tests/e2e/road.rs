//! The straight road: a device loses hashrate, the alert goes pending, fires, the playbook runs once, the device is
//! cured, the alert resolves; and Prometheus, the status page and the dashboards show it.

use std::process::Command;

use davylamp::dashboards::substitute;
use davylamp::demo::{Fault, Model};
use serde_json::Value;

use crate::docker::Engine;
use crate::lamp::{Lamp, output};
use crate::prometheus::Prometheus;
use crate::world::{Farm, LOW, RULES, ansible, binding, config, installed, seconds};
use crate::{container, http::Page};

const FLEET: [(&str, Model); 7] = [
    ("bitaxe-1", Model::Bitaxe),
    ("bitaxe-2", Model::BitaxeOld),
    ("nerdqaxe-1", Model::NerdQaxe),
    ("rack-1", Model::Cgminer),
    ("rack-2", Model::CgminerSloppy),
    ("attic-1", Model::CgminerOld),
    ("attic-2", Model::Bfgminer),
];

#[test]
fn the_straight_road() {
    let farm = Farm::start(&FLEET);
    let engine = Engine::start();
    let ansible = ansible();
    let remedy = ansible.as_ref().map(|_| binding("restart-miner.yml")).unwrap_or_default();
    let more = remedy + "dashboards: {enabled: true, path: dashboards, scrape_interval: 2s}";
    let targets = farm.targets() + &engine.as_ref().map(container::target).unwrap_or_default();
    let mut lamp = Lamp::new(&(config(ansible.as_deref(), &more) + &targets));
    lamp.write("rules.yml", RULES);
    lamp.write("playbooks/restart-miner.yml", include_str!("../../config/playbooks/restart-miner.yml"));
    if let Some(engine) = &engine {
        container::start(engine);
    }
    lamp.start();
    let prometheus = Prometheus::start(lamp.address());
    let all = (FLEET.len() + usize::from(engine.is_some())) as f64;
    lamp.wait("every target", seconds(60), |page| page.value("davylamp_target_up", &[]) == Some(all));
    if ansible.is_some() {
        repair(&lamp, &farm);
    }
    if let Some(engine) = &engine {
        container::follow(&lamp, engine);
    }
    both_formats_are_right(&lamp);
    if let Some(prometheus) = &prometheus {
        scraped(prometheus, all);
        drawn(&lamp, &farm, prometheus, engine.as_ref());
    }
    if ansible.is_some() {
        assert_eq!(runs(&lamp.metrics(), "succeeded"), 1.0, "a second run after the first");
    }
    lamp.finish();
}

fn runs(page: &Page, result: &str) -> f64 {
    page.value("davylamp_runs_total", &[("result", result)]).unwrap_or(0.0)
}

fn repair(lamp: &Lamp, farm: &Farm) {
    let device = farm.device("bitaxe-1");
    device.set_fault(Some(Fault::LowHashrate));
    let page = lamp.wait("pending", seconds(20), |page| page.alert(LOW, "pending"));
    assert!(!page.alert(LOW, "firing") && page.value("davylamp_runs_total", &[]).is_none_or(|runs| runs == 0.0));
    let page = lamp.wait("firing", seconds(20), |page| page.alert(LOW, "firing"));
    assert!(!page.alert(LOW, "pending"));
    let labels = [("alertname", LOW), ("miner", "bitaxe-1"), ("severity", "warning")];
    assert_eq!(page.value("ALERTS", &labels), Some(1.0));
    let status = lamp.get("/").body;
    assert!(status.contains("firing") && status.contains("bitaxe-1 hashes at 3"), "{status}");
    lamp.wait("the run", seconds(60), |page| runs(page, "succeeded") == 1.0);
    assert_eq!(device.restarts(), 1);
    lamp.wait("resolved", seconds(40), |page| page.value("ALERTS", &[]).is_none());
    let page = lamp.metrics();
    assert_eq!(page.value("davylamp_runs_total", &[]), Some(1.0), "{}", page.0);
    assert_eq!((device.restarts(), device.fault()), (1, None));
    let status = lamp.get("/").body;
    for word in [
        "<span class=\"badge good\">succeeded</span>",
        "restart-miner.yml",
        "<span class=\"badge good\">resolved</span>",
    ] {
        assert!(status.contains(word), "{word} is missing: {status}");
    }
}

/// `promtool check metrics` has nothing to say, and Prometheus' own header leads to OpenMetrics.
fn both_formats_are_right(lamp: &Lamp) {
    let accept = "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,\
                  text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
    let open = lamp.request("GET", "/metrics", &[("Accept", accept)]);
    assert!(open.head.contains("content-type: application/openmetrics-text; version=1.0.0"), "{}", open.head);
    assert!(open.body.ends_with("\n# EOF\n"));
    let text = lamp.get("/metrics");
    assert!(text.head.contains("content-type: text/plain; version=0.0.4"), "{}", text.head);
    if !installed("promtool") {
        return;
    }
    let path = lamp.path("page.prom");
    std::fs::write(&path, &text.body).unwrap();
    let done = output(Command::new("promtool").args(["check", "metrics"]).stdin(std::fs::File::open(&path).unwrap()));
    let said = String::from_utf8_lossy(&[done.stdout, done.stderr].concat()).into_owned();
    assert!(done.status.success() && said.is_empty(), "{said}");
}

fn scraped(prometheus: &Prometheus, all: f64) {
    let number = |expr: &str| -> f64 {
        let found = prometheus.query(expr);
        found.first().map_or(-1.0, |series| series["value"][1].as_str().unwrap().parse().unwrap())
    };
    assert_eq!(number("min_over_time(up[10m])"), 1.0);
    assert_eq!(number("count(davylamp_target_up == 1)"), all);
    assert_eq!(number("count(miner_hashrate_hashes_per_second)"), FLEET.len() as f64);
    let targets = prometheus.api("/api/v1/targets");
    for target in targets["activeTargets"].as_array().unwrap() {
        assert_eq!((target["health"].as_str(), target["lastError"].as_str()), (Some("up"), Some("")), "{target}");
    }
    // Without OpenMetrics the family of a counter would have its suffix here.
    let described =
        |name: &str| !prometheus.api(&format!("/api/v1/targets/metadata?metric={name}")).as_array().unwrap().is_empty();
    assert!(described("davylamp_polls") && !described("davylamp_polls_total"));
    let groups = prometheus.api("/api/v1/rules")["groups"].as_array().unwrap().clone();
    let rules: Vec<&Value> = groups.iter().flat_map(|group| group["rules"].as_array().unwrap()).collect();
    assert!(rules.len() > 20, "our rule files are not loaded: {}", rules.len());
    for rule in rules {
        assert_ne!(rule["health"], "err", "{rule}");
    }
    let log = prometheus.log();
    let bad: Vec<&str> = log
        .lines()
        .filter(|line| {
            ["level=warn", "level=error", "Error on ingesting", "Append failed"].iter().any(|word| line.contains(word))
        })
        .collect();
    assert!(bad.is_empty(), "{}", bad.join("\n"));
}

/// Panels that are empty although everything is as it should be, and why.
const EMPTY: &[(&str, &str)] = &[
    // No simulated device reports a fault code.
    ("davylamp-device-axeos", "Faults"),
    // No device sent an impossible value: the series begins with the first one.
    ("davylamp-itself", "Impossible values"),
    // Nothing need have been held back within the shown time.
    ("davylamp-itself", "Suppressed"),
    ("davylamp-itself", "Samples over a limit"),
    // Parts that this configuration does not have; that their metrics exist is held by the test of the dashboards.
    ("davylamp-itself", "Alerts by webhook"),
    ("davylamp-itself", "Curtailed devices"),
    ("davylamp-itself", "Found devices"),
    ("davylamp-itself", "Device logs connected"),
    ("davylamp-itself", "Remote write queue"),
    ("davylamp-itself", "Samples not sent"),
    ("davylamp-itself", "Pushed samples"),
    ("davylamp-itself", "Notifications"),
    ("davylamp-itself", "Notifications that failed"),
    ("davylamp-itself", "Alerts for Alertmanager"),
];

/// Every query of every dashboard returns a series, with something firing and one device of each kind down.
fn drawn(lamp: &Lamp, farm: &Farm, prometheus: &Prometheus, engine: Option<&Engine>) {
    for dead in ["bitaxe-2", "rack-2"] {
        farm.device(dead).set_fault(Some(Fault::Dead));
    }
    lamp.until("two dead devices in Prometheus", seconds(60), || {
        let failed = prometheus.query("rate(davylamp_polls_total{result!=\"ok\"}[5m])");
        let firing =
            prometheus.query("ALERTS{alertname=\"TargetDown\",alertstate=\"firing\",target=~\".+\",severity=\"\"}");
        (failed.len() >= 2 && firing.len() == 2).then_some(())
    });
    let expressions = expressions(lamp, engine.is_some());
    assert!(expressions.len() > 100, "{}", expressions.len());
    let mut spared = EMPTY.to_vec();
    if engine.is_some_and(|engine| !container::counts_block_io(engine)) {
        spared.extend([("davylamp-docker", "Read from disks"), ("davylamp-docker", "Written to disks")]);
    }
    let empty: Vec<_> = expressions
        .iter()
        .filter(|(dashboard, title, expr)| {
            !spared.contains(&(dashboard, title)) && prometheus.query(&all_chosen(expr)).is_empty()
        })
        .collect();
    assert!(empty.is_empty(), "{} of {} queries are empty:\n{empty:#?}", empty.len(), expressions.len());
}

/// Dashboard, panel and query of everything that the daemon has drawn.
fn expressions(lamp: &Lamp, docker: bool) -> Vec<(String, String, String)> {
    let folders = ["miners", "itself"].into_iter().chain(docker.then_some("docker"));
    let files = folders.flat_map(|folder| std::fs::read_dir(lamp.path("dashboards").join(folder)).unwrap().flatten());
    let mut found = Vec::new();
    for path in files.map(|entry| entry.path()) {
        let dashboard: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        let name = path.file_stem().unwrap().to_str().unwrap();
        for panel in dashboard["panels"].as_array().unwrap() {
            let title = panel["title"].as_str().unwrap_or_default();
            let targets = panel["targets"].as_array().into_iter().flatten();
            let exprs = targets.map(|target| target["expr"].as_str().unwrap());
            found.extend(exprs.map(|expr| (name.to_string(), title.to_string(), expr.to_string())));
        }
    }
    found
}

/// A panel's query as Grafana sends it with everything chosen.
fn all_chosen(expr: &str) -> String {
    let names = ["site", "group", "miner", "engine", "container", "instance"];
    substitute(&names.iter().fold(expr.to_string(), |expr, name| expr.replace(&format!("\"${name}\""), "\".*\"")))
}
