//! Reads a template: blocks, pipelines and operands, with Go's own checks (functions and variables must be known).

use std::collections::BTreeMap;
use std::collections::VecDeque;

use super::MAX_DEPTH;
use super::TemplateError;
use super::ast::Command;
use super::ast::Node;
use super::ast::Operand;
use super::ast::OperandKind;
use super::ast::Pipe;
use super::functions;
use super::lex;
use super::lex::Item;
use super::lex::Token;
use super::lex::TokenKind;

type Defined = BTreeMap<String, Vec<Node>>;

/// The variables that Prometheus declares before the template begins, and `$`.
pub(super) const PREDECLARED: [&str; 5] = ["$", "$labels", "$externalLabels", "$externalURL", "$value"];

/// Reads a whole text: its body and the templates it defines.
pub(super) fn parse(text: &str) -> Result<(Vec<Node>, Defined), TemplateError> {
    let mut parser = Parser {
        text,
        items: lex::items(text)?.into(),
        defined: Defined::new(),
        variables: PREDECLARED.map(str::to_string).to_vec(),
        depth: 0,
        loops: 0,
    };
    let (body, end) = parser.list()?;
    match end {
        ListEnd::Text => Ok((body, parser.defined)),
        ListEnd::Else { at, .. } => Err(parser.error(at, "{{ else }} without an open block")),
        ListEnd::End { at } => Err(parser.error(at, "{{ end }} without an open block")),
    }
}

/// What closed a list of nodes.
enum ListEnd {
    Text,
    End { at: usize },
    Else { at: usize, rest: VecDeque<Token> },
}

struct Parser<'a> {
    text: &'a str,
    items: VecDeque<Item>,
    defined: Defined,
    /// Variables in scope, innermost last.
    variables: Vec<String>,
    depth: usize,
    loops: usize,
}

impl Parser<'_> {
    fn error(&self, at: usize, message: impl Into<String>) -> TemplateError {
        TemplateError::new(self.text, at, message)
    }

    fn deeper(&mut self, at: usize) -> Result<(), TemplateError> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(self.error(at, format!("blocks or parentheses are nested more than {MAX_DEPTH} deep")));
        }
        Ok(())
    }

    /// Nodes up to an `end`, an `else` or the end of the text.
    fn list(&mut self) -> Result<(Vec<Node>, ListEnd), TemplateError> {
        let mut nodes = Vec::new();
        while let Some(item) = self.items.pop_front() {
            let (at, tokens) = match item {
                Item::Text(text) => {
                    nodes.push(Node::Text(text));
                    continue;
                }
                Item::Action { at, tokens } => (at, tokens),
            };
            let mut tokens = VecDeque::from(tokens);
            let Some(first) = tokens.front().cloned() else {
                return Err(self.error(at, "the action is empty"));
            };
            let word = match &first.kind {
                TokenKind::Word(word) => word.as_str(),
                _ => "",
            };
            if is_keyword(word) {
                tokens.pop_front();
            }
            match word {
                "end" => {
                    self.nothing_more(&tokens)?;
                    return Ok((nodes, ListEnd::End { at: first.at }));
                }
                "else" => return Ok((nodes, ListEnd::Else { at: first.at, rest: tokens })),
                "define" => self.define(first.at, tokens)?,
                word => nodes.push(self.node(word, first.at, tokens)?),
            }
        }
        Ok((nodes, ListEnd::Text))
    }

    fn node(&mut self, word: &str, at: usize, mut tokens: VecDeque<Token>) -> Result<Node, TemplateError> {
        match word {
            "if" | "with" => self.branch(word, at, tokens),
            "range" => self.range(at, tokens),
            "break" | "continue" => {
                self.nothing_more(&tokens)?;
                if self.loops == 0 {
                    return Err(self.error(at, format!("{{{{ {word} }}}} outside a range")));
                }
                Ok(if word == "break" { Node::Break } else { Node::Continue })
            }
            "template" | "block" => {
                let name = self.template_name(at, word, &mut tokens)?;
                let pipe = if tokens.is_empty() { None } else { Some(self.pipe(at, &mut tokens)?) };
                self.nothing_more(&tokens)?;
                if word == "block" {
                    if pipe.is_none() {
                        return Err(self.error(at, "{{ block }} needs a pipeline behind its name"));
                    }
                    self.define_body(at, name.clone())?;
                }
                Ok(Node::Template { name, pipe, at })
            }
            _ => {
                let pipe = self.pipe(at, &mut tokens)?;
                self.nothing_more(&tokens)?;
                Ok(Node::Action(pipe))
            }
        }
    }

    fn template_name(&self, at: usize, word: &str, tokens: &mut VecDeque<Token>) -> Result<String, TemplateError> {
        match tokens.pop_front().map(|token| token.kind) {
            Some(TokenKind::Text(name)) => Ok(name),
            _ => Err(self.error(at, format!("{{{{ {word} }}}} needs a quoted name"))),
        }
    }

    fn define(&mut self, at: usize, mut tokens: VecDeque<Token>) -> Result<(), TemplateError> {
        if self.depth > 0 {
            return Err(self.error(at, "{{ define }} must not stand inside another block"));
        }
        let name = self.template_name(at, "define", &mut tokens)?;
        self.nothing_more(&tokens)?;
        self.define_body(at, name)
    }

    /// The body of a defined template: it sees no variable from outside but `$`.
    fn define_body(&mut self, at: usize, name: String) -> Result<(), TemplateError> {
        self.deeper(at)?;
        let outer = std::mem::replace(&mut self.variables, vec!["$".to_string()]);
        let loops = std::mem::take(&mut self.loops);
        let (body, end) = self.list()?;
        self.variables = outer;
        self.loops = loops;
        self.depth -= 1;
        match end {
            ListEnd::End { .. } => {
                self.defined.insert(name, body);
                Ok(())
            }
            ListEnd::Else { at, .. } => Err(self.error(at, "{{ else }} without an if, with or range")),
            ListEnd::Text => Err(self.error(at, "the block is not closed: {{ end }} is missing")),
        }
    }

    fn branch(&mut self, word: &str, at: usize, mut tokens: VecDeque<Token>) -> Result<Node, TemplateError> {
        self.deeper(at)?;
        let scope = self.variables.len();
        let pipe = self.pipe(at, &mut tokens)?;
        self.nothing_more(&tokens)?;
        let (then, end) = self.list()?;
        let otherwise = self.otherwise(at, end, scope)?;
        self.depth -= 1;
        Ok(Node::Branch { sets_dot: word == "with", pipe, then, otherwise })
    }

    fn range(&mut self, at: usize, mut tokens: VecDeque<Token>) -> Result<Node, TemplateError> {
        self.deeper(at)?;
        let scope = self.variables.len();
        let pipe = self.pipe_with(at, &mut tokens, 2)?;
        self.nothing_more(&tokens)?;
        self.loops += 1;
        let (body, end) = self.list()?;
        self.loops -= 1;
        let otherwise = self.otherwise(at, end, scope)?;
        self.depth -= 1;
        Ok(Node::Range { pipe, body, otherwise })
    }

    /// What follows the first list of a block: nothing, an `else` list, or `else if` / `else with`.
    fn otherwise(&mut self, at: usize, end: ListEnd, scope: usize) -> Result<Vec<Node>, TemplateError> {
        let nodes = match end {
            ListEnd::Text => return Err(self.error(at, "the block is not closed: {{ end }} is missing")),
            ListEnd::End { .. } => Vec::new(),
            ListEnd::Else { at: else_at, mut rest } => match rest.pop_front() {
                None => {
                    let (nodes, end) = self.list()?;
                    match end {
                        ListEnd::End { .. } => nodes,
                        ListEnd::Else { at, .. } => return Err(self.error(at, "a second {{ else }} in one block")),
                        ListEnd::Text => {
                            return Err(self.error(at, "the block is not closed: {{ end }} is missing"));
                        }
                    }
                }
                Some(Token { kind: TokenKind::Word(word), .. }) if word == "if" || word == "with" => {
                    vec![self.branch(&word, else_at, rest)?]
                }
                Some(token) => return Err(self.error(token.at, "unexpected word behind else")),
            },
        };
        self.variables.truncate(scope);
        Ok(nodes)
    }

    fn nothing_more(&self, tokens: &VecDeque<Token>) -> Result<(), TemplateError> {
        match tokens.front() {
            None => Ok(()),
            Some(token) => Err(self.error(token.at, format!("unexpected {}", describe(&token.kind)))),
        }
    }

    fn pipe(&mut self, at: usize, tokens: &mut VecDeque<Token>) -> Result<Pipe, TemplateError> {
        self.pipe_with(at, tokens, 1)
    }

    /// A pipeline with at most `max_variables` variables in front, up to the end of `tokens` or a `)`.
    fn pipe_with(
        &mut self,
        at: usize,
        tokens: &mut VecDeque<Token>,
        max_variables: usize,
    ) -> Result<Pipe, TemplateError> {
        let at = tokens.front().map_or(at, |token| token.at);
        let (variables, declares) = self.declaration(tokens, max_variables)?;
        let mut commands = vec![self.command(at, tokens)?];
        while tokens.front().is_some_and(|token| token.kind == TokenKind::Pipe) {
            let bar = tokens.pop_front().map_or(at, |token| token.at);
            let command = self.command(bar, tokens)?;
            if !matches!(command.operands[0].kind, OperandKind::Function(_)) && command.operands[0].fields.is_empty() {
                return Err(self.error(command.at, "behind | there must be a function"));
            }
            commands.push(command);
        }
        if declares {
            self.variables.extend(variables.iter().cloned());
        }
        Ok(Pipe { at, variables, declares, commands })
    }

    /// `$a, $b :=` in front of a pipeline, if there is one.
    fn declaration(
        &mut self,
        tokens: &mut VecDeque<Token>,
        max_variables: usize,
    ) -> Result<(Vec<String>, bool), TemplateError> {
        let mut names = Vec::new();
        let mut taken = 0;
        while let Some(TokenKind::Variable(name)) = tokens.get(taken).map(|token| &token.kind) {
            names.push(name.clone());
            match tokens.get(taken + 1).map(|token| &token.kind) {
                Some(TokenKind::Comma) => taken += 2,
                Some(kind @ (TokenKind::Declare | TokenKind::Assign)) => {
                    let declares = *kind == TokenKind::Declare;
                    let at = tokens[taken].at;
                    if names.len() > max_variables {
                        return Err(self.error(at, "too many variables are declared here"));
                    }
                    if let Some(name) = names.iter().find(|name| !declares && !self.variables.contains(name)) {
                        return Err(self.error(at, format!("undefined variable {name}")));
                    }
                    tokens.drain(..taken + 2);
                    return Ok((names, declares));
                }
                _ => break,
            }
        }
        Ok((Vec::new(), false))
    }

    fn command(&mut self, at: usize, tokens: &mut VecDeque<Token>) -> Result<Command, TemplateError> {
        let mut operands = Vec::new();
        while let Some(token) = tokens.front() {
            if matches!(token.kind, TokenKind::Pipe | TokenKind::Close) {
                break;
            }
            if !operands.is_empty() && !token.spaced {
                return Err(self.error(token.at, format!("unexpected {}", describe(&token.kind))));
            }
            operands.push(self.operand(tokens)?);
        }
        if operands.is_empty() {
            return Err(self.error(at, "a value is missing here"));
        }
        Ok(Command { at: operands[0].at, operands })
    }

    fn operand(&mut self, tokens: &mut VecDeque<Token>) -> Result<Operand, TemplateError> {
        let Some(token) = tokens.pop_front() else {
            return Err(self.error(self.text.len(), "a value is missing here"));
        };
        let at = token.at;
        let mut fields = Vec::new();
        let kind = match token.kind {
            TokenKind::Dot => OperandKind::Dot,
            TokenKind::Field(name) => {
                fields.push(name);
                OperandKind::Dot
            }
            TokenKind::Variable(name) if self.variables.contains(&name) => OperandKind::Variable(name),
            TokenKind::Variable(name) => return Err(self.error(at, format!("undefined variable {name}"))),
            TokenKind::Text(text) => OperandKind::Text(text),
            TokenKind::Int(n) => OperandKind::Int(n),
            TokenKind::Float(v) => OperandKind::Float(v),
            TokenKind::Word(word) => self.word(at, word)?,
            TokenKind::Open => {
                self.deeper(at)?;
                let pipe = self.pipe(at, tokens)?;
                self.depth -= 1;
                match tokens.pop_front().map(|token| token.kind) {
                    Some(TokenKind::Close) => OperandKind::Pipe(Box::new(pipe)),
                    _ => return Err(self.error(at, "the parenthesis is not closed")),
                }
            }
            kind => return Err(self.error(at, format!("unexpected {}", describe(&kind)))),
        };
        while let Some(Token { spaced: false, kind: TokenKind::Field(name), .. }) = tokens.front() {
            fields.push(name.clone());
            tokens.pop_front();
        }
        Ok(Operand { at, kind, fields })
    }

    fn word(&self, at: usize, word: String) -> Result<OperandKind, TemplateError> {
        match word.as_str() {
            "true" | "false" => Ok(OperandKind::Bool(word == "true")),
            "nil" => Ok(OperandKind::Nil),
            name if functions::find(name).is_some() => Ok(OperandKind::Function(word)),
            name if is_keyword(name) => Err(self.error(at, format!("unexpected {{{{ {name} }}}} here"))),
            name => Err(self.error(at, format!("function {name:?} is not defined{}", functions::nearest_hint(name)))),
        }
    }
}

fn is_keyword(word: &str) -> bool {
    matches!(word, "if" | "else" | "end" | "with" | "range" | "define" | "template" | "block" | "break" | "continue")
}

fn describe(kind: &TokenKind) -> String {
    match kind {
        TokenKind::Word(word) => format!("{word:?}"),
        TokenKind::Field(name) => format!("\".{name}\""),
        TokenKind::Variable(name) => format!("{name:?}"),
        TokenKind::Dot => "\".\"".to_string(),
        TokenKind::Text(text) => format!("string {text:?}"),
        TokenKind::Int(n) => format!("number {n}"),
        TokenKind::Float(v) => format!("number {v}"),
        TokenKind::Pipe => "\"|\"".to_string(),
        TokenKind::Open => "\"(\"".to_string(),
        TokenKind::Close => "\")\"".to_string(),
        TokenKind::Declare => "\":=\"".to_string(),
        TokenKind::Assign => "\"=\"".to_string(),
        TokenKind::Comma => "\",\"".to_string(),
    }
}
