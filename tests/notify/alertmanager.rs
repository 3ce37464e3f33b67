//! Beside Debian's Alertmanager: the four scenarios of the public alert-generator compliance suite, an outage, and the same
//! routes there and here.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::http;
use crate::lamp::{Aside, Lamp, output};
use crate::sink::{self, Sink};
use crate::{PATIENCE, free_address, installed, json, lamp};

struct Alertmanager {
    address: SocketAddr,
    folder: tempfile::TempDir,
    process: RefCell<Option<Aside>>,
}

impl Alertmanager {
    /// Not yet started; `None`, said loudly, where it is not installed.
    fn new(config: &str) -> Option<Self> {
        if !installed("prometheus-alertmanager") {
            return None;
        }
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("am.yml"), config).unwrap();
        Some(Alertmanager { address: free_address(), folder, process: RefCell::default() })
    }

    fn start(&self) {
        let mut command = Command::new("prometheus-alertmanager");
        command.current_dir(self.folder.path()).stdout(Stdio::null()).stderr(Stdio::null());
        command.args(["--config.file=am.yml", "--storage.path=data", "--cluster.listen-address="]);
        command.arg(format!("--web.listen-address={}", self.address));
        self.process.replace(Some(Aside(command.spawn().unwrap())));
        self.until("ready", || {
            http::ask(self.address, "GET", "/-/ready", &[]).ok().filter(|answer| answer.status == 200)
        });
    }

    fn stop(&self) {
        self.process.take();
    }

    fn until<T>(&self, what: &str, look: impl Fn() -> Option<T>) -> T {
        let begun = Instant::now();
        loop {
            if let Some(found) = look() {
                return found;
            }
            assert!(begun.elapsed() < PATIENCE, "never saw {what}; it has {}", self.get("/api/v2/alerts"));
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// An answer of its API; an empty list while it does not answer.
    fn get(&self, path: &str) -> Value {
        let Ok(answer) = http::ask(self.address, "GET", path, &[]) else { return Value::Array(Vec::new()) };
        let body = answer.body.find('[').map_or("[]", |at| &answer.body[at..]);
        json(body.trim_end())
    }

    fn has(&self, name: &str) -> Option<Value> {
        let all = self.get("/api/v2/alerts");
        all.as_array().unwrap().iter().find(|alert| alert["labels"]["alertname"] == name).cloned()
    }
}

/// What a receiver behind an Alertmanager was told, in order, without repetitions: status, alert and its `n`, start, end.
fn told(ear: &Sink) -> Vec<(String, String, String, String)> {
    let mut all = Vec::new();
    for post in ear.posts() {
        for alert in json(&post.body)["alerts"].as_array().unwrap() {
            let word = |value: &Value| value.as_str().unwrap_or_default().to_string();
            let name = format!("{}{}", word(&alert["labels"]["alertname"]), word(&alert["labels"]["n"]));
            let status = word(&alert["status"]);
            let end = if status == "firing" { String::new() } else { word(&alert["endsAt"]) };
            let heard = (status, name, word(&alert["startsAt"]), end);
            if !all.contains(&heard) {
                all.push(heard);
            }
        }
    }
    all
}

fn millis(time: &str) -> i64 {
    chrono::DateTime::parse_from_rfc3339(time).unwrap_or_else(|error| panic!("{error}: {time:?}")).timestamp_millis()
}

/// Pending and firing and resolved: `Held`. Pending and resolved: `Short`; never: `Never`. `for` of zero and a small one:
/// `AtOnce`, `Held`. New alerts of a rule: `AtOnce` with another `n`. Order: `Follows` sees `AtOnce` in the same evaluation,
/// `Precedes` in the next one, and `Held` reads a series recorded just before it.
const SCENARIOS: &str = "groups:
- name: g
  rules:
  - {alert: Precedes, expr: 'count(ALERTS{alertname=\"AtOnce\", alertstate=\"firing\"}) > 0'}
  - {record: 'held:double', expr: 'held * 2'}
  - alert: Held
    expr: 'held:double > 1'
    for: 2s
    labels: {severity: critical, doubled: '{{ $value }}'}
    annotations: {summary: 'held is {{ $value }}'}
  - {alert: Short, expr: 'short > 0', for: 1h}
  - {alert: Never, expr: 'short > 5'}
  - {alert: AtOnce, expr: 'at_once > 0', for: 0s}
  - {alert: Follows, expr: 'count(ALERTS{alertname=\"AtOnce\", alertstate=\"firing\"}) > 0'}
  - {alert: Later, expr: 'later > 0'}
";

/// The state and the start of activity that we show of an alert.
fn shown(lamp: &Lamp, name: &str) -> Option<(String, i64)> {
    // Slower than what the daemon lets one address ask.
    std::thread::sleep(Duration::from_millis(50));
    let all = json(&lamp.get("/api/v1/alerts").body);
    let found = all["data"]["alerts"].as_array().unwrap().iter().find(|alert| alert["labels"]["alertname"] == name)?;
    Some((found["state"].as_str().unwrap().to_string(), millis(found["activeAt"].as_str().unwrap())))
}

/// Its silences hold back whoever respects them.
fn silence_at_once(lamp: &Lamp, manager: &Alertmanager) {
    let silence = "{\"matchers\":[{\"name\":\"alertname\",\"value\":\"AtOnce\",\"isRegex\":false}],\"startsAt\":\"2020-01-01T00:00:00Z\",\
         \"endsAt\":\"2099-01-01T00:00:00Z\",\"createdBy\":\"ann\",\"comment\":\"quiet\"}";
    sink::post(manager.address, "/api/v2/silences", silence);
    lamp.until("its silence", PATIENCE, || {
        std::thread::sleep(Duration::from_millis(50));
        let found = json(&lamp.get("/api/v2/alerts?silenced=true&active=false").body);
        found.as_array().unwrap().iter().any(|alert| alert["labels"]["alertname"] == "AtOnce").then_some(())
    });
}

/// Labels, annotations and link of the alert `Held`.
fn described(alert: &Value) {
    let labels = ["severity", "doubled", "site"].map(|name| alert["labels"][name].as_str().unwrap());
    assert_eq!(labels, ["critical", "2", "mine"], "templated and external labels");
    assert_eq!(alert["annotations"]["summary"], "held is 2");
    let generator = alert["generatorURL"].as_str().unwrap();
    assert!(generator.starts_with("http://lamp.example/graph?g0.expr=held%3Adouble+%3E+1"), "{generator}");
}

/// Whatever was pending only was never told, and nothing was told to have begun twice.
fn each_began_once(ear: &Sink) {
    let all = told(ear);
    assert!(!all.iter().any(|(_, name, _, _)| ["Short", "Never"].contains(&name.as_str())), "never sent: {all:?}");
    let mut fired: BTreeMap<&str, usize> = BTreeMap::new();
    for (_, name, _, _) in all.iter().filter(|(status, ..)| status == "firing") {
        *fired.entry(name).or_default() += 1;
    }
    assert!(fired.values().all(|times| *times == 1), "each began once: {all:?}");
}

#[test]
fn a_real_alertmanager_hears_the_compliance_scenarios_and_what_an_outage_hid() {
    let ear = Sink::new();
    let Some(manager) = Alertmanager::new(&format!(
        "route: {{receiver: ear, group_by: ['...'], group_wait: 0s, group_interval: 1s, repeat_interval: 1h}}
receivers: [{{name: ear, webhook_configs: [{{url: 'http://{}/ear', send_resolved: true}}]}}]\n",
        ear.address
    )) else {
        return;
    };
    manager.start();
    let sink = Sink::new();
    sink.page("held 1\nshort 1\nat_once{n=\"1\"} 1\nlater 0\n");
    let more =
        format!("alertmanagers: [{{static_configs: [{{targets: ['{}']}}], respect_silences: true}}]", manager.address);
    let mut lamp = lamp(&sink, SCENARIOS, &more);
    lamp.start();
    let heard = |status: &str, name: &str| {
        manager.until(&format!("{name} {status}"), || {
            told(&ear).into_iter().find(|(had, who, _, _)| (had.as_str(), who.as_str()) == (status, name))
        })
    };
    // Zero and small `for`, order.
    let (_, _, at_once, _) = heard("firing", "AtOnce1");
    let (_, _, follows, _) = heard("firing", "Follows");
    let (_, _, precedes, _) = heard("firing", "Precedes");
    assert_eq!(follows, at_once, "a rule sees what the one before it brought in the same evaluation");
    assert!(millis(&precedes) > millis(&at_once), "and a rule before it does not");
    let (_, _, held, _) = heard("firing", "Held");
    let active = lamp.until("Held", PATIENCE, || shown(&lamp, "Held").filter(|(state, _)| state == "firing")).1;
    assert!(millis(&held) - active >= 2000, "it fires after its `for`, and not earlier");
    described(&manager.has("Held").unwrap());
    assert_eq!(shown(&lamp, "Short").unwrap().0, "pending");

    silence_at_once(&lamp, &manager);

    // Resolved, pending to inactive, a new alert of a rule that fires already.
    sink.page("held 0\nshort 0\nat_once{n=\"1\"} 1\nat_once{n=\"2\"} 1\nlater 0\n");
    let (_, _, start, end) = heard("resolved", "Held");
    assert_eq!(millis(&start), millis(&held), "the start does not move");
    assert!(millis(&end) > millis(&start));
    lamp.until("the end of Short", PATIENCE, || shown(&lamp, "Short").is_none().then_some(()));
    let second = manager.until("the new alert", || {
        let all = manager.get("/api/v2/alerts?silenced=true");
        all.as_array().unwrap().iter().find(|alert| alert["labels"]["n"] == "2").cloned()
    });
    assert!(millis(second["startsAt"].as_str().unwrap()) > millis(&at_once));
    let first = manager.get("/api/v2/alerts?filter=n%3D1");
    let first = millis(first[0]["startsAt"].as_str().unwrap());
    assert_eq!(first, millis(&at_once), "the alert beside it is the same one");

    // An outage: what it hid is told afterwards, because what holds is told again and again.
    manager.stop();
    sink.page("held 0\nshort 0\nlater 1\n");
    lamp.wait("failures", PATIENCE, |page| {
        page.value("davylamp_notifications_errors_total", &[("integration", "alertmanager")]).is_some_and(|n| n > 0.0)
    });
    manager.start();
    heard("firing", "Later");
    // Killed, it forgot what it had been told: what is over meanwhile must not come back.
    manager.until("the end of the others", || {
        ["AtOnce", "Follows"].iter().all(|name| manager.has(name).is_none()).then_some(())
    });
    assert!(shown(&lamp, "AtOnce").is_none(), "its series went away");
    each_began_once(&ear);
    let metrics = lamp.metrics();
    assert!(metrics.value("davylamp_notifications_sent_total", &[("integration", "alertmanager")]).unwrap() >= 4.0);
    lamp.finish();
}

/// Labels, receiver, and the alerts' labels of every group.
fn groups(all: &Value) -> Vec<(Value, Value, Vec<Value>, Vec<Value>)> {
    let of = |group: &Value| {
        let alerts = group["alerts"].as_array().unwrap();
        let mut labels: Vec<Value> = alerts.iter().map(|alert| alert["labels"].clone()).collect();
        labels.sort_by_key(ToString::to_string);
        let mut receivers: Vec<Value> =
            alerts.iter().flat_map(|a| a["receivers"].as_array().unwrap().clone()).collect();
        receivers.sort_by_key(ToString::to_string);
        receivers.dedup();
        (group["labels"].clone(), group["receiver"]["name"].clone(), labels, receivers)
    };
    all.as_array().unwrap().iter().map(of).collect()
}

#[test]
fn alerts_are_grouped_as_a_real_alertmanager_groups_them() {
    let sink = Sink::new();
    let routes = "route:
  receiver: all
  group_by: [alertname]
  group_wait: 0s
  routes:
  - {matchers: ['severity=\"critical\"'], receiver: pager, group_by: ['...'], continue: true}
  - {matchers: ['alertname=~\"H.*\"'], receiver: all, group_by: [zone]}
  - {matchers: ['alertname=\"Cold\"'], receiver: zones, group_by: [zone, nothing]}
";
    let receivers: String = ["all", "pager", "zones"]
        .map(|name| format!("- {{name: {name}, webhook_configs: [{{url: 'http://{}/{name}'}}]}}\n", sink.address))
        .concat();
    let Some(manager) = Alertmanager::new(&format!("{routes}receivers:\n{receivers}")) else { return };
    manager.start();
    sink.page("hot{zone=\"a\"} 1\nhot{zone=\"b\"} 1\ncold{zone=\"a\"} 1\nwarm 1\n");
    let rules = "groups: [{name: g, rules: [
{alert: Hot, expr: 'hot > 0', labels: {severity: critical}}, {alert: Cold, expr: 'cold > 0'}, {alert: Warm, expr: 'warm > 0'}]}]";
    let target = manager.address;
    let more =
        format!("alertmanagers: [{{static_configs: [{{targets: ['{target}']}}]}}]\n{routes}receivers:\n{receivers}");
    let mut lamp = lamp(&sink, rules, &more);
    lamp.start();
    let ours = |path: &str| {
        std::thread::sleep(Duration::from_millis(50));
        groups(&json(&lamp.get(path).body))
    };
    let all = "/api/v2/alerts/groups";
    manager.until("all alerts", || (groups(&manager.get(all)).len() == 6).then_some(()));
    lamp.until("all alerts", PATIENCE, || (ours(all).len() == 6).then_some(()));
    for query in [
        "",
        "?receiver=pager",
        "?receiver=zones%7Cpager",
        "?filter=zone%3Da",
        "?filter=alertname%3DWarm",
        "?active=false",
    ] {
        let path = format!("{all}{query}");
        assert_eq!(ours(&path), groups(&manager.get(&path)), "{path}");
    }
    // A silence mutes its alert in all groups.
    lamp.write("http.yml", "authorization: {type: Bearer, credentials: canary-token}\n");
    let amtool = |args: &[&str]| {
        let mut command = Command::new("amtool");
        command.args(args).env("HOME", lamp.path("")).current_dir(lamp.path(""));
        command.args([&format!("--alertmanager.url=http://{}", lamp.address()), "--http.config.file=http.yml"]);
        let done = output(&mut command);
        assert!(done.status.success(), "{args:?}: {}", String::from_utf8_lossy(&done.stderr));
        String::from_utf8(done.stdout).unwrap()
    };
    if installed("amtool") {
        let listed = amtool(&["alert", "query", "zone=a", "-o", "simple"]);
        assert!(listed.contains("Hot") && listed.contains("Cold") && !listed.contains("Warm"), "{listed}");
        assert!(!amtool(&["alert", "query", "--receiver=pager"]).contains("Cold"));
        amtool(&["silence", "add", "alertname=Hot", "zone=a", "--comment=fan", "--author=ann"]);
        let active = ours("/api/v2/alerts/groups?silenced=false");
        assert_eq!(active.len(), 4, "{active:?}");
    }
    lamp.finish();
}
