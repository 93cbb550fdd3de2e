//! What happened: a log line and a counter each. Lines that tell of a subscriber (a network, a
//! device) are at DEBUG.

use homeward_control::controller::Event;

use crate::figures::Figures;

/// Tells of one event.
pub fn tell(event: &Event, figures: &Figures) {
    match event {
        Event::Connected { gateway, version, software, rebooted, away, tunnels, .. } => {
            let away = away.map(|span| span.as_secs());
            tracing::info!(
                %gateway, version, software, rebooted, away_s = away, tunnels, "gateway connected"
            );
        }
        Event::TurnedAway { gateway, reason } => {
            tracing::warn!(%gateway, %reason, "gateway turned away");
        }
        Event::Lost { gateway, why, connected } => {
            figures.lost(why.as_str());
            tracing::info!(%gateway, %why, connected_s = connected.as_secs(), "gateway lost");
        }
        Event::GivenUp { gateway, tunnels } => {
            tracing::info!(%gateway, tunnels, "gateway given up");
        }
        Event::TunnelOpened { tunnel, network, home, foreign } => {
            tracing::debug!(%tunnel, %network, %home, %foreign, "tunnel opened");
        }
        Event::TunnelAdopted { tunnel, network, home, foreign } => {
            tracing::debug!(%tunnel, %network, %home, %foreign, "tunnel taken over");
        }
        Event::TunnelClosed { tunnel, network, home, foreign, why, lived } => {
            figures.closed(why.as_str());
            let lived_s = lived.as_secs();
            tracing::debug!(%tunnel, %network, %home, %foreign, %why, lived_s, "tunnel closed");
        }
        Event::TunnelReported { tunnel, gateway, state, reason } => {
            tracing::debug!(%tunnel, %gateway, %state, reason, "tunnel reported");
        }
        Event::HalfDropped { tunnel, gateway } => {
            tracing::debug!(%tunnel, %gateway, "half a tunnel dropped");
        }
        Event::Denied { gateway, network, reason } => {
            figures.denied(reason.as_str());
            tracing::debug!(%gateway, %network, %reason, "wish denied");
        }
        Event::DeviceMoved { mac, network, from, to, gap, prepared } => {
            if from.is_some() {
                figures.moved(*gap);
            }
            let (from, gap_ms) = (from.map(|g| g.0), gap.as_millis());
            tracing::debug!(%mac, %network, from, %to, gap_ms, prepared, "device moved");
        }
        Event::DeviceGone { mac, network, from } => {
            tracing::debug!(%mac, %network, %from, "device gone");
        }
        Event::Evicted { mac, network, gateway } => {
            tracing::debug!(%mac, %network, %gateway, "device evicted");
        }
        Event::Prepared { mac, network, gateway, share } => {
            tracing::debug!(%mac, %network, %gateway, share, "prepared");
        }
        Event::PrepareFailed { mac, network, gateway, reason } => {
            tracing::debug!(%mac, %network, %gateway, reason, "not prepared");
        }
        Event::Withdrawn { mac, network, gateway, why } => {
            figures.withdrawn(why.as_str());
            tracing::debug!(%mac, %network, %gateway, %why, "preparation withdrawn");
        }
        Event::Revoked { network, mac, gateway } => match mac {
            Some(mac) => tracing::debug!(%network, %mac, %gateway, "device revoked"),
            None => tracing::debug!(%network, %gateway, "network revoked"),
        },
        Event::Ignored { gateway, why } => {
            figures.ignored(why.as_str());
            tracing::debug!(%gateway, %why, "left aside");
        }
    }
}
