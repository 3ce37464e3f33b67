//! The pages of Innosilicon's web interface: each is a POST without a body, and says by `success` whether it was answered.

use serde_json::Value;

use super::super::ask::{Flow, How, LoginRequest, Question};
use super::super::device::{Device, PowerSource, Sensor, State};
use super::super::repair;
use super::super::values::Fields;
use super::{PARTS, all_fans};
use crate::collect::Reply;
use crate::collect::http::Answer;
use crate::model::Reading;

/// The user of the web interface, as it is shipped.
pub const USER: &str = "admin";

const FORM: &str = "application/x-www-form-urlencoded";

const fn page(path: &'static str) -> How {
    How::Post { path, content: "application/json", body: "{}" }
}

/// What is asked beside the commands. `getAll` alone knows the power, and not every firmware has it.
pub const PAGES: &[Question] = &[
    Question::useful(page("/api/summary")),
    Question::seldom(page("/api/getAll"), 2),
    Question::seldom(page("/api/getErrorDetail"), 4),
    Question::seldom(page("/api/overview"), 240),
];

/// How it is logged in to.
pub const LOGIN: Flow = Flow {
    request: |user, password| {
        let mut form = url::form_urlencoded::Serializer::new(String::new());
        form.append_pair("username", user).append_pair("password", password);
        LoginRequest { method: "POST", path: "/api/auth".to_string(), content: FORM, body: Some(form.finish()) }
    },
    token: |answer: &Answer| {
        let answer: Value = serde_json::from_slice(&answer.body).ok()?;
        Some(answer.get("jwt")?.as_str()?.to_string())
    },
    header: ("authorization", "Bearer "),
    refuses: |answer: &Answer| {
        let said = || serde_json::from_slice::<Value>(&answer.body).unwrap_or_default();
        matches!(answer.status, 401 | 403) || (answer.body.len() < SHORT && said()["token"] == "expired")
    },
};

/// A refusal is shorter than this; what is longer need not be read twice.
const SHORT: usize = 512;

/// MAC addresses that no single machine has: nothing, and what stands in the chip's data sheet.
const NO_MACS: [&str; 2] = ["00:00:00:00:00:00", "00:0A:35:00:00:00"];

/// A page that was answered.
pub fn read(reply: &Reply, reading: &mut Reading) -> Option<Value> {
    let page = repair::read(&reply.body).ok()?.value;
    if page.get("success") == Some(&Value::Bool(true)) {
        return Some(page);
    }
    let said = Fields::of(&page).and_then(|page| page.text_of(&["message", "msg", "token"]));
    reading.notes.push(format!("{}: not answered: {}", reply.request, said.unwrap_or_default()));
    None
}

/// Who it is.
pub fn put_identity(device: &mut Device, page: &Value) {
    let Some(page) = Fields::of(page) else { return };
    let version = page.object("version");
    if let Some(model) = version.and_then(|_| page.text("type")) {
        device.model = model;
    }
    if let Some(built) = version.and_then(|version| version.text("platform_v")) {
        device.firmware_version = built;
    }
    let said = version.and_then(|version| version.text("ethaddr"));
    let said = said.or_else(|| page.object("all").and_then(|all| all.text("mac")));
    // Some put blanks into it.
    let mac = said.map(|mac| mac.replace(' ', "").to_ascii_uppercase());
    if let Some(mac) = mac.filter(|mac| !NO_MACS.contains(&&**mac)) {
        device.mac = mac;
    }
}

/// What "MHS" is in hashes per second: `Hash Rate H` is the average over 15 minutes in hashes.
pub fn unit(page: &Value) -> Option<f64> {
    let both = |dev: Fields<'_>| Some(dev.nonzero("Hash Rate H")? / dev.nonzero("MHS 15m")?);
    let thousands = (Fields::of(page)?.objects("DEVS").find_map(both)?.log10() / 3.0).round();
    (0.0..=4.0).contains(&thousands).then(|| 1000f64.powf(thousands))
}

/// What it measures. Its rates are averages, so they stand in only where the commands had none.
pub fn put_figures(device: &mut Device, page: &Value) {
    let Some(page) = Fields::of(page) else { return };
    put_chains(device, page.objects("DEVS"));
    let all = page.object("all");
    let total = all.and_then(|all| all.object("total_hash")?.number("Hash Rate H"));
    device.hashrate = device.hashrate.or(total);
    let duty = page.object("HARDWARE").and_then(|hardware| hardware.number("Fan duty"));
    let duty = duty.or_else(|| page.objects("DEVS").find_map(|dev| dev.nonzero("DUTY")));
    if let Some(all) = all {
        put_chains(device, all.objects("chain"));
        device.power = all.nonzero("power").map(|watts| (watts, PowerSource::Estimated));
    }
    if let Some(percent) = duty.or_else(|| all.and_then(|all| all.nonzero("fansSpeed"))) {
        device.fans = vec![all_fans(percent)];
    }
    if page.flag("tuning") == Some(true) {
        device.state = State::Tuning;
    }
    // 0: all is well.
    if let Some(code) = page.text("code").filter(|code| code != "0" && page.0.contains_key("detail")) {
        device.faults.push((code, String::new()));
    }
}

fn put_chains<'a>(device: &mut Device, chains: impl Iterator<Item = Fields<'a>>) {
    for chain in chains.take(PARTS) {
        let name = chain.text("ASC");
        let Some(board) = device.boards.iter_mut().find(|board| Some(&board.name) == name.as_ref()) else { continue };
        board.hashrate = board.hashrate.or(chain.number("Hash Rate H"));
        let hottest = ["TempMAX", "Temp max"].iter().find_map(|key| chain.temperature(key));
        if let Some(celsius) = hottest {
            board.temperatures = vec![Sensor { place: "chip", celsius }];
        }
    }
}
