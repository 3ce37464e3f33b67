//! What Braiins OS can be told to do by the APIs that it had before REST. GraphQL wants a login, which gives a cookie; the
//! TCP API knows `pause` and `resume`. Sources: public clients of both.
//!
//! Neither says that it was stopped by somebody: a miner that does not run is one that was stopped, or one that failed.
//! So the state of the device stays what it is, and what was wanted is read from what does not answer.

use serde_json::{Value as Json, json};

use super::super::ask::{BY_STATUS, Flow, LoginRequest, cookies};
use super::super::documents;
use super::super::options::Options;
use super::super::tell::{self, BY_SECTIONS, Judge, Web, request};
use super::super::values::clean;
use crate::collect::command::{Argument, Command, CommandError, Goal, Plan, Seen};
use crate::collect::http::Answer;
use crate::model::Target;

/// The commands of kind `braiins_rpc`. Its pool commands are taken and forgotten, so they are not offered.
pub const RPC_COMMANDS: &[Command] = &[
    Command {
        name: "pause",
        help: PAUSE_HELP,
        argument: None,
        plan: |target, _| tell::rpc((target, 4028), vec![request("pause", "")], BY_SECTIONS, runs(false, rpc_runs)),
    },
    Command {
        name: "resume",
        help: RESUME_HELP,
        argument: None,
        plan: |target, _| tell::rpc((target, 4028), vec![request("resume", "")], BY_SECTIONS, runs(true, rpc_runs)),
    },
];

/// The commands of kind `braiins_graphql`.
pub const GRAPHQL_COMMANDS: &[Command] = &[
    Command {
        name: "pause",
        help: PAUSE_HELP,
        argument: None,
        plan: |target, _| order(target, STOP, runs(false, graphql_runs)),
    },
    Command {
        name: "resume",
        help: RESUME_HELP,
        argument: None,
        plan: |target, _| order(target, START, runs(true, graphql_runs)),
    },
    Command {
        name: "power-limit",
        help: "sets the power target of the tuner and reads it back",
        argument: Some(Argument::Number { name: "WATTS", bounds: (100, 20_000), or: &[] }),
        plan: |target, value| {
            let watts = value.number().unwrap_or_default();
            let query = format!(
                "mutation{{bosminer{{config{{updateAutotuning(input:{{powerTarget:{watts}}},apply:true){{__typename \
                 ...on AttributeError{{message}} ...on AutotuningError{{message}}}}}}}}}}"
            );
            order(target, &query, tell::power_limit(watts))
        },
    },
];

const PAUSE_HELP: &str = "stops mining until it is resumed, and waits until the miner no longer runs";
const RESUME_HELP: &str = "mines again after a pause, and waits until the miner runs";
const STOP: &str = "mutation{bosminer{stop{...on VoidResult{void} ...on BosminerError{message}}}}";
const START: &str = "mutation{bosminer{start{...on VoidResult{void} ...on BosminerError{message}}}}";

/// Names and passwords are strings of JSON in a query too.
const LOGIN: Flow = Flow {
    request: |user, password| {
        let (user, password) = (json!(user), json!(password));
        let query = format!(
            "mutation{{auth{{login(username:{user},password:{password}){{...on VoidResult{{void}} ...on AuthError{{message}}}}}}}}"
        );
        LoginRequest {
            method: "POST",
            path: "/graphql".to_string(),
            content: "application/json",
            body: Some(json!({ "query": query }).to_string()),
        }
    },
    token: |answer: &Answer| {
        let said: Json = serde_json::from_slice(&answer.body).ok()?;
        let let_in = said.pointer("/data/auth/login/void").is_some_and(|void| !void.is_null());
        if let_in { cookies(answer) } else { None }
    },
    header: ("cookie", ""),
    refuses: BY_STATUS,
};

/// Refusals come with status 200: under `errors`, or as a message where a result would be.
const BY_ANSWER: Judge = |body| {
    let unclear = |error| CommandError::Unknown(format!("its answer cannot be read: {error}"));
    let said: Json = serde_json::from_slice(body).map_err(unclear)?;
    let at = ["/errors/0/message", "/data/bosminer/stop/message", "/data/bosminer/start/message"];
    let at = at.into_iter().chain(["/data/bosminer/config/updateAutotuning/message"]);
    match at.filter_map(|at| said.pointer(at)?.as_str()).next() {
        Some(why) => Err(CommandError::Refused(format!("the device refused: {}", clean(why)))),
        None => Ok(()),
    }
};

fn order(target: &Target, query: &str, goal: Goal) -> Result<Plan, CommandError> {
    let options = Options::read(target, super::KIND_GRAPHQL.options).map_err(tell::mistakes)?;
    options.password.as_ref().ok_or_else(|| tell::needs("password"))?;
    let message = Web::json("POST", "/graphql", &json!({ "query": query }));
    tell::web((target, 80), options.login(LOGIN, super::USER), &options, vec![message], BY_ANSWER, goal)
}

/// A miner that is to run, or not.
fn runs(wanted: bool, of: fn(&Seen) -> Option<bool>) -> Goal {
    let word = |runs: bool| if runs { "running" } else { "stopped" }.to_string();
    let read = move |seen: &Seen| of(seen).map(word);
    let undo = move |seen: &Seen| match (of(seen)?, wanted) {
        (true, false) => Some("resume".to_string()),
        (false, true) => Some("pause".to_string()),
        _ => None,
    };
    let goal = Goal::Word { of: Box::new(read), wanted: word(wanted) };
    Goal::Undone { goal: Box::new(goal), undo: Box::new(undo) }
}

/// What a miner that is stopped says of its devices is `Unavailable`.
fn rpc_runs(seen: &Seen) -> Option<bool> {
    let devices = seen.replies.iter().find(|reply| reply.request == "devdetails")?;
    Some(!documents::message(&devices.body)?.eq_ignore_ascii_case("unavailable"))
}

/// The figures of a miner that is stopped are null.
fn graphql_runs(seen: &Seen) -> Option<bool> {
    let page: Json = serde_json::from_slice(&seen.replies.first()?.body).ok()?;
    let reached = page.pointer("/data/bos").is_some_and(Json::is_object);
    let figures = page.pointer("/data/bosminer/info/workSolver").is_some_and(Json::is_object);
    (reached || figures).then_some(figures)
}
