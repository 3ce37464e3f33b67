//! Every family over real sockets: what a device measures arrives with the right unit, logins are made once and again
//! when they are lost, and each fault gives its reason and no wrong value.

use std::sync::Arc;
use std::time::Duration;

use davylamp::collect::{self, Collector, KINDS};
use davylamp::demo::{self, DeviceHandle, DeviceSpec, Fault, Fleet, Hostile, Model};
use davylamp::model::{FailureReason, PollFailure, Reading};
use serde_json::json;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};

use super::{collector, password, poll, target, value};

/// Those with a web interface behind a login.
const DIGEST: [Model; 4] = [Model::Antminer, Model::Elphapex, Model::Hammer, Model::Marathon];
const TICKET: [Model; 7] = [
    Model::Braiins,
    Model::Vnish,
    Model::Goldshell,
    Model::Proto,
    Model::Mskminer,
    Model::Innosilicon,
    Model::Futurebit,
];
/// Those of them whose commands need no login, beside pages that do.
const BESIDE: [Model; 5] = [Model::Antminer, Model::Hammer, Model::Goldshell, Model::Mskminer, Model::Innosilicon];

async fn one(model: Model) -> Fleet {
    Fleet::start(vec![DeviceSpec::new("rig", model)], 11).await.unwrap()
}

async fn try_poll(collector: &dyn Collector) -> Result<Reading, PollFailure> {
    Ok(collector.parse(&collector.fetch().await?)?)
}

/// The largest value of a family.
fn most(reading: &Reading, family: &str) -> Option<f64> {
    let values = reading.samples.iter().filter(|sample| sample.family.name == family).map(|sample| sample.value);
    values.max_by(f64::total_cmp)
}

#[tokio::test]
async fn every_kind_of_miner_has_a_model() {
    let polled: Vec<&str> = Model::ALL.iter().map(|model| model.kind()).collect();
    for kind in KINDS.iter().filter(|kind| kind.subject == "miner") {
        assert!(polled.contains(&kind.name), "{} is not simulated", kind.name);
    }
}

#[tokio::test]
async fn what_a_device_measures_arrives() {
    // What their firmware does not say, or not of the whole device.
    let no_power = [Model::Antminer, Model::Hammer, Model::Goldshell, Model::Iceriver, Model::Xmrig];
    let no_temperature = [Model::Xmrig];
    let no_fan_speed = [Model::Xmrig, Model::Innosilicon];
    for model in Model::ALL.into_iter().filter(|model| !matches!(model.kind(), "axeos" | "cgminer")) {
        let fleet = one(model).await;
        let device = &fleet.devices()[0];
        device.set_fault(Some(Fault::Frozen));
        let reading = poll(&*collector(device)).await;
        let v = device.vitals();
        let near = |family: &str, expected: f64, tolerance: f64| {
            let found = most(&reading, family);
            let right = found.is_some_and(|found| (found - expected).abs() <= tolerance);
            assert!(right, "{model:?}: {family} is {found:?} and not {expected}");
        };
        let rate = v.hashrate * 1e9;
        near("miner_hashrate_hashes_per_second", rate, rate * 1e-3);
        near("miner_uptime_seconds", v.uptime, 3.0);
        if !no_power.contains(&model) {
            near("miner_power_watts", v.power, 1.0);
        }
        if !no_temperature.contains(&model) {
            let sensors = ["miner_temperature_celsius", "miner_board_temperature_celsius"];
            let hottest = sensors.iter().filter_map(|family| most(&reading, family)).max_by(f64::total_cmp);
            let reason = || format!("{model:?}: {hottest:?} and not {}", v.temperature);
            assert!(hottest.is_some_and(|celsius| (celsius - v.temperature).abs() < 8.0), "{}", reason());
        }
        if !no_fan_speed.contains(&model) {
            near("miner_fan_speed_rpm", v.fan_rpm, 1.0);
        }
        if model != Model::WhatsminerV3 {
            near("miner_shares_total", v.accepted as f64, 0.0);
        }
        let boards: Vec<f64> = reading
            .samples
            .iter()
            .filter(|sample| sample.family.name == "miner_board_hashrate_hashes_per_second")
            .map(|sample| sample.value)
            .collect();
        let sum: f64 = boards.iter().sum();
        assert!(boards.is_empty() || (sum - rate).abs() < rate * 1e-3, "{model:?}: the boards make {sum}, not {rate}");
        let identity = reading.identity.clone().unwrap_or_default();
        let nameless = [Model::BraiinsGraphql, Model::BraiinsRpc];
        assert_eq!(identity.id.is_empty(), nameless.contains(&model), "{model:?}: {identity:?}");
        assert_eq!((&reading.rejected, try_poll(&*collector(device)).await.is_ok()), (&Default::default(), true));
    }
}

#[tokio::test]
async fn a_challenge_is_answered_once_per_nonce() {
    for model in DIGEST {
        let fleet = one(model).await;
        let (device, collector) = (&fleet.devices()[0], collector(&fleet.devices()[0]));
        for expected in [1, 1] {
            poll(&*collector).await;
            assert_eq!(device.refusals(), expected, "{model:?}");
        }
        device.forget_logins();
        // The pages of Antminers are asked seldom.
        for _ in 0..4 {
            poll(&*collector).await;
        }
        assert_eq!(device.refusals(), 2, "{model:?}");
    }
}

#[tokio::test]
async fn a_login_is_made_once_and_again_when_it_is_lost() {
    for model in TICKET {
        let fleet = one(model).await;
        let device = &fleet.devices()[0];
        let fresh = collector(device);
        let whole = poll(&*fresh).await.samples.len();
        poll(&*fresh).await;
        assert_eq!((device.logins(), device.refusals()), (1, 0), "{model:?}");
        device.forget_logins();
        assert_eq!(poll(&*fresh).await.samples.len(), whole, "{model:?}");
        // Where pages are asked seldom, it is noticed later.
        let seldom = matches!(model, Model::Goldshell | Model::Mskminer);
        let expected = if seldom { (1, 0) } else { (2, 1) };
        assert_eq!((device.logins(), device.refusals()), expected, "{model:?}");
    }
}

#[tokio::test]
async fn a_wrong_password_is_told_and_not_tried_over_and_over() {
    let wrong = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(wrong.path(), "guessed").unwrap();
    for model in DIGEST.into_iter().chain(TICKET).chain([Model::Xmrig]) {
        let fleet = one(model).await;
        let device = &fleet.devices()[0];
        let mut target = target(device);
        target.options = device.options(wrong.path());
        let collector = (collect::kind(device.kind()).unwrap().open)(&target).unwrap();
        let before = device.requests();
        let first = try_poll(&*collector).await;
        if BESIDE.contains(&model) {
            // The commands need no login, and the page beside them waits for a dozen polls.
            assert!(first.is_ok(), "{model:?}: {first:?}");
            let refused = device.refusals();
            assert!((1..=2).contains(&refused), "{model:?}: {refused}");
            for _ in 0..3 {
                poll(&*collector).await;
            }
            assert_eq!(device.refusals(), refused, "{model:?}");
        } else {
            let failure = first.unwrap_err();
            assert_eq!(failure.reason, FailureReason::Denied, "{model:?}: {failure}");
            assert!(!failure.detail.contains("guessed"), "{failure}");
            let asked = device.requests() - before;
            assert!(asked <= 2, "{model:?}: {asked} requests");
        }
    }
}

/// What a poll of each wire must end as: over HTTP, over commands, framed. `None`: either refused, or read without a
/// wrong value.
fn expected(mode: Hostile) -> [Option<FailureReason>; 3] {
    use FailureReason::{Denied, Malformed, Timeout, TooLarge, Unreachable};
    match mode {
        Hostile::Garbage | Hostile::DeepNesting => [Some(Malformed); 3],
        Hostile::EndlessBody => [Some(TooLarge); 3],
        Hostile::GzipBomb => [Some(TooLarge), Some(Malformed), Some(TooLarge)],
        Hostile::Redirect => [Some(Denied), Some(Malformed), Some(TooLarge)],
        Hostile::BytePerSecond | Hostile::Silent => [Some(Timeout); 3],
        Hostile::Reset => [Some(Unreachable); 3],
        Hostile::WrongStatus => [Some(Malformed), Some(Malformed), Some(TooLarge)],
        Hostile::Empty => [Some(Unreachable), Some(Malformed), Some(Unreachable)],
        Hostile::Unauthorized => [Some(Denied), Some(Denied), Some(Malformed)],
        Hostile::TruncatedJson | Hostile::Half | Hostile::WrongType => [None; 3],
    }
}

async fn suffer(device: &DeviceHandle, mode: Hostile) {
    let waits = expected(mode)[0] == Some(FailureReason::Timeout);
    let mut target = target(device);
    target.timeout = if waits { Duration::from_secs(1) } else { Duration::from_secs(20) };
    let kind = collect::kind(device.kind()).unwrap();
    let collector = (kind.open)(&target).unwrap();
    device.set_fault(Some(Fault::Hostile(mode)));
    let result = try_poll(&*collector).await;
    let wire = match device.model() {
        Model::WhatsminerV3 => 2,
        // Those that are asked over HTTP alone.
        _ if kind.default_address.contains("80") || matches!(kind.name, "epic" | "futurebit") => 0,
        _ => 1,
    };
    let place = format!("{:?} {mode:?}: {result:?}", device.model());
    match (&result, expected(mode)[wire]) {
        (Err(failure), Some(reason)) => assert_eq!(failure.reason, reason, "{place}"),
        (Ok(_), Some(_)) => panic!("{place}"),
        (Err(failure), None) => {
            assert!(matches!(failure.reason, FailureReason::Malformed | FailureReason::Denied), "{place}");
        }
        (Ok(reading), None) => {
            // A rate that is cut or of another type is absent, never another one.
            let rate = value(reading, "miner_hashrate_hashes_per_second", None);
            let sound = device.vitals().hashrate * 1e9;
            assert!(rate.is_none_or(|rate| rate < 1.5 * sound), "{place}");
            assert!(reading.samples.iter().all(|sample| sample.family.allows(sample.value)), "{place}");
        }
    }
    device.set_fault(None);
}

#[tokio::test]
async fn each_fault_of_each_family_gives_its_reason() {
    let fleet = Fleet::start(demo::many(Model::ALL.len()), 12).await.unwrap();
    let (waiting, quick): (Vec<Hostile>, Vec<Hostile>) =
        Hostile::ALL.into_iter().partition(|mode| expected(*mode)[0] == Some(FailureReason::Timeout));
    for mode in quick {
        for device in fleet.devices() {
            suffer(device, mode).await;
        }
    }
    // What waits for a timeout waits together.
    for mode in waiting {
        futures_util::future::join_all(fleet.devices().iter().map(|device| suffer(device, mode))).await;
    }
}

#[tokio::test]
async fn a_moved_device_is_the_same_at_its_new_address() {
    for model in [Model::Bitaxe, Model::Antminer, Model::WhatsminerV3, Model::Braiins] {
        let fleet = one(model).await;
        let device = &fleet.devices()[0];
        let old = collector(device);
        let before = poll(&*old).await.identity;
        device.move_to([127, 3, 2, 1].into()).await.unwrap();
        assert_eq!(device.address().ip().to_string(), "127.3.2.1");
        let after = poll(&*collector(device)).await.identity;
        assert_eq!(before, after, "{model:?}");
        assert_eq!(try_poll(&*old).await.unwrap_err().reason, FailureReason::Unreachable, "{model:?}");
    }
}

#[tokio::test]
async fn a_reboot_begins_anew() {
    for model in Model::ALL {
        let fleet = one(model).await;
        let (device, collector) = (&fleet.devices()[0], collector(&fleet.devices()[0]));
        let rate = |reading: &Reading| value(reading, "miner_hashrate_hashes_per_second", None).unwrap_or_default();
        let before = poll(&*collector).await;
        device.reboot();
        let after = poll(&*collector).await;
        assert!(value(&after, "miner_uptime_seconds", None).is_none_or(|uptime| uptime < 60.0), "{model:?}");
        assert!(rate(&after) < 0.9 * rate(&before), "{model:?}: {} after {}", rate(&after), rate(&before));
    }
}

/// Real ports at addresses of their own.
#[tokio::test]
async fn devices_live_at_chosen_addresses() {
    let mut spec = DeviceSpec::new("rig", Model::Luxos);
    spec.address = "127.9.8.7:4028".parse().unwrap();
    let fleet = Fleet::start(vec![spec], 1).await.unwrap();
    let mut target = target(&fleet.devices()[0]);
    // The family's own port is the default.
    target.address = "127.9.8.7".to_string();
    let collector = (collect::kind("luxos").unwrap().open)(&target).unwrap();
    assert!(poll(&*collector).await.samples.len() > 30);
}

/// A certificate of an authority of our own, by openssl.
fn certificate(folder: &std::path::Path) -> Option<tokio_rustls::TlsAcceptor> {
    use tokio_rustls::rustls::ServerConfig;
    use tokio_rustls::rustls::pki_types::pem::PemObject;
    use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
    let openssl = |name: &str, subject: &str, more: &[&str]| {
        let key = format!("{name}-key.pem");
        let mut command = std::process::Command::new("openssl");
        command.current_dir(folder).args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]);
        command.args(["-nodes", "-days", "2", "-subj", subject, "-keyout", &key, "-out", &format!("{name}.pem")]);
        command.args(more).output().is_ok_and(|made| made.status.success())
    };
    let leaf = ["-CA", "ca.pem", "-CAkey", "ca-key.pem", "-addext", "subjectAltName=IP:127.0.0.1"];
    let leaf = [&leaf[..], &["-addext", "basicConstraints=critical,CA:FALSE"]].concat();
    if !openssl("ca", "/CN=authority", &[]) || !openssl("rig", "/CN=rig", &leaf) {
        eprintln!("SKIPPED: openssl 3 is not installed");
        return None;
    }
    let certificate = CertificateDer::from_pem_file(folder.join("rig.pem")).unwrap();
    let key = PrivateKeyDer::from_pem_file(folder.join("rig-key.pem")).unwrap();
    let config = ServerConfig::builder().with_no_client_auth().with_single_cert(vec![certificate], key).unwrap();
    Some(Arc::new(config).into())
}

#[tokio::test]
async fn every_web_interface_can_be_asked_over_tls() {
    let folder = tempfile::tempdir().unwrap();
    let Some(acceptor) = certificate(folder.path()) else { return };
    let ca = folder.path().join("ca.pem");
    let mut asked = 0;
    for model in Model::ALL {
        let kind = collect::kind(model.kind()).unwrap();
        if !kind.options.iter().any(|option| option.name == "tls") {
            continue;
        }
        let fleet = one(model).await;
        let device = &fleet.devices()[0];
        let mut target = target(device);
        // Behind the encryption stands the plain web interface.
        let beside = target.options.get("web_port").and_then(serde_json::Value::as_u64);
        let plain = beside.map_or(device.address(), |port| ([127, 0, 0, 1], port as u16).into());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let secure = listener.local_addr().unwrap();
        if !target.options.is_object() {
            target.options = json!({});
        }
        target.options["tls"] = json!({ "ca_file": ca });
        match beside {
            Some(_) => target.options["web_port"] = secure.port().into(),
            None => target.address = secure.to_string(),
        }
        let acceptor = acceptor.clone();
        let mut proxy = tokio::task::JoinSet::new();
        proxy.spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let acceptor = acceptor.clone();
                connections.spawn(async move {
                    let mut outside = acceptor.accept(stream).await.unwrap();
                    let mut inside = TcpStream::connect(plain).await.unwrap();
                    let _ = copy_bidirectional(&mut outside, &mut inside).await;
                });
            }
        });
        let reading = poll(&*(kind.open)(&target).unwrap()).await;
        assert!(value(&reading, "miner_hashrate_hashes_per_second", None) > Some(0.0), "{model:?}");
        if let Some(identity) = reading.identity.filter(|_| beside.is_some()) {
            assert!(!identity.id.is_empty(), "{model:?}: its web interface was not reached");
        }
        asked += 1;
    }
    assert_eq!(asked, 20, "models with TLS");
    assert!(password().is_file());
}
