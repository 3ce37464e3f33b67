//! The services that can be told, one file each: settings → a checked receiver → a parcel. `render` is pure but for
//! reading secrets.

pub mod discord;
pub mod email;
pub mod ntfy;
pub mod pagerduty;
pub mod slack;
pub mod telegram;
pub mod webhook;

use url::Url;

use super::letter::{Letter, Templates};
use super::parcel::{Fault, Parcel};
use super::settings::Place;
use crate::collect::http::checked_url;
use crate::secret::SecretRef;

/// One service of a receiver, checked.
pub struct Integration {
    /// `webhook`, `email`, `slack`, …
    pub kind: &'static str,
    /// Whether it is told when all is well again.
    pub send_resolved: bool,
    /// Templates of title and text.
    pub templates: Templates,
    /// Most alerts in its payload; 0 for the common limit.
    pub max_alerts: usize,
    /// How it is written to.
    pub service: Box<dyn Service>,
}

/// A service: writes a letter in its own form.
pub trait Service: Send + Sync {
    /// The parcel.
    ///
    /// # Errors
    /// [`Fault`] when a secret cannot be read or is no such thing.
    fn render(&self, letter: &Letter) -> Result<Parcel<'_>, Fault>;
}

/// A receiver, checked.
pub struct Receiver {
    /// Name.
    pub name: String,
    /// Most messages within a time.
    pub rate: Rate,
    /// All are told.
    pub integrations: Vec<Integration>,
}

/// Most messages within a time, of one integration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// How many.
    pub count: u32,
    /// Within which time.
    pub within: std::time::Duration,
}

/// The URL that a secret holds. What is wrong with it is said without showing it.
fn secret_url(secret: &SecretRef) -> Result<Url, Fault> {
    let text = secret.read()?;
    checked_url(text.expose(), "url").map_err(|_| Fault::refused("the secret holds no http or https URL"))
}

/// The URL that stands somewhere.
fn url_at(place: &Place) -> Result<Url, Fault> {
    match place {
        Place::Plain(text) => checked_url(text, "url").map_err(|error| Fault::refused(error.message)),
        Place::Secret(secret) => secret_url(secret),
    }
}

/// JSON bytes; a value always becomes some.
fn bytes(value: &serde_json::Value) -> Vec<u8> {
    value.to_string().into_bytes()
}

#[cfg(test)]
mod tests;
