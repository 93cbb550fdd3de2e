//! The limits and times of a [`Proxy`](crate::Proxy).

use std::collections::BTreeSet;
use std::time::Duration;

use crate::NameError;

/// The limits and times of a [`Proxy`](crate::Proxy). [`Settings::default`] is fit for use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Whether `home!user@here`, where `here` is a local realm, is sent on to `home` as
    /// `user@home` (RFC 4282 2.7). No unless set: RFC 7542 3.3.1 counts it among historical
    /// practices, and it lets users choose where they are asked about.
    pub decorated: bool,
    /// A request with so many Proxy-States, or more, goes round in circles. 8 unless set.
    pub hop_limit: usize,
    /// The most requests outstanding at all servers together. 16,384 unless set.
    pub outstanding: usize,
    /// The most requests of one client outstanding. 4,096 unless set.
    pub per_client: usize,
    /// How long after it came a request is given up. 30 s unless set: as long as RFC 5080 2.2.1
    /// has a NAS wait.
    pub give_up: Duration,
    /// The most servers that are asked about one request. 3 unless set.
    pub servers: usize,
    /// A NAS's repetitions are passed on no faster than this. 500 ms unless set.
    pub repeat_gap: Duration,
    /// For how many EAP conversations it is remembered which server they are with. 65,536 unless
    /// set.
    pub conversations: usize,
    /// How long that is remembered after a challenge. 60 s unless set.
    pub conversation: Duration,
    /// Operator-Name (RFC 5580 4.1), which is put into requests that have none.
    pub operator: Option<OperatorName>,
    /// Vendors' attributes (vendor, type) that are hidden as MS-MPPE-Send-Key is, besides that
    /// and MS-MPPE-Recv-Key. None unless set.
    pub salted: BTreeSet<(u32, u8)>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            decorated: false,
            hop_limit: 8,
            outstanding: 16_384,
            per_client: 4096,
            give_up: Duration::from_secs(30),
            servers: 3,
            repeat_gap: Duration::from_millis(500),
            conversations: 65_536,
            conversation: Duration::from_secs(60),
            operator: None,
            salted: BTreeSet::new(),
        }
    }
}

/// Who operates this network, as Operator-Name says it (RFC 5580 4.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OperatorName(String);

impl OperatorName {
    /// The operator with that realm (namespace `1`).
    ///
    /// # Errors
    /// If it is no realm.
    pub fn realm(realm: &str) -> Result<Self, NameError> {
        Ok(Self(format!("1{}", crate::nai::canonical(realm)?)))
    }

    /// The attribute's value.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}
