//! Counters, gauges and histograms, and their text (OpenMetrics 1.0).
//!
//! A role registers what it counts at start, in [`Metrics::registry`], and shares the result. The
//! text is served under the control command `metrics` and, where an address is configured, over
//! HTTP by [`Endpoint`].
//!
//! No subscriber's identifier is ever a label: not a MAC, SSID, IMSI, user name, address or
//! session. Labels come from small closed sets (a reason, a result, a radio).
//! [`subscriber_labels`] finds offenders, for a role's tests.

use std::sync::Arc;

use homeward_model::{Clock, Mac};
use prometheus_client::encoding::text;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};

use crate::SystemClock;

pub use http::{Endpoint, EndpointError};
pub use prometheus_client;

mod http;
mod process;

/// The media type of [`Metrics::text`].
pub const MEDIA_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// What a process counts. Every name begins with `homeward_`, except the process's own figures
/// (`process_…`), which have the names that all programs use.
#[derive(Debug)]
pub struct Metrics {
    role: Registry,
    process: Registry,
}

impl Metrics {
    /// The figures of the process, to which the role adds its own.
    pub fn new(role: &'static str, version: &'static str) -> Self {
        let mut own = Registry::with_prefix("homeward");
        let build = Info::new(vec![("role", role), ("version", version)]);
        own.register("build", "What is running", build);
        let mut process = Registry::with_prefix("process");
        let started = SystemClock.unix().0 as f64 / 1000.0;
        process.register_with_unit(
            "start_time",
            "When the process started, since 1970",
            Unit::Seconds,
            ConstGauge::new(started),
        );
        process.register_collector(Box::new(process::Process));
        Self { role: own, process }
    }

    /// Where the role registers what it counts.
    pub fn registry(&mut self) -> &mut Registry {
        &mut self.role
    }

    /// Ready to be handed to whoever serves them.
    pub fn share(self) -> Arc<Self> {
        Arc::new(self)
    }

    /// The present figures, as OpenMetrics text.
    pub fn text(&self) -> String {
        let mut out = String::with_capacity(8 * 1024);
        let written = text::encode_registry(&mut out, &self.role)
            .and_then(|()| text::encode_registry(&mut out, &self.process))
            .and_then(|()| text::encode_eof(&mut out));
        if let Err(error) = written {
            // Writing to a string does not fail; a collector of a role's might.
            tracing::error!(%error, "metrics are incomplete");
        }
        out
    }
}

/// Label names that speak of a subscriber.
const FORBIDDEN: [&str; 16] = [
    "mac",
    "device",
    "station",
    "ssid",
    "imsi",
    "imei",
    "msisdn",
    "user",
    "user_name",
    "username",
    "nai",
    "account",
    "subscriber",
    "session",
    "ip",
    "calling_station_id",
];

/// The labels in an OpenMetrics text that name a subscriber, or have a MAC address as value.
pub fn subscriber_labels(text: &str) -> Vec<&str> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let labels = lines.filter_map(|line| {
        let (from, to) = (line.find('{')?, line.rfind('}')?);
        line.get(from + 1..to)
    });
    labels
        .flat_map(|labels| labels.split("\","))
        .filter(|label| {
            let (name, value) = label.split_once('=').unwrap_or((label, ""));
            FORBIDDEN.contains(&name) || value.trim_matches('"').parse::<Mac>().is_ok()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use prometheus_client::metrics::counter::Counter;
    use prometheus_client::metrics::family::Family;

    fn value(text: &str, name: &str) -> f64 {
        let line = text.lines().find(|l| l.starts_with(&format!("{name} "))).unwrap();
        line.rsplit(' ').next().unwrap().parse().unwrap()
    }

    #[test]
    fn the_text_has_the_roles_figures_and_the_processs() {
        let mut metrics = Metrics::new("gateway", "1.2.3");
        let probes: Counter = Counter::default();
        metrics.registry().register("probes", "Probe requests seen", probes.clone());
        probes.inc_by(7);
        let text = metrics.text();
        assert!(
            text.contains("homeward_build_info{role=\"gateway\",version=\"1.2.3\"} 1"),
            "{text}"
        );
        assert_eq!(value(&text, "homeward_probes_total"), 7.0);
        assert!(value(&text, "process_resident_memory_bytes") > 1e5, "{text}");
        assert!(value(&text, "process_open_fds") >= 3.0, "{text}");
        assert!(value(&text, "process_start_time_seconds") > 1.7e9, "{text}");
        assert!(text.contains("process_cpu_seconds_total"), "{text}");
        assert!(text.ends_with("# EOF\n") && text.matches("# EOF").count() == 1);
    }

    #[test]
    fn a_label_that_names_a_subscriber_is_found() {
        let labelled = |name: &'static str, value: &'static str| {
            let mut metrics = Metrics::new("gateway", "1");
            let family = Family::<Vec<(String, String)>, Counter>::default();
            let labels = vec![("reason".into(), "idle".into()), (name.into(), value.into())];
            family.get_or_create(&labels).inc();
            metrics.registry().register("vaps", "VAPs", family);
            subscriber_labels(&metrics.text()).len()
        };
        assert_eq!(labelled("radio", "phy0"), 0);
        assert_eq!(labelled("ssid", "home"), 1);
        assert_eq!(labelled("peer", "02:00:5e:10:00:01"), 1);
    }
}
