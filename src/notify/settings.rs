//! What stands under `alertmanagers:`, `receivers:` and `route:`, as it is written. Words are those of Prometheus'
//! `alerting` section and of Alertmanager; secrets stand by reference.

use std::path::PathBuf;
use std::time::Duration;

use crate::collect::http::{Network, TlsOptions};
use crate::model::duration::{self, serde_text};
use crate::model::relabel::RelabelConfig;
use crate::secret::SecretRef;

/// One set of Alertmanagers, as in Prometheus' `alerting.alertmanagers`.
#[derive(Clone, Debug, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AlertmanagerEntry {
    /// `http` or `https`.
    pub scheme: String,
    /// Prefix of the path of its API.
    pub path_prefix: String,
    /// Longest time for one request.
    #[serde(with = "serde_text")]
    #[schemars(schema_with = "duration::schema")]
    pub timeout: Duration,
    /// Only `v2` is left in this world.
    pub api_version: String,
    /// Addresses that stand here.
    pub static_configs: Vec<StaticConfig>,
    /// Addresses that stand in files, read again when these change.
    pub file_sd_configs: Vec<FileSdConfig>,
    /// User and password.
    pub basic_auth: Option<BasicAuth>,
    /// A token.
    pub authorization: Option<Authorization>,
    /// TLS, for https.
    pub tls_config: Option<TlsOptions>,
    /// `public` refuses private and loopback addresses that a name resolves to.
    pub network: Option<Network>,
    /// Whether its silences also hold back our own receivers and automation.
    pub respect_silences: bool,
    /// What becomes of alerts' labels before they are sent here; an alert may be dropped.
    pub alert_relabel_configs: Vec<RelabelConfig>,
}

impl Default for AlertmanagerEntry {
    fn default() -> Self {
        AlertmanagerEntry {
            scheme: "http".into(),
            path_prefix: "/".into(),
            timeout: Duration::from_secs(10),
            api_version: "v2".into(),
            static_configs: Vec::new(),
            file_sd_configs: Vec::new(),
            basic_auth: None,
            authorization: None,
            tls_config: None,
            network: None,
            respect_silences: false,
            alert_relabel_configs: Vec::new(),
        }
    }
}

/// Addresses.
#[derive(Clone, Debug, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StaticConfig {
    /// `host:port`.
    pub targets: Vec<String>,
}

/// Files of addresses: JSON or YAML lists of `{targets: […]}`, as Prometheus reads them.
#[derive(Clone, Debug, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FileSdConfig {
    /// Paths, relative to the configuration file.
    pub files: Vec<PathBuf>,
}

/// User and password.
#[derive(Clone, Debug, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BasicAuth {
    /// Not secret.
    pub username: String,
    /// By reference.
    pub password: SecretRef,
}

/// A token in the header `Authorization`.
#[derive(Clone, Debug, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Authorization {
    /// By reference; sent as `Bearer …`.
    pub credentials: SecretRef,
}

/// One receiver: a name, and whom to tell. Several entries are all told.
#[derive(Clone, Debug, Default, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ReceiverEntry {
    /// Unique; routes, remediations and `davylamp notify test` refer to it.
    pub name: String,
    /// Most messages within a time (`20/1m`); what is over waits, and goes with the newest state.
    pub rate_limit: Option<String>,
    /// Webhooks with Alertmanager's payload, signed.
    pub webhook_configs: Vec<Webhook>,
    /// Mail over SMTP.
    pub email_configs: Vec<Email>,
    /// Slack's incoming webhooks.
    pub slack_configs: Vec<Slack>,
    /// Discord's webhooks.
    pub discord_configs: Vec<Discord>,
    /// Telegram bots.
    pub telegram_configs: Vec<Telegram>,
    /// Topics of ntfy servers.
    pub ntfy_configs: Vec<Ntfy>,
    /// PagerDuty's Events API v2, and what speaks it.
    pub pagerduty_configs: Vec<Pagerduty>,
}

/// What all kinds have in common.
#[derive(Clone, Debug)]
pub struct Common {
    /// Whether to tell when all is well again.
    pub send_resolved: bool,
    /// Template of the title.
    pub title: Option<String>,
    /// Template of the text.
    pub text: Option<String>,
    /// Which addresses may be talked to.
    pub network: Option<Network>,
}

/// An URL that stands here, or, where it holds a token, in a secret.
#[derive(Clone, Debug, serde::Deserialize, schemars::JsonSchema)]
#[serde(untagged)]
pub enum Place {
    /// As it is.
    Plain(String),
    /// By reference.
    Secret(SecretRef),
}

macro_rules! kind {
    ($(#[$about:meta])* $name:ident { $($(#[$doc:meta])* $field:ident: $type:ty = $default:expr,)* }) => {
        $(#[$about])*
        #[derive(Clone, Debug, serde::Deserialize, schemars::JsonSchema)]
        #[serde(deny_unknown_fields, default)]
        pub struct $name {
            /// Whether to tell when all is well again.
            pub send_resolved: bool,
            /// Template of the title; the default names status, alert and group.
            pub title: Option<String>,
            /// Template of the text; the default lists every alert with its summary.
            pub text: Option<String>,
            /// `lan` for a service on a private or loopback address that is reached by name.
            pub network: Option<Network>,
            $($(#[$doc])* pub $field: $type,)*
        }

        impl Default for $name {
            fn default() -> Self {
                $name { send_resolved: true, title: None, text: None, network: None, $($field: $default,)* }
            }
        }

        impl $name {
            /// What it has in common with all kinds.
            pub fn common(&self) -> Common {
                Common {
                    send_resolved: self.send_resolved,
                    title: self.title.clone(),
                    text: self.text.clone(),
                    network: self.network,
                }
            }
        }
    };
}

kind! {
    /// A webhook with Alertmanager's payload, version 4.
    Webhook {
        /// Where to.
        url: Option<Place> = None,
        /// Key of the signature in `X-Davylamp-Signature`.
        secret: Option<SecretRef> = None,
        /// A token.
        authorization: Option<Authorization> = None,
        /// User and password.
        basic_auth: Option<BasicAuth> = None,
        /// TLS, for https.
        tls_config: Option<TlsOptions> = None,
        /// Most alerts in one payload; 0 for as many as there are, up to 1000.
        max_alerts: usize = 0,
    }
}

kind! {
    /// Mail over SMTP.
    Email {
        /// To whom.
        to: Vec<String> = Vec::new(),
        /// From whom.
        from: String = String::new(),
        /// `host:port` of the mail server. Port 465 means TLS from the first byte, any other STARTTLS.
        smarthost: String = String::new(),
        /// Name in the greeting; else this machine's.
        hello: Option<String> = None,
        /// User name at the mail server.
        auth_username: Option<String> = None,
        /// Password.
        auth_password: Option<SecretRef> = None,
        /// Whether to refuse to send in clear. Without TLS no password is ever sent.
        require_tls: bool = true,
        /// Trust the authorities of this PEM file beside the system's.
        ca_file: Option<PathBuf> = None,
    }
}

kind! {
    /// Slack's incoming webhook.
    Slack {
        /// Its URL.
        api_url: Option<SecretRef> = None,
        /// Channel, where the webhook lets one choose.
        channel: Option<String> = None,
        /// Name to send under.
        username: Option<String> = None,
    }
}

kind! {
    /// Discord's webhook.
    Discord {
        /// Its URL.
        webhook_url: Option<SecretRef> = None,
        /// Name to send under.
        username: Option<String> = None,
    }
}

kind! {
    /// A Telegram bot.
    Telegram {
        /// The bot's token.
        bot_token: Option<SecretRef> = None,
        /// Where to.
        chat_id: i64 = 0,
        /// Topic of a group with topics.
        message_thread_id: Option<i64> = None,
        /// Another server of the Bot API.
        api_url: String = "https://api.telegram.org".to_string(),
        /// Without a sound.
        disable_notifications: bool = false,
    }
}

kind! {
    /// ntfy.
    Ntfy {
        /// The server.
        url: String = "https://ntfy.sh".to_string(),
        /// The topic; who knows it reads along, so it is a secret on a public server.
        topic: Option<Place> = None,
        /// Access token.
        token: Option<SecretRef> = None,
    }
}

kind! {
    /// PagerDuty's Events API v2.
    Pagerduty {
        /// Integration key.
        routing_key: Option<SecretRef> = None,
        /// Another service that speaks it.
        url: String = "https://events.pagerduty.com/v2/enqueue".to_string(),
    }
}

/// A node of the routing tree, as in Alertmanager. What is absent is inherited.
#[derive(Clone, Debug, Default, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RouteEntry {
    /// Who is told.
    pub receiver: Option<String>,
    /// Alertmanager matchers; all must hold. None at the root.
    pub matchers: Vec<String>,
    /// Labels whose values make a group; `...` for all.
    pub group_by: Option<Vec<String>>,
    /// How long a new group waits for more of its kind.
    #[serde(deserialize_with = "serde_text::option")]
    #[schemars(schema_with = "duration::schema")]
    pub group_wait: Option<Duration>,
    /// How long a group waits before it tells of changes.
    #[serde(deserialize_with = "serde_text::option")]
    #[schemars(schema_with = "duration::schema")]
    pub group_interval: Option<Duration>,
    /// After how long it tells the same again.
    #[serde(deserialize_with = "serde_text::option")]
    #[schemars(schema_with = "duration::schema")]
    pub repeat_interval: Option<Duration>,
    /// Go on with the next sibling after a match.
    #[serde(rename = "continue")]
    pub go_on: bool,
    /// Windows in which nobody is told.
    pub mute_time_intervals: Vec<String>,
    /// Windows outside of which nobody is told.
    pub active_time_intervals: Vec<String>,
    /// The first child that matches wins.
    pub routes: Vec<RouteEntry>,
}
