//! EAP packets (RFC 3748 4): borrowed decoding, and encoding.

/// Octets of code, identifier and length.
pub const HEADER_LEN: usize = 4;

/// Type numbers (RFC 3748 5, and IANA's registry of EAP method types).
pub mod kind {
    /// Identity (RFC 3748 5.1).
    pub const IDENTITY: u8 = 1;
    /// Notification (RFC 3748 5.2).
    pub const NOTIFICATION: u8 = 2;
    /// Legacy Nak (RFC 3748 5.3.1).
    pub const NAK: u8 = 3;
    /// Generic Token Card (RFC 3748 5.6).
    pub const GTC: u8 = 6;
    /// EAP-TLS (RFC 5216).
    pub const TLS: u8 = 13;
    /// EAP-TTLS (RFC 5281).
    pub const TTLS: u8 = 21;
    /// PEAP.
    pub const PEAP: u8 = 25;
    /// EAP-MSCHAPv2.
    pub const MSCHAPV2: u8 = 26;
    /// EAP-TLV, the result message within PEAP.
    pub const TLV: u8 = 33;
    /// Expanded types (RFC 3748 5.7).
    pub const EXPANDED: u8 = 254;
}

/// What a packet is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Code {
    /// From the authenticator, to be answered.
    Request,
    /// The peer's answer.
    Response,
    /// The conversation's good end.
    Success,
    /// The conversation's bad end.
    Failure,
}

/// Octets that are no EAP packet. RFC 3748 4.1 has them dropped in silence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Fewer octets than a header has, or than the packet's length says.
    #[error("the EAP packet is cut short: it says {length} octets and has {has}")]
    Short {
        /// The length field; 4 if the header itself is cut.
        length: usize,
        /// The octets there are.
        has: usize,
    },
    /// A length too small for a packet of this code.
    #[error("an EAP packet of code {code} cannot be {length} octets long")]
    Length {
        /// The code.
        code: u8,
        /// The length field.
        length: usize,
    },
    /// A code that RFC 3748 does not know.
    #[error("{0} is no EAP code")]
    Code(u8),
}

/// An EAP packet, borrowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Packet<'a> {
    /// What it is.
    pub code: Code,
    /// Matches responses with requests.
    pub identifier: u8,
    /// The type, of requests and responses; 0 for success and failure.
    pub kind: u8,
    /// What follows the type.
    pub data: &'a [u8],
}

impl<'a> Packet<'a> {
    /// Reads a packet. What follows its length is padding and ignored (RFC 3748 4.1).
    ///
    /// # Errors
    /// See [`DecodeError`].
    pub fn decode(octets: &'a [u8]) -> Result<Self, DecodeError> {
        let Some((&[code, identifier, high, low], _)) = octets.split_first_chunk::<HEADER_LEN>()
        else {
            return Err(DecodeError::Short { length: HEADER_LEN, has: octets.len() });
        };
        let length = usize::from(u16::from_be_bytes([high, low]));
        let wrong = DecodeError::Length { code, length };
        let body = octets.get(..length).ok_or(DecodeError::Short { length, has: octets.len() })?;
        let body = body.get(HEADER_LEN..).ok_or(wrong)?;
        let named = match code {
            1 => Code::Request,
            2 => Code::Response,
            3 | 4 if length != HEADER_LEN => return Err(wrong),
            3 => Code::Success,
            4 => Code::Failure,
            _ => return Err(DecodeError::Code(code)),
        };
        let (kind, data) = match (named, body.split_first()) {
            (Code::Request | Code::Response, Some((&kind, data))) => (kind, data),
            (Code::Request | Code::Response, None) => return Err(wrong),
            _ => (0, body),
        };
        Ok(Self { code: named, identifier, kind, data })
    }

    /// The types that a Nak asks for instead, in its order: of a legacy Nak (RFC 3748 5.3.1), or
    /// of an expanded one (5.3.2), whose types of the IETF are read as plain ones. Empty for
    /// other packets, and for a Nak that wants nothing.
    pub fn wanted(&self) -> impl Iterator<Item = u8> + 'a {
        let (legacy, expanded): (&[u8], &[u8]) = match (self.code, self.kind) {
            (Code::Response, kind::NAK) => (self.data, &[]),
            // Vendor 0 (the IETF), type 3.
            (Code::Response, kind::EXPANDED) => {
                (&[], self.data.strip_prefix(&[0, 0, 0, 0, 0, 0, 3]).unwrap_or_default())
            }
            _ => (&[], &[]),
        };
        let expanded = expanded.chunks_exact(8).filter_map(|entry| match entry {
            &[kind::EXPANDED, 0, 0, 0, 0, 0, 0, wanted] => Some(wanted),
            _ => None,
        });
        // RFC 3748 5.3.1: a zero says that there is no alternative.
        legacy.iter().copied().chain(expanded).filter(|wanted| *wanted != 0)
    }

    /// Whether this is a Nak of either form.
    pub fn is_nak(&self) -> bool {
        self.code == Code::Response
            && (self.kind == kind::NAK
                || self.kind == kind::EXPANDED && self.data.starts_with(&[0, 0, 0, 0, 0, 0, 3]))
    }
}

/// A request or response. `data` is cut at what 16 bits of length can hold.
fn typed(code: u8, identifier: u8, kind: u8, data: &[u8]) -> Vec<u8> {
    let data = data.get(..usize::from(u16::MAX) - HEADER_LEN - 1).unwrap_or(data);
    let length = u16::try_from(HEADER_LEN + 1 + data.len()).unwrap_or(u16::MAX).to_be_bytes();
    let mut packet = Vec::with_capacity(HEADER_LEN + 1 + data.len());
    packet.extend([code, identifier]);
    packet.extend(length);
    packet.push(kind);
    packet.extend(data);
    packet
}

/// A request. `data` is cut at 65,530 octets.
pub fn request(identifier: u8, kind: u8, data: &[u8]) -> Vec<u8> {
    typed(1, identifier, kind, data)
}

/// A response: what a peer sends, for tests. `data` is cut at 65,530 octets.
pub fn response(identifier: u8, kind: u8, data: &[u8]) -> Vec<u8> {
    typed(2, identifier, kind, data)
}

/// EAP-Success.
pub fn success(identifier: u8) -> Vec<u8> {
    vec![3, identifier, 0, 4]
}

/// EAP-Failure.
pub fn failure(identifier: u8) -> Vec<u8> {
    vec![4, identifier, 0, 4]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_follows_the_length_is_padding() {
        let mut octets = response(7, kind::IDENTITY, b"a@example.org");
        octets.extend([0; 9]);
        let packet = Packet::decode(&octets).unwrap();
        assert_eq!((packet.code, packet.identifier, packet.kind), (Code::Response, 7, 1));
        assert_eq!(packet.data, b"a@example.org");
    }

    #[test]
    fn a_packet_cut_short_is_told_from_one_of_a_wrong_length() {
        assert_eq!(Packet::decode(&[2, 1, 0]), Err(DecodeError::Short { length: 4, has: 3 }));
        assert_eq!(Packet::decode(&[2, 1, 0, 9, 1]), Err(DecodeError::Short { length: 9, has: 5 }));
        assert_eq!(Packet::decode(&[2, 1, 0, 4]), Err(DecodeError::Length { code: 2, length: 4 }));
        assert_eq!(
            Packet::decode(&[2, 1, 0, 3, 1]),
            Err(DecodeError::Length { code: 2, length: 3 })
        );
        assert_eq!(
            Packet::decode(&[3, 1, 0, 5, 1]),
            Err(DecodeError::Length { code: 3, length: 5 })
        );
        assert_eq!(Packet::decode(&[5, 1, 0, 4]), Err(DecodeError::Code(5)));
    }

    #[test]
    fn both_kinds_of_nak_name_the_wanted_types() {
        let wanted = |packet: &[u8]| Packet::decode(packet).unwrap().wanted().collect::<Vec<_>>();
        assert_eq!(wanted(&response(1, kind::NAK, &[25, 21])), [25, 21]);
        assert_eq!(wanted(&response(1, kind::NAK, &[0])), []);
        let expanded = [
            &[0, 0, 0, 0, 0, 0, 3][..],
            &[254, 0, 0, 0, 0, 0, 0, 21],
            &[254, 0, 1, 0x37, 0, 0, 0, 9],
            &[254, 0, 0, 0, 0, 0, 0, 13],
        ]
        .concat();
        let nak = response(1, kind::EXPANDED, &expanded);
        assert_eq!(wanted(&nak), [21, 13]);
        assert!(Packet::decode(&nak).unwrap().is_nak());
        assert_eq!(wanted(&request(1, kind::NAK, &[25])), []);
    }
}
