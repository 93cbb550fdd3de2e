//! DHCP messages of both families, as far as a switch looks into them.

use homeward_model::Mac;

use crate::address::Address;
use crate::frame::Key;

pub(crate) const BOOT_REQUEST: u8 = 1;
pub(crate) const BOOT_REPLY: u8 = 2;
pub(crate) const DECLINE: u8 = 4;
pub(crate) const ACK: u8 = 5;
pub(crate) const NAK: u8 = 6;
pub(crate) const RELEASE: u8 = 7;
/// DHCPv6 Reply (RFC 8415 7.3).
pub(crate) const REPLY_V6: u8 = 7;
/// Relay-forward and Relay-reply.
pub(crate) const RELAY_V6: [u8; 2] = [12, 13];

/// A DHCPv4 (or BOOTP) message (RFC 2131 2, options of RFC 2132).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) operation: u8,
    /// `ciaddr`: the address that the client has.
    pub(crate) has: Address,
    /// `yiaddr`: the address that the client is given.
    pub(crate) given: Address,
    /// Whether a relay's address is filled in, or a relay's option is there.
    pub(crate) relayed: bool,
    /// `chaddr`, if it is a MAC address.
    pub(crate) client: Option<Key>,
    /// Message type; `None` in BOOTP.
    pub(crate) kind: Option<u8>,
    /// Requested IP address.
    pub(crate) requested: Option<Address>,
    /// Lease time, in seconds.
    pub(crate) lease: Option<u32>,
    /// Client identifier, if it is a MAC address.
    pub(crate) identifier: Option<Key>,
    /// Options that are cut, twice there or continued in other fields, so that two readers might
    /// read two messages.
    pub(crate) ambiguous: bool,
}

impl Message {
    /// Decodes a UDP payload; `None` if it is too short for one.
    pub(crate) fn decode(octets: &[u8]) -> Option<Self> {
        let (fixed, vendor) = octets.split_first_chunk::<236>()?;
        let [operation, _, hardware_length, _, _, _, _, _, _, _, _, _, addresses @ ..] = fixed;
        let [c0, c1, c2, c3, y0, y1, y2, y3, _, _, _, _, addresses @ ..] = addresses;
        let [g0, g1, g2, g3, m0, m1, m2, m3, m4, m5, ..] = addresses;
        let mac = Key::of(Mac::new([*m0, *m1, *m2, *m3, *m4, *m5]));
        let mut message = Self {
            operation: *operation,
            has: Address::v4([*c0, *c1, *c2, *c3]),
            given: Address::v4([*y0, *y1, *y2, *y3]),
            relayed: [*g0, *g1, *g2, *g3] != [0; 4],
            client: (*hardware_length == 6).then_some(mac),
            kind: None,
            requested: None,
            lease: None,
            identifier: None,
            ambiguous: false,
        };
        if let [99, 130, 83, 99, options @ ..] = vendor {
            message.read(options);
        }
        Some(message)
    }

    fn read(&mut self, mut options: &[u8]) {
        let mut seen = [false; 256];
        loop {
            let (code, rest) = match options {
                [] | [255, ..] => return,
                [0, rest @ ..] => {
                    options = rest;
                    continue;
                }
                [code, length, rest @ ..] => {
                    let Some((value, rest)) = rest.split_at_checked((*length).into()) else {
                        break;
                    };
                    self.option(*code, value);
                    (*code, rest)
                }
                [_] => break,
            };
            if let Some(seen) = seen.get_mut(usize::from(code)) {
                self.ambiguous |= *seen && matches!(code, 50 | 51 | 53 | 61);
                *seen = true;
            }
            options = rest;
        }
        self.ambiguous = true;
    }

    fn option(&mut self, code: u8, value: &[u8]) {
        match (code, value) {
            (50, [a, b, c, d]) => self.requested = Some(Address::v4([*a, *b, *c, *d])),
            (51, [a, b, c, d]) => self.lease = Some(u32::from_be_bytes([*a, *b, *c, *d])),
            (53, [kind]) => self.kind = Some(*kind),
            (61, [1, a, b, c, d, e, f]) => {
                self.identifier = Some(Key::of(Mac::new([*a, *b, *c, *d, *e, *f])));
            }
            (50 | 51 | 53, _) => self.ambiguous = true,
            // Options in the fields for file names, too.
            (52, _) => self.ambiguous = true,
            // A relay's (RFC 3046).
            (82, _) => self.relayed = true,
            _ => {}
        }
    }
}

/// Calls `each` with the addresses that a DHCPv6 message assigns and their valid lifetimes in
/// seconds: IA Address options in options for IA_NA and IA_TA (RFC 8415 21.4 to 21.6).
pub(crate) fn assigned_v6(message: &[u8], mut each: impl FnMut(Address, u32)) {
    let Some((_, options)) = message.split_first_chunk::<4>() else { return };
    for (code, value) in Options(options) {
        let inner = match code {
            3 => value.get(12..),
            4 => value.get(4..),
            _ => None,
        };
        for (code, value) in Options(inner.unwrap_or_default()) {
            if code == 5
                && let Some((address, rest)) = value.split_first_chunk::<16>()
                && let Some([_, _, _, _, a, b, c, d]) = rest.first_chunk::<8>()
            {
                each(Address::v6(*address), u32::from_be_bytes([*a, *b, *c, *d]));
            }
        }
    }
}

/// DHCPv6 options: code and length in 16 bits each. Ends at the first that is cut.
struct Options<'a>(&'a [u8]);

impl<'a> Iterator for Options<'a> {
    type Item = (u16, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let ([c0, c1, l0, l1], rest) = self.0.split_first_chunk::<4>()?;
        let (value, rest) = rest.split_at_checked(u16::from_be_bytes([*l0, *l1]).into())?;
        self.0 = rest;
        Some((u16::from_be_bytes([*c0, *c1]), value))
    }
}
