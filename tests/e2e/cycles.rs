//! `kill -9` again and again while alerts come by webhook, fail, are rehearsed, approved, repaired and verified: no step
//! of an episode runs twice, no acknowledged alert is forgotten, and what was interrupted is said to be.
//!
//! Runs are counted by what stands for Ansible, outside of everything that davylamp keeps. `DAVYLAMP_KILL_CYCLES` sets
//! the number of kills (40).

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::http::send;
use crate::lamp::Lamp;
use crate::world::{PLAYED, posted, seconds};

const BEARER: (&str, &str) = ("Authorization", "Bearer s3cret");
/// Daemons that are killed side by side.
const LANES: u64 = 4;
/// How long a moment is waited for; then the daemon is killed wherever it is.
const PATIENCE: Duration = Duration::from_secs(4);
/// Most hosts of a lane's inventory.
const HOSTS: usize = 2000;

/// When the daemon is killed: around each change of a run's state, and at any time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Moment {
    /// While a webhook is being accepted.
    Accepting,
    /// Right after it was.
    Accepted,
    Claimed,
    Spawned,
    Exited,
    /// The first step is over, and the second one is not begun.
    BetweenSteps,
    /// The check run has ended; somebody has to approve.
    WaitingApproval,
    /// While the approval is being taken.
    Approving,
    /// After it was taken, before the claim.
    Approved,
    Verifying,
    /// The verdict of the verification.
    Healed,
    AnyTime,
}

const MOMENTS: [Moment; 12] = [
    Moment::Accepting,
    Moment::Accepted,
    Moment::Claimed,
    Moment::Spawned,
    Moment::Exited,
    Moment::BetweenSteps,
    Moment::WaitingApproval,
    Moment::Approving,
    Moment::Approved,
    Moment::Verifying,
    Moment::Healed,
    Moment::AnyTime,
];

const CONFIG: &str = "server: {listen: '127.0.0.1:0', token: {file: token}, requests_per_second: 0}
storage: {path: state, ballast_bytes: 0}
ansible: {command: ./ansible-playbook, inventory: hosts, startup_grace: 0s, kill_grace: 1s, max_concurrent: 8, queue: 1000}
webhooks: {alertmanager: {bearer: {file: token}}}
remediations:
- name: ladder
  match: ['alertname=\"Hot\"']
  target: '{{ $labels.miner }}'
  sources: [alertmanager]
  mode: auto
  steps:
  - {playbook: fail.yml, timeout: 30s, verify: {within: 1h}}
  - {playbook: repair.yml, mode: approve, timeout: 30s, verify: {within: 1h}}
  guards: {cooldown: 1m, max_runs_per_target: 99/1h, max_targets: 2000/1h, max_concurrent: 8,
           breaker: {failures: 100000, open_for: 1m}, brake: {share: 100%, min: 2000}}
";

/// xorshift64*: reproducible, and enough for choosing.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % limit
    }

    /// A pause of less than so many milliseconds, down to the microsecond.
    fn pause(&mut self, millis: u64) {
        std::thread::sleep(Duration::from_micros(self.below(millis * 1000)));
    }
}

/// One daemon and what it has acknowledged.
struct Lane {
    lamp: Lamp,
    dice: Dice,
    alerts: usize,
    fired: BTreeSet<String>,
    resolved: BTreeSet<String>,
}

impl Lane {
    fn new(number: u64) -> Lane {
        let lamp = Lamp::new(CONFIG);
        lamp.write("token", "s3cret\n");
        let hosts: Vec<String> = (0..HOSTS).map(|n| format!("m{n}")).collect();
        lamp.write("hosts", &(hosts.join("\n") + "\n"));
        lamp.write("hosts.json", &serde_json::json!({"all": {"hosts": hosts}}).to_string());
        for name in ["fail.yml", "repair.yml"] {
            lamp.write(&format!("playbooks/{name}"), "- hosts: all\n");
        }
        lamp.program("ansible-playbook", PLAYED);
        lamp.program("ansible-inventory", &format!("#!/bin/sh\ncat {}\n", lamp.path("hosts.json").display()));
        let (fired, resolved) = (BTreeSet::new(), BTreeSet::new());
        Lane { lamp, dice: Dice(0x9e37_79b9 + number), alerts: 0, fired, resolved }
    }

    /// Posts; true when it was acknowledged.
    fn post(&self, miner: &str, status: &str) -> bool {
        let body = posted(status, "Hot", miner);
        let path = "/api/v1/webhooks/alertmanager";
        send(self.lamp.address(), "POST", path, &[BEARER], &body).is_ok_and(|answer| answer.status == 202)
    }

    fn fire(&mut self) {
        let miner = format!("m{}", self.alerts);
        self.alerts += 1;
        if self.post(&miner, "firing") {
            self.fired.insert(miner);
        }
    }

    fn resolve(&mut self, miner: String) {
        if self.post(&miner, "resolved") {
            self.resolved.insert(miner);
        }
    }

    /// How often what stands for Ansible was started, by host, playbook and mode.
    fn traces(&self) -> BTreeMap<String, usize> {
        let text = std::fs::read_to_string(self.lamp.path("trace")).unwrap_or_default();
        text.lines().fold(BTreeMap::new(), |mut counts, line| {
            *counts.entry(line.to_string()).or_default() += 1;
            counts
        })
    }

    /// The miners that were repaired and still fire.
    fn repaired(&self) -> Vec<String> {
        let host = |line: &String| line.strip_suffix(" repair.yml real").map(String::from);
        self.traces().keys().filter_map(host).filter(|miner| !self.resolved.contains(miner)).collect()
    }

    /// Ids of the runs that somebody may approve, or none if the daemon is no longer there.
    fn waiting(&self) -> Vec<String> {
        let page = send(self.lamp.address(), "GET", "/api/v1/runs?state=waiting_approval&limit=1000", &[], "");
        let found: Value = page.ok().and_then(|page| serde_json::from_str(&page.body).ok()).unwrap_or_default();
        let ids = found["runs"].as_array().into_iter().flatten().filter_map(|run| run["id"].as_str());
        ids.map(String::from).collect()
    }

    fn approve(&self, id: &str) -> bool {
        let path = format!("/api/v1/runs/{id}/approve");
        send(self.lamp.address(), "POST", &path, &[BEARER], "{\"by\":\"ann\"}").is_ok_and(|answer| answer.status == 200)
    }

    /// Waits for something; false when it does not come.
    fn see(&self, look: impl Fn() -> bool) -> bool {
        let begun = Instant::now();
        while !look() {
            if begun.elapsed() > PATIENCE {
                return false;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        true
    }

    fn logged(&self, words: [&str; 2]) -> bool {
        self.see(|| self.lamp.log().lines().any(|line| words.iter().all(|word| line.contains(word))))
    }

    fn files(&self, name: &str) -> usize {
        self.lamp.runs().iter().filter(|run| run.join(name).exists()).count()
    }

    /// Starts, lets things happen, and kills at the moment. Whether it came.
    fn cycle(&mut self, moment: Moment) -> bool {
        let (spawned, exited) = (self.files("supervisor.json"), self.files("exit.json"));
        self.lamp.start();
        let approvals = matches!(moment, Moment::Approving | Moment::Approved);
        for id in self.waiting() {
            if !approvals && self.dice.below(2) == 0 {
                self.approve(&id);
            }
        }
        let healing = moment == Moment::Healed;
        for miner in self.repaired() {
            if healing || self.dice.below(4) == 0 {
                self.resolve(miner);
            }
        }
        if moment != Moment::Accepting {
            self.fire();
        }
        let came = match moment {
            Moment::Accepting => self.during(|lane| lane.fire()),
            Moment::Accepted => true,
            Moment::Claimed => self.logged(["run claimed", ""]),
            Moment::Spawned => self.see(|| self.files("supervisor.json") > spawned),
            Moment::Exited => self.see(|| self.files("exit.json") > exited),
            Moment::BetweenSteps => self.logged(["run ended", "state=\"failed\""]),
            Moment::WaitingApproval => self.logged(["run ended", "state=\"succeeded\""]),
            Moment::Approving => {
                self.see(|| !self.waiting().is_empty());
                let id = self.waiting().pop().unwrap_or_default();
                self.during(|lane| lane.approve(&id))
            }
            Moment::Approved => self.see(|| self.waiting().iter().any(|id| self.approve(id))),
            Moment::Verifying => {
                self.see(|| self.waiting().iter().any(|id| self.approve(id)));
                self.logged(["does it help?", ""])
            }
            Moment::Healed => self.logged(["run ended", "state=\"healed\""]),
            Moment::AnyTime => true,
        };
        match moment {
            Moment::AnyTime => self.dice.pause(1500),
            // It was killed meanwhile.
            Moment::Accepting | Moment::Approving => return came,
            _ => self.dice.pause(4),
        }
        self.lamp.kill();
        came
    }

    /// Kills while something is being done.
    fn during<T>(&mut self, work: impl FnOnce(&mut Lane) -> T) -> bool {
        let pid = self.lamp.pid();
        let after = Duration::from_micros(self.dice.below(6000));
        std::thread::scope(|scope| {
            scope.spawn(move || {
                std::thread::sleep(after);
                // Not reaped before the scope ends, so the id is still its own.
                rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
            });
            work(self);
        });
        self.lamp.kill();
        true
    }

    /// What is on the disk after a kill: every acknowledged alert that nobody resolved, and the states of the runs.
    fn inspect(&self, seen: &mut BTreeMap<String, usize>) {
        let records = self.lamp.export();
        let posted: BTreeSet<&str> = records
            .iter()
            .filter(|(key, _)| key.starts_with("webhook/"))
            .filter_map(|(_, posted)| posted["alert"]["labels"]["miner"].as_str())
            .collect();
        for miner in self.fired.difference(&self.resolved) {
            assert!(posted.contains(miner.as_str()), "{miner} was acknowledged and is lost: {posted:?}");
        }
        let runs = records.iter().filter(|(key, _)| key.starts_with("act/run/"));
        let going_on: BTreeSet<&str> =
            runs.filter(|(_, run)| run["ended_at"].is_null()).filter_map(|(_, run)| run["state"].as_str()).collect();
        for state in going_on {
            *seen.entry(state.to_string()).or_default() += 1;
        }
    }

    /// Lets everything come to its end; then counts. The number of interrupted runs.
    fn settle(mut self) -> usize {
        self.lamp.start();
        let open = |lane: &Lane, verifying: bool| {
            let page: Value = serde_json::from_str(&lane.lamp.get("/api/v1/runs?limit=1000").body).unwrap();
            let goes_on = |run: &&Value| run["ended_at"].is_null() && (verifying || run["state"] != "verifying");
            page["runs"].as_array().unwrap().iter().filter(goes_on).count()
        };
        let quiet = |lane: &Lane| {
            // Some are still being rehearsed; they are approved the next time.
            let _ = lane.waiting().iter().filter(|id| lane.approve(id)).count();
            std::thread::sleep(Duration::from_millis(100));
            (open(lane, false) == 0).then_some(())
        };
        // Every acknowledged alert has its run, or had one.
        let missing = |lane: &Lane| -> Vec<String> {
            let page = lane.lamp.get("/api/v1/runs?limit=1000").body;
            lane.fired.iter().filter(|miner| !page.contains(&format!("\"{miner}\""))).cloned().collect()
        };
        self.lamp.until("runs for all alerts", seconds(60), || missing(&self).is_empty().then_some(()));
        self.lamp.until("the end of all runs", seconds(120), || quiet(&self));
        // Also those whose acknowledgement was cut off by a kill: they may be on the disk all the same.
        for miner in (0..self.alerts).map(|number| format!("m{number}")) {
            if !self.resolved.contains(&miner) {
                self.resolve(miner);
            }
        }
        self.lamp.until("the end of all verification", seconds(60), || (open(&self, true) == 0).then_some(()));
        self.lamp.finish();
        self.count()
    }

    fn count(&self) -> usize {
        let (traces, records) = (self.traces(), self.lamp.export());
        let twice: Vec<_> = traces.iter().filter(|(_, count)| **count > 1).collect();
        assert!(twice.is_empty(), "these ran more than once: {twice:?}");
        let state = self.lamp.path("state").display().to_string();
        let audit = self.lamp.output(&["audit", "list", "--limit", "10000", "--path", &state]);
        assert!(audit.status.success(), "its chain is broken: {audit:?}");
        let audit = String::from_utf8_lossy(&audit.stdout);
        let mut interrupted = 0;
        let mut steps: BTreeMap<String, usize> = BTreeMap::new();
        for (_, run) in records.iter().filter(|(key, _)| key.starts_with("act/run/")) {
            let word = |name: &str| run[name].as_str().unwrap_or_default();
            let mode = if run["rehearses"].is_null() { "real" } else { "check" };
            let line = format!("{} {} {mode}", word("target"), word("playbook"));
            let played = traces.get(&line).copied().unwrap_or_default();
            match word("state") {
                "failed" | "succeeded" | "healed" => assert_eq!(played, 1, "{line}: {run:#}"),
                "interrupted" => {
                    interrupted += 1;
                    let id = word("id");
                    let told = audit.lines().any(|line| line.contains("run.interrupted") && line.contains(id));
                    assert!(told && !word("detail").is_empty(), "nobody is told of it: {run:#}");
                }
                other => panic!("{line} is {other} at the end: {run:#}\n{}", self.lamp.logs()),
            }
            *steps.entry(line).or_default() += 1;
        }
        assert!(steps.values().all(|count| *count == 1), "{steps:?}");
        for line in traces.keys() {
            assert!(steps.contains_key(line), "{line} ran, and no record says so");
        }
        for miner in &self.fired {
            assert!(
                steps.contains_key(&format!("{miner} fail.yml real")),
                "{miner} was acknowledged and never acted on"
            );
        }
        interrupted
    }
}

#[test]
fn killed_again_and_again_no_step_runs_twice_and_no_alert_is_forgotten() {
    let cycles: u64 = std::env::var("DAVYLAMP_KILL_CYCLES").ok().and_then(|text| text.parse().ok()).unwrap_or(40);
    let lane = |number: u64| {
        let mut lane = Lane::new(number);
        let (mut came, mut states) = (BTreeMap::new(), BTreeMap::new());
        for cycle in (number..cycles).step_by(LANES as usize) {
            let moment = MOMENTS[(cycle / LANES + number * 3) as usize % MOMENTS.len()];
            *came.entry((moment, lane.cycle(moment))).or_insert(0_usize) += 1;
            lane.inspect(&mut states);
        }
        let (alerts, runs) = (lane.fired.len(), lane.traces().values().sum::<usize>());
        (came, states, alerts, runs, lane.settle())
    };
    let lane = &lane;
    let told = std::thread::scope(|scope| {
        let lanes: Vec<_> = (0..LANES).map(|number| scope.spawn(move || lane(number))).collect();
        lanes.into_iter().map(|lane| lane.join().unwrap()).collect::<Vec<_>>()
    });
    let (mut came, mut states) = (BTreeMap::new(), BTreeMap::new());
    let (mut alerts, mut runs, mut interrupted) = (0, 0, 0);
    for lane in told {
        lane.0.into_iter().for_each(|(moment, count)| *came.entry(moment).or_insert(0) += count);
        lane.1.into_iter().for_each(|(state, count)| *states.entry(state).or_insert(0) += count);
        (alerts, runs, interrupted) = (alerts + lane.2, runs + lane.3, interrupted + lane.4);
    }
    let hit: usize = came.iter().filter(|((_, came), _)| *came).map(|(_, count)| count).sum();
    assert!(hit * 2 >= cycles as usize, "most moments must come, or nothing is tested: {came:?}");
    eprintln!(
        "{cycles} kills, {hit} of them at the moment that was meant: {came:?}\n\
         {alerts} alerts acknowledged, {runs} plays, none of them twice; {interrupted} run(s) interrupted, and said to be\n\
         runs under way at the kills: {states:?}"
    );
}
