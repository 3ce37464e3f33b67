//! `davylamp notify test`: tells a receiver something, now and directly, and says how it went.

use std::process::ExitCode;

use anyhow::Context;

use super::{complain, load, say, small_runtime};
use crate::args::tell::NotifyCommand;
use davylamp::model::words;
use davylamp::notify::Message;
use davylamp::notify::service::tell_now;
use davylamp::schedule::poll::unix_millis;

pub fn notify(command: &NotifyCommand) -> anyhow::Result<ExitCode> {
    let NotifyCommand::Test { config, receiver: name } = command;
    let config = load(&config.config)?;
    let receivers = &config.notify.receivers;
    let receiver = receivers.get(name);
    let receiver = receiver
        .with_context(|| format!("no receiver has the name {name:?}; {}", words::hint(name, receivers.keys())))?;
    let message = Message {
        title: "davylamp: test".to_string(),
        text: format!("This is a test of the receiver {name}. Nothing is wrong."),
        severity: "info".to_string(),
        ..Message::default()
    };
    let outcomes = small_runtime()?.block_on(tell_now(&config.notify, receiver, &message, unix_millis()));
    if outcomes.is_empty() {
        complain(&format!("the receiver {name:?} has no integration: nobody was told"));
        return Ok(ExitCode::from(1));
    }
    let mut failed = false;
    for (integration, outcome) in outcomes {
        match outcome {
            Ok(()) => say(&format!("{integration}: sent")).map(drop)?,
            Err(fault) => {
                failed = true;
                complain(&format!("{integration}: {fault}"));
            }
        }
    }
    Ok(ExitCode::from(u8::from(failed)))
}
