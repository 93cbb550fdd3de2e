//! What a listener counts. No label says who.

use std::sync::atomic::AtomicU64;

use homeward_daemon::Metrics;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use serde_json::{Value, json};

use super::door::Stage;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct At {
    stage: &'static str,
}

/// The figures of a listener. Clones are one and the same.
#[derive(Debug, Clone, Default)]
pub struct Figures {
    pub(super) open: Gauge,
    pub(super) accepted: Counter,
    pub(super) turned_away: Counter,
    pub(super) handshakes_failed: Counter,
    pub(super) not_believed: Counter,
    pub(super) requests: Counter,
    shed: Family<At, Counter<u64, AtomicU64>>,
    timed_out: Family<At, Counter<u64, AtomicU64>>,
}

impl Figures {
    /// Figures that appear in `metrics` under that prefix.
    pub fn new(metrics: &mut Metrics, prefix: &'static str) -> Self {
        let figures = Self::default();
        let registry = metrics.registry().sub_registry_with_prefix(prefix);
        registry.register("connections", "Connections that are open", figures.open.clone());
        registry.register("accepted", "Connections accepted", figures.accepted.clone());
        let help = "Connections closed at once, for all others were being answered";
        registry.register("turned_away", help, figures.turned_away.clone());
        let help = "TLS handshakes that failed";
        registry.register("handshakes_failed", help, figures.handshakes_failed.clone());
        let help = "Connections of proxies without a good PROXY header";
        registry.register("proxies_not_believed", help, figures.not_believed.clone());
        registry.register("requests", "Requests", figures.requests.clone());
        let help = "Connections closed to make room for others, by what they were at";
        registry.register("shed", help, figures.shed.clone());
        let help = "Connections closed for taking too long, by what they were at";
        registry.register("timed_out", help, figures.timed_out.clone());
        figures
    }

    pub(super) fn shed(&self, stage: Stage) {
        self.shed.get_or_create(&At { stage: stage.as_str() }).inc();
    }

    pub(super) fn timed_out(&self, stage: Stage) {
        self.timed_out.get_or_create(&At { stage: stage.as_str() }).inc();
    }

    /// How many connections were closed for taking too long at that.
    pub fn timed_out_at(&self, stage: Stage) -> u64 {
        self.timed_out.get_or_create(&At { stage: stage.as_str() }).get()
    }

    /// What is to be said of them in a status.
    pub fn status(&self) -> Value {
        json!({
            "open": self.open.get(),
            "accepted": self.accepted.get(),
            "turned_away": self.turned_away.get(),
            "handshakes_failed": self.handshakes_failed.get(),
            "proxies_not_believed": self.not_believed.get(),
            "requests": self.requests.get(),
        })
    }
}
