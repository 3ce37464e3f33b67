//! Checks `remote_write`: each entry by its room, and that no two share a queue.

use std::collections::BTreeSet;

use super::check::Check;
use super::file::File;
use crate::sink;

/// Reports every mistake.
pub(super) fn check(check: &mut Check, file: &File) {
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
