//! Forms: what a series is, apart from whose it is. A thousand targets of one kind share their forms, so that a series
//! costs a number where its labels would be; and an index over the labels of forms is an index over all series.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};

use crate::model::labels::METRIC_NAME;
use crate::model::{FamilyRef, Labels, MatchOp, Matcher, Suffix};

/// Which labels of its block a series has beside its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) enum Stamp {
    /// None: its own are complete.
    #[default]
    None,
    /// Those that name the target, and the static ones.
    Target,
    /// Those under which the scheduler speaks of the target.
    About,
}

/// What a series is, apart from whose it is.
#[derive(Clone, Debug)]
pub(super) struct Form {
    pub(super) stamp: Stamp,
    pub(super) family: FamilyRef,
    pub(super) suffix: Suffix,
    /// As the parser said them; the own ones where no parser did.
    pub(super) key: Labels,
    /// With the metric name, without those of the stamp.
    pub(super) own: Labels,
}

impl Form {
    /// Whether a block would call both the same series: all but what is said of the family, which may change.
    fn is_alike(&self, other: &Form) -> bool {
        self.stamp == other.stamp && self.suffix == other.suffix && self.own == other.own && self.key == other.key
    }
}

/// A form in the table, and the blocks that have a series of it.
struct Kept {
    form: Form,
    /// Sorted.
    blocks: Vec<u32>,
}

/// Forms that nobody uses any more are swept out when they are more than this and more than those in use.
const UNUSED_KEPT: usize = 1024;

/// All forms, by number and by label.
#[derive(Default)]
pub(super) struct Forms {
    kept: Vec<Option<Kept>>,
    free: Vec<u32>,
    used: usize,
    /// By hash; of two forms with one hash the second stands under the next number.
    numbers: HashMap<u64, u32>,
    hasher: RandomState,
    /// Label name, value, the forms that have it.
    index: HashMap<Box<str>, HashMap<Box<str>, Vec<u32>>>,
}

impl Forms {
    pub(super) fn get(&self, number: u32) -> Option<&Form> {
        Some(&self.kept.get(number as usize)?.as_ref()?.form)
    }

    /// The blocks that have a series of a form.
    pub(super) fn blocks(&self, number: u32) -> &[u32] {
        self.kept.get(number as usize).and_then(Option::as_ref).map_or(&[], |kept| &kept.blocks)
    }

    fn hash(&self, form: &Form) -> u64 {
        self.hasher.hash_one((form.stamp, form.suffix, &form.own))
    }

    /// The numbers of forms that are alike.
    pub(super) fn alike(&self, form: &Form) -> impl Iterator<Item = u32> {
        let mut hash = self.hash(form);
        let chain = std::iter::from_fn(move || {
            let number = self.numbers.get(&hash)?;
            hash = hash.wrapping_add(1);
            Some(*number)
        });
        chain.filter(move |number| self.get(*number).is_some_and(|known| known.is_alike(form)))
    }

    /// The number of a form, which is entered if it is not known. [`Forms::attach`] it before anything else is done.
    pub(super) fn enter(&mut self, form: Form) -> u32 {
        let known = self.alike(&form).find(|number| self.get(*number).is_some_and(|known| known.family == form.family));
        if let Some(number) = known {
            return number;
        }
        let number = self.free.pop().unwrap_or(self.kept.len() as u32);
        let mut hash = self.hash(&form);
        while self.numbers.contains_key(&hash) {
            hash = hash.wrapping_add(1);
        }
        self.numbers.insert(hash, number);
        for (name, value) in form.own.iter() {
            // Looked up first: nearly always both are there.
            if !self.index.contains_key(name) {
                self.index.insert(name.into(), HashMap::new());
            }
            let Some(values) = self.index.get_mut(name) else { continue };
            match values.get_mut(value) {
                Some(forms) => forms.push(number),
                None => drop(values.insert(value.into(), vec![number])),
            }
        }
        let kept = Some(Kept { form, blocks: Vec::new() });
        match self.kept.get_mut(number as usize) {
            Some(place) => *place = kept,
            None => self.kept.push(kept),
        }
        number
    }

    /// Says that a block has a series of a form.
    pub(super) fn attach(&mut self, number: u32, block: u32) {
        let Some(Some(kept)) = self.kept.get_mut(number as usize) else { return };
        self.used += usize::from(kept.blocks.is_empty());
        if let Err(at) = kept.blocks.binary_search(&block) {
            kept.blocks.insert(at, block);
        }
    }

    /// Says that a block has none of it any more.
    pub(super) fn detach(&mut self, number: u32, block: u32) {
        let Some(Some(kept)) = self.kept.get_mut(number as usize) else { return };
        if let Ok(at) = kept.blocks.binary_search(&block) {
            kept.blocks.remove(at);
            self.used -= usize::from(kept.blocks.is_empty());
        }
        let unused = self.kept.len() - self.free.len() - self.used;
        if unused > UNUSED_KEPT.max(self.used) {
            self.sweep();
        }
    }

    fn sweep(&mut self) {
        let unused = |kept: &Option<Kept>| kept.as_ref().is_none_or(|kept| kept.blocks.is_empty());
        for (place, number) in self.kept.iter_mut().zip(0..) {
            if place.is_some() && unused(place) {
                *place = None;
                self.free.push(number);
            }
        }
        let kept = &self.kept;
        self.index.retain(|_, values| {
            values.retain(|_, forms| {
                forms.retain(|number| kept[*number as usize].is_some());
                !forms.is_empty()
            });
            !values.is_empty()
        });
        // Numbers that stand behind a hash that is taken would no longer be found.
        let mut numbers = HashMap::with_capacity(self.used);
        for (place, number) in self.kept.iter().zip(0..) {
            let Some(kept) = place else { continue };
            let mut hash = self.hash(&kept.form);
            while numbers.contains_key(&hash) {
                hash = hash.wrapping_add(1);
            }
            numbers.insert(hash, number);
        }
        self.numbers = numbers;
    }

    /// The forms that can satisfy all matchers, narrowed by the one that narrows most; `None` if none of them narrows.
    /// `stamped` are names of labels that stamps may bring: an index over forms does not know those.
    pub(super) fn candidates(&self, matchers: &[Matcher], stamped: impl Fn(&str) -> bool) -> Option<Vec<u32>> {
        let narrows = |matcher: &&Matcher| !matcher.matches_value("") && !stamped(&matcher.name);
        let lists = matchers.iter().filter(narrows).map(|matcher| {
            let Some(values) = self.index.get(&*matcher.name) else { return Vec::new() };
            match matcher.op {
                MatchOp::Equal => values.get(&*matcher.value).into_iter().collect(),
                _ => values.iter().filter(|(value, _)| matcher.matches_value(value)).map(|(_, forms)| forms).collect(),
            }
        });
        let best = lists.min_by_key(|lists: &Vec<&Vec<u32>>| lists.iter().map(|forms| forms.len()).sum::<usize>())?;
        Some(best.into_iter().flatten().copied().collect())
    }

    /// Forms in use, with how many series each has.
    pub(super) fn counted(&self) -> impl Iterator<Item = (&Form, usize)> {
        let kept = self.kept.iter().flatten().map(|kept| (&kept.form, kept.blocks.len()));
        kept.filter(|(_, series)| *series > 0)
    }

    /// The names of all labels of forms.
    pub(super) fn label_names(&self) -> impl Iterator<Item = &str> {
        let used = |forms: &Vec<u32>| forms.iter().any(|number| !self.blocks(*number).is_empty());
        self.index.iter().filter(move |(_, values)| values.values().any(used)).map(|(name, _)| &**name)
    }

    /// The values that a label has in forms.
    pub(super) fn label_values(&self, name: &str) -> impl Iterator<Item = &str> {
        let used = |forms: &&Vec<u32>| forms.iter().any(|number| !self.blocks(*number).is_empty());
        let values = self.index.get(name).into_iter().flatten();
        values.filter(move |(_, forms)| used(forms)).map(|(value, _)| &**value)
    }
}

/// The name of a series of a family.
pub(super) fn series_name(family: &FamilyRef, suffix: Suffix) -> String {
    [&*family.name, suffix.as_str()].concat()
}

/// Labels with the metric name.
pub(super) fn named<'a, N: AsRef<str> + From<&'a str>>(
    labels: impl Iterator<Item = (N, &'a str)>,
    name: &'a str,
) -> Labels {
    Labels::new(labels.chain([(N::from(METRIC_NAME), name)]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Family;

    static ANY: Family = Family::gauge("any", "Anything", &[]);

    fn form(name: &str) -> Form {
        let own = Labels::new([(METRIC_NAME, name), ("job", "a")]);
        Form { stamp: Stamp::None, family: FamilyRef::from(&ANY), suffix: Suffix::None, key: own.clone(), own }
    }

    #[test]
    fn forms_that_nobody_uses_go_and_the_others_are_still_found() {
        let mut forms = Forms::default();
        let numbers: Vec<u32> = (0..5000).map(|n| forms.enter(form(&format!("m{n}")))).collect();
        numbers.iter().for_each(|number| forms.attach(*number, 7));
        assert_eq!(forms.enter(form("m17")), numbers[17]);
        for number in &numbers[100..] {
            forms.detach(*number, 7);
        }
        assert!(forms.kept.iter().flatten().count() <= 100 + UNUSED_KEPT + 1);
        for (n, number) in numbers.iter().take(100).enumerate() {
            assert_eq!(forms.alike(&form(&format!("m{n}"))).collect::<Vec<_>>(), [*number]);
        }
        let jobs = forms.candidates(&[Matcher::equal("job", "a"), Matcher::equal(METRIC_NAME, "m5")], |_| false);
        assert_eq!(jobs, Some(vec![numbers[5]]));
        assert_eq!(forms.label_values(METRIC_NAME).count(), 100);
        let again = forms.enter(form("new"));
        forms.attach(again, 1);
        assert_eq!(forms.blocks(again), [1]);
    }
}
