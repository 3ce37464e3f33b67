//! A full disk below a running daemon: it goes on polling and serving, says that it is not ready and why, and recovers
//! by itself when there is space again.

use std::io::Write;

use davylamp::demo::{Fault, Model};

use crate::http::{Page, send};
use crate::lamp::Lamp;
use crate::world::{Disk, Farm, LOW, PLAYED, RULES, binding, config, posted, seconds};

#[test]
fn a_full_disk_stops_nothing_but_the_state() {
    let farm = Farm::start(&[("m1", Model::Bitaxe)]);
    let config = config(None, "").replace("path: state", "path: disk/state");
    let mut lamp = Lamp::new(&(config + &farm.targets()));
    lamp.write("rules.yml", RULES);
    let Some(disk) = Disk::mount(lamp.path("disk"), 48) else { return };
    lamp.start();
    lamp.wait("the miner", seconds(30), |page| page.value("davylamp_target_up", &[]) == Some(1.0));
    assert_eq!(lamp.get("/-/ready").status, 200);

    let hog = lamp.path("disk/hog");
    fill(&hog);
    // A target that dies is a change that has to be written.
    farm.device("m1").set_fault(Some(Fault::Dead));
    let answer = lamp.until("not ready", seconds(30), || Some(lamp.get("/-/ready")).filter(|a| a.status == 503));
    for word in ["disk", "full", "disk/state"] {
        assert!(answer.body.contains(word), "{word} is missing: {}", answer.body);
    }
    lamp.wait("the store's own metric", seconds(10), |page| page.value("davylamp_store_healthy", &[]) == Some(0.0));
    lamp.wait("the miner down", seconds(30), |page| page.value("davylamp_target_up", &[]) == Some(0.0));
    farm.device("m1").set_fault(Some(Fault::LowHashrate));
    lamp.wait("the miner back", seconds(60), |page| page.value("davylamp_target_up", &[]) == Some(1.0));
    lamp.wait("rules at work", seconds(30), |page| page.alert(crate::world::LOW, "firing"));
    assert!(lamp.get("/").body.contains("is full"), "the status page says it too");
    assert_eq!(lamp.get("/-/healthy").status, 200);
    assert_eq!(lamp.get("/-/ready").status, 503, "the disk is still full");

    assert!(lamp.get("/").body.contains("Alerts cannot be written"));

    std::fs::remove_file(&hog).unwrap();
    lamp.until("ready again", seconds(60), || Some(lamp.get("/-/ready")).filter(|a| a.status == 200));
    // What could not be written is written late, not never.
    lamp.until("alerts written", seconds(20), || {
        (!lamp.get("/").body.contains("Alerts cannot be written")).then_some(())
    });
    lamp.kill();
    let records = lamp.export();
    let alert = records.iter().find(|(key, alert)| key.starts_with("alert/") && alert["labels"]["miner"] == "m1");
    let (_, alert) = alert.unwrap_or_else(|| panic!("the alert that fired meanwhile is lost: {records:?}"));
    assert!(alert["state"] == "firing" && alert["fired_at"].is_i64(), "{alert}");
    lamp.start();
    farm.device("m1").set_fault(None);
    lamp.wait("the miner", seconds(30), |page| page.value("davylamp_target_up", &[]) == Some(1.0));
    lamp.wait("the alert over", seconds(60), |page| page.value("ALERTS", &[]).is_none());
    lamp.finish();
    let records = lamp.export();
    assert!(records.iter().any(|(key, target)| key == "target/m1" && target["up"] == true), "{records:?}");
    drop(disk);
}

/// Without a claim on disk there is no run, and without the alert on disk no acknowledgement.
#[test]
fn on_a_full_disk_nothing_is_run_and_no_webhook_is_acknowledged() {
    let farm = Farm::start(&[("m1", Model::Bitaxe), ("m2", Model::Bitaxe)]);
    let repair = binding("repair.yml").replace("  mode:", "  sources: [rules, alertmanager]\n  mode:");
    let webhooks = "webhooks: {alertmanager: {bearer: {file: token}}}\n";
    let config = config(Some("./ansible-playbook".as_ref()), &(repair + webhooks));
    let mut lamp = Lamp::new(&(config.replace("path: state", "path: disk/state") + &farm.targets()));
    lamp.write("rules.yml", RULES);
    lamp.write("token", "s3cret");
    lamp.write("playbooks/repair.yml", "- hosts: all\n");
    lamp.program("ansible-playbook", PLAYED);
    let Some(disk) = Disk::mount(lamp.path("disk"), 48) else { return };
    lamp.start();
    lamp.wait("the miners", seconds(30), |page| page.value("davylamp_target_up", &[]) == Some(2.0));
    let post = || {
        let body = posted("firing", LOW, "m2");
        let bearer = ("Authorization", "Bearer s3cret");
        send(lamp.address(), "POST", "/api/v1/webhooks/alertmanager", &[bearer], &body).unwrap().status
    };
    let trace = lamp.path("trace");
    let traces = || std::fs::read_to_string(&trace).unwrap_or_default();

    let hog = lamp.path("disk/hog");
    fill(&hog);
    farm.device("m1").set_fault(Some(Fault::LowHashrate));
    let held = |page: &Page| page.value("davylamp_run_suppressions_total", &[("reason", "ledger_unavailable")]);
    let page = lamp.wait("the run that cannot be recorded", seconds(60), |page| held(page) > Some(0.0));
    assert!(page.alert(LOW, "firing"));
    assert_eq!([post(), post(), post()], [503; 3], "Alertmanager tries a 503 again");
    let polls = |page: &Page| page.value("davylamp_polls_total", &[]).unwrap();
    let before = polls(&lamp.metrics());
    lamp.wait("more polls", seconds(60), |page| polls(page) >= before + 4.0);
    assert_eq!((traces(), post(), lamp.get("/-/healthy").status), (String::new(), 503, 200));
    let taken = lamp.metrics().value("davylamp_webhook_alerts_total", &[("result", "taken")]);
    assert_eq!(taken.unwrap_or_default(), 0.0);
    assert!(!lamp.log().contains("run claimed"), "{}", lamp.log());

    std::fs::remove_file(&hog).unwrap();
    lamp.until("the webhook taken", seconds(60), || (post() == 202).then_some(()));
    lamp.wait("both runs", seconds(60), |page| {
        page.value("davylamp_runs_total", &[("result", "succeeded")]) == Some(2.0)
    });
    // Two more looks of the acting room: time for a second run, if there were one.
    std::thread::sleep(seconds(11));
    lamp.finish();
    let mut ran: Vec<String> = traces().lines().map(String::from).collect();
    ran.sort();
    assert_eq!(ran, ["m1 repair.yml real", "m2 repair.yml real"]);
    drop(disk);
}

/// Writes a file until nothing more fits.
fn fill(path: &std::path::Path) {
    let mut file = std::fs::File::create(path).unwrap();
    for size in [1 << 20, 1 << 12, 1] {
        while file.write_all(&vec![1; size]).is_ok() {}
    }
}
