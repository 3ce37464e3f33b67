//! Binary operators.

use std::sync::Arc;

use crate::model::FloatHistogram;

use super::annotation::Remarks;
use super::ast::{Binary, BinaryOp, Expr};
use super::error::QueryError;
use super::eval::{Datum, Eval, Evaluator, Sample};
use super::load::key;
use super::matching;
use super::native::{self, Side};

/// Arithmetic; comparison and set operators have no number.
pub(super) fn arithmetic(op: BinaryOp, a: f64, b: f64) -> f64 {
    match op {
        BinaryOp::Add => a + b,
        BinaryOp::Subtract => a - b,
        BinaryOp::Multiply => a * b,
        BinaryOp::Divide => a / b,
        BinaryOp::Modulo => a % b,
        BinaryOp::Power => a.powf(b),
        BinaryOp::Atan2 => a.atan2(b),
        _ => f64::NAN,
    }
}

/// Whether a comparison holds; with NaN only `!=` does.
pub(super) fn compare(op: BinaryOp, a: f64, b: f64) -> bool {
    match op {
        BinaryOp::Equal => a == b,
        BinaryOp::NotEqual => a != b,
        BinaryOp::Less => a < b,
        BinaryOp::LessEqual => a <= b,
        BinaryOp::Greater => a > b,
        BinaryOp::GreaterEqual => a >= b,
        _ => false,
    }
}

/// Evaluates an operator at one time.
pub(super) fn binary(evaluator: &mut Evaluator, expr: &Expr, node: &Binary, at: i64) -> Result<Eval, QueryError> {
    let lhs = evaluator.eval(&node.lhs, at)?;
    let rhs = evaluator.eval(&node.rhs, at)?;
    match (lhs, rhs) {
        (Eval::Scalar(a), Eval::Scalar(b)) if node.op.is_comparison() => {
            Ok(Eval::Scalar(f64::from(u8::from(compare(node.op, a, b)))))
        }
        (Eval::Scalar(a), Eval::Scalar(b)) => Ok(Eval::Scalar(arithmetic(node.op, a, b))),
        (Eval::Vector(samples), Eval::Scalar(b)) => {
            let mut remarks = Remarks::default();
            let out = with_scalar(node, samples, &mut remarks, |sample| (sample, Operand::number(b)));
            evaluator.notes.take(remarks, expr.span);
            Ok(Eval::Vector(out))
        }
        (Eval::Scalar(a), Eval::Vector(samples)) => {
            let mut remarks = Remarks::default();
            let out = with_scalar(node, samples, &mut remarks, |sample| (Operand::number(a), sample));
            evaluator.notes.take(remarks, expr.span);
            Ok(Eval::Vector(out))
        }
        (Eval::Vector(lhs), Eval::Vector(rhs)) => {
            let memos = evaluator.memos.entry(key(node)).or_default();
            if node.op.is_set() {
                return Ok(Eval::Vector(matching::set(node.op, &node.matching, lhs, rhs, memos)));
            }
            let mut remarks = Remarks::default();
            let out = matching::pairs(expr, node, (lhs, rhs), memos, &mut remarks);
            evaluator.notes.take(remarks, expr.span);
            out.map(Eval::Vector)
        }
        _ => Err(QueryError::typed("a string has no operators", expr.span)),
    }
}

/// One side of an operator.
#[derive(Clone, Copy)]
pub(super) struct Operand<'a> {
    v: f64,
    h: Option<&'a Arc<FloatHistogram>>,
}

impl<'a> Operand<'a> {
    fn number(v: f64) -> Self {
        Operand { v, h: None }
    }

    pub(super) fn of(sample: &'a Sample) -> Self {
        Operand { v: sample.v, h: sample.h.as_ref() }
    }

    fn datum(self) -> Datum {
        self.h.map_or(Datum::Float(self.v), |histogram| Datum::Histogram(Arc::clone(histogram)))
    }
}

/// What an operator makes of two samples; `None` where a comparison does not hold, or the two cannot be combined.
pub(super) fn operate(node: &Binary, a: Operand, b: Operand, remarks: &mut Remarks) -> Option<Datum> {
    let op = node.op;
    if a.h.is_some() || b.h.is_some() {
        return operate_on_histograms(node, a, b, remarks);
    }
    if op.is_comparison() {
        let holds = compare(op, a.v, b.v);
        return match node.returns_bool {
            true => Some(Datum::Float(f64::from(u8::from(holds)))),
            false => holds.then_some(Datum::Float(a.v)),
        };
    }
    if op.is_trim() {
        return incompatible(op, ("float", "float"), remarks);
    }
    Some(Datum::Float(arithmetic(op, a.v, b.v)))
}

fn operate_on_histograms(node: &Binary, a: Operand, b: Operand, remarks: &mut Remarks) -> Option<Datum> {
    let op = node.op;
    let histogram = |histogram: FloatHistogram| Some(Datum::Histogram(Arc::new(histogram)));
    match (a.h, b.h) {
        (Some(x), Some(y)) => match op {
            BinaryOp::Add => added(op, x, y, 1.0, "addition", remarks),
            BinaryOp::Subtract => added(op, x, y, -1.0, "subtraction", remarks),
            BinaryOp::Equal | BinaryOp::NotEqual => {
                let holds = native::equal(x, y) == (op == BinaryOp::Equal);
                match node.returns_bool {
                    true => Some(Datum::Float(f64::from(u8::from(holds)))),
                    false => holds.then(|| a.datum()),
                }
            }
            _ => incompatible(op, ("histogram", "histogram"), remarks),
        },
        (Some(x), None) => match op {
            BinaryOp::Multiply => histogram(native::scaled(x, b.v, false)),
            BinaryOp::Divide => histogram(native::scaled(x, b.v, true)),
            BinaryOp::TrimUpper => histogram(native::trimmed(x, Side::Below, b.v)),
            BinaryOp::TrimLower => histogram(native::trimmed(x, Side::Above, b.v)),
            _ => incompatible(op, ("histogram", "float"), remarks),
        },
        (None, Some(y)) => match op {
            BinaryOp::Multiply => histogram(native::scaled(y, a.v, false)),
            _ => incompatible(op, ("float", "histogram"), remarks),
        },
        (None, None) => None,
    }
}

fn incompatible(op: BinaryOp, (a, b): (&str, &str), remarks: &mut Remarks) -> Option<Datum> {
    let op = op.symbol();
    remarks.info(format!("incompatible sample types encountered for binary operator {op:?}: {a} {op} {b}"));
    None
}

fn added(
    op: BinaryOp,
    a: &FloatHistogram,
    b: &FloatHistogram,
    sign: f64,
    name: &str,
    remarks: &mut Remarks,
) -> Option<Datum> {
    let Ok(sum) = native::combined(a, b, sign) else {
        remarks.warn(format!("incompatible bucket layout encountered for binary operator {}", op.symbol()));
        return None;
    };
    if sum.collision {
        remarks.collision(name);
    }
    if sum.reconciled {
        remarks.reconciled(name);
    }
    Some(Datum::Histogram(Arc::new(sum.finish())))
}

/// A vector against a scalar; `sides` puts the two in the order of the text. A filter keeps the vector's own value.
fn with_scalar(
    node: &Binary,
    samples: Vec<Sample>,
    remarks: &mut Remarks,
    sides: impl for<'a> Fn(Operand<'a>) -> (Operand<'a>, Operand<'a>),
) -> Vec<Sample> {
    let filters = node.op.is_comparison() && !node.returns_bool;
    let combine = |sample: Sample| {
        let (a, b) = sides(Operand::of(&sample));
        let datum = operate(node, a, b, remarks)?;
        if filters {
            return Some(sample);
        }
        let drop_name = sample.drop_name || !node.op.is_trim();
        Some(Sample::new(sample.labels, datum, drop_name))
    };
    samples.into_iter().filter_map(combine).collect()
}
