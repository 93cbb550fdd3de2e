//! Management frames (IEEE 802.11-2020 9.3.3) as far as a gateway reads them.
//!
//! Header: frame control, duration, addresses 1 to 3 (receiver, transmitter, BSSID), sequence
//! control, and HT Control when the frame control's +HTC bit says so (9.2.4.1.10). Then fixed
//! fields, then elements of identifier, length and content. All numbers are little-endian.

use homeward_model::{Mac, Rssi, Ssid};

use crate::{DecodeError, Radiotap};

/// The management frame subtypes of Table 9-1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subtype {
    /// Association Request (0).
    AssociationRequest,
    /// Association Response (1).
    AssociationResponse,
    /// Reassociation Request (2).
    ReassociationRequest,
    /// Reassociation Response (3).
    ReassociationResponse,
    /// Probe Request (4).
    ProbeRequest,
    /// Probe Response (5).
    ProbeResponse,
    /// Beacon (8).
    Beacon,
    /// Disassociation (10).
    Disassociation,
    /// Authentication (11).
    Authentication,
    /// Deauthentication (12).
    Deauthentication,
    /// Action (13).
    Action,
    /// Any other, by its number.
    Other(u8),
}

impl Subtype {
    /// The subtype with that number, 0 to 15.
    pub const fn from_number(number: u8) -> Self {
        match number {
            0 => Self::AssociationRequest,
            1 => Self::AssociationResponse,
            2 => Self::ReassociationRequest,
            3 => Self::ReassociationResponse,
            4 => Self::ProbeRequest,
            5 => Self::ProbeResponse,
            8 => Self::Beacon,
            10 => Self::Disassociation,
            11 => Self::Authentication,
            12 => Self::Deauthentication,
            13 => Self::Action,
            other => Self::Other(other),
        }
    }
}

/// The header of a management frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// What kind of frame it is.
    pub subtype: Subtype,
    /// Whether the body is encrypted.
    pub protected: bool,
    /// Address 1: who shall receive it; often broadcast.
    pub destination: Mac,
    /// Address 2: who sent it; never a group address.
    pub source: Mac,
    /// Address 3: the BSSID, or broadcast in a probe request to anyone.
    pub bssid: Mac,
    /// Sequence number, 0 to 4095.
    pub sequence: u16,
}

impl Header {
    /// Splits a frame (without radiotap and FCS) into its header and the body; `None` if it is a
    /// control or data frame.
    ///
    /// # Errors
    ///
    /// An unknown protocol version, a header cut off, a fragment, a group address as the sender.
    pub fn decode(frame: &[u8]) -> Result<Option<(Self, &[u8])>, DecodeError> {
        let truncated = DecodeError::Truncated("802.11 header");
        let ([control, flags], _) = frame.split_first_chunk().ok_or(truncated)?;
        if control & 3 != 0 {
            return Err(DecodeError::Version(control & 3));
        }
        if control >> 2 & 3 != 0 {
            return Ok(None);
        }
        let (fixed, mut body) = frame.split_first_chunk::<24>().ok_or(truncated)?;
        let [_, _, _, _, a1 @ .., s0, s1] = fixed;
        let [d0, d1, d2, d3, d4, d5, t0, t1, t2, t3, t4, t5, b0, b1, b2, b3, b4, b5] = *a1;
        if flags & HTC != 0 {
            body = body.split_at_checked(4).ok_or(DecodeError::Truncated("HT Control field"))?.1;
        }
        let sequence_control = u16::from_le_bytes([*s0, *s1]);
        if flags & MORE_FRAGMENTS != 0 || sequence_control & 15 != 0 {
            return Err(DecodeError::Fragment);
        }
        let source = Mac::new([t0, t1, t2, t3, t4, t5]);
        if source.is_group() {
            return Err(DecodeError::GroupSource);
        }
        let header = Self {
            subtype: Subtype::from_number(control >> 4),
            protected: flags & PROTECTED != 0,
            destination: Mac::new([d0, d1, d2, d3, d4, d5]),
            source,
            bssid: Mac::new([b0, b1, b2, b3, b4, b5]),
            sequence: sequence_control >> 4,
        };
        Ok(Some((header, body)))
    }

    fn unprotected(&self) -> Result<(), DecodeError> {
        if self.protected { Err(DecodeError::Protected) } else { Ok(()) }
    }
}

const MORE_FRAGMENTS: u8 = 0x04;
const PROTECTED: u8 = 0x40;
const HTC: u8 = 0x80;

/// A device looks for networks (9.3.3.9).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProbeRequest {
    /// The device: its own MAC, or one made up for this scan.
    pub source: Mac,
    /// The network that it asks for by name; `None` asks for any (the wildcard SSID).
    pub ssid: Option<Ssid>,
    /// How strong it was, where the driver tells.
    pub signal: Option<Rssi>,
    /// Where this radio listened, in MHz. Off-channel probes are heard too.
    pub frequency: Option<u16>,
}

impl ProbeRequest {
    /// Decodes the body of a probe request.
    ///
    /// # Errors
    ///
    /// The body is encrypted, or its SSID element is missing, cut off or too long.
    pub fn decode(header: &Header, body: &[u8], radio: &Radiotap) -> Result<Self, DecodeError> {
        header.unprotected()?;
        Ok(Self {
            source: header.source,
            ssid: ssid(body)?,
            signal: radio.signal,
            frequency: radio.frequency,
        })
    }
}

/// What an access point says of itself: a Beacon (9.3.3.2) or a Probe Response (9.3.3.10).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Beacon {
    /// Which BSS it is.
    pub bssid: Mac,
    /// Its name; `None` if it is hidden (an SSID of no octets, or of zeros).
    pub ssid: Option<Ssid>,
    /// The BSS's own clock (TSF) when the frame left, in microseconds.
    pub timestamp: u64,
    /// From one beacon to the next, in time units of 1,024 microseconds.
    pub interval: u16,
    /// How strong it was, where the driver tells.
    pub signal: Option<Rssi>,
    /// Where this radio listened, in MHz.
    pub frequency: Option<u16>,
}

impl Beacon {
    /// Decodes the body of a beacon or probe response.
    ///
    /// # Errors
    ///
    /// The body is encrypted or cut off, or its SSID element is missing, cut off or too long.
    pub fn decode(header: &Header, body: &[u8], radio: &Radiotap) -> Result<Self, DecodeError> {
        header.unprotected()?;
        let truncated = DecodeError::Truncated("fixed fields");
        let (timestamp, rest) = body.split_first_chunk().ok_or(truncated)?;
        let ([i0, i1, _capability @ ..], elements) =
            rest.split_first_chunk::<4>().ok_or(truncated)?;
        Ok(Self {
            bssid: header.bssid,
            ssid: ssid(elements)?.filter(|ssid| ssid.as_bytes().iter().any(|octet| *octet != 0)),
            timestamp: u64::from_le_bytes(*timestamp),
            interval: u16::from_le_bytes([*i0, *i1]),
            signal: radio.signal,
            frequency: radio.frequency,
        })
    }
}

/// An element (9.4.2.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Element<'a> {
    /// What it is; see Table 9-92.
    pub id: u8,
    /// What it holds: at most 255 octets.
    pub content: &'a [u8],
}

/// The identifier of the SSID element.
pub const ELEMENT_SSID: u8 = 0;

/// Iterates over the elements of a frame's body; ends after the first that is cut off.
#[derive(Debug, Clone)]
pub struct Elements<'a>(&'a [u8]);

impl<'a> Elements<'a> {
    /// The elements in these octets.
    pub const fn new(octets: &'a [u8]) -> Self {
        Self(octets)
    }
}

impl<'a> Iterator for Elements<'a> {
    type Item = Result<Element<'a>, DecodeError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let split = self.0.split_first_chunk().and_then(|([id, len], rest)| {
            let (content, rest) = rest.split_at_checked(usize::from(*len))?;
            Some((Element { id: *id, content }, rest))
        });
        Some(match split {
            Some((element, rest)) => {
                self.0 = rest;
                Ok(element)
            }
            None => {
                self.0 = &[];
                Err(DecodeError::Truncated("elements"))
            }
        })
    }
}

/// The first SSID element; `None` if it is empty. What comes after it is not looked at: drivers
/// that leave an FCS behind without saying so would make good frames look bad.
fn ssid(elements: &[u8]) -> Result<Option<Ssid>, DecodeError> {
    for element in Elements::new(elements) {
        let Element { id, content } = element?;
        if id == ELEMENT_SSID {
            if content.is_empty() {
                return Ok(None);
            }
            return Ssid::try_from(content)
                .map(Some)
                .map_err(|_| DecodeError::SsidLength(content.len()));
        }
    }
    Err(DecodeError::NoSsid)
}
