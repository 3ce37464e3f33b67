//! Goldens of every kind. `tests/replies/<kind>/` holds replies, and beside each what its parser must make of it.
//!
//! * `name.json`, `name.raw`, … – one reply; its request is called `name`.
//! * `name/NN_….raw` – a poll as `davylamp poll --save` keeps it: a saved poll of a real device can be put here as it is.
//! * `name/NN-request.ext` – several replies of one poll, in this order. `NN-request.404.ext` came with that status.
//! * `name.options.json` – the target's options.
//! * `name.prom` – the samples in Prometheus' text format, or why the reply is refused. Written by
//!   `GOLDEN=1 cargo test --test kinds`, read by eye.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may panic")]

use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use davylamp::collect::{Collector, KINDS, Kind, ParseError, Reply, redact};
use davylamp::model::{Labels, MetricType, Reading, Target};

/// Addresses to try, because every kind has its own form; the first that the kind takes is used.
const ADDRESSES: [&str; 4] = ["192.0.2.1", "http://192.0.2.1/", "unix:///run/test.sock", "/run/test.sock"];

fn replies_of(kind: &Kind) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/replies").join(kind.name)
}

fn target(kind: &Kind, address: &str, options: &serde_json::Value) -> Target {
    Target {
        id: "golden".into(),
        kind: kind.name.into(),
        address: address.to_string(),
        interval: Duration::from_secs(60),
        timeout: Duration::from_secs(10),
        cron: None,
        labels: Labels::empty(),
        options: options.clone(),
    }
}

/// A collector with the options that stand beside the golden `name`.
fn open(kind: &Kind, name: &str) -> Box<dyn Collector> {
    let options = std::fs::read(replies_of(kind).join(format!("{name}.options.json")));
    let options = options.map_or(serde_json::Value::Null, |bytes| serde_json::from_slice(&bytes).unwrap());
    let tried = ADDRESSES.map(|address| (kind.open)(&target(kind, address, &options)));
    let errors: Vec<String> = tried.iter().filter_map(|result| Some(format!("{:?}", result.as_ref().err()?))).collect();
    tried.into_iter().find_map(Result::ok).unwrap_or_else(|| panic!("{} takes no address: {errors:#?}", kind.name))
}

/// `01-info.404.html` → request `info`, status 404; or what `davylamp poll --save` wrote.
fn read_reply(path: &Path) -> Reply {
    let name = path.file_name().unwrap().to_string_lossy().into_owned();
    if name.ends_with(".raw") && name.as_bytes().get(2) == Some(&b'_') {
        return redact::read_back(path, std::fs::read(path).unwrap());
    }
    let name = match name.split_once('-') {
        Some((digits, rest)) if digits.bytes().all(|byte| byte.is_ascii_digit()) => rest.to_string(),
        _ => name,
    };
    let mut parts = name.split('.');
    let request = parts.next().unwrap_or_default().to_string();
    let status = parts.find_map(|part| part.parse().ok().filter(|status| (100..600).contains(status)));
    Reply { request, status, body: std::fs::read(path).unwrap().into() }
}

/// The replies of every golden of a kind, by name.
fn polls(kind: &Kind) -> Vec<(String, Vec<Reply>)> {
    let folder = replies_of(kind);
    let Ok(entries) = std::fs::read_dir(&folder) else { return Vec::new() };
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let mut polls = Vec::new();
    for path in paths {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if name.ends_with(".prom") || name.ends_with(".options.json") {
            continue;
        }
        let replies = if path.is_dir() {
            let mut parts: Vec<PathBuf> = std::fs::read_dir(&path).unwrap().map(|part| part.unwrap().path()).collect();
            parts.sort();
            parts.iter().map(|part| read_reply(part)).collect()
        } else {
            vec![read_reply(&path)]
        };
        polls.push((name.split('.').next().unwrap_or_default().to_string(), replies));
    }
    polls
}

fn type_name(kind: MetricType) -> &'static str {
    match kind {
        MetricType::Counter => "counter",
        MetricType::Gauge | MetricType::Info => "gauge",
        MetricType::Histogram => "histogram",
        MetricType::Summary => "summary",
        MetricType::Unknown => "untyped",
    }
}

/// The text of a golden.
fn render(result: &Result<Reading, ParseError>) -> String {
    let mut text = String::new();
    let reading = match result {
        Ok(reading) => reading,
        Err(error) => return format!("# refused: {error}\n"),
    };
    if let Some(who) = &reading.identity {
        writeln!(
            text,
            "# identity: id={:?} make={:?} model={:?} firmware={:?}",
            who.id, who.make, who.model, who.firmware
        )
        .unwrap();
    }
    for note in &reading.notes {
        writeln!(text, "# note: {note}").unwrap();
    }
    for (family, count) in &reading.rejected {
        writeln!(text, "# rejected: {family} {count}").unwrap();
    }
    let mut done = BTreeSet::new();
    for first in &reading.samples {
        if !done.insert(first.family.name.clone()) {
            continue;
        }
        writeln!(text, "# TYPE {} {}", first.family.name, type_name(first.family.kind)).unwrap();
        for sample in reading.samples.iter().filter(|sample| sample.family.name == first.family.name) {
            let labels = if sample.labels.is_empty() { String::new() } else { sample.labels.to_string() };
            writeln!(text, "{}{}{labels} {}", sample.family.name, sample.suffix.as_str(), sample.value).unwrap();
        }
    }
    text
}

#[test]
fn every_kind_has_a_reply() {
    for kind in KINDS {
        assert!(!polls(kind).is_empty(), "{} has no reply: add one to {}", kind.name, replies_of(kind).display());
    }
}

#[test]
fn every_reply_is_read_as_its_golden_says() {
    let rewrite = std::env::var_os("GOLDEN").is_some();
    let mut wrong = Vec::new();
    for kind in KINDS {
        for (name, replies) in polls(kind) {
            let collector = open(kind, &name);
            let result = collector.parse(&replies);
            assert_eq!(result, collector.parse(&replies), "{}/{name}: the parser is not pure", kind.name);
            let (text, path) = (render(&result), replies_of(kind).join(format!("{name}.prom")));
            if rewrite {
                std::fs::write(&path, &text).unwrap();
            } else if std::fs::read_to_string(&path).unwrap_or_default() != text {
                wrong.push(format!("{}: now\n{text}", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "if the change is right: GOLDEN=1 cargo test --test kinds\n{}", wrong.join("\n"));
}

/// What holds for every reading of a kind, whatever was sent.
fn check(kind: &Kind, name: &str, reading: &Reading) {
    let mut series = BTreeSet::new();
    // What others exported is carried on as it is; the page escapes it.
    let carried = kind.name == "prometheus";
    for sample in &reading.samples {
        let place = format!("{}/{name}: {}{} {}", kind.name, sample.family.name, sample.labels, sample.value);
        // A kind without families declares them at run time, or carries on what others declared.
        let declared = kind.families.is_empty() || kind.families.contains(&&*sample.family);
        assert!(declared, "{place}: is not among the families of the kind");
        assert!(carried || sample.family.allows(sample.value), "{place}: is impossible");
        for (label, value) in sample.labels.iter() {
            let of_type = matches!(label, "le" | "quantile");
            let known = kind.families.is_empty() || of_type || sample.family.labels.contains(&label);
            assert!(known, "{place}: the family does not declare the label {label}");
            assert!(carried || label != kind.subject, "{place}: the subject's label is added by the store");
            assert!(carried || !value.chars().any(char::is_control), "{place}: a control character in {label}");
        }
        let key = (sample.family.name.clone(), sample.suffix.as_str(), sample.labels.clone());
        assert!(series.insert(key), "{place}: twice in one reading");
    }
}

#[test]
fn a_golden_is_recognised_as_its_kind_or_as_nothing() {
    use davylamp::collect::miner::mark::{Clue, Door, MARKS, recognise};
    for kind in KINDS.iter().filter(|kind| kind.subject == "miner") {
        assert!(MARKS.iter().any(|mark| mark.kind == kind.name), "{}: by what is it recognised?", kind.name);
    }
    for kind in KINDS {
        for (name, replies) in polls(kind) {
            for door in [Door::Rpc, Door::Http, Door::Framed] {
                let clues = replies.iter().map(|reply| Clue::new(door, 1, reply, String::new()));
                let kinds: Vec<&str> = recognise(&clues.collect::<Vec<_>>()).iter().map(|mark| mark.kind).collect();
                // btminer's words, which cgminer's parser must survive.
                let kin = name.ends_with("-as-text") && kinds == ["whatsminer"];
                assert!(kinds.is_empty() || kin || kinds == [kind.name], "{}/{name}: {kinds:?}", kind.name);
            }
        }
    }
}

#[test]
fn every_sample_belongs_to_a_declared_family() {
    for kind in KINDS {
        for (name, replies) in polls(kind) {
            if let Ok(reading) = open(kind, &name).parse(&replies) {
                check(kind, &name, &reading);
            }
        }
    }
}

/// Numbers that follow from a seed: the same damage in every run.
fn random(seed: &mut u64) -> usize {
    *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    (*seed >> 33) as usize
}

/// One to four injuries: bytes overwritten, cut out, doubled, or replaced by what parsers stumble over.
fn damage(body: &[u8], seed: &mut u64) -> Vec<u8> {
    const STUMBLES: [&[u8]; 12] = [
        b"}{",
        b",,",
        b"nan",
        b"-1",
        b"1e999",
        b"\"\"",
        b"null",
        b"[[[[",
        b"\\u00",
        b"\xff\xfe",
        b"\0",
        b"18446744073709551616",
    ];
    let mut bytes = body.to_vec();
    for _ in 0..=random(seed) % 4 {
        let start = random(seed) % (bytes.len() + 1);
        let end = (start + random(seed) % 12).min(bytes.len());
        let piece = match random(seed) % 4 {
            0 => Vec::new(),
            1 => bytes[start..end].repeat(2),
            2 => vec![(random(seed) % 256) as u8; end - start],
            _ => STUMBLES[random(seed) % STUMBLES.len()].to_vec(),
        };
        bytes.splice(start..end, piece);
    }
    bytes
}

#[test]
fn damaged_replies_neither_panic_nor_lie() {
    let mut seed = 1;
    for kind in KINDS {
        let (mut read, mut refused) = (0, 0);
        for (name, replies) in polls(kind) {
            let collector = open(kind, &name);
            for _ in 0..100 {
                let mut injure = |reply: &Reply| Reply { body: damage(&reply.body, &mut seed).into(), ..reply.clone() };
                match collector.parse(&replies.iter().map(&mut injure).collect::<Vec<_>>()) {
                    Ok(reading) => {
                        check(kind, &name, &reading);
                        read += 1;
                    }
                    Err(_) => refused += 1,
                }
            }
        }
        println!("{}: {read} damaged replies read, {refused} refused", kind.name);
        assert!(read + refused >= 100, "{}", kind.name);
    }
}

#[test]
fn names_and_options_are_well_formed() {
    let mut names = BTreeSet::new();
    for kind in KINDS {
        assert!(names.insert(kind.name), "two kinds are called {}", kind.name);
        for family in kind.families {
            let suffix_is_right = match family.kind {
                MetricType::Counter => family.name.ends_with("_total"),
                MetricType::Info => family.name.ends_with("_info"),
                _ => !family.name.ends_with("_total"),
            };
            assert!(suffix_is_right, "{}: the name does not fit the type", family.name);
            assert!(family.help.ends_with('.'), "{}: the help text is a sentence", family.name);
            assert!(family.bounds.0 < family.bounds.1 || family.kind == MetricType::Info, "{}", family.name);
        }
        // An option that nobody declared is refused, and the error says where it stands.
        let options = serde_json::json!({"no_such_option": 1});
        let errors = ADDRESSES.map(|address| (kind.open)(&target(kind, address, &options)).err());
        let errors: Vec<String> = errors.into_iter().flatten().map(|errors| format!("{errors:?}")).collect();
        assert_eq!(errors.len(), ADDRESSES.len(), "{} takes an unknown option", kind.name);
        assert!(errors.iter().any(|error| error.contains("no_such_option")), "{errors:#?}");
        for option in kind.options {
            let options = serde_json::json!({option.name: null});
            let errors = ADDRESSES.map(|address| (kind.open)(&target(kind, address, &options)).err());
            let unknown = errors.iter().flatten().flatten().any(|error| error.message.contains("unknown key"));
            assert!(!unknown, "{}: the option {} is documented and not known", kind.name, option.name);
        }
    }
}
