//! The sender of one receiver: takes requests from the queue, one at a time, and repeats each until its fate is known.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::Destination;
use super::queue::{Batch, QueueError};
use crate::collect::http::Answer;
use crate::model::{Family, FamilyRef, MetricType};
use crate::wire::{
    Caps, Message, SeriesIn, SeriesOut, WRITTEN_HEADERS, WireError, compress, decompress, family_name, read, write,
    write_metadata,
};

/// Families that are remembered for the metadata of 1.0.
const FAMILIES: usize = 10_000;
/// Families in one request of metadata.
const FAMILIES_PER_SEND: usize = 2_000;
/// Characters of an answer that go to the log.
const MAX_REASON: usize = 200;

/// What became of one attempt.
#[derive(Debug, PartialEq)]
enum Fate {
    Written,
    /// It may succeed later; not before this time has passed, where the receiver said so.
    Later(String, Option<Duration>),
    /// It never will.
    Refused(String),
    /// The receiver does not read 2.0.
    Unknown,
}

/// A request, ready to go.
struct Request {
    body: Vec<u8>,
    /// Seconds since the epoch.
    highest: f64,
}

/// Empties the queue of one destination.
pub(super) struct Sender {
    destination: Arc<Destination>,
    message: Message,
    /// What was last complained of: once in the log, however often it happens.
    complaint: String,
    families: BTreeMap<String, FamilyRef>,
    metadata_due: Instant,
}

impl Sender {
    pub(super) fn new(destination: Arc<Destination>) -> Self {
        let message = destination.receiver.settings.protobuf_message;
        let (complaint, families) = (String::new(), BTreeMap::new());
        Sender { destination, message, complaint, families, metadata_due: Instant::now() }
    }

    pub(super) async fn run(mut self, stop: CancellationToken) {
        tokio::select! {
            () = stop.cancelled() => {}
            () = self.work() => {}
        }
    }

    async fn work(&mut self) {
        let queue_config = self.destination.receiver.settings.queue_config.clone();
        loop {
            self.wait(queue_config.max_samples_per_send, queue_config.batch_send_deadline).await;
            match self.next().await {
                Ok(None) => continue,
                Ok(Some(batch)) => self.deliver(Arc::new(batch)).await,
                Err(error) => {
                    self.complain(&error.to_string());
                    self.give_up_file().await;
                    tokio::time::sleep(queue_config.max_backoff).await;
                }
            }
            self.send_metadata().await;
        }
    }

    /// Until a request is full, or its samples have waited long enough.
    async fn wait(&self, most: u64, deadline: Duration) {
        while self.destination.queue.depth().samples == 0 {
            self.destination.filled.notified().await;
        }
        let deadline = Instant::now() + deadline;
        while self.destination.queue.depth().samples < most {
            tokio::select! {
                () = tokio::time::sleep_until(deadline) => return,
                () = self.destination.filled.notified() => {}
            }
        }
    }

    async fn next(&self) -> Result<Option<Batch>, QueueError> {
        let destination = self.destination.clone();
        let most = destination.receiver.settings.queue_config.max_samples_per_send;
        tokio::task::spawn_blocking(move || destination.queue.next(most)).await.unwrap_or(Ok(None))
    }

    async fn give_up_file(&self) {
        let destination = self.destination.clone();
        let skipped = tokio::task::spawn_blocking(move || destination.queue.skip_damaged()).await;
        if let Ok(Ok(lost)) = skipped {
            self.destination.drop_samples("damaged", lost);
        }
        self.destination.show_depth();
    }

    /// Sends a batch until it is written or refused for good.
    async fn deliver(&mut self, batch: Arc<Batch>) {
        let (least, most) = {
            let config = &self.destination.receiver.settings.queue_config;
            (config.min_backoff, config.max_backoff)
        };
        let (mut backoff, labels) = (least, self.destination.labels.clone());
        let telemetry = self.destination.telemetry.clone();
        loop {
            let fate = match self.request(&batch) {
                Ok(Some(request)) => {
                    let size = request.body.len() as u64;
                    let fate = self.attempt(request.body).await;
                    telemetry.bytes.get_or_create(&labels).inc_by(size);
                    if fate == Fate::Written {
                        telemetry.highest_sent.get_or_create(&labels).set(request.highest);
                    }
                    fate
                }
                Ok(None) => break,
                Err(error) => Fate::Refused(error.to_string()),
            };
            match fate {
                Fate::Written => {
                    telemetry.samples.get_or_create(&labels).inc_by(batch.samples);
                    if !std::mem::take(&mut self.complaint).is_empty() {
                        tracing::info!(receiver = self.destination.receiver.name, "remote write works again");
                    }
                    break;
                }
                Fate::Refused(reason) => {
                    telemetry.failed.get_or_create(&labels).inc_by(batch.samples);
                    self.complain(&format!("the receiver refuses samples, which are dropped: {reason}"));
                    break;
                }
                Fate::Unknown => {
                    tracing::warn!(
                        receiver = self.destination.receiver.name,
                        "the receiver does not read remote write 2.0; sending 1.0 until the next start"
                    );
                    self.message = Message::V1;
                }
                Fate::Later(reason, wait) => {
                    telemetry.retried.get_or_create(&labels).inc_by(batch.samples);
                    self.complain(&format!("cannot send; samples wait in the queue: {reason}"));
                    tokio::time::sleep(wait.unwrap_or(backoff)).await;
                    backoff = (backoff * 2).min(most);
                }
            }
        }
        self.forget(batch).await;
    }

    /// One attempt at a body in the message that is spoken now.
    async fn attempt(&self, body: Vec<u8>) -> Fate {
        let own = [
            ("content-encoding", "snappy"),
            ("content-type", self.message.content_type()),
            ("x-prometheus-remote-write-version", self.message.version()),
        ];
        match self.destination.receiver.endpoint.post(&own, body).await {
            Ok(answer) => fate(&answer, self.message),
            Err(failure) => Fate::Later(failure.to_string(), failure.retry_after),
        }
    }

    /// The records of a batch as one request; `None` where nothing is left of them.
    fn request(&mut self, batch: &Batch) -> Result<Option<Request>, WireError> {
        let caps = Caps::unlimited();
        let (mut out, mut highest) = (Vec::new(), i64::MIN);
        for record in &batch.records {
            let pushed = read(&decompress(record, &caps)?, Message::V2, &caps)?;
            for series in pushed.series.into_iter().filter_map(restore) {
                let times = series.samples.iter().map(|point| point.t).chain(series.histograms.iter().map(|(t, _)| *t));
                highest = highest.max(times.max().unwrap_or(i64::MIN));
                out.push(series);
            }
        }
        if out.is_empty() {
            return Ok(None);
        }
        for series in &out {
            if self.families.len() < FAMILIES && !self.families.contains_key(series.family.name.as_ref()) {
                self.families.insert(series.family.name.to_string(), series.family.clone());
            }
        }
        let body = compress(&write(self.message, &out))?;
        Ok(Some(Request { body, highest: highest as f64 / 1000.0 }))
    }

    async fn forget(&self, batch: Arc<Batch>) {
        let destination = self.destination.clone();
        let done = tokio::task::spawn_blocking(move || destination.queue.done(&batch)).await;
        if let Ok(Err(error)) = done {
            tracing::warn!(receiver = self.destination.receiver.name, %error, "a restart will send samples once more");
        }
        self.destination.show_depth();
    }

    /// Type and help of families beside 1.0, now and then. Lost ones come again.
    async fn send_metadata(&mut self) {
        let config = &self.destination.receiver.settings.metadata_config;
        if self.message != Message::V1 || !config.send || Instant::now() < self.metadata_due {
            return;
        }
        self.metadata_due = Instant::now() + config.send_interval;
        let families: Vec<&FamilyRef> = self.families.values().collect();
        for part in families.chunks(FAMILIES_PER_SEND) {
            if let Ok(body) = compress(&write_metadata(part.iter().copied())) {
                let fate = self.attempt(body).await;
                tracing::debug!(receiver = self.destination.receiver.name, ?fate, "metadata");
            }
        }
    }

    fn complain(&mut self, text: &str) {
        if self.complaint != text {
            tracing::warn!(receiver = self.destination.receiver.name, "remote write: {text}");
            self.complaint = text.to_string();
        }
    }
}

fn restore(series: SeriesIn) -> Option<SeriesOut> {
    let labels = series.labels.ok()?;
    let said = series.metadata;
    let name = labels.name().unwrap_or_default();
    let (kind, help) = said.map_or((MetricType::Unknown, String::new()), |said| (said.kind, said.help));
    let name = family_name(name, kind).to_string();
    let bounds = (f64::NEG_INFINITY, f64::INFINITY);
    let family = Arc::new(Family { name: name.into(), kind, help: help.into(), labels: &[], bounds });
    let histograms = series.histograms.into_iter().filter_map(|(t, histogram)| Some((t, histogram.ok()?))).collect();
    Some(SeriesOut { labels, family: family.into(), samples: series.samples, histograms, starts: series.starts })
}

/// What an answer means, by the specification.
fn fate(answer: &Answer, message: Message) -> Fate {
    let text = String::from_utf8_lossy(&answer.body);
    let line = text.lines().next().unwrap_or_default();
    let line: String = line.chars().filter(|c| !c.is_control()).take(MAX_REASON).collect();
    let reason = format!("HTTP {}: {line}", answer.status);
    let counted = WRITTEN_HEADERS.iter().any(|name| answer.headers.contains_key(*name));
    match answer.status {
        // A receiver of 1.0 that looks at no content type reads an empty message, and is content.
        200..=299 if message == Message::V2 && !counted => Fate::Unknown,
        200..=299 => Fate::Written,
        415 if message == Message::V2 => Fate::Unknown,
        429 | 500..=599 => Fate::Later(reason, answer.retry_after()),
        _ => Fate::Refused(reason),
    }
}
