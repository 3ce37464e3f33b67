//! A fake clock for the engine, and series in the notation of rule tests.

use std::time::Duration;

use davylamp::query::notation;
use davylamp::rules::Cycle;
use davylamp::rules::Engine;
use davylamp::rules::Evaluation;
use davylamp::rules::Samples;

/// Adds a series, one value every `interval` milliseconds from 0.
pub fn load(samples: &mut Samples, series: &str, values: &str, interval: i64) {
    let labels = notation::metric(series).unwrap();
    for (index, item) in (0..).zip(notation::values(values).unwrap()) {
        samples.push_item(&labels, index * interval, &item);
    }
}

pub fn evaluate_all(engine: &mut Engine, source: &Samples, at: i64) -> Evaluation {
    engine.evaluate_all(&Cycle { now: at, source_since: i64::MIN, source, clock: &|| Duration::ZERO })
}
