//! Real runs of a real `ansible-playbook`: what each way to end is worth, and what is left behind.

#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stderr, clippy::too_many_lines, reason = "a test may")]

#[path = "act/kit.rs"]
mod kit;

use std::time::{Duration, Instant};

use davylamp::act::executor::{Executor, ExecutorError, RunStatus};
use davylamp::act::job::Ending;
use davylamp::act::process::marked;
use davylamp::act::run::{RunId, RunState};
use davylamp::act::vars::Value;
use davylamp::act::verdict::verdict;

use kit::{Bench, ansible, host, request, run};

fn state(report: &davylamp::act::executor::Report) -> RunState {
    verdict(&report.exit, &report.events, &["m1"]).0
}

#[tokio::test]
async fn a_good_run_succeeds_once_and_only_on_its_target() {
    let Some(command) = ansible() else { return };
    let bench = Bench::new(&command);
    bench.tracing_playbook("ok.yml", "");
    let executor = bench.executor();
    let asked = request("ok.yml", Value::Null);
    let report = run(&executor, asked.clone()).await;
    assert_eq!(state(&report), RunState::Succeeded, "{report:?}");
    assert_eq!(report.events.tasks.len(), 1);
    assert!(report.events.tasks[0].changed);
    assert_eq!(bench.traces(), 1, "m2 is in the inventory too");

    assert!(matches!(executor.start(asked).await, Err(ExecutorError::Away(_))), "an id is started once");
    assert_eq!(bench.traces(), 1);
}

#[tokio::test]
async fn what_is_no_success_is_never_called_one() {
    let Some(command) = ansible() else { return };
    let cases = [
        (
            "failed.yml",
            "- hosts: all\n  gather_facts: false\n  tasks:\n  - fail: msg=deliberately\n",
            RunState::Failed,
            "deliberately",
        ),
        (
            "nobody.yml",
            "- hosts: m2\n  gather_facts: false\n  tasks:\n  - debug: msg=x\n",
            RunState::Failed,
            "no task ran on m1 (exit status 0)",
        ),
        ("broken.yml", "- hosts: [\n", RunState::Failed, "no statistics"),
        (
            "other.yml",
            "- hosts: all\n  gather_facts: false\n  connection: ssh\n  vars: {ansible_connection: ssh, ansible_host: 127.0.0.1, ansible_port: 1}\n  tasks:\n  - ping:\n",
            RunState::Unreachable,
            "m1 was unreachable",
        ),
    ];
    for (name, text, expected, detail) in cases {
        let bench = Bench::new(&command);
        bench.write(&format!("playbooks/{name}"), text);
        let report = run(&bench.executor(), request(name, Value::Null)).await;
        let (state, why) = verdict(&report.exit, &report.events, &["m1"]);
        assert_eq!(state, expected, "{name}: {why}, {report:?}");
        assert!(why.contains(detail), "{name}: {why}");
    }
    let bench = Bench::new(&command);
    bench.tracing_playbook("ok.yml", "");
    std::fs::remove_file(bench.path("inventory")).unwrap();
    let mut settings = bench.ansible();
    settings.inventory = Some(bench.path("inventory"));
    let executor = davylamp::act::executor::local::Local::new(settings, env!("CARGO_BIN_EXE_davylamp").into());
    let report = run(&executor, request("ok.yml", Value::Null)).await;
    assert_eq!(state(&report), RunState::Failed, "no inventory: {report:?}");
    assert_eq!(bench.traces(), 0);
    assert!(matches!(executor.inventory().await, Err(ExecutorError::Refused(_))));
}

#[tokio::test]
async fn a_timeout_leaves_no_process_behind() {
    let Some(command) = ansible() else { return };
    let bench = Bench::new(&command);
    bench.playbook(
        "slow.yml",
        "- shell: 'setsid sleep 300 & (sleep 300 &) ; nohup setsid sleep 300 >/dev/null 2>&1 & true'\n- command: sleep 300\n  async: 300\n  poll: 0\n- shell: trap '' TERM; sleep 300; sleep 300\n",
    );
    let executor = bench.executor();
    let mut asked = request("slow.yml", Value::Null);
    asked.timeout_ms = 12_000;
    let marker = bench.run_folder(&asked.run).display().to_string();
    let begun = Instant::now();
    executor.start(asked.clone()).await.unwrap();
    let mut most = 0;
    let report = loop {
        most = most.max(marked(&marker).len());
        match executor.status(asked.run.clone()).await.unwrap() {
            RunStatus::Ended(report) => break report,
            _ => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    };
    assert!(most >= 8, "the test must have had something to kill, not {most}");
    assert_eq!(report.exit.ending, Ending::TimedOut);
    assert_eq!(state(&report), RunState::TimedOut);
    assert!(report.exit.killed > 0 && report.exit.survivors == 0, "{:?}", report.exit);
    assert_eq!(marked(&marker).len(), 0, "of {most} processes");
    assert!(begun.elapsed() < Duration::from_secs(40));
    eprintln!("timeout: 0 of {most} processes left, {:?} after the start", begun.elapsed());
}

#[tokio::test]
async fn a_flood_of_output_is_cut_and_counted() {
    let Some(command) = ansible() else { return };
    let mut bench = Bench::new(&command);
    bench.settings.output_limit = 100_000;
    bench.playbook(
        "flood.yml",
        "- shell: head -c 20000000 /dev/zero | tr '\\0' 'x' | fold -w 1000\n- debug: msg=end-of-flood\n",
    );
    bench.write("ansible.cfg", "[defaults]\ndisplay_args_to_stdout = true\nverbosity = 3\n");
    bench.settings.config = Some("ansible.cfg".into());
    let asked = request("flood.yml", Value::Null);
    let report = run(&bench.executor(), asked.clone()).await;
    assert_eq!(state(&report), RunState::Succeeded, "{report:?}");
    let folder = bench.run_folder(&asked.run);
    let size = |name: &str| std::fs::metadata(folder.join(name)).unwrap().len();
    assert!(size("stdout") <= 50_000 && size("stdout.head") == 50_000, "{} {}", size("stdout"), size("stdout.head"));
    assert!(report.exit.output_dropped > 1_000_000, "{:?}", report.exit);
    let tail = std::fs::read_to_string(folder.join("stdout")).unwrap();
    assert!(tail.contains("PLAY RECAP"), "the end is what one wants to read");
}

#[tokio::test]
async fn text_from_alerts_and_targets_is_never_a_template() {
    let Some(command) = ansible() else { return };
    let bench = Bench::new(&command);
    let trap = |name: &str| format!("{{{{ lookup('pipe','touch {}') }}}}", bench.path(name).display());
    let labels = Value::map([
        (trap("key"), Value::text("v")),
        ("a".into(), Value::text(trap("value"))),
        ("q".into(), Value::text("\u{7}\"\\ é\u{2028}\u{1f525}\nx")),
    ]);
    let vars = Value::map([("alert", Value::map([("labels", labels), ("name", Value::text(trap("name")))]))]);
    bench.playbook("show.yml", "- debug: var=davylamp\n- debug: msg=\"{{ davylamp.alert.name }} {{ davylamp.alert.labels }} {{ evil }}\"\n- set_fact: copy=\"{{ davylamp.alert.labels.a }}\"\n- debug: msg=\"{{ copy }}\"\n- copy: content=\"{{ davylamp.alert.labels.q }}\" dest=/dev/stderr\n  when: false\n- shell: echo {{ (davylamp.alert.labels.keys() | list + [evil]) | map('quote') | join(' ') }}\n");
    // A generated inventory: host variables come from targets, whose text is no more to be believed.
    let mut ansible = bench.ansible();
    ansible.inventory = None;
    let executor = davylamp::act::executor::local::Local::new(ansible, env!("CARGO_BIN_EXE_davylamp").into());
    let mut asked = request("show.yml", vars);
    let python =
        std::fs::read_to_string(&command).unwrap().lines().next().unwrap().trim_start_matches("#!").to_string();
    let evil = trap("host");
    asked.host =
        Some(host("m1", &[("evil", &evil), ("ansible_connection", "local"), ("ansible_python_interpreter", &python)]));
    let report = run(&executor, asked.clone()).await;
    let folder = bench.run_folder(&asked.run);
    let output = std::fs::read_to_string(folder.join("stdout")).unwrap();
    assert_eq!(state(&report), RunState::Succeeded, "{output}");
    assert!(output.contains("lookup('pipe'"), "the text arrives as text: {output}");
    for name in ["key", "value", "name", "host"] {
        assert!(!bench.path(name).exists(), "{name} was executed");
    }
    use std::os::unix::fs::PermissionsExt;
    let mode = |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(
        (mode(&folder), mode(&folder.join("vars.yml")), mode(&folder.join("inventory.yml"))),
        (0o700, 0o600, 0o600)
    );
}

#[tokio::test]
async fn check_mode_changes_nothing() {
    let Some(command) = ansible() else { return };
    let bench = Bench::new(&command);
    bench.playbook(
        "write.yml",
        &format!(
            "- copy: content=x dest={}\n- shell: touch {}\n",
            bench.path("a").display(),
            bench.path("b").display()
        ),
    );
    let mut asked = request("write.yml", Value::Null);
    asked.check = true;
    let report = run(&bench.executor(), asked.clone()).await;
    assert_eq!(state(&report), RunState::Succeeded, "{report:?}");
    assert!(report.events.tasks[0].changed && report.events.tasks[1].status == "skipped", "{:?}", report.events);
    assert!(!bench.path("a").exists() && !bench.path("b").exists());
    let output = std::fs::read_to_string(bench.run_folder(&asked.run).join("stdout")).unwrap();
    assert!(output.contains("+x"), "the difference is shown: {output}");
}

#[tokio::test]
async fn no_log_is_respected_and_nothing_secret_leaves_the_environment() {
    let Some(command) = ansible() else { return };
    let bench = Bench::new(&command);
    bench.playbook("quiet.yml", "- name: hunter2\n  shell: echo hunter2 >&2; false\n  no_log: true\n");
    let report = run(&bench.executor(), request("quiet.yml", Value::Null)).await;
    assert_eq!(state(&report), RunState::Failed);
    assert!(!format!("{report:?}").contains("hunter2"), "{report:?}");
    assert_eq!(report.events.tasks[0].message, "(no_log)");
}

#[tokio::test]
async fn what_is_given_up_never_starts() {
    let Some(command) = ansible() else { return };
    let bench = Bench::new(&command);
    bench.tracing_playbook("ok.yml", "");
    let executor = bench.executor();
    let asked = request("ok.yml", Value::Null);
    assert_eq!(executor.status(asked.run.clone()).await, Ok(RunStatus::Unknown));
    executor.abandon(asked.run.clone()).await.unwrap();
    assert!(executor.start(asked.clone()).await.is_err());
    assert_eq!(executor.status(asked.run.clone()).await, Ok(RunStatus::Lost));

    // Prepared, but the supervisor comes only after the run was given up.
    let late = RunId::new("test", "m1", 2, 0);
    let folder = bench.run_folder(&late);
    std::fs::create_dir(&folder).unwrap();
    std::fs::copy(bench.run_folder(&asked.run).join("abandoned"), folder.join("abandoned")).unwrap();
    let supervisor = std::process::Command::new(env!("CARGO_BIN_EXE_davylamp")).arg("supervise").arg(&folder).output();
    let supervisor = supervisor.unwrap();
    assert!(!supervisor.status.success());
    assert!(String::from_utf8_lossy(&supervisor.stderr).contains("given up"), "{supervisor:?}");
    assert_eq!(bench.traces(), 0);
}

#[tokio::test]
async fn an_inventory_is_read_exactly() {
    let Some(command) = ansible() else { return };
    let bench = Bench::new(&command);
    let inventory = bench.executor().inventory().await.unwrap().unwrap();
    assert_eq!(inventory.hosts.iter().map(String::as_str).collect::<Vec<_>>(), ["m1", "m2"]);
    assert!(inventory.groups.contains("miners"));
    assert_eq!(std::fs::read_dir(bench.path("runs")).unwrap().count(), 0, "its folder is removed");
}
