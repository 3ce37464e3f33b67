//! All silences, and how they change. The rules are Alertmanager's: what is said of the past stays said, so a change
//! that would rewrite it ends the old silence and begins a new one.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::Mute;
use super::record::{Draft, Silence, SilenceError, State};
use crate::model::Labels;

/// Most silences that are held, expired ones included: every alert is compared with each.
pub const MAX_SILENCES: usize = 10_000;

/// All silences at one moment. Cheap to clone: a change makes a new one.
#[derive(Clone, Debug, Default)]
pub struct Silences(BTreeMap<Arc<str>, Arc<Silence>>);

/// What a change writes and removes. Nothing has changed before it is durable.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Change {
    /// The silence that the client is told of.
    pub id: String,
    /// Records to write.
    pub put: Vec<Silence>,
    /// Ids of records to remove.
    pub remove: Vec<String>,
}

impl Silences {
    /// From records.
    pub fn new(silences: impl IntoIterator<Item = Silence>) -> Self {
        Silences(silences.into_iter().map(|silence| (silence.id.as_str().into(), Arc::new(silence))).collect())
    }

    /// All, by id.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Silence> {
        self.0.values().map(Arc::as_ref)
    }

    /// One.
    pub fn get(&self, id: &str) -> Option<&Silence> {
        self.0.get(id).map(Arc::as_ref)
    }

    /// The active silences that mute an alert with these labels.
    pub fn muting<'a>(&'a self, labels: &'a Labels, now: i64) -> impl Iterator<Item = &'a Silence> {
        self.iter().filter(move |silence| silence.state(now) == State::Active && silence.matches(labels))
    }

    /// The silence that mutes an alert with these labels for the longest time, if any does.
    pub fn muted_by(&self, labels: &Labels, now: i64) -> Option<Mute> {
        let silence = self.muting(labels, now).max_by_key(|silence| silence.ends_at)?;
        Some(Mute::Silence {
            id: silence.id.clone(),
            created_by: silence.created_by.clone(),
            comment: silence.comment.clone(),
            ends_at: silence.ends_at,
        })
    }

    /// Makes a silence, or changes the one that the draft names. `new_id` is the id of a new one.
    ///
    /// # Errors
    /// [`SilenceError`] for a draft that is wrong, or names a silence that does not exist.
    pub fn set(&self, draft: &Draft, new_id: String, now: i64) -> Result<Change, SilenceError> {
        let matchers = draft.check(now)?;
        let mut silence = Silence {
            id: new_id,
            matchers,
            starts_at: draft.starts_at,
            ends_at: draft.ends_at,
            created_by: draft.created_by.clone(),
            comment: draft.comment.clone(),
            updated_at: now,
        };
        let mut put = Vec::new();
        if let Some(id) = draft.id.as_deref().filter(|id| !id.is_empty()) {
            let old = self.get(id).ok_or_else(|| SilenceError::NotFound { id: id.to_string() })?;
            if may_change(old, &silence, now) {
                silence.id = old.id.clone();
                return Ok(Change { id: old.id.clone(), put: vec![silence], remove: Vec::new() });
            }
            put.extend(ended(old, now));
        }
        if self.0.len() >= MAX_SILENCES {
            return Err(SilenceError::TooMuch { what: "the number of silences", most: MAX_SILENCES });
        }
        silence.starts_at = silence.starts_at.max(now);
        let id = silence.id.clone();
        put.push(silence);
        Ok(Change { id, put, remove: Vec::new() })
    }

    /// Ends a silence now.
    ///
    /// # Errors
    /// [`SilenceError`] when there is none, or it is over.
    pub fn expire(&self, id: &str, now: i64) -> Result<Change, SilenceError> {
        let old = self.get(id).ok_or_else(|| SilenceError::NotFound { id: id.to_string() })?;
        let ended = ended(old, now).ok_or_else(|| SilenceError::AlreadyExpired { id: id.to_string() })?;
        Ok(Change { id: id.to_string(), put: vec![ended], remove: Vec::new() })
    }

    /// Removes what has been over for longer than `retention`; `None` when there is nothing to do.
    pub fn purge(&self, retention: Duration, now: i64) -> Option<Change> {
        let retention = i64::try_from(retention.as_millis()).unwrap_or(i64::MAX);
        let over = |silence: &&Silence| silence.ends_at.saturating_add(retention) <= now;
        let remove: Vec<String> = self.iter().filter(over).map(|silence| silence.id.clone()).collect();
        (!remove.is_empty()).then(|| Change { remove, ..Change::default() })
    }

    /// With a change that has become durable.
    #[must_use]
    pub fn with(&self, change: &Change) -> Self {
        let mut all = self.0.clone();
        for silence in &change.put {
            all.insert(silence.id.as_str().into(), Arc::new(silence.clone()));
        }
        for id in &change.remove {
            all.remove(id.as_str());
        }
        Silences(all)
    }
}

/// Whether a silence may be changed in place: nothing that it says of the past may change.
fn may_change(old: &Silence, new: &Silence, now: i64) -> bool {
    old.matchers == new.matchers
        && match old.state(now) {
            State::Active => new.starts_at / 1000 == old.starts_at / 1000 && new.ends_at >= now,
            State::Pending => new.starts_at >= now,
            State::Expired => false,
        }
}

/// The silence as it is when it ends now; `None` when it has ended.
fn ended(old: &Silence, now: i64) -> Option<Silence> {
    let starts_at = match old.state(now) {
        State::Pending => now,
        State::Active => old.starts_at,
        State::Expired => return None,
    };
    Some(Silence { starts_at, ends_at: now, updated_at: now, ..old.clone() })
}

#[cfg(test)]
mod tests {
    use super::super::record::MatcherShape;
    use super::*;

    fn draft(id: Option<&str>, value: &str, from: i64, to: i64) -> Draft {
        let matcher = MatcherShape { name: "miner".into(), value: value.into(), is_regex: true, is_equal: true };
        Draft {
            id: id.map(String::from),
            matchers: vec![matcher],
            starts_at: from,
            ends_at: to,
            created_by: "ann".into(),
            comment: "fans".into(),
        }
    }

    fn made(silences: &Silences, draft: &Draft, id: &str, now: i64) -> Silences {
        silences.with(&silences.set(draft, id.into(), now).unwrap())
    }

    #[test]
    fn mutes_from_start_to_end_what_all_matchers_match() {
        let silences = made(&Silences::default(), &draft(None, "garage-.*", 2_000, 5_000), "a", 1_000);
        let labels = Labels::new([("miner", "garage-1")]);
        let states: Vec<bool> =
            [1_000, 2_000, 4_999, 5_000].iter().map(|now| silences.muted_by(&labels, *now).is_some()).collect();
        assert_eq!(states, [false, true, true, false]);
        assert!(silences.muted_by(&Labels::new([("miner", "xgarage-1")]), 3_000).is_none(), "patterns are anchored");
        let mute = silences.muted_by(&labels, 3_000).unwrap().to_string();
        assert_eq!(mute, "silence a of ann until 1970-01-01T00:00:05.000Z: fans");
    }

    #[test]
    fn the_past_is_not_rewritten() {
        let one = made(&Silences::default(), &draft(None, "x", 0, 5_000), "a", 1_000);
        assert_eq!(one.get("a").unwrap().starts_at, 1_000, "a silence cannot begin in the past");
        let longer = one.set(&draft(Some("a"), "x", 1_000, 9_000), "b".into(), 2_000).unwrap();
        assert_eq!((longer.id.as_str(), longer.put.len(), longer.put[0].ends_at), ("a", 1, 9_000));
        let other = one.set(&draft(Some("a"), "y", 1_000, 9_000), "b".into(), 2_000).unwrap();
        assert_eq!((other.id.as_str(), other.put[0].id.as_str(), other.put[0].ends_at), ("b", "a", 2_000));
        assert_eq!(other.put[1].starts_at, 2_000);
        let expired = one.with(&one.expire("a", 3_000).unwrap());
        assert_eq!(expired.get("a").unwrap().state(3_000), State::Expired);
        assert_eq!(expired.expire("a", 3_000), Err(SilenceError::AlreadyExpired { id: "a".into() }));
        let again = expired.set(&draft(Some("a"), "x", 1_000, 9_000), "c".into(), 4_000).unwrap();
        assert_eq!((again.id.as_str(), again.put.len()), ("c", 1), "an expired one is made anew under a new id");
        assert_eq!(expired.purge(Duration::from_secs(5), 7_999), None);
        assert_eq!(expired.purge(Duration::from_secs(5), 8_000).unwrap().remove, ["a"]);
    }

    #[test]
    fn a_pending_one_that_is_ended_never_was() {
        let one = made(&Silences::default(), &draft(None, "x", 5_000, 9_000), "a", 1_000);
        let ended = one.expire("a", 2_000).unwrap();
        assert_eq!((ended.put[0].starts_at, ended.put[0].ends_at), (2_000, 2_000));
    }

    #[test]
    fn what_would_mute_everything_or_nothing_is_refused() {
        let refuse = |draft: Draft| Silences::default().set(&draft, "a".into(), 1_000).unwrap_err().to_string();
        assert_eq!(
            refuse(draft(None, ".*", 0, 5_000)),
            "silence invalid: at least one matcher must not match the empty string"
        );
        assert_eq!(refuse(draft(None, "x", 5_000, 5_000)), "start time must be before end time");
        assert_eq!(refuse(draft(None, "x", 0, 1_000)), "end time can't be in the past");
        assert!(
            refuse(draft(None, "(", 0, 5_000)).starts_with("silence invalid: invalid label matcher 0: bad regular")
        );
        assert_eq!(
            refuse(Draft { matchers: Vec::new(), ..draft(None, "x", 0, 5_000) }),
            "silence invalid: at least one matcher required"
        );
        assert_eq!(refuse(draft(Some("no"), "x", 0, 5_000)), "silence no not found");
        assert!(refuse(Draft { comment: "x".repeat(5_000), ..draft(None, "x", 0, 5_000) }).contains("4096"));
    }

    #[test]
    fn records_read_back_and_old_clients_may_leave_is_equal_out() {
        let silences = made(&Silences::default(), &draft(None, "x", 2_000, 5_000), "a", 1_000);
        let silence = silences.get("a").unwrap();
        let text = serde_json::to_string(&silence.shape(None)).unwrap();
        assert_eq!(Silence::from_shape(serde_json::from_str(&text).unwrap()).unwrap(), *silence);
        let old: MatcherShape = serde_json::from_str(r#"{"name":"a","value":"b","isRegex":false}"#).unwrap();
        assert!(old.is_equal);
    }
}
