//! What the portal's devices get of the core's own security module: hand-off keys.

use std::sync::Arc;

use anyhow::Context;
use async_trait::async_trait;
use homeward_daemon::config::Invalid;
use homeward_model::{Nai, Secret};
use homeward_portal::handoff::{Config, Enrols, Handoff, PURPOSE, Root};
use homeward_seal::KeyRing;
use homeward_security_module::{Embedded, Module};

struct ByModule {
    module: Arc<Module>,
    config: Config,
}

#[async_trait]
impl Enrols for ByModule {
    async fn enrol(&self, device: &Nai) -> anyhow::Result<Root> {
        let given = self.module.give(device, &self.config.networks, self.config.wait.0).await?;
        Ok(Root { root: Secret::new(*given.root.expose()), version: given.version })
    }
}

/// What the portal is given for it.
///
/// # Errors
/// The ring has no key.
pub(super) fn handoff(
    config: &Config,
    keys: &KeyRing,
    module: Arc<Module>,
) -> anyhow::Result<Handoff> {
    // The oldest of the ring: a name stays when a key is added.
    let names = keys.derive(PURPOSE).pop().context("the key file has no key")?;
    let enrols = Arc::new(ByModule { module, config: config.clone() });
    Ok(Handoff { enrols, names, wait: config.wait.0 })
}

/// Checks that the module is there, and knows the networks.
///
/// # Errors
/// Names the first that is wrong.
pub(super) fn check(config: &Config, module: Option<&Embedded>) -> Result<(), Invalid> {
    let Some(Embedded { handoff, .. }) = module else {
        let why = "it enrols devices with this core's own module: configure [security_module]";
        return Err(Invalid::new("portal.handoff", why));
    };
    for network in &config.networks {
        let why = match handoff.peers.iter().find(|peer| peer.name == *network) {
            _ if handoff.name == *network => {
                "is this core's own network: it has all devices anyway"
            }
            None => "is no peer: list it in [[security_module.handoff.peers]]",
            Some(peer) if peer.revoked => "is revoked",
            Some(peer) if peer.address.is_none() => {
                "has no address in [[security_module.handoff.peers]]"
            }
            Some(_) => continue,
        };
        return Err(Invalid::new("portal.handoff.networks", format!("{network} {why}")));
    }
    Ok(())
}
