//! Checks what is pushed to us and what we send on: each receiver by its room, and that no two share a queue.

use std::collections::BTreeSet;

use super::check::Check;
use super::file::File;
use crate::model::matcher::is_label_name;
use crate::sink;

/// Reports every mistake.
pub(super) fn check(check: &mut Check, file: &File) {
    let label = &file.ingest.remote_write.sender_label;
    if !is_label_name(label) {
        check.report("ingest.remote_write.sender_label", format!("{label:?} is not a label name"));
    }
    let mut names = BTreeSet::new();
    for (index, entry) in file.remote_write.iter().enumerate() {
        let path = format!("remote_write[{index}]");
        if check.is_broken(&path) {
            continue;
        }
        match sink::check(entry) {
            Ok(receiver) => {
                if !names.insert(receiver.name.clone()) {
                    let text = format!("{:?} is taken: every receiver needs a name of its own", receiver.name);
                    check.report(format!("{path}.name"), text);
                }
            }
            Err(mistakes) => {
                for mistake in mistakes {
                    check.report(format!("{path}.{}", mistake.path), mistake.message);
                }
            }
        }
    }
}
