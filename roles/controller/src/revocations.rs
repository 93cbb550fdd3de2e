//! Devices that AAA has put out, on their way to gateways.

use homeward_model::{GatewayId, Mac};
use tokio::sync::{mpsc, oneshot};

/// A device at a gateway, and where it goes whether that was told.
pub(crate) type Revoked = (GatewayId, Mac, oneshot::Sender<bool>);

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
        let (told, answer) = oneshot::channel();
        // Nobody takes them while the process stops.
        self.0.send((gateway, device, told)).is_ok() && answer.await.unwrap_or(false)
    }
}
