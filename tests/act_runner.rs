//! The runner's socket: who may talk, what is understood, and runs that outlive both ends.

#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stderr, clippy::too_many_lines, reason = "a test may")]

#[path = "act/kit.rs"]
mod kit;

use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::sync::Arc;
use std::time::Duration;

use davylamp::act::executor::remote::Remote;
use davylamp::act::executor::{Executor, ExecutorError, RunStatus};
use davylamp::act::run::RunState;
use davylamp::act::runner::{Runner, RunnerError};
use davylamp::act::settings::Access;
use davylamp::act::vars::Value;
use davylamp::act::verdict::verdict;
use tokio_util::sync::CancellationToken;

use kit::{Acting, Bench, FileLedger, ansible, ended, request};

struct Running {
    stop: CancellationToken,
    task: tokio::task::JoinHandle<()>,
}

impl Running {
    async fn start(bench: &Bench) -> Running {
        let runner = Runner::bind(&bench.path("socket"), Access::User).await.unwrap();
        let stop = CancellationToken::new();
        #[allow(clippy::disallowed_methods, reason = "the test owns the handle")]
        let task = tokio::spawn(runner.serve(tokio::sync::watch::channel(bench.executor()).1, stop.clone()));
        Running { stop, task }
    }

    async fn end(self) {
        self.stop.cancel();
        self.task.await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_outlives_collector_and_runner() {
    let Some(command) = ansible() else { return };
    let bench = Bench::new(&command);
    bench.tracing_playbook("ok.yml", "- command: sleep 1\n");
    let runner = Running::start(&bench).await;
    let mode = std::fs::metadata(bench.path("socket")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert!(matches!(Runner::bind(&bench.path("socket"), Access::User).await, Err(RunnerError::InUse(_))));

    let asked = request("ok.yml", Value::Null);
    let collector = Remote::new(bench.path("socket"), Access::User);
    collector.ready().await.unwrap();
    assert!(collector.inventory().await.unwrap().unwrap().hosts.contains("m2"));
    collector.start(asked.clone()).await.unwrap();
    assert!(matches!(collector.start(asked.clone()).await, Err(ExecutorError::Away(_))), "started once");
    assert_eq!(collector.abandon(asked.run.clone()).await, Err(ExecutorError::StillRunning));
    drop(collector);
    runner.end().await;
    assert!(!bench.path("socket").exists());
    assert!(matches!(Remote::new(bench.path("socket"), Access::User).ready().await, Err(ExecutorError::Away(_))));

    let runner = Running::start(&bench).await;
    let collector = Remote::new(bench.path("socket"), Access::User);
    assert_eq!(collector.status(asked.run.clone()).await, Ok(RunStatus::Running));
    let report = ended(&collector, &asked.run).await;
    assert_eq!(verdict(&report.exit, &report.events, &["m1"]).0, RunState::Succeeded, "{report:?}");
    assert_eq!(bench.traces(), 1);
    // What it printed is read through the socket too, from the beginning and from where one has got to.
    let printed = collector.printed(asked.run.clone(), 0).await.unwrap();
    assert!(printed.text.contains("TASK [") && printed.text.contains("PLAY RECAP"), "{printed:?}");
    assert_eq!(collector.printed(asked.run, printed.next).await.unwrap().text, "");
    runner.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_understood_is_refused_and_harms_nobody() {
    let bench = Bench::new("/nonexistent/ansible-playbook".as_ref());
    let runner = Running::start(&bench).await;
    let say = |line: &[u8]| {
        let mut stream = UnixStream::connect(bench.path("socket")).unwrap();
        // The other side may have hung up on a line that is too long.
        let _ = stream.write_all(line);
        let mut answer = String::new();
        let _ = BufReader::new(stream).read_line(&mut answer);
        answer
    };
    let cases: [(&[u8], &str); 6] = [
        (b"{\"version\":2,\"say\":{\"new\":1}}\n", "speaks version 2"),
        (b"{\"version\":1,\"say\":{\"status\":\"../../etc\"}}\n", "not a run id"),
        (b"{\"version\":1,\"say\":\"reboot\"}\n", "unknown variant"),
        (b"GET / HTTP/1.1\r\n\r\n", "not understood"),
        (b"{\"version\":1,\"say\":{\"start\":{}}}\n", "missing field"),
        (b"{\"version\":1,\"say\":\"ready\"}\n", "is ansible-core installed"),
    ];
    for (line, expected) in cases {
        let answer = tokio::task::block_in_place(|| say(line));
        assert!(answer.contains(expected), "{}: {answer}", String::from_utf8_lossy(line));
    }
    let endless = tokio::task::block_in_place(|| say(&vec![b'x'; 5 << 20]));
    assert!(endless.is_empty() || endless.contains("not a line"), "{endless}");
    // Somebody who says nothing is not waited for.
    let _silent = UnixStream::connect(bench.path("socket")).unwrap();
    assert!(matches!(Remote::new(bench.path("socket"), Access::User).ready().await, Err(ExecutorError::Away(_))));
    runner.end().await;

    std::fs::write(bench.path("file"), "").unwrap();
    assert!(matches!(Runner::bind(&bench.path("file"), Access::User).await, Err(RunnerError::NotASocket(_))));
    // What a killed runner left behind is replaced.
    drop(std::os::unix::net::UnixListener::bind(bench.path("socket")).unwrap());
    Running::start(&bench).await.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_runner_that_is_away_means_queued_then_expired_and_one_that_returns_is_used() {
    let Some(command) = ansible() else { return };
    let mut bench = Bench::new(&command);
    bench.tracing_playbook("ok.yml", "");
    bench.settings.queue_expiry = Duration::from_secs(10);
    let yaml = "
- name: restart
  match: [alertname=Hot]
  target: '{{ $labels.miner }}'
  mode: auto
  steps: [{playbook: ok.yml, timeout: 30s}]
";
    let remote = Arc::new(Remote::new(bench.path("socket"), Access::User));
    let acting = Acting::start(&bench, FileLedger::new(bench.path("ledger")), remote.clone(), yaml).await;
    acting.fire("Hot", "m1").await;
    while acting.book.metrics().queued == 0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(acting.ended(1).await[0].state, RunState::Expired);
    assert_eq!(bench.traces(), 0);

    let runner = Running::start(&bench).await;
    acting.fire("Hot", "m2").await;
    let runs = acting.ended(2).await;
    assert!(runs.iter().any(|run| run.target == "m2" && run.state == RunState::Succeeded), "{runs:#?}");
    assert_eq!(bench.traces(), 1);
    acting.finish().await;
    runner.end().await;
}

/// Another user, here by dropping root's rights in a child, is not listened to, wherever the socket stands.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_user_is_not_listened_to() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("SKIPPED: only root can take on another user's identity");
        return;
    }
    let bench = Bench::new("/nonexistent/ansible-playbook".as_ref());
    let runner = Running::start(&bench).await;
    // What the mode keeps out, the credentials have to keep out too.
    for path in [bench.path(""), bench.path("socket")] {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o777)).unwrap();
    }
    let listen =
        "import socket,sys; s=socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]); print(s.recv(4096).decode())";
    let mut python = std::process::Command::new("python3");
    python.args(["-c", listen]).arg(bench.path("socket")).uid(65534).gid(65534);
    let output = tokio::task::block_in_place(|| python.output().unwrap());
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains("user 65534 of group 65534 may not talk"), "{output:?}");
    runner.end().await;
}
