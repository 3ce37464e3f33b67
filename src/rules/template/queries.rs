//! What a template asks by itself: the queries that stand in its text, so that samples are kept as long as they read.

use std::time::Duration;

use crate::query;

use super::ast::Node;
use super::ast::Operand;
use super::ast::OperandKind;
use super::ast::Pipe;

/// How far back the queries below `nodes` read.
pub(super) fn window(nodes: &[Node]) -> Duration {
    nodes.iter().map(of_node).max().unwrap_or_default()
}

fn of_node(node: &Node) -> Duration {
    match node {
        Node::Text(_) | Node::Break | Node::Continue => Duration::ZERO,
        Node::Action(pipe) => of_pipe(pipe),
        Node::Branch { pipe, then, otherwise, .. } => of_pipe(pipe).max(window(then)).max(window(otherwise)),
        Node::Range { pipe, body, otherwise } => of_pipe(pipe).max(window(body)).max(window(otherwise)),
        Node::Template { pipe, .. } => pipe.as_ref().map(of_pipe).unwrap_or_default(),
    }
}

/// A text counts as a query when it reads as one, wherever it stands in a pipeline: `printf "…" | query` and
/// `query (printf "…")` are as usual as `query "…"`. Too much kept for a word that was none costs nothing but memory.
fn of_pipe(pipe: &Pipe) -> Duration {
    pipe.commands.iter().flat_map(|command| &command.operands).map(of_operand).max().unwrap_or_default()
}

fn of_operand(operand: &Operand) -> Duration {
    match &operand.kind {
        OperandKind::Text(text) => {
            // What printf fills in is a label's value or a number, never a range.
            let filled = text.replace("%q", "\"x\"").replace("%s", "x").replace("%v", "1").replace("%d", "1");
            query::parse(&filled).map(|expr| query::window(&expr)).unwrap_or_default()
        }
        OperandKind::Pipe(pipe) => of_pipe(pipe),
        _ => Duration::ZERO,
    }
}
