//! Expands a template that has been read: walks its nodes with a dot, variables and limits.

use super::MAX_DEPTH;
use super::MAX_OUTPUT;
use super::MAX_QUERIES;
use super::MAX_STEPS;
use super::Scope;
use super::Template;
use super::TemplateError;
use super::ast::Command;
use super::ast::Node;
use super::ast::Operand;
use super::ast::OperandKind;
use super::ast::Pipe;
use super::functions;
use super::functions::CallError;
use super::method;
use super::parse::PREDECLARED;
use super::value::Value;

/// Expands `template` for `scope`.
pub(super) fn expand(template: &Template, scope: &Scope<'_>) -> Result<String, TemplateError> {
    expand_dot(template, scope, root(scope))
}

/// Expands `template` for `scope` with another dot.
pub(super) fn expand_dot(template: &Template, scope: &Scope<'_>, dot: Value) -> Result<String, TemplateError> {
    let values = [
        dot.clone(),
        Value::Labels(scope.labels.clone()),
        Value::Labels(scope.external_labels.clone()),
        Value::text(scope.external_url),
        Value::Float(scope.value),
    ];
    let mut run = Run {
        template,
        scope,
        variables: PREDECLARED.into_iter().zip(values).collect(),
        output: String::new(),
        steps: 0,
        depth: 0,
    };
    run.nodes(&template.body, &dot)?;
    Ok(run.output)
}

/// The dot of the whole template, for those who write `.Labels.instance`.
fn root(scope: &Scope<'_>) -> Value {
    let fields = [
        ("Labels", Value::Labels(scope.labels.clone())),
        ("ExternalLabels", Value::Labels(scope.external_labels.clone())),
        ("ExternalURL", Value::text(scope.external_url)),
        ("Value", Value::Float(scope.value)),
    ];
    Value::Map(std::sync::Arc::new(fields.map(|(name, value)| (name.to_string(), value)).into()))
}

/// How a list of nodes ended.
#[derive(PartialEq)]
enum Flow {
    Next,
    Break,
    Continue,
}

struct Run<'a> {
    template: &'a Template,
    scope: &'a Scope<'a>,
    variables: Vec<(&'a str, Value)>,
    output: String,
    steps: usize,
    depth: usize,
}

impl<'a> Run<'a> {
    fn error(&self, at: usize, message: impl Into<String>) -> TemplateError {
        TemplateError::new(&self.template.text, at, message)
    }

    fn step(&mut self, at: usize) -> Result<(), TemplateError> {
        self.spend(at, 1)
    }

    fn spend(&mut self, at: usize, steps: usize) -> Result<(), TemplateError> {
        self.steps += steps;
        if self.steps > MAX_STEPS {
            return Err(self.error(at, format!("the expansion takes more than {MAX_STEPS} steps")));
        }
        Ok(())
    }

    fn write(&mut self, at: usize, text: &str) -> Result<(), TemplateError> {
        if self.output.len() + text.len() > MAX_OUTPUT {
            return Err(self.error(at, format!("the expansion writes more than {MAX_OUTPUT} bytes")));
        }
        self.output.push_str(text);
        Ok(())
    }

    fn nodes(&mut self, nodes: &'a [Node], dot: &Value) -> Result<Flow, TemplateError> {
        for node in nodes {
            match self.node(node, dot)? {
                Flow::Next => {}
                flow => return Ok(flow),
            }
        }
        Ok(Flow::Next)
    }

    /// Runs nodes in a scope of their own: variables declared inside end with it.
    fn block(&mut self, nodes: &'a [Node], dot: &Value, scope: usize) -> Result<Flow, TemplateError> {
        let flow = self.nodes(nodes, dot)?;
        self.variables.truncate(scope);
        Ok(flow)
    }

    fn node(&mut self, node: &'a Node, dot: &Value) -> Result<Flow, TemplateError> {
        match node {
            Node::Text(text) => {
                self.step(0)?;
                self.write(0, text)?;
            }
            Node::Action(pipe) => {
                let value = self.pipe(pipe, dot)?;
                if pipe.variables.is_empty() {
                    let text = if value == Value::Nil { "<no value>".to_string() } else { value.print() };
                    self.write(pipe.at, &text)?;
                }
            }
            Node::Branch { sets_dot, pipe, then, otherwise } => {
                let scope = self.variables.len();
                let value = self.pipe(pipe, dot)?;
                let holds = value.is_true();
                let inner = if *sets_dot && holds { &value } else { dot };
                return self.block(if holds { then } else { otherwise }, inner, scope);
            }
            Node::Range { pipe, body, otherwise } => return self.range(pipe, body, otherwise, dot),
            Node::Template { name, pipe, at } => self.call_template(name, pipe.as_ref(), *at, dot)?,
            Node::Break => return Ok(Flow::Break),
            Node::Continue => return Ok(Flow::Continue),
        }
        Ok(Flow::Next)
    }

    fn range(
        &mut self,
        pipe: &'a Pipe,
        body: &'a [Node],
        otherwise: &'a [Node],
        dot: &Value,
    ) -> Result<Flow, TemplateError> {
        let scope = self.variables.len();
        let value = self.commands(pipe, dot)?;
        // Lazy: a list of 100,000 numbers built anew inside a loop would cost far more than its steps.
        let mut items: Box<dyn Iterator<Item = (Value, Value)> + '_> = match &value {
            Value::List(list) => Box::new((0..).map(Value::Int).zip(list.iter().cloned())),
            Value::Labels(labels) => Box::new(labels.iter().map(|(k, v)| (Value::text(k), Value::text(v)))),
            Value::Map(map) => Box::new(map.iter().map(|(k, v)| (Value::text(k.as_str()), v.clone()))),
            Value::Int(count) => Box::new((0..*count).map(|n| (Value::Int(n), Value::Int(n)))),
            Value::Nil => Box::new(std::iter::empty()),
            other => return Err(self.error(pipe.at, format!("range cannot go over {}", other.type_name()))),
        };
        let mut items = items.by_ref().peekable();
        if items.peek().is_none() {
            return self.block(otherwise, dot, scope);
        }
        for (key, element) in items {
            self.step(pipe.at)?;
            let values = if pipe.variables.len() == 2 { vec![key, element.clone()] } else { vec![element.clone()] };
            for (name, value) in pipe.variables.iter().zip(values) {
                self.bind(name, value, pipe.declares);
            }
            let flow = self.block(body, &element, scope)?;
            if flow == Flow::Break {
                break;
            }
        }
        Ok(Flow::Next)
    }

    fn call_template(
        &mut self,
        name: &str,
        pipe: Option<&'a Pipe>,
        at: usize,
        dot: &Value,
    ) -> Result<(), TemplateError> {
        self.step(at)?;
        let argument = match pipe {
            Some(pipe) => self.pipe(pipe, dot)?,
            None => Value::Nil,
        };
        let template = self.template;
        let Some(body) = template.defined.get(name) else {
            return Err(self.error(at, format!("template {name:?} is not defined")));
        };
        if self.depth >= MAX_DEPTH {
            return Err(self.error(at, format!("templates call each other more than {MAX_DEPTH} deep")));
        }
        self.depth += 1;
        let outer = std::mem::replace(&mut self.variables, vec![("$", argument.clone())]);
        self.nodes(body, &argument)?;
        self.variables = outer;
        self.depth -= 1;
        Ok(())
    }

    fn bind(&mut self, name: &'a str, value: Value, declares: bool) {
        match self.variables.iter_mut().rev().find(|(known, _)| *known == name) {
            Some(slot) if !declares => slot.1 = value,
            _ => self.variables.push((name, value)),
        }
    }

    /// A pipeline's value, bound to its variable if it names one.
    fn pipe(&mut self, pipe: &'a Pipe, dot: &Value) -> Result<Value, TemplateError> {
        let value = self.commands(pipe, dot)?;
        if let Some(name) = pipe.variables.first() {
            self.bind(name, value.clone(), pipe.declares);
        }
        Ok(value)
    }

    fn commands(&mut self, pipe: &'a Pipe, dot: &Value) -> Result<Value, TemplateError> {
        let mut last = None;
        for command in &pipe.commands {
            last = Some(self.command(command, dot, last)?);
        }
        Ok(last.unwrap_or(Value::Nil))
    }

    fn command(&mut self, command: &'a Command, dot: &Value, piped: Option<Value>) -> Result<Value, TemplateError> {
        self.step(command.at)?;
        let Some((first, arguments)) = command.operands.split_first() else { return Ok(Value::Nil) };
        let value = match &first.kind {
            OperandKind::Function(name) => self.call(first.at, name, arguments, dot, piped)?,
            _ if piped.is_some() || !arguments.is_empty() => return self.method(first, arguments, dot, piped),
            _ => return self.operand(first, dot),
        };
        self.fields(first, value)
    }

    fn call(
        &mut self,
        at: usize,
        name: &str,
        arguments: &'a [Operand],
        dot: &Value,
        piped: Option<Value>,
    ) -> Result<Value, TemplateError> {
        if matches!(name, "and" | "or") {
            return self.short_circuit(at, name, arguments, dot, piped);
        }
        let mut values = Vec::with_capacity(arguments.len() + 1);
        for argument in arguments {
            values.push(self.operand(argument, dot)?);
        }
        values.extend(piped);
        match name {
            "query" => self.spend(at, MAX_STEPS / MAX_QUERIES)?,
            // A pattern is compiled anew by every call.
            "match" | "reReplaceAll" => self.spend(at, 100)?,
            _ => {}
        }
        let result = functions::call(name, &values, self.scope);
        let value = result.map_err(|CallError(message)| self.error(at, format!("{name}: {message}")))?;
        match &value {
            Value::Text(text) if text.len() > MAX_OUTPUT => {
                return Err(self.error(at, format!("{name}: the text is longer than {MAX_OUTPUT} bytes")));
            }
            // Large values cost more than small ones, or few steps could copy gigabytes.
            Value::Text(text) => self.spend(at, text.len() / 256)?,
            Value::List(list) => self.spend(at, list.len() / 16)?,
            _ => {}
        }
        Ok(value)
    }

    /// `and` and `or` stop at the first argument that decides, without looking at the others.
    fn short_circuit(
        &mut self,
        at: usize,
        name: &str,
        arguments: &'a [Operand],
        dot: &Value,
        piped: Option<Value>,
    ) -> Result<Value, TemplateError> {
        let mut last = None;
        for argument in arguments {
            let value = self.operand(argument, dot)?;
            if value.is_true() == (name == "or") {
                return Ok(value);
            }
            last = Some(value);
        }
        piped.or(last).ok_or_else(|| self.error(at, format!("{name}: wants at least 1 argument")))
    }

    fn operand(&mut self, operand: &'a Operand, dot: &Value) -> Result<Value, TemplateError> {
        let value = self.bare(operand, dot)?;
        self.fields(operand, value)
    }

    /// An operand without the fields behind it.
    fn bare(&mut self, operand: &'a Operand, dot: &Value) -> Result<Value, TemplateError> {
        Ok(match &operand.kind {
            OperandKind::Dot => dot.clone(),
            OperandKind::Nil => Value::Nil,
            OperandKind::Bool(b) => Value::Bool(*b),
            OperandKind::Int(n) => Value::Int(*n),
            OperandKind::Float(v) => Value::Float(*v),
            OperandKind::Text(text) => Value::text(text.as_str()),
            OperandKind::Variable(name) => self
                .variables
                .iter()
                .rev()
                .find(|(known, _)| known == name)
                .map_or(Value::Nil, |(_, value)| value.clone()),
            OperandKind::Function(name) => self.call(operand.at, name, &[], dot, None)?,
            OperandKind::Pipe(pipe) => self.pipe(pipe, dot)?,
        })
    }

    fn fields(&self, operand: &Operand, mut value: Value) -> Result<Value, TemplateError> {
        for name in &operand.fields {
            value = self.outcome(operand.at, name, value.type_name(), field(&value, name))?;
        }
        Ok(value)
    }

    /// What a field or a method gave, or why it gave nothing.
    fn outcome(
        &self,
        at: usize,
        name: &str,
        type_name: &str,
        found: Option<Result<Value, CallError>>,
    ) -> Result<Value, TemplateError> {
        match found {
            Some(Ok(value)) => Ok(value),
            Some(Err(CallError(message))) => Err(self.error(at, message)),
            None => Err(self.error(at, format!("{type_name} has no field {name:?}"))),
        }
    }

    /// `.Format "15:04"` behind an operand: its last field is a method.
    fn method(
        &mut self,
        first: &'a Operand,
        arguments: &'a [Operand],
        dot: &Value,
        piped: Option<Value>,
    ) -> Result<Value, TemplateError> {
        let Some((name, before)) = first.fields.split_last() else {
            return Err(self.error(first.at, "only a function takes arguments"));
        };
        let mut value = self.bare(first, dot)?;
        for name in before {
            value = self.outcome(first.at, name, value.type_name(), field(&value, name))?;
        }
        let values: Result<Vec<Value>, _> = arguments.iter().map(|argument| self.operand(argument, dot)).collect();
        let mut values = values?;
        values.extend(piped);
        self.outcome(first.at, name, value.type_name(), method::call(&value, name, &values))
    }
}

/// A key of a map, a field of a sample, or what a method without arguments gives.
fn field(value: &Value, name: &str) -> Option<Result<Value, CallError>> {
    let found = match (value, name) {
        (Value::Labels(labels), name) => Value::text(labels.get(name).unwrap_or_default()),
        (Value::Map(map), name) => map.get(name).cloned().unwrap_or(Value::Nil),
        // Alertmanager's `.Alerts.Firing` and `.Alerts.Resolved`.
        (Value::List(items), "Firing" | "Resolved") => {
            let status = Value::text(name.to_ascii_lowercase());
            let is = |item: &&Value| matches!(field(item, "Status"), Some(Ok(found)) if found == status);
            Value::List(items.iter().filter(is).cloned().collect())
        }
        (Value::Sample(labels, _), "Labels") => Value::Labels(labels.clone()),
        (Value::Sample(_, v), "Value") => Value::Float(*v),
        _ => return method::call(value, name, &[]),
    };
    Some(Ok(found))
}
