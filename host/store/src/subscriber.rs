//! Subscribers of the cellular network: what is asked for, and what is done.
//!
//! What was issued to a subscriber is withdrawn, in the same transaction, when it is suspended or
//! deleted and when its SIM or its account changes: it would be somebody else's, or nobody's.

use async_trait::async_trait;
use homeward_model::{AccountId, Imsi, Msisdn, Status, Subscriber, SubscriberId};

use crate::change::{Page, changes, set};
use crate::error::{Error, Result};

/// A subscriber to create.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewSubscriber {
    /// Its SIM, unique.
    pub imsi: Imsi,
    /// Its telephone number, unique, where it is known.
    pub msisdn: Option<Msisdn>,
    /// Who pays.
    pub account: AccountId,
    /// What the operator calls it: at most 128 characters, none of them a control character.
    pub label: String,
    /// Whether it is in force.
    pub status: Status,
}

impl NewSubscriber {
    pub(crate) fn record(&self, id: SubscriberId) -> Subscriber {
        let Self { imsi, msisdn, account, label, status } = self.clone();
        Subscriber { id, imsi, msisdn, account, label, status }
    }
}

/// What to change in a subscriber; `None` leaves the field as it is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SubscriberChange {
    /// Its SIM.
    pub imsi: Option<Imsi>,
    /// Its telephone number; `Some(None)`: none is known.
    pub msisdn: Option<Option<Msisdn>>,
    /// Who pays.
    pub account: Option<AccountId>,
    /// What it is called.
    pub label: Option<String>,
    /// Whether it is in force.
    pub status: Option<Status>,
}

changes!(SubscriberChange);

impl SubscriberChange {
    pub(crate) fn apply(&self, subscriber: &mut Subscriber) {
        set!(subscriber, self: imsi, msisdn, account, label, status);
    }
}

/// Whether what was issued before such a change is to be withdrawn.
pub(crate) fn ends_issued(before: &Subscriber, after: &Subscriber) -> bool {
    before.imsi != after.imsi
        || before.account != after.account
        || (before.status, after.status) == (Status::Active, Status::Suspended)
}

/// Which subscribers to list.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SubscriberFilter {
    /// Those of this account.
    pub account: Option<AccountId>,
    /// Those of this status.
    pub status: Option<Status>,
}

/// Subscribers of the cellular network.
#[async_trait]
pub trait Subscribers: Send + Sync {
    /// Creates a subscriber; its account must exist, its IMSI and its number be free.
    async fn create_subscriber(&self, new: &NewSubscriber) -> Result<Subscriber>;
    /// Creates many in one transaction, as
    /// [`Devices::create_devices`](crate::Devices::create_devices) does devices.
    async fn create_subscribers(&self, new: &[NewSubscriber]) -> Result<Vec<Subscriber>>;
    /// Changes a subscriber.
    async fn update_subscriber(
        &self,
        id: SubscriberId,
        change: &SubscriberChange,
    ) -> Result<Subscriber>;
    /// The subscriber with that identifier.
    async fn subscriber(&self, id: SubscriberId) -> Result<Option<Subscriber>>;
    /// The subscriber with that SIM.
    async fn subscriber_with_imsi(&self, imsi: Imsi) -> Result<Option<Subscriber>>;
    /// The subscriber with that telephone number.
    async fn subscriber_with_msisdn(&self, msisdn: Msisdn) -> Result<Option<Subscriber>>;
    /// Subscribers that pass the filter, in the order of their identifiers.
    async fn subscribers(
        &self,
        filter: &SubscriberFilter,
        page: Page<SubscriberId>,
    ) -> Result<Vec<Subscriber>>;
    /// Deletes a subscriber, and what was issued to it.
    async fn delete_subscriber(&self, id: SubscriberId) -> Result<bool>;

    /// [`subscriber_with_imsi`](Self::subscriber_with_imsi) for a command that cannot go on
    /// without it.
    async fn require_subscriber(&self, imsi: Imsi) -> Result<Subscriber> {
        self.subscriber_with_imsi(imsi).await?.ok_or(Error::NoSubscriber(imsi))
    }
}
