//! The walls around roamers, as the kernel's firewall keeps them: nothing from their segments into
//! the gateway's own stack, and from the breakout segment to the Internet only.
//!
//! Whatever is in force at the end is removed; what a killed run left is replaced at the start.

use anyhow::Context;
use homeward_linux::firewall::{Breakout, Firewall, Rules};

use crate::config::Config;
use crate::segments;

/// The walls, for as long as this stands.
pub(crate) struct Wall(Option<Firewall>);

impl Wall {
    /// Builds what the configuration needs: with tunnels, around the segments; with uplinks,
    /// around the breakout segment.
    ///
    /// # Errors
    ///
    /// The firewall cannot be set. Without it roamers would be let into the gateway.
    pub(crate) fn build(config: &Config) -> anyhow::Result<Self> {
        let tunnels = !config.channel.core.is_empty();
        let breakout = config.roam.bridge.clone().filter(|_| !config.roam.uplinks.is_empty());
        if !tunnels && breakout.is_none() {
            return Ok(Self(None));
        }
        let firewall = Firewall::default();
        let rules = Rules {
            bridge_prefix: tunnels.then(|| segments::PREFIX.to_owned()),
            breakout: breakout.map(|segment| Breakout {
                segment,
                uplinks: config.roam.uplinks.clone(),
                forbidden: Vec::new(),
            }),
        };
        let applied = firewall.apply(&rules).context("roamers cannot be walled off")?;
        if !applied.bridge_family {
            tracing::warn!(
                "the kernel has no nftables bridge family: IP and ARP of roamers are \
                            walled off, other protocols are not"
            );
        }
        Ok(Self(Some(firewall)))
    }
}

impl Drop for Wall {
    fn drop(&mut self) {
        if let Some(Err(error)) = self.0.as_ref().map(Firewall::remove) {
            tracing::warn!(%error, "firewall rules not removed");
        }
    }
}
