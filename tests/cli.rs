//! The real binary, as people type it: help, messages, exit statuses, and what happens when output goes nowhere.
//!
//! `GOLDEN=1 cargo test --test cli` rewrites the expected texts in `tests/cli/*.txt` and the README's table of kinds.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test may panic, and says loudly what it skips"
)]

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use davylamp::demo::{Fleet, showcase};
use davylamp::store::state::{OpenOptions, SledState, StateStore, Txn};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_davylamp"));
    command.args(arguments).env_remove("DAVYLAMP_CONFIG").env_remove("STATE_DIRECTORY").env("COLUMNS", "100");
    command
}

/// Runs the binary: status, standard output, standard error.
fn run(arguments: &[&str]) -> (i32, String, String) {
    shown(&command(arguments).stdin(Stdio::null()).output().unwrap())
}

fn shown(output: &Output) -> (i32, String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert!(!err.contains("panicked"), "{err}");
    (output.status.code().unwrap_or(-1), out, err)
}

/// Compares with `tests/cli/{name}.txt`.
fn golden(name: &str, found: &str) {
    let path = Path::new(ROOT).join(format!("tests/cli/{name}.txt"));
    if std::env::var_os("GOLDEN").is_some() {
        std::fs::write(&path, found).unwrap();
    }
    assert_eq!(found, std::fs::read_to_string(&path).unwrap_or_default(), "{}", path.display());
}

const COMMANDS: [&str; 24] = [
    "",
    "run",
    "check",
    "poll",
    "parse",
    "kinds",
    "demo",
    "query",
    "rules",
    "rules check",
    "rules test",
    "remediations test",
    "dashboards",
    "dashboards write",
    "dashboards check",
    "state",
    "state verify",
    "state export",
    "state import",
    "state compact",
    "runner",
    "version",
    "completions",
    "man",
];

#[test]
fn help_reads_as_it_should() {
    let mut all = String::new();
    for name in COMMANDS {
        let arguments: Vec<&str> = name.split_whitespace().chain(["--help"]).collect();
        let (status, out, _) = run(&arguments);
        assert_eq!(status, 0, "{name}");
        assert!(out.lines().all(|line| line.chars().count() <= 100), "{name} is wider than 100 columns");
        all.push_str(&format!("$ davylamp {}\n{out}\n", arguments.join(" ")));
    }
    golden("help", &all);
}

#[test]
fn wrong_command_lines_are_refused_with_the_nearest_right_word() {
    for (arguments, hint) in [
        (vec!["chekc"], "check"),
        (vec!["check", "--confg", "x"], "--config"),
        (vec!["poll"], "TARGET"),
        (vec!["completions", "tcsh"], "bash"),
    ] {
        let (status, out, err) = run(&arguments);
        assert_eq!((status, out.as_str()), (2, ""), "{arguments:?}");
        assert!(err.contains(hint), "{err}");
    }
    let (status, _, err) = run(&[]);
    assert_eq!(status, 2);
    assert!(err.contains("Usage: davylamp <COMMAND>"), "{err}");
}

#[test]
fn kinds_are_listed_and_explained() {
    let mut all = String::new();
    for arguments in [vec!["kinds"], vec!["kinds", "axeos"], vec!["kinds", "http_json"]] {
        let (status, out, err) = run(&arguments);
        assert_eq!((status, err.as_str()), (0, ""));
        all.push_str(&format!("$ davylamp {}\n{out}\n", arguments.join(" ")));
    }
    golden("kinds", &all);
    let (status, _, err) = run(&["kinds", "axeso"]);
    assert_eq!((status, err.as_str()), (1, "unknown kind \"axeso\"; did you mean \"axeos\"? (davylamp kinds)\n"));
}

#[test]
fn the_readme_has_the_table_of_kinds() {
    let path = Path::new(ROOT).join("README.md");
    let Ok(readme) = std::fs::read_to_string(&path) else {
        eprintln!("SKIPPED: there is no README.md");
        return;
    };
    let (begin, end) = ("<!-- kinds:begin -->\n", "<!-- kinds:end -->");
    let Some((head, (old, tail))) =
        readme.split_once(begin).and_then(|(head, rest)| Some((head, rest.split_once(end)?)))
    else {
        eprintln!("SKIPPED: README.md has no kinds:begin and kinds:end");
        return;
    };
    let (status, table, _) = run(&["kinds", "--markdown"]);
    assert_eq!(status, 0);
    if std::env::var_os("GOLDEN").is_some() {
        std::fs::write(&path, format!("{head}{begin}{table}{end}{tail}")).unwrap();
    } else {
        assert_eq!(old, table, "GOLDEN=1 cargo test --test cli writes it anew");
    }
}

#[test]
fn check_says_what_it_found() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("davylamp.yml");
    let file = path.to_str().unwrap();
    std::fs::write(&path, "targets: []\n").unwrap();
    let (status, out, _) = run(&["check", "--config", file]);
    assert_eq!((status, out), (0, format!("{file}: 0 targets, 0 rules in 0 groups, 0 remediations\n")));
    let (status, _, _) = shown(&command(&["check"]).env("DAVYLAMP_CONFIG", file).output().unwrap());
    assert_eq!(status, 0, "the environment names the file");

    std::fs::write(&path, "log: {levle: info}\ntargets: [{id: a, kind: axeso, address: x}]\n").unwrap();
    for arguments in
        [vec!["check"], vec!["run"], vec!["poll", "a"], vec!["dashboards", "check"], vec!["state", "verify"]]
    {
        let (status, out, err) = run(&[arguments.as_slice(), &["--config", file]].concat());
        assert_eq!((status, out.as_str()), (78, ""), "{arguments:?}");
        let first = format!("{file}:1: log.levle: unknown key \"levle\"; did you mean \"level\"?\n");
        let second = format!("{file}:2: targets[0].kind: unknown kind \"axeso\"; did you mean \"axeos\"?\n");
        assert_eq!(err, first + &second, "{arguments:?}");
    }
    let (status, _, err) = run(&["check", "--config", "/nowhere.yml"]);
    assert_eq!(status, 78);
    let (first, hint) = err.split_once('\n').unwrap();
    assert_eq!(first, "/nowhere.yml: cannot be read: No such file or directory");
    assert!(hint.contains("--config"), "{err}");
    let (status, out, _) = run(&["check", "--schema"]);
    assert_eq!(status, 0);
    assert_eq!(serde_json::from_str::<serde_json::Value>(&out).unwrap()["title"], "davylamp.yml");
}

#[test]
fn rules_and_dashboards_are_checked_and_written() {
    let (status, out, _) = run(&["rules", "check", &format!("{ROOT}/tests/config/files/good-rules.yml")]);
    assert_eq!(status, 0);
    assert!(out.contains("SUCCESS: 1 rules found"), "{out}");
    let (status, out, _) =
        run(&["rules", "check", &format!("{ROOT}/tests/config/files/bad-promql.yml"), "/nowhere.yml"]);
    assert_eq!(status, 78);
    assert!(out.contains("bad-promql.yml:7: groups[0].rules[0].expr: bad expression"), "{out}");
    assert!(out.contains("/nowhere.yml: cannot be read: No such file or directory"), "{out}");

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("davylamp.yml");
    std::fs::write(&path, "targets: [{id: a, kind: axeos, address: 192.0.2.1}]\n").unwrap();
    let dashboards = |verb: &str| run(&["dashboards", verb, "--config", path.to_str().unwrap()]);
    assert_eq!(dashboards("write").0, 0);
    let (status, out, _) = dashboards("write");
    assert_eq!(status, 0);
    assert!(out.contains(" 0 written, ") && out.contains(" 0 deleted"), "{out}");
    assert_eq!(dashboards("check").0, 0);
    let written = first_json(&folder.path().join("grafana-dashboards"));
    std::fs::write(&written, "{").unwrap();
    let (status, _, err) = dashboards("check");
    assert_eq!(status, 1);
    assert!(err.contains(written.file_name().unwrap().to_str().unwrap()), "{err}");
}

fn first_json(folder: &Path) -> PathBuf {
    let mut open = vec![folder.to_path_buf()];
    while let Some(folder) = open.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => open.push(path),
                false if path.extension().is_some_and(|extension| extension == "json") => return path,
                false => {}
            }
        }
    }
    panic!("no dashboard was written");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_polled_and_saved_is_parsed_to_the_same_samples() {
    let fleet = Fleet::start(showcase(), 7).await.unwrap();
    for kind in ["axeos", "cgminer"] {
        let device = fleet.devices().iter().find(|device| device.kind() == kind).unwrap();
        let (folder, address) = (tempfile::tempdir().unwrap(), device.address().to_string());
        let save = folder.path().join("replies");
        let arguments: Vec<String> =
            ["poll", "--kind", kind, &address, "--save", save.to_str().unwrap()].map(String::from).to_vec();
        let polled =
            tokio::task::spawn_blocking(move || run(&arguments.iter().map(String::as_str).collect::<Vec<_>>()));
        let (status, polled, err) = polled.await.unwrap();
        assert_eq!(status, 0, "{err}");
        assert!(polled.contains("miner_hashrate"), "{polled}");
        let mut files: Vec<PathBuf> = std::fs::read_dir(&save).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.sort();
        assert_eq!(err.lines().filter(|line| line.starts_with("saved ")).count(), files.len(), "{err}");
        let mut again = vec!["parse", kind];
        again.extend(files.iter().map(|file| file.to_str().unwrap()));
        let (status, parsed, err) = run(&again);
        assert_eq!(status, 0, "{err}");
        let samples = |page: &str, id: &str| -> Vec<String> {
            let lines = page.lines().filter(|line| !line.starts_with('#') && !line.starts_with("target_"));
            let lines = lines.map(|line| line.replace(&format!("\"{id}\""), "\"id\""));
            // Saved replies hold no pool users, and do not know where they came from.
            lines.filter(|line| !line.starts_with("miner_pool_info") && !line.starts_with("miner_info")).collect()
        };
        let (polled, parsed) = (samples(&polled, &address), samples(&parsed, "127.0.0.1"));
        assert!(polled.len() > 5, "{polled:?}");
        assert_eq!(polled, parsed, "{kind}");
        for file in &files {
            let text = std::fs::read_to_string(file).unwrap();
            let secrets = ["\"ssid\":\"", "\"stratumUser\":\"", "\"User\":\""];
            for key in secrets {
                for rest in text.split(key).skip(1) {
                    assert!(rest.starts_with("*****"), "{}: {text}", file.display());
                }
            }
        }
    }
    let (status, _, err) = run(&["poll", "--kind", "axeos", "127.0.0.1:1"]);
    assert_eq!(status, 1);
    assert!(err.starts_with("poll of 127.0.0.1:1 failed: unreachable: "), "{err}");
}

#[test]
fn garbage_is_refused_with_a_reason_and_an_unknown_target_with_a_hint() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("system_info.raw");
    std::fs::write(&file, b"\x00not json").unwrap();
    for kind in ["axeos", "cgminer", "docker"] {
        let (status, out, err) = run(&["parse", kind, file.to_str().unwrap()]);
        assert_eq!((status, out.as_str()), (1, ""), "{kind}");
        assert!(err.len() > 10, "{kind}: {err}");
    }
    let (status, _, err) = run(&["parse", "axeos", "/nowhere.raw"]);
    assert_eq!((status, err.as_str()), (1, "cannot read /nowhere.raw: No such file or directory (os error 2)\n"));
    let path = folder.path().join("davylamp.yml");
    std::fs::write(&path, "targets: [{id: garage-1, kind: axeos, address: 192.0.2.1}]\n").unwrap();
    let (status, _, err) = run(&["poll", "garage1", "--config", path.to_str().unwrap()]);
    assert_eq!(status, 1);
    assert!(err.starts_with("no target has the id \"garage1\"; did you mean \"garage-1\"?"), "{err}");
}

#[tokio::test]
async fn the_state_goes_out_and_in_again_and_says_who_holds_it() {
    let folder = tempfile::tempdir().unwrap();
    let (first, second, dump) =
        (folder.path().join("first"), folder.path().join("second"), folder.path().join("state.jsonl.zst"));
    let [first_name, second_name, dump_name] = [&first, &second, &dump].map(|path| path.to_str().unwrap());
    let (status, _, err) = run(&["state", "verify", "--path", first_name]);
    assert_eq!(status, 1, "{err}");
    let (store, _) = SledState::open(OpenOptions::new(&first)).unwrap();
    store.txn(Txn::put("alert/a", "pending")).await.unwrap();
    for verb in ["verify", "compact"] {
        let (status, _, err) = run(&["state", verb, "--path", first_name]);
        let wanted = format!("{first_name} is in use by process {}; stop it first", std::process::id());
        assert!(status == 1 && err.starts_with(&wanted), "{err}");
    }
    store.close();
    drop(store);
    let (status, out, err) = run(&["state", "verify", "--path", first_name]);
    assert_eq!(status, 0, "{out}{err}");
    let (status, out, err) = run(&["state", "export", "--path", first_name, "--output", dump_name]);
    assert!(status == 0 && out.starts_with(&format!("{dump_name}: 1 record")), "{out}{err}");
    let (status, out, err) = run(&["state", "import", "--path", second_name, "--input", dump_name]);
    assert!(status == 0 && out.starts_with(&format!("{second_name}: 1 record")), "{out}{err}");
    let (status, out, err) = run(&["state", "compact", "--path", second_name]);
    assert!(status == 0 && out.contains(" bytes before, "), "{out}{err}");
    let (store, _) = SledState::open(OpenOptions::new(&second)).unwrap();
    assert_eq!(store.get("alert/a").await.unwrap().unwrap().value, b"pending");
}

#[test]
fn completions_and_man_pages_are_whole() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let (status, out, _) = run(&["completions", shell]);
        assert!(status == 0 && out.len() > 1000 && out.contains("dashboards"), "{shell}");
        if matches!(shell, "bash" | "zsh" | "fish") {
            let folder = tempfile::tempdir().unwrap();
            let file = folder.path().join("script");
            std::fs::write(&file, out).unwrap();
            match Command::new(shell).arg("-n").arg(&file).output() {
                Ok(output) => assert!(output.status.success(), "{shell}: {:?}", shown(&output)),
                Err(_) => eprintln!("SKIPPED: there is no {shell}"),
            }
        }
    }
    let folder = tempfile::tempdir().unwrap();
    let (status, _, err) = run(&["man", folder.path().to_str().unwrap()]);
    assert_eq!(status, 0, "{err}");
    let pages: Vec<PathBuf> = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(pages.len() > 15, "{pages:?}");
    assert!(!pages.iter().any(|page| page.to_str().unwrap().contains("supervise")), "{pages:?}");
    for page in &pages {
        match Command::new("mandoc").args(["-T", "lint", "-W", "error"]).arg(page).output() {
            Ok(output) => assert!(output.status.success(), "{}: {:?}", page.display(), shown(&output)),
            Err(_) => {
                eprintln!("SKIPPED: there is no mandoc");
                break;
            }
        }
    }
    let (status, _, err) = run(&["man", "/nowhere"]);
    assert!(status == 1 && err.starts_with("/nowhere: "), "{err}");
    let (status, out, _) = run(&["version"]);
    assert_eq!((status, out), (0, format!("davylamp {}\n", env!("CARGO_PKG_VERSION"))));
}

#[test]
fn output_that_goes_nowhere_is_no_panic() {
    let commands: [&[&str]; 6] =
        [&["kinds"], &["kinds", "axeos"], &["version"], &["check", "--schema"], &["completions", "bash"], &["--help"]];
    for arguments in commands {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let (status, _, err) = shown(&command(arguments).stdout(writer).output().unwrap());
        assert_eq!((status, err.as_str()), (0, ""), "{arguments:?}: a reader that went away is no error");
        if arguments == ["--help"] {
            continue;
        }
        let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let (status, _, err) = shown(&command(arguments).stdout(full).output().unwrap());
        assert_eq!(status, 1, "{arguments:?}");
        assert!(err.starts_with("cannot write to standard output: No space left on device"), "{err}");
    }
}

#[test]
fn windows_are_listed_with_what_they_mute_and_when_they_open() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("davylamp.yml");
    let config = "windows:\n\
        - {name: always, cron: '0 * * * * *', duration: 2m, mute: ['miner=~\"garage-.*\"'], comment: \"up\\e[31mdates\"}\n\
        - {name: leap, cron: '0 0 2 29 2 *', time_zone: Europe/Berlin, duration: 1h}\n";
    std::fs::write(&path, config).unwrap();
    let list = |output: &str| run(&["windows", "list", "--config", path.to_str().unwrap(), "-o", output]);
    let (status, out, err) = list("simple");
    assert_eq!(status, 0, "{err}");
    let lines: Vec<&str> = out.lines().collect();
    assert!(lines[0].starts_with("Name    State") && !lines[0].contains("Comment"), "{out}");
    assert!(lines[1].contains("open until 2") && lines[1].ends_with("2m        miner=~\"garage-.*\""), "{out}");
    assert!(lines[2].starts_with("leap    opens 2028-02-29T01:00:00"), "two in the morning in Berlin: {out}");
    assert!(!list("extended").1.contains('\u{1b}'), "a comment must not steer the terminal");
    let json: serde_json::Value = serde_json::from_str(&list("json").1).unwrap();
    assert_eq!((&json[0]["comment"], &json[1]["time_zone"]), (&"up\u{1b}[31mdates".into(), &"Europe/Berlin".into()));
}
