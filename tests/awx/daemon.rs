//! A whole daemon with a controller behind TLS: its authority is a private one, its token goes nowhere else, the job
//! stands in the record, and what the controller would not take is refused to the end.

use std::time::Duration;

use serde_json::{Value, json};

use crate::certificates::make_certificates;
use crate::http::send;
use crate::lamp::Lamp;
use crate::server::{Server, TOKEN};

const PATIENCE: Duration = Duration::from_secs(60);

/// The daemon of a controller, and the controller.
fn scene(trusted: bool) -> Option<(Server, Lamp)> {
    if std::process::Command::new("openssl").arg("version").output().is_err() {
        eprintln!("SKIPPED: openssl is not installed");
        return None;
    }
    let folder = tempfile::tempdir().unwrap();
    make_certificates(folder.path());
    let server = Server::tls(folder.path());
    let authority = if trusted { ", ca_file: ca.pem" } else { "" };
    let lamp = Lamp::new(&format!(
        "server: {{listen: '127.0.0.1:0', token: {{file: token}}}}
storage: {{path: state, ballast_bytes: 0}}
ansible:
  startup_grace: 0s
  awx: {{url: 'https://{}', token: {{file: awx-token}}, inventory: 3, job_templates: {{restart.yml: Restart a miner}}{authority}}}
webhooks: {{alertmanager: {{bearer: {{file: token}}}}}}
remediations:
- name: restart
  match: ['alertname=\"Slow\"']
  target: '{{{{ $labels.miner }}}}'
  sources: [alertmanager]
  mode: auto
  steps: [{{playbook: restart.yml, timeout: 30s}}]
",
        server.address
    ));
    std::fs::copy(folder.path().join("ca.pem"), lamp.path("ca.pem")).unwrap();
    lamp.write("token", "s3cret-of-the-daemon");
    lamp.write("awx-token", TOKEN);
    Some((server, lamp))
}

fn fire(lamp: &Lamp, miner: &str) {
    let body = format!(
        r#"{{"version":"4","status":"firing","alerts":[{{"status":"firing","labels":{{"alertname":"Slow","miner":"{miner}"}},
        "annotations":{{}},"startsAt":"2026-01-02T03:04:05Z","endsAt":"0001-01-01T00:00:00Z"}}]}}"#
    );
    let bearer = [("Authorization", "Bearer s3cret-of-the-daemon")];
    let answer = send(lamp.address(), "POST", "/api/v1/webhooks/alertmanager", &bearer, &body).unwrap();
    assert_eq!(answer.status, 202, "{}", answer.body);
}

/// Waits for a run in this state.
fn ended(lamp: &Lamp, state: &str) -> Value {
    lamp.until(&format!("a run that is {state}"), PATIENCE, || {
        std::thread::sleep(Duration::from_millis(50));
        let found: Value = serde_json::from_str(&lamp.get(&format!("/api/v1/runs?state={state}")).body).unwrap();
        found["runs"].get(0).cloned()
    })
}

#[test]
fn over_tls_a_job_is_launched_and_stands_in_the_record() {
    let Some((server, mut lamp)) = scene(true) else { return };
    lamp.start();
    fire(&lamp, "m2");
    lamp.until("the job", PATIENCE, || (!server.state().jobs.is_empty()).then_some(()));
    assert_eq!(server.state().launches[0]["limit"], "m2");
    // It goes on without the daemon, and is found again.
    lamp.kill();
    lamp.start();
    server.end(40, "successful");
    let run = ended(&lamp, "succeeded");
    let id = run["id"].as_str().unwrap();
    let url = format!("https://{}/#/jobs/playbook/40/output", server.address);
    let shown: Value = serde_json::from_str(&lamp.get(&format!("/api/v1/runs/{id}")).body).unwrap();
    assert_eq!(shown["run"]["place"], json!({"job": 40, "url": url}));
    lamp.finish();
    let said = lamp.output(&["runs", "show", id]);
    let said = String::from_utf8_lossy(&said.stdout);
    assert!(said.contains(&format!("job       40 {url}")), "{said}");
    assert_eq!(server.state().launches.len(), 1);
    assert!(!lamp.logs().contains(TOKEN) && !said.contains(TOKEN));
}

#[test]
fn what_the_controller_ignores_is_a_refusal() {
    let Some((server, mut lamp)) = scene(true) else { return };
    server.state().ignored = json!({"extra_vars": {"davylamp": {}}});
    lamp.start();
    fire(&lamp, "m2");
    let run = ended(&lamp, "failed");
    let detail = run["detail"].as_str().unwrap();
    assert!(detail.contains("takes no extra_vars at launch") && detail.contains("job 40 was cancelled"), "{detail}");
    assert_eq!(server.state().launches.len(), 1);
    assert_eq!(server.state().cancels, [40]);
    lamp.finish();
}

#[test]
fn a_controller_that_nobody_vouches_for_is_told_nothing() {
    let Some((server, mut lamp)) = scene(false) else { return };
    lamp.start();
    fire(&lamp, "m2");
    lamp.until("the refusal", PATIENCE, || lamp.log().contains("no run can start").then_some(()));
    let log = lamp.log();
    assert!(log.contains("certificate") && !log.contains(TOKEN), "{log}");
    assert!(server.state().launches.is_empty());
    lamp.finish();
}
