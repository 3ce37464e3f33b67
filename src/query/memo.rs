//! Label sets derived from label sets, remembered per node: the same series come back at every step of a range, and
//! a look-up costs a fraction of building the set anew.

use std::collections::HashMap;

use crate::model::Labels;

/// What one derivation has given so far.
#[derive(Debug, Default)]
pub(super) struct Memo {
    known: Vec<(Labels, Labels)>,
    index: HashMap<Labels, usize>,
    /// Where the next question is expected: series come in the same order at each step, and comparing shared label
    /// sets is much cheaper than hashing them.
    next: usize,
}

impl Memo {
    /// The set derived from `labels`.
    pub(super) fn get(&mut self, labels: &Labels, derive: impl FnOnce(&Labels) -> Labels) -> Labels {
        let expected = self.known.get(self.next).or(self.known.first());
        if expected.is_none_or(|(known, _)| known != labels) {
            self.next = match self.index.get(labels) {
                Some(place) => *place,
                None => {
                    self.index.insert(labels.clone(), self.known.len());
                    self.known.push((labels.clone(), derive(labels)));
                    self.known.len() - 1
                }
            };
        } else if self.next >= self.known.len() {
            self.next = 0;
        }
        let derived = self.known.get(self.next).map(|(_, derived)| derived.clone()).unwrap_or_default();
        self.next += 1;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_order_of_questions_gets_its_own_answer() {
        let series: Vec<Labels> = ["1", "2", "3"].iter().map(|v| Labels::new([("a", *v)])).collect();
        let mut memo = Memo::default();
        for index in [0, 1, 2, 0, 1, 2, 2, 0, 0, 1] {
            let derived = memo.get(&series[index], |labels| labels.with("b", "x"));
            assert_eq!(derived, series[index].with("b", "x"));
        }
        assert_eq!(memo.known.len(), 3);
    }
}
