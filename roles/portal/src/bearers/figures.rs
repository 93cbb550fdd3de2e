//! What is counted of bearers. No label says whose.

use homeward_bearer::{Kind, News};
use homeward_daemon::Metrics;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use serde_json::{Value, json};

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Report {
    kind: &'static str,
    news: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Why {
    reason: &'static str,
}

/// The figures. Clones are one and the same.
#[derive(Debug, Clone, Default)]
pub struct Figures {
    pub(super) live: Gauge,
    reports: Family<Report, Counter>,
    heard: Counter,
    refused: Family<Why, Counter>,
    refusals: Counter,
    dropped: Family<Why, Counter>,
    drops: Counter,
    pub(super) duplicates: Counter,
    pub(super) silent: Counter,
    pub(super) not_stored: Counter,
}

impl Figures {
    /// Figures that appear in `metrics`.
    pub fn new(metrics: &mut Metrics) -> Self {
        let figures = Self::default();
        let registry = metrics.registry().sub_registry_with_prefix("portal_bearers");
        registry.register("live", "Addresses that are somebody's", figures.live.clone());
        let help = "Reports of packet gateways, by kind and by what they were";
        registry.register("reports", help, figures.reports.clone());
        let help = "Reports that could not be used, by why";
        registry.register("refused", help, figures.refused.clone());
        let help = "Datagrams that were dropped, by why";
        registry.register("dropped", help, figures.dropped.clone());
        let help = "Reports that came again and were answered as before";
        registry.register("duplicates", help, figures.duplicates.clone());
        let help = "Addresses that nothing was heard of for too long";
        registry.register("silent", help, figures.silent.clone());
        let help = "Reports that are not answered, for they could not be stored";
        registry.register("not_stored", help, figures.not_stored.clone());
        figures
    }

    pub(super) fn report(&self, kind: Kind, news: News) {
        self.reports.get_or_create(&Report { kind: kind.as_str(), news: news.label() }).inc();
        self.heard.inc();
    }

    pub(super) fn refused(&self, reason: &'static str) {
        self.refused.get_or_create(&Why { reason }).inc();
        self.refusals.inc();
    }

    pub(super) fn dropped(&self, reason: &'static str) {
        self.dropped.get_or_create(&Why { reason }).inc();
        self.drops.inc();
    }

    /// What is to be said of them in a status.
    pub fn status(&self) -> Value {
        json!({
            "live": self.live.get(),
            "reports": self.heard.get(),
            "refused": self.refusals.get(),
            "dropped": self.drops.get(),
            "duplicates": self.duplicates.get(),
            "silent": self.silent.get(),
            "not_stored": self.not_stored.get(),
        })
    }
}
