//! What is known of the metric families that are held: for `/api/v1/metadata`.

use std::collections::BTreeMap;

use super::recent::Recent;
use crate::model::{FamilyRef, Labels};

impl Recent {
    /// The families of every target that has any on the page, sorted by name, with the labels that all of the target's
    /// series carry.
    pub fn families(&self) -> Vec<(Labels, Vec<FamilyRef>)> {
        let inner = self.read();
        let families = inner.shown(None).map(|block| {
            let mut families: BTreeMap<&str, &FamilyRef> = BTreeMap::new();
            for form in block.rows.iter().filter_map(|row| inner.forms.get(row.form)) {
                families.entry(&form.family.name).or_insert(&form.family);
            }
            (block.stamp.clone(), families.into_values().cloned().collect())
        });
        families.collect()
    }
}
