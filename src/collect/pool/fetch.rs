//! One document in each poll, in turn; the others from their last good answer, with its time.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use futures_util::future::BoxFuture;
use tokio::time::Instant;

use super::read::{self, Reader};
use crate::collect::http::Endpoint;
use crate::collect::{Collector, ParseError, Reply};
use crate::model::{FailureReason, PollFailure, Reading};

/// How long a good answer is told on while the pool gives no new one.
const BELIEVED: Duration = Duration::from_secs(60 * 60);
/// What the name of a document ends with in the reply that says when it was given, in seconds since the epoch.
pub const AT: &str = "-at";
/// What the name of a document ends with in the reply that says why it was not given.
pub const FAILED: &str = "-failed";

/// An account whose documents are asked for in turn.
pub struct Rotation {
    documents: Vec<(&'static str, Endpoint)>,
    reader: Reader,
    coin: String,
    memory: Mutex<Memory>,
}

/// Whose turn it is, and how each document stands.
#[derive(Default)]
struct Memory {
    turn: usize,
    kept: Vec<Kept>,
}

/// What is known of one document.
#[derive(Clone, Default)]
struct Kept {
    good: Option<(Instant, [Reply; 2])>,
    failed: Option<Reply>,
}

impl Rotation {
    /// An account whose amounts are of this coin; no I/O.
    pub fn new(documents: Vec<(&'static str, Endpoint)>, reader: Reader, coin: String) -> Self {
        let kept = vec![Kept::default(); documents.len()];
        Rotation { documents, reader, coin, memory: Mutex::new(Memory { turn: 0, kept }) }
    }

    async fn ask(name: &str, endpoint: &Endpoint) -> Result<[Reply; 2], PollFailure> {
        let answer = endpoint.ask().await?;
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let now = now.map_err(|error| PollFailure::new(FailureReason::Bug, error.to_string()))?;
        // The path holds the account, which is often a wallet: a reply is named after its document.
        let answer = Reply { request: name.to_string(), ..answer };
        // A page of apologies with the status 200 is no document, and takes no good one's place.
        read::page(&answer)?;
        Ok([answer, Reply::new(format!("{name}{AT}"), now.as_secs().to_string())])
    }

    /// Remembers an answer, and gives everything that is known; the failure if that is nothing, or if we are not welcome.
    fn told(
        &self,
        turn: usize,
        name: &str,
        answer: Result<[Reply; 2], PollFailure>,
    ) -> Result<Vec<Reply>, PollFailure> {
        let mut memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let mut failure = None;
        if let Some(kept) = memory.kept.get_mut(turn) {
            match answer {
                Ok(replies) => *kept = Kept { good: Some((now, replies)), failed: None },
                Err(error) => {
                    kept.failed = Some(Reply::new(format!("{name}{FAILED}"), error.to_string()));
                    failure = Some(error);
                }
            }
        }
        let told = memory.tell(now);
        match failure {
            Some(failure) if failure.reason == FailureReason::Denied || !memory.believes(now) => Err(failure),
            _ => Ok(told),
        }
    }
}

impl Kept {
    fn is_believed(&self, now: Instant) -> bool {
        self.good.as_ref().is_some_and(|(at, _)| now.duration_since(*at) < BELIEVED)
    }
}

impl Memory {
    fn believes(&self, now: Instant) -> bool {
        self.kept.iter().any(|kept| kept.is_believed(now))
    }

    fn tell(&self, now: Instant) -> Vec<Reply> {
        let mut replies = Vec::new();
        for kept in &self.kept {
            if kept.is_believed(now) {
                replies.extend(kept.good.iter().flat_map(|(_, replies)| replies.clone()));
            }
            replies.extend(kept.failed.clone());
        }
        replies
    }
}

impl Collector for Rotation {
    fn fetch(&self) -> BoxFuture<'_, Result<Vec<Reply>, PollFailure>> {
        Box::pin(async move {
            let turn = {
                let mut memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
                // Moved on in any case: a document that fails must not keep the others from their turn.
                let turn = memory.turn % self.documents.len().max(1);
                memory.turn = turn + 1;
                turn
            };
            let Some((name, endpoint)) = self.documents.get(turn) else { return Ok(Vec::new()) };
            let answer = Self::ask(name, endpoint).await;
            self.told(turn, name, answer)
        })
    }

    fn parse(&self, replies: &[Reply]) -> Result<Reading, ParseError> {
        read::parse(replies, self.reader, &self.coin)
    }
}
