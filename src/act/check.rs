//! From what is written to what can be acted on, with every mistake reported at once.

mod bindings;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::act::artifacts::Quota;
use crate::act::binding::Binding;
use crate::act::facts::Host;
use crate::act::inventory::Inventory;
use crate::act::keys::{self, Keys};
use crate::act::settings::{Access, AnsibleSettings, AwxSettings, GENERATED, Mode, Remediation};
use crate::model::duration::format_duration;
use crate::model::matcher::is_label_name;
use bindings::Place;

/// One mistake in the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where in the document: `remediations[0].steps[0].playbook`.
    pub path: String,
    /// What is wrong and what to do.
    pub message: String,
}

/// What the rest of the configuration knows, by which bindings are checked.
pub struct Known<'a> {
    /// The alerting rules; `None`: they could not be read, so nothing is said about them.
    pub rules: Option<Vec<RuleShape>>,
    /// The targets as hosts.
    pub hosts: Vec<Host>,
    /// Names of receivers.
    pub receivers: BTreeSet<String>,
    /// Names of those receivers that have a webhook.
    pub webhooks: BTreeSet<String>,
    /// Names of windows.
    pub windows: BTreeSet<String>,
    /// Says what is wrong with a device command, if it is right for none of these kinds.
    pub misfit: Misfit<'a>,
    /// Says what is wrong with a PromQL expression, with the place in it.
    pub expression: &'a dyn Fn(&str) -> Result<(), String>,
}

/// Says what is wrong with a device command, if it is right for none of the kinds.
pub type Misfit<'a> = &'a dyn Fn(&[&str], &str) -> Option<String>;

/// What is known beforehand of the alerts of a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleShape {
    /// `alertname`.
    pub name: String,
    /// Labels that every alert of the rule has, with their values where these are known.
    pub labels: BTreeMap<String, Option<String>>,
}

/// How playbooks are run: paths absolute, everything checked.
#[derive(Clone, Debug)]
pub struct Ansible {
    /// `ansible-playbook`.
    pub command: PathBuf,
    /// Folder of playbooks.
    pub playbooks: PathBuf,
    /// The inventory; `None`: generated per run.
    pub inventory: Option<PathBuf>,
    /// Configuration file of Ansible.
    pub config: Option<PathBuf>,
    /// Variables that are passed on.
    pub environment: Vec<String>,
    /// Folder of run folders.
    pub runs: PathBuf,
    /// How many folders of ended runs are kept.
    pub keep_runs: usize,
    /// Bytes of each output that are kept.
    pub output_limit: u64,
    /// Time between SIGTERM and SIGKILL.
    pub kill_grace: Duration,
    /// Passwords and keys.
    pub keys: Keys,
    /// How much a run may leave.
    pub artifacts: Quota,
}

impl Ansible {
    /// Finds `ansible-playbook` or one of its sisters, which stand beside it; `None` when it is not installed.
    pub fn program(&self, name: &str) -> Option<PathBuf> {
        let file = if name == "ansible-playbook" { self.command.clone() } else { self.command.with_file_name(name) };
        if file.components().count() > 1 {
            return file.is_file().then_some(file);
        }
        std::env::split_paths(&std::env::var_os("PATH")?).map(|folder| folder.join(&file)).find(|path| path.is_file())
    }
}

/// Limits over all bindings.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Most runs at one time.
    pub max_concurrent: u32,
    /// Most runs that wait.
    pub queue: usize,
    /// How long one may wait.
    pub queue_expiry: Duration,
    /// How long a run may wait for its approval.
    pub approval_expiry: Duration,
    /// How long a stopping daemon waits for running plays.
    pub stop_grace: Duration,
    /// No run in the daemon's first moments.
    pub startup_grace: Duration,
}

/// Everything of this room's configuration, checked.
#[derive(Clone, Debug)]
pub struct Checked {
    /// The bindings, in order.
    pub bindings: Vec<Binding>,
    /// How playbooks are run.
    pub ansible: Ansible,
    /// Limits over all bindings.
    pub limits: Limits,
    /// Socket of the runner, if there is one, and who may be on its other end.
    pub runner: Option<(PathBuf, Access)>,
    /// The controller that runs everything instead, if there is one.
    pub awx: Option<AwxSettings>,
    /// What one-time links begin with.
    pub approval_url: Option<String>,
    /// What is odd, but no mistake.
    pub warnings: Vec<Problem>,
}

/// Variables that every play gets from us, or that would undo what we set.
const RESERVED: [&str; 6] = ["PATH", "LC_ALL", "HOME", "TMPDIR", "LD_PRELOAD", "LD_LIBRARY_PATH"];
/// Longest path of the folder of runs: ssh's control sockets in a run folder may not exceed 107 bytes.
const MAX_RUNS_PATH: usize = 48;

/// Shortest time that a run may wait: less, and it could expire between two looks.
const LEAST_EXPIRY: Duration = Duration::from_secs(10);

/// Checks everything. `base` is the configuration file's folder, `state` the state folder; relative paths start there.
///
/// # Errors
/// All mistakes.
pub fn check(
    remediations: &[Remediation],
    ansible: &AnsibleSettings,
    base: &Path,
    state: &Path,
    known: &Known<'_>,
) -> Result<Checked, Vec<Problem>> {
    let mut problems = Problems::default();
    let runner = ansible.runner.as_ref().map(|path| (base.join(path), ansible.runner_access));
    let resolved = Ansible {
        // A bare name is looked up in PATH; a path is a path.
        command: if ansible.command.components().count() > 1 {
            base.join(&ansible.command)
        } else {
            ansible.command.clone()
        },
        playbooks: base.join(&ansible.playbooks),
        inventory: (ansible.inventory != GENERATED).then(|| base.join(&ansible.inventory)),
        config: ansible.config.as_ref().map(|path| base.join(path)),
        environment: ansible.environment.clone(),
        runs: state.join(&ansible.runs),
        keep_runs: ansible.keep_runs,
        output_limit: ansible.output_limit,
        kill_grace: ansible.kill_grace,
        keys: Keys::of(ansible),
        artifacts: ansible.artifacts,
    };
    let acting = remediations.iter().any(|remediation| remediation.mode != Mode::Off);
    let awx = problems.awx(ansible, base);
    problems.ansible(ansible, &resolved, runner.is_none() && awx.is_none() && acting);
    // The runner owns the playbooks; the collector may not even be allowed to see them. A controller has its own.
    let look = awx.is_none() && (runner.is_none() || resolved.playbooks.is_dir());
    // A controller has an inventory of its own; that of a runner may lie where we cannot look.
    let (inventory, what) = match &resolved.inventory {
        _ if awx.is_some() => (None, String::new()),
        None => {
            (Some(Inventory::of_hosts(&known.hosts)), "the inventory, which is generated from the targets".to_string())
        }
        Some(path) => (Inventory::listed(path), format!("the inventory {}", path.display())),
    };
    let inventory = inventory.as_ref().map(|inventory| (inventory, what.as_str()));
    let mut names = BTreeSet::new();
    let mut bindings = Vec::new();
    for (index, remediation) in remediations.iter().enumerate() {
        let at = format!("remediations[{index}]");
        if !names.insert(&remediation.name) {
            problems.add(format!("{at}.name"), format!("{:?} is used twice; names must be unique", remediation.name));
        }
        let playbooks = look.then_some(resolved.playbooks.as_path());
        let place = Place { at: &at, playbooks, inventory, known };
        bindings.extend(problems.binding(&place, remediation));
    }
    let limits = Limits {
        max_concurrent: ansible.max_concurrent,
        queue: ansible.queue,
        queue_expiry: ansible.queue_expiry,
        approval_expiry: ansible.approval_expiry,
        stop_grace: ansible.stop_grace,
        startup_grace: ansible.startup_grace,
    };
    if !problems.mistakes.is_empty() {
        return Err(problems.mistakes);
    }
    let (warnings, approval_url) = (problems.warnings, ansible.approval_url.clone());
    Ok(Checked { bindings, ansible: resolved, limits, runner, awx, approval_url, warnings })
}

#[derive(Default)]
struct Problems {
    mistakes: Vec<Problem>,
    warnings: Vec<Problem>,
}

impl Problems {
    fn add(&mut self, path: impl Into<String>, message: impl Into<String>) {
        self.mistakes.push(Problem { path: path.into(), message: message.into() });
    }

    /// The controller, with its paths made absolute.
    fn awx(&mut self, written: &AnsibleSettings, base: &Path) -> Option<AwxSettings> {
        let mut awx = written.awx.clone()?;
        if !awx.api.starts_with('/') {
            self.add("ansible.awx.api", format!("{:?} is no path: write for example /api/v2", awx.api));
        }
        if let Some(host) = plain_and_far(&awx.url) {
            let message = format!("the token goes to {host} readable for everybody on the way; write https://");
            self.warnings.push(Problem { path: "ansible.awx.url".into(), message });
        }
        awx.ca_file = awx.ca_file.map(|path| base.join(path));
        Some(awx)
    }

    fn ansible(&mut self, written: &AnsibleSettings, resolved: &Ansible, local: bool) {
        for (index, name) in written.environment.iter().enumerate() {
            let ours = RESERVED.contains(&name.as_str()) || name.starts_with("DAVYLAMP_") || !is_label_name(name);
            if ours {
                let message = format!(
                    "{name:?} cannot be passed on: every play gets it from davylamp, or it would undo what davylamp sets"
                );
                self.add(format!("ansible.environment[{index}]"), message);
            }
        }
        let least = [
            ("max_concurrent", u64::from(written.max_concurrent), 1),
            ("queue", written.queue as u64, 1),
            ("keep_runs", written.keep_runs as u64, 10),
            ("output_limit", written.output_limit, 4096),
        ];
        for (name, value, least) in least.into_iter().filter(|(_, value, least)| value < least) {
            self.add(format!("ansible.{name}"), format!("{value} is too small; the least is {least}"));
        }
        for (path, message) in keys::mistakes(written) {
            self.add(format!("ansible.{path}"), message);
        }
        if written.queue_expiry < LEAST_EXPIRY {
            let message = format!(
                "{} is too short: what waits is looked at every few seconds; the least is 10s",
                format_duration(written.queue_expiry)
            );
            self.add("ansible.queue_expiry", message);
        }
        if written.approval_expiry < LEAST_EXPIRY {
            self.add("ansible.approval_expiry", "nobody can approve anything that quickly; the least is 10s");
        }
        let link = |url: &&String| !url.starts_with("https://") && !url.starts_with("http://");
        if let Some(url) = written.approval_url.as_ref().filter(link) {
            self.add("ansible.approval_url", format!("{url:?} is no address: write for example https://lamp.example"));
        }
        if !local {
            return;
        }
        if resolved.runs.as_os_str().len() > MAX_RUNS_PATH {
            let shown = resolved.runs.display();
            let message = format!(
                "{shown} is longer than {MAX_RUNS_PATH} characters, and ssh's control sockets below it would be too long; choose a shorter path"
            );
            self.add("ansible.runs", message);
        }
        if let Some(inventory) = resolved.inventory.as_ref().filter(|path| !path.exists()) {
            let message = format!("there is no inventory at {}; name one, or write {GENERATED:?}", inventory.display());
            self.add("ansible.inventory", message);
        }
        if let Some(config) = resolved.config.as_ref().filter(|path| !path.is_file()) {
            self.add("ansible.config", format!("there is no file {}", config.display()));
        }
    }
}

/// The host of an address to which is spoken in plain HTTP, unless it is this machine.
fn plain_and_far(address: &str) -> Option<String> {
    let url = url::Url::parse(address).ok().filter(|url| url.scheme() == "http")?;
    let near = match url.host()? {
        url::Host::Domain(name) => name == "localhost",
        url::Host::Ipv4(address) => address.is_loopback(),
        url::Host::Ipv6(address) => address.is_loopback(),
    };
    url.host_str().filter(|_| !near).map(String::from)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::act::binding::GuardSet;
    use crate::model::words;

    fn known(misfit: Misfit<'_>) -> Known<'_> {
        let rule = |name: &str, severity: Option<&str>| RuleShape {
            name: name.into(),
            labels: [("severity".to_string(), severity.map(String::from))].into(),
        };
        let host = |name: &str, kind: &str| Host { name: name.into(), group: kind.into(), vars: BTreeMap::new() };
        Known {
            rules: Some(vec![rule("Slow", Some("warning")), rule("Hot", None)]),
            hosts: vec![host("m1", "axeos"), host("nas", "docker")],
            receivers: ["ops".to_string(), "mail".to_string()].into(),
            webhooks: ["ops".to_string()].into(),
            windows: ["sunday".to_string()].into(),
            misfit,
            expression: &|text| {
                if text.contains("bad") { Err("unexpected word (line 1, column 1)".into()) } else { Ok(()) }
            },
        }
    }

    fn checked(remediations: &str, ansible: &str) -> Result<Checked, Vec<String>> {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("playbooks")).unwrap();
        std::fs::write(folder.path().join("playbooks/restart.yml"), "[]").unwrap();
        let remediations: Vec<Remediation> = serde_yaml::from_str(remediations).unwrap();
        let ansible: AnsibleSettings = serde_yaml::from_str(ansible).unwrap();
        let misfit = |kinds: &[&str], command: &str| {
            let known = kinds.contains(&"axeos").then_some("restart");
            let hint = words::hint(command, known);
            (known != Some(command)).then(|| format!("no target that could be meant has a command {command:?}; {hint}"))
        };
        let found = check(&remediations, &ansible, folder.path(), Path::new("/var/lib/davylamp"), &known(&misfit));
        let shown = |problem: Problem| format!("{}: {}", problem.path, problem.message);
        found.map_err(|problems| problems.into_iter().map(shown).collect())
    }

    fn problems(remediations: &str, ansible: &str) -> Vec<String> {
        checked(remediations, ansible).err().unwrap_or_default()
    }

    fn expect(found: Vec<String>, expected: &[&str]) {
        for (found, expected) in found.iter().zip(expected) {
            assert!(found.starts_with(expected), "{found}\n{expected}");
        }
        assert_eq!(found.len(), expected.len(), "{found:#?}");
    }

    /// The default guards, checked.
    pub(in crate::act) fn guards() -> GuardSet {
        checked(GOOD, "{}").unwrap().bindings.remove(0).guards
    }

    const GOOD: &str = "
- name: restart
  match: ['alertname=\"Slow\"']
  target: '{{ $labels.miner }}'
  steps: [{playbook: restart.yml}]
";

    const ALL: &str = "
- name: everything
  match: ['alertname=~\"Slow|Hot\"', 'severity=~\"warning|critical\"']
  sources: [rules, alertmanager, grafana]
  target: '{{ $labels.miner }}'
  mode: auto
  steps:
  - {device: restart, timeout: 1m, verify: {within: 10m, hold: 2m}}
  - {playbook: restart.yml, mode: approve, timeout: 5m, verify: {within: 15m}}
  - {notify: ops}
  - {webhook: ops}
  guards: {cooldown: 30m, max_runs_per_target: 3/24h, max_targets: '10%/1h, min 1', max_concurrent: 2,
           min_healthy: 'good > 0.8', flap: {changes: 4, within: 1h}, breaker: {failures: 3, open_for: 1h},
           brake: {share: 30%, min: 3}}
  windows: [sunday]
  notify: [ops]
- name: containers
  match: ['alertname=\"Hot\"']
  target: '{{ $labels.engine }}/{{ $labels.container }}'
  steps: [{container: restart}]
";

    #[test]
    fn good_is_good_and_begins_in_check_mode() {
        assert_eq!(checked(GOOD, "{}").unwrap().bindings[0].mode, Mode::Check);
        let all = checked(ALL, "{approval_url: 'https://lamp'}").unwrap();
        assert_eq!((all.bindings.len(), all.bindings[0].steps.len()), (2, 4));
        let modes: Vec<Mode> = all.bindings[0].steps.iter().map(|step| all.bindings[0].mode_of(step)).collect();
        assert_eq!(modes, [Mode::Auto, Mode::Approve, Mode::Auto, Mode::Auto]);
        assert!(all.warnings.is_empty());
    }

    #[test]
    fn a_token_in_plain_http_beyond_this_machine_is_warned_of() {
        for (url, warned) in [
            ("http://awx.example", true),
            ("http://192.0.2.1:8052", true),
            ("https://awx.example", false),
            ("http://localhost:8052", false),
            ("http://127.0.0.1", false),
            ("http://[::1]:80/", false),
        ] {
            let ansible = format!("{{awx: {{url: '{url}', token: {{file: t}}, inventory: 1}}}}");
            let warnings = checked(GOOD, &ansible).unwrap().warnings;
            let found = warnings
                .iter()
                .any(|warning| warning.path == "ansible.awx.url" && warning.message.contains("https://"));
            assert_eq!(found, warned, "{url}: {warnings:?}");
        }
    }

    #[test]
    fn every_mistake_is_reported_at_once() {
        let bad = "
- name: 'a b'
  match: ['alertname', 'x=~\"(\"']
  target: '{{ .Labels.miner }}'
  mode: off
  steps: [{playbook: restrat.yml, timeout: 1h}, {playbook: ../x.yml}]
  guards: {max_runs_per_target: often, max_concurrent: 0, cooldown: 10m}
- {name: 'a b', match: ['x=~\".*\"'], target: t, steps: []}
";
        let found = problems(
            bad,
            "{environment: [HOME, SSH_AUTH_SOCK], max_concurrent: 0, queue_expiry: 5s, approval_url: lamp, inventory: hosts}",
        );
        expect(
            found,
            &[
                "ansible.environment[0]: \"HOME\" cannot be passed on",
                "ansible.max_concurrent: 0 is too small",
                "ansible.queue_expiry: 5s is too short",
                "ansible.approval_url: \"lamp\" is no address",
                "ansible.inventory: there is no inventory at",
                "remediations[0].name: \"a b\" is not a name",
                "remediations[0].match[0]: ",
                "remediations[0].match[1]: ",
                "remediations[0].target: \"{{ .Labels.miner }}\" is not a target",
                "remediations[0].guards.max_runs_per_target: \"often\"",
                "remediations[0].guards.max_concurrent: 0",
                "remediations[0].steps[0].playbook: there is no playbook \"restrat.yml\"",
                "remediations[0].guards.cooldown: a cooldown of 10m is shorter",
                "remediations[0].steps[0]: a step follows",
                "remediations[0].steps[1].playbook: the playbook \"../x.yml\" lies outside",
                "remediations[1].name: \"a b\" is used twice",
                "remediations[1].name: \"a b\" is not a name",
                "remediations[1].match: these matchers hold for an alert without any label",
                "remediations[1].steps: there is nothing to run",
            ],
        );
    }

    #[test]
    fn names_must_mean_something() {
        let bad = "
- name: a
  match: ['alertname=\"Slwo\"']
  target: m1
  steps: [{playbook: restart.yml}]
- name: b
  match: ['alertname=\"Slow\"', 'severity=\"critical\"']
  target: m1
  steps: [{device: reboot}, {notify: opps}, {webhook: mail}, {}, {notify: ops, webhook: ops}]
  windows: [sundy]
  notify: [nobody]
  guards: {max_targets: 'all', min_healthy: 'bad', flap: {changes: 1, within: 1h}, breaker: {failures: 0, open_for: 1h},
           brake: {share: '0%', min: 0}}
- {name: c, match: ['alertname=\"Hot\"'], target: m9, steps: [{container: kill}]}
- {name: d, match: ['alertname=\"Hot\"', 'miner=\"m7\"'], target: '{{ $labels.miner }}', sources: [], steps: [{device: restart}]}
- name: e
  match: ['alertname=\"Hot\"']
  target: m1
  steps: [{notify: ops, verify: {within: 0s}}, {playbook: restart.yml, timeout: 0s}]
";
        expect(
            problems(bad, "{}"),
            &[
                "remediations[0].match[0]: no rule can produce an alert with alertname=\"Slwo\"; did you mean \"Slow\"?",
                "remediations[1].guards.max_targets: \"all\"",
                "remediations[1].guards.brake.share: \"0%\"",
                "remediations[1].guards.flap.changes",
                "remediations[1].guards.breaker.failures",
                "remediations[1].guards.brake.min",
                "remediations[1].guards.min_healthy: unexpected word (line 1, column 1)",
                "remediations[1].windows[0]: there is no window \"sundy\"; did you mean \"sunday\"?",
                "remediations[1].notify[0]: there is no receiver named \"nobody\"",
                "remediations[1].steps[0].device: no target that could be meant has a command \"reboot\"",
                "remediations[1].steps[0]: a step follows",
                "remediations[1].steps[1].notify: there is no receiver named \"opps\"; did you mean \"ops\"?",
                "remediations[1].steps[2].webhook: the receiver \"mail\" has no webhook",
                "remediations[1].steps[3]: a step does exactly one thing",
                "remediations[1].steps[4]: a step does exactly one thing",
                "remediations[2].target: \"m9\" is no host of the inventory",
                "remediations[2].steps[0].container: a container has no command \"kill\"",
                "remediations[2].target: a container step needs an engine and a container",
                "remediations[3].sources: no source",
                "remediations[3].steps[0].device: no target that could be meant",
                "remediations[4].steps[0].verify.within: 0s leaves no time",
                "remediations[4].steps[0].verify: a message heals nothing",
                "remediations[4].steps[1].timeout: 0s would end",
            ],
        );
        let other = GOOD.replace("Slow", "Slwo").replace("target:", "sources: [rules, grafana]\n  target:");
        let warnings = checked(&other, "{}").unwrap().warnings;
        assert!(warnings[0].message.ends_with("(a webhook may)"), "{warnings:?}");
    }
}
