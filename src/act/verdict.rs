//! From what a run left behind to what it was worth. Pure.
//!
//! The exit status is not the verdict: ansible-playbook also says 0 when no host matched or the inventory is missing,
//! 4 for an unreachable host and for a YAML error, 2 for a failed task and for a bad option.

use crate::act::events::Events;
use crate::act::job::{Ending, ExitRecord};
use crate::act::run::RunState;

/// Reads the verdict: succeeded only when every expected host is in the statistics with something processed, nobody
/// failed or was unreachable, nobody else was touched, and the program itself ended well. The text says why.
pub fn verdict(exit: &ExitRecord, events: &Events, expected: &[&str]) -> (RunState, String) {
    match exit.ending {
        Ending::TimedOut => return (RunState::TimedOut, "the time limit was reached and the play was ended".into()),
        Ending::Cancelled => return (RunState::Cancelled, "the play was ended on request".into()),
        Ending::NotStarted => return (RunState::Failed, exit.detail.clone()),
        Ending::Exited => {}
    }
    let how = match (exit.code, exit.signal) {
        (Some(code), _) => format!("exit status {code}"),
        (None, Some(signal)) => format!("killed by signal {signal}"),
        (None, None) => "it ended in an unknown way".to_string(),
    };
    let Some(stats) = &events.stats else {
        let text = format!("{how}, and the play wrote no statistics: {}", exit.detail);
        return (RunState::Failed, text);
    };
    if let Some(host) = stats.iter().find(|(_, counts)| counts.unreachable > 0).map(|(host, _)| host) {
        return (RunState::Unreachable, format!("{host} was unreachable{}", message(events, host)));
    }
    if let Some((host, counts)) = stats.iter().find(|(_, counts)| counts.failures > 0) {
        return (RunState::Failed, format!("{} failed on {host}{}", tasks(counts.failures), message(events, host)));
    }
    for host in expected {
        let processed = stats.get(*host).is_some_and(|counts| counts.ok + counts.skipped + counts.rescued > 0);
        if !processed {
            let text = format!("no task ran on {host} ({how}): does a play of the playbook name this host in hosts?");
            return (RunState::Failed, text);
        }
    }
    if let Some(host) = stats.keys().find(|host| !expected.contains(&host.as_str())) {
        return (RunState::Failed, format!("the play ran on {host} too, which is not the target"));
    }
    match exit.code {
        Some(0) => (RunState::Succeeded, String::new()),
        _ => (RunState::Failed, format!("no task failed, but {how}")),
    }
}

fn tasks(count: u32) -> String {
    if count == 1 { "a task".to_string() } else { format!("{count} tasks") }
}

/// What the last failure on a host said.
fn message(events: &Events, host: &str) -> String {
    let told =
        events.tasks.iter().rev().find(|task| {
            task.host == host && !task.ignored && matches!(task.status.as_str(), "failed" | "unreachable")
        });
    told.map_or_else(String::new, |task| format!(", task {:?}: {}", task.task, task.message))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::act::events::HostStats;

    fn exited(code: i32) -> ExitRecord {
        ExitRecord { code: Some(code), ..ExitRecord::new(Ending::Exited, 0, 1) }
    }

    fn stats(hosts: &[(&str, HostStats)]) -> Events {
        let stats = hosts.iter().map(|(host, counts)| (host.to_string(), *counts)).collect();
        Events { stats: Some(stats), ..Events::default() }
    }

    const OK: HostStats =
        HostStats { ok: 1, changed: 0, failures: 0, unreachable: 0, skipped: 0, rescued: 0, ignored: 0 };

    #[test]
    fn needs_the_expected_host_and_nobody_else() {
        let say = |code, events: &Events| verdict(&exited(code), events, &["a"]).0;
        assert_eq!(say(0, &stats(&[("a", OK)])), RunState::Succeeded);
        assert_eq!(say(0, &stats(&[])), RunState::Failed, "no host matched, exit status 0");
        assert_eq!(say(0, &Events::default()), RunState::Failed, "no statistics");
        assert_eq!(say(0, &stats(&[("b", OK)])), RunState::Failed, "another host");
        assert_eq!(say(0, &stats(&[("a", OK), ("b", OK)])), RunState::Failed, "one host too many");
        assert_eq!(say(0, &stats(&[("a", HostStats::default())])), RunState::Failed, "nothing processed");
        assert_eq!(say(4, &stats(&[("a", OK)])), RunState::Failed, "a crash after the statistics");
        assert_eq!(say(0, &stats(&[("a", HostStats { failures: 1, ..OK })])), RunState::Failed);
        assert_eq!(say(4, &stats(&[("a", HostStats { unreachable: 1, ..OK })])), RunState::Unreachable);
        assert_eq!(say(0, &stats(&[("a", HostStats { ok: 0, skipped: 2, ..OK })])), RunState::Succeeded);
    }

    #[test]
    fn a_kill_is_never_a_success() {
        let ended = |ending| verdict(&ExitRecord { ending, ..exited(0) }, &stats(&[("a", OK)]), &["a"]).0;
        assert_eq!(ended(Ending::TimedOut), RunState::TimedOut);
        assert_eq!(ended(Ending::Cancelled), RunState::Cancelled);
        assert_eq!(ended(Ending::NotStarted), RunState::Failed);
    }
}
