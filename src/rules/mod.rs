//! Rules.
pub mod template;
