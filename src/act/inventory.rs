//! Which hosts there are, exactly: `--limit` takes patterns, so a target must equal one inventory host letter by letter.

mod listed;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::act::facts::Host;
use crate::act::vars::{Value, document};

pub use listed::expand;

/// The names in an inventory.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Inventory {
    /// Hosts.
    pub hosts: BTreeSet<String>,
    /// Groups.
    pub groups: BTreeSet<String>,
}

/// What a target is to an inventory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Exactly one host.
    Host,
    /// No host of that name.
    Missing,
    /// It could mean more than one host: the name of a group too, or a pattern.
    Ambiguous,
}

/// The answer of `ansible-inventory --list` is not what it should be.
#[derive(Debug, thiserror::Error)]
#[error("ansible-inventory --list did not answer with the JSON of an inventory: {source}")]
pub struct InventoryError {
    /// Cause.
    #[from]
    source: serde_json::Error,
}

impl Inventory {
    /// Reads the answer of `ansible-inventory --list`.
    ///
    /// # Errors
    /// [`InventoryError`].
    pub fn parse(json: &[u8]) -> Result<Inventory, InventoryError> {
        #[derive(Default, serde::Deserialize)]
        #[serde(default)]
        struct Group {
            hosts: Vec<String>,
            children: Vec<String>,
        }
        let groups: BTreeMap<String, serde_json::Value> = serde_json::from_slice(json)?;
        let mut inventory = Inventory::default();
        for (name, value) in groups.into_iter().filter(|(name, _)| name != "_meta") {
            let group: Group = serde_json::from_value(value)?;
            inventory.groups.insert(name);
            inventory.groups.extend(group.children);
            inventory.hosts.extend(group.hosts);
        }
        Ok(inventory)
    }

    /// Reads a static inventory without Ansible; `None` where only Ansible can say which hosts there are.
    pub fn listed(path: &Path) -> Option<Inventory> {
        listed::read(path)
    }

    /// The inventory that is generated from targets.
    pub fn of_hosts(hosts: &[Host]) -> Inventory {
        let groups = hosts.iter().map(|host| host.group.clone()).chain(["all".into(), "ungrouped".into()]).collect();
        Inventory { hosts: hosts.iter().map(|host| host.name.clone()).collect(), groups }
    }

    /// What a target is to this inventory.
    pub fn standing(&self, target: &str) -> Standing {
        if !self.hosts.contains(target) {
            Standing::Missing
        } else if self.groups.contains(target) || !is_plain(target) {
            Standing::Ambiguous
        } else {
            Standing::Host
        }
    }
}

/// Whether a name means itself as a pattern too, and cannot be taken for an option.
pub fn is_plain(name: &str) -> bool {
    let first = name.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric());
    first && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'))
}

/// Writes an inventory of one host. Only the run's own target is in it, so no play can reach another.
pub fn generate(host: &Host) -> String {
    let vars = Value::map(host.vars.iter().map(|(name, value)| (name.as_str(), Value::text(value.as_str()))));
    let hosts = Value::map([("hosts", Value::map([(host.name.as_str(), vars)]))]);
    document("all", &Value::map([("children", Value::map([(host.group.as_str(), hosts)]))]))
}

/// All hosts as `--list` of Ansible's dynamic-inventory protocol wants them. Every text is marked as unsafe, so that a
/// template in it is never evaluated; hosts whose name is no plain one, or that of a group, are left out, because a play
/// could not name them alone.
pub fn list(hosts: &[Host]) -> serde_json::Value {
    let inventory = Inventory::of_hosts(hosts);
    let mut groups: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    let mut variables_of = serde_json::Map::new();
    for host in hosts.iter().filter(|host| inventory.standing(&host.name) == Standing::Host && is_plain(&host.group)) {
        groups.entry(&host.group).or_default().push(&host.name);
        variables_of.insert(host.name.clone(), variables(host));
    }
    let mut all = serde_json::Map::new();
    all.insert("_meta".into(), serde_json::json!({"hostvars": variables_of}));
    all.insert("all".into(), serde_json::json!({"children": groups.keys().collect::<Vec<_>>()}));
    all.extend(groups.into_iter().map(|(name, hosts)| (name.to_string(), serde_json::json!({"hosts": hosts}))));
    all.into()
}

/// The variables of one host, as `--host` wants them.
pub fn variables(host: &Host) -> serde_json::Value {
    let tagged = |text: &str| serde_json::json!({"__ansible_unsafe": text});
    host.vars.iter().map(|(name, value)| (name.clone(), tagged(value))).collect::<serde_json::Map<_, _>>().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_one_host_or_nothing() {
        let json = br#"{"_meta":{"hostvars":{}},"all":{"children":["ungrouped","rack"]},"rack":{"hosts":["m1","rack","m[1:3]"]}}"#;
        let inventory = Inventory::parse(json).unwrap();
        assert_eq!(inventory.standing("m1"), Standing::Host);
        for ambiguous in ["rack", "m[1:3]"] {
            assert_eq!(inventory.standing(ambiguous), Standing::Ambiguous, "{ambiguous}");
        }
        for missing in ["all", "ungrouped", "localhost", "m", "m1,m2", "m*", "", "M1"] {
            assert_eq!(inventory.standing(missing), Standing::Missing, "{missing}");
        }
        assert!(Inventory::parse(b"[WARNING]: no").is_err());
        assert!(Inventory::parse(br#"{"rack":{"hosts":3}}"#).is_err());
    }

    #[test]
    fn plain_names_are_no_patterns_and_no_options() {
        for good in ["m1", "10.0.0.4", "rack-2_a.local"] {
            assert!(is_plain(good), "{good}");
        }
        for bad in ["", "-i", "a:b", "a,b", "!a", "&a", "~a", "a*", "a[0]", "@file", "a b", "a\n"] {
            assert!(!is_plain(bad), "{bad}");
        }
    }
}
