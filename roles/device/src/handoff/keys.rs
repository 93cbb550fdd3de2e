//! What the device proves itself with: what networks know it as, and its root key. By hand, from a
//! file; or of the portal, sealed (AES-256-GCM) as credentials are.

use std::path::{Path, PathBuf};

use anyhow::Context;
use homeward_daemon::{SystemEntropy, private};
use homeward_handoff::key_file;
use homeward_keychain::RootKey;
use homeward_model::{Imsi, Nai};
use homeward_offload::manager;
use homeward_offload::wire::HandoffKeys;
use homeward_seal::{KeyRing, Sealer, Slot};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use zeroize::Zeroizing;

use crate::config;
use crate::vault;

const SLOT: Slot = Slot { table: "device", column: "handoff", row: 1 };

/// The file of keys that came of the portal, in the state's directory.
const FILE: &str = "handoff.sealed";

/// A name and a root key.
#[derive(Debug)]
pub(crate) struct Keys {
    pub(crate) name: Nai,
    pub(crate) root: RootKey,
    /// Which of the keys that are derived of it networks have; none: as the configuration says of each.
    pub(crate) version: Option<u32>,
}

/// Keys of the portal before they are sealed.
#[derive(Serialize, Deserialize)]
struct Plain {
    imsi: Imsi,
    name: Nai,
    /// 64 hexadecimal digits.
    root: Zeroizing<String>,
    version: u32,
}

impl Plain {
    fn keys(&self) -> anyhow::Result<Keys> {
        let root = key_file::parse(&self.root).context("the root key is none")?;
        Ok(Keys { name: self.name.clone(), root: RootKey::new(*root), version: Some(self.version) })
    }
}

/// Where keys come from, and are kept.
#[derive(Debug)]
pub(crate) enum Source {
    ByHand,
    Portal { path: PathBuf, sealer: Sealer, entropy: SystemEntropy, of: Option<Imsi> },
}

impl Source {
    /// As the configuration has it; with the keys that there are. What was kept and cannot be opened is no
    /// more than a reason to ask for others.
    ///
    /// # Errors
    ///
    /// The root key, or what seals, cannot be had.
    pub(crate) fn open(
        config: &config::Handoff,
        state: &config::State,
    ) -> anyhow::Result<(Self, Option<Keys>)> {
        if let Some((name, file)) = config.by_hand() {
            let root = by_hand(file).context("handoff.root_file")?;
            return Ok((Self::ByHand, Some(Keys { name: name.clone(), root, version: None })));
        }
        let mut entropy = SystemEntropy::new();
        let sealer = vault::sealer(state, &mut entropy)?;
        let path = state.directory.join(FILE);
        let kept = read(&path, &sealer)
            .and_then(|plain| plain.map(|plain| Ok((plain.imsi, plain.keys()?))).transpose());
        let (of, keys) = kept.map(Option::unzip).unwrap_or_else(|error| {
            let error = format!("{error:#}");
            tracing::warn!(error, "the kept hand-off keys are of no use: others are asked for");
            (None, None)
        });
        Ok((Self::Portal { path, sealer, entropy, of }, keys))
    }

    /// What the machine is told of it.
    pub(crate) fn facts(&self) -> manager::Keys {
        match self {
            Self::ByHand => manager::Keys::Unwanted,
            Self::Portal { of, .. } => manager::Keys::Of(*of),
        }
    }

    /// Takes keys of the portal, that came while that SIM was in the device. They are used even if they
    /// cannot be kept; `None`: they are none.
    pub(crate) fn take(&mut self, imsi: Imsi, keys: &HandoffKeys) -> Option<Keys> {
        let Self::Portal { path, sealer, entropy, of } = self else { return None };
        let root = <&[u8; 32]>::try_from(keys.root.expose()).ok()?;
        let (name, version) = (keys.name.clone(), keys.version);
        let plain = Plain { imsi, name, root: key_file::text(root), version };
        let mut keep = || -> anyhow::Result<()> {
            let octets = Zeroizing::new(serde_json::to_vec(&plain)?);
            let (key, _) = sealer.ring().newest().context("the key file has no key")?;
            Ok(private::write(path, &sealer.seal(SLOT, key, &octets, entropy)?)?)
        };
        *of = Some(imsi);
        if let Err(error) = keep() {
            let error = format!("{error:#}");
            tracing::error!(error, "hand-off keys are not kept over a restart");
        }
        plain.keys().ok()
    }

    /// What is shown of it.
    pub(crate) fn status(&self, keys: Option<&Keys>) -> Value {
        let by = match self {
            Self::ByHand => "hand",
            Self::Portal { .. } => "portal",
        };
        let name = keys.map(|keys| keys.name.as_str());
        json!({ "by": by, "name": name, "version": keys.and_then(|keys| keys.version) })
    }
}

/// The root key of a file, which is for its owner's eyes only.
pub(crate) fn by_hand(path: &Path) -> anyhow::Result<RootKey> {
    Ok(RootKey::new(*key_file::load(path)?))
}

/// The version of the keys that came of the portal, if any did; nothing is changed by looking.
///
/// # Errors
///
/// They are there, and cannot be read.
pub(crate) fn look(state: &config::State) -> anyhow::Result<Option<u32>> {
    let path = state.directory.join(FILE);
    if !path.exists() {
        return Ok(None);
    }
    let sealer = Sealer::new(KeyRing::load(&state.key_file)?);
    let Some(plain) = read(&path, &sealer)? else { return Ok(None) };
    plain.keys()?;
    Ok(Some(plain.version))
}

fn read(path: &Path, sealer: &Sealer) -> anyhow::Result<Option<Plain>> {
    let Some(sealed) = vault::read(path)? else { return Ok(None) };
    Ok(Some(serde_json::from_slice(&sealer.open(SLOT, &sealed)?)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use homeward_model::Secret;

    fn handoff() -> config::Handoff {
        homeward_daemon::config::parse("d.toml".as_ref(), "", |_| Ok(())).unwrap()
    }

    #[test]
    fn keys_of_the_portal_are_there_after_a_restart_and_nobody_reads_them_off_the_disk() {
        let dir = tempfile::tempdir().unwrap();
        let directory = dir.path().join("state");
        let state = config::State { key_file: directory.join("device.keys"), directory };
        assert_eq!(look(&state).unwrap(), None);
        let (mut source, keys) = Source::open(&handoff(), &state).unwrap();
        assert!(keys.is_none());
        assert_eq!(source.facts(), manager::Keys::Of(None));
        let imsi: Imsi = "999700123456789".parse().unwrap();
        let (name, root) = ("hdjv3@wlan.example.net".parse().unwrap(), Secret::new([0xa5; 32]));
        let given = HandoffKeys { name, root, version: 7 };
        let taken = source.take(imsi, &given).unwrap();
        assert_eq!((taken.version, taken.root.expose()), (Some(7), &[0xa5; 32]));
        let (again, keys) = Source::open(&handoff(), &state).unwrap();
        assert_eq!(again.facts(), manager::Keys::Of(Some(imsi)));
        let keys = keys.unwrap();
        assert_eq!((&keys.name, keys.root.expose()), (&given.name, &[0xa5; 32]));
        assert_eq!(look(&state).unwrap(), Some(7));
        let file = state.directory.join(FILE);
        let mut sealed = std::fs::read(&file).unwrap();
        let text = String::from_utf8_lossy(&sealed).into_owned();
        assert!(!text.contains("hdjv3") && !text.contains("a5a5") && !text.contains("99970"));
        *sealed.last_mut().unwrap() ^= 1;
        std::fs::write(&file, &sealed).unwrap();
        assert!(look(&state).is_err());
        let (altered, keys) = Source::open(&handoff(), &state).unwrap();
        assert!(keys.is_none());
        assert_eq!(altered.facts(), manager::Keys::Of(None));
    }
}
