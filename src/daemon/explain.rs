//! Questions about rules: asked over HTTP, answered by the rules' own task between two evaluations. Nothing is copied
//! for those that nobody asks about.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::sync::{mpsc, oneshot};

use super::world::View;
use crate::api::rules::{Explaining, Meant};
use crate::rules::{Engine, Explanation, explain};

/// Questions that may wait. Whoever comes later waits outside, for as long as [`PATIENCE`].
const WAITING: usize = 8;
/// An evaluation takes a fraction of its interval; whoever asked has given up by then.
const PATIENCE: Duration = Duration::from_secs(10);
/// Rules explained in one answer: each comes with all evaluations that are remembered.
const MOST_RULES: usize = 200;

/// A question and the way back.
pub(super) struct Question {
    meant: Meant,
    answer: oneshot::Sender<Vec<Explanation>>,
}

impl Question {
    /// Answers. Whoever asked may be gone.
    pub(super) fn answer(self, engine: &Engine) {
        let is = |wanted: &Option<String>, value: &str| wanted.as_ref().is_none_or(|wanted| wanted == value);
        let meant = &self.meant;
        let explained = explain::explain(engine.groups(), MOST_RULES, |group, rule| {
            is(&meant.rule, &rule.rule().name) && is(&meant.group, group.name()) && is(&meant.file, group.file())
        });
        let _ = self.answer.send(explained);
    }
}

/// Where questions are put, and where the rules' task fetches them.
pub(super) struct Desk {
    ask: mpsc::Sender<Question>,
    fetch: Mutex<Option<mpsc::Receiver<Question>>>,
}

impl Default for Desk {
    fn default() -> Self {
        let (ask, fetch) = mpsc::channel(WAITING);
        Desk { ask, fetch: Mutex::new(Some(fetch)) }
    }
}

impl Desk {
    /// The end from which questions come; a second caller gets one from which none ever comes.
    pub(super) fn questions(&self) -> mpsc::Receiver<Question> {
        let mut fetch = self.fetch.lock().unwrap_or_else(PoisonError::into_inner);
        fetch.take().unwrap_or_else(|| mpsc::channel(1).1)
    }
}

impl Explaining for View {
    fn explain(&self, meant: Meant) -> BoxFuture<'_, Option<Vec<Explanation>>> {
        let asked = async move {
            let (answer, answered) = oneshot::channel();
            self.shared.desk.ask.send(Question { meant, answer }).await.ok()?;
            answered.await.ok()
        };
        tokio::time::timeout(PATIENCE, asked).map(|result| result.ok().flatten()).boxed()
    }
}
