//! What senders say of metric families: type, help and unit, kept by family.

use std::collections::HashMap;
use std::sync::Arc;

use crate::model::{Family, FamilyRef, Labels, MetricType};
use crate::wire::{MetadataIn, family_name};

/// Families that are remembered. Beyond, samples are taken all the same, without a type.
const MOST: usize = 50_000;
/// Bytes of a help text that are kept.
const MOST_HELP: usize = 1024;
/// Bytes of a unit that are kept.
const MOST_UNIT: usize = 64;

/// Families by name.
#[derive(Default)]
pub(super) struct Catalog(HashMap<String, FamilyRef>);

impl Catalog {
    /// Takes in what is said of a family. The last word counts.
    pub(super) fn learn(&mut self, said: MetadataIn) {
        let known = self.0.get(&said.family).is_some_and(|known| {
            known.kind == said.kind
                && known.help == cut(&said.help, MOST_HELP)
                && known.unit == cut(&said.unit, MOST_UNIT)
        });
        if !known && (self.0.len() < MOST || self.0.contains_key(&said.family)) {
            let family = Family::read(said.family.clone(), said.kind, cut(&said.help, MOST_HELP).to_string());
            let family = Arc::new(Family { unit: cut(&said.unit, MOST_UNIT).to_string().into(), ..family });
            self.0.insert(said.family, family.into());
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
        let family: FamilyRef = Arc::new(Family::read(name.to_string(), MetricType::Unknown, "")).into();
        if self.0.len() < MOST {
            self.0.insert(name.to_string(), family.clone());
        }
        family
    }

    /// Those of which something was said.
    pub(super) fn families(&self) -> Vec<FamilyRef> {
        let said = |family: &&FamilyRef| {
            family.kind != MetricType::Unknown || !family.help.is_empty() || !family.unit.is_empty()
        };
        self.0.values().filter(said).cloned().collect()
    }
}

/// The beginning of a text, at most so many bytes.
fn cut(text: &str, most: usize) -> &str {
    let mut end = text.len().min(most);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}
