//! The families of mining hardware that answer from a page of replies: what each speaks, how it wants to be logged in to,
//! and what it does when all is well.
//!
//! A page (`families/*.txt`) holds a reply per request, in the form that real devices send, quirks included. Headlines
//! name the request: `=== summary` a command, `=== GET /path` a page of the web interface, `~word` what stands in its
//! body. `<rate/1e6:2>` becomes what the device measures at that moment, see [`render`].

use std::fmt::Write;
use std::time::{SystemTime, UNIX_EPOCH};

use super::Model;
use super::device::Device;
use super::gate::Gate;
use super::profile::Profile;

/// What is spoken on a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wire {
    /// One JSON command per connection, a NUL behind the reply.
    Rpc,
    /// JSON with its length in front of it.
    Framed,
    /// HTTP.
    Http,
}

/// One family.
pub struct Family {
    /// The model that belongs to it.
    pub model: Model,
    /// The kind of target that polls it.
    pub kind: &'static str,
    /// What its first socket speaks. Of the families with commands, those with pages too have a second one for HTTP.
    pub wire: Wire,
    /// What its web interface wants before it answers.
    pub gate: Gate,
    /// Its replies.
    page: &'static str,
    /// What it does when all is well.
    pub profile: Profile,
}

impl Family {
    /// Whether it has a web interface beside its commands: those that want a login for it.
    pub fn has_web(&self) -> bool {
        self.wire == Wire::Rpc && !matches!(self.gate, Gate::Open)
    }

    /// The reply to a request, by its name and what stands in its body.
    pub fn reply(&self, device: &Device, name: &str, body: &str) -> Option<String> {
        let mut sections = self.page.split("=== ").filter_map(|section| section.split_once('\n'));
        let (_, template) = sections.find(|(headline, _)| match headline.split_once(" ~") {
            Some((headline, word)) => headline == name && body.contains(word),
            None => *headline == name,
        })?;
        Some(render(&device.kept().list(template.trim_end()), device))
    }
}

macro_rules! page {
    ($name:literal) => {
        include_str!(concat!("families/", $name, ".txt"))
    };
}

macro_rules! family {
    ($model:ident, $name:literal, $wire:ident, $gate:expr, $profile:expr) => {
        Family {
            model: Model::$model,
            kind: $name,
            wire: Wire::$wire,
            gate: $gate,
            page: page!($name),
            profile: Profile::new($profile),
        }
    };
}

/// All of them. The numbers: GH/s, W, °C, revolutions per minute, shares per second.
pub static FAMILIES: [Family; 22] = [
    family!(Antminer, "antminer", Rpc, Gate::Digest, (110_000.0, 3_250.0, 72.0, 5_900.0, 0.08)),
    family!(Braiins, "braiins", Http, Gate::Ticket(&super::gate::BRAIINS), (234_000.0, 3_480.0, 65.0, 5_940.0, 0.12)),
    family!(
        BraiinsGraphql,
        "braiins_graphql",
        Http,
        Gate::Ticket(&super::gate::GRAPHQL),
        (104_000.0, 3_050.0, 74.0, 6_400.0, 0.11)
    ),
    family!(BraiinsRpc, "braiins_rpc", Rpc, Gate::Open, (95_000.0, 3_240.0, 76.0, 5_100.0, 0.1)),
    family!(Vnish, "vnish", Http, Gate::Ticket(&super::gate::VNISH), (104_000.0, 3_120.0, 78.0, 5_400.0, 0.1)),
    family!(Luxos, "luxos", Rpc, Gate::Open, (120_000.0, 2_760.0, 62.0, 2_340.0, 0.4)),
    family!(Whatsminer, "whatsminer", Rpc, Gate::Open, (88_000.0, 3_420.0, 92.0, 4_980.0, 0.2)),
    family!(WhatsminerV3, "whatsminer_v3", Framed, Gate::Open, (181_000.0, 3_156.0, 82.0, 5_400.0, 0.0)),
    family!(Avalon, "avalon", Rpc, Gate::Open, (81_000.0, 3_240.0, 77.0, 5_340.0, 0.04)),
    family!(Epic, "epic", Http, Gate::Open, (143_000.0, 3_350.0, 67.0, 5_940.0, 0.08)),
    family!(Auradine, "auradine", Rpc, Gate::Ticket(&super::gate::AURADINE), (160_000.0, 3_300.0, 52.0, 4_050.0, 0.06)),
    family!(Elphapex, "elphapex", Http, Gate::Digest, (14.2, 3_870.0, 56.0, 5_400.0, 2.2)),
    family!(Hammer, "hammer", Rpc, Gate::Digest, (4.87, 3_300.0, 45.0, 4_500.0, 0.1)),
    family!(
        Sealminer,
        "sealminer",
        Rpc,
        Gate::Ticket(&super::gate::SEALMINER),
        (221_000.0, 3_504.0, 70.0, 3_720.0, 0.57)
    ),
    family!(
        Goldshell,
        "goldshell",
        Rpc,
        Gate::Ticket(&super::gate::GOLDSHELL),
        (26_300.0, 2_630.0, 86.0, 3_300.0, 0.06)
    ),
    family!(Proto, "proto", Http, Gate::Ticket(&super::gate::PROTO), (145_000.0, 3_447.0, 48.0, 4_450.0, 0.4)),
    family!(Iceriver, "iceriver", Http, Gate::Ticket(&super::gate::ICERIVER), (8_200.0, 3_188.0, 61.0, 3_100.0, 0.01)),
    family!(Xmrig, "xmrig", Http, Gate::Fixed, (0.000_002, 65.0, 60.0, 1_200.0, 0.02)),
    family!(Mskminer, "mskminer", Rpc, Gate::Ticket(&super::gate::MSKMINER), (100_000.0, 3_360.0, 59.0, 5_070.0, 0.1)),
    family!(Marathon, "marathon", Http, Gate::Digest, (110_000.0, 3_200.0, 66.0, 5_640.0, 0.1)),
    family!(
        Innosilicon,
        "innosilicon",
        Rpc,
        Gate::Ticket(&super::gate::INNOSILICON),
        (43_000.0, 2_150.0, 72.0, 4_800.0, 0.15)
    ),
    family!(Futurebit, "futurebit", Http, Gate::Ticket(&super::gate::FUTUREBIT), (9_400.0, 350.0, 68.0, 3_720.0, 0.03)),
];

/// Fills in what the device measures: `<name>`, with an operation (`/1e9`, `+7`, `-15`), with decimals (`:2`, else none).
/// Hash rates are hashes per second. `<limit?3500>` is what the device was told its limit is, else 3500;
/// `<paused?off|on>` is the first word if it is so, else the second. What is no such place stays as it is.
pub fn render(template: &str, device: &Device) -> String {
    let mut text = String::with_capacity(template.len());
    let mut rest = template;
    while let Some((before, after)) = rest.split_once('<') {
        text.push_str(before);
        let place = after.split_once('>').filter(|(place, _)| put(&mut text, place, device));
        rest = match place {
            Some((_, behind)) => behind,
            None => {
                text.push('<');
                after
            }
        };
    }
    text + rest
}

/// Writes the value of one place; says whether there is such a place.
fn put(text: &mut String, place: &str, device: &Device) -> bool {
    if let Some((name, words)) = place.split_once('?') {
        let told = match name {
            "paused" => device.is_paused().then(String::new),
            "held" => device.is_fan_held().then(String::new),
            _ => device.told(name),
        };
        match (words.split_once('|'), told) {
            (Some((so, _)), Some(_)) => text.push_str(so),
            (Some((_, other)), None) => text.push_str(other),
            (None, told) => text.push_str(told.as_deref().unwrap_or(words)),
        }
        return true;
    }
    match place {
        "mac" => text.push_str(&device.mac()),
        // Within quotes, as JSON has it.
        "host" => {
            let quoted = serde_json::json!(device.hostname()).to_string();
            text.push_str(quoted.get(1..quoted.len() - 1).unwrap_or_default());
        }
        "mode" => text.push_str(&device.kept().mode),
        "fixed" => text.push_str(if device.kept().fan.is_some() { "true" } else { "false" }),
        "seed" => text.push_str(&format!("{:016x}", device.seed())),
        _ => return put_number(text, place, device).is_some(),
    }
    true
}

fn put_number(text: &mut String, place: &str, device: &Device) -> Option<()> {
    let (formula, digits) = place.split_once(':').unwrap_or((place, "0"));
    let end = formula.find(['/', '+', '-']).unwrap_or(formula.len());
    let value = measured(&formula[..end], device)?;
    let value = match formula[end..].split_at_checked(1) {
        None => value,
        Some(("/", by)) => value / by.parse::<f64>().ok()?,
        Some((_, _)) => value + formula[end..].parse::<f64>().ok()?,
    };
    write!(text, "{value:.*}", digits.parse().ok()?).ok()
}

fn measured(name: &str, device: &Device) -> Option<f64> {
    let v = device.vitals();
    Some(match name {
        "rate" => v.hashrate * 1e9,
        "expected" => v.expected * 1e9,
        "power" => v.power,
        "temp" => v.temperature,
        "rpm" => v.fan_rpm,
        "percent" => v.fan_percent,
        "uptime" => v.uptime.floor(),
        "accepted" => v.accepted as f64,
        "rejected" => v.rejected as f64,
        "submitted" => (v.accepted + v.rejected) as f64,
        "errors" => v.errors as f64,
        "limit" => device.kept().limit,
        "target" => device.kept().target,
        "pwm" => device.kept().fan.unwrap_or(100.0),
        "clock" => SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs() as f64),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::DeviceSpec;

    #[tokio::test]
    async fn a_page_has_no_place_that_nothing_fills() {
        for family in &FAMILIES {
            let device = Device::new(DeviceSpec::new("rig", family.model), 3);
            let sections = family.page.split("=== ").filter_map(|section| section.split_once('\n'));
            for (headline, template) in sections {
                let text = render(&device.kept().list(template), &device);
                assert!(!text.contains(['<', '>']), "{} {headline}: {text}", family.kind);
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_place_is_a_value_an_operation_and_decimals() {
        let device = Device::new(DeviceSpec::new("rig", Model::Antminer), 3);
        let v = device.vitals();
        let expected = format!("{:.2} {:.0} {:.1} rig <x> <", v.hashrate, v.temperature - 15.0, v.power);
        assert_eq!(render("<rate/1e9:2> <temp-15> <power:1> <host> <x> <", &device), expected);
    }
}
