//! Mining hardware: one file per firmware family, all of them filling the same families.

pub mod axeos;
pub mod cgminer;
pub mod families;
mod place;
mod pools;
pub mod repair;
mod restart;
mod values;
