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
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::join_all;
use tokio::sync::{Notify, mpsc, watch};
use tokio_util::sync::CancellationToken;

pub use queue::{Batch, Depth, Queue, QueueError};
pub use settings::{Authorization, BasicAuth, MetadataConfig, Mistake, QueueConfig, Receiver, RemoteWrite, check};

use crate::model::relabel::relabel;
use crate::model::{FamilyRef, FloatHistogram, Labels, Point, Starts};
use crate::telemetry::{Gauges, RemoteWriteOut, SelfLabels, Telemetry};
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

/// The way in. Cheap to clone; while there are no receivers it takes nothing.
#[derive(Clone, Default)]
pub struct Sink(Option<Way>);

#[derive(Clone)]
struct Way {
    offers: mpsc::Sender<Vec<SeriesOut>>,
    rounds: watch::Receiver<Round>,
}

impl Sink {
    /// Whether anybody wants samples.
    pub fn is_wanted(&self) -> bool {
        self.way().is_some()
    }

    fn way(&self) -> Option<&mpsc::Sender<Vec<SeriesOut>>> {
        self.0.as_ref().filter(|way| !way.rounds.borrow().is_empty()).map(|way| &way.offers)
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
        if let Some(sender) = self.way().filter(|_| !series.is_empty()) {
            // The writer is gone only at the very end.
            let _ = sender.send(series).await;
        }
    }

    /// Offers points that come again: while the writer is behind they are left out.
    pub fn offer_if_idle(&self, points: Vec<Offer>) {
        if let Some(sender) = self.way().filter(|_| !points.is_empty()) {
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
    queue: Arc<Queue>,
    /// Something was appended.
    filled: Notify,
    telemetry: RemoteWriteOut,
    labels: SelfLabels,
    /// Whether its depth is shown. Held while it is written: who still works for a receiver that is gone must not bring
    /// its gauges back.
    shown: Mutex<bool>,
}

impl Destination {
    fn drop_samples(&self, reason: &'static str, count: u64) {
        if count > 0 {
            let mut labels = self.labels.clone();
            labels.push(("reason", reason.to_string()));
            self.telemetry.dropped.get_or_create(&labels).inc_by(count);
        }
    }

    fn gauges(&self) -> [&Gauges; 2] {
        [&self.telemetry.pending, &self.telemetry.pending_bytes]
    }

    /// It is sent to no more.
    fn retire(&self) {
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        *shown = false;
        for gauge in self.gauges() {
            gauge.remove(&self.labels);
        }
    }

    fn show_depth(&self) {
        let shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        if !*shown {
            return;
        }
        let depth = self.queue.depth();
        let [samples, bytes] = self.gauges().map(|gauge| gauge.get_or_create(&self.labels));
        samples.set(depth.samples as f64);
        bytes.set(depth.bytes as f64);
    }
}

/// All receivers, until a reload brings others.
type Round = Arc<Vec<Arc<Destination>>>;

/// Changes the receivers while samples flow.
pub struct Valve {
    folder: PathBuf,
    telemetry: RemoteWriteOut,
    rounds: watch::Sender<Round>,
}

/// Receivers whose queues are open.
pub struct Prepared(Round);

/// What has to be driven: the writer and the senders.
pub struct Work {
    offers: mpsc::Receiver<Vec<SeriesOut>>,
    rounds: watch::Receiver<Round>,
}

/// Opens the queues of all receivers below `folder`.
///
/// # Errors
/// [`QueueError`] when one cannot be opened.
pub fn open(receivers: Vec<Receiver>, folder: &Path, telemetry: &Telemetry) -> Result<(Sink, Valve, Work), QueueError> {
    let (sender, offers) = mpsc::channel(OFFERS);
    let (rounds_in, rounds) = watch::channel(Round::default());
    let valve = Valve { folder: folder.to_path_buf(), telemetry: telemetry.remote_write.clone(), rounds: rounds_in };
    valve.switch(valve.prepare(receivers)?);
    Ok((Sink(Some(Way { offers: sender, rounds: rounds.clone() })), valve, Work { offers, rounds }))
}

impl Valve {
    /// Opens what new receivers need; one that has a name of before goes on with its queue. Nothing else changes until
    /// [`Valve::switch`].
    ///
    /// # Errors
    /// [`QueueError`] when a queue cannot be opened.
    pub fn prepare(&self, receivers: Vec<Receiver>) -> Result<Prepared, QueueError> {
        let before = self.rounds.borrow().clone();
        let open = |receiver: Receiver| -> Result<_, QueueError> {
            let known = before.iter().find(|destination| destination.receiver.name == receiver.name);
            let queue = match known {
                Some(known) => known.queue.clone(),
                None => {
                    let max_bytes = receiver.settings.queue_config.max_bytes;
                    Arc::new(Queue::open(&self.folder.join(&receiver.name), max_bytes)?)
                }
            };
            let labels = vec![("remote_name", receiver.name.clone())];
            let telemetry = self.telemetry.clone();
            let shown = Mutex::new(true);
            Ok(Arc::new(Destination { receiver, queue, filled: Notify::new(), telemetry, labels, shown }))
        };
        Ok(Prepared(Arc::new(receivers.into_iter().map(open).collect::<Result<_, _>>()?)))
    }

    /// From now on samples go to these receivers. A request that is under way is given up, and sent once more with the
    /// same records if its receiver stays.
    pub fn switch(&self, prepared: Prepared) {
        self.rounds.borrow().iter().for_each(|gone| gone.retire());
        for destination in prepared.0.iter() {
            destination.queue.limit(destination.receiver.settings.queue_config.max_bytes);
            for counter in [&self.telemetry.samples, &self.telemetry.failed, &self.telemetry.retried] {
                // From 0 on, so that `increase()` sees the first.
                counter.get_or_create(&destination.labels).inc_by(0);
            }
            destination.show_depth();
        }
        self.rounds.send_replace(prepared.0);
    }
}

impl Work {
    /// Writes and sends until `stop`; what was offered before is in the queues when it returns.
    pub async fn run(mut self, stop: CancellationToken) {
        loop {
            let destinations = self.rounds.borrow_and_update().clone();
            let round = stop.child_token();
            let senders = destinations.iter().map(|destination| Sender::new(destination.clone()).run(round.clone()));
            let writer = write_offers(&mut self.offers, &destinations, &round, &stop);
            let others = async {
                if self.rounds.changed().await.is_ok() {
                    round.cancel();
                }
                std::future::pending::<()>().await;
            };
            tokio::select! {
                _ = async { tokio::join!(writer, join_all(senders), round.cancelled()) } => {}
                () = others => {}
            }
            if stop.is_cancelled() {
                return;
            }
        }
    }
}

/// Until the round is over; at the very end, what was offered before is still written.
async fn write_offers(
    offers: &mut mpsc::Receiver<Vec<SeriesOut>>,
    destinations: &[Arc<Destination>],
    round: &CancellationToken,
    stop: &CancellationToken,
) {
    let mut writers: Vec<Writer> = destinations.iter().cloned().map(Writer::new).collect();
    loop {
        let first = tokio::select! {
            first = offers.recv() => first,
            () = round.cancelled() => {
                if !stop.is_cancelled() {
                    return;
                }
                offers.close();
                offers.recv().await
            }
        };
        let Some(mut series) = first else { return };
        tokio::select! {
            () = tokio::time::sleep(GATHER) => {}
            () = round.cancelled() => {}
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
