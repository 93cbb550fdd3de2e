//! What is counted, for metrics.

use std::sync::atomic::Ordering;

use homeward_daemon::Metrics;
use homeward_daemon::metrics::prometheus_client::metrics::counter::Counter;
use homeward_daemon::metrics::prometheus_client::metrics::gauge::Gauge;
use homeward_daemon::metrics::prometheus_client::registry::Registry;
use homeward_offload::manager::{Counters, Status};

use crate::handoff;

/// What the machine counted, as metrics.
#[derive(Debug)]
pub(crate) struct Figures {
    requests: Counter,
    answers: Counter,
    request_failures: Counter,
    messages: Counter,
    message_answers: Counter,
    message_failures: Counter,
    messages_ignored: Counter,
    joins: Counter,
    not_joined: Counter,
    rejections: Counter,
    verify_failures: Counter,
    offloads: Counter,
    returns: Counter,
    on_wifi: Gauge,
    bearer: Gauge,
    supplicant: Gauge,
    credentials: Gauge,
    expires: Gauge,
    hops: Counter,
    admissions: Counter,
    not_proven: Counter,
    tunnels: Counter,
    no_tunnels: Counter,
}

impl Figures {
    /// Registers them.
    pub(crate) fn new(metrics: &mut Metrics) -> Self {
        let registry = metrics.registry().sub_registry_with_prefix("device");
        Self {
            requests: count(registry, "portal_requests", "Requests to the portal"),
            answers: count(registry, "portal_answers", "Answers of the portal with credentials"),
            request_failures: count(registry, "portal_failures", "Requests without an answer"),
            messages: count(registry, "portal_messages", "Requests to the portal by message"),
            message_answers: count(
                registry,
                "portal_message_answers",
                "Answers by message with credentials",
            ),
            message_failures: count(
                registry,
                "portal_message_failures",
                "Messages that were not sent or brought nothing",
            ),
            messages_ignored: count(
                registry,
                "portal_messages_ignored",
                "Messages from the portal's number that answer nothing that was asked",
            ),
            joins: count(registry, "joins", "Networks that were begun to be joined"),
            not_joined: count(registry, "joins_failed", "Joins that came to nothing"),
            rejections: count(registry, "rejections", "Log-ons that the network refused"),
            verify_failures: count(registry, "checks_failed", "Failed checks of connectivity"),
            offloads: count(registry, "offloads", "Times that connections moved to Wi-Fi"),
            returns: count(registry, "returns", "Times that connections moved back to cellular"),
            on_wifi: gauge(registry, "on_wifi", "Whether new connections use Wi-Fi"),
            bearer: gauge(registry, "bearer_up", "Whether there is a cellular bearer"),
            supplicant: gauge(registry, "supplicant_up", "Whether the supplicant is there"),
            credentials: gauge(registry, "credentials", "Whether there are credentials"),
            expires: gauge(
                registry,
                "credentials_expire_timestamp_seconds",
                "When the credentials end, since 1970; 0: never, or there are none",
            ),
            hops: count(registry, "handoff_hops", "Hops that networks let the device make"),
            admissions: count(registry, "handoff_admissions", "Flows that servers admitted"),
            not_proven: count(registry, "handoff_failures", "Hops and proofs that came to nothing"),
            tunnels: count(registry, "handoff_tunnels", "Tunnels to ePDGs that came up"),
            no_tunnels: count(registry, "handoff_tunnels_failed", "Tunnels that did not"),
        }
    }

    /// Counts what came of a hop, or of a proof.
    pub(crate) fn handed_off(&self, notice: &handoff::Notice) {
        let counter = match notice {
            handoff::Notice::HandedOff { .. } => &self.hops,
            handoff::Notice::Admitted { .. } => &self.admissions,
            handoff::Notice::NotProven { .. } => &self.not_proven,
            handoff::Notice::Connected { .. } => &self.tunnels,
            handoff::Notice::NotConnected { .. } => &self.no_tunnels,
        };
        counter.inc();
    }

    /// Takes over what the machine says.
    pub(crate) fn take(&self, status: &Status) {
        let Counters {
            requests,
            answers,
            request_failures,
            joins,
            not_joined,
            rejections,
            verify_failures,
            offloads,
            returns,
            messages,
            message_answers,
            message_failures,
            messages_ignored,
        } = status.counters;
        for (counter, value) in [
            (&self.requests, requests),
            (&self.answers, answers),
            (&self.request_failures, request_failures),
            (&self.messages, messages),
            (&self.message_answers, message_answers),
            (&self.message_failures, message_failures),
            (&self.messages_ignored, messages_ignored),
            (&self.joins, joins),
            (&self.not_joined, not_joined),
            (&self.rejections, rejections),
            (&self.verify_failures, verify_failures),
            (&self.offloads, offloads),
            (&self.returns, returns),
        ] {
            counter.inner().store(value, Ordering::Relaxed);
        }
        let expires = status.credentials.as_ref().and_then(|credentials| credentials.expires);
        self.on_wifi.set(status.on_wifi.into());
        self.bearer.set(status.modem.bearer.into());
        self.supplicant.set(status.supplicant.ready.into());
        self.credentials.set(status.credentials.is_some().into());
        self.expires.set(expires.map_or(0, |at| at.seconds()));
    }
}

fn count(registry: &mut Registry, name: &str, help: &str) -> Counter {
    let counter = Counter::default();
    registry.register(name, help, counter.clone());
    counter
}

fn gauge(registry: &mut Registry, name: &str, help: &str) -> Gauge {
    let gauge = Gauge::default();
    registry.register(name, help, gauge.clone());
    gauge
}
