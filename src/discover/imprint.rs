//! What is kept of each device that was found: the imprint. It stands for the device through every change of address,
//! host name and firmware, and carries the id that its history stands under. Pure; the daemon writes it down.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::found::{Found, Mac, tidy};
use super::settings::Adoption;

/// Version of the record's form.
pub const SCHEMA: u32 = 1;

/// Most devices that are kept; a network that invents more is hostile.
pub const MOST_IMPRINTS: usize = 100_000;

/// Longest part of an id that comes from the device's name.
const MAX_NAME: usize = 40;

/// Digits of the MAC address that an id ends in; more where these are taken.
const SUFFIXES: [usize; 3] = [4, 6, 12];

/// What the owner has decided about a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Nothing yet.
    Pending,
    /// It is polled as a target.
    Adopted,
    /// It is not wanted, however often it is found.
    Removed,
}

impl State {
    /// All states, for metrics.
    pub const ALL: [State; 3] = [State::Pending, State::Adopted, State::Removed];

    /// The word.
    pub const fn as_str(self) -> &'static str {
        match self {
            State::Pending => "pending",
            State::Adopted => "adopted",
            State::Removed => "removed",
        }
    }
}

/// One device.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Imprint {
    /// Version of this form.
    pub schema: u32,
    /// What it was known by when it was first found: the key of the record.
    pub identity: String,
    /// The id of its target; it never changes.
    pub id: String,
    /// What was decided.
    pub state: State,
    /// Name in `KINDS`; changes with the firmware.
    pub kind: String,
    /// Where it was last; empty when another device answers there now.
    pub address: String,
    /// MAC address, once it is known.
    pub mac: String,
    /// Serial number, once it is known.
    pub serial: String,
    /// How its own replies name it; empty where they do not.
    pub says: String,
    /// Host name.
    pub hostname: String,
    /// Maker.
    pub make: String,
    /// Model.
    pub model: String,
    /// Firmware and version.
    pub firmware: String,
    /// Port of its web interface, where it is polled through another one.
    #[serde(default)]
    pub web_port: Option<u16>,
    /// Whether it only answers who has logged in.
    #[serde(default)]
    pub locked: bool,
    /// Why it could not be polled when it was found.
    pub trouble: Option<String>,
    /// When it was first found, milliseconds since the epoch.
    pub first_seen: i64,
    /// When it was last found.
    pub last_seen: i64,
}

/// What an owner may be told about a device that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    /// It was not known.
    New,
    /// It answers at another address.
    Moved {
        /// Where it was.
        from: String,
    },
    /// It answers as another kind: it has other firmware.
    Kind {
        /// What it was.
        from: String,
    },
    /// What was decided follows a rule now.
    Adopted,
}

impl News {
    /// The word, for a metric.
    pub const fn as_str(&self) -> &'static str {
        match self {
            News::New => "new",
            News::Moved { .. } => "moved",
            News::Kind { .. } => "kind",
            News::Adopted => "adopted",
        }
    }
}

/// What came of a device that was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Entered {
    /// What happened to it.
    pub news: Vec<News>,
    /// Id of its imprint; empty where there is none.
    pub id: String,
    /// Whether a rule takes it, and it waits because as many are adopted as may be.
    pub waits: bool,
    /// Keys of the imprints that changed in a way worth keeping.
    pub changed: Vec<String>,
}

/// All imprints, by key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Imprints(BTreeMap<String, Arc<Imprint>>);

impl Imprints {
    /// Those of earlier processes.
    pub fn new(kept: impl IntoIterator<Item = Imprint>) -> Self {
        Imprints(kept.into_iter().map(|imprint| (imprint.identity.clone(), Arc::new(imprint))).collect())
    }

    /// All of them, in the order of their keys. A copy of all of them is cheap.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Arc<Imprint>> {
        self.0.values()
    }

    /// The imprint of a key.
    pub fn get(&self, key: &str) -> Option<&Imprint> {
        self.0.get(key).map(Arc::as_ref)
    }

    /// The imprint of an id.
    pub fn find(&self, id: &str) -> Option<&Imprint> {
        self.0.values().find(|imprint| imprint.id == id).map(Arc::as_ref)
    }

    /// The imprint of a device that was found.
    pub fn known(&self, found: &Found) -> Option<&Imprint> {
        self.get(&self.key_of(found)?)
    }

    /// Decides about a device. Says whether that is new; `None` when there is none of that id.
    pub fn decide(&mut self, id: &str, state: State) -> Option<(String, bool)> {
        let (key, imprint) = self.0.iter_mut().find(|(_, imprint)| imprint.id == id)?;
        let changed = std::mem::replace(&mut Arc::make_mut(imprint).state, state) != state;
        Some((key.clone(), changed))
    }

    /// Enters a device that was found. One that says neither MAC address nor serial number, and that no ARP table knows,
    /// leaves no imprint: nothing would tell it from its successor at that address. `taken` are ids of others' targets.
    pub fn enter(&mut self, found: &Found, adoption: &Adoption, taken: &dyn Fn(&str) -> bool, now: i64) -> Entered {
        let Some(identity) = found.identity() else { return Entered::default() };
        let known = self.key_of(found);
        // What could not be polled is known by the ARP table only, which may show a bridge: it drives out nobody who has
        // answered as himself.
        let drives_out =
            |other: &Imprint| other.address == found.address && (found.trouble.is_none() || other.trouble.is_some());
        let stands = |other: &&mut Arc<Imprint>| {
            other.address == found.address && other.kind == found.kind && Some(&other.identity) != known.as_ref()
        };
        if let Some(holder) = self.0.values_mut().filter(stands).find(|holder| !drives_out(holder)) {
            Arc::make_mut(holder).last_seen = now;
            return Entered { id: holder.id.clone(), ..Entered::default() };
        }
        let mut entered = Entered::default();
        let key = match known {
            Some(key) => key,
            None if self.0.len() >= MOST_IMPRINTS => return Entered::default(),
            None => {
                let id = id_for(found, &|id| taken(id) || self.find(id).is_some());
                entered.news.push(News::New);
                self.0.insert(identity.clone(), Arc::new(Imprint::new(identity.clone(), id, now)));
                identity
            }
        };
        // Whoever was last seen at this address has left it.
        for other in self.0.values_mut().filter(|other| drives_out(other) && other.identity != key) {
            Arc::make_mut(other).address.clear();
            entered.changed.push(other.identity.clone());
        }
        let adopted = self.0.values().filter(|imprint| imprint.state == State::Adopted).count();
        if let Some(imprint) = self.0.get_mut(&key).map(Arc::make_mut) {
            let before = imprint.clone();
            imprint.update(found, &mut entered.news);
            if imprint.state == State::Pending && imprint.trouble.is_none() && adoption.takes(found) {
                entered.waits = adopted >= adoption.most;
                if !entered.waits {
                    imprint.state = State::Adopted;
                    entered.news.push(News::Adopted);
                }
            }
            entered.id = imprint.id.clone();
            let differs = Imprint { last_seen: before.last_seen, ..imprint.clone() } != before;
            imprint.last_seen = now;
            if differs || !entered.news.is_empty() {
                entered.changed.push(key);
            }
        }
        entered
    }

    /// The key of the imprint that a device is known by.
    pub(super) fn key_of(&self, found: &Found) -> Option<String> {
        let mac = found.mac.map(|mac| mac.to_string());
        let by_mac = self.0.values().find(|imprint| !imprint.mac.is_empty() && Some(&imprint.mac) == mac.as_ref());
        // By the serial number only where the MAC addresses do not contradict; who has none is it before anybody who has
        // one and says that number too.
        let by_serial = || {
            let same = |imprint: &&Arc<Imprint>| !found.serial.is_empty() && imprint.serial == found.serial;
            let nameless = self.0.values().find(|imprint| same(imprint) && imprint.mac.is_empty());
            nameless.or_else(|| self.0.values().filter(|_| mac.is_none()).find(same))
        };
        by_mac.or_else(by_serial).map(|imprint| imprint.identity.clone())
    }
}

impl Imprint {
    fn new(identity: String, id: String, now: i64) -> Self {
        Imprint {
            schema: SCHEMA,
            identity,
            id,
            state: State::Pending,
            kind: String::new(),
            address: String::new(),
            mac: String::new(),
            serial: String::new(),
            says: String::new(),
            hostname: String::new(),
            make: String::new(),
            model: String::new(),
            firmware: String::new(),
            web_port: None,
            locked: false,
            trouble: None,
            first_seen: now,
            last_seen: now,
        }
    }

    /// Takes over what is known now. What could not be polled this time keeps what it was.
    fn update(&mut self, found: &Found, news: &mut Vec<News>) {
        if self.address != found.address {
            let from = std::mem::replace(&mut self.address, found.address.clone());
            if !news.contains(&News::New) {
                news.push(News::Moved { from });
            }
        }
        if let Some(mac) = found.mac {
            self.mac = mac.to_string();
        }
        if !found.serial.is_empty() {
            self.serial = found.serial.clone();
        }
        if found.trouble.is_some() && !self.kind.is_empty() && self.trouble.is_none() {
            return;
        }
        if self.kind != found.kind {
            let from = std::mem::replace(&mut self.kind, found.kind.to_string());
            if !from.is_empty() {
                news.push(News::Kind { from });
            }
        }
        self.trouble.clone_from(&found.trouble);
        (self.web_port, self.locked) = (found.web_port, found.locked);
        self.says = found.says.clone();
        for (known, said) in [
            (&mut self.hostname, &found.hostname),
            (&mut self.make, &found.make),
            (&mut self.model, &found.model),
            (&mut self.firmware, &found.firmware),
        ] {
            known.clone_from(said);
        }
    }
}

/// An id for a device: its name and the end of its MAC address (else serial number, else address), which makes twenty
/// devices called `bitaxe` twenty ids, the same ones on every machine. An id is the name of a host for Ansible: it never
/// is what a device calls itself alone, or one called `localhost` would be that host.
pub fn id_for(found: &Found, taken: &dyn Fn(&str) -> bool) -> String {
    let name = [&*found.hostname, &*found.model, found.kind].into_iter().map(|text| word(text, MAX_NAME));
    let name = { name }.find(|name| !name.is_empty()).unwrap_or_else(|| "miner".to_string());
    let digits = match found.mac {
        Some(mac) => mac.digits(),
        None => {
            let text = if found.serial.is_empty() { &found.address } else { &found.serial };
            let digits = word(text, MAX_NAME).replace(['-', '.', '_'], "");
            let bytes = || text.bytes().map(|byte| format!("{byte:02x}")).collect();
            if digits.is_empty() { bytes() } else { digits }
        }
    };
    let end = |count: usize| &digits[digits.len().saturating_sub(count)..];
    // Some put the end of the MAC address into the host name themselves.
    let with = |count: usize| match format!("-{}", end(count)) {
        end if name.ends_with(&end) => name.clone(),
        end => format!("{name}{end}"),
    };
    let short = SUFFIXES.into_iter().map(with).find(|id| !taken(id));
    short.unwrap_or_else(|| {
        let numbered = (2_u64..).map(|number| format!("{name}-{number}-{}", end(12)));
        // Numbers do not end, ids that are taken do.
        numbered.into_iter().find(|id| !taken(id)).unwrap_or_default()
    })
}

/// Text as part of an id: small letters, digits, `-`, `_` and `.`, neither beginning nor ending in a sign.
fn word(text: &str, most: usize) -> String {
    let mut out = String::new();
    for c in tidy(text).chars() {
        match c.to_ascii_lowercase() {
            c if c.is_ascii_alphanumeric() || c == '_' || c == '.' => out.push(c),
            _ if !out.ends_with('-') => out.push('-'),
            _ => {}
        }
    }
    let out: String = out.trim_matches(['-', '_', '.']).chars().take(most).collect();
    out.trim_end_matches(['-', '_', '.']).to_string()
}

/// Whether a person has written an identity: a MAC address, or `sn:` and a serial number.
pub fn is_identity(text: &str) -> bool {
    Mac::read(text).is_some() || text.strip_prefix("sn:").is_some_and(|serial| !serial.trim().is_empty())
}

/// Whether a poll's answer is that of the device with this name of its own. Without a name on either side nothing is
/// known, and nothing is said.
pub fn is_same(expected: &str, says: &str) -> bool {
    let expected = expected.strip_prefix("sn:").unwrap_or(expected);
    expected.is_empty()
        || says.is_empty()
        || match (Mac::read(expected), Mac::read(says)) {
            (Some(expected), Some(says)) => expected == says,
            // One firmware says the MAC address, another the serial number: no contradiction.
            (Some(_), None) | (None, Some(_)) => true,
            (None, None) => tidy(expected) == tidy(says),
        }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::discover::settings::Allow;

    fn found(last: u8, address: &str, hostname: &str) -> Found {
        Found {
            address: address.into(),
            kind: "axeos",
            mac: Mac::read(&format!("02:00:00:00:ab:{last:02x}")),
            hostname: hostname.into(),
            make: "Bitaxe".into(),
            says: format!("02:00:00:00:AB:{last:02X}"),
            ..Found::default()
        }
    }

    fn enter(imprints: &mut Imprints, found: &Found, auto: bool) -> Entered {
        imprints.enter(found, &Adoption { auto, ..Adoption::default() }, &|id| id == "configured", 1000)
    }

    #[test]
    fn twins_by_name_are_known_apart_and_strange_names_make_good_ids() {
        let mut imprints = Imprints::default();
        for last in 0..20 {
            enter(&mut imprints, &found(last, &format!("10.0.0.{last}"), "bitaxe"), true);
        }
        let ids: Vec<&str> = imprints.iter().map(|imprint| &*imprint.id).collect();
        assert_eq!(ids.len(), 20);
        assert!(ids.contains(&"bitaxe-ab00") && ids.contains(&"bitaxe-ab13"), "{ids:?}");
        for (hostname, id) in [
            ("total", "total-ab07"),
            ("3rd rig", "3rd-rig-ab07"),
            ("../etc/passwd", "etc-passwd-ab07"),
            ("a\u{1b}[31m\"'{}", "a-31m-ab07"),
            ("", "axeos-ab07"),
            ("///", "axeos-ab07"),
            ("Bitaxe-AB07", "bitaxe-ab07"),
            ("ab07", "ab07-ab07"),
            (&"x".repeat(300), &format!("{}-ab07", "x".repeat(40))),
        ] {
            assert_eq!(id_for(&found(7, "10.0.0.7", hostname), &|_| false), id, "{hostname:?}");
        }
        let twin = |taken: &[&str]| id_for(&found(7, "", "rig"), &|id| taken.contains(&id));
        assert_eq!(twin(&["rig-ab07"]), "rig-00ab07");
        assert_eq!(twin(&["rig-ab07", "rig-00ab07", "rig-02000000ab07"]), "rig-2-02000000ab07");
        for (serial, address, id) in [
            ("S1/0185", "10.0.0.5", "localhost-0185"),
            ("//", "", "localhost-2f2f"),
            ("", "10.0.0.5", "localhost-0005"),
        ] {
            let nameless = Found { mac: None, serial: serial.into(), ..found(7, address, "localhost") };
            assert_eq!(id_for(&nameless, &|_| false), id, "never its own name alone");
        }
    }

    #[test]
    fn an_imprint_survives_a_new_address_other_firmware_and_another_name() {
        let mut imprints = Imprints::default();
        let first = enter(&mut imprints, &found(1, "10.0.0.5", "bitaxe"), true);
        assert_eq!(first.news, [News::New, News::Adopted]);
        let same = enter(&mut imprints, &found(1, "10.0.0.5", "bitaxe"), true);
        assert_eq!((same.news, same.changed), (vec![], vec![]), "nothing to write");
        let moved = enter(&mut imprints, &found(1, "10.0.0.9", "bitaxe"), true);
        assert_eq!(moved.news, [News::Moved { from: "10.0.0.5".into() }]);
        let swapped = Found { kind: "cgminer", says: String::new(), ..found(1, "10.0.0.9", "renamed") };
        let swapped = enter(&mut imprints, &swapped, true);
        assert_eq!(swapped.news, [News::Kind { from: "axeos".into() }]);
        assert_eq!((swapped.id.as_str(), imprints.iter().len()), ("bitaxe-ab01", 1));
        // A device that starts does not answer as itself: it keeps what it was.
        let dull = Found { kind: "antminer", trouble: Some("timeout".into()), ..found(1, "10.0.0.9", "") };
        assert_eq!(enter(&mut imprints, &dull, true).news, []);
        assert_eq!(imprints.find("bitaxe-ab01").unwrap().kind, "cgminer");
    }

    #[test]
    fn who_takes_an_address_drives_out_whoever_had_it() {
        let mut imprints = Imprints::default();
        enter(&mut imprints, &found(1, "10.0.0.5", "a"), true);
        let second = enter(&mut imprints, &found(2, "10.0.0.5", "b"), true);
        assert_eq!(second.changed, ["02:00:00:00:ab:01", "02:00:00:00:ab:02"]);
        assert_eq!(imprints.find("a-ab01").unwrap().address, "", "not polled as a, whoever answers there");
        let back = enter(&mut imprints, &found(1, "10.0.0.6", "a"), true);
        assert_eq!(back.news, [News::Moved { from: String::new() }]);
    }

    #[test]
    fn who_could_not_be_polled_drives_out_nobody() {
        let mut imprints = Imprints::default();
        enter(&mut imprints, &found(1, "10.0.0.5", "a"), true);
        let bridge = Found { trouble: Some("timeout".into()), ..found(9, "10.0.0.5", "") };
        let entered = imprints.enter(&bridge, &Adoption::default(), &|_| false, 2000);
        assert_eq!(entered, Entered { id: "a-ab01".into(), ..Entered::default() });
        let holder = imprints.find("a-ab01").unwrap();
        assert_eq!((&*holder.address, holder.last_seen, imprints.iter().len()), ("10.0.0.5", 2000, 1));
        // Of another kind it is another device, and shown; the first stays until one answers there.
        enter(&mut imprints, &Found { kind: "antminer", ..bridge.clone() }, true);
        assert_eq!(imprints.find("a-ab01").unwrap().address, "10.0.0.5");
        assert_eq!(imprints.find("antminer-ab09").unwrap().state, State::Pending);
        enter(&mut imprints, &Found { trouble: None, ..bridge }, true);
        assert_eq!(imprints.find("a-ab01").unwrap().address, "");
    }

    #[test]
    fn what_was_removed_stays_removed_and_rules_decide_about_the_rest() {
        let mut imprints = Imprints::default();
        assert_eq!(enter(&mut imprints, &found(1, "10.0.0.5", "a"), false).news, [News::New]);
        assert_eq!(imprints.decide("a-ab01", State::Removed), Some(("02:00:00:00:ab:01".into(), true)));
        assert_eq!(imprints.decide("a-ab01", State::Removed), Some(("02:00:00:00:ab:01".into(), false)));
        assert_eq!(imprints.decide("nobody", State::Removed), None);
        enter(&mut imprints, &found(1, "10.0.0.7", "a"), true);
        assert_eq!(imprints.find("a-ab01").unwrap().state, State::Removed);
        let allow = |make: &str| {
            let allow = vec![Allow { make: Some(make.into()), ..Allow::default() }];
            Adoption { auto: true, allow, ..Adoption::default() }
        };
        let enter = |imprints: &mut Imprints, make: &str| {
            imprints.enter(&found(2, "10.0.0.8", "b"), &allow(make), &|_| false, 1);
            imprints.find("b-ab02").unwrap().state
        };
        assert_eq!(enter(&mut imprints, "MicroBT"), State::Pending);
        assert_eq!(enter(&mut imprints, "bitaxe"), State::Adopted, "when the rule changes");
        let troubled = Found { trouble: Some("needs a password".into()), ..found(3, "10.0.0.3", "c") };
        imprints.enter(&troubled, &allow("Bitaxe"), &|_| false, 1);
        assert_eq!(imprints.find("c-ab03").unwrap().state, State::Pending);
    }

    #[test]
    fn a_rule_adopts_so_many_and_no_more() {
        let mut imprints = Imprints::default();
        let adoption = Adoption { auto: true, most: 2, ..Adoption::default() };
        let mut enter =
            |last: u8| imprints.enter(&found(last, &format!("10.0.0.{last}"), "a"), &adoption, &|_| false, 1).waits;
        assert_eq!([1, 2, 3, 1].map(&mut enter), [false, false, true, false]);
        assert_eq!(imprints.find("a-ab03").unwrap().state, State::Pending);
    }

    #[test]
    fn a_serial_number_does_until_a_mac_is_known_and_nothing_does_for_nothing() {
        let mut imprints = Imprints::default();
        let serial = Found { mac: None, serial: "S1272/0185".into(), ..found(1, "10.0.0.5", "seal") };
        assert_eq!(enter(&mut imprints, &serial, true).id, "seal-0185");
        let both = Found { mac: Mac::read("02000000ab01"), ..serial.clone() };
        assert_eq!(enter(&mut imprints, &both, true).id, "seal-0185");
        let only_mac = Found { serial: String::new(), ..both.clone() };
        assert_eq!(enter(&mut imprints, &only_mac, true).id, "seal-0185");
        let liar = Found { mac: Mac::read("02000000ab00"), ..found(0, "10.0.0.66", "liar") };
        let mut lied = Imprints::default();
        enter(&mut lied, &Found { serial: "other".into(), ..liar.clone() }, true);
        enter(&mut lied, &serial, true);
        enter(&mut lied, &Found { serial: serial.serial.clone(), ..liar }, true);
        assert_eq!(enter(&mut lied, &serial, true).id, "seal-0185", "whoever else says that number");
        let other = Found { mac: Mac::read("02000000ab99"), ..both };
        assert_eq!(
            enter(&mut imprints, &other, true).news,
            [News::New, News::Adopted],
            "another board, another device"
        );
        let nobody = Found { mac: None, serial: String::new(), ..serial };
        assert_eq!(enter(&mut imprints, &nobody, true), Entered::default());
        assert_eq!(imprints.iter().len(), 2);
    }

    #[test]
    fn identities_contradict_only_where_both_say_something() {
        assert!(is_same("02:C1:58:2E:87:C8", "02-c1-58-2e-87-c8"));
        assert!(!is_same("02:C1:58:2E:87:C8", "02:C1:58:2E:87:C9"));
        assert!(is_same("02:C1:58:2E:87:C8", "SN123") && is_same("", "x") && is_same("x", ""));
        let mistakes = ["02:c1:58:2e:87", "02:c1:58:2e:87:cg", "00:00:00:00:00:00", "SN123", "sn:", "sn: ", ""];
        assert!(!mistakes.into_iter().any(is_identity), "it would switch the check off");
        assert!(["02:c1:58:2e:87:c8", "02-C1-58-2E-87-C8", "sn:SN123"].into_iter().all(is_identity));
        assert!(!is_same("SN123", "SN124") && !is_same("sn:SN123", "SN124") && is_same("sn:SN123", "SN123"));
    }
}
