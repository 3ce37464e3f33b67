//! All runs and episodes: in memory to decide by and to show, in the ledger to survive.
//!
//! The ledger is written first. What is in memory has been on disk.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use crate::act::binding::Binding;
use crate::act::episode::Episode;
use crate::act::ledger::{Ledger, LedgerEntry, LedgerError};
use crate::act::metrics::ActMetrics;
use crate::act::reason::Reason;
use crate::act::run::{Run, RunId, RunState, SCHEMA};
use crate::act::steps::{Position, position};
use crate::model::Labels;

/// Most ended runs that are kept, unless a guard still has to look at more.
const KEEP_RUNS: usize = 1000;
/// How many surplus records are removed at one time.
const PRUNE_BATCH: usize = 50;

/// The records. Shared by the actor, the tasks that follow runs, and whoever shows them.
pub struct Book {
    ledger: Arc<dyn Ledger>,
    records: Mutex<Records>,
    listener: OnceLock<Listener>,
}

/// Hears of everything that is counted as held back: binding, labels of the alert, reason.
type Listener = Box<dyn Fn(&str, &Labels, Reason) + Send + Sync>;

#[derive(Default)]
struct Records {
    runs: HashMap<RunId, (Run, u64)>,
    episodes: HashMap<(String, String), (Episode, u64)>,
    ended: BTreeMap<&'static str, u64>,
    suppressed: BTreeMap<&'static str, u64>,
    exhausted: u64,
    ledger_failures: u64,
    /// What is held back now, by binding and alert.
    held: BTreeMap<(String, String), Held>,
}

/// An alert that is held back.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Held {
    /// For which binding.
    pub binding: String,
    /// The alert's labels.
    #[serde(serialize_with = "as_text")]
    pub labels: Labels,
    /// Why.
    pub reason: Reason,
    /// Since when, milliseconds since the epoch.
    pub since: i64,
}

fn as_text<S: serde::Serializer>(labels: &Labels, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(labels)
}

impl Records {
    fn admit(&mut self, entry: LedgerEntry) -> Result<(), LedgerError> {
        if entry.key.starts_with("run/") {
            let run: Run = decode(&entry)?;
            self.runs.insert(run.id.clone(), (run, entry.revision));
        } else if entry.key.starts_with("episode/") {
            let episode: Episode = decode(&entry)?;
            let index = (episode.binding.clone(), episode.target.clone());
            self.episodes.insert(index, (episode, entry.revision));
        }
        Ok(())
    }
}

impl Book {
    /// Reads all records. One that cannot be understood stops the start: to forget a claim is to run twice.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub async fn load(ledger: Arc<dyn Ledger>) -> Result<Book, LedgerError> {
        let mut records = Records::default();
        for entry in ledger.load().await? {
            records.admit(entry)?;
        }
        Ok(Book { ledger, records: Mutex::new(records), listener: OnceLock::new() })
    }

    /// Reads one record again, after a conflict over it: a write that was reported as failed may have come through.
    pub(super) async fn refresh(&self, key: &str) -> Result<(), LedgerError> {
        let entries = self.count(self.ledger.load().await)?;
        let entry = entries.into_iter().find(|entry| entry.key == key);
        entry.map_or(Ok(()), |entry| self.lock().admit(entry))
    }

    /// All runs, newest first.
    pub fn runs(&self) -> Vec<Run> {
        let mut runs: Vec<Run> = self.lock().runs.values().map(|(run, _)| run.clone()).collect();
        runs.sort_by(|a, b| b.queued_at.cmp(&a.queued_at).then_with(|| a.id.cmp(&b.id)));
        runs
    }

    /// One run.
    pub fn run(&self, id: &RunId) -> Option<Run> {
        self.lock().runs.get(id).map(|(run, _)| run.clone())
    }

    /// The counters.
    pub fn metrics(&self) -> ActMetrics {
        let records = self.lock();
        let count = |wanted: fn(RunState) -> bool| records.runs.values().filter(|(run, _)| wanted(run.state)).count();
        let zero = RunState::FINAL.iter().map(|state| (state.as_str(), 0));
        let mut runs: BTreeMap<&'static str, u64> = zero.collect();
        runs.extend(records.ended.iter());
        let mut suppressed: BTreeMap<&'static str, u64> = Reason::ALL.iter().map(|r| (r.as_str(), 0)).collect();
        suppressed.extend(records.suppressed.iter());
        ActMetrics {
            runs,
            suppressed,
            running: count(RunState::is_running),
            queued: count(|state| state == RunState::Queued),
            waiting_approval: count(|state| state == RunState::WaitingApproval),
            verifying: count(|state| state == RunState::Verifying),
            exhausted: records.exhausted,
            ledger_failures: records.ledger_failures,
        }
    }

    /// Writes a run: created if it is new, changed if it is known, and only if nobody else did either since.
    pub(super) async fn save(&self, run: &Run) -> Result<(), LedgerError> {
        let expected = self.lock().runs.get(&run.id).map_or(0, |(_, revision)| *revision);
        let value = encode(run.key(), run)?;
        let revision = self.count(self.ledger.put(run.key(), value, expected).await)?;
        self.keep(run, revision);
        Ok(())
    }

    /// After a conflict over a run that we own: was it our own write, reported as failed, that came through after all?
    /// Not to be asked about a claim: there, equal bytes prove nothing about who wrote them.
    pub(super) async fn was_written(&self, run: &Run) -> Result<bool, LedgerError> {
        let value = encode(run.key(), run)?;
        let entries = self.count(self.ledger.load().await)?;
        let Some(entry) = entries.into_iter().find(|entry| entry.key == run.key() && entry.value == value) else {
            return Ok(false);
        };
        self.keep(run, entry.revision);
        Ok(true)
    }

    fn keep(&self, run: &Run, revision: u64) {
        let mut records = self.lock();
        let before = records.runs.insert(run.id.clone(), (run.clone(), revision));
        if run.state.is_final() && before.is_none_or(|(before, _)| !before.state.is_final()) {
            *records.ended.entry(run.state.as_str()).or_default() += 1;
        }
    }

    /// Removes a run that was never begun, so that it may be wanted again.
    pub(super) async fn drop_run(&self, id: &RunId) -> Result<(), LedgerError> {
        let Some((key, revision)) = self.lock().runs.get(id).map(|(run, revision)| (run.key(), *revision)) else {
            return Ok(());
        };
        self.count(self.ledger.delete(key, revision).await)?;
        self.lock().runs.remove(id);
        Ok(())
    }

    /// Shows a run as interrupted without writing it: the record belongs to somebody else now.
    pub(super) fn disown(&self, id: &RunId) {
        if let Some((run, _)) = self.lock().runs.get_mut(id) {
            run.state = RunState::Interrupted;
            run.detail = "its record was changed by someone else; it is not started here".into();
        }
    }

    /// The current or last episode of a binding and a target.
    pub fn episode(&self, binding: &str, target: &str) -> Option<Episode> {
        self.lock().episodes.get(&(binding.to_string(), target.to_string())).map(|(episode, _)| episode.clone())
    }

    /// All episodes.
    pub fn episodes(&self) -> Vec<Episode> {
        self.lock().episodes.values().map(|(episode, _)| episode.clone()).collect()
    }

    /// The alerts that keep an episode open, as [`alert_key`](crate::act::episode::alert_key) names them.
    pub fn awaited(&self) -> HashSet<String> {
        let records = self.lock();
        let open = records.episodes.values().filter(|(episode, _)| episode.closed_at.is_none());
        open.flat_map(|(episode, _)| episode.alerts.keys().cloned()).collect()
    }

    /// Writes an episode, if it differs from what is known.
    pub(super) async fn save_episode(&self, episode: &Episode) -> Result<(), LedgerError> {
        let index = (episode.binding.clone(), episode.target.clone());
        let known = self.lock().episodes.get(&index).cloned();
        if known.as_ref().is_some_and(|(known, _)| known == episode) {
            return Ok(());
        }
        let value = encode(episode.key(), episode)?;
        let expected = known.map_or(0, |(_, revision)| revision);
        let revision = self.count(self.ledger.put(episode.key(), value, expected).await)?;
        self.lock().episodes.insert(index, (episode.clone(), revision));
        Ok(())
    }

    /// Looks at all runs at once; nothing is awaited within.
    pub(super) fn view<T>(&self, look: impl FnOnce(&[&Run]) -> T) -> T {
        let records = self.lock();
        let runs: Vec<&Run> = records.runs.values().map(|(run, _)| run).collect();
        look(&runs)
    }

    /// Where an episode stands among the steps of its binding.
    pub(super) fn position(&self, episode: &Episode, binding: &Binding, back: impl Fn(i64) -> bool) -> Position {
        let records = self.lock();
        position(episode, binding, |id| records.runs.get(id).map(|(run, _)| run), back)
    }

    /// The runs in a state.
    pub(super) fn in_state(&self, state: RunState) -> Vec<Run> {
        self.lock().runs.values().filter(|(run, _)| run.state == state).map(|(run, _)| run.clone()).collect()
    }

    /// The runs that are going on.
    pub(super) fn running(&self) -> Vec<Run> {
        self.lock().runs.values().filter(|(run, _)| run.state.is_running()).map(|(run, _)| run.clone()).collect()
    }

    /// Lets somebody hear of everything that is held back. Only the first one is listened to.
    pub fn listen(&self, listener: impl Fn(&str, &Labels, Reason) + Send + Sync + 'static) {
        let _ = self.listener.set(Box::new(listener));
    }

    /// Counts a run that is given up.
    pub(super) fn given_up(&self, run: &Run, reason: Reason) {
        let labels = Labels::new(run.labels.iter().map(|(name, value)| (name.as_str(), value.as_str())));
        self.count_suppressed(&run.binding, &labels, reason);
    }

    fn count_suppressed(&self, binding: &str, labels: &Labels, reason: Reason) {
        *self.lock().suppressed.entry(reason.as_str()).or_default() += 1;
        if let Some(listener) = self.listener.get() {
            listener(binding, labels, reason);
        }
    }

    /// Notes that an alert is held back. Only a change of the reason is counted; true when it is one.
    pub(super) fn hold(&self, alert: String, held: Held) -> bool {
        let key = (held.binding.clone(), alert);
        {
            let mut records = self.lock();
            if records.held.get(&key).is_some_and(|before| before.reason == held.reason) {
                return false;
            }
            records.held.insert(key, held.clone());
        }
        self.count_suppressed(&held.binding, &held.labels, held.reason);
        true
    }

    /// Forgets what was held back, unless it is to be kept.
    pub(super) fn keep_held(&self, keep: impl Fn(&str, &str) -> bool) {
        self.lock().held.retain(|(binding, alert), _| keep(binding, alert));
    }

    /// What is held back now, and why.
    pub fn held(&self) -> Vec<Held> {
        self.lock().held.values().cloned().collect()
    }

    /// Counts an episode that went through all of its steps.
    pub(super) fn exhausted(&self) {
        self.lock().exhausted += 1;
    }

    /// Removes the oldest ended runs, and closed episodes, that no guard looks at any more (before `horizon`).
    pub(super) async fn prune(&self, horizon: i64) -> Result<(), LedgerError> {
        let (mut old, gone) = {
            let records = self.lock();
            let over = |run: &Run| run.state.is_final() && run.ended_at.is_some_and(|ended| ended < horizon);
            let old = records.runs.values().filter(|(run, _)| over(run));
            let old: Vec<(i64, RunId)> = old.map(|(run, _)| (run.queued_at, run.id.clone())).collect();
            let closed = |episode: &Episode| episode.closed_at.is_some_and(|closed| closed < horizon);
            let gone = records.episodes.iter().filter(|(_, (episode, _))| closed(episode)).take(PRUNE_BATCH);
            let gone: Vec<_> =
                gone.map(|(index, (episode, revision))| (index.clone(), episode.key(), *revision)).collect();
            (old, gone)
        };
        let surplus = self.lock().runs.len().saturating_sub(KEEP_RUNS).min(PRUNE_BATCH);
        old.sort();
        for (_, id) in old.into_iter().take(surplus) {
            self.drop_run(&id).await?;
        }
        for (index, key, revision) in gone {
            self.count(self.ledger.delete(key, revision).await)?;
            self.lock().episodes.remove(&index);
        }
        Ok(())
    }

    fn count<T>(&self, result: Result<T, LedgerError>) -> Result<T, LedgerError> {
        if result.is_err() {
            self.lock().ledger_failures += 1;
        }
        result
    }

    /// A std lock: it is held for a look or an insert, never across an await. After a panic elsewhere the records are
    /// still whole, because each change is one insert.
    fn lock(&self) -> MutexGuard<'_, Records> {
        self.records.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn encode<T: serde::Serialize>(key: String, record: &T) -> Result<Vec<u8>, LedgerError> {
    serde_json::to_vec(record).map_err(|source| LedgerError::Unavailable {
        operation: "write",
        key,
        source: source.into(),
    })
}

fn decode<T: serde::de::DeserializeOwned>(entry: &LedgerEntry) -> Result<T, LedgerError> {
    #[derive(serde::Deserialize)]
    struct Versioned {
        schema: u32,
    }
    let bad = |source: Box<dyn std::error::Error + Send + Sync>| LedgerError::Unavailable {
        operation: "understand",
        key: entry.key.clone(),
        source,
    };
    // The version first: a newer record would only fail in some field and say nothing of the cause.
    match serde_json::from_slice(&entry.value) {
        Ok(Versioned { schema: 1..=SCHEMA }) => serde_json::from_slice(&entry.value).map_err(|error| bad(error.into())),
        Ok(Versioned { schema }) => Err(bad(format!("its schema is {schema}, this version knows {SCHEMA}").into())),
        Err(error) => Err(bad(error.into())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::act::binding::Action;
    use crate::act::run::Wanted;
    use crate::act::settings::Mode;
    use futures_util::FutureExt;
    use futures_util::future::BoxFuture;

    /// A ledger in memory.
    #[derive(Default)]
    struct Memory(Mutex<BTreeMap<String, (Vec<u8>, u64)>>);

    impl Ledger for Memory {
        fn load(&self) -> BoxFuture<'_, Result<Vec<LedgerEntry>, LedgerError>> {
            let entries = self.0.lock().unwrap().clone().into_iter();
            let entries = entries.map(|(key, (value, revision))| LedgerEntry { key, value, revision }).collect();
            std::future::ready(Ok(entries)).boxed()
        }
        fn put(&self, key: String, value: Vec<u8>, expected: u64) -> BoxFuture<'_, Result<u64, LedgerError>> {
            let mut entries = self.0.lock().unwrap();
            let known = entries.get(&key).map_or(0, |(_, revision)| *revision);
            let answer = if known == expected {
                entries.insert(key, (value, expected + 1));
                Ok(expected + 1)
            } else {
                Err(LedgerError::Conflict { key })
            };
            std::future::ready(answer).boxed()
        }
        fn delete(&self, key: String, _expected: u64) -> BoxFuture<'_, Result<(), LedgerError>> {
            self.0.lock().unwrap().remove(&key);
            std::future::ready(Ok(())).boxed()
        }
    }

    fn run(number: i64, state: RunState) -> Run {
        let alert = crate::act::judge::tests::alert(&[("miner", "t")]);
        let action = Action::Playbook("p.yml".into());
        let wanted = Wanted {
            binding: "b",
            target: "t",
            episode: number,
            step: 0,
            attempt: 0,
            blind: false,
            mode: Mode::Auto,
            action: &action,
            alert: &alert,
        };
        let ended_at = state.is_final().then_some(number);
        Run { state, claimed_at: Some(number), ended_at, ..Run::wanted(&wanted, number) }
    }

    #[tokio::test]
    async fn a_claim_is_won_once_and_survives() {
        let ledger = Arc::new(Memory::default());
        let (one, two) = (Book::load(ledger.clone()).await.unwrap(), Book::load(ledger.clone()).await.unwrap());
        one.save(&run(1, RunState::Claimed)).await.unwrap();
        assert!(matches!(two.save(&run(1, RunState::Claimed)).await, Err(LedgerError::Conflict { .. })));
        let three = Book::load(ledger).await.unwrap();
        assert_eq!(three.runs(), one.runs());
        three.save(&run(1, RunState::Failed)).await.unwrap();
        assert_eq!((three.metrics().runs["failed"], three.metrics().running), (1, 0));
        assert!(three.runs()[0].explain().contains("failed (b on t, mode auto)"));
    }

    #[tokio::test]
    async fn a_record_of_another_version_stops_the_start() {
        let ledger = Arc::new(Memory::default());
        ledger.put("run/0000000000000000".into(), br#"{"schema":3,"new":true}"#.to_vec(), 0).await.unwrap();
        let error = Book::load(ledger).await.err().unwrap().to_string();
        assert!(error.contains("run/0000000000000000") && error.contains("schema is 3"), "{error}");
    }

    /// Records as the first version wrote them: no action, no attempt, no approval, no changes.
    #[tokio::test]
    async fn records_of_the_first_version_are_understood() {
        let ledger = Arc::new(Memory::default());
        let run = r#"{"schema":1,"id":"0123456789abcdef","binding":"b","target":"t","episode":5,"step":0,"mode":"auto",
            "playbook":"restart.yml","state":"succeeded","detail":"","rule":"fleet.yml;fleet;Hot{}",
            "labels":{"alertname":"Hot","miner":"t"},"value":"1","guards":["cooldown"],"queued_at":5,"claimed_at":6,
            "spawned_at":7,"ended_at":8,"playbook_sha256":"aa","vars_sha256":"bb",
            "supervisor":{"pid":7,"start_time":70},"exit":{"ending":"exited","code":0,"signal":null,"started_at":7,
            "ended_at":8,"killed":0,"survivors":0,"output_dropped":0,"detail":""},
            "tasks":[{"host":"t","task":"restart","module":"uri","status":"ok","changed":true,"ignored":false,
            "message":""}],"tasks_dropped":0,"stats":{"t":{"ok":1,"changed":1,"failures":0,"unreachable":0,"skipped":0,
            "rescued":0,"ignored":0}}}"#;
        let episode = r#"{"schema":1,"binding":"b","target":"t","opened_at":5,"closed_at":null,"alerts":{"0f Hot":5}}"#;
        ledger.put("run/0123456789abcdef".into(), run.into(), 0).await.unwrap();
        ledger.put("episode/b/t".into(), episode.into(), 0).await.unwrap();
        let book = Book::load(ledger.clone()).await.unwrap();
        let run = book.runs().remove(0);
        assert_eq!(run.action(), Action::Playbook("restart.yml".into()));
        assert_eq!((run.attempt, run.verify, run.is_real()), (0, None, true));
        assert!(run.explain().contains("succeeded (b on t, mode auto)"), "{}", run.explain());
        let mut episode = book.episode("b", "t").unwrap();
        assert_eq!((episode.opened_at, episode.changes.len()), (5, 0));
        episode.close(9);
        book.save_episode(&episode).await.unwrap();
        book.save(&Run { detail: "changed".into(), ..run }).await.unwrap();
        assert_eq!(Book::load(ledger).await.unwrap().episode("b", "t"), Some(episode));
    }

    #[tokio::test]
    async fn what_is_held_back_is_counted_once_per_reason_and_told() {
        let book = Book::load(Arc::new(Memory::default())).await.unwrap();
        let heard = Arc::new(Mutex::new(Vec::new()));
        let ears = heard.clone();
        book.listen(move |binding, labels, reason| {
            ears.lock().unwrap().push(format!("{binding} {labels} {}", reason.as_str()));
        });
        let labels = Labels::new([("miner", "t")]);
        let held = |reason| Held { binding: "b".into(), labels: labels.clone(), reason, since: 1 };
        assert!(book.hold("a".into(), held(Reason::Cooldown)));
        assert!(!book.hold("a".into(), held(Reason::Cooldown)));
        assert!(book.hold("a".into(), held(Reason::Blind)));
        assert!(book.hold("a".into(), held(Reason::Cooldown)));
        book.given_up(&run(1, RunState::Queued), Reason::Expired);
        let counted = book.metrics().suppressed;
        assert_eq!((counted["cooldown"], counted["blind"], counted["expired"]), (2, 1, 1));
        assert_eq!(counted.len(), Reason::ALL.len(), "those that never occurred are there with 0");
        let told = ["cooldown", "blind", "cooldown", "expired"].map(|reason| format!("b {{miner=\"t\"}} {reason}"));
        assert_eq!(*heard.lock().unwrap(), told);
        assert_eq!(book.held().len(), 1);
    }

    #[tokio::test]
    async fn only_old_ended_runs_are_removed() {
        let book = Book::load(Arc::new(Memory::default())).await.unwrap();
        let surplus = i64::try_from(KEEP_RUNS).unwrap() + 30;
        book.save(&run(0, RunState::Spawned)).await.unwrap();
        for number in 1..surplus {
            book.save(&run(number, RunState::Succeeded)).await.unwrap();
        }
        book.prune(20).await.unwrap();
        let left: Vec<i64> = book.runs().into_iter().rev().map(|run| run.queued_at).collect();
        assert_eq!(left[..2], [0, 20], "what still runs, and what a guard may look at, stays");
    }
}
