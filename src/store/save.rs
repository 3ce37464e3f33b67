//! What the window hands on to be kept longer: every sample once, but again when it could not be written.

use std::time::Duration;

use super::block::Block;
use super::forms::Forms;
use super::history::{Entry, Row};
use super::recent::Recent;
use crate::model::{Point, TargetId};

/// How far back pushed samples are taken while a history is kept, and the disk takes it: a sender that was cut off
/// catches up.
const BACKLOG: Duration = Duration::from_secs(2 * 3600);

/// Blocks of targets that went, whose last samples wait to be written. Of more than that the last minutes are lost.
const MOST_LEAVERS: usize = 10_000;

/// The samples of a block that are new.
pub(super) struct Cut {
    pub(super) mark: Mark,
    pub(super) entries: Vec<Entry>,
}

/// How far a cut reached.
pub(super) struct Mark {
    id: TargetId,
    /// Of the block: numbers are used again.
    number: u32,
    rewinds: u32,
    saved: i64,
    /// Of rows that have times of their own, by form.
    own: Vec<(u32, i64)>,
}

impl Block {
    fn cut(&self, id: &TargetId, forms: &Forms) -> Cut {
        let saved = self.packed.last().unwrap_or(self.saved);
        let mark = Mark { id: id.clone(), number: self.number, rewinds: self.rewinds, saved, own: Vec::new() };
        let mut cut = Cut { mark, entries: Vec::new() };
        for (row, known) in self.rows.iter().enumerate() {
            let Some(form) = forms.get(known.form) else { continue };
            let own = self.own(row);
            let after = own.map_or(self.saved, |own| own.saved).saturating_add(1);
            let points: Vec<Point> = self.points(row, after, i64::MAX);
            let histograms = own.into_iter().flat_map(|own| &own.histograms);
            let histograms: Vec<_> = histograms.filter(|(t, _)| *t >= after).cloned().collect();
            let new = Row { own: 0, points, histograms, starts: self.starts(row, after, i64::MAX) };
            let Some((_, last)) = new.span() else { continue };
            if own.is_some() {
                cut.mark.own.push((known.form, last));
            }
            let stamp = self.stamped(form.stamp).clone();
            cut.entries.push(Entry { stamp, own: form.own.clone(), row: new });
        }
        cut
    }

    fn mark(&mut self, mark: &Mark) {
        // The clock was set back in between: what came since has the times of what was written.
        if self.rewinds != mark.rewinds {
            return;
        }
        self.saved = self.saved.max(mark.saved);
        for (form, saved) in &mark.own {
            let row = self.rows.binary_search_by_key(form, |row| row.form);
            if let Some(own) = row.ok().and_then(|row| self.own.get_mut(row)?.as_deref_mut()) {
                own.saved = own.saved.max(*saved);
            }
        }
    }
}

impl Recent {
    /// Whether pushed samples wait in the window until they are saved, even when they are older than it.
    pub(super) fn keep_unsaved(&self, keep: bool) {
        let mut inner = self.write();
        inner.backlog = keep.then_some(BACKLOG);
        if !keep {
            inner.leavers.clear();
        }
    }

    pub(super) fn ids(&self) -> Vec<TargetId> {
        self.read().numbers.keys().cloned().collect()
    }

    /// What a block has that is not saved.
    pub(super) fn unsaved(&self, id: &TargetId) -> Option<Cut> {
        let inner = self.read();
        Some(inner.block(id)?.cut(id, &inner.forms))
    }

    /// What blocks had that are gone.
    pub(super) fn take_leavers(&self) -> Vec<Cut> {
        std::mem::take(&mut self.write().leavers)
    }

    /// Says that cuts are on the disk.
    pub(super) fn mark_saved(&self, marks: &[Mark]) {
        let mut inner = self.write();
        for mark in marks {
            if inner.numbers.get(&mark.id) == Some(&mark.number)
                && let Some(block) = inner.blocks.get_mut(mark.number as usize).and_then(Option::as_deref_mut)
            {
                block.mark(mark);
            }
        }
    }
}

impl super::recent::Inner {
    /// Keeps what a block that goes has not saved.
    pub(super) fn see_off(&mut self, id: &TargetId, block: &Block) {
        if self.backlog.is_some() && self.leavers.len() < MOST_LEAVERS {
            let cut = block.cut(id, &self.forms);
            self.leavers.push(cut);
        }
    }
}
