//! What the owner says of single kinds: at which ports they answer, and the options of the targets that come of them,
//! credentials by reference among them.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Map, Value};

use super::Ports;
use crate::collect::miner::mark::{Clue, Door, MARKS, Mark};
use crate::collect::{KINDS, Opened, kind};
use crate::model::{Labels, Target, words};
use crate::secret::SecretRef;

/// One kind.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct KindEntry {
    /// Ports that it answers on, in place of those of its protocol.
    pub ports: Option<Vec<u16>>,
    /// Options of the targets that come of it: see `davylamp kinds NAME`. A credential is sent to adopted devices only.
    pub options: Map<String, Value>,
}

/// All kinds of which the owner says something, checked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Kinds(BTreeMap<String, KindEntry>);

impl Kinds {
    /// Checks the entries; mistakes come with their paths below `discovery`.
    pub fn check(entries: &BTreeMap<String, KindEntry>, mistakes: &mut Vec<(String, String)>) -> Kinds {
        for (name, entry) in entries {
            let at = format!("kinds.{name}");
            let marks = || MARKS.iter().filter(|mark| mark.kind == name);
            if kind(name).is_none() {
                let hint = words::hint(name, KINDS.iter().map(|kind| kind.name));
                mistakes.push((at, format!("unknown kind {name:?}; {hint}")));
                continue;
            }
            if marks().next().is_none() {
                mistakes.push((at, format!("searches do not recognise {name:?}: write its targets down")));
                continue;
            }
            if entry.ports.as_ref().is_some_and(|ports| ports.is_empty() || ports.contains(&0)) {
                let text = "needs at least one port, and none may be 0; leave it out for those of its protocol";
                mistakes.push((format!("{at}.ports"), text.to_string()));
            }
            if let Err(errors) = trial(name, Value::Object(entry.options.clone())) {
                mistakes.extend(errors.into_iter().map(|error| (format!("{at}.{}", error.path), error.message)));
            }
        }
        Kinds(entries.clone())
    }

    /// The ports of a protocol: those of all its kinds.
    pub(super) fn ports(&self, door: Door, protocol: &[u16]) -> Vec<u16> {
        let own = self.0.iter().filter(|(name, _)| MARKS.iter().any(|mark| mark.kind == *name && mark.door == door));
        let own = own.flat_map(|(_, entry)| entry.ports.iter().flatten());
        let mut ports: Vec<u16> = protocol.iter().chain(own).copied().collect();
        ports.sort_unstable();
        ports.dedup();
        ports
    }

    /// Whether a kind may be recognised by an answer from that port.
    pub(super) fn expects(&self, mark: &Mark, clue: &Clue, ports: &Ports) -> bool {
        let protocol = match clue.door {
            Door::Http => &ports.http,
            Door::Rpc => &ports.rpc,
            Door::Framed => &ports.framed,
        };
        let own = self.0.get(mark.kind).and_then(|entry| entry.ports.as_ref()).filter(|_| clue.door == mark.door);
        // A home page may have sent us to the port of its API.
        let usual = clue.door == mark.door && clue.port == mark.port;
        own.map_or_else(|| usual || protocol.contains(&clue.port), |own| own.contains(&clue.port))
    }

    /// Whether credentials are there for a kind.
    pub fn log_in(&self, kind: &str) -> bool {
        self.0.get(kind).is_some_and(|entry| entry.options.values().any(is_secret))
    }

    /// The options of an adopted device whose web interface was found at that port.
    pub fn options(&self, kind: &str, web_port: Option<u16>) -> Value {
        let own = self.0.get(kind).map(|entry| entry.options.clone()).unwrap_or_default();
        with_web_port(kind, own, web_port)
    }

    /// The same without credentials, for devices that nobody has decided about.
    pub(super) fn open_options(&self, kind: &str, web_port: Option<u16>) -> Value {
        let mut own = self.0.get(kind).map(|entry| entry.options.clone()).unwrap_or_default();
        if own.values().any(is_secret) {
            own.retain(|name, value| !is_secret(value) && name != "username");
        }
        match with_web_port(kind, own, web_port) {
            // What is left may say nothing without the password.
            options if trial(kind, options.clone()).is_ok() => options,
            _ => Value::Null,
        }
    }
}

fn is_secret(value: &Value) -> bool {
    serde_json::from_value::<SecretRef>(value.clone()).is_ok()
}

/// Adds the port of the web interface where the kind asks one and takes it.
fn with_web_port(kind: &str, mut options: Map<String, Value>, web_port: Option<u16>) -> Value {
    let before = options.clone();
    let as_value = |options: Map<String, Value>| if options.is_empty() { Value::Null } else { Value::Object(options) };
    let Some(port) = web_port.filter(|_| !options.contains_key("web_port")) else { return as_value(before) };
    options.insert("web_port".to_string(), port.into());
    let taken = trial(kind, Value::Object(options.clone())).is_ok();
    as_value(if taken { options } else { before })
}

/// Opens a target somewhere, to see whether its options do.
fn trial(kind: &str, options: Value) -> Opened {
    open(&target(kind, "127.0.0.1", Duration::from_secs(10), options))
}

/// Opens a target.
pub(super) fn open(target: &Target) -> Opened {
    kind(&target.kind).map_or_else(|| Err(Vec::new()), |kind| (kind.open)(target))
}

/// A target that is polled once, to see what it is.
pub(super) fn target(kind: &str, address: &str, timeout: Duration, options: Value) -> Target {
    Target {
        id: address.into(),
        kind: kind.into(),
        address: address.to_string(),
        interval: timeout,
        timeout,
        cron: None,
        labels: Labels::empty(),
        options,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::collect::Reply;
    use crate::collect::miner::{antminer, axeos, futurebit, xmrig};

    fn kinds(entries: Value) -> (Kinds, Vec<String>) {
        let mut mistakes = Vec::new();
        let kinds = Kinds::check(&serde_json::from_value(entries).unwrap(), &mut mistakes);
        (kinds, mistakes.into_iter().map(|(path, text)| format!("{path}: {text}")).collect())
    }

    #[test]
    fn mistakes_are_named_where_they_stand() {
        for (entries, part) in [
            (json!({"axeoss": {}}), "kinds.axeoss: unknown kind"),
            (json!({"http_json": {}}), "kinds.http_json: searches do not recognise"),
            (json!({"axeos": {"ports": []}}), "kinds.axeos.ports: needs at least one port"),
            (json!({"vnish": {"options": {"pasword": {"env": "X"}}}}), "kinds.vnish.options.pasword: unknown key"),
            (json!({"vnish": {"options": {"password": "hunter2"}}}), "kinds.vnish.options"),
        ] {
            let (_, mistakes) = kinds(entries);
            assert!(mistakes.len() == 1 && mistakes[0].contains(part), "{mistakes:?}");
            assert!(!mistakes[0].contains("hunter2"), "{mistakes:?}");
        }
    }

    #[test]
    fn a_kind_is_looked_for_on_its_own_ports_and_no_other_there() {
        let (kinds, _) = kinds(json!({"xmrig": {"ports": [18080]}}));
        let ports = Ports::default();
        assert_eq!(kinds.ports(Door::Http, &ports.http), [80, 8080, 18080]);
        assert_eq!(kinds.ports(Door::Rpc, &ports.rpc), [4028]);
        let clue = |port| Clue::new(Door::Http, port, &Reply::new("x", "{}"), String::new());
        let expects = |mark, port| kinds.expects(mark, &clue(port), &ports);
        assert_eq!([8080, 18080].map(|port| expects(&xmrig::MARK, port)), [false, true]);
        assert_eq!([8080, 18080].map(|port| expects(&axeos::MARK, port)), [true, false]);
        assert!(expects(&futurebit::MARK, futurebit::MARK.port), "where its home page sends us");
        assert!(expects(&antminer::MARK, 80), "its web interface is no port of its protocol");
    }

    #[test]
    fn credentials_and_web_ports_are_given_where_they_say_something() {
        let (kinds, mistakes) = kinds(json!({
            "antminer": {"options": {"username": "admin", "password": {"env": "NOWHERE"}}},
            "axeos": {"options": {"show_pool_user": true}},
        }));
        assert_eq!(mistakes, [""; 0]);
        assert!(kinds.log_in("antminer") && !kinds.log_in("axeos") && !kinds.log_in("vnish"));
        let full = json!({"username": "admin", "password": {"env": "NOWHERE"}, "web_port": 8081});
        assert_eq!(kinds.options("antminer", Some(8081)), full);
        assert_eq!(kinds.open_options("antminer", Some(8081)), Value::Null, "a port says nothing without the password");
        assert_eq!(kinds.options("goldshell", Some(8081)), json!({"web_port": 8081}));
        assert_eq!(kinds.options("axeos", Some(8081)), json!({"show_pool_user": true}));
        assert_eq!(kinds.open_options("axeos", None), json!({"show_pool_user": true}));
    }
}
