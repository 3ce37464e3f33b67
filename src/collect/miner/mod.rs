//! Mining hardware: one file per firmware family, all of them filling the same families.

pub mod antminer;
mod apply;
pub mod ask;
pub mod auradine;
pub mod avalon;
pub mod axeos;
pub mod braiins;
mod cgi;
pub mod cgminer;
pub mod device;
mod documents;
pub mod elphapex;
pub mod epic;
pub mod families;
pub mod futurebit;
pub mod goldshell;
pub mod hammer;
pub mod iceriver;
pub mod innosilicon;
pub mod luxos;
pub mod marathon;
pub mod mark;
pub mod mskminer;
mod options;
mod place;
mod pools;
pub mod proto;
pub mod repair;
pub mod sealminer;
mod tell;
#[cfg(test)]
mod told;
pub(super) mod values;
pub mod vnish;
pub mod whatsminer;
pub mod xmrig;

pub use options::OTP;
pub use place::Place;
pub use pools::mask_user;
