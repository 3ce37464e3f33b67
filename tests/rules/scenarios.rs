//! What alerts do over time, with a fake clock: the four scenarios of the public alert-generator compliance suite, a
//! restart between any two evaluations, and what automation relies on.

use std::time::Duration;

use davylamp::model::Alert;
use davylamp::model::AlertState;
use davylamp::model::Matcher;
use davylamp::model::Transition;
use davylamp::model::series::is_stale;
use davylamp::rules::Cycle;
use davylamp::rules::Engine;
use davylamp::rules::Evaluation;
use davylamp::rules::NoData;
use davylamp::rules::NoDataRule;
use davylamp::rules::RuleGroup;
use davylamp::rules::Samples;
use davylamp::rules::Settings;
use davylamp::rules::check_text;
use davylamp::rules::explain;

use super::harness::evaluate_all;
use super::harness::load;

fn groups(text: &str) -> Vec<RuleGroup> {
    let report = check_text("rules.yml", text);
    assert!(!report.has_errors(), "{report}");
    report.groups
}

fn engine(text: &str) -> Engine {
    Engine::new(groups(text), Settings::default(), 0)
}

/// `second alertname{series} state since`, for a change of state.
fn told(change: &Transition) -> String {
    let alert = &change.alert;
    let since = alert.fired_at.unwrap_or(alert.active_at) / 1000;
    let name = alert.labels.get("alertname").unwrap_or_default();
    let rig = alert.labels.get("rig").unwrap_or("-");
    let sure = if change.positive { " with data" } else { "" };
    format!("{} {name} {rig} {} since {since}{sure}", change.at / 1000, alert.state.as_str())
}

/// Evaluates every 15 s up to `last` and tells the changes. With `restarts`, the engine is thrown away after every
/// evaluation and the next one gets only what was stored of the alerts.
fn play(text: &str, samples: &Samples, last: i64, restarts: bool) -> Vec<String> {
    let mut samples = samples.clone();
    let mut engine = engine(text);
    let mut story = Vec::new();
    for second in (0..=last).step_by(15) {
        let evaluation = evaluate_all(&mut engine, &samples, second * 1000);
        assert!(evaluation.problems.is_empty(), "{:?}", evaluation.problems);
        samples.extend(&evaluation.recorded);
        story.extend(evaluation.transitions.iter().map(told));
        if restarts {
            let stored = serde_json::to_string(&engine.alerts()).unwrap();
            engine = self::engine(text);
            let orphans = engine.restore(serde_json::from_str::<Vec<Alert>>(&stored).unwrap());
            assert!(orphans.is_empty());
        }
    }
    story
}

/// The same story with and without restarts: no time of an alert may move.
fn expect(text: &str, samples: &Samples, last: i64, story: &[&str]) {
    assert_eq!(play(text, samples, last, false), story);
    assert_eq!(play(text, samples, last, true), story, "with a restart after every evaluation");
}

fn samples(series: &[(&str, &str)]) -> Samples {
    let mut samples = Samples::default();
    for (name, values) in series {
        load(&mut samples, name, values, 15_000);
    }
    samples
}

const HOT: &str = "groups: [{name: g, rules: [{alert: Hot, expr: 'temp > 80', for: 30s}]}]";

#[test]
fn pending_and_firing_and_resolved() {
    let samples = samples(&[("temp{rig='a'}", "70x3 90x5 70x5")]);
    expect(
        HOT,
        &samples,
        240,
        &["60 Hot a pending since 60", "90 Hot a firing since 90", "150 Hot a resolved since 90 with data"],
    );
}

#[test]
fn pending_and_resolved() {
    // Never fires, so nobody hears of it again; when it comes back, its time starts anew.
    let samples = samples(&[("temp{rig='a'}", "70 90x1 70x1 90 90 90 70")]);
    expect(
        HOT,
        &samples,
        120,
        &[
            "15 Hot a pending since 15",
            "75 Hot a pending since 75",
            "105 Hot a firing since 105",
            "120 Hot a resolved since 105 with data",
        ],
    );
}

#[test]
fn zero_for_and_small_for() {
    let text = "groups: [{name: g, rules: [
        {alert: Zero, expr: 'temp > 80'},
        {alert: Small, expr: 'temp > 80', for: 5s}]}]";
    let samples = samples(&[("temp{rig='a'}", "70 90 90 90 70")]);
    expect(
        text,
        &samples,
        60,
        &[
            "15 Zero a firing since 15",
            "15 Small a pending since 15",
            "30 Small a firing since 30",
            "60 Zero a resolved since 15 with data",
            "60 Small a resolved since 30 with data",
        ],
    );
}

#[test]
fn new_alerts_and_order() {
    // The second rule needs the first one's ALERTS of the same cycle; the third would need the fourth's.
    let text = "groups: [{name: g, rules: [
        {alert: Hot, expr: 'temp > 80', for: 15s},
        {alert: Many, expr: 'count(ALERTS{alertname=\"Hot\", alertstate=\"firing\"}) >= 2'},
        {alert: Late, expr: 'early > 0'},
        {record: early, expr: 'count(temp > 80)'}]}]";
    let samples = samples(&[("temp{rig='a'}", "90x5"), ("temp{rig='b'}", "70 90x4")]);
    expect(
        text,
        &samples,
        45,
        &[
            "0 Hot a pending since 0",
            "15 Hot a firing since 15",
            "15 Hot b pending since 15",
            "15 Late - firing since 15",
            "30 Hot b firing since 30",
            "30 Many - firing since 30",
        ],
    );
}

#[test]
fn a_resolve_without_data_is_not_believed() {
    let gone = samples(&[("temp{rig='a'}", "90 90 90 stale"), ("temp{rig='b'}", "90 90 90 70")]);
    let text = "groups: [{name: g, rules: [{alert: Hot, expr: 'temp > 80', labels: {rig_class: big}}]}]";
    let story = play(text, &gone, 45, false);
    assert_eq!(story[2..], ["45 Hot a resolved since 0", "45 Hot b resolved since 0 with data"]);
}

fn cycle(engine: &mut Engine, samples: &Samples, now: i64, source_since: i64) -> Evaluation {
    engine.evaluate_all(&Cycle { now, source_since, source: samples, clock: &|| Duration::ZERO })
}

#[test]
fn after_a_restart_without_samples_alerts_wait_for_data() {
    let full = samples(&[("temp{rig='a'}", "90x3")]);
    let mut engine = engine(HOT);
    for at in [0, 15_000, 30_000] {
        evaluate_all(&mut engine, &full, at);
    }
    let stored = engine.alerts();
    assert_eq!(stored[0].state, AlertState::Firing);
    let mut engine = self::engine(HOT);
    engine.restore(stored);
    let since = 40_000;
    assert!(cycle(&mut engine, &Samples::default(), 45_000, since).transitions.is_empty());
    // The first poll says that it is still hot: nothing happens, and the alert is as old as before.
    let again = samples(&[("temp{rig='a'}", "_x4 90x1")]);
    assert!(cycle(&mut engine, &again, 60_000, since).transitions.is_empty());
    assert_eq!(engine.alerts()[0].fired_at, Some(30_000));
    // Nothing more comes: after one lookback without samples it is over, but nobody claims that data say so.
    let late = cycle(&mut engine, &Samples::default(), since + 300_000, since);
    assert_eq!(late.transitions.iter().map(told).collect::<Vec<_>>(), ["340 Hot a resolved since 30"]);
}

/// Young samples are no reason to doubt that series went away which were there since the start.
#[test]
fn what_was_seen_since_the_start_and_went_away_is_over_at_once() {
    let samples = samples(&[("temp{rig='a'}", "90x2 stale")]);
    let mut engine = engine(HOT);
    for at in [0, 15_000, 30_000] {
        cycle(&mut engine, &samples, at, 0);
    }
    let over = cycle(&mut engine, &samples, 45_000, 0).transitions;
    assert_eq!(over.iter().map(told).collect::<Vec<_>>(), ["45 Hot a resolved since 30"]);
    assert!(!over[0].positive, "and automation is told that no data say so");
}

#[test]
fn a_rule_without_its_whole_range_is_warming_up() {
    let text = "groups: [{name: g, rules: [
        {alert: Slow, expr: 'avg_over_time(temp[10m]) > 80'},
        {alert: Quick, expr: 'temp > 80'}]}]";
    let samples = samples(&[("temp{rig='a'}", "90x100")]);
    let mut engine = engine(text);
    let young = cycle(&mut engine, &samples, 60_000, 0);
    let warming: Vec<bool> = young.transitions.iter().map(|change| change.warming_up).collect();
    assert_eq!(warming, [true, false]);
    let traces: Vec<bool> = engine.rules().map(|rule| rule.last().unwrap().warming_up).collect();
    assert_eq!(traces, [true, false]);
    assert_eq!(engine.window(), Duration::from_secs(600));
    cycle(&mut engine, &samples, 600_000, 0);
    assert!(!engine.rules().next().unwrap().last().unwrap().warming_up);
}

#[test]
fn an_error_is_no_resolve_and_is_told_once() {
    let text = "groups: [{name: g, limit: 2, rules: [
        {alert: Hot, expr: 'temp > 80'},
        {record: level, expr: 'temp', labels: {rig: same}},
        {alert: Fine, expr: 'vector(1)'}]}]";
    let mut samples =
        samples(&[("temp{rig='a'}", "90x9"), ("temp{rig='b'}", "70 90x8"), ("temp{rig='c'}", "70 70 90x8")]);
    load(&mut samples, "temp{rig='d'}", "70x9", 15_000);
    let mut engine = engine(text);
    assert_eq!(evaluate_all(&mut engine, &samples, 0).transitions.len(), 2);
    evaluate_all(&mut engine, &samples, 15_000);
    let failed = evaluate_all(&mut engine, &samples, 30_000);
    let said: Vec<String> = failed.problems.iter().map(|p| format!("{} {} {}", p.rule, p.error, p.new)).collect();
    assert_eq!(
        said,
        [
            "rules.yml;g;Hot{} 3 alerts exceed the limit of 2 true",
            "rules.yml;g;level{rig=\"same\"} 4 series exceed the limit of 2 false",
        ]
    );
    assert!(failed.transitions.is_empty());
    let firing: Vec<_> = engine.alerts().into_iter().filter(|alert| alert.state == AlertState::Firing).collect();
    assert_eq!(firing.len(), 3, "Hot a, Hot b and Fine go on firing");
    assert_eq!(engine.rules().next().unwrap().counts(), (3, 1));
    assert!(engine.rules().next().unwrap().last_error().is_some());
}

#[test]
fn duplicate_labels_are_an_error() {
    let text = "groups: [{name: g, rules: [
        {alert: Hot, expr: 'temp > 80', labels: {rig: x}},
        {record: level, expr: 'temp', labels: {rig: x}}]}]";
    let samples = samples(&[("temp{rig='a'}", "90x9"), ("temp{rig='b'}", "90x9")]);
    let evaluation = evaluate_all(&mut engine(text), &samples, 0);
    let said: Vec<String> = evaluation.problems.iter().map(|problem| problem.error.to_string()).collect();
    assert_eq!(said.len(), 2);
    assert!(said.iter().all(|text| text.starts_with("two elements have the labels ")), "{said:?}");
    assert!(evaluation.recorded.is_empty() && evaluation.transitions.is_empty());
}

#[test]
fn series_end_with_a_stale_marker() {
    let text = "groups: [{name: g, query_offset: 15s, rules: [{alert: Hot, expr: 'temp > 80'}, {record: hot, expr: 'temp > 80'}, {record: bare, expr: 'temp > 80', labels: {rig: '', x: y}}]}]";
    let samples = samples(&[("temp{rig='a'}", "90 70")]);
    let mut engine = engine(text);
    let shown = |evaluation: &Evaluation| -> Vec<String> {
        let one = |s: &davylamp::query::VectorSample| {
            format!("{} {} {}", s.labels, s.t / 1000, if is_stale(s.v) { "stale".to_string() } else { s.v.to_string() })
        };
        evaluation.recorded.iter().map(one).collect()
    };
    assert_eq!(
        shown(&evaluate_all(&mut engine, &samples, 15_000)),
        [
            "ALERTS{alertname=\"Hot\", alertstate=\"firing\", rig=\"a\"} 0 1",
            "ALERTS_FOR_STATE{alertname=\"Hot\", rig=\"a\"} 0 15",
            "hot{rig=\"a\"} 0 90",
            "bare{x=\"y\"} 0 90",
        ]
    );
    let ended = shown(&evaluate_all(&mut engine, &samples, 30_000));
    assert_eq!(ended.len(), 4);
    assert!(ended.iter().all(|text| text.ends_with(" 15 stale")), "{ended:?}");
    assert!(evaluate_all(&mut engine, &samples, 45_000).recorded.is_empty());
}

#[test]
fn the_trace_says_why_nothing_fires() {
    let text = "groups: [{name: g, rules: [
        {alert: Typo, expr: 'tmep{rig!=\"x\"} > 80'}, {alert: Hot, expr: 'temp > 80'}]}]";
    let samples = samples(&[("temp{rig='a'}", "70x50")]);
    let mut engine = engine(text);
    for at in 0..30 {
        evaluate_all(&mut engine, &samples, at * 15_000);
    }
    let rules: Vec<_> = engine.rules().collect();
    assert_eq!(rules[0].never_matched(), ["tmep{rig!=\"x\"}"]);
    assert_eq!(rules[0].last().unwrap().seen.to_string(), "no series has ever matched tmep{rig!=\"x\"}");
    assert!(rules[1].never_matched().is_empty());
    assert_eq!(rules[1].last().unwrap().seen.to_string(), "the condition is not met");
    assert_eq!(rules[1].trace().len(), 20);
}

#[test]
fn a_reload_keeps_what_did_not_change() {
    let before =
        "groups: [{name: g, interval: 15s, rules: [{alert: Hot, expr: 'temp > 80'}, {alert: Old, expr: 'temp > 80'}]}]";
    let after =
        "groups: [{name: g, interval: 15s, rules: [{alert: New, expr: 'temp > 80'}, {alert: Hot, expr: 'temp > 85'}]}]";
    let samples = samples(&[("temp{rig='a'}", "90x9")]);
    let mut engine = engine(before);
    evaluate_all(&mut engine, &samples, 0);
    let replaced = engine.replace(groups(after), Settings::default(), 15_000);
    let gone: Vec<&str> = replaced.gone.iter().filter_map(|alert| alert.labels.get("alertname")).collect();
    assert_eq!(gone, ["Old"]);
    assert_eq!(replaced.recorded.iter().filter(|sample| is_stale(sample.v)).count(), 2);
    let next = evaluate_all(&mut engine, &samples, 15_000);
    assert_eq!(next.transitions.iter().map(told).collect::<Vec<_>>(), ["15 New a firing since 15"]);
    let hot = engine.alerts().into_iter().find(|alert| alert.labels.get("alertname") == Some("Hot")).unwrap();
    assert_eq!(hot.fired_at, Some(0));
}

#[test]
fn groups_run_at_their_slots_and_say_what_they_missed() {
    let samples = samples(&[("temp{rig='a'}", "90x99")]);
    let mut engine = Engine::new(groups(HOT), Settings::default(), 0);
    let next = engine.next_due().unwrap();
    assert!(next > 0 && next <= 60_000 && !engine.due(next - 1) && engine.due(next));
    let clock = std::cell::Cell::new(0);
    let tick = || {
        clock.set(clock.get() + 1);
        Duration::from_millis(clock.get())
    };
    let mut at = |now| engine.evaluate(&Cycle { now, source_since: 0, source: &samples, clock: &tick });
    let first = at(next + 700);
    assert_eq!((first.groups, first.rules, first.missed), (1, 1, 0));
    assert_eq!(first.transitions[0].at, next, "evaluated at its slot, not when we came to it");
    assert_eq!(at(next + 800).groups, 0);
    assert_eq!(at(next + 185_000).missed, 2);
    let group = &engine.groups()[0];
    assert_eq!((group.missed(), group.last_evaluation()), (2, Some(next + 180_000)));
    assert_eq!(group.rules()[0].last().unwrap().took, Duration::from_millis(1));
    assert_eq!(group.took(), Duration::from_millis(3));
}

/// An engine that treats missing data as told, and one series that is hot for a minute and then gone.
fn without_data(then: NoData) -> Vec<String> {
    let no_data = vec![NoDataRule { matchers: vec![Matcher::equal("alertname", "Hot")], then }];
    let mut engine = Engine::new(groups(HOT), Settings { no_data, ..Settings::default() }, 0);
    let mut samples = Samples::default();
    load(&mut samples, "temp{rig='d'}", "90x4 stale _x10 70x4", 15_000);
    let mut story = Vec::new();
    for at in (0..=285_000).step_by(15_000) {
        let evaluation = evaluate_all(&mut engine, &samples, at);
        samples.extend(&evaluation.recorded);
        story.extend(evaluation.transitions.iter().map(told));
    }
    story
}

#[test]
fn what_becomes_of_alerts_without_data_can_be_said() {
    let fired = ["0 Hot d pending since 0", "30 Hot d firing since 30"];
    let story = |rest: &[&str]| [&fired[..], rest].concat().iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(without_data(NoData::Resolve), story(&["75 Hot d resolved since 30"]));
    assert_eq!(without_data(NoData::Keep), story(&["240 Hot d resolved since 30 with data"]));
    let told = [
        "75 Hot - pending since 75",
        "105 Hot - firing since 105",
        "240 Hot - resolved since 105 with data",
        "240 Hot d resolved since 30 with data",
    ];
    assert_eq!(without_data(NoData::Alert), story(&told));
}

#[test]
fn rules_explain_themselves() {
    let mut engine = engine(
        "groups: [{name: a, rules: [{alert: Hot, expr: temp > 80, for: 30s}, {alert: Typo, expr: tmp > 80}, \
         {record: 'x:y', expr: 'sum(temp)'}, {alert: Bad, expr: temp + on() temp}]}]",
    );
    let reason = |engine: &Engine, name: &str| {
        let found = explain::explain(engine.groups(), 9, |_, rule| rule.rule().name == name);
        assert_eq!(found.len(), 1);
        (found[0].state.clone(), found[0].reason.clone())
    };
    let said = |state: &str, why: &str| (state.to_string(), why.to_string());
    assert_eq!(reason(&engine, "Hot"), said("inactive", "it has not been evaluated yet"));
    let mut samples = Samples::default();
    load(&mut samples, "temp{rig='a'}", "90x4 70x9", 15_000);
    load(&mut samples, "temp{rig='b'}", "70x4 70x9", 15_000);
    evaluate_all(&mut engine, &samples, 0);
    let pending = "1 alert is pending for less than 30s; the oldest is due at 1970-01-01T00:00:30.000Z";
    assert_eq!(reason(&engine, "Hot"), said("pending", pending));
    assert_eq!(reason(&engine, "Typo"), said("inactive", "no series has ever matched tmp"));
    assert_eq!(reason(&engine, "x:y"), said("recording", "1 element"));
    let (state, why) = reason(&engine, "Bad");
    assert!(state == "inactive" && why.starts_with("it fails (at least since 1970-01-01T00:00:00.000Z), "), "{why}");
    evaluate_all(&mut engine, &samples, 30_000);
    assert_eq!(reason(&engine, "Hot"), said("firing", "the condition holds for 1 alert, long enough to fire"));
    evaluate_all(&mut engine, &samples, 90_000);
    assert_eq!(reason(&engine, "Hot"), said("inactive", "the condition is not met"));
    let all = explain::explain(engine.groups(), 9, |_, _| true);
    let trace: Vec<_> = all[0].trace.iter().map(|t| (t.elements, t.pending, t.firing, t.changes)).collect();
    assert_eq!(trace, [(0, 0, 0, 1), (1, 0, 1, 1), (1, 1, 0, 1)]);
}

#[test]
fn remarks_of_a_query_stand_in_the_trace() {
    let mut engine = engine("groups: [{name: a, rules: [{record: 'x:y', expr: 'rate(temp[1m])'}]}]");
    let mut samples = Samples::default();
    load(&mut samples, "temp", "1+1x4", 15_000);
    evaluate_all(&mut engine, &samples, 60_000);
    let found = explain::explain(engine.groups(), 9, |_, _| true);
    let note = &found[0].trace[0].annotations;
    assert!(note.len() == 1 && note[0].contains("metric might not be a counter"), "{note:?}");
}
