//! What is counted of short messages, beside what the session and the desk count. No label says
//! who.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use homeward_daemon::Metrics;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use serde_json::{Map, Value};

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Outcome {
    outcome: &'static str,
}

/// Counts by a word. Clones are one and the same.
#[derive(Debug, Clone, Default)]
struct Counts {
    family: Family<Outcome, Counter>,
    words: Arc<Mutex<BTreeMap<&'static str, u64>>>,
}

impl Counts {
    fn add(&self, outcome: &'static str, n: u64) {
        self.family.get_or_create(&Outcome { outcome }).inc_by(n);
        *self.words.lock().unwrap_or_else(PoisonError::into_inner).entry(outcome).or_default() += n;
    }

    fn status(&self) -> Value {
        let words = self.words.lock().unwrap_or_else(PoisonError::into_inner);
        Value::Object(
            words.iter().map(|(w, n)| ((*w).to_owned(), (*n).into())).collect::<Map<_, _>>(),
        )
    }
}

/// The figures. Clones are one and the same.
#[derive(Debug, Clone, Default)]
pub struct Figures {
    received: Counts,
    answers: Counts,
}

impl Figures {
    /// Figures that appear in `metrics`.
    pub fn new(metrics: &mut Metrics) -> Self {
        let figures = Self::default();
        let registry = metrics.registry().sub_registry_with_prefix("portal_sms");
        let help = "Short messages that came, by what they were";
        registry.register("received", help, figures.received.family.clone());
        let help = "Answers by short message, by what became of them";
        registry.register("answers", help, figures.answers.family.clone());
        figures
    }

    pub(super) fn received(&self, what: &'static str) {
        self.received.add(what, 1);
    }

    pub(super) fn unfinished(&self, n: usize) {
        if n > 0 {
            self.received.add("unfinished", u64::try_from(n).unwrap_or(u64::MAX));
        }
    }

    pub(super) fn answer(&self, outcome: &'static str) {
        self.answers.add(outcome, 1);
    }

    /// What came, by what it was, and what became of answers.
    pub(super) fn status(&self) -> (Value, Value) {
        (self.received.status(), self.answers.status())
    }
}
