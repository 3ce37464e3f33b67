//! A command with its argument, as people write it: `restart`, `power-limit 2800`, `mode eco`.

use std::fmt;
use std::sync::Arc;

use super::{Command, CommandError, Plan};
use crate::collect::miner::OTP;
use crate::collect::{Collector, kind};
use crate::model::{Target, words};
use crate::preset::{Able, Preset};
use crate::secret::Secret;

/// Longest name that is taken as an argument, in bytes.
const MAX_NAME: usize = 64;

/// What a command is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Argument {
    /// A whole number, or one of some words.
    Number {
        /// What it counts, in capitals, with its unit: `WATTS`.
        name: &'static str,
        /// Least and most that any device of the kind could take.
        bounds: (u32, u32),
        /// Words that may stand in its place: `auto`.
        or: &'static [&'static str],
    },
    /// One of some words.
    Word(&'static [&'static str]),
    /// A name that the device knows: letters, digits, `.`, `_`, `+` and `-`.
    Name(&'static str),
    /// The device's preset, of which it takes so much. It is not typed.
    Preset(&'static Able),
}

/// An argument as it was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// There is none.
    None,
    /// A number within its bounds.
    Number(u32),
    /// A word or a name.
    Word(String),
    /// The preset of the device, put in by whoever knows it.
    Preset(Settled),
    /// One of these, and the one-time code that a person gave with it. Only families that take codes see it.
    Coded(Box<Value>, Secret),
}

/// A preset as an argument: two are the same if they are one.
#[derive(Clone, Debug)]
pub struct Settled(Arc<Preset>);

impl PartialEq for Settled {
    fn eq(&self, other: &Settled) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Settled {}

/// Commands that many kinds have. For one that a kind lacks, the nearest word would be a guess at what was not meant.
const COMMON: &[&str] =
    &["restart", "reboot", "pause", "resume", "power-limit", "mode", "fan", "pool", "identify", APPLY_PRESET];

/// The command that sets a device as its preset has it.
pub const APPLY_PRESET: &str = "apply-preset";

impl Value {
    /// A preset as an argument.
    pub fn of_preset(preset: Preset) -> Value {
        Value::Preset(Settled(Arc::new(preset)))
    }

    /// The preset; `None` for everything else.
    pub fn preset(&self) -> Option<&Arc<Preset>> {
        if let Value::Preset(Settled(preset)) = self.plain() { Some(preset) } else { None }
    }

    /// The number; `None` for everything else.
    pub fn number(&self) -> Option<u32> {
        if let Value::Number(number) = self.plain() { Some(*number) } else { None }
    }

    /// The word or name; empty for everything else.
    pub fn word(&self) -> &str {
        if let Value::Word(word) = self.plain() { word } else { "" }
    }

    /// The one-time code that was given with it.
    pub fn code(&self) -> Option<&Secret> {
        if let Value::Coded(_, code) = self { Some(code) } else { None }
    }

    fn plain(&self) -> &Value {
        if let Value::Coded(value, _) = self { value } else { self }
    }
}

impl fmt::Display for Argument {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Argument::Number { name, or: [], .. } => f.write_str(name),
            Argument::Number { name, or, .. } => write!(f, "{name}|{}", or.join("|")),
            Argument::Word(words) => f.write_str(&words.join("|")),
            Argument::Name(name) => f.write_str(name),
            Argument::Preset(_) => Ok(()),
        }
    }
}

impl Argument {
    fn read(&self, text: &str) -> Result<Value, String> {
        match self {
            Argument::Number { or, .. } if or.contains(&text) => Ok(Value::Word(text.to_string())),
            Argument::Number { name, bounds: (least, most), .. } => {
                let number = text.parse().ok().filter(|number| (least..=most).contains(&number));
                number.map(Value::Number).ok_or_else(|| format!("{text:?} is no {name} from {least} to {most}"))
            }
            Argument::Word(known) if known.contains(&text) => Ok(Value::Word(text.to_string())),
            Argument::Word(known) => Err(format!("{text:?} is not known; {}", words::hint(text, *known))),
            Argument::Preset(_) => Err("the configuration says which preset it is".to_string()),
            Argument::Name(name) => {
                let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'+' | b'-');
                let fits = !text.is_empty() && text.len() <= MAX_NAME && text.bytes().all(plain);
                let wrong = || format!("{text:?} is no {name}: letters, digits and . _ + - are allowed");
                fits.then(|| Value::Word(text.to_string())).ok_or_else(wrong)
            }
        }
    }
}

/// A command of a kind with its argument.
#[derive(Clone)]
pub struct Call {
    /// Its row.
    pub command: &'static Command,
    /// Its argument.
    pub value: Value,
    /// What polls the device and knows whose answers are to be believed: another device that took over its address is
    /// not told anything. Without one nobody is expected.
    pub known: Option<Arc<dyn Collector>>,
    /// A one-time code that a person read off the device's authenticator app.
    pub code: Option<Secret>,
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.value.plain() {
            Value::None | Value::Coded(..) => f.write_str(self.command.name),
            Value::Number(number) => write!(f, "{} {number}", self.command.name),
            Value::Word(word) => write!(f, "{} {word}", self.command.name),
            Value::Preset(Settled(preset)) => write!(f, "{} {}", self.command.name, preset.name),
        }
    }
}

impl Call {
    /// Reads a command of a kind as it is written: its name, and its argument behind a blank.
    ///
    /// # Errors
    /// [`CommandError::Refused`], with the nearest right word.
    pub fn read(kind_name: &str, text: &str) -> Result<Call, CommandError> {
        let commands = kind(kind_name).map_or(&[][..], |kind| kind.commands);
        let (name, argument) = text.trim().split_once(' ').unwrap_or((text.trim(), ""));
        let argument = argument.trim();
        let Some(command) = commands.iter().find(|command| command.name == name) else {
            let known = commands.iter().map(|command| command.name);
            let hint = if COMMON.contains(&name) { exists(kind_name, name) } else { words::hint(name, known) };
            return Err(CommandError::Refused(format!("the kind {kind_name} has no command {name:?}; {hint}")));
        };
        let refused = |why: String| CommandError::Refused(format!("{name}: {why}; write: {}", command.usage()));
        let value = match &command.argument {
            None | Some(Argument::Preset(_)) if argument.is_empty() => Value::None,
            None => return Err(refused(format!("it takes no argument, and was given {argument:?}"))),
            Some(_) if argument.is_empty() => return Err(refused("its argument is missing".to_string())),
            Some(form) => form.read(argument).map_err(refused)?,
        };
        Ok(Call { command, value, known: None, code: None })
    }

    /// What it does to a target; no I/O.
    ///
    /// # Errors
    /// [`CommandError::Refused`] when the target's options do not allow it: mostly a missing password.
    pub fn plan(&self, target: &Target) -> Result<Plan, CommandError> {
        let Some(code) = &self.code else { return (self.command.plan)(target, &self.value) };
        if !kind(&target.kind).is_some_and(|kind| kind.options.iter().any(|option| option.name == OTP)) {
            return Err(CommandError::Refused(format!("devices of kind {} take no one-time code", target.kind)));
        }
        (self.command.plan)(target, &Value::Coded(Box::new(self.value.clone()), code.clone()))
    }
}

/// What a kind takes of a preset; `None` where it takes none.
pub fn able(kind_name: &str) -> Option<&'static Able> {
    let commands = kind(kind_name).map_or(&[][..], |kind| kind.commands);
    commands.iter().find_map(|command| match command.argument {
        Some(Argument::Preset(able)) => Some(able),
        _ => None,
    })
}

/// What a kind has, where it has no command of that name.
fn exists(kind_name: &str, name: &str) -> String {
    let names: Vec<&str> =
        kind(kind_name).map_or(&[][..], |kind| kind.commands).iter().map(|command| command.name).collect();
    let close = if name == "reboot" && names.contains(&"restart") {
        "its API cannot restart the machine, and restart starts mining anew; "
    } else {
        ""
    };
    match names.is_empty() {
        true => "its API takes no commands".to_string(),
        false => format!("{close}there are {}", names.join(", ")),
    }
}

/// What is wrong with a command that is meant for a target of one of these kinds, if it is right for none of them.
pub fn misfit<'a>(kinds: impl IntoIterator<Item = &'a str>, text: &str) -> Option<String> {
    let mut kinds: Vec<&str> = kinds.into_iter().collect();
    kinds.sort_unstable();
    kinds.dedup();
    let mut errors = Vec::new();
    for name in &kinds {
        match Call::read(name, text) {
            Ok(_) => return None,
            Err(error) => errors.push(error.to_string()),
        }
    }
    let name = text.split(' ').next().unwrap_or_default();
    let commands = |kind_name: &&str| kind(kind_name).map_or(&[][..], |kind| kind.commands).iter();
    if !kinds.iter().flat_map(commands).any(|command| command.name == name) {
        let mut known: Vec<&str> = kinds.iter().flat_map(commands).map(|command| command.name).collect();
        known.sort_unstable();
        known.dedup();
        let hint = words::hint(name, known);
        return Some(format!("no target that could be meant has a command {name:?}; {hint}"));
    }
    // The kinds that know the command say most about it.
    errors.sort_by_key(|error| error.contains("has no command"));
    errors.into_iter().next()
}
