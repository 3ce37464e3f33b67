//! `mskminer`: Antminers with MSKMINER firmware, over cgminer's API in Bitmain's words, and with a password over the web
//! interface for the MAC address.
//!
//! Beyond Bitmain it tells power and voltage by board, the fans' duty and whether it tunes. Its `stats` number sixteen
//! boards, of which those without chips are not there; the model carries the version ("S19-88 v.2.6.0.39 "). The web
//! interface wants a form (`POST /admin/login`) and a cookie. Source: a public client and the replies that it is tested
//! with.

use std::time::Duration;

use super::antminer::{self, Maker, OPTIONS};
use super::ask::{Flow, How, LoginRequest, Question, cookies};
use super::device::{self, Device, PowerSource, Show, State};
use super::mark::{Door, Mark, Rank};
use super::values::Fields;
use crate::collect::http::Answer;
use crate::collect::{Kind, Opened, ParseError, Reply, Support};
use crate::model::{Reading, Target};

/// The row of this kind in the table.
pub const KIND: Kind = Kind {
    name: "mskminer",
    summary: "Antminer with MSKMINER firmware (TCP API; with a password the web interface too)",
    subject: "miner",
    support: Support::Documented,
    default_address: "host, port 4028",
    min_interval: Duration::from_secs(5),
    families: device::FAMILIES,
    options: OPTIONS,
    commands: &[],
    open,
};

/// How it is recognised: by the mark of its miner beside its version.
pub const MARK: Mark = Mark {
    kind: KIND.name,
    rank: Rank::Firmware,
    door: Door::Rpc,
    port: 4028,
    bears: |clue| clue.names_itself("rwglr") || clue.names_itself("mskminer"),
};

const PAGES: &[Question] = &[Question::seldom(
    How::Post { path: "/api/info_v1", content: "application/x-www-form-urlencoded", body: "" },
    240,
)];

fn open(target: &Target) -> Opened {
    antminer::open_with(target, parse, PAGES, |options| options.login(LOGIN, "admin"))
}

const LOGIN: Flow = Flow {
    request: |user, password| {
        let mut form = url::form_urlencoded::Serializer::new(String::new());
        form.append_pair("username", user).append_pair("password", password);
        let content = "application/x-www-form-urlencoded";
        LoginRequest { method: "POST", path: "/admin/login".to_string(), content, body: Some(form.finish()) }
    },
    token: cookies,
    header: ("cookie", ""),
    // Without a session it sends to the form.
    refuses: |answer: &Answer| matches!(answer.status, 300..=399 | 401 | 403),
};

const MAKER: Maker = Maker { more, ..antminer::BITMAIN };

fn parse(replies: &[Reply], address: &str, show: Show) -> Result<Reading, ParseError> {
    antminer::parse_as(&MAKER, replies, address, show)
}

fn more(device: &mut Device, figures: Fields<'_>) {
    device.firmware = "MSKMINER".to_string();
    if let Some((model, version)) = device.model.clone().split_once(" v.") {
        device.model = format!("Antminer {}", model.trim());
        device.firmware_version = version.trim().to_string();
    }
    // The sum of what the boards draw by their clock and voltage.
    device.power = figures.nonzero("total_power").map(|watts| (watts, PowerSource::Estimated));
    let duty = figures.number("fan_pwm").map(|percent| percent / 100.0);
    for fan in &mut device.fans {
        fan.duty = duty;
    }
    for board in &mut device.boards {
        board.voltage = figures.nonzero(&format!("chain_voltage{}", board.name));
    }
    if figures.flag("tune_running") == Some(true) {
        device.state = State::Tuning;
    }
}
