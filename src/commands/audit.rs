//! `davylamp audit`: the audit log of a running daemon, or of the state of a stopped one. The chain is checked here,
//! not by whoever hands the log out.

use std::collections::VecDeque;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, bail};

use super::ask::Daemon;
use super::state::folder;
use super::{complain, runtime, say};
use crate::args::tell::{DAEMON_URL, DaemonArgs};
use crate::args::{AuditCommand, AuditRange, StatePath};
use davylamp::api::audit::{AuditPage, MOST};
use davylamp::audit::{Link, Verdict, Verifier, parse};
use davylamp::daemon::audit_page;
use davylamp::model::FailureReason;
use davylamp::store::state::{OpenOptions, SledState, StateStore};

/// Most records that are listed.
const MOST_LISTED: usize = 10_000;

/// Runs one of the commands.
pub fn audit(command: &AuditCommand) -> anyhow::Result<ExitCode> {
    runtime()?.block_on(async {
        match command {
            AuditCommand::Verify { state, anchor } => verify(&Log::open(state).await?, anchor).await,
            AuditCommand::List(range) => list(&Log::open(&range.state).await?, range).await,
            AuditCommand::Export { state, output } => {
                let log = Log::open(state).await?;
                let file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(output);
                let mut file = std::io::BufWriter::new(file.with_context(|| output.display().to_string())?);
                let mut write = |line: String| writeln!(file, "{line}").with_context(|| output.display().to_string());
                let verdict = log.each(&[], |_, record| write(record.replacen('\n', " ", 1))).await?;
                write(format!("head {}", verdict.head))?;
                file.flush()?;
                say(&format!("{}: {} records, head {}", output.display(), verdict.records, verdict.head))?;
                Ok(judge(&verdict))
            }
        }
    })
}

/// Where the log comes from.
enum Log {
    Daemon(Box<Daemon>),
    State(Arc<dyn StateStore>),
}

impl Log {
    /// Of the daemon, if one runs; else of its state, or of the folder that is named.
    async fn open(path: &StatePath) -> anyhow::Result<Log> {
        if path.path.is_none() {
            let daemon = Daemon::find(&DaemonArgs {
                config: path.config.config.clone(),
                url: std::env::var(DAEMON_URL).ok(),
                token_file: None,
            })?;
            match daemon.call("GET", "/api/v1/audit?limit=1", None).await? {
                Ok(_) => return Ok(Log::Daemon(Box::new(daemon))),
                Err(failure) if failure.reason == FailureReason::Unreachable => {}
                Err(failure) => return Err(failure.into()),
            }
        }
        let folder = folder(path)?;
        if !folder.is_dir() {
            bail!("{}: there is no state", folder.display());
        }
        let (store, _) = SledState::open(OpenOptions::new(&folder))?;
        Ok(Log::State(Arc::new(store)))
    }

    async fn page(&self, after: u64) -> anyhow::Result<AuditPage> {
        match self {
            Log::Daemon(daemon) => {
                let page = daemon.call("GET", &format!("/api/v1/audit?after={after}&limit={MOST}"), None).await??;
                serde_json::from_value(page).context("the daemon answered something else")
            }
            Log::State(store) => audit_page(store.clone(), after, MOST).await.map_err(anyhow::Error::msg),
        }
    }

    /// Hands over every record, checked as it goes.
    async fn each(
        &self,
        anchors: &[Link],
        mut take: impl FnMut(u64, &str) -> anyhow::Result<()>,
    ) -> anyhow::Result<Verdict> {
        let (mut after, mut verifier) = (0, None);
        loop {
            let page = self.page(after).await?;
            let verifier = verifier.get_or_insert_with(|| {
                let mut verifier = Verifier::new(page.cut.clone());
                anchors.iter().for_each(|anchor| verifier.anchor(anchor.clone()));
                verifier
            });
            for (seq, record) in &page.records {
                verifier.take(*seq, record);
                take(*seq, record)?;
                after = *seq;
            }
            if !page.more {
                return Ok(std::mem::replace(verifier, Verifier::new(None)).finish(&page.head));
            }
        }
    }
}

async fn verify(log: &Log, anchors: &[Link]) -> anyhow::Result<ExitCode> {
    let verdict = log.each(anchors, |_, _| Ok(())).await?;
    if verdict.is_sound() {
        say(&format!("{} records, whole and in order; head {}", verdict.records, verdict.head))?;
    }
    Ok(judge(&verdict))
}

fn judge(verdict: &Verdict) -> ExitCode {
    verdict.faults.iter().for_each(|fault| complain(fault));
    if verdict.more > 0 {
        complain(&format!("… and {} more", verdict.more));
    }
    if verdict.is_sound() { ExitCode::SUCCESS } else { ExitCode::from(1) }
}

async fn list(log: &Log, range: &AuditRange) -> anyhow::Result<ExitCode> {
    let mut lines = VecDeque::new();
    let verdict = log
        .each(&[], |seq, record| {
            let Some(found) = parse(record) else { return Ok(()) };
            let entry = found.entry;
            if range.subject.as_ref().is_some_and(|subject| *subject != entry.subject) {
                return Ok(());
            }
            let at = chrono::DateTime::from_timestamp_millis(entry.at).map(|at| at.to_rfc3339()).unwrap_or_default();
            let word =
                |name: &str| entry.facts.get(name).and_then(|fact| fact.as_str()).unwrap_or_default().to_string();
            let about = [word("binding"), word("target"), word("detail")].join(" ");
            // Text from alerts: no control characters reach the terminal.
            let about: String = about.trim().chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
            lines.push_back(format!("{seq:>8}  {at}  {}  {}  by {:?}  {about}", entry.what, entry.subject, entry.who));
            if lines.len() > range.limit.clamp(1, MOST_LISTED) {
                lines.pop_front();
            }
            Ok(())
        })
        .await?;
    for line in &lines {
        say(line.trim_end())?;
    }
    Ok(judge(&verdict))
}
