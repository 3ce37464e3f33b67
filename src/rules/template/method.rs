//! Methods of times and durations, as `(toTime $value).Format "15:04"` calls them. Times are in UTC, as Prometheus has
//! them.

use chrono::DateTime;
use chrono::Datelike;
use chrono::Timelike;
use chrono::Utc;

use super::functions::CallError;
use super::value::Value;

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const WEEKDAYS: [&str; 7] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];

/// Calls a method. `None` when the value has none of that name.
pub(super) fn call(value: &Value, name: &str, arguments: &[Value]) -> Option<Result<Value, CallError>> {
    let found = match (value, arguments) {
        (Value::Time(nanos), []) => plain_time(*nanos, name),
        (Value::Time(nanos), [argument]) => time_with(*nanos, name, argument),
        (Value::Duration(nanos), []) => plain_duration(*nanos, name),
        _ => None,
    };
    if found.is_some() {
        return found.map(Ok);
    }
    let known = match value {
        Value::Time(_) => plain_time(0, name).is_some() || TIME_WITH.contains(&name),
        Value::Duration(_) => plain_duration(0, name).is_some(),
        _ => return None,
    };
    let given: Vec<&str> = arguments.iter().map(Value::type_name).collect();
    known.then(|| Err(CallError(format!("{name} does not take ({})", given.join(", ")))))
}

fn plain_time(nanos: i64, name: &str) -> Option<Value> {
    let time: DateTime<Utc> = DateTime::from_timestamp_nanos(nanos);
    let number = |n: u32| Value::Int(i64::from(n));
    Some(match name {
        "UTC" | "Local" => Value::Time(nanos),
        "Unix" => Value::Int(nanos.div_euclid(1_000_000_000)),
        "UnixMilli" => Value::Int(nanos.div_euclid(1_000_000)),
        "UnixNano" => Value::Int(nanos),
        "Year" => Value::Int(i64::from(time.year())),
        "Month" => Value::Named(i64::from(time.month()), MONTHS[time.month0() as usize]),
        "Weekday" => {
            let day = time.weekday().num_days_from_sunday();
            Value::Named(i64::from(day), WEEKDAYS[day as usize])
        }
        "Day" => number(time.day()),
        "YearDay" => number(time.ordinal()),
        "Hour" => number(time.hour()),
        "Minute" => number(time.minute()),
        "Second" => number(time.second()),
        "Nanosecond" => number(time.nanosecond()),
        "String" => Value::text(Value::Time(nanos).print()),
        _ => return None,
    })
}

const TIME_WITH: [&str; 7] = ["Format", "Add", "Sub", "Before", "After", "Equal", "Truncate"];

fn time_with(nanos: i64, name: &str, argument: &Value) -> Option<Value> {
    Some(match (name, argument) {
        ("Format", Value::Text(layout)) => Value::text(formatted(nanos, layout)),
        ("Add", Value::Duration(by)) => Value::Time(nanos.saturating_add(*by)),
        ("Truncate", Value::Duration(to)) if *to > 0 => {
            // Go counts from the year 1, which began on a multiple of every unit up to a week but not of odd lengths.
            const YEAR_ONE: i128 = 62_135_596_800_000_000_000;
            let since = i128::from(nanos) + YEAR_ONE;
            let cut = since - since.rem_euclid(i128::from(*to)) - YEAR_ONE;
            Value::Time(i64::try_from(cut).unwrap_or(i64::MIN))
        }
        ("Sub", Value::Time(other)) => Value::Duration(nanos.saturating_sub(*other)),
        ("Before", Value::Time(other)) => Value::Bool(nanos < *other),
        ("After", Value::Time(other)) => Value::Bool(nanos > *other),
        ("Equal", Value::Time(other)) => Value::Bool(nanos == *other),
        _ => return None,
    })
}

#[allow(clippy::cast_precision_loss, reason = "Go's own conversion")]
fn plain_duration(nanos: i64, name: &str) -> Option<Value> {
    let seconds = nanos as f64 / 1e9;
    Some(match name {
        "Hours" => Value::Float(seconds / 3600.0),
        "Minutes" => Value::Float(seconds / 60.0),
        "Seconds" => Value::Float(seconds),
        "Milliseconds" => Value::Int(nanos / 1_000_000),
        "Microseconds" => Value::Int(nanos / 1_000),
        "Nanoseconds" => Value::Int(nanos),
        "Abs" => Value::Duration(nanos.saturating_abs()),
        "String" => Value::text(Value::Duration(nanos).print()),
        _ => return None,
    })
}

/// The words of Go's layouts (`Mon Jan 2 15:04:05 MST 2006`) and the same for chrono; of two with one beginning the
/// longer stands first.
const WORDS: [(&str, &str); 31] = [
    ("January", "%B"),
    ("Jan", "%b"),
    ("Monday", "%A"),
    ("Mon", "%a"),
    ("MST", "UTC"),
    ("2006", "%Y"),
    ("__2", "%_j"),
    ("_2", "%e"),
    ("002", "%j"),
    ("01", "%m"),
    ("02", "%d"),
    ("03", "%I"),
    ("04", "%M"),
    ("05", "%S"),
    ("06", "%y"),
    ("15", "%H"),
    ("1", "%-m"),
    ("2", "%-d"),
    ("3", "%-I"),
    ("4", "%-M"),
    ("5", "%-S"),
    ("PM", "%p"),
    ("pm", "%P"),
    ("Z07:00:00", "Z"),
    ("Z07:00", "Z"),
    ("Z0700", "Z"),
    ("Z07", "Z"),
    ("-07:00:00", "+00:00:00"),
    ("-07:00", "+00:00"),
    ("-0700", "+0000"),
    ("-07", "+00"),
];

/// A time in one of Go's layouts.
fn formatted(nanos: i64, layout: &str) -> String {
    let time: DateTime<Utc> = DateTime::from_timestamp_nanos(nanos);
    let mut output = String::new();
    let mut rest = layout;
    while let Some(first) = rest.chars().next() {
        if let Some((word, format)) = WORDS.iter().find(|(word, _)| rest.starts_with(word)) {
            output.push_str(&time.format(format).to_string());
            rest = &rest[word.len()..];
            continue;
        }
        rest = &rest[first.len_utf8()..];
        let digits =
            rest.bytes().take_while(|byte| rest.starts_with(['0', '9']) && *byte == rest.as_bytes()[0]).count();
        let number_ends = !rest[digits..].starts_with(|c: char| c.is_ascii_digit());
        if matches!(first, '.' | ',') && (1..=9).contains(&digits) && number_ends {
            output.push_str(&fraction(first, &rest[..digits], time.nanosecond()));
            rest = &rest[digits..];
        } else {
            output.push(first);
        }
    }
    output
}

/// `.000` shows so many digits of the second, `.999` leaves zeros at the end out.
fn fraction(separator: char, digits: &str, nanosecond: u32) -> String {
    let all = format!("{nanosecond:09}");
    let shown = &all[..digits.len()];
    if digits.starts_with('0') {
        return format!("{separator}{shown}");
    }
    let trimmed = shown.trim_end_matches('0');
    if trimmed.is_empty() { String::new() } else { format!("{separator}{trimmed}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layouts_are_those_of_go() {
        let nanos = 1_443_033_835_120_000_000;
        for (layout, text) in [
            ("2006-01-02T15:04:05Z07:00", "2015-09-23T18:43:55Z"),
            ("Mon, 02 Jan 2006 15:04:05 MST", "Wed, 23 Sep 2015 18:43:55 UTC"),
            ("Monday January _2 3:04PM 06 -0700", "Wednesday September 23 6:43PM 15 +0000"),
            ("15:04:05.000 15:04:05.999999 5.9", "18:43:55.120 18:43:55.12 55.1"),
            ("1/2 002 __2 03:4:5 pm %Y é", "9/23 266 266 06:43:55 pm %Y é"),
        ] {
            assert_eq!(formatted(nanos, layout), text, "{layout}");
        }
    }
}
