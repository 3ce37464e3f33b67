//! ntfy, published as JSON. Plain text: `markdown` stays off.

use serde_json::json;

use super::{Service, bytes};
use crate::collect::http::{Caller, checked_url};
use crate::notify::letter::{Letter, Status, cut, rank};
use crate::notify::parcel::{Fault, HttpParcel, Parcel};
use crate::notify::settings::Place;

/// ntfy makes a file of a message above 4096 bytes; a character takes at most four.
const TITLE: usize = 200;
const TEXT: usize = 1000;
/// ntfy knows three action buttons.
const ACTIONS: usize = 3;

/// ntfy.
pub struct Ntfy {
    /// Through which door; the token is its credential.
    pub caller: Caller,
    /// The server.
    pub url: String,
    /// The topic.
    pub topic: Place,
}

impl Service for Ntfy {
    fn render(&self, letter: &Letter) -> Result<Parcel<'_>, Fault> {
        let topic = match &self.topic {
            Place::Plain(topic) => topic.clone(),
            Place::Secret(secret) => secret.read()?.expose().to_string(),
        };
        let (priority, tag) = match letter.status {
            Status::Firing if rank(&letter.severity) >= 4 => (5, "rotating_light"),
            Status::Firing => (4, "warning"),
            Status::Resolved => (3, "white_check_mark"),
            Status::Note => (3, "information_source"),
        };
        let mut message = json!({
            "topic": topic,
            "title": cut(&letter.title, TITLE),
            "message": cut(letter.text.trim_end(), TEXT),
            "priority": priority,
            "tags": [tag],
        });
        if !letter.link.is_empty() {
            message["click"] = json!(letter.link);
        }
        if !letter.links.is_empty() {
            let view = |(text, url): &(String, String)| json!({"action": "view", "label": cut(text, 40), "url": url});
            message["actions"] = letter.links.iter().take(ACTIONS).map(view).collect();
        }
        let url = checked_url(&self.url, "url").map_err(|error| Fault::refused(error.message))?;
        Ok(Parcel::Http(HttpParcel { caller: &self.caller, url, headers: Vec::new(), body: bytes(&message) }))
    }
}
