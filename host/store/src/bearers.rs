//! Which address is whose on the cellular side, kept for the portal's next start.
//!
//! Nobody else reads it, so it makes no outbox entries.

use async_trait::async_trait;
use homeward_model::{Apn, Imei, Imsi, Msisdn, UnixTime};
use ipnet::IpNet;

use crate::error::Result;

/// A bearer: an address that a packet gateway gave to a subscriber.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredBearer {
    /// Which packet gateway, by the name it goes by in the portal's configuration.
    pub gateway: String,
    /// By which access point name, where that is known.
    pub apn: Option<Apn>,
    /// The address or the prefix.
    pub address: IpNet,
    /// Whose it is.
    pub imsi: Imsi,
    /// With which equipment.
    pub imei: Option<Imei>,
    /// Under which telephone number.
    pub msisdn: Option<Msisdn>,
    /// The gateway's name for the session.
    pub session: String,
    /// Since when.
    pub since: UnixTime,
    /// When the gateway last spoke of it.
    pub seen: UnixTime,
}

/// What became of bearers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BearerChange {
    /// This is there, in place of what had the same gateway, access point name and address.
    Put(StoredBearer),
    /// This is gone.
    Remove {
        /// Which packet gateway.
        gateway: String,
        /// By which access point name.
        apn: Option<Apn>,
        /// The address or the prefix.
        address: IpNet,
    },
    /// All of that packet gateway are gone.
    Clear {
        /// Which packet gateway.
        gateway: String,
    },
}

/// Bearers.
#[async_trait]
pub trait Bearers: Send + Sync {
    /// Carries out changes, one after the other, in one transaction.
    async fn apply_bearers(&self, changes: &[BearerChange]) -> Result<()>;
    /// All bearers, in the order of gateway, access point name (none first) and address.
    async fn bearers(&self) -> Result<Vec<StoredBearer>>;
}
