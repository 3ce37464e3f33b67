//! What the tests with a real `ansible-playbook` share: where it is, a folder with playbooks and an inventory, and an
//! executor that uses the binary under test as its supervisor.

#![allow(dead_code, reason = "each test file uses its own part")]

use std::collections::BTreeMap;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use davylamp::act::actor::{Actor, Setup};
use davylamp::act::book::Book;
use davylamp::act::check::{Ansible, Known, check};
use davylamp::act::control::Control;
use davylamp::act::executor::local::Local;
use davylamp::act::executor::{Executor, Report, RunRequest, RunStatus};
use davylamp::act::facts::{Host, RuleFacts, Symptom, World};
use davylamp::act::hands::{Done, Effect, Hands, HandsError};
use davylamp::act::ledger::{Ledger, LedgerEntry, LedgerError};
use davylamp::act::run::{Run, RunId};
use davylamp::act::settings::{AnsibleSettings, Remediation};
use davylamp::act::vars::Value;
use davylamp::model::{Alert, AlertState, Labels, Transition};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// `ansible-playbook` from DAVYLAMP_ANSIBLE or PATH; without one the test says that it is skipped.
pub fn ansible() -> Option<PathBuf> {
    let named = std::env::var_os("DAVYLAMP_ANSIBLE").map(PathBuf::from);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = named.or_else(|| {
        std::env::split_paths(&path).map(|folder| folder.join("ansible-playbook")).find(|path| path.is_file())
    });
    let found = found.filter(|path| path.is_file());
    if found.is_none() {
        eprintln!("SKIPPED: no ansible-playbook in PATH, and DAVYLAMP_ANSIBLE is not set");
    }
    found
}

/// A place to work in: `playbooks/`, `inventory`, `runs/`, and `trace`, to which playbooks append a line.
pub struct Bench {
    pub folder: Folder,
    pub settings: AnsibleSettings,
}

/// Our own folder, or one that belongs to the process that started us.
pub enum Folder {
    Own(tempfile::TempDir),
    Lent(PathBuf),
}

impl Folder {
    pub fn path(&self) -> &Path {
        match self {
            Folder::Own(folder) => folder.path(),
            Folder::Lent(folder) => folder,
        }
    }
}

impl Bench {
    pub fn open(folder: PathBuf, command: &Path) -> Bench {
        Self::within(Folder::Lent(folder), command)
    }

    fn within(folder: Folder, command: &Path) -> Bench {
        let settings = AnsibleSettings {
            command: command.to_path_buf(),
            inventory: "inventory".into(),
            kill_grace: Duration::from_secs(1),
            ..AnsibleSettings::default()
        };
        Bench { settings, folder }
    }

    pub fn new(command: &Path) -> Bench {
        let folder = tempfile::Builder::new().prefix("act").tempdir_in("/tmp").unwrap();
        let bench = Self::within(Folder::Own(folder), command);
        std::fs::create_dir(bench.path("playbooks")).unwrap();
        std::fs::set_permissions(bench.path("playbooks"), PermissionsExt::from_mode(0o755)).unwrap();
        bench.write("inventory", "[miners]\nm1\nm2\n[miners:vars]\nansible_connection=local\nansible_python_interpreter=\"{{ ansible_playbook_python }}\"\n");
        bench
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).unwrap();
        std::fs::set_permissions(self.path(name), PermissionsExt::from_mode(0o644)).unwrap();
    }

    /// Writes a playbook of these tasks for all hosts.
    pub fn playbook(&self, name: &str, tasks: &str) {
        let tasks: String = tasks.lines().map(|line| format!("  {line}\n")).collect();
        self.write(&format!("playbooks/{name}"), &format!("- hosts: all\n  gather_facts: false\n  tasks:\n{tasks}"));
    }

    /// Writes a playbook that appends one line to `trace`, after these tasks.
    pub fn tracing_playbook(&self, name: &str, before: &str) {
        let trace = self.path("trace");
        self.playbook(name, &format!("{before}- shell: echo ran >> {}\n", trace.display()));
    }

    /// How many lines playbooks have appended to `trace`.
    pub fn traces(&self) -> usize {
        std::fs::read_to_string(self.path("trace")).unwrap_or_default().lines().count()
    }

    pub fn ansible(&self) -> Ansible {
        check(&[], &self.settings, self.folder.path(), self.folder.path(), &known()).unwrap().ansible
    }

    pub fn executor(&self) -> Local {
        Local::new(self.ansible(), env!("CARGO_BIN_EXE_davylamp").into())
    }

    pub fn run_folder(&self, run: &RunId) -> PathBuf {
        self.path("runs").join(run.as_str())
    }
}

pub fn request(playbook: &str, vars: Value) -> RunRequest {
    RunRequest {
        run: RunId::new("test", "m1", 1, 0),
        playbook: playbook.into(),
        target: "m1".into(),
        check: false,
        vars,
        timeout_ms: 60_000,
        host: None,
    }
}

pub fn host(name: &str, vars: &[(&str, &str)]) -> Host {
    let vars = vars.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
    Host { name: name.into(), group: "axeos".into(), vars }
}

/// Starts a run and waits for its end.
pub async fn run(executor: &dyn Executor, request: RunRequest) -> Report {
    let run = request.run.clone();
    executor.start(request).await.unwrap();
    ended(executor, &run).await
}

/// Waits for the end of a run that was started.
pub async fn ended(executor: &dyn Executor, run: &RunId) -> Report {
    for _ in 0..1200 {
        match executor.status(run.clone()).await.unwrap() {
            RunStatus::Ended(report) => return *report,
            RunStatus::Running => tokio::time::sleep(Duration::from_millis(50)).await,
            other => panic!("{other:?}"),
        }
    }
    panic!("the run does not end");
}

/// Where a process kills itself with SIGKILL: at the write of a record in this state, before or after it is durable.
#[derive(Clone, Debug)]
pub struct KillPoint {
    pub at: String,
    pub before: bool,
}

/// A ledger in one file, rewritten and synced with every change.
pub struct FileLedger {
    path: PathBuf,
    lock: Mutex<()>,
    pub kill: Option<KillPoint>,
    /// Dies at the change of this number, from 1 on, before or after it is durable.
    pub kill_at: Option<(usize, bool)>,
    changes: AtomicUsize,
    /// The next write of a record in this state fails; true: after it was written.
    pub failure: Mutex<Option<(String, bool)>>,
    /// No write succeeds: the disk is full.
    pub broken: Mutex<bool>,
}

type Entries = BTreeMap<String, (u64, String)>;

impl FileLedger {
    pub fn new(path: PathBuf) -> Self {
        FileLedger {
            path,
            lock: Mutex::new(()),
            kill: None,
            kill_at: None,
            changes: AtomicUsize::new(0),
            failure: Mutex::new(None),
            broken: Mutex::new(false),
        }
    }

    pub fn read(&self) -> Entries {
        std::fs::read(&self.path).map(|bytes| serde_json::from_slice(&bytes).unwrap()).unwrap_or_default()
    }

    fn change(&self, key: &str, expected: u64, value: Option<String>) -> Result<u64, LedgerError> {
        let _lock = self.lock.lock().unwrap();
        let mut entries = self.read();
        if entries.get(key).map_or(0, |(revision, _)| *revision) != expected {
            return Err(LedgerError::Conflict { key: key.into() });
        }
        let failed =
            || Err(LedgerError::Unavailable { operation: "write", key: key.into(), source: "on purpose".into() });
        let state = value.as_deref().map(|value| {
            let value: serde_json::Value = serde_json::from_str(value).unwrap();
            value["state"].as_str().unwrap_or("episode").to_string()
        });
        if *self.broken.lock().unwrap() {
            return failed();
        }
        let failure = self.failure.lock().unwrap().take_if(|(at, _)| Some(&*at) == state.as_ref());
        if matches!(failure, Some((_, false))) {
            return failed();
        }
        let now = self.kill.as_ref().filter(|kill| state.as_deref() == Some(&kill.at));
        let number = self.changes.fetch_add(1, Ordering::Relaxed) + 1;
        let at = self.kill_at.filter(|(at, _)| *at == number);
        if now.is_some_and(|kill| kill.before) || at.is_some_and(|(_, before)| before) {
            die();
        }
        let revision = expected + 1;
        match value {
            Some(value) => entries.insert(key.into(), (revision, value)),
            None => entries.remove(key),
        };
        let mut file = tempfile::NamedTempFile::new_in(self.path.parent().unwrap()).unwrap();
        file.write_all(&serde_json::to_vec(&entries).unwrap()).unwrap();
        file.as_file().sync_all().unwrap();
        file.persist(&self.path).unwrap();
        if now.is_some() || at.is_some() {
            die();
        }
        if failure.is_some() { failed() } else { Ok(revision) }
    }
}

fn die() -> ! {
    rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL).unwrap();
    unreachable!()
}

impl Ledger for FileLedger {
    fn load(&self) -> BoxFuture<'_, Result<Vec<LedgerEntry>, LedgerError>> {
        let entries = self.read().into_iter();
        let entries = entries.map(|(key, (revision, value))| LedgerEntry { key, value: value.into_bytes(), revision });
        std::future::ready(Ok(entries.collect())).boxed()
    }

    fn put(&self, key: String, value: Vec<u8>, expected: u64) -> BoxFuture<'_, Result<u64, LedgerError>> {
        std::future::ready(self.change(&key, expected, Some(String::from_utf8(value).unwrap()))).boxed()
    }

    fn delete(&self, key: String, expected: u64) -> BoxFuture<'_, Result<(), LedgerError>> {
        std::future::ready(self.change(&key, expected, None).map(|_| ())).boxed()
    }
}

/// Receivers, windows and commands that these tests use; any expression and any rule will do.
pub fn known() -> Known<'static> {
    Known {
        rules: None,
        hosts: vec![host("m1", &[]), host("m2", &[])],
        receivers: ["ops".to_string()].into(),
        webhooks: ["ops".to_string()].into(),
        windows: ["sunday".to_string()].into(),
        misfit: &|_, command| (command != "restart").then(|| format!("no command {command}")),
        expression: &|_| Ok(()),
    }
}

/// A ledger in memory, for more records than a file could take in the time.
#[derive(Default)]
pub struct MemoryLedger(Mutex<BTreeMap<String, (u64, Vec<u8>)>>);

impl Ledger for MemoryLedger {
    fn load(&self) -> BoxFuture<'_, Result<Vec<LedgerEntry>, LedgerError>> {
        let entries = self.0.lock().unwrap().clone().into_iter();
        let entries = entries.map(|(key, (revision, value))| LedgerEntry { key, value, revision });
        std::future::ready(Ok(entries.collect())).boxed()
    }

    fn put(&self, key: String, value: Vec<u8>, expected: u64) -> BoxFuture<'_, Result<u64, LedgerError>> {
        let mut entries = self.0.lock().unwrap();
        let known = entries.get(&key).map_or(0, |(revision, _)| *revision);
        if known != expected {
            return std::future::ready(Err(LedgerError::Conflict { key })).boxed();
        }
        entries.insert(key, (expected + 1, value));
        std::future::ready(Ok(expected + 1)).boxed()
    }

    fn delete(&self, key: String, _expected: u64) -> BoxFuture<'_, Result<(), LedgerError>> {
        self.0.lock().unwrap().remove(&key);
        std::future::ready(Ok(())).boxed()
    }
}

/// A world in which is the case what the test says.
pub struct TestWorld {
    pub firing: Mutex<Vec<Alert>>,
    pub hosts: Vec<Host>,
    pub up: Mutex<Option<bool>>,
    pub healthy: Mutex<Option<bool>>,
    pub silenced: Mutex<bool>,
    pub window: Mutex<bool>,
    pub symptom: Mutex<Symptom>,
    /// The wall clock goes wrong by so many milliseconds.
    pub skew: Mutex<i64>,
    /// One moment on the wall clock and on tokio's, which a test may let jump.
    began: (i64, tokio::time::Instant),
}

impl Default for TestWorld {
    fn default() -> Self {
        TestWorld {
            firing: Mutex::default(),
            hosts: Vec::new(),
            up: Mutex::default(),
            healthy: Mutex::new(Some(true)),
            silenced: Mutex::default(),
            window: Mutex::new(true),
            symptom: Mutex::new(Symptom::Present),
            skew: Mutex::default(),
            began: (wall(), tokio::time::Instant::now()),
        }
    }
}

fn wall() -> i64 {
    i64::try_from(SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_millis()).unwrap()
}

/// Hands that note what they are asked to do.
#[derive(Default)]
pub struct TestHands {
    pub done: Mutex<Vec<Effect>>,
    /// What becomes of device and container commands; messages always arrive.
    pub answer: Mutex<Option<HandsError>>,
}

impl Hands for TestHands {
    fn perform(&self, effect: Effect, _within: Duration) -> BoxFuture<'_, Result<Done, HandsError>> {
        let message = matches!(effect, Effect::Notify { .. } | Effect::Webhook { .. });
        let answer = self.answer.lock().unwrap().clone().filter(|_| !message);
        self.done.lock().unwrap().push(effect);
        std::future::ready(answer.map_or_else(|| Ok(Done { detail: "done".into(), ..Done::default() }), Err)).boxed()
    }
    fn rehearse(&self, effect: Effect, _within: Duration) -> BoxFuture<'_, Result<Done, HandsError>> {
        std::future::ready(Ok(Done { detail: format!("would do {}", effect.describe()), ..Done::default() })).boxed()
    }
}

impl World for TestWorld {
    fn now(&self) -> i64 {
        let passed = i64::try_from(self.began.1.elapsed().as_millis()).unwrap();
        self.began.0 + passed + *self.skew.lock().unwrap()
    }
    fn firing(&self) -> Vec<Alert> {
        self.firing.lock().unwrap().clone()
    }
    fn rule(&self, _rule: &str) -> Option<RuleFacts> {
        Some(RuleFacts { warming_up: false, needs_values: true })
    }
    fn target_up(&self, _target: &str) -> Option<bool> {
        *self.up.lock().unwrap()
    }
    fn hosts(&self) -> Vec<Host> {
        self.hosts.clone()
    }
    fn holds<'a>(&'a self, _expression: &'a str) -> BoxFuture<'a, Option<bool>> {
        std::future::ready(*self.healthy.lock().unwrap()).boxed()
    }
    fn silenced(&self, _labels: &Labels) -> Option<String> {
        self.silenced.lock().unwrap().then(|| "silence 1".to_string())
    }
    fn window_open(&self, _name: &str) -> bool {
        *self.window.lock().unwrap()
    }
    fn symptom<'a>(&'a self, _rule: &'a str, _labels: &'a Labels, _since: i64) -> BoxFuture<'a, Symptom> {
        std::future::ready(*self.symptom.lock().unwrap()).boxed()
    }
}

/// An alert that fires for a miner.
pub fn alert(name: &str, miner: &str, now: i64) -> Alert {
    Alert {
        rule: format!("fleet.yml;fleet;{name}").into(),
        labels: Labels::new([("alertname", name), ("miner", miner)]),
        annotations: Labels::new([("summary", "too slow")]),
        state: AlertState::Firing,
        value: 0.5,
        active_at: now,
        fired_at: Some(now),
        resolved_at: None,
        keep_firing_since: None,
        resolved_with_data: false,
        last_seen_at: now,
    }
}

/// A running actor.
pub struct Acting {
    pub book: Arc<Book>,
    pub world: Arc<TestWorld>,
    pub hands: Arc<TestHands>,
    pub control: Control,
    pub transitions: mpsc::Sender<Transition>,
    pub stop: CancellationToken,
    pub actor: tokio::task::JoinHandle<()>,
}

impl Acting {
    /// Starts an actor with these remediations (YAML), without a grace at its start.
    pub async fn start(
        bench: &Bench,
        ledger: impl Ledger + 'static,
        executor: Arc<dyn Executor>,
        yaml: &str,
    ) -> Acting {
        Self::start_at(0, bench, ledger, executor, yaml).await
    }

    /// The same, on a wall clock that is ahead by so many milliseconds.
    pub async fn start_at(
        skew: i64,
        bench: &Bench,
        ledger: impl Ledger + 'static,
        executor: Arc<dyn Executor>,
        yaml: &str,
    ) -> Acting {
        let remediations: Vec<Remediation> = serde_yaml::from_str(yaml).unwrap();
        let settings = AnsibleSettings {
            startup_grace: Duration::ZERO,
            stop_grace: Duration::from_millis(100),
            ..bench.settings.clone()
        };
        let base = bench.folder.path();
        let checked = check(&remediations, &settings, base, base, &known()).unwrap();
        let book = Arc::new(Book::load(Arc::new(ledger)).await.unwrap());
        let world = Arc::new(TestWorld { skew: Mutex::new(skew), ..TestWorld::default() });
        let (_, bindings) = tokio::sync::watch::channel(Arc::new(checked.bindings));
        let grace = checked.ansible.kill_grace;
        let hands = Arc::new(TestHands::default());
        let (actor, control) = Actor::new(Setup {
            bindings,
            limits: checked.limits,
            kill_grace: grace,
            approval_url: checked.approval_url,
            book: book.clone(),
            executor,
            hands: hands.clone(),
            world: world.clone(),
        });
        let (transitions, receiver) = mpsc::channel(100);
        let stop = CancellationToken::new();
        #[allow(clippy::disallowed_methods, reason = "the test owns the handle")]
        let actor = tokio::spawn(actor.run(receiver, stop.clone()));
        Acting { book, world, hands, control, transitions, stop, actor }
    }

    /// Lets an alert fire: in the world, and as a transition.
    pub async fn fire(&self, name: &str, miner: &str) -> Alert {
        let alert = alert(name, miner, self.world.now());
        self.world.firing.lock().unwrap().push(alert.clone());
        self.send(AlertState::Firing, alert.clone(), false).await;
        alert
    }

    /// Lets an alert resolve, with data or for want of data.
    pub async fn resolve(&self, alert: &Alert, positive: bool) {
        self.world.firing.lock().unwrap().retain(|other| other.labels != alert.labels);
        self.send(AlertState::Resolved, alert.clone(), positive).await;
    }

    async fn send(&self, state: AlertState, alert: Alert, positive: bool) {
        let alert = Alert { state, ..alert };
        let transition = Transition { from: None, alert, at: self.world.now(), positive, warming_up: false };
        self.transitions.send(transition).await.unwrap();
    }

    /// Waits until this many runs have ended, and returns all runs.
    pub async fn ended(&self, count: usize) -> Vec<Run> {
        for _ in 0..600 {
            let runs = self.book.runs();
            if runs.iter().filter(|run| run.state.is_final()).count() >= count {
                return runs;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("not {count} ended runs: {:#?}", self.book.runs());
    }

    /// Waits until something was held back for a reason this often.
    pub async fn held_back(&self, reason: &str, times: u64) {
        for _ in 0..400 {
            if self.book.metrics().suppressed[reason] >= times {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("not held back for {reason}: {:?}", self.book.metrics());
    }

    pub async fn finish(self) {
        self.stop.cancel();
        self.actor.await.unwrap();
    }
}
