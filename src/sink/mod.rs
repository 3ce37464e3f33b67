//! What we send on: samples go to other servers by remote write, through a bounded queue on disk.
//!
//! Whoever has samples offers them to [`Sink`]; one writer gathers them for a moment, relabels them for each receiver,
//! appends them to its queue and makes that durable. One sender for each receiver empties its queue, one request at a time,
//! so that the samples of a series leave in their order.

mod position;
mod queue;
mod send;
mod settings;

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;

pub use queue::{Batch, Depth, Queue, QueueError};
pub use settings::{Authorization, BasicAuth, MetadataConfig, Mistake, QueueConfig, Receiver, RemoteWrite, check};

use crate::model::relabel::relabel;
use crate::model::{FamilyRef, FloatHistogram, Labels, Point, Starts};
use crate::telemetry::{RemoteWriteOut, SelfLabels, Telemetry};
use crate::wire::{Message, SeriesOut, compress, write};
use send::Sender;

/// Polls that wait for the writer. When it is full, whoever offers waits: the disk is too slow, and nothing is lost.
const OFFERS: usize = 1024;
/// How long samples are gathered before they are written: one flush to the disk for all of them.
const GATHER: Duration = Duration::from_millis(100);
/// Series whose relabelled labels are remembered; beyond, the memory begins anew.
const REMEMBERED: usize = 200_000;

/// A point to be sent: its family, all labels of its series, and the point.
pub type Offer = (FamilyRef, Labels, Point);

/// The way in. Cheap to clone; without receivers it takes nothing.
#[derive(Clone, Default)]
pub struct Sink(Option<mpsc::Sender<Vec<SeriesOut>>>);

impl Sink {
    /// Whether anybody wants samples.
    pub fn is_wanted(&self) -> bool {
        self.0.is_some()
    }

    /// Offers points, and waits while the writer is behind.
    pub async fn offer(&self, points: Vec<Offer>) {
        self.send(points.into_iter().map(of_point).collect()).await;
    }

    /// Offers native histograms with their times, as [`Sink::offer`] does points.
    pub async fn offer_histograms(&self, histograms: Vec<(FamilyRef, Labels, i64, Arc<FloatHistogram>)>) {
        let series = histograms.into_iter().map(|(family, labels, t, histogram)| SeriesOut {
            labels,
            family,
            samples: Vec::new(),
            histograms: vec![(t, histogram)],
            starts: Starts::default(),
        });
        self.send(series.collect()).await;
    }

    async fn send(&self, series: Vec<SeriesOut>) {
        if let Some(sender) = self.0.as_ref().filter(|_| !series.is_empty()) {
            // The writer is gone only at the very end.
            let _ = sender.send(series).await;
        }
    }

    /// Offers points that come again: while the writer is behind they are left out.
    pub fn offer_if_idle(&self, points: Vec<Offer>) {
        if let Some(sender) = self.0.as_ref().filter(|_| !points.is_empty()) {
            let _ = sender.try_send(points.into_iter().map(of_point).collect());
        }
    }
}

fn of_point((family, labels, point): Offer) -> SeriesOut {
    SeriesOut { labels, family, samples: vec![point], histograms: Vec::new(), starts: Starts::default() }
}

/// One receiver, its queue, and what is counted of it.
struct Destination {
    receiver: Receiver,
    queue: Queue,
    /// Something was appended.
    filled: Notify,
    telemetry: RemoteWriteOut,
    labels: SelfLabels,
}

impl Destination {
    fn drop_samples(&self, reason: &'static str, count: u64) {
        if count > 0 {
            let mut labels = self.labels.clone();
            labels.push(("reason", reason.to_string()));
            self.telemetry.dropped.get_or_create(&labels).inc_by(count);
        }
    }

    fn show_depth(&self) {
        let depth = self.queue.depth();
        self.telemetry.pending.get_or_create(&self.labels).set(depth.samples as f64);
        self.telemetry.pending_bytes.get_or_create(&self.labels).set(depth.bytes as f64);
    }
}

/// What has to be driven: the writer and the senders.
pub struct Work {
    offers: mpsc::Receiver<Vec<SeriesOut>>,
    destinations: Vec<Arc<Destination>>,
}

/// Opens the queues of all receivers below `folder`.
///
/// # Errors
/// [`QueueError`] when one cannot be opened.
pub fn open(
    receivers: Vec<Receiver>,
    folder: &Path,
    telemetry: &Telemetry,
) -> Result<(Sink, Option<Work>), QueueError> {
    let mut destinations = Vec::new();
    for receiver in receivers {
        let queue = Queue::open(&folder.join(&receiver.name), receiver.settings.queue_config.max_bytes)?;
        let labels = vec![("remote_name", receiver.name.clone())];
        let telemetry = telemetry.remote_write.clone();
        for counter in [&telemetry.samples, &telemetry.failed, &telemetry.retried] {
            // From 0 on, so that `increase()` sees the first.
            counter.get_or_create(&labels).inc_by(0);
        }
        let destination = Destination { receiver, queue, filled: Notify::new(), telemetry, labels };
        destination.show_depth();
        destinations.push(Arc::new(destination));
    }
    if destinations.is_empty() {
        return Ok((Sink::default(), None));
    }
    let (sender, offers) = mpsc::channel(OFFERS);
    Ok((Sink(Some(sender)), Some(Work { offers, destinations })))
}

impl Work {
    /// Writes and sends until `stop`; what was offered before is in the queues when it returns.
    pub async fn run(self, stop: CancellationToken) {
        let senders = self.destinations.iter().map(|destination| Sender::new(destination.clone()).run(stop.clone()));
        let senders = join_all(senders);
        let writer = write_offers(self.offers, &self.destinations, stop);
        tokio::join!(writer, senders);
    }
}

async fn write_offers(
    mut offers: mpsc::Receiver<Vec<SeriesOut>>,
    destinations: &[Arc<Destination>],
    stop: CancellationToken,
) {
    let mut writers: Vec<Writer> = destinations.iter().cloned().map(Writer::new).collect();
    loop {
        let first = tokio::select! {
            first = offers.recv() => first,
            () = stop.cancelled() => {
                offers.close();
                offers.recv().await
            }
        };
        let Some(mut series) = first else { return };
        tokio::select! {
            () = tokio::time::sleep(GATHER) => {}
            () = stop.cancelled() => {}
        }
        while let Ok(more) = offers.try_recv() {
            series.extend(more);
        }
        // Disks may take seconds; a thread of the runtime must not wait for them.
        let work = move || {
            writers.iter_mut().for_each(|writer| writer.write(&series));
            writers
        };
        match tokio::task::spawn_blocking(work).await {
            Ok(back) => writers = back,
            Err(error) => {
                tracing::error!(%error, "the writer of remote write ended");
                return;
            }
        }
    }
}

/// Brings points into the queue of one receiver.
struct Writer {
    destination: Arc<Destination>,
    /// Labels before and after relabelling.
    known: HashMap<Labels, Option<Labels>>,
    failing: bool,
}

impl Writer {
    fn new(destination: Arc<Destination>) -> Self {
        Writer { destination, known: HashMap::new(), failing: false }
    }

    fn relabelled(&mut self, labels: &Labels) -> Option<Labels> {
        let steps = &self.destination.receiver.steps;
        if steps.is_empty() {
            return Some(labels.clone());
        }
        if let Some(known) = self.known.get(labels) {
            return known.clone();
        }
        if self.known.len() >= REMEMBERED {
            self.known.clear();
        }
        // A series without a name is none.
        let after = relabel(steps, labels).filter(|labels| labels.name().is_some());
        self.known.insert(labels.clone(), after.clone());
        after
    }

    fn write(&mut self, offered: &[SeriesOut]) {
        let settings = &self.destination.receiver.settings;
        let natives = settings.send_native_histograms || settings.protobuf_message == Message::V2;
        let (wanted, unwanted): (Vec<_>, Vec<_>) = offered.iter().partition(|one| natives || one.histograms.is_empty());
        self.destination.drop_samples("native_histogram", unwanted.len() as u64);
        let mut series = Vec::with_capacity(wanted.len());
        let mut highest = i64::MIN;
        for one in &wanted {
            if let Some(labels) = self.relabelled(&one.labels) {
                let times = one.samples.iter().map(|point| point.t).chain(one.histograms.iter().map(|(t, _)| *t));
                highest = times.fold(highest, i64::max);
                series.push(SeriesOut { labels, ..(*one).clone() });
            }
        }
        self.destination.drop_samples("relabelled", (wanted.len() - series.len()) as u64);
        if series.is_empty() {
            return;
        }
        let most = usize::try_from(self.destination.receiver.settings.queue_config.max_samples_per_send).unwrap_or(1);
        let outcome = series.chunks(most).try_for_each(|chunk| self.append(chunk));
        let outcome = outcome.and_then(|()| Ok(self.destination.queue.sync()?));
        if let Err(error) = &outcome
            && !self.failing
        {
            tracing::error!(receiver = self.destination.receiver.name, %error, "samples for remote write are lost");
        }
        self.failing = outcome.is_err();
        self.destination.telemetry.highest.get_or_create(&self.destination.labels).set(highest as f64 / 1000.0);
        self.destination.show_depth();
        self.destination.filled.notify_one();
    }

    fn append(&self, series: &[SeriesOut]) -> Result<(), WriteError> {
        // In the queue everything is 2.0: it holds all there is, and repeats no text.
        let outcome = compress(&write(Message::V2, series))
            .map_err(WriteError::from)
            .and_then(|record| Ok(self.destination.queue.append(&record, series.len() as u32)?));
        match outcome {
            Ok(dropped) => {
                self.destination.drop_samples("queue_full", dropped);
                Ok(())
            }
            Err(error) => {
                self.destination.drop_samples("not_written", series.len() as u64);
                Err(error)
            }
        }
    }
}

/// Why points did not get into a queue.
#[derive(Debug, thiserror::Error)]
enum WriteError {
    #[error(transparent)]
    Queue(#[from] QueueError),
    #[error(transparent)]
    Wire(#[from] crate::wire::WireError),
}
