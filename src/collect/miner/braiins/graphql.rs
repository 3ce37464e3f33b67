//! The GraphQL API of 21.09 to 25.05. Hash rates are MH/s. Figures of a miner that is stopped are null, with a reason
//! under `errors`; an answer whose `data` is null altogether is a refusal.

use super::super::ask::{How, Question};
use super::super::device::{Board, Clock, Device, Fan, PowerSource, Sensor, Show};
use super::super::pools::{self, Pool};
use super::super::values::Fields;
use crate::collect::{ParseError, Reply};
use crate::model::Reading;

/// Boards, fans and pools that are read at most.
const PARTS: usize = 32;

const fn query(body: &'static str) -> How {
    How::Post { path: "/graphql", content: "application/json", body }
}

/// What is asked in a poll. Boards and model stand apart, because a field that a version lacks fails its whole query.
pub const QUESTIONS: &[Question] = &[
    Question::needed(query(
        r#"{"query":"{bos{hostname info{version{full}} uptime{durationS}} bosminer{info{fans{name rpm speed} summary{power{approxConsumptionW limitW}} workSolver{nominalMhs realHashrate{mhs5S}}}}}"}"#,
    )),
    Question::useful(query(
        r#"{"query":"{bosminer{info{workSolver{childSolvers{name nominalMhs realHashrate{mhs5S} hwDetails{chips frequencyMhz voltageV} temperatures{name degreesC}}}}}}"}"#,
    )),
    Question::useful(query(
        r#"{"query":"{bosminer{info{poolGroups{name pools{active status url user shares{acceptedSolutions rejectedSolutions}}}}}}"}"#,
    )),
    Question::seldom(query(r#"{"query":"{bosminer{info{modelName}}}"}"#), 240),
];

/// Turns the answers of one poll into samples.
pub fn parse(replies: &[Reply], address: &str, show: Show) -> Result<Reading, ParseError> {
    let mut reading = Reading::default();
    let mut device = super::device(address, "graphql");
    let mut known = false;
    let mut said = None;
    for (at, reply) in replies.iter().enumerate() {
        let page = match super::page(reply) {
            Ok(page) => page,
            Err(error) if at == 0 => return Err(error),
            Err(error) => {
                reading.notes.push(error.to_string());
                continue;
            }
        };
        let Some(page) = Fields::of(&page) else { continue };
        let complaint = page.objects("errors").find_map(|error| error.text("message"));
        if let Some(complaint) = complaint {
            reading.notes.push(format!("{}: {complaint}", reply.request));
            said = said.or(Some(complaint));
        }
        let Some(data) = page.object("data") else { continue };
        known |= put_data(&mut device, data);
    }
    if !known {
        let request = replies.first().map(|reply| reply.request.clone()).unwrap_or_default();
        let reason = said.map_or_else(
            || "no figures of a miner under \"data\"".to_string(),
            |said| format!("the firmware says {said:?}"),
        );
        return Err(ParseError::Malformed { request, reason });
    }
    device.tell_state();
    device.put(&mut reading, show);
    Ok(reading)
}

/// Everything that is in an answer; says whether anything was.
fn put_data(device: &mut Device, data: Fields<'_>) -> bool {
    let bos = data.object("bos");
    if let Some(bos) = bos {
        device.hostname = bos.text("hostname").unwrap_or_default();
        device.uptime = bos.object("uptime").and_then(|uptime| uptime.number("durationS"));
        let version = bos.object("info").and_then(|info| info.object("version")?.text("full"));
        super::put_version(device, &version.unwrap_or_default());
    }
    let bosminer = data.object("bosminer");
    let Some(info) = bosminer.and_then(|bosminer| bosminer.object("info")) else { return bos.is_some() };
    if let Some(model) = info.text("modelName") {
        device.make = if model.starts_with("Antminer") { "Bitmain" } else { "" }.to_string();
        device.model = model;
    }
    device.fans.extend(info.objects("fans").take(PARTS).enumerate().map(|(at, fields)| fan(fields, at)));
    let mut known = info.get(&["fans", "modelName", "poolGroups"]).is_some();
    if let Some(power) = info.object("summary").and_then(|summary| summary.object("power")) {
        let watts = power.number("approxConsumptionW");
        device.power = watts.map(|watts| (watts, PowerSource::Estimated)).or(device.power);
        device.power_limit = power.nonzero("limitW").or(device.power_limit);
        known = true;
    }
    if let Some(solver) = info.object("workSolver") {
        put_solver(device, solver);
        known = true;
    }
    let groups = info.objects("poolGroups").map(|group| group.objects("pools").take(PARTS).map(pool).collect());
    super::put_pools(device, groups);
    device.shares = pools::sum(&device.pools);
    known || bos.is_some()
}

/// A hash rate in MH/s.
fn megahashes(fields: Fields<'_>, key: &str) -> Option<f64> {
    Some(fields.number(key)? * 1e6)
}

fn put_solver(device: &mut Device, solver: Fields<'_>) {
    let rate = |solver: Fields<'_>| megahashes(solver.object("realHashrate")?, "mhs5S");
    device.hashrate = rate(solver).or(device.hashrate);
    device.expected = megahashes(solver, "nominalMhs").or(device.expected);
    for (at, child) in solver.objects("childSolvers").take(PARTS).enumerate() {
        let details = child.object("hwDetails");
        let detail = |key: &str| details.and_then(|details| details.nonzero(key));
        device.boards.push(Board {
            name: child.text("name").unwrap_or_else(|| at.to_string()),
            serial: details.and_then(|details| details.text("hbSerialNumber")).unwrap_or_default(),
            hashrate: rate(child),
            chips: detail("chips"),
            temperatures: child.objects("temperatures").take(PARTS).filter_map(sensor).collect(),
            frequency: Clock { set: None, actual: detail("frequencyMhz").map(|megahertz| megahertz * 1e6) },
            voltage: detail("voltageV"),
            ..Board::default()
        });
    }
    if !device.boards.is_empty() && device.hashrate.is_none() {
        device.hashrate = device.boards.iter().map(|board| board.hashrate).sum();
    }
}

/// Up to 24.09 `Board` and `Chip`, later `Max Board`, `Max Chip`, `Inlet` and `Outlet`.
fn sensor(fields: Fields<'_>) -> Option<Sensor> {
    let place = match fields.text("name")?.as_str() {
        "Board" | "Max Board" => "board",
        "Chip" | "Max Chip" => "chip",
        "Inlet" => "inlet",
        "Outlet" => "outlet",
        _ => return None,
    };
    Some(Sensor { place, celsius: fields.temperature("degreesC")? })
}

fn fan(fields: Fields<'_>, position: usize) -> Fan {
    let name = fields.text("name").unwrap_or_else(|| position.to_string());
    let duty = fields.number("speed").map(|percent| percent / 100.0);
    Fan { name, role: "", rpm: fields.number("rpm"), duty }
}

fn pool(fields: Fields<'_>) -> Pool {
    let url = fields.text("url").unwrap_or_default();
    let shares = fields.object("shares");
    let count = |key: &str| shares.and_then(|shares| shares.number(key));
    Pool {
        protocol: pools::protocol(&url).to_string(),
        url: pools::pool_url(&url, None),
        user: fields.text("user").unwrap_or_default(),
        up: fields.text("status").map(|status| status.eq_ignore_ascii_case("alive")),
        active: fields.flag("active"),
        shares: [count("acceptedSolutions"), count("rejectedSolutions"), None],
        ..Pool::default()
    }
}
