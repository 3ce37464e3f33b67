//! The last lines of a device, bounded in number and bytes, each with a number that is never used again.

use std::collections::VecDeque;

/// One line, without control characters.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Line {
    /// Counts from 1.
    pub number: u64,
    /// When it came, milliseconds since the epoch.
    pub at: i64,
    /// What the device said.
    pub text: String,
}

/// The last lines of a device.
#[derive(Debug)]
pub struct Ring {
    lines: VecDeque<Line>,
    most: usize,
    bytes: usize,
    last: u64,
}

/// Most bytes of a ring, however many lines it may hold.
const MOST_BYTES: usize = 256 * 1024;

impl Ring {
    /// A ring for so many lines.
    pub fn new(most: usize) -> Ring {
        Ring { lines: VecDeque::new(), most, bytes: 0, last: 0 }
    }

    /// From now on for so many lines; the oldest ones go.
    pub fn resize(&mut self, most: usize) {
        self.most = most;
        self.trim();
    }

    /// Adds a line; the oldest ones make room.
    pub fn push(&mut self, at: i64, text: String) {
        self.last += 1;
        self.bytes += text.len();
        self.lines.push_back(Line { number: self.last, at, text });
        self.trim();
    }

    fn trim(&mut self) {
        while self.lines.len() > self.most || self.bytes > MOST_BYTES {
            let Some(oldest) = self.lines.pop_front() else { break };
            self.bytes -= oldest.text.len();
        }
    }

    /// The newest lines after a number, at most so many, oldest first.
    pub fn after(&self, number: u64, most: usize) -> Vec<Line> {
        let fresh = self.lines.iter().filter(|line| line.number > number);
        let skip = fresh.clone().count().saturating_sub(most);
        fresh.skip(skip).cloned().collect()
    }
}
