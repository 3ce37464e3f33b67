//! Curtailment over restarts and kills: what it paused is brought back, what its owner had paused is not.

use davylamp::demo::Model;
use rustix::process::Signal;
use serde_json::Value;

use crate::http::Page;
use crate::lamp::Lamp;
use crate::miner::{miner, paused};
use crate::world::{Farm, seconds};

/// The configuration with an expression that says when.
fn config(farm: &Farm, condition: &str, mode: &str) -> String {
    format!(
        "server: {{listen: 127.0.0.1:0, token: {{file: token}}}}
storage: {{path: state, ballast_bytes: 0}}
defaults: {{interval: 5s, timeout: 2s}}
targets:
{}curtailments:
- name: dear-power
  targets: ['kind=\"axeos\"']
  while: '{condition}'
  for: 0s
  action: pause
  mode: {mode}
  stagger: 0s
- name: never
  targets: ['kind=\"axeos\"']
  while: 'vector(0) > 0'
  for: 0s
  action: pause
  stagger: 0s
",
        farm.targets()
    )
}

/// The devices that are on record as curtailed.
fn curtailed(lamp: &Lamp) -> Vec<String> {
    let body: Value = serde_json::from_str(&lamp.get("/api/v1/curtailments").body).unwrap();
    let targets = body["curtailments"][0]["targets"].as_array().cloned().unwrap_or_default();
    targets.iter().map(|target| target.as_str().unwrap().to_string()).collect()
}

fn until(lamp: &Lamp, what: &str, look: impl Fn() -> bool) {
    lamp.until(what, seconds(60), || {
        std::thread::sleep(std::time::Duration::from_millis(100));
        look().then_some(())
    });
}

#[test]
fn what_it_paused_is_brought_back_and_nothing_else() {
    let farm = Farm::start(&[
        ("one", Model::Bitaxe),
        ("two", Model::Bitaxe),
        ("owned", Model::Bitaxe),
        ("shed", Model::Cgminer),
    ]);
    let mut lamp = Lamp::new(&config(&farm, "no_such_price > 0", "auto"));
    lamp.write("token", "s3cret\n");
    lamp.start();
    assert!(miner(&lamp, &["pause", "owned"]).status.success());
    // Without data nothing happens.
    std::thread::sleep(seconds(5));
    assert!(!paused(&farm, "one") && curtailed(&lamp).is_empty());
    lamp.stop();
    // Check mode says so once per device, and does nothing.
    lamp.write("davylamp.yml", &config(&farm, "vector(1) > 0", "check"));
    lamp.start();
    let rehearsals = |lamp: &Lamp| lamp.get("/api/v1/audit").body.matches("curtailment.check").count();
    until(&lamp, "check mode in the audit log", || rehearsals(&lamp) == 3);
    std::thread::sleep(seconds(5));
    assert_eq!(rehearsals(&lamp), 3, "another curtailment over the same devices does not make it forget");
    assert!(!paused(&farm, "one") && curtailed(&lamp).is_empty());
    // Meant now, it acts, though it is wanted all the while.
    lamp.write("davylamp.yml", &config(&farm, "vector(1) > 0", "auto"));
    lamp.signal(Signal::HUP);
    until(&lamp, "both of them paused", || curtailed(&lamp) == ["one", "two"]);
    assert!(paused(&farm, "one") && paused(&farm, "two"));
    // A remediation or a person's plain word does not work against it.
    let refused = miner(&lamp, &["resume", "one"]);
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && said.contains("the curtailment dear-power keeps it paused"), "{said}");
    until(&lamp, "the metric", || {
        let page = Page(lamp.get("/metrics").body);
        page.value("davylamp_curtailed_targets", &[("curtailment", "dear-power")]) == Some(2.0)
    });
    // A kill forgets nothing, and no data change nothing.
    lamp.kill();
    lamp.write("davylamp.yml", &config(&farm, "no_such_price > 0", "auto"));
    lamp.start();
    until(&lamp, "what it had paused", || curtailed(&lamp) == ["one", "two"]);
    assert!(paused(&farm, "one"));
    lamp.kill();
    lamp.write("davylamp.yml", &config(&farm, "vector(0) > 0", "auto"));
    lamp.start();
    until(&lamp, "both of them brought back", || {
        curtailed(&lamp).is_empty() && !paused(&farm, "one") && !paused(&farm, "two")
    });
    assert!(paused(&farm, "owned"), "its owner paused it");
    let audit = lamp.get("/api/v1/audit").body;
    assert!(audit.contains("curtailment dear-power") && audit.contains("resume"), "{audit}");
    lamp.stop();
}
