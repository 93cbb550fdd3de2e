//! What is known of the certificate: for the status, and for metrics.

use std::sync::{Arc, Mutex, PoisonError};

use homeward_daemon::Metrics;
use homeward_model::UnixTime;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use serde_json::{Value, json};

use super::schedule::Validity;

/// The figures. Clones are one and the same.
#[derive(Debug, Clone, Default)]
pub(super) struct Figures {
    expires: Gauge,
    obtained: Counter,
    failed: Counter,
    last_failure: Gauge,
    said: Arc<Mutex<Said>>,
}

#[derive(Debug, Default)]
struct Said {
    directory: String,
    names: Vec<String>,
    certificate: Option<Validity>,
    failures: u32,
    trouble: Option<String>,
    next: Option<UnixTime>,
}

impl Figures {
    /// Figures that appear in `metrics`.
    pub(super) fn new(metrics: &mut Metrics, directory: &str, names: Vec<String>) -> Self {
        let figures = Self::default();
        let registry = metrics.registry().sub_registry_with_prefix("portal_acme");
        let help = "When the portal's certificate runs out (seconds since 1970); 0: there is none";
        registry.register("certificate_expires_seconds", help, figures.expires.clone());
        registry.register("obtained", "Certificates obtained", figures.obtained.clone());
        let help = "Times that no certificate was to be had";
        registry.register("failed", help, figures.failed.clone());
        let help = "When that was last so (seconds since 1970); 0: not since the start";
        registry.register("last_failure_seconds", help, figures.last_failure.clone());
        figures.said(|said| (said.directory, said.names) = (directory.to_owned(), names));
        figures
    }

    fn said<T>(&self, change: impl FnOnce(&mut Said) -> T) -> T {
        change(&mut self.said.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// That one is shown.
    pub(super) fn shows(&self, certificate: Validity) {
        self.expires.set(certificate.until.seconds());
        self.said(|said| said.certificate = Some(certificate));
    }

    /// A new one is there.
    pub(super) fn obtained(&self) {
        self.obtained.inc();
        self.said(|said| (said.failures, said.trouble) = (0, None));
    }

    /// There is none.
    pub(super) fn failed(&self, failures: u32, trouble: String, now: UnixTime) {
        self.failed.inc();
        self.last_failure.set(now.seconds());
        self.said(|said| (said.failures, said.trouble) = (failures, Some(trouble)));
    }

    /// When one is asked for next.
    pub(super) fn next(&self, next: UnixTime) {
        self.said(|said| said.next = Some(next));
    }

    /// What is to be said in a status.
    pub(super) fn status(&self) -> Value {
        let time = |time: Option<UnixTime>| time.map(|time| time.to_string());
        self.said(|said| {
            json!({
                "directory": said.directory,
                "names": said.names,
                "expires": time(said.certificate.map(|certificate| certificate.until)),
                "failures": said.failures,
                "trouble": said.trouble,
                "next": time(said.next),
            })
        })
    }
}
