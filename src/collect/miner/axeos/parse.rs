//! What the replies of an AxeOS device mean, from firmware 2.4 to 2.15 and in the NerdQAxe dialect.

use std::time::Duration;

use serde_json::Value;

use super::super::device::Show;
use super::super::families;
use super::super::values::{Fields, number};
use super::board::BoardError;
use super::{board, hardware, hashing, statistics, stratum};
use crate::collect::{ParseError, Reply};
use crate::model::{Identity, Reading};

/// A device that has been up for less, in seconds, and shows no work, is still starting.
const STARTING_SECONDS: f64 = 60.0;
/// A device that does not hash at all is still starting until then.
const SLOW_START_SECONDS: f64 = 180.0;

/// All that `fetch` wants to know of the first document: what else to ask.
pub struct Glance {
    /// Whether it leaves to `/asic` what the device is.
    pub lacks_model: bool,
    /// Whether the device keeps a record of its own, as far as it says.
    pub keeps_record: bool,
    /// It is a NerdQAxe that has started, is not shut down, and does not hash.
    pub nerd_idles: bool,
    /// In seconds.
    pub uptime: f64,
}

/// Looks at the first document; `None` where it cannot be read.
pub fn glance(info: &[u8]) -> Option<Glance> {
    #[derive(serde::Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Known {
        asic_count: Option<serde::de::IgnoredAny>,
        device_model: Option<Value>,
        uptime_seconds: Option<Value>,
        stats_frequency: Option<Value>,
        hash_rate: Option<Value>,
        shutdown: Option<Value>,
    }
    let known: Known = serde_json::from_slice(info).ok()?;
    let number = |value: &Option<Value>| value.as_ref().and_then(number);
    let uptime = number(&known.uptime_seconds).unwrap_or(0.0);
    let nerd = known.device_model.as_ref().and_then(Value::as_str).is_some_and(is_nerd_model);
    let idles = number(&known.hash_rate) == Some(0.0) && number(&known.shutdown).unwrap_or(0.0) == 0.0;
    Some(Glance {
        lacks_model: known.asic_count.is_none() || known.device_model.is_none(),
        keeps_record: number(&known.stats_frequency) != Some(0.0),
        nerd_idles: nerd && idles && uptime >= STARTING_SECONDS,
        uptime,
    })
}

/// Whether the first document is of the NerdQAxe family.
pub fn is_nerd(info: &[u8]) -> bool {
    let info: Value = serde_json::from_slice(info).unwrap_or_default();
    Fields::of(&info).is_some_and(names_a_nerd)
}

fn names_a_nerd(info: Fields<'_>) -> bool {
    info.text("deviceModel").is_some_and(|model| is_nerd_model(&model))
}

fn is_nerd_model(model: &str) -> bool {
    model.starts_with("Nerd")
}

/// Turns the replies of one poll into samples; polls are an `interval` apart.
pub fn parse(replies: &[Reply], address: &str, show: Show, interval: Duration) -> Result<Reading, ParseError> {
    let mut reading = Reading::default();
    let (mut info, mut asic, mut record, mut board_error) = (None, None, None, None);
    for reply in replies {
        match document(reply) {
            Ok(value) if is_info(&value) => info = Some(value),
            Ok(value) if is_asic(&value) => asic = Some(value),
            Ok(value) if info.is_some() && statistics::is_record(&value) => record = Some(value),
            Ok(value) if info.is_some() && board::is_dashboard(&value) => board_error = BoardError::read(&value),
            // The further documents are a luxury: firmware without them answers with 404 and a page of HTML.
            _ if info.is_some() && reply.status.is_some_and(|status| status >= 300) => {}
            Ok(value) if info.is_none() => return Err(not_ours(reply, &value)),
            Err(error) if info.is_none() => return Err(error),
            _ => reading.notes.push(format!("{}: could not be read and was left out", reply.request)),
        }
    }
    if info.is_none() && asic.is_none() {
        let request = "GET /api/system/info".to_string();
        return Err(ParseError::Malformed { request, reason: "there is no reply".to_string() });
    }
    let (info, asic) = (info.unwrap_or_default(), asic.unwrap_or_default());
    let none = serde_json::Map::new();
    let fields = |value| Fields::of(value).unwrap_or(Fields(&none));
    let device = Device { info: fields(&info), asic: fields(&asic), board_error, address };
    device.put_info(&mut reading);
    if info.is_object() {
        let state = device.state();
        reading.put_state(&families::STATE, "state", &families::STATES, state);
        hashing::put(&mut reading, device, state, show.chips);
        hardware::put(&mut reading, device);
        stratum::put(&mut reading, device, show.pool_user);
    }
    hardware::put_chips_expected(&mut reading, device);
    if let Some(record) = record.as_ref().and_then(Fields::of) {
        statistics::put(&mut reading, record, interval);
    }
    Ok(reading)
}

fn document(reply: &Reply) -> Result<Value, ParseError> {
    let malformed = |reason: String| ParseError::Malformed { request: reply.request.clone(), reason };
    if reply.body.is_empty() {
        return Err(malformed("the reply is empty".to_string()));
    }
    // serde_json refuses more than 128 levels, so that a bomb of brackets cannot overflow the stack.
    serde_json::from_slice(&reply.body).map_err(|error| malformed(format!("not JSON: {error}")))
}

fn is_info(value: &Value) -> bool {
    ["hashRate", "ASICModel"].iter().any(|key| value.get(key).is_some()) && value.get("uptimeSeconds").is_some()
}

fn is_asic(value: &Value) -> bool {
    value.get("ASICModel").is_some() && value.get("asicCount").is_some()
}

fn not_ours(reply: &Reply, value: &Value) -> ParseError {
    let reason = match value {
        Value::Object(map) if map.contains_key("statistics") => {
            "this is the device's own history (/api/system/statistics), read only beside /api/system/info".to_string()
        }
        Value::Object(_) => "neither hashRate nor ASICModel with uptimeSeconds is in it".to_string(),
        _ => "not a JSON object".to_string(),
    };
    ParseError::Malformed { request: reply.request.clone(), reason }
}

/// What a device says; a document that was not sent is empty.
#[derive(Clone, Copy)]
pub struct Device<'a> {
    /// `/api/system/info`
    pub info: Fields<'a>,
    /// `/api/system/asic`
    pub asic: Fields<'a>,
    /// Why a NerdQAxe does not hash.
    pub board_error: Option<BoardError>,
    address: &'a str,
}

impl Device<'_> {
    /// How many chips it is made with.
    pub fn chips(self) -> Option<f64> {
        self.info.nonzero("asicCount").or_else(|| self.asic.nonzero("asicCount"))
    }

    /// Whether the reply is of the NerdQAxe family, which shares the path and not all of the names.
    fn is_nerd(self) -> bool {
        names_a_nerd(self.info)
    }

    /// `Gamma 601`, `NerdQAxe++`: the model by name where the device says it, else by the number of its board.
    fn model(self) -> String {
        let board = self.info.text("boardVersion").unwrap_or_default();
        let named = self.info.text("deviceModel").or_else(|| self.asic.text("deviceModel"));
        let name = named.unwrap_or_else(|| bitaxe_by_board(&board).to_string());
        format!("{name} {board}").trim().to_string()
    }

    fn put_info(self, reading: &mut Reading) {
        let text = |key: &str| self.info.text(key).unwrap_or_default();
        let (make, firmware) = if self.is_nerd() { ("NerdAxe", "NerdQAxe") } else { ("Bitaxe", "AxeOS") };
        let (model, version, mac, hostname) = (self.model(), text("version"), text("macAddr"), text("hostname"));
        let chip = self.info.text("ASICModel").or_else(|| self.asic.text("ASICModel")).unwrap_or_default();
        // Every BM13xx is a Bitcoin chip; of another one nothing is claimed.
        let algorithm = if chip.starts_with("BM13") { "sha256d" } else { "" };
        let labels = [
            ("make", make),
            ("model", &model),
            ("firmware", firmware),
            ("firmware_version", &version),
            ("chip", &chip),
            ("algorithm", algorithm),
            ("mac", &mac),
            ("hostname", &hostname),
            ("address", self.address),
            ("protocol", "axeos"),
        ];
        reading.put(&families::INFO, &labels, 1.0);
        if !mac.is_empty() {
            let firmware = format!("{firmware} {version}").trim().to_string();
            reading.identity = Some(Identity { id: mac, make: make.to_string(), model, firmware });
        }
    }

    /// Component and text of each fault. Firmware sends the key only while it holds, or with a word that says "none".
    pub fn faults(self) -> impl Iterator<Item = (&'static str, String)> {
        let of = move |component, key| {
            let text = self.info.text(key).filter(|text| !matches!(text.as_str(), "0" | "false" | "none"));
            text.map(|text| (component, text))
        };
        let own = self.board_error.filter(|error| !error.is_heat()).map(|error| (error.component(), error.text()));
        [of("power", "power_fault"), of("hardware", "hardware_fault"), own].into_iter().flatten()
    }

    /// The state, the most alarming first.
    fn state(self) -> &'static str {
        let set = |key: &str| self.info.flag(key).unwrap_or(false);
        let count = |key: &str| self.info.number(key).unwrap_or(0.0);
        let (uptime, hashing) = (count("uptimeSeconds"), count("hashRate") > 0.0);
        match () {
            () if self.faults().next().is_some() => "fault",
            () if set("overheat_mode") || self.board_error.is_some_and(BoardError::is_heat) => "overheated",
            () if set("miningPaused") => "paused",
            () if set("shutdown") => "sleeping",
            () if uptime < STARTING_SECONDS && count("sharesAccepted") == 0.0 => "starting",
            () if hashing => "hashing",
            () if uptime < SLOW_START_SECONDS => "starting",
            () => "unknown",
        }
    }
}

/// The names of Bitaxe boards by their number, as the firmware's own table has them.
fn bitaxe_by_board(board: &str) -> &'static str {
    match board {
        "2.2" => "Max",
        "0.11" => "Ultra",
        "302" | "303" => "Hex",
        "650" => "Gamma Duo",
        _ if board.len() != 3 => "",
        _ => match board.as_bytes().first() {
            Some(b'1') => "Max",
            Some(b'2') => "Ultra",
            Some(b'4') => "Supra",
            Some(b'6') => "Gamma",
            Some(b'7') => "Supra Hex",
            Some(b'8') => "Gamma Turbo",
            _ => "",
        },
    }
}
