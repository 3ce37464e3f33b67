//! Why a NerdQAxe does not hash: it cuts the power of its chips at once and says so in its dashboard alone.
//!
//! Source: `Board::Error` of the firmware.

use serde_json::Value;

use super::super::values::number;

/// Where it says so.
pub const PATH: &str = "/api/v2/dashboard";

/// Its number in `system.boardError`, which is not 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BoardError(u64);

/// Whether a document is a dashboard.
pub fn is_dashboard(value: &Value) -> bool {
    value.pointer("/system/boardError").is_some()
}

impl BoardError {
    /// What a dashboard says; `None` where all is well.
    pub fn read(dashboard: &Value) -> Option<Self> {
        let number = number(dashboard.pointer("/system/boardError")?)?;
        (1.0..1e6).contains(&number).then_some(BoardError(number as u64))
    }

    /// Whether it has stopped because it is too hot.
    pub fn is_heat(self) -> bool {
        matches!(self.0, 1 | 2)
    }

    /// As its display says it.
    pub fn text(self) -> String {
        let text = match self.0 {
            1 => "MINER OVERHEATED",
            2 => "VREG OVERHEATED",
            3 => "PSU FAULT",
            4 => "CURRENT PROTECTION",
            5 => "VOLTAGE PROTECTION",
            other => return format!("BOARD ERROR {other}"),
        };
        text.to_string()
    }

    /// What is broken, for the label `component`.
    pub fn component(self) -> &'static str {
        match self.0 {
            1 | 2 => "temperature",
            3..=5 => "power",
            _ => "hardware",
        }
    }
}
