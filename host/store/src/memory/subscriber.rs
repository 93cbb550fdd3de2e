//! Subscribers.

use std::collections::BTreeMap;

use async_trait::async_trait;
use homeward_model::{AccountId, Imsi, Msisdn, Subscriber, SubscriberId};

use super::{MemoryStore, State, Table, Writer, issuing};
use crate::change::Page;
use crate::check;
use crate::error::{Entity, Error, Result};
use crate::outbox::OutboxRecord;
use crate::subscriber::{
    NewSubscriber, SubscriberChange, SubscriberFilter, Subscribers, ends_issued,
};

/// The table and its unique indices.
#[derive(Default)]
pub(super) struct Tables {
    rows: Table<Subscriber>,
    imsis: BTreeMap<Imsi, SubscriberId>,
    msisdns: BTreeMap<Msisdn, SubscriberId>,
}

impl Tables {
    /// Those of an account, in the order of their identifiers.
    pub(super) fn of(&self, account: AccountId) -> Vec<SubscriberId> {
        self.rows.values().filter(|s| s.account == account).map(|s| s.id).collect()
    }

    pub(super) fn with_imsi(&self, imsi: Imsi) -> Option<&Subscriber> {
        self.imsis.get(&imsi).and_then(|id| self.rows.get(id.0))
    }

    fn put(&mut self, subscriber: Subscriber) {
        self.imsis.insert(subscriber.imsi, subscriber.id);
        self.msisdns.extend(subscriber.msisdn.map(|msisdn| (msisdn, subscriber.id)));
        self.rows.rows.insert(subscriber.id.0, subscriber);
    }

    fn take(&mut self, id: SubscriberId) -> Option<Subscriber> {
        let subscriber = self.rows.rows.remove(&id.0)?;
        self.imsis.remove(&subscriber.imsi);
        if let Some(msisdn) = subscriber.msisdn {
            self.msisdns.remove(&msisdn);
        }
        Some(subscriber)
    }
}

#[async_trait]
impl Subscribers for MemoryStore {
    async fn create_subscriber(&self, new: &NewSubscriber) -> Result<Subscriber> {
        self.write(|w| create(w, new))
    }

    async fn create_subscribers(&self, new: &[NewSubscriber]) -> Result<Vec<Subscriber>> {
        self.write(|w| {
            let (last, mark) = (w.state.subscribers.rows.last, w.mark());
            let mut made: Vec<Subscriber> = Vec::with_capacity(new.len());
            for (index, new) in new.iter().enumerate() {
                match create(w, new) {
                    Ok(subscriber) => made.push(subscriber),
                    Err(source) => {
                        for subscriber in &made {
                            w.state.subscribers.take(subscriber.id);
                        }
                        w.state.subscribers.rows.last = last;
                        w.unwrite(mark);
                        return Err(Error::Batch { index, source: Box::new(source) });
                    }
                }
            }
            Ok(made)
        })
    }

    async fn update_subscriber(
        &self,
        id: SubscriberId,
        change: &SubscriberChange,
    ) -> Result<Subscriber> {
        self.write(|w| {
            let old = w.state.subscribers.rows.need(Entity::Subscriber, id.0)?.clone();
            let mut subscriber = old.clone();
            change.apply(&mut subscriber);
            fits(w.state, &subscriber)?;
            if *change == SubscriberChange::default() {
                return Ok(subscriber);
            }
            if ends_issued(&old, &subscriber) {
                issuing::end(w, old.imsi);
            }
            w.state.subscribers.take(id);
            w.state.subscribers.put(subscriber.clone());
            let after = OutboxRecord::Subscriber(subscriber.clone());
            w.updated(OutboxRecord::Subscriber(old), after, None);
            Ok(subscriber)
        })
    }

    async fn subscriber(&self, id: SubscriberId) -> Result<Option<Subscriber>> {
        Ok(self.read().subscribers.rows.get(id.0).cloned())
    }

    async fn subscriber_with_imsi(&self, imsi: Imsi) -> Result<Option<Subscriber>> {
        Ok(self.read().subscribers.with_imsi(imsi).cloned())
    }

    async fn subscriber_with_msisdn(&self, msisdn: Msisdn) -> Result<Option<Subscriber>> {
        let state = self.read();
        let id = state.subscribers.msisdns.get(&msisdn);
        Ok(id.and_then(|id| state.subscribers.rows.get(id.0)).cloned())
    }

    async fn subscribers(
        &self,
        filter: &SubscriberFilter,
        page: Page<SubscriberId>,
    ) -> Result<Vec<Subscriber>> {
        Ok(self.read().subscribers.rows.page(page.after.map(|id| id.0), page.limit, |s| {
            filter.account.is_none_or(|a| a == s.account)
                && filter.status.is_none_or(|status| status == s.status)
        }))
    }

    async fn delete_subscriber(&self, id: SubscriberId) -> Result<bool> {
        self.write(|w| Ok(remove(w, id)))
    }
}

/// Removes a subscriber, and what was issued to it.
pub(super) fn remove(w: &mut Writer<'_>, id: SubscriberId) -> bool {
    let Some(subscriber) = w.state.subscribers.rows.get(id.0).cloned() else { return false };
    issuing::end(w, subscriber.imsi);
    w.state.subscribers.take(id);
    w.deleted(OutboxRecord::Subscriber(subscriber));
    true
}

fn create(w: &mut Writer<'_>, new: &NewSubscriber) -> Result<Subscriber> {
    let subscriber = new.record(SubscriberId(w.state.subscribers.rows.last + 1));
    fits(w.state, &subscriber)?;
    w.state.subscribers.rows.next();
    w.state.subscribers.put(subscriber.clone());
    w.created(OutboxRecord::Subscriber(subscriber.clone()));
    Ok(subscriber)
}

fn fits(state: &State, new: &Subscriber) -> Result<()> {
    check::label(&new.label)?;
    state.accounts.need(Entity::Account, new.account.0)?;
    let tables = &state.subscribers;
    if let Some(by) = tables.imsis.get(&new.imsi).filter(|by| **by != new.id) {
        return Err(Error::ImsiTaken { imsi: new.imsi, by: *by });
    }
    if let Some(msisdn) = new.msisdn
        && let Some(by) = tables.msisdns.get(&msisdn).filter(|by| **by != new.id)
    {
        return Err(Error::MsisdnTaken { msisdn, by: *by });
    }
    Ok(())
}
