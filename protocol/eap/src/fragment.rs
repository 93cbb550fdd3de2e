//! TLS in EAP: flags, reassembly and fragmentation (RFC 5216 2.1.5, 3.1; RFC 5281 9.1).

/// The L flag: four octets of total length follow.
const LENGTH: u8 = 0x80;
/// The M flag: more fragments follow.
const MORE: u8 = 0x40;
/// The S flag: the conversation starts.
const START: u8 = 0x20;
/// Flags and total length: what the first fragment spends.
const OVERHEAD: usize = 5;

/// What is wrong with a peer's fragments.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FragmentError {
    /// No flags, or no room for the length that they announce.
    #[error("the peer's TLS packet is cut short")]
    Short,
    /// More than the limit, announced or sent.
    #[error("the peer's TLS message is longer than {limit} octets")]
    TooLong {
        /// The limit.
        limit: usize,
    },
    /// The fragments add up to another length than announced.
    #[error("the peer announced {announced} octets of TLS and sent {sent}")]
    Length {
        /// The length announced.
        announced: usize,
        /// The octets sent.
        sent: usize,
    },
    /// A fragment without data says that more follow.
    #[error("the peer sent an empty fragment")]
    Empty,
    /// Data where an acknowledgement was due.
    #[error("the peer sent data before it had all of ours")]
    OutOfTurn,
}

/// What follows the type of an EAP-TLS, EAP-TTLS or PEAP packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TlsPacket<'a> {
    /// The whole message's length, where the L flag is set.
    pub(crate) total: Option<usize>,
    /// Whether more fragments follow.
    pub(crate) more: bool,
    /// The fragment.
    pub(crate) data: &'a [u8],
}

impl<'a> TlsPacket<'a> {
    pub(crate) fn decode(octets: &'a [u8]) -> Result<Self, FragmentError> {
        // A response of the type alone is how some peers acknowledge.
        let Some((&flags, rest)) = octets.split_first() else {
            return Ok(Self { total: None, more: false, data: &[] });
        };
        let (total, data) = if flags & LENGTH == 0 {
            (None, rest)
        } else {
            let (total, data) = rest.split_first_chunk::<4>().ok_or(FragmentError::Short)?;
            (Some(usize::try_from(u32::from_be_bytes(*total)).unwrap_or(usize::MAX)), data)
        };
        Ok(Self { total, more: flags & MORE != 0, data })
    }

    /// An acknowledgement, as RFC 5216 2.1.5 has it: no data.
    pub(crate) fn is_acknowledgement(&self) -> bool {
        self.data.is_empty() && !self.more
    }
}

/// The flags of the packet that starts a method of version 0.
pub(crate) fn start() -> Vec<u8> {
    vec![START]
}

/// An acknowledgement: no flags, no data.
pub(crate) fn acknowledgement() -> Vec<u8> {
    vec![0]
}

/// A message being put together. It never holds more than its limit.
#[derive(Debug)]
pub(crate) struct Assembly {
    octets: Vec<u8>,
    announced: Option<usize>,
    limit: usize,
}

impl Assembly {
    pub(crate) fn new(limit: usize) -> Self {
        Self { octets: Vec::new(), announced: None, limit }
    }

    /// Whether fragments are still to come.
    pub(crate) fn is_open(&self) -> bool {
        !self.octets.is_empty()
    }

    /// Takes a fragment; the whole message once it was the last.
    pub(crate) fn push(
        &mut self,
        packet: &TlsPacket<'_>,
    ) -> Result<Option<Vec<u8>>, FragmentError> {
        let too_long = FragmentError::TooLong { limit: self.limit };
        if packet.more && packet.data.is_empty() {
            return Err(FragmentError::Empty);
        }
        if let Some(total) = packet.total {
            if total > self.limit {
                return Err(too_long);
            }
            let announced = *self.announced.get_or_insert(total);
            if announced != total {
                return Err(FragmentError::Length { announced, sent: total });
            }
        }
        let sent = self.octets.len() + packet.data.len();
        if sent > self.limit {
            return Err(too_long);
        }
        match self.announced {
            Some(announced) if sent > announced || (sent < announced && !packet.more) => {
                return Err(FragmentError::Length { announced, sent });
            }
            _ => {}
        }
        self.octets.extend(packet.data);
        if packet.more {
            return Ok(None);
        }
        self.announced = None;
        Ok(Some(std::mem::take(&mut self.octets)))
    }
}

/// A message on its way out, a fragment per request.
#[derive(Debug)]
pub(crate) struct Outgoing {
    octets: Vec<u8>,
    sent: usize,
    /// The most octets behind the type: flags, length and data.
    room: usize,
}

impl Outgoing {
    /// `room`: the most octets behind the type.
    pub(crate) fn new(octets: Vec<u8>, room: usize) -> Self {
        Self { octets, sent: 0, room: room.max(OVERHEAD + 1) }
    }

    /// Whether fragments are still to be sent.
    pub(crate) fn has_more(&self) -> bool {
        self.sent < self.octets.len()
    }

    /// The next fragment, with its flags. The first of several tells the whole length.
    pub(crate) fn next(&mut self) -> Vec<u8> {
        let left = self.octets.get(self.sent..).unwrap_or_default();
        let first = self.sent == 0;
        let whole = left.len() < self.room;
        let announce = first && !whole;
        let room = self.room - if announce { OVERHEAD } else { 1 };
        let data = left.get(..room).unwrap_or(left);
        let more = data.len() < left.len();
        let mut packet = Vec::with_capacity(self.room);
        packet.push(if announce { LENGTH } else { 0 } | if more { MORE } else { 0 });
        if announce {
            packet.extend(u32::try_from(self.octets.len()).unwrap_or(u32::MAX).to_be_bytes());
        }
        packet.extend(data);
        self.sent += data.len();
        packet
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_was_cut_is_put_together_again(
            message in proptest::collection::vec(any::<u8>(), 0..5000),
            room in 0usize..1500,
        ) {
            let mut outgoing = Outgoing::new(message.clone(), room);
            let mut assembly = Assembly::new(5000);
            loop {
                let fragment = outgoing.next();
                prop_assert!(fragment.len() <= room.max(OVERHEAD + 1));
                let packet = TlsPacket::decode(&fragment).unwrap();
                prop_assert_eq!(packet.more, outgoing.has_more());
                if let Some(whole) = assembly.push(&packet).unwrap() {
                    prop_assert_eq!(whole, message);
                    break;
                }
            }
            prop_assert!(!assembly.is_open());
        }
    }

    #[test]
    fn a_message_longer_than_the_limit_is_refused_announced_or_not() {
        let refused = Err(FragmentError::TooLong { limit: 10 });
        let announced = TlsPacket { total: Some(11), more: true, data: &[0] };
        assert_eq!(Assembly::new(10).push(&announced), refused);
        let mut assembly = Assembly::new(10);
        let part = TlsPacket { total: None, more: true, data: &[0; 6] };
        assert_eq!(assembly.push(&part), Ok(None));
        assert_eq!(assembly.push(&part), refused);
    }

    #[test]
    fn fragments_add_up_to_what_was_announced() {
        let mut assembly = Assembly::new(100);
        let first = TlsPacket { total: Some(8), more: true, data: &[0; 5] };
        assert_eq!(assembly.push(&first), Ok(None));
        let rest = TlsPacket { total: None, more: false, data: &[0; 4] };
        assert_eq!(assembly.push(&rest), Err(FragmentError::Length { announced: 8, sent: 9 }));
        let short = TlsPacket { total: None, more: false, data: &[0; 2] };
        assert_eq!(assembly.push(&short), Err(FragmentError::Length { announced: 8, sent: 7 }));
        let changed = TlsPacket { total: Some(9), more: true, data: &[0; 2] };
        assert_eq!(assembly.push(&changed), Err(FragmentError::Length { announced: 8, sent: 9 }));
        let empty = TlsPacket { total: None, more: true, data: &[] };
        assert_eq!(assembly.push(&empty), Err(FragmentError::Empty));
    }
}
