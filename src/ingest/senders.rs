//! Who pushes: a bounded number of senders, each with a block of its own in the recent window.

use std::collections::HashMap;

use crate::model::TargetId;
use crate::store::Recent;

/// Senders at once.
pub(super) const MOST: usize = 1000;
/// A sender that was silent for so long makes room for a new one, in milliseconds.
const IDLE: i64 = 3_600_000;
/// Characters of a sender's name that name its block.
const MOST_NAME: usize = 200;

/// Senders and when they pushed last.
#[derive(Default)]
pub(super) struct Senders(HashMap<String, (TargetId, i64)>);

impl Senders {
    /// The block of a sender; `None` when there are too many.
    pub(super) fn admit(&mut self, name: &str, now: i64, recent: &Recent) -> Option<TargetId> {
        if let Some((id, last)) = self.0.get_mut(name) {
            *last = now;
            return Some(id.clone());
        }
        if self.0.len() >= MOST {
            self.0.retain(|_, (id, last)| {
                let stays = now.saturating_sub(*last) < IDLE;
                if !stays {
                    recent.forget(id);
                }
                stays
            });
        }
        if self.0.len() >= MOST || name.len() > MOST_NAME {
            return None;
        }
        // No target's id can hold a slash.
        let shown: String = name.chars().filter(|c| !c.is_control()).collect();
        let id = TargetId::from(format!("/push/{shown}"));
        recent.declare_pushed(&id, "remote_write");
        self.0.insert(name.to_string(), (id.clone(), now));
        Some(id)
    }
}
