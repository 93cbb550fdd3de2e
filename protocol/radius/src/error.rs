//! What can be wrong with a packet, with its signature, and with what should become a packet.

use crate::Code;
use crate::packet::{HEADER_LEN, MAX_ATTRIBUTES, MAX_PACKET_LEN};

/// Octets that are no RADIUS packet; RFC 2865 3 has them silently discarded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Fewer octets than a header has.
    #[error("{0} octets are no RADIUS packet: the header alone has {HEADER_LEN}")]
    Short(usize),
    /// A Length field outside what RFC 2865 3 allows.
    #[error("the Length field says {0}: a packet has {HEADER_LEN} to {MAX_PACKET_LEN} octets")]
    Length(usize),
    /// Fewer octets than the Length field says.
    #[error("the Length field says {length} and {octets} octets arrived")]
    Truncated {
        /// The Length field.
        length: usize,
        /// What arrived.
        octets: usize,
    },
    /// A Code this crate does not speak.
    #[error("Code {0} is not one of RFC 2865, 2866, 5176 or 5997")]
    Code(u8),
    /// An attribute whose Length is below 2 or leads past the end of the packet.
    #[error("attribute {kind} has Length {length} with {room} octets left in the packet")]
    AttributeLength {
        /// The attribute's Type.
        kind: u8,
        /// Its Length field; 0 where the packet ends before it.
        length: u8,
        /// The octets from its Type to the end of the packet.
        room: usize,
    },
    /// More attributes than are looked at.
    #[error("the packet has more than {MAX_ATTRIBUTES} attributes")]
    TooManyAttributes,
    /// An attribute that may occur once only occurs again.
    #[error("{} occurs more than once", crate::dictionary::name(*.0))]
    Repeated(u8),
}

/// A packet that its sender's shared secret does not vouch for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AuthError {
    /// More than one Message-Authenticator (RFC 3579 3.3 allows one).
    #[error("the packet has more than one Message-Authenticator")]
    RepeatedMessageAuthenticator,
    /// A Message-Authenticator that is not 16 octets long or not right.
    #[error(
        "Message-Authenticator is wrong: the shared secrets differ, or the packet was forged or altered"
    )]
    MessageAuthenticator,
    /// A Request Authenticator that is not the digest it should be (RFC 2866 3, RFC 5176 2.3).
    #[error(
        "the Request Authenticator is wrong: the shared secrets differ, or the packet was forged or altered"
    )]
    RequestAuthenticator,
    /// A Response Authenticator that is not the digest it should be (RFC 2865 3).
    #[error(
        "the Response Authenticator is wrong: the shared secrets differ, or the answer was forged or is not to this request"
    )]
    ResponseAuthenticator,
}

/// What cannot be put into a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    /// A value with nothing in it: RFC 2865 5 has the attribute left out instead.
    #[error("{} would be empty: leave it out", crate::dictionary::name(*.kind))]
    Empty {
        /// The attribute's Type.
        kind: u8,
    },
    /// A value that does not fit an attribute.
    #[error(
        "{} of {octets} octets does not fit: the limit is {limit}", crate::dictionary::name(*.kind)
    )]
    ValueTooLong {
        /// The attribute's Type.
        kind: u8,
        /// The value's octets.
        octets: usize,
        /// The most that fit.
        limit: usize,
    },
    /// An attribute that does not fit into what is left of 4,096 octets.
    #[error(
        "{} does not fit: the packet would have more than {MAX_PACKET_LEN} octets",
        crate::dictionary::name(*.kind)
    )]
    PacketTooLong {
        /// The attribute's Type.
        kind: u8,
    },
    /// An attribute that is hidden with a salt, put into a request.
    #[error("{} goes into answers only", crate::dictionary::name(*.kind))]
    NotInRequests {
        /// The attribute's Type.
        kind: u8,
    },
    /// A User-Password that ends in NUL: the padding would swallow it (RFC 2865 5.2).
    #[error("User-Password cannot end in a NUL octet")]
    TrailingNul,
    /// An answer whose code does not answer the request.
    #[error("{answer} does not answer {request}")]
    WrongAnswer {
        /// The answer's code.
        answer: Code,
        /// The request's code.
        request: Code,
    },
}
