//! End to end: the real binary against simulated miners, a real dockerd, a real `ansible-playbook` and a real
//! Prometheus; killed, reloaded, starved and lied to.
//!
//! What a machine does not have is skipped, loudly. Every test has a folder and ports of its own and leaves nothing
//! behind.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr)] // a failure shows itself
#![allow(clippy::disallowed_methods)] // these tests wait for processes, outside of any runtime

mod api;
mod canary;
mod container;
mod container_step;
mod curtail;
mod cycles;
mod discover;
#[path = "../support/docker.rs"]
mod docker;
mod drift;
mod full;
mod http;
mod kill;
mod lamp;
mod log;
mod miner;
mod prometheus;
mod refuse;
mod reload;
mod road;
mod rules;
mod runs;
mod service;
mod stop;
mod street;
mod twins;
mod webhooks;
mod world;
