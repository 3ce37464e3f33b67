//! What stands in the configuration under `remediations:` and `ansible:`, as it is written.
//!
//! [`crate::act::check`] turns it into values that can be acted on, and reports every mistake at once.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use crate::act::artifacts::Quota;
use crate::secret::SecretRef;

/// One binding: which alerts, which target, which playbook, under which guards.
#[derive(Clone, Debug, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Remediation {
    /// Unique name, `[a-z0-9-]`. It is part of a run's identity: renaming a binding forgets its history.
    pub name: String,
    /// Alertmanager matchers (`alertname="MinerHashrateLow"`); all of them must hold.
    #[serde(rename = "match")]
    pub matchers: Vec<String>,
    /// Which inventory host to act on, from the alert's labels: `{{ $labels.miner }}`.
    pub target: String,
    /// What the binding may do. A new binding starts at `check`.
    #[serde(default)]
    pub mode: Mode,
    /// What to run. Exactly one step for the time being: a second step needs the verification of the first.
    pub steps: Vec<Step>,
    /// Limits on how often and how much.
    #[serde(default)]
    pub guards: Guards,
}

/// What a binding may do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize, serde::Serialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Nothing.
    Off,
    /// `ansible-playbook --check --diff`: says what it would change, changes nothing.
    #[default]
    Check,
    /// Runs the playbook.
    Auto,
}

impl Mode {
    /// The word in the configuration.
    pub const fn as_str(self) -> &'static str {
        match self {
            Mode::Off => "off",
            Mode::Check => "check",
            Mode::Auto => "auto",
        }
    }
}

/// One step of a binding.
#[derive(Clone, Debug, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// Playbook, relative to `ansible.playbooks`.
    pub playbook: String,
    /// After this time the play is ended and all its processes are killed.
    #[serde(default = "default_timeout", with = "crate::model::duration::serde_text")]
    #[schemars(schema_with = "crate::model::duration::schema")]
    pub timeout: Duration,
}

/// Limits of one binding.
#[derive(Clone, Debug, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Guards {
    /// Time after the end of a run in which the same binding does not run on the same target again.
    #[serde(with = "crate::model::duration::serde_text")]
    #[schemars(schema_with = "crate::model::duration::schema")]
    pub cooldown: Duration,
    /// Most runs on one target within a time: `3/24h`.
    pub max_runs_per_target: String,
    /// Most runs of this binding at one time.
    pub max_concurrent: u32,
}

impl Default for Guards {
    fn default() -> Self {
        Guards { cooldown: Duration::from_secs(1800), max_runs_per_target: "3/24h".into(), max_concurrent: 2 }
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

fn default_timeout() -> Duration {
    Duration::from_secs(300)
}
