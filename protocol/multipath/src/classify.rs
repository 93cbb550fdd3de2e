//! What is small and urgent.

use serde::Serialize;

/// Octets up to which a packet that carries data is urgent, unless set otherwise.
pub const SMALL: usize = 300;

/// How a frame is treated in [`Mode::Automatic`](crate::Mode::Automatic).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Urgency {
    /// Mirrored, if there is budget left.
    Urgent,
    /// Striped.
    #[default]
    Bulk,
}

/// The urgency of an Ethernet frame without FCS, which may have 802.1Q tags; `small` is
/// [`SMALL`] or another number of octets, of the whole frame.
pub fn classify(frame: &[u8], small: usize) -> Urgency {
    if frame.len() <= small { Urgency::Urgent } else { Urgency::Bulk }
}
