//! davylamp: the safety lamp for mining hardware, containers and cloud services.
//!
//! The modules, in the order in which data flows through them:

pub mod model; // the words: targets, samples, labels, observations, alerts
pub mod secret; // secrets by reference, and never shown

pub mod collect; // what a kind of target answers → samples
pub mod store; // what is remembered: state on the disk, behind a door
