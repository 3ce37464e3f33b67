//! The recorded replies of real devices, where the folder with them is at hand: each is read into samples, or refused for
//! a reason that a reader would agree with.
#![allow(clippy::unwrap_used, clippy::print_stderr, clippy::too_many_lines, reason = "a test may")]

use std::path::{Path, PathBuf};
use std::time::Duration;

use davylamp::collect::{self, ParseError, Reply};
use davylamp::model::{Labels, Reading, Target};

/// Folder of recordings, part of the names of its files, kind that reads them.
const FOLDERS: &[(&str, &str, &str)] = &[
    ("bitaxe", "", "axeos"),
    ("forgeaxe", "", "axeos"),
    ("nerdqaxe", "", "axeos"),
    ("cgminer", "", "cgminer"),
    ("bfgminer", "", "cgminer"),
    ("antminer", "", "antminer"),
    // The API of its first versions is the stock firmware's.
    ("vnish", "", "antminer"),
    ("luxos", "", "luxos"),
    ("whatsminer", "-api2", "whatsminer"),
    ("whatsminer", "-api3", "whatsminer_v3"),
    ("avalon", "", "avalon"),
    ("epic", "", "epic"),
    ("auradine", "", "auradine"),
    ("elphapex", "", "elphapex"),
    ("hammer", "", "hammer"),
    ("sealminer", "", "sealminer"),
    ("goldshell", "", "goldshell"),
    ("proto", "", "proto"),
    ("braiins", "bos-25.07", "braiins"),
    ("braiins", "bos-25.11", "braiins"),
    ("braiins", "bos-26.", "braiins"),
    ("braiins", "gql_", "braiins_graphql"),
    ("braiins", "-version", "braiins_rpc"),
    // Its first version kept the API of the stock firmware.
    ("braiins", "bos-2019", "antminer"),
    ("xmrig", "", "xmrig"),
    ("pool-braiins", "", "pool_braiins"),
];

/// End of the file's name without its extension, part of the refusal (or several, by `|`), why a reader agrees.
const REFUSED: &[(&str, &str, &str)] = &[
    ("statistics_empty", "the device's own history", "charts of the device itself, empty at that"),
    // What was asked for does not exist in that program, and the program says so.
    ("INVALIDCMD", "code 14: Invalid command", "a command that no program knows"),
    ("2.11.4-asccount", "code 14: Invalid command", "cgminer 2.11 has no ASICs"),
    ("5.5.0-asccount", "code 14: Invalid command", "bfgminer counts all devices as PGA"),
    ("ascs", "code 14: Invalid command", "no such command in any of the three"),
    ("2.11.4-edevs", "code 14: Invalid command", "younger than cgminer 2.11"),
    ("5.5.0-edevs", "code 14: Invalid command", "only in cgminer"),
    ("estats", "code 14: Invalid command", "only in later cgminer"),
    ("2.11.4-lcd", "code 14: Invalid command", "younger than cgminer 2.11"),
    ("5.5.0-lcd", "code 14: Invalid command", "only in cgminer"),
    (
        "2.11.4-summary+pools+devs",
        "code 14: Invalid command",
        "cgminer 2.11 joins no commands; asked singly from then on",
    ),
    ("5.5.0-usbstats", "code 14: Invalid command", "only in cgminer"),
    ("2.11.4-proccount", "code 14: Invalid command", "only in bfgminer"),
    ("4.11.1-proccount", "code 14: Invalid command", "only in bfgminer"),
    ("4.11.1-cpucount", "code 14: Invalid command", "cgminer 4 mines on no CPU"),
    ("4.11.1-gpucount", "code 14: Invalid command", "cgminer 4 mines on no GPU"),
    (
        "procdetails",
        "only DEVDETAILS|code 14: Invalid command",
        "details of processors, or no such command: nothing is measured",
    ),
    ("4.11.1-procs", "code 14: Invalid command", "only in bfgminer"),
    ("2.11.4-procs", "code 14: Invalid command", "only in bfgminer"),
    ("empty", "code 14: Invalid command", "the request was one blank"),
    // The request itself was broken, on purpose.
    ("badjson", "code 23: Invalid JSON", "the request lacked its end"),
    ("nul", "code 23: Invalid JSON", "the request ended with a NUL"),
    // Nothing in it is a measurement.
    ("check", "only CHECK", "whether a command exists"),
    ("config", "only CONFIG", "settings"),
    ("count", "only ASCS|only PGAS|only CPUS|only GPUS", "a number of devices"),
    ("devdetails", "only DEVDETAILS|No ASCs", "names of drivers, or no devices"),
    ("notify", "only NOTIFY|No ASCs", "counts of past faults, which no family tells of yet; or no devices"),
    ("privileged", "no SUMMARY", "whether we may write"),
    (
        "stats",
        "only STATS|code 14: Invalid command",
        "timing of pools and devices, another shape in each firmware; or no such command",
    ),
    ("usbstats", "no SUMMARY", "no USB devices"),
    ("4.11.1-lcd", "only LCD", "a summary for a display; the summary itself is asked for"),
    ("ascset_help", "no SUMMARY", "a list of commands"),
    ("softoff", "no SUMMARY", "the answer to a command"),
    ("softon", "no SUMMARY", "the answer to a command"),
    ("workmode", "no SUMMARY", "the answer to a command"),
    ("get_blink_status", "no STATS|in it", "whether a light is on"),
    ("2025091001-get_system_info", "no STATS", "a page that is not asked: the API says the same"),
    ("2025091001-miner_psu_status", "no STATS", "a page that is not asked: the API says the same"),
    ("configuration_miner", "neither figures", "settings"),
    ("miner_errors", "neither figures", "a diary of months: nothing of it is active now"),
    ("network", "neither figures", "addresses; the details name the device"),
    ("gql_events", "no figures", "advice of the firmware, none at that"),
    ("led", "only LED", "whether a light is on"),
    ("events", "only EVENTS", "a diary, which is no measurement"),
    ("profiles", "only PROFILES", "what could be set"),
    ("1_config", "no \"hashrate\"", "settings"),
    ("1_threads", "NOT_FOUND", "no longer there in xmrig 6.26"),
    ("2_backends", "not a JSON object", "the summary says the same of the whole"),
    ("summary_401", "wrong or missing token", "a refusal"),
    ("3_none", "NOT_FOUND", "no such page"),
    ("payouts_success", "nothing of an account", "a diary of payments"),
    ("rewards_success", "nothing of an account", "a diary; the profile has the sums"),
    ("pool_stats_success", "nothing of an account", "about the pool, of no account"),
    ("unauthorized", "access denied: authentication failed", "a refusal"),
    ("rate_limit", "the pool says: request rate exceeded", "a refusal"),
    ("devs", "No ASCs", "there are no devices, and nothing stands beside it"),
];

fn folder() -> Option<PathBuf> {
    let named = std::env::var_os("DAVYLAMP_REPLIES").map(PathBuf::from);
    let folder = named.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/replies"));
    if !folder.is_dir() {
        eprintln!("SKIPPED: {} is not there; DAVYLAMP_REPLIES names the folder of recorded replies", folder.display());
        return None;
    }
    Some(folder)
}

fn parse(kind: &str, path: &Path) -> Result<Reading, ParseError> {
    let target = Target {
        id: "recorded".into(),
        kind: kind.into(),
        address: "192.0.2.1".to_string(),
        interval: Duration::from_secs(60),
        timeout: Duration::from_secs(10),
        cron: None,
        labels: Labels::empty(),
        // The kinds that are not opened without one.
        options: match kind {
            "pool_braiins" => serde_json::json!({"token": {"env": "UNUSED"}}),
            "braiins" => serde_json::json!({"password": {"env": "UNUSED"}}),
            _ => serde_json::Value::Null,
        },
    };
    let collector = (collect::kind(kind).unwrap().open)(&target).unwrap();
    collector.parse(&[Reply::new("reply", std::fs::read(path).unwrap())])
}

#[test]
fn every_recorded_reply_is_read_or_refused_for_a_reason() {
    let Some(root) = folder() else { return };
    let (mut read, mut refused, mut wrong) = (0, 0, Vec::new());
    for (name, part, kind) in FOLDERS {
        let mut files: Vec<PathBuf> = std::fs::read_dir(root.join(name)).unwrap().map(|f| f.unwrap().path()).collect();
        files.retain(|path| path.to_string_lossy().contains(part));
        files.sort();
        assert!(!files.is_empty(), "{name} holds no recordings");
        for path in files {
            let file = path.file_name().unwrap().to_string_lossy().into_owned();
            let stem = file.trim_end_matches(".json").trim_end_matches(".txt").trim_end_matches(".raw");
            match parse(kind, &path) {
                Ok(reading) if reading.samples.is_empty() => wrong.push(format!("{file}: read as nothing")),
                Ok(_) => read += 1,
                Err(error) => {
                    let text = error.to_string();
                    let says = |parts: &str| parts.split('|').any(|part| text.contains(part));
                    let agreed = REFUSED.iter().any(|(end, parts, _)| stem.ends_with(end) && says(parts));
                    refused += 1;
                    if !agreed {
                        wrong.push(format!("{file}: {text}"));
                    }
                }
            }
        }
    }
    println!("{read} read, {refused} refused for an agreed reason");
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(read >= 30, "only {read} of {} are read", read + refused);
}

/// Kinds whose marks stand in recordings: the others were recorded without the one answer that gives them away.
const MARKED: [&str; 15] = [
    "antminer",
    "auradine",
    "avalon",
    "axeos",
    "braiins_rpc",
    "cgminer",
    "elphapex",
    "epic",
    "hammer",
    "luxos",
    "proto",
    "sealminer",
    "whatsminer",
    "whatsminer_v3",
    "xmrig",
];

/// Whoever answers, by whatever door: a device is taken for what it is, or for nothing.
#[test]
fn a_recording_is_recognised_as_its_kind_or_as_nothing() {
    use davylamp::collect::miner::mark::{Clue, Door, recognise};
    let Some(root) = folder() else { return };
    let (mut seen, mut files) = (std::collections::BTreeSet::new(), 0);
    for (name, part, kind) in FOLDERS {
        let paths = std::fs::read_dir(root.join(name)).unwrap().map(|file| file.unwrap().path());
        for path in paths.filter(|path| path.to_string_lossy().contains(part)) {
            files += 1;
            for (door, status) in [(Door::Rpc, None), (Door::Http, Some(200)), (Door::Framed, None)] {
                let reply = Reply { status, ..Reply::new("reply", std::fs::read(&path).unwrap()) };
                let clue = Clue::new(door, 1, &reply, String::new());
                let kinds: Vec<&str> = recognise(&[clue]).iter().map(|mark| mark.kind).collect();
                assert!(kinds.is_empty() || kinds == [*kind], "{}: {kinds:?}", path.display());
                seen.extend(kinds);
            }
        }
    }
    assert!(files > 200, "{files}");
    let missing: Vec<&&str> = MARKED.iter().filter(|kind| !seen.contains(**kind)).collect();
    assert!(missing.is_empty(), "no recording is recognised as {missing:?}");
}

/// What the recordings' own repositories assert of them.
#[test]
fn known_values_are_read_right() {
    let Some(root) = folder() else { return };
    let expected: &[(&str, &str, &str, &str, f64)] = &[
        (
            "axeos",
            "bitaxe/gamma601-axeos-2.4.0-system_info.json",
            "miner_hashrate_hashes_per_second",
            "",
            1_040_340_176_285.0,
        ),
        ("axeos", "bitaxe/gamma601-axeos-2.4.0-system_info.json", "miner_best_share_difficulty", "lifetime", 115e6),
        ("axeos", "bitaxe/gamma601-axeos-2.4.0-system_info.json", "miner_voltage_volts", "input", 5.179_687_5),
        ("axeos", "bitaxe/gamma601-axeos-2.4.0-system_info.json", "miner_voltage_volts", "core", 1.133),
        ("axeos", "bitaxe/supra401-axeos-2.4.5-system_info.json", "miner_state", "starting", 1.0),
        ("axeos", "bitaxe/ultra205-axeos-compat-asic.json", "miner_board_chips_expected", "0", 1.0),
        ("axeos", "forgeaxe/nano-bm1370x2-forgeos-1.1-system_info.json", "miner_board_chips_expected", "0", 2.0),
        (
            "axeos",
            "forgeaxe/nano-bm1370x2-forgeos-1.1-system_info.json",
            "miner_best_share_difficulty",
            "lifetime",
            666e9,
        ),
        ("axeos", "nerdqaxe/nerdqaxe++-axeos-1.0.37.2lts-system_info.json", "miner_fan_speed_rpm", "M1", 732.0),
        (
            "axeos",
            "nerdqaxe/nerdqaxe++-axeos-1.0.37.2lts-system_info.json",
            "miner_current_amperes",
            "input",
            6.148_438,
        ),
        ("axeos", "nerdqaxe/nerdqaxe++-axeos-1.0.37.2lts-system_info.json", "miner_pool_rtt_seconds", "0", 0.016),
        (
            "cgminer",
            "bfgminer/cpu-bfgminer-5.5.0-summary+pools+devs.raw.json",
            "miner_hashrate_hashes_per_second",
            "",
            79e3,
        ),
        ("cgminer", "bfgminer/cpu-bfgminer-5.5.0-pools.raw.json", "miner_pool_up", "1", 0.0),
        (
            "cgminer",
            "cgminer/cpu-cgminer-2.11.4-devs.raw.json",
            "miner_board_hashrate_hashes_per_second",
            "cpu0",
            1.05e6,
        ),
        ("pool_braiins", "pool-braiins/braiinspool-profile_success.json", "pool_balance_coins", "btc", 0.01),
        (
            "pool_braiins",
            "pool-braiins/braiinspool-profile_success.json",
            "pool_hashrate_hashes_per_second",
            "1h",
            28_191e9,
        ),
        ("pool_braiins", "pool-braiins/braiinspool-profile_success.json", "pool_workers", "dis", 1.0),
        (
            "pool_braiins",
            "pool-braiins/braiinspool-workers_success.json",
            "pool_worker_hashrate_hashes_per_second",
            "worker-b",
            13_001e9,
        ),
    ];
    for &(kind, file, family, label, value) in expected {
        let reading = parse(kind, &root.join(file)).unwrap();
        let found = reading.samples.iter().find(|sample| {
            sample.family.name == family && (label.is_empty() || sample.labels.iter().any(|(_, value)| value == label))
        });
        assert_eq!(found.map(|sample| sample.value), Some(value), "{file}: {family} {label}");
    }
}

/// The newer families, value by value.
#[test]
fn what_was_read_by_eye_is_read_so() {
    let Some(root) = folder() else { return };
    let (mut reading, mut file, mut checked, mut wrong) = (Reading::default(), "", 0, Vec::new());
    for line in include_str!("recorded/by_eye.txt").lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let Some(line) = line.strip_prefix("  ") else {
            let (kind, path) = line.split_once(' ').unwrap();
            (reading, file) = (parse(kind, &root.join(path)).unwrap(), path);
            continue;
        };
        let (words, value) = line.rsplit_once(' ').unwrap();
        let (family, labels) = words.split_once(' ').unwrap_or((words, ""));
        let (name, value) = (format!("miner_{family}"), value.parse::<f64>().unwrap());
        let found = reading.samples.iter().find(|sample| {
            let mut said: Vec<&str> = sample.labels.iter().map(|(_, value)| value).collect();
            let mut wanted: Vec<&str> = labels.split_whitespace().collect();
            said.sort_unstable();
            wanted.sort_unstable();
            sample.family.name == name && said == wanted
        });
        let found = found.map(|sample| sample.value);
        // Some parsers round to whole hashes, others do not.
        if !found.is_some_and(|found| (found - value).abs() <= value.abs() * 1e-12) {
            wrong.push(format!("{file}: {words} is {found:?}, not {value}"));
        }
        checked += 1;
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(checked > 100, "{checked}");
}

/// The malformed replies of other makers go through the same repairing reader.
#[test]
fn malformed_recordings_of_other_makers_can_be_repaired() {
    let Some(root) = folder() else { return };
    for file in ["antminer/dr5-stock-2018-12-28-stats.raw.json", "antminer/z9mini-stock-2018-05-26-stats.raw.json"] {
        let body = std::fs::read(root.join(file)).unwrap();
        let repaired = collect::miner::repair::read(&body).unwrap();
        assert_eq!(repaired.notes, ["a comma was missing"], "{file}");
        assert_eq!(repaired.value["STATS"].as_array().map(Vec::len), Some(2), "{file}");
    }
    let mut sound = 0;
    for folder in std::fs::read_dir(&root).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_dir()) {
        for path in std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()) {
            if path.extension().is_some_and(|extension| extension == "json") {
                collect::miner::repair::read(&std::fs::read(&path).unwrap())
                    .unwrap_or_else(|e| panic!("{path:?}: {e}"));
                sound += 1;
            }
        }
    }
    assert!(sound > 200, "{sound}");
}
