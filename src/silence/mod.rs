//! Silences and maintenance windows: which alerts are muted at a time, and by whom.
//!
//! Shapes, words and rules of change are Alertmanager's, so that `amtool` works against them. Pure: the clock is passed
//! in, and what a change writes is handed back as values ([`Change`]); the daemon makes it durable before it counts.

mod book;
mod record;
mod time;
mod window;

pub use book::{Change, MAX_SILENCES, Silences};
pub use record::{Draft, MatcherShape, Silence, SilenceError, SilenceShape, State, StatusShape};
pub use time::{from_rfc3339, rfc3339};
pub use window::{Mistake, Window, WindowEntry, Windows};

/// Why an alert is muted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mute {
    /// By a silence.
    Silence {
        /// Its id.
        id: String,
        /// Who made it.
        created_by: String,
        /// Why.
        comment: String,
        /// When it ends, milliseconds since the epoch.
        ends_at: i64,
    },
    /// By a maintenance window with matchers (`windows[].mute`).
    Window {
        /// Its name.
        name: String,
        /// When it closes, milliseconds since the epoch.
        ends_at: i64,
    },
}

impl std::fmt::Display for Mute {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Mute::Silence { id, created_by, comment, ends_at } => {
                write!(f, "silence {id} of {created_by} until {}: {comment}", rfc3339(*ends_at))
            }
            Mute::Window { name, ends_at } => write!(f, "maintenance window {name} until {}", rfc3339(*ends_at)),
        }
    }
}
