//! From a firing alert to a playbook: who may run what, when, and what came of it.
//!
//! The road: a [`Transition`](crate::model::Transition) opens an [`episode`]; [`judge`] says whether its playbook may
//! run now; the [`actor`] claims the run in the [`ledger`], and only then an [`executor`] forks a supervisor
//! ([`supervise`]) that owns the play; the [`verdict`] is read from what the play's callback plugin wrote.
//!
//! Invariants: a run whose claim is not on disk is never started; a run that was claimed is never started again;
//! nothing an alert says reaches a command line or a template. What is deliberately absent: PromQL, HTTP and the
//! store. Facts come as values through [`facts::World`], claims go through [`ledger::Ledger`].

pub mod actor;
pub mod approval;
pub mod artifacts;
pub mod binding;
pub mod book;
pub mod check;
mod consider;
pub mod control;
mod decide;
mod dispatch;
mod drive;
pub mod episode;
pub mod events;
pub mod executor;
pub mod facts;
pub mod files;
pub mod guards;
pub mod hands;
pub mod inventory;
pub mod job;
pub mod judge;
pub mod keys;
pub mod ledger;
pub mod metrics;
pub mod playbook;
pub mod process;
pub mod reason;
pub mod reload;
pub mod run;
pub mod runner;
pub mod settings;
pub mod shown;
pub mod steps;
pub mod supervise;
mod tell;
mod used;
pub mod vars;
pub mod verdict;
pub mod verify;
mod watch;
pub mod wire;
