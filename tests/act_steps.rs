//! Episodes with several steps, their guards, verification and approval, on a clock that jumps to the next event: hours
//! pass in milliseconds. What is done is noted by hands of the test; no playbook is run here.

#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stderr, reason = "a test may")]

#[path = "act/kit.rs"]
mod kit;
#[path = "act/simulation.rs"]
mod simulation;

use std::sync::Arc;
use std::time::Duration;

use davylamp::act::approval::Decision;
use davylamp::act::control::{ControlError, Filter};
use davylamp::act::executor::{Executor, ExecutorError, RunRequest, RunStatus, Started};
use davylamp::act::facts::Symptom;
use davylamp::act::hands::{Effect, HandsError, Message};
use davylamp::act::inventory::Inventory;
use davylamp::act::run::{Run, RunId, RunState};
use davylamp::model::{Alert, Labels};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use kit::{Acting, Bench, FileLedger, MemoryLedger};

/// An executor that knows two thousand hosts and runs nothing.
struct Hosts;

impl Executor for Hosts {
    fn ready(&self) -> BoxFuture<'_, Result<(), ExecutorError>> {
        std::future::ready(Ok(())).boxed()
    }
    fn start(&self, _: RunRequest) -> BoxFuture<'_, Result<Started, ExecutorError>> {
        std::future::ready(Err(ExecutorError::Refused("no playbook is run here".into()))).boxed()
    }
    fn status(&self, _: RunId) -> BoxFuture<'_, Result<RunStatus, ExecutorError>> {
        std::future::ready(Ok(RunStatus::Unknown)).boxed()
    }
    fn cancel(&self, _: RunId) -> BoxFuture<'_, Result<(), ExecutorError>> {
        std::future::ready(Ok(())).boxed()
    }
    fn abandon(&self, _: RunId) -> BoxFuture<'_, Result<(), ExecutorError>> {
        std::future::ready(Ok(())).boxed()
    }
    fn inventory(&self) -> BoxFuture<'_, Result<Option<Inventory>, ExecutorError>> {
        let hosts = (0..2000).map(|number| format!("m{number}")).collect();
        std::future::ready(Ok(Some(Inventory { hosts, ..Inventory::default() }))).boxed()
    }
    fn outlives_us(&self) -> bool {
        false
    }
}

const LADDER: &str = "
- name: ladder
  match: ['alertname=\"Hot\"']
  target: '{{ $labels.miner }}'
  mode: auto
  notify: [ops]
  steps:
  - {device: restart, timeout: 10s, verify: {within: 10m, hold: 2m}}
  - {device: restart, mode: approve, timeout: 10s, verify: {within: 10m}}
  - {notify: ops}
";

const ONE: &str = "
- name: one
  match: ['alertname=\"Hot\"']
  target: '{{ $labels.miner }}'
  mode: auto
  notify: [ops]
  steps: [{device: restart, timeout: 10s, verify: {within: 10m, hold: 2m}}]
";

async fn acting(bench: &Bench, yaml: &str) -> Acting {
    let acting = Acting::start(bench, MemoryLedger::default(), Arc::new(Hosts), yaml).await;
    // The inventory first.
    tokio::time::sleep(Duration::from_secs(6)).await;
    acting
}

fn bench() -> Bench {
    let mut bench = Bench::new("/nonexistent".as_ref());
    bench.settings.approval_url = Some("https://lamp.example/".into());
    bench
}

async fn minutes(count: u64) {
    tokio::time::sleep(Duration::from_secs(60 * count)).await;
}

fn states(acting: &Acting) -> Vec<&'static str> {
    let mut runs: Vec<Run> = acting.control.list(&Filter::default());
    runs.retain(|run| run.rehearses.is_none());
    runs.sort_by_key(|run| (run.step, run.attempt));
    runs.into_iter().map(|run| run.state.as_str()).collect()
}

/// How many device commands were given.
fn commands(acting: &Acting) -> usize {
    acting.hands.done.lock().unwrap().iter().filter(|effect| matches!(effect, Effect::Device { .. })).count()
}

fn messages(acting: &Acting) -> Vec<Message> {
    let done = acting.hands.done.lock().unwrap().clone();
    let message = |effect| if let Effect::Notify { message, .. } = effect { Some(message) } else { None };
    done.into_iter().filter_map(message).collect()
}

fn says(acting: &Acting, symptom: Symptom) {
    *acting.world.symptom.lock().unwrap() = symptom;
}

#[tokio::test(start_paused = true)]
async fn healed_only_by_new_samples_that_hold() {
    let bench = bench();
    let acting = acting(&bench, LADDER).await;
    let hot = acting.fire("Hot", "m1").await;
    minutes(1).await;
    assert_eq!((states(&acting), commands(&acting)), (vec!["verifying"], 1));
    says(&acting, Symptom::Clear);
    minutes(1).await;
    assert_eq!(states(&acting), ["verifying"], "not for as long as hold says");
    minutes(2).await;
    assert_eq!(states(&acting), ["healed"]);
    acting.resolve(&hot, true).await;
    minutes(1).await;
    assert!(acting.book.episode("ladder", "m1").unwrap().closed_at.is_some());

    // Back within the cooldown: the same trouble, at its next step, which needs a person.
    says(&acting, Symptom::Present);
    acting.fire("Hot", "m1").await;
    minutes(1).await;
    assert_eq!((states(&acting), commands(&acting)), (vec!["healed", "waiting_approval"], 1));
    acting.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_run_that_did_not_help_goes_up_the_ladder_to_its_end() {
    let bench = bench();
    let acting = acting(&bench, LADDER).await;
    acting.fire("Hot", "m1").await;
    minutes(12).await;
    assert_eq!(states(&acting), ["not_healed", "waiting_approval"]);
    let asked = messages(&acting);
    assert_eq!(asked.len(), 1);
    assert!(asked[0].text.contains("would do restart of m1"), "the check run's result: {}", asked[0].text);
    let id = acting.control.list(&Filter { state: Some(RunState::WaitingApproval), ..Filter::default() })[0].id.clone();

    let (_, link) = &asked[0].links[0];
    let token = link.strip_prefix(&format!("https://lamp.example/runs/{id}/approval?token=")).unwrap();
    let now = || davylamp::act::facts::World::now(&*acting.world);
    assert!(acting.control.look_by_token(&id, token, now()).is_ok());
    assert!(matches!(acting.control.look_by_token(&id, &token[1..], now()), Err(ControlError::BadToken)));
    let wrong = acting.control.decide_by_token(&id, "00", Decision::Approve).await;
    assert!(matches!(wrong, Err(ControlError::BadToken)));
    assert_eq!(commands(&acting), 1, "looking does nothing");
    acting.control.decide_by_token(&id, token, Decision::Approve).await.unwrap();
    assert!(acting.control.decide_by_token(&id, token, Decision::Approve).await.is_err(), "used");
    assert!(matches!(acting.control.reject(&id, "me").await, Err(ControlError::NotWaiting(..))));
    minutes(15).await;
    assert_eq!((states(&acting), commands(&acting)), (vec!["not_healed", "not_healed", "succeeded"], 2));
    assert_eq!(acting.book.metrics().exhausted, 1);
    assert!(messages(&acting).last().unwrap().subject.contains("no step is left"));
    assert!(acting.book.explain(&id).unwrap().contains("its check run"));
    minutes(60).await;
    assert_eq!(commands(&acting), 2, "nothing is done twice");
    acting.finish().await;
}

/// The run that waits, and the token of the link that was sent for it.
fn waiting(acting: &Acting) -> (RunId, String) {
    let id = acting.control.list(&Filter { state: Some(RunState::WaitingApproval), ..Filter::default() })[0].id.clone();
    let sent = messages(acting).last().unwrap().links[0].1.clone();
    let token = sent.strip_prefix(&format!("https://lamp.example/runs/{id}/approval?token=")).unwrap().to_string();
    (id, token)
}

#[tokio::test(start_paused = true)]
async fn a_link_refuses_once_and_dies_with_its_time() {
    let yaml = ONE.replace("mode: auto", "mode: approve");
    let bench = bench();
    let acting = acting(&bench, &yaml).await;
    acting.fire("Hot", "m1").await;
    minutes(1).await;
    let (id, token) = waiting(&acting);
    acting.control.decide_by_token(&id, &token, Decision::Reject).await.unwrap();
    assert!(acting.control.decide_by_token(&id, &token, Decision::Approve).await.is_err(), "used");
    let refused = acting.control.show(&id).unwrap();
    assert_eq!((refused.state, refused.approval.unwrap().by.as_deref()), (RunState::Rejected, Some("one-time link")));

    acting.fire("Hot", "m2").await;
    minutes(1).await;
    let (id, token) = waiting(&acting);
    minutes(60).await;
    let late = acting.control.decide_by_token(&id, &token, Decision::Approve).await;
    assert!(late.is_err(), "its hour is over");
    assert_eq!((acting.control.show(&id).unwrap().state, commands(&acting)), (RunState::Expired, 0));
    acting.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_device_that_falls_silent_is_unverifiable_and_asks_for_a_person() {
    let bench = bench();
    let acting = acting(&bench, LADDER).await;
    let hot = acting.fire("Hot", "m1").await;
    minutes(1).await;
    says(&acting, Symptom::NoData);
    *acting.world.up.lock().unwrap() = Some(false);
    acting.resolve(&hot, false).await;
    minutes(11).await;
    assert_eq!((states(&acting), commands(&acting)), (vec!["unverifiable", "waiting_approval"], 1));
    // It comes back and is well: the trouble is over though no rule says so.
    let id = acting.control.list(&Filter { state: Some(RunState::WaitingApproval), ..Filter::default() })[0].id.clone();
    acting.control.reject(&id, "ops").await.unwrap();
    says(&acting, Symptom::Clear);
    minutes(3).await;
    assert_eq!(states(&acting), ["unverifiable", "rejected"]);
    assert!(acting.book.episode("ladder", "m1").unwrap().closed_at.is_some());
    acting.finish().await;
}

#[tokio::test(start_paused = true)]
async fn without_sight_nothing_acts_by_itself() {
    let bench = bench();
    let yaml = LADDER.replace("mode: approve, ", "");
    let acting = acting(&bench, &yaml).await;
    let hot = acting.fire("Hot", "m1").await;
    minutes(1).await;
    says(&acting, Symptom::NoData);
    *acting.world.up.lock().unwrap() = Some(false);
    acting.resolve(&hot, false).await;
    minutes(30).await;
    assert_eq!((states(&acting), commands(&acting)), (vec!["unverifiable"], 1));
    assert!(messages(&acting)[0].subject.contains("nobody knows how m1 is"));
    acting.finish().await;
}

#[tokio::test(start_paused = true)]
async fn an_approval_expires_and_is_not_wanted_once_the_trouble_is_over() {
    let bench = bench();
    let yaml = ONE.replace("mode: auto", "mode: approve");
    let acting = acting(&bench, &yaml).await;
    acting.fire("Hot", "m1").await;
    let hot = acting.fire("Hot", "m2").await;
    minutes(5).await;
    assert_eq!(states(&acting), ["waiting_approval", "waiting_approval"]);
    acting.resolve(&hot, true).await;
    minutes(1).await;
    assert_eq!(states(&acting), ["waiting_approval"]);
    minutes(60).await;
    assert_eq!((states(&acting), commands(&acting)), (vec!["expired"], 0));
    assert!(messages(&acting).last().unwrap().subject.contains("is expired"));

    // A person may want it again; that is an approval.
    let id = acting.control.list(&Filter { state: Some(RunState::Expired), ..Filter::default() })[0].id.clone();
    acting.control.retry(&id, "ops").await.unwrap();
    minutes(1).await;
    assert_eq!((states(&acting), commands(&acting)), (vec!["expired", "verifying"], 1));
    acting.control.close_episode("one", "m1", "ops").await.unwrap();
    assert!(acting.control.close_episode("one", "m1", "ops").await.is_err());
    acting.finish().await;
}

/// Lets an alert fire under a condition that holds it, and takes the condition away.
async fn held(yaml: &str, reason: &str, spoil: impl Fn(&Acting), mend: impl Fn(&Acting)) {
    let bench = bench();
    let acting = acting(&bench, yaml).await;
    spoil(&acting);
    tokio::time::sleep(Duration::from_secs(6)).await;
    acting.fire("Hot", "m1").await;
    minutes(1).await;
    assert_eq!(acting.book.metrics().suppressed[reason], 1, "{reason}: {:?}", acting.book.metrics().suppressed);
    assert_eq!(acting.control.held()[0].reason.as_str(), reason);
    assert_eq!(commands(&acting), 0, "{reason}");
    mend(&acting);
    minutes(3).await;
    assert_eq!(commands(&acting), 1, "{reason}: asked again, nobody has to fire a second time");
    acting.finish().await;
}

#[tokio::test(start_paused = true)]
async fn what_the_world_says_holds_a_run_and_lets_it_go() {
    let set = |field: fn(&Acting) -> &std::sync::Mutex<bool>, value: bool| {
        move |acting: &Acting| *field(acting).lock().unwrap() = value
    };
    let silenced: fn(&Acting) -> &std::sync::Mutex<bool> = |acting| &acting.world.silenced;
    held(ONE, "silenced", set(silenced, true), set(silenced, false)).await;
    let window: fn(&Acting) -> &std::sync::Mutex<bool> = |acting| &acting.world.window;
    let yaml = format!("{ONE}  windows: [sunday]\n");
    held(&yaml, "window_closed", set(window, false), set(window, true)).await;
    let yaml = format!("{ONE}  guards: {{min_healthy: 'up'}}\n");
    let healthy = |value| move |acting: &Acting| *acting.world.healthy.lock().unwrap() = value;
    held(&yaml, "min_healthy", healthy(Some(false)), healthy(Some(true))).await;
    held(&yaml, "min_healthy_unknown", healthy(None), healthy(Some(true))).await;
    let up = |value| move |acting: &Acting| *acting.world.up.lock().unwrap() = value;
    held(ONE, "blind", up(Some(false)), up(Some(true))).await;
}

#[tokio::test(start_paused = true)]
async fn after_a_jump_of_the_clock_nothing_is_run_for_a_while() {
    let bench = bench();
    let acting = acting(&bench, ONE).await;
    *acting.world.skew.lock().unwrap() += 3_600_000;
    tokio::time::sleep(Duration::from_secs(6)).await;
    acting.fire("Hot", "m1").await;
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!((acting.book.metrics().suppressed["clock_jump"], commands(&acting)), (1, 0));
    minutes(1).await;
    assert_eq!(commands(&acting), 1);
    acting.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_storm_stays_within_the_budget_and_a_brake_holds_everything() {
    let bench = bench();
    let guards = "  guards: {max_targets: 7/1h, max_concurrent: 50, brake: {share: 100%, min: 5000}}\n";
    let acting = acting(&bench, &format!("{ONE}{guards}")).await;
    for number in 0..1000 {
        let now = davylamp::act::facts::World::now(&*acting.world);
        acting.world.firing.lock().unwrap().push(kit::alert("Hot", &format!("m{number}"), now));
    }
    minutes(10).await;
    assert_eq!(commands(&acting), 7);
    assert!(acting.book.metrics().suppressed["max_targets"] >= 990);
    acting.finish().await;

    let braked = acting_with_storm(30, "  guards: {max_targets: 90%/1h, brake: {share: 1%, min: 3}}\n").await;
    assert_eq!(commands(&braked), 0);
    assert!(braked.book.metrics().suppressed["brake"] >= 30);
    let told = messages(&braked);
    assert_eq!(told.len(), 1, "once: {told:?}");
    assert!(told[0].subject.contains("30 targets fire at once"), "{told:?}");
    braked.finish().await;
}

async fn acting_with_storm(count: usize, guards: &str) -> Acting {
    let bench = bench();
    let acting = acting(&bench, &format!("{ONE}{guards}")).await;
    let now = davylamp::act::facts::World::now(&*acting.world);
    let storm: Vec<Alert> = (0..count).map(|number| kit::alert("Hot", &format!("m{number}"), now)).collect();
    acting.world.firing.lock().unwrap().extend(storm);
    minutes(3).await;
    // Its folder is gone with it; nothing is written any more that a test would look at.
    std::mem::forget(bench);
    acting
}

#[tokio::test(start_paused = true)]
async fn what_comes_and_goes_is_left_alone() {
    let bench = bench();
    let guards = "  guards: {cooldown: 10s, max_runs_per_target: 99/1h, flap: {changes: 4, within: 1h}}\n";
    let acting = acting(&bench, &format!("{ONE}{guards}")).await;
    for _ in 0..6 {
        says(&acting, Symptom::Clear);
        let hot = acting.fire("Hot", "m1").await;
        minutes(4).await;
        acting.resolve(&hot, true).await;
        minutes(1).await;
    }
    assert_eq!(commands(&acting), 2, "opened, closed, opened, closed; the third time is too much");
    assert!(acting.book.metrics().suppressed["flapping"] >= 1);
    acting.finish().await;
}

#[tokio::test(start_paused = true)]
async fn what_fails_in_a_row_rests() {
    let bench = bench();
    let guards = "  guards: {max_targets: 99/1h, breaker: {failures: 2, open_for: 1h}}\n";
    let acting = acting(&bench, &format!("{ONE}{guards}")).await;
    *acting.hands.answer.lock().unwrap() = Some(HandsError::Failed("no".into()));
    for miner in ["m1", "m2", "m3", "m4"] {
        acting.fire("Hot", miner).await;
        minutes(1).await;
    }
    assert_eq!(commands(&acting), 2);
    assert_eq!(acting.book.metrics().suppressed["breaker"], 2);
    minutes(62).await;
    assert_eq!(commands(&acting), 3, "after its rest one is let through, and fails");
    acting.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_failing_ledger_lets_nothing_begin() {
    let bench = bench();
    let ledger = FileLedger::new(bench.path("ledger"));
    *ledger.broken.lock().unwrap() = true;
    let acting = Acting::start(&bench, ledger, Arc::new(Hosts), ONE).await;
    acting.fire("Hot", "m1").await;
    minutes(10).await;
    assert_eq!((commands(&acting), acting.book.runs().len()), (0, 0));
    assert_eq!(acting.book.metrics().suppressed["ledger_unavailable"], 1);
    acting.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_webhooks_alert_is_verified_by_whoever_sent_it() {
    let bench = bench();
    let yaml = format!("{ONE}  sources: [alertmanager]\n");
    let acting = acting(&bench, &yaml).await;
    acting.fire("Hot", "m2").await;
    let now = davylamp::act::facts::World::now(&*acting.world);
    let labels = Labels::new([("alertname", "Hot"), ("miner", "m1")]);
    let posted = Alert { rule: "webhook:alertmanager:Hot".into(), labels, ..kit::alert("Hot", "m1", now) };
    acting.world.firing.lock().unwrap().push(posted.clone());
    minutes(1).await;
    assert_eq!((states(&acting), commands(&acting)), (vec!["verifying"], 1), "our own rules are no source here");
    acting.resolve(&posted, true).await;
    minutes(4).await;
    assert_eq!(states(&acting), ["healed"]);
    acting.finish().await;
}
