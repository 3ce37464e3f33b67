//! What is known: recent samples in memory, and state on disk behind a door that a cluster fits through.

mod append;
mod block;
pub mod column;
mod families;
pub mod page;
pub mod recent;
pub mod state;

pub use append::{Appended, KeptHistogram};
pub use page::Format;
pub use recent::{Kept, Limits, Recent};
