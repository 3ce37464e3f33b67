//! What the goldens of `tests/kinds.rs` do not say of Docker's replies.

#![allow(clippy::unwrap_used, clippy::panic)] // in a test a failure shows itself

use std::path::{Path, PathBuf};
use std::time::Duration;

use davylamp::collect::{Collector, ParseError, Reply, kind, redact};
use davylamp::model::{Labels, Sample, Target};

fn collector(options: serde_json::Value) -> Box<dyn Collector> {
    let target = Target {
        id: "test".into(),
        kind: "docker".into(),
        address: String::new(),
        interval: Duration::from_secs(15),
        timeout: Duration::from_secs(10),
        cron: None,
        labels: Labels::empty(),
        options,
    };
    (kind("docker").unwrap().open)(&target).unwrap()
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/replies/docker")
}

fn replies(case: &str) -> Vec<Reply> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder().join(case)).unwrap().map(|f| f.unwrap().path()).collect();
    files.sort();
    files.into_iter().map(|path| redact::read_back(&path, std::fs::read(&path).unwrap())).collect()
}

#[test]
fn more_containers_than_allowed_are_counted_and_running_ones_come_first() {
    let reading = collector(serde_json::json!({ "max_containers": 2 })).parse(&replies("engine20-cgroup1")).unwrap();
    let value = |family: &str, state: Option<&str>| {
        let found = |sample: &&Sample| sample.family.name == family && sample.labels.get("state") == state;
        reading.samples.iter().find(found).map(|sample| sample.value)
    };
    assert_eq!(value("docker_engine_containers_skipped", None), Some(4.0));
    assert_eq!(value("docker_engine_containers", Some("exited")), Some(2.0), "the engine's counts hold all");
    let names: Vec<_> = reading.samples.iter().filter_map(|sample| sample.labels.get("container")).collect();
    assert!(names.contains(&"web") && names.contains(&"db") && !names.contains(&"cron"), "{names:?}");
}

#[test]
fn without_a_list_there_is_nothing_to_say() {
    let replies: Vec<Reply> =
        replies("podman43").into_iter().filter(|reply| reply.request != "GET /containers/json").collect();
    let error = collector(serde_json::Value::Null).parse(&replies).unwrap_err();
    assert!(matches!(&error, ParseError::Malformed { request, .. } if request == "GET /containers/json"), "{error}");
    for body in ["", "{}", "[", "null", &"[".repeat(200_000)] {
        let reply = Reply::new("GET /containers/json", body.to_string());
        assert!(collector(serde_json::Value::Null).parse(&[reply]).is_err(), "{}", &body[..body.len().min(10)]);
    }
}
