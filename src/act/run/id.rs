//! What a run is called.

use crate::act::playbook::sha256;

/// Identity of a run: sixteen hexadecimal digits derived from binding, target, episode and step. The same repair of the
/// same trouble has the same id wherever it is computed, so a record under this id that may only be created once *is*
/// the guarantee that nothing runs twice.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RunId(String);

/// A text that is no run id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a run id (16 hexadecimal digits)")]
pub struct RunIdError(String);

impl RunId {
    /// The id of a step of an episode.
    pub fn new(binding: &str, target: &str, episode: i64, step: u32) -> RunId {
        Self::of(&[binding, target, &episode.to_string(), &step.to_string()])
    }

    /// The id of a step that a person wants to be tried again; attempt 0 is the first one.
    pub fn attempt(binding: &str, target: &str, episode: i64, step: u32, attempt: u32) -> RunId {
        if attempt == 0 {
            return Self::new(binding, target, episode, step);
        }
        Self::of(&[binding, target, &episode.to_string(), &step.to_string(), &attempt.to_string()])
    }

    /// The id of the check run that comes before the approval of this run.
    pub fn rehearsal(&self) -> RunId {
        Self::of(&[&self.0, "rehearsal"])
    }

    fn of(parts: &[&str]) -> RunId {
        // Each part is followed by a byte that UTF-8 text cannot hold, so no two tuples look alike.
        let mut key = Vec::new();
        for part in parts {
            key.extend_from_slice(part.as_bytes());
            key.push(0xff);
        }
        RunId(sha256(&key)[..16].to_string())
    }

    /// The digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for RunId {
    type Error = RunIdError;
    fn try_from(text: String) -> Result<Self, RunIdError> {
        // It becomes the name of a folder: nothing but these digits may ever get here.
        let good = text.len() == 16 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        if good { Ok(RunId(text)) } else { Err(RunIdError(text)) }
    }
}

impl From<RunId> for String {
    fn from(id: RunId) -> String {
        id.0
    }
}

impl std::fmt::Display for RunId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_stable_and_only_digits() {
        let id = RunId::new("restart", "m1", 1, 0);
        assert_eq!(id, RunId::new("restart", "m1", 1, 0));
        assert_ne!(id, RunId::new("restart", "m", 11, 0));
        assert_ne!(id, RunId::new("restart", "m1", 1, 1));
        assert!(serde_json::from_str::<RunId>(&serde_json::to_string(&id).unwrap()).is_ok());
        for bad in ["", "../../etc/passwd", "0123456789ABCDEF", "0123456789abcdef0"] {
            assert!(RunId::try_from(bad.to_string()).is_err(), "{bad}");
        }
    }
}
