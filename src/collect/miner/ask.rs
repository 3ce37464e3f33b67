//! Asking a miner: a list of questions per poll, over cgminer's TCP API, over HTTP, or both, one at a time.
//!
//! Most families differ only in what they ask and how they read it, so a family is a list of [`Question`]s, a way to
//! prove who we are, and a pure parser. The questions of a poll share one deadline. A question that is not `needed` may
//! fail without failing the poll, and one that is asked only every so many polls is answered from memory in between.

mod codes;
mod login;

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::time::Instant;

pub use codes::Codes;
pub use login::{BY_STATUS, Flow, Login, LoginRequest, cookies};

use super::device::Show;
use super::options::Options;
use super::place::Place;
use crate::collect::http::{Answer, Ask, Credential, Digest, Keep, Site};
use crate::collect::{Collector, OptionError, ParseError, Reply, tcp};
use crate::model::{FailureReason, PollFailure, Reading, Target};

/// Largest reply of one question: fifteen times the largest known one (a dump of every chip).
pub const MAX_REPLY: usize = 512 * 1024;

/// One thing to ask in a poll.
#[derive(Clone, Copy, Debug)]
pub struct Question {
    /// How it is asked.
    pub how: How,
    /// Whether the poll fails without an answer.
    pub needed: bool,
    /// Asked in every so manieth poll; 1 for each. What seldom changes need not be asked often.
    pub every: u32,
}

/// How a question is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// A command of cgminer's API: its name alone, or a whole JSON request.
    Rpc(&'static str),
    /// A JSON request with its length in front of it.
    Framed(&'static str),
    /// A path over HTTP.
    Get(&'static str),
    /// A path over HTTP and a body.
    Post {
        /// Path.
        path: &'static str,
        /// `content-type`.
        content: &'static str,
        /// Body.
        body: &'static str,
    },
}

impl Question {
    /// Asked in each poll, which fails without it.
    pub const fn needed(how: How) -> Self {
        Question { how, needed: true, every: 1 }
    }

    /// Asked in each poll, which does without it.
    pub const fn useful(how: How) -> Self {
        Question { how, needed: false, every: 1 }
    }

    /// What seldom changes: asked in every `every`th poll.
    pub const fn seldom(how: How, every: u32) -> Self {
        Question { how, needed: false, every }
    }
}

impl How {
    /// The name of its reply. Of a JSON request it is the command.
    pub fn name(self) -> String {
        match self {
            How::Rpc(request) | How::Framed(request) if request.starts_with('{') => {
                let request: serde_json::Value = serde_json::from_str(request).unwrap_or_default();
                let word = |key: &str| request.get(key).and_then(serde_json::Value::as_str).map(str::to_string);
                let command = word("command").or_else(|| word("cmd")).unwrap_or_default();
                match word("parameter").or_else(|| word("param")) {
                    Some(parameter) => format!("{command} {parameter}"),
                    None => command,
                }
            }
            How::Rpc(command) | How::Framed(command) => command.to_string(),
            How::Get(path) => format!("GET {path}"),
            How::Post { path, .. } => format!("POST {path}"),
        }
    }
}

/// How we prove who we are over HTTP.
pub enum Auth {
    /// Not at all.
    Open,
    /// The same header with each request.
    Fixed(Credential),
    /// HTTP Digest.
    Digest(Digest),
    /// A login that gives a token, again whenever the token is refused.
    Login(Login),
    /// A password and one-time codes, as AxeOS and its relatives want them.
    Codes(Codes),
}

impl Auth {
    /// Sends a request with what proves who we are.
    ///
    /// # Errors
    /// As [`Site::send`]; `Denied` when a login is refused or a secret cannot be read.
    pub async fn send(&self, site: &Site, ask: Ask<'_>, deadline: Instant) -> Result<Answer, PollFailure> {
        match self {
            Auth::Open => site.send(ask, deadline).await,
            Auth::Fixed(credential) => site.send(Ask { credential: Some(credential), ..ask }, deadline).await,
            Auth::Digest(digest) => digest.send(site, ask, deadline).await,
            Auth::Login(login) => login.send(site, ask, deadline).await,
            Auth::Codes(codes) => codes.send(site, ask, deadline).await,
        }
    }
}

/// The parser of a family: replies, address, what to show.
pub type Parser = fn(&[Reply], &str, Show) -> Result<Reading, ParseError>;

/// A miner that is asked a list of questions in each poll.
pub struct Asker {
    rpc: String,
    site: Option<Site>,
    auth: Auth,
    questions: Vec<Question>,
    timeout: Duration,
    show: Show,
    parse: Parser,
    memory: Mutex<Vec<Memory>>,
}

/// What is remembered of a seldom question.
#[derive(Clone, Default)]
enum Memory {
    /// Nothing: it is asked.
    #[default]
    Nothing,
    /// Its answer, and for how many polls that is still believed.
    Answer(Reply, u32),
    /// It was not answered, and so many polls do without it.
    Silence(u32),
}

/// A seldom question without an answer, and one whose answer was denied, is asked again after so many polls: a web
/// interface that is switched off costs time in each poll, and one with another password counts our attempts.
const PATIENCE: u32 = 12;

impl Asker {
    /// A miner that speaks cgminer's API at the target's address.
    ///
    /// # Errors
    /// [`OptionError`] at `address`.
    pub fn rpc(
        target: &Target,
        default_port: u16,
        questions: &[Question],
        options: &Options,
        parse: Parser,
    ) -> Result<Self, OptionError> {
        let rpc = Place::read(&target.address, "tcp", default_port)?.to_string();
        Ok(Asker::new(target, rpc, None, Auth::Open, questions, options, parse))
    }

    /// A miner that speaks HTTP at the target's address.
    ///
    /// # Errors
    /// [`OptionError`] at `address` or `options.tls`.
    pub fn web(
        target: &Target,
        default_port: u16,
        auth: Auth,
        questions: &[Question],
        options: &Options,
        parse: Parser,
    ) -> Result<Self, OptionError> {
        let site = Site::open(&target.address, default_port, options.tls.clone(), Keep::Close, MAX_REPLY)?;
        let place = site.place();
        Ok(Asker::new(target, place, Some(site), auth, questions, options, parse))
    }

    /// The same miner, asked over HTTP at `port` of the same host too.
    ///
    /// # Errors
    /// [`OptionError`] at `options.tls`.
    pub fn and_web(mut self, port: u16, auth: Auth, more: &[Question], options: &Options) -> Result<Self, OptionError> {
        let host = self.rpc.rsplit_once(':').map_or(&*self.rpc, |(host, _)| host);
        let tls = options.tls.clone();
        self.site = Some(Site::open(&format!("{host}:{port}"), port, tls, Keep::Close, MAX_REPLY)?);
        self.auth = auth;
        self.questions.extend_from_slice(more);
        Ok(self)
    }

    fn new(
        target: &Target,
        rpc: String,
        site: Option<Site>,
        auth: Auth,
        questions: &[Question],
        options: &Options,
        parse: Parser,
    ) -> Self {
        let (questions, timeout, show) = (questions.to_vec(), target.timeout, options.show());
        Asker { rpc, site, auth, questions, timeout, show, parse, memory: Mutex::default() }
    }

    async fn poll(&self, memory: &mut Vec<Memory>) -> Result<Vec<Reply>, PollFailure> {
        let deadline = Instant::now() + self.timeout;
        memory.resize(self.questions.len(), Memory::Nothing);
        let mut replies = Vec::with_capacity(self.questions.len());
        let mut refused = false;
        for (question, kept) in self.questions.iter().zip(memory) {
            match kept {
                Memory::Answer(reply, polls @ 1..) => {
                    *polls -= 1;
                    replies.push(reply.clone());
                    continue;
                }
                Memory::Silence(polls @ 1..) => {
                    *polls -= 1;
                    continue;
                }
                _ => {}
            }
            let behind_login = matches!(question.how, How::Get(_) | How::Post { .. });
            let seldom = question.every > 1;
            let silence = if seldom { Memory::Silence(question.every.min(PATIENCE) - 1) } else { Memory::Nothing };
            // A password that is wrong once in a poll is wrong for the rest of it.
            if refused && behind_login && !question.needed {
                *kept = Memory::Silence(PATIENCE - 1);
                continue;
            }
            // Without it the poll is still whole, so it may take half of what is left and no more.
            let left = deadline.saturating_duration_since(Instant::now());
            let deadline = if question.needed { deadline } else { Instant::now() + left / 2 };
            match self.ask(question.how, deadline).await {
                Ok(reply) => {
                    *kept = if seldom { Memory::Answer(reply.compact(), question.every - 1) } else { Memory::Nothing };
                    replies.push(reply);
                }
                Err(failure) if question.needed => return Err(failure),
                // The last answer is no longer believed: another device may have taken the address.
                Err(failure) => {
                    *kept = silence;
                    let (address, name) = (&self.rpc, question.how.name());
                    if behind_login && failure.reason == FailureReason::Denied {
                        refused = true;
                        *kept = Memory::Silence(PATIENCE - 1);
                        tracing::warn!(address, question = name, %failure, "the poll does without this page");
                    } else {
                        tracing::debug!(address, question = name, %failure, "not answered");
                    }
                }
            }
        }
        Ok(replies)
    }

    async fn ask(&self, how: How, deadline: Instant) -> Result<Reply, PollFailure> {
        let left = deadline.saturating_duration_since(Instant::now());
        match how {
            How::Rpc(request) if request.starts_with('{') => {
                let body = tcp::exchange(&self.rpc, request.as_bytes(), MAX_REPLY, left).await?;
                Ok(Reply::new(how.name(), body))
            }
            How::Rpc(command) => {
                let request = format!("{{\"command\":\"{command}\"}}");
                let body = tcp::exchange(&self.rpc, request.as_bytes(), MAX_REPLY, left).await?;
                Ok(Reply::new(command, body))
            }
            How::Framed(request) => {
                let body = tcp::exchange_framed(&self.rpc, request.as_bytes(), MAX_REPLY, left).await?;
                Ok(Reply::new(how.name(), body))
            }
            How::Get(path) => self.fetch(how, Ask::get(path), deadline).await,
            How::Post { path, content, body } => {
                let headers = [("content-type", content)];
                let ask = Ask { method: "POST", headers: &headers, body: Some(body.as_bytes()), ..Ask::get(path) };
                self.fetch(how, ask, deadline).await
            }
        }
    }

    /// A page with its status. A refusal of ours (401, 403, 429) and a redirect end the question; other statuses are the
    /// parser's, because firmware says "not mining" with a 4xx.
    async fn fetch(&self, how: How, ask: Ask<'_>, deadline: Instant) -> Result<Reply, PollFailure> {
        let site = self.site.as_ref().ok_or_else(|| PollFailure::new(FailureReason::Bug, "no address for HTTP"))?;
        let answer = self.auth.send(site, ask, deadline).await?;
        let answer = match answer.status {
            300..=399 | 401 | 403 | 429 => answer.success()?,
            _ => answer,
        };
        let Answer { status, body, .. } = answer;
        Ok(Reply { request: how.name(), status: Some(status), body })
    }
}

impl Collector for Asker {
    fn fetch(&self) -> BoxFuture<'_, Result<Vec<Reply>, PollFailure>> {
        Box::pin(async move {
            let mut memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner).clone();
            let result = self.poll(&mut memory).await;
            // After a failure the device may come back with another firmware.
            let kept = if result.is_ok() { memory } else { Vec::new() };
            *self.memory.lock().unwrap_or_else(PoisonError::into_inner) = kept;
            result
        })
    }

    fn parse(&self, replies: &[Reply]) -> Result<Reading, ParseError> {
        (self.parse)(replies, &self.rpc, self.show)
    }
}
