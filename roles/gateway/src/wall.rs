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
        let mut wall = Self(None);
        wall.rebuild(config)?;
        Ok(wall)
    }

    /// The same for a configuration that has changed: there is no moment without rules.
    ///
    /// # Errors
    ///
    /// The firewall cannot be set; the rules there were stay.
    pub(crate) fn rebuild(&mut self, config: &Config) -> anyhow::Result<()> {
        let rules = Self::rules(config);
        if rules == Rules::default() && self.0.is_none() {
            return Ok(());
        }
        let firewall = Firewall::default();
        let applied = firewall.apply(&rules).context("roamers cannot be walled off")?;
        if !applied.bridge_family && rules != Rules::default() {
            tracing::warn!(
                "the kernel has no nftables bridge family: IP and ARP of roamers are \
                            walled off, other protocols are not"
            );
        }
        self.0 = Some(firewall);
        Ok(())
    }

    /// The rules that a configuration needs.
    pub(crate) fn rules(config: &Config) -> Rules {
        let breakout = config.roam.bridge.clone().filter(|_| !config.roam.uplinks.is_empty());
        let tunnels = !config.channel.core.is_empty();
        Rules {
            bridge_prefix: tunnels.then(|| segments::PREFIX.to_owned()),
            breakout: breakout.map(|segment| Breakout {
                segment,
                uplinks: config.roam.uplinks.clone(),
                forbidden: Vec::new(),
            }),
        }
    }
}

impl Drop for Wall {
    fn drop(&mut self) {
        if let Some(Err(error)) = self.0.as_ref().map(Firewall::remove) {
            tracing::warn!(%error, "firewall rules not removed");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{config, in_namespace, tool};

    #[test]
    fn the_uplinks_change_while_roamers_are_behind_the_wall() {
        in_namespace("wall::tests::the_uplinks_change_while_roamers_are_behind_the_wall", || {
            let roam = |uplinks: &str| config(&format!("[roam]\nbridge = \"br-roam\"\n{uplinks}"));
            let rules = || tool("nft list ruleset");
            let mut wall = Wall::build(&roam("uplinks = [\"eth0\"]")).unwrap();
            assert!(rules().contains("\"eth0\""));
            wall.rebuild(&roam("uplinks = [\"eth1\"]")).unwrap();
            assert!(rules().contains("\"eth1\"") && !rules().contains("\"eth0\""));
            wall.rebuild(&roam("")).unwrap();
            assert!(!rules().contains("\"eth1\""), "with none, that is the owner's to do");
            wall.rebuild(&roam("uplinks = [\"eth0\"]")).unwrap();
            drop(wall);
            assert_eq!(rules(), "");
        });
    }
}
