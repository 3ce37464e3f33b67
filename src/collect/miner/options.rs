//! The options that most families of miners share, so that one word means one thing everywhere.

use super::ask::{Auth, Flow, Login};
use super::device::Show;
use crate::collect::http::{Digest, TlsOptions};
use crate::collect::{OptionDoc, OptionError, read_options};
use crate::model::{Target, words};
use crate::secret::SecretRef;

/// `chips`, for the option table of a kind.
pub const CHIPS_DOC: OptionDoc =
    OptionDoc { name: "chips", help: "true: hash rate, errors and temperature of every chip (default false)" };
/// `show_pool_user`, for the option table of a kind.
pub const POOL_USER_DOC: OptionDoc =
    OptionDoc { name: "show_pool_user", help: "true: pool users unmasked (default false: they are often wallets)" };
/// `username`, for the option table of a kind.
pub const USERNAME_DOC: OptionDoc =
    OptionDoc { name: "username", help: "user of the device's web interface or API; default as the maker ships it" };
/// `password`, for the option table of a kind.
pub const PASSWORD_DOC: OptionDoc =
    OptionDoc { name: "password", help: "SECRET: its password; without it only what is open to everybody is asked" };
/// `password` of a kind that is polled without it, for its option table.
pub const PASSWORD_FOR_COMMANDS_DOC: OptionDoc =
    OptionDoc { name: "password", help: "SECRET: its password, which commands need and polls do not" };
/// `token`, for the option table of a kind.
pub const TOKEN_DOC: OptionDoc = OptionDoc { name: "token", help: "SECRET: token of the device's API" };
/// `otp`, for the option table of a kind that takes one-time codes; [`crate::collect::command::Call::plan`] goes by its name.
pub const OTP_DOC: OptionDoc = OptionDoc {
    name: OTP,
    help: "SECRET: secret of the one-time codes that a NerdQAxe wants for commands (base32 or otpauth://…)",
};
/// The name of [`OTP_DOC`].
pub const OTP: &str = "otp";
/// `web_port`, for the option table of a kind.
pub const WEB_PORT_DOC: OptionDoc =
    OptionDoc { name: "web_port", help: "port of the device's web interface; default 80, with tls 443" };
/// `tls`, for the option table of a kind.
pub const TLS_DOC: OptionDoc =
    OptionDoc { name: "tls", help: "speak https: {} or ca_file, cert_file, key_file, insecure_skip_verify" };

/// The options of a miner. A kind says in its table which of them it takes.
#[derive(Clone, Debug, Default, serde::Deserialize, schemars::JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// Series for every chip.
    pub chips: bool,
    /// Pool users as they are.
    pub show_pool_user: bool,
    /// User of the device.
    pub username: Option<String>,
    /// Its password.
    pub password: Option<SecretRef>,
    /// Token of the device's API.
    pub token: Option<SecretRef>,
    /// Port of the web interface, where it is asked beside the API.
    pub web_port: Option<u16>,
    /// Secret of the device's one-time codes.
    pub otp: Option<SecretRef>,
    /// Whether the device's own record is read.
    pub statistics: bool,
    /// TLS settings; without them plain HTTP or TCP is spoken.
    pub tls: Option<TlsOptions>,
}

impl Options {
    /// Reads the options of a target, of which the kind takes those in `docs`.
    ///
    /// # Errors
    /// Every [`OptionError`]: a key that no kind knows, one that this kind does not take, a value of another type.
    pub fn read(target: &Target, docs: &[OptionDoc]) -> Result<Self, Vec<OptionError>> {
        let known = || docs.iter().map(|doc| doc.name);
        let keys = target.options.as_object().into_iter().flat_map(serde_json::Map::keys);
        let foreign = keys.filter(|key| known().all(|name| name != key.as_str()));
        let errors: Vec<OptionError> = foreign
            .map(|key| {
                OptionError::new(
                    format!("options.{key}"),
                    format!("unknown key {key:?}; {}", words::hint(key, known())),
                )
            })
            .collect();
        if errors.is_empty() { read_options(target) } else { Err(errors) }
    }

    /// Whether the web interface beside the API is not asked: without a password it has nothing for us.
    ///
    /// # Errors
    /// [`OptionError`] where another option says that it should be.
    pub fn has_no_web(&self) -> Result<bool, OptionError> {
        if self.password.is_none() && (self.username.is_some() || self.tls.is_some() || self.web_port.is_some()) {
            let why = "is missing: without it the web interface is not asked";
            return Err(OptionError::new("options.password", why));
        }
        Ok(self.password.is_none())
    }

    /// Where the web interface is asked beside the API.
    pub fn web_port(&self) -> u16 {
        self.web_port.unwrap_or(if self.tls.is_some() { 443 } else { 80 })
    }

    /// HTTP Digest as `user` unless another is named; nothing without a password.
    pub fn digest(&self, user: &str) -> Auth {
        let name = self.username.clone().unwrap_or_else(|| user.to_string());
        self.password.clone().map_or(Auth::Open, |password| Auth::Digest(Digest::new(name, password)))
    }

    /// A login as `user` unless another is named; nothing without a password.
    pub fn login(&self, flow: Flow, user: &str) -> Auth {
        let name = self.username.clone().unwrap_or_else(|| user.to_string());
        self.password.clone().map_or(Auth::Open, |password| Auth::Login(Login::new(flow, name, password)))
    }

    /// What they say of the samples.
    pub fn show(&self) -> Show {
        Show { chips: self.chips, pool_user: self.show_pool_user }
    }
}
