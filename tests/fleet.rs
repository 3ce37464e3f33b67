//! The simulated fleet polled by the real collectors over real sockets: both sides of every protocol agree.
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stderr, reason = "a test may panic")]

use std::path::Path;
use std::sync::OnceLock;
use std::time::Duration;

use davylamp::collect::{self, Collector};
use davylamp::demo::{self, DeviceHandle, DeviceSpec, Fault, Fleet, Model};
use davylamp::model::{FailureReason, Labels, Reading, Target};

#[path = "fleet/codes.rs"]
mod codes;
#[path = "fleet/commands.rs"]
mod commands;
#[path = "fleet/families.rs"]
mod families;
#[path = "fleet/kept.rs"]
mod kept;
#[path = "fleet/search.rs"]
mod search;
#[path = "fleet/twins.rs"]
mod twins;

/// A file with the password of all simulated devices.
fn password() -> &'static Path {
    static FILE: OnceLock<tempfile::NamedTempFile> = OnceLock::new();
    let file = FILE.get_or_init(|| {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), demo::PASSWORD).unwrap();
        file
    });
    file.path()
}

fn target(device: &DeviceHandle) -> Target {
    Target {
        id: device.id().into(),
        kind: device.kind().into(),
        address: device.address().to_string(),
        interval: Duration::from_secs(5),
        timeout: Duration::from_secs(4),
        cron: None,
        labels: Labels::empty(),
        options: device.options(password()),
    }
}

fn collector(device: &DeviceHandle) -> Box<dyn Collector> {
    let kind = collect::kind(device.kind()).unwrap();
    (kind.open)(&target(device)).unwrap()
}

async fn poll(collector: &dyn Collector) -> Reading {
    let replies = collector.fetch().await.unwrap();
    collector.parse(&replies).unwrap()
}

fn value(reading: &Reading, family: &str, label: Option<(&str, &str)>) -> Option<f64> {
    let wanted = |sample: &&davylamp::model::Sample| {
        sample.family.name == family && label.is_none_or(|(name, value)| sample.labels.get(name) == Some(value))
    };
    reading.samples.iter().find(wanted).map(|sample| sample.value)
}

#[tokio::test]
async fn every_model_is_polled_twice() {
    let fleet = Fleet::start(demo::many(Model::ALL.len()), 1).await.unwrap();
    for device in fleet.devices() {
        let collector = collector(device);
        for _ in 0..2 {
            let reading = poll(&*collector).await;
            let hashing = value(&reading, "miner_state", Some(("state", "hashing")));
            assert_eq!(hashing, Some(1.0), "{:?}", device.model());
            assert!(value(&reading, "miner_hashrate_hashes_per_second", None) > Some(1e3), "{:?}", device.model());
            // The API 3 of a WhatsMiner tells of no shares.
            let shares = value(&reading, "miner_shares_total", Some(("result", "accepted")));
            assert_eq!(shares > Some(0.0), device.model() != Model::WhatsminerV3, "{:?}", device.model());
            assert!(value(&reading, "miner_pool_info", None) == Some(1.0), "{:?}", device.model());
            assert!(reading.rejected.is_empty(), "{:?}: {:?}", device.model(), reading.rejected);
            let told = reading.notes.iter().any(|note| note.contains("comma"));
            let broken = matches!(device.model(), Model::CgminerSloppy | Model::Antminer | Model::Hammer);
            assert_eq!(told, broken, "{:?}: {:?}", device.model(), reading.notes);
        }
    }
}

#[tokio::test]
async fn a_restart_over_the_network_cures_a_lost_hash_rate() {
    let specs = vec![DeviceSpec::new("a", Model::Bitaxe), DeviceSpec::new("b", Model::Cgminer)];
    let fleet = Fleet::start(specs, 2).await.unwrap();
    for device in fleet.devices() {
        let collector = collector(device);
        let rate = async || value(&poll(&*collector).await, "miner_hashrate_hashes_per_second", None).unwrap();
        let healthy = rate().await;
        device.set_fault(Some(Fault::LowHashrate));
        assert!(rate().await < 0.5 * healthy);
        restart(device).await;
        assert_eq!((device.restarts(), device.fault()), (1, None));
    }
}

async fn restart(device: &DeviceHandle) {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let request: &[u8] = match device.kind() {
        "axeos" => b"POST /api/system/restart HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n",
        _ => br#"{"command":"restart"}"#,
    };
    let mut stream = tokio::net::TcpStream::connect(device.address()).await.unwrap();
    stream.write_all(request).await.unwrap();
    let mut reply = String::new();
    stream.read_to_string(&mut reply).await.unwrap();
    assert!(reply.contains("restart") || reply.contains("RESTART"), "{reply}");
}

#[tokio::test]
async fn a_dead_device_refuses_and_comes_back_at_the_same_place() {
    let fleet = Fleet::start(vec![DeviceSpec::new("a", Model::NerdQaxe)], 3).await.unwrap();
    let device = &fleet.devices()[0];
    let collector = collector(device);
    poll(&*collector).await;
    device.set_fault(Some(Fault::Dead));
    let mut failure = None;
    for _ in 0..50 {
        failure = collector.fetch().await.err();
        if failure.is_some() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(failure.unwrap().reason, FailureReason::Unreachable);
    device.set_fault(None);
    for _ in 0..50 {
        if collector.fetch().await.is_ok() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("it did not come back");
}

/// The second document is asked for once; a device that has none is not asked again either.
#[tokio::test]
async fn the_asic_document_is_asked_for_once() {
    for (model, first, later) in [(Model::Bitaxe, 2, 2), (Model::BitaxeOld, 2, 2), (Model::NerdQaxe, 1, 1)] {
        let fleet = Fleet::start(vec![DeviceSpec::new("a", model)], 4).await.unwrap();
        let collector = collector(&fleet.devices()[0]);
        assert_eq!(collector.fetch().await.unwrap().len(), first, "{model:?}");
        assert_eq!(collector.fetch().await.unwrap().len(), later, "{model:?}");
        assert_eq!(fleet.devices()[0].requests(), first as u64 + 1, "{model:?}");
    }
}

#[tokio::test]
async fn commands_are_combined_where_the_program_knows_how() {
    for (model, first, second) in [(Model::Cgminer, 2, 1), (Model::CgminerOld, 5, 3), (Model::Bfgminer, 2, 1)] {
        let fleet = Fleet::start(vec![DeviceSpec::new("a", model)], 5).await.unwrap();
        let (device, collector) = (&fleet.devices()[0], collector(&fleet.devices()[0]));
        collector.fetch().await.unwrap();
        assert_eq!(device.requests(), first, "{model:?}");
        collector.fetch().await.unwrap();
        assert_eq!(device.requests(), first + second, "{model:?}");
    }
}

#[tokio::test]
async fn a_thousand_devices_live_in_one_process() {
    let fleet = Fleet::start(demo::many(1_000), 6).await.unwrap();
    assert_eq!(fleet.devices().len(), 1_000);
    let mut polled = 0;
    for device in fleet.devices().iter().step_by(37) {
        poll(&*collector(device)).await;
        polled += 1;
    }
    assert_eq!(polled, 28);
}

#[tokio::test]
async fn dropping_the_fleet_closes_every_socket() {
    let fleet = Fleet::start(demo::many(3), 7).await.unwrap();
    let devices = fleet.devices().to_vec();
    drop(fleet);
    tokio::task::yield_now().await;
    for device in &devices {
        assert_eq!(collector(device).fetch().await.unwrap_err().reason, FailureReason::Unreachable);
    }
}
