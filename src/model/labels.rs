//! Label sets: sorted, immutable, cheap to clone.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::{Arc, LazyLock};

/// The label under which a series carries its metric name, as in Prometheus.
pub const METRIC_NAME: &str = "__name__";

/// A sorted set of label names and values. Names are unique; a label with an empty value is the same as an absent
/// label, so none is kept.
///
/// The whole set is one text: the number of labels, then for each the lengths of name and value, and both. There are
/// hundred thousands of sets, and a box for each value would take more memory than what it says.
#[derive(Clone, PartialEq, Eq)]
pub struct Labels(Arc<str>);

impl Labels {
    /// The empty set.
    pub fn empty() -> Self {
        static EMPTY: LazyLock<Labels> = LazyLock::new(|| Labels::pack(&[("", ""); 0]));
        EMPTY.clone()
    }

    /// Builds a set from pairs in any order; of two pairs with one name the later wins.
    pub fn new<N: AsRef<str>, V: AsRef<str>>(pairs: impl IntoIterator<Item = (N, V)>) -> Self {
        let mut pairs: Vec<(N, V)> = pairs.into_iter().collect();
        // Stable, so that of equal names the last is the one that was said last.
        pairs.sort_by(|a, b| a.0.as_ref().cmp(b.0.as_ref()));
        pairs.dedup_by(|later, kept| {
            let same = later.0.as_ref() == kept.0.as_ref();
            if same {
                std::mem::swap(later, kept);
            }
            same
        });
        pairs.retain(|(_, value)| !value.as_ref().is_empty());
        Labels::pack(&pairs)
    }

    /// `pairs` are sorted by name, without doubles and empty values.
    fn pack<N: AsRef<str>, V: AsRef<str>>(pairs: &[(N, V)]) -> Self {
        let bytes: usize = pairs.iter().map(|(name, value)| name.as_ref().len() + value.as_ref().len() + 4).sum();
        let mut text = String::with_capacity(bytes + 1);
        push_length(&mut text, pairs.len());
        for (name, value) in pairs {
            let (name, value) = (name.as_ref(), value.as_ref());
            push_length(&mut text, name.len());
            push_length(&mut text, value.len());
            text.push_str(name);
            text.push_str(value);
        }
        Labels(text.into())
    }

    /// The value of `name`, or `None` when the label is absent.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.iter().find(|(key, _)| *key == name).map(|(_, value)| value)
    }

    /// The metric name (`__name__`), if the set has one.
    pub fn name(&self) -> Option<&str> {
        self.get(METRIC_NAME)
    }

    /// All pairs, sorted by name.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &str)> {
        let (left, rest) = split_length(&self.0);
        Iter { left, rest }
    }

    /// Number of labels.
    pub fn len(&self) -> usize {
        split_length(&self.0).0
    }

    /// True for the empty set.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// A builder that starts from this set.
    pub fn edit(&self) -> LabelsBuilder {
        let pairs = self.iter().map(|(name, value)| (name.to_string().into(), value.into())).collect();
        LabelsBuilder { pairs }
    }

    /// This set with `name` set to `value` (removed when `value` is empty).
    pub fn with(&self, name: impl AsRef<str>, value: impl AsRef<str>) -> Self {
        Labels::new(self.iter().chain([(name.as_ref(), value.as_ref())]))
    }

    /// The labels of both sets; of two with one name that of `other`.
    pub fn merge(&self, other: &Labels) -> Self {
        let mut pairs = Vec::with_capacity(self.len() + other.len());
        let (mut ours, mut theirs) = (self.iter().peekable(), other.iter().peekable());
        while let (Some(our), Some(their)) = (ours.peek(), theirs.peek()) {
            match our.0.cmp(their.0) {
                Ordering::Less => pairs.extend(ours.next()),
                Ordering::Greater => pairs.extend(theirs.next()),
                Ordering::Equal => drop(ours.next()),
            }
        }
        pairs.extend(ours);
        pairs.extend(theirs);
        Labels::pack(&pairs)
    }

    /// Whether this set is the union of two others that have no name in common, without building it.
    pub fn is_union(&self, one: &Labels, other: &Labels) -> bool {
        let (mut ones, mut others) = (one.iter().peekable(), other.iter().peekable());
        let all = self.iter().all(|pair| ones.next_if_eq(&pair).or_else(|| others.next_if_eq(&pair)).is_some());
        all && ones.next().is_none() && others.next().is_none()
    }

    /// Only the labels for which `keep` says yes.
    pub fn filter(&self, keep: impl Fn(&str) -> bool) -> Self {
        let pairs: Vec<_> = self.iter().filter(|(name, _)| keep(name)).collect();
        Labels::pack(&pairs)
    }

    /// Alertmanager's fingerprint: FNV-1a 64 over the sorted names and values, each followed by a 0xff byte, so that
    /// an alert that went to Alertmanager and comes back by webhook is recognised.
    pub fn fingerprint(&self) -> u64 {
        let mut hash = FNV_OFFSET;
        for (name, value) in self.iter() {
            hash = fnv1a(fnv1a(hash, name.as_bytes()), &[0xff]);
            hash = fnv1a(fnv1a(hash, value.as_bytes()), &[0xff]);
        }
        hash
    }
}

const FNV_OFFSET: u64 = 0xcbf2_9ce4_8422_2325;

fn fnv1a(hash: u64, bytes: &[u8]) -> u64 {
    bytes.iter().fold(hash, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3))
}

/// A length as ASCII characters, so that the whole stays a text: six bits each, the lowest first; bit 6 says that more
/// follow. Nearly every length takes one.
fn push_length(text: &mut String, mut length: usize) {
    while length > 0x3f {
        text.push(char::from((length & 0x3f) as u8 | 0x40));
        length >>= 6;
    }
    text.push(char::from(length as u8));
}

/// Reads a length; hands back what follows it.
fn split_length(text: &str) -> (usize, &str) {
    let mut length = 0;
    for (index, byte) in text.bytes().enumerate() {
        length |= usize::from(byte & 0x3f) << (6 * index);
        if byte & 0x40 == 0 {
            return (length, &text[index + 1..]);
        }
    }
    (length, "")
}

struct Iter<'a> {
    left: usize,
    rest: &'a str,
}

impl<'a> Iterator for Iter<'a> {
    type Item = (&'a str, &'a str);

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        let (name, rest) = split_length(self.rest);
        let (value, rest) = split_length(rest);
        let (name, rest) = rest.split_at(name);
        let (value, rest) = rest.split_at(value);
        self.rest = rest;
        Some((name, value))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for Iter<'_> {}

/// By pairs, from the first label on, as Prometheus sorts.
impl Ord for Labels {
    fn cmp(&self, other: &Self) -> Ordering {
        self.iter().cmp(other.iter())
    }
}

impl PartialOrd for Labels {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Default for Labels {
    fn default() -> Self {
        Self::empty()
    }
}

impl Hash for Labels {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

/// Prometheus' own notation: `name{a="b",c="d"}`.
impl fmt::Display for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name().unwrap_or_default())?;
        let mut rest = self.iter().filter(|(name, _)| *name != METRIC_NAME).peekable();
        if rest.peek().is_none() {
            return if self.name().is_none() { f.write_str("{}") } else { Ok(()) };
        }
        f.write_str("{")?;
        let mut separator = "";
        for (name, value) in rest {
            write!(f, "{separator}{name}={value:?}")?;
            separator = ", ";
        }
        f.write_str("}")
    }
}

impl fmt::Debug for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Collects labels and then sorts them once.
#[derive(Clone, Debug, Default)]
pub struct LabelsBuilder {
    pairs: Vec<(Cow<'static, str>, Box<str>)>,
}

impl LabelsBuilder {
    /// Sets `name` to `value`, replacing what was there; an empty value removes the label.
    pub fn set(&mut self, name: impl Into<Cow<'static, str>>, value: impl Into<Box<str>>) -> &mut Self {
        let (name, value) = (name.into(), value.into());
        match self.pairs.iter_mut().find(|(key, _)| *key == name) {
            Some(pair) => pair.1 = value,
            None => self.pairs.push((name, value)),
        }
        self
    }

    /// Removes `name` if it is there.
    pub fn remove(&mut self, name: &str) -> &mut Self {
        self.pairs.retain(|(key, _)| key != name);
        self
    }

    /// Sorts and freezes.
    pub fn build(mut self) -> Labels {
        self.pairs.retain(|(_, value)| !value.is_empty());
        self.pairs.sort_by(|a, b| a.0.cmp(&b.0));
        Labels::pack(&self.pairs)
    }
}

/// Serialised as a plain JSON object, as Prometheus' HTTP API does.
impl serde::Serialize for Labels {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.iter())
    }
}

impl<'de> serde::Deserialize<'de> for Labels {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let map = std::collections::BTreeMap::<String, String>::deserialize(deserializer)?;
        Ok(Labels::new(map))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn later_pair_wins_and_empty_values_vanish() {
        let labels = Labels::new([("b", "1"), ("a", "2"), ("b", "3"), ("c", "")]);
        assert_eq!(labels.iter().collect::<Vec<_>>(), [("a", "2"), ("b", "3")]);
        assert_eq!(labels.get("c"), None);
    }

    #[test]
    fn long_and_foreign_texts_come_back_as_they_were() {
        let long = "ä€😀".repeat(100_000);
        let values = [String::from("\u{0}"), "x".repeat(63), "x".repeat(64), "x".repeat(4096), long];
        let names: Vec<String> = (0..100).map(|index| format!("n{index:02}")).collect();
        let pairs: Vec<(&str, &str)> = names.iter().zip(values.iter().cycle()).map(|(n, v)| (&**n, &**v)).collect();
        let labels = Labels::new(pairs.iter().rev().copied());
        assert_eq!((labels.len(), labels.iter().collect::<Vec<_>>()), (100, pairs.clone()));
        assert_eq!(labels.get("n99"), Some(pairs[99].1));
        assert_eq!(labels.edit().build(), labels);
    }

    #[test]
    fn the_order_is_that_of_the_pairs_and_not_of_their_lengths() {
        let sorted = [
            Labels::empty(),
            Labels::new([("a", "long value")]),
            Labels::new([("a", "long value"), ("b", "")]).with("b", "1"),
            Labels::new([("a", "short")]),
            Labels::new([("a_long_name", "1")]),
            Labels::new([("b", "1")]),
        ];
        assert!(sorted.is_sorted_by(|a, b| a < b), "{sorted:?}");
    }

    #[test]
    fn fingerprint_is_alertmanagers() {
        // prometheus/common model.LabelsToSignature of the empty set is the FNV offset itself.
        assert_eq!(Labels::empty().fingerprint(), 14_695_981_039_346_656_037);
        // …and of {name="garland, briggs", fear="love is not enough"}, from that package's own tests.
        let labels = Labels::new([("name", "garland, briggs"), ("fear", "love is not enough")]);
        assert_eq!(labels.fingerprint(), 5_799_056_148_416_392_346);
    }

    #[test]
    fn sets_are_merged_and_recognised() {
        let (one, other) = (Labels::new([("a", "1"), ("c", "3")]), Labels::new([("b", "2"), ("c", "4"), ("d", "5")]));
        let both = one.merge(&other);
        assert_eq!(both, Labels::new([("a", "1"), ("b", "2"), ("c", "4"), ("d", "5")]));
        assert!(both.is_union(&Labels::new([("a", "1")]), &other) && !both.is_union(&one, &other));
        assert!(!both.is_union(&Labels::new([("a", "1"), ("e", "1")]), &other) && !one.is_union(&one, &other));
        assert!(one.is_union(&one, &Labels::empty()) && one.merge(&Labels::empty()) == one);
    }

    #[test]
    fn display_is_prometheus_notation() {
        let labels = Labels::new([("__name__", "up"), ("job", "a\"b")]);
        assert_eq!(labels.to_string(), "up{job=\"a\\\"b\"}");
        assert_eq!(Labels::empty().to_string(), "{}");
    }
}
