//! PDUs in a stream.
//!
//! They are cut out of the stream here and read by `rusmpp` one at a time, so that one that cannot
//! be read is known by its header and costs nothing but itself: an SMSC delivers again what was not
//! answered, and a message that ended the session would end each that follows.

use rusmpp::tokio_codec::{CommandCodec, DecodeError, EncodeError};
use rusmpp::{Command, CommandId, CommandStatus};
use tokio_util::bytes::BytesMut;
use tokio_util::codec::{Decoder, Encoder};

/// The longest PDU that is read: it has room for a message_payload of 8192 octets.
const MAX_PDU: usize = 10 * 1024;

/// A PDU's header (3.2).
const HEADER: usize = 16;

/// What came.
#[derive(Debug)]
pub(crate) enum Read {
    /// A PDU. Its body is missing where the other side left it out, as many do with an error.
    Command(Box<Command>),
    /// One with a body that is none.
    Unreadable(Header),
}

/// What is known of a PDU without its body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) id: CommandId,
    pub(crate) status: CommandStatus,
    pub(crate) sequence: u32,
}

impl Read {
    pub(crate) fn header(&self) -> Header {
        match self {
            Self::Command(command) => Header {
                id: command.id(),
                status: command.status(),
                sequence: command.sequence_number(),
            },
            Self::Unreadable(header) => *header,
        }
    }
}

/// Cuts and reads.
#[derive(Debug, Default)]
pub(crate) struct Codec(CommandCodec);

impl Decoder for Codec {
    type Item = Read;
    type Error = DecodeError;

    fn decode(&mut self, stream: &mut BytesMut) -> Result<Option<Read>, DecodeError> {
        let Some((len, [id, status, sequence])) = header(stream) else { return Ok(None) };
        let len = usize::try_from(len).unwrap_or(usize::MAX);
        // Where the next one begins cannot be known.
        if len < HEADER {
            return Err(DecodeError::MinLength { actual: len, min: HEADER });
        }
        if len > MAX_PDU {
            return Err(DecodeError::MaxLength { actual: len, max: MAX_PDU });
        }
        if stream.len() < len {
            stream.reserve(len - stream.len());
            return Ok(None);
        }
        let mut pdu = stream.split_to(len);
        let read = CommandCodec::new().without_max_length().decode(&mut pdu);
        Ok(Some(match read {
            Ok(Some(command)) => Read::Command(Box::new(command)),
            Ok(None) | Err(_) => {
                let (id, status) = (CommandId::from(id), CommandStatus::from(status));
                Read::Unreadable(Header { id, status, sequence })
            }
        }))
    }
}

/// The length and the rest of a header, if it is there.
fn header(stream: &[u8]) -> Option<(u32, [u32; 3])> {
    let mut words = stream.first_chunk::<HEADER>()?.chunks_exact(4);
    let mut word = || Some(u32::from_be_bytes(words.next()?.try_into().ok()?));
    Some((word()?, [word()?, word()?, word()?]))
}

impl Encoder<Command> for Codec {
    type Error = EncodeError;

    fn encode(&mut self, command: Command, stream: &mut BytesMut) -> Result<(), EncodeError> {
        self.0.encode(command, stream)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rusmpp::Pdu;

    fn pdu(id: u32, status: u32, sequence: u32, body: &[u8]) -> Vec<u8> {
        let len = u32::try_from(HEADER + body.len()).unwrap();
        let head = [len, id, status, sequence].map(u32::to_be_bytes).concat();
        [head, body.to_vec()].concat()
    }

    #[test]
    fn an_answer_without_a_body_is_one_and_a_body_that_is_none_costs_only_itself() {
        // submit_sm_resp with ESME_RTHROTTLED and nothing else (4.4.2 allows that); deliver_sm of
        // three octets; enquire_link.
        let stream =
            [pdu(0x8000_0004, 0x58, 7, b""), pdu(5, 0, 8, b"\0\x01\x01"), pdu(0x15, 0, 9, b"")]
                .concat();
        let mut stream = BytesMut::from(&stream[..]);
        let mut codec = Codec::default();
        let Some(Read::Command(first)) = codec.decode(&mut stream).unwrap() else { panic!() };
        assert_eq!((first.id(), first.pdu()), (CommandId::SubmitSmResp, None));
        assert_eq!((first.status(), first.sequence_number()), (CommandStatus::EsmeRthrottled, 7));
        let Some(Read::Unreadable(second)) = codec.decode(&mut stream).unwrap() else { panic!() };
        assert_eq!((second.id, second.sequence), (CommandId::DeliverSm, 8));
        let Some(Read::Command(third)) = codec.decode(&mut stream).unwrap() else { panic!() };
        assert_eq!((third.pdu(), third.sequence_number()), (Some(&Pdu::EnquireLink), 9));
        assert!(codec.decode(&mut stream).unwrap().is_none());
    }

    #[test]
    fn a_length_that_cannot_be_ends_the_stream() {
        for len in [0u32, 15, 10 * 1024 + 1, u32::MAX] {
            let octets = [len, 0x15, 0, 1].map(u32::to_be_bytes).concat();
            assert!(Codec::default().decode(&mut BytesMut::from(&octets[..])).is_err(), "{len}");
        }
        let mut longest = BytesMut::from(&pdu(5, 0, 1, &[0; 10 * 1024 - 16])[..]);
        assert!(Codec::default().decode(&mut longest).unwrap().is_some());
    }

    proptest! {
        #[test]
        fn any_octets_are_read_to_their_end_without_a_fault(
            bodies in proptest::collection::vec((any::<u8>(), any::<Vec<u8>>()), 0..8),
            cut: usize,
        ) {
            let all: Vec<u8> = bodies
                .iter()
                .flat_map(|(id, body)| pdu(u32::from(*id & 0x1f), 0, 1, body))
                .collect();
            let (first, rest) = all.split_at(cut % (all.len() + 1));
            let (mut codec, mut stream, mut count) = (Codec::default(), BytesMut::from(first), 0);
            while codec.decode(&mut stream).unwrap().is_some() {
                count += 1;
            }
            stream.extend_from_slice(rest);
            while codec.decode(&mut stream).unwrap().is_some() {
                count += 1;
            }
            prop_assert_eq!((count, stream.len()), (bodies.len(), 0));
        }
    }
}
