//! The same samples in a real Prometheus and in davylamp, the same questions to both, equal answers.
//!
//! Prometheus gets its samples by remote write. Debian's is 2.42: what PromQL has changed since then stands in
//! [`queries::DIFFERENT`], each with its reason. Skipped, saying so, where there is no `prometheus`.

// All of this is test code, also what stands outside of test functions.
#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used)]

#[path = "differential/queries.rs"]
mod queries;
#[path = "differential/samples.rs"]
mod samples;
#[path = "differential/server.rs"]
mod server;

use std::collections::BTreeMap;
use std::time::Duration;

use davylamp::model::Series;
use davylamp::query::{self, Limits, Value};
use serde_json::Value as Json;

use samples::{END, START};

/// Relative difference up to which two numbers are one: sums are added up in another order.
const TOLERANCE: f64 = 1e-12;

/// Values by time in milliseconds.
type Track = BTreeMap<i64, f64>;

/// Labels → values by time.
type Answer = BTreeMap<String, Track>;

fn millis(json: &Json) -> i64 {
    (json.as_f64().unwrap() * 1000.0).round() as i64
}

fn theirs(body: &Json) -> Result<Answer, String> {
    if body["status"] != "success" {
        return Err(body["error"].as_str().unwrap_or_default().to_string());
    }
    let number = |json: &Json| json.as_str().unwrap().parse::<f64>().unwrap();
    let (kind, result) = (body["data"]["resultType"].as_str().unwrap(), &body["data"]["result"]);
    if kind == "scalar" {
        return Ok(Answer::from([("{}".to_string(), Track::from([(millis(&result[0]), number(&result[1]))]))]));
    }
    let mut answer = Answer::new();
    for series in result.as_array().unwrap() {
        let labels: BTreeMap<String, String> = serde_json::from_value(series["metric"].clone()).unwrap();
        let track = answer.entry(format!("{labels:?}")).or_default();
        let one = series.get("value").into_iter();
        for pair in one.chain(series["values"].as_array().into_iter().flatten()) {
            track.insert(millis(&pair[0]), number(&pair[1]));
        }
    }
    Ok(answer)
}

fn ours(value: Value) -> Answer {
    let named = |labels: &davylamp::model::Labels| {
        format!(
            "{:?}",
            labels.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect::<BTreeMap<_, _>>()
        )
    };
    match value {
        Value::Scalar(point) => Answer::from([("{}".to_string(), Track::from([(point.t, point.v)]))]),
        Value::Vector(samples) => samples.iter().map(|s| (named(&s.labels), Track::from([(s.t, s.v)]))).collect(),
        Value::Matrix(all) => {
            let track = |series: &Series| series.points.iter().map(|point| (point.t, point.v)).collect();
            all.iter().map(|series| (named(&series.labels), track(series))).collect()
        }
        Value::String(..) => panic!("no query asks for a text"),
    }
}

fn equal(a: f64, b: f64) -> bool {
    a == b || (a.is_nan() && b.is_nan()) || (a - b).abs() <= TOLERANCE * a.abs().max(b.abs())
}

/// The first difference, if there is any.
fn difference(theirs: &Answer, ours: &Answer) -> Option<String> {
    if theirs.keys().ne(ours.keys()) {
        let (a, b): (Vec<_>, Vec<_>) = (theirs.keys().collect(), ours.keys().collect());
        return Some(format!("series {a:?} there, {b:?} here"));
    }
    for (labels, track) in theirs {
        let own = &ours[labels];
        if track.keys().ne(own.keys()) {
            return Some(format!("{labels}: times {:?} there, {:?} here", track.keys(), own.keys()));
        }
        if let Some((t, v)) = track.iter().find(|(t, v)| !equal(**v, own[t])) {
            return Some(format!("{labels} at {t}: {v} there, {} here", own[t]));
        }
    }
    None
}

/// Asks both for `text`, at one time or over a span.
async fn compare(
    server: &server::Prometheus,
    recent: &davylamp::store::Recent,
    text: &str,
    at: i64,
    range: bool,
) -> Option<String> {
    let step = 37_000;
    let (start, end) = (at - 20 * step, at);
    let body = match range {
        true => server.range(text, start, end, step).await,
        false => server.instant(text, at).await,
    };
    let limits = Limits { subquery_step: Duration::from_secs(60), ..Limits::default() };
    let own = query::parse(text).and_then(|expr| match range {
        true => query::range(&expr, recent, start, end, step, &limits),
        false => query::instant(&expr, recent, at, &limits),
    });
    match (theirs(&body), own) {
        (Ok(theirs), Ok(own)) => difference(&theirs, &ours(own.value)),
        (Err(_), Err(_)) => None,
        (Err(theirs), Ok(_)) => Some(format!("fails there only: {theirs}")),
        (Ok(_), Err(own)) => Some(format!("fails here only: {}", own.render(text))),
    }
}

#[tokio::test]
async fn a_real_prometheus_gives_the_same_answers() {
    let Some(server) = server::Prometheus::start().await else { return };
    let series = samples::series();
    server.write(&series).await;
    let recent = samples::recent(&series);
    let (mut asked, mut wrong, mut equal_after_all) = (0, Vec::new(), Vec::new());
    for text in queries::all() {
        // Never on a sample: windows are open on the left since Prometheus 3, and were closed before.
        for (at, range) in
            [(START + 400_500, false), (END - 123_500, false), (END + 200_500, false), (END - 1_500, true)]
        {
            asked += 1;
            let different = compare(&server, &recent, &text, at, range).await;
            let excused = queries::DIFFERENT.iter().any(|(query, _)| *query == text);
            match different {
                Some(why) if !excused => wrong.push(format!("{text} (at {at}, range: {range})\n    {why}")),
                None if excused && range => equal_after_all.push(text.clone()),
                _ => {}
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {asked} answers differ:\n{}", wrong.len(), wrong.join("\n"));
    assert!(asked >= 800, "only {asked} questions");
    assert!(equal_after_all.is_empty(), "listed as different, but equal: {equal_after_all:?}");
}

#[tokio::test]
async fn a_real_prometheus_formats_the_same() {
    let Some(server) = server::Prometheus::start().await else { return };
    for text in queries::all().into_iter().chain(queries::LONG.map(String::from)) {
        let body = server.format(&text).await;
        let Ok(expr) = query::parse(&text) else { panic!("{text} is not understood here") };
        if body["status"] == "success" {
            assert_eq!(body["data"].as_str().unwrap(), query::format(&expr), "{text}");
        }
    }
}
