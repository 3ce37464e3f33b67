//! Runs as children of this process that outlive it: one supervisor each.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::io::AsyncReadExt;

use crate::act::check::Ansible;
use crate::act::events::{Events, cut};
use crate::act::executor::{
    Executor, ExecutorError, Printed, Report, RunRequest, RunStatus, Started, folders, prepare, printed,
};
use crate::act::files::{MAX_READ, RunLock, create_json, create_private, read_capped, read_json};
use crate::act::inventory::Inventory;
use crate::act::job::{Ending, ExitRecord, Supervisor, names};
use crate::act::keys;
use crate::act::process;
use crate::act::run::RunId;

/// How long a supervisor may take to say that it is there.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// How long killing what is left of a lost run may take.
const SWEEP_LIMIT: Duration = Duration::from_secs(10);
/// How long `ansible-inventory` may take.
const INVENTORY_TIMEOUT: Duration = Duration::from_secs(60);
/// Longest answer of it, in bytes: all variables of all hosts.
const MAX_INVENTORY: u64 = 16 << 20;
/// How long its answer is believed while the inventory's own file does not change: other files (plugins, scripts,
/// folders) may decide too.
const INVENTORY_AGE: Duration = Duration::from_secs(60);

/// Executes by itself. Keeps nothing in memory that a run depends on: the run folders and their locks say it all, so a
/// restarted process knows as much as the one before.
#[derive(Clone)]
pub struct Local {
    inner: Arc<Inner>,
}

struct Inner {
    ansible: Ansible,
    supervisor: PathBuf,
    cache: tokio::sync::Mutex<Option<Cached>>,
}

struct Cached {
    read: Instant,
    stamp: Option<(SystemTime, u64)>,
    answer: Result<Inventory, ExecutorError>,
}

impl Local {
    /// An executor with this configuration. `supervisor` is the program that understands `supervise RUN_DIR`: this
    /// binary itself, which [`Local::own_binary`] names.
    pub fn new(ansible: Ansible, supervisor: PathBuf) -> Self {
        Local { inner: Arc::new(Inner { ansible, supervisor, cache: tokio::sync::Mutex::default() }) }
    }

    /// The running binary, also after a package upgrade has replaced its file.
    pub fn own_binary() -> PathBuf {
        PathBuf::from("/proc/self/exe")
    }

    /// Ids of all runs that have a folder.
    ///
    /// # Errors
    /// [`ExecutorError::Away`] when the folder of runs cannot be read.
    pub async fn list(&self) -> Result<Vec<RunId>, ExecutorError> {
        self.blocking(|inner| {
            let entries = match std::fs::read_dir(&inner.ansible.runs) {
                Ok(entries) => entries,
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
                Err(error) => return Err(away(&error)),
            };
            let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
            Ok(names.filter_map(|name| RunId::try_from(name).ok()).collect())
        })
        .await
    }

    /// Disk work happens on a thread that may block.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Inner) -> Result<T, ExecutorError> + Send + 'static,
    ) -> Result<T, ExecutorError> {
        let inner = self.inner.clone();
        tokio::task::spawn_blocking(move || work(&inner)).await.map_err(|error| away(&error))?
    }

    async fn start_run(&self, request: RunRequest) -> Result<Started, ExecutorError> {
        let run = request.run.clone();
        let digests = self
            .blocking(move |inner| {
                let folder = folders::begin(&inner.ansible, &request.run)?;
                let prepared = prepare::run(&inner.ansible, &request, &folder);
                if prepared.is_err() {
                    // The folder stays, so that the id cannot be used again, and says that nothing will happen in it.
                    create_private(&folder.join(names::ABANDONED), b"refused").map_err(|error| away(&error))?;
                    keys::clean_up(&folder).map_err(|error| away(&error))?;
                }
                prepared
            })
            .await?;
        let folder = self.inner.folder(&run);
        self.supervise(&folder).await?;
        let supervisor: Supervisor = self
            .blocking(move |inner| {
                folders::prune(&inner.ansible);
                read_json(&folder.join(names::SUPERVISOR)).map_err(|error| away(&error))
            })
            .await?
            .ok_or_else(|| ExecutorError::Away("the supervisor left no record".into()))?;
        Ok(Started { playbook_sha256: Some(digests.playbook), vars_sha256: digests.vars, supervisor: Some(supervisor) })
    }

    /// Starts the supervisor of a prepared folder and waits until it holds the folder's lock.
    async fn supervise(&self, folder: &Path) -> Result<(), ExecutorError> {
        let log = folder.join("supervisor.log");
        let stderr = std::fs::File::create(&log).map_err(|error| away(&error))?;
        let mut child = tokio::process::Command::new(&self.inner.supervisor)
            .arg("supervise")
            .arg(folder)
            .env_clear()
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(stderr)
            .spawn()
            .map_err(|error| ExecutorError::Away(format!("cannot start the supervisor: {error}")))?;
        let mut said = [0; 6];
        let heard = match child.stdout.take() {
            Some(mut stdout) => tokio::time::timeout(HANDSHAKE, stdout.read_exact(&mut said)).await,
            None => return Err(ExecutorError::Away("the supervisor has no output".into())),
        };
        // The child is not waited for here: it outlives us, and tokio buries it should it end first.
        match heard {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(_)) => Err(ExecutorError::Away(format!("the supervisor gave up, see {}", log.display()))),
            Err(_) => Err(ExecutorError::Away("the supervisor did not come up in 10 seconds".into())),
        }
    }

    async fn read_inventory(&self) -> Result<Option<Inventory>, ExecutorError> {
        let Some(path) = self.inner.ansible.inventory.clone() else { return Ok(None) };
        let stamp = std::fs::metadata(&path).and_then(|data| Ok((data.modified()?, data.len()))).ok();
        let mut cache = self.inner.cache.lock().await;
        let fresh = |cached: &&Cached| cached.stamp == stamp && cached.read.elapsed() < INVENTORY_AGE;
        if let Some(cached) = cache.as_ref().filter(fresh) {
            return cached.answer.clone().map(Some);
        }
        let answer = self.ask_inventory(path).await;
        *cache = Some(Cached { read: Instant::now(), stamp, answer: answer.clone() });
        answer.map(Some)
    }

    /// Asks `ansible-inventory`, supervised like a run: a dynamic inventory is somebody's program too.
    async fn ask_inventory(&self, path: PathBuf) -> Result<Inventory, ExecutorError> {
        let (folder, holder) = self
            .blocking(move |inner| {
                folders::all(&inner.ansible)?;
                let holder = tempfile::Builder::new().prefix("inventory-").tempdir_in(&inner.ansible.runs);
                let holder = holder.map_err(|error| away(&error))?;
                let folder = holder.path().to_path_buf();
                let args = vec!["-i".into(), path.to_string_lossy().into_owned(), "--list".into()];
                let timeout = u64::try_from(INVENTORY_TIMEOUT.as_millis()).unwrap_or(u64::MAX);
                folders::create(&folder.join(names::SECRETS)).map_err(|error| away(&error))?;
                // Its group_vars may be in a vault.
                let keys = inner.ansible.keys.write(&folder).map_err(|error| away(&error))?;
                let mut job = prepare::job(&inner.ansible, "ansible-inventory", args, timeout, &folder)
                    .map_err(|error| away(&error))?;
                job.env.extend(keys.env.into_iter().map(|(name, value)| (name.to_string(), value)));
                // Half of the limit is what is kept in one piece.
                job.output_limit = 2 * MAX_INVENTORY;
                create_json(&folder.join(names::JOB), &job).map_err(|error| away(&error))?;
                Ok((folder, holder))
            })
            .await?;
        self.supervise(&folder).await?;
        let deadline = Instant::now() + INVENTORY_TIMEOUT + self.inner.ansible.kill_grace + 3 * SWEEP_LIMIT;
        let exit = loop {
            if let Some(exit) = read_json::<ExitRecord>(&folder.join(names::EXIT)).map_err(|error| away(&error))? {
                break exit;
            }
            if Instant::now() > deadline {
                return Err(ExecutorError::Away("ansible-inventory does not end".into()));
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        };
        let read = |name: &str| read_capped(&folder.join(name), MAX_INVENTORY).map(Option::unwrap_or_default);
        let (stdout, stderr) = (read(names::STDOUT), read(names::STDERR));
        drop(holder);
        let stdout = stdout.map_err(|error| away(&error))?;
        if exit.ending != Ending::Exited || exit.code != Some(0) || exit.output_dropped > 0 {
            let stderr = stderr.unwrap_or_default();
            let last: String = String::from_utf8_lossy(&stderr).chars().filter(|c| *c != '\n').take(300).collect();
            let text = format!("ansible-inventory failed ({:?}, {:?}): {last}{}", exit.ending, exit.code, exit.detail);
            return Err(ExecutorError::Refused(text));
        }
        Inventory::parse(&stdout).map_err(|error| ExecutorError::Refused(error.to_string()))
    }
}

impl Inner {
    fn folder(&self, run: &RunId) -> PathBuf {
        folders::of(&self.ansible, run)
    }

    fn status(&self, run: &RunId) -> Result<RunStatus, ExecutorError> {
        let folder = self.folder(run);
        if !folder.exists() {
            return Ok(RunStatus::Unknown);
        }
        // First the lock, then the record: a supervisor writes the record before it lets go of the lock.
        let lock = RunLock::take(&folder, false).map_err(|error| away(&error))?;
        if lock.is_none() {
            return Ok(RunStatus::Running);
        }
        let exit = read_json(&folder.join(names::EXIT)).map_err(|error| away(&error))?;
        let Some(exit) = exit else { return Ok(RunStatus::Lost) };
        let events = read_capped(&folder.join(names::EVENTS), MAX_READ).map_err(|error| away(&error))?;
        let mut report = Report { exit, events: Events::parse(&events.unwrap_or_default()) };
        if report.events.stats.is_none() && report.exit.detail.is_empty() {
            // No play: a mistake in a file or an option, and only this says which.
            report.exit.detail = last_words(&folder);
        }
        Ok(RunStatus::Ended(Box::new(report)))
    }

    fn abandon(&self, run: &RunId) -> Result<(), ExecutorError> {
        folders::all(&self.ansible)?;
        let folder = self.folder(run);
        match folders::create(&folder) {
            Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => return Err(away(&error)),
            _ => {}
        }
        let lock = RunLock::take(&folder, false).map_err(|error| away(&error))?;
        if lock.is_none() || folder.join(names::EXIT).exists() {
            return Err(ExecutorError::StillRunning);
        }
        if !folder.join(names::ABANDONED).exists() {
            create_private(&folder.join(names::ABANDONED), b"given up").map_err(|error| away(&error))?;
        }
        let sweep = process::kill_all(&prepare::marker(&folder), None, SWEEP_LIMIT);
        keys::clean_up(&folder).map_err(|error| away(&error))?;
        if sweep != process::Sweep::default() {
            tracing::warn!(%run, killed = sweep.killed, survivors = sweep.survivors, "killed what was left of a lost run");
        }
        Ok(())
    }
}

impl Executor for Local {
    fn ready(&self) -> BoxFuture<'_, Result<(), ExecutorError>> {
        async {
            let command = self.inner.ansible.command.display();
            match self.inner.ansible.program("ansible-playbook") {
                Some(_) => Ok(()),
                None => Err(ExecutorError::Away(format!("{command} was not found: is ansible-core installed?"))),
            }
        }
        .boxed()
    }

    fn start(&self, request: RunRequest) -> BoxFuture<'_, Result<Started, ExecutorError>> {
        self.start_run(request).boxed()
    }

    fn status(&self, run: RunId) -> BoxFuture<'_, Result<RunStatus, ExecutorError>> {
        self.blocking(move |inner| inner.status(&run)).boxed()
    }

    fn cancel(&self, run: RunId) -> BoxFuture<'_, Result<(), ExecutorError>> {
        self.blocking(move |inner| {
            let path = inner.folder(&run).join(names::CANCEL);
            if path.exists() { Ok(()) } else { create_private(&path, b"").map_err(|error| away(&error)) }
        })
        .boxed()
    }

    fn abandon(&self, run: RunId) -> BoxFuture<'_, Result<(), ExecutorError>> {
        self.blocking(move |inner| inner.abandon(&run)).boxed()
    }

    fn printed(&self, run: RunId, from: u64) -> BoxFuture<'_, Result<Printed, ExecutorError>> {
        self.blocking(move |inner| printed::read(&inner.folder(&run), from).map_err(|error| away(&error))).boxed()
    }

    fn inventory(&self) -> BoxFuture<'_, Result<Option<Inventory>, ExecutorError>> {
        self.read_inventory().boxed()
    }

    fn outlives_us(&self) -> bool {
        false
    }
}

/// The end of what a program wrote to standard error.
fn last_words(folder: &Path) -> String {
    let stderr = read_capped(&folder.join(names::STDERR), MAX_READ).ok().flatten().unwrap_or_default();
    let text = String::from_utf8_lossy(&stderr);
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let from = lines.iter().position(|line| line.contains("ERROR")).unwrap_or(lines.len().saturating_sub(3));
    cut(&lines[from..].join(" "), 300)
}

fn away(error: &dyn std::error::Error) -> ExecutorError {
    ExecutorError::Away(error.to_string())
}
