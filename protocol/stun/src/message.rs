//! The messages (RFC 8489 5, 14).
//!
//! ```text
//!  0                   1                   2                   3
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! +---+---------------------------+-------------------------------+
//! |0 0|     STUN Message Type     |         Message Length        |
//! +---+---------------------------+-------------------------------+
//! |                    Magic Cookie 0x2112A442                    |
//! +---------------------------------------------------------------+
//! |                                                               |
//! |                  Transaction ID, 12 octets                    |
//! |                                                               |
//! +-------------------------------+-------------------------------+
//! |        Attribute Type         |       Attribute Length        |
//! +-------------------------------+-------------------------------+
//! |                 Value, padded to 4 octets ...                 |
//! +---------------------------------------------------------------+
//! ```

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use homeward_model::Entropy;

/// The port of STUN (RFC 8489 18.6).
pub const PORT: u16 = 3478;

/// What every message has in octets 4 to 7.
pub const MAGIC_COOKIE: u32 = 0x2112_A442;

/// Octets of a header, and of a request that has no attributes.
pub const HEADER_LEN: usize = 20;

/// The one method: Binding.
pub const BINDING: u16 = 1;

/// Octets of the longest answer that is ever written: an IPv6 address, or eight attributes that are
/// not understood.
pub const LONGEST_ANSWER: usize = 48;

/// How many attributes that are not understood an answer names.
const NAMED: usize = 8;

const MAPPED_ADDRESS: u16 = 0x0001;
const ERROR_CODE: u16 = 0x0009;
const UNKNOWN_ATTRIBUTES: u16 = 0x000a;
const XOR_MAPPED_ADDRESS: u16 = 0x0020;

/// Attributes from here on may be passed over by who does not understand them (RFC 8489 14).
const OPTIONAL: u16 = 0x8000;

/// Those before that are passed over: of credentials (RFC 8489 14.3 to 14.13), which are not asked for.
const CREDENTIALS: [u16; 8] =
    [0x0006, 0x0008, 0x0014, 0x0015, 0x001c, 0x001d, 0x001e, MAPPED_ADDRESS];

/// The error that says that attributes were not understood (RFC 8489 14.8).
pub const UNKNOWN_ATTRIBUTE: u16 = 420;

/// What an answer repeats: unpredictable, so that only who has read the request can answer it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TransactionId(pub [u8; 12]);

impl TransactionId {
    /// A new one.
    pub fn generate(entropy: &mut impl Entropy) -> Self {
        Self(entropy.octets())
    }
}

/// What a message is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Class {
    /// Asks, and is answered.
    Request,
    /// Says something that is not answered.
    Indication,
    /// Answers.
    Success,
    /// Says why not.
    Error,
}

/// Why octets are no message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Fewer octets than a header has.
    #[error("{0} octets are too few for a STUN header of {HEADER_LEN}")]
    Short(usize),
    /// The first two bits are not 0, or the cookie is another: something else than STUN, or STUN of
    /// before RFC 5389.
    #[error("this is not STUN: its first bits or its magic cookie say so")]
    NotStun,
    /// The length is not that of the datagram, or no multiple of four.
    #[error("the STUN header says {said} octets, and {are} follow")]
    Length {
        /// What the header says.
        said: usize,
        /// What is there.
        are: usize,
    },
    /// An attribute is longer than what is left.
    #[error("the STUN attribute {0:#06x} is longer than its message")]
    Attribute(u16),
}

/// A message, as it was received.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Message<'a> {
    /// What it is for.
    pub class: Class,
    /// What it is about: [`BINDING`].
    pub method: u16,
    /// Which request it is, or answers.
    pub id: TransactionId,
    /// Well-formed, every one of them.
    attributes: &'a [u8],
}

impl<'a> Message<'a> {
    /// Reads a datagram.
    ///
    /// # Errors
    ///
    /// It is no message.
    pub fn decode(datagram: &'a [u8]) -> Result<Self, DecodeError> {
        let short = DecodeError::Short(datagram.len());
        let (header, attributes) = datagram.split_first_chunk::<HEADER_LEN>().ok_or(short)?;
        let (&[k0, k1, l0, l1, c0, c1, c2, c3], id) =
            header.split_first_chunk::<8>().ok_or(short)?;
        let kind = u16::from_be_bytes([k0, k1]);
        if kind & 0xc000 != 0 || u32::from_be_bytes([c0, c1, c2, c3]) != MAGIC_COOKIE {
            return Err(DecodeError::NotStun);
        }
        let said = usize::from(u16::from_be_bytes([l0, l1]));
        if said != attributes.len() || said % 4 != 0 {
            return Err(DecodeError::Length { said, are: attributes.len() });
        }
        let mut rest = attributes;
        while let Some(attribute) = next(&mut rest) {
            attribute?;
        }
        let class = match (kind & 0x0100 != 0, kind & 0x0010 != 0) {
            (false, false) => Class::Request,
            (false, true) => Class::Indication,
            (true, false) => Class::Success,
            (true, true) => Class::Error,
        };
        // RFC 8489 5: the class's two bits are in the midst of the method's twelve.
        let method = (kind & 0x000f) | (kind & 0x00e0) >> 1 | (kind & 0x3e00) >> 2;
        let id = TransactionId(id.try_into().map_err(|_| short)?);
        Ok(Self { class, method, id, attributes })
    }

    /// Its attributes in order: the type, and the value without padding.
    pub fn attributes(&self) -> impl Iterator<Item = (u16, &'a [u8])> + use<'a> {
        let mut rest = self.attributes;
        std::iter::from_fn(move || next(&mut rest)?.ok())
    }

    /// The address that it says its request came from: the first XOR-MAPPED-ADDRESS, or what servers
    /// of before have in its place.
    pub fn mapped(&self) -> Option<SocketAddr> {
        let first = |wanted| self.attributes().find(|(kind, _)| *kind == wanted);
        let (kind, value) = first(XOR_MAPPED_ADDRESS).or_else(|| first(MAPPED_ADDRESS))?;
        let mask = if kind == XOR_MAPPED_ADDRESS { self.id.mask() } else { [0; 16] };
        read_address(value, mask)
    }

    /// The code of an error, 300 to 699.
    pub fn error(&self) -> Option<u16> {
        let (_, value) = self.attributes().find(|(kind, _)| *kind == ERROR_CODE)?;
        let &[_, _, class, number] = value.first_chunk()?;
        let class = class & 0x07;
        ((3..=6).contains(&class) && number < 100)
            .then(|| u16::from(class) * 100 + u16::from(number))
    }

    /// The attributes that whoever answers has to understand, and that nobody does here.
    pub fn not_understood(&self) -> impl Iterator<Item = u16> + use<'a> {
        let kinds = self.attributes().map(|(kind, _)| kind);
        kinds.filter(|kind| *kind < OPTIONAL && !CREDENTIALS.contains(kind))
    }
}

impl TransactionId {
    /// What addresses are masked with (RFC 8489 14.2), lest a NAT translates them as well.
    const fn mask(self) -> [u8; 16] {
        let [a, b, c, d] = MAGIC_COOKIE.to_be_bytes();
        let [e, f, g, h, i, j, k, l, m, n, o, p] = self.0;
        [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p]
    }
}

/// Whether a datagram may be the answer to a request: enough to tell it from WireGuard, whose first
/// message begins with 1 and three zeros, and from L2TP in UDP, which begins with 0.
#[inline]
pub fn is_answer(datagram: &[u8]) -> bool {
    let [a, b, c, d] = MAGIC_COOKIE.to_be_bytes();
    matches!(datagram, [1, 1 | 0x11, _, _, e, f, g, h, ..] if [*e, *f, *g, *h] == [a, b, c, d])
}

/// A Binding request without attributes.
pub fn request(id: TransactionId) -> [u8; HEADER_LEN] {
    header(Class::Request, 0, id)
}

/// The answer to the request `id` that came from `source`.
pub fn success(id: TransactionId, source: SocketAddr) -> Vec<u8> {
    let mut value = vec![0];
    // The masks of port and address both begin with the cookie.
    let mask = id.mask();
    let port = source.port() ^ high(mask);
    match source.ip().to_canonical() {
        IpAddr::V4(v4) => {
            value.push(1);
            value.extend(port.to_be_bytes());
            value.extend(masked(v4.octets(), mask));
        }
        IpAddr::V6(v6) => {
            value.push(2);
            value.extend(port.to_be_bytes());
            value.extend(masked(v6.octets(), mask));
        }
    }
    message(Class::Success, id, &[(XOR_MAPPED_ADDRESS, &value)])
}

/// The answer to a request with attributes that are not understood, of which the first are named.
pub fn refusal(id: TransactionId, attributes: impl IntoIterator<Item = u16>) -> Vec<u8> {
    let named: Vec<u8> = attributes.into_iter().take(NAMED).flat_map(u16::to_be_bytes).collect();
    // 420, without words: an answer is not to be longer than it has to be.
    message(Class::Error, id, &[(ERROR_CODE, &[0, 0, 4, 20]), (UNKNOWN_ATTRIBUTES, &named)])
}

fn message(class: Class, id: TransactionId, attributes: &[(u16, &[u8])]) -> Vec<u8> {
    let mut body = Vec::new();
    for (kind, value) in attributes {
        body.extend(kind.to_be_bytes());
        body.extend(u16::try_from(value.len()).unwrap_or(u16::MAX).to_be_bytes());
        body.extend_from_slice(value);
        body.resize(body.len().next_multiple_of(4), 0);
    }
    let length = u16::try_from(body.len()).unwrap_or(u16::MAX);
    let mut octets = header(class, length, id).to_vec();
    octets.extend(body);
    octets
}

fn header(class: Class, length: u16, id: TransactionId) -> [u8; HEADER_LEN] {
    let kind: u16 = match class {
        Class::Request => 0x0001,
        Class::Indication => 0x0011,
        Class::Success => 0x0101,
        Class::Error => 0x0111,
    };
    let ([k0, k1], [l0, l1]) = (kind.to_be_bytes(), length.to_be_bytes());
    let [c0, c1, c2, c3, i0, i1, i2, i3, i4, i5, i6, i7, i8, i9, ia, ib] = id.mask();
    [k0, k1, l0, l1, c0, c1, c2, c3, i0, i1, i2, i3, i4, i5, i6, i7, i8, i9, ia, ib]
}

/// The next attribute; `None` at the end.
fn next<'a>(rest: &mut &'a [u8]) -> Option<Result<(u16, &'a [u8]), DecodeError>> {
    let (&[k0, k1, l0, l1], after) = rest.split_first_chunk::<4>()?;
    let kind = u16::from_be_bytes([k0, k1]);
    let len = usize::from(u16::from_be_bytes([l0, l1]));
    let found = after.get(..len).zip(after.get(len.next_multiple_of(4)..));
    Some(match found {
        Some((value, behind)) => {
            *rest = behind;
            Ok((kind, value))
        }
        None => {
            *rest = &[];
            Err(DecodeError::Attribute(kind))
        }
    })
}

fn read_address(value: &[u8], mask: [u8; 16]) -> Option<SocketAddr> {
    let (&[_, family, p0, p1], address) = value.split_first_chunk::<4>()?;
    let ip: IpAddr = match family {
        1 => Ipv4Addr::from(masked::<4>(address.try_into().ok()?, mask)).into(),
        2 => Ipv6Addr::from(masked::<16>(address.try_into().ok()?, mask)).into(),
        _ => return None,
    };
    let port = u16::from_be_bytes([p0, p1]) ^ high(mask);
    Some(SocketAddr::new(ip.to_canonical(), port))
}

fn masked<const N: usize>(mut octets: [u8; N], mask: [u8; 16]) -> [u8; N] {
    octets.iter_mut().zip(mask).for_each(|(octet, mask)| *octet ^= mask);
    octets
}

/// The first sixteen bits.
const fn high(mask: [u8; 16]) -> u16 {
    let [a, b, ..] = mask;
    u16::from_be_bytes([a, b])
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: TransactionId = TransactionId(*b"abcdefghijkl");

    /// Changed at one octet.
    fn with(octets: &[u8], at: usize, value: u8) -> Vec<u8> {
        let mut octets = octets.to_vec();
        octets[at] = value;
        octets
    }

    /// RFC 5769 2.2, up to the attributes that are of credentials.
    #[test]
    fn the_response_of_rfc_5769_with_an_ipv4_address_is_read() {
        let octets = b"\x01\x01\x00\x3c\x21\x12\xa4\x42\xb7\xe7\xa7\x01\xbc\x34\xd6\x86\xfa\x87\xdf\xae\
            \x80\x22\x00\x0btest vector \
            \x00\x20\x00\x08\x00\x01\xa1\x47\xe1\x12\xa6\x43\
            \x00\x08\x00\x14\x2b\x91\xf5\x99\xfd\x9e\x90\xc3\x8c\x74\x89\xf9\x2a\xf9\xba\x53\xf0\x6b\xe7\xd7\
            \x80\x28\x00\x04\xc0\x7d\x4c\x96";
        let message = Message::decode(octets).unwrap();
        assert_eq!((message.class, message.method), (Class::Success, BINDING));
        assert_eq!(message.mapped(), Some("192.0.2.1:32853".parse().unwrap()));
        assert_eq!(
            message.not_understood().count(),
            1,
            "XOR-MAPPED-ADDRESS is no part of a request"
        );
        assert!(is_answer(octets));
    }

    /// RFC 5769 2.3, likewise.
    #[test]
    fn the_response_of_rfc_5769_with_an_ipv6_address_is_read() {
        let octets = b"\x01\x01\x00\x48\x21\x12\xa4\x42\xb7\xe7\xa7\x01\xbc\x34\xd6\x86\xfa\x87\xdf\xae\
            \x80\x22\x00\x0btest vector \
            \x00\x20\x00\x14\x00\x02\xa1\x47\x01\x13\xa9\xfa\xa5\xd3\xf1\x79\xbc\x25\xf4\xb5\xbe\xd2\xb9\xd9\
            \x00\x08\x00\x14\xa3\x82\x95\x4e\x4b\xe6\x7b\xf1\x17\x84\xc9\x7c\x82\x92\xc2\x75\xbf\xe3\xed\x41\
            \x80\x28\x00\x04\xc8\xfb\x0b\x4c";
        let mapped = "[2001:db8:1234:5678:11:2233:4455:6677]:32853".parse().unwrap();
        assert_eq!(Message::decode(octets).unwrap().mapped(), Some(mapped));
    }

    #[test]
    fn a_request_is_a_header_and_nothing_else() {
        assert_eq!(request(ID), *b"\0\x01\0\0\x21\x12\xa4\x42abcdefghijkl");
        let octets = request(ID);
        let message = Message::decode(&octets).unwrap();
        assert_eq!((message.class, message.method, message.id), (Class::Request, BINDING, ID));
        assert!(!is_answer(&octets));
    }

    #[test]
    fn an_answer_says_where_its_request_came_from_and_is_no_longer_than_that_takes() {
        for (source, length) in
            [("192.0.2.7:40000", 32), ("[::ffff:192.0.2.7]:40000", 32), ("[2001:db8::7]:1", 44)]
        {
            let source: SocketAddr = source.parse().unwrap();
            let octets = success(ID, source);
            assert_eq!(octets.len(), length, "{source}");
            assert!(octets.len() <= LONGEST_ANSWER && is_answer(&octets));
            let mapped = Message::decode(&octets).unwrap().mapped().unwrap();
            assert_eq!(mapped, SocketAddr::new(source.ip().to_canonical(), source.port()));
        }
    }

    #[test]
    fn a_refusal_names_what_was_not_understood_and_is_short_however_much_that_is() {
        let octets = refusal(ID, [3]);
        let message = Message::decode(&octets).unwrap();
        assert_eq!((message.class, message.error()), (Class::Error, Some(UNKNOWN_ATTRIBUTE)));
        let named: Vec<_> = message.attributes().filter(|(kind, _)| *kind == 0x000a).collect();
        assert_eq!(named, [(0x000a, &[0, 3][..])]);
        assert!(is_answer(&octets));
        assert_eq!(refusal(ID, 3..1000).len(), LONGEST_ANSWER);
    }

    #[test]
    fn what_is_no_message_is_told_from_one() {
        let sound = success(ID, "192.0.2.7:40000".parse().unwrap());
        assert_eq!(Message::decode(&sound[..19]), Err(DecodeError::Short(19)));
        for (at, value) in [(0, 0x41), (0, 0x81), (4, 0), (7, 0)] {
            let other = with(&sound, at, value);
            assert_eq!(Message::decode(&other), Err(DecodeError::NotStun), "octet {at}");
            assert!(!is_answer(&other), "octet {at}");
        }
        assert_eq!(Message::decode(&sound[..28]), Err(DecodeError::Length { said: 12, are: 8 }));
        let odd = with(&sound[..31], 3, 11);
        assert_eq!(Message::decode(&odd), Err(DecodeError::Length { said: 11, are: 11 }));
        let long = with(&sound, 23, 9);
        assert_eq!(Message::decode(&long), Err(DecodeError::Attribute(0x20)));
        assert_eq!(Message::decode(&with(&sound, 25, 3)).unwrap().mapped(), None, "family 3");
        assert_eq!(Message::decode(&with(&sound, 25, 2)).unwrap().mapped(), None, "too short");
    }

    #[test]
    fn wireguard_and_l2tp_are_no_answers() {
        let mut initiation = [7; 148];
        initiation[..8].copy_from_slice(&[1, 0, 0, 0, 0x21, 0x12, 0xa4, 0x42]);
        assert!(!is_answer(&initiation), "not even with the cookie for an index");
        assert!(!is_answer(&[0, 3, 0, 0, 0x21, 0x12, 0xa4, 0x42]));
        assert!(!is_answer(&[1, 1, 0, 0, 0x21, 0x12, 0xa4]));
    }

    #[test]
    fn a_method_is_read_around_the_class() {
        // RFC 8489 5: M11 to M7, C1, M6 to M4, C0, M3 to M0.
        let octets = with(&with(&request(ID), 0, 0x3e), 1, 0xef);
        let message = Message::decode(&octets).unwrap();
        assert_eq!((message.class, message.method), (Class::Request, 0x0fff));
        let octets = with(&with(&request(ID), 0, 0x01), 1, 0x10);
        let message = Message::decode(&octets).unwrap();
        assert_eq!((message.class, message.method), (Class::Error, 0));
    }
}
