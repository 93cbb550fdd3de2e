//! What the controller counts. No label says who.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use homeward_channel::Counters as ChannelCounters;
use homeward_control::controller::{Counters, Totals};
use homeward_daemon::Metrics;
use homeward_daemon::metrics::prometheus_client::encoding::EncodeLabelSet;
use homeward_daemon::metrics::prometheus_client::metrics::counter::Counter;
use homeward_daemon::metrics::prometheus_client::metrics::family::Family;
use homeward_daemon::metrics::prometheus_client::metrics::gauge::Gauge;
use homeward_daemon::metrics::prometheus_client::metrics::histogram::Histogram;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Kind {
    kind: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Reason {
    reason: &'static str,
}

/// The figures. Clones are one and the same.
#[derive(Debug, Clone)]
pub struct Figures {
    held: Family<Kind, Gauge>,
    counted: Family<Kind, Counter>,
    channel: Family<Kind, Counter>,
    lost: Family<Reason, Counter>,
    closed: Family<Reason, Counter>,
    denied: Family<Reason, Counter>,
    withdrawn: Family<Reason, Counter>,
    ignored: Family<Reason, Counter>,
    lookups_failed: Counter,
    stun: Family<Kind, Counter>,
    gap: Histogram,
}

impl Figures {
    /// Figures that appear in `metrics`.
    pub fn new(metrics: &mut Metrics) -> Self {
        let buckets = [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 30.0, 300.0];
        let figures = Self {
            held: Family::default(),
            counted: Family::default(),
            channel: Family::default(),
            lost: Family::default(),
            closed: Family::default(),
            denied: Family::default(),
            withdrawn: Family::default(),
            ignored: Family::default(),
            lookups_failed: Counter::default(),
            stun: Family::default(),
            gap: Histogram::new(buckets),
        };
        let registry = metrics.registry().sub_registry_with_prefix("controller");
        registry.register(
            "held",
            "What the controller has in memory, by kind",
            figures.held.clone(),
        );
        registry.register("work", "What it did since the start, by kind", figures.counted.clone());
        registry.register(
            "channel",
            "What the channel's server counts, by kind",
            figures.channel.clone(),
        );
        registry.register("channels_lost", "Channels that ended, by reason", figures.lost.clone());
        registry.register(
            "tunnels_closed",
            "Tunnels taken down, by reason",
            figures.closed.clone(),
        );
        registry.register(
            "denied",
            "Wishes that were not granted, by reason",
            figures.denied.clone(),
        );
        registry.register(
            "withdrawn",
            "Preparations withdrawn, by reason",
            figures.withdrawn.clone(),
        );
        registry.register("ignored", "What was left aside, by reason", figures.ignored.clone());
        registry.register(
            "lookups_failed",
            "Look-ups that the store failed",
            figures.lookups_failed.clone(),
        );
        registry.register("stun", "STUN datagrams, by what became of them", figures.stun.clone());
        registry.register(
            "move_gap_seconds",
            "For how long a device that moved was nowhere",
            figures.gap.clone(),
        );
        figures
    }

    pub(crate) fn lost(&self, reason: &'static str) {
        self.lost.get_or_create(&Reason { reason }).inc();
    }

    pub(crate) fn closed(&self, reason: &'static str) {
        self.closed.get_or_create(&Reason { reason }).inc();
    }

    pub(crate) fn denied(&self, reason: &'static str) {
        self.denied.get_or_create(&Reason { reason }).inc();
    }

    pub(crate) fn withdrawn(&self, reason: &'static str) {
        self.withdrawn.get_or_create(&Reason { reason }).inc();
    }

    pub(crate) fn ignored(&self, reason: &'static str) {
        self.ignored.get_or_create(&Reason { reason }).inc();
    }

    pub(crate) fn lookup_failed(&self) {
        self.lookups_failed.inc();
    }

    pub(crate) fn stun(&self, kind: &'static str) {
        self.stun.get_or_create(&Kind { kind }).inc();
    }

    pub(crate) fn moved(&self, gap: std::time::Duration) {
        self.gap.observe(gap.as_secs_f64());
    }

    /// Takes over what the machine and the server have counted themselves.
    pub(crate) fn update(
        &self,
        totals: Totals,
        counters: Counters,
        channel: &Arc<ChannelCounters>,
    ) {
        let open = |count: &std::sync::atomic::AtomicU64| {
            usize::try_from(count.load(Ordering::Relaxed)).unwrap_or(usize::MAX)
        };
        let set = |family: &Family<Kind, Counter>, kind, value: u64| {
            family.get_or_create(&Kind { kind }).inner().store(value, Ordering::Relaxed);
        };
        for (kind, value) in [
            ("connected", totals.connected),
            ("gateways", totals.gateways),
            ("networks", totals.networks),
            ("tunnels", totals.tunnels),
            ("halves", totals.halves),
            ("devices", totals.devices),
            ("prepared", totals.prepared),
            ("connections", open(&channel.connections)),
            ("channels", open(&channel.channels)),
        ] {
            let value = i64::try_from(value).unwrap_or(i64::MAX);
            self.held.get_or_create(&Kind { kind }).set(value);
        }
        for (kind, value) in [
            ("messages", counters.messages),
            ("turned-away", counters.turned_away),
            ("opened", counters.opened),
            ("adopted", counters.adopted),
            ("closed", counters.closed),
            ("denied", counters.denied),
            ("moves", counters.moves),
            ("evicted", counters.evicted),
            ("prepared", counters.prepared),
            ("came-prepared", counters.came_prepared),
            ("revoked", counters.revoked),
            ("put-out", counters.put_out),
        ] {
            set(&self.counted, kind, value);
        }
        for (kind, value) in [
            ("accepted", &channel.accepted),
            ("turned-away", &channel.turned_away),
            ("handshakes-failed", &channel.handshakes_failed),
            ("refused", &channel.refused),
            ("overrun", &channel.overrun),
            ("enrolled", &channel.enrolled),
            ("renewed", &channel.renewed),
            ("messages-in", &channel.messages_in),
            ("messages-out", &channel.messages_out),
        ] {
            set(&self.channel, kind, value.load(Ordering::Relaxed));
        }
    }
}
