//! One address asked: a few questions that change nothing and need no login, to each port in turn and to all ports at
//! once. Small web servers die under load, so no port is asked two things at a time, and none more than it takes.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, join_all};
use tokio::time::Instant;

use super::arp::Neighbours;
use super::found::{Found, trouble};
use super::kinds;
use super::scan::{Patience, Search, Trust};
use crate::collect::http::{Ask, Keep, Site};
use crate::collect::miner::ask::How;
use crate::collect::miner::futurebit;
use crate::collect::miner::mark::{Clue, Door, Mark, recognise_where};
use crate::collect::{Collector, Reply, tcp};
use crate::model::{FailureReason, PollFailure, Reading};
use crate::schedule::poll::poll;

/// Largest answer that is read. The largest page of a miner that is asked here has 40 kB.
const MAX_ANSWER: usize = 128 * 1024;

/// Longest time for a connection: on a network of one's own it is taken in milliseconds, and most addresses are empty.
const CONNECT: Duration = Duration::from_secs(1);

/// Answers that one port may owe us before it is asked no more: a server may dislike one question.
const PATIENCE: usize = 2;

/// Where web interfaces are unless somebody has moved them.
const USUAL_WEB_PORT: u16 = 80;

/// What every relative of cgminer answers.
const VERSION: How = How::Rpc("{\"command\":\"version\"}");
/// WhatsMiners that do not take that for a command.
const BTMINER_VERSION: How = How::Rpc("{\"cmd\":\"get_version\"}");
/// The newer API of WhatsMiners.
const DEVICE_INFO: How = How::Framed("{\"cmd\":\"get.device.info\"}");
/// A web interface by itself: some name themselves, in its text or in the password's realm.
const HOME: How = How::Get("/");
/// What is asked of ePIC's firmware, which speaks HTTP where others have cgminer's API.
const EPIC: How = How::Get("/summary");
/// Pages that are open, the most frequent first.
const PAGES: [How; 5] = [
    How::Get("/api/system/info"),
    How::Get("/api/v1/info"),
    How::Get("/mcb/status"),
    How::Get("/api/v1/system"),
    How::Get("/2/summary"),
];
/// Asked only where the home page says that it is Braiins OS.
const BRAIINS: How =
    How::Post { path: "/graphql", content: "application/json", body: "{\"query\":\"{bosminer{info{modelName}}}\"}" };
/// Asked only where the home page is IceRiver's.
const ICERIVER: How =
    How::Post { path: "/user/userpanel", content: "application/x-www-form-urlencoded", body: "post=4" };

/// Asks one address, and polls once what is recognised.
pub(super) async fn probe(ip: IpAddr, search: &Search, patience: Patience, trust: &Trust) -> Option<Found> {
    let asker = Asker { ip, search, patience };
    let clues = tokio::time::timeout(patience.all, asker.ask_all()).await.unwrap_or_default();
    let mut found = asker.confirmed(&clues, &asker.recognise(&clues)).await?;
    asker.learn_mac(&mut found).await;
    if search.kinds.log_in(found.kind) && trust(&found) {
        asker.log_in(&mut found).await;
    }
    Some(found)
}

/// Asks one address.
struct Asker<'a> {
    ip: IpAddr,
    search: &'a Search,
    patience: Patience,
}

impl Asker<'_> {
    async fn ask_all(&self) -> Vec<Clue> {
        let at = |port: u16| SocketAddr::new(self.ip, port);
        let mut doors: Vec<BoxFuture<'_, Vec<Clue>>> = Vec::new();
        doors.extend(self.search.ports_of(Door::Rpc).into_iter().map(|port| self.rpc(at(port)).boxed()));
        doors.extend(self.search.ports_of(Door::Http).into_iter().map(|port| self.web(at(port)).boxed()));
        doors.extend(self.search.ports_of(Door::Framed).into_iter().map(|port| self.framed(at(port)).boxed()));
        join_all(doors).await.concat()
    }

    fn recognise(&self, clues: &[Clue]) -> Vec<&'static Mark> {
        recognise_where(clues, |mark, clue| self.expects(mark, clue))
    }

    fn expects(&self, mark: &Mark, clue: &Clue) -> bool {
        self.search.kinds.expects(mark, clue, &self.search.ports)
    }

    /// Longest time for a connection: less than for an answer, so that an empty address is told from one that holds us.
    fn connect(&self) -> Duration {
        CONNECT.min(self.patience.answer * 3 / 4)
    }

    async fn rpc(&self, address: SocketAddr) -> Vec<Clue> {
        let mut clues = Vec::new();
        for how in [VERSION, BTMINER_VERSION] {
            let How::Rpc(request) = how else { break };
            let (place, request, timeout) = (address.to_string(), request.as_bytes(), self.patience.answer);
            let answer = tcp::exchange_if_there(&place, request, MAX_ANSWER, self.connect(), timeout).await;
            let Ok(body) = answer else { break };
            let clue = Clue::new(Door::Rpc, address.port(), &Reply::new(how.name(), body), String::new());
            if clue.is_http() {
                clues.extend(page(Door::Rpc, address, EPIC, timeout).await.ok());
                break;
            }
            clues.push(clue);
            if !self.recognise(&clues).is_empty() {
                break;
            }
        }
        clues
    }

    async fn framed(&self, address: SocketAddr) -> Vec<Clue> {
        let (place, How::Framed(request)) = (address.to_string(), DEVICE_INFO) else { return Vec::new() };
        if !tcp::knock(&place, self.connect()).await {
            return Vec::new();
        }
        let answer = tcp::exchange_framed(&place, request.as_bytes(), MAX_ANSWER, self.patience.answer).await;
        let clue = |body| Clue::new(Door::Framed, address.port(), &Reply::new(DEVICE_INFO.name(), body), String::new());
        answer.ok().map(clue).into_iter().collect()
    }

    async fn web(&self, address: SocketAddr) -> Vec<Clue> {
        let mut clues = Vec::new();
        if !tcp::knock(&address.to_string(), self.connect()).await {
            return clues;
        }
        let mut owed = 0;
        let mut pages = std::iter::once(HOME).chain(PAGES);
        let mut hinted = None;
        while let Some((how, port)) = hinted.take().or_else(|| Some((pages.next()?, address.port()))) {
            match page(Door::Http, SocketAddr::new(self.ip, port), how, self.patience.answer).await {
                Ok(clue) => {
                    hinted = hint(how, &clue);
                    clues.push(clue);
                }
                Err(failure) => {
                    owed += 1;
                    if owed == PATIENCE || failure.reason == FailureReason::Timeout {
                        break;
                    }
                }
            }
            if hinted.is_none() && !self.recognise(&clues).is_empty() {
                break;
            }
        }
        clues
    }

    /// Polls once as each of the kinds that fit, until one answers. What answers as none is found all the same, and says
    /// why.
    async fn confirmed(&self, clues: &[Clue], fitting: &[&'static Mark]) -> Option<Found> {
        let (mut first, begun) = (None, Instant::now());
        for mark in fitting {
            let mut found = self.found(mark, clues);
            let options = self.search.kinds.open_options(mark.kind, found.web_port);
            match self.first_poll(&found, options).await {
                Ok(reading) => {
                    found.learn(&reading);
                    return Some(found);
                }
                Err(failure) => {
                    found.locked = failure.reason == FailureReason::Denied;
                    found.trouble = Some(trouble(&failure));
                }
            }
            first.get_or_insert(found);
            // Who looks like everything at once is not asked as everything.
            if begun.elapsed() >= self.patience.all {
                break;
            }
        }
        first
    }

    /// Polls once more, as whoever has the credentials of its kind; before, it was decided that it is adopted.
    async fn log_in(&self, found: &mut Found) {
        let options = self.search.kinds.options(found.kind, found.web_port);
        match self.first_poll(found, options).await {
            Ok(reading) => {
                (found.trouble, found.locked) = (None, false);
                let mac = found.mac;
                found.learn(&reading);
                found.mac = found.mac.or(mac);
            }
            Err(failure) if found.trouble.is_some() => {
                let why = trouble(&failure);
                found.trouble = Some(format!("with the options of discovery.kinds.{}: {why}", found.kind));
            }
            // It answers without a login too.
            Err(_) => {}
        }
    }

    fn found(&self, mark: &Mark, clues: &[Clue]) -> Found {
        let port_of = |door: Door| {
            let bears = |clue: &&Clue| clue.door == door && self.expects(mark, clue) && (mark.bears)(clue);
            clues.iter().find(bears).map(|clue| clue.port)
        };
        // As short as the kind understands it: its own port is left out.
        let port = port_of(mark.door).unwrap_or(mark.port);
        let address = match (self.ip, port == mark.port) {
            (IpAddr::V4(v4), true) => v4.to_string(),
            (IpAddr::V6(v6), true) => format!("[{v6}]"),
            (ip, false) => SocketAddr::new(ip, port).to_string(),
        };
        let web_port = port_of(Door::Http).filter(|port| mark.door != Door::Http && *port != USUAL_WEB_PORT);
        Found { address, kind: mark.kind, web_port, ..Found::default() }
    }

    async fn first_poll(&self, found: &Found, options: serde_json::Value) -> Result<Reading, PollFailure> {
        let target = kinds::target(found.kind, &found.address, self.patience.all, options);
        let collector: Arc<dyn Collector> = match kinds::open(&target) {
            Ok(collector) => collector.into(),
            Err(errors) => {
                let errors = errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
                return Err(PollFailure::new(FailureReason::Bug, errors));
            }
        };
        poll(&target, &collector).await.outcome
    }

    /// From the ARP table, where its replies say none.
    async fn learn_mac(&self, found: &mut Found) {
        if found.mac.is_none() {
            let table = self.search.arp_table.clone();
            // Only now: whom we talked to is in it. A file of the kernel's memory, but a file.
            let neighbours = tokio::task::spawn_blocking(move || Neighbours::of(&table)).await.unwrap_or_default();
            found.mac = neighbours.mac(self.ip);
        }
    }
}

/// What a home page gives reason to ask, and on which port. Nobody else is sent a POST.
fn hint(how: How, home: &Clue) -> Option<(How, u16)> {
    if how != HOME {
        return None;
    }
    if home.page_says("Braiins OS") {
        return Some((BRAIINS, home.port));
    }
    // An Apollo's page is on another port than its API.
    if home.status == Some(308) && home.headers.contains("/overview") {
        return Some((futurebit::ONLINE, futurebit::MARK.port));
    }
    let iceriver = home.page_says("用户界面") || home.page_says("IceRiver") || home.headers.contains("/user/");
    iceriver.then_some((ICERIVER, home.port))
}

/// One question to a web interface; whatever its status, the answer is a clue.
async fn page(door: Door, address: SocketAddr, how: How, timeout: Duration) -> Result<Clue, PollFailure> {
    let bug = |text: String| PollFailure::new(FailureReason::Bug, text);
    let site = Site::open(&address.to_string(), address.port(), None, Keep::Close, MAX_ANSWER);
    let site = site.map_err(|error| bug(error.to_string()))?;
    let content;
    let ask = match how {
        How::Post { path, content: kind, body } => {
            content = [("content-type", kind)];
            Ask { method: "POST", headers: &content, body: Some(body.as_bytes()), ..Ask::get(path) }
        }
        How::Get(path) => Ask::get(path),
        How::Rpc(_) | How::Framed(_) => return Err(bug(format!("{} is no page", how.name()))),
    };
    let answer = site.send(ask, Instant::now() + timeout).await?;
    let header = |name: &str| answer.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let headers = format!("{} {}", header("www-authenticate"), header("location"));
    let reply = Reply { request: how.name(), status: Some(answer.status), body: answer.body };
    Ok(Clue::new(door, address.port(), &reply, headers))
}
