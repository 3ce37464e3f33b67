//! Telegram's Bot API (`sendMessage`). Without a `parse_mode` nothing in the text is markup; the title is made bold by an
//! entity, which is counted in UTF-16 units.

use serde_json::json;

use super::{Service, bytes};
use crate::collect::http::{Caller, checked_url};
use crate::notify::letter::{Letter, Status, cut};
use crate::notify::parcel::{Fault, HttpParcel, Parcel};
use crate::secret::SecretRef;

/// Telegram's limit is 4096 characters in UTF-16 units; a character takes at most two.
const TITLE: usize = 250;
const TEXT: usize = 1790;

/// Telegram.
pub struct Telegram {
    /// Through which door.
    pub caller: Caller,
    /// The bot's token.
    pub bot_token: SecretRef,
    /// Where to.
    pub chat_id: i64,
    /// Topic.
    pub message_thread_id: Option<i64>,
    /// Server.
    pub api_url: String,
    /// Without a sound.
    pub quiet: bool,
}

impl Service for Telegram {
    fn render(&self, letter: &Letter) -> Result<Parcel<'_>, Fault> {
        let title = cut(&letter.title, TITLE);
        let text = format!("{title}\n{}", cut(&letter.body(), TEXT));
        let mut message = json!({
            "chat_id": self.chat_id,
            "text": text,
            "entities": [{"type": "bold", "offset": 0, "length": title.encode_utf16().count()}],
            "link_preview_options": {"is_disabled": true},
            "disable_notification": self.quiet || letter.status == Status::Resolved,
        });
        if let Some(topic) = self.message_thread_id {
            message["message_thread_id"] = json!(topic);
        }
        let token = self.bot_token.read()?;
        if !token.expose().bytes().all(|b| b.is_ascii_alphanumeric() || b":_-".contains(&b)) {
            return Err(Fault::refused("the bot's token holds what no token does"));
        }
        let text = format!("{}/bot{}/sendMessage", self.api_url.trim_end_matches('/'), token.expose());
        let url = checked_url(&text, "api_url").map_err(|_| Fault::refused("api_url is no http or https URL"))?;
        Ok(Parcel::Http(HttpParcel { caller: &self.caller, url, headers: Vec::new(), body: bytes(&message) }))
    }
}
