//! What the controller is to know of a network.

use std::collections::BTreeSet;

use homeward_control::Terms;
use homeward_control::controller::NetworkFacts;
use homeward_model::{AccountId, ClassId, NetworkId, Status};
use homeward_store::{DeviceFilter, Page, Result, Store};

/// Devices read at a time.
const PAGE: u32 = 1000;

/// A network's facts, and which other records they are made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    /// The facts.
    pub facts: NetworkFacts,
    /// Whose network it is.
    pub account: AccountId,
    /// What the account pays for.
    pub class: ClassId,
}

/// Reads a network; `None` if there is no such.
///
/// The reads are not one transaction: what changes in between is in the outbox, and the network is
/// read again.
///
/// # Errors
///
/// If the store fails.
pub async fn read(store: &dyn Store, id: NetworkId) -> Result<Option<Known>> {
    let Some(network) = store.network(id).await? else { return Ok(None) };
    let Some(account) = store.account(network.account).await? else { return Ok(None) };
    let Some(class) = store.class(account.class).await? else { return Ok(None) };
    let filter =
        DeviceFilter { network: Some(id), status: Some(Status::Active), ..DeviceFilter::default() };
    let (mut devices, mut after) = (BTreeSet::new(), None);
    loop {
        let page = store.devices(&filter, Page { after, limit: PAGE }).await?;
        after = page.last().map(|device| device.id);
        let full = page.len() >= PAGE as usize;
        devices.extend(page.into_iter().map(|device| device.mac));
        if !full {
            break;
        }
    }
    let terms = &class.terms;
    let facts = NetworkFacts {
        network: id,
        ssid: network.ssid,
        home: network.gateway,
        encryption: terms.encryption,
        terms: Terms {
            priority: terms.priority,
            bandwidth: terms.bandwidth,
            bonding: terms.bonding,
            handoff_threshold: terms.handoff_threshold,
        },
        devices,
        active: network.status == Status::Active && account.status == Status::Active,
        anchor: terms.anchor,
    };
    Ok(Some(Known { facts, account: account.id, class: class.id }))
}
