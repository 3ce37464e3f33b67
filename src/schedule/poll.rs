//! One poll: fetch, parse, and whatever goes wrong as a closed reason. Nothing that a target does gets past here.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures_util::FutureExt;

use crate::collect::{Collector, Reply};
use crate::model::{FailureReason, Observation, PollFailure, Reading, Target};

/// Replies larger than this are parsed on a blocking thread: a parser that needs milliseconds must not make other
/// targets late.
const PARSE_INLINE_BYTES: usize = 64 * 1024;

/// Polls once, within the target's timeout. Panics of the collector come back as [`FailureReason::Bug`].
pub async fn poll(target: &Target, collector: &Arc<dyn Collector>) -> Observation {
    let at = unix_millis();
    let started = tokio::time::Instant::now();
    let work = AssertUnwindSafe(fetch_and_parse(collector)).catch_unwind();
    let outcome = match tokio::time::timeout(target.timeout, work).await {
        Ok(Ok(outcome)) => outcome,
        Ok(Err(panic)) => Err(PollFailure::new(FailureReason::Bug, panic_text(&*panic))),
        Err(_) => Err(PollFailure::new(FailureReason::Timeout, "the poll took longer than the target's timeout")),
    };
    Observation { target: target.id.clone(), at, took: started.elapsed(), outcome }
}

async fn fetch_and_parse(collector: &Arc<dyn Collector>) -> Result<Reading, PollFailure> {
    let replies = collector.fetch().await?;
    let size: usize = replies.iter().map(|reply| reply.body.len()).sum();
    let parsed = if size <= PARSE_INLINE_BYTES {
        collector.parse(&replies)
    } else {
        let collector = collector.clone();
        match tokio::task::spawn_blocking(move || collector.parse(&replies)).await {
            Ok(parsed) => parsed,
            Err(error) => return Err(PollFailure::new(FailureReason::Bug, error.to_string())),
        }
    };
    parsed.map_err(PollFailure::from)
}

/// Fetches once and hands out the raw replies too, for `davylamp poll --save`.
///
/// # Errors
/// The failure, and the replies that were fetched before it.
pub async fn poll_keeping_replies(
    target: &Target,
    collector: &Arc<dyn Collector>,
) -> (Vec<Reply>, Result<Reading, PollFailure>) {
    match tokio::time::timeout(target.timeout, collector.fetch()).await {
        Ok(Ok(replies)) => {
            let reading = collector.parse(&replies).map_err(PollFailure::from);
            (replies, reading)
        }
        Ok(Err(failure)) => (Vec::new(), Err(failure)),
        Err(_) => (Vec::new(), Err(PollFailure::new(FailureReason::Timeout, "no complete answer in time"))),
    }
}

/// What a panic said, for a log line.
pub fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(ToString::to_string);
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "a panic without a message".to_string())
}

/// The wall clock, in milliseconds since the epoch.
pub fn unix_millis() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
