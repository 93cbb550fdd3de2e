//! What a session is allowed, in attributes: the same in an Access-Accept and in a CoA-Request.

use homeward_model::service::Seconds;
use homeward_model::{Bandwidth, ServiceTerms, Vlan};

use crate::dictionary::{chillispot, mikrotik, standard, wispr};
use crate::{AttributeList, Builder, EncodeError};

/// Termination-Action "RADIUS-Request": ask anew when Session-Timeout is over (RFC 2865 5.29,
/// RFC 3580 3.19).
const ASK_ANEW: u32 = 1;

/// Tunnel-Type "VLAN" (RFC 3580 3.31), with the tag 0 ahead.
const TUNNEL_VLAN: u32 = 13;

/// Tunnel-Medium-Type "IEEE-802" (RFC 2868 3.2), with the tag 0 ahead.
const MEDIUM_IEEE_802: u32 = 6;

/// What a session is allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Allowed {
    /// What the class of service says.
    pub terms: ServiceTerms,
    /// The most seconds that the session may last, where that is less than the terms say.
    pub at_most: Option<Seconds>,
    /// Octets, both directions together, that are left of the quota; `None` without one.
    pub quota_left: Option<u64>,
}

impl Allowed {
    /// Adds them to what names a session in a CoA-Request. What is `None` stays as it is.
    ///
    /// # Errors
    /// Never: all fit an attribute.
    pub fn push_to(&self, list: &mut AttributeList) -> Result<(), EncodeError> {
        self.write(list)
    }

    /// Writes rates as WISPr has them, times, the VLAN, and what is left of the quota.
    pub(crate) fn write(&self, packet: &mut impl Attributes) -> Result<(), EncodeError> {
        let terms = &self.terms;
        let session = [terms.session_timeout, self.at_most].into_iter().flatten().min();
        write_times(packet, session, terms.idle_timeout, true)?;
        write_rates(packet, terms.bandwidth)?;
        if let Some(vlan) = terms.vlan {
            write_vlan(packet, vlan)?;
        }
        self.quota_left.map_or(Ok(()), |left| write_quota_left(packet, left))
    }
}

/// What attributes can be added to.
pub(crate) trait Attributes {
    /// Adds an attribute.
    fn octets(&mut self, kind: u8, value: &[u8]) -> Result<(), EncodeError>;
    /// Adds a vendor's "integer" attribute.
    fn vendor_integer(&mut self, vendor: u32, kind: u8, value: u32) -> Result<(), EncodeError>;

    /// Adds an "integer" attribute.
    fn integer(&mut self, kind: u8, value: u32) -> Result<(), EncodeError> {
        self.octets(kind, &value.to_be_bytes())
    }
}

impl Attributes for Builder<'_> {
    fn octets(&mut self, kind: u8, value: &[u8]) -> Result<(), EncodeError> {
        Self::octets(self, kind, value)
    }

    fn vendor_integer(&mut self, vendor: u32, kind: u8, value: u32) -> Result<(), EncodeError> {
        self.vendor(vendor, kind, &value.to_be_bytes())
    }
}

impl Attributes for AttributeList {
    fn octets(&mut self, kind: u8, value: &[u8]) -> Result<(), EncodeError> {
        self.push(kind, value)
    }

    fn vendor_integer(&mut self, vendor: u32, kind: u8, value: u32) -> Result<(), EncodeError> {
        self.push_vendor(vendor, kind, &value.to_be_bytes())
    }
}

/// Writes how long a session may last and be idle; `again` has the NAS ask anew when the first is
/// over.
pub(crate) fn write_times(
    packet: &mut impl Attributes,
    session: Option<Seconds>,
    idle: Option<Seconds>,
    again: bool,
) -> Result<(), EncodeError> {
    if let Some(Seconds(seconds)) = session {
        packet.integer(standard::SESSION_TIMEOUT, seconds)?;
        if again {
            packet.integer(standard::TERMINATION_ACTION, ASK_ANEW)?;
        }
    }
    if let Some(Seconds(seconds)) = idle {
        packet.integer(standard::IDLE_TIMEOUT, seconds)?;
    }
    Ok(())
}

/// Writes bit rates, as WISPr has them.
pub(crate) fn write_rates(
    packet: &mut impl Attributes,
    rates: Bandwidth,
) -> Result<(), EncodeError> {
    for (kind, rate) in
        [(wispr::BANDWIDTH_MAX_UP, rates.up), (wispr::BANDWIDTH_MAX_DOWN, rates.down)]
    {
        if let Some(rate) = rate {
            packet.vendor_integer(wispr::VENDOR, kind, rate)?;
        }
    }
    Ok(())
}

/// Writes the VLAN (RFC 3580 3.31). The tag is 0, unused. The number as text goes without that
/// octet, which RFC 2868 3.6 allows, since no digit is a tag: some NASes would read a leading NUL
/// as the end.
fn write_vlan(packet: &mut impl Attributes, vlan: Vlan) -> Result<(), EncodeError> {
    packet.integer(standard::TUNNEL_TYPE, TUNNEL_VLAN)?;
    packet.integer(standard::TUNNEL_MEDIUM_TYPE, MEDIUM_IEEE_802)?;
    packet.octets(standard::TUNNEL_PRIVATE_GROUP_ID, vlan.to_string().as_bytes())
}

/// Writes what is left of a quota. No RFC has that: it goes out as the two that most hotspots
/// know, each in two halves; whoever knows neither ignores them (RFC 2865 5.26).
fn write_quota_left(packet: &mut impl Attributes, left: u64) -> Result<(), EncodeError> {
    // Nothing would be no limit to some. Who has nothing left is not let in anyway.
    let [a, b, c, d, e, f, g, h] = left.max(1).to_be_bytes();
    let (high, low) = (u32::from_be_bytes([a, b, c, d]), u32::from_be_bytes([e, f, g, h]));
    // The higher half even if it is 0: in a CoA-Request it may have been something before.
    packet.vendor_integer(chillispot::VENDOR, chillispot::MAX_TOTAL_OCTETS, low)?;
    packet.vendor_integer(chillispot::VENDOR, chillispot::MAX_TOTAL_GIGAWORDS, high)?;
    packet.vendor_integer(mikrotik::VENDOR, mikrotik::TOTAL_LIMIT, low)?;
    packet.vendor_integer(mikrotik::VENDOR, mikrotik::TOTAL_LIMIT_GIGAWORDS, high)
}
