//! SIGTERM with polls and a play under way: the end is soon and orderly, and the state is on disk.

use davylamp::demo::{Fault, Hostile, Model};

use crate::lamp::{Lamp, records};
use crate::world::{Farm, config, seconds};

#[test]
fn stops_within_seconds_although_a_device_hangs() {
    let farm = Farm::start(&[("good", Model::Bitaxe), ("silent", Model::Bitaxe), ("slow", Model::Cgminer)]);
    farm.device("silent").set_fault(Some(Fault::Hostile(Hostile::Silent)));
    farm.device("slow").set_fault(Some(Fault::Hostile(Hostile::BytePerSecond)));
    let patient = config(None, "").replace("interval: 5s, timeout: 3s", "interval: 60s, timeout: 60s");
    let mut lamp = Lamp::new(&(patient + &farm.targets()));
    lamp.write("rules.yml", "groups: []");
    // All phases within the first second would be luck: each asks at its own second of the minute.
    lamp.start();
    lamp.until("requests under way", seconds(90), || {
        let asked = |id| farm.device(id).requests() > 0;
        (asked("silent") && asked("good")).then_some(())
    });
    let page = lamp.metrics();
    assert_eq!(page.value("davylamp_polls_total", &[("target", "silent")]).unwrap_or(0.0), 0.0, "its poll hangs");
    let (status, took) = lamp.stop();
    assert!(status.success(), "{status}\n{}", lamp.log());
    assert!(took < seconds(10), "it took {took:?}");
    assert!(lamp.log().trim_end().ends_with("stopped"), "{}", lamp.log());
    let exports: Vec<_> = std::fs::read_dir(lamp.path("state/exports")).unwrap().flatten().collect();
    assert_eq!(exports.len(), 1, "the state is exported at the end: {exports:?}");
    let targets = records(&exports[0].path());
    assert!(targets.iter().any(|(key, target)| key == "target/good" && target["up"] == true), "{targets:?}");
    assert!(lamp.strays().is_empty());
}
