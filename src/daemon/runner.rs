//! `davylamp runner`: the process that executes playbooks for a daemon in a closed sandbox.

use std::path::Path;
use std::sync::Arc;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::awx::controller;
use super::control::{heard, loaded};
use super::notify::Notifier;
use super::{DaemonError, terminated};
use crate::act::executor::Executor;
use crate::act::executor::awx::Awx;
use crate::act::executor::local::Local;
use crate::act::executor::remote::Remote;
use crate::act::runner::Runner;
use crate::config::Config;

/// Serves runs on the configured socket until SIGTERM or SIGINT. Plays that are going on go on: the next runner finds
/// them by their folders. SIGHUP takes a changed `ansible:` over.
///
/// # Errors
/// [`DaemonError::NoRunner`] when the configuration names no socket, or why the socket cannot be listened on.
pub async fn run_runner(file: &Path, config: &Config) -> Result<(), DaemonError> {
    let (path, access) = config.act.runner.clone().ok_or(DaemonError::NoRunner)?;
    let runner = Runner::bind(&path, access).await?;
    let notifier = Notifier::from_environment();
    let stop = CancellationToken::new();
    tracing::info!(socket = %path.display(), playbooks = %config.act.ansible.playbooks.display(), "runner listens");
    // Asked for before anybody may be told to send one: the signal's own effect is to end the process.
    let hangup = signal(SignalKind::hangup()).ok();
    let (executor, current) = watch::channel(Local::new(config.act.ansible.clone(), Local::own_binary()));
    notifier.ready();
    let told = async {
        tokio::select! {
            () = terminated() => {}
            () = reloading(file, config, hangup, &executor, &notifier) => {}
        }
        notifier.stopping();
        stop.cancel();
        std::future::pending::<()>().await;
    };
    tokio::select! {
        () = runner.serve(current, stop.clone()) => {}
        () = told => {}
    }
    tracing::info!("runner stopped");
    Ok(())
}

/// Takes the configuration over anew at each SIGHUP; for ever.
async fn reloading(
    file: &Path,
    began: &Config,
    mut hangup: Option<Signal>,
    executor: &watch::Sender<Local>,
    notifier: &Notifier,
) {
    loop {
        heard(&mut hangup).await;
        notifier.reloading();
        match loaded(file).await {
            Ok(config) => {
                let mut ansible = config.act.ansible.clone();
                if config.act.runner != began.act.runner || ansible.runs != began.act.ansible.runs {
                    tracing::warn!("another socket or folder of runs needs a restart of the runner");
                    // Runs that go on are found by their folders.
                    ansible.runs.clone_from(&began.act.ansible.runs);
                }
                executor.send_replace(Local::new(ansible, Local::own_binary()));
                notifier.status("configuration loaded anew");
                tracing::info!("configuration loaded anew");
            }
            Err(mistakes) => {
                notifier.status("the last reload failed; the old configuration stays in force");
                tracing::error!("the configuration was not loaded; the old one stays in force:\n{mistakes}");
            }
        }
        notifier.ready();
    }
}

/// Who carries out the runs of a daemon: itself, a runner behind a socket, or a controller.
pub(super) fn executor(config: &Config) -> Arc<dyn Executor> {
    match (&config.act.awx, &config.act.runner) {
        (Some(awx), _) => Arc::new(Awx::new(controller(awx), awx.clone(), config.act.ansible.clone())),
        (None, Some((socket, access))) => Arc::new(Remote::new(socket.clone(), *access)),
        (None, None) => Arc::new(Local::new(config.act.ansible.clone(), Local::own_binary())),
    }
}
