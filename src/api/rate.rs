//! How often one client may ask: a token bucket per address, bounded in number.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Addresses remembered. Beyond it, those that have their full allowance again are forgotten; where none has, newcomers
/// share one allowance.
const MOST_CLIENTS: usize = 4096;

/// So many seconds' worth of requests may come at once: a dashboard opens with dozens of queries.
const BURST_SECONDS: f64 = 5.0;

const SWEEP_EVERY: Duration = Duration::from_secs(1);

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Client {
    /// Who showed the token, from wherever: apart from strangers behind the same address.
    Known,
    /// An address; of IPv6 the network of 64 bits, of which one machine may use every address.
    Address(IpAddr),
    /// All for whom there is no room.
    Others,
}

impl Client {
    pub(super) fn of(address: IpAddr) -> Self {
        Client::Address(match address.to_canonical() {
            IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64)),
            v4 => v4,
        })
    }
}

#[derive(Clone, Copy)]
struct Bucket {
    left: f64,
    at: Instant,
}

#[derive(Default)]
struct Buckets {
    of: HashMap<Client, Bucket>,
    /// When those with a full allowance were last forgotten: a flood of newcomers must not have all looked at each time.
    swept: Option<Instant>,
}

/// The allowances.
pub(super) struct Rate {
    per_second: f64,
    buckets: Mutex<Buckets>,
}

impl Rate {
    /// `per_second` requests of each client, for ever; 0 for no limit.
    pub(super) fn new(per_second: u32) -> Self {
        Rate { per_second: f64::from(per_second), buckets: Mutex::default() }
    }

    /// Takes one request from the client's allowance; when it is used up, says how long to wait.
    pub(super) fn take(&self, client: Client, now: Instant) -> Result<(), Duration> {
        if self.per_second == 0.0 {
            return Ok(());
        }
        let full = self.per_second * BURST_SECONDS;
        let refilled = |bucket: &Bucket| {
            let passed = now.saturating_duration_since(bucket.at).as_secs_f64();
            (bucket.left + passed * self.per_second).min(full)
        };
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut client, Buckets { of, swept }) = (client, &mut *buckets);
        if of.len() >= MOST_CLIENTS && !of.contains_key(&client) {
            if swept.is_none_or(|at| now.saturating_duration_since(at) >= SWEEP_EVERY) {
                *swept = Some(now);
                of.retain(|_, bucket| refilled(bucket) < full);
            }
            if of.len() >= MOST_CLIENTS {
                client = Client::Others;
            }
        }
        let bucket = of.entry(client).or_insert(Bucket { left: full, at: now });
        *bucket = Bucket { left: refilled(bucket), at: now };
        if bucket.left < 1.0 {
            return Err(Duration::from_secs_f64((1.0 - bucket.left) / self.per_second));
        }
        bucket.left -= 1.0;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(last: u8) -> Client {
        Client::of(IpAddr::from([10, 0, 0, last]))
    }

    #[test]
    fn a_burst_passes_and_a_flood_waits() {
        let (rate, start) = (Rate::new(10), Instant::now());
        assert!((0..50).all(|_| rate.take(address(1), start).is_ok()));
        let wait = rate.take(address(1), start).unwrap_err();
        assert!(wait > Duration::from_millis(90) && wait <= Duration::from_millis(100), "{wait:?}");
        assert!(rate.take(address(2), start).is_ok(), "another address has its own");
        assert!(rate.take(Client::Known, start).is_ok(), "and so has who shows the token");
        assert!(rate.take(address(1), start + Duration::from_millis(110)).is_ok());
        assert!(rate.take(address(1), start + Duration::from_millis(120)).is_err());
        let none = Rate::new(0);
        assert!((0..10_000).all(|_| none.take(address(1), start).is_ok()));
    }

    #[test]
    fn addresses_without_end_cost_no_memory_without_end() {
        let (rate, start) = (Rate::new(1), Instant::now());
        let client = |n: u32| Client::of(IpAddr::from(n.to_be_bytes()));
        let passed = (0..100_000).filter(|n| rate.take(client(*n), start).is_ok()).count();
        assert_eq!(passed, MOST_CLIENTS + 5, "the rest shares one allowance");
        assert_eq!(rate.buckets.lock().unwrap().of.len(), MOST_CLIENTS + 1);
        assert!(rate.take(client(200_000), start + Duration::from_secs(60)).is_ok());
        assert_eq!(rate.buckets.lock().unwrap().of.len(), 1);
        let (a, b) = ("2001:db8::1", "2001:db8::2");
        assert_eq!(Client::of(a.parse().unwrap()), Client::of(b.parse().unwrap()));
        assert_eq!(Client::of("::ffff:10.0.0.1".parse().unwrap()), address(1));
    }
}
