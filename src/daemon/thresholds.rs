//! The numbers of alert rules, for the colours of dashboards: a panel turns red where its alert begins to count.

use crate::dashboards::Threshold;
use crate::query::Expr;
use crate::query::ast::{BinaryOp, Node};
use crate::rules::RuleGroup;

/// The threshold of every alert rule whose expression compares with a number.
pub(super) fn of_rules(groups: &[RuleGroup]) -> Vec<Threshold> {
    let alerts = groups.iter().flat_map(|group| &group.rules).filter(|rule| rule.alert().is_some());
    alerts.filter_map(|rule| Some(Threshold::new(rule.name.clone(), number(&rule.expr)?))).collect()
}

/// The right-hand number of the outermost comparison; `and`, `or` and `unless` qualify their left-hand side.
fn number(expr: &Expr) -> Option<f64> {
    match &expr.node {
        Node::Paren(inner) => number(inner),
        Node::Binary(binary) if matches!(binary.op, BinaryOp::And | BinaryOp::Or | BinaryOp::Unless) => {
            number(&binary.lhs)
        }
        Node::Binary(binary) if binary.op.is_comparison() => literal(&binary.rhs),
        _ => None,
    }
}

fn literal(expr: &Expr) -> Option<f64> {
    match &expr.node {
        Node::Number(value) => Some(*value),
        Node::Paren(inner) => literal(inner),
        Node::Unary(negative, inner) => literal(inner).map(|value| if *negative { -value } else { value }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_is_found_behind_qualifiers_and_signs() {
        let of = |text: &str| number(&crate::query::parse(text).unwrap());
        assert_eq!(of("max by (miner) (t) > 85"), Some(85.0));
        assert_eq!(of("(rssi < -80 unless on (miner) paused == 1)"), Some(-80.0));
        assert_eq!(of("a / (b > 0) < 0.75 and c > 3"), Some(0.75));
        assert_eq!(of("a > b"), None);
        assert_eq!(of("up"), None);
    }
}
