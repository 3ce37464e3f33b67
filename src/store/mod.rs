//! What is known: recent samples in memory, and state on disk behind a door that a cluster fits through.

mod append;
mod block;
mod codec;
pub mod column;
mod families;
mod forms;
pub mod history;
mod packed;
pub mod page;
pub mod recent;
mod samples;
mod save;
mod select;
mod stack;
pub mod state;

pub use append::{Appended, Arrival, Arrived, KeptHistogram};
pub use history::{History, HistoryError, HistoryOptions};
pub use page::Format;
pub use recent::{Kept, Limits, Recent};
pub use samples::Samples;
pub use select::Stats;
