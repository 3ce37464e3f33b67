//! What can be wrong with a simulated device, and when.

use std::time::Duration;

/// What can be wrong with a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fault {
    /// It heats up until its firmware stops hashing.
    Overheat,
    /// Its hash rate drops to a third, until it is restarted.
    LowHashrate,
    /// Its socket is closed.
    Dead,
    /// It says the same hash rate and shares again and again, only its uptime goes on.
    Frozen,
    /// It takes what it is told, and does not do it.
    Stubborn,
    /// It does what it is told, and its answer to that is lost.
    AnswerLost,
    /// It does harm to whoever asks it.
    Hostile(Hostile),
}

/// How a device does harm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Hostile {
    /// Random bytes.
    Garbage,
    /// JSON that ends in the middle.
    TruncatedJson,
    /// 200,000 nested brackets.
    DeepNesting,
    /// A body without end.
    EndlessBody,
    /// 64 MiB of zeros in a small gzip body.
    GzipBomb,
    /// A redirect to the cloud's metadata address.
    Redirect,
    /// One byte of the body per second.
    BytePerSecond,
    /// Takes the request and resets the connection.
    Reset,
    /// HTTP status 500.
    WrongStatus,
    /// Takes the request and never answers.
    Silent,
    /// Takes the request and closes without an answer.
    Empty,
    /// The first half of what a sound device answers.
    Half,
    /// What a sound device answers, with other types everywhere.
    WrongType,
    /// Refuses whoever asks: HTTP status 401, or the words of its protocol for it.
    Unauthorized,
}

impl Hostile {
    /// All of them.
    pub const ALL: [Hostile; 14] = [
        Hostile::Garbage,
        Hostile::TruncatedJson,
        Hostile::DeepNesting,
        Hostile::EndlessBody,
        Hostile::GzipBomb,
        Hostile::Redirect,
        Hostile::BytePerSecond,
        Hostile::Reset,
        Hostile::WrongStatus,
        Hostile::Silent,
        Hostile::Empty,
        Hostile::Half,
        Hostile::WrongType,
        Hostile::Unauthorized,
    ];
}

/// One fault of a script.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// When it comes, after the start of the fleet.
    pub after: Duration,
    /// How long it stays; `None`: until something cures it.
    pub lasts: Option<Duration>,
    /// What it is.
    pub fault: Fault,
}

impl Step {
    /// A fault that stays.
    pub const fn from(after: Duration, fault: Fault) -> Self {
        Step { after, lasts: None, fault }
    }

    /// A fault that goes by itself.
    pub const fn during(after: Duration, lasts: Duration, fault: Fault) -> Self {
        Step { after, lasts: Some(lasts), fault }
    }
}
