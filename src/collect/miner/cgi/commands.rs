//! What makers who kept Antminer's newer web interface can be told over it. Source: public clients of these pages.

use serde_json::{Value as Json, json};

use super::super::ask::Auth;
use super::super::tell::{self, BY_STATUS, Judge, Web};
use super::super::values::clean;
use crate::collect::command::{CommandError, Goal, Plan};
use crate::collect::http::Site;

/// An answer of a page that takes settings: `{"stats": "error", "msg": …}` is a refusal.
pub const TAKEN: Judge = |body| {
    let said: Json = serde_json::from_slice(body).unwrap_or_default();
    match said["stats"].as_str() {
        Some("error") => {
            let why = said["msg"].as_str().unwrap_or("it does not say why");
            Err(CommandError::Refused(format!("the device refused: {}", clean(why))))
        }
        _ => Ok(()),
    }
};

/// The light's page says `B000` when it blinks and `B100` when it does not.
const BLINKS: Judge = |body| {
    let said: Json = serde_json::from_slice(body).unwrap_or_default();
    match said["code"].as_str() {
        None | Some("B000" | "B100") => TAKEN(body),
        Some(code) => Err(CommandError::Refused(format!("the device refused: code {}", clean(code)))),
    }
};

/// Restarts the whole device.
pub fn reboot(site: Site, auth: Auth) -> Plan {
    tell::web_to(site, auth, vec![Web::bare("GET", "/cgi-bin/reboot.cgi")], BY_STATUS, Goal::Restarted)
}

/// Makes the light blink, or not.
pub fn light(site: Site, auth: Auth, on: bool) -> Plan {
    let message = Web::json("POST", "/cgi-bin/blink.cgi", &json!({ "blink": on.to_string() }));
    tell::web_to(site, auth, vec![message], BLINKS, Goal::Unseen)
}
