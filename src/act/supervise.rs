//! The supervisor of one run: a small process of its own (`davylamp supervise RUN_DIR`, the same binary) that outlives
//! the daemon, starts the play, keeps its output and its time in bounds and writes how it ended.
//!
//! It is synchronous and single-threaded on purpose: nothing in it may hang on anything but the play.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant, SystemTime};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::process::{Pid, PidfdFlags, Signal, WaitOptions, WaitStatus};

use crate::act::artifacts;
use crate::act::files::{FileError, RunLock, create_json, read_json, write_json};
use crate::act::job::{Ending, ExitRecord, Job, Supervisor, names};
use crate::act::keys;
use crate::act::process;

/// How often the supervisor looks at the clock, the output's size and a wish to cancel.
const LOOK: Timespec = Timespec { tv_sec: 0, tv_nsec: 50_000_000 };
/// How long killing may take before the rest is reported as survivors.
const SWEEP_LIMIT: Duration = Duration::from_secs(10);

/// Why a supervisor did not do its work. No program was started then.
#[derive(Debug, thiserror::Error)]
enum SuperviseError {
    #[error(transparent)]
    File(#[from] FileError),
    #[error("the run in {} was given up before it started", .0.display())]
    Abandoned(PathBuf),
    #[error("the run in {} was started before; a run is never started twice", .0.display())]
    StartedBefore(PathBuf),
    #[error("{} holds no job", .0.display())]
    NoJob(PathBuf),
    #[error("cannot become a subreaper: {0}")]
    Subreaper(rustix::io::Errno),
}

/// Runs the job of a run folder to its end. Entry point of the hidden subcommand `supervise`. It prints one line
/// (`ready`) on standard output once it holds the run's lock and is on record.
pub fn main(folder: &Path) -> ExitCode {
    match supervise(folder) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // The parent gave us a file for this; there is nobody else to tell.
            let _ = writeln!(std::io::stderr(), "davylamp supervise: {error}");
            ExitCode::FAILURE
        }
    }
}

fn supervise(folder: &Path) -> Result<(), SuperviseError> {
    // Fails only for a leader of a group, who has left the parent's session already.
    let _ = rustix::process::setsid();
    let own = rustix::process::getpid();
    rustix::process::set_child_subreaper(Some(own)).map_err(SuperviseError::Subreaper)?;
    // Whoever gives a run up does it under this lock: either the mark is there now, or we are on record.
    let _lock = RunLock::take(folder, true)?;
    if folder.join(names::ABANDONED).exists() {
        return Err(SuperviseError::Abandoned(folder.to_path_buf()));
    }
    if folder.join(names::SUPERVISOR).exists() || folder.join(names::EXIT).exists() {
        return Err(SuperviseError::StartedBefore(folder.to_path_buf()));
    }
    let job: Job = read_json(&folder.join(names::JOB))?.ok_or_else(|| SuperviseError::NoJob(folder.to_path_buf()))?;
    let pid = own.as_raw_nonzero().get();
    let start_time = process::start_time(pid).unwrap_or_default();
    create_json(&folder.join(names::SUPERVISOR), &Supervisor { pid, start_time })?;
    // The parent may be gone, and then nobody reads it.
    let _ = std::io::stdout().write_all(b"ready\n").and_then(|()| std::io::stdout().flush());
    let record = run(folder, &job, own);
    write_json(&folder.join(names::EXIT), &record)?;
    Ok(())
}

/// The program while it runs.
struct Play {
    pid: Pid,
    status: Option<WaitStatus>,
    outputs: [Output; 2],
}

fn run(folder: &Path, job: &Job, own: Pid) -> ExitRecord {
    let started_at = now();
    let mut record = ExitRecord::new(Ending::Exited, started_at, started_at);
    match start(folder, job) {
        Ok(mut play) => {
            record.ending = play.wait(folder, job);
            let sweep = process::kill_all(&job.marker, Some(own), SWEEP_LIMIT);
            (record.killed, record.survivors) = (sweep.killed, sweep.survivors);
            record.code = play.status.and_then(WaitStatus::exit_status);
            record.signal = play.status.and_then(WaitStatus::terminating_signal);
            record.output_dropped = play.outputs.iter_mut().map(Output::finish).sum();
        }
        Err(error) => (record.ending, record.detail) = (Ending::NotStarted, error.to_string()),
    }
    let left = artifacts::collect(&folder.join(names::ARTIFACTS), &job.artifacts);
    (record.artifacts, record.artifacts_dropped) = (left.kept, left.dropped);
    if let Err(error) = keys::clean_up(folder) {
        record.detail = format!("{} {error}", record.detail).trim().to_string();
    }
    record.ended_at = now();
    record
}

fn start(folder: &Path, job: &Job) -> Result<Play, FileError> {
    let (out, stdout) = Output::open(folder, names::STDOUT, job.output_limit)?;
    let (err, stderr) = Output::open(folder, names::STDERR, job.output_limit)?;
    let child = Command::new(&job.program)
        .args(&job.args)
        .env_clear()
        .envs(&job.env)
        .current_dir(folder)
        .stdin(Stdio::null())
        .stdout(stdout)
        .stderr(stderr)
        // A group of its own, so that SIGTERM reaches the play's group and not us.
        .process_group(0)
        .spawn()
        .map_err(FileError::on("start", &job.program))?;
    Ok(Play { pid: Pid::from_child(&child), status: None, outputs: [out, err] })
}

impl Play {
    /// Waits for the end, asks for it when it is time, and in the end insists.
    fn wait(&mut self, folder: &Path, job: &Job) -> Ending {
        let deadline = Instant::now() + Duration::from_millis(job.timeout_ms);
        let ending = loop {
            if self.look() {
                return Ending::Exited;
            }
            if folder.join(names::CANCEL).exists() {
                break Ending::Cancelled;
            }
            if Instant::now() >= deadline {
                break Ending::TimedOut;
            }
        };
        // The group is the play's own, so there is nobody else in it; an error means that it is gone.
        let _ = rustix::process::kill_process_group(self.pid, Signal::TERM);
        let grace = Instant::now() + Duration::from_millis(job.grace_ms);
        while Instant::now() < grace && !self.look() {}
        let _ = rustix::process::kill_process_group(self.pid, Signal::KILL);
        let last = Instant::now() + SWEEP_LIMIT;
        while Instant::now() < last && !self.look() {}
        ending
    }

    /// Waits a moment for the program to end; buries the dead, cuts the output. True once the program is gone.
    fn look(&mut self) -> bool {
        if self.status.is_none()
            && let Ok(handle) = rustix::process::pidfd_open(self.pid, PidfdFlags::empty())
        {
            // Interrupted or not: everything is looked at again.
            let _ = rustix::event::poll(&mut [PollFd::new(&handle, PollFlags::IN)], Some(&LOOK));
        }
        while let Ok(Some((pid, status))) = rustix::process::wait(WaitOptions::NOHANG) {
            if pid == self.pid {
                self.status = Some(status);
            }
        }
        if self.status.is_none() {
            self.outputs.iter_mut().for_each(Output::cut);
        }
        self.status.is_some()
    }
}

/// One output of the program: a file that it appends to, never a pipe, so that nothing it writes can hang it. When the
/// file outgrows half of the limit its beginning is set aside once, and then it is emptied: what stays is the beginning
/// and the latest part. Between two looks it may be larger.
struct Output {
    file: File,
    head: PathBuf,
    half: u64,
    saved: bool,
    dropped: u64,
}

impl Output {
    fn open(folder: &Path, name: &str, limit: u64) -> Result<(Self, File), FileError> {
        let path = folder.join(name);
        let failed = FileError::on("create", &path);
        let mut options = OpenOptions::new();
        let file = options.read(true).append(true).create(true).mode(0o600).open(&path).map_err(&failed)?;
        let writer = file.try_clone().map_err(&failed)?;
        let head = folder.join(format!("{name}.head"));
        Ok((Output { file, head, half: (limit / 2).max(1), saved: false, dropped: 0 }, writer))
    }

    fn size(&self) -> u64 {
        self.file.metadata().map_or(0, |metadata| metadata.len())
    }

    /// Sets the beginning aside, once. Says how much of the file is kept by that.
    fn save_head(&mut self) -> u64 {
        let first = !self.saved;
        if first {
            let mut start = vec![0; usize::try_from(self.half).unwrap_or(usize::MAX)];
            // A beginning that cannot be set aside is lost output, which is counted; the play goes on.
            self.saved = self.file.read_exact_at(&mut start, 0).is_ok() && std::fs::write(&self.head, &start).is_ok();
        }
        if first && self.saved { self.half } else { 0 }
    }

    fn cut(&mut self) {
        let size = self.size();
        if size > self.half {
            let kept = self.save_head();
            if self.file.set_len(0).is_ok() {
                self.dropped += size - kept;
            }
        }
    }

    /// Cuts a last time, when nobody writes any more: the end is kept. Says how much was dropped in all.
    fn finish(&mut self) -> u64 {
        let size = self.size();
        if size > self.half {
            let kept = self.save_head();
            let end = self.half.min(size - kept);
            let mut tail = vec![0; usize::try_from(end).unwrap_or(usize::MAX)];
            let read = self.file.read_exact_at(&mut tail, size - end).is_ok();
            if read && self.file.set_len(0).is_ok() && self.file.write_all(&tail).is_ok() {
                self.dropped += size - kept - end;
            }
        }
        self.dropped
    }
}

fn now() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
