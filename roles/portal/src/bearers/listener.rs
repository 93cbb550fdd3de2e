//! The worker of the accounting port: reports in, answers out once they are stored.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use homeward_bearer::{Change, Report, ReportError, Source};
use homeward_daemon::{SystemClock, SystemEntropy};
use homeward_model::{Clock, Instant};
use homeward_radius::server::ReplyKind;
use homeward_radius::{
    Builder, Code, EncodeError, Policy, Port, Received, Server, ServerSettings, SharedSecret,
    Ticket,
};
use homeward_transport::server::Service;
use homeward_transport::{Datagram, Path, Replies, Waker};
use ipnet::IpNet;
use tokio::sync::mpsc::UnboundedSender;

use super::Shared;

/// The most reports that wait to be stored; further ones are not answered, and come again.
const WAITING: usize = 8192;

/// The most sessions that are ended for their silence at once.
const SILENT: usize = 1000;

/// A packet gateway, with its secret.
#[derive(Debug, Clone)]
pub(super) struct Known {
    pub(super) net: IpNet,
    pub(super) source: Source,
    pub(super) secret: SharedSecret,
}

/// Changes to be stored, and the number of the report that is to be answered then.
pub(super) struct Order {
    pub(super) changes: Vec<Change>,
    pub(super) number: Option<u64>,
}

/// Where the worker finds which reports are stored, or could not be.
#[derive(Debug, Default)]
pub(super) struct Desk(Mutex<OnDesk>);

#[derive(Debug, Default)]
struct OnDesk {
    /// Numbers of reports, and whether they are stored.
    done: Vec<(u64, bool)>,
    waker: Option<Waker>,
}

impl Desk {
    pub(super) fn put(&self, done: impl IntoIterator<Item = (u64, bool)>) {
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        inner.done.extend(done);
        if let Some(waker) = &inner.waker {
            waker.wake();
        }
    }
}

/// A report that waits to be stored.
struct Waiting {
    ticket: Ticket,
    path: Path,
    gateway: Arc<Known>,
}

/// The worker. There is one: reports of a gateway are applied, and stored, in the order in which
/// they came.
pub(super) struct Worker {
    shared: Arc<Shared>,
    server: Server,
    entropy: SystemEntropy,
    orders: UnboundedSender<Order>,
    desk: Arc<Desk>,
    waiting: BTreeMap<u64, Waiting>,
    next: u64,
}

impl Worker {
    pub(super) fn new(
        shared: Arc<Shared>,
        orders: UnboundedSender<Order>,
        desk: Arc<Desk>,
    ) -> Self {
        Self {
            shared,
            server: Server::new(Port::Accounting, ServerSettings::default()),
            entropy: SystemEntropy::new(),
            orders,
            desk,
            waiting: BTreeMap::new(),
            next: 0,
        }
    }

    /// Applies a report, and has what it changes stored; whether it is to be answered then.
    fn apply(&mut self, report: Result<Report, ReportError>, gateway: &str) -> bool {
        let figures = &self.shared.figures;
        let changes = match report {
            Ok(report) => {
                let applied = {
                    let mut table = self.shared.write();
                    if !self.shared.is_known(&report.gateway) {
                        return false;
                    }
                    let (today, now) = (SystemClock.unix(), SystemClock.now());
                    let applied = table.handle(&report, today, now);
                    figures.live.set(i64::try_from(table.len()).unwrap_or(i64::MAX));
                    applied
                };
                figures.report(report.kind, applied.news);
                tracing::debug!(
                    gateway, kind = %report.kind, news = applied.news.label(),
                    imsi = ?report.imsi, "report"
                );
                applied.changes
            }
            // Nothing of it is ours to keep, so it is kept.
            Err(error @ ReportError::OtherApn) => {
                figures.refused(error.label());
                Vec::new()
            }
            Err(error) => {
                figures.refused(error.label());
                tracing::warn!(gateway, %error, "a report that cannot be used is not answered");
                return false;
            }
        };
        let order = Order { changes, number: Some(self.next) };
        self.orders.send(order).is_ok()
    }

    fn conclude(&mut self, number: u64, stored: bool, replies: &mut Replies) {
        let Some(waiting) = self.waiting.remove(&number) else { return };
        let gateway = &waiting.gateway;
        if !stored {
            // RFC 2866 2: what is not recorded is not answered. It comes again.
            self.shared.figures.not_stored.inc();
            return self.server.abandon(&waiting.ticket);
        }
        let answer = (Code::AccountingResponse, replies.reserve_late(&waiting.path));
        let nothing = |_: &mut Builder<'_>| Ok::<_, EncodeError>(());
        let (ticket, secret) = (&waiting.ticket, &gateway.secret);
        if let Err(error) = self.server.draft(ticket, secret, answer, &mut self.entropy, nothing) {
            self.shared.figures.dropped("unanswerable");
            tracing::error!(gateway = %gateway.source.gateway, %error, "a report could not be answered");
            self.server.abandon(ticket);
        }
    }
}

impl Service for Worker {
    fn begin(&mut self, waker: Waker) {
        self.desk.0.lock().unwrap_or_else(PoisonError::into_inner).waker = Some(waker);
    }

    fn handle(&mut self, datagram: &Datagram<'_>, replies: &mut Replies) {
        let from = datagram.source.ip().to_canonical();
        let figures = &self.shared.figures;
        let gateways = self.shared.gateways.load();
        let Some(gateway) = gateways.iter().find(|g| g.net.contains(&from)).cloned() else {
            // RFC 2865 3: silently, or the answer would tell strangers that somebody is here.
            figures.dropped("unknown-client");
            tracing::debug!(source = %from, "a datagram from no packet gateway of ours");
            return;
        };
        let (source, bytes, now) = (datagram.source, datagram.bytes, datagram.received);
        let name = gateway.source.gateway.as_str();
        let received = self.server.handle(source, &gateway.secret, Policy::Required, bytes, now);
        let (packet, ticket) = match received {
            Received::Request { packet, ticket, .. } => (packet, ticket),
            Received::Reply { octets, kind } => {
                if kind == ReplyKind::Duplicate {
                    figures.duplicates.inc();
                }
                replies.to(datagram).extend_from_slice(octets);
                return;
            }
            Received::InProgress => return figures.dropped("in-progress"),
            Received::Dropped(reason) => {
                figures.dropped(reason.label());
                tracing::debug!(gateway = name, %reason, "datagram dropped");
                return;
            }
        };
        if self.waiting.len() >= WAITING {
            figures.dropped("too-many-waiting");
            return self.server.abandon(&ticket);
        }
        if self.apply(Report::decode(&packet, &gateway.source), name) {
            let waiting = Waiting { ticket, path: datagram.path(), gateway };
            self.waiting.insert(self.next, waiting);
            self.next += 1;
        } else {
            self.server.abandon(&ticket);
        }
    }

    fn woken(&mut self, replies: &mut Replies) {
        let done =
            std::mem::take(&mut self.desk.0.lock().unwrap_or_else(PoisonError::into_inner).done);
        for (number, stored) in done {
            self.conclude(number, stored, replies);
        }
    }

    fn finish(&mut self, replies: &mut Replies) {
        self.server.sign(|place, octets| replies.at(place).extend_from_slice(octets));
    }

    fn idle(&mut self, now: Instant) {
        let due = self.shared.read().poll_timeout();
        if due.is_none_or(|due| due > now) {
            return;
        }
        let changes = {
            let mut table = self.shared.write();
            let changes = table.handle_timeout(now, SILENT);
            self.shared.figures.live.set(i64::try_from(table.len()).unwrap_or(i64::MAX));
            changes
        };
        if !changes.is_empty() {
            tracing::debug!(count = changes.len(), "nothing was heard of these for too long");
            self.shared.figures.silent.inc_by(u64::try_from(changes.len()).unwrap_or(u64::MAX));
            // It fails only if the process stops.
            let _ = self.orders.send(Order { changes, number: None });
        }
    }
}
