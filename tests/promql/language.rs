//! Prometheus' test language: the files' text → commands.

use davylamp::model::Labels;
use davylamp::model::duration::parse_duration;
use davylamp::query::ast::Node;
use davylamp::query::notation::{Item, series};
use davylamp::query::parse;

/// A series line.
#[derive(Clone, Debug)]
pub struct SeriesLine {
    pub labels: Labels,
    pub items: Vec<Item>,
    /// Start timestamps of the items, in milliseconds from each one's own time.
    pub starts: Vec<Option<i64>>,
    /// Hints of resets are written out, so they are to be compared.
    pub hinted: bool,
}

/// When an evaluation takes place, in milliseconds.
#[derive(Clone, Copy, Debug)]
pub enum When {
    Instant(i64),
    Range { start: i64, end: i64, step: i64 },
}

/// What is expected of an evaluation.
#[derive(Clone, Debug, Default)]
pub struct Expected {
    pub fail: bool,
    /// Part of the error's message.
    pub fail_message: Option<String>,
    pub fail_pattern: Option<String>,
    pub ordered: bool,
    pub notes: Vec<Note>,
    pub string: Option<String>,
    /// `expect range vector from … to … step …`
    pub matrix: Option<(i64, i64, i64)>,
    pub series: Vec<SeriesLine>,
    pub scalar: Option<f64>,
}

/// An expectation about warnings or remarks.
#[derive(Clone, Debug)]
pub struct Note {
    pub warning: bool,
    pub wanted: bool,
    pub message: Option<String>,
    pub pattern: Option<String>,
}

/// One command of a file.
#[derive(Clone, Debug)]
pub enum Command {
    Clear,
    /// `custom`: native histograms with custom buckets are made of classic ones.
    Load {
        step: i64,
        custom: bool,
        series: Vec<SeriesLine>,
    },
    Eval {
        line: usize,
        when: When,
        query: String,
        expected: Box<Expected>,
    },
}

fn millis(text: &str) -> i64 {
    if let Ok(seconds) = text.parse::<f64>() {
        return (seconds * 1000.0).round() as i64;
    }
    let (sign, text) = text.strip_prefix('-').map_or((1, text.trim_start_matches('+')), |rest| (-1, rest));
    sign * parse_duration(text).unwrap_or_else(|error| panic!("{error}")).as_millis() as i64
}

/// Reads a whole file.
pub fn commands(text: &str) -> Vec<Command> {
    let mut commands = Vec::new();
    let mut lines = text.lines().enumerate().peekable();
    while let Some((index, raw)) = lines.next() {
        let line = raw.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let mut block = Vec::new();
        while let Some((_, next)) = lines.peek() {
            let next = next.trim();
            if next.is_empty() || starts_command(next) {
                break;
            }
            block.extend((!next.starts_with('#')).then_some(next));
            lines.next();
        }
        let word = line.split_whitespace().next().unwrap_or_default();
        commands.push(match word {
            "clear" => Command::Clear,
            "load" | "load_with_nhcb" => Command::Load {
                step: millis(line[word.len()..].trim()),
                custom: word == "load_with_nhcb",
                series: block.into_iter().map(series_line).collect(),
            },
            _ => eval(index + 1, line, block),
        });
    }
    commands
}

fn starts_command(line: &str) -> bool {
    let word = line.split_whitespace().next().unwrap_or_default();
    word == "clear" || word == "load" || word == "load_with_nhcb" || word == "eval" || word.starts_with("eval_")
}

fn eval(number: usize, line: &str, block: Vec<&str>) -> Command {
    let (word, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
    let mut expected = Expected::default();
    match word {
        "eval_fail" => expected.fail = true,
        "eval_ordered" => expected.ordered = true,
        "eval_warn" => expected.notes.push(Note { warning: true, wanted: true, message: None, pattern: None }),
        "eval_info" => expected.notes.push(Note { warning: false, wanted: true, message: None, pattern: None }),
        _ => {}
    }
    let mut words = rest.split_whitespace();
    let mut take = |count: usize| words.by_ref().take(count).last().unwrap_or_default();
    let (when, used) = if take(1) == "instant" {
        (When::Instant(millis(take(2))), 3)
    } else {
        let (start, end, step) = (millis(take(2)), millis(take(2)), millis(take(2)));
        (When::Range { start, end, step }, 7)
    };
    let mut query = rest.trim_start();
    for _ in 0..used {
        query = query.split_once(char::is_whitespace).map_or("", |(_, tail)| tail).trim_start();
    }
    for line in block {
        expectation(line, &mut expected);
    }
    Command::Eval { line: number, when, query: query.to_string(), expected: Box::new(expected) }
}

fn expectation(line: &str, expected: &mut Expected) {
    let Some(rest) = line.strip_prefix("expect ").map(str::trim) else {
        // A scalar stands alone; everything else begins with labels.
        match line.parse() {
            Ok(value) => expected.scalar = Some(value),
            Err(_) => expected.series.push(series_line(line)),
        }
        return;
    };
    let (word, detail) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
    let text = |prefix: &str| detail.trim().strip_prefix(prefix).map(|text| text.trim().to_string());
    let (message, pattern) = (text("msg:"), text("regex:"));
    match word {
        "fail" => {
            expected.fail = true;
            (expected.fail_message, expected.fail_pattern) = (message, pattern);
        }
        "ordered" => expected.ordered = true,
        "string" => expected.string = Some(unquoted(detail)),
        "range" => {
            let words: Vec<&str> = detail.split_whitespace().collect();
            expected.matrix = Some((millis(words[2]), millis(words[4]), millis(words[6])));
        }
        "warn" | "no_warn" | "info" | "no_info" => {
            let wanted = !word.starts_with("no_");
            expected.notes.push(Note { warning: word.ends_with("warn"), wanted, message, pattern });
        }
        other => panic!("unknown expectation {other:?}"),
    }
}

fn unquoted(text: &str) -> String {
    match parse(text).map(|expr| expr.node) {
        Ok(Node::String(text)) => text,
        other => panic!("{text} is no string: {other:?}"),
    }
}

fn series_line(line: &str) -> SeriesLine {
    // `name{…}@st` gives the start timestamps of samples that another line gives.
    let (line, starts) = match line.split_once("@st") {
        Some((name, starts)) => (name, starts.split_whitespace().flat_map(starts_of).collect()),
        None => (line, Vec::new()),
    };
    let (labels, items) = series(line).unwrap_or_else(|error| panic!("{error}"));
    SeriesLine { labels, items, starts, hinted: line.contains("counter_reset_hint") }
}

/// `_`, `-30s`, `-1mx2` (three of them) or `-30s-1mx2` (each a minute further back than the one before).
fn starts_of(word: &str) -> Vec<Option<i64>> {
    if word == "_" {
        return vec![None];
    }
    let (head, more) = word.split_once('x').map_or((word, 0), |(head, times)| (head, times.parse().unwrap()));
    let step = head[1..].find(['-', '+']).map_or(head.len(), |at| at + 1);
    let (first, step) = (millis(&head[..step]), if step < head.len() { millis(&head[step..]) } else { 0 });
    (0..=more).map(|index| Some(first + index * step)).collect()
}
