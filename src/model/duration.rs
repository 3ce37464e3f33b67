//! Durations as Prometheus writes them: `15s`, `5m`, `1h30m`, `1d`, `250ms`.

use std::time::Duration;

/// Why a text is no duration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a duration: write it as Prometheus does, for example 15s, 5m, 1h30m or 1d")]
pub struct DurationError {
    /// As written.
    pub text: String,
}

/// Units from the largest to the smallest, in milliseconds; each may appear once, in this order.
const UNITS: [(&str, u64); 7] = [
    ("y", 365 * 86_400_000),
    ("w", 7 * 86_400_000),
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1_000),
    ("ms", 1),
];

/// Reads a Prometheus duration. `0` needs no unit.
///
/// # Errors
/// [`DurationError`] for anything else, an overflow included.
pub fn parse_duration(text: &str) -> Result<Duration, DurationError> {
    let error = || DurationError { text: text.to_string() };
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    let (mut rest, mut total, mut next_unit) = (text, 0_u64, 0);
    if rest.is_empty() {
        return Err(error());
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(error)?;
        let number: u64 = rest[..digits].parse().map_err(|_| error())?;
        let tail = &rest[digits..];
        let length = tail.find(|c: char| c.is_ascii_digit()).unwrap_or(tail.len());
        let position = UNITS.iter().position(|(unit, _)| *unit == &tail[..length]).ok_or_else(error)?;
        if position < next_unit {
            return Err(error());
        }
        next_unit = position + 1;
        let part = number.checked_mul(UNITS[position].1).ok_or_else(error)?;
        total = total.checked_add(part).ok_or_else(error)?;
        rest = &tail[length..];
    }
    Ok(Duration::from_millis(total))
}

/// Writes a duration as Prometheus does; parts below a millisecond are dropped.
pub fn format_duration(duration: Duration) -> String {
    let mut millis = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    if millis == 0 {
        return "0s".to_string();
    }
    let mut text = String::new();
    for (index, (unit, size)) in UNITS.iter().enumerate() {
        // Years and weeks only where nothing remains, as Prometheus does: 8d, not 1w1d.
        if (index < 2 && millis % size != 0) || millis < *size {
            continue;
        }
        text.push_str(&format!("{}{unit}", millis / size));
        millis %= size;
    }
    text
}

/// The JSON Schema of a duration's text; use as `#[schemars(schema_with = "crate::model::duration::schema")]`.
pub fn schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({
        "type": "string",
        "pattern": "^(0|(?=[0-9])([0-9]+y)?([0-9]+w)?([0-9]+d)?([0-9]+h)?([0-9]+m)?([0-9]+s)?([0-9]+ms)?)$",
        "examples": ["15s", "5m", "1h30m"],
    })
}

/// Deserialises a duration from its text; use as `#[serde(with = "crate::model::duration::serde_text")]`.
pub mod serde_text {
    use super::{Duration, format_duration, parse_duration};
    use std::fmt;

    use serde::de::{Deserializer, Error, Visitor};
    use serde::ser::Serializer;

    /// Reads `15s`.
    ///
    /// # Errors
    /// The deserialiser's own, with the text of [`super::DurationError`].
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        deserializer.deserialize_str(Text)
    }

    struct Text;

    impl Visitor<'_> for Text {
        type Value = Duration;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a duration with its unit (15s, 5m, 1h30m, 1d)")
        }

        fn visit_str<E: Error>(self, text: &str) -> Result<Duration, E> {
            parse_duration(text).map_err(E::custom)
        }
    }

    /// Reads `15s` into an option; use as `deserialize_with` beside `default`, which stands for an absent key.
    ///
    /// # Errors
    /// As [`deserialize`].
    pub fn option<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
        deserialize(deserializer).map(Some)
    }

    /// Writes `15s`.
    ///
    /// # Errors
    /// The serialiser's own.
    pub fn serialize<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&format_duration(*duration))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_and_writes_as_prometheus_does() {
        for (text, millis) in
            [("15s", 15_000), ("1h30m", 5_400_000), ("1d", 86_400_000), ("250ms", 250), ("1w", 604_800_000)]
        {
            assert_eq!(parse_duration(text), Ok(Duration::from_millis(millis)), "{text}");
            assert_eq!(format_duration(Duration::from_millis(millis)), text);
        }
        assert_eq!(format_duration(Duration::from_secs(8 * 86_400)), "8d");
        assert_eq!(parse_duration("0"), Ok(Duration::ZERO));
    }

    #[test]
    fn refuses_everything_else() {
        for text in ["", "5", "m", "5 m", "1m1h", "5M", "1.5h", "-5m", "99999999999999999999s", "9999999999999y", "5mm"]
        {
            assert!(parse_duration(text).is_err(), "{text}");
        }
    }
}
