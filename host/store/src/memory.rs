//! The in-memory twin: the same semantics as a database, nothing on disk, nothing sealed.
//!
//! For tests, simulations and benchmarks. The contract suite holds it to what the databases do.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use homeward_model::{
    Account, AccountId, ClassOfService, Clock, Device, DeviceId, Gateway, Login, LoginId, Mac, Nai,
    Name, Network, NetworkId, RoamingRecord, Ssid, UnixTime,
};
use tokio::sync::watch;

use crate::audit::{Actor, AuditEntry, Note};
use crate::change::Page;
use crate::error::{Entity, Error, Result};
use crate::outbox::{Operation, OutboxEntry, OutboxRecord, Seq};
use crate::store::{Keys, Outbox, Roaming, Rotation, Scope};

mod account;
mod audit;
mod bearers;
mod class;
mod device;
mod enrolment;
mod gateway;
mod issuing;
mod login;
mod moves;
mod network;
mod policy;
mod subscriber;

/// A datastore in memory.
pub struct MemoryStore {
    shared: Arc<Shared>,
    actor: Option<Actor>,
}

/// What all handles of a datastore have in common.
struct Shared {
    state: Mutex<State>,
    head: watch::Sender<Seq>,
    clock: Arc<dyn Clock>,
}

impl fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryStore")
            .field("head", &*self.shared.head.borrow())
            .finish_non_exhaustive()
    }
}

impl MemoryStore {
    /// An empty datastore; `clock` dates the outbox.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        let head = watch::Sender::new(Seq::ZERO);
        let shared = Shared { state: Mutex::default(), head, clock };
        Self { shared: Arc::new(shared), actor: None }
    }

    /// The same datastore, in which `actor` does what is done through the new handle: see
    /// [`audit`](crate::audit).
    pub fn with_actor(&self, actor: Actor) -> Self {
        Self { shared: Arc::clone(&self.shared), actor: Some(actor) }
    }

    fn read(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs one transaction. A `work` that fails must not have changed anything yet.
    fn write<T>(&self, work: impl FnOnce(&mut Writer<'_>) -> Result<T>) -> Result<T> {
        let mut state = self.read();
        let now = self.shared.clock.unix();
        let mut writer = Writer { state: &mut state, now, actor: self.actor.as_ref() };
        let done = work(&mut writer)?;
        let head = state.head();
        // Under the lock, so that heads are told in order.
        self.shared.head.send_if_modified(|told| std::mem::replace(told, head) != head);
        Ok(done)
    }
}

#[derive(Default)]
struct State {
    classes: Table<ClassOfService>,
    accounts: Table<Account>,
    gateways: Table<Gateway>,
    networks: Table<Network>,
    devices: Table<Device>,
    logins: Table<Login>,
    /// What a database has unique indices for, where a scan would make loading quadratic.
    account_names: BTreeMap<Name, AccountId>,
    login_names: BTreeMap<Nai, LoginId>,
    account_ssids: BTreeMap<(AccountId, Ssid), NetworkId>,
    device_macs: BTreeMap<(Mac, NetworkId), DeviceId>,
    network_devices: BTreeSet<(NetworkId, DeviceId)>,
    enrolment: enrolment::Tables,
    moves: moves::Table,
    subscribers: subscriber::Tables,
    policies: policy::Tables,
    issued: issuing::Tables,
    bearers: bearers::Tables,
    audit: Vec<AuditEntry>,
    /// How many entries the trail has had, those that are forgotten among them.
    audited: i64,
    outbox: BTreeMap<Seq, OutboxEntry>,
    last: Seq,
    pruned: Seq,
}

impl State {
    const fn head(&self) -> Seq {
        self.last
    }

    fn devices_of(&self, network: NetworkId) -> impl Iterator<Item = &Device> {
        self.network_devices
            .range((network, DeviceId(i64::MIN))..=(network, DeviceId(i64::MAX)))
            .filter_map(|(_, id)| self.devices.get(id.0))
    }

    /// The gateways that are hybrid devices of a network.
    fn hybrid_of(&self, network: NetworkId) -> impl Iterator<Item = &Gateway> {
        self.gateways.values().filter(move |gateway| gateway.device_of == Some(network))
    }

    fn networks_of(&self, account: AccountId) -> Vec<NetworkId> {
        let mut ids: Vec<NetworkId> = self
            .account_ssids
            .iter()
            .filter_map(|((a, _), id)| (*a == account).then_some(*id))
            .collect();
        ids.sort_unstable();
        ids
    }

    fn logins_of(&self, account: AccountId) -> Vec<LoginId> {
        self.logins.values().filter(|l| l.account == account).map(|l| l.id).collect()
    }

    /// Devices with that MAC address, in the order of their identifiers.
    fn devices_with(&self, mac: Mac) -> Vec<&Device> {
        let mut found: Vec<&Device> = self
            .device_macs
            .range((mac, NetworkId(i64::MIN))..=(mac, NetworkId(i64::MAX)))
            .filter_map(|(_, id)| self.devices.get(id.0))
            .collect();
        found.sort_unstable_by_key(|d| d.id);
        found
    }

    /// Joins a device to all that a look-up needs.
    fn join(&self, device: &Device) -> Option<RoamingRecord> {
        let network = self.networks.get(device.network.0)?;
        let account = self.accounts.get(network.account.0)?;
        let home = network.gateway.and_then(|id| self.gateways.get(id.0));
        Some(RoamingRecord {
            device: device.clone(),
            network: network.clone(),
            account: account.clone(),
            class: self.classes.get(account.class.0)?.clone(),
            home: home.cloned(),
        })
    }
}

/// Records by identifier, and the identifier to give next.
struct Table<R> {
    rows: BTreeMap<i64, R>,
    last: i64,
}

impl<R> Default for Table<R> {
    fn default() -> Self {
        Self { rows: BTreeMap::new(), last: 0 }
    }
}

impl<R: Clone> Table<R> {
    fn get(&self, id: i64) -> Option<&R> {
        self.rows.get(&id)
    }

    fn need(&self, entity: Entity, id: i64) -> Result<&R> {
        self.get(id).ok_or(Error::no_such(entity, id))
    }

    fn next(&mut self) -> i64 {
        self.last += 1;
        self.last
    }

    fn values(&self) -> impl Iterator<Item = &R> {
        self.rows.values()
    }

    fn page(&self, after: Option<i64>, limit: u32, pass: impl Fn(&R) -> bool) -> Vec<R> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let rows = self.rows.range((from, Bound::Unbounded)).map(|(_, row)| row);
        rows.filter(|row| pass(row)).take(limit as usize).cloned().collect()
    }
}

struct Writer<'a> {
    state: &'a mut State,
    now: UnixTime,
    actor: Option<&'a Actor>,
}

impl Writer<'_> {
    /// Notes that a record was made.
    fn created(&mut self, record: OutboxRecord) {
        self.note(Note::of(Operation::Create, None, Some(&record), None));
        self.log(Operation::Create, record);
    }

    /// Notes that a record was changed; `secret` is the name of one that was replaced.
    fn updated(&mut self, before: OutboxRecord, after: OutboxRecord, secret: Option<&'static str>) {
        self.note(Note::of(Operation::Update, Some(&before), Some(&after), secret));
        self.log(Operation::Update, after);
    }

    /// Notes that a record was deleted.
    fn deleted(&mut self, record: OutboxRecord) {
        self.note(Note::of(Operation::Delete, Some(&record), None, None));
        self.log(Operation::Delete, record);
    }

    /// Notes that something that hangs on a record was changed, for those who follow.
    fn touched(&mut self, record: OutboxRecord) {
        self.log(Operation::Update, record);
    }

    /// Writes into the audit trail, if somebody does this.
    fn note(&mut self, note: Result<Option<Note>>) {
        let (Some(actor), Ok(Some(note))) = (self.actor, note) else { return };
        let Note { kind, record, operation, before, after } = note;
        self.state.audited += 1;
        let (seq, time) = (Seq(self.state.audited), self.now);
        let actor = actor.clone();
        let entry = AuditEntry { seq, time, actor, kind, record, operation, before, after };
        self.state.audit.push(entry);
    }

    /// How much is written, for [`unwrite`](Self::unwrite).
    fn mark(&self) -> (Seq, i64) {
        (self.state.last, self.state.audited)
    }

    /// Takes back what was written since the mark.
    fn unwrite(&mut self, (head, audited): (Seq, i64)) {
        self.state.outbox.retain(|seq, _| *seq <= head);
        self.state.last = head;
        self.state.audit.retain(|entry| entry.seq <= Seq(audited));
        self.state.audited = audited;
    }

    fn log(&mut self, operation: Operation, record: OutboxRecord) {
        self.state.last = Seq(self.state.last.0 + 1);
        let seq = self.state.last;
        self.state.outbox.insert(seq, OutboxEntry { seq, operation, record, time: self.now });
    }
}

#[async_trait]
impl Roaming for MemoryStore {
    async fn roaming_record(&self, mac: Mac, ssid: Ssid) -> Result<Vec<RoamingRecord>> {
        let state = self.read();
        let joined = state.devices_with(mac).into_iter().filter_map(|d| state.join(d));
        Ok(joined.filter(|r| r.network.ssid == ssid).collect())
    }

    async fn roaming_records(
        &self,
        scope: Scope,
        page: Page<DeviceId>,
    ) -> Result<Vec<RoamingRecord>> {
        let state = self.read();
        let from = page.after.map_or(Bound::Unbounded, |id| Bound::Excluded(id.0));
        let devices = state.devices.rows.range((from, Bound::Unbounded)).map(|(_, d)| d);
        let joined = devices.filter_map(|d| state.join(d)).filter(|r| match scope {
            Scope::All => true,
            Scope::Class(id) => r.class.id == id,
            Scope::Account(id) => r.account.id == id,
            Scope::Gateway(id) => r.network.gateway == Some(id),
            Scope::Network(id) => r.network.id == id,
            Scope::Device(id) => r.device.id == id,
        });
        Ok(joined.take(page.limit as usize).collect())
    }
}

#[async_trait]
impl Outbox for MemoryStore {
    async fn outbox_after(&self, after: Seq, limit: u32) -> Result<Vec<OutboxEntry>> {
        let state = self.read();
        if after < state.pruned {
            return Err(Error::OutboxPruned { after, pruned: state.pruned });
        }
        let rows = state.outbox.range((Bound::Excluded(after), Bound::Unbounded));
        Ok(rows.take(limit as usize).map(|(_, entry)| entry.clone()).collect())
    }

    async fn outbox_head(&self) -> Result<Seq> {
        Ok(self.read().head())
    }

    async fn prune_outbox(&self, before: UnixTime) -> Result<u64> {
        let mut state = self.read();
        let kept = state.outbox.values().find(|e| e.time >= before).map(|e| e.seq);
        let kept = kept.unwrap_or(Seq(state.last.0 + 1));
        let left = state.outbox.split_off(&kept);
        let gone = std::mem::replace(&mut state.outbox, left);
        if let Some((newest, _)) = gone.last_key_value() {
            state.pruned = *newest;
        }
        Ok(gone.len() as u64)
    }

    async fn changed(&self, after: Seq) -> Result<Seq> {
        let mut told = self.shared.head.subscribe();
        let head = told.wait_for(|head| *head > after).await;
        // The sender lives as long as `self`.
        Ok(head.map_or(after, |head| *head))
    }
}

#[async_trait]
impl Keys for MemoryStore {
    async fn rotate_keys(&self) -> Result<Rotation> {
        Ok(Rotation { key: None, resealed: 0 })
    }
}
