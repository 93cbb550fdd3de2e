//! What a session counts. No label says who.

use homeward_daemon::Metrics;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Outcome {
    outcome: &'static str,
}

/// The figures. Clones are one and the same.
#[derive(Debug, Clone, Default)]
pub struct Figures {
    bound: Gauge,
    sessions: Family<Outcome, Counter>,
    delivered: Family<Outcome, Counter>,
    submitted: Family<Outcome, Counter>,
    receipts: Family<Outcome, Counter>,
}

impl Figures {
    /// Figures that appear in `metrics`.
    pub fn new(metrics: &mut Metrics) -> Self {
        let figures = Self::default();
        let registry = metrics.registry().sub_registry_with_prefix("smsc");
        registry.register("bound", "Whether a session is bound", figures.bound.clone());
        let help = "Sessions, by how they ended";
        registry.register("sessions", help, figures.sessions.clone());
        let help = "Messages that came, by what became of them";
        registry.register("delivered", help, figures.delivered.clone());
        let help = "Messages that were to be sent, by what the SMSC said";
        registry.register("submitted", help, figures.submitted.clone());
        let help = "Delivery receipts, by state";
        registry.register("receipts", help, figures.receipts.clone());
        figures
    }

    pub(crate) fn bound(&self, is: bool) {
        self.bound.set(i64::from(is));
    }

    pub(crate) fn session(&self, outcome: &'static str) {
        self.sessions.get_or_create(&Outcome { outcome }).inc();
    }

    pub(crate) fn delivered(&self, outcome: &'static str) {
        self.delivered.get_or_create(&Outcome { outcome }).inc();
    }

    pub(crate) fn submitted(&self, outcome: &'static str) {
        self.submitted.get_or_create(&Outcome { outcome }).inc();
    }

    pub(crate) fn receipt(&self, outcome: &'static str) {
        self.receipts.get_or_create(&Outcome { outcome }).inc();
    }
}
