//! Tokens → tree: a Pratt parser for operators, calls and aggregations. Selectors and lengths of time are read in
//! [`super::selector`], which adds to this parser.

use super::ast::{Aggregate, AggregateOp, Binary, BinaryOp, Cardinality, Expr, Matching, Node};
use super::check;
use super::error::{QueryError, QueryErrorKind, Span};
use super::functions;
use super::lexer::{Lexeme, Token, lex};

/// Longer queries are refused: every byte may become a node, and rule files and URLs come from outside.
pub const MAX_LENGTH: usize = 128 * 1024;

/// Deeper trees are refused: the parser and every walk after it recurse, and a stack overflow cannot be caught.
pub const MAX_DEPTH: usize = 128;

/// How tightly `^` binds; a sign binds just below it, so that `-2^2` is -4.
const POWER: u8 = 6;

/// Reads a query and checks its types.
///
/// # Errors
/// [`QueryError`] with the place of the first mistake and, where one can be guessed, what was meant.
pub fn parse(text: &str) -> Result<Expr, QueryError> {
    if text.len() > MAX_LENGTH {
        return Err(QueryError::new(QueryErrorKind::TooLong { length: text.len(), limit: MAX_LENGTH }));
    }
    let mut parser = Parser { lexemes: lex(text)?, at: 0, level: 0, terms: 0 };
    let expr = parser.expr(0)?;
    if *parser.peek() != Token::End {
        return Err(parser.unexpected("an operator or the end of the query"));
    }
    check::check(&expr)?;
    Ok(expr)
}

/// The tokens and the place of the next one.
pub(super) struct Parser {
    lexemes: Vec<Lexeme>,
    at: usize,
    level: usize,
    /// Operators in the length of time being read; they nest without recursion, so they are counted.
    pub(super) terms: usize,
}

impl Parser {
    /// The token `ahead` places after the next one.
    pub(super) fn look(&self, ahead: usize) -> &Token {
        self.lexemes.get(self.at + ahead).map_or(&Token::End, |lexeme| &lexeme.token)
    }

    pub(super) fn peek(&self) -> &Token {
        self.look(0)
    }

    pub(super) fn span(&self) -> Span {
        self.lexemes.get(self.at).map_or(Span::new(0, 0), |lexeme| lexeme.span)
    }

    /// From `start` to the end of the token just read.
    pub(super) fn since(&self, start: Span) -> Span {
        let last = self.at.checked_sub(1).and_then(|index| self.lexemes.get(index));
        start.join(last.map_or(start, |lexeme| lexeme.span))
    }

    pub(super) fn advance(&mut self) {
        self.at += 1;
    }

    /// Takes the sign if it is next.
    pub(super) fn take(&mut self, sign: &str) -> bool {
        let hit = matches!(self.peek(), Token::Sign(found) if *found == sign);
        self.at += usize::from(hit);
        hit
    }

    pub(super) fn is_sign(&self, sign: &str) -> bool {
        matches!(self.peek(), Token::Sign(found) if *found == sign)
    }

    pub(super) fn is_word(&self, word: &str) -> bool {
        matches!(self.peek(), Token::Word(found) if found.eq_ignore_ascii_case(word))
    }

    /// Takes the keyword if it is next.
    pub(super) fn take_word(&mut self, word: &str) -> bool {
        let hit = self.is_word(word);
        self.at += usize::from(hit);
        hit
    }

    pub(super) fn opens_call(&self) -> bool {
        matches!(self.look(1), Token::Sign("("))
    }

    pub(super) fn expect(&mut self, sign: &str) -> Result<(), QueryError> {
        if self.take(sign) { Ok(()) } else { Err(self.unexpected(&format!("{sign:?}"))) }
    }

    /// The error for a next token that is not `wanted`.
    pub(super) fn unexpected(&self, wanted: &str) -> QueryError {
        let found = match self.peek() {
            Token::Word(word) => format!("{word:?}"),
            Token::Number(number) => format!("number {number}"),
            Token::Duration(_) => "a duration".to_string(),
            Token::String(text) => format!("string {text:?}"),
            Token::Sign(sign) => format!("{sign:?}"),
            Token::End => "the end of the query".to_string(),
        };
        QueryError::syntax(format!("unexpected {found}, expected {wanted}"), self.span())
    }

    /// Runs `read` one level deeper.
    pub(super) fn deeper<T>(&mut self, read: impl FnOnce(&mut Self) -> Result<T, QueryError>) -> Result<T, QueryError> {
        if self.level >= MAX_DEPTH {
            return Err(QueryError::new(QueryErrorKind::TooDeep { limit: MAX_DEPTH }).at(self.span()));
        }
        self.level += 1;
        let result = read(self);
        self.level -= 1;
        result
    }

    /// A node above its children, whose depth it counts: chains like `a + a + a` grow without recursion in the parser.
    pub(super) fn node(&self, node: Node, span: Span) -> Result<Expr, QueryError> {
        let mut expr = Expr { node, span, depth: 1 };
        expr.depth = 1 + expr.children().into_iter().map(|child| child.depth).max().unwrap_or(0);
        if expr.depth > MAX_DEPTH {
            return Err(QueryError::new(QueryErrorKind::TooDeep { limit: MAX_DEPTH }).at(span));
        }
        Ok(expr)
    }

    /// An expression whose operators bind at least as tightly as `least`.
    pub(super) fn expr(&mut self, least: u8) -> Result<Expr, QueryError> {
        let mut lhs = self.deeper(Self::unary)?;
        while let Some((op, tightness)) = self.operator() {
            if tightness < least {
                break;
            }
            self.advance();
            let (returns_bool, explicit, matching) = self.modifiers(op)?;
            // `^` leans right, all others left.
            let rhs =
                self.deeper(|parser| parser.expr(if op == BinaryOp::Power { tightness } else { tightness + 1 }))?;
            let span = lhs.span.join(rhs.span);
            let binary = Binary { op, lhs, rhs, returns_bool, matching, explicit };
            lhs = self.node(Node::Binary(Box::new(binary)), span)?;
        }
        Ok(lhs)
    }

    fn operator(&self) -> Option<(BinaryOp, u8)> {
        let written = match self.peek() {
            Token::Sign(sign) => sign,
            Token::Word(word) => word.as_str(),
            _ => return None,
        };
        let known = BinaryOp::ALL.iter().find(|(symbol, _, _)| symbol.eq_ignore_ascii_case(written))?;
        Some((known.1, known.2))
    }

    fn unary(&mut self) -> Result<Expr, QueryError> {
        let start = self.span();
        let negative = self.is_sign("-");
        if negative || self.is_sign("+") {
            self.advance();
            let inner = self.expr(POWER)?;
            let span = self.since(start);
            return self.node(Node::Unary(negative, Box::new(inner)), span);
        }
        let primary = self.primary()?;
        self.postfix(primary)
    }

    fn primary(&mut self) -> Result<Expr, QueryError> {
        let start = self.span();
        let node = match self.peek().clone() {
            Token::Number(number) => Node::Number(number),
            Token::Duration(millis) => Node::Number(millis / 1000.0),
            Token::String(text) => Node::String(text),
            Token::Sign("(") => {
                self.advance();
                let inner = self.expr(0)?;
                self.expect(")")?;
                return self.node(Node::Paren(Box::new(inner)), self.since(start));
            }
            Token::Sign("{") => return self.selector(None),
            Token::Word(word) => return self.word(word),
            _ => return Err(self.unexpected("an expression")),
        };
        self.advance();
        self.node(node, start)
    }

    /// A word starts a number, an aggregation, a call or a selector.
    fn word(&mut self, word: String) -> Result<Expr, QueryError> {
        let start = self.span();
        if let Some(op) = AggregateOp::by_name(&word) {
            let keyword = |word: &str| word.eq_ignore_ascii_case("by") || word.eq_ignore_ascii_case("without");
            let grouped = matches!(self.look(1), Token::Word(next) if keyword(next));
            if self.opens_call() || grouped {
                self.advance();
                return self.aggregate(op, start);
            }
        }
        if self.opens_call() {
            self.advance();
            return self.call(&word, start);
        }
        let number = match word.to_ascii_lowercase().as_str() {
            "inf" => f64::INFINITY,
            "nan" => f64::NAN,
            _ => {
                self.advance();
                return self.selector(Some((word, start)));
            }
        };
        self.advance();
        self.node(Node::Number(number), start)
    }

    fn call(&mut self, word: &str, start: Span) -> Result<Expr, QueryError> {
        let Some(function) = functions::find(word) else {
            let error = QueryError::new(QueryErrorKind::UnknownFunction(word.to_string())).at(start);
            return Err(match functions::nearest(word) {
                Some(right) => error.hint(format!("did you mean {right:?}?")),
                None => error,
            });
        };
        let args = self.arguments()?;
        let span = self.since(start);
        self.node(Node::Call(function, args), span)
    }

    fn arguments(&mut self) -> Result<Vec<Expr>, QueryError> {
        self.expect("(")?;
        let mut args = Vec::new();
        if self.take(")") {
            return Ok(args);
        }
        loop {
            args.push(self.expr(0)?);
            if self.take(")") {
                return Ok(args);
            }
            if !self.take(",") {
                return Err(self.unexpected("\",\" or \")\""));
            }
            // A trailing comma is an empty argument in Prometheus and refused there too.
            if self.is_sign(")") {
                return Err(self.unexpected("an argument"));
            }
        }
    }

    fn aggregate(&mut self, op: AggregateOp, start: Span) -> Result<Expr, QueryError> {
        let mut grouping = self.grouping()?;
        let mut args = self.arguments()?;
        if grouping.is_none() {
            grouping = self.grouping()?;
        }
        let (without, labels) = grouping.unwrap_or_default();
        let span = self.since(start);
        let wanted = 1 + usize::from(op.parameter().is_some());
        if args.len() != wanted {
            let message = format!("wrong number of arguments for {}: expected {wanted}, got {}", op.name(), args.len());
            return Err(QueryError::typed(message, span));
        }
        let Some(expr) = args.pop() else {
            return Err(QueryError::typed(format!("{} needs an argument", op.name()), span));
        };
        let aggregate = Aggregate { op, param: args.pop(), expr, without, labels };
        self.node(Node::Aggregate(Box::new(aggregate)), span)
    }

    /// `by (…)` or `without (…)`
    fn grouping(&mut self) -> Result<Option<(bool, Vec<String>)>, QueryError> {
        let without = self.is_word("without");
        if !without && !self.is_word("by") {
            return Ok(None);
        }
        self.advance();
        Ok(Some((without, self.label_list()?)))
    }

    fn label_list(&mut self) -> Result<Vec<String>, QueryError> {
        self.expect("(")?;
        let mut names = Vec::new();
        while !self.take(")") {
            let (Token::Word(name) | Token::String(name)) = self.peek().clone() else {
                return Err(self.unexpected("a label name"));
            };
            if name.is_empty() || (matches!(self.peek(), Token::Word(_)) && name.contains(':')) {
                return Err(QueryError::syntax(format!("{name:?} is not a label name"), self.span()));
            }
            self.advance();
            if !names.contains(&name) {
                names.push(name);
            }
            if !self.take(",") && !self.is_sign(")") {
                return Err(self.unexpected("\",\" or \")\""));
            }
        }
        Ok(names)
    }

    /// What stands between an operator and its right side.
    fn modifiers(&mut self, op: BinaryOp) -> Result<(bool, bool, Matching), QueryError> {
        let returns_bool = self.is_word("bool");
        if returns_bool && !op.is_comparison() {
            return Err(QueryError::syntax("bool can only follow a comparison operator", self.span()));
        }
        self.at += usize::from(returns_bool);
        let on = self.is_word("on") && self.opens_call();
        let mut matching = Matching { on, ..Matching::default() };
        let explicit = matching.on || (self.is_word("ignoring") && self.opens_call());
        if explicit {
            self.advance();
            matching.labels = self.label_list()?;
            self.group(op, &mut matching)?;
        }
        self.fills(op, &mut matching)?;
        Ok((returns_bool, explicit, matching))
    }

    fn group(&mut self, op: BinaryOp, matching: &mut Matching) -> Result<(), QueryError> {
        let span = self.span();
        matching.card = if self.take_word("group_left") {
            Cardinality::ManyToOne
        } else if self.take_word("group_right") {
            Cardinality::OneToMany
        } else {
            return Ok(());
        };
        if op.is_set() {
            return Err(QueryError::syntax(
                format!("no grouping allowed for the set operator {:?}", op.symbol()),
                span,
            ));
        }
        if self.is_sign("(") {
            matching.include = self.label_list()?;
        }
        match matching.include.iter().find(|name| matching.on && matching.labels.contains(name)) {
            Some(name) => {
                let message = format!("label {name:?} must not occur in ON and GROUP clause at once");
                Err(QueryError::syntax(message, self.since(span)))
            }
            None => Ok(()),
        }
    }

    fn fills(&mut self, op: BinaryOp, matching: &mut Matching) -> Result<(), QueryError> {
        while self.opens_call() {
            let (left, right) = (self.is_word("fill_left"), self.is_word("fill_right"));
            if !left && !right && !self.is_word("fill") {
                return Ok(());
            }
            if op.is_set() {
                let message = format!("the set operator {:?} cannot fill in missing series", op.symbol());
                return Err(QueryError::syntax(message, self.span()));
            }
            self.advance();
            let value = self.fill_value()?;
            if !right {
                matching.fill_left = Some(value);
            }
            if !left {
                matching.fill_right = Some(value);
            }
        }
        Ok(())
    }

    fn fill_value(&mut self) -> Result<f64, QueryError> {
        self.expect("(")?;
        let negative = self.take("-");
        if !negative {
            self.take("+");
        }
        let value = match self.peek() {
            Token::Number(number) => *number,
            Token::Duration(millis) => millis / 1000.0,
            Token::Word(word) if word.eq_ignore_ascii_case("inf") => f64::INFINITY,
            Token::Word(word) if word.eq_ignore_ascii_case("nan") => f64::NAN,
            _ => return Err(self.unexpected("a number")),
        };
        self.advance();
        self.expect(")")?;
        Ok(if negative { -value } else { value })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn display_parses_to_the_same_text() {
        for text in [
            "1 + 2 * 3 ^ 4",
            "-(a + b)",
            "sum by (job, \"a.b\") (rate(x_total{a=\"b\",c!~\"d\\n\"}[5m] offset 1m))",
            "topk(3, x)",
            "a * on (x) group_left (y) b",
            "a == bool ignoring (c) b",
            "max_over_time(x[1h:1m] @ 12.500 offset -5m)",
            "{\"a.b\"=\"c\",d=\"e\"}",
            "a + fill_left (0) fill_right (NaN) b",
            "increase(x[5m + 1m] smoothed)",
            "count_values without (a) (\"v\", x)",
        ] {
            let expr = parse(text).unwrap_or_else(|error| panic!("{}", error.render(text)));
            let written = expr.to_string();
            assert_eq!(parse(&written).unwrap().to_string(), written, "{text}");
            assert_eq!(written.replace(' ', ""), text.replace(' ', ""));
        }
    }

    #[test]
    fn operators_bind_as_in_prometheus() {
        let shape = |text: &str| match parse(text).unwrap().node {
            Node::Binary(binary) => (binary.lhs.to_string(), binary.op, binary.rhs.to_string()),
            other => panic!("{other:?}"),
        };
        assert_eq!(shape("1 - 2 - 3"), ("1 - 2".into(), BinaryOp::Subtract, "3".into()));
        assert_eq!(shape("2 ^ 3 ^ 2"), ("2".into(), BinaryOp::Power, "3 ^ 2".into()));
        assert_eq!(shape("-2 ^ 2 * 3"), ("-2 ^ 2".into(), BinaryOp::Multiply, "3".into()));
        assert_eq!(shape("a or b and c"), ("a".into(), BinaryOp::Or, "b and c".into()));
    }

    #[test]
    fn mistakes_say_where_and_what_was_meant() {
        for (text, message) in [
            ("rats(x[5m])", "1:1: unknown function \"rats\" (did you mean \"rate\"?)"),
            ("rate(x)", "1:6: expected type range vector in call to function \"rate\", got instant vector"),
            ("up +", "1:5: unexpected the end of the query, expected an expression"),
            ("up up", "1:4: unexpected \"up\", expected an operator or the end of the query"),
            ("sum(x", "1:6: unexpected the end of the query, expected \",\" or \")\""),
            ("1 == 1", "1:1: comparisons between scalars must use BOOL modifier"),
            ("{}", "1:1: vector selector must contain at least one non-empty matcher"),
            ("x[5m]", ""),
            ("x[0s]", "1:3: duration must be greater than 0"),
            ("x[5m] offset 1m offset 2m", "1:17: offset may not be set multiple times"),
        ] {
            match parse(text) {
                Ok(_) => assert_eq!(message, "", "{text}"),
                Err(error) => {
                    assert!(error.render(text).starts_with(message) && !message.is_empty(), "{}", error.render(text))
                }
            }
        }
    }

    #[test]
    fn depth_is_capped_before_the_stack_is() {
        for text in ["(".repeat(100_000), "-".repeat(100_000), "sum(".repeat(30_000), "1+".repeat(60_000) + "1"] {
            assert!(matches!(parse(&text).unwrap_err().kind, QueryErrorKind::TooDeep { .. }));
        }
        assert!(matches!(parse(&"(".repeat(200_000)).unwrap_err().kind, QueryErrorKind::TooLong { .. }));
    }
}
