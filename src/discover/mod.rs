//! Finding miners on a network, and knowing them again: which addresses to ask ([`plan`]), what to ask and how fast
//! ([`scan`]), who it was ([`found`]), and what is kept of each device ([`imprint`]). The pure parts do no I/O; what they
//! decide on comes in as values.
//!
//! A device is known by its MAC address or its serial number, never by its address or its host name: routers hand out
//! addresses anew, and every Bitaxe is called `bitaxe`.

pub mod arp;
pub mod file;
pub mod found;
pub mod imprint;
pub mod kinds;
pub mod known;
pub mod names;
pub mod plan;
mod probe;
pub mod round;
pub mod scan;
pub mod settings;

pub use found::{Found, Mac};
pub use imprint::{Imprint, Imprints};
pub use kinds::Kinds;
pub use plan::{Plan, PlanError};
pub use round::Round;
pub use scan::{Progress, Search, Trust, nobody, scan};
pub use settings::{Checked, Settings};

/// Ports that devices are looked for on. Every family that speaks a protocol is looked for on each of its ports, unless it
/// has ports of its own ([`kinds::KindEntry`]).
#[derive(Clone, Debug, PartialEq, Eq, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Ports {
    /// Web interfaces; xmrig's API is on 8080.
    pub http: Vec<u16>,
    /// cgminer's API and its relatives'.
    pub rpc: Vec<u16>,
    /// The API of newer WhatsMiners.
    pub framed: Vec<u16>,
}

impl Default for Ports {
    fn default() -> Self {
        Ports { http: vec![80, 8080], rpc: vec![4028], framed: vec![4433] }
    }
}
