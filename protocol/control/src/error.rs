//! What can be wrong with a message.

/// A message that cannot be understood. `field` is its path in the schema, such as
/// `hello.tunnels.local_session`; secrets are not repeated.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum DecodeError {
    /// More octets than a message may have.
    #[error("the message has {octets} octets: at most {limit} are read")]
    TooLong {
        /// How many there are.
        octets: usize,
        /// How many there may be.
        limit: usize,
    },
    /// Not protobuf, or of another schema.
    #[error("the message is not of the control channel's schema")]
    Protobuf(#[from] prost::DecodeError),
    /// What must be there is not.
    #[error("{field} is missing")]
    Missing {
        /// Where.
        field: &'static str,
    },
    /// Octets of the wrong length.
    #[error("{field} has {octets} octets, not {expected}")]
    Length {
        /// Where.
        field: &'static str,
        /// How many there are.
        octets: usize,
        /// How many there should be.
        expected: &'static str,
    },
    /// A value outside what is allowed.
    #[error("{field} is {value}: {expected}")]
    Value {
        /// Where.
        field: &'static str,
        /// What it is.
        value: i128,
        /// What it should be.
        expected: &'static str,
    },
    /// Something that must differ occurs twice.
    #[error("{field} names the same thing twice")]
    Repeated {
        /// Where.
        field: &'static str,
    },
    /// A list that is too long.
    #[error("{field} has {count} entries, more than {limit}")]
    TooMany {
        /// Where.
        field: &'static str,
        /// How many there are.
        count: usize,
        /// How many there may be.
        limit: usize,
    },
    /// A text that is no name, no MAC of a station, or not fit to be shown.
    #[error("{field} {problem}")]
    Text {
        /// Where.
        field: &'static str,
        /// What is wrong with it.
        problem: &'static str,
    },
}
