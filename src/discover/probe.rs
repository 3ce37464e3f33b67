//! One address asked: a few questions that change nothing and need no login, to each port in turn and to all ports at
//! once. Small web servers die under load, so no port is asked two things at a time, and none more than it takes.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, join_all};
use tokio::time::Instant;

use super::arp::Neighbours;
use super::found::Found;
use super::scan::Search;
use crate::collect::http::{Ask, Keep, Site};
use crate::collect::miner::ask::How;
use crate::collect::miner::futurebit;
use crate::collect::miner::mark::{Clue, Door, Mark, recognise};
use crate::collect::{Collector, Reply, kind, tcp};
use crate::model::{FailureReason, Labels, PollFailure, Reading, Target};
use crate::schedule::poll::poll;

/// Largest answer that is read. The largest page of a miner that is asked here has 40 kB.
const MAX_ANSWER: usize = 128 * 1024;

/// Longest time for a connection: on a network of one's own it is taken in milliseconds, and most addresses are empty.
const CONNECT: Duration = Duration::from_secs(1);

/// Answers that one port may owe us before it is asked no more: a server may dislike one question.
const PATIENCE: usize = 2;

/// Longest time for one address, in answers.
const MOST_ANSWERS: u32 = 8;

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
pub(super) async fn probe(ip: IpAddr, search: &Search) -> Option<Found> {
    let clues = tokio::time::timeout(search.timeout * MOST_ANSWERS, ask_all(ip, search)).await.unwrap_or_default();
    let fitting = recognise(&clues);
    let mut found = confirmed(ip, search, &clues, &fitting).await?;
    if found.mac.is_none() {
        let table = search.arp_table.clone();
        // Only now: whom we talked to is in it. A file of the kernel's memory, but a file.
        let neighbours = tokio::task::spawn_blocking(move || Neighbours::of(&table)).await.unwrap_or_default();
        found.mac = neighbours.mac(ip);
    }
    Some(found)
}

async fn ask_all(ip: IpAddr, search: &Search) -> Vec<Clue> {
    let ports = &search.ports;
    let at = |port: &u16| SocketAddr::new(ip, *port);
    let mut doors: Vec<BoxFuture<'_, Vec<Clue>>> = Vec::new();
    doors.extend(ports.rpc.iter().map(|port| rpc(at(port), search.timeout).boxed()));
    doors.extend(ports.http.iter().map(|port| web(at(port), search.timeout).boxed()));
    doors.extend(ports.framed.iter().map(|port| framed(at(port), search.timeout).boxed()));
    join_all(doors).await.concat()
}

async fn rpc(address: SocketAddr, timeout: Duration) -> Vec<Clue> {
    let mut clues = Vec::new();
    for how in [VERSION, BTMINER_VERSION] {
        let How::Rpc(request) = how else { break };
        let (place, request) = (address.to_string(), request.as_bytes());
        let connect = timeout.min(CONNECT);
        let answer = tcp::exchange_if_there(&place, request, MAX_ANSWER, connect, timeout).await;
        let Ok(body) = answer else { break };
        let clue = Clue::new(Door::Rpc, address.port(), &Reply::new(how.name(), body), String::new());
        if clue.is_http() {
            clues.extend(page(Door::Rpc, address, EPIC, timeout).await.ok());
            break;
        }
        clues.push(clue);
        if !recognise(&clues).is_empty() {
            break;
        }
    }
    clues
}

async fn framed(address: SocketAddr, timeout: Duration) -> Vec<Clue> {
    let (place, How::Framed(request)) = (address.to_string(), DEVICE_INFO) else { return Vec::new() };
    if !tcp::knock(&place, timeout.min(CONNECT)).await {
        return Vec::new();
    }
    let answer = tcp::exchange_framed(&place, request.as_bytes(), MAX_ANSWER, timeout).await;
    let clue = |body| Clue::new(Door::Framed, address.port(), &Reply::new(DEVICE_INFO.name(), body), String::new());
    answer.ok().map(clue).into_iter().collect()
}

async fn web(address: SocketAddr, timeout: Duration) -> Vec<Clue> {
    let mut clues = Vec::new();
    if !tcp::knock(&address.to_string(), timeout.min(CONNECT)).await {
        return clues;
    }
    let mut owed = 0;
    let mut pages = std::iter::once(HOME).chain(PAGES);
    let mut hinted = None;
    while let Some((how, port)) = hinted.take().or_else(|| Some((pages.next()?, address.port()))) {
        match page(Door::Http, SocketAddr::new(address.ip(), port), how, timeout).await {
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
        if hinted.is_none() && !recognise(&clues).is_empty() {
            break;
        }
    }
    clues
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

/// Polls once as each of the kinds that fit, until one answers. What answers as none is found all the same, and says why.
async fn confirmed(ip: IpAddr, search: &Search, clues: &[Clue], fitting: &[&Mark]) -> Option<Found> {
    let mut first = None;
    for mark in fitting {
        let mut found = Found { address: address(ip, mark, clues), kind: mark.kind, ..Found::default() };
        match first_poll(&found, search).await {
            Ok(reading) => {
                found.learn(&reading);
                return Some(found);
            }
            Err(trouble) => found.trouble = Some(trouble),
        }
        first.get_or_insert(found);
    }
    first
}

/// As short as the kind understands it: its own port is left out.
fn address(ip: IpAddr, mark: &Mark, clues: &[Clue]) -> String {
    let port =
        clues.iter().find(|clue| clue.door == mark.door && (mark.bears)(clue)).map_or(mark.port, |clue| clue.port);
    match (ip, port == mark.port) {
        (IpAddr::V4(v4), true) => v4.to_string(),
        (IpAddr::V6(v6), true) => format!("[{v6}]"),
        (ip, false) => SocketAddr::new(ip, port).to_string(),
    }
}

async fn first_poll(found: &Found, search: &Search) -> Result<Reading, String> {
    let kind = kind(found.kind).ok_or("no such kind")?;
    let timeout = search.timeout * MOST_ANSWERS;
    let target = Target {
        id: found.address.as_str().into(),
        kind: kind.name.into(),
        address: found.address.clone(),
        interval: timeout.max(kind.min_interval),
        timeout,
        cron: None,
        labels: Labels::empty(),
        options: serde_json::Value::Null,
    };
    let collector: Arc<dyn Collector> = match (kind.open)(&target) {
        Ok(collector) => collector.into(),
        Err(errors) => return Err(errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")),
    };
    poll(&target, &collector).await.outcome.map_err(|failure| failure.to_string())
}
