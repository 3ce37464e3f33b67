//! Killed at every single write of an episode that goes up a ladder: a step that is verified and does not help, a check
//! run, an approval, a step that is verified and heals, the end of the episode. Hours pass in milliseconds here; what
//! stands for a play writes one line to a file and is counted there.
//!
//! By default one kill before and one after each write. `DAVYLAMP_KILL_CYCLES` asks for more: those are killed twice.

use std::collections::BTreeMap;
use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;
use std::time::Duration;

use davylamp::act::control::Filter;
use davylamp::act::events::{Events, HostStats};
use davylamp::act::executor::{Executor, ExecutorError, Report, RunRequest, RunStatus, Started};
use davylamp::act::facts::Symptom;
use davylamp::act::inventory::Inventory;
use davylamp::act::job::{Ending, ExitRecord};
use davylamp::act::run::{Run, RunId, RunState};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::time::Instant;

use crate::kit::{Acting, Bench, FileLedger, alert};

const LADDER: &str = "
- name: ladder
  match: ['alertname=\"Hot\"']
  target: '{{ $labels.miner }}'
  mode: auto
  steps:
  - {playbook: one.yml, timeout: 1m, verify: {within: 5m}}
  - {playbook: two.yml, mode: approve, timeout: 1m, verify: {within: 5m, hold: 1m}}
";

/// Plays that are lines in a file, `RUN PLAYBOOK real|check`, and take two seconds.
struct Lines {
    path: PathBuf,
    born: Instant,
}

impl Lines {
    fn has(&self, run: &RunId) -> bool {
        lines(&self.path).iter().any(|line| line.starts_with(run.as_str()))
    }
}

fn lines(path: &Path) -> Vec<String> {
    std::fs::read_to_string(path).unwrap_or_default().lines().map(String::from).collect()
}

impl Executor for Lines {
    fn ready(&self) -> BoxFuture<'_, Result<(), ExecutorError>> {
        std::future::ready(Ok(())).boxed()
    }
    fn start(&self, request: RunRequest) -> BoxFuture<'_, Result<Started, ExecutorError>> {
        let mut file = std::fs::File::options().create(true).append(true).open(&self.path).unwrap();
        let mode = if request.check { "check" } else { "real" };
        // One write: a kill leaves a line or none.
        file.write_all(format!("{} {} {mode}\n", request.run, request.playbook).as_bytes()).unwrap();
        std::future::ready(Ok(Started { playbook_sha256: None, vars_sha256: String::new(), supervisor: None })).boxed()
    }
    fn status(&self, run: RunId) -> BoxFuture<'_, Result<RunStatus, ExecutorError>> {
        async move {
            if !self.has(&run) {
                return Ok(RunStatus::Unknown);
            }
            tokio::time::sleep_until(self.born + Duration::from_secs(2)).await;
            let stats = [("m1".to_string(), HostStats { ok: 1, ..HostStats::default() })].into();
            let exit = ExitRecord { code: Some(0), ..ExitRecord::new(Ending::Exited, 1, 2) };
            Ok(RunStatus::Ended(Box::new(Report { exit, events: Events { stats: Some(stats), ..Events::default() } })))
        }
        .boxed()
    }
    fn cancel(&self, _: RunId) -> BoxFuture<'_, Result<(), ExecutorError>> {
        std::future::ready(Ok(())).boxed()
    }
    fn abandon(&self, run: RunId) -> BoxFuture<'_, Result<(), ExecutorError>> {
        std::future::ready(if self.has(&run) { Err(ExecutorError::StillRunning) } else { Ok(()) }).boxed()
    }
    fn inventory(&self) -> BoxFuture<'_, Result<Option<Inventory>, ExecutorError>> {
        let hosts = ["m1".to_string()].into();
        std::future::ready(Ok(Some(Inventory { hosts, ..Inventory::default() }))).boxed()
    }
    fn outlives_us(&self) -> bool {
        true
    }
}

const FOLDER: &str = "DAVYLAMP_TEST_LADDER_CHILD";
const KILL: &str = "DAVYLAMP_TEST_LADDER_KILL";
/// Where the child says that its alert is over.
const OVER: &str = "over";

/// The runs on record.
fn records(folder: &Path) -> Vec<Run> {
    let entries = FileLedger::new(folder.join("ledger")).read().into_iter();
    let runs = entries.filter(|(key, _)| key.starts_with("run/"));
    runs.map(|(_, (_, value))| serde_json::from_str(&value).unwrap()).collect()
}

/// The child: an alert fires until the second step was at work; somebody approves whatever waits. Nearly an hour of that.
async fn child(folder: PathBuf) {
    let bench = Bench::open(folder.clone(), "/nonexistent".as_ref());
    let mut ledger = FileLedger::new(bench.path("ledger"));
    ledger.kill_at = std::env::var(KILL).ok().map(|text| {
        let (at, when) = text.split_once(' ').unwrap();
        (at.parse().unwrap(), when == "before")
    });
    // Later than anything that the process before has seen.
    let last =
        records(&folder).iter().flat_map(|run| [Some(run.queued_at), run.exited_at, run.ended_at]).flatten().max();
    let skew = last.map_or(0, |last| last + 60_000 - kit_now());
    let lines_of_play = Lines { path: bench.path("trace"), born: Instant::now() };
    let acting = Acting::start_at(skew, &bench, ledger, Arc::new(lines_of_play), LADDER).await;
    let hot = alert("Hot", "m1", 1);
    if !bench.path(OVER).exists() {
        acting.world.firing.lock().unwrap().push(hot.clone());
    }
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(3000) {
        tokio::time::sleep(Duration::from_secs(20)).await;
        let waiting = Filter { state: Some(RunState::WaitingApproval), ..Filter::default() };
        for run in acting.control.list(&waiting) {
            // Not before its check run has ended.
            let _ = acting.control.approve(&run.id, "ann").await;
        }
        let helped = lines(&bench.path("trace")).iter().any(|line| line.ends_with("two.yml real"));
        if helped {
            *acting.world.symptom.lock().unwrap() = Symptom::Clear;
        }
        let healed = acting.control.list(&Filter::default()).iter().any(|run| run.state == RunState::Healed);
        if healed && acting.book.episodes().iter().any(|episode| episode.closed_at.is_none()) {
            std::fs::write(bench.path(OVER), "").unwrap();
            acting.resolve(&hot, true).await;
        }
    }
    acting.finish().await;
}

fn kit_now() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::SystemTime::UNIX_EPOCH).unwrap();
    i64::try_from(since.as_millis()).unwrap()
}

fn start(folder: &Path, kill: Option<(usize, bool)>) -> Output {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "ladder::killed_at_every_write_each_step_runs_once", "--nocapture"]);
    command.env(FOLDER, folder);
    if let Some((at, before)) = kill {
        command.env(KILL, format!("{at} {}", if before { "before" } else { "after" }));
    }
    command.output().unwrap()
}

fn scene() -> tempfile::TempDir {
    let folder = tempfile::Builder::new().prefix("ladder").tempdir_in("/tmp").unwrap();
    std::fs::create_dir(folder.path().join("playbooks")).unwrap();
    for name in ["one.yml", "two.yml"] {
        std::fs::write(folder.path().join("playbooks").join(name), "- hosts: all\n").unwrap();
    }
    std::fs::write(folder.path().join("inventory"), "m1\n").unwrap();
    folder
}

/// Kills at these writes, one process after the other, lets the last one go on, and judges what is left. How many were
/// really killed, and how many runs were interrupted.
fn judge(kills: &[(usize, bool)]) -> (usize, usize) {
    let folder = scene();
    let mut killed = 0;
    for kill in kills {
        let done = start(folder.path(), Some(*kill));
        killed += usize::from(done.status.signal() == Some(9));
        assert!(done.status.success() || done.status.signal() == Some(9), "{kills:?}: {done:?}");
    }
    for _ in 0..2 {
        let done = start(folder.path(), None);
        assert!(done.status.success(), "{kills:?}: {done:?}");
    }
    let (trace, runs) = (lines(&folder.path().join("trace")), records(folder.path()));
    let mut counts: BTreeMap<&String, usize> = BTreeMap::new();
    trace.iter().for_each(|line| *counts.entry(line).or_default() += 1);
    assert!(counts.values().all(|count| *count == 1), "{kills:?}: a step ran twice: {trace:?}");
    let interrupted = runs.iter().filter(|run| run.state == RunState::Interrupted).count();
    assert!(interrupted <= killed, "{kills:?}: {runs:#?}");
    for run in &runs {
        let expected = match (run.step, &run.rehearses) {
            (0, None) => RunState::NotHealed,
            (_, None) => RunState::Healed,
            (_, Some(_)) => RunState::Succeeded,
        };
        let ran = trace.iter().filter(|line| line.starts_with(run.id.as_str())).count();
        match run.state {
            // Killed between the claim and the start; nobody can tell that it was not begun.
            RunState::Interrupted => assert!(ran == 0 && !run.detail.is_empty(), "{kills:?}: {run:#?}"),
            state => assert_eq!((state, ran), (expected, 1), "{kills:?}: {run:#?}"),
        }
    }
    let halted = runs.iter().any(|run| run.rehearses.is_none() && run.state == RunState::Interrupted);
    assert!(halted || runs.len() == 3, "{kills:?}: the ladder was not gone up: {runs:#?}");
    (killed, interrupted)
}

#[tokio::test(start_paused = true)]
async fn killed_at_every_write_each_step_runs_once() {
    if let Some(folder) = std::env::var_os(FOLDER) {
        return child(folder.into()).await;
    }
    let mut writes = 0;
    while judge(&[(writes + 1, true)]).0 == 1 {
        writes += 1;
    }
    assert!(writes >= 20, "only {writes} writes; a ladder has more");
    let cycles: usize = std::env::var("DAVYLAMP_KILL_CYCLES").ok().and_then(|text| text.parse().ok()).unwrap_or(0);
    let mut roads: Vec<Vec<(usize, bool)>> = (1..=writes).map(|at| vec![(at, false)]).collect();
    let mut kills = 2 * writes;
    for first in (1..=writes).cycle().take_while(|_| cycles > 0) {
        if kills >= cycles {
            break;
        }
        // Every pair of a first and a second write, in both orders of before and after.
        let (second, when) = (1 + kills * 7 % writes, kills / 2);
        roads.push(vec![(first, when % 2 == 0), (second, when % 4 < 2)]);
        kills += 2;
    }
    let results: Vec<(usize, usize)> = std::thread::scope(|scope| {
        let lanes: Vec<_> = (0..2)
            .map(|lane| {
                let roads = &roads;
                scope.spawn(move || roads.iter().skip(lane).step_by(2).map(|road| judge(road)).collect::<Vec<_>>())
            })
            .collect();
        lanes.into_iter().flat_map(|lane| lane.join().unwrap()).collect()
    });
    let (killed, interrupted) = results.iter().fold((writes, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
    assert!(killed >= 2 * writes, "{killed} of {kills}");
    eprintln!(
        "{killed} kills at {writes} writes of an episode: no step ran twice; {interrupted} runs were interrupted"
    );
}
