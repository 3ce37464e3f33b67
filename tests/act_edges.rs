//! The edges of a run with a real `ansible-playbook`: the shipped playbooks, secrets, artifacts, the dynamic inventory,
//! and text that would like to be a template. `tests/run` runs this file with each supported version of ansible-core.

#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stderr, clippy::too_many_lines, reason = "a test may")]

#[path = "act/kit.rs"]
mod kit;
#[path = "act/recorder.rs"]
mod recorder;

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use davylamp::act::artifacts::Quota;
use davylamp::act::check::check;
use davylamp::act::executor::local::Local;
use davylamp::act::executor::{Executor, ExecutorError};
use davylamp::act::run::{RunId, RunState};
use davylamp::act::vars::{About, Value, of_alert};
use davylamp::act::verdict::verdict;
use davylamp::model::Labels;
use davylamp::secret::SecretRef;

use kit::{Bench, alert, ansible, known, request, run};
use recorder::Recorder;

const PLAYBOOKS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/config/playbooks");
const BINARY: &str = env!("CARGO_BIN_EXE_davylamp");

fn executable(path: &Path, text: &str) {
    std::fs::write(path, text).unwrap();
    std::fs::set_permissions(path, PermissionsExt::from_mode(0o755)).unwrap();
}

/// The interpreter that runs Ansible.
fn python(command: &Path) -> String {
    let script = std::fs::read_to_string(command).unwrap();
    let line = script.lines().find(|line| line.starts_with("#!/")).unwrap();
    // A path with blanks is written as `#!/bin/sh` with an exec line.
    if line == "#!/bin/sh" {
        let exec = script.lines().find(|line| line.contains("exec")).unwrap();
        return exec.split('"').nth(1).unwrap_or(exec.split_whitespace().nth(1).unwrap()).to_string();
    }
    line.trim_start_matches("#!").to_string()
}

/// All shipped playbooks at once on one host that has everything they want: a device, a PDU, an engine, systemd.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shipped_playbooks_repair_and_their_check_mode_changes_nothing() {
    let Some(command) = ansible() else { return };
    let bench = Bench::new(&command);
    let device = Recorder::start(&bench.path("docker.sock"));
    let mut names: Vec<String> =
        std::fs::read_dir(PLAYBOOKS).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    assert_eq!(names.len(), 6, "{names:?}");
    for name in &names {
        bench.write(&format!("playbooks/{name}"), &std::fs::read_to_string(format!("{PLAYBOOKS}/{name}")).unwrap());
    }
    let all: String = names.iter().map(|name| format!("- import_playbook: {name}\n")).collect();
    bench.write("playbooks/all.yml", &all);
    // What stands for systemd: it writes down what it is asked.
    std::fs::create_dir(bench.path("bin")).unwrap();
    let log = bench.path("asked").display().to_string();
    let systemctl = format!(
        "#!/bin/sh\necho \"systemctl $*\" >> {log}\ncase \"$*\" in *--value*) echo loaded;; *show*) printf 'LoadState=loaded\\nActiveState=active\\nSubState=running\\n';; *) echo active;; esac\n"
    );
    executable(&bench.path("bin/systemctl"), &systemctl);
    executable(&bench.path("bin/journalctl"), &format!("#!/bin/sh\necho \"journalctl $*\" >> {log}\n"));
    let wrapper = format!("#!/bin/sh\nPATH={}:$PATH exec {} \"$@\"\n", bench.path("bin").display(), python(&command));
    executable(&bench.path("python"), &wrapper);
    std::fs::create_dir(bench.path("old")).unwrap();
    bench.write("old/a.log", "x");
    let root = bench.folder.path().display().to_string();
    let address = device.address();
    let inventory = format!(
        "all: {{hosts: {{m1: {{ansible_connection: local, ansible_python_interpreter: {root}/python, davylamp_kind: axeos,
          davylamp_address: '{address}', davylamp_label_pdu: '{address}', davylamp_label_outlet: '2', pdu_seconds: 0,
          docker_socket: {root}/docker.sock, disk_clean: [{{path: {root}/old, patterns: '*.log', age: 0}}],
          unit_become: false}}}}}}\n"
    );
    bench.write("inventory", &inventory);
    let mut settings = bench.settings.clone();
    settings.secrets = [("pdu_user", "admin"), ("pdu_password", "pdu-hunter2")]
        .map(|(name, value)| {
            bench.write(name, value);
            (name.to_string(), SecretRef::File(bench.path(name)))
        })
        .into();
    let base = bench.folder.path();
    let executor = Local::new(check(&[], &settings, base, base, &known()).unwrap().ansible, BINARY.into());
    let mut fired = alert("X", "m1", 0);
    fired.labels = fired.labels.with("container", "web_1").with("unit", "nginx.service");

    let asked = |check: bool, number: i64| {
        let about = About { run: "0", binding: "b", target: "m1", mode: "check" };
        let mut asked = request("all.yml", of_alert(about, &fired));
        (asked.check, asked.run) = (check, RunId::new("test", "m1", number, 0));
        asked
    };
    let checked = asked(true, 1);
    let report = run(&executor, checked.clone()).await;
    let stdout = std::fs::read_to_string(bench.run_folder(&checked.run).join("stdout")).unwrap();
    assert_eq!(verdict(&report.exit, &report.events, &["m1"]).0, RunState::Succeeded, "{stdout}");
    let seen = device.take();
    assert!(seen.len() >= 4 && seen.iter().all(|line| line.starts_with("GET ")), "{seen:?}");
    assert!(!seen.iter().any(|line| line.contains("Switch.Set")), "{seen:?}");
    let asked_systemd = std::fs::read_to_string(&log).unwrap();
    assert!(asked_systemd.lines().all(|line| line.contains(" show ")), "{asked_systemd}");
    assert!(bench.path("old/a.log").exists() && report.exit.artifacts.is_empty(), "{report:?}");
    assert!(stdout.contains("system-info.json"), "the difference is shown: {stdout}");

    let real = asked(false, 2);
    let report = run(&executor, real.clone()).await;
    let stdout = std::fs::read_to_string(bench.run_folder(&real.run).join("stdout")).unwrap();
    assert_eq!(verdict(&report.exit, &report.events, &["m1"]).0, RunState::Succeeded, "{stdout}");
    let seen = device.take();
    for line in [
        "POST /api/system/restart",
        "GET /rpc/Switch.Set?id=2&on=false",
        "GET /rpc/Switch.Set?id=2&on=true",
        "POST /containers/web_1/restart?t=10",
    ] {
        assert!(seen.iter().any(|seen| seen.starts_with(line)), "{line} is missing in {seen:?}");
    }
    assert!(
        seen.iter().any(|seen| seen.contains("Switch.Set") && seen.contains("YWRtaW46cGR1LWh1bnRlcjI=")),
        "{seen:?}"
    );
    let asked_systemd = std::fs::read_to_string(&log).unwrap();
    assert!(asked_systemd.contains("systemctl restart nginx.service"), "{asked_systemd}");
    assert!(asked_systemd.contains("journalctl --vacuum-size=200M"), "{asked_systemd}");
    assert!(!bench.path("old/a.log").exists());
    let artifacts: Vec<&str> = report.exit.artifacts.iter().map(|artifact| artifact.path.as_str()).collect();
    assert_eq!(artifacts, ["alert.json", "system-info.json"]);
    let info = bench.run_folder(&real.run).join("artifacts/system-info.json");
    let info = std::fs::read_to_string(info).unwrap();
    assert!(info.contains("hashRate") && !info.contains("wifi-hunter2"), "{info}");
    assert!(!stdout.contains("pdu-hunter2") && !stdout.contains("wifi-hunter2"), "{stdout}");
}

#[tokio::test]
async fn secrets_reach_the_play_as_files_and_nobody_else() {
    let Some(command) = ansible() else { return };
    let bench = Bench::new(&command);
    let mut settings = bench.settings.clone();
    let secret = |name: &str, text: &str| {
        bench.write(name, text);
        SecretRef::File(bench.path(name))
    };
    settings.vault_password_file = Some(secret("vault", "vault-hunter2\n"));
    settings.vault_ids = [("prod".to_string(), secret("prod", "prod-hunter2"))].into();
    settings.become_password_file = Some(secret("become", "become-hunter2"));
    settings.connection_password_file = Some(secret("connection", "connection-hunter2"));
    settings.private_key_file = Some(secret("key", "-----BEGIN-----\nkey-hunter2\n-----END-----\n"));
    settings.secrets = [("api".to_string(), secret("api", "api-hunter2 {{ lookup('pipe','touch TRAP') }}"))].into();
    settings.artifacts = Quota { max_files: 2, max_bytes: 1000, ..Quota::default() };
    bench.write("playbooks/vaulted.yml", "from_vault: inside-vault\n");
    bench.write("playbooks/produced.yml", "from_prod: inside-prod\n");
    for (file, id, password) in [("vaulted.yml", "default", "vault"), ("produced.yml", "prod", "prod")] {
        let mut encrypt = Command::new(command.with_file_name("ansible-vault"));
        encrypt.args(["encrypt", "--encrypt-vault-id", id, "--vault-id"]);
        encrypt.arg(format!("{id}@{}", bench.path(password).display()));
        let done = encrypt.arg(bench.path("playbooks").join(file)).env("LC_ALL", "C.UTF-8").output().unwrap();
        assert!(done.status.success(), "{done:?}");
    }
    bench.write(
        "playbooks/p.yml",
        "- hosts: all
  gather_facts: false
  vars_files: [vaulted.yml, produced.yml]
  tasks:
  - debug: msg=\"{{ from_vault }} {{ from_prod }}\"
  - debug: var=davylamp_secrets.api
  - debug: msg=\"{{ lookup('file', lookup('config', 'BECOME_PASSWORD_FILE')) }} {{ lookup('file', lookup('config', 'DEFAULT_PRIVATE_KEY_FILE')) }}\"
  - shell: tr '\\0' ' ' </proc/$PPID/cmdline; cat /proc/*/cmdline | tr '\\0' ' '; env; ls -ln \"$DIR\"
    environment: {DIR: \"{{ davylamp.artifacts | dirname }}/secrets\"}
    register: looked
  - debug: var=looked.stdout_lines
  - copy: content=\"{{ davylamp_secrets.api | length }}\" dest=\"{{ davylamp.artifacts }}/{{ item }}\"
    loop: [a, b, c]
  - file: src=/etc/passwd dest=\"{{ davylamp.artifacts }}/0link\" state=link
",
    );
    let base = bench.folder.path();
    let executor = Local::new(check(&[], &settings, base, base, &known()).unwrap().ansible, BINARY.into());
    let asked = request("p.yml", Value::map([("target", Value::text("m1"))]));
    let report = run(&executor, asked.clone()).await;
    let folder = bench.run_folder(&asked.run);
    let stdout = std::fs::read_to_string(folder.join("stdout")).unwrap();
    assert_eq!(verdict(&report.exit, &report.events, &["m1"]).0, RunState::Succeeded, "{stdout}");
    assert!(stdout.contains("inside-vault inside-prod"), "{stdout}");
    assert!(stdout.matches("<redacted>").count() >= 3, "{stdout}");
    assert!(stdout.contains("-rw------- 1"), "{stdout}");
    assert!(!folder.join("secrets").exists());
    let kept: Vec<(&str, u64)> = report.exit.artifacts.iter().map(|a| (a.path.as_str(), a.bytes)).collect();
    assert_eq!((kept.len(), kept[0].0, report.exit.artifacts_dropped), (2, "a", 2), "{report:?}");
    assert!(folder.join("artifacts/0link").symlink_metadata().is_err());
    // Nothing that is left in the run's folder holds any of them.
    let grep = Command::new("grep").args(["-rl", "hunter2"]).arg(&folder).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&grep.stdout), "", "{stdout}");

    settings.become_password_file = Some(SecretRef::File(bench.path("nothing")));
    let executor = Local::new(check(&[], &settings, base, base, &known()).unwrap().ansible, BINARY.into());
    let mut asked = request("p.yml", Value::Null);
    asked.run = RunId::new("test", "m1", 3, 0);
    let Err(ExecutorError::Refused(why)) = executor.start(asked.clone()).await else { panic!("it must be refused") };
    assert!(why.contains("ansible.become_password_file: cannot read"), "{why}");
    assert!(!bench.run_folder(&asked.run).join("secrets").exists());
}

/// Texts that some reader on the way might take for more than text.
fn corpus(bench: &Bench) -> Vec<String> {
    let trap = |name: &str| bench.path(&format!("trap-{name}")).display().to_string();
    vec![
        format!("{{{{ lookup('pipe','touch {}') }}}}", trap("lookup")),
        format!("{{% for x in [lookup('pipe','touch {}')] %}}{{% endfor %}}", trap("statement")),
        format!("{{{{ query('ansible.builtin.pipe', 'touch {}') }}}}", trap("query")),
        format!(
            "{{# #}}{{{{ ''.__class__.__mro__[1].__subclasses__() }}}}{{{{ lookup('pipe','touch {}') }}}}",
            trap("mro")
        ),
        format!("!!python/object/apply:os.system ['touch {}']", trap("python")),
        "!vault |\n  $ANSIBLE_VAULT;1.1;AES256\n  6162".into(),
        format!("x\n- hosts: all\n  tasks:\n  - shell: touch {}\n", trap("newline")),
        format!("\"\n  evil: \"{{{{ lookup('pipe','touch {}') }}}}", trap("quote")),
        format!("-e ansible_connection=local;touch {}", trap("option")),
        "@/etc/passwd".into(),
        "--limit=all".into(),
        "all:!m1,&miners,~.*,m[1:2]".into(),
        format!("$(touch {0})`touch {0}`;touch {0}|touch {0}&touch {0}", trap("shell")),
        "\u{0}\u{1b}[31m\u{feff}\u{2028}\u{85}\r\n\t".into(),
        "../../../../etc/cron.d/x".into(),
        "ansible_ssh_executable".into(),
    ]
}

fn sprung(bench: &Bench) -> Vec<String> {
    let names = std::fs::read_dir(bench.folder.path()).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.starts_with("trap-")).collect()
}

#[tokio::test]
async fn the_injection_corpus_runs_nothing() {
    let Some(command) = ansible() else { return };
    let bench = Bench::new(&command);
    let corpus = corpus(&bench);
    let mut fired = alert("X", "m1", 0);
    fired.labels = Labels::new(corpus.iter().enumerate().map(|(n, text)| (format!("label_{n}"), text.as_str())));
    fired.annotations = Labels::new(corpus.iter().map(|text| (text.as_str(), text.as_str())));
    let about = About { run: "0", binding: "b", target: "m1", mode: "auto" };
    let nested = corpus.iter().map(|text| (text.clone(), Value::map([(text.clone(), Value::text(text.clone()))])));
    let Value::Map(mut vars) = of_alert(about, &fired) else { panic!() };
    vars.insert("nested".into(), Value::map(nested));
    bench.playbook(
        "show.yml",
        "- debug: var=davylamp
- debug: msg=\"{{ item.key }} {{ item.value }}\"
  loop: \"{{ davylamp.alert.labels | dict2items + davylamp.alert.annotations | dict2items + davylamp.nested | dict2items }}\"
- set_fact: {copied: \"{{ davylamp.nested }}\", names: \"{{ davylamp.alert.annotations.keys() | list }}\"}
- debug: msg=\"{{ copied }} {{ names }}\"
- copy: {content: \"{{ davylamp | to_json }}\", dest: \"{{ davylamp.artifacts }}/all.json\"}
- command: {argv: [printf, '%s', \"{{ davylamp.alert.labels.label_12 }}\", \"{{ davylamp.alert.labels.label_8 }}\"]}
- assert: {that: \"davylamp.alert.labels.label_0 is search('lookup')\"}
",
    );
    let asked = request("show.yml", Value::Map(vars));
    let report = run(&bench.executor(), asked.clone()).await;
    let folder = bench.run_folder(&asked.run);
    let stdout = std::fs::read_to_string(folder.join("stdout")).unwrap();
    assert_eq!(verdict(&report.exit, &report.events, &["m1"]).0, RunState::Succeeded, "{stdout}");
    assert_eq!(sprung(&bench), [""; 0], "{stdout}");
    let arrived: serde_json::Value =
        serde_json::from_slice(&std::fs::read(folder.join("artifacts/all.json")).unwrap()).unwrap();
    for (n, text) in corpus.iter().enumerate() {
        assert_eq!(arrived["alert"]["labels"][format!("label_{n}")], text.as_str(), "it arrives as it was sent");
        assert_eq!(arrived["nested"][text][text], text.as_str());
    }
    // As targets they are refused before anything is prepared.
    for (n, text) in corpus.iter().enumerate() {
        let mut asked = request("show.yml", Value::Null);
        (asked.target, asked.run) = (text.clone(), RunId::new("target", "x", i64::try_from(n).unwrap(), 0));
        let refused = bench.executor().start(asked).await;
        let plain = text == "ansible_ssh_executable";
        assert_eq!(matches!(refused, Err(ExecutorError::Refused(_))), !plain, "{text}: {refused:?}");
    }
}

#[tokio::test]
async fn the_dynamic_inventory_is_what_ansible_expects_and_runs_nothing() {
    let Some(command) = ansible() else { return };
    let bench = Bench::new(&command);
    let corpus = corpus(&bench);
    let labels: serde_json::Map<String, serde_json::Value> =
        corpus.iter().enumerate().map(|(n, text)| (format!("l{n}"), text.replace('\u{0}', "").into())).collect();
    let config = serde_json::json!({
        "targets": [
            {"id": "m1", "kind": "axeos", "address": "192.0.2.1", "labels": labels},
            {"id": "m2", "kind": "cgminer", "address": "192.0.2.2:4028"},
        ],
    });
    bench.write("davylamp.yml", &config.to_string());
    let script = bench.path("fleet.sh");
    let path = bench.path("davylamp.yml").display().to_string();
    executable(&script, &format!("#!/bin/sh\nDAVYLAMP_CONFIG={path} exec {BINARY} inventory \"$@\"\n"));
    let ansible = |program: &str, args: &[&str]| {
        let mut call = Command::new(command.with_file_name(program));
        call.arg("-i").arg(&script).args(args).env("LC_ALL", "C.UTF-8").env("ANSIBLE_HOME", bench.path("home"));
        let done = call.output().unwrap();
        assert!(done.status.success(), "{done:?}");
        String::from_utf8_lossy(&done.stdout).into_owned()
    };
    let graph = ansible("ansible-inventory", &["--graph"]);
    assert!(graph.contains("@axeos:\n  |  |--m1") && graph.contains("@cgminer:\n  |  |--m2"), "{graph}");
    let list: serde_json::Value = serde_json::from_str(&ansible("ansible-inventory", &["--list"])).unwrap();
    assert_eq!(list["_meta"]["hostvars"]["m2"]["davylamp_kind"]["__ansible_unsafe"], "cgminer", "the mark is kept");
    let own = Command::new(&script).args(["--host", "m2"]).output().unwrap();
    let own: serde_json::Value = serde_json::from_slice(&own.stdout).unwrap();
    assert_eq!(own["davylamp_address"]["__ansible_unsafe"], "192.0.2.2:4028");
    let unknown = Command::new(&script).args(["--host", "m3"]).output().unwrap();
    assert!(String::from_utf8_lossy(&unknown.stderr).contains("known are m1, m2"), "{unknown:?}");
    bench.playbook("show.yml", "- debug: var=hostvars[inventory_hostname]\n- debug: msg=\"{{ davylamp_label_l0 }} {{ davylamp_label_l1 }} {{ davylamp_label_l2 }}\"\n");
    let said = ansible("ansible-playbook", &["--limit", "m1", bench.path("playbooks/show.yml").to_str().unwrap()]);
    assert!(said.contains("lookup('pipe'") && said.contains("m1 "), "{said}");
    assert_eq!(sprung(&bench), [""; 0], "{said}");
}

/// The body of the test below, in a process with another locale.
#[tokio::test]
#[ignore = "started by a_plain_c_locale_of_the_parent_does_not_matter"]
async fn in_a_plain_c_locale() {
    let Some(command) = ansible() else { return };
    let bench = Bench::new(&command);
    bench.playbook("ok.yml", "- debug: msg=\"grün {{ lookup('env', 'LC_ALL') }}\"\n");
    let asked = request("ok.yml", Value::Null);
    let report = run(&bench.executor(), asked.clone()).await;
    let stdout = std::fs::read_to_string(bench.run_folder(&asked.run).join("stdout")).unwrap();
    assert_eq!(verdict(&report.exit, &report.events, &["m1"]).0, RunState::Succeeded, "{stdout}");
    assert!(stdout.contains("grün C.UTF-8"), "{stdout}");
    eprintln!("the play went well with LC_ALL={}", std::env::var("LC_ALL").unwrap());
}

#[test]
fn a_plain_c_locale_of_the_parent_does_not_matter() {
    if ansible().is_none() {
        return;
    }
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.args(["--exact", "in_a_plain_c_locale", "--ignored", "--nocapture"]).env("LC_ALL", "C").env("LANG", "C");
    let done = child.output().unwrap();
    let said = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success() && said.contains("the play went well with LC_ALL=C"), "{done:?}");
}
