//! The keys that are shared with devices.

use std::collections::BTreeMap;

use anyhow::Context;
use homeward_keychain::DeviceKey;
use homeward_model::{Entropy, Nai};
use homeward_vault::{Change, Vault};
use zeroize::Zeroizing;

const DEVICE: &str = "device";

/// What a device and this network share, and which version of it.
#[derive(Debug, Clone)]
struct Shared {
    version: u32,
    key: DeviceKey,
}

/// All devices that are enrolled.
#[derive(Debug)]
pub struct Enrolled {
    devices: BTreeMap<Nai, Shared>,
    /// Of whoever is not enrolled: the answer takes as long.
    nobody: DeviceKey,
}

/// The key that is to be enrolled is older than what there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("version {given} is not newer than version {known}, which is enrolled")]
pub struct Older {
    given: u32,
    known: u32,
}

impl Enrolled {
    /// As they were kept.
    ///
    /// # Errors
    /// What was kept does not open, or is none.
    pub async fn load(vault: &Vault, entropy: &mut impl Entropy) -> anyhow::Result<Self> {
        let nobody = DeviceKey::new(entropy.octets());
        let mut devices = BTreeMap::new();
        for (name, kept) in vault.all(DEVICE).await? {
            let read = || -> Option<(Nai, Shared)> {
                let device = std::str::from_utf8(&name).ok()?.parse().ok()?;
                let (version, key) = kept.split_first_chunk::<4>()?;
                let key = DeviceKey::new(key.try_into().ok()?);
                Some((device, Shared { version: u32::from_be_bytes(*version), key }))
            };
            let (device, shared) = read().context("a device's key that was kept is none")?;
            devices.insert(device, shared);
        }
        Ok(Self { devices, nobody })
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.devices.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.devices.is_empty()
    }

    /// The device's key; of one that is not enrolled, one that nobody has.
    pub fn key(&self, device: &Nai) -> DeviceKey {
        self.devices.get(device).map_or(&self.nobody, |shared| &shared.key).clone()
    }

    /// Which version there is of that device.
    pub fn version(&self, device: &Nai) -> Option<u32> {
        self.devices.get(device).map(|shared| shared.version)
    }

    /// Whether there is a key of that device.
    pub fn has(&self, device: &Nai) -> bool {
        self.devices.contains_key(device)
    }

    /// Enrols a device, or gives it another key; what is to be kept.
    ///
    /// # Errors
    /// [`Older`]. The same again is no error.
    pub fn enrol(&mut self, device: Nai, version: u32, key: DeviceKey) -> Result<Change, Older> {
        if let Some(known) = self.devices.get(&device) {
            let same = known.version == version && known.key.expose() == key.expose();
            if !same && known.version >= version {
                return Err(Older { given: version, known: known.version });
            }
        }
        let plain = Zeroizing::new([&version.to_be_bytes()[..], key.expose()].concat());
        let name = device.as_str().as_bytes().to_vec();
        self.devices.insert(device, Shared { version, key });
        Ok(Change::Put { kind: DEVICE, name, plain })
    }

    /// A device is enrolled no more; what is to be kept. `None` if it was not.
    pub fn forget(&mut self, device: &Nai) -> Option<Change> {
        self.devices.remove(device)?;
        Some(Change::Remove { kind: DEVICE, name: device.as_str().as_bytes().to_vec() })
    }
}
