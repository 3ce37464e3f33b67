//! What a simulated device is set to, and what it does when it is told otherwise: the writes of the families whose
//! presets can be applied, in the words of each.

use serde_json::{Value, json};

use super::Model;
use super::device::Device;
use super::fault::Fault;
use super::gate::PASSWORD;
use super::talk::{Answer, Request};

/// A pool of a device.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pool {
    /// With its scheme and port.
    pub url: String,
    /// Who is mined for.
    pub user: String,
    /// What it logs in with.
    pub password: String,
}

impl Pool {
    /// A pool with the password `x`.
    pub fn new(url: &str, user: &str) -> Self {
        Pool { url: url.to_string(), user: user.to_string(), password: "x".to_string() }
    }
}

/// Everything that a device is set to, and that a preset may name.
#[derive(Clone, Debug, PartialEq)]
pub struct Kept {
    /// Pools, first choice first.
    pub pools: Vec<Pool>,
    /// MHz.
    pub frequency: f64,
    /// mV.
    pub voltage: f64,
    /// W.
    pub limit: f64,
    /// TH/s; it stands where a tuner aims at a hash rate.
    pub target: f64,
    /// Power mode, work mode, profile or preset.
    pub mode: String,
    /// Percent; `None` by temperature.
    pub fan: Option<f64>,
    /// The numbers of the pools, where a device gives them numbers that stay while it prefers others.
    pub(super) numbers: Vec<usize>,
    /// What counts from the next start on, where a device is like that.
    next: Option<Vec<Pool>>,
}

/// Most pools that are taken.
const MAX_POOLS: usize = 8;

impl Kept {
    /// As a model is delivered.
    pub fn of(model: Model) -> Self {
        let user = match model.kind() {
            "axeos" => "bc1qdemodemodemodemodemodemodemodemode.rig",
            "cgminer" => "demo rig.1",
            _ => "demo.rig",
        };
        let pools = ["stratum+tcp://pool.example.com:3333", "stratum+tcp://fallback.example.com:3333"];
        let mode = match model {
            Model::Luxos => "290MHz",
            Model::Vnish => "3120",
            Model::Whatsminer => "Normal",
            _ => "1",
        };
        let nerd = model == Model::NerdQaxe;
        Kept {
            pools: pools.map(|url| Pool::new(url, user)).to_vec(),
            frequency: if nerd { 600.0 } else { 525.0 },
            voltage: 1150.0,
            limit: 3500.0,
            target: 143.0,
            mode: mode.to_string(),
            fan: None,
            numbers: vec![0, 1],
            next: None,
        }
    }

    /// A start makes what was written count.
    pub fn restarted(&mut self) {
        self.pools = self.next.take().unwrap_or_else(|| std::mem::take(&mut self.pools));
    }

    /// Puts the text between `<pools>` and `</pools>` once for each pool, parted by commas.
    pub fn list(&self, template: &str) -> String {
        let mut text = String::new();
        let mut rest = template;
        while let Some((before, item, after)) = rest.split_once("<pools>").and_then(|(before, after)| {
            let (item, after) = after.split_once("</pools>")?;
            Some((before, item, after))
        }) {
            text.push_str(before);
            let of = |(slot, pool): (usize, &Pool)| {
                let quoted = |text: &str| json!(text).to_string().trim_matches('"').to_string();
                // Shares are those of the first choice.
                let item = if slot == 0 { item.to_string() } else { item.replace("<accepted>", "0") };
                let item = if slot == 0 { item } else { item.replace("<rejected>", "0") };
                let number = self.numbers.get(slot).copied().unwrap_or(slot);
                item.replace("<slot>", &slot.to_string())
                    .replace("<number>", &number.to_string())
                    .replace("<first>", if slot == 0 { "true" } else { "false" })
                    .replace("<url>", &quoted(&pool.url))
                    .replace("<user>", &quoted(&pool.user))
                    .replace("<pass>", &quoted(&pool.password))
            };
            text.push_str(&self.pools.iter().enumerate().map(of).collect::<Vec<_>>().join(","));
            rest = after;
        }
        text + rest
    }
}

/// What a device answers to a request that changes something; `None` for everything else.
pub fn told(device: &Device, request: &Request) -> Option<Answer> {
    let mut kept = device.kept();
    let before = kept.clone();
    let answer = match device.model().kind() {
        "cgminer" | "luxos" => cgminer(&mut kept, request),
        "avalon" => avalon(&mut kept, device, request),
        "antminer" => antminer(&mut kept, request),
        "braiins" => braiins(&mut kept, request),
        "vnish" => vnish(&mut kept, device, request),
        "epic" => epic(&mut kept, request),
        _ => None,
    }?;
    if kept != before && device.fault().is_none_or(|(fault, _)| fault != Fault::Stubborn) {
        device.keep(kept);
    }
    Some(answer)
}

fn ok(body: &Value) -> Option<Answer> {
    Some(Answer::new(200, &body.to_string()))
}

fn body(request: &Request) -> Value {
    serde_json::from_str(&request.body).unwrap_or_default()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_string()
}

/// What an AxeOS device is told by a PATCH.
pub fn set_axeos(kept: &mut Kept, body: &Value) {
    for (slot, prefix) in ["stratum", "fallbackStratum"].into_iter().enumerate() {
        let Some(host) = body[format!("{prefix}URL")].as_str() else { continue };
        kept.pools.resize(kept.pools.len().max(slot + 1), Pool::default());
        let url = if host.is_empty() { String::new() } else { format!("{host}:{}", body[format!("{prefix}Port")]) };
        let (user, password) = (text(&body[format!("{prefix}User")]), text(&body[format!("{prefix}Password")]));
        kept.pools[slot] = Pool { url, user, password };
    }
    kept.frequency = body["frequency"].as_f64().unwrap_or(kept.frequency);
    kept.voltage = body["coreVoltage"].as_f64().unwrap_or(kept.voltage);
    match body["autofanspeed"].as_i64() {
        Some(0) => kept.fan = body["manualFanSpeed"].as_f64(),
        Some(_) => kept.fan = None,
        None => {}
    }
}

fn section(letter: &str, message: &str) -> Option<Answer> {
    ok(&json!({"STATUS": [{"STATUS": letter, "When": 0, "Code": 0, "Msg": message, "Description": "sim"}], "id": 1}))
}

/// Commas part the words of a parameter; one behind a backslash does not.
fn words(parameter: &str) -> Vec<String> {
    let (mut words, mut escaped) = (vec![String::new()], false);
    for letter in parameter.chars() {
        match letter {
            '\\' if !escaped => {
                escaped = true;
                continue;
            }
            ',' if !escaped => words.push(String::new()),
            other => words.iter_mut().last().into_iter().for_each(|word| word.push(other)),
        }
        escaped = false;
    }
    words
}

fn cgminer(kept: &mut Kept, request: &Request) -> Option<Answer> {
    let body = body(request);
    let parameter = text(&body["parameter"]);
    let number = parameter.parse::<usize>().ok();
    let slot = number.and_then(|number| kept.numbers.iter().position(|known| *known == number));
    match (body["command"].as_str()?, slot) {
        ("addpool", _) => match <[String; 3]>::try_from(words(&parameter)) {
            Ok([url, user, password]) if kept.pools.len() < MAX_POOLS => {
                kept.pools.push(Pool { url, user, password });
                kept.numbers.push(kept.numbers.len());
                section("S", "Added pool")
            }
            _ => section("E", "Invalid addpool details"),
        },
        ("switchpool", Some(slot)) => {
            kept.pools[..=slot].rotate_right(1);
            kept.numbers[..=slot].rotate_right(1);
            section("S", "Switching to pool")
        }
        ("removepool", Some(0)) => section("E", "Cannot remove active pool"),
        ("removepool", Some(slot)) => {
            kept.pools.remove(slot);
            let free = kept.numbers.remove(slot);
            // The last one takes the number that has become free.
            let last = kept.numbers.len();
            kept.numbers.iter_mut().filter(|number| **number == last).for_each(|number| *number = free);
            section("S", "Removed pool")
        }
        ("switchpool" | "removepool", None) => section("E", "Invalid pool id"),
        ("logon", _) => ok(&json!({"STATUS": [{"STATUS": "S", "Msg": "Session created"}],
            "SESSION": [{"SessionID": "demoSess"}], "id": 1})),
        ("logoff", _) => section("S", "Session closed"),
        ("profileset", _) => match &*words(&parameter) {
            [session, profile] if session == "demoSess" => {
                kept.mode.clone_from(profile);
                section("S", "Profile set")
            }
            _ => section("E", "Invalid session"),
        },
        _ => None,
    }
}

/// Pools count from the next start on.
fn avalon(kept: &mut Kept, device: &Device, request: &Request) -> Option<Answer> {
    let body = body(request);
    let words = words(body["parameter"].as_str()?);
    match (body["command"].as_str()?, &*words) {
        ("setpool", [user, own, slot, url, worker, password]) => {
            if (&**user, &**own) != ("root", PASSWORD) {
                return section("E", "Invalid username or password");
            }
            let mut next = kept.next.clone().unwrap_or_else(|| kept.pools.clone());
            let slot = slot.parse::<usize>().ok().filter(|slot| *slot < 3)?;
            next.resize(next.len().max(slot + 1), Pool::default());
            next[slot] = Pool { url: url.clone(), user: worker.clone(), password: password.clone() };
            kept.next = Some(next);
            section("S", "set pool OK, please reboot the machine")
        }
        ("ascset", [_, word, verb, mode]) if word == "workmode" && verb == "set" => {
            kept.mode.clone_from(mode);
            section("S", "ASC 0 set OK")
        }
        ("ascset", [_, word, ..]) if word == "reboot" => {
            device.restart();
            kept.restarted();
            section("S", "ASC 0 set OK")
        }
        _ => None,
    }
}

fn antminer(kept: &mut Kept, request: &Request) -> Option<Answer> {
    if request.name() != "POST /cgi-bin/set_miner_conf.cgi" {
        return None;
    }
    let body = body(request);
    let pools = body["pools"].as_array()?.iter().map(|pool| Pool {
        url: text(&pool["url"]),
        user: text(&pool["user"]),
        password: text(&pool["pass"]),
    });
    kept.pools = pools.filter(|pool| !pool.url.is_empty()).take(MAX_POOLS).collect();
    let fixed = body["bitmain-fan-ctrl"].as_bool().unwrap_or_default();
    kept.fan = fixed.then(|| text(&body["bitmain-fan-pwm"]).parse().unwrap_or(100.0));
    ok(&json!({"stats": "success", "code": "M000", "msg": "OK!"}))
}

fn braiins(kept: &mut Kept, request: &Request) -> Option<Answer> {
    let body = body(request);
    match &*request.name() {
        "PUT /api/v1/pools/batch" => {
            let pools = body.as_array()?.iter().flat_map(|group| group["pools"].as_array().into_iter().flatten());
            let pool = |pool: &Value| Pool {
                url: text(&pool["url"]),
                user: text(&pool["user"]),
                password: text(&pool["password"]),
            };
            kept.pools = pools.map(pool).take(MAX_POOLS).collect();
        }
        "PUT /api/v1/performance/power-target" => kept.limit = body["watt"].as_f64()?,
        "PUT /api/v1/performance/hashrate-target" => kept.target = body["terahash_per_second"].as_f64()?,
        _ => return None,
    }
    ok(&json!({}))
}

fn vnish(kept: &mut Kept, device: &Device, request: &Request) -> Option<Answer> {
    match &*request.name() {
        "POST /api/v1/settings" => {
            let miner = &body(request)["miner"];
            if let Some(pools) = miner["pools"].as_array() {
                let pool = |pool: &Value| Pool {
                    url: text(&pool["url"]),
                    user: text(&pool["user"]),
                    password: text(&pool["pass"]),
                };
                kept.pools = pools.iter().map(pool).take(MAX_POOLS).collect();
            }
            kept.mode = miner["overclock"]["preset"].as_str().unwrap_or(&kept.mode).to_string();
            ok(&json!({"restart_required": true, "reboot_required": false}))
        }
        "POST /api/v1/mining/restart" => {
            device.restart();
            ok(&json!({}))
        }
        _ => None,
    }
}

fn epic(kept: &mut Kept, request: &Request) -> Option<Answer> {
    let (name, body) = (request.name(), body(request));
    if request.method != "POST" {
        return None;
    }
    if body["password"] != PASSWORD {
        return ok(&json!({"result": false, "error": "Invalid password"}));
    }
    match &*name {
        "POST /coin" => {
            let pool = |pool: &Value| Pool {
                url: text(&pool["pool"]),
                user: text(&pool["login"]),
                password: text(&pool["password"]),
            };
            kept.pools = body["param"]["stratum_configs"].as_array()?.iter().map(pool).take(MAX_POOLS).collect();
        }
        "POST /perpetualtune/algo" => kept.target = body["param"]["target"].as_f64()?,
        _ => return None,
    }
    ok(&json!({"result": true, "error": null}))
}
