//! Label sets: sorted, immutable, cheap to clone.

use std::borrow::Cow;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

/// The label under which a series carries its metric name, as in Prometheus.
pub const METRIC_NAME: &str = "__name__";

type Pair = (Cow<'static, str>, Box<str>);

/// A sorted set of label names and values. Names are unique; a label with an empty value is the same as an absent
/// label, so none is kept.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Labels(Arc<[Pair]>);

impl Labels {
    /// The empty set.
    pub fn empty() -> Self {
        Labels(Arc::from(Vec::new()))
    }

    /// Builds a set from pairs in any order; of two pairs with one name the later wins.
    pub fn new<N: Into<Cow<'static, str>>, V: Into<Box<str>>>(pairs: impl IntoIterator<Item = (N, V)>) -> Self {
        let mut builder = LabelsBuilder::default();
        for (name, value) in pairs {
            builder.set(name, value);
        }
        builder.build()
    }

    /// The value of `name`, or `None` when the label is absent.
    pub fn get(&self, name: &str) -> Option<&str> {
        let index = self.0.binary_search_by(|(key, _)| key.as_ref().cmp(name)).ok()?;
        self.0.get(index).map(|(_, value)| value.as_ref())
    }

    /// The metric name (`__name__`), if the set has one.
    pub fn name(&self) -> Option<&str> {
        self.get(METRIC_NAME)
    }

    /// All pairs, sorted by name.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_ref(), value.as_ref()))
    }

    /// Number of labels.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// True for the empty set.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// A builder that starts from this set.
    pub fn edit(&self) -> LabelsBuilder {
        LabelsBuilder { pairs: self.0.to_vec() }
    }

    /// This set with `name` set to `value` (removed when `value` is empty).
    pub fn with(&self, name: impl Into<Cow<'static, str>>, value: impl Into<Box<str>>) -> Self {
        let mut builder = self.edit();
        builder.set(name, value);
        builder.build()
    }

    /// Only the labels for which `keep` says yes.
    pub fn filter(&self, keep: impl Fn(&str) -> bool) -> Self {
        Labels(self.0.iter().filter(|(name, _)| keep(name)).cloned().collect())
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
    pairs: Vec<Pair>,
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
        Labels(self.pairs.into())
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
    fn fingerprint_is_alertmanagers() {
        // prometheus/common model.LabelsToSignature of the empty set is the FNV offset itself.
        assert_eq!(Labels::empty().fingerprint(), 14_695_981_039_346_656_037);
        // …and of {name="garland, briggs", fear="love is not enough"}, from that package's own tests.
        let labels = Labels::new([("name", "garland, briggs"), ("fear", "love is not enough")]);
        assert_eq!(labels.fingerprint(), 5_799_056_148_416_392_346);
    }

    #[test]
    fn display_is_prometheus_notation() {
        let labels = Labels::new([("__name__", "up"), ("job", "a\"b")]);
        assert_eq!(labels.to_string(), "up{job=\"a\\\"b\"}");
        assert_eq!(Labels::empty().to_string(), "{}");
    }
}
