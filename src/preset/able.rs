//! What the firmware of a kind takes of a preset, and what a preset asks for in vain.

use super::{Preset, Setting};

/// What can be written into devices of a kind, and read back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Able {
    /// Most pools that it has room for.
    pub pools: usize,
    /// Whether pools that nobody names can be taken away.
    pub exact: bool,
    /// What else it can be set to.
    pub settings: &'static [Setting],
}

impl Able {
    /// Why it cannot take all that a preset names: the key, and what is wrong with it.
    pub fn lacks(&self, kind: &str, preset: &Preset) -> Option<(&'static str, String)> {
        let foreign = preset.named().find(|setting| *setting != Setting::Firmware && !self.settings.contains(setting));
        if let Some(setting) = foreign {
            let mut has = vec!["pools"];
            has.extend(self.settings.iter().map(|setting| setting.key()));
            return Some((setting.key(), format!("{kind} cannot set `{}`; it has {}", setting.key(), has.join(", "))));
        }
        if preset.exact_pools && !self.exact {
            return Some(("exact_pools", format!("{kind} cannot be without the pools that it has; name them all")));
        }
        let many = preset.pools.len();
        let few = self.pools;
        (many > few).then(|| ("pools", format!("{kind} has room for {few} pools, and these are {many}")))
    }
}
