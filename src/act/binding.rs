//! A binding that can be acted on: what stood in the configuration, checked and read.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::act::settings::{AlertSource, Breaker, Flap, Mode, Verify};
use crate::model::duration::parse_duration;
use crate::model::matcher::is_label_name;
use crate::model::{Labels, Matcher};

/// A binding that can be acted on.
#[derive(Clone, Debug)]
pub struct Binding {
    /// Unique name.
    pub name: String,
    /// All must hold for an alert's labels.
    pub matchers: Vec<Matcher>,
    /// Whose alerts are listened to.
    pub sources: Vec<AlertSource>,
    /// Where the target's name comes from.
    pub target: TargetTemplate,
    /// What it may do.
    pub mode: Mode,
    /// What to do, in order; at least one step.
    pub steps: Vec<StepPlan>,
    /// Limits.
    pub guards: GuardSet,
    /// Acts only while one of these is open; empty: always.
    pub windows: Vec<String>,
    /// Who is told what a person must know.
    pub notify: Vec<String>,
}

impl Binding {
    /// Whether the binding is meant for an alert of this rule with these labels.
    pub fn matches(&self, rule: &str, labels: &Labels) -> bool {
        self.sources.contains(&source_of(rule)) && self.matchers.iter().all(|matcher| matcher.matches(labels))
    }

    /// What a step may do: the stricter of the binding's mode and its own.
    pub fn mode_of(&self, step: &StepPlan) -> Mode {
        step.mode.map_or(self.mode, |own| own.min(self.mode))
    }

    /// The step of a number.
    pub fn step(&self, number: u32) -> Option<&StepPlan> {
        self.steps.get(number as usize)
    }

    /// For how long its guards look back.
    pub fn memory(&self) -> Duration {
        let guards = &self.guards;
        let times =
            [guards.cooldown, guards.runs.within, guards.targets.within, guards.flap.within, guards.breaker.open_for];
        times.into_iter().max().unwrap_or_default()
    }
}

/// Where an alert comes from, by the key of its rule. Those of webhooks begin with `webhook:alertmanager:` and
/// `webhook:grafana:`; nobody but the daemon makes such keys.
pub fn source_of(rule: &str) -> AlertSource {
    if rule.starts_with(ALERTMANAGER) {
        AlertSource::Alertmanager
    } else if rule.starts_with(GRAFANA) {
        AlertSource::Grafana
    } else {
        AlertSource::Rules
    }
}

/// How the rule key of an alert begins that Alertmanager sent.
pub const ALERTMANAGER: &str = "webhook:alertmanager:";
/// How the rule key of an alert begins that Grafana sent.
pub const GRAFANA: &str = "webhook:grafana:";

/// One step, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StepPlan {
    /// What is done.
    pub action: Action,
    /// Stricter than the binding's mode.
    pub mode: Option<Mode>,
    /// Time limit.
    pub timeout: Duration,
    /// How to find out whether it helped.
    pub verify: Option<Verify>,
}

/// What a step does.
#[derive(Clone, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// Runs a playbook, relative to the playbook folder.
    Playbook(String),
    /// Gives the target a command of its own API.
    Device(String),
    /// Gives a container a command.
    Container(String),
    /// Calls a receiver's webhook.
    Webhook(String),
    /// Notifies a receiver.
    Notify(String),
}

impl Action {
    /// Whether it can change something about the target; a message cannot.
    pub const fn acts(&self) -> bool {
        matches!(self, Action::Playbook(_) | Action::Device(_) | Action::Container(_))
    }
}

impl std::fmt::Display for Action {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Action::Playbook(name) => f.write_str(name),
            Action::Device(command) => write!(f, "device: {command}"),
            Action::Container(command) => write!(f, "container: {command}"),
            Action::Webhook(receiver) => write!(f, "webhook: {receiver}"),
            Action::Notify(receiver) => write!(f, "notify: {receiver}"),
        }
    }
}

/// The limits of a binding.
#[derive(Clone, Debug)]
pub struct GuardSet {
    /// Time after a run's end without a new beginning on the same target.
    pub cooldown: Duration,
    /// Most runs on one target within a time.
    pub runs: Budget,
    /// Most targets within a time.
    pub targets: TargetBudget,
    /// Most runs at one time.
    pub max_concurrent: u32,
    /// PromQL that must hold.
    pub min_healthy: Option<String>,
    /// Changes of state that are too many.
    pub flap: Flap,
    /// Failures in a row that are too many.
    pub breaker: Breaker,
    /// A part of the fleet that is too large: its share, and a least number.
    pub brake: (f64, u32),
}

/// A number of runs within a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    /// How many.
    pub runs: u32,
    /// Within which time.
    pub within: Duration,
}

impl Budget {
    /// Reads `3/24h`.
    pub(super) fn parse(text: &str) -> Option<Budget> {
        let (runs, within) = text.split_once('/')?;
        let budget = Budget { runs: runs.trim().parse().ok()?, within: parse_duration(within.trim()).ok()? };
        (budget.runs > 0 && !budget.within.is_zero()).then_some(budget)
    }
}

/// A number of targets within a time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TargetBudget {
    /// How many.
    pub most: Share,
    /// Within which time.
    pub within: Duration,
}

/// A number of targets, or a share of the fleet and at least a number.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Share {
    /// So many.
    Count(u32),
    /// This part of the fleet, from 0 to 1, rounded down, and at least so many.
    Part(f64, u32),
}

impl TargetBudget {
    /// Reads `5/1h`, `10%/1h` and `10%/1h, min 1`.
    pub(super) fn parse(text: &str) -> Option<TargetBudget> {
        let (most, rest) = text.split_once('/')?;
        let (within, least) = match rest.split_once(',') {
            Some((within, least)) => (within, Some(least.trim().strip_prefix("min")?.trim().parse::<u32>().ok()?)),
            None => (rest, None),
        };
        let within = parse_duration(within.trim()).ok().filter(|within| !within.is_zero())?;
        let most = match percent(most) {
            Some(part) => Share::Part(part, least.unwrap_or(1)),
            None if least.is_none() => Share::Count(most.trim().parse().ok().filter(|count| *count > 0)?),
            None => return None,
        };
        Some(TargetBudget { most, within })
    }

    /// How many targets that is in a fleet of this size.
    pub fn of(&self, fleet: usize) -> usize {
        match self.most {
            Share::Count(count) => count as usize,
            // The product of a small share and a size stays far below where floats lose integers.
            Share::Part(part, least) => ((fleet as f64 * part + 1e-9).floor() as usize).max(least as usize),
        }
    }
}

/// Reads `10%` into 0.1; more than nothing, at most everything.
pub(super) fn percent(text: &str) -> Option<f64> {
    let number: f64 = text.trim().strip_suffix('%')?.trim().parse().ok()?;
    (number > 0.0 && number <= 100.0).then_some(number / 100.0)
}

/// How a target's name is made of labels: text with `{{ $labels.name }}` in it, and nothing else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetTemplate(Vec<Piece>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(String),
    Label(String),
}

impl TargetTemplate {
    /// Reads a template.
    pub(super) fn parse(text: &str) -> Option<TargetTemplate> {
        let (mut pieces, mut rest) = (Vec::new(), text);
        while let Some((before, after)) = rest.split_once("{{") {
            let (inside, behind) = after.split_once("}}")?;
            let label = inside.trim().strip_prefix("$labels.").filter(|name| is_label_name(name))?;
            pieces.push(Piece::Text(before.to_string()));
            pieces.push(Piece::Label(label.to_string()));
            rest = behind;
        }
        pieces.push(Piece::Text(rest.to_string()));
        pieces.retain(|piece| *piece != Piece::Text(String::new()));
        let closed = pieces.iter().all(|piece| !matches!(piece, Piece::Text(text) if text.contains(['{', '}'])));
        (closed && !pieces.is_empty()).then_some(TargetTemplate(pieces))
    }

    /// The target's name; `None` when a label that it needs is absent.
    pub fn expand(&self, labels: &Labels) -> Option<String> {
        self.fill(|name| labels.get(name))
    }

    /// The target's name where the values of all its labels are known beforehand.
    pub(super) fn known(&self, values: &BTreeMap<&str, &str>) -> Option<String> {
        self.fill(|name| values.get(name).copied())
    }

    fn fill<'a>(&'a self, value: impl Fn(&str) -> Option<&'a str>) -> Option<String> {
        let texts = self.0.iter().map(|piece| match piece {
            Piece::Text(text) => Some(text.as_str()),
            Piece::Label(name) => value(name),
        });
        texts.collect()
    }

    /// Whether a slash stands between its first piece and its last.
    pub(super) fn names_a_part(&self) -> bool {
        self.0.iter().any(|piece| matches!(piece, Piece::Text(text) if text.contains('/')))
    }
}

/// The inventory host of a target, and the container behind the slash.
pub fn split_target(target: &str) -> (&str, Option<&str>) {
    target.split_once('/').map_or((target, None), |(host, part)| (host, Some(part)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn budgets_of_targets() {
        let of = |text: &str, fleet| TargetBudget::parse(text).map(|budget| budget.of(fleet));
        assert_eq!(of("5/1h", 1000), Some(5));
        assert_eq!(of("10%/1h", 1000), Some(100));
        assert_eq!(of("10%/1h", 9), Some(1), "a share is at least one");
        assert_eq!(of("10%/1h, min 3", 9), Some(3));
        assert_eq!(of("30%/1h,min 0", 3), Some(0));
        for bad in ["", "5", "0/1h", "5/0s", "0%/1h", "101%/1h", "5/1h, min 2", "10%/1h, most 2", "x%/1h", "NaN%/1h"] {
            assert_eq!(of(bad, 10), None, "{bad}");
        }
    }

    #[test]
    fn only_labels_stand_in_a_target() {
        for bad in ["", "{{ $labels.a | upper }}", "{{ $labels.a", "$labels.a }}", "{{ $value }}", "{% x %}", "{{}}"] {
            assert_eq!(TargetTemplate::parse(bad), None, "{bad}");
        }
        let target = TargetTemplate::parse("rack-{{ $labels.rack }}-{{$labels.miner}}").unwrap();
        assert_eq!(target.expand(&Labels::new([("rack", "2"), ("miner", "m1")])).as_deref(), Some("rack-2-m1"));
        assert_eq!(target.expand(&Labels::new([("miner", "m1")])), None);
        assert_eq!(split_target("nas/web/1"), ("nas", Some("web/1")));
    }

    #[test]
    fn a_step_is_never_laxer_than_its_binding() {
        assert!(Mode::Off < Mode::Check && Mode::Check < Mode::Approve && Mode::Approve < Mode::Auto);
        assert_eq!(source_of("webhook:grafana:x"), AlertSource::Grafana);
        assert_eq!(source_of("fleet.yml;fleet;Hot{}"), AlertSource::Rules);
    }
}
