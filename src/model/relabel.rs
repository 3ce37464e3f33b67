//! Relabelling as Prometheus does it: every action of `write_relabel_configs` and `alert_relabel_configs`, in
//! order, on one label set. Pure.
//!
//! Source: <https://prometheus.io/docs/prometheus/latest/configuration/configuration/#relabel_config>.

use md5::{Digest, Md5};
use regex::Regex;

use super::labels::Labels;
use super::matcher::{anchored, is_label_name};

/// One step of relabelling, in Prometheus' words.
#[derive(Clone, Debug, PartialEq, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RelabelConfig {
    /// Labels whose values are joined and matched.
    pub source_labels: Vec<String>,
    /// What stands between the joined values.
    pub separator: String,
    /// Matched against the joined values, or against label names; anchored at both ends.
    pub regex: String,
    /// Divisor of `hashmod`.
    pub modulus: u64,
    /// The label that is written, or compared with.
    pub target_label: String,
    /// What is written; `$1` stands for the first group of the pattern.
    pub replacement: String,
    /// What is done.
    pub action: Action,
}

impl Default for RelabelConfig {
    fn default() -> Self {
        RelabelConfig {
            source_labels: Vec::new(),
            separator: ";".to_string(),
            regex: "(.*)".to_string(),
            modulus: 0,
            target_label: String::new(),
            replacement: "$1".to_string(),
            action: Action::Replace,
        }
    }
}

/// What a step does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// Writes `replacement` into `target_label` where the pattern matches.
    Replace,
    /// Drops series that do not match.
    Keep,
    /// Drops series that match.
    Drop,
    /// Writes the hash of the joined values, modulo `modulus`.
    HashMod,
    /// Copies labels whose name matches to the name that `replacement` makes.
    LabelMap,
    /// Removes labels whose name matches.
    LabelDrop,
    /// Removes labels whose name does not match.
    LabelKeep,
    /// Writes the joined values in lower case.
    Lowercase,
    /// Writes the joined values in upper case.
    Uppercase,
    /// Drops series whose joined values differ from `target_label`.
    KeepEqual,
    /// Drops series whose joined values equal `target_label`.
    DropEqual,
}

/// Why a step cannot be what was meant: the field and what is wrong with it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {message}")]
pub struct RelabelError {
    /// The field of the step.
    pub field: &'static str,
    /// What is wrong.
    pub message: String,
}

/// A checked step.
#[derive(Clone, Debug)]
pub struct Step {
    config: RelabelConfig,
    regex: Regex,
}

impl Step {
    /// Checks a step and compiles its pattern.
    ///
    /// # Errors
    /// [`RelabelError`] for what Prometheus refuses too.
    pub fn new(config: RelabelConfig) -> Result<Self, RelabelError> {
        let fault = |field, message: String| Err(RelabelError { field, message });
        let regex = match anchored(&config.regex) {
            Ok(regex) => regex,
            Err(error) => return fault("regex", error.to_string()),
        };
        let action = config.action;
        let writes = matches!(action, Action::Replace | Action::HashMod | Action::Lowercase | Action::Uppercase);
        let compares = matches!(action, Action::KeepEqual | Action::DropEqual);
        if (writes || compares) && config.target_label.is_empty() {
            return fault("target_label", format!("is missing: {action:?} needs it").to_lowercase());
        }
        if action == Action::HashMod && config.modulus == 0 {
            return fault("modulus", "is missing: hashmod needs one above 0".to_string());
        }
        let plain = !config.target_label.contains('$') || action != Action::Replace;
        if plain && !config.target_label.is_empty() && !is_label_name(&config.target_label) {
            return fault("target_label", format!("{:?} is not a label name", config.target_label));
        }
        let standard = RelabelConfig::default();
        let names = matches!(action, Action::LabelDrop | Action::LabelKeep);
        let alone = RelabelConfig { regex: config.regex.clone(), action, ..standard.clone() };
        if names && config != alone {
            return fault(
                "action",
                "labeldrop and labelkeep look at names: only regex may stand beside them".to_string(),
            );
        }
        let pair = RelabelConfig {
            source_labels: config.source_labels.clone(),
            target_label: config.target_label.clone(),
            action,
            ..standard
        };
        if compares && config != pair {
            let text = "keepequal and dropequal compare: only source_labels and target_label may stand beside them";
            return fault("action", text.to_string());
        }
        Ok(Step { config, regex })
    }

    /// The label set after this step; `None` when the series is dropped.
    fn apply(&self, labels: Labels) -> Option<Labels> {
        let config = &self.config;
        let values: Vec<&str> = config.source_labels.iter().map(|name| labels.get(name).unwrap_or_default()).collect();
        let joined = values.join(&config.separator);
        let target = || labels.get(&config.target_label).unwrap_or_default();
        match config.action {
            Action::Keep => self.regex.is_match(&joined).then_some(labels),
            Action::Drop => (!self.regex.is_match(&joined)).then_some(labels),
            Action::KeepEqual => (target() == joined).then_some(labels),
            Action::DropEqual => (target() != joined).then_some(labels),
            Action::Lowercase => Some(labels.with(&config.target_label, joined.to_lowercase())),
            Action::Uppercase => Some(labels.with(&config.target_label, joined.to_uppercase())),
            Action::HashMod => Some(labels.with(&config.target_label, hash(&joined, config.modulus))),
            Action::LabelDrop => Some(labels.filter(|name| !self.regex.is_match(name))),
            Action::LabelKeep => Some(labels.filter(|name| self.regex.is_match(name))),
            Action::LabelMap => {
                let copied = labels.iter().filter(|(name, _)| self.regex.is_match(name)).map(|(name, value)| {
                    (self.regex.replace_all(name, config.replacement.as_str()).into_owned(), value.to_string())
                });
                let copied: Vec<_> = copied.collect();
                let own = labels.iter().map(|(name, value)| (name.to_string(), value.to_string()));
                Some(Labels::new(own.chain(copied)))
            }
            Action::Replace => {
                let Some(groups) = self.regex.captures(&joined) else { return Some(labels) };
                let (mut name, mut value) = (String::new(), String::new());
                groups.expand(&config.target_label, &mut name);
                groups.expand(&config.replacement, &mut value);
                Some(if is_label_name(&name) { labels.with(name, value) } else { labels })
            }
        }
    }
}

/// The last eight bytes of the MD5 sum, as Prometheus counts them.
fn hash(text: &str, modulus: u64) -> String {
    let sum = Md5::digest(text.as_bytes());
    let tail: [u8; 8] = std::array::from_fn(|index| sum[8 + index]);
    (u64::from_be_bytes(tail) % modulus).to_string()
}

/// The label set after all steps; `None` when the series is dropped.
pub fn relabel(steps: &[Step], labels: &Labels) -> Option<Labels> {
    steps.iter().try_fold(labels.clone(), |labels, step| step.apply(labels))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Steps as YAML, a label set before and after; `-` for a dropped one.
    fn check(steps: &str, before: &[(&str, &str)], after: &str) {
        let configs: Vec<RelabelConfig> = serde_yaml::from_str(steps).unwrap();
        let steps: Vec<Step> = configs.into_iter().map(|config| Step::new(config).unwrap()).collect();
        let found = relabel(&steps, &Labels::new(before.iter().copied()));
        assert_eq!(found.map_or("-".to_string(), |labels| labels.to_string()), after, "{steps:?}");
    }

    #[test]
    fn every_action_does_what_prometheus_does() {
        // The cases and results of Prometheus' own relabel tests, as far as they tell actions apart.
        let abc = [("a", "foo"), ("b", "bar"), ("c", "baz")];
        check(
            "[{source_labels: [a], target_label: d, regex: f(.*), replacement: 'ch${1}-ch${1}'}]",
            &abc,
            "{a=\"foo\", b=\"bar\", c=\"baz\", d=\"choo-choo\"}",
        );
        check(
            "[{source_labels: [a, b], target_label: a, regex: 'f(.*);(.*)r', replacement: 'b${1}${2}m'}]",
            &abc,
            "{a=\"boobam\", b=\"bar\", c=\"baz\"}",
        );
        check("[{source_labels: [a], regex: '.*o.*', action: drop}]", &abc, "-");
        check("[{source_labels: [a], regex: no-match, action: keep}]", &abc, "-");
        check("[{source_labels: [a], regex: 'f|foo', action: keep}]", &abc, "{a=\"foo\", b=\"bar\", c=\"baz\"}");
        // No match, no change; an empty value removes.
        check("[{source_labels: [a], target_label: a, regex: f, replacement: x}]", &[("a", "foo")], "{a=\"foo\"}");
        check("[{source_labels: [a], target_label: b, regex: 'foo', replacement: ''}]", &abc[..2], "{a=\"foo\"}");
        check(
            "[{source_labels: [a], target_label: '${1}', regex: '(f).*', replacement: x}]",
            &[("a", "foo")],
            "{a=\"foo\", f=\"x\"}",
        );
        check(
            "[{source_labels: [a], target_label: '${1}', regex: 'some-([^-]+)', replacement: x}]",
            &[("a", "some-3")],
            "{a=\"some-3\"}",
        );
        check(
            "[{source_labels: [c], target_label: d, separator: ';', action: hashmod, modulus: 1000}]",
            &abc,
            "{a=\"foo\", b=\"bar\", c=\"baz\", d=\"976\"}",
        );
        check(
            "[{source_labels: [a], target_label: d, action: hashmod, modulus: 1000}]",
            &[("a", "foo\nbar")],
            "{a=\"foo\\nbar\", d=\"734\"}",
        );
        check(
            "[{regex: '(b.*)', replacement: 'bar_${1}', action: labelmap}]",
            &[("a", "foo"), ("b1", "bar")],
            "{a=\"foo\", b1=\"bar\", bar_b1=\"bar\"}",
        );
        check("[{regex: '(b.*)', action: labeldrop}]", &abc, "{a=\"foo\", c=\"baz\"}");
        check("[{regex: '(b.*)', action: labelkeep}]", &abc, "{b=\"bar\"}");
        check(
            "[{source_labels: [a], target_label: l, action: lowercase}, {source_labels: [a], target_label: u, action: uppercase}]",
            &[("a", "Foo")],
            "{a=\"Foo\", l=\"foo\", u=\"FOO\"}",
        );
        check("[{source_labels: [a], target_label: b, action: keepequal}]", &abc, "-");
        check(
            "[{source_labels: [a], target_label: b, action: keepequal}]",
            &[("a", "x"), ("b", "x")],
            "{a=\"x\", b=\"x\"}",
        );
        check("[{source_labels: [a], target_label: b, action: dropequal}]", &[("a", "x"), ("b", "x")], "-");
        check("[{source_labels: [a], target_label: b, action: dropequal}]", &[("a", "x")], "{a=\"x\"}");
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        let field = |step: &str| Step::new(serde_yaml::from_str(step).unwrap()).unwrap_err().field;
        assert_eq!(field("{regex: '('}"), "regex");
        assert_eq!(field("{action: replace}"), "target_label");
        assert_eq!(field("{action: hashmod, target_label: a}"), "modulus");
        assert_eq!(field("{action: hashmod, target_label: 'a-b', modulus: 2}"), "target_label");
        assert_eq!(field("{action: labeldrop, source_labels: [a]}"), "action");
        assert_eq!(field("{action: keepequal, target_label: a, regex: x}"), "action");
        assert!(serde_yaml::from_str::<RelabelConfig>("{action: destroy}").is_err());
    }
}
