//! Prometheus' test language: the files' text → commands.

use davylamp::model::Labels;
use davylamp::model::duration::parse_duration;
use davylamp::model::labels::METRIC_NAME;
use davylamp::model::series::STALE_NAN_BITS;
use davylamp::query::ast::Node;
use davylamp::query::parse;

/// A value in a series line: a float, nothing, or a native histogram.
#[derive(Clone, Debug, PartialEq)]
pub enum Item {
    Float(f64),
    Gap,
    Histogram,
}

/// A series line.
#[derive(Clone, Debug)]
pub struct SeriesLine {
    pub labels: Labels,
    pub items: Vec<Item>,
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
    Load { step: i64, series: Vec<SeriesLine> },
    Eval { line: usize, when: When, query: String, expected: Box<Expected> },
}

fn millis(text: &str) -> i64 {
    if let Ok(seconds) = text.parse::<f64>() {
        return (seconds * 1000.0).round() as i64;
    }
    let (sign, text) = text.strip_prefix('-').map_or((1, text), |rest| (-1, rest));
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
            // Classic series of `load_with_nhcb` are loaded; the native histograms made of them are not.
            "load" | "load_with_nhcb" => Command::Load {
                step: millis(line[word.len()..].trim()),
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
        match item(line) {
            Some((Item::Float(value), 0)) if !line.contains('{') => expected.scalar = Some(value),
            _ => expected.series.push(series_line(line)),
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

/// `name{a="b"} 1 2+1x3 _ stale {{…}}`; blanks may stand between name and braces.
fn series_line(line: &str) -> SeriesLine {
    let name_end = line.find(|c: char| c == '{' || c == '@' || c.is_whitespace()).unwrap_or(line.len());
    let rest = line[name_end..].trim_start();
    let labelled = rest.starts_with('{') && !rest.starts_with("{{");
    let end = if labelled { closing(line, line.len() - rest.len()) + 1 } else { name_end };
    let rest = line[end..].trim_start();
    // `name{…}@st` gives start timestamps, which samples here do not have.
    let items = if rest.starts_with("@st") { Vec::new() } else { items(rest) };
    SeriesLine { labels: labels(&line[..end]), items }
}

fn closing(line: &str, open: usize) -> usize {
    let mut quote = None;
    let mut escaped = false;
    for (at, c) in line.char_indices().skip_while(|(at, _)| *at < open) {
        match quote {
            Some(_) if escaped => escaped = false,
            Some('"' | '\'') if c == '\\' => escaped = true,
            Some(open) if c == open => quote = None,
            Some(_) => {}
            None if matches!(c, '"' | '\'' | '`') => quote = Some(c),
            None if c == '}' => return at,
            None => {}
        }
    }
    panic!("no closing brace: {line}");
}

/// Labels are read by the parser of selectors; `{}` alone is the empty set.
fn labels(text: &str) -> Labels {
    let text = text.trim();
    if text == "{}" {
        return Labels::empty();
    }
    match parse(text).map(|expr| expr.node) {
        Ok(Node::Vector(selector)) => Labels::new(selector.matchers.into_iter().map(|m| (m.name, m.value))),
        // `{a=""}` demands nothing, so it is no selector; as a label set it is empty.
        _ if !text.contains(METRIC_NAME) && text.contains("=\"\"") => Labels::empty(),
        other => panic!("{text} is no label set: {other:?}"),
    }
}

fn items(text: &str) -> Vec<Item> {
    let mut out = Vec::new();
    let mut rest = text.trim();
    while !rest.is_empty() {
        let end = if rest.starts_with("{{") {
            let mut end = rest.find("}}").unwrap() + 2;
            while rest[end..].starts_with(['+', '-']) {
                end += rest[end..].find("}}").unwrap() + 2;
            }
            end + rest[end..].find(char::is_whitespace).unwrap_or(rest.len() - end)
        } else {
            rest.find(char::is_whitespace).unwrap_or(rest.len())
        };
        let word = &rest[..end];
        let (value, times) = item(word).unwrap_or_else(|| panic!("{word:?} is no value in {text:?}"));
        match value {
            Item::Float(first) if times > 0 || word.contains('x') => {
                let step = slope(word);
                out.extend((0..=times).map(|index| Item::Float(first + step * index as f64)));
            }
            Item::Gap => out.extend(vec![Item::Gap; times.max(1)]),
            other => out.extend(vec![other; times + 1]),
        }
        rest = rest[end..].trim_start();
    }
    out
}

/// A value without its repetition, and how often it repeats.
fn item(word: &str) -> Option<(Item, usize)> {
    if word.starts_with("{{") {
        let times = word.rsplit_once("}}x").and_then(|(_, times)| times.parse().ok()).unwrap_or(0);
        return Some((Item::Histogram, times));
    }
    let (head, times) = match word.rsplit_once('x') {
        Some((head, times)) => (head, times.parse().ok()?),
        _ => (word, 0),
    };
    if head == "_" {
        return Some((Item::Gap, times));
    }
    let head = head.get(..split_at(head).unwrap_or(head.len()))?;
    if head == "stale" {
        return Some((Item::Float(f64::from_bits(STALE_NAN_BITS)), times));
    }
    number(head).map(|value| (Item::Float(value), times))
}

/// Where the step of `1+2x3` begins; the sign of an exponent or of the first number does not count.
fn split_at(head: &str) -> Option<usize> {
    let bytes = head.as_bytes();
    (1..bytes.len()).find(|at| matches!(bytes[*at], b'+' | b'-') && !matches!(bytes[at - 1], b'e' | b'E' | b'+' | b'-'))
}

fn slope(word: &str) -> f64 {
    let head = word.rsplit_once('x').map_or(word, |(head, _)| head);
    split_at(head).and_then(|at| number(&head[at..])).unwrap_or(0.0)
}

fn number(text: &str) -> Option<f64> {
    let (sign, digits) = text.strip_prefix('-').map_or((1.0, text.trim_start_matches('+')), |rest| (-1.0, rest));
    digits.parse::<f64>().ok().map(|value| sign * value)
}
