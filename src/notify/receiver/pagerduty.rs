//! PagerDuty's Events API v2, and services that speak it. One incident per group: `dedup_key` is the hash of the group's
//! key, so a message that is sent twice is one, and the resolved one closes it.

use serde_json::json;
use sha2::{Digest, Sha256};

use super::{Service, bytes};
use crate::collect::http::{Caller, checked_url};
use crate::notify::letter::{Letter, Status, cut};
use crate::notify::parcel::{Fault, HttpParcel, Parcel};
use crate::secret::SecretRef;
use crate::silence::rfc3339;

/// PagerDuty's limit of a summary, in characters.
const SUMMARY: usize = 1024;
/// The whole event may have 512 KB.
const DETAILS: usize = 20_000;

/// PagerDuty.
pub struct Pagerduty {
    /// Through which door.
    pub caller: Caller,
    /// Integration key.
    pub routing_key: SecretRef,
    /// Where to.
    pub url: String,
}

impl Service for Pagerduty {
    fn render(&self, letter: &Letter) -> Result<Parcel<'_>, Fault> {
        let digest = Sha256::digest(letter.key.as_bytes());
        let dedup: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        let action = if letter.status == Status::Resolved { "resolve" } else { "trigger" };
        let severity = match letter.severity.as_str() {
            word @ ("critical" | "error" | "warning" | "info") => word,
            "page" | "emergency" => "critical",
            _ if letter.status == Status::Note => "info",
            _ => "error",
        };
        let mut links: Vec<_> = letter.links.iter().map(|(text, url)| json!({"href": url, "text": text})).collect();
        if !letter.link.is_empty() {
            links.push(json!({"href": letter.link, "text": "davylamp"}));
        }
        let mut event = json!({
            "routing_key": self.routing_key.read()?.expose(),
            "event_action": action,
            "dedup_key": dedup,
            "client": "davylamp",
            "links": links,
            "payload": {
                "summary": cut(&letter.title, SUMMARY),
                "source": letter.payload["commonLabels"]["instance"].as_str().unwrap_or("davylamp"),
                "severity": severity,
                "timestamp": rfc3339(letter.at),
                "custom_details": {"text": cut(letter.text.trim_end(), DETAILS)},
            },
        });
        if !letter.link.is_empty() {
            event["client_url"] = json!(letter.link);
        }
        let url = checked_url(&self.url, "url").map_err(|error| Fault::refused(error.message))?;
        Ok(Parcel::Http(HttpParcel { caller: &self.caller, url, headers: Vec::new(), body: bytes(&event) }))
    }
}
