//! Netlink, as much of it as a handful of requests needs (netlink(7), `linux/netlink.h`).
//!
//! A request is a message header, a fixed header of the family, and attributes; the answer is any
//! number of messages and then an acknowledgement or, after a dump, "done". Numbers are in the
//! machine's own byte order; messages and attributes are padded to four octets.
//!
//! Why not a library. wl-nl80211 0.8 with rtnetlink 0.24 brings futures, a task per socket and
//! 25,000 lines of which six requests are wanted, and knows a new monitor interface's flags only
//! as a raw attribute. neli 0.7 could say all that is said here; but of nl80211 it lacks monitor
//! flags, split dumps and interface combinations, each attribute passes through two builders that
//! can fail, and it takes 28 crates to build and 160 kB of a stripped binary. What is needed is
//! this file: one blocking socket, two kinds of request, no `unsafe`.

use std::io::{self, Read};
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};

use crate::error::Refusal;
use crate::sys;

/// How long the kernel may take: it answers a request before the call returns, except a dump,
/// which it makes piece by piece as the pieces are read.
const PATIENCE: Duration = Duration::from_secs(10);
/// The kernel sends dumps in pieces of at most 32 KiB, as the reader's room allows.
const ROOM: usize = 32 * 1024;
/// How often a dump is started anew because the machine changed under it.
const DUMP_ATTEMPTS: usize = 5;

const HEADER: usize = 16;
const NLM_F_DUMP_INTR: u16 = 0x10;
const NLM_F_CAPPED: u16 = 0x100;
const NLM_F_ACK_TLVS: u16 = 0x200;
const NLMSGERR_ATTR_MSG: u16 = 1;

/// The answer to a request: the bodies of its messages, without their headers.
pub(crate) type Answer = Vec<Vec<u8>>;

/// A socket to one netlink family.
#[derive(Debug)]
pub(crate) struct Netlink {
    socket: Socket,
    sequence: u32,
    room: Vec<u8>,
}

impl Netlink {
    /// Opens a socket to `NETLINK_ROUTE` or `NETLINK_GENERIC`.
    pub(crate) fn open(protocol: libc::c_int) -> io::Result<Self> {
        let socket =
            Socket::new(Domain::from(libc::AF_NETLINK), Type::RAW, Some(Protocol::from(protocol)))?;
        socket.set_read_timeout(Some(PATIENCE))?;
        // Older kernels have no sentences to give; their refusals come without.
        let _ = sys::set_option(&socket, libc::SOL_NETLINK, libc::NETLINK_EXT_ACK, 1);
        Ok(Self { socket, sequence: 0, room: vec![0; ROOM] })
    }

    /// Sends a request and waits for its acknowledgement.
    pub(crate) fn request(&mut self, kind: u16, body: &[u8]) -> Result<Answer, Refusal> {
        self.request_with(kind, 0, body)
    }

    /// The same with further flags, such as `NLM_F_CREATE`.
    pub(crate) fn request_with(
        &mut self,
        kind: u16,
        flags: u16,
        body: &[u8],
    ) -> Result<Answer, Refusal> {
        self.exchange(kind, flags | libc::NLM_F_ACK as u16, body).map(|(answer, _)| answer)
    }

    /// Asks for everything of a kind.
    pub(crate) fn dump(&mut self, kind: u16, body: &[u8]) -> Result<Answer, Refusal> {
        for _ in 0..DUMP_ATTEMPTS {
            match self.exchange(kind, libc::NLM_F_DUMP as u16, body)? {
                (answer, false) => return Ok(answer),
                (_, true) => tracing::debug!(kind, "dump interrupted by a change"),
            }
        }
        Err(io::Error::from_raw_os_error(libc::EAGAIN).into())
    }

    /// The second value: whether the answer is torn, made from before and after a change.
    fn exchange(&mut self, kind: u16, flags: u16, body: &[u8]) -> Result<(Answer, bool), Refusal> {
        self.sequence = self.sequence.wrapping_add(1);
        let message = message(kind, flags | libc::NLM_F_REQUEST as u16, self.sequence, body);
        self.socket.send(&message)?;
        let mut answer = Answer::new();
        let mut torn = false;
        loop {
            let len = loop {
                match (&self.socket).read(&mut self.room) {
                    Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                    other => break other?,
                }
            };
            for message in Messages(self.room.get(..len).unwrap_or_default()) {
                if message.sequence != self.sequence {
                    continue; // left over from a request that timed out
                }
                torn |= message.flags & NLM_F_DUMP_INTR != 0;
                match i32::from(message.kind) {
                    libc::NLMSG_NOOP => {}
                    libc::NLMSG_DONE | libc::NLMSG_ERROR => {
                        return message.outcome().map(|()| (answer, torn));
                    }
                    _ => answer.push(message.body.to_vec()),
                }
            }
        }
    }
}

fn message(kind: u16, flags: u16, sequence: u32, body: &[u8]) -> Vec<u8> {
    let len = (HEADER + body.len()) as u32;
    let mut message = Vec::with_capacity(HEADER + body.len());
    message.extend(len.to_ne_bytes());
    message.extend(kind.to_ne_bytes());
    message.extend(flags.to_ne_bytes());
    message.extend(sequence.to_ne_bytes());
    message.extend([0; 4]); // port: the kernel knows ours
    message.extend(body);
    message
}

struct Message<'a> {
    kind: u16,
    flags: u16,
    sequence: u32,
    body: &'a [u8],
}

impl Message<'_> {
    /// What an acknowledgement or a dump's end says: zero, or a negated errno and, where the
    /// kernel has one, a sentence among the attributes behind a copy of the request.
    fn outcome(&self) -> Result<(), Refusal> {
        let Some((code, rest)) = self.body.split_first_chunk() else {
            return Err(io::Error::from(io::ErrorKind::InvalidData).into());
        };
        let code = i32::from_ne_bytes(*code);
        if code == 0 {
            return Ok(());
        }
        let copied = if i32::from(self.kind) == libc::NLMSG_DONE {
            0
        } else if self.flags & NLM_F_CAPPED != 0 {
            HEADER
        } else {
            u32_at(rest, 0).map_or(HEADER, |len| (len as usize).next_multiple_of(4))
        };
        let detail = (self.flags & NLM_F_ACK_TLVS != 0)
            .then(|| Attributes::new(rest.get(copied..).unwrap_or_default()))
            .and_then(|attributes| attributes.get(NLMSGERR_ATTR_MSG))
            .and_then(text);
        Err(Refusal { source: io::Error::from_raw_os_error(code.saturating_neg()), detail })
    }
}

/// Iterates over the messages of one datagram; ends at the first that is cut off.
struct Messages<'a>(&'a [u8]);

impl<'a> Iterator for Messages<'a> {
    type Item = Message<'a>;

    fn next(&mut self) -> Option<Message<'a>> {
        let len = u32_at(self.0, 0)? as usize;
        let message = self.0.get(..len)?;
        let (header, body) = message.split_at_checked(HEADER)?;
        self.0 = self.0.get(len.next_multiple_of(4)..).unwrap_or_default();
        Some(Message {
            kind: u16_at(header, 4)?,
            flags: u16_at(header, 6)?,
            sequence: u32_at(header, 8)?,
            body,
        })
    }
}

/// Attributes as they were received: pairs of type and value, nested ones as their octets.
#[derive(Clone, Copy)]
pub(crate) struct Attributes<'a>(&'a [u8]);

impl<'a> Attributes<'a> {
    pub(crate) fn new(octets: &'a [u8]) -> Self {
        Self(octets)
    }

    /// The first attribute of that type.
    pub(crate) fn get(mut self, kind: u16) -> Option<&'a [u8]> {
        self.find(|(k, _)| *k == kind).map(|(_, value)| value)
    }

    pub(crate) fn u32(self, kind: u16) -> Option<u32> {
        self.get(kind).and_then(|value| u32_at(value, 0))
    }

    pub(crate) fn text(self, kind: u16) -> Option<String> {
        self.get(kind).and_then(text)
    }

    pub(crate) fn nested(self, kind: u16) -> Self {
        Self(self.get(kind).unwrap_or_default())
    }
}

impl<'a> Iterator for Attributes<'a> {
    type Item = (u16, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let len = usize::from(u16_at(self.0, 0)?);
        let value = self.0.get(4..len)?;
        // The two top bits say "nested" and "big-endian"; they are no part of the type.
        let kind = u16_at(self.0, 2)? & 0x3fff;
        self.0 = self.0.get(len.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, value))
    }
}

/// The body of a request in the making: the family's fixed header, then attributes.
pub(crate) struct Body(Vec<u8>);

impl Body {
    pub(crate) fn new(fixed: &[u8]) -> Self {
        Self(fixed.to_vec())
    }

    pub(crate) fn with(mut self, kind: u16, value: &[u8]) -> Self {
        self.0.extend(((4 + value.len()) as u16).to_ne_bytes());
        self.0.extend(kind.to_ne_bytes());
        self.0.extend(value);
        self.0.resize(self.0.len().next_multiple_of(4), 0);
        self
    }

    pub(crate) fn with_u32(self, kind: u16, value: u32) -> Self {
        self.with(kind, &value.to_ne_bytes())
    }

    /// An attribute with a text, zero-terminated.
    pub(crate) fn with_text(self, kind: u16, value: &str) -> Self {
        let mut octets = value.as_bytes().to_vec();
        octets.push(0);
        self.with(kind, &octets)
    }

    pub(crate) fn octets(&self) -> &[u8] {
        &self.0
    }
}

/// A text, without what terminates it.
fn text(value: &[u8]) -> Option<String> {
    let end = value.iter().position(|c| *c == 0).unwrap_or(value.len());
    value.get(..end).map(|octets| String::from_utf8_lossy(octets).into_owned())
}

pub(crate) fn u16_at(octets: &[u8], at: usize) -> Option<u16> {
    octets.get(at..)?.first_chunk().map(|chunk| u16::from_ne_bytes(*chunk))
}

pub(crate) fn u32_at(octets: &[u8], at: usize) -> Option<u32> {
    octets.get(at..)?.first_chunk().map(|chunk| u32::from_ne_bytes(*chunk))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_come_back_as_they_were_put() {
        let body = Body::new(&[9; 4]).with_text(4, "mon0").with_u32(0x8000 | 5, 6).with(7, &[1]);
        assert_eq!(body.octets().len(), 4 + 12 + 8 + 8);
        let attributes = Attributes::new(&body.octets()[4..]);
        assert_eq!(attributes.text(4).as_deref(), Some("mon0"));
        assert_eq!(attributes.u32(5), Some(6));
        assert_eq!(attributes.get(7), Some(&[1][..]));
        assert_eq!(attributes.get(8), None);
    }

    #[test]
    fn attributes_that_lie_about_their_length_end_the_list() {
        for octets in [&[0, 0, 1, 0][..], &[3, 0, 1, 0], &[9, 0, 1, 0, 1, 2, 3, 4], &[8], &[]] {
            assert_eq!(Attributes::new(octets).count(), 0, "{octets:?}");
        }
    }

    #[test]
    fn messages_that_lie_about_their_length_end_the_datagram() {
        let good = message(18, 0, 7, &[1, 2, 3]);
        assert_eq!(Messages(&good).count(), 1);
        for len in [0u32, 15, 20, u32::MAX] {
            let mut bad = good.clone();
            bad[..4].copy_from_slice(&len.to_ne_bytes());
            assert_eq!(Messages(&bad).count(), 0, "{len}");
        }
    }

    #[test]
    fn a_refusal_keeps_the_kernels_sentence() {
        let request = message(16, 5, 1, &[0; 6]);
        let mut body = (-libc::EBUSY).to_ne_bytes().to_vec();
        body.extend(&request);
        body.resize(body.len().next_multiple_of(4), 0);
        body.extend(Body::new(&[]).with_text(NLMSGERR_ATTR_MSG, "is taken").octets());
        let answer = message(libc::NLMSG_ERROR as u16, NLM_F_ACK_TLVS, 1, &body);
        let refusal = Messages(&answer).next().unwrap().outcome().unwrap_err();
        assert_eq!(refusal.source.raw_os_error(), Some(libc::EBUSY));
        assert_eq!(refusal.detail.as_deref(), Some("is taken"));
    }
}
