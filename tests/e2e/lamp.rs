//! The daemon as a child process, in a folder of its own.

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

use davylamp::act::process::{kill_all, marked};
use rustix::process::{Pid, Signal, kill_process};

use crate::http::{Answer, Page, ask};

/// The binary under test.
pub const BINARY: &str = env!("CARGO_BIN_EXE_davylamp");

/// How long a start may take, with every core busy.
const START: Duration = Duration::from_secs(60);

/// A folder with a configuration, and the daemon that runs on it.
pub struct Lamp {
    folder: tempfile::TempDir,
    environment: Vec<(String, String)>,
    child: Option<Child>,
    address: Option<SocketAddr>,
    starts: u32,
}

impl Lamp {
    /// A folder with this configuration; nothing runs yet. Short: run folders must have short paths.
    pub fn new(config: &str) -> Lamp {
        let folder = tempfile::Builder::new().prefix("e2e").tempdir_in("/tmp").unwrap();
        let lamp = Lamp { folder, environment: Vec::new(), child: None, address: None, starts: 0 };
        lamp.write("davylamp.yml", config);
        lamp
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    /// Writes a program.
    pub fn program(&self, name: &str, text: &str) {
        self.write(name, text);
        std::fs::set_permissions(self.path(name), PermissionsExt::from_mode(0o755)).unwrap();
    }

    /// Sets a variable of the daemon's environment.
    pub fn env(&mut self, name: &str, value: &str) {
        self.environment.push((name.to_string(), value.to_string()));
    }

    /// A command of the binary under test on this configuration.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(BINARY);
        command.args(args).stdin(Stdio::null()).current_dir(self.folder.path());
        for name in ["RUST_LOG", "NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "STATE_DIRECTORY"] {
            command.env_remove(name);
        }
        command.env("DAVYLAMP_CONFIG", self.path("davylamp.yml"));
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
    }

    /// Starts the daemon and waits until it listens.
    pub fn start(&mut self) {
        assert!(self.child.is_none(), "it runs already");
        self.starts += 1;
        let path = self.log_path();
        let log = std::fs::File::create(&path).unwrap();
        self.child = Some(self.command(&["run"]).stdout(Stdio::null()).stderr(log).spawn().unwrap());
        let begun = Instant::now();
        self.address = loop {
            let text = std::fs::read_to_string(&path).unwrap();
            let said = text.lines().find_map(|line| line.split_once("listening address=")?.1.split_whitespace().next());
            if let Some(address) = said.and_then(|address| address.parse().ok()) {
                break Some(address);
            }
            let ended = self.child.as_mut().unwrap().try_wait().unwrap();
            assert!(ended.is_none() && begun.elapsed() < START, "it does not start ({ended:?}):\n{text}");
            std::thread::sleep(Duration::from_millis(5));
        };
    }

    /// Starts `davylamp runner` beside the daemon.
    pub fn runner(&self) -> Aside {
        let log = std::fs::File::options().create(true).append(true).open(self.path("log.runner")).unwrap();
        Aside(self.command(&["runner"]).stdout(Stdio::null()).stderr(log).spawn().unwrap())
    }

    /// Runs a command of the binary to its end.
    pub fn output(&self, args: &[&str]) -> Output {
        output(&mut self.command(args))
    }

    fn log_path(&self) -> PathBuf {
        self.path(&format!("log.{}", self.starts))
    }

    /// What the daemon that was started last has logged.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.log_path()).unwrap()
    }

    /// What all of them have logged.
    pub fn logs(&self) -> String {
        (1..=self.starts).map(|n| std::fs::read_to_string(self.path(&format!("log.{n}"))).unwrap()).collect()
    }

    pub fn address(&self) -> SocketAddr {
        self.address.unwrap()
    }

    pub fn pid(&self) -> Pid {
        Pid::from_child(self.child.as_ref().unwrap())
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).unwrap();
    }

    /// `kill -9`: no last word, nothing flushed.
    pub fn kill(&mut self) {
        let mut child = self.child.take().unwrap();
        child.kill().unwrap();
        assert_eq!(child.wait().unwrap().signal(), Some(9), "it died before:\n{}", self.log());
    }

    /// SIGTERM; how it ended and how long that took.
    pub fn stop(&mut self) -> (ExitStatus, Duration) {
        let begun = Instant::now();
        self.signal(Signal::TERM);
        let status = end_of(self.child.as_mut().unwrap(), Duration::from_secs(60));
        let status = status.unwrap_or_else(|| panic!("SIGTERM did not end it:\n{}", self.log()));
        self.child = None;
        (status, begun.elapsed())
    }

    pub fn request(&self, method: &str, path: &str, headers: &[(&str, &str)]) -> Answer {
        ask(self.address(), method, path, headers)
            .unwrap_or_else(|error| panic!("{method} {path}: {error}\n{}", self.log()))
    }

    pub fn get(&self, path: &str) -> Answer {
        self.request("GET", path, &[])
    }

    pub fn metrics(&self) -> Page {
        let answer = self.get("/metrics");
        assert_eq!(answer.status, 200, "{}", answer.body);
        Page(answer.body)
    }

    /// Looks at `/metrics` until it is as wanted.
    pub fn wait(&self, what: &str, limit: Duration, done: impl Fn(&Page) -> bool) -> Page {
        self.until(what, limit, || {
            // A page costs more than a look at a file.
            std::thread::sleep(Duration::from_millis(30));
            Some(self.metrics()).filter(&done)
        })
    }

    /// Waits for something; shows the log when it does not come.
    pub fn until<T>(&self, what: &str, limit: Duration, look: impl Fn() -> Option<T>) -> T {
        let begun = Instant::now();
        loop {
            if let Some(found) = look() {
                return found;
            }
            assert!(begun.elapsed() < limit, "never saw {what} in {limit:?}:\n{}", self.logs());
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Records of the stopped daemon's state by key, as `davylamp state export` writes them.
    pub fn export(&self) -> Vec<(String, serde_json::Value)> {
        let path = self.path("export.zst");
        let output = self.output(&["state", "export", "--output", path.to_str().unwrap()]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        records(&path)
    }

    /// Ends the daemon in an orderly way; no process of its runs may be left.
    pub fn finish(&mut self) {
        let (status, _) = self.stop();
        assert!(status.success(), "{status}:\n{}", self.log());
        self.until("the end of all processes", Duration::from_secs(10), || self.strays().is_empty().then_some(()));
        assert!(!self.logs().contains("panicked at"), "{}", self.logs());
    }

    /// Command lines of processes that belong to this folder: supervisors, plays and whatever plays started.
    pub fn strays(&self) -> Vec<String> {
        let folder = self.folder.path().as_os_str().as_encoded_bytes();
        let mut found: Vec<String> =
            command_lines().into_iter().filter(|line| contains(line.as_bytes(), folder)).collect();
        found.extend(self.runs().iter().flat_map(|run| marked(&run.display().to_string())).map(|pid| pid.to_string()));
        found
    }

    /// Folders of runs.
    pub fn runs(&self) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(self.path("state/runs")).into_iter().flatten().flatten();
        entries.map(|entry| entry.path()).filter(|path| path.is_dir()).collect()
    }
}

impl Drop for Lamp {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
        // Supervisors outlive a killed daemon, as they should; not this test.
        for run in self.runs() {
            kill_all(&run.display().to_string(), None, Duration::from_secs(5));
        }
    }
}

/// A child process that is killed when nobody needs it any more.
pub struct Aside(pub Child);

impl Drop for Aside {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Waits for the end of a process.
pub fn end_of(child: &mut Child, limit: Duration) -> Option<ExitStatus> {
    let begun = Instant::now();
    loop {
        let ended = child.try_wait().unwrap();
        if ended.is_some() || begun.elapsed() > limit {
            return ended;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Runs a command that must end by itself within a minute.
pub fn output(command: &mut Command) -> Output {
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // Read while it runs: a full pipe would stop it.
    let (mut out, mut err) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
    let read = |from: &mut dyn std::io::Read| {
        let mut bytes = Vec::new();
        from.read_to_end(&mut bytes).unwrap();
        bytes
    };
    std::thread::scope(|scope| {
        let (out, err) = (scope.spawn(move || read(&mut out)), scope.spawn(move || read(&mut err)));
        let ended = end_of(&mut child, Duration::from_secs(60));
        if ended.is_none() {
            child.kill().unwrap();
        }
        let (stdout, stderr) = (out.join().unwrap(), err.join().unwrap());
        let status = ended.unwrap_or_else(|| panic!("{command:?} does not end: {}", String::from_utf8_lossy(&stderr)));
        Output { status, stdout, stderr }
    })
}

/// The records of an export by key; those that are no JSON (a mark, a hash) are left out.
pub fn records(path: &Path) -> Vec<(String, serde_json::Value)> {
    let text = zstd::decode_all(std::fs::File::open(path).unwrap()).unwrap();
    let lines = std::str::from_utf8(&text).unwrap().lines().map(|line| serde_json::from_str(line).unwrap());
    let put = |line: serde_json::Value| {
        let key = line["key"].as_str()?.to_string();
        Some((key, serde_json::from_str(line["text"].as_str()?).ok()?))
    };
    lines.filter_map(put).collect()
}

/// The command lines of all processes, arguments separated by blanks.
pub fn command_lines() -> Vec<String> {
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    let lines = processes.filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok());
    lines.map(|line| String::from_utf8_lossy(&line).replace('\0', " ")).collect()
}

/// Whether bytes hold these bytes.
pub fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    haystack.windows(needle.len()).any(|window| window == needle)
}
