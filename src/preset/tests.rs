//! Presets as they are written, against devices as they are.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;

use super::*;
use crate::model::PoolSetting;

fn target(id: &str, labels: &[(&'static str, &str)]) -> Target {
    Target {
        id: id.into(),
        kind: Arc::from("axeos"),
        address: "127.0.0.1".into(),
        interval: Duration::from_secs(15),
        timeout: Duration::from_secs(5),
        cron: None,
        labels: Labels::new(labels.iter().map(|(name, value)| (*name, *value))),
        options: serde_json::Value::Null,
    }
}

fn gamma() -> Identity {
    Identity {
        make: "Bitaxe".into(),
        model: "Gamma 601".into(),
        firmware: "AxeOS v2.9.0".into(),
        ..Identity::default()
    }
}

fn read(presets: serde_json::Value, targets: &[&Target]) -> (Presets, Vec<String>) {
    let entries: Vec<PresetEntry> = serde_json::from_value(presets).unwrap();
    let (presets, mistakes) = check(&entries, &[], &[], targets, &|_| None);
    (presets, mistakes.into_iter().map(|mistake| format!("{}: {}", mistake.path, mistake.message)).collect())
}

/// What differs, as lines.
fn wrong(judgement: &Judgement) -> Vec<String> {
    let wrong = judgement.rows().filter(|row| row.wrong);
    wrong.map(|row| format!("{}: {} is {}", row.setting, row.wanted, row.found)).collect()
}

fn settings() -> Settings {
    let pool = |slot, url: &str, user: &str| PoolSetting { slot, place: slot, url: url.into(), user: user.into() };
    Settings {
        pools: vec![
            pool(0, "Pool.example:3333", "bc1qexampleexample.garage-1"),
            pool(1, "backup.example:3333", "bc1qexampleexample.garage-1"),
        ],
        frequencies: vec![525e6],
        core_voltages: vec![1.15],
        power_limit: Some(3000.0),
        fan: Some(FanSetting::Auto),
        ..Settings::default()
    }
}

fn whole() -> serde_json::Value {
    serde_json::json!([{
        "name": "gammas",
        "match": ["kind=\"axeos\"", "model=~\"Gamma.*\""],
        "pools": [
            {"url": "stratum+tcp://pool.example:3333", "worker": "bc1qexampleexample.{{ miner }}"},
            {"url": "backup.example:3333", "worker": "bc1qexampleexample.{{miner}}", "password": {"file": "/nowhere"}},
        ],
        "frequency_mhz": 525, "core_voltage_mv": 1150, "power_limit_watts": 3000, "fan": "auto",
        "firmware_at_least": "2.9.0",
    }])
}

#[test]
fn a_device_that_is_as_it_should_be_has_nothing_that_differs() {
    let target = target("garage-1", &[]);
    let (presets, mistakes) = read(whole(), &[&target]);
    assert_eq!(mistakes, Vec::<String>::new());
    let judgement = presets.judge(&target, &gamma(), &settings());
    assert_eq!(wrong(&judgement), Vec::<String>::new());
    assert_eq!(
        (judgement.preset.as_deref(), judgement.drifts.len(), judgement.strangers.len()),
        (Some("gammas"), 9, 4)
    );
    let samples = judgement.samples(&target);
    assert!(samples.iter().all(|sample| sample.value == 0.0) && samples.len() == 13);
}

#[test]
fn what_differs_is_said_with_both_values() {
    let target = target("garage-1", &[("site", "garage")]);
    let (presets, _) = read(whole(), &[&target]);
    let mut found = settings();
    found.pools[0].user = "bc1qthiefthiefthief.garage-1".into();
    found.pools[1].url = "evil.example:3333".into();
    found.frequencies = vec![524e6, 600e6];
    found.core_voltages = vec![1.2];
    found.power_limit = Some(3500.0);
    found.fan = Some(FanSetting::Fixed(0.3));
    let identity = Identity { firmware: "AxeOS v2.10.1".into(), ..gamma() };
    let judgement = presets.judge(&target, &identity, &found);
    assert_eq!(
        wrong(&judgement),
        [
            "pool_worker 0: bc1q…mple.garage-1 is bc1q…hief.garage-1",
            "pool_url 1: backup.example:3333 is evil.example:3333",
            "frequency: 525 MHz is 600 MHz",
            "core_voltage: 1150 mV is 1200 mV",
            "power_limit: 3000 W is 3500 W",
            "fan: auto is 30%",
            "expected worker 0: one that is named is bc1q…hief.garage-1",
            "expected pool 1: one that is named is evil.example:3333",
        ]
    );
    let identity = Identity { firmware: "AxeOS v2.8.12".into(), ..gamma() };
    let judgement = presets.judge(&target, &identity, &settings());
    assert_eq!(wrong(&judgement), ["firmware: at least 2.9.0 is 2.8.12"]);
    let sample = judgement.samples(&target).into_iter().find(|sample| sample.value == 1.0).unwrap();
    let expected = "{kind=\"axeos\", preset=\"gammas\", setting=\"firmware\", site=\"garage\", target=\"garage-1\"}";
    assert_eq!((&*sample.family.name, sample.labels.to_string()), ("davylamp_preset_drift", expected.to_string()));
}

#[test]
fn what_a_device_does_not_say_is_not_judged() {
    let target = target("garage-1", &[]);
    let (presets, _) = read(whole(), &[&target]);
    let dated = Identity { firmware: "Bitmain Fri Nov 17 17:57:49 CST 2017".into(), ..gamma() };
    assert!(presets.judge(&target, &dated, &Settings::default()).is_empty());
    let mut hidden = settings();
    hidden.pools[0].user = "***".into();
    hidden.pools[1].user = String::new();
    assert_eq!(wrong(&presets.judge(&target, &gamma(), &hidden)), Vec::<String>::new());
    let ultra = Identity { model: "Ultra 204".into(), ..gamma() };
    assert!(presets.judge(&target, &ultra, &Settings::default()).preset.is_none(), "another model");
}

#[test]
fn the_first_preset_that_matches_is_the_one() {
    let (a, b) = (target("a", &[("site", "garage")]), target("b", &[]));
    let presets = serde_json::json!([
        {"name": "garage", "match": ["site=\"garage\""], "frequency_mhz": 400},
        {"name": "rest", "frequency_mhz": 500},
    ]);
    let (presets, _) = read(presets, &[&a, &b]);
    let of = |target| presets.of(target, &gamma()).map(|preset| preset.name.clone()).unwrap();
    assert_eq!((of(&a), of(&b)), ("garage".to_string(), "rest".to_string()));
}

#[test]
fn without_presets_the_lists_alone_say_what_is_expected() {
    let target = target("garage-1", &[]);
    let lists = (["pool[.]example:3333".to_string()], ["bc1qexample.*".to_string()]);
    let (presets, mistakes) = check(&[], &lists.0, &lists.1, &[&target], &|_| None);
    assert!(mistakes.is_empty() && !presets.is_empty());
    let mut found = settings();
    found.pools[1].user = "3Thief".into();
    assert_eq!(
        wrong(&presets.judge(&target, &gamma(), &found)),
        ["expected pool 1: one that is named is backup.example:3333", "expected worker 1: one that is named is 3Thief"]
    );
}

#[test]
fn mistakes_are_told_with_their_places() {
    let target = target("garage-1", &[]);
    let presets = serde_json::json!([
        {
            "name": "a", "match": ["kind"], "frequency_mhz": 5e6, "fan": "loud", "firmware_at_least": "new",
            "pools": [
                {"url": "pool.example", "worker": "x"},
                {"url": "pool.example:3333", "worker": "x.{{ miner"},
                {"url": "pool.example:3333", "worker": "x.{{ lookup('pipe', 'id') }}"},
            ],
        },
        {"name": "a", "pools": [{"url": "pool.example:3333", "worker": "x.{{ rack }}"}]},
        {"name": "c", "match": ["kind=\"whatsminer\""]},
    ]);
    assert_eq!(
        read(presets, &[&target]).1,
        [
            "presets[0].match[0]: \"kind\" is not a matcher: write name=\"value\", name!=\"value\", name=~\"pattern\" or \
             name!~\"pattern\"",
            "presets[0].pools[0].url: \"pool.example\" is no pool: write it like stratum+tcp://pool.example:3333",
            "presets[0].pools[1].worker: a {{ without its }}",
            "presets[0].pools[2].worker: \"lookup('pipe', 'id')\" is no word; write {{ miner }} or the name of a label",
            "presets[0].frequency_mhz: 5000000 MHz is impossible: 50 to 2000 MHz",
            "presets[0].firmware_at_least: \"new\" is no version: numbers with dots between them, as in 2.9.0",
            "presets[0].fan: \"loud\" is no way to drive a fan: write auto or 60%",
            "presets[1].name: the name \"a\" is used already",
            "presets[1].pools[0].worker: the target \"garage-1\" has no label \"rack\"",
            "presets[2].match: matches no target",
        ]
    );
}

/// What the kinds of these tests take.
fn able(kind: &str) -> Option<&'static Able> {
    static FEW: Able = Able { pools: 1, exact: false, settings: &[Setting::Mode] };
    (kind == "axeos").then_some(&FEW)
}

#[test]
fn what_a_family_cannot_set_is_said_with_the_configuration() {
    let target = target("garage-1", &[]);
    let said = |presets: serde_json::Value| {
        let entries: Vec<PresetEntry> = serde_json::from_value(presets).unwrap();
        let (_, mistakes) = check(&entries, &[], &[], &[&target], &able);
        let say = |mistake: Mistake| format!("{}: {}: {}", mistake.path, mistake.remark, mistake.message);
        mistakes.into_iter().map(say).collect::<Vec<_>>()
    };
    let pool = json!({"url": "pool.example:1", "worker": "w"});
    let why = |words: &str| format!("the target \"garage-1\" cannot be set so: {words}");
    assert_eq!(
        said(json!([{"name": "a", "core_voltage_mv": 1200, "match": ["kind=\"axeos\""]}])),
        [format!(
            "presets[0].core_voltage_mv: false: {}",
            why("axeos cannot set `core_voltage_mv`; it has pools, mode")
        )]
    );
    assert_eq!(
        said(json!([{"name": "a", "pools": [pool, pool]}])),
        [format!("presets[0].pools: false: {}", why("axeos has room for 1 pools, and these are 2"))]
    );
    assert_eq!(
        said(json!([{"name": "a", "pools": [pool], "exact_pools": true}])),
        [format!(
            "presets[0].exact_pools: false: {}",
            why("axeos cannot be without the pools that it has; name them all")
        )]
    );
    // Of a model nobody knows yet whether it is of this kind.
    let remarks = said(json!([{"name": "a", "power_limit_watts": 900, "match": ["model=\"M60\""]}]));
    assert!(remarks.len() == 1 && remarks[0].starts_with("presets[0].power_limit_watts: true"), "{remarks:?}");
    // What another preset has taken before is not meant.
    assert_eq!(
        said(json!([{"name": "a", "mode": "eco", "match": ["target=\"garage-1\""]}, {"name": "b", "fan": "auto"}])),
        Vec::<String>::new()
    );
    assert_eq!(
        said(json!([{"name": "a", "exact_pools": true, "mode": " ", "hashrate_target_ths": 0}])),
        [
            "presets[0].exact_pools: false: needs pools: a device without any mines for nobody",
            "presets[0].hashrate_target_ths: false: 0 TH/s is impossible: 0.01 to 10000 TH/s",
            "presets[0].mode: false: \"\" is no mode: write the device's word for it",
            &format!(
                "presets[0].exact_pools: false: {}",
                why("axeos cannot be without the pools that it has; name them all")
            ),
        ]
    );
}

#[test]
fn pools_are_told_apart_by_their_places_and_an_exact_list_has_no_others() {
    let mut found = settings();
    found.pools.reverse();
    found.mode = Some("Low".into());
    found.hashrate_target = Some(120e12);
    let (target, pools) = (target("garage-1", &[]), whole()[0]["pools"].clone());
    let judged = |exact: bool| {
        let one = serde_json::json!([pools[0]]);
        let presets =
            json!([{"name": "p", "pools": one, "exact_pools": exact, "mode": "low", "hashrate_target_ths": 100}]);
        wrong(&read(presets, &[&target]).0.judge(&target, &gamma(), &found))
    };
    let (target_line, stranger) =
        ("hashrate_target: 100 TH/s is 120 TH/s", "expected pool 1: one that is named is backup.example:3333");
    assert_eq!(judged(false), [target_line, stranger]);
    assert_eq!(judged(true), ["pool_url 1: no pool is backup.example:3333", target_line, stranger]);
}
