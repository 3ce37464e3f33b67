//! What happens between two polls: the engine's events, summed up.
//!
//! Restarts and kills for want of memory are read from several witnesses, none of which sees everything: events may be
//! lost (the engine keeps 256), `RestartCount` begins anew at a manual start, `OOMKilled` misses a killed child. Each
//! witness counts upwards for itself, and the largest count is the answer: it never falls and never counts one twice.

use std::collections::{BTreeMap, HashMap, HashSet};

use serde::{Deserialize, Serialize};

use super::words::Inspected;

/// The name of our own reply among the engine's.
pub(super) const REQUEST: &str = "lifecycle";

/// How many events the engine keeps; as many in one answer mean that older ones may be lost.
const KEPT_BY_ENGINE: usize = 256;

/// Actions by type of event. Others are counted as `other`: action names become labels, so they are a closed set, and
/// the `exec_*` ones carry command lines.
const KNOWN: &[(&str, &[&str])] = &[
    (
        "container",
        &[
            "create",
            "start",
            "restart",
            "stop",
            "kill",
            "die",
            "oom",
            "pause",
            "unpause",
            "rename",
            "update",
            "destroy",
            "health_status",
        ],
    ),
    ("image", &["pull", "push", "tag", "untag", "delete", "import", "load", "save"]),
    ("volume", &["create", "mount", "unmount", "destroy"]),
    ("network", &["create", "connect", "disconnect", "destroy"]),
    ("daemon", &["reload"]),
];

/// The value of `filters` in `GET /events`: without it every health check of every container is three events.
pub(super) fn filters() -> String {
    let events: HashSet<&str> = KNOWN.iter().flat_map(|(_, actions)| actions.iter().copied()).collect();
    let mut events: Vec<&str> = events.into_iter().collect();
    events.sort_unstable();
    serde_json::json!({ "event": events }).to_string()
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Event {
    #[serde(rename = "Type")]
    kind: String,
    #[serde(rename = "Action")]
    action: String,
    #[serde(rename = "Actor")]
    actor: Actor,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Actor {
    #[serde(rename = "ID")]
    id: String,
    #[serde(rename = "Attributes")]
    attributes: HashMap<String, String>,
}

/// Counters of one container, as the parser gets them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Counters {
    /// Restarts of any cause.
    pub restarts: u64,
    /// Out-of-memory events.
    pub oom_kills: u64,
    /// Exit code of the last `die` event.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_exit_code: Option<i64>,
}

/// One number of `docker_events_total`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct EventCount {
    /// Type of the object.
    #[serde(rename = "type")]
    pub kind: String,
    /// What happened to it.
    pub action: String,
    /// How often since the first poll.
    pub count: u64,
}

/// Our own reply to the parser: everything that was counted so far. It is saved like the engine's own replies.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Summary {
    /// Events by type and action, sorted.
    pub events: Vec<EventCount>,
    /// Times at which events may have been missed.
    pub gaps: u64,
    /// By container id.
    pub containers: BTreeMap<String, Counters>,
}

/// The witnesses for one container.
#[derive(Debug, Default)]
struct Witness {
    /// What the engine said when we first looked: restarts, and 1 if it had been killed for want of memory.
    base: Option<(u64, u64)>,
    start_events: u64,
    /// Whether its first start is still to come: that one is no restart.
    unstarted: bool,
    restart_count: u64,
    restart_count_risen: u64,
    started_at: Option<String>,
    starts_inspected: u64,
    oom_events: u64,
    oom_started_at: Option<String>,
    ooms_inspected: u64,
    last_exit_code: Option<i64>,
}

impl Witness {
    fn inspected(&mut self, inspected: &Inspected) {
        let count = inspected.restart_count.unwrap_or(0);
        let Some(state) = &inspected.state else { return };
        let started = state.started_at.as_deref().filter(|text| super::words::nanoseconds(text).is_some());
        let started = started.map(str::to_string);
        if self.base.is_none() {
            // Born under our eyes: everything it did is also among the events, and must not be counted twice.
            let born = self.unstarted;
            let ooms = u64::from(state.oom_killed);
            self.base = Some(if born { (0, 0) } else { (count, ooms) });
            (self.restart_count_risen, self.ooms_inspected) = if born { (count, ooms) } else { (0, 0) };
            self.unstarted = born || started.is_none();
        } else {
            self.restart_count_risen += count.saturating_sub(self.restart_count);
            self.starts_inspected += u64::from(started.is_some() && started != self.started_at);
            let fresh_kill = state.oom_killed && self.oom_started_at != started;
            self.ooms_inspected += u64::from(fresh_kill);
        }
        self.restart_count = count;
        if state.oom_killed {
            self.oom_started_at.clone_from(&started);
        }
        self.started_at = started;
    }

    fn counters(&self) -> Counters {
        let (restarts, ooms) = self.base.unwrap_or_default();
        let first = u64::from(self.unstarted);
        let starts = self.start_events.max(self.starts_inspected).saturating_sub(first);
        Counters {
            restarts: restarts + starts.max(self.restart_count_risen),
            oom_kills: ooms + self.oom_events.max(self.ooms_inspected),
            last_exit_code: self.last_exit_code,
        }
    }
}

/// Everything counted for one engine.
#[derive(Debug, Default)]
pub(super) struct Lifecycle {
    events: BTreeMap<(&'static str, &'static str), u64>,
    gaps: u64,
    containers: HashMap<String, Witness>,
}

impl Lifecycle {
    /// Counts a body of `GET /events` (one JSON object a line). Gives the ids of the containers that changed, or
    /// `None` when events may be missing and every container has to be looked at.
    pub(super) fn take_events(&mut self, body: &[u8]) -> Option<HashSet<String>> {
        let mut changed = HashSet::new();
        let mut seen = 0;
        for event in serde_json::Deserializer::from_slice(body).into_iter::<Event>() {
            let Ok(event) = event else {
                self.gaps += 1;
                return None;
            };
            seen += 1;
            self.count(&event);
            if event.kind == "container" {
                self.witness(&event);
                changed.insert(event.actor.id);
            }
        }
        if seen >= KEPT_BY_ENGINE {
            self.gaps += 1;
            return None;
        }
        Some(changed)
    }

    /// Counts a request for events that failed.
    pub(super) fn gap(&mut self) {
        self.gaps += 1;
    }

    fn count(&mut self, event: &Event) {
        let action = event.action.split(':').next().unwrap_or_default();
        if action.starts_with("exec_") {
            return;
        }
        let (kind, actions) = KNOWN.iter().find(|(kind, _)| *kind == event.kind).unwrap_or(&("other", &[]));
        let action = actions.iter().find(|known| **known == action).unwrap_or(&"other");
        *self.events.entry((kind, action)).or_default() += 1;
    }

    fn witness(&mut self, event: &Event) {
        let witness = self.containers.entry(event.actor.id.clone()).or_default();
        match event.action.as_str() {
            "create" => witness.unstarted = true,
            "start" => witness.start_events += 1,
            "oom" => witness.oom_events += 1,
            "die" => {
                // Docker says exitCode, Podman containerExitCode.
                let attributes = &event.actor.attributes;
                let code = attributes.get("exitCode").or_else(|| attributes.get("containerExitCode"));
                witness.last_exit_code = code.and_then(|code| code.parse().ok()).or(witness.last_exit_code);
            }
            _ => {}
        }
    }

    /// Takes in what a fresh inspect said about a container.
    pub(super) fn take_inspected(&mut self, id: &str, inspected: &Inspected) {
        self.containers.entry(id.to_string()).or_default().inspected(inspected);
    }

    /// Forgets containers that are gone, so that short-lived ones do not fill the memory.
    pub(super) fn retain(&mut self, alive: &HashSet<String>) {
        self.containers.retain(|id, _| alive.contains(id));
    }

    /// The sum so far.
    pub(super) fn summary(&self) -> Summary {
        let count = |(&(kind, action), &count): (&(&str, &str), &u64)| EventCount {
            kind: kind.to_string(),
            action: action.to_string(),
            count,
        };
        let containers = self.containers.iter().filter(|(_, witness)| witness.base.is_some());
        Summary {
            events: self.events.iter().map(count).collect(),
            gaps: self.gaps,
            containers: containers.map(|(id, witness)| (id.clone(), witness.counters())).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(action: &str, id: &str) -> String {
        format!("{{\"Type\":\"container\",\"Action\":{action:?},\"Actor\":{{\"ID\":{id:?}}}}}\n")
    }

    fn inspected(restart_count: u64, started_at: &str, oom_killed: bool) -> Inspected {
        let state = serde_json::json!({ "OOMKilled": oom_killed, "StartedAt": started_at });
        serde_json::from_value(serde_json::json!({ "RestartCount": restart_count, "State": state })).unwrap()
    }

    const NEVER: &str = "0001-01-01T00:00:00Z";

    fn at(second: u32) -> String {
        format!("2026-05-01T00:00:{second:02}Z")
    }

    fn restarts(lifecycle: &Lifecycle) -> u64 {
        lifecycle.summary().containers["a"].restarts
    }

    #[test]
    fn restarts_rise_through_manual_starts_that_reset_the_engines_count() {
        let mut life = Lifecycle::default();
        life.take_inspected("a", &inspected(7, &at(1), false));
        assert_eq!(restarts(&life), 7);
        life.take_events(event("start", "a").as_bytes());
        life.take_inspected("a", &inspected(0, &at(2), false));
        assert_eq!(restarts(&life), 8);
        life.take_events(event("start", "a").repeat(2).as_bytes());
        life.take_inspected("a", &inspected(2, &at(4), false));
        assert_eq!(restarts(&life), 10, "two witnesses of the same restarts count them once");
    }

    #[test]
    fn a_start_that_the_inspection_saw_first_is_not_counted_again_when_its_event_arrives() {
        let mut life = Lifecycle::default();
        life.take_inspected("a", &inspected(0, &at(1), false));
        life.take_inspected("a", &inspected(1, &at(2), false));
        assert_eq!(restarts(&life), 1);
        life.take_events(event("start", "a").as_bytes());
        life.take_inspected("a", &inspected(1, &at(2), false));
        assert_eq!(restarts(&life), 1);
    }

    #[test]
    fn a_first_start_is_no_restart() {
        let mut life = Lifecycle::default();
        life.take_inspected("a", &inspected(0, NEVER, false));
        life.take_events(event("start", "a").as_bytes());
        life.take_inspected("a", &inspected(0, &at(1), false));
        assert_eq!(restarts(&life), 0);
        let mut life = Lifecycle::default();
        life.take_events((event("create", "a") + &event("start", "a").repeat(3)).as_bytes());
        life.take_inspected("a", &inspected(2, &at(3), false));
        assert_eq!(restarts(&life), 2, "born, started and restarted twice between two polls");
    }

    #[test]
    fn kills_are_counted_by_event_or_by_flag() {
        let kills = |life: &Lifecycle| life.summary().containers["a"].oom_kills;
        let mut life = Lifecycle::default();
        life.take_inspected("a", &inspected(0, &at(1), false));
        life.take_events(event("oom", "a").repeat(2).as_bytes());
        life.take_inspected("a", &inspected(0, &at(1), true));
        assert_eq!(kills(&life), 2, "two killed children, one container");
        let mut life = Lifecycle::default();
        life.take_inspected("a", &inspected(0, &at(1), true));
        life.take_inspected("a", &inspected(0, &at(1), true));
        assert_eq!(kills(&life), 1, "the flag stays up");
        life.take_inspected("a", &inspected(1, &at(2), true));
        assert_eq!(kills(&life), 2, "killed again, and the event was missed");
    }

    #[test]
    fn actions_are_a_closed_set_and_command_lines_never_become_labels() {
        let mut life = Lifecycle::default();
        let actions =
            ["exec_start: /bin/sh -c secret", "health_status: healthy", "health_status: unhealthy", "teleport"];
        let body: String = actions.iter().map(|action| event(action, "a")).collect();
        assert_eq!(life.take_events(body.as_bytes()), Some(HashSet::from(["a".to_string()])));
        let counts: Vec<_> = life.summary().events.into_iter().map(|e| (e.kind, e.action, e.count)).collect();
        let of = |action: &str, count| ("container".to_string(), action.to_string(), count);
        assert_eq!(counts, [of("health_status", 2), of("other", 1)]);
        assert!(!filters().contains("exec"));
    }

    #[test]
    fn lost_events_are_a_gap() {
        let mut life = Lifecycle::default();
        assert_eq!(life.take_events(event("die", "a").repeat(KEPT_BY_ENGINE).as_bytes()), None);
        assert_eq!(life.take_events(b"{\"Type\":\"container\",\"Act"), None);
        assert_eq!(life.summary().gaps, 2);
        assert_eq!(life.take_events(b""), Some(HashSet::new()));
        life.take_inspected("a", &inspected(0, &at(1), false));
        life.retain(&HashSet::new());
        assert!(life.summary().containers.is_empty(), "containers that are gone are forgotten");
    }
}
