//! The tree written back as PromQL that parses to the same tree, letter by letter as Prometheus writes it.

use std::fmt;

use crate::model::Matcher;
use crate::model::duration::format_duration;
use crate::model::matcher::is_label_name;

use super::ast::{Aggregate, At, Binary, Cardinality, Edge, Expr, Length, Node, Selector, Shift, Subquery};

fn list(f: &mut fmt::Formatter<'_>, names: &[String]) -> fmt::Result {
    f.write_str("(")?;
    for (index, name) in names.iter().enumerate() {
        f.write_str(if index == 0 { "" } else { ", " })?;
        if is_label_name(name) { f.write_str(name)? } else { f.write_str(&quote(name))? }
    }
    f.write_str(")")
}

impl fmt::Display for Expr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.node {
            Node::Number(number) => write_number(f, *number),
            Node::String(text) => f.write_str(&quote(text)),
            Node::Vector(selector) => {
                write!(f, "{selector}")?;
                write_at(f, &selector.shift)?;
                write!(f, "{}", selector.edge)?;
                write_offset(f, &selector.shift)
            }
            Node::Matrix(selector, range) => {
                write!(f, "{selector}[{}]{}{}", Written(range), selector.edge, selector.shift)
            }
            Node::Subquery(subquery) => write!(f, "{}{subquery}", subquery.expr),
            Node::Call(function, args) => {
                write!(f, "{}(", function.name)?;
                for (index, arg) in args.iter().enumerate() {
                    write!(f, "{}{arg}", if index == 0 { "" } else { ", " })?;
                }
                f.write_str(")")
            }
            Node::Aggregate(aggregate) => write!(f, "{aggregate}"),
            Node::Binary(binary) => write!(f, "{binary}"),
            Node::Unary(negative, inner) => write!(f, "{}{inner}", if *negative { "-" } else { "+" }),
            Node::Paren(inner) => write!(f, "({inner})"),
        }
    }
}

fn write_number(f: &mut fmt::Formatter<'_>, number: f64) -> fmt::Result {
    f.write_str(&super::format_value(number))
}

/// PromQL knows the escapes of Go, not those of Rust: control characters are written as `\u…` without braces.
pub(super) fn quote(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\t' => quoted.push_str("\\t"),
            '\r' => quoted.push_str("\\r"),
            c if c.is_control() => quoted.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

/// Without the modifiers that follow a range: those are written after it.
impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named = usize::from(self.named);
        if let Some(name) = self.matchers.first().filter(|_| self.named) {
            f.write_str(&name.value)?;
        }
        let mut written: Vec<String> = self.matchers.iter().skip(named).map(matcher).collect();
        written.sort();
        if written.is_empty() { Ok(()) } else { write!(f, "{{{}}}", written.join(",")) }
    }
}

fn matcher(matcher: &Matcher) -> String {
    let name = if is_label_name(&matcher.name) { matcher.name.clone() } else { quote(&matcher.name) };
    format!("{name}{}{}", matcher.op.as_str(), quote(&matcher.value))
}

impl fmt::Display for Edge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Edge::Plain => "",
            Edge::Anchored => " anchored",
            Edge::Smoothed => " smoothed",
        })
    }
}

impl fmt::Display for Shift {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_at(f, self)?;
        write_offset(f, self)
    }
}

fn write_at(f: &mut fmt::Formatter<'_>, shift: &Shift) -> fmt::Result {
    match shift.at {
        Some(At::Time(millis)) => write!(f, " @ {:.3}", millis as f64 / 1000.0),
        Some(At::Start) => f.write_str(" @ start()"),
        Some(At::End) => f.write_str(" @ end()"),
        None => Ok(()),
    }
}

fn write_offset(f: &mut fmt::Formatter<'_>, shift: &Shift) -> fmt::Result {
    match &shift.offset {
        // A sum binds weaker than the keyword.
        Some(sum @ Length::Binary(..)) => write!(f, " offset {sum}"),
        Some(offset) => write!(f, " offset {}", Written(offset)),
        None => Ok(()),
    }
}

/// A length as it stands alone in brackets or after `offset`: a plain number is one of seconds there, and the
/// outermost sum needs no parentheses.
struct Written<'a>(&'a Length);

impl fmt::Display for Written<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Length::Number(seconds) if *seconds >= 0.0 => write!(f, "{}", Length::Duration((seconds * 1000.0).round())),
            Length::Negative(inner) if matches!(**inner, Length::Number(_)) => write!(f, "-{}", Written(inner)),
            Length::Binary(op, a, b) => write!(f, "{a} {} {b}", op.symbol()),
            other => write!(f, "{other}"),
        }
    }
}

impl fmt::Display for Length {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Length::Duration(millis) => f.write_str(&format_duration(std::time::Duration::from_millis(*millis as u64))),
            Length::Number(number) => write_number(f, *number),
            Length::Step => f.write_str("step()"),
            Length::Range => f.write_str("range()"),
            Length::Negative(inner) => write!(f, "-{inner}"),
            Length::Binary(op, a, b) => write!(f, "({a} {} {b})", op.symbol()),
            Length::MinOf(a, b) => write!(f, "min_of({a}, {b})"),
            Length::MaxOf(a, b) => write!(f, "max_of({a}, {b})"),
        }
    }
}

/// What follows the inner expression.
impl fmt::Display for Subquery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{}:", Written(&self.range))?;
        if let Some(step) = &self.step {
            write!(f, "{}", Written(step))?;
        }
        write!(f, "]{}", self.shift)
    }
}

/// The operator and its grouping, without its arguments.
pub(super) struct Head<'a>(pub &'a Aggregate);

impl fmt::Display for Head<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Head(node) = self;
        f.write_str(node.op.name())?;
        if node.without || !node.labels.is_empty() {
            f.write_str(if node.without { " without " } else { " by " })?;
            list(f, &node.labels)?;
            f.write_str(" ")?;
        }
        Ok(())
    }
}

impl fmt::Display for Aggregate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.param {
            Some(param) => write!(f, "{}({param}, {})", Head(self), self.expr),
            None => write!(f, "{}({})", Head(self), self.expr),
        }
    }
}

/// An operator with its modifiers, without its sides.
pub(super) struct Operator<'a>(pub &'a Binary);

impl fmt::Display for Operator<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Operator(node) = self;
        let matching = &node.matching;
        write!(f, "{}{}", node.op.symbol(), if node.returns_bool { " bool" } else { "" })?;
        let grouped = matching.card != Cardinality::OneToOne;
        if matching.on || !matching.labels.is_empty() || grouped {
            f.write_str(if matching.on { " on " } else { " ignoring " })?;
            list(f, &matching.labels)?;
        }
        if grouped {
            f.write_str(if matching.card == Cardinality::ManyToOne { " group_left " } else { " group_right " })?;
            list(f, &matching.include)?;
        }
        match (matching.fill_left, matching.fill_right) {
            (Some(left), Some(right)) if left.to_bits() == right.to_bits() => write_fill(f, "fill", left),
            (left, right) => {
                left.map_or(Ok(()), |value| write_fill(f, "fill_left", value))?;
                right.map_or(Ok(()), |value| write_fill(f, "fill_right", value))
            }
        }
    }
}

fn write_fill(f: &mut fmt::Formatter<'_>, name: &str, value: f64) -> fmt::Result {
    write!(f, " {name} ({})", super::format_value(value))
}

impl fmt::Display for Binary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.lhs, Operator(self), self.rhs)
    }
}
