//! Types and the other rules that a well-formed text can still break. The messages follow Prometheus'.

use super::ast::{Binary, Edge, Expr, Node, Selector, ValueType};
use super::error::QueryError;
use super::functions::Function;

/// Checks a whole tree.
pub(super) fn check(expr: &Expr) -> Result<(), QueryError> {
    for (index, child) in expr.children().into_iter().enumerate() {
        // The second argument of `info` filters labels; it need not demand any.
        let filter = index == 1 && matches!(&expr.node, Node::Call(function, _) if function.name == "info");
        if !(filter && matches!(child.node, Node::Vector(_))) {
            check(child)?;
        }
    }
    match &expr.node {
        Node::Vector(selector) => non_empty(selector, expr),
        Node::Matrix(selector, _) => non_empty(selector, expr),
        Node::Subquery(subquery) => {
            let context = |got| format!("subquery is only allowed on instant vector, got {got} instead");
            match subquery.expr.value_type() {
                ValueType::Vector => Ok(()),
                got => Err(QueryError::typed(context(got), subquery.expr.span)),
            }
        }
        Node::Call(function, args) => call(function, args, expr),
        Node::Aggregate(aggregate) => {
            if let (Some(param), Some(wanted)) = (&aggregate.param, aggregate.op.parameter()) {
                expect(param, wanted, "aggregation parameter")?;
            }
            expect(&aggregate.expr, ValueType::Vector, "aggregation expression")
        }
        Node::Binary(node) => binary(node, expr),
        Node::Unary(_, inner) => match inner.value_type() {
            ValueType::Scalar | ValueType::Vector => Ok(()),
            got => {
                let message =
                    format!("unary expression only allowed on expressions of type scalar or instant vector, got {got}");
                Err(QueryError::typed(message, inner.span))
            }
        },
        Node::Number(_) | Node::String(_) | Node::Paren(_) => Ok(()),
    }
}

fn expect(expr: &Expr, wanted: ValueType, context: &str) -> Result<(), QueryError> {
    let got = expr.value_type();
    if got == wanted {
        return Ok(());
    }
    let error = QueryError::typed(format!("expected type {wanted} in {context}, got {got}"), expr.span);
    Err(match (wanted, got) {
        (ValueType::Matrix, ValueType::Vector) => error.hint("add a range, for example [5m]"),
        (ValueType::Vector, ValueType::Matrix) => error.hint("a function such as rate() turns a range into a vector"),
        (ValueType::Vector, ValueType::Scalar) => error.hint("vector() turns a scalar into a vector"),
        (ValueType::Scalar, ValueType::Vector) => error.hint("scalar() turns a vector of one series into a scalar"),
        _ => error,
    })
}

/// A selector that could match every series there is must be a mistake.
fn non_empty(selector: &Selector, expr: &Expr) -> Result<(), QueryError> {
    if selector.matchers.iter().all(|matcher| matcher.matches_value("")) {
        return Err(QueryError::syntax("vector selector must contain at least one non-empty matcher", expr.span));
    }
    Ok(())
}

fn call(function: &'static Function, args: &[Expr], expr: &Expr) -> Result<(), QueryError> {
    let name = function.name;
    let (least, most) = (function.required, function.most_args());
    if args.len() < least || most.is_some_and(|most| args.len() > most) {
        let wanted = match most {
            Some(most) if most == least => least.to_string(),
            Some(most) => format!("{least} to {most}"),
            None => format!("at least {least}"),
        };
        let message = format!("expected {wanted} argument(s) in call to {name:?}, got {}", args.len());
        return Err(QueryError::typed(message, expr.span));
    }
    for (index, arg) in args.iter().enumerate() {
        expect(arg, function.arg(index), &format!("call to function {name:?}"))?;
        edges(name, arg)?;
    }
    if name == "info"
        && let Some(arg) = args.get(1)
        && !matches!(arg.node, Node::Vector(_))
    {
        return Err(QueryError::typed("expected label selectors only in the second argument of \"info\"", arg.span));
    }
    Ok(())
}

/// `anchored` and `smoothed` make sense for a few functions only.
fn edges(name: &str, arg: &Expr) -> Result<(), QueryError> {
    let Node::Matrix(selector, _) = &arg.bare().node else {
        return Ok(());
    };
    let (edge, allowed) = match selector.edge {
        Edge::Plain => return Ok(()),
        Edge::Anchored => ("anchored", &["changes", "delta", "increase", "rate", "resets"][..]),
        Edge::Smoothed => ("smoothed", &["delta", "increase", "rate"][..]),
    };
    if allowed.contains(&name) {
        return Ok(());
    }
    let message = format!("{edge} modifier can only be used with: {} - not with {name}", allowed.join(", "));
    Err(QueryError::typed(message, arg.span))
}

fn binary(node: &Binary, expr: &Expr) -> Result<(), QueryError> {
    let (left, right) = (node.lhs.value_type(), node.rhs.value_type());
    for (side, got) in [(&node.lhs, left), (&node.rhs, right)] {
        if !matches!(got, ValueType::Scalar | ValueType::Vector) {
            let message = format!("binary expression must contain only scalar and instant vector types, got {got}");
            return Err(QueryError::typed(message, side.span));
        }
    }
    let scalars = (left == ValueType::Scalar, right == ValueType::Scalar);
    if scalars == (true, true) && node.op.is_comparison() && !node.returns_bool {
        return Err(QueryError::typed("comparisons between scalars must use BOOL modifier", expr.span)
            .hint(format!("write {} bool", node.op.symbol())));
    }
    if scalars != (false, false) {
        if node.op.is_set() {
            let message = format!("set operator {:?} not allowed in binary scalar expression", node.op.symbol());
            return Err(QueryError::typed(message, expr.span));
        }
        if node.explicit && !node.matching.labels.is_empty() {
            return Err(QueryError::typed("vector matching only allowed between instant vectors", expr.span));
        }
        if node.matching.fill_left.is_some() || node.matching.fill_right.is_some() {
            return Err(QueryError::typed("filling in missing series only allowed between instant vectors", expr.span));
        }
    }
    Ok(())
}
