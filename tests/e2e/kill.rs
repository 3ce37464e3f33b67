//! `kill -9` at each step between the first sight of trouble and its end: the repair is never made twice, the times of
//! the alert do not move, and the alert resolves in the end.

use std::path::Path;

use davylamp::demo::{Fault, Model};
use rustix::process::Signal;
use serde_json::Value;

use crate::lamp::Lamp;
use crate::world::{Farm, LOW, RULES, ansible, binding, config, seconds};

/// When the daemon is killed.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Moment {
    /// The alert waits for its `for`.
    Pending,
    /// The alert has just begun to fire.
    Firing,
    /// The claim was written this moment.
    Claimed,
    /// The playbook is at work.
    Playing,
    /// The playbook has ended, and the daemon has not noticed.
    Played,
    /// The run is on record as ended; the alert still fires.
    Verdict,
}

const ALL: [Moment; 6] =
    [Moment::Pending, Moment::Firing, Moment::Claimed, Moment::Playing, Moment::Played, Moment::Verdict];

/// Says when it begins and ends, and takes long enough to be killed meanwhile.
const PLAYBOOK: &str = r#"- hosts: all
  gather_facts: false
  tasks:
  - shell: echo begun >> TRACE
  - command: sleep 3
  - uri: {url: "http://{{ davylamp_address }}/api/system/restart", method: POST}
  - shell: echo done >> TRACE
"#;

struct Scene {
    lamp: Lamp,
    farm: Farm,
    /// When the alert became active and when it fired, as first seen in the state.
    times: (Option<i64>, Option<i64>),
}

impl Scene {
    fn set(ansible: &Path) -> Scene {
        let farm = Farm::start(&[("m1", Model::Bitaxe), ("m2", Model::Bitaxe)]);
        let lamp = Lamp::new(&(config(Some(ansible), &binding("slow.yml")) + &farm.targets()));
        lamp.write("rules.yml", RULES);
        lamp.write("playbooks/slow.yml", &PLAYBOOK.replace("TRACE", lamp.path("trace").to_str().unwrap()));
        Scene { lamp, farm, times: (None, None) }
    }

    fn trace(&self, word: &str) -> usize {
        let text = std::fs::read_to_string(self.lamp.path("trace")).unwrap_or_default();
        text.lines().filter(|line| *line == word).count()
    }

    /// Waits for the moment, kills the daemon, looks into its state, starts it again.
    fn kill_at(&mut self, moment: Moment) {
        let lamp = &mut self.lamp;
        let logged = |words: &str| lamp.logs().contains(words).then_some(());
        let what = format!("{moment:?}");
        match moment {
            Moment::Pending => {
                lamp.wait(&what, seconds(40), |page| page.alert(LOW, "pending"));
            }
            Moment::Firing => lamp.until(&what, seconds(40), || logged("state=\"firing\"")),
            Moment::Claimed => lamp.until(&what, seconds(40), || logged("run claimed")),
            Moment::Playing => {
                let trace = lamp.path("trace");
                lamp.until(&what, seconds(60), || trace.exists().then_some(()));
            }
            Moment::Played => {
                // Stopped, it cannot notice the end of the play that goes on without it.
                let exit = || lamp.runs().iter().any(|run| run.join("exit.json").exists()).then_some(());
                let spawned = || lamp.runs().iter().any(|run| run.join("supervisor.json").exists()).then_some(());
                lamp.until(&what, seconds(60), spawned);
                lamp.signal(Signal::STOP);
                lamp.until(&what, seconds(60), exit);
            }
            Moment::Verdict => lamp.until(&what, seconds(60), || {
                lamp.metrics().value("davylamp_runs_total", &[]).is_some_and(|count| count > 0.0).then_some(())
            }),
        }
        lamp.kill();
        let records = lamp.export();
        lamp.start();
        self.compare_times(&records, &what);
    }

    /// The times of the alert in the state must be the same at every look.
    fn compare_times(&mut self, records: &[(String, Value)], when: &str) {
        let alert =
            records.iter().find(|(key, alert)| key.starts_with("alert/") && alert["labels"]["alertname"] == LOW);
        let (_, alert) = alert.unwrap_or_else(|| panic!("{when}: the alert is not in the state: {records:?}"));
        let now = (alert["active_at"].as_i64(), alert["fired_at"].as_i64());
        let same = |first: Option<i64>, now: Option<i64>| first.is_none() || first == now;
        assert!(same(self.times.0, now.0) && same(self.times.1, now.1), "{when}: {:?} became {now:?}", self.times);
        assert!(now.0.is_some() && (when == "Pending" || now.1.is_some()), "{when}: {alert}");
        self.times = now;
    }

    /// Waits until alert and run are over, then counts.
    fn settle(mut self, moments: &[Moment]) {
        let (lamp, device) = (&mut self.lamp, self.farm.device("m1"));
        lamp.until("the end of alert and run", seconds(120), || {
            let page = lamp.metrics();
            let count = |name, labels: &[(&str, &str)]| page.value(name, labels).unwrap_or(0.0);
            if count("davylamp_runs_total", &[("result", "interrupted")]) > 0.0 && device.restarts() == 0 {
                // Nobody knows how far it got, so nobody tries again: a person has to.
                device.set_fault(None);
            }
            // Silence is no proof: the alert must have been told as resolved.
            let resolved = lamp.logs().contains("state=\"resolved\"") && page.value("ALERTS", &[]).is_none();
            (resolved && count("davylamp_runs_running", &[]) == 0.0).then_some(())
        });
        // Two more looks of the acting room: time for a second run, if there were one.
        std::thread::sleep(seconds(11));
        lamp.finish();
        let records = lamp.export();
        self.compare_times(&records, "the end");
        let runs: Vec<&Value> =
            records.iter().filter(|(key, _)| key.starts_with("act/run/")).map(|(_, run)| run).collect();
        assert_eq!(runs.len(), 1, "{moments:?}: {runs:#?}");
        let (begun, done) = (self.trace("begun"), self.trace("done"));
        let sure = !moments.contains(&Moment::Firing) && !moments.contains(&Moment::Claimed);
        match runs[0]["state"].as_str().unwrap() {
            "succeeded" => assert_eq!((begun, done, self.farm.device("m1").restarts()), (1, 1, 1), "{moments:?}"),
            // Killed between the claim and the first sign of life of the supervisor.
            "interrupted" if !sure => assert!(begun <= 1 && done <= begun, "{moments:?}: {begun}, {done}"),
            other => panic!("{moments:?}: {other}: {:#}\n{}", runs[0], self.lamp.logs()),
        }
        eprintln!("killed at {moments:?}: {}, the playbook began {begun} time(s)", runs[0]["state"]);
    }
}

#[test]
fn killed_at_any_step_a_repair_is_made_once() {
    let Some(ansible) = ansible() else { return };
    let mut roads: Vec<Vec<Moment>> = ALL.iter().map(|moment| vec![*moment]).collect();
    // And at several steps of one episode.
    roads.push(vec![Moment::Pending, Moment::Playing, Moment::Played, Moment::Verdict]);
    let ansible = &ansible;
    std::thread::scope(|scope| {
        for moments in &roads {
            scope.spawn(move || {
                let mut scene = Scene::set(ansible);
                scene.lamp.start();
                let up = |page: &crate::http::Page| page.value("davylamp_target_up", &[]) == Some(2.0);
                scene.lamp.wait("both miners", seconds(60), up);
                scene.farm.device("m1").set_fault(Some(Fault::LowHashrate));
                for moment in moments {
                    scene.kill_at(*moment);
                }
                scene.settle(moments);
            });
        }
    });
}
