//! One search, as far as it bears on who is who: a device takes another address only once the search is over and nobody
//! answered as it where it was. Who merely claims to be another device, beside it, changes nothing.

use std::collections::BTreeSet;

use super::found::Found;
use super::imprint::Imprints;

/// What one search has seen. Bounded by the addresses that it asks.
#[derive(Debug, Default)]
pub struct Round {
    /// Keys of devices that answered where they were, or that had no address.
    answered: BTreeSet<String>,
    /// Devices that answered elsewhere, by key, in the order in which they did.
    elsewhere: Vec<(String, Found)>,
}

impl Round {
    /// A device that was found. Given back where it is to be entered at once; else it waits for the end of the search.
    pub fn hear(&mut self, imprints: &Imprints, found: Found) -> Option<Found> {
        let Some(key) = imprints.key_of(&found).or_else(|| found.identity()) else { return Some(found) };
        let at_home = |address: &str| address.is_empty() || address == found.address;
        if imprints.get(&key).is_none_or(|imprint| at_home(&imprint.address)) {
            self.answered.insert(key);
            return Some(found);
        }
        self.elsewhere.push((key, found));
        None
    }

    /// The end of the search: devices that have moved, and claims to be a device that answered already.
    pub fn end(mut self) -> (Vec<Found>, Vec<Found>) {
        let (moved, claims): (Vec<_>, Vec<_>) =
            self.elsewhere.into_iter().partition(|(key, _)| self.answered.insert(key.clone()));
        let found = |list: Vec<(String, Found)>| list.into_iter().map(|(_, found)| found).collect();
        (found(moved), found(claims))
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
    fn search(imprints: &mut Imprints, finds: &[Found]) -> Vec<Found> {
        let adoption = Adoption { auto: true, allow: Vec::new() };
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
        claims
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
            assert_eq!(search(&mut imprints, &order), std::slice::from_ref(&claim));
            assert_eq!((place(&imprints, "a-ab01"), imprints.iter().len()), ("10.0.0.5", 1));
        }
        let mut imprints = Imprints::default();
        assert_eq!(search(&mut imprints, &[holder, claim.clone()]), [claim], "nor in the search that finds it");
        assert_eq!(place(&imprints, "a-ab01"), "10.0.0.5");
    }

    #[test]
    fn who_is_gone_from_its_place_has_moved_and_two_may_change_places() {
        let mut imprints = Imprints::default();
        search(&mut imprints, &[found(1, "10.0.0.1"), found(2, "10.0.0.2"), found(3, "10.0.0.3")]);
        let second = found(3, "10.0.0.34");
        let finds = [found(1, "10.0.0.2"), found(2, "10.0.0.1"), found(3, "10.0.0.33"), second.clone()];
        assert_eq!(search(&mut imprints, &finds), [second], "only the first of two claims");
        let places = ["a-ab01", "a-ab02", "a-ab03"].map(|id| place(&imprints, id));
        assert_eq!(places, ["10.0.0.2", "10.0.0.1", "10.0.0.33"]);
    }
}
