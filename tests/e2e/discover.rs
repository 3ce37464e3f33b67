//! Found, adopted, known again: searches over real sockets, by the command line and by the daemon.

use std::collections::BTreeSet;
use std::process::Output;
use std::time::Duration;

use serde_json::Value;

use crate::http::Page;
use crate::lamp::Lamp;
use crate::street::{Street, Tenant, mac};

fn shown(lamp: &Lamp, args: &[&str]) -> Vec<Value> {
    let output = lamp.output(args);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// The command line of a search in a street.
fn command(street: &Street, more: &[&str]) -> Vec<String> {
    let words = ["discover", "-o", "json", "--timeout", "500ms", "--rate", "1000", "--framed-ports", "9"];
    let ports = [format!("--http-ports={}", street.web), format!("--rpc-ports={}", street.rpc), street.network()];
    words.iter().map(ToString::to_string).chain(ports).chain(more.iter().map(ToString::to_string)).collect()
}

#[test]
fn a_street_is_searched_and_hostile_houses_hold_nobody_up() {
    let street = Street::new();
    street.move_in(5, Tenant::Axeos(5, "bitaxe"));
    street.move_in(6, Tenant::Vnish(6));
    street.move_in(7, Tenant::Luxos);
    let hostile = [Tenant::Router, Tenant::Redirect, Tenant::Drip, Tenant::Flood, Tenant::Silent];
    for (house, tenant) in (10..).zip(hostile) {
        street.move_in(house, tenant);
    }
    let lamp = Lamp::new("");
    let line = command(&street, &[]);
    let found = shown(&lamp, &line.iter().map(String::as_str).collect::<Vec<_>>());
    let facts = |device: &Value| {
        let text = |key: &str| device[key].as_str().unwrap_or("-").to_string();
        [text("kind"), text("identity"), text("hostname"), text("trouble")]
    };
    let expected = [
        ["axeos", "02:c1:58:2e:ab:05", "bitaxe", "-"],
        ["vnish", "02:c1:58:2e:ab:06", "l7-cellar", "-"],
        ["luxos", "-", "", "-"],
    ];
    assert_eq!(found.iter().map(facts).collect::<Vec<_>>(), expected, "{found:#?}");
    assert_eq!(found[0]["address"], street.address(5));
}

#[test]
fn what_is_found_is_written_down_and_followed() {
    let street = Street::new();
    for house in 1..=20 {
        street.move_in(house, Tenant::Axeos(house, "bitaxe"));
    }
    street.move_in(21, Tenant::Axeos(21, "total"));
    street.move_in(22, Tenant::Axeos(22, "3/../rig"));
    let configured = format!("targets:\n  - {{id: mine, kind: axeos, address: '{}'}}\n", street.address(20));
    let lamp = Lamp::new(&configured);
    let line = command(&street, &["--write"]);
    let line: Vec<&str> = line.iter().map(String::as_str).collect();
    let output = lamp.output(&line);
    let told = String::from_utf8_lossy(&output.stderr);
    let conflict = format!("{} is left out: \"mine\" of ", street.address(20));
    assert!(told.contains(&conflict), "{told}");
    assert!(
        told.contains("21 target(s) added, 0 changed") && told.contains("targets_files: [discovered.yml]"),
        "{told}"
    );
    lamp.write("davylamp.yml", &format!("targets_files: [discovered.yml]\n{configured}"));
    let text = || std::fs::read_to_string(lamp.path("discovered.yml")).unwrap();
    let ids: BTreeSet<String> =
        text().lines().filter_map(|line| line.strip_prefix("- id: ")).map(String::from).collect();
    assert_eq!(ids.len(), 21);
    for id in ["bitaxe-ab01", "bitaxe-ab13", "total-ab15", "3-..-rig-ab16"] {
        assert!(ids.contains(id), "{id}: {ids:?}");
    }
    assert!(lamp.output(&["check"]).status.success(), "{}", String::from_utf8_lossy(&lamp.output(&["check"]).stderr));
    // The router hands out addresses anew: two devices change places.
    street.leave(1);
    street.move_in(2, Tenant::Axeos(1, "bitaxe"));
    let output = lamp.output(&line);
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(told.contains("0 target(s) added, 1 changed") && !told.contains("targets_files"), "{told}");
    let entry = format!("- id: bitaxe-ab01\n  kind: axeos\n  address: {}\n", street.address(2));
    assert!(text().contains(&entry), "{}", text());
    assert!(text().contains(&format!("identity: {}", mac(1).to_lowercase())), "{}", text());
}

/// A daemon that searches a street.
fn daemon(street: &Street, more: &str, targets: &str) -> Lamp {
    let lamp = Lamp::new(&format!(
        "server: {{listen: 127.0.0.1:0, token: {{file: token}}}}\nstorage: {{path: state}}\n\
         defaults: {{interval: 5s, timeout: 2s}}\ndashboards: {{enabled: false}}\n{targets}\n{}",
        street.discovery(more)
    ));
    lamp.write("token", "s3cret\n");
    lamp
}

/// `davylamp devices …` against the running daemon.
fn devices(lamp: &Lamp, args: &[&str]) -> Output {
    let url = format!("http://{}", lamp.address());
    let token = lamp.path("token").display().to_string();
    lamp.output(&[&["devices"], args, &["--url", &url, "--token-file", &token]].concat())
}

fn order(lamp: &Lamp, args: &[&str]) {
    let output = devices(lamp, args);
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// What is known of a device.
fn known(lamp: &Lamp, id: &str) -> Option<Value> {
    let said: Value = serde_json::from_str(&lamp.get("/api/v1/discovered").body).unwrap();
    said["devices"].as_array().unwrap().iter().find(|device| device["id"] == id).cloned()
}

fn is_up(page: &Page, id: &str) -> bool {
    page.value("davylamp_target_up", &[("target", id)]) == Some(1.0)
}

/// Searches once more, and waits for the end of it.
fn search(lamp: &Lamp) {
    let count = |page: &Page| page.value("davylamp_discovery_searches_total", &[]).unwrap_or(0.0);
    let before = count(&lamp.metrics());
    order(lamp, &["search"]);
    // One may have been under way that began before the street changed.
    lamp.wait("the end of a search", LIMIT, |page| count(page) >= before + 2.0);
}

const LIMIT: Duration = Duration::from_secs(60);

#[test]
fn adopted_devices_are_followed_through_moves_other_firmware_and_kill_9() {
    let street = Street::new();
    for house in 1..=20 {
        street.move_in(house, Tenant::Axeos(house, "bitaxe"));
    }
    let own = format!("targets:\n  - {{id: mine, kind: axeos, address: '{}'}}", street.address(20));
    let mut lamp = daemon(&street, "  adopt: auto\n  labels: {site: street}\n", &own);
    lamp.start();
    let page = lamp.wait("20 devices", LIMIT, |page| {
        (1..20).all(|last| is_up(page, &format!("bitaxe-ab{last:02x}"))) && is_up(page, "mine")
    });
    assert_eq!(
        page.value("davylamp_target_up", &[]),
        Some(20.0),
        "the configured one is polled once, under its own id"
    );
    let labels = [("miner", "bitaxe-ab01"), ("site", "street")];
    assert!(page.value("miner_hashrate_hashes_per_second", &labels).is_some());
    assert_eq!(known(&lamp, "bitaxe-ab14").unwrap()["polled"], false, "it stands in the configuration");

    // DHCP: 1 moves to an empty house, 2 gets other firmware, 4 and 5 change places, 3 is not wanted any more.
    street.leave(1);
    street.move_in(101, Tenant::Axeos(1, "renamed"));
    street.move_in(2, Tenant::Vnish(2));
    order(&lamp, &["remove", "bitaxe-ab03"]);
    street.leave(5);
    street.move_in(4, Tenant::Axeos(5, "bitaxe"));
    street.move_in(5, Tenant::Axeos(4, "bitaxe"));
    search(&lamp);
    for (id, house, kind) in [
        ("bitaxe-ab01", 101, "axeos"),
        ("bitaxe-ab02", 2, "vnish"),
        ("bitaxe-ab04", 5, "axeos"),
        ("bitaxe-ab05", 4, "axeos"),
    ] {
        let device = known(&lamp, id).unwrap();
        assert_eq!((&device["address"], &device["kind"]), (&street.address(house).into(), &kind.into()), "{id}");
        lamp.wait(id, LIMIT, |page| page.value("davylamp_target_up", &[("target", id), ("kind", kind)]) == Some(1.0));
    }
    assert_eq!(known(&lamp, "bitaxe-ab03").unwrap()["state"], "removed");

    lamp.kill();
    // What it comes to know after that, it knows from its state.
    street.leave(6);
    lamp.start();
    for (id, state) in [("bitaxe-ab01", "adopted"), ("bitaxe-ab03", "removed"), ("bitaxe-ab06", "adopted")] {
        assert_eq!(known(&lamp, id).unwrap()["state"], state, "{id}");
    }
    search(&lamp);
    let page = lamp.wait("all again", LIMIT, |page| is_up(page, "bitaxe-ab02") && is_up(page, "bitaxe-ab13"));
    assert_eq!(page.value("davylamp_target_up", &[("target", "bitaxe-ab03")]), None, "removed stays removed");
    assert_eq!(page.value("davylamp_discovery_devices", &[("state", "removed")]), Some(1.0));
    assert_eq!(page.value("davylamp_discovery_devices", &[("state", "adopted")]), Some(19.0));
    lamp.finish();
}

#[test]
fn whoever_took_an_address_over_is_not_taken_for_its_predecessor() {
    let street = Street::new();
    street.move_in(1, Tenant::Axeos(1, "bitaxe"));
    let own = format!(
        "targets:\n  - {{id: mine, kind: axeos, address: '{}', identity: '{}'}}",
        street.address(1),
        mac(1).to_lowercase()
    );
    let mut lamp = daemon(&street, "  interval: 1d\n", &own);
    lamp.write(
        "davylamp.yml",
        &std::fs::read_to_string(lamp.path("davylamp.yml")).unwrap().replace("  interval: 10s\n", ""),
    );
    lamp.start();
    lamp.wait("the device", LIMIT, |page| is_up(page, "mine"));
    street.move_in(1, Tenant::Axeos(2, "bitaxe"));
    let strangers = [("target", "mine"), ("result", "stranger")];
    let page = lamp.wait("the stranger", LIMIT, |page| page.value("davylamp_polls_total", &strangers) > Some(0.0));
    assert_eq!(page.value("davylamp_target_up", &[("target", "mine")]), Some(0.0));
    assert_eq!(page.value("miner_hashrate_hashes_per_second", &[("miner", "mine")]), None, "nothing of it is taken");
    assert!(lamp.log().contains("another device answers here"), "{}", lamp.log());
    lamp.finish();
}

#[test]
fn without_a_rule_a_person_decides() {
    let street = Street::new();
    street.move_in(1, Tenant::Axeos(1, "<b>bitaxe</b>"));
    street.move_in(2, Tenant::Luxos);
    let mut lamp = daemon(&street, "", "device_logs: {match: ['kind=\"axeos\"']}");
    lamp.start();
    let id = "b-bitaxe-b-ab01";
    lamp.until("the device", LIMIT, || known(&lamp, id));
    let page = lamp.until("the page", LIMIT, || Some(lamp.get("/").body).filter(|page| page.contains("devices adopt")));
    assert!(page.contains(&format!("davylamp devices adopt {id}")) && !page.contains("<b>bitaxe"), "{page}");
    assert_eq!(lamp.metrics().value("davylamp_target_up", &[]), None);
    let nameless = [("event", "nameless")];
    lamp.wait("a device without a name", LIMIT, |page| {
        page.value("davylamp_discovery_events_total", &nameless) > Some(0.0)
    });
    assert_eq!(lamp.request("POST", &format!("/api/v1/discovered/{id}/adopt"), &[]).status, 401);
    order(&lamp, &["adopt", id]);
    lamp.wait("the target", LIMIT, |page| is_up(page, id));
    // It is listened to as if it stood in the configuration.
    let said = format!("/api/v1/targets/{id}/log");
    lamp.until("its log", LIMIT, || Some(lamp.get(&said)).filter(|answer| answer.body.contains("main: hello")));
    let table = String::from_utf8(devices(&lamp, &["list"]).stdout).unwrap();
    assert!(table.contains("adopted") && table.contains(&mac(1).to_lowercase()), "{table}");
    order(&lamp, &["remove", id]);
    lamp.wait("its end", LIMIT, |page| page.value("davylamp_target_up", &[("target", id)]).is_none());
    lamp.until("the end of its log", LIMIT, || Some(lamp.get(&said)).filter(|answer| answer.status == 404));
    let refused = devices(&lamp, &["adopt", "nobody"]);
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && said.contains("no device that was found has the id \"nobody\""), "{said}");
    lamp.finish();
}

#[test]
fn what_is_behind_a_login_is_adopted_by_its_rule_and_nobody_else_is_told_the_password() {
    let street = Street::new();
    street.move_in(1, Tenant::Locked(1));
    street.move_in(2, Tenant::Locked(2));
    street.move_in(3, Tenant::Router);
    street.move_in(4, Tenant::Antminer);
    let first = street.address(1).split(':').next().unwrap().to_string();
    let rule = format!("  adopt: auto\n  allow: [{{kind: vnish, network: {first}}}]\n");
    let kinds = "  kinds: {vnish: {options: {password: {file: vnish.password}}}}\n";
    let mut lamp = daemon(&street, &(rule + kinds), "");
    lamp.write("vnish.password", "hunter2\n");
    let line = command(&street, &["--write"]);
    let found = shown(&lamp, &line.iter().map(String::as_str).collect::<Vec<_>>());
    let facts = |device: &Value| [&device["kind"], &device["locked"], &device["web_port"]].map(Value::to_string);
    let locked = ["\"vnish\"", "true", "null"].map(String::from);
    let antminer = ["\"antminer\"".to_string(), "false".to_string(), street.web.to_string()];
    assert_eq!(found.iter().map(facts).collect::<Vec<_>>(), [locked.clone(), locked, antminer], "{found:#?}");
    assert_eq!([1, 2, 3].map(|house| street.tried(house)), [0, 0, 0], "nobody has adopted them");
    let written = std::fs::read_to_string(lamp.path("discovered.yml")).unwrap();
    let options = format!("  options:\n    password:\n      file: {}\n", lamp.path("vnish.password").display());
    assert_eq!(written.matches(&options).count(), 2, "{written}");

    lamp.start();
    let id = "l7-cellar-ab01";
    lamp.wait("the device", LIMIT, |page| is_up(page, id));
    search(&lamp);
    assert!(street.tried(1) > 0);
    assert_eq!([2, 3].map(|house| street.tried(house)), [0, 0], "the rule does not take them");
    order(&lamp, &["remove", id]);
    lamp.wait("its end", LIMIT, |page| page.value("davylamp_target_up", &[("target", id)]).is_none());
    let tried = street.tried(1);
    search(&lamp);
    assert_eq!(street.tried(1), tried, "a person has removed it");
    lamp.finish();
}

#[test]
fn a_device_that_the_configuration_names_by_name_is_polled_once() {
    let street = Street::at([127, 0, 0]);
    street.move_in(1, Tenant::Axeos(1, "bitaxe"));
    let mut lamp = daemon(&street, "  adopt: auto\n", "");
    lamp.start();
    lamp.wait("the device", LIMIT, |page| is_up(page, "bitaxe-ab01"));
    // It is down as the configuration has it, so that it does not say who it is.
    let own = format!("targets:\n  - {{id: mine, kind: axeos, address: 'localhost:{}'}}\n", street.web);
    let before = std::fs::read_to_string(lamp.path("davylamp.yml")).unwrap();
    lamp.write("davylamp.yml", &format!("{own}{before}"));
    street.leave(1);
    lamp.signal(rustix::process::Signal::HUP);
    let page = lamp.wait("the target", LIMIT, |page| page.value("davylamp_target_up", &[("target", "mine")]).is_some());
    assert_eq!(page.value("davylamp_target_up", &[("target", "bitaxe-ab01")]), None, "one device, one target");
    lamp.kill();
    lamp.start();
    let page = lamp.wait("the target", LIMIT, |page| page.value("davylamp_target_up", &[("target", "mine")]).is_some());
    assert_eq!(page.value("davylamp_target_up", &[("target", "bitaxe-ab01")]), None, "nor after a restart");
    lamp.finish();
}

#[test]
fn the_calendar_begins_searches() {
    let street = Street::new();
    street.move_in(1, Tenant::Axeos(1, "bitaxe"));
    let mut lamp = daemon(&street, "  cron: '* * * * * *'\n  adopt: auto\n", "");
    lamp.start();
    lamp.wait("the device", LIMIT, |page| is_up(page, "bitaxe-ab01"));
    lamp.finish();
}
