//! What the portal counts. No label says who.

use homeward_daemon::Metrics;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    transport: &'static str,
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Enrolling {
    outcome: &'static str,
}

/// The figures. Clones are one and the same.
#[derive(Debug, Clone)]
pub struct Figures {
    answered: Family<Labels, Counter>,
    outcomes: Arc<Mutex<BTreeMap<&'static str, u64>>>,
    seconds: Histogram,
    enrolled: Family<Enrolling, Counter>,
}

impl Figures {
    /// Figures that appear in `metrics`.
    pub fn new(metrics: &mut Metrics) -> Self {
        let buckets = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0];
        let figures = Self {
            answered: Family::default(),
            outcomes: Arc::default(),
            seconds: Histogram::new(buckets),
            enrolled: Family::default(),
        };
        let registry = metrics.registry().sub_registry_with_prefix("portal");
        let help = "Requests for credentials, by transport and by what became of them";
        registry.register("answered", help, figures.answered.clone());
        let help = "How long it took to decide and to issue";
        registry.register("answer_seconds", help, figures.seconds.clone());
        let help = "Devices that asked for hand-off keys, by what became of it";
        registry.register("enrolled", help, figures.enrolled.clone());
        figures
    }

    /// A request was answered.
    pub(crate) fn answered(&self, transport: &'static str, outcome: &'static str) {
        self.answered.get_or_create(&Labels { transport, outcome }).inc();
        let mut outcomes = self.outcomes.lock().unwrap_or_else(PoisonError::into_inner);
        *outcomes.entry(outcome).or_default() += 1;
    }

    /// A device asked for hand-off keys.
    pub(crate) fn enrolled(&self, well: bool) {
        let outcome = if well { "given" } else { "failed" };
        self.enrolled.get_or_create(&Enrolling { outcome }).inc();
    }

    /// How long the desk took.
    pub(crate) fn took(&self, seconds: f64) {
        self.seconds.observe(seconds);
    }

    /// What became of requests, by outcome.
    pub fn status(&self) -> Value {
        let outcomes = self.outcomes.lock().unwrap_or_else(PoisonError::into_inner);
        let outcomes = outcomes.iter().map(|(outcome, n)| ((*outcome).to_owned(), (*n).into()));
        Value::Object(outcomes.collect::<Map<_, _>>())
    }
}
