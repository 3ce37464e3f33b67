//! Device logs: what devices say by themselves over a WebSocket, kept in a bounded ring per device, counted by pattern,
//! and written to files if asked for.
//!
//! Only AxeOS has such a stream (`/api/ws`): log lines in older firmware, since 2.14 its state and then what changes of
//! it. Everything that comes in is hostile text: frames and lines are capped, control characters are gone before anything
//! is kept, and no file is named by what a device says.

mod budget;
mod client;
mod files;
mod frame;
mod ring;
mod settings;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::collect::miner::Place;
use crate::model::Target;
use crate::telemetry::Telemetry;
use budget::Budget;
use frame::Reader;

pub use client::ListenError;
pub use files::{Scribe, file_name};
pub use ring::{Line, Ring};
pub use settings::{CounterEntry, DeviceLogs, FilesEntry, Plan};

/// Waits between two connections: doubled from the first to the last while the device does not answer.
const BACK_OFF: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// The kinds whose devices speak by themselves, with the path and the port.
const STREAMS: [(&str, &str, u16); 1] = [("axeos", "/api/ws", 80)];

/// Where a target speaks by itself: address and path. `None` for a kind that does not.
pub fn stream(target: &Target) -> Option<(String, &'static str)> {
    let (_, path, port) = STREAMS.into_iter().find(|(kind, ..)| **kind == *target.kind)?;
    let place = Place::read(&target.address, "http", port).ok()?;
    Some((place.to_string(), path))
}

/// What is heard of one device; shared with whoever shows it.
pub type Heard = Arc<Mutex<Ring>>;

/// Listens to one device.
pub struct Ear {
    /// Its target.
    pub target: Arc<Target>,
    /// Where its lines go.
    pub heard: Heard,
    /// What is counted, and whether files are written.
    pub plan: Arc<Plan>,
    /// Who writes files.
    pub scribe: Scribe,
    /// Where it is counted.
    pub telemetry: Arc<Telemetry>,
    /// Milliseconds since the epoch.
    pub clock: fn() -> i64,
}

impl Ear {
    /// Listens until `stop`, over as many connections as it takes.
    pub async fn listen(self, stop: CancellationToken) {
        let Some((address, path)) = stream(&self.target) else { return };
        let labels = vec![("target", self.target.id.to_string())];
        let connected = self.telemetry.listening.connected.get_or_create(&labels).clone();
        let show_users = self.target.options.get("show_pool_user") == Some(&true.into());
        let mut budget = Budget::new(self.plan.lines_per_second, Instant::now());
        let mut pause = BACK_OFF.0;
        loop {
            connected.set(0.0);
            let begun = Instant::now();
            // A new connection begins with the whole state again.
            let mut reader = Reader::new(show_users);
            let mut take = |message: Option<&str>| {
                connected.set(1.0);
                let Some(message) = message else { return self.enter(Vec::new()) };
                if !budget.message(Instant::now()) {
                    return self.drop_lines("budget", 1);
                }
                let mut lines = reader.read(message);
                let (said, kept) = (lines.len(), budget.lines(lines.len()));
                lines.truncate(kept);
                self.drop_lines("budget", said - kept);
                self.enter(lines);
            };
            let error = tokio::select! {
                () = stop.cancelled() => break,
                error = client::listen(&address, path, &mut take) => error,
            };
            tracing::debug!(target = %self.target.id, %error, "a device log ended");
            pause = if begun.elapsed() > BACK_OFF.1 { BACK_OFF.0 } else { pause };
            tokio::select! {
                () = stop.cancelled() => break,
                () = tokio::time::sleep(pause) => {}
            }
            pause = (pause * 2).min(BACK_OFF.1);
        }
        self.telemetry.listening.connected.remove(&labels);
    }

    /// Counts lines that were not kept.
    fn drop_lines(&self, reason: &str, count: usize) {
        let labels = vec![("target", self.target.id.to_string()), ("reason", reason.to_string())];
        self.telemetry.listening.dropped.get_or_create(&labels).inc_by(count as u64);
    }

    fn enter(&self, lines: Vec<String>) {
        let now = (self.clock)();
        let labels = vec![("target", self.target.id.to_string())];
        self.telemetry.listening.lines.get_or_create(&labels).inc_by(lines.len() as u64);
        for counter in &self.plan.counters {
            let hits = lines.iter().filter(|line| counter.pattern.is_match(line)).count();
            let labels = vec![("target", self.target.id.to_string()), ("counter", counter.name.clone())];
            // From 0 on, so that `increase()` sees the first hit.
            self.telemetry.listening.matches.get_or_create(&labels).inc_by(hits as u64);
        }
        if let Some(files) = self.plan.files.as_ref().filter(|_| !lines.is_empty())
            && !self.scribe.hand(files, &self.target.id, now, &lines)
        {
            self.drop_lines("disk", lines.len());
        }
        let mut heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        lines.into_iter().for_each(|line| heard.push(now, line));
    }
}

#[cfg(test)]
mod tests;
