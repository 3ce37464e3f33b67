//! `davylamp query`: asks a running daemon in PromQL, and shows the answer as a table, as JSON or drawn.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};
use serde::Deserialize;
use url::form_urlencoded::Serializer;

use super::ask::Daemon;
use super::silence::table;
use super::{complain, say};
use crate::args::{QueryCommand, QueryOutput};
use davylamp::model::Labels;
use davylamp::model::duration::format_duration;
use davylamp::schedule::poll::unix_millis;
use davylamp::silence::{from_rfc3339, rfc3339};

/// Points of a range whose step is not said, and cells of a drawn line.
const CELLS: u32 = 60;
/// Lines that are drawn: a terminal shows no more at once.
const LINES: usize = 40;
/// From nothing to everything.
const BLOCKS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// One series of an answer, as the API writes it.
#[derive(Deserialize)]
struct Row {
    metric: Labels,
    value: Option<(f64, String)>,
    histogram: Option<(f64, Native)>,
    #[serde(default)]
    values: Vec<(f64, String)>,
    #[serde(default)]
    histograms: Vec<(f64, Native)>,
}

/// What is shown of a native histogram.
#[derive(Deserialize)]
struct Native {
    count: String,
    sum: String,
}

impl Native {
    fn text(&self) -> String {
        format!("count={} sum={}", self.count, self.sum)
    }
}

pub fn query(command: &QueryCommand) -> anyhow::Result<ExitCode> {
    let at = match &command.at {
        Some(text) => time(text).with_context(|| {
            format!("--at {text:?} is not a time: write 2026-11-21T03:00:00Z or seconds since 1970")
        })?,
        None => unix_millis(),
    };
    let mut form = Serializer::new(String::new());
    form.append_pair("query", &command.expr);
    let route = match command.range {
        None => {
            form.append_pair("time", &seconds(at));
            "query"
        }
        Some(range) => {
            let start = at.saturating_sub(i64::try_from(range.as_millis()).unwrap_or(i64::MAX));
            // Whole seconds, so that two questions ask about the same times.
            let step = command.step.unwrap_or(Duration::from_secs((range / CELLS).as_secs().max(1)));
            form.append_pair("start", &seconds(start)).append_pair("end", &seconds(at));
            form.append_pair("step", &format_duration(step));
            "query_range"
        }
    };
    let said = Daemon::find(&command.daemon)?.ask("GET", &format!("/api/v1/{route}?{}", form.finish()), None)?;
    for kind in ["warnings", "infos"] {
        for text in said[kind].as_array().into_iter().flatten().filter_map(|text| text.as_str()) {
            complain(text);
        }
    }
    let data = &said["data"];
    if command.output == QueryOutput::Json {
        return say(&serde_json::to_string_pretty(data)?);
    }
    let kind = data["resultType"].as_str().context("that is no answer of Prometheus' API")?;
    let result = data["result"].clone();
    if kind == "scalar" || kind == "string" {
        let (_, value): (f64, String) = serde_json::from_value(result)?;
        return say(&clean(&value));
    }
    let rows: Vec<Row> = serde_json::from_value(result).context("that is no answer of Prometheus' API")?;
    if rows.is_empty() {
        complain("no series");
        return Ok(ExitCode::SUCCESS);
    }
    match command.output {
        QueryOutput::Chart => chart(&rows, at, command.range),
        _ if kind == "matrix" => summary(&rows),
        _ => instant(&rows),
    }
}

fn time(text: &str) -> Option<i64> {
    let number = || text.parse::<f64>().ok().filter(|at| at.is_finite()).map(|at| (at * 1000.0).round() as i64);
    from_rfc3339(text).or_else(number)
}

/// As the API takes it.
fn seconds(millis: i64) -> String {
    format!("{}{}.{:03}", if millis < 0 { "-" } else { "" }, millis.unsigned_abs() / 1000, millis.unsigned_abs() % 1000)
}

/// Foreign text without control characters: it must not steer a terminal.
fn clean(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

fn number(text: &str) -> f64 {
    text.parse().unwrap_or(f64::NAN)
}

fn instant(rows: &[Row]) -> anyhow::Result<ExitCode> {
    let value = |row: &Row| match (&row.value, &row.histogram) {
        (Some((_, value)), _) => value.clone(),
        (None, Some((_, native))) => native.text(),
        (None, None) => String::new(),
    };
    table(&["Series", "Value"], rows.iter().map(|row| vec![row.metric.to_string(), value(row)]))
}

/// What there is to say about the numbers of a series: the smallest and the largest.
fn bounds(values: &[f64]) -> (f64, f64) {
    let finite = || values.iter().copied().filter(|value| value.is_finite());
    (finite().fold(f64::INFINITY, f64::min), finite().fold(f64::NEG_INFINITY, f64::max))
}

fn summary(rows: &[Row]) -> anyhow::Result<ExitCode> {
    let row = |row: &Row| {
        let numbers: Vec<f64> = row.values.iter().map(|(_, value)| number(value)).collect();
        let (low, high) = bounds(&numbers);
        let shown = |value: f64| if value.is_finite() { value.to_string() } else { "-".to_string() };
        let last_number = row.values.last().map(|(at, value)| (*at, value.clone()));
        let last_native = row.histograms.last().map(|(at, native)| (*at, native.text()));
        let last = match (last_number, last_native) {
            (Some(number), Some(native)) => {
                if native.0 > number.0 {
                    native
                } else {
                    number
                }
            }
            (one, other) => one.or(other).unwrap_or_default(),
        };
        let count = numbers.len() + row.histograms.len();
        let at = rfc3339((last.0 * 1000.0) as i64);
        vec![row.metric.to_string(), count.to_string(), shown(low), shown(high), last.1, at]
    };
    table(&["Series", "Points", "Smallest", "Largest", "Last", "At"], rows.iter().map(row))
}

/// Draws a line for each series: a range over its time, an instant as bars beside each other.
fn chart(rows: &[Row], at: i64, range: Option<Duration>) -> anyhow::Result<ExitCode> {
    let shown = rows.iter().take(LINES);
    match range {
        None => {
            let numbers = |row: &Row| row.value.as_ref().map_or(f64::NAN, |(_, value)| number(value));
            let all: Vec<f64> = rows.iter().map(numbers).collect();
            let most = all.iter().filter(|value| value.is_finite()).fold(0.0_f64, |most, value| most.max(value.abs()));
            let bar = |row: &Row| {
                let share = (numbers(row).abs() / most * f64::from(CELLS)).round();
                let length = if share.is_finite() { share as usize } else { 0 };
                vec![
                    row.metric.to_string(),
                    "█".repeat(length),
                    row.value.as_ref().map_or_else(String::new, |v| v.1.clone()),
                ]
            };
            table(&["Series", "", "Value"], shown.map(bar))?;
        }
        Some(range) => {
            let start = at as f64 / 1000.0 - range.as_secs_f64();
            let line = |row: &Row| {
                let numbers: Vec<f64> = row.values.iter().map(|(_, value)| number(value)).collect();
                let (low, high) = bounds(&numbers);
                if low > high {
                    bail!("{} has no numbers to draw; ask for a table or JSON", row.metric);
                }
                let points: Vec<(f64, f64)> = row.values.iter().map(|(at, _)| *at).zip(numbers).collect();
                Ok(vec![
                    row.metric.to_string(),
                    low.to_string(),
                    spark(&points, start, range, (low, high)),
                    high.to_string(),
                ])
            };
            let lines: Vec<Vec<String>> = shown.map(line).collect::<anyhow::Result<_>>()?;
            table(&["Series", "Smallest", &rfc3339((start * 1000.0) as i64), "Largest"], lines.into_iter())?;
        }
    }
    if rows.len() > LINES {
        complain(&format!("and {} more series", rows.len() - LINES));
    }
    Ok(ExitCode::SUCCESS)
}

/// A line of blocks. Of several points in one cell the last is drawn; where there is none, nothing is.
fn spark(points: &[(f64, f64)], start: f64, range: Duration, (low, high): (f64, f64)) -> String {
    let mut cells = vec![' '; CELLS as usize];
    let last = cells.len() - 1;
    for (at, value) in points.iter().filter(|(_, value)| value.is_finite()) {
        let place = ((at - start) / range.as_secs_f64() * f64::from(CELLS)).max(0.0) as usize;
        let height = if high > low { (value - low) / (high - low) * 7.0 } else { 3.0 };
        cells[place.min(last)] = BLOCKS[(height.round() as usize).min(7)];
    }
    cells.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_people_write_them() {
        assert_eq!(time("1970-01-01T00:01:00Z"), Some(60_000));
        assert_eq!(time("60.25"), Some(60_250));
        assert_eq!((time("yesterday"), time("inf")), (None, None));
        assert_eq!((seconds(-1), seconds(61_025)), ("-0.001".to_string(), "61.025".to_string()));
    }

    #[test]
    fn a_line_shows_the_course_and_the_gaps() {
        let points = [(0.0, 1.0), (30.0, f64::NAN), (45.0, 4.5), (60.0, 8.0)];
        let line = spark(&points, 0.0, Duration::from_secs(60), (1.0, 8.0));
        let drawn: Vec<(usize, char)> = line.chars().enumerate().filter(|(_, c)| *c != ' ').collect();
        assert_eq!(drawn, [(0, '▁'), (45, '▅'), (59, '█')]);
        assert!(spark(&[(0.0, 5.0)], 0.0, Duration::from_secs(60), (5.0, 5.0)).starts_with('▄'));
    }
}
