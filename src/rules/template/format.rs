//! Numbers and times as Go's `fmt` and `strconv` write them.

use chrono::DateTime;
use chrono::Utc;

/// From this exponent on, the shortest form is written with an exponent.
const SHORTEST_LIMIT: i32 = 6;

/// `%v` of a float: the shortest digits that read back as the same value.
pub(super) fn shortest(value: f64) -> String {
    general(value, None)
}

/// `%g`, with at most `digits` significant digits or with as few as identify the value.
pub(super) fn general(value: f64, digits: Option<usize>) -> String {
    if let Some(text) = special(value) {
        return text;
    }
    let scientific = match digits {
        Some(digits) => format!("{:.*e}", digits.max(1) - 1, value),
        None => format!("{value:e}"),
    };
    let (mantissa, exponent) = split(&scientific);
    let limit = digits.map_or(SHORTEST_LIMIT, |digits| i32::try_from(digits.max(1)).unwrap_or(i32::MAX));
    if exponent < -4 || exponent >= limit {
        return format!("{}{}", trimmed(mantissa), go_exponent(exponent));
    }
    match digits {
        None => format!("{value}"),
        Some(digits) => {
            let decimals = i64::try_from(digits.max(1)).unwrap_or(i64::MAX) - 1 - i64::from(exponent);
            trimmed(&format!("{:.*}", usize::try_from(decimals).unwrap_or(0), value)).to_string()
        }
    }
}

/// `%f`
pub(super) fn fixed(value: f64, decimals: usize) -> String {
    special(value).unwrap_or_else(|| format!("{value:.decimals$}"))
}

/// `%e`
pub(super) fn scientific(value: f64, decimals: usize) -> String {
    special(value).unwrap_or_else(|| {
        let text = format!("{value:.decimals$e}");
        let (mantissa, exponent) = split(&text);
        format!("{mantissa}{}", go_exponent(exponent))
    })
}

fn special(value: f64) -> Option<String> {
    let text = match value {
        v if v.is_nan() => "NaN",
        v if v == f64::INFINITY => "+Inf",
        v if v == f64::NEG_INFINITY => "-Inf",
        _ => return None,
    };
    Some(text.to_string())
}

fn split(scientific: &str) -> (&str, i32) {
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((scientific, "0"));
    (mantissa, exponent.parse().unwrap_or(0))
}

fn trimmed(decimal: &str) -> &str {
    if decimal.contains('.') { decimal.trim_end_matches('0').trim_end_matches('.') } else { decimal }
}

fn go_exponent(exponent: i32) -> String {
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("e{sign}{:02}", exponent.abs())
}

/// A time as Go prints it: `2015-09-23 18:43:55.123 +0000 UTC`.
pub(super) fn time(nanos: i64) -> String {
    let time: DateTime<Utc> = DateTime::from_timestamp_nanos(nanos);
    let fraction = nanos.rem_euclid(1_000_000_000);
    let fraction = if fraction == 0 { String::new() } else { format!(".{fraction:09}") };
    format!("{}{} +0000 UTC", time.format("%Y-%m-%d %H:%M:%S"), fraction.trim_end_matches('0'))
}

/// A duration as Go prints it: `1h2m3.5s`, `12ms`.
pub(super) fn duration(nanos: i64) -> String {
    let sign = if nanos < 0 { "-" } else { "" };
    let total = nanos.unsigned_abs();
    let part = |unit: u64, name: &str| {
        let text = format!("{}.{:0width$}", total / unit, total % unit, width = unit.ilog10() as usize);
        format!("{sign}{}{name}", trimmed(&text))
    };
    match total {
        0 => "0s".to_string(),
        1..1_000 => format!("{sign}{total}ns"),
        1_000..1_000_000 => part(1_000, "µs"),
        1_000_000..1_000_000_000 => part(1_000_000, "ms"),
        _ => {
            let (hours, minutes) = (total / 3_600_000_000_000, total / 60_000_000_000 % 60);
            let seconds = total % 60_000_000_000;
            let text = format!("{}.{:09}", seconds / 1_000_000_000, seconds % 1_000_000_000);
            let hours_text = if hours > 0 { format!("{hours}h") } else { String::new() };
            let minutes_text = if hours > 0 || minutes > 0 { format!("{minutes}m") } else { String::new() };
            format!("{sign}{hours_text}{minutes_text}{}s", trimmed(&text))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floats_look_as_in_go() {
        for (value, text) in [
            (0.0, "0"),
            (1.5, "1.5"),
            (100_000.0, "100000"),
            (1_000_000.0, "1e+06"),
            (123_456_789.0, "1.23456789e+08"),
            (0.0001, "0.0001"),
            (0.000_01, "1e-05"),
            (-0.25, "-0.25"),
            (f64::INFINITY, "+Inf"),
            (f64::NAN, "NaN"),
        ] {
            assert_eq!(shortest(value), text, "{value}");
        }
        for (value, text) in
            [(12_345.0, "1.234e+04"), (999.96, "1000"), (5.0, "5"), (0.12345, "0.1235"), (1e-7, "1e-07")]
        {
            assert_eq!(general(value, Some(4)), text, "{value}");
        }
        assert_eq!(fixed(2.345, 2), "2.35");
        assert_eq!(scientific(1234.5, 2), "1.23e+03");
    }

    #[test]
    fn times_and_durations_look_as_in_go() {
        assert_eq!(time(1_443_033_835_120_000_000), "2015-09-23 18:43:55.12 +0000 UTC");
        assert_eq!(time(0), "1970-01-01 00:00:00 +0000 UTC");
        for (nanos, text) in [
            (0, "0s"),
            (90_000_000_000, "1m30s"),
            (3_600_000_000_000, "1h0m0s"),
            (1_500_000, "1.5ms"),
            (-2_500_000_000, "-2.5s"),
            (1_500, "1.5µs"),
        ] {
            assert_eq!(duration(nanos), text);
        }
    }
}
