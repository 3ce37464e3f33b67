//! The tree written back as PromQL that parses to the same tree.

use std::fmt;

use crate::model::MatchOp;
use crate::model::duration::format_duration;
use crate::model::labels::METRIC_NAME;
use crate::model::matcher::{is_label_name, is_metric_name};

use super::ast::{Aggregate, At, Binary, Cardinality, Edge, Expr, Length, Node, Selector, Shift, Subquery};

fn list(f: &mut fmt::Formatter<'_>, names: &[String]) -> fmt::Result {
    f.write_str("(")?;
    for (index, name) in names.iter().enumerate() {
        f.write_str(if index == 0 { "" } else { ", " })?;
        if is_label_name(name) { f.write_str(name)? } else { write!(f, "{name:?}")? }
    }
    f.write_str(")")
}

impl fmt::Display for Expr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.node {
            Node::Number(number) => write_number(f, *number),
            Node::String(text) => f.write_str(&quote(text)),
            Node::Vector(selector) => write!(f, "{selector}{}", selector.shift),
            Node::Matrix(selector, range) => write!(f, "{selector}[{range}]{}{}", selector.edge, selector.shift),
            Node::Subquery(subquery) => write!(f, "{subquery}"),
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
        let named = self
            .matchers
            .iter()
            .position(|m| m.name == METRIC_NAME && m.op == MatchOp::Equal && is_metric_name(&m.value));
        if let Some(index) = named {
            f.write_str(&self.matchers[index].value)?;
        }
        let mut separator = "{";
        for (index, matcher) in self.matchers.iter().enumerate() {
            if Some(index) != named {
                let name = &matcher.name;
                let name = if is_label_name(name) { name.clone() } else { quote(name) };
                write!(f, "{separator}{name}{}{}", matcher.op.as_str(), quote(&matcher.value))?;
                separator = ", ";
            }
        }
        f.write_str(if separator == ", " { "}" } else { "" })
    }
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
        match self.at {
            Some(At::Time(millis)) => write!(f, " @ {}", millis as f64 / 1000.0)?,
            Some(At::Start) => f.write_str(" @ start()")?,
            Some(At::End) => f.write_str(" @ end()")?,
            None => {}
        }
        match &self.offset {
            Some(offset) => write!(f, " offset {offset}"),
            None => Ok(()),
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

impl fmt::Display for Subquery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}[{}:", self.expr, self.range)?;
        if let Some(step) = &self.step {
            write!(f, "{step}")?;
        }
        write!(f, "]{}", self.shift)
    }
}

impl fmt::Display for Aggregate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.op.name())?;
        if self.without || !self.labels.is_empty() {
            f.write_str(if self.without { " without " } else { " by " })?;
            list(f, &self.labels)?;
            f.write_str(" ")?;
        }
        match &self.param {
            Some(param) => write!(f, "({param}, {})", self.expr),
            None => write!(f, "({})", self.expr),
        }
    }
}

impl fmt::Display for Binary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.lhs, self.op.symbol())?;
        f.write_str(if self.returns_bool { " bool" } else { "" })?;
        let matching = &self.matching;
        if self.explicit {
            f.write_str(if matching.on { " on " } else { " ignoring " })?;
            list(f, &matching.labels)?;
        }
        if matching.card != Cardinality::OneToOne && !self.op.is_set() {
            f.write_str(if matching.card == Cardinality::ManyToOne { " group_left " } else { " group_right " })?;
            list(f, &matching.include)?;
        }
        for (name, fill) in [("fill_left", matching.fill_left), ("fill_right", matching.fill_right)] {
            if let Some(value) = fill {
                write!(f, " {name}({})", super::format_value(value))?;
            }
        }
        write!(f, " {}", self.rhs)
    }
}
