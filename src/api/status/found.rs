//! Devices that were found and wait for a person's word, on the status page.

use super::{Status, escape, table};

/// One device that was found.
#[derive(Clone, Debug, Default)]
pub struct FoundRow {
    /// The id that its target would have.
    pub id: String,
    /// Kind and address.
    pub place: String,
    /// What it says it is.
    pub identity: String,
    /// Why it cannot be polled; empty where it can.
    pub trouble: String,
}

/// As silences: only where something was found.
pub(super) fn show(page: &mut String, status: &Status) {
    if status.found.is_empty() {
        return;
    }
    let rows = status.found.iter().map(|found| {
        let order = match found.trouble.as_str() {
            "" => format!("davylamp devices adopt {}", found.id),
            trouble => trouble.to_string(),
        };
        [
            format!("<b>{}</b><br><small>{}</small>", escape(&found.id), escape(&found.place)),
            escape(&found.identity),
            escape(&order),
        ]
    });
    table(page, "Found", ["Device", "Says it is", "To adopt"], rows, "");
}
