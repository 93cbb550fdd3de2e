//! The two answers to a look-up.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{DeviceKey, NetworkId, Security, ServiceTerms, Ssid};

/// "Serve this device": everything a gateway needs to be home for one device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// The home network; one virtual access point serves all its devices.
    pub network: NetworkId,
    /// The SSID to announce.
    pub ssid: Ssid,
    /// The security to announce.
    pub security: Security,
    /// That device's key and nobody else's.
    pub key: DeviceKey,
    /// What the device is entitled to.
    pub terms: ServiceTerms,
    /// Whether the gateway that asked is this network's own: the device is at home.
    pub at_home: bool,
    /// RADIUS Class (RFC 2865 5.25), to be returned in accounting.
    pub class: Vec<u8>,
}

/// "Do not serve this device", and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The reason, for machines.
    pub reason: RefusalReason,
    /// The reason, for an operator: the Reply-Message.
    pub message: String,
}

/// Why a device is not served.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RefusalReason {
    /// No device has that MAC.
    UnknownDevice,
    /// The device is known, but not at home under that SSID.
    WrongSsid,
    /// The device is suspended.
    DeviceSuspended,
    /// The home network is suspended.
    NetworkSuspended,
    /// The account is suspended.
    AccountSuspended,
    /// The gateway that asked is suspended.
    GatewaySuspended,
    /// The class of service is not valid at the gateway that asked.
    OutsideCoverage,
    /// The network's security cannot be served by look-up (802.1X, or SAE without a password).
    UnsupportedSecurity,
    /// Nothing is left of the quota.
    QuotaSpent,
    /// The question could not be understood.
    BadRequest,
    /// A reason this version does not know.
    Other,
}

impl RefusalReason {
    /// All reasons, with the number each has on the wire (Homeward-Refusal-Reason).
    pub const ALL: [(Self, u32); 11] = [
        (Self::Other, 0),
        (Self::UnknownDevice, 1),
        (Self::WrongSsid, 2),
        (Self::DeviceSuspended, 3),
        (Self::NetworkSuspended, 4),
        (Self::AccountSuspended, 5),
        (Self::GatewaySuspended, 6),
        (Self::OutsideCoverage, 7),
        (Self::UnsupportedSecurity, 8),
        (Self::BadRequest, 9),
        (Self::QuotaSpent, 10),
    ];

    /// The number on the wire.
    pub fn code(self) -> u32 {
        Self::ALL.iter().find(|(r, _)| *r == self).map_or(0, |(_, code)| *code)
    }

    /// The reason with that number; [`Self::Other`] for one from a newer version.
    pub fn from_code(code: u32) -> Self {
        Self::ALL.iter().find(|(_, c)| *c == code).map_or(Self::Other, |(r, _)| *r)
    }

    /// The word for logs, status and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::UnknownDevice => "unknown-device",
            Self::WrongSsid => "wrong-ssid",
            Self::DeviceSuspended => "device-suspended",
            Self::NetworkSuspended => "network-suspended",
            Self::AccountSuspended => "account-suspended",
            Self::GatewaySuspended => "gateway-suspended",
            Self::OutsideCoverage => "outside-coverage",
            Self::UnsupportedSecurity => "unsupported-security",
            Self::QuotaSpent => "quota-spent",
            Self::BadRequest => "bad-request",
            Self::Other => "other",
        }
    }
}

impl fmt::Display for RefusalReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_a_number_and_a_word_of_its_own() {
        for (reason, code) in RefusalReason::ALL {
            assert_eq!(RefusalReason::from_code(code), reason);
            assert_eq!(serde_json::to_value(reason).unwrap(), reason.as_str());
            assert_eq!(
                RefusalReason::ALL.iter().filter(|(r, c)| *c == code || *r == reason).count(),
                1
            );
        }
        assert_eq!(RefusalReason::from_code(999), RefusalReason::Other);
    }
}
