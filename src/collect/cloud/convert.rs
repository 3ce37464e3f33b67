//! Converters: from the ways in which JSON documents write a number to the number.

use serde_json::Value;

use crate::model::duration::parse_duration;

/// How a value is written in the document.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Convert {
    /// A number, or a string that holds one.
    #[default]
    Number,
    /// A number with an SI suffix: `"1.23T"`, `"115 M"`, `"0.5k"`.
    Si,
    /// true or false, also as `"yes"`, `"on"`, `"1"`, … or 0 and 1.
    Bool,
    /// RFC 3339, `"2026-01-31T12:00:00Z"`; becomes seconds since the epoch.
    IsoTime,
    /// Milliseconds since the epoch; becomes seconds since the epoch.
    EpochMs,
    /// `"1h30m"` as Prometheus writes it, or `"26:03:04"`; becomes seconds.
    Duration,
    /// The number of elements of an array or object, of characters of a string.
    Length,
}

/// A value that is not written as the converter expects.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{found} is not {expected}")]
pub struct ConvertError {
    expected: &'static str,
    found: String,
}

/// Longest part of a value that an error quotes, in characters.
const QUOTED: usize = 40;

impl Convert {
    /// The number, or `None` for a null: absent means absent.
    ///
    /// # Errors
    /// [`ConvertError`] that quotes the start of the value.
    pub fn read(self, value: &Value) -> Result<Option<f64>, ConvertError> {
        if value.is_null() {
            return Ok(None);
        }
        let (expected, found) = match self {
            Convert::Number => ("a number (see `convert`)", number(value)),
            Convert::Si => ("a number with an SI suffix", number(value).or_else(|| si(value.as_str()?))),
            Convert::Bool => ("true or false", boolean(value)),
            Convert::IsoTime => ("an RFC 3339 time", value.as_str().and_then(iso_time)),
            Convert::EpochMs => ("a time in milliseconds", number(value).map(|millis| millis / 1000.0)),
            Convert::Duration => ("a duration such as 1h30m or 01:30:00", value.as_str().and_then(duration)),
            Convert::Length => ("an array, object or string", length(value)),
        };
        match found {
            Some(number) => Ok(Some(number)),
            None => {
                let text: String = value.to_string().chars().take(QUOTED).collect();
                Err(ConvertError { expected, found: text })
            }
        }
    }
}

/// JSON has no infinities, so a text that says one is an overflow or an error of the other side.
fn finite(text: &str) -> Option<f64> {
    text.trim().parse().ok().filter(|number: &f64| number.is_finite())
}

fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => finite(text),
        _ => None,
    }
}

fn si(text: &str) -> Option<f64> {
    const SUFFIXES: [(char, f64); 9] = [
        ('m', 1e-3),
        ('k', 1e3),
        ('K', 1e3),
        ('M', 1e6),
        ('G', 1e9),
        ('T', 1e12),
        ('P', 1e15),
        ('E', 1e18),
        ('Z', 1e21),
    ];
    let text = text.trim();
    let (_, factor) = SUFFIXES.iter().find(|(suffix, _)| text.ends_with(*suffix))?;
    Some(finite(&text[..text.len() - 1])? * factor)
}

fn boolean(value: &Value) -> Option<f64> {
    let truth = match value {
        Value::Bool(truth) => *truth,
        Value::Number(number) => match number.as_f64() {
            Some(0.0) => false,
            Some(1.0) => true,
            _ => return None,
        },
        Value::String(text) => match text.trim().to_ascii_lowercase().as_str() {
            "true" | "yes" | "on" | "1" => true,
            "false" | "no" | "off" | "0" => false,
            _ => return None,
        },
        _ => return None,
    };
    Some(f64::from(u8::from(truth)))
}

fn iso_time(text: &str) -> Option<f64> {
    let time = chrono::DateTime::parse_from_rfc3339(text.trim()).ok()?;
    // Milliseconds are exact in an f64; nanoseconds since 1970 are not.
    Some(time.timestamp_millis() as f64 / 1000.0)
}

fn duration(text: &str) -> Option<f64> {
    let text = text.trim();
    if let Ok(duration) = parse_duration(text) {
        return Some(duration.as_secs_f64());
    }
    let mut parts = text.split(':').map(|part| part.parse::<u32>().ok().map(f64::from));
    let (hours, minutes, seconds) = (parts.next()??, parts.next()??, parts.next()??);
    (parts.next().is_none() && minutes < 60.0 && seconds < 60.0).then_some(hours * 3600.0 + minutes * 60.0 + seconds)
}

fn length(value: &Value) -> Option<f64> {
    let length = match value {
        Value::Array(list) => list.len(),
        Value::Object(map) => map.len(),
        Value::String(text) => text.chars().count(),
        _ => return None,
    };
    Some(length as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn every_way_of_writing_a_number() {
        use Convert::*;
        for (convert, value, expected) in [
            (Number, json!(1.5), 1.5),
            (Number, json!(" -2e3 "), -2000.0),
            (Si, json!("1.5T"), 1.5e12),
            (Si, json!("115 M"), 115e6),
            (Si, json!("0.5k"), 500.0),
            (Si, json!("7"), 7.0),
            (Si, json!(7), 7.0),
            (Bool, json!(true), 1.0),
            (Bool, json!("Off"), 0.0),
            (Bool, json!(1), 1.0),
            (IsoTime, json!("1970-01-02T01:00:00.250+01:00"), 86_400.25),
            (EpochMs, json!(1500), 1.5),
            (Duration, json!("1h30m"), 5400.0),
            (Duration, json!("26:03:04"), 93_784.0),
            (Length, json!([1, 2]), 2.0),
            (Length, json!({}), 0.0),
            (Length, json!("é!"), 2.0),
        ] {
            assert_eq!(convert.read(&value), Ok(Some(expected)), "{convert:?} {value}");
        }
        assert_eq!(Number.read(&Value::Null), Ok(None));
    }

    #[test]
    fn what_is_written_otherwise_is_refused() {
        use Convert::*;
        for (convert, value) in [
            (Number, json!(true)),
            (Number, json!("NaN")),
            (Number, json!("1e999")),
            (Number, json!("1,234")),
            (Number, json!([1])),
            (Si, json!("1.5 TH/s")),
            (Si, json!("T")),
            (Si, json!("é")),
            (Bool, json!(2)),
            (Bool, json!("maybe")),
            (IsoTime, json!("2026-01-31 12:00")),
            (Duration, json!("1:2")),
            (Duration, json!("1:60:00")),
            (Duration, json!("1:2:3:4")),
            (Length, json!(5)),
        ] {
            assert!(convert.read(&value).is_err(), "{convert:?} {value}");
        }
        let error = Number.read(&json!("x".repeat(100))).unwrap_err().to_string();
        assert_eq!(error, format!("\"{} is not a number (see `convert`)", "x".repeat(39)));
    }
}
