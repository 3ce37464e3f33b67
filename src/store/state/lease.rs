//! Leases: timers of this process whose epochs are revisions of the store.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;

use super::StoreError;

/// Most leases at once: a caller that forgets to drop them is stopped before it fills the memory.
const MAX_LEASES: usize = 4096;

/// A lease that is held until its deadline, until it is revoked or dropped, or until the process ends.
pub struct Lease {
    /// Names the lease in [`super::Compare::Held`].
    pub id: u64,
    /// Grows from lease to lease, across restarts: the fencing token to write into claims.
    pub epoch: u64,
    handle: Box<dyn LeaseHandle>,
}

/// What a back end does for a lease.
pub trait LeaseHandle: Send + Sync {
    /// When the lease ends unless it is renewed.
    fn deadline(&self) -> Instant;
    /// Moves the deadline to one time-to-live from now.
    fn renew(&self) -> BoxFuture<'_, Result<Instant, StoreError>>;
    /// Ends the lease now.
    fn revoke(&self) -> BoxFuture<'_, Result<(), StoreError>>;
    /// Ends the lease as well as that can be done without waiting; called when it is dropped.
    fn abandon(&self);
}

impl Lease {
    /// A lease of a back end.
    pub fn new(id: u64, epoch: u64, handle: Box<dyn LeaseHandle>) -> Self {
        Lease { id, epoch, handle }
    }

    /// When the lease ends unless it is renewed.
    pub fn deadline(&self) -> Instant {
        self.handle.deadline()
    }

    /// Moves the deadline to one time-to-live from now.
    ///
    /// # Errors
    /// [`StoreError::Fenced`] if the lease is already over: it never comes back.
    pub async fn renew(&self) -> Result<Instant, StoreError> {
        self.handle.renew().await
    }

    /// Ends the lease now.
    ///
    /// # Errors
    /// [`StoreError::Fenced`] if it was over already.
    pub async fn revoke(self) -> Result<(), StoreError> {
        self.handle.revoke().await
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.handle.abandon();
    }
}

impl std::fmt::Debug for Lease {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lease").field("id", &self.id).field("epoch", &self.epoch).finish_non_exhaustive()
    }
}

/// The leases of a store in this process. A clone is the same table.
#[derive(Clone, Default)]
pub(super) struct LeaseTable(Arc<Mutex<HashMap<u64, Instant>>>);

impl LeaseTable {
    fn locked(&self) -> MutexGuard<'_, HashMap<u64, Instant>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the lease is held now.
    pub fn is_held(&self, id: u64) -> bool {
        self.locked().get(&id).is_some_and(|deadline| Instant::now() < *deadline)
    }

    /// Takes a lease whose id and epoch are `epoch`, a revision that was never used before.
    pub fn grant(&self, epoch: u64, ttl: Duration) -> Result<Lease, StoreError> {
        let now = Instant::now();
        let deadline = now
            .checked_add(ttl)
            .ok_or_else(|| StoreError::Unavailable { reason: format!("a lease of {} s is too long", ttl.as_secs()) })?;
        let mut held = self.locked();
        held.retain(|_, deadline| now < *deadline);
        if held.len() >= MAX_LEASES {
            return Err(StoreError::Unavailable { reason: format!("{MAX_LEASES} leases are held already") });
        }
        held.insert(epoch, deadline);
        Ok(Lease::new(epoch, epoch, Box::new(LocalLease { table: self.clone(), id: epoch, ttl })))
    }
}

struct LocalLease {
    table: LeaseTable,
    id: u64,
    ttl: Duration,
}

impl LocalLease {
    fn renew_now(&self) -> Result<Instant, StoreError> {
        let now = Instant::now();
        match self.table.locked().get_mut(&self.id) {
            Some(deadline) if now < *deadline => {
                *deadline = now + self.ttl;
                Ok(*deadline)
            }
            _ => Err(StoreError::Fenced),
        }
    }
}

impl LeaseHandle for LocalLease {
    fn deadline(&self) -> Instant {
        self.table.locked().get(&self.id).copied().unwrap_or_else(Instant::now)
    }

    fn renew(&self) -> BoxFuture<'_, Result<Instant, StoreError>> {
        Box::pin(std::future::ready(self.renew_now()))
    }

    fn revoke(&self) -> BoxFuture<'_, Result<(), StoreError>> {
        let held = self.table.locked().remove(&self.id).is_some_and(|deadline| Instant::now() < deadline);
        Box::pin(std::future::ready(if held { Ok(()) } else { Err(StoreError::Fenced) }))
    }

    fn abandon(&self) {
        self.table.locked().remove(&self.id);
    }
}
