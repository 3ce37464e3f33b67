//! Presets over real sockets: a device that differs is set right in the words of its family, once; what was lost on the
//! way is read back, and what a device only claims to have done is not believed.

use std::sync::Arc;
use std::time::Duration;

use davylamp::collect::command::{Call, CommandError, Outcome, Value, able, perform};
use davylamp::demo::{DeviceHandle, DeviceSpec, Fault, Fleet, Kept, Model, Pool};
use davylamp::preset::{Preset, PresetEntry, check};
use futures_util::future::join_all;
use serde_json::{Value as Json, json};

use super::target;

/// Long enough for the second question after a command, and for a third.
const WITHIN: Duration = Duration::from_millis(4_500);

/// The families whose presets are written over the simulator's sockets, and what of theirs is set beside pools.
fn families() -> Vec<(Model, Json)> {
    vec![
        (Model::Bitaxe, json!({"frequency_mhz": 490, "core_voltage_mv": 1100, "fan": "60%"})),
        (Model::BitaxeOld, json!({"fan": "70%"})),
        (Model::Cgminer, json!({})),
        (Model::Bfgminer, json!({})),
        (Model::Antminer, json!({"fan": "80%"})),
        (Model::Braiins, json!({"power_limit_watts": 3000})),
        (Model::Vnish, json!({"mode": "2800"})),
        (Model::Luxos, json!({"mode": "310MHz"})),
        (Model::Avalon, json!({"mode": "eco"})),
        (Model::Epic, json!({"hashrate_target_ths": 120})),
    ]
}

/// The pools that are wanted: the first is another one, the second stays.
fn preset(device: &DeviceHandle, secret: &std::path::Path, more: &Json) -> Arc<Preset> {
    let mut entry = json!({
        "name": "p",
        "pools": [
            {"url": "stratum+tcp://mine.example.com:4444", "worker": "owner.{{ miner }}", "password": {"file": secret}},
            {"url": "stratum+tcp://fallback.example.com:3333", "worker": "owner.{{ miner }}"},
        ],
    });
    entry.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let entries: Vec<PresetEntry> = serde_json::from_value(json!([entry])).unwrap();
    let target = target(device);
    let (presets, mistakes) = check(&entries, &[], &[], &[&target], &able);
    assert_eq!(mistakes, [], "{:?}", device.model());
    Arc::new(presets.of(&target, &Default::default()).unwrap().clone())
}

async fn apply(device: &DeviceHandle, preset: &Arc<Preset>) -> Result<Outcome, CommandError> {
    let mut call = Call::read(device.kind(), "apply-preset").unwrap();
    call.value = Value::of_preset(Preset::clone(preset));
    perform(target(device), &call, WITHIN).await
}

async fn one(model: Model) -> Fleet {
    Fleet::start(vec![DeviceSpec::new("rig", model)], 23).await.unwrap()
}

fn secret() -> tempfile::NamedTempFile {
    let secret = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(secret.path(), "pa,ss\\word\n").unwrap();
    secret
}

fn owner(url: &str, password: &str) -> Pool {
    Pool { url: url.to_string(), user: "owner.rig".to_string(), password: password.to_string() }
}

/// Some firmware keeps the scheme apart.
fn bare(kept: &Kept) -> Vec<Pool> {
    let bare = |pool: &Pool| Pool { url: pool.url.trim_start_matches("stratum+tcp://").to_string(), ..pool.clone() };
    kept.pools.iter().map(bare).collect()
}

async fn is_set_right(model: Model, more: Json) {
    let (fleet, mut secret_file) = (one(model).await, secret());
    let device = &fleet.devices()[0];
    // An Avalon parts the words of its command with commas, and knows no way around them.
    if model == Model::Avalon {
        secret_file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(secret_file.path(), "word").unwrap();
    }
    let password = std::fs::read_to_string(secret_file.path()).unwrap().trim_end().to_string();
    let preset = preset(device, secret_file.path(), &more);
    let outcome = apply(device, &preset).await.unwrap_or_else(|error| panic!("{model:?}: {error}"));
    assert!(outcome.changed && outcome.detail.contains("as its preset"), "{model:?}: {outcome:?}");
    let before = outcome.before.unwrap();
    assert!(before.contains("pool_url") && before.contains("pool.example.com:3333"), "{model:?}: {before}");
    let kept = device.kept();
    let wanted = [owner("mine.example.com:4444", &password), owner("fallback.example.com:3333", "x")];
    assert_eq!(bare(&kept), wanted, "{model:?}");
    for (key, found) in [
        ("power_limit_watts", kept.limit),
        ("hashrate_target_ths", kept.target),
        ("frequency_mhz", kept.frequency),
        ("core_voltage_mv", kept.voltage),
    ] {
        assert!(more[key].is_null() || more[key].as_f64() == Some(found), "{model:?}: {key} is {found}");
    }
    assert_eq!(more["fan"].as_str().map(|_| true), kept.fan.map(|_| true), "{model:?}");
    // What is as it should be is left alone.
    let restarts = device.restarts();
    let outcome = apply(device, &preset).await.unwrap();
    assert!(!outcome.changed && device.kept() == kept && device.restarts() == restarts, "{model:?}: {outcome:?}");
}

#[tokio::test]
async fn a_device_that_differs_is_set_right_once() {
    join_all(families().into_iter().map(|(model, more)| is_set_right(model, more))).await;
}

#[tokio::test]
async fn pools_that_nobody_names_stay_unless_the_list_is_exact() {
    let each = families().into_iter().filter(|(model, _)| *model != Model::Avalon).map(|(model, _)| async move {
        let (fleet, secret) = (one(model).await, secret());
        let device = &fleet.devices()[0];
        device.keep(|kept| kept.pools[1] = Pool::new("stratum+tcp://evil.example.com:1", "thief.rig"));
        let alone = |exact: bool| {
            let pools = json!([{"url": "pool.example.com:3333", "worker": device.kept().pools[0].user}]);
            preset(device, secret.path(), &json!({"pools": pools, "exact_pools": exact}))
        };
        let outcome = apply(device, &alone(false)).await.unwrap();
        assert!(!outcome.changed && device.kept().pools.len() == 2, "{model:?}: {outcome:?}");
        let outcome = apply(device, &alone(true)).await.unwrap_or_else(|error| panic!("{model:?}: {error}"));
        let kept = device.kept();
        let left: Vec<&Pool> = kept.pools.iter().filter(|pool| !pool.url.is_empty()).collect();
        assert!(outcome.changed && left.len() == 1, "{model:?}: {kept:?}");
        assert!(left[0].url.ends_with("pool.example.com:3333"), "{model:?}: {kept:?}");
    });
    join_all(each).await;
}

#[tokio::test]
async fn an_answer_that_was_lost_is_read_back_and_a_claim_is_not_believed() {
    let each = families().into_iter().map(|(model, more)| async move {
        let fleet = one(model).await;
        let (device, plain) = (&fleet.devices()[0], tempfile::NamedTempFile::new().unwrap());
        std::fs::write(plain.path(), "word").unwrap();
        let preset = preset(device, plain.path(), &more);
        device.set_fault(Some(Fault::Stubborn));
        let error = apply(device, &preset).await.unwrap_err();
        let told = matches!(&error, CommandError::NotConfirmed(text) if text.contains("pool"));
        assert!(told, "{model:?}: {error:?}");
        // The device does one thing, its answer to that is lost, and nobody says more before it was looked at.
        device.set_fault(Some(Fault::AnswerLost));
        let mut came = apply(device, &preset).await;
        for _ in 0..8 {
            match &came {
                Ok(_) => break,
                Err(CommandError::Unknown(_) | CommandError::NotConfirmed(_)) => {}
                Err(error) => panic!("{model:?}: {error}"),
            }
            came = apply(device, &preset).await;
        }
        came.unwrap_or_else(|error| panic!("{model:?}: {error}"));
        let wanted = [owner("mine.example.com:4444", "word"), owner("fallback.example.com:3333", "x")];
        assert_eq!(bare(&device.kept()), wanted, "{model:?}");
    });
    join_all(each).await;
}

#[tokio::test]
async fn what_would_be_sent_shows_no_password() {
    for (model, more) in families() {
        let (fleet, secret) = (one(model).await, secret());
        let device = &fleet.devices()[0];
        let mut call = Call::read(device.kind(), "apply-preset").unwrap();
        call.value = Value::of_preset(Preset::clone(&preset(device, secret.path(), &more)));
        let requests = device.requests();
        let sends = call.plan(&target(device)).unwrap().sends.join("\n");
        assert!(sends.contains("mine.example.com") && !sends.contains("word"), "{model:?}: {sends}");
        assert_eq!(device.requests(), requests, "{model:?}");
    }
}
