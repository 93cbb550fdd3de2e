//! What happened, told twice: a line in the log for people, a count in the metrics for machines.
//!
//! MAC addresses print redacted (INFO and above); nothing here is labelled with one.

use std::fmt::Write as _;
use std::time::Duration;

use homeward_control::link;
use homeward_daemon::Metrics;
use homeward_daemon::metrics::prometheus_client::encoding::EncodeLabelSet;
use homeward_daemon::metrics::prometheus_client::metrics::counter::Counter;
use homeward_daemon::metrics::prometheus_client::metrics::family::Family;
use homeward_daemon::metrics::prometheus_client::metrics::histogram::Histogram;
use homeward_radius::{ClientEvent, LookupError};
use homeward_vap::{Event, Ignored};

/// The gateway's own metrics, and its log.
#[derive(Clone)]
pub struct Journal {
    events: Family<EventLabel, Counter>,
    lookup: Histogram,
    bss_up: Histogram,
    probe_to_bss: Histogram,
    answers_dropped: Family<ReasonLabel, Counter>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct EventLabel {
    event: &'static str,
    reason: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReasonLabel {
    reason: &'static str,
}

impl Journal {
    /// A journal whose metrics are in `metrics`.
    pub fn new(metrics: &mut Metrics) -> Self {
        const LATENCIES: [f64; 10] = [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 1.0, 2.5];
        let this = Self {
            events: Family::default(),
            lookup: Histogram::new(LATENCIES),
            bss_up: Histogram::new(LATENCIES),
            probe_to_bss: Histogram::new(LATENCIES),
            answers_dropped: Family::default(),
        };
        let registry = metrics.registry().sub_registry_with_prefix("gateway");
        registry.register("events", "What happened, by kind and reason", this.events.clone());
        registry.register(
            "lookup_seconds",
            "From a question to the core's answer",
            this.lookup.clone(),
        );
        registry.register("bss_up_seconds", "From ADD to a BSS on the air", this.bss_up.clone());
        registry.register(
            "probe_to_bss_seconds",
            "From the probe to a BSS on the air",
            this.probe_to_bss.clone(),
        );
        registry.register(
            "answers_dropped",
            "Datagrams from the core's address that were not believed",
            this.answers_dropped.clone(),
        );
        this
    }

    /// A question could not be put to the core.
    pub(crate) fn not_asked(&self, error: &anyhow::Error) {
        self.count("lookup-not-asked", "");
        tracing::warn!(error = format!("{error:#}"), "look-up not asked");
    }

    /// An authentic answer could not be read.
    pub(crate) fn unreadable(&self, error: &LookupError) {
        self.count("answer-unreadable", "");
        tracing::error!(%error, "the core's answer cannot be read; do core and gateway differ in version?");
    }

    /// The RADIUS client has something to tell.
    pub(crate) fn client(&self, event: &ClientEvent) {
        match event {
            ClientEvent::ServerDown { server } => {
                self.count("core-down", "");
                tracing::warn!(server, "a server of the core no longer answers");
            }
            ClientEvent::ServerUp { server } => {
                self.count("core-up", "");
                tracing::info!(server, "a server of the core answers again");
            }
            ClientEvent::Dropped { server, reason } => {
                self.answers_dropped.get_or_create(&ReasonLabel { reason: reason.label() }).inc();
                tracing::debug!(server, %reason, "datagram dropped");
            }
            ClientEvent::Answered { .. } | ClientEvent::TimedOut { .. } => {}
        }
    }

    /// The control channel or a tunnel has something to tell.
    pub(crate) fn tunnels(&self, event: &link::Event) {
        match event {
            link::Event::Connected { gateway, name, inner_address, observed_address, .. } => {
                self.count("controller-up", "");
                tracing::info!(%gateway, %name, %inner_address, %observed_address, "the controller answers");
            }
            link::Event::Synced { tunnels } => {
                tracing::info!(tunnels, "in step with the controller");
            }
            link::Event::Lost { reason, goodbye, retry_in } => {
                let goodbye = goodbye.map_or("lost", |_| "goodbye");
                self.count("controller-down", goodbye);
                tracing::warn!(
                    reason,
                    retry_ms = ms(retry_in),
                    "no channel to the controller; going on without"
                );
            }
            link::Event::Expired => {
                self.count("controller-expired", "");
                tracing::error!(
                    "the controller has been away for too long: only tunnels that are up go on"
                );
            }
            link::Event::Open(open) => {
                self.count("tunnel-open", open.side.as_str());
                tracing::info!(tunnel = %open.tunnel, network = %open.network, side = open.side.as_str(),
                    peer = %open.peer.name, encryption = %open.encryption, devices = open.macs.len(), "tunnel");
            }
            link::Event::Close { tunnel, network, reason } => {
                self.count("tunnel-close", "");
                tracing::info!(%tunnel, %network, reason, "tunnel closed");
            }
            link::Event::Denied { network, reason, message } => {
                self.count("tunnel-denied", format!("{reason:?}"));
                tracing::warn!(%network, ?reason, message, "no tunnel home");
            }
            link::Event::Arrived { tunnel, mac, .. } => {
                self.count("arrived", "");
                tracing::info!(%tunnel, %mac, "a device is at the far end");
            }
            link::Event::Prepare { mac, network, .. } => {
                self.count("prepare", "");
                tracing::debug!(mac = %mac.full(), %network, "asked to prepare");
            }
            link::Event::PutOut { mac } => {
                self.count("put-out", "");
                tracing::debug!(mac = %mac.full(), "a log-in is said to have ended");
            }
            link::Event::Map(_) => {}
            link::Event::Withdraw { mac, network } => {
                self.count("withdraw", "");
                tracing::debug!(mac = %mac.full(), %network, "no longer expected");
            }
            link::Event::Evict { mac, network } => {
                self.count("evict", "");
                tracing::info!(%mac, %network, "connected elsewhere");
            }
            link::Event::Revoke { network, mac } => {
                self.count("revoke", "");
                tracing::info!(%network, all = mac.is_none(), "revoked by the controller");
            }
        }
    }

    /// The VAP machine has something to tell.
    pub(crate) fn radio(&self, event: &Event) {
        match event {
            Event::LookupStarted { id, mac, ssid, asked } => {
                self.count("lookup", asked);
                tracing::debug!(%id, mac = %mac.full(), %ssid, %asked, "asking the core");
            }
            Event::LookupGranted { network, at_home, changed, took, mac, .. } => {
                self.count("granted", if *changed { "new" } else { "confirmed" });
                self.lookup.observe(took.as_secs_f64());
                if *changed {
                    tracing::info!(%mac, %network, at_home, took_ms = ms(took), "granted");
                } else {
                    tracing::debug!(%mac, %network, took_ms = ms(took), "grant confirmed");
                }
            }
            Event::LookupRefused { mac, refusal, took, .. } => {
                self.count("refused", refusal.reason);
                self.lookup.observe(took.as_secs_f64());
                tracing::info!(%mac, reason = %refusal.reason, took_ms = ms(took), "refused");
                tracing::debug!(mac = %mac.full(), message = refusal.message, "refused, in the core's words");
            }
            Event::LookupUnreachable { mac, granted, took, .. } => {
                self.count("unreachable", if *granted { "granted" } else { "unknown" });
                tracing::warn!(%mac, granted, took_ms = ms(took), "the core did not answer");
            }
            Event::AnswerDropped { id } => {
                self.count("answer-late", "");
                tracing::debug!(%id, "an answer to a question that is no longer open");
            }
            Event::MemoryHit { mac, network, .. } => {
                self.count("memory-hit", "");
                tracing::debug!(%mac, %network, "known");
            }
            Event::ProbeIgnored { mac, why, .. } => {
                self.count("ignored", why);
                match why {
                    Ignored::Refused(_) | Ignored::AtHome => {
                        tracing::debug!(%mac, %why, "probe ignored")
                    }
                    _ => tracing::trace!(%mac, %why, "probe ignored"),
                }
            }
            Event::NoRoom { mac, network, why, .. } => {
                self.count("no-room", why);
                tracing::warn!(%mac, %network, %why, "granted, but there is no room");
            }
            Event::GrantForgotten { mac, why, .. } => {
                self.count("forgotten", why);
                tracing::debug!(%mac, %why, "grant forgotten");
            }
            Event::VapAdding { vap, network, security, devices, .. } => {
                self.count("vap-adding", "");
                tracing::debug!(%vap, %network, %security, devices, "adding a VAP");
            }
            Event::VapUp { vap, network, took, after_probe } => {
                self.count("vap-up", "");
                self.bss_up.observe(took.as_secs_f64());
                self.probe_to_bss.observe(after_probe.as_secs_f64());
                tracing::info!(%vap, %network, took_ms = ms(took), after_probe_ms = ms(after_probe), "VAP up");
            }
            Event::VapAddFailed { vap, network, error, retry_in } => {
                self.count("vap-add-failed", "");
                tracing::error!(%vap, %network, error, retry_in_ms = ms(retry_in), "hostapd refused a VAP");
            }
            Event::VapRemoving { vap, why, .. } => {
                self.count("vap-removing", why);
                tracing::debug!(%vap, %why, "removing a VAP");
            }
            Event::VapRemoved { vap, took, .. } => {
                self.count("vap-removed", "");
                tracing::info!(%vap, took_ms = ms(took), "VAP removed");
            }
            Event::VapRemoveFailed { vap, error, retry_in } => {
                self.count("vap-remove-failed", "");
                tracing::error!(%vap, error, retry_in_ms = ms(retry_in), "hostapd did not remove a VAP");
            }
            Event::DevicesSet { bss, devices, took } => {
                self.count("devices-set", "");
                tracing::debug!(%bss, devices, took_ms = ms(took), "devices set");
            }
            Event::DevicesSetFailed { bss, error, retry_in } => {
                self.count("devices-set-failed", "");
                tracing::error!(%bss, error, retry_in_ms = ms(retry_in), "hostapd did not take the devices");
            }
            Event::DeviceConnected { bss, mac, after_probe } => {
                self.count("connected", "");
                tracing::info!(%bss, %mac, after_probe_ms = after_probe.as_ref().map(ms), "connected");
            }
            Event::DeviceDisconnected { bss, mac, connected } => {
                self.count("disconnected", "");
                tracing::info!(%bss, %mac, connected_s = connected.as_secs(), "disconnected");
            }
            Event::DeviceWithdrawn { bss, mac, why, connected, .. } => {
                self.count("withdrawn", why);
                let bss = bss.map(tracing::field::display);
                if *connected {
                    tracing::info!(bss, %mac, %why, "put out");
                } else {
                    tracing::debug!(bss, %mac, %why, "no longer served");
                }
            }
            Event::StrangerPutOut { vap, mac } => {
                self.count("stranger-put-out", "");
                tracing::warn!(%vap, %mac, "a station without permission was put out");
            }
            Event::WrongKey { bss, mac, granted } => {
                self.count("wrong-key", "");
                tracing::info!(%bss, %mac, granted, reason = "wrong-key", "failed with its key");
            }
            Event::Prepared { mac, network, .. } => {
                self.count("prepared", "");
                tracing::info!(%mac, %network, "prepared: it could associate now");
            }
            Event::PreparationEnded { mac, why, .. } => {
                self.count("preparation-ended", why);
                tracing::info!(%mac, %why, "no longer prepared");
            }
            Event::Revoked { mac, entries, sessions, .. } => {
                self.count("revoked", "");
                tracing::info!(%mac, entries, sessions, "revoked by the core");
            }
            Event::HostapdLost { vaps, devices } => {
                self.count("hostapd-lost", "");
                tracing::error!(vaps, devices, "hostapd is gone");
            }
            Event::HostapdReady { vaps } => {
                self.count("hostapd-ready", "");
                tracing::info!(vaps, "hostapd is ready");
            }
            Event::CoreBack { grants } => {
                self.count("core-back", "");
                tracing::info!(grants, "the core is back; asking anew for what is served");
            }
        }
    }

    fn count(&self, event: &'static str, reason: impl std::fmt::Display) {
        let mut text = String::new();
        // Writing into a String does not fail.
        let _ = write!(text, "{reason}");
        self.events.get_or_create(&EventLabel { event, reason: text }).inc();
    }
}

/// Milliseconds, to the microsecond.
fn ms(span: &Duration) -> f64 {
    span.as_micros() as f64 / 1000.0
}
