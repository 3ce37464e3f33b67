//! One silence, and its JSON: the shapes of Alertmanager's API v2 (`postableSilence`, `gettableSilence`), which are
//! also the record in the state.

use crate::model::matcher::{MatchOp, MatcherError, is_label_name};
use crate::model::{Labels, Matcher};

use super::time::serde_text;

/// Most matchers of one silence.
const MAX_MATCHERS: usize = 64;
/// Longest comment, author, label name or value, in bytes: a silence is held in memory and shown on a page.
const MAX_TEXT: usize = 4096;

/// Mutes the alerts that all of its matchers match, from one time to another (milliseconds since the epoch).
#[derive(Clone, Debug, PartialEq)]
pub struct Silence {
    /// A UUID.
    pub id: String,
    /// All must hold.
    pub matchers: Vec<Matcher>,
    /// From this time on.
    pub starts_at: i64,
    /// Up to this time.
    pub ends_at: i64,
    /// Who made it.
    pub created_by: String,
    /// Why.
    pub comment: String,
    /// When it was last changed.
    pub updated_at: i64,
}

/// Where a silence stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Begins later.
    Pending,
    /// Mutes.
    Active,
    /// Is over; kept for a while, so that one can look it up or make it anew.
    Expired,
}

impl State {
    /// The word in the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            State::Pending => "pending",
            State::Active => "active",
            State::Expired => "expired",
        }
    }
}

/// Why a silence was not taken. The texts are those of Alertmanager where it has one.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum SilenceError {
    /// No silence has this id.
    #[error("silence {id} not found")]
    NotFound {
        /// As asked for.
        id: String,
    },
    /// It is over already.
    #[error("silence {id} already expired")]
    AlreadyExpired {
        /// Its id.
        id: String,
    },
    /// Without a matcher it would mute nothing, or everything.
    #[error("silence invalid: at least one matcher required")]
    NoMatcher,
    /// It would mute every alert.
    #[error("silence invalid: at least one matcher must not match the empty string")]
    MatchesAll,
    /// A matcher cannot be read.
    #[error("silence invalid: invalid label matcher {index}: {reason}")]
    Matcher {
        /// From 0.
        index: usize,
        /// What is wrong.
        reason: MatcherError,
    },
    /// A label's name is none.
    #[error("silence invalid: invalid label name {name:?}")]
    LabelName {
        /// As written.
        name: String,
    },
    /// It ends before it starts.
    #[error("start time must be before end time")]
    EndsBeforeStart,
    /// It would be over at once.
    #[error("end time can't be in the past")]
    EndsInThePast,
    /// A text is too long, or there are too many of something.
    #[error("silence invalid: {what} is more than {most}")]
    TooMuch {
        /// Of what.
        what: &'static str,
        /// The limit.
        most: usize,
    },
}

/// A matcher in JSON.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MatcherShape {
    /// Label name.
    pub name: String,
    /// Value or pattern.
    pub value: String,
    /// Whether the value is a pattern.
    pub is_regex: bool,
    /// False for `!=` and `!~`. Clients from before Alertmanager 0.22 leave it out.
    #[serde(default = "yes")]
    pub is_equal: bool,
}

fn yes() -> bool {
    true
}

impl MatcherShape {
    fn read(&self, index: usize) -> Result<Matcher, SilenceError> {
        if !is_label_name(&self.name) {
            return Err(SilenceError::LabelName { name: self.name.clone() });
        }
        if self.name.len() > MAX_TEXT || self.value.len() > MAX_TEXT {
            return Err(SilenceError::TooMuch { what: "the length of a matcher", most: MAX_TEXT });
        }
        let op = match (self.is_regex, self.is_equal) {
            (false, true) => MatchOp::Equal,
            (false, false) => MatchOp::NotEqual,
            (true, true) => MatchOp::Regex,
            (true, false) => MatchOp::NotRegex,
        };
        Matcher::new(&self.name, op, &self.value).map_err(|reason| SilenceError::Matcher { index, reason })
    }
}

impl From<&Matcher> for MatcherShape {
    fn from(matcher: &Matcher) -> Self {
        let is_regex = matches!(matcher.op, MatchOp::Regex | MatchOp::NotRegex);
        let is_equal = matches!(matcher.op, MatchOp::Equal | MatchOp::Regex);
        MatcherShape { name: matcher.name.clone(), value: matcher.value.clone(), is_regex, is_equal }
    }
}

/// What a client posts: `postableSilence`.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Draft {
    /// The silence to change; none for a new one. `amtool import` sends an empty one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// All must hold.
    pub matchers: Vec<MatcherShape>,
    /// From this time on.
    #[serde(with = "serde_text")]
    pub starts_at: i64,
    /// Up to this time.
    #[serde(with = "serde_text")]
    pub ends_at: i64,
    /// Who makes it.
    pub created_by: String,
    /// Why.
    pub comment: String,
}

impl Draft {
    /// The matchers, read, and everything else checked.
    pub(super) fn check(&self, now: i64) -> Result<Vec<Matcher>, SilenceError> {
        if self.matchers.is_empty() {
            return Err(SilenceError::NoMatcher);
        }
        if self.matchers.len() > MAX_MATCHERS {
            return Err(SilenceError::TooMuch { what: "the number of matchers", most: MAX_MATCHERS });
        }
        for (what, text) in
            [("the length of the comment", &self.comment), ("the length of createdBy", &self.created_by)]
        {
            if text.len() > MAX_TEXT {
                return Err(SilenceError::TooMuch { what, most: MAX_TEXT });
            }
        }
        let matchers: Vec<Matcher> =
            self.matchers.iter().enumerate().map(|(index, shape)| shape.read(index)).collect::<Result<_, _>>()?;
        if matchers.iter().all(|matcher| matcher.matches_value("")) {
            return Err(SilenceError::MatchesAll);
        }
        if self.starts_at >= self.ends_at {
            return Err(SilenceError::EndsBeforeStart);
        }
        if self.ends_at <= now {
            return Err(SilenceError::EndsInThePast);
        }
        Ok(matchers)
    }
}

/// What a client is shown: `gettableSilence`. Without `status` it is the record in the state.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SilenceShape {
    /// Id.
    pub id: String,
    /// Matchers.
    pub matchers: Vec<MatcherShape>,
    /// Start.
    #[serde(with = "serde_text")]
    pub starts_at: i64,
    /// End.
    #[serde(with = "serde_text")]
    pub ends_at: i64,
    /// Author.
    pub created_by: String,
    /// Comment.
    pub comment: String,
    /// Last change.
    #[serde(with = "serde_text")]
    pub updated_at: i64,
    /// State at the time of the answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<StatusShape>,
}

/// `silenceStatus`.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct StatusShape {
    /// `pending`, `active`, `expired`.
    pub state: State,
}

impl Silence {
    /// Where it stands at a time.
    pub fn state(&self, now: i64) -> State {
        if now >= self.ends_at {
            State::Expired
        } else if now < self.starts_at {
            State::Pending
        } else {
            State::Active
        }
    }

    /// Whether an alert with these labels is meant, whatever the time.
    pub fn matches(&self, labels: &Labels) -> bool {
        self.matchers.iter().all(|matcher| matcher.matches(labels))
    }

    /// As a record, or, with a time, as an answer.
    pub fn shape(&self, now: Option<i64>) -> SilenceShape {
        SilenceShape {
            id: self.id.clone(),
            matchers: self.matchers.iter().map(MatcherShape::from).collect(),
            starts_at: self.starts_at,
            ends_at: self.ends_at,
            created_by: self.created_by.clone(),
            comment: self.comment.clone(),
            updated_at: self.updated_at,
            status: now.map(|now| StatusShape { state: self.state(now) }),
        }
    }

    /// From a record.
    ///
    /// # Errors
    /// [`SilenceError`] when a matcher cannot be read.
    pub fn from_shape(shape: SilenceShape) -> Result<Self, SilenceError> {
        let matchers = shape.matchers.iter().enumerate().map(|(index, matcher)| matcher.read(index));
        Ok(Silence {
            matchers: matchers.collect::<Result<_, _>>()?,
            id: shape.id,
            starts_at: shape.starts_at,
            ends_at: shape.ends_at,
            created_by: shape.created_by,
            comment: shape.comment,
            updated_at: shape.updated_at,
        })
    }
}
