//! What the AAA role counts. Counters that most requests touch are made once, so that the hot path
//! finds them without a table.

use std::sync::Arc;

use homeward_daemon::Metrics;
use homeward_daemon::metrics::prometheus_client::encoding::EncodeLabelSet;
use homeward_daemon::metrics::prometheus_client::metrics::counter::Counter;
use homeward_daemon::metrics::prometheus_client::metrics::family::Family;
use homeward_daemon::metrics::prometheus_client::metrics::gauge::Gauge;
use homeward_model::RefusalReason;
use serde::Serialize;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Outcome {
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Reason {
    reason: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Method {
    method: &'static str,
    resumed: u8,
}

/// The log-in that is the most frequent where there are portals.
const BY_PAP: Method = Method { method: "pap", resumed: 0 };

/// What becomes of nearly all records.
const KEPT: &str = "kept";

/// The figures. Clones are one and the same.
#[derive(Debug, Clone)]
pub struct Figures(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    granted: Counter,
    refused: [Counter; RefusalReason::ALL.len()],
    duplicates: Counter,
    status: Counter,
    dropped: Family<Reason, Counter>,
    logins: Family<Method, Counter>,
    by_pap: Counter,
    rejections: Family<Reason, Counter>,
    challenges: Counter,
    expired: Counter,
    disconnects: Family<Outcome, Counter>,
    told: Family<Outcome, Counter>,
    changes: Counter,
    records: Family<Reason, Gauge>,
    accounting: Family<Outcome, Counter>,
    kept: Counter,
    relayed: Family<Outcome, Counter>,
}

/// The counts of look-ups, for `status`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Lookups {
    /// Answered with a grant.
    pub granted: u64,
    /// Answered with a refusal, by reason.
    pub refused: std::collections::BTreeMap<&'static str, u64>,
    /// Repeated questions, answered as before.
    pub duplicates: u64,
    /// Status-Server.
    pub status_server: u64,
}

impl Figures {
    /// Figures that appear in `metrics`.
    pub fn new(metrics: &mut Metrics) -> Self {
        let lookups = Family::<Outcome, Counter>::default();
        let refusals = Family::<Reason, Counter>::default();
        let made = |reason: RefusalReason| {
            refusals.get_or_create(&Reason { reason: reason.as_str() }).clone()
        };
        let outcome = |outcome| lookups.get_or_create(&Outcome { outcome }).clone();
        let logins = Family::<Method, Counter>::default();
        let accounting = Family::<Outcome, Counter>::default();
        let by_pap = logins.get_or_create(&BY_PAP).clone();
        let kept = accounting.get_or_create(&Outcome { outcome: KEPT }).clone();
        let inner = Inner {
            granted: outcome("granted"),
            refused: RefusalReason::ALL.map(|(reason, _)| made(reason)),
            duplicates: outcome("duplicate"),
            status: outcome("status-server"),
            dropped: Family::default(),
            by_pap,
            logins,
            rejections: Family::default(),
            challenges: Counter::default(),
            expired: Counter::default(),
            disconnects: Family::default(),
            told: Family::default(),
            changes: Counter::default(),
            records: Family::default(),
            kept,
            accounting,
            relayed: Family::default(),
        };
        let registry = metrics.registry().sub_registry_with_prefix("aaa");
        registry.register("requests", "Requests answered, by outcome", lookups);
        registry.register("refusals", "Look-ups refused, by reason", refusals);
        registry.register("dropped", "Datagrams not answered, by reason", inner.dropped.clone());
        registry.register(
            "disconnects",
            "Disconnect-Requests, by outcome",
            inner.disconnects.clone(),
        );
        registry.register("coa_requests", "CoA-Requests, by outcome", inner.told.clone());
        registry.register("logins", "Log-ins let in, by method", inner.logins.clone());
        registry.register(
            "login_rejections",
            "Log-ins refused, by reason",
            inner.rejections.clone(),
        );
        registry.register("challenges", "Access-Challenges sent", inner.challenges.clone());
        registry.register(
            "conversations_expired",
            "EAP conversations that nobody went on with",
            inner.expired.clone(),
        );
        registry.register(
            "store_changes",
            "Batches of changes taken from the store",
            inner.changes.clone(),
        );
        registry.register("records", "Records in memory, by kind", inner.records.clone());
        registry.register(
            "accounting_records",
            "Records of NASes, by what became of them",
            inner.accounting.clone(),
        );
        registry.register(
            "relayed",
            "Requests for partners, by what became of them",
            inner.relayed.clone(),
        );
        Self(Arc::new(inner))
    }

    pub(crate) fn granted(&self) {
        self.0.granted.inc();
    }

    pub(crate) fn refused(&self, reason: RefusalReason) {
        if let Some(at) = RefusalReason::ALL.iter().position(|(r, _)| *r == reason)
            && let Some(counter) = self.0.refused.get(at)
        {
            counter.inc();
        }
    }

    pub(crate) fn let_in(&self, method: &'static str, resumed: bool) {
        let method = Method { method, resumed: resumed.into() };
        if method == BY_PAP {
            self.0.by_pap.inc();
        } else {
            self.0.logins.get_or_create(&method).inc();
        }
    }

    pub(crate) fn rejected(&self, reason: &'static str) {
        self.0.rejections.get_or_create(&Reason { reason }).inc();
    }

    pub(crate) fn challenged(&self) {
        self.0.challenges.inc();
    }

    pub(crate) fn expired(&self) {
        self.0.expired.inc();
    }

    pub(crate) fn duplicate(&self) {
        self.0.duplicates.inc();
    }

    pub(crate) fn status_server(&self) {
        self.0.status.inc();
    }

    pub(crate) fn dropped(&self, reason: &'static str) {
        self.0.dropped.get_or_create(&Reason { reason }).inc();
    }

    pub(crate) fn disconnect(&self, outcome: &'static str) {
        self.0.disconnects.get_or_create(&Outcome { outcome }).inc();
    }

    /// The same of several.
    pub(crate) fn disconnects(&self, outcome: &'static str, count: usize) {
        let count = u64::try_from(count).unwrap_or(u64::MAX);
        self.0.disconnects.get_or_create(&Outcome { outcome }).inc_by(count);
    }

    /// What became of telling a NAS that a session is allowed something else.
    pub(crate) fn told(&self, outcome: &'static str) {
        self.0.told.get_or_create(&Outcome { outcome }).inc();
    }

    /// What became of a record of a NAS.
    pub(crate) fn record(&self, outcome: &'static str) {
        if outcome == KEPT {
            self.0.kept.inc();
        } else {
            self.0.accounting.get_or_create(&Outcome { outcome }).inc();
        }
    }

    /// What became of a request for a partner.
    pub(crate) fn relayed(&self, outcome: &'static str) {
        self.0.relayed.get_or_create(&Outcome { outcome }).inc();
    }

    pub(crate) fn changed(&self, counts: crate::projection::Counts) {
        self.0.changes.inc();
        for (reason, count) in [
            ("account", counts.accounts),
            ("class", counts.classes),
            ("gateway", counts.gateways),
            ("network", counts.networks),
            ("device", counts.devices),
            ("login", counts.logins),
        ] {
            let count = i64::try_from(count).unwrap_or(i64::MAX);
            self.0.records.get_or_create(&Reason { reason }).set(count);
        }
    }

    /// The counts of look-ups now.
    pub fn lookups(&self) -> Lookups {
        let inner = &self.0;
        let refused = RefusalReason::ALL
            .iter()
            .zip(&inner.refused)
            .map(|((reason, _), counter)| (reason.as_str(), counter.get()))
            .filter(|(_, n)| *n > 0)
            .collect();
        Lookups {
            granted: inner.granted.get(),
            refused,
            duplicates: inner.duplicates.get(),
            status_server: inner.status.get(),
        }
    }
}
