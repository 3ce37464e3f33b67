//! Grouping, repeating and ending, on a clock of the tests' own.

use std::path::Path;
use std::sync::Mutex;

use super::*;
use crate::notify::check::{Entries, check};
use crate::notify::settings::{ReceiverEntry, RouteEntry};
use crate::silence::{Silences, WindowEntry, Windows};

/// A world in which everything is as the test says.
struct Stage {
    now: Mutex<i64>,
    notices: Mutex<Vec<Notice>>,
    muted: Mutex<Vec<String>>,
    open: Mutex<bool>,
    checked: Arc<Checked>,
}

impl World for Stage {
    fn now(&self) -> i64 {
        *self.now.lock().unwrap()
    }
    fn notices(&self) -> Arc<Vec<Notice>> {
        Arc::new(self.notices.lock().unwrap().clone())
    }
    fn muted(&self, labels: &Labels) -> bool {
        self.muted.lock().unwrap().iter().any(|name| labels.get("miner") == Some(name))
    }
    fn window_open(&self, _: &str) -> bool {
        *self.open.lock().unwrap()
    }
    fn checked(&self) -> Arc<Checked> {
        self.checked.clone()
    }
    fn heard(&self, _: Silences) {}
}

fn checked(receivers: &str, route: &str) -> Arc<Checked> {
    let receivers: Vec<ReceiverEntry> = serde_yaml::from_str(receivers).unwrap();
    let route: RouteEntry = serde_yaml::from_str(route).unwrap();
    let windows: Vec<WindowEntry> = serde_yaml::from_str("[{name: night, cron: '0 0 2 * * *', duration: 1h}]").unwrap();
    let windows = Windows::check(&windows).unwrap();
    let entries = Entries {
        alertmanagers: &[],
        receivers: &receivers,
        route: Some(&route),
        windows: &windows,
        folder: Path::new("/"),
        external_url: "",
    };
    Arc::new(check(&entries).unwrap_or_else(|mistakes| panic!("{mistakes:?}")))
}

const OPS: &str = "[{name: ops, rate_limit: 100/1m, webhook_configs: [{url: 'http://127.0.0.1:1/'}]}]";
const ROUTE: &str = "{receiver: ops, group_by: [alertname], group_wait: 30s, group_interval: 5m, repeat_interval: 4h}";

struct Play {
    stage: Stage,
    dispatcher: Dispatcher,
    /// What the next orders come to.
    outcome: Result<(), Fault>,
}

impl Play {
    fn new(checked: Arc<Checked>) -> Self {
        let stage = Stage {
            now: Mutex::new(0),
            notices: Mutex::default(),
            muted: Mutex::default(),
            open: Mutex::new(false),
            checked: checked.clone(),
        };
        Play { stage, dispatcher: Dispatcher::new(checked, Vec::new(), 0).0, outcome: Ok(()) }
    }

    fn fires(&self, miner: &str) {
        let labels = Labels::new([("alertname", "Hot"), ("miner", miner)]);
        let notice = Notice {
            labels,
            annotations: Labels::new([("summary", format!("{miner} is hot"))]),
            starts_at: self.stage.now(),
            resolved_at: None,
            generator_url: String::new(),
            interval: Duration::from_secs(15),
        };
        self.stage.notices.lock().unwrap().push(notice);
    }

    fn resolves(&self, miner: &str) {
        let now = self.stage.now();
        let mut notices = self.stage.notices.lock().unwrap();
        let found = notices.iter_mut().filter(|notice| notice.labels.get("miner") == Some(miner));
        found.for_each(|notice| notice.resolved_at = Some(now));
    }

    /// What is said from now up to `seconds`, looked at every second: time and title.
    fn until(&mut self, seconds: i64) -> Vec<String> {
        let mut said = Vec::new();
        loop {
            let now = self.stage.now();
            let (orders, _) = self.dispatcher.orders(&self.stage, 100);
            for order in orders {
                if let Some(letter) = &order.letter {
                    let alerts = letter.payload["alerts"].as_array().unwrap();
                    said.push(format!("{} {} ({})", now / 1000, letter.title, alerts.len()));
                }
                self.dispatcher.done(&order, &self.outcome, now);
            }
            if now / 1000 >= seconds {
                return said;
            }
            *self.stage.now.lock().unwrap() += 1000;
        }
    }
}

#[test]
fn a_group_waits_tells_tells_news_and_repeats() {
    let mut play = Play::new(checked(OPS, ROUTE));
    play.fires("a");
    assert!(play.until(10).is_empty());
    play.fires("b");
    assert_eq!(play.until(60), ["30 [FIRING:2] Hot (2)"], "both in one message");
    play.fires("c");
    assert_eq!(play.until(600), ["330 [FIRING:3] Hot (3)"], "news wait for the group's interval");
    assert_eq!(play.until(4 * 3600 + 600), ["14730 [FIRING:3] Hot (3)"], "the same again after four hours");
}

#[test]
fn the_end_is_told_once_and_a_new_beginning_anew() {
    let mut play = Play::new(checked(OPS, ROUTE));
    play.fires("a");
    assert_eq!(play.until(60).len(), 1);
    play.resolves("a");
    assert_eq!(play.until(700), ["330 [RESOLVED] Hot (1)"]);
    assert!(play.until(20_000).is_empty(), "and never again");
    play.stage.notices.lock().unwrap().clear();
    assert!(play.until(20_010).is_empty() && play.dispatcher.groups.is_empty() && play.dispatcher.log.is_empty());
    play.fires("a");
    assert_eq!(play.until(20_100), ["20040 [FIRING:1] Hot (1)"]);
}

#[test]
fn what_resolves_before_anybody_knew_is_never_told() {
    let mut play = Play::new(checked(OPS, ROUTE));
    play.fires("a");
    play.until(10);
    play.resolves("a");
    assert!(play.until(1_000).is_empty());
}

#[test]
fn a_restart_neither_repeats_nor_forgets() {
    let checked = checked(OPS, ROUTE);
    let mut play = Play::new(checked.clone());
    play.fires("a");
    play.fires("b");
    assert_eq!(play.until(60).len(), 1);
    // As it is read from the state.
    let log: Vec<Entry> = std::mem::replace(&mut play.dispatcher, Dispatcher::new(checked.clone(), Vec::new(), 0).0)
        .into_log()
        .iter()
        .map(|entry| serde_json::from_slice(&serde_json::to_vec(entry).unwrap()).unwrap())
        .collect();
    let (dispatcher, gone) = Dispatcher::new(checked.clone(), log.clone(), play.stage.now());
    assert!(gone.is_empty());
    play.dispatcher = dispatcher;
    assert!(play.until(1_000).is_empty(), "nothing is said twice");
    // Both are gone while nobody looked: their rule was removed.
    play.stage.notices.lock().unwrap().clear();
    let (dispatcher, _) = Dispatcher::new(checked, log.clone(), play.stage.now());
    play.dispatcher = dispatcher;
    assert_eq!(play.until(2_000), ["1000 [RESOLVED] Hot (2)"], "and their end is told");
    let other = self::checked(&OPS.replace("ops", "other"), &ROUTE.replace("ops", "other"));
    let (_, gone) = Dispatcher::new(other, log, 0);
    assert_eq!(gone.len(), 1, "what belongs to a receiver that is gone is forgotten");
}

#[test]
fn failures_are_tried_again_where_it_helps_with_the_newest_state() {
    let mut play = Play::new(checked(OPS, ROUTE));
    play.fires("a");
    play.outcome = Err(Fault::retry("away"));
    assert_eq!(play.until(34).len(), 3, "at 30, 31 and 33");
    play.fires("b");
    play.outcome = Ok(());
    assert_eq!(play.until(100), ["37 [FIRING:2] Hot (2)"]);
    let mut play = Play::new(checked(OPS, ROUTE));
    play.fires("a");
    play.outcome = Err(Fault::refused("HTTP 400"));
    assert_eq!(play.until(320).len(), 1, "what is refused is not repeated at once");
    play.outcome = Ok(());
    assert_eq!(play.until(340), ["330 [FIRING:1] Hot (1)"], "but with the group's next look");
    let mut play = Play::new(checked(OPS, ROUTE));
    play.fires("a");
    play.outcome = Err(Fault::Retry { reason: "HTTP 429".into(), after: Some(Duration::from_secs(50)) });
    assert_eq!(play.until(79), ["30 [FIRING:1] Hot (1)"], "a service that asks for time gets it");
    assert_eq!(play.until(80), ["80 [FIRING:1] Hot (1)"]);
}

#[test]
fn the_muted_are_not_told_of() {
    let mut play = Play::new(checked(OPS, ROUTE));
    play.fires("a");
    play.fires("b");
    play.stage.muted.lock().unwrap().push("a".into());
    assert_eq!(play.until(60), ["30 [FIRING:1] Hot (1)"]);
    play.stage.muted.lock().unwrap().push("b".into());
    assert!(play.until(20_000).is_empty(), "no word at all while all are muted");
    play.stage.muted.lock().unwrap().clear();
    assert_eq!(play.until(20_400), ["20130 [FIRING:2] Hot (2)"]);
}

#[test]
fn routes_choose_receivers_groups_and_times() {
    let receivers = "[{name: ops, webhook_configs: [{url: 'http://127.0.0.1:1/'}]},
        {name: night, webhook_configs: [{url: 'http://127.0.0.1:1/', send_resolved: false}]}]";
    let route = "{receiver: ops, group_wait: 0s, routes: [
        {receiver: night, matchers: ['miner=\"a\"'], group_by: ['...'], active_time_intervals: [night], continue: true},
        {matchers: ['miner=~\"a|b\"'], group_by: [miner]}]}";
    let mut play = Play::new(checked(receivers, route));
    play.fires("a");
    play.fires("b");
    play.fires("c");
    let mut said = play.until(1);
    said.sort();
    assert_eq!(said, ["0 [FIRING:1] Hot (1)", "0 [FIRING:1] Hot (a) (1)", "0 [FIRING:1] Hot (b) (1)"]);
    *play.stage.open.lock().unwrap() = true;
    assert_eq!(play.until(400), ["300 [FIRING:1] Hot (a) (1)"], "inside of its window");
    play.resolves("a");
    assert_eq!(play.until(700), ["600 [RESOLVED] Hot (a) (1)"], "only who wants to hear of the end");
}

#[test]
fn a_flood_is_held_to_the_rate_and_nothing_is_lost() {
    let receivers = "[{name: ops, rate_limit: 2/1m, webhook_configs: [{url: 'http://127.0.0.1:1/'}]}]";
    let mut play = Play::new(checked(receivers, "{receiver: ops, group_by: ['...'], group_wait: 0s}"));
    for miner in ["a", "b", "c", "d", "e"] {
        play.fires(miner);
    }
    let times: Vec<String> = play.until(200).iter().map(|said| said.split(' ').next().unwrap().to_string()).collect();
    assert_eq!(times, ["0", "0", "60", "60", "120"]);
}

#[test]
fn mistakes_are_said_at_once() {
    let receivers: Vec<ReceiverEntry> = serde_yaml::from_str(
        "[{name: ops, rate_limit: fast, webhook_configs: [{}, {url: 'ftp://x'}], slack_configs: [{title: '{{ nonsense }}'}],
           email_configs: [{to: [], from: nobody, smarthost: mail, auth_username: x}], telegram_configs: [{}]}, {name: ops}]",
    )
    .unwrap();
    let route: RouteEntry = serde_yaml::from_str(
        "{receiver: opps, matchers: [x], routes: [{matchers: ['a'], mute_time_intervals: [never], repeat_interval: 0s}]}",
    )
    .unwrap();
    let entries = Entries {
        alertmanagers: &[],
        receivers: &receivers,
        route: Some(&route),
        windows: &Windows::default(),
        folder: Path::new("/"),
        external_url: "",
    };
    let Err(mistakes) = check(&entries) else { panic!("it was taken") };
    let paths: Vec<&str> = mistakes.iter().map(|mistake| mistake.path.as_str()).collect();
    let expected = [
        "receivers[0].webhook_configs[0].url",
        "receivers[0].webhook_configs[1].url",
        "receivers[0].email_configs[0].from",
        "receivers[0].email_configs[0].to",
        "receivers[0].email_configs[0].smarthost",
        "receivers[0].email_configs[0].auth_password",
        "receivers[0].slack_configs[0].title",
        "receivers[0].slack_configs[0].api_url",
        "receivers[0].telegram_configs[0].bot_token",
        "receivers[0].rate_limit",
        "receivers[1].name",
        "route.matchers",
        "route.matchers[0]",
        "route.routes[0].matchers[0]",
        "route.routes[0].repeat_interval",
        "route.receiver",
        "route.routes[0].receiver",
        "route.routes[0].mute_time_intervals",
    ];
    assert_eq!(paths, expected, "{mistakes:#?}");
}
