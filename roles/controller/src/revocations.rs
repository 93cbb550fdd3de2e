//! Devices that AAA has put out, on their way to gateways.

use homeward_model::{GatewayId, Mac};
use tokio::sync::{mpsc, oneshot};

/// A device that may not go on at a gateway.
#[derive(Debug)]
pub(crate) struct Revoked {
    pub(crate) gateway: GatewayId,
    pub(crate) device: Mac,
    /// Whether it was let in by a log-in; else by its record.
    pub(crate) by_login: bool,
    /// Where it goes whether the gateway was told.
    pub(crate) told: oneshot::Sender<bool>,
}

/// The way to gateways for who finds that a device may not go on there. Clones are one and the
/// same.
#[derive(Debug, Clone)]
pub struct Revocations(mpsc::UnboundedSender<Revoked>);

/// The other end, for [`start`](crate::start).
#[derive(Debug)]
pub struct Revoking(pub(crate) mpsc::UnboundedReceiver<Revoked>);

impl Revocations {
    /// A way that leads somewhere once its end is given to [`start`](crate::start).
    pub fn new() -> (Self, Revoking) {
        let (sender, receiver) = mpsc::unbounded_channel();
        (Self(sender), Revoking(receiver))
    }

    /// Has a gateway put a device out. Whether it was told: not where it has no channel, or has
    /// not said that the device is there.
    pub async fn revoke(&self, gateway: GatewayId, device: Mac) -> bool {
        self.tell(gateway, device, false).await
    }

    /// Has a gateway put a station out whose log-in has ended. Whether it was told: not where it
    /// has no channel, or log-ins there ask the core past it.
    pub async fn put_out(&self, gateway: GatewayId, station: Mac) -> bool {
        self.tell(gateway, station, true).await
    }

    async fn tell(&self, gateway: GatewayId, device: Mac, by_login: bool) -> bool {
        let (told, answer) = oneshot::channel();
        // Nobody takes them while the process stops.
        self.0.send(Revoked { gateway, device, by_login, told }).is_ok()
            && answer.await.unwrap_or(false)
    }
}
