//! What others push to the daemon: remote write, taken in off the runtime's threads, a few requests at a time.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::sync::Semaphore;

use super::Shared;
use crate::api::write::Pushes;
use crate::ingest::{Answer, Request};
use crate::schedule::poll::unix_millis;

/// Requests that are unpacked at once: each may take some 40 MiB.
const AT_ONCE: usize = 2;
/// How long a request waits for its turn.
const PATIENCE: Duration = Duration::from_secs(10);

/// The way in for what is pushed.
pub(super) struct Receiving {
    shared: Arc<Shared>,
    turns: Arc<Semaphore>,
}

impl Receiving {
    pub(super) fn new(shared: Arc<Shared>) -> Arc<Self> {
        Arc::new(Receiving { shared, turns: Arc::new(Semaphore::new(AT_ONCE)) })
    }
}

impl Pushes for Receiving {
    fn push(&self, request: Request) -> BoxFuture<'_, Option<Answer>> {
        async move {
            let turn = tokio::time::timeout(PATIENCE, self.turns.clone().acquire_owned()).await.ok()?.ok()?;
            let intake = self.shared.intake.clone();
            let work = move || {
                let answer = intake.receive(&request, unix_millis());
                drop(turn);
                answer
            };
            let answer = tokio::task::spawn_blocking(work).await.inspect_err(|error| {
                tracing::error!(%error, "taking in a pushed request failed");
                self.shared.telemetry.count_panic("ingest");
            });
            let answer = answer.ok()?;
            for (id, limit, dropped) in &answer.room {
                self.shared.over_limit(limit, id, *dropped);
            }
            Some(answer)
        }
        .boxed()
    }
}
