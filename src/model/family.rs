//! Metric families: what a kind of target can say, declared once beside its parser.

use std::borrow::Cow;
use std::ops::Deref;
use std::sync::Arc;

/// The type of a metric family, in Prometheus' and OpenMetrics' words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Deserialize, serde::Serialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum MetricType {
    /// Only rises, until its source restarts. Its name ends in `_total`.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Always 1; says something in labels. Its name ends in `_info`. Text 0.0.4 has no such type and calls it a gauge.
    Info,
    /// Cumulative buckets, a sum and a count.
    Histogram,
    /// Quantiles, a sum and a count.
    Summary,
    /// Nothing was said about the type.
    Unknown,
}

/// One metric family that can be produced: its full Prometheus name (`_total` and `_info` included), its help text,
/// the labels that its samples may carry beside the subject's, and the range outside of which a value is impossible.
#[derive(Clone, Debug, PartialEq)]
pub struct Family {
    /// Full name as Prometheus' text format has it, base unit included.
    pub name: Cow<'static, str>,
    /// Counter, gauge, …
    pub kind: MetricType,
    /// One sentence: what it is, in what unit.
    pub help: Cow<'static, str>,
    /// The unit, where a source said one in a word of its own; ours stand in the name.
    pub unit: Cow<'static, str>,
    /// Names of the labels that the parser sets.
    pub labels: &'static [&'static str],
    /// Smallest and largest value that can be true, both included. What lies outside is counted, not exported.
    pub bounds: (f64, f64),
}

impl Family {
    /// A gauge; any finite or infinite value is possible until [`Family::within`] narrows it.
    pub const fn gauge(name: &'static str, help: &'static str, labels: &'static [&'static str]) -> Self {
        Self::constant(name, MetricType::Gauge, help, labels)
    }

    /// A counter: never negative.
    pub const fn counter(name: &'static str, help: &'static str, labels: &'static [&'static str]) -> Self {
        Self::constant(name, MetricType::Counter, help, labels).within(0.0, f64::INFINITY)
    }

    /// An info metric, always 1.
    pub const fn info(name: &'static str, help: &'static str, labels: &'static [&'static str]) -> Self {
        Self::constant(name, MetricType::Info, help, labels)
    }

    const fn constant(
        name: &'static str,
        kind: MetricType,
        help: &'static str,
        labels: &'static [&'static str],
    ) -> Self {
        let (name, help) = (Cow::Borrowed(name), Cow::Borrowed(help));
        Family { name, kind, help, unit: Cow::Borrowed(""), labels, bounds: (f64::NEG_INFINITY, f64::INFINITY) }
    }

    /// A family that was read or declared at run time, without labels of its own; any value is possible.
    pub fn read(name: impl Into<Cow<'static, str>>, kind: MetricType, help: impl Into<Cow<'static, str>>) -> Self {
        Family { name: name.into(), kind, help: help.into(), ..Family::constant("", kind, "", &[]) }
    }

    /// The same family with the range of possible values, both ends included.
    pub const fn within(mut self, least: f64, most: f64) -> Self {
        self.bounds = (least, most);
        self
    }

    /// Whether `value` can be true. NaN never is.
    pub fn allows(&self, value: f64) -> bool {
        value >= self.bounds.0 && value <= self.bounds.1
    }
}

/// A family, either one of ours (a constant) or one that was declared or read at run time.
#[derive(Clone, Debug)]
pub enum FamilyRef {
    /// A constant beside a parser.
    Static(&'static Family),
    /// Declared in the configuration or carried on from a scraped page.
    Shared(Arc<Family>),
}

impl Deref for FamilyRef {
    type Target = Family;
    fn deref(&self) -> &Family {
        match self {
            FamilyRef::Static(family) => family,
            FamilyRef::Shared(family) => family,
        }
    }
}

impl PartialEq for FamilyRef {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl From<&'static Family> for FamilyRef {
    fn from(family: &'static Family) -> Self {
        FamilyRef::Static(family)
    }
}

impl From<Arc<Family>> for FamilyRef {
    fn from(family: Arc<Family>) -> Self {
        FamilyRef::Shared(family)
    }
}
