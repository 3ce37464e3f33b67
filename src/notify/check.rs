//! From what is written to what can be told, with every mistake at once.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use lettre::message::Mailbox;

use super::alertmanager::Cluster;
use super::letter::Templates;
use super::receiver::email::{Email, Server};
use super::receiver::{Integration, Rate, Receiver, Service, discord, ntfy, pagerduty, slack, telegram, webhook};
use super::route::{Route, Routes};
use super::settings::{Common, Place, ReceiverEntry, RouteEntry};
use super::settings::{Discord, Ntfy, Pagerduty, Slack, Telegram, Webhook};
use crate::collect::http::{Caller, Credential, Network, checked_url};
use crate::model::Matcher;
use crate::model::duration::parse_duration;
use crate::model::matcher::is_label_name;
use crate::model::words;
use crate::rules::template::Template;
use crate::secret::SecretRef;
use crate::silence::Windows;

/// Longest time for one message.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Messages within a time, where a receiver does not say.
const RATE: Rate = Rate { count: 20, within: Duration::from_secs(60) };
/// Deepest routing tree.
const MAX_DEPTH: usize = 16;

/// Everything that is told to somebody, checked.
#[derive(Clone, Default)]
pub struct Checked {
    /// Alertmanagers.
    pub alertmanagers: Vec<Arc<Cluster>>,
    /// Receivers by name.
    pub receivers: BTreeMap<String, Arc<Receiver>>,
    /// The routing tree.
    pub routes: Arc<Routes>,
    /// `server.external_url`, without a slash at its end; empty where it is not set.
    pub external_url: String,
}

/// A mistake, with its path in the document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// `receivers[0].slack_configs[0].api_url`.
    pub path: String,
    /// What is wrong and what to do.
    pub message: String,
}

/// What is written.
pub struct Entries<'a> {
    /// `alertmanagers`.
    pub alertmanagers: &'a [super::settings::AlertmanagerEntry],
    /// `receivers`.
    pub receivers: &'a [ReceiverEntry],
    /// `route`.
    pub route: Option<&'a RouteEntry>,
    /// `windows`, checked.
    pub windows: &'a Windows,
    /// Relative paths start here.
    pub folder: &'a Path,
    /// `server.external_url`.
    pub external_url: &'a str,
}

#[derive(Default)]
struct Check {
    mistakes: Vec<Mistake>,
}

/// Checks all of it.
///
/// # Errors
/// Every mistake.
pub fn check(entries: &Entries<'_>) -> Result<Checked, Vec<Mistake>> {
    let mut check = Check::default();
    let external_url = entries.external_url.trim_end_matches('/').to_string();
    let mut checked = Checked { external_url, ..Checked::default() };
    for (index, entry) in entries.alertmanagers.iter().enumerate() {
        match Cluster::check(entry, entries.folder) {
            Ok(cluster) => checked.alertmanagers.push(Arc::new(cluster)),
            Err(found) => {
                for (path, message) in found {
                    check.report(format!("alertmanagers[{index}].{path}"), message);
                }
            }
        }
    }
    for (index, entry) in entries.receivers.iter().enumerate() {
        let path = format!("receivers[{index}]");
        let receiver = check.receiver(&path, entry);
        if entry.name.is_empty() || entry.name.len() > 128 || entry.name.chars().any(char::is_control) {
            check.report(format!("{path}.name"), format!("{:?} is not a name: 1 to 128 characters", entry.name));
        } else if checked.receivers.insert(entry.name.clone(), Arc::new(receiver)).is_some() {
            check.report(format!("{path}.name"), format!("the name {:?} is used by another receiver", entry.name));
        }
    }
    if let Some(root) = entries.route {
        let mut routes = Vec::new();
        check.root(root);
        check.route("route", root, None, &mut routes, 0);
        for (path, route) in &routes {
            check.references(path, route, &checked.receivers, entries.windows);
        }
        checked.routes = Arc::new(Routes(routes.into_iter().map(|(_, route)| route).collect()));
    }
    if check.mistakes.is_empty() { Ok(checked) } else { Err(check.mistakes) }
}

impl Check {
    fn report(&mut self, path: impl Into<String>, message: impl Into<String>) {
        self.mistakes.push(Mistake { path: path.into(), message: message.into() });
    }

    fn needed<'a, T>(&mut self, path: String, value: &'a Option<T>) -> Option<&'a T> {
        if value.is_none() {
            self.report(path, "is missing");
        }
        value.as_ref()
    }

    fn receiver(&mut self, path: &str, entry: &ReceiverEntry) -> Receiver {
        let mut all = Vec::new();
        macro_rules! each {
            ($list:ident, $kind:literal, $open:ident, $most:expr) => {
                for (index, settings) in entry.$list.iter().enumerate() {
                    let at = format!("{path}.{}[{index}]", stringify!($list));
                    let common = settings.common();
                    let templates = self.templates(&at, &common);
                    if let Some(service) = self.$open(&at, settings) {
                        let (send_resolved, max_alerts) = (common.send_resolved, $most(settings));
                        all.push(Integration { kind: $kind, send_resolved, templates, max_alerts, service });
                    }
                }
            };
        }
        each!(webhook_configs, "webhook", webhook, |settings: &Webhook| settings.max_alerts);
        each!(email_configs, "email", email, |_| 0);
        each!(slack_configs, "slack", slack, |_| 0);
        each!(discord_configs, "discord", discord, |_| 0);
        each!(telegram_configs, "telegram", telegram, |_| 0);
        each!(ntfy_configs, "ntfy", ntfy, |_| 0);
        each!(pagerduty_configs, "pagerduty", pagerduty, |_| 0);
        let rate = entry.rate_limit.as_deref().map_or(Some(RATE), rate).unwrap_or_else(|| {
            let text = format!("{:?} is not a rate: write 20/1m", entry.rate_limit.as_deref().unwrap_or_default());
            self.report(format!("{path}.rate_limit"), text);
            RATE
        });
        Receiver { name: entry.name.clone(), rate, integrations: all }
    }

    fn templates(&mut self, path: &str, common: &Common) -> Templates {
        let mut read = |name: &str, text: &Option<String>| {
            let parsed = text.as_deref().map(Template::parse).transpose();
            parsed.unwrap_or_else(|error| {
                self.report(format!("{path}.{name}"), format!("bad template: {error}"));
                None
            })
        };
        Templates { title: read("title", &common.title), text: read("text", &common.text) }
    }

    fn url(&mut self, path: &str, text: &str) {
        if let Err(error) = checked_url(text, path) {
            self.report(path, error.message);
        }
    }

    fn webhook(&mut self, path: &str, settings: &Webhook) -> Option<Box<dyn Service>> {
        let url = self.needed(format!("{path}.url"), &settings.url)?;
        if let Place::Plain(text) = url {
            self.url(&format!("{path}.url"), text);
        }
        let bearer = settings.authorization.as_ref().map(|auth| Credential::Bearer(auth.credentials.clone()));
        let basic = settings
            .basic_auth
            .as_ref()
            .map(|auth| Credential::Basic { username: auth.username.clone(), password: auth.password.clone() });
        if bearer.is_some() && basic.is_some() {
            self.report(format!("{path}.basic_auth"), "basic_auth and authorization exclude each other");
        }
        if let Some(Err(error)) = settings.tls_config.as_ref().map(|tls| tls.check("tls_config")) {
            self.report(format!("{path}.{}", error.path), error.message);
        }
        let network = settings.network.unwrap_or(Network::Public);
        let caller = Caller::new(bearer.or(basic), settings.tls_config.clone(), network, TIMEOUT);
        Some(Box::new(webhook::Webhook { caller, url: url.clone(), secret: settings.secret.clone() }))
    }

    fn email(&mut self, path: &str, settings: &super::settings::Email) -> Option<Box<dyn Service>> {
        let before = self.mistakes.len();
        let mut mailbox = |at: String, text: &str| {
            let parsed = text.parse::<Mailbox>();
            parsed.map_err(|_| self.report(at, format!("{text:?} is not a mail address: write ops@example.com"))).ok()
        };
        let from = mailbox(format!("{path}.from"), &settings.from);
        let to: Vec<Mailbox> = (settings.to.iter().enumerate())
            .filter_map(|(index, text)| mailbox(format!("{path}.to[{index}]"), text))
            .collect();
        if settings.to.is_empty() {
            self.report(format!("{path}.to"), "names nobody: write to: [ops@example.com]");
        }
        let host = settings.smarthost.rsplit_once(':').filter(|(host, _)| !host.is_empty());
        let host = host.and_then(|(host, port)| Some((host.trim_matches(['[', ']']).to_string(), port.parse().ok()?)));
        if host.is_none() {
            self.report(format!("{path}.smarthost"), format!("{:?} is not host:port", settings.smarthost));
        }
        let credential = match (&settings.auth_username, &settings.auth_password) {
            (Some(user), Some(password)) => Some((user.clone(), password.clone())),
            (None, None) => None,
            (Some(_), None) => {
                self.report(format!("{path}.auth_password"), "is missing: auth_username needs it");
                None
            }
            (None, Some(_)) => {
                self.report(format!("{path}.auth_username"), "is missing: auth_password needs it");
                None
            }
        };
        let ((host, port), from) = (host?, from?);
        let (hello, ca_file) = (settings.hello.clone(), settings.ca_file.clone());
        let server = Server { host, port, hello, credential, require_tls: settings.require_tls, ca_file };
        (self.mistakes.len() == before).then(|| Box::new(Email { to, from, server }) as Box<dyn Service>)
    }

    fn slack(&mut self, path: &str, settings: &Slack) -> Option<Box<dyn Service>> {
        let api_url = self.needed(format!("{path}.api_url"), &settings.api_url)?.clone();
        let (channel, username) = (settings.channel.clone(), settings.username.clone());
        Some(Box::new(slack::Slack { caller: public(settings.network, None), api_url, channel, username }))
    }

    fn discord(&mut self, path: &str, settings: &Discord) -> Option<Box<dyn Service>> {
        let webhook_url = self.needed(format!("{path}.webhook_url"), &settings.webhook_url)?.clone();
        let username = settings.username.clone();
        Some(Box::new(discord::Discord { caller: public(settings.network, None), webhook_url, username }))
    }

    fn telegram(&mut self, path: &str, settings: &Telegram) -> Option<Box<dyn Service>> {
        let bot_token = self.needed(format!("{path}.bot_token"), &settings.bot_token)?.clone();
        if settings.chat_id == 0 {
            self.report(format!("{path}.chat_id"), "is missing: the number of the chat");
        }
        self.url(&format!("{path}.api_url"), &settings.api_url);
        Some(Box::new(telegram::Telegram {
            caller: public(settings.network, None),
            bot_token,
            chat_id: settings.chat_id,
            message_thread_id: settings.message_thread_id,
            api_url: settings.api_url.clone(),
            quiet: settings.disable_notifications,
        }))
    }

    fn ntfy(&mut self, path: &str, settings: &Ntfy) -> Option<Box<dyn Service>> {
        let topic = self.needed(format!("{path}.topic"), &settings.topic)?.clone();
        self.url(&format!("{path}.url"), &settings.url);
        let caller = public(settings.network, settings.token.clone());
        Some(Box::new(ntfy::Ntfy { caller, url: settings.url.clone(), topic }))
    }

    fn pagerduty(&mut self, path: &str, settings: &Pagerduty) -> Option<Box<dyn Service>> {
        let routing_key = self.needed(format!("{path}.routing_key"), &settings.routing_key)?.clone();
        self.url(&format!("{path}.url"), &settings.url);
        let caller = public(settings.network, None);
        Some(Box::new(pagerduty::Pagerduty { caller, routing_key, url: settings.url.clone() }))
    }

    fn root(&mut self, root: &RouteEntry) {
        if root.receiver.is_none() {
            self.report("route.receiver", "is missing: the root says who is told of what no other route matches");
        }
        if !root.matchers.is_empty() {
            self.report("route.matchers", "the root matches everything: write matchers into its routes");
        }
        if !root.mute_time_intervals.is_empty() || !root.active_time_intervals.is_empty() {
            self.report("route.mute_time_intervals", "the root is never muted: write intervals into its routes");
        }
    }

    /// Appends a node and its children; hands back its index.
    fn route(
        &mut self,
        path: &str,
        entry: &RouteEntry,
        parent: Option<usize>,
        all: &mut Vec<(String, Route)>,
        depth: usize,
    ) -> usize {
        let above = parent.map(|index| all[index].1.clone());
        let mut matchers = Vec::new();
        for (index, text) in entry.matchers.iter().enumerate() {
            match Matcher::parse(text) {
                Ok(matcher) => matchers.push(matcher),
                Err(error) => self.report(format!("{path}.matchers[{index}]"), error.to_string()),
            }
        }
        let group_by = match &entry.group_by {
            None => above.as_ref().map_or(Some(Vec::new()), |above| above.group_by.clone()),
            Some(names) if names.iter().any(|name| name == "...") => None,
            Some(names) => {
                for name in names.iter().filter(|name| !is_label_name(name)) {
                    self.report(format!("{path}.group_by"), format!("{name:?} is not a label name"));
                }
                Some(names.clone())
            }
        };
        let words: Vec<String> = matchers.iter().map(ToString::to_string).collect();
        let time = |own: Option<Duration>, of: fn(&Route) -> Duration, default: u64| {
            own.or(above.as_ref().map(of)).unwrap_or(Duration::from_secs(default))
        };
        let route = Route {
            key: above.as_ref().map_or(String::new(), |above| format!("{}/", above.key))
                + &format!("{{{}}}", words.join(",")),
            receiver: entry.receiver.clone().or(above.as_ref().map(|above| above.receiver.clone())).unwrap_or_default(),
            group_by,
            group_wait: time(entry.group_wait, |above| above.group_wait, 30),
            group_interval: time(entry.group_interval, |above| above.group_interval, 5 * 60),
            repeat_interval: time(entry.repeat_interval, |above| above.repeat_interval, 4 * 3600),
            mute_in: entry.mute_time_intervals.clone(),
            active_in: entry.active_time_intervals.clone(),
            matchers,
            go_on: entry.go_on,
            children: Vec::new(),
        };
        for (name, time) in [("group_interval", route.group_interval), ("repeat_interval", route.repeat_interval)] {
            if time < Duration::from_secs(1) {
                self.report(format!("{path}.{name}"), "is shorter than 1s: that would be a flood");
            }
        }
        let index = all.len();
        all.push((path.to_string(), route));
        if depth == MAX_DEPTH {
            self.report(format!("{path}.routes"), format!("the tree is deeper than {MAX_DEPTH}"));
            return index;
        }
        for (number, child) in entry.routes.iter().enumerate() {
            let child = self.route(&format!("{path}.routes[{number}]"), child, Some(index), all, depth + 1);
            all[index].1.children.push(child);
        }
        index
    }

    fn references(
        &mut self,
        path: &str,
        route: &Route,
        receivers: &BTreeMap<String, Arc<Receiver>>,
        windows: &Windows,
    ) {
        if !route.receiver.is_empty() && !receivers.contains_key(&route.receiver) {
            let hint = words::hint(&route.receiver, receivers.keys());
            self.report(format!("{path}.receiver"), format!("no receiver has the name {:?}; {hint}", route.receiver));
        }
        for (key, names) in [("mute_time_intervals", &route.mute_in), ("active_time_intervals", &route.active_in)] {
            for name in names.iter().filter(|name| !windows.contains(name)) {
                let hint = words::hint(name, windows.iter().map(|window| window.name.as_str()));
                self.report(format!("{path}.{key}"), format!("no window has the name {name:?}; {hint}"));
            }
        }
    }
}

fn public(network: Option<Network>, token: Option<SecretRef>) -> Caller {
    Caller::new(token.map(Credential::Bearer), None, network.unwrap_or(Network::Public), TIMEOUT)
}

/// Reads `20/1m`.
fn rate(text: &str) -> Option<Rate> {
    let (count, within) = text.split_once('/')?;
    let rate = Rate { count: count.trim().parse().ok()?, within: parse_duration(within.trim()).ok()? };
    (rate.count > 0 && rate.within >= Duration::from_secs(1)).then_some(rate)
}
