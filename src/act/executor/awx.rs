//! Runs that an AWX or an automation controller carries out: a step's `playbook` names one of its job templates.
//!
//! Source: the public description of its API, version 2. What it is told is in the launch; what it did not take
//! (`ignored_fields`) would be another run than the one that was decided, so that is a refusal, and the job is cancelled.
//! A job is found again by the number that is kept in the run's folder, or by the run's id in its extra variables.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use serde::de::DeserializeOwned;
use serde_json::json;

use crate::act::check::Ansible;
use crate::act::events::cut;
use crate::act::executor::awx_shapes::{
    Event, Found, HostSummary, Job, Launched, Named, Page, Template, events, exit_record, job_type, launch_vars,
};
use crate::act::executor::{Executor, ExecutorError, Place, Report, RunRequest, RunStatus, Started, folders};
use crate::act::files::{create_json, create_private, read_json};
use crate::act::inventory::{Inventory, is_plain};
use crate::act::job::names;
use crate::act::playbook::sha256;
use crate::act::run::RunId;
use crate::act::settings::AwxSettings;

/// Most pages that are read of one list, and entries per page.
const PAGES: usize = 100;
const PER_PAGE: usize = 100;
/// The same for events, which are large; no more than a run keeps by far.
const EVENT_PAGES: usize = 40;
const EVENTS_PER_PAGE: usize = 25;
/// How long after a run's time limit its events may still come, milliseconds.
const EVENTS_COME: u64 = 60_000;
/// Pages of a template's newest jobs in which a run is looked for.
const SEARCH_PAGES: usize = 5;
/// How long a launch whose answer was lost may take to show up as a job.
const LAUNCH_SHOWS: Duration = Duration::from_secs(60);
/// How long an inventory is believed.
const INVENTORY_AGE: Duration = Duration::from_secs(60);
/// In a run's folder: which job it is, and that it was cancelled for its time.
const JOB: &str = "awx-job.json";
const TIMED_OUT: &str = "timed-out";

/// A way to speak HTTP to the controller; implemented by the daemon.
pub trait Http: Send + Sync {
    /// Sends a request to a path below the controller's address; a body makes it a POST. Any status is an answer, all
    /// else is [`ExecutorError::Away`].
    fn call(&self, path: String, body: Option<String>) -> BoxFuture<'_, Result<Reply, ExecutorError>>;
}

/// An answer.
#[derive(Clone, Debug)]
pub struct Reply {
    /// HTTP status.
    pub status: u16,
    /// Body.
    pub body: Vec<u8>,
}

/// The executor. Keeps nothing in memory that a run depends on: a run's folder says which job it is.
pub struct Awx {
    http: Arc<dyn Http>,
    settings: AwxSettings,
    ansible: Ansible,
    inventory: tokio::sync::Mutex<Option<(Instant, Inventory)>>,
}

/// What is kept of a launch.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
struct Launch {
    template: u64,
    timeout_ms: u64,
    at: i64,
}

#[derive(serde::Serialize, serde::Deserialize)]
struct JobNumber {
    job: u64,
}

impl Awx {
    /// An executor over a controller. Run folders and how many are kept are those of `ansible`.
    pub fn new(http: Arc<dyn Http>, settings: AwxSettings, ansible: Ansible) -> Self {
        Awx { http, settings, ansible, inventory: tokio::sync::Mutex::default() }
    }

    fn folder(&self, run: &RunId) -> PathBuf {
        folders::of(&self.ansible, run)
    }

    fn path(&self, rest: &str) -> String {
        format!("{}/{rest}", self.settings.api.trim_end_matches('/'))
    }

    async fn get<T: DeserializeOwned>(&self, path: String) -> Result<Option<T>, ExecutorError> {
        let reply = self.http.call(path.clone(), None).await?;
        match reply.status {
            200..=299 => serde_json::from_slice(&reply.body).map(Some).map_err(|error| away(&path, &error)),
            404 => Ok(None),
            status => Err(ExecutorError::Away(format!("{path}: HTTP {status}{}", said(&reply)))),
        }
    }

    /// All entries of a list, as far as `pages` pages of `per_page` go.
    async fn list<T: DeserializeOwned>(
        &self,
        list: String,
        per_page: usize,
        pages: usize,
    ) -> Result<Vec<T>, ExecutorError> {
        let (mut all, mut next) = (Vec::new(), Some(self.path(&format!("{list}&page_size={per_page}"))));
        for _ in 0..pages {
            let Some(path) = next.take() else { break };
            let page: Option<Page<T>> = self.get(path.clone()).await?;
            let page = page.ok_or_else(|| ExecutorError::Away(format!("{path}: HTTP 404")))?;
            all.extend(page.results);
            // It names its own paths; another host is never asked.
            next = page.next.filter(|next| next.starts_with('/') && !next.starts_with("//"));
        }
        Ok(all)
    }

    /// The job template of a playbook.
    async fn template(&self, playbook: &str) -> Result<Template, ExecutorError> {
        let name = self.settings.job_templates.get(playbook).map_or(playbook, String::as_str);
        let quoted: String = url::form_urlencoded::byte_serialize(name.as_bytes()).collect();
        let by = if name.bytes().all(|byte| byte.is_ascii_digit()) { "id" } else { "name__exact" };
        let found: Vec<Template> = self.list(format!("job_templates/?{by}={quoted}"), PER_PAGE, 1).await?;
        let (mut found, refused) = (found.into_iter(), |text| Err(ExecutorError::Refused(text)));
        match (found.next(), found.next()) {
            (Some(one), None) => Ok(one),
            (None, _) => refused(format!("the controller has no job template {name:?} that we may use")),
            _ => refused(format!("the controller has more than one job template {name:?}; name its number")),
        }
    }

    async fn begin(&self, request: RunRequest) -> Result<Started, ExecutorError> {
        if !is_plain(&request.target) {
            return Err(ExecutorError::Refused(format!("{:?} is not the plain name of one host", request.target)));
        }
        // Created only once, so an id is launched only once, as with runs of our own.
        let folder = folders::begin(&self.ansible, &request.run)?;
        folders::prune(&self.ansible);
        let started = self.launch(&request, &folder).await;
        if matches!(started, Err(ExecutorError::Refused(_))) {
            mark(&folder, names::ABANDONED)?;
        }
        started
    }

    async fn launch(&self, request: &RunRequest, folder: &Path) -> Result<Started, ExecutorError> {
        let template = match self.template(&request.playbook).await {
            // Nothing was launched, and under this id nothing will be.
            Err(ExecutorError::Away(why)) => return Err(ExecutorError::Refused(why)),
            other => other?,
        };
        let deaf = template.deaf_to(self.settings.inventory, request.check);
        if !deaf.is_empty() {
            return Err(ExecutorError::Refused(format!("{}; nothing was launched", takes_no(&deaf))));
        }
        let launch = Launch { template: template.id, timeout_ms: request.timeout_ms, at: now() };
        create_json(&folder.join(names::JOB), &launch).map_err(|error| ExecutorError::Refused(error.to_string()))?;
        let vars = launch_vars(&request.run, &request.vars);
        let body = json!({
            "limit": request.target,
            "inventory": self.settings.inventory,
            "job_type": job_type(request.check),
            "diff_mode": request.check,
            "extra_vars": vars,
        });
        let path = self.path(&format!("job_templates/{}/launch/", template.id));
        let reply = self.http.call(path.clone(), Some(body.to_string())).await?;
        let answer = || format!("HTTP {}{}", reply.status, said(&reply));
        match reply.status {
            200..=299 => {}
            // A proxy's 408 says nothing of what became of it.
            400..=407 | 409..=499 => {
                return Err(ExecutorError::Refused(format!("the controller refused: {}", answer())));
            }
            _ => return Err(ExecutorError::Away(format!("{path}: {}", answer()))),
        }
        let launched: Launched = serde_json::from_slice(&reply.body).map_err(|error| away(&path, &error))?;
        create_json(&folder.join(JOB), &JobNumber { job: launched.job }).map_err(|error| away("run folder", &error))?;
        tracing::info!(run = %request.run, job = launched.job, template = template.id, "launched");
        let ignored: Vec<&str> = launched.ignored_fields.keys().map(String::as_str).collect();
        if !ignored.is_empty() {
            // Launched already, without what it was to be told. Marked first, so that the cancelling is tried again.
            mark(folder, names::CANCEL)?;
            let text = format!("{}; job {}", takes_no(&ignored), launched.job);
            return match self.cancel_job(launched.job).await {
                Ok(()) => Err(ExecutorError::Refused(format!("{text} was cancelled"))),
                Err(error) => Err(ExecutorError::Away(format!("{text} is to be cancelled, but {error}"))),
            };
        }
        Ok(Started { playbook_sha256: None, vars_sha256: sha256(vars.to_string().as_bytes()), supervisor: None })
    }

    /// The job of a run, if it is known or can be found.
    async fn job(&self, run: &RunId) -> Result<Option<u64>, ExecutorError> {
        let folder = self.folder(run);
        let read = |error| away("run folder", &error);
        if let Some(known) = read_json::<JobNumber>(&folder.join(JOB)).map_err(read)? {
            return Ok(Some(known.job));
        }
        let Some(launch) = read_json::<Launch>(&folder.join(names::JOB)).map_err(read)? else { return Ok(None) };
        let path = format!("jobs/?job_template={}&order_by=-id", launch.template);
        let jobs: Vec<Found> = self.list(path, PER_PAGE, SEARCH_PAGES).await?;
        let Some(found) = jobs.iter().find(|job| job.is_of(run)) else { return Ok(None) };
        create_json(&folder.join(JOB), &JobNumber { job: found.id }).map_err(|error| away("run folder", &error))?;
        Ok(Some(found.id))
    }

    async fn look(&self, run: &RunId) -> Result<RunStatus, ExecutorError> {
        let folder = self.folder(run);
        if !folder.exists() {
            return Ok(RunStatus::Unknown);
        }
        if folder.join(names::ABANDONED).exists() {
            return Ok(RunStatus::Lost);
        }
        let launch: Option<Launch> = read_json(&folder.join(names::JOB)).map_err(|error| away("run folder", &error))?;
        let Some(launch) = launch else { return Ok(RunStatus::Lost) };
        let waited = u64::try_from(now().saturating_sub(launch.at)).unwrap_or(0);
        let Some(number) = self.job(run).await? else {
            let may_show = u128::from(waited) < LAUNCH_SHOWS.as_millis();
            return Ok(if may_show { RunStatus::Running } else { RunStatus::Lost });
        };
        let Some(job) = self.get::<Job>(self.path(&format!("jobs/{number}/"))).await? else {
            return Ok(RunStatus::Lost);
        };
        if job.goes_on() {
            if job.age_ms(waited) > launch.timeout_ms {
                mark(&folder, TIMED_OUT)?;
            }
            // Again with every look: one request to cancel may be lost.
            if [TIMED_OUT, names::CANCEL].iter().any(|name| folder.join(name).exists()) {
                self.cancel_job(number).await?;
            }
            return Ok(RunStatus::Running);
        }
        let hosts: Vec<HostSummary> =
            self.list(format!("jobs/{number}/job_host_summaries/?order_by=id"), PER_PAGE, PAGES).await?;
        let wanted = "runner_on_ok,runner_on_failed,runner_on_unreachable,runner_on_skipped";
        let told = format!("jobs/{number}/job_events/?order_by=counter&event__in={wanted}");
        let told: Vec<Event> = match self.list(told, EVENTS_PER_PAGE, EVENT_PAGES).await {
            // The verdict does not rest on them, so a run is not kept open for them for ever.
            Err(error) if waited > launch.timeout_ms.saturating_add(EVENTS_COME) => {
                tracing::warn!(%run, job = number, %error, "ends without its list of tasks");
                Vec::new()
            }
            told => told?,
        };
        let exit = exit_record(&job, folder.join(TIMED_OUT).exists());
        mark(&folder, names::EXIT)?;
        Ok(RunStatus::Ended(Box::new(Report { exit, events: events(hosts, told) })))
    }

    async fn cancel_job(&self, number: u64) -> Result<(), ExecutorError> {
        let path = self.path(&format!("jobs/{number}/cancel/"));
        let reply = self.http.call(path.clone(), Some("{}".into())).await?;
        match reply.status {
            // 405: it has ended.
            200..=299 | 405 => Ok(()),
            status => Err(ExecutorError::Away(format!("{path}: HTTP {status}{}", said(&reply)))),
        }
    }

    async fn give_up(&self, run: &RunId) -> Result<(), ExecutorError> {
        match self.look(run).await? {
            RunStatus::Running | RunStatus::Ended(_) => return Err(ExecutorError::StillRunning),
            RunStatus::Unknown => {
                folders::begin(&self.ansible, run)?;
            }
            RunStatus::Lost => {}
        }
        mark(&self.folder(run), names::ABANDONED)
    }

    async fn hosts(&self) -> Result<Inventory, ExecutorError> {
        let mut cache = self.inventory.lock().await;
        if let Some((_, inventory)) = cache.as_ref().filter(|(read, _)| read.elapsed() < INVENTORY_AGE) {
            return Ok(inventory.clone());
        }
        let list = |what: &str| format!("inventories/{}/{what}", self.settings.inventory);
        let hosts: Vec<Named> = self.list(list("hosts/?enabled=true"), PER_PAGE, PAGES).await?;
        let groups: Vec<Named> = self.list(list("groups/?order_by=id"), PER_PAGE, PAGES).await?;
        let groups = groups.into_iter().map(|group| group.name).chain(["all".into(), "ungrouped".into()]).collect();
        let inventory = Inventory { hosts: hosts.into_iter().map(|host| host.name).collect(), groups };
        *cache = Some((Instant::now(), inventory.clone()));
        Ok(inventory)
    }
}

impl Executor for Awx {
    fn ready(&self) -> BoxFuture<'_, Result<(), ExecutorError>> {
        async {
            let found: Option<serde_json::Value> = self.get(self.path("me/")).await?;
            found.map(drop).ok_or_else(|| ExecutorError::Away("there is no controller at ansible.awx.url".into()))
        }
        .boxed()
    }

    fn start(&self, request: RunRequest) -> BoxFuture<'_, Result<Started, ExecutorError>> {
        self.begin(request).boxed()
    }

    fn status(&self, run: RunId) -> BoxFuture<'_, Result<RunStatus, ExecutorError>> {
        async move { self.look(&run).await }.boxed()
    }

    fn cancel(&self, run: RunId) -> BoxFuture<'_, Result<(), ExecutorError>> {
        async move {
            // Kept, so that a job whose number is not known yet is cancelled as soon as it is.
            mark(&self.folder(&run), names::CANCEL)?;
            match self.job(&run).await? {
                Some(number) => self.cancel_job(number).await,
                None => Ok(()),
            }
        }
        .boxed()
    }

    fn abandon(&self, run: RunId) -> BoxFuture<'_, Result<(), ExecutorError>> {
        async move { self.give_up(&run).await }.boxed()
    }

    fn place(&self, run: &RunId) -> Option<Place> {
        let JobNumber { job } = read_json(&self.folder(run).join(JOB)).ok()??;
        let url = format!("{}/#/jobs/playbook/{job}/output", self.settings.url.trim_end_matches('/'));
        Some(Place { job, url })
    }

    fn inventory(&self) -> BoxFuture<'_, Result<Option<Inventory>, ExecutorError>> {
        async { self.hosts().await.map(Some) }.boxed()
    }

    fn outlives_us(&self) -> bool {
        true
    }
}

/// Leaves a mark in a run's folder.
fn mark(folder: &Path, name: &str) -> Result<(), ExecutorError> {
    let path = folder.join(name);
    if path.exists() { Ok(()) } else { create_private(&path, b"").map_err(|error| away("run folder", &error)) }
}

fn takes_no(fields: &[&str]) -> String {
    format!("the job template takes no {} at launch: set \"Prompt on launch\" for it", fields.join(", "))
}

fn away(what: &str, error: &dyn std::error::Error) -> ExecutorError {
    ExecutorError::Away(format!("{what}: {error}"))
}

/// The beginning of what a controller says with an error.
fn said(reply: &Reply) -> String {
    let text = String::from_utf8_lossy(&reply.body);
    let text = cut(&text, 300);
    if text.is_empty() { text } else { format!(": {text}") }
}

fn now() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
