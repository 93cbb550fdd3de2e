//! Hand-off keys beside credentials: who asks for them is enrolled with networks' security modules.
//!
//! A device is called by a name that is made of its IMSI, under a key of the core's. Not by the name
//! that it logs on with: that is another with each renewal, and under each its key would stay behind in
//! all modules. So a SIM has one name among networks, which shows nobody, and a new root key takes the
//! place of the one before, wherever that one is.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use data_encoding::BASE32_NOPAD;
use homeward_daemon::{Invalid, Period};
use homeward_model::{Imsi, Nai, Name, Secret};
use homeward_offload::issuing::Realm;
use homeward_offload::wire::HandoffKeys;
use ring::hmac;
use serde::Deserialize;
use zeroize::Zeroizing;

/// What the key is for that names are made with.
pub const PURPOSE: &str = "homeward names among networks 1";

/// Octets of an HMAC that are in a name: 26 characters.
const NAME: usize = 16;

/// How long enrolling may take beside waiting for networks. Credentials are given after that, too.
const PATIENCE: Duration = Duration::from_secs(3);

/// `[portal.handoff]`: hand-off keys for devices that ask for them.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The networks that a device is enrolled with besides that of the core's own security module:
    /// peers of it, which say `enrols = true` of this one.
    pub networks: Vec<Name>,
    /// How long an answer waits for those; who is away then is told later.
    pub wait: Period,
}

impl Default for Config {
    fn default() -> Self {
        Self { networks: Vec::new(), wait: Period(Duration::from_secs(1)) }
    }
}

impl Config {
    /// Checks what the types cannot say.
    ///
    /// # Errors
    ///
    /// The first value that is not allowed.
    pub fn check(&self) -> Result<(), Invalid> {
        if self.wait.0 > Duration::from_secs(5) {
            return Err(Invalid::new(
                "portal.handoff.wait",
                "give 0s to 5s: a device waits for it",
            ));
        }
        for (at, name) in self.networks.iter().enumerate() {
            if self.networks.iter().take(at).any(|other| other == name) {
                let why = format!("{name} is in it twice");
                return Err(Invalid::new("portal.handoff.networks", why));
            }
        }
        Ok(())
    }
}

/// A root key that was made for a device, and whose derivatives networks have.
#[derive(Debug)]
pub struct Root {
    /// 32 octets.
    pub root: Secret,
    /// Of what is derived of it; 1 or more.
    pub version: u32,
}

/// Enrols devices.
#[async_trait]
pub trait Enrols: Send + Sync + 'static {
    /// Makes a root key for a device, and enrols it with the networks.
    ///
    /// # Errors
    ///
    /// It is not enrolled with the first of them, and gets no key.
    async fn enrol(&self, device: &Nai) -> anyhow::Result<Root>;
}

/// What the desk needs for it.
#[derive(Clone)]
pub struct Handoff {
    /// Enrols devices.
    pub enrols: Arc<dyn Enrols>,
    /// Names are made with it: for [`PURPOSE`] and for nothing else, and the same for as long as may be.
    pub names: Zeroizing<[u8; 32]>,
    /// How long enrolling waits for networks.
    pub wait: Duration,
}

impl Handoff {
    /// What networks know the device as that has that SIM.
    ///
    /// # Errors
    ///
    /// None with a [`Realm`]; the name's own check is passed on all the same.
    pub fn name(&self, imsi: Imsi, realm: &Realm) -> Result<Nai, homeward_model::login::NaiError> {
        let key = hmac::Key::new(hmac::HMAC_SHA256, &self.names[..]);
        let tag = hmac::sign(&key, imsi.as_str().as_bytes());
        let user = BASE32_NOPAD.encode(tag.as_ref().get(..NAME).unwrap_or_default());
        format!("{}@{realm}", user.to_ascii_lowercase()).parse()
    }

    /// Keys for the device that has that SIM, in place of those that it may have had. `None` where there
    /// are none: the log says why, and the device asks again.
    pub(crate) async fn keys(&self, imsi: Imsi, realm: &Realm) -> Option<HandoffKeys> {
        let making = async {
            let name = self.name(imsi, realm)?;
            let Root { root, version } = self.enrols.enrol(&name).await?;
            anyhow::Ok(HandoffKeys { name, root, version })
        };
        let error = match tokio::time::timeout(self.wait + PATIENCE, making).await {
            Ok(Ok(keys)) => return Some(keys),
            Ok(Err(error)) => format!("{error:#}"),
            Err(_) => "it takes too long".to_owned(),
        };
        tracing::error!(error, "a device is given credentials without hand-off keys");
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Nobody;

    #[async_trait]
    impl Enrols for Nobody {
        async fn enrol(&self, _: &Nai) -> anyhow::Result<Root> {
            anyhow::bail!("not here")
        }
    }

    #[test]
    fn a_sim_has_one_name_that_does_not_show_it_and_another_under_another_key() {
        let of = |key: u8, imsi: &str| {
            let names = Zeroizing::new([key; 32]);
            let handoff = Handoff { enrols: Arc::new(Nobody), names, wait: Duration::ZERO };
            let realm = "wlan.example.net".parse().unwrap();
            handoff.name(imsi.parse().unwrap(), &realm).unwrap()
        };
        let name = of(1, "999700123456789");
        assert_eq!(name, of(1, "999700123456789"));
        assert_eq!((name.user().len(), name.realm()), (26, Some("wlan.example.net")));
        assert_ne!(name, of(1, "999700123456780"));
        assert_ne!(name, of(2, "999700123456789"));
    }

    #[test]
    fn what_is_not_allowed_is_named() {
        let twice: Config = toml("networks = [\"n1\", \"n2\", \"n1\"]");
        assert!(twice.check().unwrap_err().to_string().contains("n1 is in it twice"));
        let long: Config = toml("wait = \"6s\"");
        assert!(long.check().unwrap_err().to_string().contains("portal.handoff.wait"));
        let plain: Config = toml("");
        plain.check().unwrap();
        assert_eq!(plain, Config::default());
    }

    fn toml(text: &str) -> Config {
        homeward_daemon::config::parse("core.toml".as_ref(), text, |_| Ok(())).unwrap()
    }
}
