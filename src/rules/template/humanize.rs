//! Prometheus' `humanize*` functions: numbers for people, digit for digit as Prometheus writes them.

use super::format::general;

const LARGE: [&str; 8] = ["k", "M", "G", "T", "P", "E", "Z", "Y"];
const SMALL: [&str; 8] = ["m", "u", "n", "p", "f", "a", "z", "y"];
const BINARY: [&str; 8] = ["ki", "Mi", "Gi", "Ti", "Pi", "Ei", "Zi", "Yi"];

fn four(value: f64) -> String {
    general(value, Some(4))
}

fn grow(mut value: f64, base: f64, prefixes: [&'static str; 8]) -> String {
    let mut prefix = "";
    for next in prefixes {
        if value.abs() < base {
            break;
        }
        prefix = next;
        value /= base;
    }
    format!("{}{prefix}", four(value))
}

fn shrink(mut value: f64) -> String {
    let mut prefix = "";
    for next in SMALL {
        if value.abs() >= 1.0 {
            break;
        }
        prefix = next;
        value *= 1000.0;
    }
    format!("{}{prefix}", four(value))
}

/// `1.235k`, `12m`: SI prefixes.
pub(super) fn humanize(value: f64) -> String {
    if value == 0.0 || !value.is_finite() {
        return four(value);
    }
    if value.abs() >= 1.0 { grow(value, 1000.0, LARGE) } else { shrink(value) }
}

/// `1.5ki`: binary prefixes.
pub(super) fn humanize1024(value: f64) -> String {
    if value.abs() <= 1.0 || !value.is_finite() {
        return four(value);
    }
    grow(value, 1024.0, BINARY)
}

/// `12.35%` of a ratio.
pub(super) fn percentage(value: f64) -> String {
    format!("{}%", four(value * 100.0))
}

/// `1d 2h 3m 4s` of seconds; below a second with a prefix.
pub(super) fn duration(value: f64) -> String {
    if !value.is_finite() {
        return four(value);
    }
    if value == 0.0 {
        return format!("{}s", four(value));
    }
    if value.abs() < 1.0 {
        return format!("{}s", shrink(value));
    }
    let sign = if value < 0.0 { "-" } else { "" };
    let value = value.abs();
    #[allow(clippy::cast_possible_truncation, reason = "Prometheus cuts the fraction; `as` saturates beyond i64")]
    let whole = value as i64;
    let (days, hours, minutes, seconds) = (whole / 86_400, whole / 3_600 % 24, whole / 60 % 60, whole % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{sign}{}s", four(value)),
        (0, 0, _) => format!("{sign}{minutes}m {seconds}s"),
        (0, _, _) => format!("{sign}{hours}h {minutes}m {seconds}s"),
        _ => format!("{sign}{days}d {hours}h {minutes}m {seconds}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The values of Prometheus' own template tests.
    #[test]
    fn numbers_for_people() {
        for (value, text) in [
            (0.0, "0"),
            (1.0, "1"),
            (1_234_567.0, "1.235M"),
            (0.12, "120m"),
            (-0.001_5, "-1.5m"),
            (1e30, "1e+06Y"),
            (f64::INFINITY, "+Inf"),
        ] {
            assert_eq!(humanize(value), text, "{value}");
        }
        for (value, text) in [(0.0, "0"), (1_048_576.0, "1Mi"), (0.12, "0.12"), (1_536.0, "1.5ki")] {
            assert_eq!(humanize1024(value), text, "{value}");
        }
        for (value, text) in [(-0.22222, "-22.22%"), (0.0, "0%"), (1.0, "100%"), (0.1234567, "12.35%")] {
            assert_eq!(percentage(value), text, "{value}");
        }
    }

    #[test]
    fn durations_for_people() {
        for (value, text) in [
            (0.0, "0s"),
            (1.0, "1s"),
            (60.0, "1m 0s"),
            (3_600.0, "1h 0m 0s"),
            (86_400.0, "1d 0h 0m 0s"),
            (86_400.0 + 3_600.0, "1d 1h 0m 0s"),
            (-(86_400.0 * 2.0 + 3_600.0 * 3.0 + 60.0 * 4.0 + 5.0), "-2d 3h 4m 5s"),
            (0.1, "100ms"),
            (0.0001, "100us"),
            (0.12345, "123.5ms"),
            (60.1, "1m 0s"),
            (12.345, "12.35s"),
            (f64::NAN, "NaN"),
        ] {
            assert_eq!(duration(value), text, "{value}");
        }
    }
}
