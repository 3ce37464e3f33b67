//! A simulated fleet: devices that answer on loopback sockets as real ones do, values drifting, faults included. For
//! `davylamp demo`, for tests and for benches.
//!
//! Everything a device says follows from its seed and the time since the start. A device serves one connection at a
//! time, as the real ones do. Dropping the [`Fleet`] ends all of it.

mod axeos;
mod cgminer;
mod device;
mod family;
mod fault;
mod gate;
mod hostile;
mod kept;
mod obey;
mod profile;
mod server;
mod talk;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::task::JoinSet;

pub use axeos::{OTP_SECRET, one_time_code};
pub use device::Vitals;
use device::{Device, Door};
use family::{FAMILIES, Family};
pub use fault::{Fault, Hostile, Step};
use gate::Gate;
pub use gate::PASSWORD;
pub use kept::{Kept, Pool};

/// What a simulated device pretends to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Model {
    /// Bitaxe Gamma with AxeOS 2.4.0: `bestDiff` as text, no `/api/system/asic`.
    BitaxeOld,
    /// Bitaxe Gamma with AxeOS 2.12: chip count only in `/api/system/asic`, hash rate by chip.
    Bitaxe,
    /// NerdQAxe++: four chips, two fans, the object `stratum`; its settings are behind one-time codes of [`OTP_SECRET`].
    NerdQaxe,
    /// cgminer 4.11.1 with three boards; knows combined commands.
    Cgminer,
    /// cgminer 2.11.4: refuses combined commands, offers a lifetime average only.
    CgminerOld,
    /// A relative of cgminer that writes broken JSON: no commas, `nan`, raw line ends.
    CgminerSloppy,
    /// bfgminer 5.5.0.
    Bfgminer,
    /// Antminer S19 Pro with Bitmain's firmware: broken JSON, and a web interface with HTTP Digest.
    Antminer,
    /// Braiins OS 26.04: REST with a login.
    Braiins,
    /// Braiins OS 25.03: GraphQL.
    BraiinsGraphql,
    /// Braiins OS: cgminer's API.
    BraiinsRpc,
    /// VNish 1.2: REST with a login.
    Vnish,
    /// LuxOS: boards in any order.
    Luxos,
    /// WhatsMiner M30S+, API 2: `STATUS` as text, `\'` in texts.
    Whatsminer,
    /// WhatsMiner M60S, API 3: lengths in front of messages.
    WhatsminerV3,
    /// Avalon A1246: everything in one text, `nan`.
    Avalon,
    /// ePIC PowerPlay: HTTP on cgminer's port, keys with blanks.
    Epic,
    /// Auradine Teraflux: numbers with their units.
    Auradine,
    /// Elphapex DG1+: CGI pages behind HTTP Digest.
    Elphapex,
    /// Hammer D10: as an Antminer, in MH/s.
    Hammer,
    /// SealMiner A2: keys that begin with a board's number.
    Sealminer,
    /// Goldshell KD6: cgminer's API, and a web interface with a login.
    Goldshell,
    /// Proto Rig: REST with a login.
    Proto,
    /// IceRiver KS3: one page.
    Iceriver,
    /// xmrig 6.26: a bearer token.
    Xmrig,
    /// Antminer S19 with MSKMINER: places for sixteen boards, and a web interface with a cookie.
    Mskminer,
    /// Antminer S19 with MaraFW: pages behind HTTP Digest.
    Marathon,
    /// Innosilicon T3: cgminer's API, and a web interface whose refusals come with status 200.
    Innosilicon,
    /// FutureBit Apollo II: GraphQL, the login included.
    Futurebit,
}

impl Model {
    /// All models.
    pub const ALL: [Model; 29] = [
        Model::BitaxeOld,
        Model::Bitaxe,
        Model::NerdQaxe,
        Model::Cgminer,
        Model::CgminerOld,
        Model::CgminerSloppy,
        Model::Bfgminer,
        Model::Antminer,
        Model::Braiins,
        Model::BraiinsGraphql,
        Model::BraiinsRpc,
        Model::Vnish,
        Model::Luxos,
        Model::Whatsminer,
        Model::WhatsminerV3,
        Model::Avalon,
        Model::Epic,
        Model::Auradine,
        Model::Elphapex,
        Model::Hammer,
        Model::Sealminer,
        Model::Goldshell,
        Model::Proto,
        Model::Iceriver,
        Model::Xmrig,
        Model::Mskminer,
        Model::Marathon,
        Model::Innosilicon,
        Model::Futurebit,
    ];

    /// The kind of target that polls it.
    pub fn kind(self) -> &'static str {
        match (self, self.family()) {
            (_, Some(family)) => family.kind,
            (Model::BitaxeOld | Model::Bitaxe | Model::NerdQaxe, _) => "axeos",
            _ => "cgminer",
        }
    }

    /// The family that answers from a page of replies; `None` for those that compose theirs.
    fn family(self) -> Option<&'static Family> {
        FAMILIES.iter().find(|family| family.model == self)
    }
}

/// One device to simulate.
#[derive(Clone, Debug)]
pub struct DeviceSpec {
    /// Name, unique in the fleet; also its hostname, unless it has another.
    pub id: String,
    /// What it calls itself on its network. Nothing keeps two devices from the same name.
    pub hostname: Option<String>,
    /// Where it answers; port 0 takes a free one.
    pub address: SocketAddr,
    /// Where the web interface of those is that have one beside their commands.
    pub web: SocketAddr,
    /// What it pretends to be.
    pub model: Model,
    /// Faults that come by themselves, in the order of their times.
    pub script: Vec<Step>,
}

impl DeviceSpec {
    /// A healthy device.
    pub fn new(id: impl Into<String>, model: Model) -> Self {
        let free = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        DeviceSpec { id: id.into(), hostname: None, address: free, web: free, model, script: Vec::new() }
    }

    /// The same device with one more step in its script.
    #[must_use]
    pub fn with(mut self, step: Step) -> Self {
        self.script.push(step);
        self
    }
}

/// A dozen devices for the demo: one overheats, one loses hash rate until it is restarted, one dies and comes back.
pub fn showcase() -> Vec<DeviceSpec> {
    let seconds = Duration::from_secs;
    vec![
        DeviceSpec::new("bitaxe-1", Model::Bitaxe),
        DeviceSpec::new("bitaxe-2", Model::Bitaxe).with(Step::from(seconds(20), Fault::LowHashrate)),
        DeviceSpec::new("bitaxe-3", Model::Bitaxe).with(Step::during(seconds(45), seconds(90), Fault::Overheat)),
        DeviceSpec::new("bitaxe-4", Model::BitaxeOld),
        DeviceSpec::new("bitaxe-5", Model::BitaxeOld).with(Step::during(seconds(30), seconds(60), Fault::Dead)),
        DeviceSpec::new("nerdqaxe-1", Model::NerdQaxe),
        DeviceSpec::new("barn-1", Model::Avalon),
        DeviceSpec::new("rack-1", Model::Antminer),
        DeviceSpec::new("rack-2", Model::Whatsminer),
        DeviceSpec::new("rack-3", Model::CgminerSloppy),
        DeviceSpec::new("attic-1", Model::Braiins),
        DeviceSpec::new("attic-2", Model::Bfgminer),
    ]
}

/// `count` healthy devices of all models in turn.
pub fn many(count: usize) -> Vec<DeviceSpec> {
    let models = Model::ALL.iter().cycle();
    (0..count).zip(models).map(|(index, model)| DeviceSpec::new(format!("sim-{index:05}"), *model)).collect()
}

/// A running fleet.
pub struct Fleet {
    devices: Vec<DeviceHandle>,
    tasks: JoinSet<()>,
}

impl Fleet {
    /// Opens a loopback port for every device and serves it on the current runtime.
    ///
    /// # Errors
    /// When a port cannot be opened.
    pub async fn start(specs: Vec<DeviceSpec>, seed: u64) -> std::io::Result<Fleet> {
        let mut fleet = Fleet { devices: Vec::with_capacity(specs.len()), tasks: JoinSet::new() };
        for (index, spec) in specs.into_iter().enumerate() {
            let device = Arc::new(Device::new(spec, device::mix(seed, index as u64)));
            for door in doors(device.model()) {
                let listener = TcpListener::bind(device.address(*door)).await?;
                device.place(*door, &listener)?;
                fleet.tasks.spawn(server::serve(Arc::clone(&device), *door, listener));
            }
            fleet.devices.push(DeviceHandle { device });
        }
        Ok(fleet)
    }

    /// All devices, in the order of their specs.
    pub fn devices(&self) -> &[DeviceHandle] {
        &self.devices
    }

    /// The device of that name.
    pub fn device(&self, id: &str) -> Option<&DeviceHandle> {
        self.devices.iter().find(|device| device.id() == id)
    }

    /// Waits for all devices to end, which they never do; for whoever supervises the fleet as one task.
    pub async fn run(mut self) {
        while self.tasks.join_next().await.is_some() {}
    }
}

fn doors(model: Model) -> &'static [Door] {
    match model.family() {
        Some(family) if family.has_web() => &[Door::Main, Door::Web],
        _ => &[Door::Main],
    }
}

/// One device of a running fleet.
#[derive(Clone)]
pub struct DeviceHandle {
    device: Arc<Device>,
}

impl DeviceHandle {
    /// Its name.
    pub fn id(&self) -> &str {
        self.device.id()
    }

    /// What it pretends to be.
    pub fn model(&self) -> Model {
        self.device.model()
    }

    /// The kind of target that polls it.
    pub fn kind(&self) -> &'static str {
        self.model().kind()
    }

    /// Where it answers.
    pub fn address(&self) -> SocketAddr {
        self.device.address(Door::Main)
    }

    /// The options of a target that polls it: `password` is a file that holds [`PASSWORD`].
    pub fn options(&self, password: &Path) -> serde_json::Value {
        let Some(family) = self.model().family() else { return serde_json::Value::Null };
        let mut options = serde_json::Map::new();
        let secret = serde_json::json!({ "file": password });
        match family.gate {
            // Everybody may look, and only its owner may set it.
            Gate::Open if matches!(family.kind, "avalon" | "epic") => options.insert("password".to_string(), secret),
            Gate::Open => return serde_json::Value::Null,
            Gate::Fixed => options.insert("token".to_string(), secret),
            Gate::Digest | Gate::Ticket(_) => options.insert("password".to_string(), secret),
        };
        if family.has_web() {
            options.insert("web_port".to_string(), self.device.address(Door::Web).port().into());
        }
        options.into()
    }

    /// What it measures now.
    pub fn vitals(&self) -> Vitals {
        self.device.vitals()
    }

    /// What it is set to.
    pub fn kept(&self) -> Kept {
        self.device.kept()
    }

    /// Sets it so, as somebody does who stands before it.
    pub fn keep(&self, change: impl FnOnce(&mut Kept)) {
        let mut kept = self.device.kept();
        change(&mut kept);
        self.device.keep(kept);
    }

    /// Whether it was told to show itself.
    pub fn light(&self) -> bool {
        self.device.told("light").is_some()
    }

    /// Moves it to a free port of another address, as a router does that gives addresses away.
    ///
    /// # Errors
    /// When no port can be opened there.
    pub async fn move_to(&self, address: IpAddr) -> std::io::Result<()> {
        for door in doors(self.model()) {
            let listener = TcpListener::bind((address, 0)).await?;
            self.device.moves(*door, listener)?;
        }
        Ok(())
    }

    /// Starts it anew: counters and uptime begin at 0, and hashing takes some seconds to come back.
    pub fn reboot(&self) {
        self.device.restart();
    }

    /// Challenges and tokens that it gave are no longer good.
    pub fn forget_logins(&self) {
        self.device.forget_logins();
    }

    /// How many requests it has refused for want of a login.
    pub fn refusals(&self) -> u64 {
        self.device.refusals()
    }

    /// How many logins have succeeded.
    pub fn logins(&self) -> u64 {
        self.device.logins()
    }

    /// Puts a fault in force now, or heals the device; its script ends.
    pub fn set_fault(&self, fault: Option<Fault>) {
        self.device.set_fault(fault);
    }

    /// The fault in force.
    pub fn fault(&self) -> Option<Fault> {
        self.device.fault().map(|(fault, _)| fault)
    }

    /// How many requests it has been asked.
    pub fn requests(&self) -> u64 {
        self.device.requests()
    }

    /// How many times it was restarted over the network.
    pub fn restarts(&self) -> u64 {
        self.device.restarts()
    }
}
