//! One log line for each thing that happened.

use homeward_offload::manager::Notice;

/// Writes it. Networks are named at DEBUG only: where somebody is, is theirs to tell.
pub(crate) fn write(notice: &Notice) {
    match notice {
        Notice::Credentials { wanted } => tracing::info!(%wanted, "new credentials"),
        Notice::PortalFailed { failure, failures, retry_ms } => {
            tracing::warn!(%failure, failures, retry_ms, "no credentials from the portal");
        }
        Notice::AskedByMessage { wanted } => {
            tracing::info!(%wanted, "the portal is asked by short message");
        }
        Notice::MessageFailed { failure, in_a_row, retry_ms } => {
            tracing::warn!(%failure, in_a_row, retry_ms, "no credentials by short message");
        }
        Notice::Forgotten { why } => tracing::info!(?why, "credentials discarded"),
        Notice::Joining { ssid } => {
            tracing::debug!(%ssid, "the network that is joined");
            tracing::info!("joining");
        }
        Notice::NotJoined { why, .. } => tracing::warn!(%why, "not joined"),
        Notice::Ready { .. } => tracing::info!("logged on; used once it is strong enough"),
        Notice::Offloaded { metered, .. } => tracing::info!(metered, "on Wi-Fi"),
        Notice::Returned { why, .. } => tracing::info!(%why, "back on cellular"),
        Notice::NotProgrammed { error } => {
            tracing::warn!(error, "the supplicant does not take the networks");
        }
    }
}
