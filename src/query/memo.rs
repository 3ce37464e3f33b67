//! Label sets derived from label sets, remembered per node: the same series come back at every step of a range, and
//! a look-up costs a fraction of building the set anew.

use std::collections::HashMap;

use crate::model::Labels;

/// What one derivation has given so far.
#[derive(Debug, Default)]
pub(super) struct Memo(HashMap<Labels, Labels>);

impl Memo {
    /// The set derived from `labels`.
    pub(super) fn get(&mut self, labels: &Labels, derive: impl FnOnce(&Labels) -> Labels) -> Labels {
        if let Some(known) = self.0.get(labels) {
            return known.clone();
        }
        let derived = derive(labels);
        self.0.insert(labels.clone(), derived.clone());
        derived
    }
}

/// The derivations of one node. Each node uses what it needs.
#[derive(Debug, Default)]
pub(super) struct Memos {
    /// A series → its group, or what it is matched by.
    pub key: Memo,
    /// A series of a match → the labels of the result.
    pub result: Memo,
}
