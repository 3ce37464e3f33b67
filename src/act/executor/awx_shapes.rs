//! What a controller's API says and is told, and what it means for a run. Pure.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value as Json;

use crate::act::events::{Events, HostStats, TaskResult};
use crate::act::job::{Ending, ExitRecord};
use crate::act::run::RunId;
use crate::act::vars::Value;

/// A page of a list.
#[derive(Deserialize)]
pub(super) struct Page<T> {
    pub(super) results: Vec<T>,
    pub(super) next: Option<String>,
}

/// Anything with a name.
#[derive(Deserialize)]
pub(super) struct Named {
    pub(super) name: String,
}

/// A job template, with what it takes at launch. A field that is absent is not known to be refused.
#[derive(Deserialize)]
pub(super) struct Template {
    pub(super) id: u64,
    inventory: Option<u64>,
    #[serde(default)]
    job_type: String,
    #[serde(default)]
    diff_mode: bool,
    ask_limit_on_launch: Option<bool>,
    ask_variables_on_launch: Option<bool>,
    ask_inventory_on_launch: Option<bool>,
    ask_job_type_on_launch: Option<bool>,
    ask_diff_mode_on_launch: Option<bool>,
}

impl Template {
    /// What it would not take of a launch: it would then run on other hosts, or for real instead of as a check.
    pub(super) fn deaf_to(&self, inventory: u64, check: bool) -> Vec<&'static str> {
        let fields = [
            ("limit", self.ask_limit_on_launch, true),
            ("extra_vars", self.ask_variables_on_launch, true),
            ("inventory", self.ask_inventory_on_launch, self.inventory != Some(inventory)),
            ("job_type", self.ask_job_type_on_launch, self.job_type != job_type(check)),
            ("diff_mode", self.ask_diff_mode_on_launch, self.diff_mode != check),
        ];
        let deaf = |(name, asks, differs): (&'static str, Option<bool>, bool)| {
            (asks == Some(false) && differs).then_some(name)
        };
        fields.into_iter().filter_map(deaf).collect()
    }
}

/// Whether a job changes anything, in the controller's words.
pub(super) fn job_type(check: bool) -> &'static str {
    if check { "check" } else { "run" }
}

/// The answer to a launch.
#[derive(Deserialize)]
pub(super) struct Launched {
    pub(super) job: u64,
    #[serde(default)]
    pub(super) ignored_fields: BTreeMap<String, Json>,
}

/// A job in a list.
#[derive(Deserialize)]
pub(super) struct Found {
    pub(super) id: u64,
    /// JSON as text.
    #[serde(default)]
    extra_vars: String,
}

impl Found {
    /// Whether it was launched for this run.
    pub(super) fn is_of(&self, run: &RunId) -> bool {
        let vars: Json = serde_json::from_str(&self.extra_vars).unwrap_or_default();
        vars.pointer("/davylamp/run").and_then(Json::as_str) == Some(run.as_str())
    }
}

/// A job.
#[derive(Deserialize)]
pub(super) struct Job {
    status: String,
    #[serde(default)]
    job_explanation: String,
    #[serde(default)]
    result_traceback: String,
    /// False while events are still being written into its database.
    event_processing_finished: Option<bool>,
    started: Option<String>,
    finished: Option<String>,
    /// Seconds since it was started, by the controller's clock.
    #[serde(default)]
    elapsed: f64,
}

impl Job {
    /// Whether it has not ended, or not all of it can be read yet.
    pub(super) fn goes_on(&self) -> bool {
        let ended = matches!(self.status.as_str(), "successful" | "failed" | "error" | "canceled");
        !ended || self.event_processing_finished == Some(false)
    }

    /// Milliseconds that it has run; of one that waits for its turn, `waited`.
    pub(super) fn age_ms(&self, waited: u64) -> u64 {
        let elapsed = Duration::try_from_secs_f64(self.elapsed).unwrap_or_default();
        if self.started.is_some() { u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX) } else { waited }
    }
}

/// The counts of one host.
#[derive(Deserialize)]
pub(super) struct HostSummary {
    host_name: String,
    #[serde(default)]
    ok: u32,
    #[serde(default)]
    changed: u32,
    #[serde(default)]
    failures: u32,
    /// Unreachable.
    #[serde(default)]
    dark: u32,
    #[serde(default)]
    skipped: u32,
    #[serde(default)]
    rescued: u32,
    #[serde(default)]
    ignored: u32,
}

/// One event of a job.
#[derive(Deserialize)]
pub(super) struct Event {
    event: String,
    #[serde(default)]
    host_name: String,
    #[serde(default)]
    task: String,
    #[serde(default)]
    changed: bool,
    #[serde(default)]
    event_data: Json,
}

/// How a job ended, in the words of a program.
pub(super) fn exit_record(job: &Job, timed_out: bool) -> ExitRecord {
    let time = |text: &Option<String>| {
        let at = text.as_deref().and_then(|text| chrono::DateTime::parse_from_rfc3339(text).ok());
        at.map_or(0, |at| at.timestamp_millis())
    };
    let (ending, code) = match job.status.as_str() {
        "successful" => (Ending::Exited, Some(0)),
        "failed" => (Ending::Exited, Some(2)),
        "canceled" if timed_out => (Ending::TimedOut, None),
        "canceled" => (Ending::Cancelled, None),
        _ => (Ending::NotStarted, None),
    };
    let why = if job.job_explanation.is_empty() { &job.result_traceback } else { &job.job_explanation };
    let detail = format!("the controller says {}: {}", job.status, crate::act::events::cut(why, 300));
    ExitRecord { code, detail, ..ExitRecord::new(ending, time(&job.started), time(&job.finished)) }
}

/// Results per task and host.
pub(super) fn events(hosts: Vec<HostSummary>, told: Vec<Event>) -> Events {
    let mut events = Events::default();
    for event in told {
        let status = event.event.strip_prefix("runner_on_").unwrap_or(&event.event).to_string();
        let text = |path: &str| event.event_data.pointer(path).and_then(Json::as_str).unwrap_or_default().to_string();
        events.keep(TaskResult {
            host: event.host_name.clone(),
            task: event.task.clone(),
            module: text("/task_action"),
            status,
            changed: event.changed,
            ignored: event.event_data.pointer("/ignore_errors").and_then(Json::as_bool).unwrap_or(false),
            message: text("/res/msg"),
        });
    }
    // Without a host there were no statistics: the play did not get that far.
    events.stats = (!hosts.is_empty()).then(|| {
        let counts = |host: &HostSummary| HostStats {
            ok: host.ok,
            changed: host.changed,
            failures: host.failures,
            unreachable: host.dark,
            skipped: host.skipped,
            rescued: host.rescued,
            ignored: host.ignored,
        };
        hosts.iter().map(|host| (host.host_name.clone(), counts(host))).collect()
    });
    events
}

/// The extra variables of a launch. A controller knows no `!unsafe`, so text that could be a template is left out.
pub(super) fn launch_vars(run: &RunId, vars: &Value) -> Json {
    let mut inner = plain(vars);
    if !inner.is_object() {
        inner = serde_json::json!({});
    }
    inner["run"] = run.as_str().into();
    serde_json::json!({"davylamp": inner})
}

fn plain(value: &Value) -> Json {
    let template = |text: &str| ["{{", "{%", "{#"].iter().any(|mark| text.contains(mark));
    match value {
        Value::Null => Json::Null,
        Value::Int(number) => (*number).into(),
        Value::Float(number) => serde_json::Number::from_f64(*number).map_or(Json::Null, Json::Number),
        Value::Text(text) if template(text) => "(left out: it could be a template)".into(),
        Value::Text(text) => text.as_str().into(),
        Value::Map(map) => {
            let kept = map.iter().filter(|(key, _)| !template(key));
            kept.map(|(key, value)| (key.clone(), plain(value))).collect::<serde_json::Map<_, _>>().into()
        }
    }
}
