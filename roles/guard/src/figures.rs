//! What the guard counts. No label says who.

use homeward_daemon::Metrics;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Outcome {
    outcome: &'static str,
}

/// The figures. Clones are one and the same.
#[derive(Debug, Clone)]
pub struct Figures {
    hops: Family<Outcome, Counter>,
    proofs: Family<Outcome, Counter>,
    verified: Family<Outcome, Counter>,
    digests: Family<Outcome, Counter>,
    gate: Family<Outcome, Counter>,
    ended: Counter,
    seconds: Histogram,
    sessions: Gauge,
    flows: Gauge,
}

impl Figures {
    /// Figures that appear in `metrics`.
    pub fn new(metrics: &mut Metrics) -> Self {
        let buckets = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0];
        let figures = Self {
            hops: Family::default(),
            proofs: Family::default(),
            verified: Family::default(),
            digests: Family::default(),
            gate: Family::default(),
            ended: Counter::default(),
            seconds: Histogram::new(buckets),
            sessions: Gauge::default(),
            flows: Gauge::default(),
        };
        let registry = metrics.registry().sub_registry_with_prefix("guard");
        let help = "Hops that networks told of, by what became of it";
        registry.register("hops", help, figures.hops.clone());
        let help = "Flows that devices wanted admitted, by what became of it";
        registry.register("proofs", help, figures.proofs.clone());
        let help = "Flows that were asked after, by the answer";
        registry.register("verified", help, figures.verified.clone());
        let help = "Requests whose digest was looked at, by what it was";
        registry.register("digests", help, figures.digests.clone());
        let help = "What became of changes to the gate; how often it was found gone";
        registry.register("gate", help, figures.gate.clone());
        let help = "Flows that were ended because their chain did not hold any more";
        registry.register("flows_ended", help, figures.ended.clone());
        let help = "How long a proof took, from the demand to the verdict";
        registry.register("proof_seconds", help, figures.seconds.clone());
        registry.register("sessions", "Sessions that are followed", figures.sessions.clone());
        registry.register("flows", "Flows that are admitted", figures.flows.clone());
        figures
    }

    pub(crate) fn hop(&self, outcome: &'static str) {
        self.hops.get_or_create(&Outcome { outcome }).inc();
    }

    pub(crate) fn proof(&self, outcome: &'static str) {
        self.proofs.get_or_create(&Outcome { outcome }).inc();
    }

    pub(crate) fn verified(&self, admitted: bool) {
        let outcome = if admitted { "admitted" } else { "refused" };
        self.verified.get_or_create(&Outcome { outcome }).inc();
    }

    pub(crate) fn digest(&self, outcome: &'static str) {
        self.digests.get_or_create(&Outcome { outcome }).inc();
    }

    pub(crate) fn gate(&self, outcome: &'static str) {
        self.gate.get_or_create(&Outcome { outcome }).inc();
    }

    /// Somebody asked who may not.
    pub(crate) fn stranger(&self) {
        self.verified.get_or_create(&Outcome { outcome: "stranger" }).inc();
    }

    pub(crate) fn ended(&self, flows: usize) {
        self.ended.inc_by(u64::try_from(flows).unwrap_or(u64::MAX));
    }

    pub(crate) fn took(&self, seconds: f64) {
        self.seconds.observe(seconds);
    }

    pub(crate) fn holds(&self, sessions: usize, flows: usize) {
        self.sessions.set(i64::try_from(sessions).unwrap_or(i64::MAX));
        self.flows.set(i64::try_from(flows).unwrap_or(i64::MAX));
    }
}
