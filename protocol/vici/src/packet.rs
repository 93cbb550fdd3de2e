//! Packets, and the length before each.

use zeroize::Zeroizing;

use crate::error::{Malformed, TooLong};
use crate::section::{Reader, Section, Value, write_name};

/// The most octets of a packet, without its length.
pub const MAX_PACKET: usize = 512 * 1024;

/// The octets of the length.
pub const HEADER: usize = 4;

const REQUEST: u8 = 0;
const RESPONSE: u8 = 1;
const UNKNOWN_COMMAND: u8 = 2;
const REGISTER: u8 = 3;
const UNREGISTER: u8 = 4;
const CONFIRM: u8 = 5;
const UNKNOWN_EVENT: u8 = 6;
const EVENT: u8 = 7;

/// A packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Packet {
    /// To the daemon: do that.
    Request(String, Section),
    /// What became of the request.
    Response(Section),
    /// There is no such command.
    UnknownCommand,
    /// To the daemon: tell of these events.
    Register(String),
    /// To the daemon: no longer.
    Unregister(String),
    /// It does, or does not any more.
    Confirm,
    /// There are no such events.
    UnknownEvent,
    /// Something happened.
    Event(String, Section),
}

/// How many octets follow a header.
///
/// # Errors
/// More than a packet may have, or none.
pub fn length(header: [u8; HEADER]) -> Result<usize, Malformed> {
    match usize::try_from(u32::from_be_bytes(header)) {
        Ok(length) if (1..=MAX_PACKET).contains(&length) => Ok(length),
        _ => Err(Malformed("the length of a packet")),
    }
}

impl Packet {
    /// What is sent: the length, and the packet.
    ///
    /// # Errors
    /// Something does not fit its field.
    pub fn encode(&self) -> Result<Value, TooLong> {
        let mut out = Zeroizing::new(Vec::with_capacity(256));
        out.extend_from_slice(&[0; HEADER]);
        out.push(self.kind());
        if let Self::Request(name, _)
        | Self::Register(name)
        | Self::Unregister(name)
        | Self::Event(name, _) = self
        {
            write_name(name, &mut out)?;
        }
        if let Self::Request(_, message) | Self::Response(message) | Self::Event(_, message) = self
        {
            message.write(&mut out)?;
        }
        let octets = out.len() - HEADER;
        let too_long = || TooLong::Packet { octets, most: MAX_PACKET };
        let length = u32::try_from(octets).map_err(|_| too_long())?;
        if octets > MAX_PACKET {
            return Err(too_long());
        }
        if let Some(header) = out.first_chunk_mut() {
            *header = length.to_be_bytes();
        }
        Ok(out)
    }

    const fn kind(&self) -> u8 {
        match self {
            Self::Request(..) => REQUEST,
            Self::Response(_) => RESPONSE,
            Self::UnknownCommand => UNKNOWN_COMMAND,
            Self::Register(_) => REGISTER,
            Self::Unregister(_) => UNREGISTER,
            Self::Confirm => CONFIRM,
            Self::UnknownEvent => UNKNOWN_EVENT,
            Self::Event(..) => EVENT,
        }
    }

    /// Reads a packet, which is all of `octets`, without its length.
    ///
    /// # Errors
    /// It is none.
    pub fn decode(octets: &[u8]) -> Result<Self, Malformed> {
        let mut left = Reader(octets);
        let kind = left.kind().ok_or(Malformed("an empty packet"))?;
        let packet = match kind {
            REQUEST => Self::Request(left.name()?, Section::read(left.0)?),
            EVENT => Self::Event(left.name()?, Section::read(left.0)?),
            RESPONSE => Self::Response(Section::read(left.0)?),
            REGISTER => left.last(Self::Register)?,
            UNREGISTER => left.last(Self::Unregister)?,
            UNKNOWN_COMMAND => left.end(Self::UnknownCommand)?,
            CONFIRM => left.end(Self::Confirm)?,
            UNKNOWN_EVENT => left.end(Self::UnknownEvent)?,
            _ => return Err(Malformed("the kind of a packet")),
        };
        Ok(packet)
    }
}

impl Reader<'_> {
    /// A name, after which there is nothing.
    fn last(&mut self, packet: impl FnOnce(String) -> Packet) -> Result<Packet, Malformed> {
        let packet = packet(self.name()?);
        self.end(packet)
    }

    fn end(&self, packet: Packet) -> Result<Packet, Malformed> {
        if self.0.is_empty() { Ok(packet) } else { Err(Malformed("what follows the last field")) }
    }
}
