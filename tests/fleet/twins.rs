//! Devices that give themselves awkward names: nothing of it reaches a label that we rely on.

use std::collections::BTreeSet;
use std::time::Duration;

use davylamp::collect;
use davylamp::demo::{DeviceSpec, Fleet, Model};
use davylamp::model::{Observation, Target};
use davylamp::schedule::about::About;
use davylamp::store::{Format, Limits, Recent};

use super::{collector, poll, target};

#[tokio::test]
async fn twenty_twins_and_odd_host_names_stay_apart() {
    let odd = ["total", "7th-heaven", "a/b", "{}\"\\x", "__name__", ""];
    let twins = std::iter::repeat_n("bitaxe", 20);
    let models = [Model::Bitaxe, Model::Antminer, Model::Luxos].into_iter().cycle();
    let specs = twins.chain(odd).zip(models).enumerate().map(|(index, (hostname, model))| DeviceSpec {
        hostname: Some(hostname.to_string()),
        ..DeviceSpec::new(format!("m{index}"), model)
    });
    let fleet = Fleet::start(specs.collect(), 9).await.unwrap();
    let recent = Recent::new(Duration::from_secs(600), Limits::default());
    let mut identities = BTreeSet::new();
    for device in fleet.devices() {
        let target = target(device);
        recent.declare(&target, "miner");
        let reading = poll(&*collector(device)).await;
        assert!(identities.insert(reading.identity.clone().unwrap().id), "{}: another has its identity", device.id());
        let seen = Observation { target: target.id.clone(), at: 1_000, took: Duration::ZERO, outcome: Ok(reading) };
        let about = About::new(&target).enter(&seen);
        recent.observe(&seen, &about);
    }
    for format in [Format::Text, Format::OpenMetrics] {
        let page = String::from_utf8(recent.page(format, None)).unwrap();
        for device in fleet.devices() {
            let own = format!("miner_hashrate_hashes_per_second{{miner=\"{}\"}}", device.id());
            assert_eq!(page.matches(&own).count(), 1, "{own}");
        }
        let series: Vec<&str> = page.lines().filter(|line| !line.starts_with('#')).collect();
        let names: BTreeSet<&str> = series.iter().filter_map(|line| Some(line.rsplit_once(' ')?.0)).collect();
        assert_eq!(names.len(), series.len(), "a series stands there twice");
    }
    // The page is read back as any other exporter's: no name has broken a line.
    let page = recent.page(Format::Text, None);
    let lines = page.split(|byte| *byte == b'\n').filter(|line| !line.is_empty() && line[0] != b'#').count();
    let reader = Target {
        kind: "prometheus".into(),
        address: "http://127.0.0.1:9".into(),
        options: serde_json::Value::Null,
        ..target(&fleet.devices()[0])
    };
    let reader = (collect::kind("prometheus").unwrap().open)(&reader).unwrap();
    let read = reader.parse(&[collect::Reply::new("page", page)]).unwrap();
    assert_eq!(read.samples.len(), lines);
    let hosts: BTreeSet<&str> = read.samples.iter().filter_map(|sample| sample.labels.get("hostname")).collect();
    assert_eq!(hosts, ["bitaxe", "total", "7th-heaven", "a/b", "{}\"\\x", "__name__"].into_iter().collect());
}
