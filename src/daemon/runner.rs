//! `davylamp runner`: the process that executes playbooks for a daemon in a closed sandbox.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::awx::controller;
use super::notify::Notifier;
use super::{DaemonError, terminated};
use crate::act::executor::Executor;
use crate::act::executor::awx::Awx;
use crate::act::executor::local::Local;
use crate::act::executor::remote::Remote;
use crate::act::runner::Runner;
use crate::config::Config;

/// Serves runs on the configured socket until SIGTERM or SIGINT. Plays that are going on go on: the next runner finds
/// them by their folders.
///
/// # Errors
/// [`DaemonError::NoRunner`] when the configuration names no socket, or why the socket cannot be listened on.
pub async fn run_runner(config: &Config) -> Result<(), DaemonError> {
    let (path, access) = config.act.runner.clone().ok_or(DaemonError::NoRunner)?;
    let runner = Runner::bind(&path, access).await?;
    let notifier = Notifier::from_environment();
    let stop = CancellationToken::new();
    tracing::info!(socket = %path.display(), playbooks = %config.act.ansible.playbooks.display(), "runner listens");
    notifier.ready();
    let executor = Local::new(config.act.ansible.clone(), Local::own_binary());
    let signal = async {
        terminated().await;
        notifier.stopping();
        stop.cancel();
        std::future::pending::<()>().await;
    };
    tokio::select! {
        () = runner.serve(executor, stop.clone()) => {}
        () = signal => {}
    }
    tracing::info!("runner stopped");
    Ok(())
}

/// Who carries out the runs of a daemon: itself, a runner behind a socket, or a controller.
pub(super) fn executor(config: &Config) -> Arc<dyn Executor> {
    match (&config.act.awx, &config.act.runner) {
        (Some(awx), _) => Arc::new(Awx::new(controller(awx), awx.clone(), config.act.ansible.clone())),
        (None, Some((socket, access))) => Arc::new(Remote::new(socket.clone(), *access)),
        (None, None) => Arc::new(Local::new(config.act.ansible.clone(), Local::own_binary())),
    }
}
