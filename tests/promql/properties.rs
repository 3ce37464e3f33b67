//! What holds for every query: an instant is a step of a range, text survives being written and read again, another
//! parser agrees, and no text harms.

use std::collections::BTreeMap;
use std::sync::Arc;

use davylamp::model::histogram::{Buckets, Span};
use davylamp::model::{FloatHistogram, Labels};
use davylamp::query::notation::Item;
use davylamp::query::{Limits, MAX_DEPTH, QueryErrorKind, Value, instant, parse, range, selectors, window};
use proptest::prelude::*;

use super::language::{Command, commands};
use super::memory::Memory;

/// Expressions over `m` and `n`, and over `h`, which has native histograms; nested a few levels.
fn expression() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("m".to_string()),
        Just("n{a=\"1\"}".to_string()),
        Just("m offset 45s".to_string()),
        Just("increase(m[90s])".to_string()),
        Just("irate(m[2m])".to_string()),
        Just("resets(h[4m])".to_string()),
        Just("start_timestamp(h)".to_string()),
        Just("rate(m[2m])".to_string()),
        Just("avg_over_time(n[90s])".to_string()),
        Just("last_over_time(m[3m] @ 200)".to_string()),
        Just("vector(time())".to_string()),
        Just("increase(m[2m] anchored)".to_string()),
        Just("h".to_string()),
        Just("rate(h[3m])".to_string()),
        Just("sum_over_time(h[100s])".to_string()),
        Just("increase(h[2m] smoothed)".to_string()),
        Just("h{a=\"1\"} </ 2".to_string()),
    ];
    leaf.prop_recursive(3, 24, 2, |inner| {
        let pair = (inner.clone(), inner.clone());
        prop_oneof![
            inner.clone().prop_map(|a| format!("sum by (a) ({a})")),
            inner.clone().prop_map(|a| format!("topk(1, {a})")),
            inner.clone().prop_map(|a| format!("-({a})")),
            inner.clone().prop_map(|a| format!("({a}) > 3")),
            inner.clone().prop_map(|a| format!("max_over_time(({a})[3m:40s])")),
            inner.clone().prop_map(|a| format!("last_over_time(({a})[3m:])")),
            inner.clone().prop_map(|a| format!("histogram_quantile(0.7, {a})")),
            inner.clone().prop_map(|a| format!("histogram_sum(avg by (a) ({a}))")),
            inner.clone().prop_map(|a| format!("({a}) * 2")),
            inner.clone().prop_map(|a| format!("label_replace({a}, \"b\", \"x$1\", \"a\", \"(.*)\")")),
            pair.clone().prop_map(|(a, b)| format!("({a}) or ({b})")),
            pair.clone().prop_map(|(a, b)| format!("({a}) and on (a) ({b})")),
            pair.prop_map(|(a, b)| format!("sum by (a) ({a}) / on (a) sum by (a) ({b})")),
        ]
    })
}

fn rows<S: Strategy>(value: S, count: usize) -> impl Strategy<Value = Vec<Vec<S::Value>>> {
    proptest::collection::vec(proptest::collection::vec(value, 20), count)
}

/// Series `m` and `n` of numbers and `h` of histograms and a few numbers, with gaps, falls, stale markers and start
/// timestamps, right ones and wrong ones.
fn memory() -> impl Strategy<Value = Memory> {
    let number = || (0..40_i32).prop_map(|v| Some(Item::Float(f64::from(v))));
    let histogram = (0..3_i8, proptest::collection::vec(0..5_u8, 4)).prop_map(|(schema, counts)| {
        let counts: Vec<f64> = counts.into_iter().map(f64::from).collect();
        let (count, spans) = (counts.iter().sum::<f64>(), vec![Span { offset: -1, length: 4 }]);
        let positive = Buckets { spans, counts };
        let histogram = FloatHistogram { schema, count, sum: 2.0 * count, positive, ..FloatHistogram::default() };
        Some(Item::Histogram(Arc::new(histogram)))
    });
    let stale = || Just(Some(Item::Float(davylamp::model::series::stale_nan())));
    let numbers = prop_oneof![6 => number(), 1 => stale(), 2 => Just(None)];
    let histograms = prop_oneof![8 => histogram, 1 => number(), 1 => stale(), 2 => Just(None)];
    let start = prop_oneof![2 => Just(None), 2 => Just(Some(-30_000)), 1 => (-50_000..10_000_i64).prop_map(Some)];
    (rows(numbers, 4), rows(histograms, 2), rows(start, 6)).prop_map(|(numbers, histograms, starts)| {
        let samples = |row: Vec<Option<Item>>| {
            row.into_iter().enumerate().filter_map(|(index, item)| Some((index as i64 * 30_000, item?))).collect()
        };
        let labels = |index: usize| {
            let name = ["m", "n", "h"][index / 2];
            Labels::new([("__name__", name), ("a", if index.is_multiple_of(2) { "1" } else { "2" })])
        };
        let rows = numbers.into_iter().chain(histograms).enumerate();
        let begun = |row: Vec<Option<i64>>| {
            let times = (0..).step_by(30_000).zip(row);
            times.filter_map(|(t, start)| Some((t, t + start?))).collect()
        };
        let starts = starts.into_iter().enumerate().map(|(index, row)| (labels(index), begun(row))).collect();
        Memory(rows.map(|(index, row)| (labels(index), samples(row))).collect(), starts)
    })
}

/// A sample to be compared to the bit; all NaN are one.
fn exact(v: f64, h: Option<&Arc<FloatHistogram>>) -> String {
    match h {
        Some(histogram) => format!("{histogram:?}"),
        None if v.is_nan() => "NaN".to_string(),
        None => format!("{:x}", v.to_bits()),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn an_instant_is_a_step_of_a_range(text in expression(), memory in memory(), step in 1..4_i64) {
        let expr = parse(&text).unwrap();
        let (start, end, step) = (60_000, 500_000, step * 37_000);
        let Ok(answer) = range(&expr, &memory, start, end, step, &Limits::default()) else {
            // Colliding series: some step must fail on its own too, or two steps collide with each other.
            return Ok(());
        };
        let Value::Matrix(series) = answer.value else { panic!("no matrix") };
        for at in (start..=end).step_by(step as usize) {
            let Value::Vector(samples) = instant(&expr, &memory, at, &Limits::default()).unwrap().value else {
                panic!("no vector")
            };
            let by_instant: BTreeMap<Labels, String> =
                samples.into_iter().map(|s| (s.labels, exact(s.v, s.h.as_ref()))).collect();
            let found = series.iter().filter_map(|series| {
                let point = series.points.iter().find(|point| point.t == at).map(|point| exact(point.v, None));
                let histogram = series.histograms.iter().find(|(t, _)| *t == at).map(|(_, h)| exact(0.0, Some(h)));
                Some((series.labels.clone(), point.or(histogram)?))
            });
            prop_assert_eq!(by_instant, found.collect::<BTreeMap<_, _>>(), "{} at {}", text, at);
        }
    }

    #[test]
    fn written_queries_read_back(text in expression()) {
        let written = parse(&text).unwrap().to_string();
        prop_assert_eq!(parse(&written).unwrap().to_string(), written);
    }

    #[test]
    fn no_text_harms(text in "\\PC{0,60}") {
        let _ = parse(&text).map_err(|error| error.render(&text));
    }

    #[test]
    fn no_mix_of_tokens_harms(words in proptest::collection::vec(prop_oneof![
        Just("sum"), Just("("), Just(")"), Just("["), Just("]"), Just("{"), Just("}"), Just("by"), Just("5m"), Just(":"),
        Just("up"), Just("rate"), Just("offset"), Just("@"), Just("-"), Just("+"), Just("1"), Just("="), Just("\"a\""),
        Just(","), Just("and"), Just("on"), Just("group_left"), Just("bool"), Just("=="), Just("start"), Just("step"),
        Just("^"), Just("é"), Just("\"\\x"), Just("smoothed"), Just("topk"), Just("0x"), Just("1e"), Just("#"),
    ], 0..24)) {
        let text = words.join(" ");
        match parse(&text) {
            Ok(expr) => {
                let _ = (window(&expr), selectors(&expr));
                let memory = Memory::default();
                let _ = instant(&expr, &memory, i64::MAX, &Limits::default());
                let _ = instant(&expr, &memory, 0, &Limits::default());
                let _ = range(&expr, &memory, 0, 1000, 1000, &Limits::default());
            }
            Err(error) => prop_assert!(!error.render(&text).is_empty()),
        }
    }
}

/// Bytes of every kind, cut to text: escapes, half characters, control codes.
#[test]
fn random_bytes_never_panic() {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    for _ in 0..20_000 {
        let bytes: Vec<u8> = (0..state % 48)
            .map(|_| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                (state >> 56) as u8
            })
            .collect();
        state = state.wrapping_add(0x1234_5678_9abc_def1);
        let text = String::from_utf8_lossy(&bytes);
        let _ = parse(&text).map_err(|error| error.render(&text));
    }
}

/// Runs on the stack that a worker thread of the runtime has, in a build without optimisation.
#[test]
fn deep_nesting_is_refused_before_the_stack_ends() {
    let work = || {
        for piece in [
            "(",
            "-",
            "sum(",
            "{",
            "[",
            "up[",
            "1+",
            "1^",
            "a[1m:",
            "x offset ",
            "x[-(",
            "x[(",
            "x[1+",
            "\"",
            "rate(rate(",
        ] {
            for times in [200, 5_000, 200_000] {
                let text = piece.repeat(times);
                let error = parse(&text).unwrap_err();
                assert!(error.render(&text).len() < 2 * text.len() + 1_000);
            }
        }
        // As deep as is allowed: walking the tree must not overflow either.
        let limits = Limits::default();
        let wraps = [
            ("(", ")"),
            ("-", ""),
            ("sum(", ")"),
            ("abs(", ")"),
            ("1 + ", ""),
            ("", " + 1"),
            ("max_over_time(", "[1m:])"),
        ];
        for (open, close) in wraps {
            let text = |times: usize| format!("{}up{}", open.repeat(times), close.repeat(times));
            let times = (1..=MAX_DEPTH).rev().find(|times| parse(&text(*times)).is_ok()).unwrap();
            assert!(times >= MAX_DEPTH / 4, "{open:?} {times}");
            let expr = parse(&text(times)).unwrap();
            let _ = (expr.to_string(), window(&expr), selectors(&expr), expr.clone());
            instant(&expr, &Memory::default(), 0, &limits).unwrap();
            assert!(matches!(parse(&text(1_000)).unwrap_err().kind, QueryErrorKind::TooDeep { .. }));
        }
    };
    std::thread::Builder::new().stack_size(2 << 20).spawn(work).unwrap().join().unwrap();
}

/// Every classic expression that the other parser accepts, ours accepts too, and the other way round.
#[test]
fn another_parser_agrees() {
    let Some(folder) = super::corpus() else { return };
    let classes = super::classes(&folder);
    let (mut both, mut ours_only) = (0, Vec::new());
    for path in super::test_files(&folder) {
        for command in commands(&String::from_utf8_lossy(&std::fs::read(&path).unwrap())) {
            let Command::Eval { line, query, .. } = command else { continue };
            if classes.get(&(super::name(&path), line)).map(String::as_str) != Some("classic") {
                continue;
            }
            match (parse(&query), promql_parser::parser::parse(&query)) {
                (Ok(_), Ok(_)) => both += 1,
                // A label name that is not UTF-8 is refused at once here, and by Prometheus when it evaluates.
                (Err(error), Ok(_)) if error.to_string().contains("is not UTF-8") => {}
                (Err(error), Ok(_)) => panic!("only the other parser accepts this: {}", error.render(&query)),
                (Ok(_), Err(_)) => ours_only.push(query),
                (Err(_), Err(_)) => {}
            }
        }
    }
    assert!(both >= 850, "{both} agree; only ours accepts {ours_only:#?}");
}
