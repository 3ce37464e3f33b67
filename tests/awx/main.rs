//! Runs on an AWX: launched with everything that was decided or not at all, followed through faults, found again.

#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stderr, clippy::too_many_lines, reason = "a test may")]

#[path = "../support/certificates.rs"]
mod certificates;
#[allow(clippy::disallowed_methods, reason = "it waits for processes, outside of any runtime")]
mod daemon;
#[allow(dead_code, reason = "not all of it is needed here")]
#[path = "../e2e/http.rs"]
mod http;
#[path = "../act/kit.rs"]
mod kit;
#[allow(dead_code, clippy::disallowed_methods, reason = "not all of it is needed here; it waits for processes")]
#[path = "../e2e/lamp.rs"]
mod lamp;
mod server;

use std::sync::Arc;
use std::time::Duration;

use davylamp::act::executor::awx::Awx;
use davylamp::act::executor::{Executor, ExecutorError, RunRequest, RunStatus};
use davylamp::act::run::RunState;
use davylamp::act::settings::AwxSettings;
use davylamp::act::vars::Value;
use davylamp::act::verdict::verdict;
use davylamp::daemon::controller;
use davylamp::secret::SecretRef;
use serde_json::json;

use kit::{Acting, Bench, FileLedger, ended, request};
use server::{Server, TOKEN};

/// A controller and a place for run folders. No Ansible here.
fn scene() -> (Server, Bench) {
    let server = Server::new();
    let mut bench = Bench::new("/nonexistent/ansible-playbook".as_ref());
    bench.write("token", TOKEN);
    bench.settings.awx = Some(AwxSettings {
        url: format!("http://{}/", server.address),
        api: "/api/v2".into(),
        token: SecretRef::File(bench.path("token")),
        ca_file: None,
        inventory: 3,
        job_templates: [("restart.yml".to_string(), "Restart a miner".to_string())].into(),
    });
    (server, bench)
}

fn awx(bench: &Bench) -> Awx {
    let settings = bench.settings.awx.clone().unwrap();
    Awx::new(controller(&settings), settings, bench.ansible())
}

fn asked(timeout_ms: u64) -> RunRequest {
    let text = |text: &str| Value::text(text);
    let labels =
        Value::map([("miner", text("m1")), ("evil", text("{{ lookup('pipe', 'id') }}")), ("{% x %}", text("y"))]);
    RunRequest { timeout_ms, ..request("restart.yml", Value::map([("labels", labels), ("step", Value::Int(2))])) }
}

fn away(error: &ExecutorError) -> bool {
    matches!(error, ExecutorError::Away(_))
}

#[tokio::test]
async fn a_job_is_launched_once_followed_through_faults_and_found_again() {
    let (server, bench) = scene();
    let executor = awx(&bench);
    executor.ready().await.unwrap();
    let inventory = executor.inventory().await.unwrap().unwrap();
    assert!(inventory.hosts.len() == 150 && inventory.groups.contains("miners"), "all pages: {inventory:?}");

    let request = asked(60_000);
    executor.start(request.clone()).await.unwrap();
    assert!(away(&executor.start(request.clone()).await.unwrap_err()), "started once");
    let launched = server.state().launches.clone();
    let labels = json!({"miner": "m1", "evil": "(left out: it could be a template)"});
    let vars = json!({"davylamp": {"labels": labels, "step": 2, "run": request.run.as_str()}});
    let expected = json!({"limit": "m1", "inventory": 3, "job_type": "run", "diff_mode": false, "extra_vars": vars});
    assert_eq!(launched, [expected]);
    assert_eq!(executor.abandon(request.run.clone()).await, Err(ExecutorError::StillRunning));

    // A new process knows it by its folder. What cannot be asked is not over.
    let executor = awx(&bench);
    assert_eq!(executor.status(request.run.clone()).await, Ok(RunStatus::Running));
    server.state().failures = [500, 502, 429].into();
    for _ in 0..3 {
        assert!(away(&executor.status(request.run.clone()).await.unwrap_err()));
    }
    server.state().events = vec![
        json!({"event": "runner_on_ok", "host_name": "m1", "task": "look", "changed": true, "event_data": {"task_action": "uri"}}),
        json!({"event": "runner_on_failed", "host_name": "m1", "task": "restart", "event_data": {"task_action": "uri", "res": {"msg": "no answer"}}}),
    ];
    server.state().summary = json!({"ok": 1, "changed": 1, "failures": 1});
    server.end(40, "failed");
    let report = ended(&executor, &request.run).await;
    let (state, why) = verdict(&report.exit, &report.events, &["m1"]);
    assert_eq!((state, why.as_str()), (RunState::Failed, "a task failed on m1, task \"restart\": no answer"));
    assert_eq!(report.exit.ended_at - report.exit.started_at, 2000);
    assert!(report.events.tasks[0].changed && report.events.tasks[0].module == "uri", "{report:?}");

    // A controller that has lost the job says nothing about it any more.
    server.state().jobs.clear();
    assert_eq!(executor.status(request.run.clone()).await, Ok(RunStatus::Lost));
    executor.abandon(request.run.clone()).await.unwrap();
    assert!(away(&executor.start(request).await.unwrap_err()));
    assert_eq!(server.state().launches.len(), 1);
}

#[tokio::test]
async fn what_would_be_another_run_is_refused() {
    for (field, value, check, said) in [
        ("ask_limit_on_launch", json!(false), false, "takes no limit"),
        ("ask_variables_on_launch", json!(false), false, "takes no extra_vars"),
        ("inventory", json!(4), false, "takes no inventory"),
        ("ask_job_type_on_launch", json!(false), true, "takes no job_type"),
        ("name", json!("Another"), false, "no job template \"Restart a miner\""),
    ] {
        let (server, bench) = scene();
        server.state().template[field] = value;
        let request = RunRequest { check, ..asked(60_000) };
        let error = awx(&bench).start(request.clone()).await.unwrap_err();
        assert!(matches!(&error, ExecutorError::Refused(why) if why.contains(said)), "{error}");
        assert!(server.state().launches.is_empty());
        assert_eq!(awx(&bench).status(request.run).await, Ok(RunStatus::Lost), "nothing will come of it");
    }

    // One that says so only afterwards: the job is cancelled.
    let (server, bench) = scene();
    server.state().ignored = json!({"limit": "m1"});
    let error = awx(&bench).start(asked(60_000)).await.unwrap_err();
    assert!(matches!(&error, ExecutorError::Refused(why) if why.contains("job 40 was cancelled")), "{error}");
    assert_eq!(server.state().launches.len(), 1);
    assert_eq!(server.state().cancels, [40]);

    // And should that fail it is cancelled again with every look, until it is.
    let (server, bench) = scene();
    server.state().ignored = json!({"limit": "m1"});
    server.state().lost_cancels = 2;
    let (executor, request) = (awx(&bench), asked(60_000));
    assert!(away(&executor.start(request.clone()).await.unwrap_err()));
    assert!(away(&executor.status(request.run.clone()).await.unwrap_err()));
    let report = ended(&executor, &request.run).await;
    assert_eq!(verdict(&report.exit, &report.events, &["m1"]).0, RunState::Cancelled);

    let (_server, bench) = scene();
    bench.write("token", "wrong");
    let error = awx(&bench).ready().await.unwrap_err().to_string();
    assert!(error.contains("HTTP 401") && !error.contains("wrong"), "{error}");
}

#[tokio::test]
async fn a_launch_without_an_answer_is_found_by_its_run() {
    let (server, bench) = scene();
    server.state().loses_launches = true;
    let request = asked(60_000);
    assert!(away(&awx(&bench).start(request.clone()).await.unwrap_err()));
    assert_eq!(server.state().jobs.len(), 1, "a launch is not repeated by the client");
    // Another one's job stands before it.
    server
        .state()
        .jobs
        .insert(90, json!({"id": 90, "status": "running", "extra_vars": "{\"davylamp\": {\"run\": \"x\"}}"}));
    let executor = awx(&bench);
    assert_eq!(executor.status(request.run.clone()).await, Ok(RunStatus::Running));
    server.end(40, "successful");
    let report = ended(&executor, &request.run).await;
    assert_eq!(verdict(&report.exit, &report.events, &["m1"]).0, RunState::Succeeded, "{report:?}");
}

#[tokio::test]
async fn a_job_ends_on_request_and_at_its_time_limit() {
    for (timeout, on_request, state) in [(60_000, true, RunState::Cancelled), (400, false, RunState::TimedOut)] {
        let (server, bench) = scene();
        let (executor, request) = (awx(&bench), asked(timeout));
        executor.start(request.clone()).await.unwrap();
        if on_request {
            executor.cancel(request.run.clone()).await.unwrap();
        }
        let report = ended(&executor, &request.run).await;
        assert_eq!(verdict(&report.exit, &report.events, &["m1"]).0, state);
        assert_eq!(server.state().cancels, [40]);
    }
}

const RESTART: &str = "
- name: restart
  match: ['alertname=\"Slow\"']
  target: '{{ $labels.miner }}'
  mode: auto
  steps: [{playbook: restart.yml, timeout: 30s}]
";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_alert_becomes_a_job_and_its_run_a_record() {
    let (server, bench) = scene();
    let acting = Acting::start(&bench, FileLedger::new(bench.path("ledger")), Arc::new(awx(&bench)), RESTART).await;
    acting.fire("Slow", "m2").await;
    for _ in 0..200 {
        if !server.state().jobs.is_empty() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    server.end(40, "successful");
    let runs = acting.ended(1).await;
    assert_eq!((runs.len(), runs[0].state, runs[0].stats["m2"].ok), (1, RunState::Succeeded, 1), "{runs:#?}");
    assert_eq!(server.state().launches[0]["limit"], "m2");
    acting.finish().await;
}
