//! Reading `/proc`: who descends from whom, who carries a run's marker; and ending them all.
//!
//! Since ansible-core 2.19 workers call `setsid`, so a signal to the process group leaves them running. What finds them
//! is the parent chain up to the supervisor (a subreaper, so orphans become its children), and the marker variable in
//! their environment, which also works when the supervisor is gone.

use std::collections::{BTreeSet, HashMap};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, WaitOptions};

use crate::act::job::MARKER;

/// One line of `/proc/<pid>/stat`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stat {
    state: char,
    parent: i32,
    start_time: u64,
}

fn stat(pid: i32) -> Option<Stat> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The command may hold spaces and brackets: the fields begin after the last closing one.
    let mut fields = text.rsplit_once(')')?.1.split_ascii_whitespace();
    let state = fields.next()?.chars().next()?;
    let parent = fields.next()?.parse().ok()?;
    // starttime is field 22 of the line; 4 of the fields before it are consumed.
    let start_time = fields.nth(17)?.parse().ok()?;
    Some(Stat { state, parent, start_time })
}

/// Start time of a process in clock ticks since boot; `None` when it does not exist or is a zombie.
pub fn start_time(pid: i32) -> Option<u64> {
    stat(pid).filter(|stat| stat.state != 'Z').map(|stat| stat.start_time)
}

fn pids() -> Vec<i32> {
    let Ok(entries) = std::fs::read_dir("/proc") else { return Vec::new() };
    entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

/// All living processes whose parent chain leads to `root`, without `root` itself.
fn descendants(root: i32) -> BTreeSet<i32> {
    let table: HashMap<i32, Stat> = pids().into_iter().filter_map(|pid| Some((pid, stat(pid)?))).collect();
    let mut found = BTreeSet::from([root]);
    loop {
        let before = found.len();
        found.extend(
            table.iter().filter(|(_, stat)| found.contains(&stat.parent)).map(|(pid, _)| *pid).collect::<Vec<_>>(),
        );
        if found.len() == before {
            break;
        }
    }
    found.into_iter().filter(|pid| *pid != root && table.get(pid).is_some_and(|stat| stat.state != 'Z')).collect()
}

/// All living processes with this value of the marker in their environment, ourselves excluded.
pub fn marked(marker: &str) -> BTreeSet<i32> {
    let wanted = format!("{MARKER}={marker}").into_bytes();
    let own = rustix::process::getpid().as_raw_nonzero().get();
    let carries = |pid: &i32| {
        std::fs::read(format!("/proc/{pid}/environ"))
            .is_ok_and(|environ| environ.split(|byte| *byte == 0).any(|variable| variable == wanted))
    };
    // A zombie's environment reads as empty, so none is found.
    pids().into_iter().filter(|pid| *pid != own).filter(carries).collect()
}

/// What became of a sweep.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sweep {
    /// Processes that were killed.
    pub killed: u32,
    /// Processes that are still there.
    pub survivors: u32,
}

/// Kills every process of a run: those with its marker and, where `root` is given, all descendants of `root`. It looks
/// again until nobody is left, because a process may fork between the look and the signal; `limit` bounds it.
pub fn kill_all(marker: &str, root: Option<Pid>, limit: Duration) -> Sweep {
    let deadline = Instant::now() + limit;
    let mut killed = BTreeSet::new();
    loop {
        reap();
        let mut found = marked(marker);
        if let Some(root) = root {
            found.extend(descendants(root.as_raw_nonzero().get()));
        }
        if found.is_empty() || Instant::now() >= deadline {
            let survivors = u32::try_from(found.len()).unwrap_or(u32::MAX);
            killed.retain(|pid| !found.contains(pid));
            return Sweep { killed: u32::try_from(killed.len()).unwrap_or(u32::MAX), survivors };
        }
        for pid in found {
            if let Some(target) = Pid::from_raw(pid)
                && rustix::process::kill_process(target, Signal::KILL).is_ok()
            {
                killed.insert(pid);
            }
        }
        pause(Duration::from_millis(10));
    }
}

/// Buries dead children, adopted orphans included, when there is nobody else who would (the supervisor is no async
/// program). Without children it does nothing.
fn reap() {
    // In the daemon, tokio waits for its own children by id: only a subreaper may wait for any child.
    if !matches!(rustix::process::child_subreaper(), Ok(Some(_))) {
        return;
    }
    while let Ok(Some(_)) = rustix::process::wait(WaitOptions::NOHANG) {}
}

/// Blocks this thread for a time. Only for processes and threads without a runtime.
fn pause(time: Duration) {
    let time = rustix::event::Timespec { tv_sec: 0, tv_nsec: i64::from(time.subsec_nanos()) };
    // An early return by a signal only makes the caller look again sooner.
    let _ = rustix::event::poll(&mut [], Some(&time));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_itself_and_nobody_else() {
        let own = rustix::process::getpid().as_raw_nonzero().get();
        assert!(start_time(own).is_some_and(|ticks| ticks > 0));
        assert_eq!(start_time(i32::MAX), None);
        assert!(marked("no-such-run").is_empty());
    }

    #[test]
    fn finds_and_kills_by_marker() {
        let mut child =
            std::process::Command::new("sleep").arg("60").env(MARKER, "test-of-the-marker").spawn().unwrap();
        let pid = i32::try_from(child.id()).unwrap();
        while !marked("test-of-the-marker").contains(&pid) {
            assert!(start_time(pid).is_some());
        }
        let sweep = kill_all("test-of-the-marker", None, Duration::from_secs(5));
        assert_eq!(sweep, Sweep { killed: 1, survivors: 0 });
        assert!(!child.wait().unwrap().success());
    }
}
