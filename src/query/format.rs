//! A query laid out over several lines, as Prometheus' `format_query` does it: what fits into a line stays in one.

use super::ast::{Expr, Node};
use super::display::{Head, Operator};

/// Prometheus breaks what is longer (in bytes).
const LINE: usize = 100;

/// One level of indentation.
const INDENT: &str = "  ";

/// The query laid out. Comments are lost: they are in no tree.
pub fn format(expr: &Expr) -> String {
    pretty(expr, 0)
}

fn pretty(expr: &Expr, level: usize) -> String {
    let indent = INDENT.repeat(level);
    let line = expr.to_string();
    match &expr.node {
        Node::Unary(negative, inner) => {
            format!("{indent}{}{}", if *negative { "-" } else { "+" }, pretty(inner, level).trim())
        }
        // Prometheus forgets the indent of a short one; whoever compares wants the same.
        Node::Subquery(_) if line.len() <= LINE => line,
        _ if line.len() <= LINE => indent + &line,
        Node::Subquery(subquery) => format!("{}{subquery}", pretty(&subquery.expr, level)),
        Node::Aggregate(node) => {
            let param = node.param.as_ref().map_or(String::new(), |param| pretty(param, level + 1) + ",\n");
            format!("{indent}{}(\n{param}{}\n{indent})", Head(node), pretty(&node.expr, level + 1))
        }
        Node::Binary(node) => {
            let (lhs, rhs) = (pretty(&node.lhs, level + 1), pretty(&node.rhs, level + 1));
            format!("{lhs}\n{indent}{}\n{rhs}", Operator(node))
        }
        Node::Call(function, args) => {
            let args: Vec<String> = args.iter().map(|arg| pretty(arg, level + 1)).collect();
            format!("{indent}{}(\n{}\n{indent})", function.name, args.join(",\n"))
        }
        Node::Paren(inner) => format!("{indent}(\n{}\n{indent})", pretty(inner, level + 1)),
        Node::Number(_) | Node::String(_) | Node::Vector(_) | Node::Matrix(..) => indent + &line,
    }
}

#[cfg(test)]
mod tests {
    use super::super::parse;
    use super::*;

    fn formatted(text: &str) -> String {
        format(&parse(text).unwrap())
    }

    #[test]
    fn what_fits_stays_in_a_line() {
        for (text, want) in [
            ("sum(rate(a{b='c',a=\"x\"}[300]))by(job)", "sum by (job) (rate(a{a=\"x\",b=\"c\"}[5m]))"),
            ("a@5 offset-1h", "a @ 5.000 offset -1h"),
            ("a*on()group_left(x)b", "a * on () group_left (x) b"),
            ("a+fill(0)b", "a + fill (0) b"),
            ("a smoothed", "a smoothed"),
            ("max_over_time(a[1h:]@end())", "max_over_time(a[1h:] @ end())"),
            ("{__name__='a'}", "{__name__=\"a\"}"),
            ("a+ignoring()b", "a + b"),
        ] {
            assert_eq!(formatted(text), want);
        }
    }

    #[test]
    fn long_queries_are_broken_at_every_level_that_is_too_long() {
        let name = "a_metric_whose_name_is_about_fifty_characters_long";
        let text = format!("-sum without () (({name} + {name}) / 2)");
        let line = format!("    (\n        {name}\n      +\n        {name}\n    )\n  /\n    2");
        assert_eq!(formatted(&text), format!("-sum without () (\n{line}\n)"));
    }
}
