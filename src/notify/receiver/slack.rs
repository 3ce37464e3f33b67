//! Slack's incoming webhooks. The text stands in an attachment without `mrkdwn_in`, so nothing in it is markup; `&`, `<` and
//! `>` are escaped as Slack wants it, or a device could mention `<!channel>`.

use serde_json::json;

use super::{Service, bytes, secret_url};
use crate::collect::http::Caller;
use crate::notify::letter::{Letter, Status, cut};
use crate::notify::parcel::{Fault, HttpParcel, Parcel};
use crate::secret::SecretRef;

/// Longest title and text that are shown whole, in characters.
const TITLE: usize = 256;
const TEXT: usize = 3000;

/// Slack.
pub struct Slack {
    /// Through which door.
    pub caller: Caller,
    /// The webhook's URL.
    pub api_url: SecretRef,
    /// Channel.
    pub channel: Option<String>,
    /// Name to send under.
    pub username: Option<String>,
}

impl Service for Slack {
    fn render(&self, letter: &Letter) -> Result<Parcel<'_>, Fault> {
        let color = match letter.status {
            Status::Firing => "danger",
            Status::Resolved => "good",
            Status::Note => "#439FE0",
        };
        let title = escape(&cut(&letter.title, TITLE));
        let links: String =
            letter.links.iter().map(|(text, url)| format!("\n{}: {}", escape(text), escape(url))).collect();
        let text = escape(&cut(letter.text.trim_end(), TEXT)) + &links;
        let mut attachment = json!({"color": color, "fallback": title, "title": title, "text": text, "mrkdwn_in": [], "ts": letter.at / 1000});
        if !letter.link.is_empty() {
            attachment["title_link"] = json!(letter.link);
        }
        let mut message = json!({"attachments": [attachment]});
        for (name, value) in [("channel", &self.channel), ("username", &self.username)] {
            if let Some(value) = value {
                message[name] = json!(value);
            }
        }
        let url = secret_url(&self.api_url)?;
        Ok(Parcel::Http(HttpParcel { caller: &self.caller, url, headers: Vec::new(), body: bytes(&message) }))
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
