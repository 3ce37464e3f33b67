//! Writing the pools of a cgminer and its relatives (LuxOS too): what is missing is added, what is wanted is switched to
//! in such an order that it stands in front, and what it replaces is removed. Source: `API-README` of cgminer.
//!
//! A removed pool's number goes to another one, so the list is read anew before each removal.

use futures_util::future::BoxFuture;
use tokio::time::Instant;

use super::super::apply::{Hand, Job};
use super::super::device::{Device, Show};
use super::super::documents::Sections;
use super::super::tell::{self, BY_SECTIONS, Steps, request};
use super::sections;
use crate::collect::Reply;
use crate::collect::command::CommandError;
use crate::model::{PoolSetting, Reading};
use crate::preset::Able;

/// How programs with cgminer's commands take presets.
pub static HAND: Hand = Hand { able: ABLE, by: BY, pools, starts: false };
/// What they take.
pub const ABLE: Able = Able { pools: 8, exact: true, settings: &[] };
/// What their pools are sent with.
pub const BY: &str = "addpool, switchpool, removepool";

/// Writes the pools.
pub fn pools(job: Job, by: Instant) -> BoxFuture<'static, Result<(), CommandError>> {
    Box::pin(async move {
        let address = tell::rpc_place(&job.target, 4028)?;
        let mut steps = Steps::default();
        let found = steps.asked(list(&address, by).await)?;
        for pool in job.pools.iter().filter(|pool| !found.iter().any(|found| pool.is_at(found))) {
            let words = [&*pool.url, &pool.user, pool.password.expose()].map(escaped);
            steps.told(tell_it(&address, "addpool", &words.join(","), by).await)?;
        }
        let found = steps.asked(list(&address, by).await)?;
        let wanted: Vec<&PoolSetting> =
            job.pools.iter().filter_map(|pool| found.iter().find(|found| pool.is_at(found))).collect();
        if wanted.iter().enumerate().any(|(place, pool)| pool.place != place) {
            // The last one that is switched to stands first.
            for pool in wanted.iter().rev() {
                steps.told(tell_it(&address, "switchpool", &pool.slot.to_string(), by).await)?;
            }
        }
        let kept = |pool: &PoolSetting| job.pools.iter().any(|wanted| wanted.is_at(pool));
        let replaced = |pool: &&PoolSetting| !kept(pool) && (job.exact || pool.place < job.pools.len());
        let mut replaced: Vec<PoolSetting> = found.iter().filter(replaced).cloned().collect();
        while let Some(pool) = replaced.pop() {
            let now = steps.asked(list(&address, by).await)?;
            let same = |now: &&PoolSetting| (&now.url, &now.user) == (&pool.url, &pool.user);
            if let Some(now) = now.iter().find(same) {
                steps.told(tell_it(&address, "removepool", &now.slot.to_string(), by).await)?;
            }
        }
        Ok(())
    })
}

async fn tell_it(address: &str, command: &str, parameter: &str, by: Instant) -> Result<(), CommandError> {
    BY_SECTIONS(&tell::send_rpc(address, &request(command, parameter), by).await?)
}

/// Commas part the words of a parameter.
fn escaped(word: &str) -> String {
    word.replace('\\', "\\\\").replace(',', "\\,")
}

/// The pools as they stand now. A question changes nothing, so its failure is a refusal.
async fn list(address: &str, by: Instant) -> Result<Vec<PoolSetting>, CommandError> {
    let body = tell::send_rpc(address, &request("pools", ""), by).await;
    let body = body.map_err(|error| CommandError::Refused(error.to_string()))?;
    let mut device = Device::default();
    sections::put_pools(&mut device, &Sections::read(&[Reply::new("pools", body)]));
    let mut reading = Reading::default();
    device.put(&mut reading, Show::default());
    match reading.settings.pools {
        some if some.is_empty() => Err(CommandError::Refused("it does not name its pools".to_string())),
        pools => Ok(pools),
    }
}
