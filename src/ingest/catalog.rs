//! What senders say of metric families: type, help and unit, kept by family.

use std::collections::HashMap;
use std::sync::Arc;

use crate::model::{Family, FamilyRef, Labels, MetricType};
use crate::wire::{MetadataIn, family_name};

/// Families that are remembered. Beyond, samples are taken all the same, without a type.
const MOST: usize = 50_000;
/// Bytes of a help text that are kept.
const MOST_HELP: usize = 1024;

/// Families by name.
#[derive(Default)]
pub(super) struct Catalog(HashMap<String, FamilyRef>);

impl Catalog {
    /// Takes in what is said of a family. The last word counts.
    pub(super) fn learn(&mut self, said: MetadataIn) {
        let known = self.0.get(&said.family).is_some_and(|known| known.kind == said.kind && known.help == help(&said));
        if !known && (self.0.len() < MOST || self.0.contains_key(&said.family)) {
            let family = make(&said.family, said.kind, help(&said));
            self.0.insert(said.family, family);
        }
    }

    /// The family of a series; `said` is what came with it.
    pub(super) fn family(&mut self, labels: &Labels, said: Option<MetadataIn>) -> FamilyRef {
        let name = labels.name().unwrap_or_default();
        if let Some(said) = said {
            let family = family_name(name, said.kind).to_string();
            self.learn(MetadataIn { family, ..said });
        }
        if let Some(known) = self.0.get(name) {
            return known.clone();
        }
        let whole = family_name(name, MetricType::Histogram);
        let known = self.0.get(whole).filter(|known| matches!(known.kind, MetricType::Histogram | MetricType::Summary));
        if let Some(known) = known {
            return known.clone();
        }
        let family = make(name, MetricType::Unknown, String::new());
        if self.0.len() < MOST {
            self.0.insert(name.to_string(), family.clone());
        }
        family
    }

    /// Those of which something was said.
    pub(super) fn families(&self) -> Vec<FamilyRef> {
        let said = |family: &&FamilyRef| family.kind != MetricType::Unknown || !family.help.is_empty();
        self.0.values().filter(said).cloned().collect()
    }
}

/// The model has no word for a unit; where the help does not name it, it is added.
fn help(said: &MetadataIn) -> String {
    let mut end = said.help.len().min(MOST_HELP);
    while !said.help.is_char_boundary(end) {
        end -= 1;
    }
    said.help[..end].to_string()
}

fn make(name: &str, kind: MetricType, help: String) -> FamilyRef {
    let bounds = (f64::NEG_INFINITY, f64::INFINITY);
    Arc::new(Family { name: name.to_string().into(), kind, help: help.into(), labels: &[], bounds }).into()
}
