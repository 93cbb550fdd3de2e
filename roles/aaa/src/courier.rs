//! The way of a revocation: by the control channel to a gateway that has one, and else by RADIUS.

use std::sync::Arc;

use async_trait::async_trait;
use homeward_daemon::Shutdown;
use homeward_model::{GatewayId, Mac};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};

use crate::figures::Figures;
use crate::grants::Revocation;

/// The control channel to gateways, as far as revocations go.
#[async_trait]
pub trait Channel: Send + Sync {
    /// Has a gateway put a device out. Whether it was told: not where it has no channel, or has
    /// not said that the device is there.
    async fn revoke(&self, gateway: GatewayId, device: Mac) -> bool;
}

/// Passes revocations on, until shutdown: each device by `channel` if that is possible, and
/// everything else `by_radius`.
pub(crate) async fn carry(
    channel: Arc<dyn Channel>,
    mut revocations: UnboundedReceiver<Revocation>,
    by_radius: UnboundedSender<Revocation>,
    figures: Figures,
    shutdown: Shutdown,
) {
    loop {
        let revocation = tokio::select! {
            () = shutdown.requested() => return,
            Some(revocation) = revocations.recv() => revocation,
        };
        // A log-in is with an access point, which knows nothing of the channel.
        let device = revocation.station.filter(|_| revocation.login.is_none());
        if let Some(device) = device
            && channel.revoke(revocation.gateway, device).await
        {
            figures.disconnect("by-channel");
            tracing::info!(gateway = %revocation.gateway, %device, "revoked a grant by the control channel");
            continue;
        }
        // The revoker has ended only if the core is ending.
        let _ = by_radius.send(revocation);
    }
}
