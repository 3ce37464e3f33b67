//! Saved replies of Docker engines and Podman → samples. One folder is one poll; each file is one reply, named
//! `NN_<request>.json` with `%` for `/`. `GOLDEN=1 cargo test --test docker` writes the expected samples anew.

#![allow(clippy::unwrap_used, clippy::panic)] // in a test a failure shows itself

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use davylamp::collect::{Collector, ParseError, Reply, kind};
use davylamp::model::{Labels, Reading, Target};

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
    let read = |path: PathBuf| {
        let name = path.file_stem().unwrap().to_str().unwrap().split_once('_').unwrap().1.replace('%', "/");
        Reply::new(name, std::fs::read(path).unwrap())
    };
    files.into_iter().map(read).collect()
}

fn page(reading: &Reading) -> String {
    let mut page = String::new();
    let mut lines: Vec<String> = Vec::new();
    for sample in &reading.samples {
        let escape = |text: &str| text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
        let labels: Vec<_> = sample.labels.iter().map(|(name, text)| format!("{name}=\"{}\"", escape(text))).collect();
        let labels = if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
        lines.push(format!("{}{labels} {}", sample.family.name, sample.value));
    }
    lines.sort();
    for note in &reading.notes {
        writeln!(page, "# note: {note}").unwrap();
    }
    for (family, count) in &reading.rejected {
        writeln!(page, "# rejected: {family} {count}").unwrap();
    }
    page + &lines.join("\n") + "\n"
}

#[test]
fn saved_replies_give_the_samples_beside_them() {
    let mut cases: Vec<String> = std::fs::read_dir(folder())
        .unwrap()
        .map(|entry| entry.unwrap())
        .filter(|entry| entry.path().is_dir())
        .map(|entry| entry.file_name().into_string().unwrap())
        .collect();
    cases.sort();
    assert!(cases.len() >= 4, "the replies are not there: {cases:?}");
    for case in cases {
        let reading = collector(serde_json::Value::Null).parse(&replies(&case)).unwrap();
        for sample in &reading.samples {
            let declared = kind("docker").unwrap().families.iter().find(|family| family.name == sample.family.name);
            let declared = declared.unwrap_or_else(|| panic!("{} is not declared", sample.family.name));
            assert!(sample.labels.iter().all(|(name, _)| declared.labels.contains(&name)), "{case}: {sample:?}");
        }
        let (got, file) = (page(&reading), folder().join(format!("{case}.prom")));
        if std::env::var_os("GOLDEN").is_some() {
            std::fs::write(&file, &got).unwrap();
        }
        let expected = std::fs::read_to_string(&file).unwrap_or_default();
        assert_eq!(got, expected, "{case}: not as in {}", file.display());
    }
}

#[test]
fn more_containers_than_allowed_are_counted_and_running_ones_come_first() {
    let reading = collector(serde_json::json!({ "max_containers": 2 })).parse(&replies("engine20-cgroup1")).unwrap();
    let page = page(&reading);
    assert!(page.contains("docker_engine_containers_skipped 4\n"), "{page}");
    assert!(page.contains("docker_engine_containers{state=\"exited\"} 2\n"), "the engine's counts hold all: {page}");
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
