//! Transactions: what may be compared and changed, the limits, and the one place that decides them for all back ends.

use super::StoreError;
use super::lease::LeaseTable;

/// Longest key, in bytes.
pub const MAX_KEY: usize = 1024;
/// Longest value, in bytes.
pub const MAX_VALUE: usize = 256 * 1024;
/// Most compares and operations in one transaction, taken together per branch (etcd's limit).
pub const MAX_OPS: usize = 128;
/// Most bytes of keys and values in one transaction (etcd's limit).
pub const MAX_REQUEST: usize = 1536 * 1024;
/// Most entries on one page of a list.
pub const MAX_PAGE: usize = 1000;
/// Most bytes on one page of a list, so that a page of large values stays small.
pub(super) const MAX_PAGE_BYTES: usize = 4 * 1024 * 1024;

/// A value with the revisions that made it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Versioned {
    /// The value.
    pub value: Vec<u8>,
    /// Revision at which the key came into being; a key that is deleted and put again gets a new one.
    pub create_rev: u64,
    /// Revision of the last put.
    pub mod_rev: u64,
}

/// A condition of a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Compare {
    /// The key does not exist.
    Missing(String),
    /// The key exists.
    Exists(String),
    /// The key exists and was last put at this revision.
    ModRev(String, u64),
    /// The key exists and came into being at this revision.
    CreateRev(String, u64),
    /// The key exists and has this value.
    Value(String, Vec<u8>),
    /// The lease with this id is still held. If not, the whole transaction fails with [`StoreError::Fenced`]:
    /// whoever lost its lease must not take either branch.
    Held(u64),
}

/// One change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    /// Puts a value.
    Put {
        /// Key.
        key: String,
        /// New value.
        value: Vec<u8>,
    },
    /// Deletes a key; a key that does not exist is no error.
    Delete {
        /// Key.
        key: String,
    },
}

/// If all `compares` hold `then`, else `otherwise`. Within a branch a later operation on the same key wins.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Txn {
    /// Conditions; all must hold.
    pub compares: Vec<Compare>,
    /// Done when they hold.
    pub then: Vec<Op>,
    /// Done when one does not.
    pub otherwise: Vec<Op>,
}

/// What a transaction did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Committed {
    /// Its revision; the store's revision if it changed nothing.
    pub revision: u64,
    /// Whether the compares held.
    pub succeeded: bool,
}

impl Committed {
    /// The revision, or [`StoreError::Conflict`] if a compare did not hold.
    ///
    /// # Errors
    /// [`StoreError::Conflict`].
    pub fn or_conflict(self) -> Result<u64, StoreError> {
        if self.succeeded { Ok(self.revision) } else { Err(StoreError::Conflict) }
    }
}

impl Txn {
    /// Puts one value, whatever was there.
    pub fn put(key: impl Into<String>, value: impl Into<Vec<u8>>) -> Self {
        Txn { then: vec![Op::Put { key: key.into(), value: value.into() }], ..Txn::default() }
    }

    /// Puts one value if the key does not exist.
    pub fn create(key: impl Into<String>, value: impl Into<Vec<u8>>) -> Self {
        let key = key.into();
        Txn { compares: vec![Compare::Missing(key.clone())], ..Txn::put(key, value) }
    }

    /// Puts one value if the key was last put at `mod_rev`.
    pub fn replace(key: impl Into<String>, mod_rev: u64, value: impl Into<Vec<u8>>) -> Self {
        let key = key.into();
        Txn { compares: vec![Compare::ModRev(key.clone(), mod_rev)], ..Txn::put(key, value) }
    }

    /// Deletes one key.
    pub fn delete(key: impl Into<String>) -> Self {
        Txn { then: vec![Op::Delete { key: key.into() }], ..Txn::default() }
    }

    /// Adds a condition.
    #[must_use]
    pub fn when(mut self, compare: Compare) -> Self {
        self.compares.push(compare);
        self
    }

    /// Bytes of keys and values, for the budget of the queue.
    pub(super) fn bytes(&self) -> usize {
        let compares = self.compares.iter().map(|compare| match compare {
            Compare::Value(key, value) => key.len() + value.len(),
            Compare::Held(_) => 8,
            Compare::Missing(key) | Compare::Exists(key) | Compare::ModRev(key, _) | Compare::CreateRev(key, _) => {
                key.len()
            }
        });
        let ops = self.then.iter().chain(&self.otherwise).map(|op| match op {
            Op::Put { key, value } => key.len() + value.len(),
            Op::Delete { key } => key.len(),
        });
        compares.chain(ops).sum()
    }

    /// Checks the limits.
    pub(super) fn check(&self) -> Result<(), StoreError> {
        for (what, count) in
            [("compares", self.compares.len()), ("operations", self.then.len()), ("operations", self.otherwise.len())]
        {
            if count > MAX_OPS {
                return Err(StoreError::TooLarge { what: what.into(), size: count, limit: MAX_OPS });
            }
        }
        for compare in &self.compares {
            match compare {
                Compare::Missing(key)
                | Compare::Exists(key)
                | Compare::ModRev(key, _)
                | Compare::CreateRev(key, _)
                | Compare::Value(key, _) => check_key(key)?,
                Compare::Held(_) => {}
            }
        }
        for op in self.then.iter().chain(&self.otherwise) {
            match op {
                Op::Put { key, value } => {
                    check_key(key)?;
                    if value.len() > MAX_VALUE {
                        let what = format!("value of {key}");
                        return Err(StoreError::TooLarge { what, size: value.len(), limit: MAX_VALUE });
                    }
                }
                Op::Delete { key } => check_key(key)?,
            }
        }
        let size = self.bytes();
        if size > MAX_REQUEST {
            return Err(StoreError::TooLarge { what: "transaction".into(), size, limit: MAX_REQUEST });
        }
        Ok(())
    }
}

/// Refuses keys that a back end could not hold.
pub(super) fn check_key(key: &str) -> Result<(), StoreError> {
    if key.is_empty() || key.len() > MAX_KEY {
        let what = if key.is_empty() { "empty key".into() } else { "key".into() };
        return Err(StoreError::TooLarge { what, size: key.len(), limit: MAX_KEY });
    }
    Ok(())
}

/// What a decided transaction does to one key: the value before, and the value after (`None`: absent).
#[derive(Clone, Debug)]
pub(super) struct Effect {
    pub key: String,
    pub before: Option<Versioned>,
    pub after: Option<Versioned>,
}

/// A decided transaction.
#[derive(Debug)]
pub(super) struct Decision {
    pub succeeded: bool,
    /// At most one effect per key; empty when nothing changes.
    pub effects: Vec<Effect>,
}

/// Decides `txn` against the values that `read` gives: which branch, and what it changes at `revision`.
pub(super) fn decide(
    txn: &Txn,
    revision: u64,
    leases: &LeaseTable,
    mut read: impl FnMut(&str) -> Result<Option<Versioned>, StoreError>,
) -> Result<Decision, StoreError> {
    if txn.compares.iter().any(|compare| matches!(compare, Compare::Held(id) if !leases.is_held(*id))) {
        return Err(StoreError::Fenced);
    }
    let mut succeeded = true;
    for compare in &txn.compares {
        succeeded &= match compare {
            Compare::Missing(key) => read(key)?.is_none(),
            Compare::Exists(key) => read(key)?.is_some(),
            Compare::ModRev(key, rev) => read(key)?.is_some_and(|found| found.mod_rev == *rev),
            Compare::CreateRev(key, rev) => read(key)?.is_some_and(|found| found.create_rev == *rev),
            Compare::Value(key, value) => read(key)?.is_some_and(|found| found.value == *value),
            Compare::Held(_) => true,
        };
    }
    let mut effects: Vec<Effect> = Vec::new();
    for op in if succeeded { &txn.then } else { &txn.otherwise } {
        let (Op::Put { key, .. } | Op::Delete { key }) = op;
        let at = match effects.iter().position(|effect| effect.key == *key) {
            Some(at) => at,
            None => {
                let before = read(key)?;
                effects.push(Effect { key: key.clone(), after: before.clone(), before });
                effects.len() - 1
            }
        };
        let effect = &mut effects[at];
        effect.after = match op {
            Op::Delete { .. } => None,
            Op::Put { value, .. } => {
                let create_rev = effect.after.as_ref().map_or(revision, |found| found.create_rev);
                Some(Versioned { value: value.clone(), create_rev, mod_rev: revision })
            }
        };
    }
    effects.retain(|effect| effect.before.is_some() || effect.after.is_some());
    Ok(Decision { succeeded, effects })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_later_operation_on_the_same_key_wins_and_a_deleted_key_is_born_again() {
        let old = Versioned { value: b"old".to_vec(), create_rev: 3, mod_rev: 4 };
        let mut txn = Txn::delete("a");
        txn.then.push(Op::Put { key: "a".into(), value: b"new".to_vec() });
        txn.then.push(Op::Delete { key: "never-there".into() });
        let decision = decide(&txn, 9, &LeaseTable::default(), |key| Ok((key == "a").then(|| old.clone()))).unwrap();
        assert_eq!(decision.effects.len(), 1);
        assert_eq!(decision.effects[0].before.as_ref(), Some(&old));
        let after = decision.effects[0].after.clone().unwrap();
        assert_eq!((after.create_rev, after.mod_rev), (9, 9));
    }

    #[test]
    fn limits_name_what_is_too_large() {
        let error = Txn::put("k", vec![0; MAX_VALUE + 1]).check().unwrap_err();
        assert!(error.to_string().contains("value of k"), "{error}");
        let many = Txn { then: (0..=MAX_OPS).map(|n| Op::Delete { key: n.to_string() }).collect(), ..Txn::default() };
        assert!(matches!(many.check(), Err(StoreError::TooLarge { limit: MAX_OPS, .. })));
        assert!(Txn::put("", "").check().is_err());
    }
}
