//! The ballast: a file that takes space now so that it can be given back when the disk is full, because sled cannot
//! even be opened on a full disk.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use super::folder::free_bytes;

/// The ballast file of a state folder.
#[derive(Clone, Debug)]
pub(super) struct Ballast {
    path: PathBuf,
    bytes: u64,
}

impl Ballast {
    /// The ballast of `bytes` below `folder`; 0 means none.
    pub fn new(folder: &Path, bytes: u64) -> Self {
        Ballast { path: folder.join("ballast"), bytes }
    }

    /// Bytes that it lacks.
    pub fn missing(&self) -> u64 {
        self.bytes.saturating_sub(self.present())
    }

    fn present(&self) -> u64 {
        std::fs::metadata(&self.path).map_or(0, |data| data.len())
    }

    /// Takes what there is, down to `leave` free bytes, if it is gone: somebody else would take it otherwise.
    pub fn cling(&self, leave: u64) {
        let free = free_bytes(self.path.parent().unwrap_or(Path::new(".")));
        let bytes = self.bytes.min(free.saturating_sub(leave));
        if self.present() == 0 && bytes > 0 && take(&self.path, bytes).is_err() {
            self.release();
        }
    }

    /// Gives the space back. True if there was any.
    pub fn release(&self) -> bool {
        std::fs::remove_file(&self.path).is_ok()
    }

    /// Takes the space if it is not taken, and if at least `spare` bytes stay free. True if all of it stands afterwards.
    pub fn restore(&self, spare: u64) -> bool {
        if self.bytes == 0 {
            return true;
        }
        let present = self.present();
        if present == self.bytes {
            return true;
        }
        let folder = self.path.parent().unwrap_or(Path::new("."));
        if free_bytes(folder).saturating_add(present) < self.bytes.saturating_add(spare) {
            return false;
        }
        let taken = take(&self.path, self.bytes).is_ok();
        if !taken {
            self.release();
        }
        taken
    }
}

fn take(path: &Path, bytes: u64) -> std::io::Result<()> {
    let mut file = File::create(path)?;
    if rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, bytes).is_ok() {
        return file.sync_all();
    }
    // A file system without fallocate: only real bytes take real space.
    let block = [0x5a_u8; 64 * 1024];
    let mut left = bytes;
    while left > 0 {
        let part = usize::try_from(left).unwrap_or(usize::MAX).min(block.len());
        file.write_all(&block[..part])?;
        left -= part as u64;
    }
    file.sync_all()
}
