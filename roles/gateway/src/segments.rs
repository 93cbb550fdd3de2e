//! The roamers' own segments: one bridge per home network that is served here, with the network's
//! VAP and its tunnel as ports, no address of ours, and no way out but the tunnel.
//!
//! VAP and tunnel come and go in any order; a segment is there as long as one of them is.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::Context;
use homeward_control::TunnelId;
use homeward_linux::Bridges;
use homeward_model::NetworkId;
use homeward_vap::VapId;

/// The names of segments begin with this; the network's number follows.
pub(crate) const PREFIX: &str = "hwb";
/// As on the LANs at either end.
const MTU: u32 = 1500;

/// Who has a port of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum User {
    /// A VAP.
    Vap(VapId),
    /// A tunnel.
    Tunnel(TunnelId),
}

/// The segments.
#[derive(Debug)]
pub(crate) struct Segments(Mutex<State>);

#[derive(Debug)]
struct State {
    bridges: Bridges,
    users: BTreeMap<NetworkId, BTreeSet<User>>,
}

impl Segments {
    /// None yet; those that an earlier run left are removed.
    ///
    /// # Errors
    ///
    /// The kernel gives no socket, or does not remove what was left.
    pub(crate) fn open() -> homeward_linux::Result<Self> {
        let mut bridges = Bridges::open()?;
        for name in bridges.delete_leftovers(PREFIX, |_| false)? {
            tracing::warn!(name, "removed a segment that an earlier run left");
        }
        Ok(Self(Mutex::new(State { bridges, users: BTreeMap::new() })))
    }

    /// Gives a user its place, and makes its interface a port, where that is ours to do: hostapd
    /// does it for a VAP. The name of the bridge.
    pub(crate) fn join(
        &self,
        network: NetworkId,
        user: User,
        port: Option<&str>,
    ) -> anyhow::Result<String> {
        let mut state = self.state();
        let name = name(network);
        if !state.users.contains_key(&network) {
            state.bridges.create(&name, MTU).with_context(|| format!("no segment {name}"))?;
        }
        state.users.entry(network).or_default().insert(user);
        match port.map(|port| state.bridges.enslave(port, &name)) {
            None | Some(Ok(())) => Ok(name),
            Some(Err(error)) => {
                state.leave(network, user);
                Err(error.into())
            }
        }
    }

    /// A user has gone. With the last one the segment goes.
    pub(crate) fn leave(&self, network: NetworkId, user: User) {
        self.state().leave(network, user);
    }

    /// All VAPs have gone, with the hostapd that had them.
    pub(crate) fn vaps_gone(&self) {
        let mut state = self.state();
        let vaps: Vec<_> = state
            .users
            .iter()
            .flat_map(|(network, users)| users.iter().map(|user| (*network, *user)))
            .filter(|(_, user)| matches!(user, User::Vap(_)))
            .collect();
        for (network, user) in vaps {
            state.leave(network, user);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn leave(&mut self, network: NetworkId, user: User) {
        let Some(users) = self.users.get_mut(&network) else { return };
        users.remove(&user);
        if users.is_empty() {
            self.users.remove(&network);
            let name = name(network);
            if let Err(error) = self.bridges.delete(&name) {
                // It has no way out; the next start removes it.
                tracing::warn!(name, %error, "segment not removed");
            }
        }
    }
}

fn name(network: NetworkId) -> String {
    format!("{PREFIX}{network}")
}
