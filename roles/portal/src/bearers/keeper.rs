//! Stores what becomes of bearers, all that waits in one transaction.

use std::net::IpAddr;
use std::sync::Arc;

use homeward_bearer::{Bearer, Change};
use homeward_store::{BearerChange, Bearers as Kept, StoredBearer};
use ipnet::IpNet;
use tokio::sync::mpsc::UnboundedReceiver;

use super::Shared;
use super::listener::{Desk, Order};

/// The most reports of a transaction: other writers wait as long as it takes.
const MOST: usize = 256;

/// Stores what is handed in until nobody is left who could.
///
/// Where that fails, the reports are not answered, and come again; but what they changed, they have
/// changed, and may change nothing the next time. So the next transaction stores all there is.
pub(super) async fn run(
    mut orders: UnboundedReceiver<Order>,
    desk: Arc<Desk>,
    shared: Arc<Shared>,
    store: Arc<dyn Kept>,
) {
    let mut waiting = Vec::with_capacity(MOST);
    let mut all = false;
    while orders.recv_many(&mut waiting, MOST).await > 0 {
        let mut changes: Vec<BearerChange> = Vec::new();
        if all {
            changes = everything(&shared);
        }
        let mut numbers = Vec::with_capacity(waiting.len());
        for order in waiting.drain(..) {
            numbers.extend(order.number);
            changes.extend(order.changes.into_iter().map(stored));
        }
        let stored = match &changes[..] {
            [] => Ok(()),
            changes => store.apply_bearers(changes).await,
        };
        if let Err(error) = &stored {
            let chain = format!("{error:#}");
            tracing::error!(error = chain, "bearers not stored: their reports are not answered");
        }
        all = stored.is_err();
        desk.put(numbers.into_iter().map(|number| (number, !all)));
    }
}

/// All bearers, in place of all that is stored. What waits to be stored may be in it already: to
/// carry that out once more changes nothing in the end.
fn everything(shared: &Shared) -> Vec<BearerChange> {
    let table = shared.read();
    let gateways = shared.gateways.load();
    let mut changes = Vec::with_capacity(table.len() + gateways.len());
    for name in gateways.iter().map(|gateway| &gateway.source.gateway) {
        changes.push(BearerChange::Clear { gateway: name.as_str().to_owned() });
        changes.extend(table.bearers_of(name).cloned().map(|b| stored(Change::Put(b))));
    }
    changes
}

fn stored(change: Change) -> BearerChange {
    match change {
        Change::Put(bearer) => BearerChange::Put(StoredBearer {
            gateway: bearer.gateway.into(),
            apn: bearer.apn,
            address: bearer.address,
            imsi: bearer.imsi,
            imei: bearer.imei,
            msisdn: bearer.msisdn,
            session: bearer.session,
            since: bearer.since,
            seen: bearer.seen,
        }),
        Change::Removed(bearer) => BearerChange::Remove {
            gateway: bearer.gateway.into(),
            apn: bearer.apn,
            address: bearer.address,
        },
        Change::Cleared { gateway } => BearerChange::Clear { gateway: gateway.into() },
    }
}

/// What was stored, as it was; `None` if its gateway's name is none, or its address no host's.
pub(super) fn loaded(stored: StoredBearer) -> Option<Bearer> {
    let whole = match stored.address {
        IpNet::V4(net) => IpNet::from(IpAddr::V4(net.addr())) == stored.address,
        IpNet::V6(_) => true,
    };
    Some(Bearer {
        gateway: stored.gateway.parse().ok().filter(|_| whole)?,
        apn: stored.apn,
        address: stored.address,
        imsi: stored.imsi,
        imei: stored.imei,
        msisdn: stored.msisdn,
        session: stored.session,
        since: stored.since,
        seen: stored.seen,
    })
}
