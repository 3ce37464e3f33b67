//! Reading what the callback plugin wrote: bounded, and forgiving about a last line that was cut by a kill.

use std::collections::BTreeMap;

/// Most task results that are kept of a run. Failures push out successes.
pub const MAX_TASKS: usize = 100;
/// Most hosts in the statistics. A run has one target; more is a mistake that need not be listed in full.
const MAX_HOSTS: usize = 50;
/// Longest name and longest message of a task result, in bytes: with [`MAX_TASKS`] of them, every character escaped,
/// the record of a run stays below the 256 KiB that a ledger takes. One that does not fit could never be written.
const MAX_NAME: usize = 80;
const MAX_MESSAGE: usize = 300;

/// The beginning of a text that fits into so many bytes, without control characters.
pub(super) fn cut(text: &str, bytes: usize) -> String {
    let fits = text.char_indices().take_while(|(at, c)| at + c.len_utf8() <= bytes);
    fits.map(|(_, c)| if c.is_control() { ' ' } else { c }).collect()
}

/// The result of one task on one host.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct TaskResult {
    /// Inventory host.
    pub host: String,
    /// Name of the task.
    pub task: String,
    /// Module.
    pub module: String,
    /// `ok`, `skipped`, `failed` or `unreachable`.
    pub status: String,
    /// Whether it changed something.
    pub changed: bool,
    /// A failure that the playbook says to ignore.
    pub ignored: bool,
    /// What the module said; `(no_log)` where the task forbids it.
    pub message: String,
}

/// Counts of one host at the end of a play.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct HostStats {
    /// Tasks that went well, changes included.
    pub ok: u32,
    /// Tasks that changed something.
    pub changed: u32,
    /// Tasks that failed.
    pub failures: u32,
    /// Times the host was not reached.
    pub unreachable: u32,
    /// Tasks that were skipped.
    pub skipped: u32,
    /// Failures that a `rescue` section caught.
    pub rescued: u32,
    /// Failures that were ignored.
    pub ignored: u32,
}

/// What a play reported.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Events {
    /// Task results in order, at most [`MAX_TASKS`].
    pub tasks: Vec<TaskResult>,
    /// Results that are not in `tasks`.
    pub tasks_dropped: u64,
    /// The statistics; `None` when the play did not get that far.
    pub stats: Option<BTreeMap<String, HostStats>>,
    /// Hosts that are not in `stats` because there are too many.
    pub hosts_dropped: u64,
}

#[derive(serde::Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
enum Line {
    Task(TaskResult),
    Stats { hosts: BTreeMap<String, HostStats>, tasks_skipped: u64 },
}

impl Events {
    /// Reads the JSON lines. A line that is none is counted as dropped: the verdict does not rest on it.
    pub fn parse(bytes: &[u8]) -> Events {
        let mut events = Events::default();
        for line in bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            match serde_json::from_slice(line) {
                Ok(Line::Task(task)) => events.keep(task),
                Ok(Line::Stats { hosts, tasks_skipped }) => {
                    events.hosts_dropped = hosts.len().saturating_sub(MAX_HOSTS) as u64;
                    events.stats = Some(hosts.into_iter().take(MAX_HOSTS).collect());
                    events.tasks_dropped += tasks_skipped;
                }
                Err(_) => events.tasks_dropped += 1,
            }
        }
        events
    }

    /// Keeps a result, cut to size.
    pub(super) fn keep(&mut self, mut task: TaskResult) {
        for name in [&mut task.host, &mut task.task, &mut task.module, &mut task.status] {
            *name = cut(name, MAX_NAME);
        }
        task.message = cut(&task.message, MAX_MESSAGE);
        if self.tasks.len() < MAX_TASKS {
            return self.tasks.push(task);
        }
        self.tasks_dropped += 1;
        let failed = |task: &TaskResult| matches!(task.status.as_str(), "failed" | "unreachable");
        if failed(&task)
            && let Some(at) = self.tasks.iter().rposition(|kept| !failed(kept))
        {
            self.tasks.remove(at);
            self.tasks.push(task);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn task(n: usize, status: &str) -> String {
        format!(
            r#"{{"event":"task","host":"h","task":"t{n}","module":"m","status":"{status}","changed":false,"ignored":false,"message":"a\u0007b"}}"#
        )
    }

    #[test]
    fn keeps_failures_when_there_is_too_much() {
        let mut lines: Vec<String> = (0..150).map(|n| task(n, "ok")).collect();
        lines.push(task(999, "failed"));
        lines.push(r#"{"event":"stats","hosts":{"h":{"ok":150,"changed":0,"failures":1,"unreachable":0,"skipped":0,"rescued":0,"ignored":0}},"tasks_skipped":3}"#.into());
        lines.push("{\"event\":\"ta".into());
        let events = Events::parse(lines.join("\n").as_bytes());
        assert_eq!(events.tasks.len(), MAX_TASKS);
        assert_eq!(events.tasks.last().map(|task| task.task.as_str()), Some("t999"));
        assert_eq!(events.tasks[0].message, "a b");
        assert_eq!(events.tasks_dropped, 51 + 3 + 1);
        assert_eq!(events.stats.unwrap()["h"].failures, 1);
    }

    #[test]
    fn nothing_is_no_statistics() {
        assert_eq!(Events::parse(b""), Events::default());
    }
}
