//! A worker of the accounting port: records in, receipts out.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use homeward_accounting::{Day, Figures as Amount, Record};
use homeward_daemon::{SystemClock, SystemEntropy};
use homeward_ledger::{Entry, Ledger, Owner, Receipt, User, WriteError};
use homeward_model::{Clock, GatewayId, Name};
use homeward_radius::{Builder, Code, EncodeError, Packet, Policy, Port, ServerSettings};
use homeward_transport::{Datagram, Replies, Waker, server::Service};
use tokio::sync::mpsc::UnboundedSender;

use crate::desk::{Desk, Done};
use crate::front::{Arrived, Asks, Front, TOGETHER, Waiting};
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
    desk: Option<Arc<Desk>>,
    /// Records on their way to disk, with what a partner is to be told then.
    waiting: BTreeMap<u64, (Waiting, Option<Vec<u8>>)>,
    /// How many of them are each client's, and how many may be.
    of_client: HashMap<GatewayId, usize>,
    share: usize,
    next: u64,
}

impl Worker {
    pub(crate) fn new(
        settings: ServerSettings,
        policy: Policy,
        shared: Shared,
        ledger: Arc<Ledger>,
        grants: Vec<Arc<Mutex<Grants>>>,
        spent: UnboundedSender<User>,
        queue: usize,
    ) -> Self {
        Self {
            front: Front::new(Port::Accounting, settings, policy, &shared),
            shared,
            ledger,
            grants,
            spent,
            entropy: SystemEntropy::new(),
            desk: None,
            waiting: BTreeMap::new(),
            of_client: HashMap::new(),
            share: (queue / 4).max(1),
            next: 0,
        }
    }

    /// Has a record written; whether it may be answered later.
    fn keep(
        &mut self,
        p: &Projection,
        client: &Client,
        packet: &Packet<'_>,
        host: IpAddr,
    ) -> Result<u64, String> {
        if self.of_client.get(&client.gateway.id).is_some_and(|mine| *mine >= self.share) {
            self.shared.figures.record("client-share-full");
            return Err("as many of its records wait to be written as may".into());
        }
        let record = Record::decode(packet, &known_as(client.gateway.id)).map_err(|error| {
            self.shared.figures.record(error.label());
            error.to_string()
        })?;
        // Who a partner lets in is nobody's of ours, whatever device it has.
        let is_partners = self.front.is_partners(packet);
        let owner = if is_partners { None } else { self.owner(p, client, &record) };
        if owner.is_none() && !record.kind.is_boot() && !is_partners {
            self.shared.figures.record("of-nobody");
            tracing::debug!(
                gateway = %client.gateway.name, session = record.session_id,
                "a record without a Class of ours: it counts for nobody until one comes"
            );
        }
        let Some(desk) = self.desk.clone() else { return Err("the worker has not begun".into()) };
        let number = self.next;
        let (received, host) = (SystemClock.unix(), Some(host.to_canonical()));
        let entry = Entry { record, received, owner, host };
        let handed = self
            .ledger
            .submit_with(entry, move |receipt| desk.put(number, Done::Kept(Box::new(receipt))));
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
            // One that returns another's Class, or a wrong one, has nobody guessed for it.
            let station = record.station.filter(|_| record.class.is_empty())?;
            let now = SystemClock.now();
            let lasts = self.grants.iter().filter_map(|grants| {
                grants.lock().unwrap_or_else(PoisonError::into_inner).user_of(station, gateway, now)
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

impl Worker {
    /// A record is on disk, or not: answers it, or tells the partner first whose it is.
    fn kept(
        &mut self,
        p: &Projection,
        number: u64,
        receipt: Result<Receipt, WriteError>,
        replies: &mut Replies,
    ) {
        let Some((waiting, partners)) = self.waiting.remove(&number) else { return };
        if let Some(mine) = self.of_client.get_mut(&waiting.client) {
            *mine -= 1;
            if *mine == 0 {
                self.of_client.remove(&waiting.client);
            }
        }
        let receipt = match receipt {
            Ok(receipt) => receipt,
            Err(error) => {
                self.shared.figures.record("not-written");
                tracing::debug!(%error, "a record could not be written: it is not answered");
                return self.front.server.abandon(&waiting.ticket);
            }
        };
        self.shared.figures.record(if receipt.repeated { "repeated" } else { "kept" });
        self.charge(p, &receipt);
        // A gateway that was deleted meanwhile has no secret to be answered with.
        let Some(client) = p.client_by(waiting.client, waiting.path.tls()) else { return };
        if let Some(octets) = partners {
            // Its answer is the NAS's.
            let (Ok(packet), Some(desk)) = (Packet::decode(&octets), &self.desk) else { return };
            return self.front.forward(client, &packet, waiting, desk);
        }
        let (server, entropy) = (&mut self.front.server, &mut self.entropy);
        let (ticket, code) = (&waiting.ticket, Code::AccountingResponse);
        let answer = (code, replies.reserve_late(&waiting.path));
        let nothing = |_: &mut Builder<'_>| Ok::<_, EncodeError>(());
        if let Err(error) = server.draft(ticket, &client.secret, answer, entropy, nothing) {
            self.shared.figures.dropped("unanswerable");
            tracing::error!(gateway = %client.gateway.name, %error, "a record could not be answered");
            self.front.server.abandon(ticket);
        }
    }

    /// Handles a datagram of a client of ours.
    fn take<'d>(
        &mut self,
        p: &Projection,
        datagram: &Datagram<'d>,
        arrived: Arrived<'_, 'd>,
        replies: &mut Replies,
    ) {
        let Some(asks) = self.front.request(arrived, datagram, replies) else { return };
        let Asks { client, packet, ticket, .. } = asks;
        match self.keep(p, client, &packet, datagram.source.ip()) {
            Ok(number) => {
                let partners = self.front.is_partners(&packet);
                let relayed = partners.then(|| datagram.bytes.to_vec());
                let (client, path) = (client.gateway.id, datagram.path());
                self.waiting.insert(number, (Waiting { ticket, client, path }, relayed));
                *self.of_client.entry(client).or_default() += 1;
            }
            // RFC 2866 2: what is not kept is not answered.
            Err(error) => {
                tracing::warn!(gateway = %client.gateway.name, error, "a record that is not kept");
                self.front.server.abandon(&ticket);
            }
        }
    }
}

/// What a client is called in the ledger: by its number, for names change, and a session whose
/// NAS is called otherwise is another session.
pub(crate) fn known_as(client: GatewayId) -> Name {
    let name = format!("gateway-{client}").parse();
    name.unwrap_or_else(|_| unreachable!("a word and a number are a name"))
}

/// Which client is called so.
pub(crate) fn client_of(name: &Name) -> Option<GatewayId> {
    name.as_str().strip_prefix("gateway-")?.parse().ok().map(GatewayId)
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
        self.handle_all(std::slice::from_ref(datagram), replies);
    }

    fn handle_all(&mut self, batch: &[Datagram<'_>], replies: &mut Replies) {
        let projection = Arc::clone(&self.shared.projection);
        // A change of the records waits for no more than these.
        for batch in batch.chunks(TOGETHER) {
            let p = projection.read().unwrap_or_else(PoisonError::into_inner);
            for (datagram, arrived) in batch.iter().zip(self.front.open(&p, batch)) {
                if let Some(arrived) = arrived {
                    self.take(&p, datagram, arrived, replies);
                }
            }
        }
    }

    fn woken(&mut self, replies: &mut Replies) {
        let done = self.desk.as_ref().map(|desk| desk.take()).unwrap_or_default();
        let projection = Arc::clone(&self.shared.projection);
        let p = projection.read().unwrap_or_else(PoisonError::into_inner);
        for (number, done) in done {
            match done {
                Done::Kept(receipt) => self.kept(&p, number, *receipt, replies),
                Done::Relayed(relayed) => {
                    self.front.relayed(&p, number, &relayed, &mut self.entropy, replies);
                }
                Done::Checked(_) | Done::Spent(_) => {}
            }
        }
    }

    fn finish(&mut self, replies: &mut Replies) {
        self.front.finish(replies);
    }
}
