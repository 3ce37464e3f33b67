//! The power plans of a Goldshell, as `/mcb/setting` lists them: `{"level": 3, "info": "0 MHz 0 V 70 RPM 70 RPM"}`.

use std::fmt;

use serde_json::Value;

/// Plans that are read at most.
const PLANS: usize = 32;

/// The plans of the algorithm that is worked for, and which is chosen.
pub struct Plans<'a> {
    plans: Vec<(u32, &'a str)>,
    chosen: Option<u32>,
}

impl<'a> Plans<'a> {
    /// Reads a page of settings. Machines of two algorithms list their plans by algorithm.
    pub fn read(page: &'a Value) -> Option<Plans<'a>> {
        let list = page.get("powerplans")?.as_array()?;
        let working = page.get("algoname").and_then(Value::as_str);
        let own = list.iter().find(|entry| working.is_some() && entry.get("algo").and_then(Value::as_str) == working);
        let list = own.and_then(|entry| entry.get("mode")?.as_array()).unwrap_or(list);
        let plan =
            |plan: &'a Value| Some((u32::try_from(plan.get("level")?.as_u64()?).ok()?, plan.get("info")?.as_str()?));
        let plans: Vec<_> = list.iter().take(PLANS).filter_map(plan).collect();
        let by_hand = page.get("manual").and_then(Value::as_bool).unwrap_or(false);
        let selected = page.get("select").and_then(Value::as_u64).and_then(|level| u32::try_from(level).ok());
        let chosen = selected.filter(|level| !by_hand && plans.iter().any(|(known, _)| known == level));
        (!plans.is_empty()).then_some(Plans { plans, chosen })
    }

    /// The level that is chosen; `None` where a plan was set by hand.
    pub fn chosen(&self) -> Option<u32> {
        self.chosen
    }

    /// Whether there is a plan of this level.
    pub fn has(&self, level: u32) -> bool {
        self.plans.iter().any(|(known, _)| *known == level)
    }

    /// The first plan that stops the machine, or that does not.
    pub fn of_rest(&self, rest: bool) -> Option<u32> {
        self.plans.iter().find(|(_, info)| stops(info) == rest).map(|(level, _)| *level)
    }

    /// Whether the chosen plan stops the machine.
    pub fn rests(&self) -> bool {
        self.plans.iter().any(|(level, info)| Some(*level) == self.chosen && stops(info))
    }
}

fn stops(info: &str) -> bool {
    info.split_whitespace().next() == Some("0")
}

impl fmt::Display for Plans<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plan = |(level, info): &(u32, &str)| format!("{level} ({})", super::super::values::clean(info));
        f.write_str(&self.plans.iter().map(plan).collect::<Vec<_>>().join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn plans_are_those_of_the_algorithm_that_is_worked_for() {
        let flat = json!({"select": 3, "manual": false, "powerplans": [
            {"level": 0, "info": "725 MHz 0.41 V 70 RPM 70 RPM"}, {"level": 3, "info": "0 MHz 0 V 70 RPM 70 RPM"}]});
        let plans = Plans::read(&flat).unwrap();
        assert_eq!((plans.chosen(), plans.of_rest(true), plans.of_rest(false)), (Some(3), Some(3), Some(0)));
        assert!(plans.rests() && plans.has(0) && !plans.has(1));
        let mut by_hand = flat.clone();
        by_hand["manual"] = true.into();
        let plans = Plans::read(&by_hand).unwrap();
        assert!(plans.chosen().is_none() && !plans.rests());
        let nested = json!({"select": 1, "algoname": "blake2b(SC)", "powerplans": [
            {"algo": "handshake", "mode": [{"level": 0, "info": "750 MHz 0.41 V"}]},
            {"algo": "blake2b(SC)", "mode": [{"level": 0, "info": "850 MHz 0.44 V"}, {"level": 1, "info": "600 MHz"}]}]});
        let plans = Plans::read(&nested).unwrap();
        assert_eq!((plans.chosen(), plans.of_rest(true)), (Some(1), None));
        assert_eq!(plans.to_string(), "0 (850 MHz 0.44 V), 1 (600 MHz)");
        assert!(Plans::read(&json!({"powerplans": [{"algo": "x", "mode": []}]})).is_none());
    }
}
