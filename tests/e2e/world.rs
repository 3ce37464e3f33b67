//! What stands around the daemon: simulated miners, `ansible-playbook`, a small disk.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use davylamp::demo::{DeviceHandle, DeviceSpec, Fleet, Model};
use tokio::runtime::Runtime;

/// Simulated miners in this process: they outlive every daemon that polls them.
pub struct Farm {
    // Before the runtime that it lives on.
    fleet: Fleet,
    _runtime: Runtime,
}

impl Farm {
    pub fn start(devices: &[(&str, Model)]) -> Farm {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let specs = devices.iter().map(|(id, model)| DeviceSpec::new(*id, *model)).collect();
        let fleet = runtime.block_on(Fleet::start(specs, 1815)).unwrap();
        Farm { fleet, _runtime: runtime }
    }

    pub fn device(&self, id: &str) -> &DeviceHandle {
        self.fleet.device(id).unwrap()
    }

    /// The entries of the configuration's section `targets`.
    pub fn targets(&self) -> String {
        let entry = |device: &DeviceHandle| {
            format!("- {{id: {}, kind: {}, address: \"{}\"}}\n", device.id(), device.kind(), device.address())
        };
        self.fleet.devices().iter().map(entry).collect()
    }
}

/// `ansible-playbook` from DAVYLAMP_ANSIBLE or PATH; without one the test says that it is skipped.
pub fn ansible() -> Option<PathBuf> {
    let named = std::env::var_os("DAVYLAMP_ANSIBLE").map(PathBuf::from);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = named.or_else(|| {
        std::env::split_paths(&path).map(|folder| folder.join("ansible-playbook")).find(|path| path.is_file())
    });
    if found.is_none() {
        eprintln!("SKIPPED: no ansible-playbook in PATH, and DAVYLAMP_ANSIBLE is not set");
    }
    found
}

/// What stands for `ansible-playbook` where it is to be counted what ran: each start is a line `HOST PLAYBOOK real|check`
/// in the file `trace` beside it.
pub const PLAYED: &str = include_str!("played.sh");

/// An alert as Alertmanager sends it.
pub fn posted(status: &str, name: &str, miner: &str) -> String {
    let ends = if status == "firing" { "0001-01-01T00:00:00Z" } else { "2026-01-02T04:00:00Z" };
    format!(
        r#"{{"version":"4","status":"{status}","alerts":[{{"status":"{status}","labels":{{"alertname":"{name}","miner":"{miner}"}},
        "annotations":{{}},"startsAt":"2026-01-02T03:04:05Z","endsAt":"{ends}"}}]}}"#
    )
}

/// Whether a program is installed; says loudly what is skipped without it.
pub fn installed(program: &str) -> bool {
    let found = Command::new(program).arg("--version").output().is_ok();
    if !found {
        eprintln!("SKIPPED: {program} is not installed");
    }
    found
}

/// The rule that every test here repairs, short enough to watch, and one that nobody repairs.
pub const RULES: &str = r#"groups:
- name: miners
  interval: 1s
  rules:
  - alert: MinerHashrateLow
    expr: miner_hashrate_hashes_per_second / (miner_hashrate_expected_hashes_per_second > 0) < 0.75
    for: 5s
    labels: {severity: warning}
    annotations: {summary: "{{ $labels.miner }} hashes at {{ $value | humanizePercentage }}"}
  - alert: TargetDown
    expr: davylamp_target_up == 0
"#;

/// The name of the rule that is repaired.
pub const LOW: &str = "MinerHashrateLow";

/// A configuration without its targets, which end it. Miners are polled as often as their kinds allow.
pub fn config(ansible: Option<&std::path::Path>, more: &str) -> String {
    let command = ansible.map(|path| format!("command: {}, ", path.display())).unwrap_or_default();
    format!(
        "server: {{listen: \"127.0.0.1:0\"}}\nstorage: {{path: state, ballast_bytes: 0}}\n\
         defaults: {{interval: 5s, timeout: 3s}}\nrules: {{files: [rules.yml], evaluation_interval: 1s}}\n\
         ansible: {{{command}playbooks: playbooks, startup_grace: 1s, kill_grace: 1s}}\n{more}\ntargets:\n"
    )
}

/// A binding of the rule above to a playbook, with the shortest cooldown that is allowed for its timeout.
pub fn binding(playbook: &str) -> String {
    format!(
        "remediations:\n- name: repair\n  match: ['alertname=\"{LOW}\"']\n  target: '{{{{ $labels.miner }}}}'\n  mode: auto\n\
         \x20 steps: [{{playbook: {playbook}, timeout: 1m}}]\n  guards: {{cooldown: 1m, max_runs_per_target: 10/1h}}\n"
    )
}

/// A small file system, unmounted at the end.
pub struct Disk(PathBuf);

impl Disk {
    /// Mounts it on a folder; `None`, said loudly, where that is not permitted.
    pub fn mount(on: PathBuf, mebibytes: u64) -> Option<Disk> {
        std::fs::create_dir(&on).unwrap();
        let size = format!("size={mebibytes}m");
        let done = Command::new("mount").args(["-t", "tmpfs", "-o", &size, "davylamp-test"]).arg(&on).output();
        if done.as_ref().is_ok_and(|output| output.status.success()) {
            return Some(Disk(on));
        }
        eprintln!("SKIPPED: a tmpfs cannot be mounted here (root is needed): {done:?}");
        None
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let done = Command::new("umount").arg("--lazy").arg(&self.0).status();
        assert!(std::thread::panicking() || done.unwrap().success());
    }
}

/// Seconds, for short lines.
pub const fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}
