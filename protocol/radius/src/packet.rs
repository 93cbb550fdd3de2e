//! Packets and attributes, decoded where they lie (RFC 2865 3 and 5).

use std::net::{Ipv4Addr, Ipv6Addr};

use crate::DecodeError;

/// Octets before the first attribute: Code, Identifier, Length, Authenticator.
pub const HEADER_LEN: usize = 20;

/// The most octets of a packet (RFC 2865 3).
pub const MAX_PACKET_LEN: usize = 4096;

/// The most octets of an attribute's value: Length is one octet and counts Type and itself.
pub const MAX_VALUE_LEN: usize = 253;

/// The most attributes that are looked at; a packet with more is refused. No honest packet comes
/// near, and it bounds the work that a small datagram can ask for.
pub const MAX_ATTRIBUTES: usize = 255;

/// The Authenticator field.
pub type Authenticator = [u8; 16];

/// What a packet is (RFC 2865 3, RFC 5176 2.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Code {
    /// Asks for access (RFC 2865 4.1).
    AccessRequest = 1,
    /// Grants it (RFC 2865 4.2).
    AccessAccept = 2,
    /// Refuses it (RFC 2865 4.3).
    AccessReject = 3,
    /// Reports usage (RFC 2866 4.1).
    AccountingRequest = 4,
    /// Acknowledges the report (RFC 2866 4.2).
    AccountingResponse = 5,
    /// Asks back (RFC 2865 4.4).
    AccessChallenge = 11,
    /// Asks whether the server is alive (RFC 5997).
    StatusServer = 12,
    /// Ends sessions (RFC 5176 2.1).
    DisconnectRequest = 40,
    /// They ended.
    DisconnectAck = 41,
    /// They did not.
    DisconnectNak = 42,
    /// Changes sessions (RFC 5176 2.2).
    CoaRequest = 43,
    /// They changed.
    CoaAck = 44,
    /// They did not.
    CoaNak = 45,
}

impl Code {
    /// Every code, with its name.
    pub const ALL: [(Self, &'static str); 13] = [
        (Self::AccessRequest, "Access-Request"),
        (Self::AccessAccept, "Access-Accept"),
        (Self::AccessReject, "Access-Reject"),
        (Self::AccountingRequest, "Accounting-Request"),
        (Self::AccountingResponse, "Accounting-Response"),
        (Self::AccessChallenge, "Access-Challenge"),
        (Self::StatusServer, "Status-Server"),
        (Self::DisconnectRequest, "Disconnect-Request"),
        (Self::DisconnectAck, "Disconnect-ACK"),
        (Self::DisconnectNak, "Disconnect-NAK"),
        (Self::CoaRequest, "CoA-Request"),
        (Self::CoaAck, "CoA-ACK"),
        (Self::CoaNak, "CoA-NAK"),
    ];

    /// The name that the RFCs use.
    pub fn as_str(self) -> &'static str {
        Self::ALL.iter().find(|(code, _)| *code == self).map_or("", |(_, name)| name)
    }

    /// Whether a packet with this code may answer one with `request`.
    pub const fn answers(self, request: Self) -> bool {
        match self {
            Self::AccessAccept => matches!(request, Self::AccessRequest | Self::StatusServer),
            Self::AccessReject | Self::AccessChallenge => matches!(request, Self::AccessRequest),
            Self::AccountingResponse => {
                matches!(request, Self::AccountingRequest | Self::StatusServer)
            }
            Self::DisconnectAck | Self::DisconnectNak => {
                matches!(request, Self::DisconnectRequest)
            }
            Self::CoaAck | Self::CoaNak => matches!(request, Self::CoaRequest),
            _ => false,
        }
    }

    /// Whether the code is a request's.
    pub const fn is_request(self) -> bool {
        matches!(
            self,
            Self::AccessRequest
                | Self::AccountingRequest
                | Self::StatusServer
                | Self::DisconnectRequest
                | Self::CoaRequest
        )
    }

    /// Whether the Request Authenticator is a digest over the packet and the shared secret
    /// (RFC 2866 3, RFC 5176 2.3) rather than a random number (RFC 2865 3, RFC 5997 3).
    pub const fn authenticator_is_digest(self) -> bool {
        matches!(self, Self::AccountingRequest | Self::DisconnectRequest | Self::CoaRequest)
    }

    /// Whether this crate signs such packets with Message-Authenticator. Accounting alone goes
    /// without (RFC 3579 3.3): both of its authenticators are digests already.
    pub const fn is_signed(self) -> bool {
        !matches!(self, Self::AccountingRequest | Self::AccountingResponse)
    }
}

impl TryFrom<u8> for Code {
    type Error = DecodeError;

    fn try_from(number: u8) -> Result<Self, DecodeError> {
        let known = Self::ALL.iter().find(|(code, _)| *code as u8 == number);
        known.map(|(code, _)| *code).ok_or(DecodeError::Code(number))
    }
}

impl std::fmt::Display for Code {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A packet whose form is sound. Who sent it is another matter; see [`crate::auth`].
#[derive(Debug, Clone, Copy)]
pub struct Packet<'a> {
    code: Code,
    identifier: u8,
    authenticator: &'a Authenticator,
    octets: &'a [u8],
    kinds: Kinds,
}

/// The types that a packet's attributes have: most that are asked for are not there.
#[derive(Debug, Clone, Copy, Default)]
struct Kinds([u64; 4]);

impl Kinds {
    fn add(&mut self, kind: u8) {
        if let Some(word) = self.0.get_mut(usize::from(kind >> 6)) {
            *word |= 1 << (kind & 63);
        }
    }

    fn has(&self, kind: u8) -> bool {
        self.0.get(usize::from(kind >> 6)).is_some_and(|word| word & (1 << (kind & 63)) != 0)
    }
}

impl<'a> Packet<'a> {
    /// Checks the form of a datagram. Octets beyond the Length field are padding and ignored.
    ///
    /// # Errors
    /// Whatever RFC 2865 3 has silently discarded, an attribute that does not fit the packet,
    /// more than [`MAX_ATTRIBUTES`] attributes.
    pub fn decode(datagram: &'a [u8]) -> Result<Self, DecodeError> {
        let header: &[u8; HEADER_LEN] =
            datagram.first_chunk().ok_or(DecodeError::Short(datagram.len()))?;
        let [code, identifier, high, low, authenticator @ ..] = header;
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        if !(HEADER_LEN..=MAX_PACKET_LEN).contains(&length) {
            return Err(DecodeError::Length(length));
        }
        let octets = datagram
            .get(..length)
            .ok_or(DecodeError::Truncated { length, octets: datagram.len() })?;
        let (code, identifier) = (Code::try_from(*code)?, *identifier);
        let mut packet = Self { code, identifier, authenticator, octets, kinds: Kinds::default() };
        let mut attributes = packet.attributes();
        for attribute in attributes.by_ref().take(MAX_ATTRIBUTES) {
            packet.kinds.add(attribute.kind);
        }
        match *attributes.rest {
            [] => Ok(packet),
            [kind, length @ (0 | 1), ..] => {
                Err(DecodeError::AttributeLength { kind, length, room: attributes.rest.len() })
            }
            [kind, length, ..] if usize::from(length) > attributes.rest.len() => {
                Err(DecodeError::AttributeLength { kind, length, room: attributes.rest.len() })
            }
            [kind] => Err(DecodeError::AttributeLength { kind, length: 0, room: 1 }),
            _ => Err(DecodeError::TooManyAttributes),
        }
    }

    /// What the packet is.
    pub const fn code(&self) -> Code {
        self.code
    }

    /// The Identifier: joins an answer to its request.
    pub const fn identifier(&self) -> u8 {
        self.identifier
    }

    /// The Authenticator field.
    pub const fn authenticator(&self) -> &'a Authenticator {
        self.authenticator
    }

    /// What joins an answer to its request on RADIUS/1.1, where neither Identifier nor
    /// Authenticator is (RFC 9765 4.1).
    pub fn token(&self) -> u32 {
        u32::from_be_bytes(self.authenticator.first_chunk().copied().unwrap_or_default())
    }

    /// The packet's octets, without padding.
    pub const fn as_bytes(&self) -> &'a [u8] {
        self.octets
    }

    /// The attributes, in order.
    pub fn attributes(&self) -> Attributes<'a> {
        Attributes { rest: self.octets.get(HEADER_LEN..).unwrap_or_default() }
    }

    /// Those, or none where none of them has that type.
    fn attributes_with(&self, kind: u8) -> Attributes<'a> {
        if self.kinds.has(kind) { self.attributes() } else { Attributes { rest: &[] } }
    }

    /// The value of the first attribute of that type.
    pub fn find(&self, kind: u8) -> Option<&'a [u8]> {
        self.find_all(kind).next()
    }

    /// The values of all attributes of that type, in order.
    pub fn find_all(&self, kind: u8) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        self.attributes_with(kind).filter(move |a| a.kind == kind).map(|a| a.value)
    }

    /// The value of the only attribute of that type.
    ///
    /// # Errors
    /// [`DecodeError::Repeated`] if there are several: which one counts would be a guess.
    pub fn only(&self, kind: u8) -> Result<Option<&'a [u8]>, DecodeError> {
        let mut found = self.find_all(kind);
        let first = found.next();
        if found.next().is_some() {
            return Err(DecodeError::Repeated(kind));
        }
        Ok(first)
    }

    /// All vendors' attributes, in order; a Vendor-Specific of unusual form has none.
    pub fn vendor_attributes(&self) -> impl Iterator<Item = VendorAttribute<'a>> + use<'a> {
        self.attributes_with(crate::dictionary::standard::VENDOR_SPECIFIC)
            .filter_map(|a| a.vendor_specific())
            .filter_map(|v| v.attributes())
            .flatten()
    }

    /// The value of a vendor's first attribute of that type.
    pub fn find_vendor(&self, vendor: u32, kind: u8) -> Option<&'a [u8]> {
        self.vendor_attributes().find(|a| a.vendor == vendor && a.kind == kind).map(|a| a.value)
    }

    /// The offsets, in [`Self::as_bytes`], of the values of the attributes of that type.
    pub(crate) fn offsets(&self, kind: u8) -> impl Iterator<Item = (usize, &'a [u8])> + use<'a> {
        let mut at = HEADER_LEN;
        self.attributes_with(kind).filter_map(move |a| {
            let value_at = at + 2;
            at = value_at + a.value.len();
            (a.kind == kind).then_some((value_at, a.value))
        })
    }
}

/// Iterator over a packet's attributes.
#[derive(Debug, Clone)]
pub struct Attributes<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Attributes<'a> {
    type Item = Attribute<'a>;

    fn next(&mut self) -> Option<Attribute<'a>> {
        let (kind, value, rest) = split_attribute(self.rest)?;
        self.rest = rest;
        Some(Attribute { kind, value })
    }
}

/// One attribute: Type and value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attribute<'a> {
    /// The Type.
    pub kind: u8,
    /// The value, as it is on the wire (hidden where the attribute is a hidden one).
    pub value: &'a [u8],
}

impl<'a> Attribute<'a> {
    /// The value as "text" (UTF-8).
    pub fn text(&self) -> Option<&'a str> {
        text(self.value)
    }

    /// The value as a 32-bit "integer".
    pub fn integer(&self) -> Option<u32> {
        integer(self.value)
    }

    /// The value as an IPv4 "address".
    pub fn ipv4(&self) -> Option<Ipv4Addr> {
        ipv4(self.value)
    }

    /// The value as an IPv6 address (RFC 3162).
    pub fn ipv6(&self) -> Option<Ipv6Addr> {
        ipv6(self.value)
    }

    /// The value as a vendor's; `None` for other types and for values under 5 octets, the least
    /// that RFC 2865 5.26 allows.
    pub fn vendor_specific(&self) -> Option<VendorSpecific<'a>> {
        if self.kind != crate::dictionary::standard::VENDOR_SPECIFIC {
            return None;
        }
        let (vendor, data) = self.value.split_first_chunk()?;
        (!data.is_empty()).then_some(VendorSpecific { vendor: u32::from_be_bytes(*vendor), data })
    }
}

/// The value of a Vendor-Specific attribute (RFC 2865 5.26).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VendorSpecific<'a> {
    /// The SMI enterprise number.
    pub vendor: u32,
    /// What the vendor put there.
    pub data: &'a [u8],
}

impl<'a> VendorSpecific<'a> {
    /// The attributes in it, if it has the form that RFC 2865 5.26 recommends: vendor type,
    /// vendor length, value, any number of times, to the last octet.
    pub fn attributes(&self) -> Option<VendorAttributes<'a>> {
        let mut rest = self.data;
        while !rest.is_empty() {
            (_, _, rest) = split_attribute(rest)?;
        }
        Some(VendorAttributes { vendor: self.vendor, rest: Attributes { rest: self.data } })
    }
}

/// Iterator over the attributes in a [`VendorSpecific`].
#[derive(Debug, Clone)]
pub struct VendorAttributes<'a> {
    vendor: u32,
    rest: Attributes<'a>,
}

impl<'a> Iterator for VendorAttributes<'a> {
    type Item = VendorAttribute<'a>;

    fn next(&mut self) -> Option<VendorAttribute<'a>> {
        let Attribute { kind, value } = self.rest.next()?;
        Some(VendorAttribute { vendor: self.vendor, kind, value })
    }
}

/// One attribute of a vendor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VendorAttribute<'a> {
    /// The SMI enterprise number.
    pub vendor: u32,
    /// The vendor type.
    pub kind: u8,
    /// The value.
    pub value: &'a [u8],
}

/// A value as "text" (UTF-8).
pub fn text(value: &[u8]) -> Option<&str> {
    std::str::from_utf8(value).ok()
}

/// A value as a 32-bit "integer".
pub fn integer(value: &[u8]) -> Option<u32> {
    Some(u32::from_be_bytes(value.try_into().ok()?))
}

/// A value as a 64-bit integer (RFC 6929 2.5).
pub fn integer64(value: &[u8]) -> Option<u64> {
    Some(u64::from_be_bytes(value.try_into().ok()?))
}

/// A value as an IPv4 "address".
pub fn ipv4(value: &[u8]) -> Option<Ipv4Addr> {
    Some(Ipv4Addr::from(<[u8; 4]>::try_from(value).ok()?))
}

/// A value as an IPv6 address.
pub fn ipv6(value: &[u8]) -> Option<Ipv6Addr> {
    Some(Ipv6Addr::from(<[u8; 16]>::try_from(value).ok()?))
}

/// Splits type, value and the rest off; `None` if the length does not fit.
fn split_attribute(octets: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let [kind, length, rest @ ..] = octets else { return None };
    let (value, rest) = rest.split_at_checked(usize::from(*length).checked_sub(2)?)?;
    Some((*kind, value, rest))
}
