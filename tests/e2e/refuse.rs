//! What keeps the daemon from starting, and the words with which it says so.

use std::net::TcpListener;

use crate::lamp::Lamp;
use crate::world::{config, seconds};

fn idle() -> Lamp {
    let lamp = Lamp::new(&(config(None, "") + " []"));
    lamp.write("rules.yml", "groups: []");
    lamp
}

/// `davylamp run` must end by itself with this status; what it said.
fn refused(lamp: &Lamp, status: i32) -> String {
    let begun = std::time::Instant::now();
    let done = lamp.output(&["run"]);
    let said = String::from_utf8_lossy(&done.stderr).into_owned();
    assert_eq!(done.status.code(), Some(status), "{said}");
    assert!(begun.elapsed() < seconds(20), "{:?}", begun.elapsed());
    said
}

#[test]
fn two_daemons_do_not_share_a_state() {
    let mut lamp = idle();
    lamp.start();
    let said = refused(&lamp, 1);
    let holder = lamp.pid().as_raw_nonzero().to_string();
    let state = lamp.path("state").display().to_string();
    for word in [&*holder, &*state, "in use"] {
        assert!(said.contains(word), "{word} is missing: {said}");
    }
    assert_eq!(lamp.get("/-/ready").status, 200, "the first one goes on");
    lamp.finish();
}

#[test]
fn a_port_in_use_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let lamp = Lamp::new(&(config(None, "").replace("127.0.0.1:0", &address) + " []"));
    lamp.write("rules.yml", "groups: []");
    let said = refused(&lamp, 1);
    assert!(said.contains(&address) && said.contains("server.listen"), "{said}");
    assert!(!lamp.path("state").exists(), "it fails before it touches anything");
}

#[test]
fn every_mistake_is_said_at_once() {
    let lamp = Lamp::new(
        "server: {listen: \"127.0.0.1:0\", tokn: x}\nstorage: {path: state}\nrules: {files: [missing.yml]}\ntargets:\n\
         - {id: a, kind: axeoss, address: 127.0.0.1}\n- {id: b, kind: axeos, address: 127.0.0.1, interval: 1s}\n\
         - {id: b, kind: cgminer, address: 127.0.0.1, timeout: 1h}\n",
    );
    let said = refused(&lamp, 78);
    let mistakes = [
        "tokn",
        "did you mean \"axeos\"",
        "targets[1].interval",
        "is used by targets[1]",
        "targets[2].timeout",
        "missing.yml",
    ];
    for mistake in mistakes {
        assert!(said.contains(mistake), "{mistake} is missing:\n{said}");
    }
    assert!(said.contains("davylamp.yml:5"), "no line numbers:\n{said}");
    let checked = lamp.output(&["check"]);
    assert_eq!(checked.status.code(), Some(78));
    assert_eq!(String::from_utf8_lossy(&checked.stderr), said, "check says what run says");
    assert!(!lamp.path("state").exists());
}
