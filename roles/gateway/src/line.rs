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
        let mut line = Self(None);
        if let Some(plan) = plan(config) {
            let mut shaper = Shaper::open()?;
            for interface in shaper.remove_leftovers()? {
                tracing::warn!(interface, "removed the shares that an earlier run left");
            }
            line.apply(shaper, plan)?;
        }
        Ok(line)
    }

    /// The same for a configuration that has changed.
    ///
    /// # Errors
    ///
    /// As [`share`](Self::share); the line may be shared in part then, or not at all.
    pub(crate) fn reshare(&mut self, config: &Config) -> anyhow::Result<()> {
        let Some(new) = plan(config) else {
            *self = Self(None);
            return Ok(());
        };
        let shaper = match self.0.take() {
            Some((mut shaper, old)) => {
                if old.uplink != new.uplink {
                    shaper.remove(&old)?;
                }
                shaper
            }
            None => Shaper::open()?,
        };
        self.apply(shaper, new)
    }

    fn apply(&mut self, mut shaper: Shaper, plan: Plan) -> anyhow::Result<()> {
        let in_force = shaper.apply(&plan);
        // Kept whatever came of it: what is in force in part is to be removed, too.
        let (_, plan) = self.0.insert((shaper, plan));
        let uplink = &plan.uplink;
        let in_force =
            in_force.with_context(|| format!("owner.uplink: {uplink} cannot be shared"))?;
        tracing::info!(uplink, down = %in_force.down, "the owner's traffic goes first");
        Ok(())
    }
}

/// How the line is to be shared; `None` where the owner has set nothing.
fn plan(config: &Config) -> Option<Plan> {
    let (Some(uplink), Some(Rate(up))) = (&config.owner.uplink, config.owner.up) else {
        return None;
    };
    let shares = |link: u64, cap: Option<Rate>| Shares {
        link,
        guaranteed: link / GUARANTEED,
        cap: cap.map_or(link, |Rate(cap)| cap.min(link)),
    };
    Some(Plan {
        uplink: uplink.clone(),
        up: shares(up, config.owner.roamers_up),
        down: config.owner.down.map(|Rate(down)| shares(down, config.owner.roamers_down)),
        marks: Marks {
            dscp: config.tunnel.dscp,
            ports: config.tunnel.listen.iter().map(|address| address.port()).collect(),
        },
        inward: config.roam.bridge.iter().cloned().collect(),
    })
}

impl Drop for Line {
    fn drop(&mut self) {
        let Some((shaper, plan)) = &mut self.0 else { return };
        if let Err(error) = shaper.remove(plan) {
            tracing::warn!(%error, "the shares of the owner's line were not removed");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{config, in_namespace, ip, tool};

    #[test]
    fn a_line_is_shared_anew_while_it_is_in_use() {
        in_namespace("line::tests::a_line_is_shared_anew_while_it_is_in_use", || {
            for name in ["eth0", "eth1"] {
                ip(&format!("link add {name} type veth peer name {name}-x"));
                ip(&format!("link set {name} up"));
            }
            let owner = |text: &str| config(&format!("[owner]\n{text}\n"));
            let cap = |name: &str| {
                let classes = tool(&format!("tc class show dev {name}"));
                let roamers =
                    classes.lines().find(|line| line.contains("prio 7")).map(str::to_owned);
                roamers.map(|line| {
                    line.split("ceil ").nth(1).unwrap().split(' ').next().unwrap().to_owned()
                })
            };
            let mut line =
                Line::share(&owner("uplink = \"eth0\"\nup = \"50M\"\nroamers_up = \"10M\""))
                    .unwrap();
            assert_eq!(cap("eth0").as_deref(), Some("10Mbit"));
            line.reshare(&owner("uplink = \"eth0\"\nup = \"50M\"\nroamers_up = \"5M\"")).unwrap();
            assert_eq!(cap("eth0").as_deref(), Some("5Mbit"));
            line.reshare(&owner("uplink = \"eth1\"\nup = \"50M\"\nroamers_up = \"5M\"")).unwrap();
            assert_eq!((cap("eth0"), cap("eth1").as_deref()), (None, Some("5Mbit")));
            let gone = line.reshare(&owner("uplink = \"eth9\"\nup = \"50M\"")).unwrap_err();
            assert!(format!("{gone:#}").contains("owner.uplink: eth9"), "{gone:#}");
            assert_eq!(cap("eth1"), None);
            line.reshare(&owner("uplink = \"eth1\"\nup = \"50M\"")).unwrap();
            line.reshare(&config("")).unwrap();
            assert_eq!(cap("eth1"), None, "nothing is set any more");
        });
    }
}
