//! A file of targets that `davylamp discover --write` keeps: what is found is added or brought up to date, and what a
//! person wrote into it (ids, labels, intervals, options) stays. Nothing is ever taken out.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde_yaml::{Mapping, Value};

use super::Kinds;
use super::found::{Found, Mac};
use super::imprint::id_for;
use super::names::{Names, Places};
use super::settings::{bare, is_at};
use crate::yaml::{Document, Problem};

/// The first lines of the file.
const HEAD: &str = "\
# Kept by `davylamp discover --write`. The configuration takes it in by `targets_files`. What you change here stays as
# you write it, but for comments; address and kind follow the device, which is known by its `identity`.
";

/// Addresses of one device that a conflict names.
const MOST_NAMED: usize = 3;

/// A target that stands elsewhere in the configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Other {
    /// Its id.
    pub id: String,
    /// Its kind.
    pub kind: String,
    /// As it is written there.
    pub address: String,
    /// MAC address, or `sn:` and the serial number, where it says one.
    pub identity: String,
    /// The file.
    pub file: String,
}

/// What the configuration has beside the file.
#[derive(Clone, Debug, Default)]
pub struct Others {
    /// Targets.
    pub targets: Vec<Other>,
    /// What the names in their addresses resolve to.
    pub names: Names,
    /// Hosts and groups of a static inventory: an id is never one of them.
    pub hosts: BTreeSet<String>,
    /// Options of the targets that are written.
    pub kinds: Kinds,
}

/// What does not go together.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Conflict {
    /// A target of the configuration has the same address.
    #[error("{address} is left out: {:?} of {} stands there", other.id, other.file)]
    Address {
        /// Where it was found.
        address: String,
        /// The target.
        other: Other,
    },
    /// A target of the configuration is the same device, elsewhere.
    #[error(
        "{address} is left out: it is {:?} of {}, which says {} for it; correct the address there",
        other.id, other.file, other.address
    )]
    Identity {
        /// Where it was found.
        address: String,
        /// The target.
        other: Other,
    },
    /// A target of the file and one of the configuration are the same device.
    #[error("{entry:?} of this file and {:?} of {} are one device: take one of them out", other.id, other.file)]
    Twice {
        /// The target of the file.
        entry: String,
        /// The other one.
        other: Other,
    },
    /// Its id is somebody else's.
    #[error("{address} would be {wanted:?}, but {holder} is called so; it becomes {id:?}")]
    Id {
        /// Where it was found.
        address: String,
        /// The id that it would have.
        wanted: String,
        /// Who has it.
        holder: String,
        /// The id that it gets.
        id: String,
    },
    /// Several devices say that they are this one.
    #[error("{count} devices say that they are {identity} ({addresses}, …); nothing is written for those that are new")]
    Claimed {
        /// MAC address or serial number.
        identity: String,
        /// How many.
        count: usize,
        /// The first ones.
        addresses: String,
    },
}

/// What came of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// The whole file.
    pub text: String,
    /// Targets that were added.
    pub added: usize,
    /// Targets that have another address or kind now.
    pub changed: usize,
    /// What does not go together.
    pub conflicts: Vec<Conflict>,
}

/// The file with everything that was found. What could not be polled is left out, unless credentials are there for it: it
/// would be a target that is down, or a mistake in the configuration.
///
/// # Errors
/// One [`Problem`] when `text` is not a file of targets.
pub fn merged(path: &Path, text: &str, found: &[Found], others: &Others) -> Result<Written, Problem> {
    let document = Document::parse(path, text)?;
    let mut root = match document.value.clone() {
        Value::Null => Mapping::new(),
        Value::Mapping(root) => root,
        _ => return Err(document.problem("", "is no file of targets: it must begin with targets:")),
    };
    let list = root.entry("targets".into()).or_insert_with(|| Value::Sequence(Vec::new()));
    if list.is_null() {
        *list = Value::Sequence(Vec::new());
    }
    let Value::Sequence(targets) = list else { return Err(document.problem("targets", "is no list")) };
    let mut merger = Merger::new(targets, others);
    let useful = |found: &&Found| found.trouble.is_none() || (found.locked && others.kinds.log_in(found.kind));
    for found in merger.unclaimed(found.iter().filter(useful).collect()) {
        merger.take(found);
    }
    let mut written = merger.written;
    let body = serde_yaml::to_string(&root).map_err(|error| document.problem("", error.to_string()))?;
    written.text = format!("{HEAD}{body}");
    Ok(written)
}

/// Brings the list up to date.
struct Merger<'a> {
    targets: &'a mut Vec<Value>,
    ids: BTreeSet<String>,
    others: &'a Others,
    places: Places,
    written: Written,
}

fn text(target: &Value, key: &str) -> String {
    target.get(key).and_then(Value::as_str).unwrap_or_default().to_string()
}

/// Whether an identity that a person wrote is that of a device.
fn is_of(identity: &str, found: &Found) -> bool {
    !identity.is_empty()
        && (Some(identity) == found.identity().as_deref() || (found.mac.is_some() && Mac::read(identity) == found.mac))
}

impl<'a> Merger<'a> {
    fn new(targets: &'a mut Vec<Value>, others: &'a Others) -> Self {
        let ids = targets.iter().map(|target| text(target, "id")).collect();
        let places = others.targets.iter().map(|other| (&*other.kind, &*other.address));
        let places = Places::of(places, &others.names);
        Merger { targets, ids, others, places, written: Written::default() }
    }

    /// Without those of which several say that they are one: only who answers where the file has it is that one.
    fn unclaimed<'f>(&mut self, found: Vec<&'f Found>) -> Vec<&'f Found> {
        let mut by_identity: BTreeMap<String, Vec<&Found>> = BTreeMap::new();
        for found in &found {
            if let Some(identity) = found.identity() {
                by_identity.entry(identity).or_default().push(found);
            }
        }
        by_identity.retain(|_, claims| claims.len() > 1);
        for (identity, claims) in &by_identity {
            let addresses: Vec<&str> = claims.iter().map(|found| &*found.address).take(MOST_NAMED).collect();
            let (count, addresses) = (claims.len(), addresses.join(", "));
            self.written.conflicts.push(Conflict::Claimed { identity: identity.clone(), count, addresses });
        }
        let holds = |found: &Found| {
            let named = |target: &Value| is_of(&text(target, "identity"), found) && here(target, found);
            self.targets.iter().any(named)
        };
        let is_claim = |found: &Found| found.identity().is_some_and(|identity| by_identity.contains_key(&identity));
        found.into_iter().filter(|found| !is_claim(found) || holds(found)).collect()
    }

    fn take(&mut self, found: &Found) {
        let same = |target: &Value| is_of(&text(target, "identity"), found);
        // By its address only where nothing says which device is meant.
        let unnamed = |target: &Value| here(target, found) && text(target, "identity").is_empty();
        let at = self.targets.iter().position(same).or_else(|| self.targets.iter().position(unnamed));
        let at = at.and_then(|at| self.targets.get_mut(at));
        if let Some(other) = self.places.find(found.kind, &found.address).and_then(|at| self.others.targets.get(at)) {
            let (address, other) = (found.address.clone(), other.clone());
            self.written.conflicts.push(match at {
                Some(entry) => Conflict::Twice { entry: text(entry, "id"), other },
                None => Conflict::Address { address, other },
            });
            return;
        }
        if let Some(other) = self.others.targets.iter().find(|other| is_of(&other.identity, found)) {
            let (address, other) = (found.address.clone(), other.clone());
            self.written.conflicts.push(match at {
                Some(entry) => Conflict::Twice { entry: text(entry, "id"), other },
                None => Conflict::Identity { address, other },
            });
            return;
        }
        let Some(target) = at else {
            if found.identity().is_some() || !self.targets.iter().any(|target| here(target, found)) {
                self.add(found);
            }
            return;
        };
        let before = target.clone();
        // A scheme that a person wrote stays, and a port where only the address tells the device.
        let moved = !unnamed(target) && bare(&text(target, "address")) != found.address;
        if let Value::Mapping(map) = target {
            map.insert("kind".into(), found.kind.into());
            if moved {
                map.insert("address".into(), found.address.as_str().into());
            }
        }
        self.written.changed += usize::from(before != *target);
    }

    fn add(&mut self, found: &Found) {
        let (ids, others) = (&self.ids, self.others);
        let holder = |id: &str| {
            let target = others.targets.iter().find(|other| other.id == id);
            match (ids.contains(id), target) {
                (true, _) => Some("another device of this file".to_string()),
                (_, Some(other)) => Some(format!("a target of {}", other.file)),
                _ => others.hosts.contains(id).then(|| "a host or group of the inventory".to_string()),
            }
        };
        let wanted = id_for(found, &|_| false);
        let id = id_for(found, &|id| holder(id).is_some());
        if let Some(holder) = holder(&wanted) {
            let (address, id) = (found.address.clone(), id.clone());
            self.written.conflicts.push(Conflict::Id { address, wanted, holder, id });
        }
        let mut target = Mapping::new();
        target.insert("id".into(), id.as_str().into());
        target.insert("kind".into(), found.kind.into());
        target.insert("address".into(), found.address.as_str().into());
        if let Some(identity) = found.identity() {
            target.insert("identity".into(), identity.into());
        }
        let options = others.kinds.options(found.kind, found.web_port);
        if let Ok(options @ Value::Mapping(_)) = serde_yaml::to_value(options) {
            target.insert("options".into(), options);
        }
        self.targets.push(Value::Mapping(target));
        self.ids.insert(id);
        self.written.added += 1;
    }
}

/// Whether a target of the file stands where a device was found.
fn here(target: &Value, found: &Found) -> bool {
    is_at((&text(target, "kind"), &text(target, "address")), (found.kind, &found.address))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(last: u8, address: &str) -> Found {
        Found {
            address: address.into(),
            kind: "axeos",
            mac: Mac::read(&format!("0200000000{last:02x}")),
            hostname: "bitaxe".into(),
            ..Found::default()
        }
    }

    #[test]
    fn what_a_person_wrote_stays_and_what_moved_follows() {
        let path = Path::new("discovered.yml");
        let mine = Other { id: "mine".into(), kind: "axeos".into(), address: "10.0.0.9".into(), ..Other::default() };
        let known = Others { targets: vec![mine], ..Others::default() };
        let first = merged(path, "", &[found(1, "10.0.0.1"), found(9, "10.0.0.9")], &known).unwrap();
        assert_eq!((first.added, first.changed), (1, 0), "10.0.0.9 stands in the configuration");
        assert!(first.text.contains("- id: bitaxe-0001\n"), "{}", first.text);
        let mine = first.text.replace("bitaxe-0001", "garage") + "  labels:\n    site: home\n";
        let troubled = Found { trouble: Some("denied".into()), ..found(3, "10.0.0.3") };
        let second = [found(1, "10.0.0.5"), found(2, "10.0.0.1"), troubled];
        let second = merged(path, &mine, &second, &known).unwrap();
        assert_eq!((second.added, second.changed), (1, 1));
        let document = Document::parse(path, &second.text).unwrap();
        let garage = &document.value["targets"][0];
        assert_eq!((garage["id"].as_str(), garage["address"].as_str()), (Some("garage"), Some("10.0.0.5")));
        assert_eq!(garage["labels"]["site"].as_str(), Some("home"));
        let third = merged(path, &second.text, &[found(1, "10.0.0.5"), found(2, "10.0.0.1")], &known).unwrap();
        assert_eq!((third.added, third.changed, &third.text), (0, 0, &second.text), "written again as it was");
    }

    #[test]
    fn an_address_stands_for_a_device_only_where_no_identity_does() {
        let path = Path::new("discovered.yml");
        let merge = |text: &str, found: Found| {
            let written = merged(path, text, &[found], &Others::default()).unwrap();
            let list = Document::parse(path, &written.text).unwrap().value["targets"].clone();
            (
                written.added,
                written.changed,
                list.as_sequence().unwrap().len(),
                list[0]["kind"].as_str().unwrap().to_string(),
            )
        };
        let nobody = Found { kind: "luxos", mac: None, ..found(1, "10.0.0.1") };
        let named = "targets: [{id: a, kind: axeos, address: 10.0.0.1, identity: '02:00:00:00:00:07'}]";
        assert_eq!(merge(named, nobody.clone()), (0, 0, 1, "axeos".into()), "who it is is not known");
        let unnamed = "targets: [{id: a, kind: axeos, address: 'http://10.0.0.1/'}]";
        assert_eq!(merge(unnamed, nobody), (0, 1, 1, "luxos".into()));
        let port = "targets: [{id: a, kind: axeos, address: '10.0.0.1:80'}]";
        assert_eq!(merge(port, found(1, "10.0.0.1")), (0, 0, 1, "axeos".into()), "as it was written");
        assert_eq!(merge("targets: [{id: a, kind: axeos, address: 10.0.0.1}]", found(1, "10.0.0.1")).0, 0);
        assert_eq!(merge(unnamed, found(1, "10.0.0.1")).2, 1, "no second target with this address");
        assert_eq!(merge(named, found(1, "10.0.0.1")).0, 1, "another device");
    }

    #[test]
    fn what_does_not_go_together_is_told_and_not_written() {
        let path = Path::new("discovered.yml");
        let other = |id: &str, address: &str, identity: &str| Other {
            id: id.into(),
            kind: "axeos".into(),
            address: address.into(),
            identity: identity.into(),
            file: "davylamp.yml".into(),
        };
        let targets = vec![
            other("same-place", "http://10.0.0.1/", ""),
            other("moved", "10.0.0.99", "02:00:00:00:00:02"),
            other("bitaxe-0003", "10.0.0.98", ""),
        ];
        let others = Others { targets, hosts: ["bitaxe-0004".to_string()].into(), ..Others::default() };
        let finds: Vec<Found> = (1..=4).map(|last| found(last, &format!("10.0.0.{last}"))).collect();
        let twins = [found(7, "10.0.0.7"), found(7, "10.0.0.77")];
        let finds = [finds, twins.to_vec()].concat();
        let written = merged(path, "", &finds, &others).unwrap();
        let told: Vec<String> = written.conflicts.iter().map(ToString::to_string).collect();
        for (told, part) in told.iter().zip([
            "2 devices say that they are 02:00:00:00:00:07 (10.0.0.7, 10.0.0.77, …)",
            "10.0.0.1 is left out: \"same-place\" of davylamp.yml stands there",
            "10.0.0.2 is left out: it is \"moved\" of davylamp.yml, which says 10.0.0.99 for it",
            "10.0.0.3 would be \"bitaxe-0003\", but a target of davylamp.yml is called so; it becomes \"bitaxe-000003\"",
            "10.0.0.4 would be \"bitaxe-0004\", but a host or group of the inventory is called so",
        ]) {
            assert!(told.contains(part), "{told}");
        }
        assert_eq!((told.len(), written.added), (5, 2), "{told:?}");
        // Who answers where the file has it is that device, whoever else says so.
        let text = "targets: [{id: g, kind: axeos, address: 10.0.0.7, identity: '02:00:00:00:00:07'}]";
        let again = merged(path, text, &twins, &Others::default()).unwrap();
        assert!(again.text.contains("address: 10.0.0.7\n") && again.changed + again.added == 0, "{}", again.text);
        let both = Others { targets: vec![other("mine", "10.0.0.7", "")], ..Others::default() };
        let told = merged(path, text, &twins[..1], &both).unwrap().conflicts[0].to_string();
        assert_eq!(told, "\"g\" of this file and \"mine\" of davylamp.yml are one device: take one of them out");
    }

    #[test]
    fn what_is_behind_a_login_is_written_where_its_credentials_are_known() {
        let entries = serde_json::json!({"vnish": {"options": {"password": {"file": "/run/vnish"}}}});
        let kinds = Kinds::check(&serde_json::from_value(entries).unwrap(), &mut Vec::new());
        let others = Others { kinds, ..Others::default() };
        let locked = |kind| Found {
            kind,
            locked: true,
            trouble: Some("denied".into()),
            ..found(if kind == "vnish" { 1 } else { 2 }, "10.0.0.1")
        };
        let finds = [
            locked("vnish"),
            locked("elphapex"),
            Found { web_port: Some(8081), kind: "goldshell", ..found(3, "10.0.0.3") },
        ];
        let written = merged(Path::new("x.yml"), "", &finds, &others).unwrap();
        assert_eq!(written.added, 2, "{}", written.text);
        assert!(written.text.contains("options:\n    password:\n      file: /run/vnish\n"), "{}", written.text);
        assert!(written.text.contains("options:\n    web_port: 8081\n"), "{}", written.text);
    }

    #[test]
    fn another_file_is_not_overwritten() {
        for text in ["- a\n", "targets: 5\n", "a: [\n", "just words\n"] {
            assert!(merged(Path::new("x.yml"), text, &[], &Others::default()).is_err(), "{text}");
        }
    }
}
