//! The one writer of silences: takes wishes in order, makes each durable, and only then lets it count.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::shared::Shared;
use super::tell::notices;
use super::world::View;
use crate::api::SilenceRow;
use crate::api::silences::{AlertGroup, FiringAlert, Muting, SilenceFault};
use crate::model::{Labels, Matcher};
use crate::notify::Notice;
use crate::schedule::poll::unix_millis;
use crate::silence::{Change, Draft, Mute, Silence, SilenceError, SilenceShape, Silences, State, Window};
use crate::store::state::{Op, StateStore, StoreError, Txn};

/// Where silences stand in the state.
const PREFIX: &str = "silence/";

/// How often silences that are long over are removed.
const PURGE_EVERY: Duration = Duration::from_secs(600);

/// Wishes that may wait: each waits for one durable write, and a client waits for each.
const WISHES: usize = 64;

/// What a client wants.
#[derive(Debug)]
pub(super) enum Wish {
    /// A new silence, or a changed one.
    Set(Draft),
    /// The end of one.
    Expire(String),
}

/// Why a wish was not granted.
#[derive(Debug, thiserror::Error)]
pub enum WishError {
    /// It is wrong.
    #[error(transparent)]
    Refused(#[from] SilenceError),
    /// It could not be made durable, so it does not count.
    #[error("the silence could not be written: {0}")]
    Store(#[from] StoreError),
    /// Too many at once, or the daemon stops.
    #[error("too many changes of silences at once; try again")]
    Busy,
}

type Request = (Wish, oneshot::Sender<Result<String, WishError>>);

/// Where wishes go. Cheap to clone.
#[derive(Clone)]
pub(super) struct Wishes(mpsc::Sender<Request>);

impl Wishes {
    /// The id of the silence that came of it.
    pub(super) async fn ask(&self, wish: Wish) -> Result<String, WishError> {
        let (answer, answered) = oneshot::channel();
        self.0.try_send((wish, answer)).map_err(|_| WishError::Busy)?;
        answered.await.unwrap_or(Err(WishError::Busy))
    }
}

/// The writer.
pub(super) struct SilenceKeeper {
    shared: Arc<Shared>,
    store: Arc<dyn StateStore>,
    wishes: mpsc::Receiver<Request>,
}

impl SilenceKeeper {
    /// Loads the silences of earlier processes, before anything asks for them.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub(super) async fn load(shared: Arc<Shared>, store: Arc<dyn StateStore>) -> Result<(Self, Wishes), StoreError> {
        let (mut silences, mut cursor) = (Vec::new(), None);
        loop {
            let page = store.list(PREFIX, 0, cursor).await?;
            silences.extend(page.entries.iter().filter_map(|(key, versioned)| read(key, &versioned.value)));
            cursor = page.next;
            if cursor.is_none() {
                break;
            }
        }
        shared.silences.set(Arc::new(Silences::new(silences)));
        let (sender, wishes) = mpsc::channel(WISHES);
        Ok((SilenceKeeper { shared, store, wishes }, Wishes(sender)))
    }

    /// Works until `stop`.
    pub(super) async fn run(mut self, stop: CancellationToken) {
        let mut purge = tokio::time::interval(PURGE_EVERY);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                Some((wish, answer)) = self.wishes.recv() => {
                    let outcome = self.grant(wish).await;
                    // Who asked may have gone away; what was granted counts all the same.
                    let _ = answer.send(outcome);
                }
                _ = purge.tick() => self.purge().await,
            }
        }
    }

    async fn grant(&self, wish: Wish) -> Result<String, WishError> {
        let (silences, now) = (self.shared.silences.get(), unix_millis());
        let change = match wish {
            Wish::Set(draft) => silences.set(&draft, uuid::Uuid::new_v4().to_string(), now)?,
            Wish::Expire(id) => silences.expire(&id, now)?,
        };
        self.commit(&silences, &change).await?;
        for silence in &change.put {
            let (state, matchers) = (silence.state(now).as_str(), format!("{:?}", silence.matchers));
            tracing::info!(id = silence.id, state, matchers, by = silence.created_by, "silence");
        }
        Ok(change.id)
    }

    async fn purge(&self) {
        let silences = self.shared.silences.get();
        let retention = self.shared.config.get().file.silences.retention;
        let Some(change) = silences.purge(retention, unix_millis()) else { return };
        if let Err(error) = self.commit(&silences, &change).await {
            tracing::warn!(%error, "cannot remove old silences; they stay for now");
        }
    }

    async fn commit(&self, silences: &Silences, change: &Change) -> Result<(), StoreError> {
        let key = |id: &str| format!("{PREFIX}{id}");
        let mut then = Vec::new();
        for silence in &change.put {
            // A plain struct of text and numbers always becomes JSON.
            let value = serde_json::to_vec(&silence.shape(None)).unwrap_or_default();
            then.push(Op::Put { key: key(&silence.id), value });
        }
        then.extend(change.remove.iter().map(|id| Op::Delete { key: key(id) }));
        for part in then.chunks(crate::store::state::MAX_OPS) {
            self.store.txn(Txn { then: part.to_vec(), ..Txn::default() }).await?;
        }
        self.shared.silences.set(Arc::new(silences.with(change)));
        Ok(())
    }
}

fn read(key: &str, value: &[u8]) -> Option<Silence> {
    let shape = serde_json::from_slice::<SilenceShape>(value).map_err(|error| error.to_string());
    match shape.and_then(|shape| Silence::from_shape(shape).map_err(|error| error.to_string())) {
        Ok(silence) => Some(silence),
        Err(error) => {
            // A record of a later version: kept as it is, for that version.
            tracing::warn!(key, error, "cannot read a silence; it is left as it is");
            None
        }
    }
}

impl Muting for View {
    fn clock(&self) -> i64 {
        unix_millis()
    }

    fn silences(&self) -> Arc<Silences> {
        self.shared.silences.get()
    }

    fn set_silence(&self, draft: Draft) -> BoxFuture<'_, Result<String, SilenceFault>> {
        async { self.wishes.ask(Wish::Set(draft)).await.map_err(fault) }.boxed()
    }

    fn expire_silence(&self, id: String) -> BoxFuture<'_, Result<(), SilenceFault>> {
        async { self.wishes.ask(Wish::Expire(id)).await.map(drop).map_err(fault) }.boxed()
    }

    fn firing(&self) -> Vec<FiringAlert> {
        let (now, silences, heard) = (unix_millis(), self.shared.silences.get(), self.shared.heard_silences.get());
        let (alerts, config, rules) = (self.shared.alerts.get(), self.shared.config.get(), self.shared.rules.get());
        let notify = &config.notify;
        let group = |route: usize, labels: &Labels| {
            let found = &notify.routes.0[route];
            let muted_by = found.muted_by(|name| config.windows.is_open(name, now)).to_vec();
            AlertGroup { labels: found.group(labels), receiver: found.receiver.clone(), route, muted_by }
        };
        let show = |notice: Notice| FiringAlert {
            silenced_by: [&silences, &heard]
                .into_iter()
                .flat_map(|silences| silences.muting(&notice.labels, now).map(|silence| silence.id.clone()))
                .collect(),
            muted_by: config.windows.muting(&notice.labels, now).map(|(window, _)| window.name.clone()).collect(),
            groups: notify.routes.of(&notice.labels).into_iter().map(|at| group(at, &notice.labels)).collect(),
            labels: notice.labels,
            annotations: notice.annotations,
            starts_at: notice.starts_at,
            updated_at: now,
            generator_url: notice.generator_url,
        };
        let notices = notices(&alerts, &rules, &config).into_iter();
        notices.filter(|notice| notice.resolved_at.is_none()).map(show).collect()
    }

    fn started(&self) -> i64 {
        self.shared.started * 1000
    }

    fn receivers(&self) -> Vec<String> {
        self.shared.config.get().notify.receivers.keys().cloned().collect()
    }
}

fn fault(error: WishError) -> SilenceFault {
    match error {
        WishError::Refused(error) => SilenceFault::Refused(error),
        error => SilenceFault::Unavailable(Box::new(error)),
    }
}

/// For the status page: what mutes alerts now or soon.
pub(super) fn rows(shared: &Shared, now: i64) -> Vec<SilenceRow> {
    let (silences, config) = (shared.silences.get(), shared.config.get());
    let words = |matchers: &[Matcher]| matchers.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let silence = |silence: &Silence| {
        let state = silence.state(now);
        let until = if state == State::Pending { silence.starts_at } else { silence.ends_at };
        (state != State::Expired).then(|| SilenceRow {
            state: state.as_str().to_string(),
            id: silence.id.clone(),
            matchers: words(&silence.matchers),
            comment: format!("{}: {}", silence.created_by, silence.comment),
            until: until / 1000,
        })
    };
    let window = |window: &Window| {
        let until = window.open_until(now)?;
        Some(SilenceRow {
            state: "open".to_string(),
            id: window.name.clone(),
            matchers: words(&window.mute),
            comment: window.comment.clone(),
            until: until / 1000,
        })
    };
    silences.iter().filter_map(silence).chain(config.windows.iter().filter_map(window)).collect()
}

impl Shared {
    /// Why an alert with these labels is muted now: by a silence, or by an open maintenance window.
    pub(super) fn muted_by(&self, labels: &Labels, now: i64) -> Option<Mute> {
        let own = self.silences.get().muted_by(labels, now);
        own.or_else(|| self.heard_silences.get().muted_by(labels, now))
            .or_else(|| self.config.get().windows.muted_by(labels, now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::silence::MatcherShape;
    use crate::store::state::MemoryState;
    use crate::store::{Limits, Recent, Samples};
    use crate::telemetry::Telemetry;

    fn shared() -> Arc<Shared> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("davylamp.yml");
        std::fs::write(&path, "").unwrap();
        let recent = Arc::new(Recent::new(Duration::from_secs(60), Limits::default()));
        let samples = Samples::new(recent, None);
        Arc::new(Shared::new(Config::load(&path).unwrap(), samples, Telemetry::new(), 0))
    }

    #[tokio::test]
    async fn what_was_acknowledged_is_there_after_a_restart() {
        let store: Arc<dyn StateStore> = Arc::new(MemoryState::new());
        let (keeper, wishes) = SilenceKeeper::load(shared(), store.clone()).await.unwrap();
        let stop = CancellationToken::new();
        let client = async {
            let now = unix_millis();
            let matcher = MatcherShape { name: "miner".into(), value: "a".into(), is_regex: false, is_equal: true };
            let draft = Draft {
                id: None,
                matchers: vec![matcher],
                starts_at: now,
                ends_at: now + 60_000,
                created_by: "ann".into(),
                comment: "fan".into(),
            };
            let kept = wishes.ask(Wish::Set(draft.clone())).await.unwrap();
            let ended = wishes.ask(Wish::Set(draft)).await.unwrap();
            wishes.ask(Wish::Expire(ended.clone())).await.unwrap();
            let again = wishes.ask(Wish::Expire(ended)).await;
            assert!(matches!(again, Err(WishError::Refused(SilenceError::AlreadyExpired { .. }))), "{again:?}");
            stop.cancel();
            kept
        };
        let (kept, ()) = tokio::join!(client, keeper.run(stop.clone()));
        let second = shared();
        SilenceKeeper::load(second.clone(), store).await.unwrap();
        assert_eq!(second.silences.get().iter().len(), 2);
        let mute = second.muted_by(&Labels::new([("miner", "a")]), unix_millis());
        assert!(matches!(&mute, Some(Mute::Silence { id, .. }) if *id == kept), "{mute:?}");
    }
}
