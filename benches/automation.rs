//! From an alert to a play: start of the daemon, memory at rest, time from a webhook to the exec of `ansible-playbook`,
//! and a burst of 20 runs, beside ansible-rulebook and beside Ansible alone.
//!
//! `DAVYLAMP_ANSIBLE` names an `ansible-playbook`, `DAVYLAMP_RULEBOOK` an `ansible-rulebook` (`pip install
//! ansible-rulebook`, and Java 17). Where one is missing its rows are left out, or say what was measured elsewhere.
#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::print_stderr, reason = "a bench prints, and may panic")]
#![allow(clippy::disallowed_methods, reason = "it waits for processes, outside of any runtime")]

mod common;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

use common::{Process, millis, option, table};

/// The program that is measured; another one, say an optimised build, by `DAVYLAMP_BENCH_PROGRAM`.
fn program() -> String {
    std::env::var("DAVYLAMP_BENCH_PROGRAM").unwrap_or_else(|_| env!("CARGO_BIN_EXE_davylamp").to_string())
}
/// Runs at one time, for everybody.
const TOGETHER: usize = 4;
const BURST: usize = 20;
/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(600);

/// A folder, a process that works in it, and where it listens.
struct Scene {
    folder: tempfile::TempDir,
    child: Option<Child>,
    port: u16,
}

impl Scene {
    fn new() -> Scene {
        let folder = tempfile::Builder::new().prefix("bench").tempdir_in("/tmp").unwrap();
        std::fs::create_dir(folder.path().join("playbooks")).unwrap();
        let scene = Scene { folder, child: None, port: 0 };
        // What stands for Ansible says when it was started, and leaves what the callback plugin would.
        let times = scene.path("times").display().to_string();
        let stand_in = format!(
            "#!/bin/sh\nnow=$(date +%s%N)\nwhile [ $# -gt 0 ]; do [ \"$1\" = --limit ] && host=$2; shift; done\necho \"$now $host\" >>{times}\n\
             [ -z \"$DAVYLAMP_EVENTS\" ] || printf '{{\"event\":\"stats\",\"hosts\":{{\"%s\":{{\"ok\":1,\"changed\":0,\"failures\":0,\"unreachable\":0,\"skipped\":0,\"rescued\":0,\"ignored\":0}}}},\"tasks_skipped\":0}}\\n' \"$host\" >\"$DAVYLAMP_EVENTS\"\n"
        );
        scene.program("stand-in/ansible-playbook", &stand_in);
        scene.write("token", "s3cret");
        scene.write("playbooks/play.yml", &play(&scene.path("trace")));
        scene
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::create_dir_all(self.path(name).parent().unwrap()).unwrap();
        std::fs::write(self.path(name), text).unwrap();
    }

    fn program(&self, name: &str, text: &str) {
        self.write(name, text);
        std::fs::set_permissions(self.path(name), PermissionsExt::from_mode(0o755)).unwrap();
    }

    fn lines(&self, name: &str) -> Vec<String> {
        std::fs::read_to_string(self.path(name)).unwrap_or_default().lines().map(String::from).collect()
    }

    /// Waits until a file has so many lines.
    fn grown(&self, name: &str, lines: usize) {
        let begun = Instant::now();
        while self.lines(name).len() < lines {
            assert!(begun.elapsed() < PATIENCE, "{name}: {:?}", self.lines(name));
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    fn process(&self) -> Process {
        Process(self.child.as_ref().unwrap().id())
    }

    fn post(&self, path: &str, body: &str) {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        let head =
            "Authorization: Bearer s3cret\r\nContent-Type: application/json\r\nConnection: close\r\nHost: 127.0.0.1";
        write!(stream, "POST {path} HTTP/1.1\r\n{head}\r\nContent-Length: {}\r\n\r\n{body}", body.len()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 20"), "{answer}");
    }

    fn stop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        self.stop();
    }
}

/// One small play; its last line is what is waited for.
fn play(trace: &Path) -> String {
    format!(
        "- hosts: all\n  gather_facts: false\n  tasks:\n  - shell: echo {{{{ inventory_hostname }}}} >> {}\n",
        trace.display()
    )
}

fn now() -> u128 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_nanos()
}

/// How the whole behaves, of one of those that are compared.
struct Figures {
    start: Duration,
    /// Resident, and what of it is anonymous: the rest are files in the page cache, which the kernel may drop.
    memory: (usize, usize),
    threads: usize,
    /// Sorted.
    latency: Vec<Duration>,
    burst: Option<Duration>,
}

fn percentile(sorted: &[Duration], percent: usize) -> Duration {
    sorted[(sorted.len() - 1) * percent / 100]
}

fn memory(process: Process) -> (usize, usize) {
    (process.resident(), process.anonymous())
}

fn threads(process: Process) -> usize {
    std::fs::read_dir(format!("/proc/{}/task", process.0)).unwrap().count()
}

/// Starts the daemon; until it listens.
fn davylamp(scene: &mut Scene, ansible: &Path, hosts: usize) -> Duration {
    let local = "ansible_connection=local ansible_python_interpreter='{{ ansible_playbook_python }}'";
    let names: Vec<String> = (0..hosts).map(|n| format!("m{n}")).collect();
    scene.write("hosts", &names.iter().map(|name| format!("{name} {local}\n")).collect::<String>());
    if !ansible.with_file_name("ansible-inventory").exists() {
        let answer = serde_json::json!({"all": {"hosts": names}});
        scene.program("stand-in/ansible-inventory", &format!("#!/bin/sh\necho '{answer}'\n"));
    }
    scene.write(
        "davylamp.yml",
        &format!(
            "server: {{listen: '127.0.0.1:0', requests_per_second: 0}}
storage: {{path: state, ballast_bytes: 0}}
ansible: {{command: {}, inventory: hosts, startup_grace: 0s, max_concurrent: {TOGETHER}, queue: 1000, queue_expiry: 1h}}
webhooks: {{alertmanager: {{bearer: {{file: token}}}}}}
remediations:
- name: bench
  match: ['alertname=\"Hot\"']
  target: '{{{{ $labels.miner }}}}'
  sources: [alertmanager]
  mode: auto
  steps: [{{playbook: play.yml, timeout: 10m}}]
  guards: {{max_runs_per_target: 99/1h, max_targets: 2000/1h, max_concurrent: {TOGETHER}, brake: {{share: 100%, min: 2000}}}}
",
            ansible.display()
        ),
    );
    let begun = Instant::now();
    let mut command = Command::new(program());
    command.args(["run", "--config"]).arg(scene.path("davylamp.yml")).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut log = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    scene.port = loop {
        line.clear();
        assert!(log.read_line(&mut line).unwrap() > 0, "it does not start");
        if let Some(address) = line.split_once("listening address=127.0.0.1:") {
            break address.1.split_whitespace().next().unwrap().parse().unwrap();
        }
    };
    let took = begun.elapsed();
    // A pipe that nobody reads would stop it.
    std::thread::spawn(move || std::io::copy(&mut log, &mut std::io::sink()));
    scene.child = Some(child);
    took
}

fn fire(scene: &Scene, miners: std::ops::Range<usize>) {
    let alert = |n| {
        serde_json::json!({"status": "firing", "labels": {"alertname": "Hot", "miner": format!("m{n}")},
        "annotations": {}, "startsAt": "2026-01-02T03:04:05Z", "endsAt": "0001-01-01T00:00:00Z"})
    };
    let alerts: Vec<_> = miners.map(alert).collect();
    let body = serde_json::json!({"version": "4", "status": "firing", "alerts": alerts});
    scene.post("/api/v1/webhooks/alertmanager", &body.to_string());
}

/// Times from an event to the exec of what stands for Ansible, sorted; the first one finds everything cold.
fn latencies(scene: &Scene, events: usize, send: impl Fn(usize)) -> Vec<Duration> {
    let mut took: Vec<Duration> = (0..=events)
        .map(|event| {
            let (sent, before) = (now(), scene.lines("times").len());
            send(event);
            scene.grown("times", before + 1);
            let line = scene.lines("times").pop().unwrap();
            let at: u128 = line.split(' ').next().unwrap().parse().unwrap();
            // Let its end be recorded: this is one event after the other.
            std::thread::sleep(Duration::from_millis(150));
            Duration::from_nanos(u64::try_from(at.saturating_sub(sent)).unwrap())
        })
        .skip(1)
        .collect();
    took.sort();
    took
}

/// What the stand-in takes by itself until it has read the clock.
fn own(scene: &Scene) -> Duration {
    let mut took: Vec<Duration> = (0..20)
        .map(|_| {
            let begun = now();
            Command::new(scene.path("stand-in/ansible-playbook")).status().unwrap();
            let line = scene.lines("times").pop().unwrap();
            let at: u128 = line.split(' ').next().unwrap().parse().unwrap();
            Duration::from_nanos(u64::try_from(at - begun).unwrap())
        })
        .collect();
    took.sort();
    std::fs::remove_file(scene.path("times")).unwrap();
    percentile(&took, 50)
}

fn ours(events: usize, ansible: Option<&Path>) -> (Figures, Duration) {
    let mut starts: Vec<Duration> = (0..5)
        .map(|_| {
            let mut scene = Scene::new();
            let stand_in = scene.path("stand-in/ansible-playbook");
            davylamp(&mut scene, &stand_in, 1)
        })
        .collect();
    starts.sort();
    let mut scene = Scene::new();
    let stand_in = scene.path("stand-in/ansible-playbook");
    let own = own(&scene);
    davylamp(&mut scene, &stand_in, events + 1);
    std::thread::sleep(Duration::from_secs(5));
    let (memory, threads) = (memory(scene.process()), threads(scene.process()));
    let latency = latencies(&scene, events, |event| fire(&scene, event..event + 1));
    let burst = ansible.map(|ansible| {
        let mut scene = Scene::new();
        davylamp(&mut scene, ansible, BURST);
        // The inventory is read first.
        std::thread::sleep(Duration::from_secs(8));
        let begun = Instant::now();
        fire(&scene, 0..BURST);
        scene.grown("trace", BURST);
        begun.elapsed()
    });
    (Figures { start: starts[2], memory, threads, latency, burst }, own)
}

/// The same plays by Ansible itself, as many at a time.
fn alone(ansible: &Path) -> Duration {
    let scene = Scene::new();
    let begun = Instant::now();
    std::thread::scope(|scope| {
        for lane in 0..TOGETHER {
            let scene = &scene;
            scope.spawn(move || {
                for number in (lane..BURST).step_by(TOGETHER) {
                    let mut command = Command::new(ansible);
                    let host = format!("m{number},");
                    command.args(["-i", &host, "-e", "ansible_connection=local"]).arg(scene.path("playbooks/play.yml"));
                    command.env("ANSIBLE_HOME", scene.path(&format!("home{lane}"))).env("LC_ALL", "C.UTF-8");
                    command.args(["-e", "ansible_python_interpreter={{ ansible_playbook_python }}"]);
                    assert!(command.stdout(Stdio::null()).status().unwrap().success());
                }
            });
        }
    });
    begun.elapsed()
}

/// Starts ansible-rulebook with the `ansible-playbook` of a folder first in its PATH; until its webhook listens.
fn rulebook(scene: &mut Scene, program: &Path, ansible: &Path) -> Duration {
    scene.port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let local = "localhost ansible_connection=local ansible_python_interpreter='{{ ansible_playbook_python }}'\n";
    scene.write("inventory", local);
    scene.write(
        "rulebook.yml",
        &format!(
            "- name: bench\n  hosts: all\n  execution_strategy: parallel\n  sources:\n  - eda.builtin.webhook: {{host: 127.0.0.1, port: {}}}\n\
             \x20 rules:\n  - name: hot\n    condition: event.payload.miner is defined\n    action: {{run_playbook: {{name: {}}}}}\n",
            scene.port,
            scene.path("playbooks/play.yml").display()
        ),
    );
    let path = std::env::var("PATH").unwrap();
    // It asks for ansible-galaxy, which stands beside the real ansible-playbook.
    let real = std::env::var_os("DAVYLAMP_ANSIBLE").map(PathBuf::from);
    let programs = [Some(ansible), Some(program), real.as_deref()].into_iter().flatten();
    let folders: Vec<String> = programs.filter_map(Path::parent).map(|folder| folder.display().to_string()).collect();
    let mut command = Command::new(program);
    command.arg("--rulebook").arg(scene.path("rulebook.yml")).arg("-i").arg(scene.path("inventory"));
    command.env("PATH", format!("{}:{path}", folders.join(":"))).env("ANSIBLE_HOME", scene.path("home"));
    command.env("LC_ALL", "C.UTF-8").current_dir(scene.folder.path());
    let begun = Instant::now();
    let log = std::fs::File::create(scene.path("log")).unwrap();
    scene.child = Some(command.stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap());
    while TcpStream::connect(("127.0.0.1", scene.port)).is_err() {
        let ended = scene.child.as_mut().unwrap().try_wait().unwrap();
        let text = || std::fs::read_to_string(scene.path("log")).unwrap();
        assert!(ended.is_none() && begun.elapsed() < PATIENCE, "ansible-rulebook does not start:\n{}", text());
        std::thread::sleep(Duration::from_millis(5));
    }
    begun.elapsed()
}

fn peer(program: &Path, events: usize, ansible: Option<&Path>) -> Figures {
    let mut scene = Scene::new();
    let stand_in = scene.path("stand-in/ansible-playbook");
    let start = rulebook(&mut scene, program, &stand_in);
    std::thread::sleep(Duration::from_secs(5));
    let (memory, threads) = (memory(scene.process()), threads(scene.process()));
    let send = |scene: &Scene, event: usize| scene.post("/endpoint", &format!("{{\"miner\": \"m{event}\"}}"));
    let latency = latencies(&scene, events, |event| send(&scene, event));
    scene.stop();
    let burst = ansible.map(|ansible| {
        let mut scene = Scene::new();
        rulebook(&mut scene, program, ansible);
        let begun = Instant::now();
        (0..BURST).for_each(|event| send(&scene, event));
        scene.grown("trace", BURST);
        begun.elapsed()
    });
    Figures { start, memory, threads, latency, burst }
}

fn mebibytes(bytes: usize) -> String {
    format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20))
}

fn row(name: &str, figures: &Figures) -> Vec<String> {
    let seconds = |time: &Duration| format!("{:.1} s", time.as_secs_f64());
    vec![
        name.into(),
        millis(figures.start),
        format!("{} / {}", mebibytes(figures.memory.0), mebibytes(figures.memory.1)),
        figures.threads.to_string(),
        format!("{} / {}", millis(percentile(&figures.latency, 50)), millis(percentile(&figures.latency, 99))),
        figures.burst.as_ref().map_or("–".into(), seconds),
    ]
}

fn named(variable: &str) -> Option<PathBuf> {
    let found = std::env::var_os(variable).map(PathBuf::from).filter(|path| path.is_file());
    if found.is_none() {
        eprintln!("SKIPPED: {variable} names no program");
    }
    found
}

fn main() {
    let events = option("EVENTS", 50);
    let (ansible, program) = (named("DAVYLAMP_ANSIBLE"), named("DAVYLAMP_RULEBOOK"));
    let (figures, own) = ours(events, ansible.as_deref());
    let mut rows = vec![row("davylamp", &figures)];
    rows.push(match &program {
        Some(program) => row("ansible-rulebook, its actions in parallel", &peer(program, events, ansible.as_deref())),
        None => ["ansible-rulebook 1.3.2, measured elsewhere", "8000 ms", "121 MiB", "22", "58 ms", "82 s"]
            .map(String::from)
            .to_vec(),
    });
    if let Some(ansible) = &ansible {
        let burst = format!("{:.1} s", alone(ansible).as_secs_f64());
        rows.push(
            [&format!("ansible-playbook alone, {TOGETHER} at a time"), "", "", "", "", &burst]
                .map(String::from)
                .to_vec(),
        );
    }
    let head =
        ["", "start", "memory at rest, resident / anonymous", "threads", "event to exec, p50 / p99", "burst of 20"];
    table("From an alert to a play", &head, &rows);
    println!(
        "\nOf event to exec the stand-in for ansible-playbook takes {} itself, until it has read the clock.",
        millis(own)
    );
    println!(
        "Before the exec davylamp has written the alert, the episode, the queue and the claim, each flushed to the disk."
    );
}
