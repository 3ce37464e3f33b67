//! What the tests with a real `ansible-playbook` share: where it is, a folder with playbooks and an inventory, and an
//! executor that uses the binary under test as its supervisor.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use davylamp::act::check::{Ansible, check};
use davylamp::act::executor::local::Local;
use davylamp::act::executor::{Executor, Report, RunRequest, RunStatus};
use davylamp::act::facts::Host;
use davylamp::act::run::RunId;
use davylamp::act::settings::AnsibleSettings;
use davylamp::act::vars::Value;

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

/// A place to work in: `playbooks/`, `inventory`, `runs/`, and `trace`, to which playbooks append a line.
pub struct Bench {
    pub folder: tempfile::TempDir,
    pub settings: AnsibleSettings,
}

impl Bench {
    pub fn new(command: &Path) -> Bench {
        let folder = tempfile::Builder::new().prefix("act").tempdir_in("/tmp").unwrap();
        let bench = Bench {
            settings: AnsibleSettings {
                command: command.to_path_buf(),
                inventory: "inventory".into(),
                kill_grace: Duration::from_secs(1),
                ..AnsibleSettings::default()
            },
            folder,
        };
        std::fs::create_dir(bench.path("playbooks")).unwrap();
        std::fs::set_permissions(bench.path("playbooks"), PermissionsExt::from_mode(0o755)).unwrap();
        bench.write("inventory", "[miners]\nm1\nm2\n[miners:vars]\nansible_connection=local\nansible_python_interpreter=\"{{ ansible_playbook_python }}\"\n");
        bench
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).unwrap();
        std::fs::set_permissions(self.path(name), PermissionsExt::from_mode(0o644)).unwrap();
    }

    /// Writes a playbook of these tasks for all hosts.
    pub fn playbook(&self, name: &str, tasks: &str) {
        let tasks: String = tasks.lines().map(|line| format!("  {line}\n")).collect();
        self.write(&format!("playbooks/{name}"), &format!("- hosts: all\n  gather_facts: false\n  tasks:\n{tasks}"));
    }

    /// Writes a playbook that appends one line to `trace`, after these tasks.
    pub fn tracing_playbook(&self, name: &str, before: &str) {
        let trace = self.path("trace");
        self.playbook(name, &format!("{before}- shell: echo ran >> {}\n", trace.display()));
    }

    /// How many lines playbooks have appended to `trace`.
    pub fn traces(&self) -> usize {
        std::fs::read_to_string(self.path("trace")).unwrap_or_default().lines().count()
    }

    pub fn ansible(&self) -> Ansible {
        check(&[], &self.settings, self.folder.path(), self.folder.path()).unwrap().ansible
    }

    pub fn executor(&self) -> Local {
        Local::new(self.ansible(), env!("CARGO_BIN_EXE_davylamp").into())
    }

    pub fn run_folder(&self, run: &RunId) -> PathBuf {
        self.path("runs").join(run.as_str())
    }
}

pub fn request(playbook: &str, vars: Value) -> RunRequest {
    RunRequest {
        run: RunId::new("test", "m1", 1, 0),
        playbook: playbook.into(),
        target: "m1".into(),
        check: false,
        vars,
        timeout_ms: 60_000,
        host: None,
    }
}

pub fn host(name: &str, vars: &[(&str, &str)]) -> Host {
    let vars = vars.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
    Host { name: name.into(), group: "axeos".into(), vars }
}

/// Starts a run and waits for its end.
pub async fn run(executor: &dyn Executor, request: RunRequest) -> Report {
    let run = request.run.clone();
    executor.start(request).await.unwrap();
    ended(executor, &run).await
}

/// Waits for the end of a run that was started.
pub async fn ended(executor: &dyn Executor, run: &RunId) -> Report {
    for _ in 0..1200 {
        match executor.status(run.clone()).await.unwrap() {
            RunStatus::Ended(report) => return *report,
            RunStatus::Running => tokio::time::sleep(Duration::from_millis(50)).await,
            other => panic!("{other:?}"),
        }
    }
    panic!("the run does not end");
}
