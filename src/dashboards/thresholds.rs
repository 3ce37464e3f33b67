//! Colours from the numbers of the alert rules: a panel turns red exactly where its alert begins to count.

use super::json::Number;
use super::json::Step;

/// The number that an alert rule compares with: the right-hand side of its outermost comparison.
#[derive(Clone, Debug, PartialEq)]
pub struct Threshold {
    /// `alert:` of the rule.
    pub alert: String,
    /// In the unit of the rule's left-hand side.
    pub value: f64,
}

impl Threshold {
    /// A threshold of the rule named `alert`.
    pub fn new(alert: impl Into<String>, value: f64) -> Self {
        Threshold { alert: alert.into(), value }
    }
}

/// On which side of the number it is bad.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bad {
    /// The rule says `> number`.
    Above,
    /// The rule says `< number`.
    Below,
}

/// A rule whose number colours panels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule {
    /// `alert:` of the rule.
    pub alert: &'static str,
    /// The side that its comparison must have.
    pub bad: Bad,
    /// The unit in which its number must be.
    pub unit: &'static str,
}

/// Chip temperature in degrees Celsius.
pub const CHIP_TEMPERATURE: Rule = Rule { alert: "MinerChipTemperatureHigh", bad: Bad::Above, unit: "celsius" };
/// Temperature of the voltage regulator in degrees Celsius.
pub const VR_TEMPERATURE: Rule = Rule { alert: "MinerVrTemperatureHigh", bad: Bad::Above, unit: "celsius" };
/// Hashrate divided by the expected one.
pub const HASHRATE_RATIO: Rule = Rule { alert: "MinerHashrateLow", bad: Bad::Below, unit: "percentunit" };
/// Rejected shares divided by all.
pub const REJECT_RATIO: Rule = Rule { alert: "MinerRejectRatioHigh", bad: Bad::Above, unit: "percentunit" };
/// Signal strength in dBm.
pub const WIFI: Rule = Rule { alert: "MinerWifiWeak", bad: Bad::Below, unit: "dBm" };
/// Working set divided by the limit.
pub const MEMORY_RATIO: Rule = Rule { alert: "ContainerMemoryNearLimit", bad: Bad::Above, unit: "percentunit" };

/// Every rule whose number is looked for. A rule that is not loaded leaves its panels without colours.
pub const RULES: &[Rule] = &[CHIP_TEMPERATURE, VR_TEMPERATURE, HASHRATE_RATIO, REJECT_RATIO, WIFI, MEMORY_RATIO];

/// The colour steps of `rule`, or `None` when no such rule is loaded. Of several rules with one name (a warning and a
/// critical one) the mildest number begins orange and the worst begins red.
pub fn steps(thresholds: &[Threshold], rule: Rule) -> Option<Vec<Step>> {
    let mut values: Vec<f64> = thresholds
        .iter()
        .filter(|threshold| threshold.alert == rule.alert && threshold.value.is_finite())
        .map(|threshold| threshold.value)
        .collect();
    values.sort_by(f64::total_cmp);
    let (first, last) = (*values.first()?, *values.last()?);
    let inner = (first < last).then_some("orange");
    let (base, rest) = match rule.bad {
        Bad::Above => ("green", [(inner, first), (Some("red"), last)]),
        Bad::Below => ("red", [(inner, first), (Some("green"), last)]),
    };
    let mut steps = vec![Step { color: base, value: None }];
    steps
        .extend(rest.into_iter().filter_map(|(color, value)| Some(Step { color: color?, value: Some(Number(value)) })));
    Some(steps)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn colours(thresholds: &[Threshold], rule: Rule) -> Option<Vec<(&'static str, Option<f64>)>> {
        Some(steps(thresholds, rule)?.iter().map(|step| (step.color, step.value.map(|number| number.0))).collect())
    }

    #[test]
    fn the_bad_side_is_red() {
        let list = [Threshold::new("MinerChipTemperatureHigh", 70.0), Threshold::new("MinerWifiWeak", -80.0)];
        assert_eq!(colours(&list, CHIP_TEMPERATURE), Some(vec![("green", None), ("red", Some(70.0))]));
        assert_eq!(colours(&list, WIFI), Some(vec![("red", None), ("green", Some(-80.0))]));
        assert_eq!(colours(&list, VR_TEMPERATURE), None, "no rule, no number of our own");
    }

    #[test]
    fn a_warning_and_a_critical_rule_give_three_colours() {
        let hot = |value| Threshold::new("MinerChipTemperatureHigh", value);
        let three = Some(vec![("green", None), ("orange", Some(65.0)), ("red", Some(75.0))]);
        assert_eq!(colours(&[hot(75.0), hot(65.0), hot(f64::NAN)], CHIP_TEMPERATURE), three);
        let low = |value| Threshold::new("MinerHashrateLow", value);
        let three = Some(vec![("red", None), ("orange", Some(0.5)), ("green", Some(0.75))]);
        assert_eq!(colours(&[low(0.75), low(0.5), low(0.75)], HASHRATE_RATIO), three);
    }
}
