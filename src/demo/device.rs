//! One simulated device: its script of faults, and what it would measure at a given moment.

mod told;

use std::f64::consts::TAU;
use std::net::SocketAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde_json::{Map, Value};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::time::Instant;

use super::family::Wire;
use super::fault::Fault;
use super::kept::Kept;
use super::profile::Profile;
use super::{DeviceSpec, Model};

/// What a device measures at one moment.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Vitals {
    /// GH/s.
    pub hashrate: f64,
    /// GH/s.
    pub expected: f64,
    /// W.
    pub power: f64,
    /// °C.
    pub temperature: f64,
    /// Revolutions per minute.
    pub fan_rpm: f64,
    /// Percent.
    pub fan_percent: f64,
    /// Since the last start, seconds.
    pub uptime: f64,
    /// Since the last start.
    pub accepted: u64,
    /// Since the last start.
    pub rejected: u64,
    /// Since the last start.
    pub errors: u64,
    /// The firmware has stopped hashing because of heat.
    pub overheated: bool,
    /// Somebody has paused it.
    pub paused: bool,
    /// Its fan runs as fast as somebody has told it, and not as it needs.
    pub fan_held: bool,
}

struct Control {
    /// Set by hand; the script no longer counts.
    forced: Option<(Option<Fault>, Instant)>,
    booted: Instant,
    /// Uptime at `booted`: a fleet does not begin with devices that all have just started.
    head_start: f64,
    restarts: u64,
    requests: u64,
    refusals: u64,
    logins: u64,
    /// Which challenge or token is in force.
    session: u64,
    paused: bool,
    kept: Kept,
    /// Percent.
    fan: Option<f64>,
    /// What it was told over the network, in its own words.
    settings: Map<String, Value>,
    /// Steps whose one-time codes were used.
    spent: Vec<u64>,
    /// Where its doors are.
    addresses: [SocketAddr; 2],
    /// Doors at a new address that nobody serves yet.
    arrivals: Vec<(Door, TcpListener)>,
}

/// A socket of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Door {
    /// The address that a target names.
    Main,
    /// The web interface beside its commands.
    Web,
}

/// One simulated device.
pub struct Device {
    spec: DeviceSpec,
    seed: u64,
    started: Instant,
    control: Mutex<Control>,
    changed: watch::Sender<()>,
}

/// Above this temperature the firmware stops hashing, as AxeOS does.
const OVERHEAT_CELSIUS: f64 = 80.0;

impl Device {
    /// A device that has been up for some hours.
    pub fn new(spec: DeviceSpec, seed: u64) -> Self {
        let now = Instant::now();
        let head_start = 3_600.0 + (seed % 1_000_000) as f64;
        let control = Control {
            forced: None,
            booted: now,
            head_start,
            restarts: 0,
            requests: 0,
            refusals: 0,
            logins: 0,
            session: 1,
            paused: false,
            kept: Kept::of(spec.model),
            fan: None,
            settings: Map::new(),
            spent: Vec::new(),
            addresses: [spec.address, spec.web],
            arrivals: Vec::new(),
        };
        Device { spec, seed, started: now, control: Mutex::new(control), changed: watch::Sender::new(()) }
    }

    pub fn id(&self) -> &str {
        &self.spec.id
    }

    /// What it calls itself on its network.
    pub fn hostname(&self) -> &str {
        self.spec.hostname.as_deref().unwrap_or(&self.spec.id)
    }

    pub fn model(&self) -> Model {
        self.spec.model
    }

    pub fn wire(&self, door: Door) -> Wire {
        match self.spec.model.family() {
            _ if door == Door::Web => Wire::Http,
            Some(family) => family.wire,
            None if self.spec.model.kind() == "axeos" => Wire::Http,
            None => Wire::Rpc,
        }
    }

    pub fn mac(&self) -> String {
        let bytes = mix(self.seed, 99).to_be_bytes();
        // The second bit of the first byte: locally administered, so no maker's.
        format!("02:{:02X}:{:02X}:{:02X}:{:02X}:{:02X}", bytes[1], bytes[2], bytes[3], bytes[4], bytes[5])
    }

    /// The challenge or token that is in force.
    pub fn token(&self) -> String {
        format!("{:016x}", mix(self.seed, self.control().session))
    }

    /// Challenges and tokens that were given are no longer good.
    pub fn forget_logins(&self) {
        self.control().session += 1;
    }

    pub fn logged_in(&self) {
        self.control().logins += 1;
    }

    pub fn logins(&self) -> u64 {
        self.control().logins
    }

    /// Counts a request that was refused for want of a login.
    pub fn refused(&self) {
        self.control().refusals += 1;
    }

    pub fn refusals(&self) -> u64 {
        self.control().refusals
    }

    pub fn address(&self, door: Door) -> SocketAddr {
        self.control().addresses[door as usize]
    }

    /// Puts a door to where `listener` is.
    pub fn place(&self, door: Door, listener: &TcpListener) -> std::io::Result<()> {
        self.control().addresses[door as usize] = listener.local_addr()?;
        Ok(())
    }

    /// Gives a door a new place; whoever serves it moves there.
    pub fn moves(&self, door: Door, listener: TcpListener) -> std::io::Result<()> {
        self.place(door, &listener)?;
        self.control().arrivals.push((door, listener));
        self.changed.send_replace(());
        Ok(())
    }

    /// The new place of a door, once.
    pub fn arrival(&self, door: Door) -> Option<TcpListener> {
        let mut control = self.control();
        let at = control.arrivals.iter().position(|(which, _)| *which == door)?;
        Some(control.arrivals.swap_remove(at).1)
    }

    pub fn seed(&self) -> u64 {
        self.seed
    }

    pub fn restarts(&self) -> u64 {
        self.control().restarts
    }

    pub fn requests(&self) -> u64 {
        self.control().requests
    }

    /// Counts a request.
    pub fn asked(&self) {
        self.control().requests += 1;
    }

    fn control(&self) -> MutexGuard<'_, Control> {
        self.control.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn set_fault(&self, fault: Option<Fault>) {
        self.control().forced = Some((fault, Instant::now()));
        self.changed.send_replace(());
    }

    /// What it is set to.
    pub fn kept(&self) -> Kept {
        self.control().kept.clone()
    }

    /// Sets it so.
    pub fn keep(&self, kept: Kept) {
        self.control().kept = kept;
    }

    /// What the buttons "restart" do: counters begin anew, and a lost hash rate comes back.
    pub fn restart(&self) {
        let mut control = self.control();
        control.booted = Instant::now();
        control.head_start = 0.0;
        control.restarts += 1;
        if matches!(control.forced, Some((Some(Fault::LowHashrate), _))) {
            control.forced = Some((None, control.booted));
        }
    }

    /// The fault in force, and since when.
    pub fn fault(&self) -> Option<(Fault, Instant)> {
        let control = self.control();
        if let Some((fault, since)) = control.forced {
            return fault.map(|fault| (fault, since));
        }
        let now = Instant::now();
        let in_force = self.spec.script.iter().rev().find(|step| {
            let (start, age) = (self.started + step.after, now.saturating_duration_since(self.started + step.after));
            let cured = step.fault == Fault::LowHashrate && control.booted > start;
            now >= start && !cured && step.lasts.is_none_or(|lasts| age < lasts)
        });
        in_force.map(|step| (step.fault, self.started + step.after))
    }

    /// What [`Device::change`] wants of each who waits.
    pub fn changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    /// Returns when the fault may have changed: by hand, or because a step of the script begins or ends.
    pub async fn change(&self, changes: &mut watch::Receiver<()>) {
        let now = Instant::now();
        let edges = self.spec.script.iter().flat_map(|step| [Some(step.after), step.lasts.map(|l| step.after + l)]);
        let next = edges.flatten().map(|edge| self.started + edge).filter(|edge| *edge > now).min();
        let edge = async {
            match next {
                Some(edge) => tokio::time::sleep_until(edge).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = edge => {}
            _ = changes.changed() => {}
        }
    }

    /// What it measures now.
    pub fn vitals(&self) -> Vitals {
        let fault = self.fault();
        let real = Instant::now();
        let now = fault.filter(|(fault, _)| *fault == Fault::Frozen).map_or(real, |(_, since)| since);
        let (booted, head_start, paused, fan) = {
            let control = self.control();
            (control.booted, control.head_start, control.paused, control.fan)
        };
        let running = now.saturating_duration_since(booted).as_secs_f64();
        let uptime = running + head_start;
        let ill =
            |which| fault.filter(|(f, _)| *f == which).map(|(_, at)| now.saturating_duration_since(at).as_secs_f64());
        let (hot, low) = (ill(Fault::Overheat), ill(Fault::LowHashrate));
        let profile = Profile::of(self.spec.model);
        let t = now.saturating_duration_since(self.started).as_secs_f64();
        let temperature = profile.temperature
            + 1.5 * self.wave(1, t, 240.0)
            + 0.4 * self.noise(2, t)
            + hot.map_or(0.0, |seconds| (2.0 * seconds).min(34.0));
        let overheated = hot.is_some() && temperature >= OVERHEAT_CELSIUS;
        let load = match (paused || overheated, low) {
            (true, _) => 0.0,
            (false, Some(_)) => 0.35,
            (false, None) => (uptime / 6.0).min(1.0),
        };
        let wobble = 0.99 + 0.012 * self.wave(3, t, 97.0) + 0.012 * self.noise(4, t);
        // Time that was worked, for counters that must never fall.
        let worked = uptime - low.map_or(0.0, |seconds| 0.65 * seconds).min(running) - hot.unwrap_or(0.0).min(running);
        let accepted = (worked.max(0.0) * profile.shares_per_second) as u64;
        Vitals {
            hashrate: profile.expected * load * wobble,
            expected: profile.expected,
            power: profile.power * (0.12 + 0.88 * load) * (1.0 + 0.01 * self.noise(5, t)),
            temperature,
            fan_rpm: profile.fan_rpm * (1.0 + 0.03 * self.wave(6, t, 180.0)) + hot.map_or(0.0, |_| 900.0),
            fan_percent: match (fan, hot) {
                (Some(held), _) => held,
                (None, Some(_)) => 100.0,
                (None, None) => 52.0 + 6.0 * self.wave(6, t, 180.0),
            },
            uptime: uptime + real.saturating_duration_since(now).as_secs_f64(),
            accepted,
            rejected: accepted / 140,
            errors: (worked.max(0.0) * 0.05) as u64,
            overheated,
            paused,
            fan_held: fan.is_some(),
        }
    }

    /// A slow wave between −1 and 1 with a phase of its own.
    fn wave(&self, salt: u64, t: f64, period: f64) -> f64 {
        let phase = (mix(self.seed, salt) % 1_000) as f64 / 1_000.0;
        (TAU * (t / period + phase)).sin()
    }

    /// Noise between −1 and 1 that changes each second.
    pub fn noise(&self, salt: u64, t: f64) -> f64 {
        (mix(mix(self.seed, salt), t as u64) % 2_001) as f64 / 1_000.0 - 1.0
    }
}

/// splitmix64 over two words: every seed and salt give unrelated numbers.
pub fn mix(a: u64, b: u64) -> u64 {
    let mut z = a ^ b.wrapping_add(0x9e37_79b9_7f4a_7c15).wrapping_mul(0xd6e8_feb8_6659_fd93);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::demo::Step;

    fn device(script: Vec<Step>) -> Device {
        Device::new(DeviceSpec { script, ..DeviceSpec::new("d", Model::Bitaxe) }, 7)
    }

    #[tokio::test(start_paused = true)]
    async fn a_lost_hash_rate_stays_lost_until_a_restart() {
        let device = device(vec![Step::from(Duration::from_secs(10), Fault::LowHashrate)]);
        assert!(device.vitals().hashrate > 1_000.0);
        tokio::time::advance(Duration::from_secs(3_600)).await;
        let low = device.vitals();
        assert!(low.hashrate < 450.0, "{low:?}");
        device.restart();
        tokio::time::advance(Duration::from_secs(20)).await;
        let cured = device.vitals();
        assert!(cured.hashrate > 1_000.0 && cured.uptime < 30.0 && cured.accepted < low.accepted, "{cured:?}");
        assert_eq!(device.restarts(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn counters_never_fall_and_heat_stops_the_hashing() {
        let heat = Step::during(Duration::from_secs(60), Duration::from_secs(120), Fault::Overheat);
        let device = device(vec![heat, Step::from(Duration::from_secs(400), Fault::LowHashrate)]);
        let (mut last, mut stopped) = (device.vitals(), 0);
        for _ in 0..600 {
            tokio::time::advance(Duration::from_secs(1)).await;
            let now = device.vitals();
            assert!(now.accepted >= last.accepted && now.errors >= last.errors && now.uptime > last.uptime);
            assert_eq!(now.overheated, now.hashrate == 0.0);
            stopped += u32::from(now.overheated);
            last = now;
        }
        assert!((80..120).contains(&stopped), "{stopped}");
    }

    #[tokio::test(start_paused = true)]
    async fn the_same_seed_tells_the_same_story() {
        let (a, b) = (device(Vec::new()), device(Vec::new()));
        tokio::time::advance(Duration::from_secs(77)).await;
        assert_eq!(a.vitals(), b.vitals());
    }
}
