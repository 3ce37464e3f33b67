//! Rules in a running daemon: why they say what they say, and alerts whose times survive `kill -9` at any moment.

use std::collections::BTreeMap;
use std::time::Duration;

use davylamp::demo::{Fault, Model};
use serde_json::Value;

use crate::lamp::Lamp;
use crate::world::{Farm, config, seconds};

const RULES: &str = r#"groups:
- name: fleet
  interval: 1s
  rules:
  - record: fleet:up:sum
    expr: sum(davylamp_target_up)
  - alert: Always
    expr: fleet:up:sum > 0
  - alert: Patient
    expr: davylamp_target_up == 1
    for: 3s
  - alert: Misspelt
    expr: davylamp_target_upp == 0
  - alert: Ambiguous
    expr: davylamp_target_up + on() group_left() davylamp_target_up
"#;

fn lamp(farm: &Farm) -> Lamp {
    let mut lamp = Lamp::new(&(config(None, "") + &farm.targets()));
    lamp.write("rules.yml", RULES);
    lamp.start();
    lamp
}

/// The rules that the API explains for a question.
fn explained(lamp: &Lamp, question: &str) -> Vec<Value> {
    let answer = lamp.get(&format!("/api/v1/rules/trace{question}"));
    assert_eq!(answer.status, 200, "{}", answer.body);
    let body: Value = serde_json::from_str(&answer.body).unwrap();
    assert_eq!(body["status"], "success");
    body["data"]["rules"].as_array().unwrap().clone()
}

#[test]
fn every_rule_says_why() {
    let farm = Farm::start(&[("m1", Model::Bitaxe), ("m2", Model::Bitaxe)]);
    let mut lamp = lamp(&farm);
    lamp.wait("both alerts", seconds(60), |page| {
        page.value("ALERTS", &[("alertname", "Patient"), ("alertstate", "firing")]) == Some(2.0)
    });
    assert_eq!(explained(&lamp, "").len(), 5);
    assert_eq!(explained(&lamp, "?group=fleet").len(), 5);
    assert_eq!(explained(&lamp, "?group=other").len(), 0);
    let one = |name: &str| explained(&lamp, &format!("?rule={name}")).remove(0);
    let patient = one("Patient");
    assert_eq!((&patient["state"], &patient["type"]), (&"firing".into(), &"alerting".into()), "{patient}");
    assert_eq!(patient["reason"], "the condition holds for 2 alerts, long enough to fire");
    assert_eq!(patient["alerts"].as_array().unwrap().len(), 2);
    let trace = patient["trace"].as_array().unwrap();
    assert!((3..=20).contains(&trace.len()) && trace[0]["elements"] == 2, "{trace:?}");
    assert!(trace[0]["at"].as_str() > trace[1]["at"].as_str(), "newest first: {trace:?}");
    assert_eq!(one("Misspelt")["reason"], "no series has ever matched davylamp_target_upp");
    let ambiguous = one("Ambiguous");
    assert!(ambiguous["reason"].as_str().unwrap().contains("many-to-many"), "{ambiguous}");
    assert!(ambiguous["failures"].as_u64() > Some(0) && ambiguous["trace"][0]["failed"] == true);
    let page = lamp.get("/").body;
    assert!(page.contains("href=\"/api/v1/rules/trace?rule=Misspelt\""), "{page}");
    lamp.finish();
}

/// Times of all alerts in the state: when they became active, and when they fired.
fn times(lamp: &Lamp) -> BTreeMap<String, (i64, Option<i64>)> {
    let records = lamp.export().into_iter().filter(|(key, _)| key.starts_with("alert/"));
    let time = |alert: &Value, name: &str| alert[name].as_i64();
    records.map(|(key, alert)| (key, (time(&alert, "active_at").unwrap(), time(&alert, "fired_at")))).collect()
}

#[test]
fn killed_again_and_again_no_alert_starts_anew() {
    let farm = Farm::start(&[("m1", Model::Bitaxe), ("m2", Model::Bitaxe), ("m3", Model::Cgminer)]);
    farm.device("m3").set_fault(Some(Fault::LowHashrate));
    let mut lamp = lamp(&farm);
    let patient = |state| [("alertname", "Patient"), ("alertstate", state)];
    lamp.wait("three alerts", seconds(60), |page| page.value("ALERTS", &patient("pending")) == Some(3.0));
    let mut known: BTreeMap<String, (i64, Option<i64>)> = BTreeMap::new();
    for round in 0..=8 {
        match round {
            8 => {
                drop(lamp.wait("all alerts", seconds(60), |page| page.value("ALERTS", &patient("firing")) == Some(3.0)))
            }
            _ => drop(lamp.wait("an alert", seconds(60), |page| page.alert("Always", "firing"))),
        }
        // Somewhere in an evaluation, a write or the pause after it.
        std::thread::sleep(Duration::from_millis(137 * round));
        lamp.kill();
        let now = times(&lamp);
        for (key, (active, fired)) in &known {
            let (active_now, fired_now) = now.get(key).unwrap_or_else(|| panic!("round {round}: {key} is forgotten"));
            assert_eq!(active, active_now, "round {round}: {key}");
            assert!(fired.is_none() || fired == fired_now, "round {round}: {key}: {fired:?} became {fired_now:?}");
        }
        known = now;
        lamp.start();
    }
    let fired = known.values().filter(|(_, fired)| fired.is_some()).count();
    assert!(fired >= 4, "one of the fleet and one for each of three miners: {known:?}");
    lamp.finish();
}
