//! Times as Alertmanager's API writes them: RFC 3339 with milliseconds.

use chrono::{DateTime, SecondsFormat};

/// `2026-11-21T03:00:00.000Z` for milliseconds since the epoch.
pub fn rfc3339(millis: i64) -> String {
    let time = DateTime::from_timestamp_millis(millis).unwrap_or_default();
    time.to_rfc3339_opts(SecondsFormat::Millis, true)
}

/// Milliseconds since the epoch of an RFC 3339 time with any offset; `None` for anything else.
pub fn from_rfc3339(text: &str) -> Option<i64> {
    DateTime::parse_from_rfc3339(text).ok().map(|time| time.timestamp_millis())
}

/// The text form as `#[serde(with = …)]`.
pub(super) mod serde_text {
    use serde::de::{Deserialize, Deserializer, Error};
    use serde::ser::Serializer;

    use super::{from_rfc3339, rfc3339};

    pub(in crate::silence) fn serialize<S: Serializer>(millis: &i64, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&rfc3339(*millis))
    }

    pub(in crate::silence) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<i64, D::Error> {
        let text = String::deserialize(deserializer)?;
        from_rfc3339(&text).ok_or_else(|| D::Error::custom("not a time: write it like 2026-11-21T03:00:00Z"))
    }
}
