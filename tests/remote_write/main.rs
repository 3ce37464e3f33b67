//! Remote write, both ways, with a real Prometheus on the other side, and with a receiver that looks closely.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr)] // a failure shows itself
#![allow(clippy::disallowed_methods)] // these tests wait for processes, outside of any runtime
#![allow(dead_code)] // the daemon's and the client's helpers are shared with the end-to-end tests

#[path = "../e2e/http.rs"]
mod http;
mod kill;
#[path = "../e2e/lamp.rs"]
mod lamp;
mod receive;
mod receiver;
mod reload;
mod send;
mod server;
