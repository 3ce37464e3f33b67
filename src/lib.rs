//! davylamp: the safety lamp for mining hardware, containers and cloud services.
//!
//! The modules, in the order in which data flows through them:

pub mod model; // the words: targets, samples, labels, observations, alerts
pub mod secret; // secrets by reference, and never shown
pub mod telemetry; // logs, and every self-metric in one list
pub mod yaml; // YAML files, read strictly, with the line of every key

pub mod preset; // how devices should be set, and where they differ from it

pub mod collect; // what a kind of target answers → samples
pub mod discover; // miners on a network: found, and known again
pub mod listen; // what devices say by themselves: their logs
pub mod schedule; // when to poll
pub mod store; // recent samples in memory, state in sled

pub mod ingest; // what others push to us: remote write, received
pub mod sink; // what we send on: remote write, through a queue on disk
pub mod wire; // remote write, as it goes over the wire

pub mod query; // PromQL over a Source; pure
pub mod rules; // rule files and samples → alerts; pure steps

pub mod act; // transition → verdict → run: playbooks, once and never blind
pub mod audit; // what was done, by whom and why, in a chain that shows tampering
pub mod curtail; // what is paused or limited while power is dear, and brought back; pure
pub mod dashboards; // families and rules → Grafana JSON
pub mod notify; // who is told of alerts: Alertmanagers, mail, chat, pagers
pub mod silence; // which alerts are muted when: silences, maintenance windows
pub mod simulation; // what would run, and what would not: the acting room under a fake clock
pub mod webhook; // alerts that Alertmanager and Grafana send

pub mod api; // the HTTP surface: /metrics, health, reload, the status page
pub mod config; // YAML → checked configuration, every mistake at once
pub mod daemon; // wiring, supervision, reload, shutdown

pub mod demo; // a simulated fleet on loopback sockets, for the demo, tests and benches
