//! What can be wrong with a captured frame.

/// Why a captured frame was refused. Nothing here repeats an octet that a stranger chose, except
/// version numbers and lengths.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The frame ends inside this part of it.
    #[error("the frame ends inside its {0}")]
    Truncated(&'static str),
    /// A radiotap version other than 0.
    #[error("radiotap version {0} is unknown; only 0 is defined")]
    RadiotapVersion(u8),
    /// The radiotap header's own length is less than its fixed part, or more than was captured.
    #[error("the radiotap header claims {claimed} octets of a capture of {captured}")]
    RadiotapLength {
        /// The length field.
        claimed: u16,
        /// Octets there are.
        captured: usize,
    },
    /// More present words than [`MAX_PRESENT_WORDS`](crate::radiotap::MAX_PRESENT_WORDS).
    #[error("the radiotap header has too many present words")]
    RadiotapPresent,
    /// The radio found the frame check sequence wrong.
    #[error("the frame was damaged on the air (bad FCS)")]
    BadFcs,
    /// An 802.11 protocol version other than 0.
    #[error("802.11 protocol version {0} is unknown; only 0 is defined")]
    Version(u8),
    /// A fragment of a management frame: these frames are small enough never to need it.
    #[error("a management frame came in fragments")]
    Fragment,
    /// A probe or beacon with the Protected bit: these are never encrypted.
    #[error("a probe or beacon claims to be encrypted")]
    Protected,
    /// The sender's address is a group address (IEEE 802.11-2020 9.2.4.3.4 allows individual ones
    /// only).
    #[error("the sender's address is a group address")]
    GroupSource,
    /// An SSID element of more than 32 octets.
    #[error("the SSID element has {0} octets; at most 32 are allowed")]
    SsidLength(usize),
    /// A probe or beacon without an SSID element.
    #[error("the frame has no SSID element")]
    NoSsid,
}
