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

/// `davylamp rules …` against this daemon: status, what it says, what it complains of.
fn typed(lamp: &Lamp, words: &[&str]) -> (Option<i32>, String, String) {
    let url = format!("http://{}", lamp.address());
    let output = lamp.output(&[&["rules"], words, &["--url", &url]].concat());
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

fn the_command_says_it_too(lamp: &Lamp) {
    let (status, text, _) = typed(lamp, &["explain", "Patient"]);
    assert_eq!(status, Some(0), "{text}");
    assert!(text.starts_with("Patient is firing: the condition holds for 2 alerts, long enough to fire\n"), "{text}");
    assert!(text.contains("\n  firing    since ") && text.contains("target=\"m1\""), "{text}");
    assert!(text.lines().filter(|line| line.contains(" ms  2 elements")).count() >= 3, "{text}");
    let (status, text, _) = typed(lamp, &["explain", "--group", "fleet", "--output", "json"]);
    assert_eq!((status, serde_json::from_str::<Vec<Value>>(&text).unwrap().len()), (Some(0), 5));
    let (status, _, wrong) = typed(lamp, &["explain", "Patien"]);
    assert_eq!(status, Some(1));
    assert!(wrong.contains("no rule \"Patien\"; did you mean \"Patient\"?"), "{wrong}");
}

fn seconds_now() -> u64 {
    std::time::UNIX_EPOCH.elapsed().unwrap().as_secs()
}

/// What every replay of this daemon's rules must tell.
fn would_have_fired(replay: &str) {
    let told: Value = serde_json::from_str(replay).unwrap();
    let alerts: Vec<&Value> = told["alerts"].as_array().unwrap().iter().collect();
    let of = |name: &str| alerts.iter().filter(|alert| alert["labels"]["alertname"] == name).collect::<Vec<_>>();
    assert_eq!((of("Always").len(), of("Patient").len(), of("Misspelt").len()), (1, 2, 0), "{told}");
    for alert in of("Patient") {
        assert!(alert["state"] == "firing" && alert["activeAt"].as_str() < alert["firedAt"].as_str(), "{alert}");
    }
    assert!(told["failures"][0]["error"].as_str().unwrap().contains("many-to-many"), "{told}");
    assert!(told["neverMatched"].to_string().contains("davylamp_target_upp"), "{told}");
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
    the_command_says_it_too(&lamp);
    // The end is told in whole seconds, and the alerts fired in the middle of one.
    let end = seconds_now() + 2;
    lamp.until("a whole second after the alerts fired", seconds(10), || (seconds_now() >= end).then_some(()));
    let to = Value::from(end).to_string();
    let replay = ["replay", "--from", "2m", "--to", &to, "--output", "json"];
    let (status, running, wrong) = typed(&lamp, &replay);
    assert_eq!(status, Some(0), "{wrong}");
    would_have_fired(&running);
    let (status, table, _) = typed(&lamp, &["replay", "--from", "2m", "--step", "5s", "--rules", "other.yml"]);
    assert_eq!(status, Some(78), "a rule file that is not there: {table}");
    lamp.write("other.yml", "groups: [{name: g, rules: [{alert: Up, expr: 'davylamp_target_up == 1'}]}]\n");
    let (status, table, _) = typed(&lamp, &["replay", "--from", "2m", "--step", "5s", "--rules", "other.yml"]);
    assert_eq!((status, table.matches("alertname=\"Up\"").count()), (Some(0), 2), "{table}");
    assert!(lamp.stop().0.success());
    // The same samples, now from the disk.
    let output = lamp.output(&[&["rules"], &replay[..]].concat());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    would_have_fired(&String::from_utf8(output.stdout).unwrap());
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
