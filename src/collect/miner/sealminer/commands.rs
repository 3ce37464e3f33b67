//! What a SealMiner can be told to do: `ascset` of cgminer's API with the maker's words, and pages of its web interface
//! behind a login that gives a cookie. Source: public clients of both.

use futures_util::future::BoxFuture;
use serde_json::{Value as Json, json};
use tokio::time::Instant;

use super::super::ask::{Auth, Flow, LoginRequest, cookies};
use super::super::options::Options;
use super::super::tell::{self, BY_SECTIONS, Judge, Web, request};
use crate::collect::command::{Argument, Command, CommandError, Goal, Plan};
use crate::collect::http::Site;
use crate::model::Target;

/// The commands of this kind.
pub const COMMANDS: &[Command] = &[
    Command {
        name: "restart",
        help: tell::RESTART_HELP,
        argument: None,
        plan: |target, _| tell::rpc((target, 4028), vec![request("restart", "")], BY_SECTIONS, Goal::Restarted),
    },
    Command {
        name: "reboot",
        help: tell::REBOOT_HELP,
        argument: None,
        plan: |target, _| web(target, reboot(), BY_STATUS_PARTING, Goal::Restarted),
    },
    Command {
        name: "pause",
        help: tell::PAUSE_HELP,
        argument: None,
        plan: |target, _| {
            tell::rpc((target, 4028), vec![request("ascset", "0,suspend")], BY_SECTIONS, Goal::Awake(false))
        },
    },
    Command {
        name: "resume",
        help: "restarts mining, which ends a pause, and waits until its state says so",
        argument: None,
        plan: |target, _| tell::rpc((target, 4028), vec![request("restart", "")], BY_SECTIONS, Goal::Awake(true)),
    },
    Command {
        name: "power-limit",
        help: "sets the power limit, for which the whole device restarts, and reads it back",
        argument: Some(Argument::Number { name: "WATTS", bounds: (100, 20_000), or: &[] }),
        plan: |target, value| limit(target, value.number().unwrap_or_default()),
    },
    Command {
        name: "identify",
        help: tell::LIGHT_HELP,
        argument: Some(Argument::Word(&["on", "off"])),
        plan: |target, value| {
            let body = json!({ "key": "led", "value": value.word() });
            web(target, Web::json("POST", "/cgi-bin/led_conf.php", &body), ANSWERED, Goal::Unseen)
        },
    },
];

const LOGIN: Flow = Flow {
    request: |user, password| {
        let mut form = url::form_urlencoded::Serializer::new(String::new());
        form.append_pair("username", user).append_pair("origin_pwd", password);
        LoginRequest {
            method: "POST",
            path: "/cgi-bin/login.php".to_string(),
            content: "application/x-www-form-urlencoded; charset=UTF-8",
            body: Some(form.finish()),
        }
    },
    token: cookies,
    header: ("cookie", ""),
    // Whoever is not let in is led to the page of the login.
    refuses: |answer| matches!(answer.status, 300..=399 | 401 | 403),
};

/// Its pages speak JSON; whoever is not let in gets the page of the login.
const ANSWERED: Judge = |body| match serde_json::from_slice::<Json>(body) {
    Ok(_) => Ok(()),
    Err(_) => {
        let why = "the device refused: it answers with a page that is no answer; check username and password";
        Err(CommandError::Refused(why.to_string()))
    }
};

/// A device that restarts may say nothing more.
const BY_STATUS_PARTING: Judge = |body| if body.is_empty() { Ok(()) } else { ANSWERED(body) };

fn reboot() -> Web {
    Web::bare("GET", "/cgi-bin/reboot.php")
}

fn door(target: &Target) -> Result<(Site, Auth), CommandError> {
    let options = Options::read(target, super::OPTIONS).map_err(tell::mistakes)?;
    options.password.as_ref().ok_or_else(|| tell::needs("password"))?;
    Ok((tell::beside(target, &options, 80)?, options.login(LOGIN, "seal")))
}

fn web(target: &Target, message: Web, judge: Judge, goal: Goal) -> Result<Plan, CommandError> {
    let (site, auth) = door(target)?;
    Ok(tell::web_to(site, auth, vec![message], judge, goal))
}

/// The limit is taken over the API, and comes into force with a restart over the web interface: whoever is not let in
/// there must not set it here.
fn limit(target: &Target, watts: u32) -> Result<Plan, CommandError> {
    let (site, auth) = door(target)?;
    let address = tell::rpc_place(target, 4028)?;
    let parameter = format!("0,powerlimit,{}", json!({ "value": watts.to_string() }));
    let order = json!({ "command": "ascset", "parameter": parameter }).to_string();
    let known = Web::bare("GET", "/cgi-bin/get_system_info.php");
    let sends = vec![known.describe(), order.clone(), reboot().describe()];
    let send = move |by: Instant| -> BoxFuture<'static, Result<(), CommandError>> {
        Box::pin(async move {
            let asked = tell::send_web(&site, &auth, &known, by).await;
            // Nothing has been told yet, whatever became of the connection.
            let asked = asked.map_err(|error| CommandError::Refused(error.to_string()))?;
            ANSWERED(&asked.body)?;
            BY_SECTIONS(&tell::send_rpc(&address, &order, by).await?)?;
            let answer = tell::send_web(&site, &auth, &reboot(), by).await;
            // The limit is taken: that it does not restart is no reason to say that nothing was done.
            let answer = answer.map_err(|error| CommandError::Unknown(format!("the limit is taken, but: {error}")))?;
            BY_STATUS_PARTING(&answer.body)
        })
    };
    Ok(Plan { sends, send: Box::new(send), goal: tell::power_limit(watts) })
}
