//! Discord's webhooks. All of Markdown is escaped, and `allowed_mentions` is empty: a device can neither draw nor call
//! `@everyone`.

use serde_json::json;

use super::{Service, bytes, secret_url};
use crate::collect::http::Caller;
use crate::notify::letter::{Letter, Status, cut};
use crate::notify::parcel::{Fault, HttpParcel, Parcel};
use crate::secret::SecretRef;

/// Discord's limits of an embed, in characters, as sent.
const TITLE: usize = 256;
const TEXT: usize = 4096;

/// Discord.
pub struct Discord {
    /// Through which door.
    pub caller: Caller,
    /// The webhook's URL.
    pub webhook_url: SecretRef,
    /// Name to send under.
    pub username: Option<String>,
}

impl Service for Discord {
    fn render(&self, letter: &Letter) -> Result<Parcel<'_>, Fault> {
        let color = match letter.status {
            Status::Firing => 0x00E0_1E5A,
            Status::Resolved => 0x002E_B67D,
            Status::Note => 0x0043_9FE0,
        };
        // Escaping at most doubles a text: what is cut first stays within the limit afterwards.
        let title = cut(&escape(&cut(&letter.title, TITLE / 2)), TITLE);
        let text = cut(&escape(&cut(&letter.body(), TEXT / 2)), TEXT);
        let mut embed = json!({"title": title, "description": text, "color": color});
        if !letter.link.is_empty() {
            embed["url"] = json!(letter.link);
        }
        let mut message = json!({"embeds": [embed], "allowed_mentions": {"parse": []}});
        if let Some(username) = &self.username {
            message["username"] = json!(username);
        }
        let url = secret_url(&self.webhook_url)?;
        Ok(Parcel::Http(HttpParcel { caller: &self.caller, url, headers: Vec::new(), body: bytes(&message) }))
    }
}

fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if "\\*_~`|>#[]()<@".contains(c) {
            out.push('\\');
        }
        out.push(c);
    }
    out
}
