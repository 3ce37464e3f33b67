//! The tasks of the daemon, by name: which one ended, and waiting for those that are to end.

use std::collections::HashMap;

use tokio::task::JoinSet;

/// The tasks of the daemon, by name.
#[derive(Default)]
pub(super) struct Tasks {
    set: JoinSet<&'static str>,
    names: HashMap<tokio::task::Id, &'static str>,
}

impl Tasks {
    pub(super) fn spawn(&mut self, name: &'static str, work: impl Future<Output = ()> + Send + 'static) {
        let handle = self.set.spawn(async move {
            work.await;
            name
        });
        self.names.insert(handle.id(), name);
    }

    /// The name of the next part that ends, by itself or by a panic.
    pub(super) async fn ended(&mut self) -> &'static str {
        match self.set.join_next_with_id().await {
            Some(Ok((id, name))) => {
                self.names.remove(&id);
                name
            }
            Some(Err(error)) => self.names.remove(&error.id()).unwrap_or("unknown"),
            None => "all",
        }
    }

    /// Waits until all parts have ended.
    pub(super) async fn join_rest(&mut self) {
        while !self.names.is_empty() {
            self.ended().await;
        }
    }

    /// Waits until the named parts have ended; those that ended earlier do not count.
    pub(super) async fn join(&mut self, names: &[&str]) {
        while self.names.values().any(|name| names.contains(name)) {
            self.ended().await;
        }
    }
}
