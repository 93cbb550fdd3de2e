//! Keeps the projection as the store is: loads it, then follows the outbox.

use std::collections::BTreeSet;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use anyhow::Context;
use homeward_daemon::{Shutdown, SystemClock};
use homeward_model::{AccountId, ClassId, Clock, DeviceId, GatewayId, LoginId, NetworkId};
use homeward_store::{
    AccountFilter, DeviceFilter, Error, GatewayFilter, LoginFilter, NetworkFilter, OutboxEntry,
    OutboxRecord, Page, Seq, Store,
};

use crate::changes::Before;
use crate::decoys::Decoys;
use crate::projection::{Counts, Projection};

/// Records read at a time while loading.
const PAGE: u32 = 10_000;
/// Outbox entries applied at a time.
const BATCH: u32 = 1_000;
/// The pause after the store failed.
const PAUSE: Duration = Duration::from_millis(500);

/// Follows the store for the life of the role.
pub struct Watch {
    store: Arc<dyn Store>,
    decoys: Decoys,
    projection: Arc<RwLock<Projection>>,
    at: Seq,
}

/// One record that changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Touched {
    Class(ClassId),
    Account(AccountId),
    Gateway(GatewayId),
    Network(NetworkId),
    Device(DeviceId),
    Login(LoginId),
}

impl Touched {
    /// What an entry touches, if that is anything of this role's.
    fn by(entry: &OutboxEntry) -> Option<Self> {
        Some(match &entry.record {
            OutboxRecord::Class(r) => Self::Class(r.id),
            OutboxRecord::Account(r) => Self::Account(r.id),
            OutboxRecord::Gateway(r) => Self::Gateway(r.id),
            OutboxRecord::Network(r) => Self::Network(r.id),
            OutboxRecord::Device(r) => Self::Device(r.id),
            OutboxRecord::Login(r) => Self::Login(r.id),
            OutboxRecord::Subscriber(_) | OutboxRecord::Policy(_) => return None,
        })
    }
}

/// What a record is now: a change to carry out on the projection.
type Fresh = Box<dyn FnOnce(&mut Projection) + Send>;

impl Watch {
    /// Loads the hot records into memory.
    ///
    /// # Errors
    ///
    /// If the store cannot be read, or a sealed value does not open.
    pub async fn load(store: Arc<dyn Store>, decoys: Decoys) -> anyhow::Result<Self> {
        let (projection, at) =
            load(&*store, decoys.clone()).await.context("cannot load the roaming records")?;
        Ok(Self { store, decoys, projection: Arc::new(RwLock::new(projection)), at })
    }

    /// The projection, to read from.
    pub fn projection(&self) -> Arc<RwLock<Projection>> {
        Arc::clone(&self.projection)
    }

    /// How much is loaded.
    pub fn counts(&self) -> Counts {
        self.projection.read().unwrap_or_else(PoisonError::into_inner).counts()
    }

    /// Follows the outbox until shutdown; calls `changed` after each batch has been applied, with
    /// what was said before. A store that fails is asked again; what is in memory stays good
    /// meanwhile.
    pub async fn follow(
        mut self,
        shutdown: Shutdown,
        mut changed: impl FnMut(&Projection, &Before),
    ) {
        let mut failing = false;
        loop {
            let outcome = tokio::select! {
                () = shutdown.requested() => return,
                outcome = self.step() => outcome,
            };
            match outcome {
                Ok(before) => {
                    if std::mem::take(&mut failing) {
                        tracing::info!("the store answers again");
                    }
                    let projection = self.projection.read().unwrap_or_else(PoisonError::into_inner);
                    changed(&projection, &before);
                }
                Err(error) => {
                    if !std::mem::replace(&mut failing, true) {
                        tracing::error!(
                            error = format!("{error:#}"),
                            "the store fails; answering from memory"
                        );
                    }
                    let later = SystemClock.now() + PAUSE;
                    tokio::select! {
                        () = shutdown.requested() => return,
                        () = SystemClock.until(Some(later)) => {}
                    }
                }
            }
        }
    }

    /// Waits for a change and applies it; what was said before.
    async fn step(&mut self) -> anyhow::Result<Before> {
        self.store.changed(self.at).await?;
        let entries = match self.store.outbox_after(self.at, BATCH).await {
            Err(Error::OutboxPruned { .. }) => {
                tracing::warn!("the outbox was pruned beyond what was read; loading anew");
                let (projection, at) = load(&*self.store, self.decoys.clone()).await?;
                let mut now = self.projection.write().unwrap_or_else(PoisonError::into_inner);
                let before = std::mem::replace(&mut *now, projection);
                self.at = at;
                return Ok(Before::whole(before));
            }
            entries => entries?,
        };
        let Some(last) = entries.last().map(|e| e.seq) else {
            return Ok(Before::default());
        };
        let before = self.apply(&entries).await?;
        tracing::debug!(entries = entries.len(), seq = %last, "applied changes of the store");
        self.at = last;
        Ok(before)
    }

    /// Reads each record that the entries touch once, as it is now, and puts it in place.
    async fn apply(&self, entries: &[OutboxEntry]) -> anyhow::Result<Before> {
        let touched: BTreeSet<Touched> = entries.iter().filter_map(Touched::by).collect();
        let mut fresh: Vec<Fresh> = Vec::with_capacity(touched.len());
        for record in &touched {
            fresh.push(self.read(*record).await?);
        }
        let mut before = Before::default();
        let mut projection = self.projection.write().unwrap_or_else(PoisonError::into_inner);
        for record in touched {
            match record {
                Touched::Class(id) => before.class(&projection, id),
                Touched::Account(id) => before.account(&projection, id),
                Touched::Login(id) => before.login(&projection, id),
                Touched::Gateway(_) | Touched::Network(_) | Touched::Device(_) => {}
            }
        }
        for put in fresh {
            put(&mut projection);
        }
        before.changed(&projection);
        Ok(before)
    }

    async fn read(&self, record: Touched) -> anyhow::Result<Fresh> {
        let s = &*self.store;
        Ok(match record {
            Touched::Class(id) => match s.class(id).await? {
                Some(class) => Box::new(move |p| p.put_class(class)),
                None => Box::new(move |p| p.remove_class(id)),
            },
            Touched::Account(id) => match s.account(id).await? {
                Some(account) => Box::new(move |p| p.put_account(account)),
                None => Box::new(move |p| p.remove_account(id)),
            },
            Touched::Gateway(id) => match s.gateway(id).await? {
                Some(gateway) => Box::new(move |p| p.put_gateway(gateway)),
                None => Box::new(move |p| p.remove_gateway(id)),
            },
            Touched::Network(id) => match s.network(id).await? {
                Some(network) => Box::new(move |p| p.put_network(network)),
                None => Box::new(move |p| p.remove_network(id)),
            },
            Touched::Device(id) => match s.device(id).await? {
                Some(device) => Box::new(move |p| p.put_device(device)),
                None => Box::new(move |p| p.remove_device(id)),
            },
            Touched::Login(id) => match s.login(id).await? {
                Some(login) => Box::new(move |p| p.put_login(login)),
                None => Box::new(move |p| p.remove_login(id)),
            },
        })
    }
}

/// Loads everything. The head is read first: what changes meanwhile is applied twice, which does
/// no harm.
async fn load(store: &dyn Store, decoys: Decoys) -> anyhow::Result<(Projection, Seq)> {
    let at = store.outbox_head().await?;
    let mut p = Projection::new(decoys);
    /// Reads all pages of one kind of record.
    macro_rules! all {
        ($read:expr, $put:expr) => {{
            let mut after = None;
            loop {
                let page = $read(Page { after, limit: PAGE }).await?;
                let full = page.len() as u64 >= u64::from(PAGE);
                after = page.last().map(|record| record.id);
                page.into_iter().for_each(|record| $put(record));
                if !full {
                    break;
                }
            }
        }};
    }
    let (accounts, gateways, networks, devices, logins) = (
        AccountFilter::default(),
        GatewayFilter::default(),
        NetworkFilter::default(),
        DeviceFilter::default(),
        LoginFilter::default(),
    );
    all!(|page| store.classes(page), |r| p.put_class(r));
    all!(|page| store.accounts(&accounts, page), |r| p.put_account(r));
    all!(|page| store.gateways(&gateways, page), |r| p.put_gateway(r));
    all!(|page| store.networks(&networks, page), |r| p.put_network(r));
    all!(|page| store.devices(&devices, page), |r| p.put_device(r));
    all!(|page| store.logins(&logins, page), |r| p.put_login(r));
    Ok((p, at))
}

#[cfg(test)]
mod tests {
    use homeward_model::{Coverage, Secret, ServiceTerms, Status, UnixTime, Uses, Verifier};
    use homeward_store::{
        Accounts, ClassChange, Classes, Logins, MemoryStore, NewAccount, NewClass, NewLogin, Outbox,
    };

    use super::*;
    use crate::password;

    /// A datastore with a password of either kind.
    async fn store() -> Arc<MemoryStore> {
        let store = Arc::new(MemoryStore::new(Arc::new(SystemClock)));
        let class = NewClass {
            name: "standard".parse().unwrap(),
            coverage: Coverage::Local,
            terms: ServiceTerms::default(),
            retention: None,
        };
        let class = store.create_class(&class).await.unwrap().id;
        let name = "smith".parse().unwrap();
        let account = NewAccount { name, class, status: Status::Active };
        let account = store.create_account(&account).await.unwrap().id;
        let slow = Verifier::Argon2id(Secret::new("a hash"));
        for (name, verifier) in [("a", password::machine_made("made")), ("b", slow)] {
            let login = NewLogin {
                account,
                name: name.parse().unwrap(),
                verifier,
                mac: None,
                expires: None,
                uses: Uses::Any,
                label: String::new(),
                status: Status::Active,
            };
            store.create_login(&login).await.unwrap();
        }
        store
    }

    fn slow_ones(projection: &RwLock<Projection>) -> Vec<u32> {
        let p = projection.read().unwrap();
        let is_slow = |n: &u32| p.is_slow(&format!("nobody-{n}@example.net").parse().unwrap());
        (0..200).filter(is_slow).collect()
    }

    #[tokio::test]
    async fn names_that_nobody_has_stay_as_they_are_when_the_records_are_loaded_anew() {
        let store = store().await;
        let load = async |key| Watch::load(store.clone(), Decoys::new(&[key; 32])).await.unwrap();
        let mut watch = load(7).await;
        let before = slow_ones(&watch.projection());
        assert_ne!(before, slow_ones(&load(8).await.projection()), "the key says which are slow");
        let class = store.classes(Page::first(1)).await.unwrap()[0].id;
        let change = ClassChange { coverage: Some(Coverage::National), ..ClassChange::default() };
        store.update_class(class, &change).await.unwrap();
        store.prune_outbox(UnixTime(i64::MAX)).await.unwrap();
        watch.step().await.unwrap();
        assert_eq!(watch.at, store.outbox_head().await.unwrap(), "loaded anew");
        assert_eq!(slow_ones(&watch.projection()), before);
    }
}
