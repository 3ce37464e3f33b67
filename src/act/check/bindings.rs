//! One remediation, checked against itself and against what the rest of the configuration knows.

use std::collections::BTreeSet;
use std::path::Path;

use super::{Known, Problem, Problems, RuleShape};
use crate::act::binding::{
    Action, Binding, Budget, GuardSet, StepPlan, TargetBudget, TargetTemplate, percent, split_target,
};
use crate::act::inventory::{Inventory, Standing, is_plain};
use crate::act::playbook::{self, PlaybookError};
use crate::act::settings::{AlertSource, Guards, Mode, Remediation, Step};
use crate::model::duration::format_duration;
use crate::model::matcher::MatchOp;
use crate::model::{Matcher, words};

/// What can be done with a container.
pub const CONTAINER_COMMANDS: [&str; 3] = ["restart", "start", "stop"];

/// Where a binding stands, and what it is checked against.
pub(super) struct Place<'a> {
    pub(super) at: &'a str,
    /// `None`: only the runner may look.
    pub(super) playbooks: Option<&'a Path>,
    /// The inventory, and in words what it is; `None` where only Ansible knows its hosts.
    pub(super) inventory: Option<(&'a Inventory, &'a str)>,
    pub(super) known: &'a Known<'a>,
}

impl Problems {
    pub(super) fn binding(&mut self, place: &Place<'_>, written: &Remediation) -> Option<Binding> {
        let (at, before) = (place.at, self.mistakes.len());
        if !is_plain(&written.name) || written.name.len() > 64 {
            let message = format!("{:?} is not a name: use at most 64 letters, digits, '.', '_' and '-'", written.name);
            self.add(format!("{at}.name"), message);
        }
        let matchers = self.matchers(at, &written.matchers);
        let target = TargetTemplate::parse(&written.target);
        if target.is_none() {
            let message =
                format!("{:?} is not a target: write text and '{{{{ $labels.name }}}}', nothing else", written.target);
            self.add(format!("{at}.target"), message);
        }
        if written.sources.is_empty() {
            self.add(format!("{at}.sources"), "no source would bring no alert; write for example [rules]");
        }
        let guards = self.guards(place, &written.guards);
        self.names(place, written);
        if let (Some(target), true) = (&target, self.mistakes.len() == before) {
            self.producible(place, written, &matchers);
            self.exists(place, target, written, &matchers);
        }
        let steps = self.steps(place, written, &matchers);
        if self.mistakes.len() != before {
            return None;
        }
        Some(Binding {
            name: written.name.clone(),
            matchers,
            sources: written.sources.clone(),
            target: target?,
            mode: written.mode,
            steps,
            guards: guards?,
            windows: written.windows.clone(),
            notify: written.notify.clone(),
        })
    }

    fn matchers(&mut self, at: &str, written: &[String]) -> Vec<Matcher> {
        if written.is_empty() {
            self.add(
                format!("{at}.match"),
                "no matcher would match every alert; name at least one, like alertname=\"…\"",
            );
        }
        let mut matchers = Vec::new();
        for (index, text) in written.iter().enumerate() {
            match Matcher::parse(text) {
                Ok(matcher) => matchers.push(matcher),
                Err(error) => self.add(format!("{at}.match[{index}]"), error.to_string()),
            }
        }
        if !matchers.is_empty() && matchers.iter().all(|matcher| matcher.matches_value("")) {
            let message = "these matchers hold for an alert without any label; at least one must ask for something";
            self.add(format!("{at}.match"), message);
        }
        matchers
    }

    fn guards(&mut self, place: &Place<'_>, written: &Guards) -> Option<GuardSet> {
        let at = format!("{}.guards", place.at);
        let runs = Budget::parse(&written.max_runs_per_target);
        if runs.is_none() {
            let text = &written.max_runs_per_target;
            let message = format!("{text:?} is not a number of runs within a time: write for example 3/24h");
            self.add(format!("{at}.max_runs_per_target"), message);
        }
        let targets = TargetBudget::parse(&written.max_targets);
        if targets.is_none() {
            let text = &written.max_targets;
            let message =
                format!("{text:?} is not a number of targets within a time: write for example 5/1h or '10%/1h, min 1'");
            self.add(format!("{at}.max_targets"), message);
        }
        let share = percent(&written.brake.share);
        if share.is_none() {
            let message = format!("{:?} is not a share of the fleet: write for example 30%", written.brake.share);
            self.add(format!("{at}.brake.share"), message);
        }
        let counts = [
            ("max_concurrent", written.max_concurrent, "0 would never run anything; write mode: off instead"),
            ("flap.changes", written.flap.changes.saturating_sub(1), "less than 2 changes would hold every alert"),
            ("breaker.failures", written.breaker.failures, "0 failures would never run anything"),
            ("brake.min", written.brake.min, "0 targets would hold everything for ever"),
        ];
        for (name, _, message) in counts.into_iter().filter(|(_, count, _)| *count == 0) {
            self.add(format!("{at}.{name}"), message);
        }
        if let Some(expression) = &written.min_healthy
            && let Err(message) = (place.known.expression)(expression)
        {
            self.add(format!("{at}.min_healthy"), message);
        }
        Some(GuardSet {
            cooldown: written.cooldown,
            runs: runs?,
            targets: targets?,
            max_concurrent: written.max_concurrent,
            min_healthy: written.min_healthy.clone(),
            flap: written.flap,
            breaker: written.breaker,
            brake: (share?, written.brake.min),
        })
    }

    /// Names of receivers and windows.
    fn names(&mut self, place: &Place<'_>, written: &Remediation) {
        for (index, name) in written.windows.iter().enumerate().filter(|(_, name)| !place.known.windows.contains(*name))
        {
            let hint = words::hint(name, &place.known.windows);
            self.add(format!("{}.windows[{index}]", place.at), format!("there is no window {name:?}; {hint}"));
        }
        for (index, name) in written.notify.iter().enumerate() {
            self.receiver(place, format!("{}.notify[{index}]", place.at), name);
        }
    }

    fn receiver(&mut self, place: &Place<'_>, path: String, name: &str) {
        if !place.known.receivers.contains(name) {
            let hint = words::hint(name, &place.known.receivers);
            self.add(path, format!("there is no receiver named {name:?}; {hint}"));
        }
    }

    /// Whether any rule can produce an alert for these matchers.
    fn producible(&mut self, place: &Place<'_>, written: &Remediation, matchers: &[Matcher]) {
        let Some(rules) = place.known.rules.as_ref().filter(|_| written.sources.contains(&AlertSource::Rules)) else {
            return;
        };
        if rules.iter().any(|rule| fits(rule, matchers)) {
            return;
        }
        let meant = |rule: &&RuleShape| {
            let names = matchers.iter().filter(|matcher| matcher.name == "alertname");
            names.into_iter().all(|matcher| matcher.matches_value(&rule.name))
        };
        let named: Vec<&RuleShape> = rules.iter().filter(meant).collect();
        let mut found: Vec<(String, String)> = Vec::new();
        for (index, matcher) in matchers.iter().enumerate() {
            // A name that no rule has; or a label that none of the rules of the name has.
            let asked: Vec<&RuleShape> =
                if matcher.name == "alertname" { rules.iter().collect() } else { named.clone() };
            if !asked.is_empty() && asked.iter().all(|rule| !fits(rule, std::slice::from_ref(matcher))) {
                let values: BTreeSet<&str> = asked.iter().filter_map(|rule| value(rule, &matcher.name)).collect();
                let message =
                    format!("no rule can produce an alert with {matcher}; {}", words::hint(&matcher.value, values));
                found.push((format!("{}.match[{index}]", place.at), message));
            }
        }
        if found.is_empty() {
            let message = "no rule can produce an alert that these matchers match; see rules.files and the labels that the rules set";
            found.push((format!("{}.match", place.at), message.to_string()));
        }
        for (path, message) in found {
            if written.sources == [AlertSource::Rules] {
                self.add(path, message);
            } else {
                self.warnings.push(Problem { path, message: format!("{message} (a webhook may)") });
            }
        }
    }

    /// Whether targets that are known beforehand are hosts: those that matchers name, and those that the rules set
    /// themselves.
    fn exists(&mut self, place: &Place<'_>, target: &TargetTemplate, written: &Remediation, matchers: &[Matcher]) {
        let Some((inventory, what)) = place.inventory else { return };
        let ours = written.sources.contains(&AlertSource::Rules);
        let rules = place.known.rules.iter().flatten().filter(|rule| ours && fits(rule, matchers));
        let by_rules = rules.filter_map(|rule| {
            let set = rule.labels.iter().filter_map(|(name, value)| Some((name.as_str(), value.as_deref()?)));
            Some((target.known(&equal(matchers).chain(set).collect())?, Some(rule.name.as_str())))
        });
        let mut told = BTreeSet::new();
        for (name, rule) in known_target(target, matchers).map(|name| (name, None)).into_iter().chain(by_rules) {
            let host = split_target(&name).0.to_string();
            let standing = inventory.standing(&host);
            if standing == Standing::Host || !told.insert(host.clone()) {
                continue;
            }
            let by = rule.map_or_else(String::new, |rule| format!(" (by the labels of rule {rule})"));
            let message = match standing {
                Standing::Ambiguous => format!(
                    "{host:?}{by} could mean more than one host: a group of {what} has that name, or it is a pattern"
                ),
                _ => format!("{host:?}{by} is no host of {what}; {}", words::hint(&host, &inventory.hosts)),
            };
            self.add(format!("{}.target", place.at), message);
        }
    }

    fn steps(&mut self, place: &Place<'_>, written: &Remediation, matchers: &[Matcher]) -> Vec<StepPlan> {
        let at = place.at;
        if written.steps.is_empty() {
            self.add(format!("{at}.steps"), "there is nothing to run; name at least one step");
        }
        let mut plans = Vec::new();
        for (index, step) in written.steps.iter().enumerate() {
            let path = format!("{at}.steps[{index}]");
            let Some(action) = self.action(&path, step) else { continue };
            self.action_exists(place, &path, written, matchers, &action);
            self.times(&path, written, step, &action);
            let last = index + 1 == written.steps.len();
            if !last && action.acts() && step.verify.is_none() {
                let message = "a step follows, and nobody would know that this one did not help; add for example verify: {within: 10m}";
                self.add(path.clone(), message);
            }
            if step.mode.is_some_and(|mode| mode > written.mode) && written.mode == Mode::Off {
                self.add(format!("{path}.mode"), "the binding is off, and no step is laxer than its binding");
            }
            plans.push(StepPlan { action, mode: step.mode, timeout: step.timeout, verify: step.verify });
        }
        plans
    }

    /// The one thing that a step does.
    fn action(&mut self, path: &str, step: &Step) -> Option<Action> {
        let all = [
            step.playbook.clone().map(Action::Playbook),
            step.device.clone().map(Action::Device),
            step.container.clone().map(Action::Container),
            step.webhook.clone().map(Action::Webhook),
            step.notify.clone().map(Action::Notify),
        ];
        let mut named = all.into_iter().flatten();
        let (first, second) = (named.next(), named.next());
        if first.is_none() || second.is_some() {
            self.add(path, "a step does exactly one thing: playbook, device, container, webhook or notify");
            return None;
        }
        first
    }

    fn action_exists(
        &mut self,
        place: &Place<'_>,
        path: &str,
        written: &Remediation,
        matchers: &[Matcher],
        action: &Action,
    ) {
        match action {
            Action::Playbook(name) => {
                if let Some(Err(error)) = place.playbooks.map(|folder| playbook::find(folder, name)) {
                    let folder = matches!(error, PlaybookError::Folder { .. });
                    self.add(
                        if folder { "ansible.playbooks".into() } else { format!("{path}.playbook") },
                        error.to_string(),
                    );
                }
            }
            Action::Device(command) => self.device(place, path, written, matchers, command),
            Action::Container(command) => {
                if !CONTAINER_COMMANDS.contains(&command.as_str()) {
                    let hint = words::hint(command, CONTAINER_COMMANDS);
                    self.add(format!("{path}.container"), format!("a container has no command {command:?}; {hint}"));
                }
                if !TargetTemplate::parse(&written.target).is_some_and(|target| target.names_a_part()) {
                    let message = "a container step needs an engine and a container: write '{{ $labels.engine }}/{{ $labels.container }}'";
                    self.add(format!("{}.target", place.at), message);
                }
            }
            Action::Webhook(name) => {
                self.receiver(place, format!("{path}.webhook"), name);
                if place.known.receivers.contains(name) && !place.known.webhooks.contains(name) {
                    self.add(format!("{path}.webhook"), format!("the receiver {name:?} has no webhook to call"));
                }
            }
            Action::Notify(name) => self.receiver(place, format!("{path}.notify"), name),
        }
    }

    /// A command must be one of the target's kind, or of any kind as long as the target is not known.
    fn device(&mut self, place: &Place<'_>, path: &str, written: &Remediation, matchers: &[Matcher], command: &str) {
        let target = TargetTemplate::parse(&written.target);
        let name = target.and_then(|target| known_target(&target, matchers));
        let hosts = place.known.hosts.iter().filter(|host| name.as_ref().is_none_or(|name| *name == host.name));
        let kinds: Vec<&str> = hosts.map(|host| host.group.as_str()).collect();
        if let Some(message) = (place.known.misfit)(&kinds, command) {
            self.add(format!("{path}.device"), message);
        }
    }

    fn times(&mut self, path: &str, written: &Remediation, step: &Step, action: &Action) {
        if step.timeout.is_zero() {
            self.add(format!("{path}.timeout"), "0s would end every play at once; write for example 5m");
        }
        if action.acts() && written.guards.cooldown < step.timeout {
            let (cooldown, timeout) = (format_duration(written.guards.cooldown), format_duration(step.timeout));
            let message = format!(
                "a cooldown of {cooldown} is shorter than the step's timeout of {timeout}: a target could be worked on without a pause"
            );
            self.add(
                path.rsplit_once(".steps").map_or(String::new(), |(at, _)| format!("{at}.guards.cooldown")),
                message,
            );
        }
        if step.verify.is_some_and(|verify| verify.within.is_zero()) {
            self.add(format!("{path}.verify.within"), "0s leaves no time to help; write for example 10m");
        }
        if step.verify.is_some() && !action.acts() {
            self.add(format!("{path}.verify"), "a message heals nothing, so there is nothing to verify");
        }
    }
}

/// Whether a rule's alerts may match. Labels that the rule does not set come from its series, and may be anything.
fn fits(rule: &RuleShape, matchers: &[Matcher]) -> bool {
    matchers.iter().all(|matcher| match (matcher.name.as_str(), rule.labels.get(&matcher.name)) {
        ("alertname", _) => matcher.matches_value(&rule.name),
        (_, Some(Some(value))) => matcher.matches_value(value),
        (_, Some(None) | None) => true,
    })
}

/// What a rule is known to set a label to.
fn value<'a>(rule: &'a RuleShape, name: &str) -> Option<&'a str> {
    if name == "alertname" { Some(&rule.name) } else { rule.labels.get(name)?.as_deref() }
}

/// The labels that matchers leave no choice of.
fn equal(matchers: &[Matcher]) -> impl Iterator<Item = (&str, &str)> {
    let equal = matchers.iter().filter(|matcher| matcher.op == MatchOp::Equal);
    equal.map(|matcher| (matcher.name.as_str(), matcher.value.as_str()))
}

/// The target's name, where the matchers leave no choice.
fn known_target(target: &TargetTemplate, matchers: &[Matcher]) -> Option<String> {
    target.known(&equal(matchers).collect())
}
