//! A worker of the accounting port: records in, receipts out.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use homeward_accounting::{Day, Figures as Amount, Record};
use homeward_daemon::{SystemClock, SystemEntropy};
use homeward_ledger::{Entry, Ledger, Owner, Receipt, User, WriteError};
use homeward_model::{Clock, GatewayId, Instant, Name};
use homeward_radius::{Code, EncodeError, Packet, Policy, Port, ServerSettings, Ticket};
use homeward_transport::{Datagram, Path, Replies, Waker, server::Service};
use tokio::sync::mpsc::UnboundedSender;

use crate::desk::Desk;
use crate::front::Front;
use crate::grants::Grants;
use crate::projection::{Client, Projection};
use crate::server::Shared;

/// One worker of the accounting port.
pub(crate) struct Worker {
    front: Front,
    shared: Shared,
    ledger: Arc<Ledger>,
    /// What the workers of the other port granted.
    grants: Vec<Arc<Mutex<Grants>>>,
    /// Where it is told that somebody's quota is spent.
    spent: UnboundedSender<User>,
    entropy: SystemEntropy,
    desk: Option<Arc<Desk<Result<Receipt, WriteError>>>>,
    waiting: BTreeMap<u64, Waiting>,
    next: u64,
}

/// A record on its way to disk: how to answer it.
struct Waiting {
    ticket: Ticket,
    client: GatewayId,
    path: Path,
}

impl Worker {
    pub(crate) fn new(
        settings: ServerSettings,
        policy: Policy,
        shared: Shared,
        ledger: Arc<Ledger>,
        grants: Vec<Arc<Mutex<Grants>>>,
        spent: UnboundedSender<User>,
    ) -> Self {
        Self {
            front: Front::new(Port::Accounting, settings, policy, shared.figures.clone()),
            shared,
            ledger,
            grants,
            spent,
            entropy: SystemEntropy::new(),
            desk: None,
            waiting: BTreeMap::new(),
            next: 0,
        }
    }

    /// Has a record written; whether it may be answered later.
    fn keep(
        &mut self,
        p: &Projection,
        client: &Client,
        packet: &Packet<'_>,
    ) -> Result<u64, String> {
        let record = Record::decode(packet, &known_as(client.gateway.id)).map_err(|error| {
            self.shared.figures.record(error.label());
            error.to_string()
        })?;
        let owner = self.owner(p, client, &record);
        if owner.is_none() && !record.kind.is_boot() {
            self.shared.figures.record("of-nobody");
            tracing::debug!(
                gateway = %client.gateway.name, session = record.session_id,
                "a record without a Class of ours: it counts for nobody until one comes"
            );
        }
        let Some(desk) = self.desk.clone() else { return Err("the worker has not begun".into()) };
        let number = self.next;
        let entry = Entry { record, received: SystemClock.unix(), owner };
        let handed = self.ledger.submit_with(entry, move |receipt| desk.put(number, receipt));
        handed.map_err(|error| {
            self.shared.figures.record("ledger-full");
            error.to_string()
        })?;
        self.next += 1;
        Ok(number)
    }

    /// Whose session a record is about: by the Class that its NAS was given; else by whom that NAS
    /// was last told to serve as that device, for there are NASes that return no Class for what
    /// they looked up.
    fn owner(&self, p: &Projection, client: &Client, record: &Record) -> Option<Owner> {
        let gateway = client.gateway.id;
        let mut signed =
            record.class.iter().filter_map(|class| self.shared.signer.verify(gateway, class));
        let user = signed.next().or_else(|| {
            let station = record.station?;
            let lasts = self.grants.iter().filter_map(|grants| {
                grants.lock().unwrap_or_else(PoisonError::into_inner).user_of(station, gateway)
            });
            lasts.max().map(|(_, user)| user)
        })?;
        owner_of(p, user)
    }

    /// Counts what was used, and says so where it was the last of a quota.
    fn charge(&self, p: &Projection, receipt: &Receipt) {
        let Some(counted) = &receipt.session else { return };
        let Some(owner) = counted.owner.filter(|_| counted.charged != Amount::ZERO) else { return };
        self.shared.usage.add(owner.user, &counted.charged, Day::of(counted.applied.at));
        let account = p.account(owner.account);
        let class = account.and_then(|account| p.class(account.class));
        let Some(quota) = class.and_then(|class| class.terms.quota) else { return };
        let standing = self.shared.usage.standing(owner.user, &quota, SystemClock.unix());
        if standing.spent {
            // Whoever listens has ended only if the core is ending.
            let _ = self.spent.send(owner.user);
        }
    }
}

/// What a client is called in the ledger: by its number, for names change, and a session whose
/// NAS is called otherwise is another session.
pub(crate) fn known_as(client: GatewayId) -> Name {
    let name = format!("gateway-{client}").parse();
    name.unwrap_or_else(|_| unreachable!("a word and a number are a name"))
}

/// Who pays for a user, and by which class of service.
fn owner_of(p: &Projection, user: User) -> Option<Owner> {
    let account = match user {
        User::Device(id) => p.network(p.device(id)?.network)?.account,
        User::Login(id) => p.account_of(id)?,
    };
    let account = p.account(account)?;
    Some(Owner { account: account.id, user, class: account.class })
}

impl Service for Worker {
    fn begin(&mut self, waker: Waker) {
        self.desk = Some(Arc::new(Desk::new(waker)));
    }

    fn handle(&mut self, datagram: &Datagram<'_>, replies: &mut Replies) {
        let projection = Arc::clone(&self.shared.projection);
        let p = projection.read().unwrap_or_else(PoisonError::into_inner);
        let Some((client, packet, ticket)) = self.front.request(&p, datagram, replies) else {
            return;
        };
        match self.keep(&p, client, &packet) {
            Ok(number) => {
                let (client, path) = (client.gateway.id, datagram.path());
                self.waiting.insert(number, Waiting { ticket, client, path });
            }
            // RFC 2866 2: what is not kept is not answered.
            Err(error) => {
                tracing::warn!(gateway = %client.gateway.name, error, "a record that is not kept");
                self.front.server.abandon(&ticket);
            }
        }
    }

    fn woken(&mut self, replies: &mut Replies) {
        let receipts = self.desk.as_ref().map(|desk| desk.take()).unwrap_or_default();
        let projection = Arc::clone(&self.shared.projection);
        let p = projection.read().unwrap_or_else(PoisonError::into_inner);
        for (number, receipt) in receipts {
            let Some(waiting) = self.waiting.remove(&number) else { continue };
            let Waiting { ticket, client, path } = waiting;
            let receipt = match receipt {
                Ok(receipt) => receipt,
                Err(error) => {
                    self.shared.figures.record("not-written");
                    tracing::debug!(%error, "a record could not be written: it is not answered");
                    self.front.server.abandon(&ticket);
                    continue;
                }
            };
            self.shared.figures.record(if receipt.repeated { "repeated" } else { "kept" });
            self.charge(&p, &receipt);
            // A gateway that was deleted meanwhile has no secret to be answered with.
            let Some(client) = p.client(client) else { continue };
            let (server, entropy) = (&mut self.front.server, &mut self.entropy);
            let code = Code::AccountingResponse;
            match server
                .respond(&ticket, &client.secret, code, entropy, |_| Ok::<_, EncodeError>(()))
            {
                Ok(octets) => replies.late(&path).extend_from_slice(octets),
                Err(error) => {
                    self.shared.figures.dropped("unanswerable");
                    tracing::error!(gateway = %client.gateway.name, %error, "a record could not be answered");
                    self.front.server.abandon(&ticket);
                }
            }
        }
    }

    fn idle(&mut self, now: Instant) {
        let _ = now;
    }
}
