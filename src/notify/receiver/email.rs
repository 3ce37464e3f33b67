//! Mail over SMTP, as plain text. Messages of one group are one thread. Without TLS no password is sent, and nothing at
//! all unless `require_tls: false` says so.

use std::path::PathBuf;
use std::time::Duration;

use lettre::message::Mailbox;
use lettre::message::header::ContentType;
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Certificate, Tls, TlsParameters};
use lettre::transport::smtp::extension::ClientId;
use lettre::{AsyncSmtpTransport, AsyncTransport, Tokio1Executor};
use sha2::{Digest, Sha256};

use super::Service;
use crate::notify::letter::{Letter, cut};
use crate::notify::parcel::{Fault, Parcel};
use crate::secret::{Secret, SecretRef};

/// Longest subject and text, in characters.
const SUBJECT: usize = 200;
const TEXT: usize = 60_000;
/// Port of SMTP with TLS from the first byte.
const SMTPS: u16 = 465;
/// Longest time for the whole exchange.
const TIMEOUT: Duration = Duration::from_secs(20);

/// Mail.
pub struct Email {
    /// To whom.
    pub to: Vec<Mailbox>,
    /// From whom.
    pub from: Mailbox,
    /// The mail server.
    pub server: Server,
}

/// The mail server and how to get in.
#[derive(Clone)]
pub struct Server {
    /// Name or address.
    pub host: String,
    /// Port.
    pub port: u16,
    /// Name in the greeting.
    pub hello: Option<String>,
    /// User, and where the password stands.
    pub credential: Option<(String, SecretRef)>,
    /// Whether to refuse to send in clear.
    pub require_tls: bool,
    /// An authority to trust beside the system's.
    pub ca_file: Option<PathBuf>,
}

/// A mail on its way.
pub struct Mail {
    message: lettre::Message,
    server: Server,
    password: Option<Secret>,
}

impl Service for Email {
    fn render(&self, letter: &Letter) -> Result<Parcel<'_>, Fault> {
        let digest = |text: &str| -> String {
            Sha256::digest(text.as_bytes()).iter().take(16).map(|byte| format!("{byte:02x}")).collect()
        };
        let thread = format!("<{}@davylamp>", digest(&letter.key));
        let own = format!("<{}.{}@davylamp>", digest(&letter.key), letter.at);
        let date = std::time::UNIX_EPOCH + Duration::from_millis(letter.at.unsigned_abs());
        let mut builder = lettre::Message::builder()
            .from(self.from.clone())
            .subject(cut(&letter.title, SUBJECT))
            .date(date)
            .message_id(Some(own))
            .in_reply_to(thread.clone())
            .references(thread)
            .header(ContentType::TEXT_PLAIN);
        for to in &self.to {
            builder = builder.to(to.clone());
        }
        let link = if letter.link.is_empty() { String::new() } else { format!("\n\n{}", letter.link) };
        let text = format!("{}{link}\n", cut(&letter.body(), TEXT));
        let message = builder.body(text).map_err(Fault::refused)?;
        let password = self.server.credential.as_ref().map(|(_, secret)| secret.read()).transpose()?;
        Ok(Parcel::Mail(Box::new(Mail { message, server: self.server.clone(), password })))
    }
}

impl Mail {
    /// The message as it goes over the wire.
    pub fn formatted(&self) -> Vec<u8> {
        self.message.formatted()
    }

    /// Delivers it to the server.
    ///
    /// # Errors
    /// [`Fault`]: what the server says with a code of 5xx is not tried again.
    pub async fn send(self) -> Result<(), Fault> {
        let transport = self.transport().await?;
        match tokio::time::timeout(TIMEOUT, transport.send(self.message)).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) if error.is_permanent() => Err(Fault::refused(with_causes(&error))),
            Ok(Err(error)) => Err(Fault::retry(with_causes(&error))),
            Err(_) => Err(Fault::retry("the mail server does not answer in time")),
        }
    }

    async fn transport(&self) -> Result<AsyncSmtpTransport<Tokio1Executor>, Fault> {
        let server = &self.server;
        let mut parameters = TlsParameters::builder(server.host.clone());
        if let Some(path) = &server.ca_file {
            let bad = |what: &dyn std::fmt::Display| Fault::retry(format!("cannot use {}: {what}", path.display()));
            let pem = tokio::fs::read(path).await.map_err(|error| bad(&error))?;
            let certificate = Certificate::from_pem(&pem).map_err(|_| bad(&"it holds no PEM certificate"))?;
            parameters = parameters.add_root_certificate(certificate);
        }
        let parameters = parameters.build().map_err(|error| Fault::refused(with_causes(&error)))?;
        let tls = match server.port {
            SMTPS => Tls::Wrapper(parameters),
            // A password never goes out in clear.
            _ if server.require_tls || self.password.is_some() => Tls::Required(parameters),
            _ => Tls::Opportunistic(parameters),
        };
        let mut builder = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(&server.host)
            .port(server.port)
            .tls(tls)
            .timeout(Some(TIMEOUT));
        if let Some(hello) = &server.hello {
            builder = builder.hello_name(ClientId::Domain(hello.clone()));
        }
        if let (Some((user, _)), Some(password)) = (&server.credential, &self.password) {
            builder = builder.credentials(Credentials::new(user.clone(), password.expose().to_string()));
        }
        Ok(builder.build())
    }
}

/// The error with its causes. Servers may say anything: cut, and on one line.
fn with_causes(error: &lettre::transport::smtp::Error) -> String {
    let mut text = error.to_string();
    let mut next = std::error::Error::source(error);
    while let Some(cause) = next {
        let said = cause.to_string();
        if !text.contains(&said) {
            text = format!("{text}: {said}");
        }
        next = cause.source();
    }
    crate::notify::letter::one_line(&cut(&text, 300))
}
