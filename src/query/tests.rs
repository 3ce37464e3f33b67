//! Tests of the room as its users see it.

use super::*;

#[test]
fn window_counts_ranges_offsets_and_subqueries() {
    let seconds = |text: &str| window(&parse(text).unwrap()).as_secs();
    assert_eq!(seconds("1 + 2"), 0);
    assert_eq!(seconds("up"), 300);
    assert_eq!(seconds("rate(x[10m] offset 1h) > up"), 4200);
    assert_eq!(seconds("max_over_time(rate(x[5m])[1h:1m] offset 10m)"), 4500);
    assert_eq!(seconds("x offset -1h"), 0);
    assert_eq!(seconds("x[1h] @ 5"), 0);
}

#[test]
fn selectors_are_found_in_order() {
    let found = selectors(&parse("sum(rate(a{b=\"c\"}[5m])) / on () d").unwrap());
    let names: Vec<&str> = found.iter().map(|matchers| matchers[0].value.as_str()).collect();
    assert_eq!(names, ["a", "d"]);
}

#[test]
fn values_are_written_as_prometheus_writes_them() {
    for (value, text) in [
        (1.0, "1"),
        (0.1, "0.1"),
        (1e21, "1000000000000000000000"),
        (1e-7, "0.0000001"),
        (f64::NAN, "NaN"),
        (f64::INFINITY, "+Inf"),
        (-0.0, "-0"),
    ] {
        assert_eq!(format_value(value), text);
    }
}
