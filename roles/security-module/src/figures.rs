//! What the module counts. No label says who.

use homeward_daemon::Metrics;
use homeward_daemon::metrics::prometheus_client;
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
    authorised: Family<Outcome, Counter>,
    fetched: Family<Outcome, Counter>,
    exported: Family<Outcome, Counter>,
    epdg: Family<Outcome, Counter>,
    demands: Gauge,
    answers: Gauge,
    seconds: Histogram,
    visits: Gauge,
    untold: Gauge,
}

impl Figures {
    /// Figures that appear in `metrics`.
    pub fn new(metrics: &mut Metrics) -> Self {
        let buckets = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0];
        let figures = Self {
            authorised: Family::default(),
            fetched: Family::default(),
            exported: Family::default(),
            epdg: Family::default(),
            demands: Gauge::default(),
            answers: Gauge::default(),
            seconds: Histogram::new(buckets),
            visits: Gauge::default(),
            untold: Gauge::default(),
        };
        let registry = metrics.registry().sub_registry_with_prefix("security_module");
        let help = "Devices that called, by what became of it";
        registry.register("devices", help, figures.authorised.clone());
        let help = "Keys of the hop before that were asked for, by what became of it";
        registry.register("fetches", help, figures.fetched.clone());
        let help = "Keys that other networks asked for, by what became of it";
        registry.register("exports", help, figures.exported.clone());
        let help = "How long a hop took, from the device's answer to its welcome";
        registry.register("hop_seconds", help, figures.seconds.clone());
        registry.register("visits", "Hops that are held", figures.visits.clone());
        let help = "Hops that the server has not heard of yet";
        registry.register("untold", help, figures.untold.clone());
        figures
    }

    /// With what an ePDG is told, where there is one.
    pub(crate) fn with_epdg(self, metrics: &mut Metrics) -> Self {
        let registry = metrics.registry().sub_registry_with_prefix("security_module_epdg");
        let help = "Keys of hops that the ePDG was told, by what became of it";
        registry.register("keys", help, self.epdg.clone());
        registry.register("demands", "Keys that the ePDG is to demand", self.demands.clone());
        registry.register("answers", "Whether the ePDG does what it is told", self.answers.clone());
        self
    }

    pub(crate) fn epdg(&self, outcome: &'static str) {
        self.epdg.get_or_create(&Outcome { outcome }).inc();
    }

    pub(crate) fn demands(&self, count: usize) {
        self.demands.set(i64::try_from(count).unwrap_or(i64::MAX));
    }

    pub(crate) fn epdg_answers(&self, does: bool) {
        self.answers.set(does.into());
    }

    pub(crate) fn device(&self, outcome: &'static str) {
        self.authorised.get_or_create(&Outcome { outcome }).inc();
    }

    pub(crate) fn fetch(&self, outcome: &'static str) {
        self.fetched.get_or_create(&Outcome { outcome }).inc();
    }

    pub(crate) fn export(&self, outcome: &'static str) {
        self.exported.get_or_create(&Outcome { outcome }).inc();
    }

    pub(crate) fn took(&self, seconds: f64) {
        self.seconds.observe(seconds);
    }

    pub(crate) fn holds(&self, visits: usize, untold: usize) {
        self.visits.set(i64::try_from(visits).unwrap_or(i64::MAX));
        self.untold.set(i64::try_from(untold).unwrap_or(i64::MAX));
    }
}
