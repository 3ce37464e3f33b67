//! Rules: points → alerts. Prometheus rule files, their templates, and one pure step per rule.
//!
//! ```text
//! rule files ─► check_files ─► Report { groups, problems }
//!                                │
//! samples ─► Engine::evaluate ───┴─► Evaluation { transitions, gone, recorded, problems }
//! ```
//!
//! * [`check_files`] reads files strictly and reports every mistake at once; `davylamp rules check` prints the report.
//! * [`Engine`] evaluates what is due ([`Engine::next_due`], [`Engine::due`]) at each group's own slot. The caller
//!   appends `recorded` to the samples, hands `transitions` to action, and stores [`Engine::alerts`] (or the alerts of
//!   `transitions`, minus `gone`), to give them to [`Engine::restore`] after a restart: no time of an alert moves.
//! * [`step::step`] is the state machine: pending, firing, resolved.
//!
//! Invariant: pure but for reading rule files. No clock, no tokio, nothing about what to do with an alert.

mod check;
pub mod engine;
mod evidence;
pub mod explain;
pub mod file;
mod fresh;
pub mod group;
pub mod no_data;
mod node;
mod overlay;
mod pattern;
mod produce;
pub mod replay;
pub mod rule;
pub mod samples;
pub mod state;
pub mod step;
pub mod template;
pub mod trace;
pub mod unit;

pub use engine::Cycle;
pub use engine::Engine;
pub use engine::Evaluation;
pub use engine::RuleProblem;
pub use engine::Settings;
pub use explain::Explanation;
pub use file::Report;
pub use file::check_files;
pub use file::check_text;
pub use fresh::{Fresh, fresh};
pub use group::GroupState;
pub use no_data::NoData;
pub use no_data::NoDataRule;
pub use pattern::expand;
pub use rule::Rule;
pub use rule::RuleGroup;
pub use rule::RuleKind;
pub use samples::Samples;
pub use state::RuleState;
pub use trace::RuleError;
pub use trace::Seen;
pub use trace::Trace;
