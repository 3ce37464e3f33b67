//! What a curtailed device draws: one that would draw more is not told, and one that does draw more is brought back.

use std::collections::BTreeMap;

use super::eyes::Eyes;
use super::shared::Shared;
use crate::act::facts::World;
use crate::collect::command::{Call, Ready};
use crate::curtail::{Record, draws_less};

/// A device that draws so much more than before was no longer curtailed but driven: meters and fans waver by less.
const MORE: f64 = 1.05;
/// For so long: a device that starts anew may draw much for a moment.
const LASTS: &str = "2m";

/// Why a device is better not told: it would draw more than now. `before` is how it stands, in the command's words.
pub(super) fn spared(call: &Call, before: Option<&str>, ready: &Ready) -> Option<String> {
    would_raise(call, before?, ready.watts().is_some(), ready.is_awake())
}

fn would_raise(call: &Call, before: &str, is_metered: bool, is_awake: Option<bool>) -> Option<String> {
    let argument = call.to_string();
    let argument = argument.split_once(' ').map_or("", |(_, argument)| argument);
    let less = match call.command.name {
        "mode" | "profile" if is_awake == Some(false) => {
            return Some("it does not work, and some start when their mode is changed".to_string());
        }
        "mode" | "profile" => draws_less(before, argument),
        "power-limit" | "hashrate-target" => {
            let (before, wanted) = (before.parse::<f64>().ok()?, call.value.number()?);
            Some(f64::from(wanted) < before)
        }
        _ => return None,
    };
    match less {
        Some(true) => None,
        Some(false) => Some(format!("it would draw no less: it stands at {before}")),
        None if is_metered => None,
        None => Some(format!("nobody can tell whether {argument} draws less than {before}, and it has no meter")),
    }
}

/// Whether what was measured since says that a device was raised: why, for people.
pub(super) async fn raised(shared: &std::sync::Arc<Shared>, target: &str, record: &Record) -> Option<String> {
    let name = record.action.split(' ').next().unwrap_or_default();
    let before = record.watts.filter(|_| record.confirmed && matches!(name, "mode" | "profile"))?;
    let id = serde_json::Value::from(target);
    let expression = format!("min_over_time(miner_power_watts{{miner={id}}}[{LASTS}]) > {}", before * MORE);
    let more = Eyes(shared.clone()).holds(&expression).await == Some(true);
    more.then(|| format!("it draws more than the {before:.0} W of before"))
}

/// Those of the records that were raised, by target.
pub(super) async fn all_raised(
    shared: &std::sync::Arc<Shared>,
    records: &BTreeMap<String, Record>,
) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for (target, record) in records {
        found.extend(raised(shared, target, record).await.map(|why| (target.clone(), why)));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_draw_more_or_stay_so_is_spared() {
        let why = |kind: &str, action: &str, before: &str, metered| {
            would_raise(&Call::read(kind, action).unwrap(), before, metered, Some(true)).unwrap_or_default()
        };
        assert_eq!(why("whatsminer", "power-limit 2800", "3200", true), "");
        assert!(why("whatsminer", "power-limit 2800", "2000", true).contains("no less"));
        assert!(why("braiins", "power-limit 2800", "2800", true).contains("no less"));
        assert!(why("braiins", "hashrate-target 100", "90", true).contains("no less"));
        assert_eq!(why("whatsminer", "mode low", "normal", false), "");
        assert!(why("whatsminer", "mode normal", "low", true).contains("no less"));
        assert!(why("avalon", "mode high", "eco", true).contains("no less"));
        assert_eq!(why("luxos", "profile 290MHz", "310MHz", false), "");
        assert!(why("luxos", "profile 310MHz", "290MHz", true).contains("no less"));
        assert_eq!(why("luxos", "profile winter", "310MHz", true), "", "its meter will tell");
        assert!(why("luxos", "profile winter", "310MHz", false).contains("nobody can tell"));
        assert_eq!(why("axeos", "fan 80", "40", false), "", "fans are not what draws");
        assert_eq!(why("axeos", "pause", "hashing", false), "");
        let asleep = would_raise(&Call::read("whatsminer", "mode low").unwrap(), "normal", true, Some(false));
        assert!(asleep.unwrap().contains("does not work"));
    }
}
