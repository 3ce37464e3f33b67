//! What a template is once it is read. Every node knows its byte offset, for errors.

/// A piece of a template.
#[derive(Clone, Debug)]
pub(super) enum Node {
    /// Text between actions, trimmed already.
    Text(String),
    /// `{{ pipeline }}`
    Action(Pipe),
    /// `{{ if }}` and `{{ with }}`: the two differ only in what the dot is inside.
    Branch {
        /// `with`: the dot becomes the pipeline's value.
        sets_dot: bool,
        pipe: Pipe,
        then: Vec<Node>,
        otherwise: Vec<Node>,
    },
    /// `{{ range }}`
    Range { pipe: Pipe, body: Vec<Node>, otherwise: Vec<Node> },
    /// `{{ template "name" pipeline }}`
    Template { name: String, pipe: Option<Pipe>, at: usize },
    /// `{{ break }}`
    Break,
    /// `{{ continue }}`
    Continue,
}

/// `$a, $b := command | command`
#[derive(Clone, Debug)]
pub(super) struct Pipe {
    pub at: usize,
    /// Variables with their `$`.
    pub variables: Vec<String>,
    /// `:=` declares, `=` changes.
    pub declares: bool,
    pub commands: Vec<Command>,
}

/// A function with its arguments, or one operand.
#[derive(Clone, Debug)]
pub(super) struct Command {
    pub at: usize,
    /// Never empty.
    pub operands: Vec<Operand>,
}

/// One word of a command and where it stands.
#[derive(Clone, Debug)]
pub(super) struct Operand {
    pub at: usize,
    pub kind: OperandKind,
    /// `.a.b` behind it.
    pub fields: Vec<String>,
}

/// The words a command is made of.
#[derive(Clone, Debug)]
pub(super) enum OperandKind {
    Dot,
    Nil,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(String),
    Variable(String),
    Function(String),
    Pipe(Box<Pipe>),
}
