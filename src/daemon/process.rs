//! The daemon as a process: how many files it may open, that it is alive, and when it is asked to stop.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::notify::Notifier;

/// How many files may be open, after the soft limit was raised as far as it goes and as we can use.
pub(super) fn descriptors() -> u64 {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    /// Room for every target of a large farm with a kept connection.
    const ENOUGH: u64 = 65_536;
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let wanted = maximum.unwrap_or(ENOUGH).min(ENOUGH);
    let current = current.unwrap_or(ENOUGH);
    if current < wanted && setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum }).is_ok() {
        return wanted;
    }
    current
}

/// Says that we are alive, as long as the runtime turns.
pub(super) async fn watchdog(notifier: Arc<Notifier>, stop: CancellationToken) {
    let Some(interval) = notifier.watchdog_interval() else {
        return stop.cancelled().await;
    };
    let mut tick = tokio::time::interval(interval);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = tick.tick() => notifier.alive(),
        }
    }
}

/// SIGTERM or SIGINT.
pub(super) async fn terminated() {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut term), Ok(mut int)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt())) else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = term.recv() => {}
        _ = int.recv() => {}
    }
}
