//! What a simulated NerdQAxe wants before it changes anything, and what it says of itself between two polls.

use std::time::Duration;

use davylamp::collect::command::{Call, CommandError, Outcome, perform};
use davylamp::demo::{DeviceHandle, DeviceSpec, Fleet, Model, OTP_SECRET};
use davylamp::secret::Secret;
use serde_json::{Value, json};

use super::{collector, poll, target, value};

async fn one(model: Model) -> Fleet {
    Fleet::start(vec![DeviceSpec::new("rig", model)], 11).await.unwrap()
}

async fn tell(device: &DeviceHandle, options: Value, text: &str, code: Option<&str>) -> Result<Outcome, CommandError> {
    let mut target = target(device);
    target.options = options;
    let mut call = Call::read(&target.kind, text)?;
    call.code = code.map(Secret::new);
    perform(target, &call, Duration::from_secs(8)).await
}

fn refused(told: Result<Outcome, CommandError>, part: &str) {
    let error = told.unwrap_err();
    assert!(matches!(&error, CommandError::Refused(text) if text.contains(part)), "{part}: {error:?}");
}

#[tokio::test]
async fn a_nerdqaxe_changes_its_settings_for_a_one_time_code_only() {
    let folder = tempfile::tempdir().unwrap();
    let secret = |name: &str, text: &str| {
        std::fs::write(folder.path().join(name), text).unwrap();
        json!({ "otp": { "file": folder.path().join(name) } })
    };
    let fleet = one(Model::NerdQaxe).await;
    let device = &fleet.devices()[0];
    refused(tell(device, json!({}), "fan 80", None).await, "options.otp");
    refused(tell(device, json!({}), "fan 80", Some("000000")).await, "refused the one-time code");
    refused(
        tell(device, secret("other", "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"), "fan 80", None).await,
        "another device's",
    );
    refused(tell(device, secret("none", "hunter2"), "fan 80", None).await, "is no secret of one-time codes");
    assert_eq!(device.logins(), 0);
    // Two commands within one step: no code serves twice.
    let ours = secret("ours", &format!("otpauth://totp/NerdQAxe:rig?secret={OTP_SECRET}&issuer=NerdQAxe\n"));
    for (text, before) in [("fan 80", "auto"), ("fan 70", "80")] {
        let outcome = tell(device, ours.clone(), text, None).await.unwrap();
        assert_eq!((outcome.before.as_deref(), outcome.changed), (Some(before), true), "{outcome:?}");
    }
    assert_eq!((device.logins(), device.restarts()), (2, 0));
}

#[tokio::test]
async fn a_nerdqaxe_is_paused_by_its_shutdown_and_woken_by_a_restart() {
    let fleet = one(Model::NerdQaxe).await;
    let device = &fleet.devices()[0];
    let outcome = tell(device, json!({}), "pause", None).await.unwrap();
    assert_eq!((outcome.before.as_deref(), &*outcome.detail), (Some("hashing"), "its state is sleeping"));
    let reading = poll(&*collector(device)).await;
    assert_eq!(value(&reading, "miner_hashrate_hashes_per_second", None), Some(0.0));
    assert!(tell(device, json!({}), "resume", None).await.unwrap().changed);
    assert_eq!(device.restarts(), 1);
}

#[tokio::test]
async fn only_those_who_want_codes_are_given_any() {
    let fleet = Fleet::start(vec![DeviceSpec::new("a", Model::Bitaxe), DeviceSpec::new("b", Model::Cgminer)], 3).await;
    let fleet = fleet.unwrap();
    let (bitaxe, other) = (&fleet.devices()[0], &fleet.devices()[1]);
    assert!(tell(bitaxe, json!({}), "fan 80", Some("123456")).await.unwrap().changed);
    refused(tell(other, json!({}), "restart", Some("123456")).await, "take no one-time code");
}

#[tokio::test]
async fn the_record_of_a_bitaxe_tells_what_happened_between_two_polls() {
    let fleet = one(Model::Bitaxe).await;
    let device = &fleet.devices()[0];
    let asked = async |options: Value| {
        let mut target = target(device);
        target.options = options;
        target.interval = Duration::from_secs(7);
        let collector = (davylamp::collect::kind("axeos").unwrap().open)(&target).unwrap();
        let before = device.requests();
        poll(&*collector).await;
        let reading = poll(&*collector).await;
        (reading, device.requests() - before)
    };
    let (reading, requests) = asked(json!({})).await;
    assert_eq!((value(&reading, "miner_power_highest_watts", None), requests), (None, 3), "info twice, asic once");
    let (reading, requests) = asked(json!({"statistics": true})).await;
    assert_eq!(requests, 5);
    let now = |family: &str, label| value(&reading, family, label).unwrap();
    let chip = Some(("sensor", "chip"));
    let rise = now("miner_temperature_highest_celsius", chip) - now("miner_temperature_celsius", chip);
    assert!((rise - 9.0).abs() < 2.0, "{rise}");
    let fall = now("miner_hashrate_hashes_per_second", None) - now("miner_hashrate_lowest_hashes_per_second", None);
    assert!((fall - 450e9).abs() < 60e9, "{fall}");
    assert!(now("miner_power_highest_watts", None) > now("miner_power_watts", None) + 5.0);
}
