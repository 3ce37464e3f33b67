//! Alerts by webhook: acknowledged when they are on disk, one run however often they are repeated, still known after
//! `kill -9`, and taken from nobody who does not prove himself. A real Alertmanager sends them too, where there is one.

use std::net::TcpListener;
use std::process::{Command, Stdio};

use crate::http::{Answer, send};
use crate::lamp::{Aside, Lamp};
use crate::world::{ansible, seconds};

const ALERTMANAGER: &str = "/api/v1/webhooks/alertmanager";
const GRAFANA: &str = "/api/v1/webhooks/grafana";

fn scene(ansible: Option<&std::path::Path>) -> Lamp {
    let command = ansible.map(|path| path.display().to_string()).unwrap_or_default();
    let remediations = "remediations:
- name: restart
  match: ['alertname=\"Hot\"']
  sources: [alertmanager, grafana]
  target: '{{ $labels.miner }}'
  mode: auto
  steps: [{playbook: trace.yml, timeout: 1m}]
";
    let config = format!(
        "server: {{listen: 127.0.0.1:0}}
storage: {{path: state, ballast_bytes: 0}}
ansible: {{command: '{command}', inventory: hosts, startup_grace: 0s, stop_grace: 1s, kill_grace: 1s}}
webhooks:
  alertmanager: {{bearer: {{file: token}}}}
  grafana: {{basic: {{username: g, password: {{file: token}}}}}}
{}",
        if ansible.is_some() { remediations } else { "" }
    );
    let lamp = Lamp::new(&config);
    lamp.write("token", "s3cret\n");
    lamp.write("hosts", "m1 ansible_connection=local ansible_python_interpreter='{{ ansible_playbook_python }}'\n");
    let trace = lamp.path("trace").display().to_string();
    lamp.write(
        "playbooks/trace.yml",
        &format!("- hosts: all\n  gather_facts: false\n  tasks:\n  - shell: echo ran >> {trace}\n"),
    );
    lamp
}

fn post(lamp: &Lamp, path: &str, authorization: &str, body: &str) -> Answer {
    send(lamp.address(), "POST", path, &[("Authorization", authorization)], body).unwrap()
}

fn body(status: &str, miner: &str) -> String {
    format!(
        r#"{{"version":"4","status":"{status}","truncatedAlerts":0,"alerts":[{{"status":"{status}","labels":{{"alertname":"Hot","miner":"{miner}"}},
        "annotations":{{"summary":"<b>hot</b>"}},"startsAt":"2026-01-02T03:04:05Z","endsAt":"0001-01-01T00:00:00Z"}}]}}"#
    )
}

#[test]
fn nobody_is_believed_without_proof_and_nothing_odd_is_guessed_at() {
    let mut lamp = scene(None);
    lamp.start();
    let firing = body("firing", "m1");
    for (path, authorization, body, status) in [
        (ALERTMANAGER, "", firing.as_str(), 401),
        (ALERTMANAGER, "Bearer wrong", &firing, 401),
        (GRAFANA, "Bearer s3cret", &firing, 401),
        (GRAFANA, "Basic ZzpzM2NyZXQ=", &firing, 202),
        (ALERTMANAGER, "Bearer s3cret", "{", 400),
        (ALERTMANAGER, "Bearer s3cret", &firing.replace("\"4\"", "\"9\""), 400),
        (ALERTMANAGER, "Bearer s3cret", &body("melting", "m1"), 400),
        (ALERTMANAGER, "Bearer s3cret", &" ".repeat((1 << 20) + 1), 413),
    ] {
        let answer = post(&lamp, path, authorization, body);
        assert_eq!(answer.status, status, "{path} {authorization:?}: {}", answer.body);
    }
    assert_eq!(lamp.get(ALERTMANAGER).status, 405);
    let truncated = firing.replace("\"truncatedAlerts\":0", "\"truncatedAlerts\":3");
    assert_eq!(post(&lamp, ALERTMANAGER, "Bearer s3cret", &truncated).status, 202);
    let page = lamp.metrics();
    let count = |result| page.value("davylamp_webhook_alerts_total", &[("sender", "alertmanager"), ("result", result)]);
    assert_eq!((count("taken"), count("truncated")), (Some(1.0), Some(3.0)));
    let status = lamp.get("/").body;
    assert!(status.contains("left 3 alert(s) out") && status.contains("&lt;b&gt;hot"), "{status}");

    // What was acknowledged is there after a kill; what was resolved is not.
    lamp.kill();
    lamp.start();
    assert_eq!(lamp.get("/").body.matches("&lt;b&gt;hot").count(), 2, "one of each sender");
    for (path, authorization) in [(ALERTMANAGER, "Bearer s3cret"), (GRAFANA, "Basic ZzpzM2NyZXQ=")] {
        assert_eq!(post(&lamp, path, authorization, &body("resolved", "m1")).status, 202);
    }
    lamp.until("the end of the alerts", seconds(30), || (!lamp.get("/").body.contains("&gt;hot")).then_some(()));
    lamp.finish();
    let fires = |(key, posted): &(String, serde_json::Value)| {
        key.starts_with("webhook/") && posted["alert"]["state"] == "firing"
    };
    let left: Vec<String> = lamp.export().into_iter().filter(fires).map(|(key, _)| key).collect();
    assert_eq!(left, [""; 0]);
}

#[test]
fn fifty_repetitions_are_one_run() {
    let Some(ansible) = ansible() else { return };
    let mut lamp = scene(Some(&ansible));
    lamp.start();
    let (firing, traces) = (body("firing", "m1"), || std::fs::read_to_string(lamp.path("trace")).unwrap_or_default());
    for _ in 0..25 {
        assert_eq!(post(&lamp, ALERTMANAGER, "Bearer s3cret", &firing).status, 202);
        assert_eq!(post(&lamp, GRAFANA, "Basic ZzpzM2NyZXQ=", &firing).status, 202);
    }
    let ended = |page: &crate::http::Page| page.value("davylamp_runs_total", &[("result", "succeeded")]) == Some(1.0);
    lamp.wait("the end of the run", seconds(60), ended);
    for _ in 0..10 {
        assert_eq!(post(&lamp, ALERTMANAGER, "Bearer s3cret", &firing).status, 202);
    }
    assert_eq!(traces(), "ran\n");
    // All of it is in the audit log, whose chain is asked of the running daemon and of the state it leaves.
    let audit = |lamp: &Lamp, args: &[&str]| {
        let done = lamp.command(args).env("DAVYLAMP_URL", format!("http://{}", lamp.address())).output().unwrap();
        (
            done.status.success(),
            format!("{}{}", String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr)),
        )
    };
    let (sound, listed) = audit(&lamp, &["audit", "list"]);
    let places = ["run.queued", "run.claimed", "run.spawned", "run.succeeded"].map(|word| listed.find(word));
    assert!(sound && places.is_sorted() && places[0].is_some(), "{listed}");
    let (sound, head) = audit(&lamp, &["audit", "verify"]);
    assert!(sound && head.contains("whole and in order"), "{head}");
    lamp.finish();
    assert_eq!(std::fs::read_to_string(lamp.path("trace")).unwrap(), "ran\n");
    let anchor = head.trim().rsplit(' ').next().unwrap().to_string();
    let (sound, said) = audit(&lamp, &["audit", "verify", "--anchor", &anchor]);
    assert!(sound, "{said}");
    tamper(&lamp, "audit/log/0000000000000002");
    let (sound, said) = audit(&lamp, &["audit", "verify"]);
    assert!(!sound && said.contains("records 2 to 2 are missing"), "{said}");
}

/// Removes a record from the state of a stopped daemon.
fn tamper(lamp: &Lamp, key: &str) {
    use davylamp::store::state::{OpenOptions, SledState, StateStore, Txn};
    let (store, _) = SledState::open(OpenOptions::new(lamp.path("state"))).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    assert!(runtime.block_on(store.txn(Txn::delete(key))).unwrap().succeeded);
    store.close();
}

#[test]
fn a_real_alertmanager_is_understood() {
    let found = std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default())
        .flat_map(|folder| ["alertmanager", "prometheus-alertmanager"].map(|name| folder.join(name)))
        .find(|path| path.is_file());
    let Some(program) = found else {
        eprintln!("SKIPPED: no alertmanager in PATH");
        return;
    };
    let mut lamp = scene(None);
    lamp.start();
    let config = format!(
        "route: {{receiver: lamp, group_wait: 0s, group_interval: 1s}}
receivers:
- name: lamp
  webhook_configs:
  - url: http://{}{ALERTMANAGER}
    http_config: {{authorization: {{credentials: s3cret}}}}
",
        lamp.address()
    );
    lamp.write("am.yml", &config);
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut start = Command::new(program);
    start.arg(format!("--config.file={}", lamp.path("am.yml").display()));
    start.arg(format!("--storage.path={}", lamp.path("am").display()));
    start.arg(format!("--web.listen-address={address}")).arg("--cluster.listen-address=");
    let alertmanager = Aside(start.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
    let alert = |ends: &str| {
        format!(r#"[{{"labels":{{"alertname":"Real","miner":"m7"}},"annotations":{{"summary":"from afar"}}{ends}}}]"#)
    };
    let say = |text: &str| {
        let json = [("Content-Type", "application/json")];
        send(address, "POST", "/api/v2/alerts", &json, text).ok().filter(|answer| answer.status == 200)
    };
    lamp.until("Alertmanager", seconds(30), || say(&alert("")));
    lamp.until("its alert", seconds(30), || lamp.get("/").body.contains("from afar").then_some(()));
    lamp.until("the resolve", seconds(30), || say(&alert(r#","endsAt":"2026-01-02T03:04:05Z""#)));
    lamp.until("the end of its alert", seconds(30), || (!lamp.get("/").body.contains("from afar")).then_some(()));
    drop(alertmanager);
    lamp.finish();
}
