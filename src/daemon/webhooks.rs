//! Alerts by webhook: on disk before they are acknowledged, then told to the acting room until it has heard them. What
//! is over stays on disk until no episode waits for it any more: whoever sent it says so only once.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;

use super::keep::Keeper;
use super::shared::Shared;
use crate::act::book::Book;
use crate::act::episode::alert_key;
use crate::api::webhooks::{Posting, WebhookError, Webhooks};
use crate::model::{Alert, Transition};
use crate::schedule::poll::unix_millis;
use crate::store::state::{Op, StoreError};
use crate::webhook::{AccessError, Batch, Board, Change, Posted, Sender, read};

/// Where they stand in the state.
const PREFIX: &str = "webhook/";
/// How often what nobody repeats is looked for, and what could not be told is told again.
const LOOK: Duration = Duration::from_secs(10);
/// How long the acting room may take to open the episode of an alert that was told, milliseconds.
const SETTLES: i64 = 10_000;
/// How long a stopping daemon takes for what has not been told.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Takes alerts in, and knows which of them fire.
pub(super) struct Inbox {
    shared: Arc<Shared>,
    keeper: Keeper,
    book: Arc<Book>,
    board: Mutex<Board>,
    /// Held from the plan to its application, so that what is on disk and what is on the board change in one order.
    order: tokio::sync::Mutex<()>,
    wake: Notify,
}

impl Inbox {
    /// Loads the alerts of earlier processes.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub(super) async fn load(shared: Arc<Shared>, keeper: Keeper, book: Arc<Book>) -> Result<Arc<Inbox>, StoreError> {
        let records: Vec<(String, Posted)> = keeper.read(PREFIX).await?;
        let board = Mutex::new(Board::new(records.into_iter().map(|(_, posted)| posted)));
        let inbox = Inbox { shared, keeper, book, board, order: tokio::sync::Mutex::default(), wake: Notify::new() };
        inbox.publish();
        Ok(Arc::new(inbox))
    }

    /// Tells what changes, until `stop`.
    pub(super) async fn run(self: Arc<Self>, tell: mpsc::Sender<Transition>, stop: CancellationToken) {
        let mut tick = tokio::time::interval(LOOK);
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                () = self.wake.notified() => {}
                _ = tick.tick() => {
                    self.expire().await;
                    self.tidy().await;
                }
            }
            tokio::select! {
                () = stop.cancelled() => break,
                () = self.tell(&tell) => {}
            }
        }
        // Those who act are still there; what they do not hear now is told after the next start.
        let _ = tokio::time::timeout(LAST_WORDS, self.tell(&tell)).await;
    }

    async fn expire(&self) {
        let _order = self.order.lock().await;
        let change = self.board().expired(unix_millis());
        if !change.put.is_empty() {
            tracing::warn!(alerts = change.put.len(), "alerts that nobody repeated are no longer believed");
        }
        if let Err(error) = self.commit(change).await {
            tracing::warn!(%error, "cannot write that alerts by webhook are over; trying again");
        }
    }

    async fn tell(&self, tell: &mpsc::Sender<Transition>) {
        let untold = self.board().untold();
        for (key, transition) in untold {
            let state = transition.alert.state;
            if tell.send(transition).await.is_err() {
                return;
            }
            self.board().told(&key, state);
        }
    }

    /// Removes what is over and was heard: no episode waits for it, and none that was just being opened can. What was
    /// not heard is told once more, for as long as it would have been believed; nobody waits for ever for an episode
    /// whose binding is gone.
    async fn tidy(&self) {
        let (over, awaited, now) = (self.board().over(), self.book.awaited(), unix_millis());
        for (key, Posted { alert, expires_at, .. }) in over {
            let settled = alert.resolved_at.is_none_or(|at| now.saturating_sub(at) >= SETTLES);
            let waits = alert.resolved_with_data && awaited.contains(&alert_key(&alert)) && now < expires_at;
            let _order = self.order.lock().await;
            if !self.board().is_over(&key) || !waits && !settled {
                continue;
            }
            if waits {
                self.board().again(&key);
                continue;
            }
            match self.keeper.write(&[Op::Delete { key: format!("{PREFIX}{key}") }]).await {
                Ok(()) => self.board().forget(&key),
                Err(error) => tracing::warn!(key, %error, "cannot remove an alert that is over"),
            }
        }
    }

    /// Writes a change, then applies it.
    async fn commit(&self, change: Change) -> Result<(), StoreError> {
        let record = |posted: &Posted| Op::Put {
            key: format!("{PREFIX}{}", posted.key()),
            // Plain structs of text and numbers always become JSON.
            value: serde_json::to_vec(posted).unwrap_or_default(),
        };
        self.keeper.write(&change.put.iter().map(record).collect::<Vec<_>>()).await?;
        self.board().apply(change);
        self.publish();
        Ok(())
    }

    /// What fires, for those who decide.
    fn publish(&self) {
        let firing: Vec<Alert> = self.board().firing();
        self.shared.posted.set(Arc::new(firing));
    }

    async fn take(&self, sender: Sender, request: Posting) -> Result<String, WebhookError> {
        let settings = self.shared.config.get().file.webhooks.clone();
        let access = settings.access(sender).ok_or(WebhookError::NotConfigured(sender.as_str()))?;
        let now = unix_millis();
        request.with_presented(now / 1000, |presented| access.check(presented)).map_err(|error| match error {
            AccessError::Denied(why) => WebhookError::Denied(why),
            ours => {
                tracing::error!(sender = sender.as_str(), error = %ours, "cannot check a webhook");
                WebhookError::OwnSecret
            }
        })?;
        let batch = read(sender, &request.body)?;
        let _order = self.order.lock().await;
        let change = self.board().plan(sender, &batch, &settings, now).ok_or(WebhookError::Full)?;
        let (fired, resolved) = (change.fired, change.resolved);
        self.commit(change).await.map_err(|error| {
            tracing::error!(sender = sender.as_str(), %error, "a webhook was not taken: its alerts cannot be written");
            WebhookError::Unavailable(error.to_string())
        })?;
        self.surface(sender, &batch);
        self.wake.notify_one();
        Ok(format!(
            "{} alert(s) taken: {fired} new, {resolved} resolved, {} left out",
            batch.alerts.len(),
            batch.left_out.len()
        ))
    }

    /// What a person must know of a batch.
    fn surface(&self, sender: Sender, batch: &Batch) {
        let telemetry = &self.shared.telemetry;
        let count = |result: &str, number: u64| {
            let labels = vec![("sender", sender.as_str().to_string()), ("result", result.to_string())];
            telemetry.webhook_alerts.get_or_create(&labels).inc_by(number);
        };
        count("taken", batch.alerts.len() as u64);
        count("left_out", batch.left_out.len() as u64);
        count("truncated", batch.truncated);
        if let Some(why) = batch.left_out.first() {
            tracing::warn!(
                sender = sender.as_str(),
                alerts = batch.left_out.len(),
                why,
                "alerts of a webhook were left out"
            );
        }
        if batch.truncated > 0 {
            tracing::warn!(
                sender = sender.as_str(),
                truncated = batch.truncated,
                "the sender left alerts out of a webhook"
            );
        }
        let notice = (batch.truncated > 0).then(|| {
            format!(
                "{} left {} alert(s) out of its last webhook (max_alerts there): nothing is done about them.",
                sender.as_str(),
                batch.truncated
            )
        });
        self.shared.notice(sender.as_str(), notice);
    }

    fn board(&self) -> MutexGuard<'_, Board> {
        self.board.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Webhooks for Inbox {
    fn post<'a>(&'a self, sender: Sender, request: Posting) -> BoxFuture<'a, Result<String, WebhookError>> {
        self.take(sender, request).boxed()
    }
}
