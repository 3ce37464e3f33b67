//! Label sets derived from label sets, remembered per node: the same series come back at every step of a range, and
//! a look-up costs a fraction of building the set anew. Derived sets are numbered, so that nothing is hashed at each step.

use std::collections::HashMap;

use crate::model::Labels;

/// What one derivation has given so far.
#[derive(Debug, Default)]
pub(super) struct Memo {
    /// A set, and the number of the one derived from it.
    known: Vec<(Labels, usize)>,
    index: HashMap<Labels, usize>,
    /// The derived sets, each once.
    derived: Vec<Labels>,
    numbers: HashMap<Labels, usize>,
    /// Where the next question is expected: series come in the same order at each step, and comparing shared label
    /// sets is much cheaper than hashing them.
    next: usize,
}

impl Memo {
    /// The set derived from `labels`.
    pub(super) fn get(&mut self, labels: &Labels, derive: impl FnOnce(&Labels) -> Labels) -> Labels {
        let number = self.number(labels, derive);
        self.labels(number)
    }

    /// The set of a number.
    pub(super) fn labels(&self, number: usize) -> Labels {
        self.derived.get(number).cloned().unwrap_or_default()
    }

    /// The number of the set derived from `labels`, the same for equal sets.
    pub(super) fn number(&mut self, labels: &Labels, derive: impl FnOnce(&Labels) -> Labels) -> usize {
        let expected = self.known.get(self.next).or(self.known.first());
        if expected.is_none_or(|(known, _)| known != labels) {
            self.next = match self.index.get(labels) {
                Some(place) => *place,
                None => {
                    self.index.insert(labels.clone(), self.known.len());
                    let number = self.enter(derive(labels));
                    self.known.push((labels.clone(), number));
                    self.known.len() - 1
                }
            };
        } else if self.next >= self.known.len() {
            self.next = 0;
        }
        let number = self.known.get(self.next).map_or(0, |(_, number)| *number);
        self.next += 1;
        number
    }

    fn enter(&mut self, derived: Labels) -> usize {
        *self.numbers.entry(derived).or_insert_with_key(|derived| {
            self.derived.push(derived.clone());
            self.derived.len() - 1
        })
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
        assert_eq!((memo.known.len(), memo.derived.len()), (3, 3));
        let one = series.iter().map(|labels| memo.number(labels, |_| Labels::empty())).collect::<Vec<_>>();
        assert_eq!(one, [0, 1, 2], "what is known is not derived anew");
        let mut grouped = Memo::default();
        let one = series.iter().map(|labels| grouped.number(labels, |_| Labels::empty())).collect::<Vec<_>>();
        assert_eq!(one, [0, 0, 0], "equal sets have one number");
    }
}
