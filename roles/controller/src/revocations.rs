//! Devices that AAA has put out, on their way to gateways; and what gateways hold, on its way to AAA.

use std::net::IpAddr;

use homeward_control::HeldLogin;
use homeward_model::{GatewayId, Mac, NetworkId};
use tokio::sync::{mpsc, oneshot};

/// Something that AAA asks of a gateway's channel. Where the answer goes is with it.
#[derive(Debug)]
pub(crate) enum Asked {
    /// A device may not go on there: whether the gateway was told.
    Revoke(GatewayId, Mac, oneshot::Sender<bool>),
    /// A log-in has ended that had let this station in: the same.
    PutOut(GatewayId, Mac, oneshot::Sender<bool>),
    /// Whether log-ins there ask the core through it, where that is known.
    Carries(GatewayId, oneshot::Sender<Option<bool>>),
}

/// Who knows what of a gateway's may go on: AAA. It is asked when a gateway is back, for of what
/// ended meanwhile nothing could be told to it.
pub trait Reviewer: Send + Sync {
    /// A gateway has a channel (again), and serves these devices or holds their keys: those that
    /// may not go on.
    fn devices(&self, gateway: GatewayId, held: Vec<(NetworkId, Mac)>) -> Vec<(NetworkId, Mac)>;

    /// Log-ins let these stations in that are at a gateway, whose channel comes from `observed`:
    /// those that may not go on.
    fn logins(&self, gateway: GatewayId, observed: IpAddr, held: Vec<HeldLogin>) -> Vec<Mac>;
}

/// The way to gateways for who finds that a device may not go on there. Clones are one and the
/// same.
#[derive(Debug, Clone)]
pub struct Revocations(mpsc::UnboundedSender<Asked>);

/// The other end, for [`start`](crate::start).
#[derive(Debug)]
pub struct Revoking(pub(crate) mpsc::UnboundedReceiver<Asked>);

impl Revocations {
    /// A way that leads somewhere once its end is given to [`start`](crate::start).
    pub fn new() -> (Self, Revoking) {
        let (sender, receiver) = mpsc::unbounded_channel();
        (Self(sender), Revoking(receiver))
    }

    /// Has a gateway put a device out. Whether it was told: not where it has no channel, or has
    /// not said that the device is there.
    pub async fn revoke(&self, gateway: GatewayId, device: Mac) -> bool {
        self.ask(|told| Asked::Revoke(gateway, device, told)).await.unwrap_or(false)
    }

    /// Has a gateway put a station out whose log-in has ended. Whether it was told: not where it
    /// has no channel, or log-ins there ask the core past it.
    pub async fn put_out(&self, gateway: GatewayId, station: Mac) -> bool {
        self.ask(|told| Asked::PutOut(gateway, station, told)).await.unwrap_or(false)
    }

    /// Whether log-ins at a gateway ask the core through it; `None` where it has had no channel
    /// for long, or since the start.
    pub async fn carries_logins(&self, gateway: GatewayId) -> Option<bool> {
        self.ask(|known| Asked::Carries(gateway, known)).await.flatten()
    }

    /// `None` while the process stops, for nobody takes them then.
    async fn ask<T>(&self, what: impl FnOnce(oneshot::Sender<T>) -> Asked) -> Option<T> {
        let (answer, answered) = oneshot::channel();
        self.0.send(what(answer)).ok()?;
        answered.await.ok()
    }
}
