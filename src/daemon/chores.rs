//! Small chores of the process: its limit of open files, its signals, its watchdog, exports of the state.

use std::sync::Arc;

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::notify::Notifier;
use crate::store::state::SledState;

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

/// Exports the state whenever it is woken.
pub(super) async fn export_state(store: Arc<SledState>, wake: Arc<Notify>, stop: CancellationToken) {
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = wake.notified() => {}
        }
        let store = store.clone();
        match tokio::task::spawn_blocking(move || store.export_now()).await {
            Ok(Ok((path, _))) => tracing::info!(path = %path.display(), "state exported"),
            Ok(Err(error)) => tracing::error!(%error, "cannot export the state"),
            Err(error) => tracing::error!(%error, "cannot export the state"),
        }
    }
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
