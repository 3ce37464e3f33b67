//! The tree of a query.

use std::fmt;

use crate::model::Matcher;

use super::error::Span;
use super::functions::Function;
pub use super::length::Length;

/// The type of a value, in the words of Prometheus.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ValueType {
    /// One number.
    Scalar,
    /// One text.
    String,
    /// One value per series.
    Vector,
    /// Many values per series.
    Matrix,
}

impl fmt::Display for ValueType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ValueType::Scalar => "scalar",
            ValueType::String => "string",
            ValueType::Vector => "instant vector",
            ValueType::Matrix => "range vector",
        })
    }
}

/// One node of a query and the text it was read from.
#[derive(Clone, Debug)]
pub struct Expr {
    /// What it is.
    pub node: Node,
    /// Where it stands in the query.
    pub span: Span,
    /// Levels below and including this node; bounded by the parser so that no walk overflows the stack.
    pub(super) depth: usize,
}

/// The sorts of nodes.
#[derive(Clone, Debug)]
pub enum Node {
    /// `1.5`, `5m` (as seconds)
    Number(f64),
    /// `"text"`
    String(String),
    /// `up{job="a"} offset 5m`
    Vector(Selector),
    /// `up[5m]`
    Matrix(Selector, Length),
    /// `expr[1h:1m]`
    Subquery(Box<Subquery>),
    /// `rate(…)`
    Call(&'static Function, Vec<Expr>),
    /// `sum by (job) (…)`
    Aggregate(Box<Aggregate>),
    /// `a + b`
    Binary(Box<Binary>),
    /// `-a` (true) or `+a`
    Unary(bool, Box<Expr>),
    /// `(a)`
    Paren(Box<Expr>),
}

/// A series selector with its modifiers.
#[derive(Clone, Debug)]
pub struct Selector {
    /// All conditions, the one on the metric name included.
    pub matchers: Vec<Matcher>,
    /// Whether the first matcher is a metric name that stands before the braces.
    pub named: bool,
    /// `offset` and `@`
    pub shift: Shift,
    /// `anchored` or `smoothed`
    pub edge: Edge,
}

/// How a range or instant selector treats its edges (an experimental extension of Prometheus 3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Edge {
    /// Only the samples inside.
    #[default]
    Plain,
    /// The last sample before the range counts as its first one.
    Anchored,
    /// Values at both edges are interpolated from the samples around them.
    Smoothed,
}

/// A shift of the evaluation time.
#[derive(Clone, Debug, Default)]
pub struct Shift {
    /// `offset`: how much earlier; negative looks ahead.
    pub offset: Option<Length>,
    /// `@`: a fixed time instead of the evaluation's own.
    pub at: Option<At>,
}

/// The argument of `@`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum At {
    /// Milliseconds since the epoch.
    Time(i64),
    /// `start()` of the query.
    Start,
    /// `end()` of the query.
    End,
}

/// `expr[range:step]`
#[derive(Clone, Debug)]
pub struct Subquery {
    /// What is evaluated at each step.
    pub expr: Expr,
    /// How far back.
    pub range: Length,
    /// How often; the default step when absent.
    pub step: Option<Length>,
    /// `offset` and `@`
    pub shift: Shift,
}

/// The aggregation operators.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)] // The names are PromQL's own.
pub enum AggregateOp {
    Sum,
    Avg,
    Count,
    Min,
    Max,
    Group,
    Stddev,
    Stdvar,
    Topk,
    Bottomk,
    Quantile,
    CountValues,
    Limitk,
    LimitRatio,
}

impl AggregateOp {
    /// All of them, with their names.
    pub const ALL: [(&'static str, AggregateOp); 14] = [
        ("sum", AggregateOp::Sum),
        ("avg", AggregateOp::Avg),
        ("count", AggregateOp::Count),
        ("min", AggregateOp::Min),
        ("max", AggregateOp::Max),
        ("group", AggregateOp::Group),
        ("stddev", AggregateOp::Stddev),
        ("stdvar", AggregateOp::Stdvar),
        ("topk", AggregateOp::Topk),
        ("bottomk", AggregateOp::Bottomk),
        ("quantile", AggregateOp::Quantile),
        ("count_values", AggregateOp::CountValues),
        ("limitk", AggregateOp::Limitk),
        ("limit_ratio", AggregateOp::LimitRatio),
    ];

    /// Finds an operator by name; upper and lower case are the same.
    pub fn by_name(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, op)| *op)
    }

    /// The name.
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(_, op)| *op == self).map_or("", |(name, _)| name)
    }

    /// The type of the parameter before the vector, for operators that have one.
    pub fn parameter(self) -> Option<ValueType> {
        match self {
            AggregateOp::CountValues => Some(ValueType::String),
            AggregateOp::Topk
            | AggregateOp::Bottomk
            | AggregateOp::Quantile
            | AggregateOp::Limitk
            | AggregateOp::LimitRatio => Some(ValueType::Scalar),
            _ => None,
        }
    }
}

/// `sum by (job) (expr)`
#[derive(Clone, Debug)]
pub struct Aggregate {
    /// The operator.
    pub op: AggregateOp,
    /// `topk`'s count, `quantile`'s quantile, `count_values`' label.
    pub param: Option<Expr>,
    /// What is aggregated.
    pub expr: Expr,
    /// True for `without`.
    pub without: bool,
    /// The labels named.
    pub labels: Vec<String>,
}

/// The binary operators.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)] // The names are those of the operators below.
pub enum BinaryOp {
    Or,
    And,
    Unless,
    Equal,
    NotEqual,
    LessEqual,
    Less,
    GreaterEqual,
    Greater,
    Add,
    Subtract,
    Multiply,
    Divide,
    Modulo,
    Atan2,
    Power,
    TrimUpper,
    TrimLower,
}

impl BinaryOp {
    /// All of them: how they are written and how tightly they bind.
    pub const ALL: [(&'static str, BinaryOp, u8); 18] = [
        ("or", BinaryOp::Or, 1),
        ("and", BinaryOp::And, 2),
        ("unless", BinaryOp::Unless, 2),
        ("==", BinaryOp::Equal, 3),
        ("!=", BinaryOp::NotEqual, 3),
        ("<=", BinaryOp::LessEqual, 3),
        ("<", BinaryOp::Less, 3),
        (">=", BinaryOp::GreaterEqual, 3),
        (">", BinaryOp::Greater, 3),
        ("</", BinaryOp::TrimUpper, 3),
        (">/", BinaryOp::TrimLower, 3),
        ("+", BinaryOp::Add, 4),
        ("-", BinaryOp::Subtract, 4),
        ("*", BinaryOp::Multiply, 5),
        ("/", BinaryOp::Divide, 5),
        ("%", BinaryOp::Modulo, 5),
        ("atan2", BinaryOp::Atan2, 5),
        ("^", BinaryOp::Power, 6),
    ];

    /// How it is written.
    pub fn symbol(self) -> &'static str {
        Self::ALL.iter().find(|(_, op, _)| *op == self).map_or("", |(symbol, _, _)| symbol)
    }

    /// `==`, `<` and their kin.
    pub fn is_comparison(self) -> bool {
        use BinaryOp::{Equal, Greater, GreaterEqual, Less, LessEqual, NotEqual};
        matches!(self, Equal | NotEqual | Less | LessEqual | Greater | GreaterEqual)
    }

    /// `</` and `>/`, which cut histograms.
    pub fn is_trim(self) -> bool {
        matches!(self, BinaryOp::TrimUpper | BinaryOp::TrimLower)
    }

    /// `and`, `or`, `unless`.
    pub fn is_set(self) -> bool {
        matches!(self, BinaryOp::And | BinaryOp::Or | BinaryOp::Unless)
    }
}

/// Which side may have several series per match.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Cardinality {
    /// Neither.
    #[default]
    OneToOne,
    /// `group_left`
    ManyToOne,
    /// `group_right`
    OneToMany,
}

/// How the series of two vectors find each other.
#[derive(Clone, Debug, Default)]
pub struct Matching {
    /// True for `on`, false for `ignoring` (also of nothing).
    pub on: bool,
    /// The labels named by `on` or `ignoring`.
    pub labels: Vec<String>,
    /// `group_left`, `group_right`
    pub card: Cardinality,
    /// The labels copied from the one side.
    pub include: Vec<String>,
    /// Value for series that the left side lacks.
    pub fill_left: Option<f64>,
    /// Value for series that the right side lacks.
    pub fill_right: Option<f64>,
}

/// `lhs op rhs`
#[derive(Clone, Debug)]
pub struct Binary {
    /// The operator.
    pub op: BinaryOp,
    /// Left.
    pub lhs: Expr,
    /// Right.
    pub rhs: Expr,
    /// `bool`: 0 and 1 in place of a filter.
    pub returns_bool: bool,
    /// How two vectors match.
    pub matching: Matching,
    /// Whether `on` or `ignoring` was written.
    pub explicit: bool,
}

impl Expr {
    /// The same question, answered with 1 or 0 where a comparison on top would drop what it is false for.
    pub fn as_truth(&self) -> Expr {
        let mut truth = self.clone();
        while let Node::Paren(inner) = truth.node {
            truth = *inner;
        }
        if let Node::Binary(binary) = &mut truth.node {
            binary.returns_bool |= binary.op.is_comparison();
        }
        truth
    }

    /// The type of the value.
    pub fn value_type(&self) -> ValueType {
        match &self.node {
            Node::Number(_) => ValueType::Scalar,
            Node::String(_) => ValueType::String,
            Node::Vector(_) | Node::Aggregate(_) => ValueType::Vector,
            Node::Matrix(..) | Node::Subquery(_) => ValueType::Matrix,
            Node::Call(function, _) => function.returns,
            Node::Unary(_, inner) | Node::Paren(inner) => inner.value_type(),
            Node::Binary(binary) => {
                let scalar = |side: &Expr| side.value_type() == ValueType::Scalar;
                if scalar(&binary.lhs) && scalar(&binary.rhs) { ValueType::Scalar } else { ValueType::Vector }
            }
        }
    }

    /// This expression without the parentheses around it.
    pub fn bare(&self) -> &Expr {
        let mut expr = self;
        while let Node::Paren(inner) = &expr.node {
            expr = inner;
        }
        expr
    }

    /// The expressions directly below.
    pub fn children(&self) -> Vec<&Expr> {
        match &self.node {
            Node::Number(_) | Node::String(_) | Node::Vector(_) | Node::Matrix(..) => Vec::new(),
            Node::Subquery(subquery) => vec![&subquery.expr],
            Node::Call(_, args) => args.iter().collect(),
            Node::Aggregate(aggregate) => aggregate.param.iter().chain([&aggregate.expr]).collect(),
            Node::Binary(binary) => vec![&binary.lhs, &binary.rhs],
            Node::Unary(_, inner) | Node::Paren(inner) => vec![inner],
        }
    }
}
