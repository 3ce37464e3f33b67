//! Found, adopted, known again: searches over real sockets, by the command line and by the daemon.

use std::collections::BTreeSet;

use serde_json::Value;

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
