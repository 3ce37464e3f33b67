//! Devices that are told something: by a person through `davylamp miner`, and by a remediation's device step. The devices
//! are simulated, the sockets, the daemon and its audit log are real.

use std::process::Output;

use davylamp::demo::{Model, one_time_code};
use serde_json::Value;

use crate::http::send;
use crate::lamp::Lamp;
use crate::world::{Farm, seconds};

const BEARER: (&str, &str) = ("Authorization", "Bearer s3cret");

fn scene(farm: &Farm) -> Lamp {
    let config = format!(
        "server: {{listen: 127.0.0.1:0, token: {{file: token}}}}
storage: {{path: state, ballast_bytes: 0}}
defaults: {{interval: 5s, timeout: 2s}}
targets:
{}ansible: {{startup_grace: 0s, stop_grace: 1s}}
webhooks: {{alertmanager: {{bearer: {{file: token}}}}}}
remediations:
- name: cool-down
  match: ['alertname=\"Hot\"']
  target: '{{{{ $labels.miner }}}}'
  sources: [alertmanager]
  mode: auto
  steps: [{{device: pause, timeout: 30s}}]
- name: wake
  match: ['alertname=\"Idle\"']
  target: '{{{{ $labels.miner }}}}'
  sources: [alertmanager]
  mode: auto
  steps: [{{device: resume, timeout: 30s}}]
- name: look-awake
  match: ['alertname=\"Idle\"']
  target: '{{{{ $labels.miner }}}}'
  sources: [alertmanager]
  steps: [{{device: resume, timeout: 30s}}]
- name: look-first
  match: ['alertname=\"Warm\"']
  target: '{{{{ $labels.miner }}}}'
  sources: [alertmanager]
  steps: [{{device: fan 90, timeout: 30s}}]
",
        farm.targets()
    );
    let lamp = Lamp::new(&config);
    lamp.write("token", "s3cret\n");
    lamp.write("playbooks/.keep", "");
    lamp
}

/// `davylamp miner …` against the daemon.
pub fn miner(lamp: &Lamp, args: &[&str]) -> Output {
    let url = format!("http://{}", lamp.address());
    let token = lamp.path("token").display().to_string();
    lamp.output(&[&["miner"], args, &["--url", &url, "--token-file", &token, "--by", "ada"]].concat())
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// Whether the device says that it is paused.
pub fn paused(farm: &Farm, id: &str) -> bool {
    let body = crate::http::ask(farm.device(id).address(), "GET", "/api/system/info", &[]).unwrap().body;
    let info: Value = serde_json::from_str(&body).unwrap();
    info["miningPaused"].as_bool().unwrap_or(info["miningPaused"] == 1)
}

#[test]
fn a_person_tells_a_device_and_it_is_on_record() {
    let farm = Farm::start(&[("garage-1", Model::Bitaxe), ("shed", Model::Cgminer)]);
    let mut lamp = scene(&farm);
    lamp.start();
    let list = text(&miner(&lamp, &["list"]));
    assert!(list.contains("garage-1") && list.contains("fan PERCENT|auto") && list.contains("shed"), "{list}");
    let commands = text(&miner(&lamp, &["commands", "garage-1"]));
    assert!(commands.contains("restarts the whole device"), "{commands}");
    let dry = miner(&lamp, &["pause", "garage-1", "--dry-run"]);
    assert!(
        dry.status.success() && text(&dry).contains("would send to garage-1: POST /api/system/pause"),
        "{}",
        text(&dry)
    );
    assert!(!paused(&farm, "garage-1"));
    let done = miner(&lamp, &["pause", "garage-1"]);
    assert!(done.status.success() && text(&done).contains("its state is paused (before: hashing)"), "{}", text(&done));
    assert!(paused(&farm, "garage-1"));
    let again = text(&miner(&lamp, &["pause", "garage-1"]));
    assert!(again.contains("it already is so"), "{again}");
    assert!(miner(&lamp, &["resume", "garage-1"]).status.success());
    for (args, word) in [
        (&["restrat", "garage-1"][..], "did you mean \"restart\"?"),
        (&["fan", "garage-1", "200"], "no PERCENT from 0 to 100"),
        (&["pause", "nobody"], "there is no target \"nobody\""),
        (&["pool", "shed", "9"], "refused"),
    ] {
        let refused = miner(&lamp, args);
        assert!(!refused.status.success() && text(&refused).contains(word), "{args:?}: {}", text(&refused));
    }
    // Without the token nothing is told.
    let answer = send(lamp.address(), "POST", "/api/v1/targets/garage-1/commands/pause", &[], "{}").unwrap();
    assert_eq!(answer.status, 401, "{}", answer.body);
    assert!(!paused(&farm, "garage-1"));
    let audit = lamp.get("/api/v1/audit").body;
    for word in ["device.told", "device.done", "ada", "its state is paused"] {
        assert!(audit.contains(word), "{word}: {audit}");
    }
    lamp.stop();
}

#[test]
fn a_person_gives_a_one_time_code_and_it_stands_in_no_record() {
    let farm = Farm::start(&[("nerd", Model::NerdQaxe), ("shed", Model::Cgminer)]);
    let mut lamp = scene(&farm);
    lamp.start();
    for (args, word) in [
        (&["fan", "nerd", "70"][..], "with --code"),
        (&["fan", "nerd", "70", "--code", "12345"], "six digits"),
        (&["fan", "nerd", "70", "--code", "abc def"], "six digits"),
        (&["restart", "shed", "--code", "123456"], "take no one-time code"),
    ] {
        let refused = miner(&lamp, args);
        assert!(!refused.status.success() && text(&refused).contains(word), "{args:?}: {}", text(&refused));
    }
    let code = one_time_code();
    // As apps show it.
    let spelled = format!("{} {}", &code[..3], &code[3..]);
    let done = miner(&lamp, &["fan", "nerd", "70", "--code", &spelled]);
    assert!(done.status.success() && text(&done).contains("it says 70 (before: auto)"), "{}", text(&done));
    let audit = lamp.get("/api/v1/audit").body;
    assert!(audit.contains("fan 70"), "{audit}");
    // Within hashes and times, six digits may stand by chance.
    for trace in ["\"code\"".to_string(), format!("\"{code}\""), format!(" {code}"), spelled] {
        assert!(!audit.contains(&trace), "{trace}: {audit}");
    }
    lamp.stop();
}

#[test]
fn a_remediation_tells_a_device_and_keeps_what_was_before() {
    let farm = Farm::start(&[("garage-1", Model::Bitaxe), ("garage-2", Model::Bitaxe)]);
    let mut lamp = scene(&farm);
    lamp.start();
    for (alert, miner) in [("Hot", "garage-1"), ("Warm", "garage-2")] {
        let body = format!(
            r#"{{"version":"4","status":"firing","alerts":[{{"status":"firing","labels":{{"alertname":"{alert}","miner":"{miner}"}},
            "annotations":{{}},"startsAt":"2026-01-02T03:04:05Z","endsAt":"0001-01-01T00:00:00Z"}}]}}"#
        );
        let answer = send(lamp.address(), "POST", "/api/v1/webhooks/alertmanager", &[BEARER], &body).unwrap();
        assert_eq!(answer.status, 202, "{}", answer.body);
    }
    let run = |binding: &str| {
        lamp.until(&format!("a run of {binding}"), seconds(60), || {
            std::thread::sleep(std::time::Duration::from_millis(100));
            let page = lamp.get(&format!("/api/v1/runs?binding={binding}&state=succeeded"));
            let found: Value = serde_json::from_str(&page.body).unwrap();
            let id = found["runs"][0]["id"].as_str()?.to_string();
            let shown: Value = serde_json::from_str(&lamp.get(&format!("/api/v1/runs/{id}")).body).unwrap();
            Some(shown["run"].clone())
        })
    };
    let done = run("cool-down");
    assert_eq!(done["before"], "hashing", "{done}");
    assert!(done["detail"].as_str().unwrap().contains("its state is paused"), "{done}");
    assert!(paused(&farm, "garage-1") && !paused(&farm, "garage-2"));
    let rehearsed = run("look-first");
    assert!(rehearsed["detail"].as_str().unwrap().contains("it would send PATCH /api/system"), "{rehearsed}");
    lamp.stop();
}

/// The owner's own hand, at the device.
fn by_hand(farm: &Farm, id: &str, what: &str) {
    let path = format!("/api/system/{what}");
    assert_eq!(crate::http::ask(farm.device(id).address(), "POST", &path, &[]).unwrap().status, 200);
}

#[test]
fn only_what_davylamp_paused_is_woken_unless_a_person_insists() {
    let farm = Farm::start(&[("garage-1", Model::Bitaxe), ("garage-2", Model::Bitaxe)]);
    let mut lamp = scene(&farm);
    lamp.start();
    let refused = |lamp: &Lamp, args: &[&str]| {
        let output = miner(lamp, args);
        let said = text(&output);
        assert!(!output.status.success() && said.contains("it was not davylamp that paused it"), "{said}");
        assert!(said.contains("davylamp miner resume garage-1 --force"), "{said}");
    };
    // Its owner paused it: neither a person nor a remediation wakes it by the way.
    by_hand(&farm, "garage-1", "pause");
    refused(&lamp, &["resume", "garage-1"]);
    refused(&lamp, &["resume", "garage-1", "--dry-run"]);
    let body = r#"{"version":"4","status":"firing","alerts":[{"status":"firing","labels":{"alertname":"Idle","miner":"garage-1"},
        "annotations":{},"startsAt":"2026-01-02T03:04:05Z","endsAt":"0001-01-01T00:00:00Z"}]}"#;
    let answer = send(lamp.address(), "POST", "/api/v1/webhooks/alertmanager", &[BEARER], body).unwrap();
    assert_eq!(answer.status, 202, "{}", answer.body);
    let run = lamp.until("a run of wake", seconds(60), || {
        std::thread::sleep(std::time::Duration::from_millis(100));
        let page = lamp.get("/api/v1/runs?binding=wake").body;
        let found: Value = serde_json::from_str(&page).unwrap();
        (found["runs"][0]["finished_at"].is_number() || page.contains("paused it")).then_some(page)
    });
    assert!(run.contains("it was not davylamp that paused it"), "{run}");
    // Check mode tells how it stands, and is no failure: another step may be the one that pauses the device.
    lamp.until("a run of look-awake", seconds(60), || {
        std::thread::sleep(std::time::Duration::from_millis(100));
        let page = lamp.get("/api/v1/runs?binding=look-awake&state=succeeded").body;
        page.contains("were it not so: it was not davylamp").then_some(())
    });
    assert!(paused(&farm, "garage-1"));
    let forced = miner(&lamp, &["resume", "garage-1", "--force"]);
    assert!(forced.status.success() && !paused(&farm, "garage-1"), "{}", text(&forced));
    // What davylamp paused it wakes, after a restart too.
    assert!(miner(&lamp, &["pause", "garage-1"]).status.success());
    lamp.stop();
    lamp.start();
    let dry = miner(&lamp, &["resume", "garage-1", "--dry-run"]);
    assert!(text(&dry).contains("would send to garage-1: POST /api/system/resume"), "{}", text(&dry));
    let woken = miner(&lamp, &["resume", "garage-1"]);
    assert!(woken.status.success() && !paused(&farm, "garage-1"), "{}", text(&woken));
    // Woken by its owner's hand and paused by it once more, it is the owner's.
    assert!(miner(&lamp, &["pause", "garage-1"]).status.success());
    by_hand(&farm, "garage-1", "resume");
    lamp.until("the wake is seen", seconds(60), || {
        std::thread::sleep(std::time::Duration::from_millis(100));
        (!miner(&lamp, &["resume", "garage-1", "--dry-run"]).status.success()).then_some(())
    });
    by_hand(&farm, "garage-1", "pause");
    refused(&lamp, &["resume", "garage-1"]);
    assert!(paused(&farm, "garage-1"));
    lamp.stop();
}
