//! What cannot be written, read or done.

/// What does not fit the field that it belongs into.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TooLong {
    /// A name.
    #[error("the name {name:?} has to have 1 to 255 octets")]
    Name {
        /// Which.
        name: String,
    },
    /// A value.
    #[error("the value of {name:?} has {octets} octets, and 65535 are the most")]
    Value {
        /// Of what; of a list, the list.
        name: String,
        /// How many it has.
        octets: usize,
    },
    /// Sections within sections.
    #[error("sections are nested more than {most} deep")]
    Depth {
        /// How deep they may be.
        most: usize,
    },
    /// All of it.
    #[error("the packet has {octets} octets, and {most} are the most")]
    Packet {
        /// How many it has.
        octets: usize,
        /// How many it may have.
        most: usize,
    },
}

/// What is no packet of VICI.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not what VICI says: {0}")]
pub struct Malformed(pub(crate) &'static str);

/// What the daemon did not do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failed {
    /// It says why.
    #[error("{command}: {reason}")]
    Refused {
        /// What it was told.
        command: String,
        /// In its words.
        reason: String,
    },
    /// It does not know that command: it is older, or its plugin is another.
    #[error("it does not know the command {command}: is it older than strongSwan 5.7?")]
    Unknown {
        /// Which.
        command: String,
    },
    /// It answers something else than it was asked.
    #[error("{command}: the answer is none")]
    Astray {
        /// What it was told.
        command: String,
    },
}
