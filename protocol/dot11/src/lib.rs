//! 802.11 frames as a monitor interface hands them over, and the keys of a WPA network.
//!
//! | module | does |
//! |---|---|
//! | [`observe`] | the one entry point: a captured frame in, what it says out |
//! | [`radiotap`] | the header that the driver puts in front of a captured frame |
//! | [`frame`] | management frames: header, subtypes, elements, probe requests, beacons |
//! | [`key`] | passphrases, and the PSK that a passphrase and an SSID make |
//! | [`build`] | the other direction, for tests and labs: frames to inject |
//!
//! Whoever is in reach of the antenna writes these frames. So decoding borrows, is bounded, never
//! panics, and has a fuzz target; its errors carry no octet of the frame.
#![forbid(unsafe_code)]
#![deny(clippy::indexing_slicing, clippy::cast_possible_truncation)]

pub mod build;
pub mod error;
pub mod frame;
pub mod key;
pub mod radiotap;
#[doc(hidden)]
pub mod testing;

pub use error::DecodeError;
pub use frame::{Beacon, ProbeRequest};
pub use key::{device_key, generate_passphrase, psk};
pub use radiotap::Radiotap;

use frame::{Header, Subtype};

/// What a captured frame says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Observation {
    /// A device looks for networks.
    ProbeRequest(ProbeRequest),
    /// An access point announces itself.
    Beacon(Beacon),
    /// An access point answers a probe request.
    ProbeResponse(Beacon),
    /// A frame that this radio sent itself; see [`Radiotap::is_own`].
    Own,
    /// Any other frame, decoded no further.
    Other,
}

/// Decodes a frame captured on a monitor interface: a radiotap header, then the 802.11 frame.
///
/// # Errors
///
/// The frame is damaged (its FCS was wrong), cut off, against the format, or claims a group
/// address as its sender.
pub fn observe(captured: &[u8]) -> Result<Observation, DecodeError> {
    let (radio, frame) = radiotap::decode(captured)?;
    if radio.is_own() {
        return Ok(Observation::Own);
    }
    let Some((header, body)) = Header::decode(frame)? else {
        return Ok(Observation::Other);
    };
    Ok(match header.subtype {
        Subtype::ProbeRequest => {
            Observation::ProbeRequest(ProbeRequest::decode(&header, body, &radio)?)
        }
        Subtype::Beacon => Observation::Beacon(Beacon::decode(&header, body, &radio)?),
        Subtype::ProbeResponse => {
            Observation::ProbeResponse(Beacon::decode(&header, body, &radio)?)
        }
        _ => Observation::Other,
    })
}
