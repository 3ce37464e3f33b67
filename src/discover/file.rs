//! A file of targets that `davylamp discover --write` keeps: what is found is added or brought up to date, and what a
//! person wrote into it (ids, labels, intervals, options) stays. Nothing is ever taken out.

use std::collections::BTreeSet;
use std::path::Path;

use serde_yaml::{Mapping, Value};

use super::found::{Found, Mac};
use super::imprint::id_for;
use super::settings::{bare, is_at};
use crate::yaml::{Document, Problem};

/// The first lines of the file.
const HEAD: &str = "\
# Kept by `davylamp discover --write`. The configuration takes it in by `targets_files`. What you change here stays as
# you write it, but for comments; address and kind follow the device, which is known by its `identity`.
";

/// What came of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// The whole file.
    pub text: String,
    /// Targets that were added.
    pub added: usize,
    /// Targets that have another address or kind now.
    pub changed: usize,
}

/// The file with everything that was found. `known` are ids and addresses of targets that stand elsewhere. What could not
/// be polled is left out: it would be a target that is down, or a mistake in the configuration.
///
/// # Errors
/// One [`Problem`] when `text` is not a file of targets.
pub fn merged(path: &Path, text: &str, found: &[Found], known: &BTreeSet<String>) -> Result<Written, Problem> {
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
    let mut written = Written::default();
    let ids: BTreeSet<String> =
        targets.iter().filter_map(|target| Some(target.get("id")?.as_str()?.to_string())).collect();
    let mut ids = &ids | known;
    for found in found.iter().filter(|found| found.trouble.is_none() && !known.contains(&found.address)) {
        let identity = found.identity();
        let text = |target: &Value, key: &str| target.get(key).and_then(Value::as_str).unwrap_or_default().to_string();
        let same = |target: &Value| {
            let own = text(target, "identity");
            Some(&own) == identity.as_ref() || (found.mac.is_some() && Mac::read(&own) == found.mac)
        };
        let here =
            |target: &Value| is_at((&text(target, "kind"), &text(target, "address")), (found.kind, &found.address));
        // By its address only where nothing says which device is meant.
        let unnamed = |target: &Value| here(target) && text(target, "identity").is_empty();
        let at = targets.iter().position(same).or_else(|| targets.iter().position(unnamed));
        if at.is_none() && identity.is_none() && targets.iter().any(here) {
            continue;
        }
        if let Some(target) = at.and_then(|at| targets.get_mut(at)) {
            let before = target.clone();
            // A scheme that a person wrote stays, and a port where only the address tells the device.
            let moved = !unnamed(target) && bare(&text(target, "address")) != found.address;
            if let Value::Mapping(map) = target {
                map.insert("kind".into(), found.kind.into());
                if moved {
                    map.insert("address".into(), found.address.as_str().into());
                }
            }
            written.changed += usize::from(before != *target);
            continue;
        }
        let id = id_for(found, &|id| ids.contains(id));
        let mut target = Mapping::new();
        target.insert("id".into(), id.as_str().into());
        target.insert("kind".into(), found.kind.into());
        target.insert("address".into(), found.address.as_str().into());
        if let Some(identity) = identity {
            target.insert("identity".into(), identity.into());
        }
        targets.push(Value::Mapping(target));
        ids.insert(id);
        written.added += 1;
    }
    let body = serde_yaml::to_string(&root).map_err(|error| document.problem("", error.to_string()))?;
    written.text = format!("{HEAD}{body}");
    Ok(written)
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
        let known = ["10.0.0.9".to_string()].into();
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
            let written = merged(path, text, &[found], &BTreeSet::new()).unwrap();
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
    fn another_file_is_not_overwritten() {
        for text in ["- a\n", "targets: 5\n", "a: [\n", "just words\n"] {
            assert!(merged(Path::new("x.yml"), text, &[], &BTreeSet::new()).is_err(), "{text}");
        }
    }
}
