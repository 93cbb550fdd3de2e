//! The owner's LAN, as far as tunnels that end there need it.

use anyhow::Context;
use homeward_control::Router;
use homeward_linux::{Bridges, Frame, FrameSocket, Links, Networks, PortFlags};

/// Octets of kernel memory for frames that arrive: none are wanted.
const RECEIVE_BUFFER: usize = 4096;
/// More routers are not told to stations; the gateway's own addresses come first.
const MOST_ROUTERS: usize = 8;

/// The bridge of the owner's LAN.
pub(crate) struct Lan {
    bridge: String,
    routers: Vec<Router>,
    socket: FrameSocket,
}

impl Lan {
    /// The bridge of that name.
    ///
    /// # Errors
    ///
    /// There is none, or it cannot be sent into.
    pub(crate) fn open(bridge: &str) -> anyhow::Result<Self> {
        let link = Links::open()?.by_name(bridge)?;
        anyhow::ensure!(
            link.is_some_and(|link| link.is_bridge()),
            "home.bridge: {bridge} is no bridge: make it (`ip link add {bridge} type bridge`) and put \
             the LAN's interfaces into it"
        );
        let socket = FrameSocket::open(bridge, RECEIVE_BUFFER)
            .with_context(|| format!("cannot send into {bridge}"))?;
        Ok(Self { bridge: bridge.to_owned(), routers: Vec::new(), socket })
    }

    /// Makes the interface of a tunnel a port of the LAN. Unknown destinations are flooded there,
    /// since a device that has just moved is one; what is not for a device of the tunnel the port
    /// in the data plane keeps out.
    pub(crate) fn join(&self, tap: &str) -> anyhow::Result<()> {
        let mut bridges = Bridges::open()?;
        bridges.enslave(tap, &self.bridge)?;
        bridges.set_port(tap, PortFlags::default())?;
        Ok(())
    }

    /// Looks who is router there; `Some` if that is news.
    pub(crate) fn look(&mut self) -> Option<Vec<Router>> {
        match self.routers_now() {
            Ok(routers) if routers != self.routers => {
                self.routers.clone_from(&routers);
                Some(routers)
            }
            Ok(_) => None,
            Err(error) => {
                tracing::warn!(
                    bridge = self.bridge,
                    error = format!("{error:#}"),
                    "who is router of the LAN cannot be seen"
                );
                None
            }
        }
    }

    /// Whose addresses no roamer may claim: the gateway's own, and whoever it has heard of there.
    pub(crate) fn protected(&self) -> Vec<Router> {
        let known = Networks::open().and_then(|mut n| n.neighbours(&self.bridge));
        let known = known.unwrap_or_default().into_iter();
        let mut protected: Vec<Router> = known
            .filter_map(|host| Some(Router { address: host.address, mac: host.mac? }))
            .chain(self.own().unwrap_or_default())
            .collect();
        protected.sort_unstable();
        protected.dedup();
        protected
    }

    /// Sends a frame into the LAN.
    pub(crate) fn send(&self, frame: &[u8]) -> anyhow::Result<()> {
        self.socket.send([&Frame::of(frame)])?;
        Ok(())
    }

    /// The gateway itself, for it mostly is the router, and the routers that it knows of there.
    fn routers_now(&self) -> anyhow::Result<Vec<Router>> {
        let mut routers = self.own()?;
        let neighbours = Networks::open()?.neighbours(&self.bridge)?;
        let others = neighbours.into_iter().filter(|host| host.router);
        routers.extend(
            others.filter_map(|host| Some(Router { address: host.address, mac: host.mac? })),
        );
        routers.truncate(MOST_ROUTERS);
        Ok(routers)
    }

    /// The gateway's own addresses there.
    fn own(&self) -> anyhow::Result<Vec<Router>> {
        let mac = Links::open()?.by_name(&self.bridge)?.and_then(|link| link.mac);
        let Some(mac) = mac else { return Ok(Vec::new()) };
        let addresses = Networks::open()?.addresses(&self.bridge)?;
        Ok(addresses.into_iter().map(|a| Router { address: a.address, mac }).collect())
    }
}
