//! What a simulated device was told over its network, and keeps.

use serde_json::{Map, Value};

use super::Device;

impl Device {
    pub fn set_paused(&self, paused: bool) {
        self.control().paused = paused;
    }

    /// Whether somebody has paused it.
    pub fn is_paused(&self) -> bool {
        self.control().paused
    }

    /// Keeps what it was told, or forgets it.
    pub fn tell(&self, what: &str, value: Option<String>) {
        let mut control = self.control();
        match value {
            Some(value) => control.settings.insert(what.to_string(), value.into()),
            None => control.settings.remove(what),
        };
    }

    /// What it was told.
    pub fn told(&self, what: &str) -> Option<String> {
        Some(self.control().settings.get(what)?.as_str()?.to_string())
    }

    /// Whether its fan is held.
    pub fn is_fan_held(&self) -> bool {
        self.control().fan.is_some()
    }

    /// Holds the fan at so many percent, or lets it go.
    pub fn hold_fan(&self, percent: Option<f64>) {
        self.control().fan = percent;
    }

    /// Keeps what it was told, to say it again.
    pub fn set(&self, settings: Map<String, Value>) {
        self.control().settings.extend(settings);
    }

    pub fn settings(&self) -> Map<String, Value> {
        self.control().settings.clone()
    }

    /// Takes the one-time code of a step; says whether it was unused.
    pub fn spend(&self, step: u64) -> bool {
        let mut control = self.control();
        let fresh = !control.spent.contains(&step);
        control.spent.push(step);
        fresh
    }
}
