//! The tree of a query as JSON, in the shape of Prometheus' `/api/v1/parse_query`.

use serde_json::{Value, json};

use crate::model::Matcher;

use super::ast::{At, Binary, Cardinality, Edge, Expr, Length, Node, Selector, Shift, ValueType};

/// The tree. Times and lengths are in milliseconds; a length that depends on the query's step or range is 0.
pub fn tree(expr: &Expr) -> Value {
    match &expr.node {
        Node::Number(number) => json!({"type": "numberLiteral", "val": super::format_value(*number)}),
        Node::String(text) => json!({"type": "stringLiteral", "val": text}),
        Node::Vector(node) => selector(node, "vectorSelector"),
        Node::Matrix(node, range) => {
            let mut value = selector(node, "matrixSelector");
            value["range"] = millis(Some(range)).into();
            value
        }
        Node::Subquery(node) => with_shift(
            json!({
                "type": "subquery",
                "expr": tree(&node.expr),
                "range": millis(Some(&node.range)),
                "step": millis(node.step.as_ref()),
                "alignEvalTime": false,
            }),
            &node.shift,
        ),
        Node::Call(function, args) => {
            let types: Vec<&str> = function.args.iter().map(|value_type| name(*value_type)).collect();
            // Prometheus counts the arguments that may be left out, and writes -1 where there may be any number.
            let variadic = match function.most_args() {
                None => -1,
                Some(most) => i64::try_from(most - function.required).unwrap_or(0),
            };
            let returns = name(function.returns);
            let about = json!({"name": function.name, "argTypes": types, "variadic": variadic, "returnType": returns});
            json!({"type": "call", "func": about, "args": args.iter().map(tree).collect::<Vec<_>>()})
        }
        Node::Aggregate(node) => json!({
            "type": "aggregation",
            "op": node.op.name(),
            "expr": tree(&node.expr),
            "param": node.param.as_ref().map(tree),
            "grouping": node.labels,
            "without": node.without,
        }),
        Node::Binary(node) => binary(node),
        Node::Unary(negative, inner) => match (&inner.node, negative) {
            // Prometheus' parser folds the sign into the number.
            (Node::Number(number), true) => json!({"type": "numberLiteral", "val": super::format_value(-number)}),
            (Node::Number(_), false) => tree(inner),
            _ => json!({"type": "unaryExpr", "op": if *negative { "-" } else { "+" }, "expr": tree(inner)}),
        },
        Node::Paren(inner) => json!({"type": "parenExpr", "expr": tree(inner)}),
    }
}

fn name(value_type: ValueType) -> &'static str {
    match value_type {
        ValueType::Scalar => "scalar",
        ValueType::String => "string",
        ValueType::Vector => "vector",
        ValueType::Matrix => "matrix",
    }
}

fn millis(length: Option<&Length>) -> i64 {
    length.filter(|length| length.is_constant()).map_or(0, |length| length.millis(0, 0))
}

fn with_shift(mut value: Value, shift: &Shift) -> Value {
    value["offset"] = millis(shift.offset.as_ref()).into();
    value["timestamp"] = if let Some(At::Time(time)) = shift.at { time.into() } else { Value::Null };
    value["startOrEnd"] = match shift.at {
        Some(At::Start) => "start".into(),
        Some(At::End) => "end".into(),
        _ => Value::Null,
    };
    value
}

fn selector(node: &Selector, kind: &str) -> Value {
    let name = node.matchers.first().filter(|_| node.named);
    // The name before the braces is the last of the matchers there.
    let ordered = node.matchers.iter().skip(usize::from(node.named)).chain(name);
    let matcher = |m: &Matcher| json!({"name": m.name, "value": m.value, "type": m.op.as_str()});
    let value = json!({
        "type": kind,
        "name": name.map_or("", |matcher| matcher.value.as_str()),
        "matchers": ordered.map(matcher).collect::<Vec<_>>(),
        "anchored": node.edge == Edge::Anchored,
        "smoothed": node.edge == Edge::Smoothed,
    });
    with_shift(value, &node.shift)
}

fn binary(node: &Binary) -> Value {
    let vector = |side: &Expr| side.value_type() == ValueType::Vector;
    let card = match node.matching.card {
        _ if node.op.is_set() => "many-to-many",
        Cardinality::OneToOne => "one-to-one",
        Cardinality::ManyToOne => "many-to-one",
        Cardinality::OneToMany => "one-to-many",
    };
    let matching = &node.matching;
    let matching = json!({
        "card": card,
        "labels": matching.labels,
        "on": matching.on,
        "include": matching.include,
        "fillValues": {"lhs": matching.fill_left, "rhs": matching.fill_right},
    });
    json!({
        "type": "binaryExpr",
        "op": node.op.symbol(),
        "lhs": tree(&node.lhs),
        "rhs": tree(&node.rhs),
        "matching": if vector(&node.lhs) && vector(&node.rhs) { matching } else { Value::Null },
        "bool": node.returns_bool,
    })
}

#[cfg(test)]
mod tests {
    use super::super::parse;
    use super::*;

    #[test]
    fn the_shape_is_prometheus_own() {
        let text = "sum by (job) (rate(up{a=~'b'}[5m] offset 1m)) > bool -1";
        let matchers = json!([
            {"name": "a", "value": "b", "type": "=~"},
            {"name": "__name__", "value": "up", "type": "="},
        ]);
        let range = json!({
            "type": "matrixSelector", "name": "up", "range": 300_000, "offset": 60_000, "matchers": matchers,
            "timestamp": null, "startOrEnd": null, "anchored": false, "smoothed": false,
        });
        let rate = json!({"name": "rate", "argTypes": ["matrix"], "variadic": 0, "returnType": "vector"});
        let sum = json!({
            "type": "aggregation", "op": "sum", "param": null, "grouping": ["job"], "without": false,
            "expr": {"type": "call", "func": rate, "args": [range]},
        });
        let want = json!({
            "type": "binaryExpr", "op": ">", "bool": true, "matching": null, "lhs": sum,
            "rhs": {"type": "numberLiteral", "val": "-1"},
        });
        assert_eq!(tree(&parse(text).unwrap()), want);
    }

    #[test]
    fn vectors_tell_how_they_match() {
        let value = tree(&parse("a and on (x) b").unwrap());
        assert_eq!(value["matching"]["card"], "many-to-many");
        let subquery = tree(&parse("max_over_time(b[1h:] @ 5)").unwrap());
        assert_eq!(subquery["args"][0]["timestamp"], 5000);
        assert_eq!(subquery["args"][0]["step"], 0);
        assert_eq!(tree(&parse("round(a)").unwrap())["func"]["variadic"], 1);
    }
}
