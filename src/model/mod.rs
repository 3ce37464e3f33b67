//! The words everything else is said in: targets, families, samples, labels, observations, alerts.
//!
//! Invariant: no I/O, no clock, no tokio. A value of this room can be built in any test.

pub mod alert;
pub mod duration;
pub mod family;
pub mod histogram;
pub mod labels;
pub mod matcher;
pub mod observation;
pub mod relabel;
pub mod series;
pub mod settings;
pub mod starts;
pub mod target;
pub mod words;

pub use alert::{Alert, AlertState, Transition};
pub use family::{Family, FamilyRef, MetricType};
pub use histogram::FloatHistogram;
pub use labels::{Labels, LabelsBuilder};
pub use matcher::{MatchOp, Matcher, MatcherError};
pub use observation::{FailureReason, Identity, Observation, PollFailure, Reading, Sample, Suffix};
pub use series::{Point, Series, Source, SourceError};
pub use settings::{FanSetting, PoolSetting, Settings};
pub use starts::Starts;
pub use target::{Target, TargetId};
