//! The folder of a run: everything a supervisor and `ansible-playbook` need, private to the user, written before
//! anything is started.

use std::collections::BTreeMap;
use std::path::Path;

use crate::act::check::Ansible;
use crate::act::executor::{ExecutorError, RunRequest, folders};
use crate::act::facts::Host;
use crate::act::files::{FileError, create_json, create_private};
use crate::act::inventory::{generate, is_plain};
use crate::act::job::{Job, MARKER, names};
use crate::act::playbook::{self, sha256};
use crate::act::vars::{Value, document};

/// The callback plugin that reports what a play does.
const PLUGIN: &str = include_str!("../callback/davylamp_events.py");
/// Its name in Ansible, and of its file.
const PLUGIN_NAME: &str = "davylamp_events";
/// Where programs are looked for when our own environment does not say.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Digests of what a run was given.
#[derive(Debug)]
pub(super) struct Digests {
    pub(super) playbook: String,
    pub(super) vars: String,
}

/// Writes the folder of a run, which must exist and be empty.
pub(super) fn run(ansible: &Ansible, request: &RunRequest, folder: &Path) -> Result<Digests, ExecutorError> {
    if !is_plain(&request.target) {
        return Err(ExecutorError::Refused(format!("{:?} is not the plain name of one host", request.target)));
    }
    let found = playbook::find(&ansible.playbooks, &request.playbook).map_err(|error| refused(&error))?;
    let vars = document("davylamp", &with_artifacts(&request.vars, folder));
    let inventory = match (&ansible.inventory, &request.host) {
        (Some(path), _) => path.clone(),
        (None, Some(host)) if host.name == request.target && is_plain(&host.group) => {
            let path = folder.join("inventory.yml");
            create_private(&path, generate(host).as_bytes()).map_err(|error| refused(&error))?;
            path
        }
        (None, _) => return Err(ExecutorError::Refused("a generated inventory needs the target as a host".into())),
    };
    if let Some(path) = ansible.inventory.as_ref().filter(|path| everybody_may_write(path)) {
        // A script or plugin is run, and a variable there may be a template.
        let text = format!("{} can be written by everybody: chmod o-w it", path.display());
        return Err(ExecutorError::Refused(text));
    }
    let vars_path = folder.join("vars.yml");
    let mut args = vec!["-i".into(), text(&inventory), "--limit".into(), request.target.clone()];
    args.extend(["--extra-vars".to_string(), format!("@{}", text(&vars_path))]);
    if ansible.inventory.is_none() && request.host.as_ref().is_some_and(is_local) {
        // Nobody logs in: modules run here, with the interpreter that runs Ansible. What discovery finds first in PATH
        // may be a stub that runs nothing. A constant of ours, so it may be a template and on the command line.
        args.extend(["--extra-vars".to_string(), "ansible_python_interpreter={{ ansible_playbook_python }}".into()]);
    }
    for name in [names::SECRETS, names::ARTIFACTS] {
        folders::create(&folder.join(name)).map_err(|error| refused(&error))?;
    }
    let written = ansible.keys.write(folder).map_err(|error| refused(&error))?;
    if let Some(path) = &written.vars {
        args.extend(["--extra-vars".to_string(), format!("@{}", text(path))]);
    }
    if request.check {
        args.extend(["--check".to_string(), "--diff".to_string()]);
    }
    args.push(text(&found.path));
    let write = || -> Result<(), FileError> {
        create_private(&vars_path, vars.as_bytes())?;
        create_json(&folder.join("request.json"), request)?;
        let mut job = job(ansible, "ansible-playbook", args, request.timeout_ms, folder)?;
        job.env.extend(written.env.into_iter().map(|(name, value)| (name.to_string(), value)));
        create_json(&folder.join(names::JOB), &job)
    };
    write().map_err(|error| refused(&error))?;
    Ok(Digests { playbook: found.sha256, vars: sha256(vars.as_bytes()) })
}

/// A job for one of Ansible's programs, with its environment; creates the folders that the environment names.
pub(super) fn job(
    ansible: &Ansible,
    program: &str,
    args: Vec<String>,
    timeout_ms: u64,
    folder: &Path,
) -> Result<Job, FileError> {
    let marker = marker(folder);
    let callback = folder.join("callback");
    for name in ["home", "ansible", "tmp", "callback"] {
        let path = folder.join(name);
        folders::create(&path).map_err(FileError::on("create", &path))?;
    }
    create_private(&callback.join(format!("{PLUGIN_NAME}.py")), PLUGIN.as_bytes())?;
    let mut env: BTreeMap<String, String> = ansible
        .environment
        .iter()
        .filter_map(|name| std::env::var(name).ok().map(|value| (name.clone(), value)))
        .collect();
    if let Some(config) = &ansible.config {
        env.insert("ANSIBLE_CONFIG".into(), text(config));
    }
    let fixed = [
        ("PATH", std::env::var("PATH").unwrap_or_else(|_| DEFAULT_PATH.into())),
        // Ansible refuses to start in the plain C locale.
        ("LC_ALL", "C.UTF-8".into()),
        ("HOME", text(&folder.join("home"))),
        ("ANSIBLE_HOME", text(&folder.join("ansible"))),
        ("TMPDIR", text(&folder.join("tmp"))),
        ("ANSIBLE_NOCOLOR", "true".into()),
        ("ANSIBLE_FORCE_COLOR", "false".into()),
        ("ANSIBLE_RETRY_FILES_ENABLED", "false".into()),
        // Without these a missing or broken inventory is a warning, and the play ends well having done nothing.
        ("ANSIBLE_INVENTORY_ANY_UNPARSED_IS_FAILED", "true".into()),
        ("ANSIBLE_INVENTORY_UNPARSED_FAILED", "true".into()),
        ("ANSIBLE_CALLBACK_PLUGINS", text(&callback)),
        ("ANSIBLE_CALLBACKS_ENABLED", PLUGIN_NAME.into()),
        ("DAVYLAMP_EVENTS", text(&folder.join(names::EVENTS))),
        (MARKER, marker.clone()),
    ];
    env.extend(fixed.map(|(name, value)| (name.to_string(), value)));
    let (grace_ms, output_limit) = (millis(ansible.kill_grace), ansible.output_limit);
    let program = ansible.program(program).unwrap_or_else(|| program.into());
    Ok(Job { marker, program, args, env, timeout_ms, grace_ms, output_limit, artifacts: ansible.artifacts })
}

/// The variables, with the folder in which the playbook may leave files.
fn with_artifacts(vars: &Value, folder: &Path) -> Value {
    match vars {
        Value::Map(map) => {
            let mut map = map.clone();
            map.insert(names::ARTIFACTS.to_string(), Value::text(text(&folder.join(names::ARTIFACTS))));
            Value::Map(map)
        }
        other => other.clone(),
    }
}

fn everybody_may_write(path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    path.metadata().is_ok_and(|data| data.mode() & 0o002 != 0)
}

/// Whether a generated host is this machine.
fn is_local(host: &Host) -> bool {
    host.vars.get("ansible_connection").is_some_and(|connection| connection == "local")
}

/// What marks the processes of a run: its folder, because two daemons on one machine may both know a run of one id.
pub(super) fn marker(folder: &Path) -> String {
    text(folder)
}

fn refused(error: &dyn std::error::Error) -> ExecutorError {
    ExecutorError::Refused(error.to_string())
}

/// Paths come from the configuration, which is UTF-8 text; anything else fails loudly as a path that does not exist.
fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

fn millis(time: std::time::Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
