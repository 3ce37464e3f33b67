//! A target of which is known who it is: an answer of another device is a failure, and none of its values are taken.

use std::sync::Arc;

use futures_util::future::BoxFuture;

use super::imprint::is_same;
use crate::collect::{Collector, ParseError, Reply};
use crate::model::{PollFailure, Reading};

/// A collector for one device.
pub struct Known {
    inner: Arc<dyn Collector>,
    identity: String,
}

impl Known {
    /// The same collector, for the device that names itself so; for any where `identity` is empty.
    pub fn wrap(inner: Arc<dyn Collector>, identity: &str) -> Arc<dyn Collector> {
        if identity.is_empty() {
            return inner;
        }
        Arc::new(Known { inner, identity: identity.to_string() })
    }
}

impl Collector for Known {
    fn fetch(&self) -> BoxFuture<'_, Result<Vec<Reply>, PollFailure>> {
        self.inner.fetch()
    }

    fn parse(&self, replies: &[Reply]) -> Result<Reading, ParseError> {
        let reading = self.inner.parse(replies)?;
        match &reading.identity {
            Some(identity) if !is_same(&self.identity, &identity.id) => {
                Err(ParseError::Stranger { expected: self.identity.clone(), found: identity.id.clone() })
            }
            _ => Ok(reading),
        }
    }
}
