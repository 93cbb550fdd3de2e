//! Gives a device a root key, and networks what is derived of it: here at once, and durable; with other
//! networks' modules as soon as they are there. The root itself is not kept.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use homeward_daemon::{SystemClock, SystemEntropy};
use homeward_handoff::CallError;
use homeward_keychain::{DeviceKey, RootKey};
use homeward_model::backoff::{Backoff, Jitter};
use homeward_model::{Clock, Entropy, Nai, Name, UnixTime};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::module::Module;
use crate::outbox::Enrolment;

/// The wait before a network that was not told is told again; it doubles.
const RETRY: Duration = Duration::from_secs(1);

/// The longest.
const RETRY_MOST: Duration = Duration::from_secs(60);

/// What a device is given.
#[derive(Debug)]
pub struct Given {
    /// K(D), that nobody else has.
    pub root: RootKey,
    /// Of what is derived of it.
    pub version: u32,
}

/// The version after that one: the time, in seconds, so that it is newer than whatever somebody else may
/// have enrolled before; but always newer than what is known here, whatever the clock shows. `None`
/// after the last.
fn next(known: Option<u32>, now: UnixTime) -> Option<u32> {
    let clock = u32::try_from(now.seconds()).unwrap_or(1).max(1);
    match known {
        None => Some(clock),
        Some(known) => known.checked_add(1).map(|next| next.max(clock)),
    }
}

impl Module {
    /// Makes a root key for a device, in place of one that it had, and enrols it here and with the modules of
    /// `networks`. It is durable when this returns, and those modules have been told, or `wait` is over:
    /// who is away then is told later.
    ///
    /// # Errors
    /// Nothing can be kept; the device is given nothing.
    pub async fn give(
        self: &Arc<Self>,
        device: &Nai,
        networks: &[Name],
        wait: Duration,
    ) -> anyhow::Result<Given> {
        let root = RootKey::new(SystemEntropy::new().octets());
        // One at a time, to the disk: what is newer in memory is newer there.
        let mut outbox = self.outbox().lock().await;
        let mut changes = Vec::with_capacity(1 + networks.len());
        let version = {
            let mut enrolled = self.enrolled().lock().await;
            let version = next(enrolled.version(device), SystemClock.unix());
            let version = version.context("the device's last version is enrolled: forget it")?;
            let key = root.device_key(self.name(), version);
            changes.push(enrolled.enrol(device.clone(), version, key)?);
            version
        };
        for network in networks {
            let key = root.device_key(network, version);
            let told = Enrolment { device: device.clone(), version, key };
            changes.push(outbox.put(network.clone(), told));
        }
        self.vault().commit(changes).await?;
        drop(outbox);
        tracing::info!(version, "a device is enrolled");
        tracing::debug!(device = device.as_str(), version, "which");
        let mut telling = JoinSet::new();
        for network in networks {
            let (module, network) = (Arc::clone(self), network.clone());
            let key = root.device_key(&network, version);
            let told = Enrolment { device: device.clone(), version, key };
            telling.spawn(async move {
                if let Err(error) = module.tell(&network, &told).await {
                    tracing::warn!(%network, %error, "a device is enrolled there later");
                }
            });
        }
        let all = async { while telling.join_next().await.is_some() {} };
        if timeout(wait, all).await.is_err() {
            tracing::info!("a device is given its keys before all networks have theirs");
        }
        Ok(Given { root, version })
    }

    /// A peer that may enrols a device.
    pub(crate) async fn enrolled_by(
        &self,
        from: &Name,
        (device, version, key): (Nai, u32, DeviceKey),
    ) -> Result<(), homeward_handoff::Refused> {
        use homeward_handoff::Refused;
        tracing::debug!(%from, device = device.as_str(), version, "enrolling");
        let change = self.enrolled().lock().await.enrol(device, version, key);
        let change = change.map_err(|older| Refused::Older(older.to_string()))?;
        let kept = self.vault().commit(vec![change]).await;
        kept.map_err(|_| Refused::Later("nothing can be kept"))?;
        tracing::info!(%from, version, "a device is enrolled");
        Ok(())
    }

    async fn tell(&self, network: &Name, told: &Enrolment) -> Result<(), CallError> {
        let Enrolment { device, version, key } = told;
        match self.peers().enrol(network, device, *version, key).await {
            Ok(()) => tracing::info!(%network, version, "a device is enrolled there"),
            // Somebody else enrolled it since: this one is of no use any more.
            Err(error @ CallError::Newer { .. }) => tracing::warn!(%error, "not enrolled there"),
            Err(error) => return Err(error),
        }
        let mut outbox = self.outbox().lock().await;
        if let Some(change) = outbox.told(network, device, *version) {
            // If it is told again after a restart, nothing changes by it.
            let _ = self.vault().commit(vec![change]).await;
        }
        Ok(())
    }

    /// Tells a network of all that waits; whether that is all.
    async fn tell_all(&self, network: &Name) -> Result<(), CallError> {
        let mut last = None;
        loop {
            let next = self.outbox().lock().await.after(network, last.as_ref());
            let Some(told) = next else { return Ok(()) };
            self.tell(network, &told).await?;
            last = Some(told.device);
        }
    }
}

/// Which networks were not told, and when they are again.
#[derive(Debug)]
pub(crate) struct Again {
    pauses: BTreeMap<Name, Backoff>,
    jitter: Jitter,
}

impl Again {
    pub(crate) fn new() -> Self {
        Self { pauses: BTreeMap::new(), jitter: Jitter::new(&mut SystemEntropy::new()) }
    }

    /// Tells the networks whose turn it is, each beside the others: one that is away holds up none.
    pub(crate) async fn round(&mut self, module: &Arc<Module>) {
        let waiting: Vec<Name> =
            module.outbox().lock().await.networks().map(|(network, _)| network.clone()).collect();
        self.pauses.retain(|network, _| waiting.contains(network));
        let now = SystemClock.now();
        let mut telling = JoinSet::new();
        for network in waiting {
            if self.pauses.get(&network).is_some_and(|pause| pause.until(now).is_some()) {
                continue;
            }
            let module = Arc::clone(module);
            telling.spawn(async move { (module.tell_all(&network).await, network) });
        }
        while let Some(done) = telling.join_next().await {
            let Ok((told, network)) = done else { continue };
            let Err(error) = told else {
                self.pauses.remove(&network);
                continue;
            };
            let pause = self.pauses.entry(network.clone()).or_default();
            pause.fail(RETRY, RETRY_MOST, SystemClock.now(), &mut self.jitter);
            if pause.failures() == 1 || !error.is_away() {
                tracing::warn!(%network, %error, "it is not told yet which devices are enrolled");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_the_time_and_newer_than_what_is_known() {
        let at = |seconds: i64| UnixTime(seconds * 1000 + 999);
        let now = 1_770_000_000;
        assert_eq!(next(None, at(1_770_000_000)), Some(now));
        assert_eq!(next(Some(3), at(1_770_000_000)), Some(now), "by hand before");
        assert_eq!(next(Some(now), at(1_770_000_000)), Some(now + 1), "within a second");
        assert_eq!(next(Some(now + 9), at(0)), Some(now + 10), "the clock was set back");
        assert_eq!(next(None, at(-5)), Some(1));
        assert_eq!(next(Some(u32::MAX), at(1_770_000_000)), None);
    }
}
