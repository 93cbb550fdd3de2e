//! The owner first (R14): what leaves by the owner's line, and what comes, is shared so that
//! roamers get what the owner leaves.

use anyhow::Context;
use homeward_daemon::Rate;
use homeward_linux::qdisc::{Marks, Plan, Shaper, Shares};

use crate::config::Config;

/// What roamers get even when the owner wants everything: this part of the line. Less would cut
/// their sessions, and with them the control channels that end them.
const GUARANTEED: u64 = 50;

/// The shares of the line, for as long as this stands.
pub(crate) struct Line(Option<(Shaper, Plan)>);

impl Line {
    /// Shares the line as the owner set it; nothing, where nothing is set. What a killed run left
    /// is removed.
    ///
    /// # Errors
    ///
    /// The line cannot be shared: the owner's interface is not there, or somebody else shapes it.
    pub(crate) fn share(config: &Config) -> anyhow::Result<Self> {
        let (Some(uplink), Some(Rate(up))) = (&config.owner.uplink, config.owner.up) else {
            return Ok(Self(None));
        };
        let mut shaper = Shaper::open()?;
        for interface in shaper.remove_leftovers()? {
            tracing::warn!(interface, "removed the shares that an earlier run left");
        }
        let shares = |link: u64, cap: Option<Rate>| Shares {
            link,
            guaranteed: link / GUARANTEED,
            cap: cap.map_or(link, |Rate(cap)| cap.min(link)),
        };
        let plan = Plan {
            uplink: uplink.clone(),
            up: shares(up, config.owner.roamers_up),
            down: config.owner.down.map(|Rate(down)| shares(down, config.owner.roamers_down)),
            marks: Marks {
                dscp: config.tunnel.dscp,
                ports: config.tunnel.listen.iter().map(|address| address.port()).collect(),
            },
            inward: config.roam.bridge.iter().cloned().collect(),
        };
        let in_force = shaper
            .apply(&plan)
            .with_context(|| format!("owner.uplink: {uplink} cannot be shared"))?;
        tracing::info!(uplink, down = %in_force.down, "the owner's traffic goes first");
        Ok(Self(Some((shaper, plan))))
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        let Some((shaper, plan)) = &mut self.0 else { return };
        if let Err(error) = shaper.remove(plan) {
            tracing::warn!(%error, "the shares of the owner's line were not removed");
        }
    }
}
