//! Names of workers that differ from device to device: `bc1q….{{ miner }}`.

use crate::model::Target;

/// The user of a pool, with places for words of its target: the id and labels. Of what a device says, only
/// the cleaned name gets in here that stands in the id of one that was found and adopted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Worker(Vec<Part>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    Word(String),
}

/// The word for a device's id.
const MINER: &str = "miner";

impl Worker {
    /// Reads a template; the error is what is wrong with it.
    pub fn read(text: &str) -> Result<Worker, String> {
        let (mut parts, mut rest) = (Vec::new(), text);
        while let Some((before, after)) = rest.split_once("{{") {
            let (word, after) = after.split_once("}}").ok_or("a {{ without its }}")?;
            let word = word.trim();
            if word.is_empty() || !word.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
                return Err(format!("{word:?} is no word; write {{{{ miner }}}} or the name of a label"));
            }
            parts.push(Part::Text(before.to_string()));
            parts.push(Part::Word(word.to_string()));
            rest = after;
        }
        parts.push(Part::Text(rest.to_string()));
        Ok(Worker(parts))
    }

    /// The user of a target; the error is a word that it has no label for.
    pub fn of(&self, target: &Target) -> Result<String, String> {
        let say = |part: &Part| match part {
            Part::Text(text) => Ok(text.clone()),
            Part::Word(word) if word == MINER => Ok(target.id.to_string()),
            Part::Word(word) => target.labels.get(word).map(str::to_string).ok_or_else(|| word.clone()),
        };
        self.0.iter().map(say).collect()
    }
}
