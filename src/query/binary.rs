//! Binary operators.

use super::ast::{Binary, BinaryOp, Expr};
use super::error::QueryError;
use super::eval::{Eval, Evaluator, Sample};
use super::load::key;
use super::matching;

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
        (Eval::Vector(samples), Eval::Scalar(b)) => Ok(Eval::Vector(with_scalar(node, samples, |a| (a, b)))),
        (Eval::Scalar(a), Eval::Vector(samples)) => Ok(Eval::Vector(with_scalar(node, samples, |b| (a, b)))),
        (Eval::Vector(lhs), Eval::Vector(rhs)) => {
            let memos = evaluator.memos.entry(key(node)).or_default();
            if node.op.is_set() {
                return Ok(Eval::Vector(matching::set(node.op, &node.matching, lhs, rhs, memos)));
            }
            matching::pairs(expr, node, lhs, rhs, memos).map(Eval::Vector)
        }
        _ => Err(QueryError::typed("a string has no operators", expr.span)),
    }
}

/// A vector against a scalar; `sides` puts the two in the order of the text. A filter keeps the vector's own value.
fn with_scalar(node: &Binary, samples: Vec<Sample>, sides: impl Fn(f64) -> (f64, f64)) -> Vec<Sample> {
    let combine = |mut sample: Sample| {
        let (a, b) = sides(sample.v);
        if node.op.is_comparison() {
            let holds = compare(node.op, a, b);
            if !node.returns_bool {
                return holds.then_some(sample);
            }
            sample.v = f64::from(u8::from(holds));
        } else {
            sample.v = arithmetic(node.op, a, b);
        }
        sample.drop_name = true;
        Some(sample)
    };
    samples.into_iter().filter_map(combine).collect()
}
