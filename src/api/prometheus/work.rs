//! Work on the samples: off the runtime's threads, few at once, ended when its time is over or its client has left.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::Backend;
use super::answer::{ApiError, ErrorType, Good, Packed, pack};
use super::params::Params;
use crate::model::{Labels, Matcher, Series, Source, SourceError};
use crate::query::Limits;

/// Prometheus' default; a client may ask for less.
pub(super) const TIMEOUT: Duration = Duration::from_secs(120);

/// One request at work.
pub(super) struct Job {
    pub(super) params: Params,
    pub(super) limits: Limits,
    /// Milliseconds since the epoch.
    pub(super) now: i64,
    pub(super) source: Watched,
    /// How long it waited for its turn.
    pub(super) queued: Duration,
}

/// The samples, until the time is over or the client has left.
pub(super) struct Watched {
    inner: Arc<dyn Source>,
    deadline: Instant,
    left: Arc<AtomicBool>,
    loaded: AtomicUsize,
}

impl Watched {
    /// Samples that were read so far.
    pub(super) fn loaded(&self) -> usize {
        self.loaded.load(Ordering::Relaxed)
    }

    fn check(&self) -> Result<(), SourceError> {
        if self.interrupted() { Err(SourceError::Interrupted) } else { Ok(()) }
    }

    /// What became of work that ended with this.
    fn judge<T>(&self, outcome: Result<T, ApiError>) -> Result<T, ApiError> {
        match outcome {
            Err(_) if self.left.load(Ordering::Relaxed) => {
                Err(ApiError::new(ErrorType::Canceled, "query was canceled in expression evaluation"))
            }
            Err(_) if Instant::now() >= self.deadline => {
                Err(ApiError::new(ErrorType::Timeout, "query timed out in expression evaluation"))
            }
            outcome => outcome,
        }
    }
}

impl Source for Watched {
    fn select(&self, matchers: &[Matcher], start: i64, end: i64) -> Result<Vec<Series>, SourceError> {
        self.check()?;
        let found = self.inner.select(matchers, start, end)?;
        let samples = found.iter().map(|series| series.points.len() + series.histograms.len()).sum();
        self.loaded.fetch_add(samples, Ordering::Relaxed);
        Ok(found)
    }

    fn series(&self, matchers: &[Matcher], start: i64, end: i64) -> Result<Vec<Labels>, SourceError> {
        self.check()?;
        self.inner.series(matchers, start, end)
    }

    fn interrupted(&self) -> bool {
        self.left.load(Ordering::Relaxed) || Instant::now() >= self.deadline || self.inner.interrupted()
    }
}

/// Says that the client has left when the future that waits for the work is dropped.
struct Waiting(Arc<AtomicBool>);

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Does the work and writes its answer out.
pub(super) async fn run(
    backend: &Backend,
    params: Params,
    work: impl FnOnce(&Job) -> Result<Good, ApiError> + Send + 'static,
) -> Packed {
    queue(backend, params, |job| pack(job.source.judge(work(job)), job.params.gzip)).await
}

/// As [`run`], for an answer that is bytes already.
pub(super) async fn run_bytes(
    backend: &Backend,
    params: Params,
    work: impl FnOnce(&Job) -> Result<Vec<u8>, ApiError> + Send + 'static,
) -> Packed {
    queue(backend, params, |job| job.source.judge(work(job)).map_or_else(Packed::from, Packed::snappy)).await
}

async fn queue(backend: &Backend, params: Params, work: impl FnOnce(&Job) -> Packed + Send + 'static) -> Packed {
    let gzip = params.gzip;
    let timeout = match params.duration("timeout") {
        Ok(millis) => millis.and_then(|millis| u64::try_from(millis).ok()).map(Duration::from_millis),
        Err(error) => return pack(Err(error), gzip),
    };
    let (begun, timeout) = (Instant::now(), timeout.unwrap_or(TIMEOUT).min(TIMEOUT));
    let Ok(Ok(slot)) = tokio::time::timeout(timeout, backend.slots.clone().acquire_owned()).await else {
        return pack(Err(ApiError::new(ErrorType::Timeout, "query timed out in query queue")), gzip);
    };
    let left = Arc::new(AtomicBool::new(false));
    let _waiting = Waiting(left.clone());
    let about = backend.about.clone();
    let work = move || {
        // Held until the work is done, though its client may be gone long before.
        let _slot = slot;
        let source = Watched { inner: about.source(), deadline: begun + timeout, left, loaded: AtomicUsize::default() };
        let job = Job { params, limits: about.limits(), now: about.now(), source, queued: begun.elapsed() };
        work(&job)
    };
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| {
        tracing::error!(%error, "a query failed");
        pack(Err(ApiError::new(ErrorType::Internal, "the query failed; see the daemon's log")), gzip)
    })
}
