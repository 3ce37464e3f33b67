//! One search, as far as it bears on who is who: a device takes another address only once the search is over and nobody
//! answered as it where it was. Who merely claims to be another device, beside it, changes nothing.

use std::collections::{BTreeMap, BTreeSet};

use super::found::Found;
use super::imprint::Imprints;

/// What one search has seen. Bounded by the devices that are known, however many claim to be one of them.
#[derive(Debug, Default)]
pub struct Round {
    /// Keys of devices that answered where they were, or that had no address.
    answered: BTreeSet<String>,
    /// Devices that answered elsewhere, by key.
    elsewhere: BTreeMap<String, Claim>,
}

/// Who answered as a device that is known, elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The first of them.
    pub found: Found,
    /// At how many addresses.
    pub count: u64,
}

impl Round {
    /// A device that was found. Given back where it is to be entered at once; else it waits for the end of the search.
    pub fn hear(&mut self, imprints: &Imprints, found: Found) -> Option<Found> {
        let Some(key) = imprints.key_of(&found).or_else(|| found.identity()) else { return Some(found) };
        let at_home = |address: &str| address.is_empty() || address == found.address;
        if imprints.get(&key).is_none_or(|imprint| at_home(&imprint.address)) && !self.answered.contains(&key) {
            self.answered.insert(key);
            return Some(found);
        }
        self.elsewhere.entry(key).and_modify(|claim| claim.count += 1).or_insert(Claim { found, count: 1 });
        None
    }

    /// The end of the search: devices that have moved, and claims to be a device that answered already. Where several
    /// claim to be one that is gone, nobody can tell which of them it is.
    pub fn end(self) -> (Vec<Found>, Vec<Claim>) {
        let Round { answered, elsewhere } = self;
        let (moved, claims): (Vec<_>, Vec<_>) =
            elsewhere.into_iter().partition(|(key, claim)| claim.count == 1 && !answered.contains(key));
        (
            moved.into_iter().map(|(_, claim)| claim.found).collect(),
            claims.into_iter().map(|(_, claim)| claim).collect(),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::discover::Mac;
    use crate::discover::settings::Adoption;

    fn found(last: u8, address: &str) -> Found {
        Found {
            address: address.into(),
            kind: "axeos",
            mac: Mac::read(&format!("02:00:00:00:ab:{last:02x}")),
            hostname: "a".into(),
            ..Found::default()
        }
    }

    /// A whole search; who claimed to be another.
    fn search(imprints: &mut Imprints, finds: &[Found]) -> Vec<(String, u64)> {
        let adoption = Adoption { auto: true, ..Adoption::default() };
        let mut round = Round::default();
        for found in finds {
            if let Some(found) = round.hear(imprints, found.clone()) {
                imprints.enter(&found, &adoption, &|_| false, 1);
            }
        }
        let (moved, claims) = round.end();
        for found in moved {
            imprints.enter(&found, &adoption, &|_| false, 1);
        }
        claims.into_iter().map(|claim| (claim.found.address, claim.count)).collect()
    }

    fn place<'a>(imprints: &'a Imprints, id: &str) -> &'a str {
        &imprints.find(id).unwrap().address
    }

    #[test]
    fn a_claim_beside_its_holder_changes_nothing_whatever_the_order() {
        let (holder, claim) = (found(1, "10.0.0.5"), found(1, "10.0.0.66"));
        for order in [[holder.clone(), claim.clone()], [claim.clone(), holder.clone()]] {
            let mut imprints = Imprints::default();
            search(&mut imprints, std::slice::from_ref(&holder));
            assert_eq!(search(&mut imprints, &order), [("10.0.0.66".to_string(), 1)]);
            assert_eq!((place(&imprints, "a-ab01"), imprints.iter().len()), ("10.0.0.5", 1));
        }
        let mut imprints = Imprints::default();
        let found = search(&mut imprints, &[holder, claim]);
        assert_eq!(found, [("10.0.0.66".to_string(), 1)], "nor in the search that finds it");
        assert_eq!(place(&imprints, "a-ab01"), "10.0.0.5");
    }

    #[test]
    fn who_is_gone_from_its_place_has_moved_and_two_may_change_places() {
        let mut imprints = Imprints::default();
        search(&mut imprints, &[found(1, "10.0.0.1"), found(2, "10.0.0.2"), found(3, "10.0.0.3")]);
        let finds = [found(1, "10.0.0.2"), found(2, "10.0.0.1"), found(3, "10.0.0.33"), found(3, "10.0.0.34")];
        assert_eq!(search(&mut imprints, &finds), [("10.0.0.33".to_string(), 2)], "either may be the device");
        let places = ["a-ab01", "a-ab02", "a-ab03"].map(|id| place(&imprints, id));
        assert_eq!(places, ["10.0.0.2", "10.0.0.1", "10.0.0.3"]);
        search(&mut imprints, &[found(3, "10.0.0.33")]);
        assert_eq!(place(&imprints, "a-ab03"), "10.0.0.33", "once only one is left");
    }

    #[test]
    fn ten_thousand_devices_with_one_mac_address_are_one_line() {
        let mut imprints = Imprints::default();
        let finds: Vec<Found> = (0..10_000).map(|n| found(1, &format!("10.1.{}.{}", n / 250, n % 250))).collect();
        assert_eq!(search(&mut imprints, &finds), [("10.1.0.1".to_string(), 9_999)]);
        assert_eq!((place(&imprints, "a-ab01"), imprints.iter().len()), ("10.1.0.0", 1));
    }
}
