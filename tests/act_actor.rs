//! The actor with a real `ansible-playbook` and a ledger in a file: once per trouble, never blind, and never twice,
//! whenever the process is killed.

#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stderr, clippy::too_many_lines, reason = "a test may")]

#[path = "act/kit.rs"]
mod kit;
#[path = "act/ladder.rs"]
mod ladder;

use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use davylamp::act::process::marked;
use davylamp::act::run::{Run, RunState};

use kit::{Acting, Bench, FileLedger, KillPoint, ansible};

const RESTART: &str = r#"
- name: restart
  match: ['alertname=~"Slow|Hot"']
  target: '{{ $labels.miner }}'
  mode: auto
  steps: [{playbook: restart.yml, timeout: 30s}]
"#;

fn bench() -> Option<Bench> {
    let bench = Bench::new(&ansible()?);
    bench.tracing_playbook("restart.yml", "- command: sleep 1\n");
    Some(bench)
}

async fn acting(bench: &Bench, yaml: &str) -> Acting {
    Acting::start(bench, FileLedger::new(bench.path("ledger")), Arc::new(bench.executor()), yaml).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_run_per_episode_and_only_a_positive_resolve_ends_it() {
    let Some(bench) = bench() else { return };
    let acting = acting(&bench, RESTART).await;
    let hot = acting.fire("Hot", "m1").await;
    let slow = acting.fire("Slow", "m1").await;
    let runs = acting.ended(1).await;
    assert_eq!(runs.len(), 1, "two alerts of one target: {runs:#?}");
    assert_eq!(runs[0].state, RunState::Succeeded, "{runs:#?}");
    assert_eq!(runs[0].tasks.len(), 2);
    assert!(runs[0].playbook_sha256.is_some() && runs[0].guards.contains(&"cooldown".to_string()));
    assert_eq!(bench.traces(), 1);

    // Resolved for want of data, and back again: still the same episode, and the cooldown holds besides.
    acting.resolve(&hot, false).await;
    acting.resolve(&slow, true).await;
    let hot = acting.fire("Hot", "m1").await;
    acting.held_back("cooldown", 1).await;
    // Resolved with data, and back within the cooldown: the repair did not hold, and is not repeated.
    acting.resolve(&hot, true).await;
    acting.fire("Hot", "m1").await;
    acting.held_back("cooldown", 2).await;
    assert_eq!((acting.book.runs().len(), bench.traces()), (1, 1));
    acting.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_resolve_that_is_told_right_before_the_end_is_not_lost() {
    let Some(bench) = bench() else { return };
    let acting = acting(&bench, RESTART).await;
    *acting.world.up.lock().unwrap() = Some(false);
    let miners = ["m1", "m2"];
    let mut alerts = Vec::new();
    for miner in miners {
        alerts.push(acting.fire("Hot", miner).await);
        alerts.push(acting.fire("Slow", miner).await);
    }
    acting.held_back("blind", 4).await;
    for alert in &alerts {
        acting.resolve(alert, true).await;
    }
    acting.finish().await;
    // An episode that is left open would never be repaired again after the next start.
    let ledger = std::fs::read_to_string(bench.path("ledger")).unwrap();
    assert!(ledger.contains("closed_at") && !ledger.contains("closed_at\\\":null"), "{ledger}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_episode_after_the_cooldown_runs_again_until_the_budget_is_spent() {
    let Some(bench) = bench() else { return };
    let yaml = format!("{RESTART}  guards: {{cooldown: 1s, max_runs_per_target: 2/1h}}\n")
        .replace("timeout: 30s", "timeout: 1s");
    bench.playbook("restart.yml", "- debug: msg=never reached\n");
    let acting = acting(&bench, &yaml).await;
    for count in 1..=2 {
        let hot = acting.fire("Hot", "m1").await;
        acting.ended(count).await;
        tokio::time::sleep(Duration::from_millis(1100)).await;
        acting.resolve(&hot, true).await;
    }
    tokio::time::sleep(Duration::from_millis(100)).await;
    acting.fire("Hot", "m1").await;
    acting.held_back("max_runs", 1).await;
    assert_eq!(acting.book.runs().len(), 2);
    acting.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_happens_without_permission_target_or_sight() {
    let Some(bench) = bench() else { return };
    let yaml = format!("{RESTART}{}", RESTART.replace("name: restart", "name: off").replace("mode: auto", "mode: off"));
    let acting = acting(&bench, &yaml).await;
    *acting.world.up.lock().unwrap() = Some(false);
    acting.fire("Hot", "m1").await;
    acting.fire("Hot", "nobody").await;
    acting.fire("Hot", "").await;
    acting.fire("Hot", "miners").await;
    for (reason, times) in [("mode_off", 4), ("no_target", 1), ("blind", 1), ("target_not_in_inventory", 2)] {
        acting.held_back(reason, times).await;
    }
    assert_eq!((acting.book.runs().len(), bench.traces()), (0, 0));

    // What held it back is asked again; nobody has to fire a second time.
    *acting.world.up.lock().unwrap() = Some(true);
    assert_eq!(acting.ended(1).await[0].state, RunState::Succeeded);
    acting.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_run_per_target_across_bindings_and_a_limit_over_all() {
    let Some(bench) = bench() else { return };
    let yaml = format!("{RESTART}{}", RESTART.replace("name: restart", "name: second"));
    let acting = acting(&bench, &yaml).await;
    let (one, two) = (acting.fire("Hot", "m1").await, acting.fire("Hot", "m2").await);
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let running: Vec<Run> = acting.book.runs().into_iter().filter(|run| run.state.is_running()).collect();
        assert!(running.len() <= 2, "{running:#?}");
        assert!(running.len() < 2 || running[0].target != running[1].target, "{running:#?}");
        if acting.book.metrics().runs["succeeded"] >= 2 || Instant::now() > deadline {
            break;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(acting.book.metrics().runs["succeeded"], 2);
    // The alerts are over before the second binding had its turn: what waits is dropped.
    acting.resolve(&one, true).await;
    acting.resolve(&two, true).await;
    let left = acting.ended(2).await;
    eprintln!("{} runs in all", left.len());
    acting.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_supervisor_means_interrupted_and_nothing_left() {
    let Some(bench) = bench() else { return };
    bench.playbook("restart.yml", "- shell: setsid sleep 300\n");
    let acting = acting(&bench, RESTART).await;
    acting.fire("Hot", "m1").await;
    let run = wait_for(&acting, |run| run.state == RunState::Spawned).await;
    let marker = bench.run_folder(&run.id).display().to_string();
    while marked(&marker).len() < 4 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let supervisor = rustix::process::Pid::from_raw(run.supervisor.unwrap().pid).unwrap();
    rustix::process::kill_process(supervisor, rustix::process::Signal::KILL).unwrap();
    assert_eq!(acting.ended(1).await[0].state, RunState::Interrupted);
    assert_eq!(marked(&marker).len(), 0);
    acting.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_ends_plays_after_their_grace_and_says_so() {
    let Some(bench) = bench() else { return };
    bench.playbook("restart.yml", "- command: sleep 300\n");
    let acting = acting(&bench, RESTART).await;
    acting.fire("Hot", "m1").await;
    let run = wait_for(&acting, |run| run.state == RunState::Spawned).await;
    let book = acting.book.clone();
    acting.finish().await;
    assert_eq!(book.run(&run.id).unwrap().state, RunState::Interrupted);
    assert_eq!(marked(&bench.run_folder(&run.id).display().to_string()).len(), 0);
}

/// What is measured is ours, so a script stands in for Ansible. It leaves no statistics, and its runs fail.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn from_the_event_to_the_play_takes_no_time_to_speak_of() {
    let mut bench = Bench::new("/nonexistent".as_ref());
    bench.playbook("restart.yml", "- debug:\n");
    bench.write("ansible-playbook", "#!/bin/sh\n");
    bench.write(
        "ansible-inventory",
        "#!/bin/sh\necho '{\"all\":{\"hosts\":[\"m0\",\"m1\",\"m2\",\"m3\",\"m4\",\"m5\",\"m6\"]}}'\n",
    );
    for program in ["ansible-playbook", "ansible-inventory"] {
        std::fs::set_permissions(bench.path(program), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    }
    bench.settings.command = bench.path("ansible-playbook");
    // A script that leaves no statistics always fails, on a large part of a small fleet.
    let yaml = format!(
        "{RESTART}  guards: {{breaker: {{failures: 99, open_for: 1h}}, brake: {{share: 100%, min: 99}}, max_targets: 99/1h}}\n"
    );
    let acting = acting(&bench, &yaml).await;
    let (mut claims, mut starts) = (Vec::new(), Vec::new());
    for count in 0..7 {
        let target = format!("m{count}");
        let fired = acting.fire("Hot", &target).await.fired_at.unwrap();
        let run = acting.ended(count + 1).await.into_iter().find(|run| run.target == target).unwrap();
        assert_eq!(run.state, RunState::Failed, "{run:?}");
        // The first one waits for the inventory.
        if count > 0 {
            claims.push(run.claimed_at.unwrap() - fired);
            starts.push(run.exit.unwrap().started_at - run.claimed_at.unwrap());
        }
    }
    claims.sort_unstable();
    starts.sort_unstable();
    eprintln!("event to claim {claims:?} ms, claim to exec {starts:?} ms");
    assert!(claims[2] < 200 && starts[2] < 200, "event to claim {claims:?} ms, claim to exec {starts:?} ms");
    acting.finish().await;
}

/// One write fails, having been written or not; nobody can tell which.
async fn with_failure(state: &'static str, written: bool) {
    let Some(bench) = bench() else { return };
    let ledger = FileLedger::new(bench.path("ledger"));
    *ledger.failure.lock().unwrap() = Some((state.into(), written));
    let acting = Acting::start(&bench, ledger, Arc::new(bench.executor()), RESTART).await;
    acting.fire("Hot", "m1").await;
    let runs = acting.ended(1).await;
    // A claim that may have been written by somebody is never acted on. Everything else recovers.
    let (expected, traces) =
        if (state, written) == ("claimed", true) { (RunState::Interrupted, 0) } else { (RunState::Succeeded, 1) };
    assert_eq!((runs[0].state, bench.traces()), (expected, traces), "{state} {written}: {runs:#?}");
    assert!(acting.book.metrics().ledger_failures >= 1, "{state} {written}");
    acting.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failing_ledger_delays_runs_and_never_doubles_them() {
    let states = ["episode", "queued", "claimed", "spawned", "exited", "succeeded"];
    let cases = states.into_iter().flat_map(|state| [with_failure(state, false), with_failure(state, true)]);
    futures_util::future::join_all(cases).await;
}

async fn wait_for(acting: &Acting, wanted: impl Fn(&Run) -> bool) -> Run {
    for _ in 0..400 {
        if let Some(run) = acting.book.runs().into_iter().find(&wanted) {
            return run;
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    panic!("{:#?}", acting.book.runs());
}

/// The process that is killed: this very test, started again with these variables set.
const CHILD: &str = "DAVYLAMP_TEST_ACT_CHILD";

/// The child: an actor for which one alert fires, until its run has ended. Dies on the way where it is told to.
async fn child(folder: PathBuf) {
    let mut bench = Bench::open(folder, &ansible().unwrap());
    bench.settings.startup_grace = Duration::ZERO;
    let mut ledger = FileLedger::new(bench.path("ledger"));
    if let Ok(point) = std::env::var("DAVYLAMP_TEST_ACT_KILL") {
        let (at, when) = point.split_once(':').unwrap();
        ledger.kill = Some(KillPoint { at: at.into(), before: when == "before" });
    }
    let acting = Acting::start(&bench, ledger, Arc::new(bench.executor()), RESTART).await;
    // Fires without a transition: a restarted daemon finds it firing.
    let alert = kit::alert("Hot", "m1", 1);
    acting.world.firing.lock().unwrap().push(alert);
    acting.ended(1).await;
    // Long enough for a second run to begin, if anything wanted one.
    tokio::time::sleep(Duration::from_millis(300)).await;
    acting.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_at_every_step_it_never_runs_twice() {
    if let Some(folder) = std::env::var_os(CHILD) {
        return child(folder.into()).await;
    }
    let Some(_) = ansible() else { return };
    // What becomes of the run, and how often the playbook must have done its work, for a kill at each write.
    let points = [
        ("episode:before", RunState::Succeeded, 1),
        ("episode:after", RunState::Succeeded, 1),
        ("queued:before", RunState::Succeeded, 1),
        ("queued:after", RunState::Succeeded, 1),
        ("claimed:before", RunState::Succeeded, 1),
        ("claimed:after", RunState::Interrupted, 0),
        ("spawned:before", RunState::Succeeded, 1),
        ("spawned:after", RunState::Succeeded, 1),
        ("exited:before", RunState::Succeeded, 1),
        ("exited:after", RunState::Succeeded, 1),
        ("succeeded:before", RunState::Succeeded, 1),
        ("succeeded:after", RunState::Succeeded, 1),
    ];
    for (point, expected, traces) in points {
        let bench = bench().unwrap();
        let start = |kill: Option<&str>| {
            let mut command = std::process::Command::new(std::env::current_exe().unwrap());
            command.args(["--exact", "killed_at_every_step_it_never_runs_twice", "--nocapture"]);
            command.env(CHILD, bench.folder.path());
            if let Some(kill) = kill {
                command.env("DAVYLAMP_TEST_ACT_KILL", kill);
            }
            command.output().unwrap()
        };
        let killed = start(Some(point));
        assert_eq!(killed.status.signal(), Some(9), "{point}: {killed:?}");
        for round in 1..=2 {
            let again = start(None);
            assert!(again.status.success(), "{point}, start {round}: {again:?}");
            let entries = FileLedger::new(bench.path("ledger")).read();
            let runs: Vec<Run> = entries
                .iter()
                .filter(|(key, _)| key.starts_with("run/"))
                .map(|(_, (_, value))| serde_json::from_str(value).unwrap())
                .collect();
            assert_eq!(runs.len(), 1, "{point}, start {round}");
            assert_eq!(
                (runs[0].state, bench.traces()),
                (expected, traces),
                "{point}, start {round}: {}",
                runs[0].detail
            );
        }
    }
}
