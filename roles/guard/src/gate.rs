//! Services that ask nobody: closed by nftables to all but the flows that are admitted.
//!
//! The truth is in [`Admissions`](crate::Admissions); the kernel is told of what changes, many
//! changes at a time. Where that fails, or the rules are found gone (who reloads another firewall
//! may flush them), all is said anew from there. When the guard stops, the rules stay: what was
//! admitted passes until its time is over, and nothing else does.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context;
use homeward_daemon::SystemClock;
use homeward_daemon::doctor::Findings;
use homeward_keychain::Flow;
use homeward_linux::gate::{self, Change, Endpoint, Service};
use homeward_model::{Clock, UnixTime};
use tokio::sync::{mpsc, oneshot};

use crate::admitted::Admission;
use crate::config::GateConfig;
use crate::figures::Figures;
use crate::guard::Guard;

/// So many changes go into one transaction.
const AT_A_TIME: usize = 1000;

/// The one that a flow names; `None` where it names something else, such as a call.
pub fn endpoint(flow: &Flow) -> Option<Endpoint> {
    flow.as_str().parse().ok()
}

#[derive(Debug)]
enum Order {
    /// Whether these flows are admitted has changed: it is looked up when their turn comes, so that
    /// what was ended meanwhile is not let through by what was said before.
    Look(Vec<Flow>, Option<oneshot::Sender<bool>>),
    Replace(gate::Gate),
}

/// The way to what keeps the gate. Clones are one and the same.
#[derive(Debug, Clone)]
pub struct Gate {
    orders: mpsc::UnboundedSender<Order>,
    closed: Arc<Mutex<Vec<Service>>>,
}

impl Gate {
    /// Lets the end of a flow through, which is admitted. Whether that is done: not where nft
    /// fails, or the guard is stopping.
    pub(crate) async fn admit(&self, flow: &Flow) -> bool {
        if endpoint(flow).is_none() {
            return true;
        }
        let (done, outcome) = oneshot::channel();
        let told = self.orders.send(Order::Look(vec![flow.clone()], Some(done)));
        told.is_ok() && outcome.await.unwrap_or(false)
    }

    /// Shuts out the ends of flows that are not admitted any more.
    pub(crate) fn shut(&self, flows: Vec<Flow>) {
        // It has ended only if the guard is ending.
        let _ = self.orders.send(Order::Look(flows, None));
    }

    /// What is closed.
    pub fn closed(&self) -> Vec<Service> {
        self.closed.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Has it stand in front of other services.
    pub(crate) fn replace(&self, config: &GateConfig) {
        let mut closed = self.closed.lock().unwrap_or_else(PoisonError::into_inner);
        closed.clone_from(&config.services);
        // As above.
        let _ = self.orders.send(Order::Replace(config.gate()));
    }
}

/// What keeps the gate.
#[derive(Debug)]
pub struct Keeper {
    gate: gate::Gate,
    check: Duration,
    figures: Figures,
    orders: mpsc::UnboundedReceiver<Order>,
}

impl Keeper {
    /// One for that gate, and the way to it.
    pub fn new(config: &GateConfig, figures: Figures) -> (Gate, Self) {
        let (sender, orders) = mpsc::unbounded_channel();
        let (gate, check) = (config.gate(), config.check.0);
        let closed = Arc::new(Mutex::new(config.services.clone()));
        (Gate { orders: sender, closed }, Self { gate, check, figures, orders })
    }

    /// Closes the gate to all but what is admitted.
    ///
    /// # Errors
    /// What nft said. What was in force stays.
    pub async fn close(&self, guard: &Guard) -> anyhow::Result<()> {
        let now = SystemClock.unix();
        let of = |(flow, admission): (&Flow, &Admission)| {
            Some((endpoint(flow)?, span(admission.until, now)))
        };
        let but: Vec<_> = guard.admitted().lock().await.all(now).filter_map(of).collect();
        let gate = self.gate.clone();
        tokio::task::spawn_blocking(move || gate.close(&but)).await?.context("the gate")
    }

    /// Keeps it, until it is dropped.
    pub async fn keep(mut self, guard: Arc<Guard>) {
        let mut orders = Vec::new();
        let mut due = SystemClock.now() + self.check;
        loop {
            tokio::select! {
                some = self.orders.recv_many(&mut orders, AT_A_TIME) => {
                    if some == 0 {
                        // The guard is ending.
                        return;
                    }
                    self.carry_out(std::mem::take(&mut orders), &guard).await;
                }
                () = SystemClock.until(Some(due)) => {
                    due = SystemClock.now() + self.check;
                    self.look(&guard).await;
                }
            }
        }
    }

    async fn carry_out(&mut self, orders: Vec<Order>, guard: &Guard) {
        let now = SystemClock.unix();
        let (mut changes, mut waiting, mut anew) = (Vec::new(), Vec::new(), false);
        let admitted = guard.admitted().lock().await;
        for order in orders {
            match order {
                Order::Look(flows, done) => {
                    changes.extend(flows.iter().filter_map(|flow| {
                        let (end, found) = (endpoint(flow)?, admitted.get(flow, now));
                        let to = |found: &Admission| Change::Let(end, span(found.until, now));
                        Some(found.map_or(Change::Shut(end), to))
                    }));
                    waiting.extend(done);
                }
                Order::Replace(gate) => {
                    anew |= self.gate != gate;
                    self.gate = gate;
                }
            }
        }
        drop(admitted);
        let gate = self.gate.clone();
        let changed = tokio::task::spawn_blocking(move || gate.change(&changes)).await;
        let done = match changed {
            Ok(Ok(())) if !anew => true,
            Ok(Ok(())) => self.anew(guard).await,
            Ok(Err(error)) => {
                tracing::warn!(%error, "the gate does not take a change; it is put up anew");
                self.anew(guard).await
            }
            Err(_) => false,
        };
        self.figures.gate(if done { "changed" } else { "failed" });
        for done_is in waiting {
            // The device may have hung up.
            let _ = done_is.send(done);
        }
    }

    /// Whether it stands; it is put up anew if not.
    async fn look(&self, guard: &Guard) {
        let gate = self.gate.clone();
        match tokio::task::spawn_blocking(move || gate.stands()).await {
            Ok(Ok(true)) | Err(_) => {}
            Ok(Ok(false)) => {
                tracing::error!(
                    "the gate was gone: somebody has removed the table {} (as `nft flush ruleset` \
                     does, which a reload of another firewall may begin with)",
                    gate::TABLE
                );
                self.figures.gate("gone");
                self.anew(guard).await;
            }
            Ok(Err(error)) => tracing::warn!(%error, "it is not known whether the gate stands"),
        }
    }

    async fn anew(&self, guard: &Guard) -> bool {
        let closed = self.close(guard).await;
        if let Err(error) = &closed {
            let error = format!("{error:#}");
            tracing::error!(error, "the gate cannot be closed: the services may be open to all");
        }
        closed.is_ok()
    }
}

/// From now on.
fn span(until: UnixTime, now: UnixTime) -> Duration {
    Duration::from_millis(u64::try_from(until.0.saturating_sub(now.0)).unwrap_or(0))
}

/// What is wrong with the gate's place on this machine.
pub(crate) fn examine(config: Option<&GateConfig>, findings: &mut Findings) {
    let Some(config) = config else {
        // Without nft, or the right to look, there is no telling.
        if gate::Gate::new(Vec::new(), Vec::new()).stands().unwrap_or(false) {
            findings.warn(
                "there is no [gate], but an earlier guard's still stands, and nobody is let through any more",
                format!("nft delete table inet {}", gate::TABLE),
            );
        }
        return;
    };
    match config.gate().can() {
        Ok(true) => findings.ok("the kernel can close the services of [gate]"),
        Ok(false) => findings.fail(
            "the kernel cannot close the services of [gate]",
            "load nf_tables and nft_fib_inet, or have the services ask /verify",
        ),
        Err(error) => findings.fail(error.to_string(), "the gate needs nft, and CAP_NET_ADMIN"),
    }
    let Some(own) = ephemeral() else { return };
    for service in &config.services {
        if *service.ports.start() <= own.1 && own.0 <= *service.ports.end() {
            findings.warn(
                format!(
                    "{service} is among the ports {}-{} that this machine's own connections come from: \
                     their answers would be shut out",
                    own.0, own.1
                ),
                "give the service other ports, or narrow net.ipv4.ip_local_port_range",
            );
        }
    }
}

/// The ports that this machine's own connections come from.
fn ephemeral() -> Option<(u16, u16)> {
    let text = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").ok()?;
    let mut ports = text.split_whitespace().map(str::parse);
    Some((ports.next()?.ok()?, ports.next()?.ok()?))
}
