//! Encoding: packets written into a reused buffer, signed as they are finished.

use std::fmt;
use std::net::Ipv4Addr;

use zeroize::Zeroizing;

use crate::dictionary::standard::{
    MESSAGE_AUTHENTICATOR, TUNNEL_PASSWORD, USER_PASSWORD, VENDOR_SPECIFIC,
};
use crate::hide::{MAX_PASSWORD_LEN, MAX_SALTED_LEN, hide_chain};
use crate::packet::{Authenticator, HEADER_LEN, MAX_PACKET_LEN, MAX_VALUE_LEN};
use crate::{Code, EncodeError, SharedSecret};

/// Octets of a Message-Authenticator, Type and Length included.
const MESSAGE_AUTHENTICATOR_LEN: usize = 18;

/// A packet in the making.
///
/// Message-Authenticator comes first, ahead of anything an attacker might influence
/// (CVE-2024-3596); [`Builder::finish`] fills it in.
pub struct Builder<'b> {
    out: &'b mut Vec<u8>,
    secret: &'b SharedSecret,
    code: Code,
    /// What hides and signs: the request's authenticator, or zeros where that is a digest.
    over: Authenticator,
    /// The next salt; `None` in requests.
    salt: Option<u16>,
    /// Where the last Vendor-Specific begins, while nothing came after it.
    open_vendor: Option<(usize, u32)>,
}

impl<'b> Builder<'b> {
    /// Begins a request; `out` is emptied first.
    ///
    /// `authenticator` is 16 unpredictable octets; requests whose authenticator is a digest do
    /// not use it ([`Code::authenticator_is_digest`]). On RADIUS/1.1 its first four octets are the
    /// Token, which no other request has that is outstanding on the connection, and `identifier`
    /// is not sent.
    pub fn request(
        out: &'b mut Vec<u8>,
        secret: &'b SharedSecret,
        code: Code,
        identifier: u8,
        authenticator: Authenticator,
    ) -> Self {
        let digest = code.authenticator_is_digest() && !secret.is_transport();
        let over = if digest { [0; 16] } else { authenticator };
        Self::begin(out, secret, code, identifier, over, None)
    }

    /// Begins an answer to the request with that identifier and authenticator; `out` is emptied
    /// first. `salt` is unpredictable; the salts of the packet count up from it.
    pub fn answer(
        out: &'b mut Vec<u8>,
        secret: &'b SharedSecret,
        code: Code,
        identifier: u8,
        request: &Authenticator,
        salt: u16,
    ) -> Self {
        Self::begin(out, secret, code, identifier, *request, Some(salt))
    }

    /// Adds an attribute; the value goes out as it is.
    ///
    /// # Errors
    /// If the value is empty, over 253 octets, or does not fit the packet.
    pub fn octets(&mut self, kind: u8, value: &[u8]) -> Result<(), EncodeError> {
        if value.is_empty() {
            return Err(EncodeError::Empty { kind });
        }
        self.begin_attribute(kind, value.len())?;
        self.out.extend_from_slice(value);
        Ok(())
    }

    /// Adds a "text" attribute.
    ///
    /// # Errors
    /// As [`Self::octets`].
    pub fn text(&mut self, kind: u8, value: &str) -> Result<(), EncodeError> {
        self.octets(kind, value.as_bytes())
    }

    /// Adds an "integer" attribute.
    ///
    /// # Errors
    /// If it does not fit the packet.
    pub fn integer(&mut self, kind: u8, value: u32) -> Result<(), EncodeError> {
        self.octets(kind, &value.to_be_bytes())
    }

    /// Adds an IPv4 "address" attribute.
    ///
    /// # Errors
    /// If it does not fit the packet.
    pub fn ipv4(&mut self, kind: u8, value: Ipv4Addr) -> Result<(), EncodeError> {
        self.octets(kind, &value.octets())
    }

    /// Adds a vendor's attribute. One that follows another of the same vendor joins it in one
    /// Vendor-Specific while there is room (RFC 2865 5.26): fewer octets to sign.
    ///
    /// # Errors
    /// If the value is over 247 octets or does not fit the packet.
    pub fn vendor(&mut self, vendor: u32, kind: u8, value: &[u8]) -> Result<(), EncodeError> {
        const LIMIT: usize = MAX_VALUE_LEN - 6;
        let too_long =
            EncodeError::ValueTooLong { kind: VENDOR_SPECIFIC, octets: value.len(), limit: LIMIT };
        let sub_len = u8::try_from(value.len() + 2).map_err(|_| too_long)?;
        if value.len() > LIMIT {
            return Err(too_long);
        }
        if !self.join_vendor(vendor, sub_len) {
            let at = self.out.len();
            self.begin_attribute(VENDOR_SPECIFIC, 4 + usize::from(sub_len))?;
            self.out.extend_from_slice(&vendor.to_be_bytes());
            self.open_vendor = Some((at, vendor));
        }
        self.out.extend_from_slice(&[kind, sub_len]);
        self.out.extend_from_slice(value);
        Ok(())
    }

    /// Adds a vendor's "integer" attribute.
    ///
    /// # Errors
    /// If it does not fit the packet.
    pub fn vendor_integer(&mut self, vendor: u32, kind: u8, value: u32) -> Result<(), EncodeError> {
        self.vendor(vendor, kind, &value.to_be_bytes())
    }

    /// Adds a User-Password, hidden (RFC 2865 5.2) unless the connection hides it.
    ///
    /// # Errors
    /// If the password is empty, over 128 octets, ends in NUL, or does not fit the packet.
    pub fn user_password(&mut self, password: &[u8]) -> Result<(), EncodeError> {
        let kind = USER_PASSWORD;
        match password.last() {
            None => return Err(EncodeError::Empty { kind }),
            Some(0) => return Err(EncodeError::TrailingNul),
            Some(_) => {}
        }
        let octets = password.len();
        if octets > MAX_PASSWORD_LEN {
            return Err(EncodeError::ValueTooLong { kind, octets, limit: MAX_PASSWORD_LEN });
        }
        if self.secret.is_transport() {
            return self.octets(kind, password);
        }
        self.begin_attribute(kind, octets.next_multiple_of(16))?;
        self.hide(&[], password, &[]);
        Ok(())
    }

    /// Adds a Tunnel-Password, hidden (RFC 2868 3.5) unless the connection hides it. Tag 0 means
    /// that it is unused.
    ///
    /// # Errors
    /// If the packet is a request, the password is over 239 octets, or does not fit the packet.
    pub fn tunnel_password(&mut self, tag: u8, password: &[u8]) -> Result<(), EncodeError> {
        let kind = TUNNEL_PASSWORD;
        let (salt, len) = self.next_salt(kind, password)?;
        let tag = if tag > 0x1f { 0 } else { tag };
        if self.secret.is_transport() {
            self.begin_attribute(kind, 1 + password.len())?;
            self.out.push(tag);
            self.out.extend_from_slice(password);
            return Ok(());
        }
        self.begin_attribute(kind, 3 + (1 + password.len()).next_multiple_of(16))?;
        self.out.push(tag);
        self.out.extend_from_slice(&salt);
        self.hide(&[len], password, &salt);
        Ok(())
    }

    /// Adds a vendor's salted attribute, hidden (MS-MPPE-Send-Key and -Recv-Key,
    /// RFC 2548 2.4.2), in a Vendor-Specific of its own.
    ///
    /// # Errors
    /// If the packet is a request, the value is over 239 octets, or does not fit the packet.
    pub fn vendor_salted(
        &mut self,
        vendor: u32,
        kind: u8,
        value: &[u8],
    ) -> Result<(), EncodeError> {
        let (salt, len) = self.next_salt(VENDOR_SPECIFIC, value)?;
        if self.secret.is_transport() {
            return self.vendor(vendor, kind, value);
        }
        let hidden_len = (1 + value.len()).next_multiple_of(16);
        self.begin_attribute(VENDOR_SPECIFIC, 8 + hidden_len)?;
        self.out.extend_from_slice(&vendor.to_be_bytes());
        let sub_len = u8::try_from(4 + hidden_len).unwrap_or(u8::MAX);
        self.out.extend_from_slice(&[kind, sub_len]);
        self.out.extend_from_slice(&salt);
        self.hide(&[len], value, &salt);
        Ok(())
    }

    /// Adds attributes that are already on the wire, type and length included, such as the
    /// Proxy-States of a request.
    ///
    /// # Errors
    /// If they do not fit the packet.
    pub fn encoded(&mut self, kind: u8, attributes: &[u8]) -> Result<(), EncodeError> {
        if self.out.len() + attributes.len() > MAX_PACKET_LEN {
            return Err(EncodeError::PacketTooLong { kind });
        }
        self.open_vendor = None;
        self.out.extend_from_slice(attributes);
        Ok(())
    }

    /// Writes the Length, signs, and leaves the packet in the buffer.
    pub fn finish(mut self) {
        self.write_length();
        if self.secret.is_transport() {
            return;
        }
        if self.code.is_signed() {
            let signature = self.secret.sign(self.out);
            put(self.out, HEADER_LEN + 2, &signature);
        }
        if self.salt.is_some() || self.code.authenticator_is_digest() {
            let digest = self.secret.seal(self.out);
            put(self.out, 4, &digest);
        }
    }

    /// Writes the Length, and leaves the packet in the buffer to be signed later.
    pub(crate) fn finish_unsigned(mut self) {
        self.write_length();
    }

    fn write_length(&mut self) {
        let length = u16::try_from(self.out.len()).unwrap_or_default().to_be_bytes();
        put(self.out, 2, &length);
    }

    fn begin(
        out: &'b mut Vec<u8>,
        secret: &'b SharedSecret,
        code: Code,
        identifier: u8,
        over: Authenticator,
        salt: Option<u16>,
    ) -> Self {
        out.clear();
        if secret.is_transport() {
            // Code, Reserved-1, Length, Token, Reserved-2 (RFC 9765 4.1).
            let [a, b, c, d, ..] = over;
            out.extend_from_slice(&[code as u8, 0, 0, 0, a, b, c, d]);
            out.resize(HEADER_LEN, 0);
            return Self { out, secret, code, over, salt, open_vendor: None };
        }
        out.extend_from_slice(&[code as u8, identifier, 0, 0]);
        out.extend_from_slice(&over);
        if code.is_signed() {
            out.extend_from_slice(&[MESSAGE_AUTHENTICATOR, 18]);
            out.resize(HEADER_LEN + MESSAGE_AUTHENTICATOR_LEN, 0);
        }
        Self { out, secret, code, over, salt, open_vendor: None }
    }

    /// Writes Type and Length of an attribute whose value has `octets` octets.
    fn begin_attribute(&mut self, kind: u8, octets: usize) -> Result<(), EncodeError> {
        let length = u8::try_from(octets + 2).map_err(|_| EncodeError::ValueTooLong {
            kind,
            octets,
            limit: MAX_VALUE_LEN,
        })?;
        if self.out.len() + usize::from(length) > MAX_PACKET_LEN {
            return Err(EncodeError::PacketTooLong { kind });
        }
        self.open_vendor = None;
        self.out.extend_from_slice(&[kind, length]);
        Ok(())
    }

    /// Lengthens the Vendor-Specific that was written last by `sub_len` octets, if it is this
    /// vendor's and both it and the packet have room.
    fn join_vendor(&mut self, vendor: u32, sub_len: u8) -> bool {
        let Some((at, open)) = self.open_vendor else { return false };
        if open != vendor || self.out.len() + usize::from(sub_len) > MAX_PACKET_LEN {
            return false;
        }
        let length = self.out.get_mut(at + 1);
        let Some(length) = length else { return false };
        let Some(longer) = length.checked_add(sub_len) else { return false };
        *length = longer;
        true
    }

    /// The next salt, high bit set (RFC 2868 3.5), and the length octet of `value`.
    fn next_salt(&mut self, kind: u8, value: &[u8]) -> Result<([u8; 2], u8), EncodeError> {
        let salt = self.salt.as_mut().ok_or(EncodeError::NotInRequests { kind })?;
        let octets = value.len();
        let too_long = EncodeError::ValueTooLong { kind, octets, limit: MAX_SALTED_LEN };
        let len = u8::try_from(octets).map_err(|_| too_long)?;
        if octets > MAX_SALTED_LEN {
            return Err(too_long);
        }
        let this = (*salt | 0x8000).to_be_bytes();
        // Salts of one packet differ (RFC 2868 3.5): 15 bits are more than a packet has room for.
        *salt = salt.wrapping_add(1);
        Ok((this, len))
    }

    /// Appends `head` and `value`, padded to whole blocks and hidden.
    fn hide(&mut self, head: &[u8], value: &[u8], salt: &[u8]) {
        let at = self.out.len();
        self.out.extend_from_slice(head);
        self.out.extend_from_slice(value);
        self.out.resize(at + (head.len() + value.len()).next_multiple_of(16), 0);
        let room = self.out.get_mut(at..).unwrap_or_default();
        hide_chain(self.secret, [&self.over, salt], room);
    }
}

impl fmt::Debug for Builder<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder")
            .field("code", &self.code)
            .field("octets", &self.out.len())
            .finish_non_exhaustive()
    }
}

/// Attributes of a request, in the clear: what [`Client`](crate::Client) encodes for whichever
/// server it asks, hiding them with that server's secret. Wiped when dropped.
#[derive(Clone)]
pub struct AttributeList {
    /// Vendor (4, 0 for none), type (1), length (1), value; any number of times.
    octets: Zeroizing<Vec<u8>>,
}

impl AttributeList {
    /// No attributes.
    pub fn new() -> Self {
        // Room for a look-up: a buffer that grows leaves its old octets behind, unwiped.
        Self { octets: Zeroizing::new(Vec::with_capacity(512)) }
    }

    /// Adds an attribute; a User-Password is given in the clear.
    ///
    /// # Errors
    /// If the value is empty, does not fit an attribute, or is a password that ends in NUL.
    pub fn push(&mut self, kind: u8, value: &[u8]) -> Result<(), EncodeError> {
        let limit = if kind == USER_PASSWORD { MAX_PASSWORD_LEN } else { MAX_VALUE_LEN };
        if value.is_empty() {
            return Err(EncodeError::Empty { kind });
        }
        if kind == USER_PASSWORD && value.last() == Some(&0) {
            return Err(EncodeError::TrailingNul);
        }
        if kind == TUNNEL_PASSWORD {
            return Err(EncodeError::NotInRequests { kind });
        }
        self.append(0, kind, value, limit)
    }

    /// Adds an "integer" attribute.
    ///
    /// # Errors
    /// Never for an attribute that is not hidden.
    pub fn push_integer(&mut self, kind: u8, value: u32) -> Result<(), EncodeError> {
        self.push(kind, &value.to_be_bytes())
    }

    /// Adds a vendor's attribute.
    ///
    /// # Errors
    /// If the value is over 247 octets.
    pub fn push_vendor(&mut self, vendor: u32, kind: u8, value: &[u8]) -> Result<(), EncodeError> {
        self.append(vendor, kind, value, MAX_VALUE_LEN - 6)
    }

    /// Writes them all.
    ///
    /// # Errors
    /// If they do not fit the packet.
    pub fn write_to(&self, packet: &mut Builder<'_>) -> Result<(), EncodeError> {
        let mut rest = self.octets.as_slice();
        while let Some((&[a, b, c, d, kind, len], tail)) = rest.split_first_chunk() {
            let (value, tail) = tail.split_at_checked(usize::from(len)).unwrap_or((tail, &[]));
            match (u32::from_be_bytes([a, b, c, d]), kind) {
                (0, USER_PASSWORD) => packet.user_password(value)?,
                (0, _) => packet.octets(kind, value)?,
                (vendor, _) => packet.vendor(vendor, kind, value)?,
            }
            rest = tail;
        }
        Ok(())
    }

    fn append(
        &mut self,
        vendor: u32,
        kind: u8,
        value: &[u8],
        limit: usize,
    ) -> Result<(), EncodeError> {
        let octets = value.len();
        let wire = if vendor == 0 { kind } else { VENDOR_SPECIFIC };
        let too_long = EncodeError::ValueTooLong { kind: wire, octets, limit };
        let len = u8::try_from(octets).map_err(|_| too_long)?;
        if octets > limit {
            return Err(too_long);
        }
        self.octets.extend_from_slice(&vendor.to_be_bytes());
        self.octets.extend_from_slice(&[kind, len]);
        self.octets.extend_from_slice(value);
        Ok(())
    }
}

impl Default for AttributeList {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for AttributeList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AttributeList({} octets)", self.octets.len())
    }
}

pub(crate) fn put(out: &mut [u8], at: usize, octets: &[u8]) {
    if let Some(room) = out.get_mut(at..at + octets.len()) {
        room.copy_from_slice(octets);
    }
}
