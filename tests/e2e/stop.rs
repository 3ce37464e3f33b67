//! SIGTERM with polls and a play under way: the end is soon and orderly, and the state is on disk.

use davylamp::demo::{Fault, Hostile, Model};

use crate::lamp::{Lamp, records};
use crate::world::{Farm, LOW, RULES, ansible, binding, config, seconds};

#[test]
fn stops_within_seconds_although_a_device_hangs() {
    let farm = Farm::start(&[("good", Model::Bitaxe), ("silent", Model::Bitaxe), ("slow", Model::Cgminer)]);
    farm.device("silent").set_fault(Some(Fault::Hostile(Hostile::Silent)));
    farm.device("slow").set_fault(Some(Fault::Hostile(Hostile::BytePerSecond)));
    let patient = config(None, "").replace("interval: 5s, timeout: 3s", "interval: 60s, timeout: 60s");
    let mut lamp = Lamp::new(&(patient + &farm.targets()));
    lamp.write("rules.yml", "groups: []");
    // Each device is asked at a second of the minute of its own.
    lamp.start();
    let page = lamp.wait("a poll that ended and one that hangs", seconds(90), |page| {
        farm.device("silent").requests() > 0 && page.value("davylamp_target_up", &[("target", "good")]) == Some(1.0)
    });
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

#[test]
fn a_play_that_does_not_end_is_ended_and_on_record() {
    let Some(ansible) = ansible() else { return };
    let farm = Farm::start(&[("m1", Model::Bitaxe)]);
    let impatient =
        config(Some(&ansible), &binding("endless.yml")).replace("kill_grace: 1s", "kill_grace: 1s, stop_grace: 1s");
    let mut lamp = Lamp::new(&(impatient + &farm.targets()));
    lamp.write("rules.yml", RULES);
    let begun = lamp.path("begun").display().to_string();
    let tasks = format!("  - shell: echo begun >> {begun}\n  - shell: trap '' TERM; sleep 300; sleep 300\n");
    lamp.write("playbooks/endless.yml", &format!("- hosts: all\n  gather_facts: false\n  tasks:\n{tasks}"));
    lamp.start();
    lamp.wait("the miner", seconds(30), |page| page.value("davylamp_target_up", &[]) == Some(1.0));
    farm.device("m1").set_fault(Some(Fault::LowHashrate));
    lamp.until("the play", seconds(60), || lamp.path("begun").exists().then_some(()));
    lamp.finish();
    let run = |records: &[(String, serde_json::Value)]| {
        let mut runs = records.iter().filter(|(key, _)| key.starts_with("act/run/"));
        let (_, run) = runs.next().unwrap_or_else(|| panic!("no run on record: {records:?}")).clone();
        assert!(runs.next().is_none(), "{records:?}");
        run
    };
    let stopped = run(&lamp.export());
    assert_eq!(stopped["state"], "interrupted", "{stopped}");

    // The alert still fires, and the episode is the same: nobody knows how far the play got, so it is not repeated.
    lamp.start();
    lamp.wait("the alert", seconds(20), |page| page.alert(LOW, "firing"));
    std::thread::sleep(seconds(11));
    lamp.finish();
    assert_eq!(run(&lamp.export()), stopped);
    assert_eq!(std::fs::read_to_string(begun).unwrap(), "begun\n");
}
