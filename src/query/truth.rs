//! Whether an expression holds: for whoever asks a question of samples instead of drawing them.

use super::{Expr, Limits, Value, instant};
use crate::model::Source;

/// Whether an expression holds at a time; `None` without data. A comparison drops what it is false for, and dropping looks
/// like having no data; so it is asked for its truth instead.
pub fn holds(expr: &Expr, source: &dyn Source, at: i64, limits: &Limits) -> Option<bool> {
    match instant(&expr.as_truth(), source, at, limits).ok()?.value {
        Value::Scalar(point) => Some(point.v != 0.0 && !point.v.is_nan()),
        Value::Vector(elements) if elements.is_empty() => None,
        // NaN is what a division of nothing by nothing gives.
        Value::Vector(elements) if elements.iter().any(|element| element.v.is_nan()) => None,
        Value::Vector(elements) => Some(elements.iter().all(|element| element.v != 0.0)),
        Value::String(..) | Value::Matrix(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Labels, Matcher, Point, Series, SourceError};

    struct Fixed(Vec<Series>);

    impl Source for Fixed {
        fn select(&self, matchers: &[Matcher], _: i64, _: i64) -> Result<Vec<Series>, SourceError> {
            let hit = self.0.iter().filter(|series| matchers.iter().all(|matcher| matcher.matches(&series.labels)));
            Ok(hit.cloned().collect())
        }
    }

    #[test]
    fn false_and_unknown_are_not_the_same() {
        let up = |miner: &str, v| {
            Series::floats(Labels::new([("__name__", "up"), ("miner", miner)]), vec![Point { t: 1000, v }])
        };
        let source = Fixed(vec![up("a", 1.0), up("b", 1.0), up("c", 0.0)]);
        let ask = |text: &str| holds(&crate::query::parse(text).unwrap(), &source, 2000, &Limits::default());
        assert_eq!(ask("count(up == 1) / count(up) > 0.6"), Some(true));
        assert_eq!(ask("(count(up == 1) / count(up) > 0.8)"), Some(false));
        assert_eq!(ask("count(down == 1) / count(down) > 0.8"), None);
        assert_eq!(ask("sum(up * 0) / sum(up * 0) > 0.8"), Some(false), "nothing is true of NaN");
        assert_eq!(ask("up"), Some(false), "one of them is 0");
        assert_eq!(ask("scalar(sum(up))"), Some(true));
        assert_eq!(ask("vector(1)"), Some(true));
    }
}
