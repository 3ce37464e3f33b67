//! How far a queue has been read, in a small file that is replaced as a whole.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

/// A place in a queue. Ordered as its records are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
pub(super) struct Position {
    pub(super) segment: u64,
    pub(super) offset: u64,
}

/// What the file says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(super) struct Marks {
    /// Everything before this was acknowledged or given up.
    pub(super) done: Position,
    /// Everything between may have reached the receiver.
    pub(super) under_way: Option<Position>,
}

const NAME: &str = "position.json";

impl Marks {
    /// `None` when there is no file, or none that can be read: then everything that is there is sent again.
    pub(super) fn read(folder: &Path) -> Option<Marks> {
        serde_json::from_slice(&std::fs::read(folder.join(NAME)).ok()?).ok()
    }

    /// Durable when it returns.
    pub(super) fn write(&self, folder: &Path) -> io::Result<()> {
        let (path, new) = (folder.join(NAME), folder.join("position.new"));
        let mut file = File::create(&new)?;
        file.write_all(&serde_json::to_vec(self)?)?;
        file.sync_data()?;
        std::fs::rename(&new, &path)?;
        File::open(folder)?.sync_all()
    }

    /// The files before this place are gone.
    pub(super) fn begin_at(&mut self, place: Position) {
        self.done = self.done.max(place);
        self.under_way = self.under_way.filter(|end| *end > self.done);
    }
}
