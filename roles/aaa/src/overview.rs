//! What the running role says of itself, for status and metrics.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use homeward_daemon::Metrics;
use homeward_daemon::metrics::prometheus_client::collector::Collector;
use homeward_daemon::metrics::prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use homeward_daemon::metrics::prometheus_client::metrics::MetricType;
use homeward_daemon::metrics::prometheus_client::metrics::counter::ConstCounter;
use homeward_daemon::metrics::prometheus_client::metrics::gauge::ConstGauge;
use homeward_ledger::Ledger;
use homeward_transport::{Counters, RadsecCounters, RunningRadsec, RunningServer, WorkerDied};
use serde_json::{Map, Value, json};

use crate::grants::Grants;
use crate::realms::relay::Relay;
use crate::server::Shared;

/// What runs.
pub(crate) struct Overview {
    pub(crate) listen: Vec<String>,
    pub(crate) accounting_listen: Vec<String>,
    pub(crate) running: Vec<RunningServer>,
    pub(crate) accounting: Vec<RunningServer>,
    pub(crate) over_tls: Vec<RunningRadsec>,
    pub(crate) grants: Vec<Arc<Mutex<Grants>>>,
    pub(crate) shared: Shared,
    pub(crate) ledger: Option<Arc<Ledger>>,
}

impl Overview {
    /// Has metrics tell what is counted elsewhere: by sockets, and by the ledger.
    pub(crate) fn count_in(self: &Arc<Self>, metrics: &mut Metrics) {
        let registry = metrics.registry().sub_registry_with_prefix("aaa");
        registry.register_collector(Box::new(Counted(Arc::clone(self))));
    }

    pub(crate) fn status(&self) -> Value {
        let p = self.shared.projection.read().unwrap_or_else(PoisonError::into_inner);
        let records = p.counts();
        drop(p);
        json!({
            "listen": self.listen,
            "sockets": map(datagrams(&self.running).all()),
            "lookups": self.shared.figures.lookups(),
            "grants_out": self.grants_out(),
            "records": records,
            "radsec": over_tls(&self.over_tls),
            "partners": self.shared.relay.as_ref().map(Relay::status),
            "accounting": self.ledger.as_ref().map(|ledger| self.accounting(ledger)),
        })
    }

    fn accounting(&self, ledger: &Ledger) -> Value {
        json!({
            "listen": self.accounting_listen,
            "sockets": map(datagrams(&self.accounting).all()),
            "ledger": ledger.reader().path(),
            "waiting": ledger.waiting(),
            "users": self.shared.usage.len(),
            "counters": map(ledger.counters().all()),
        })
    }

    fn grants_out(&self) -> usize {
        let len = |g: &Arc<Mutex<Grants>>| g.lock().unwrap_or_else(PoisonError::into_inner).len();
        self.grants.iter().map(len).sum()
    }

    /// Waits until a worker of any server dies.
    pub(crate) async fn died(&self) -> WorkerDied {
        type Died<'a> = std::pin::Pin<Box<dyn Future<Output = WorkerDied> + Send + 'a>>;
        let by_udp = self.running.iter().chain(&self.accounting);
        let by_udp = by_udp.map(|server| Box::pin(server.died()) as Died<'_>);
        let by_tls = self.over_tls.iter().map(|server| Box::pin(server.died()) as Died<'_>);
        let waits = by_udp.chain(by_tls).collect::<Vec<_>>();
        if waits.is_empty() {
            return std::future::pending().await;
        }
        first(waits).await
    }
}

/// What all sockets of those servers saw.
fn datagrams(servers: &[RunningServer]) -> Counters {
    servers.iter().map(RunningServer::counters).fold(Counters::default(), |sum, of| sum + of)
}

/// Those on which RADIUS over TLS is served.
fn over_tls(servers: &[RunningRadsec]) -> Vec<Value> {
    let said = servers.iter().map(|server| {
        let counters = server.counters();
        let mut said = map(counters.all());
        said.insert("listen".to_owned(), server.local_address().to_string().into());
        said.insert("connections".to_owned(), counters.connections.into());
        said.into()
    });
    said.collect()
}

fn map(counters: impl IntoIterator<Item = (&'static str, u64)>) -> Map<String, Value> {
    counters.into_iter().map(|(name, n)| (name.to_owned(), n.into())).collect()
}

/// What sockets and the ledger count by themselves, read when somebody asks.
struct Counted(Arc<Overview>);

impl fmt::Debug for Counted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Counted")
    }
}

impl Collector for Counted {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let of = &*self.0;
        let mut family = encoder.encode_descriptor(
            "datagrams",
            "Datagrams by port, and what became of them; dropped is by the kernel, for want of room",
            None,
            MetricType::Counter,
        )?;
        for (port, servers) in [("authentication", &of.running), ("accounting", &of.accounting)] {
            for (event, n) in datagrams(servers).all() {
                let labels = [("port", port), ("event", event)];
                ConstCounter::new(n).encode(family.encode_family(&labels)?)?;
            }
        }
        if !of.over_tls.is_empty() {
            let sum = of.over_tls.iter().map(RunningRadsec::counters);
            let sum = sum.fold(RadsecCounters::default(), |sum, of| sum + of);
            let mut family = encoder.encode_descriptor(
                "radsec",
                "RADIUS over TLS: connections and packets, and what became of them",
                None,
                MetricType::Counter,
            )?;
            for (event, n) in sum.all() {
                ConstCounter::new(n).encode(family.encode_family(&[("event", event)])?)?;
            }
        }
        let connections =
            of.over_tls.iter().map(|server| server.counters().connections).sum::<u64>();
        let gauges = [
            ("grants_out", "Grants that are remembered to be taken back", of.grants_out()),
            (
                "radsec_connections",
                "Connections of RADIUS over TLS",
                usize::try_from(connections).unwrap_or(usize::MAX),
            ),
        ];
        let of_ledger = of.ledger.iter().flat_map(|ledger| {
            let waiting = ("ledger_waiting", "Records waiting to be written", ledger.waiting());
            [waiting, ("usage_users", "Users whose usage is in memory", of.shared.usage.len())]
        });
        for (name, help, value) in gauges.into_iter().chain(of_ledger) {
            let value = i64::try_from(value).unwrap_or(i64::MAX);
            let gauge = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            ConstGauge::new(value).encode(gauge)?;
        }
        if let Some(ledger) = &of.ledger {
            let mut family = encoder.encode_descriptor(
                "ledger",
                "What the ledger did, in records, sessions and transactions: no sum of it means \
                 anything",
                None,
                MetricType::Counter,
            )?;
            for (event, n) in ledger.counters().all() {
                ConstCounter::new(n).encode(family.encode_family(&[("event", event)])?)?;
            }
        }
        Ok(())
    }
}

/// The first of several futures to be ready.
async fn first<F: Future + Unpin>(mut futures: Vec<F>) -> F::Output {
    std::future::poll_fn(|cx| {
        for future in &mut futures {
            if let std::task::Poll::Ready(output) = std::pin::Pin::new(future).poll(cx) {
                return std::task::Poll::Ready(output);
            }
        }
        std::task::Poll::Pending
    })
    .await
}
