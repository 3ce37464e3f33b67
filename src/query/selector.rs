//! The part of the parser that reads selectors, ranges, subqueries, `offset`, `@` and lengths of time.

use crate::model::labels::METRIC_NAME;
use crate::model::{MatchOp, Matcher};

use super::ast::{At, BinaryOp, Edge, Expr, Length, Node, Selector, Shift, Subquery};
use super::error::{QueryError, QueryErrorKind, Span};
use super::length::MAX_MILLIS;
use super::lexer::Token;
use super::parser::Parser;

impl Parser {
    /// A selector whose metric name, if it has one outside the braces, was just read.
    pub(super) fn selector(&mut self, name: Option<(String, Span)>) -> Result<Expr, QueryError> {
        let start = name.as_ref().map_or(self.span(), |(_, span)| *span);
        let named = name.is_some();
        let mut matchers: Vec<Matcher> = name.into_iter().map(|(name, _)| Matcher::equal(METRIC_NAME, name)).collect();
        if self.take("{") {
            while !self.take("}") {
                let place = self.span();
                let matcher = self.matcher()?;
                let names = matcher.name == METRIC_NAME && matcher.op == MatchOp::Equal;
                if names && named {
                    return Err(QueryError::syntax("metric name must not be set twice", place));
                }
                matchers.push(matcher);
                if !self.take(",") && !self.is_sign("}") {
                    return Err(self.unexpected("\",\" or \"}\""));
                }
            }
        }
        let selector = Selector { matchers, named, shift: Shift::default(), edge: Edge::Plain };
        let span = self.since(start);
        self.node(Node::Vector(selector), span)
    }

    fn matcher(&mut self) -> Result<Matcher, QueryError> {
        let start = self.span();
        let (Token::Word(name) | Token::String(name)) = self.peek().clone() else {
            return Err(self.unexpected("a label name or \"}\""));
        };
        let quoted = matches!(self.peek(), Token::String(_));
        if !quoted && name.contains(':') {
            return Err(QueryError::syntax(format!("{name:?} is not a label name"), start));
        }
        self.advance();
        // `{"metric.name"}`: a quoted name alone is the metric's.
        if quoted && (self.is_sign(",") || self.is_sign("}")) {
            return Ok(Matcher::equal(METRIC_NAME, name));
        }
        let ops = [MatchOp::Equal, MatchOp::NotEqual, MatchOp::Regex, MatchOp::NotRegex];
        let Some(op) = ops.into_iter().find(|op| self.is_sign(op.as_str())) else {
            return Err(self.unexpected("one of =, !=, =~, !~"));
        };
        self.advance();
        let Token::String(value) = self.peek().clone() else {
            return Err(self.unexpected("a quoted value"));
        };
        self.advance();
        let span = self.since(start);
        Matcher::new(name, op, value).map_err(|error| QueryError::new(QueryErrorKind::Matcher(error)).at(span))
    }

    /// Whatever may follow a primary expression: ranges, subqueries, `offset`, `@`, `anchored`, `smoothed`.
    pub(super) fn postfix(&mut self, mut expr: Expr) -> Result<Expr, QueryError> {
        loop {
            let place = self.span();
            expr = if self.take("[") {
                self.range(expr, place)?
            } else if self.is_sign("@") || self.is_word("offset") {
                self.shift(expr, place)?
            } else if self.is_word("anchored") || self.is_word("smoothed") {
                let edge = if self.is_word("anchored") { Edge::Anchored } else { Edge::Smoothed };
                self.advance();
                match &mut expr.node {
                    Node::Vector(selector) | Node::Matrix(selector, _) if selector.edge == Edge::Plain => {
                        selector.edge = edge;
                    }
                    _ => {
                        return Err(QueryError::syntax(
                            format!("{} must follow a selector, once", edge.to_string().trim()),
                            place,
                        ));
                    }
                }
                expr
            } else {
                return Ok(expr);
            };
            expr.span = self.since(expr.span);
        }
    }

    /// `[5m]` or `[1h:1m]`, after the bracket.
    fn range(&mut self, expr: Expr, place: Span) -> Result<Expr, QueryError> {
        let range = self.positive_length()?;
        let span = expr.span;
        if self.take(":") {
            let step = if self.is_sign("]") { None } else { Some(self.positive_length()?) };
            self.expect("]")?;
            return self.node(Node::Subquery(Box::new(Subquery { expr, range, step, shift: Shift::default() })), span);
        }
        if !self.take("]") {
            return Err(self.unexpected("\"]\", or \":\" and a step"));
        }
        match expr.node {
            Node::Vector(selector) if selector.shift.offset.is_some() || selector.shift.at.is_some() => {
                Err(QueryError::syntax("no offset and no @ modifier allowed before a range", span)
                    .hint("write them after the range"))
            }
            Node::Vector(selector) => self.node(Node::Matrix(selector, range), span),
            _ => Err(QueryError::syntax("a range must follow a selector", self.since(place))
                .hint("for a range of any other expression write a subquery, for example [5m:]")),
        }
    }

    fn positive_length(&mut self) -> Result<Length, QueryError> {
        let start = self.span();
        self.terms = 0;
        let length = self.length(0)?;
        if length.is_constant() && length.millis(0, 0) <= 0 {
            return Err(QueryError::syntax("duration must be greater than 0", self.since(start)));
        }
        Ok(length)
    }

    fn shift(&mut self, mut expr: Expr, place: Span) -> Result<Expr, QueryError> {
        self.terms = 0;
        let is_offset = self.take_word("offset");
        let (offset, at) = if is_offset {
            (Some(self.length_primary()?), None)
        } else {
            self.advance();
            (None, Some(self.at_time()?))
        };
        let span = self.since(place);
        let shift = match &mut expr.node {
            Node::Vector(selector) | Node::Matrix(selector, _) => &mut selector.shift,
            Node::Subquery(subquery) => &mut subquery.shift,
            _ => {
                let message =
                    format!("{} must follow a selector or a subquery", if is_offset { "offset" } else { "@" });
                return Err(QueryError::syntax(message, span));
            }
        };
        if is_offset && shift.offset.is_some() {
            return Err(QueryError::syntax("offset may not be set multiple times", span));
        }
        if !is_offset && shift.at.is_some() {
            return Err(QueryError::syntax("@ <timestamp> may not be set multiple times", span));
        }
        shift.offset = offset.or(shift.offset.take());
        shift.at = at.or(shift.at);
        Ok(expr)
    }

    fn at_time(&mut self) -> Result<At, QueryError> {
        let start = self.span();
        for (word, at) in [("start", At::Start), ("end", At::End)] {
            if self.is_word(word) && self.opens_call() {
                self.advance();
                self.expect("(")?;
                self.expect(")")?;
                return Ok(at);
            }
        }
        let negative = self.take("-");
        if !negative {
            self.take("+");
        }
        let seconds = match self.peek() {
            Token::Number(number) => *number,
            Token::Duration(millis) => millis / 1000.0,
            _ => return Err(self.unexpected("a time in seconds, start() or end()")),
        };
        self.advance();
        let millis = (if negative { -seconds } else { seconds } * 1000.0).round();
        if !millis.is_finite() || millis.abs() > MAX_MILLIS as f64 {
            return Err(QueryError::syntax("timestamp out of bounds for @ modifier", self.since(start)));
        }
        Ok(At::Time(millis as i64))
    }

    /// Arithmetic of lengths inside brackets and parentheses.
    fn length(&mut self, least: u8) -> Result<Length, QueryError> {
        let negative = self.is_sign("-");
        let mut lhs = if negative || self.is_sign("+") {
            // Here, but not after `offset`, a sign binds below `^`.
            self.advance();
            let inner = self.deeper(|parser| parser.length(6))?;
            if negative { Length::Negative(Box::new(inner)) } else { inner }
        } else {
            self.deeper(Self::length_primary)?
        };
        let ops = [
            ("+", BinaryOp::Add, 4),
            ("-", BinaryOp::Subtract, 4),
            ("*", BinaryOp::Multiply, 5),
            ("/", BinaryOp::Divide, 5),
            ("%", BinaryOp::Modulo, 5),
            ("^", BinaryOp::Power, 6),
        ];
        while let Some((_, op, tightness)) = ops.into_iter().find(|(sign, _, _)| self.is_sign(sign)) {
            if tightness < least {
                break;
            }
            let place = self.span();
            self.terms += 1;
            if self.terms > super::parser::MAX_DEPTH {
                return Err(QueryError::new(QueryErrorKind::TooDeep { limit: super::parser::MAX_DEPTH }).at(place));
            }
            self.advance();
            let rhs =
                self.deeper(|parser| parser.length(if op == BinaryOp::Power { tightness } else { tightness + 1 }))?;
            let zero = rhs.is_constant() && rhs.seconds(0, 0) == 0.0;
            if zero && matches!(op, BinaryOp::Divide | BinaryOp::Modulo) {
                return Err(QueryError::syntax("division by zero in a duration", self.since(place)));
            }
            lhs = Length::Binary(op, Box::new(lhs), Box::new(rhs));
        }
        Ok(lhs)
    }

    /// One length without operators: all that may follow `offset` outside parentheses.
    fn length_primary(&mut self) -> Result<Length, QueryError> {
        let negative = self.is_sign("-");
        if negative || self.is_sign("+") {
            self.advance();
            let inner = self.deeper(Self::length_primary)?;
            return Ok(if negative { Length::Negative(Box::new(inner)) } else { inner });
        }
        let length = match self.peek().clone() {
            Token::Number(number) => Length::Number(number),
            Token::Duration(millis) => Length::Duration(millis),
            Token::Sign("(") => {
                self.advance();
                let inner = self.length(0)?;
                self.expect(")")?;
                return Ok(inner);
            }
            Token::Word(word) if self.opens_call() => return self.length_call(&word.to_ascii_lowercase()),
            _ => return Err(self.unexpected("a duration, for example 5m")),
        };
        self.advance();
        Ok(length)
    }

    fn length_call(&mut self, word: &str) -> Result<Length, QueryError> {
        let two = match word {
            "step" | "range" => false,
            "min_of" | "max_of" => true,
            _ => return Err(self.unexpected("a duration, step(), range(), min_of(a, b) or max_of(a, b)")),
        };
        self.advance();
        self.expect("(")?;
        if !two {
            self.expect(")")?;
            return Ok(if word == "step" { Length::Step } else { Length::Range });
        }
        let a = Box::new(self.length(0)?);
        self.expect(",")?;
        let b = Box::new(self.length(0)?);
        self.expect(")")?;
        Ok(if word == "min_of" { Length::MinOf(a, b) } else { Length::MaxOf(a, b) })
    }
}
