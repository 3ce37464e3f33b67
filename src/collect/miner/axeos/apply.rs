//! Writes a preset into an AxeOS device: what differs and nothing else, within what is known to be right for its chip.
//!
//! Sources: the firmware's `openapi.yaml`; its device table for firmware that does not tell its options.

use std::sync::{Arc, Mutex, PoisonError};

use futures_util::future::BoxFuture;
use serde_json::{Map, Value as Json, json};
use tokio::time::Instant;

use super::super::apply;
use super::super::ask::Auth;
use super::super::families;
use super::super::pools::mask_user;
use super::super::tell::{self, Web};
use super::super::values::{Fields, number};
use super::commands::door;
use crate::collect::command::{CommandError, Goal, Plan, Seen, Value};
use crate::collect::http::Site;
use crate::model::{FanSetting, Target};
use crate::preset::{Able, Preset, Setting};

/// Frequencies in MHz and core voltages in mV by chip: the least and the most that the firmware's own menu offers.
const CHIPS: [(&str, [f64; 2], [f64; 2]); 4] = [
    ("BM1397", [400.0, 600.0], [1100.0, 1500.0]),
    ("BM1366", [400.0, 575.0], [1100.0, 1300.0]),
    ("BM1368", [400.0, 575.0], [1100.0, 1300.0]),
    ("BM1370", [400.0, 625.0], [1000.0, 1250.0]),
];

/// Prefixes of the keys of its two pools.
const SLOTS: [&str; 2] = ["stratum", "fallbackStratum"];

/// When a device that has to restart was told to.
type Restart = Arc<Mutex<Option<Instant>>>;

/// What it takes.
pub const ABLE: Able =
    Able { pools: 2, exact: true, settings: &[Setting::Frequency, Setting::CoreVoltage, Setting::Fan] };

/// The plan of `apply-preset`.
pub fn plan(target: &Target, value: &Value) -> Result<Plan, CommandError> {
    let preset = apply::preset(target, value)?;
    let door = door(target, value)?;
    let whole = body(&preset, target, &Json::Null, |_| true, |_| None).into_iter();
    let whole: Map<String, Json> = whole.map(|(key, value)| shown(key, value)).collect();
    let sends = vec![
        format!("PATCH /api/system {} (only what differs)", Json::Object(whole)),
        "POST /api/system/restart".to_string(),
    ];
    let restart = Restart::default();
    let goal = goal(target.clone(), preset.clone(), restart.clone());
    let target = target.clone();
    let send = move |by: Instant| -> BoxFuture<'static, _> {
        Box::pin(async move { send(&target, &preset, &door, &restart, by).await })
    };
    Ok(Plan { sends, send: Box::new(send), goal })
}

/// A worker is shown shortened: it is a wallet.
fn shown(key: String, value: Json) -> (String, Json) {
    let user = value.as_str().filter(|_| key.ends_with("User")).map(|user| json!(mask_user(user)));
    (key, user.unwrap_or(value))
}

/// The device is as its preset has it, and has restarted since if it had to.
fn goal(target: Target, preset: Arc<Preset>, restart: Restart) -> Goal {
    let differs = move |seen: &Seen| {
        let mut differs = apply::say(&apply::differs(&preset, &target, seen));
        let told = *restart.lock().unwrap_or_else(PoisonError::into_inner);
        let old = told.zip(seen.figure(&families::UPTIME.name, None));
        if differs.is_empty() && old.is_some_and(|(told, uptime)| uptime > told.elapsed().as_secs_f64() + 2.0) {
            differs.push("not yet restarted".to_string());
        }
        Some(differs)
    };
    Goal::Preset { differs: Box::new(differs) }
}

async fn send(
    target: &Target,
    preset: &Preset,
    (site, auth): &(Site, Auth),
    restart: &Restart,
    by: Instant,
) -> Result<(), CommandError> {
    let (seen, differs) = apply::look(target, preset, by).await?;
    let of = |setting| differs.iter().any(|drift| drift.setting == setting);
    if of(Setting::Frequency) || of(Setting::CoreVoltage) {
        let asic = tell::send_web(site, auth, &Web::bare("GET", super::ASIC), by).await.ok();
        let asic: Json = asic.and_then(|answer| serde_json::from_slice(&answer.body).ok()).unwrap_or_default();
        let limits = if preset.force { Some(forced(&asic)) } else { limits(&asic, &seen) };
        allowed(preset, &limits)?;
    }
    // Secrets are read last.
    let pools = apply::wanted(preset, target)?;
    let wanted = |setting, pool| differs.iter().any(|drift| drift.setting == setting && drift.pool == pool);
    let slot = |slot: usize| wanted(Setting::PoolUrl, Some(slot)) || wanted(Setting::PoolWorker, Some(slot));
    let includes = |part: Part| match part {
        Part::Pool(number) => slot(number),
        Part::Other(setting) => wanted(setting, None),
    };
    let info = seen.replies.first().and_then(|reply| serde_json::from_slice(&reply.body).ok()).unwrap_or_default();
    let password = |slot: usize| pools.get(slot).map(|pool| pool.password.expose().to_string());
    let mut body = body(preset, target, &info, includes, password);
    // A slot that nobody names is emptied.
    for (at, prefix) in SLOTS.into_iter().enumerate().skip(preset.pools.len()) {
        if slot(at) {
            body.insert(format!("{prefix}URL"), json!(""));
        }
    }
    let body = Json::Object(body).to_string();
    let message = Web { body: Some(("application/json", body)), ..Web::bare("PATCH", "/api/system") };
    // Fans follow at once; pools, frequency and voltage take effect with a start. Noted before anything is sent: a device
    // that has the settings and has not restarted is not as its preset.
    let restarts = differs.iter().any(|drift| drift.setting != Setting::Fan);
    if restarts {
        *restart.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }
    tell::send_web(site, auth, &message, by).await?;
    if restarts {
        let told = tell::send_web(site, auth, &Web::bare("POST", "/api/system/restart"), by).await;
        told.map_err(|error| CommandError::Unknown(format!("set, and perhaps not restarted: {error}")))?;
    }
    Ok(())
}

/// A part of the body.
enum Part {
    Pool(usize),
    Other(Setting),
}

/// The settings of a preset in the device's own words, which `info` tells. Without a password none is set.
fn body(
    preset: &Preset,
    target: &Target,
    info: &Json,
    includes: impl Fn(Part) -> bool,
    password: impl Fn(usize) -> Option<String>,
) -> Map<String, Json> {
    let mut body = Map::new();
    for (slot, ((pool, worker), prefix)) in preset.pools.iter().zip(preset.workers(target)).zip(SLOTS).enumerate() {
        if !includes(Part::Pool(slot)) {
            continue;
        }
        body.insert(format!("{prefix}URL"), json!(pool.address.host));
        body.insert(format!("{prefix}Port"), json!(pool.address.port));
        body.insert(format!("{prefix}User"), json!(worker));
        body.extend(password(slot).map(|password| (format!("{prefix}Password"), json!(password))));
        // A truth value to NerdQAxe and some AxeOS, a number to others; each ignores what is not its own.
        let key = format!("{prefix}TLS");
        let truth = info.get(&key).is_some_and(Json::is_boolean);
        let tls = pool.address.tls.map(|tls| if truth { json!(tls) } else { json!(u8::from(tls)) });
        body.extend(tls.map(|tls| (key, tls)));
    }
    let whole = |value: f64| json!(value.round() as u64);
    if let Some(hertz) = preset.frequency.filter(|_| includes(Part::Other(Setting::Frequency))) {
        body.insert("frequency".to_string(), whole(hertz / 1e6));
    }
    if let Some(volts) = preset.core_voltage.filter(|_| includes(Part::Other(Setting::CoreVoltage))) {
        body.insert("coreVoltage".to_string(), whole(volts * 1e3));
    }
    // The key of the fan's speed changed its name; each firmware takes the one that it knows.
    match preset.fan.filter(|_| includes(Part::Other(Setting::Fan))) {
        Some(FanSetting::Auto) => {
            body.insert("autofanspeed".to_string(), json!(1));
        }
        Some(FanSetting::Fixed(share)) => {
            body.insert("autofanspeed".to_string(), json!(0));
            for key in ["fanspeed", "manualFanSpeed"] {
                body.insert(key.to_string(), whole(share * 100.0));
            }
        }
        None => {}
    }
    body
}

/// The least and the most of both, in MHz and mV; `None` where nobody says.
type Limits = Option<([f64; 2], [f64; 2])>;

/// What even a preset with `force` may not leave: a slipped digit must not reach the voltage regulator.
const FORCED: ([f64; 2], [f64; 2]) = ([50.0, 1_200.0], [500.0, 1_600.0]);

/// [`FORCED`], and no more than a NerdQAxe says that it stands.
fn forced(asic: &Json) -> ([f64; 2], [f64; 2]) {
    let stands = |key| Fields::of(asic).and_then(|asic| asic.nonzero(key)).unwrap_or(f64::INFINITY);
    let ([slowest, fastest], [lowest, highest]) = FORCED;
    ([slowest, fastest.min(stands("absMaxFrequency"))], [lowest, highest.min(stands("absMaxVoltage"))])
}

/// What the device's own menu offers, else what is known of its chip.
fn limits(asic: &Json, seen: &Seen) -> Limits {
    let options = |key: &str| {
        let list = asic.get(key)?.as_array()?;
        let numbers = || list.iter().filter_map(number);
        let least = numbers().reduce(f64::min)?;
        Some([least, numbers().reduce(f64::max)?])
    };
    let offered = options("frequencyOptions").zip(options("voltageOptions"));
    offered.or_else(|| {
        let info = seen.reading.samples.iter().find(|sample| sample.family.name == families::INFO.name)?;
        let chip = info.labels.get("chip")?;
        CHIPS.iter().find(|row| row.0 == chip).map(|row| (row.1, row.2))
    })
}

/// Refuses what lies beyond the limits.
fn allowed(preset: &Preset, limits: &Limits) -> Result<(), CommandError> {
    let way_out = if preset.force { "not even with force: true" } else { "the preset would need force: true" };
    let refused = |text: String| Err(CommandError::Refused(format!("{text}; {way_out}")));
    let Some((frequencies, voltages)) = limits else {
        return refused("nobody knows which frequencies and voltages are right for this device".to_string());
    };
    let megahertz = preset.frequency.map(|hertz| (hertz / 1e6, frequencies, "MHz"));
    let millivolts = preset.core_voltage.map(|volts| (volts * 1e3, voltages, "mV"));
    for (value, [least, most], unit) in megahertz.into_iter().chain(millivolts) {
        if !(*least..=*most).contains(&value.round()) {
            return refused(format!("{value:.0} {unit} is not right for this device: {least} to {most} {unit} are"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collect::command::{Call, Outcome, perform};
    use crate::collect::miner::told::{Peer, Say, Wire, applied, preset_call};
    use crate::collect::{ParseError, Reply};
    use crate::model::{PollFailure, Reading};
    use futures_util::future::BoxFuture;
    use std::time::Duration;

    const ASKED: &[&str] = &["GET /"];

    /// A Bitaxe that takes what it is told; its menu is told unless it is `old`.
    async fn bitaxe(old: bool, uptime_after: u64) -> Peer {
        let mut info = json!({
            "ASICModel": "BM1370", "deviceModel": "Gamma", "asicCount": 1, "hashRate": 1200, "uptimeSeconds": 5000,
            "frequency": 525, "coreVoltage": 1150, "autofanspeed": 0, "fanspeed": 40,
            "stratumURL": "evil.example", "stratumPort": 1, "stratumUser": "thief", "version": "v2.9.0",
            "fallbackStratumTLS": false, "fallbackStratumURL": "backup.example", "fallbackStratumPort": 3333, "fallbackStratumUser": "wallet.m1",
            "macAddr": "02:00:00:00:00:01",
        });
        Peer::start(Wire::Http, move |request| match request.split(' ').nth(1).unwrap() {
            "/api/system/info" => Say::json(&info),
            "/api/system/asic" if !old => Say::json(&json!({
                "ASICModel": "BM1370", "asicCount": 1, "frequencyOptions": [400, 490, 525], "voltageOptions": [1000, 1150],
                "absMaxVoltage": 1400,
            })),
            "/api/system" => {
                let body: Json = serde_json::from_str(request.split("\r\n\r\n").nth(1).unwrap()).unwrap();
                info.as_object_mut().unwrap().extend(body.as_object().unwrap().clone());
                Say::http("200 OK", "")
            }
            "/api/system/restart" => {
                info["uptimeSeconds"] = json!(uptime_after);
                Say::http("200 OK", "")
            }
            _ => Say::http("404 Not Found", "no"),
        })
        .await
    }

    fn plan_of(peer: &Peer, preset: Json) -> Plan {
        let target = peer.target("axeos", Json::Null);
        preset_call(&target, preset).plan(&target).unwrap()
    }

    async fn apply(peer: &Peer, preset: Json) -> Result<Outcome, CommandError> {
        applied(peer.target("axeos", Json::Null), preset).await
    }

    #[tokio::test]
    async fn what_differs_is_written_and_read_back_after_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let password = crate::collect::miner::told::secret(&folder, "hunter2");
        let peer = bitaxe(false, 1).await;
        let preset = json!({"name": "p", "frequency_mhz": 490, "core_voltage_mv": 1150, "fan": "auto", "pools": [
            {"url": "stratum+tcp://pool.example:3333", "worker": "wallet.{{ miner }}", "password": password},
            {"url": "backup.example:3333", "worker": "wallet.{{ miner }}"},
        ]});
        let outcome = apply(&peer, preset.clone()).await.unwrap();
        assert_eq!(
            outcome.before.as_deref(),
            Some("pool_url evil.example:1, pool_worker thief, frequency 525 MHz, fan 40%")
        );
        assert!(outcome.changed && outcome.detail.contains("as its preset"), "{outcome:?}");
        let body = r#"{"autofanspeed":1,"frequency":490,"stratumPassword":"hunter2","stratumPort":3333,"stratumTLS":0,"stratumURL":"pool.example","stratumUser":"wallet.m1"}"#;
        assert_eq!(peer.sent(ASKED), [format!("PATCH /api/system {body}"), "POST /api/system/restart".to_string()]);
        let said = plan_of(&peer, preset.clone()).sends.remove(0);
        assert!(said.contains(r#""stratumUser":"***.m1""#) && !said.contains("wallet"), "{said}");
        let outcome = apply(&peer, preset).await.unwrap();
        assert!(!outcome.changed && peer.sent(ASKED).len() == 2, "what is as it should be is left alone");
        let other = json!({"name": "q", "pools": [
            {"url": "stratum+tcp://pool.example:3333", "worker": "wallet.m1"},
            {"url": "stratum+tls://other.example:3334", "worker": "wallet.m1"},
        ]});
        apply(&peer, other).await.unwrap();
        let second = peer.sent(ASKED).remove(2);
        assert!(second.contains(r#""fallbackStratumTLS":true"#), "as the device says it: {second}");
    }

    #[tokio::test]
    async fn what_is_not_right_for_the_model_is_refused_unless_forced() {
        for (old, limit) in [(false, "400 to 525 MHz"), (true, "400 to 625 MHz")] {
            let peer = bitaxe(old, 1).await;
            let error = apply(&peer, json!({"name": "p", "frequency_mhz": 700})).await.unwrap_err();
            let said = |text: &String| text.contains(limit) && text.contains("force: true");
            assert!(matches!(&error, CommandError::Refused(text) if said(text)), "{error:?}");
            assert_eq!(peer.sent(ASKED), Vec::<String>::new());
            apply(&peer, json!({"name": "p", "frequency_mhz": 700, "force": true})).await.unwrap();
        }
        let peer = bitaxe(false, 1).await;
        for (slipped, most) in [(1_450, "1400 mV"), (11_500, "1400 mV")] {
            let slipped = json!({"name": "p", "core_voltage_mv": slipped, "force": true});
            let error = apply(&peer, slipped).await.unwrap_err();
            let said = |text: &String| text.contains("not even with force") && text.contains(most);
            assert!(matches!(&error, CommandError::Refused(text) if said(text)), "{error:?}");
        }
        assert_eq!(peer.sent(ASKED), Vec::<String>::new());
    }

    /// A poller that takes nobody's answers for its device's.
    struct Elsewhere;

    impl crate::collect::Collector for Elsewhere {
        fn fetch(&self) -> BoxFuture<'_, Result<Vec<Reply>, PollFailure>> {
            Box::pin(async { Ok(Vec::new()) })
        }

        fn parse(&self, _: &[Reply]) -> Result<Reading, ParseError> {
            Err(ParseError::Stranger { expected: "02:00:00:00:00:01".into(), found: "02:00:00:00:00:02".into() })
        }
    }

    #[tokio::test]
    async fn a_device_that_took_over_the_address_is_told_nothing() {
        let peer = bitaxe(false, 1).await;
        for text in ["pause", "restart"] {
            let mut call = Call::read("axeos", text).unwrap();
            call.known = Some(Arc::new(Elsewhere));
            let told = perform(peer.target("axeos", Json::Null), &call, Duration::from_millis(3500)).await;
            let error = told.unwrap_err();
            assert!(matches!(&error, CommandError::Refused(text) if text.contains("nothing was sent")), "{error:?}");
        }
        assert_eq!(peer.sent(ASKED), Vec::<String>::new());
    }

    #[tokio::test]
    async fn a_fan_needs_no_restart_and_a_device_that_did_not_restart_is_not_done() {
        let peer = bitaxe(false, 5000).await;
        apply(&peer, json!({"name": "p", "fan": "60%"})).await.unwrap();
        assert_eq!(peer.sent(ASKED), [r#"PATCH /api/system {"autofanspeed":0,"fanspeed":60,"manualFanSpeed":60}"#]);
        let error = apply(&peer, json!({"name": "p", "core_voltage_mv": 1100})).await.unwrap_err();
        assert!(matches!(&error, CommandError::NotConfirmed(text) if text.contains("not yet restarted")), "{error:?}");
    }
}
