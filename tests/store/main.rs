//! The durable state from outside: the same suite on every back end, kill -9, damage, a full disk, and figures.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr, clippy::print_stdout)] // tests

mod conformance;
mod damage;
mod figures;
mod full;
mod kill;

use davylamp::store::state::OpenOptions;
use std::path::Path;

/// Options for tests: a small cache, no ballast.
pub fn options(path: &Path) -> OpenOptions {
    OpenOptions { cache_bytes: 4 << 20, ballast_bytes: 0, ..OpenOptions::new(path) }
}

/// Runs a future to its end on a runtime of its own.
pub fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}
