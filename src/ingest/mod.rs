//! What others push to us: Prometheus remote write 1.0 and 2.0, received.
//!
//! A request is read within bounds, each series judged by itself, and what is right goes into the recent window: one block
//! per sender, named by a label of its series, so that the same series always lands in the same block and one sender
//! cannot fill the room of another. The answer says what was kept, as the specification asks for; it is given when
//! queries can see the samples.

mod catalog;
mod senders;
mod tally;

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

use crate::model::{FamilyRef, Labels, TargetId};
use crate::store::{Appended, Arrival, Arrived, Recent};
use crate::telemetry::Telemetry;
use crate::wire::{Caps, Message, Pushed, WireError, decompress, read};
use catalog::Catalog;
use senders::Senders;
use tally::Tally;

/// How others may push.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Prometheus remote write on `/api/v1/write`. It needs `server.token`.
    pub remote_write: RemoteWriteIn,
}

/// Remote write, received.
#[derive(Clone, Debug, PartialEq, Eq, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RemoteWriteIn {
    /// The label that tells senders apart. Each may have `limits.series_per_target` series.
    pub sender_label: String,
}

impl Default for RemoteWriteIn {
    fn default() -> Self {
        RemoteWriteIn { sender_label: "job".to_string() }
    }
}

/// One request.
#[derive(Clone, Debug)]
pub struct Request {
    /// `Content-Type`; without one it is 1.0.
    pub content_type: Option<String>,
    /// `Content-Encoding`; without one it is snappy.
    pub content_encoding: Option<String>,
    /// As sent.
    pub body: Bytes,
}

/// What is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// Samples, histograms and exemplars that were written; for requests of 2.0 that could be told to be such.
    pub written: Option<[u64; 3]>,
    /// What was refused and why; empty when all was written.
    pub message: String,
    /// Senders that left no room, with the limit and the samples that were dropped; and those that have room.
    pub room: Vec<(TargetId, &'static str, usize)>,
}

impl Answer {
    fn refused(status: u16, message: impl Into<String>) -> Self {
        Answer { status, written: None, message: message.into(), room: Vec::new() }
    }
}

/// Points and histograms of one sender, in the order of the request.
#[derive(Default)]
struct Share {
    points: Vec<Arrival>,
    histograms: Vec<Arrival>,
}

/// Receives requests into the recent window.
pub struct Intake {
    settings: RemoteWriteIn,
    caps: Caps,
    recent: Arc<Recent>,
    telemetry: Arc<Telemetry>,
    known: Mutex<Known>,
}

/// What requests before have told.
#[derive(Default)]
struct Known {
    catalog: Catalog,
    senders: Senders,
}

impl Intake {
    /// An intake into `recent`.
    pub fn new(settings: RemoteWriteIn, recent: Arc<Recent>, telemetry: Arc<Telemetry>) -> Self {
        Intake { settings, caps: Caps::STANDARD, recent, telemetry, known: Mutex::default() }
    }

    /// Largest body, in bytes as sent, that is worth reading.
    pub const MOST_BYTES: usize = Caps::STANDARD.compressed;

    /// What is known of pushed metric families: type and help.
    pub fn families(&self) -> Vec<FamilyRef> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).catalog.families()
    }

    /// Takes a request in. `now` is our clock, in milliseconds. Computation only: it belongs off the runtime's threads.
    pub fn receive(&self, request: &Request, now: i64) -> Answer {
        let (message, answer) = match self.negotiate(request) {
            Ok(message) => (message.name(), self.take(request, message, now)),
            Err(refusal) => ("unknown", refusal),
        };
        let labels = vec![("message", message.to_string()), ("status", answer.status.to_string())];
        self.telemetry.received.requests.get_or_create(&labels).inc();
        answer
    }

    /// Which message it is, or 415.
    fn negotiate(&self, request: &Request) -> Result<Message, Answer> {
        let encoding = request.content_encoding.as_deref().unwrap_or("snappy");
        if !encoding.eq_ignore_ascii_case("snappy") {
            let text = format!("Content-Encoding {encoding:?} is not supported: send snappy (block format)");
            return Err(Answer::refused(415, text));
        }
        let Some(kind) = request.content_type.as_deref() else { return Ok(Message::V1) };
        Message::of_content_type(kind).ok_or_else(|| {
            let known = [Message::V1, Message::V2].map(Message::name).join(" or ");
            let text = format!("Content-Type {kind:?} is not supported: send application/x-protobuf;proto={known}");
            Answer::refused(415, text)
        })
    }

    fn take(&self, request: &Request, message: Message, now: i64) -> Answer {
        let pushed = decompress(&request.body, &self.caps).and_then(|body| read(&body, message, &self.caps));
        let mut tally = Tally::default();
        let (status, text) = match pushed {
            Ok(pushed) => {
                self.append(pushed, now, &mut tally);
                match tally.refusal() {
                    Some(text) => (400, text),
                    None => (204, String::new()),
                }
            }
            Err(error @ WireError::TooMuch { .. }) => (413, error.to_string()),
            Err(error) => (400, error.to_string()),
        };
        tally.count(&self.telemetry.received);
        Answer {
            status,
            written: (message == Message::V2).then_some([tally.samples, tally.histograms, 0]),
            message: text,
            room: tally.room,
        }
    }

    fn append(&self, pushed: Pushed, now: i64, tally: &mut Tally) {
        tally.exemplars = pushed.exemplars as u64;
        let shares = self.sort(pushed, now, tally);
        for (id, share) in shares {
            let points = self.recent.append_arrivals(&id, &share.points, now);
            tally.samples += (points.kept + points.duplicate) as u64;
            let histograms = self.recent.append_arrivals(&id, &share.histograms, now);
            tally.histograms += (histograms.kept + histograms.duplicate) as u64;
            for (done, first) in [
                (points, share.points.first().map(|point| &point.labels)),
                (histograms, share.histograms.first().map(|histogram| &histogram.labels)),
            ] {
                self.judge(&id, done, first, tally);
            }
        }
    }

    fn judge(&self, id: &TargetId, done: Appended, first: Option<&Labels>, tally: &mut Tally) {
        let fates = [
            ("conflict", done.conflict),
            ("out_of_order", done.out_of_order),
            ("too_old", done.too_old),
            ("in_future", done.in_future),
            (done.limit.unwrap_or("series"), done.over_limit),
        ];
        for (reason, count) in fates.into_iter().filter(|(_, count)| *count > 0) {
            tally.refuse(reason, count, || format!("among those of {id}, for example {}", shown(first)));
        }
        if first.is_some() {
            for limit in ["series_per_target", "series"] {
                let dropped = if done.limit == Some(limit) { done.over_limit } else { 0 };
                tally.room.push((id.clone(), limit, dropped));
            }
        }
    }

    /// What is right of a request, by sender.
    fn sort(&self, pushed: Pushed, now: i64, tally: &mut Tally) -> Vec<(TargetId, Share)> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let Known { catalog, senders } = &mut *known;
        pushed.metadata.into_iter().for_each(|said| catalog.learn(said));
        let mut shares: Vec<(TargetId, Share)> = Vec::new();
        for series in pushed.series {
            let size = series.samples.len() + series.histograms.len();
            let labels = match series.labels {
                Ok(labels) => labels,
                Err(error) => {
                    tally.refuse("invalid_labels", size.max(1), || error.to_string());
                    continue;
                }
            };
            let family = catalog.family(&labels, series.metadata);
            let sender = labels.get(&self.settings.sender_label).unwrap_or_default();
            let Some(id) = senders.admit(sender, now, &self.recent) else {
                tally.refuse("senders", size, || format!("there are {} senders already", senders::MOST));
                continue;
            };
            let index = shares.iter().position(|(other, _)| *other == id).unwrap_or_else(|| {
                shares.push((id, Share::default()));
                shares.len() - 1
            });
            let share = &mut shares[index].1;
            let starts = series.starts;
            let arrival = |t: i64, value: Arrived| Arrival {
                family: family.clone(),
                labels: labels.clone(),
                t,
                value,
                start: starts.at(t),
            };
            share.points.extend(series.samples.iter().map(|point| arrival(point.t, Arrived::Float(point.v))));
            for (t, histogram) in series.histograms {
                match histogram {
                    Ok(histogram) => share.histograms.push(arrival(t, Arrived::Histogram(histogram))),
                    Err(error) => tally.refuse("invalid_histogram", 1, || format!("{labels}: {error}")),
                }
            }
        }
        shares
    }
}

/// A series in a message, cut to a bounded length.
fn shown(labels: Option<&Labels>) -> String {
    const MOST: usize = 200;
    labels.map(ToString::to_string).unwrap_or_default().chars().take(MOST).collect()
}

#[cfg(test)]
mod tests;
