//! What a supervisor is told (`job.json`) and what it leaves behind (`supervisor.json`, `exit.json`).
//!
//! A supervisor knows nothing of Ansible: it starts one program, keeps its output in bounds and its time limit, and
//! leaves no process behind.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::act::artifacts::{Artifact, Quota};

/// The environment variable by which every process of a run can be found, whatever its parent and session.
pub const MARKER: &str = "DAVYLAMP_RUN";

/// Names in a run folder.
pub mod names {
    /// What to do: [`super::Job`].
    pub const JOB: &str = "job.json";
    /// Who does it: [`super::Supervisor`]. It exists from before the program starts.
    pub const SUPERVISOR: &str = "supervisor.json";
    /// How it ended: [`super::ExitRecord`]. It exists once no process of the run is left.
    pub const EXIT: &str = "exit.json";
    /// Asks the supervisor to end the play.
    pub const CANCEL: &str = "cancel";
    /// Tells a supervisor that comes too late not to start.
    pub const ABANDONED: &str = "abandoned";
    /// Standard output (its last part, when it is cut; the first part is in `stdout.head`).
    pub const STDOUT: &str = "stdout";
    /// Standard error, likewise.
    pub const STDERR: &str = "stderr";
    /// Every file that the program's output may be in.
    pub const OUTPUTS: [&str; 4] = [STDOUT, "stdout.head", STDERR, "stderr.head"];
    /// What the callback plugin writes.
    pub const EVENTS: &str = "events.jsonl";
    /// Folder of secrets; gone when the program has ended.
    pub const SECRETS: &str = "secrets";
    /// Folder for files that are kept.
    pub const ARTIFACTS: &str = "artifacts";
}

/// One program to run under supervision.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Job {
    /// Value of the marker variable: the run's folder.
    pub marker: String,
    /// Program, by path or by name in `PATH`.
    pub program: PathBuf,
    /// Arguments. No shell ever sees them.
    pub args: Vec<String>,
    /// The whole environment; nothing is inherited.
    pub env: BTreeMap<String, String>,
    /// Time limit, milliseconds.
    pub timeout_ms: u64,
    /// Time between SIGTERM and SIGKILL, milliseconds.
    pub grace_ms: u64,
    /// Most bytes that are kept of standard output, and as many of standard error.
    pub output_limit: u64,
    /// How much the program may leave in its folder of artifacts.
    #[serde(default)]
    pub artifacts: Quota,
}

/// The living supervisor of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Supervisor {
    /// Process id.
    pub pid: i32,
    /// Start time in clock ticks since boot: with the id it names one process for good.
    pub start_time: u64,
}

/// Why a program is no longer running.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ending {
    /// By itself.
    Exited,
    /// It ran into the time limit.
    TimedOut,
    /// Somebody asked for it.
    Cancelled,
    /// It could not be started.
    NotStarted,
}

/// How a supervised program ended.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct ExitRecord {
    /// Why.
    pub ending: Ending,
    /// Exit status, when it exited.
    pub code: Option<i32>,
    /// Signal, when one killed it.
    pub signal: Option<i32>,
    /// When it was started, milliseconds since the epoch.
    pub started_at: i64,
    /// When the last of its processes was gone, milliseconds since the epoch.
    pub ended_at: i64,
    /// Processes that outlived it and were killed.
    pub killed: u32,
    /// Processes that could not be killed (another user's).
    pub survivors: u32,
    /// Bytes of output that were not kept, at least: what is written in the very moment of a cut is not counted.
    pub output_dropped: u64,
    /// What went wrong, for a person.
    pub detail: String,
    /// Files that it left.
    #[serde(default)]
    pub artifacts: Vec<Artifact>,
    /// Files that it left and that were removed, because they were too many, too large, or no plain files.
    #[serde(default)]
    pub artifacts_dropped: u64,
}

impl ExitRecord {
    /// The record of a program that ended in this way, with nothing more to say.
    pub fn new(ending: Ending, started_at: i64, ended_at: i64) -> Self {
        ExitRecord {
            ending,
            code: None,
            signal: None,
            started_at,
            ended_at,
            killed: 0,
            survivors: 0,
            output_dropped: 0,
            detail: String::new(),
            artifacts: Vec::new(),
            artifacts_dropped: 0,
        }
    }
}
