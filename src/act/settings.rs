//! What stands in the configuration under `remediations:` and `ansible:`, as it is written.
//!
//! [`crate::act::check`] turns it into values that can be acted on, and reports every mistake at once.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use crate::act::artifacts::Quota;
use crate::secret::SecretRef;

/// One binding: which alerts, which target, which steps, under which guards.
#[derive(Clone, Debug, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Remediation {
    /// Unique name, `[a-z0-9-]`. It is part of a run's identity: renaming a binding forgets its history.
    pub name: String,
    /// Alertmanager matchers (`alertname="MinerHashrateLow"`); all of them must hold.
    #[serde(rename = "match")]
    pub matchers: Vec<String>,
    /// Whose alerts are listened to.
    #[serde(default = "default_sources")]
    pub sources: Vec<AlertSource>,
    /// What to act on, from the alert's labels: an inventory host (`{{ $labels.miner }}`), or for container steps an
    /// engine and a container (`{{ $labels.engine }}/{{ $labels.container }}`).
    pub target: String,
    /// What the binding may do. A new binding starts at `check`. A step may be stricter, never laxer.
    #[serde(default)]
    pub mode: Mode,
    /// What to do, one after the other: a step is taken when the one before is proven not to have helped.
    pub steps: Vec<Step>,
    /// Limits on how often and how much.
    #[serde(default)]
    pub guards: Guards,
    /// Names of windows: acts only while one of them is open. None: always.
    #[serde(default)]
    pub windows: Vec<String>,
    /// Receivers that are told what a person must know: an approval is asked for, a run was interrupted, no step is
    /// left, a large part of the fleet fails at once.
    #[serde(default)]
    pub notify: Vec<String>,
}

/// Where alerts come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize, serde::Serialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum AlertSource {
    /// Our own rules.
    Rules,
    /// Alertmanager's webhook.
    Alertmanager,
    /// Grafana's webhook.
    Grafana,
}

/// What a binding or a step may do, from the strictest to the laxest.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    serde::Deserialize,
    serde::Serialize,
    schemars::JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Nothing.
    Off,
    /// `ansible-playbook --check --diff`: says what it would change, changes nothing.
    #[default]
    Check,
    /// As `check`, and then for real once somebody has approved it.
    Approve,
    /// For real.
    Auto,
}

impl Mode {
    /// The word in the configuration.
    pub const fn as_str(self) -> &'static str {
        match self {
            Mode::Off => "off",
            Mode::Check => "check",
            Mode::Approve => "approve",
            Mode::Auto => "auto",
        }
    }
}

/// One step of a binding: exactly one of `playbook`, `device`, `container`, `webhook` and `notify`.
#[derive(Clone, Debug, Default, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// Playbook, relative to `ansible.playbooks`.
    #[serde(default)]
    pub playbook: Option<String>,
    /// A command of the target's own API: `restart`. `davylamp kinds NAME` lists them.
    #[serde(default)]
    pub device: Option<String>,
    /// `restart`, `start` or `stop` of a container; the binding's target is then ENGINE/CONTAINER.
    #[serde(default)]
    pub container: Option<String>,
    /// Receiver that is called as a webhook.
    #[serde(default)]
    pub webhook: Option<String>,
    /// Receiver that is notified.
    #[serde(default)]
    pub notify: Option<String>,
    /// Stricter than the binding's mode.
    #[serde(default)]
    pub mode: Option<Mode>,
    /// After this time the step is ended, with all its processes.
    #[serde(default = "default_timeout", with = "crate::model::duration::serde_text")]
    #[schemars(schema_with = "crate::model::duration::schema")]
    pub timeout: Duration,
    /// How to find out whether it helped.
    #[serde(default)]
    pub verify: Option<Verify>,
}

/// How to find out whether a step helped: the alert's expression must be false, with data, on samples that are newer
/// than the end of the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize, serde::Serialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Verify {
    /// So soon after the end of the run it must begin to be false.
    #[serde(with = "crate::model::duration::serde_text")]
    #[schemars(schema_with = "crate::model::duration::schema")]
    pub within: Duration,
    /// And stay so for this long.
    #[serde(default, with = "crate::model::duration::serde_text")]
    #[schemars(schema_with = "crate::model::duration::schema")]
    pub hold: Duration,
}

/// Limits of one binding.
#[derive(Clone, Debug, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Guards {
    /// Time after the end of a run in which the same binding begins nothing anew on the same target. An alert that
    /// comes back within it is the same trouble, and goes on with the next step.
    #[serde(with = "crate::model::duration::serde_text")]
    #[schemars(schema_with = "crate::model::duration::schema")]
    pub cooldown: Duration,
    /// Most runs on one target within a time: `3/24h`.
    pub max_runs_per_target: String,
    /// Most targets within a time, as a number or as a share of the fleet: `5/1h`, `10%/1h, min 1`.
    pub max_targets: String,
    /// Most runs of this binding at one time.
    pub max_concurrent: u32,
    /// PromQL that must hold for a run to start. Without data it does not hold.
    pub min_healthy: Option<String>,
    /// An alert that opens and closes so often is left alone.
    pub flap: Flap,
    /// A step that fails so often in a row, on whatever target, rests.
    pub breaker: Breaker,
    /// When so large a part of the fleet fires at once it is the network, or ourselves: everything is held.
    pub brake: Brake,
}

impl Default for Guards {
    fn default() -> Self {
        Guards {
            cooldown: Duration::from_secs(1800),
            max_runs_per_target: "3/24h".into(),
            max_targets: "10%/1h, min 3".into(),
            max_concurrent: 2,
            min_healthy: None,
            flap: Flap::default(),
            breaker: Breaker::default(),
            brake: Brake::default(),
        }
    }
}

/// Changes of state within a time that are too many.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Flap {
    /// Openings and closings of the target's trouble, together.
    pub changes: u32,
    /// Within this time.
    #[serde(with = "crate::model::duration::serde_text")]
    #[schemars(schema_with = "crate::model::duration::schema")]
    pub within: Duration,
}

impl Default for Flap {
    fn default() -> Self {
        Flap { changes: 6, within: Duration::from_secs(3600) }
    }
}

/// Failures in a row after which a step rests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Breaker {
    /// So many failures in a row, over all targets.
    pub failures: u32,
    /// Rest; after it one run is let through.
    #[serde(with = "crate::model::duration::serde_text")]
    #[schemars(schema_with = "crate::model::duration::schema")]
    pub open_for: Duration,
}

impl Default for Breaker {
    fn default() -> Self {
        Breaker { failures: 3, open_for: Duration::from_secs(3600) }
    }
}

/// A part of the fleet that may not fire at once.
#[derive(Clone, Debug, PartialEq, Eq, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Brake {
    /// Share of the fleet: `30%`.
    pub share: String,
    /// And at least so many targets.
    pub min: u32,
}

impl Default for Brake {
    fn default() -> Self {
        Brake { share: "30%".into(), min: 3 }
    }
}

/// How playbooks are run.
#[derive(Clone, Debug, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AnsibleSettings {
    /// `ansible-playbook`, by name or by path; `ansible-inventory` is taken from beside it.
    pub command: PathBuf,
    /// Folder below which every playbook must lie. Relative paths start at the configuration file's folder.
    pub playbooks: PathBuf,
    /// Path of an inventory (file, folder or plugin configuration), or `generated`: written per run from the targets.
    pub inventory: String,
    /// An `ansible.cfg` to use instead of `/etc/ansible/ansible.cfg`.
    pub config: Option<PathBuf>,
    /// Names of environment variables that a play may see besides the few that every play gets. `HOME` is a folder of
    /// the run, so collections in a home folder need `ANSIBLE_COLLECTIONS_PATH` here, an agent `SSH_AUTH_SOCK`.
    pub environment: Vec<String>,
    /// Password of Ansible Vault, for what carries no vault id. A reference, like all secrets here.
    pub vault_password_file: Option<SecretRef>,
    /// Passwords of Ansible Vault by vault id: `{prod: {file: /etc/davylamp/vault-prod}}`.
    pub vault_ids: BTreeMap<String, SecretRef>,
    /// Password for `become`.
    pub become_password_file: Option<SecretRef>,
    /// Password of the connection.
    pub connection_password_file: Option<SecretRef>,
    /// Private key of the connection.
    pub private_key_file: Option<SecretRef>,
    /// Secrets that playbooks see as `davylamp_secrets.NAME`.
    pub secrets: BTreeMap<String, SecretRef>,
    /// How much a run may leave in `{{ davylamp.artifacts }}`.
    pub artifacts: Quota,
    /// Folder of the run folders, one per run, private to the user. Relative paths start at the state folder.
    pub runs: PathBuf,
    /// How many folders of ended runs are kept.
    pub keep_runs: usize,
    /// Most bytes of standard output, and as many of standard error, that are kept of a run.
    pub output_limit: u64,
    /// Most runs at one time, over all bindings. A run costs about one core-second and 60 to 150 MiB.
    pub max_concurrent: u32,
    /// Most runs that may wait.
    pub queue: usize,
    /// A run that waited longer than this is `expired` and not started any more.
    #[serde(with = "crate::model::duration::serde_text")]
    #[schemars(schema_with = "crate::model::duration::schema")]
    pub queue_expiry: Duration,
    /// A run that nobody approved for so long is `expired`.
    #[serde(with = "crate::model::duration::serde_text")]
    #[schemars(schema_with = "crate::model::duration::schema")]
    pub approval_expiry: Duration,
    /// Where this daemon is reached by whoever approves: one-time links begin with it. None: no links are sent.
    pub approval_url: Option<String>,
    /// Time between SIGTERM and SIGKILL when a play is ended.
    #[serde(with = "crate::model::duration::serde_text")]
    #[schemars(schema_with = "crate::model::duration::schema")]
    pub kill_grace: Duration,
    /// How long a stopping daemon waits for running plays before it ends them.
    #[serde(with = "crate::model::duration::serde_text")]
    #[schemars(schema_with = "crate::model::duration::schema")]
    pub stop_grace: Duration,
    /// No run in the first moments of the daemon's life: its view of the world is not complete yet.
    #[serde(with = "crate::model::duration::serde_text")]
    #[schemars(schema_with = "crate::model::duration::schema")]
    pub startup_grace: Duration,
    /// Socket of `davylamp runner`. Without it the daemon executes by itself.
    pub runner: Option<PathBuf>,
    /// Who may be on the other end of that socket.
    pub runner_access: Access,
}

impl Default for AnsibleSettings {
    fn default() -> Self {
        AnsibleSettings {
            command: "ansible-playbook".into(),
            playbooks: "playbooks".into(),
            inventory: GENERATED.into(),
            config: None,
            environment: Vec::new(),
            vault_password_file: None,
            vault_ids: BTreeMap::new(),
            become_password_file: None,
            connection_password_file: None,
            private_key_file: None,
            secrets: BTreeMap::new(),
            artifacts: Quota::default(),
            runs: "runs".into(),
            keep_runs: 100,
            output_limit: 1 << 20,
            max_concurrent: 2,
            queue: 100,
            queue_expiry: Duration::from_secs(900),
            approval_expiry: Duration::from_secs(3600),
            approval_url: None,
            kill_grace: Duration::from_secs(10),
            stop_grace: Duration::from_secs(30),
            startup_grace: Duration::from_secs(30),
            runner: None,
            runner_access: Access::User,
        }
    }
}

/// Who may be on the other end of the runner's socket, besides root.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Access {
    /// The same user.
    #[default]
    User,
    /// Whoever has the same primary group: for a collector and a runner that are two users of one group of their own.
    Group,
}

/// The word for an inventory that is written per run.
pub const GENERATED: &str = "generated";

fn default_sources() -> Vec<AlertSource> {
    vec![AlertSource::Rules]
}

fn default_timeout() -> Duration {
    Duration::from_secs(300)
}
