//! Segments of a message: the user data header (3GPP TS 23.040 9.2.3.24) and what the octets
//! behind it mean.

use std::fmt;

use zeroize::Zeroizing;

use super::{MAX_TEXT, text};
use crate::wire::Invalid;

/// The data_coding of what we write: the default alphabet (SMPP 3.4 5.2.19).
pub const DATA_CODING: u8 = 0;

/// The most segments of a message.
pub const MAX_PARTS: usize = 255;

/// The flag of esm_class for a header before the text (SMPP 3.4 5.2.12, UDHI).
const UDHI: u8 = 0x40;

/// Characters of a segment of its own, and octets of user data (3GPP TS 23.040 9.2.3.16).
const SINGLE: usize = 160;
const USER_DATA: usize = 140;

/// The longest part that is taken: SMPP's short_message.
const MAX_PART: usize = 255;

/// What makes the segments of a message one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reference {
    /// 8 bits (9.2.3.24.1).
    Short(u8),
    /// 16 bits (9.2.3.24.8), for whoever sends many.
    Long(u16),
}

impl Reference {
    /// The header of one segment.
    fn header(self, total: u8, number: u8) -> Vec<u8> {
        match self {
            Self::Short(reference) => vec![5, 0x00, 3, reference, total, number],
            Self::Long(reference) => {
                let [high, low] = reference.to_be_bytes();
                vec![6, 0x08, 4, high, low, total, number]
            }
        }
    }

    /// Septets that are left beside the header, which fills septets, too.
    fn room(self) -> usize {
        (USER_DATA - self.header(0, 0).len()) * 8 / 7
    }
}

/// A message as it is submitted: short_message, with [`DATA_CODING`]. Prints without its text.
#[derive(Clone, PartialEq, Eq)]
pub struct Segment {
    /// Whether a header comes first.
    pub has_header: bool,
    /// Header and text, an octet a septet, as SMPP has the default alphabet.
    pub octets: Zeroizing<Vec<u8>>,
}

impl Segment {
    /// The esm_class that it goes with.
    pub const fn esm_class(&self) -> u8 {
        if self.has_header { UDHI } else { 0 }
    }
}

impl fmt::Debug for Segment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let octets = self.octets.len();
        f.debug_struct("Segment")
            .field("has_header", &self.has_header)
            .field("octets", &octets)
            .finish()
    }
}

/// Cuts a text of ours into segments: one without a header where it fits. `reference` is another
/// for each message to the same receiver.
///
/// # Errors
///
/// If the text has characters beyond [`is_safe`](super::is_safe), or is too long.
pub fn split(text: &str, reference: Reference) -> Result<Vec<Segment>, Invalid> {
    if !text.chars().all(text::is_safe) {
        let what = "has characters that differ between alphabets: escape them";
        return Err(Invalid::new("the message", what));
    }
    if text.len() <= SINGLE {
        let octets = Zeroizing::new(text.as_bytes().to_vec());
        return Ok(vec![Segment { has_header: false, octets }]);
    }
    let pieces = text.as_bytes().chunks(reference.room());
    let total = pieces.len();
    let Ok(total) = u8::try_from(total) else {
        return Err(Invalid::new("the message", format!("{total} segments; {MAX_PARTS} at most")));
    };
    let segment = |(piece, number): (&[u8], u8)| {
        let octets = Zeroizing::new([&reference.header(total, number), piece].concat());
        Segment { has_header: true, octets }
    };
    Ok(pieces.zip(1..=u8::MAX).map(segment).collect())
}

/// Where a segment belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Concatenation {
    /// To which message.
    pub reference: Reference,
    /// How many segments that has, 1 or more.
    pub total: u8,
    /// Which one this is, from 1 on.
    pub number: u8,
}

impl Concatenation {
    /// As SMPP's sar_msg_ref_num, sar_total_segments and sar_segment_seqnum have it, too.
    ///
    /// # Errors
    ///
    /// If there is no such segment.
    pub fn new(reference: Reference, total: u8, number: u8) -> Result<Self, Invalid> {
        if number == 0 || number > total {
            let what = format!("segment {number} of {total}: there is none such");
            return Err(Invalid::new("the header", what));
        }
        Ok(Self { reference, total, number })
    }
}

/// A message as it was delivered. Prints without its text.
#[derive(Clone, PartialEq, Eq)]
pub struct Part {
    /// Where it belongs; `None`: it is whole.
    pub concatenation: Option<Concatenation>,
    /// Its data_coding.
    pub coding: u8,
    /// What follows the header.
    pub octets: Zeroizing<Vec<u8>>,
}

impl Part {
    /// Reads short_message, or message_payload, of a delivery.
    ///
    /// # Errors
    ///
    /// If the header is none, or the message is too long.
    pub fn decode(esm_class: u8, coding: u8, octets: &[u8]) -> Result<Self, Invalid> {
        let cut = || Invalid::new("the header", "is longer than the message");
        let (concatenation, body) = match esm_class & UDHI {
            0 => (None, octets),
            _ => {
                let (len, rest) = octets.split_first().ok_or_else(cut)?;
                let (header, body) = rest.split_at_checked(usize::from(*len)).ok_or_else(cut)?;
                (concatenation(header)?, body)
            }
        };
        let most = if concatenation.is_some() { MAX_PART } else { 2 * MAX_TEXT };
        if body.len() > most {
            let len = body.len();
            return Err(Invalid::new("the message", format!("{len} octets; {most} at most")));
        }
        Ok(Self { concatenation, coding, octets: Zeroizing::new(body.to_vec()) })
    }
}

impl fmt::Debug for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Part")
            .field("concatenation", &self.concatenation)
            .field("coding", &self.coding)
            .field("octets", &self.octets.len())
            .finish()
    }
}

/// The concatenation in a header's elements. Elements of other kinds are skipped, and of two the
/// last one counts (9.2.3.24).
fn concatenation(mut header: &[u8]) -> Result<Option<Concatenation>, Invalid> {
    let mut found = None;
    while let [kind, len, rest @ ..] = header {
        let Some((data, rest)) = rest.split_at_checked(usize::from(*len)) else {
            return Err(Invalid::new("the header", "has an element that is longer than it"));
        };
        match (kind, data) {
            (0x00, [reference, total, number]) => {
                found = Some(Concatenation::new(Reference::Short(*reference), *total, *number)?);
            }
            (0x08, [high, low, total, number]) => {
                let reference = Reference::Long(u16::from_be_bytes([*high, *low]));
                found = Some(Concatenation::new(reference, *total, *number)?);
            }
            (0x00 | 0x08, _) => {
                return Err(Invalid::new("the header", "has a concatenation of another length"));
            }
            _ => {}
        }
        header = rest;
    }
    match header {
        [] => Ok(found),
        _ => Err(Invalid::new("the header", "ends within an element")),
    }
}

/// The text of octets in a coding (SMPP 3.4 5.2.19). In all but UCS2, an octet is a character
/// that every alphabet has there, or the message is none of ours.
pub(super) fn decode(coding: u8, octets: &[u8]) -> Result<Zeroizing<String>, Invalid> {
    let mut out = Zeroizing::new(String::with_capacity(octets.len() * 2));
    match coding {
        // The SMSC's, IA5, Latin-1, both of 8 bits; and the two of GSM's message classes.
        0 | 1 | 2 | 3 | 4 | 0xf0..=0xf7 => out.extend(octets.iter().copied().map(char::from)),
        8 => {
            if !octets.len().is_multiple_of(2) {
                return Err(Invalid::new("the message", "is UCS2 of half a character"));
            }
            let units = octets.chunks_exact(2).filter_map(|two| two.first_chunk());
            for c in char::decode_utf16(units.copied().map(u16::from_be_bytes)) {
                out.push(c.map_err(|_| Invalid::new("the message", "is no UCS2"))?);
            }
        }
        _ => {
            let what = format!("data_coding {coding}: give 0 to 4 or 8");
            return Err(Invalid::new("the message", what));
        }
    }
    // A line's end is the same everywhere, and some phones append one.
    if !out.chars().all(|c| text::is_safe(c) || matches!(c, '\r' | '\n')) {
        let what = "has characters that differ between alphabets: escape them";
        return Err(Invalid::new("the message", what));
    }
    Ok(out)
}
