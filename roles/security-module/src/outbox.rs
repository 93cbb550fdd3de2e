//! What other networks' modules are still to be told of devices: which keys they are to have.

use std::collections::BTreeMap;

use anyhow::Context;
use homeward_keychain::DeviceKey;
use homeward_model::{Nai, Name};
use homeward_vault::{Change, Vault};
use zeroize::Zeroizing;

const ENROLMENT: &str = "enrolment";

/// A key that a network is to have.
#[derive(Debug, Clone)]
pub struct Enrolment {
    /// Whose it is, there.
    pub device: Nai,
    /// Which version of it.
    pub version: u32,
    /// The key.
    pub key: DeviceKey,
}

/// What is to be told, by network. One thing for each device: the newest.
#[derive(Debug, Default)]
pub struct Outbox(BTreeMap<Name, BTreeMap<Nai, (u32, DeviceKey)>>);

impl Outbox {
    /// As it was kept.
    ///
    /// # Errors
    /// What was kept does not open, or is none.
    pub async fn load(vault: &Vault) -> anyhow::Result<Self> {
        let mut this = Self::default();
        for (name, kept) in vault.all(ENROLMENT).await? {
            let read = || -> Option<(Name, Enrolment)> {
                let (network, device) = std::str::from_utf8(&name).ok()?.split_once('\0')?;
                let (version, key) = kept.split_first_chunk::<4>()?;
                let version = u32::from_be_bytes(*version);
                let key = DeviceKey::new(key.try_into().ok()?);
                let device = device.parse().ok()?;
                Some((network.parse().ok()?, Enrolment { device, version, key }))
            };
            let (network, told) = read().context("an enrolment that was kept is none")?;
            this.put(network, told);
        }
        Ok(this)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.values().map(BTreeMap::len).sum()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many each network is to be told.
    pub fn networks(&self) -> impl Iterator<Item = (&Name, usize)> {
        self.0.iter().map(|(network, devices)| (network, devices.len()))
    }

    /// Of that network, the first after that device, in the order of their names.
    pub(crate) fn after(&self, network: &Name, device: Option<&Nai>) -> Option<Enrolment> {
        let mut devices = self.0.get(network)?.iter();
        let next = devices.find(|(name, _)| device.is_none_or(|before| *name > before));
        let (device, (version, key)) = next?;
        Some(Enrolment { device: device.clone(), version: *version, key: key.clone() })
    }

    /// A network is to be told, in place of what it was to be told of that device; what is to be
    /// kept.
    pub(crate) fn put(&mut self, network: Name, told: Enrolment) -> Change {
        let Enrolment { device, version, key } = told;
        let plain = Zeroizing::new([&version.to_be_bytes()[..], key.expose()].concat());
        let name = place(&network, &device);
        self.0.entry(network).or_default().insert(device, (version, key));
        Change::Put { kind: ENROLMENT, name, plain }
    }

    /// A network was told, unless it is to be told something newer by now; what is to be kept.
    pub(crate) fn told(&mut self, network: &Name, device: &Nai, version: u32) -> Option<Change> {
        let devices = self.0.get_mut(network)?;
        devices.get(device).filter(|(waiting, _)| *waiting == version)?;
        devices.remove(device);
        if devices.is_empty() {
            self.0.remove(network);
        }
        Some(Change::Remove { kind: ENROLMENT, name: place(network, device) })
    }
}

fn place(network: &Name, device: &Nai) -> Vec<u8> {
    [network.as_str(), device.as_str()].join("\0").into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn enrolment(device: &str, version: u32) -> Enrolment {
        let key = DeviceKey::new([u8::try_from(version).unwrap(); 32]);
        Enrolment { device: device.parse().unwrap(), version, key }
    }

    #[tokio::test]
    async fn what_is_to_be_told_outlasts_a_restart_until_it_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let at = (dir.path().join("v.db"), dir.path().join("v.keys"));
        let (n1, n2): (Name, Name) = ("n1".parse().unwrap(), "n2".parse().unwrap());
        let vault = Vault::open(&at.0, &at.1).await.unwrap();
        let mut outbox = Outbox::load(&vault).await.unwrap();
        assert!(outbox.is_empty());
        let rows = [(&n1, "a@x", 1), (&n1, "b@x", 2), (&n2, "a@x", 3), (&n1, "a@x", 4)];
        for (network, device, version) in rows {
            let change = outbox.put(network.clone(), enrolment(device, version));
            vault.commit(vec![change]).await.unwrap();
        }
        drop(vault);
        let vault = reopened(&at).await;
        let mut outbox = Outbox::load(&vault).await.unwrap();
        assert_eq!(outbox.len(), 3);
        let first = outbox.after(&n1, None).unwrap();
        assert_eq!((first.device.as_str(), first.version, first.key.expose()[0]), ("a@x", 4, 4));
        let second = outbox.after(&n1, Some(&first.device)).unwrap();
        assert_eq!((second.device.as_str(), second.version), ("b@x", 2));
        assert!(outbox.after(&n1, Some(&second.device)).is_none());
        // What was told meanwhile was not the newest.
        assert!(outbox.told(&n1, &first.device, 1).is_none());
        let change = outbox.told(&n1, &first.device, 4).unwrap();
        vault.commit(vec![change]).await.unwrap();
        drop(vault);
        let outbox = Outbox::load(&reopened(&at).await).await.unwrap();
        let left: Vec<_> = outbox.networks().map(|(name, count)| (name.as_str(), count)).collect();
        assert_eq!(left, [("n1", 1), ("n2", 1)]);
        let text = format!("{outbox:?} {:?}", enrolment("a@x", 9));
        assert!(text.contains("redacted") && !text.contains("9, 9"), "{text}");
    }

    /// Its lock goes with the task that keeps things, which ends by itself.
    async fn reopened(at: &(std::path::PathBuf, std::path::PathBuf)) -> Vault {
        loop {
            match Vault::open(&at.0, &at.1).await {
                Err(homeward_vault::VaultError::InUse(_)) => tokio::task::yield_now().await,
                opened => return opened.unwrap(),
            }
        }
    }
}
