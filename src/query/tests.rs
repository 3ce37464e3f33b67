//! Tests of the room as its users see it.

use super::*;

#[test]
fn window_counts_ranges_offsets_and_subqueries() {
    let seconds = |text: &str| window(&parse(text).unwrap()).as_secs();
    assert_eq!(seconds("1 + 2"), 0);
    assert_eq!(seconds("up"), 300);
    assert_eq!(seconds("rate(x[10m] offset 1h) > up"), 4200);
    assert_eq!(seconds("max_over_time(rate(x[5m])[1h:1m] offset 10m)"), 4500);
    assert_eq!(seconds("x offset -1h"), 0);
    assert_eq!(seconds("x[1h] @ 5"), 0);
}

#[test]
fn selectors_are_found_in_order() {
    let found = selectors(&parse("sum(rate(a{b=\"c\"}[5m])) / on () d").unwrap());
    let names: Vec<&str> = found.iter().map(|matchers| matchers[0].value.as_str()).collect();
    assert_eq!(names, ["a", "d"]);
}

#[test]
fn values_are_written_as_prometheus_writes_them() {
    for (value, text) in [
        (1.0, "1"),
        (0.1, "0.1"),
        (1e21, "1000000000000000000000"),
        (1e-7, "0.0000001"),
        (f64::NAN, "NaN"),
        (f64::INFINITY, "+Inf"),
        (-0.0, "-0"),
    ] {
        assert_eq!(format_value(value), text);
    }
}

/// Two series with a point a minute, and how often they were asked for.
#[derive(Default)]
struct Counting(std::sync::atomic::AtomicUsize);

impl Source for Counting {
    fn select(&self, _: &[Matcher], start: i64, end: i64) -> Result<Vec<Series>, crate::model::SourceError> {
        self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let points = (0..60).map(|minute| Point { t: minute * 60_000, v: minute as f64 });
        let points: Vec<Point> = points.filter(|point| (start..=end).contains(&point.t)).collect();
        let series = |name: &str| Series::floats(Labels::new([("__name__", "m"), ("n", name)]), points.clone());
        Ok(vec![series("b"), series("a")])
    }
}

const MINUTE: i64 = 60_000;

#[test]
fn a_range_reads_each_selector_once() {
    let source = Counting::default();
    let expr = parse("sum(rate(m[5m])) + scalar(m) * sum(max_over_time((m + m)[10m:1m]))").unwrap();
    range(&expr, &source, 20 * MINUTE, 50 * MINUTE, MINUTE, &Limits::default()).unwrap();
    assert_eq!(source.0.load(std::sync::atomic::Ordering::Relaxed), selectors(&expr).len());
}

#[test]
fn answers_have_one_order() {
    let expr = parse("m").unwrap();
    let Value::Vector(samples) = instant(&expr, &Counting::default(), MINUTE, &Limits::default()).unwrap().value else {
        panic!("no vector")
    };
    let names: Vec<&str> = samples.iter().filter_map(|sample| sample.labels.get("n")).collect();
    assert_eq!(names, ["a", "b"]);
}

#[test]
fn limits_hold() {
    let kind = |limits: Limits, end: i64| {
        let expr = parse("sum_over_time(m[10m])").unwrap();
        range(&expr, &Counting::default(), 0, end, MINUTE, &limits).map(|_| ()).map_err(|error| error.kind)
    };
    let free = Limits::default();
    assert_eq!(kind(free, 30 * MINUTE), Ok(()));
    let limits = Limits { max_steps: 30, ..free };
    assert_eq!(kind(limits, 30 * MINUTE), Err(QueryErrorKind::TooManySteps { limit: 30 }));
    assert_eq!(kind(limits, 29 * MINUTE), Ok(()));
    let limits = Limits { max_series: 1, ..free };
    assert_eq!(kind(limits, MINUTE), Err(QueryErrorKind::TooManySeries { limit: 1 }));
    // 62 samples are loaded and as many come out.
    let limits = Limits { max_samples: 100, ..free };
    assert_eq!(kind(limits, 30 * MINUTE), Err(QueryErrorKind::TooManySamples { limit: 100 }));
    let limits = Limits { time: std::time::Duration::ZERO, ..free };
    assert_eq!(kind(limits, 30 * MINUTE), Err(QueryErrorKind::TooSlow { limit: std::time::Duration::ZERO }));
    assert!(matches!(kind(free, i64::MAX), Err(QueryErrorKind::Evaluation(_))));
}

#[test]
fn a_fine_subquery_over_nothing_ends() {
    let expr = parse("max_over_time((m > 1e9)[100y:1ms])").unwrap();
    let error = instant(&expr, &Counting::default(), MINUTE, &Limits::default()).unwrap_err();
    assert!(matches!(error.kind, QueryErrorKind::TooManySteps { .. }), "{error}");
}

#[test]
fn evaluation_errors_point_into_the_text() {
    let text = "vector(1) + (m * on () m)";
    let error = instant(&parse(text).unwrap(), &Counting::default(), MINUTE, &Limits::default()).unwrap_err();
    assert!(error.render(text).starts_with("1:14: found duplicate series"), "{}", error.render(text));
}

#[test]
fn overlapping_windows_are_bounded() {
    // Every step reads the same 118 samples and gives one.
    let expr = parse("sum(sum_over_time(m[59m] @ 3540))").unwrap();
    let run = |max_samples| {
        let limits = Limits { max_samples, ..Limits::default() };
        range(&expr, &Counting::default(), 0, 10_000_000, 1_000, &limits).map(|_| ()).map_err(|error| error.kind)
    };
    assert_eq!(run(10_200), Err(QueryErrorKind::TooMuchWork { limit: 1_020_000 }));
    assert_eq!(run(20_000), Ok(()));
}
