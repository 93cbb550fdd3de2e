//! The data plane of the tunnel home.

use std::sync::Arc;

use anyhow::Context;
use homeward_control::{Half, Leg, Side};
use homeward_dataplane::{
    Access, BondConfig, Dataplane, Key, LegConfig, PeerConfig, PeerId, TunnelConfig, TunnelId,
};
use homeward_l2tp::{Cookie, Encapsulation, SessionConfig, SessionId, Sublayer};
use homeward_linux::{Links, bridge};
use homeward_model::Encryption;
use homeward_port::Device;

use super::machine::{Access as By, Plan};

/// That of the LAN at the other end, whatever the path carries.
const MTU: u32 = 1500;

/// The data plane, and our key for each access.
pub(crate) struct Plane {
    pub(crate) dataplane: Arc<Dataplane>,
    pub(crate) keys: [Key; 2],
    pub(crate) interface: String,
}

impl Plane {
    /// Makes the tunnel what it is to be. May take the kernel some milliseconds.
    pub(crate) fn open(&self, plan: &Plan) -> anyhow::Result<()> {
        let open = &plan.open;
        anyhow::ensure!(open.side == Side::Foreign, "the controller takes this for a home gateway");
        let mac = *open.macs.first().context("the tunnel has no address for this device")?;
        let first = Leg {
            public_key: open.peer.public_key,
            local: open.local.clone(),
            remote: open.remote.clone(),
        };
        let legs: Vec<(By, &Leg)> =
            By::ALL.into_iter().zip(std::iter::once(&first).chain(&open.legs)).collect();
        for (((access, leg), interface), key) in legs.iter().zip(plan.interfaces).zip(&self.keys) {
            let config = PeerConfig {
                public_key: leg.public_key.0,
                preshared_key: Some(Key::new(*open.peer.preshared_key.expose())),
                inner_address: open.peer.inner_address,
                endpoints: open.peer.endpoints.iter().map(|known| known.address).collect(),
                access: Some(Access { interface, private_key: key.clone() }),
            };
            self.dataplane.set_peer(peer(*access), config)?;
        }
        let mut legs = legs.into_iter().map(|(access, leg)| {
            anyhow::Ok(LegConfig { peer: peer(access), session: session(leg)? })
        });
        let own = legs.next().context("the tunnel has no path")??;
        let config = TunnelConfig {
            peer: own.peer,
            encrypted: open.encryption == Encryption::Required,
            session: own.session,
            tap: self.interface.clone(),
            mac: Some(mac),
            mtu: MTU,
            port: homeward_port::Settings {
                devices: vec![Device::new(mac)],
                ..homeward_port::Settings::default()
            },
            side: homeward_dataplane::Side::Foreign,
            bond: Some(BondConfig {
                paths: plan.paths.clone(),
                mode: plan.mode,
                preferred: plan.preferred.path(),
                ..BondConfig::new(legs.collect::<Result<_, _>>()?)
            }),
        };
        self.dataplane.open(TunnelId(open.tunnel.0), config)?;
        // Neighbours of the home LAN are answered by this interface alone: Wi-Fi may be in the
        // same LAN, by way of a foreign gateway, and its address there is not for use.
        bridge::answer_for_itself(&self.interface)?;
        Links::open()?.set_up(&self.interface)?;
        Ok(())
    }

    pub(crate) fn close(&self, tunnel: homeward_control::TunnelId) {
        self.dataplane.close(TunnelId(tunnel.0));
    }
}

const fn peer(access: By) -> PeerId {
    match access {
        By::Wifi => PeerId(1),
        By::Cellular => PeerId(2),
    }
}

/// A leg's session, in L2TP's words.
fn session(leg: &Leg) -> anyhow::Result<SessionConfig> {
    let id = |half: &Half| SessionId::new(half.session.get()).context("session 0 is none");
    let cookie = |half: &Half| Cookie::eight(*half.cookie.expose());
    Ok(SessionConfig {
        local_session: id(&leg.local)?,
        remote_session: id(&leg.remote)?,
        local_cookie: cookie(&leg.local),
        remote_cookie: cookie(&leg.remote),
        sublayer: Sublayer::default(),
        // The data plane's to say: it depends on the encryption.
        encapsulation: Encapsulation::Udp,
    })
}
