//! What is remembered: the durable state behind a door that a cluster fits through. The only room that names sled.

pub mod state;
