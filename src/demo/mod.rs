//! A simulated fleet: devices that answer on loopback sockets as real ones do, values drifting, faults included. For
//! `davylamp demo`, for tests and for benches.
//!
//! Everything a device says follows from its seed and the time since the start. A device serves one connection at a
//! time, as the real ones do. Dropping the [`Fleet`] ends all of it.

mod axeos;
mod cgminer;
mod device;
mod hostile;
mod server;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::task::JoinSet;

use device::Device;
pub use device::{Fault, Hostile, Step};

/// What a simulated device pretends to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Model {
    /// Bitaxe Gamma with AxeOS 2.4.0: `bestDiff` as text, no `/api/system/asic`.
    BitaxeOld,
    /// Bitaxe Gamma with AxeOS 2.12: chip count only in `/api/system/asic`, hash rate by chip.
    Bitaxe,
    /// NerdQAxe++: four chips, two fans, the object `stratum`.
    NerdQaxe,
    /// cgminer 4.11.1 with three boards; knows combined commands.
    Cgminer,
    /// cgminer 2.11.4: refuses combined commands, offers a lifetime average only.
    CgminerOld,
    /// A relative of cgminer that writes broken JSON: no commas, `nan`, raw line ends.
    CgminerSloppy,
    /// bfgminer 5.5.0.
    Bfgminer,
}

impl Model {
    /// All models.
    pub const ALL: [Model; 7] = [
        Model::BitaxeOld,
        Model::Bitaxe,
        Model::NerdQaxe,
        Model::Cgminer,
        Model::CgminerOld,
        Model::CgminerSloppy,
        Model::Bfgminer,
    ];

    /// The kind of target that polls it.
    pub const fn kind(self) -> &'static str {
        match self {
            Model::BitaxeOld | Model::Bitaxe | Model::NerdQaxe => "axeos",
            Model::Cgminer | Model::CgminerOld | Model::CgminerSloppy | Model::Bfgminer => "cgminer",
        }
    }
}

/// One device to simulate.
#[derive(Clone, Debug)]
pub struct DeviceSpec {
    /// Name, unique in the fleet; also its hostname.
    pub id: String,
    /// What it pretends to be.
    pub model: Model,
    /// Faults that come by themselves, in the order of their times.
    pub script: Vec<Step>,
}

impl DeviceSpec {
    /// A healthy device.
    pub fn new(id: impl Into<String>, model: Model) -> Self {
        DeviceSpec { id: id.into(), model, script: Vec::new() }
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
        DeviceSpec::new("nerdqaxe-2", Model::NerdQaxe),
        DeviceSpec::new("rack-1", Model::Cgminer),
        DeviceSpec::new("rack-2", Model::Cgminer),
        DeviceSpec::new("rack-3", Model::CgminerSloppy),
        DeviceSpec::new("attic-1", Model::CgminerOld),
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
            let listener = TcpListener::bind((std::net::Ipv4Addr::LOCALHOST, 0)).await?;
            let address = listener.local_addr()?;
            let device = Arc::new(Device::new(spec, device::mix(seed, index as u64)));
            fleet.tasks.spawn(server::serve(Arc::clone(&device), listener, address));
            fleet.devices.push(DeviceHandle { address, device });
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

/// One device of a running fleet.
#[derive(Clone)]
pub struct DeviceHandle {
    address: SocketAddr,
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
        self.address
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
