//! The radiotap header (<https://www.radiotap.org>): how a captured frame was received.
//!
//! All numbers are little-endian. A header is version (0), a pad octet, the length of the whole
//! header, then present words: bit *n* of the first says that field *n* follows. Fields come in
//! bit order, each aligned to its natural size counted from the header's first octet. A field's
//! size is known only from the standard, so the first unknown field ends what can be read; the
//! frame itself is still found, by the header's length.

use homeward_model::Rssi;

use crate::DecodeError;

/// The most present words that are read: one for the frame and one per antenna, and room to spare.
pub const MAX_PRESENT_WORDS: usize = 32;

/// What a radiotap header says, as far as a gateway cares.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Radiotap {
    /// Signal at the antenna. The first one wins: drivers put the combined value before those of
    /// the single antennas.
    pub signal: Option<Rssi>,
    /// Centre frequency of the primary channel, in MHz.
    pub frequency: Option<u16>,
    /// The frame is followed by its frame check sequence. [`decode`] has already cut it off.
    pub fcs_at_end: bool,
    /// The header has the TX flags field.
    pub has_tx_flags: bool,
}

impl Radiotap {
    /// Whether this radio sent the frame itself. Linux gives such frames TX flags; they were not
    /// received, so they have no signal.
    pub const fn is_own(&self) -> bool {
        self.has_tx_flags && self.signal.is_none()
    }
}

const FLAGS: u32 = 1;
const CHANNEL: u32 = 3;
const SIGNAL_DBM: u32 = 5;
const TX_FLAGS: u32 = 15;
const RADIOTAP_NAMESPACE: u32 = 29;
const VENDOR_NAMESPACE: u32 = 30;
const MORE_WORDS: u32 = 31;

const FLAG_FCS_AT_END: u8 = 0x10;
const FLAG_BAD_FCS: u8 = 0x40;

/// Alignment and size of fields 0 to 27. From 28 on fields carry their own type and length;
/// nothing of interest is among them.
#[rustfmt::skip]
const FIELDS: [(u8, u8); 28] = [
    (8, 8),  // 0 TSFT
    (1, 1),  // 1 flags
    (1, 1),  // 2 rate
    (2, 4),  // 3 channel
    (2, 2),  // 4 FHSS
    (1, 1),  // 5 antenna signal, dBm
    (1, 1),  // 6 antenna noise, dBm
    (2, 2),  // 7 lock quality
    (2, 2),  // 8 TX attenuation
    (2, 2),  // 9 TX attenuation, dB
    (1, 1),  // 10 TX power, dBm
    (1, 1),  // 11 antenna
    (1, 1),  // 12 antenna signal, dB
    (1, 1),  // 13 antenna noise, dB
    (2, 2),  // 14 RX flags
    (2, 2),  // 15 TX flags
    (1, 1),  // 16 RTS retries
    (1, 1),  // 17 data retries
    (4, 8),  // 18 XChannel
    (1, 3),  // 19 MCS
    (4, 8),  // 20 A-MPDU status
    (2, 12), // 21 VHT
    (8, 12), // 22 timestamp
    (2, 12), // 23 HE
    (2, 12), // 24 HE-MU
    (2, 6),  // 25 HE-MU, other user
    (1, 1),  // 26 zero-length PSDU
    (2, 4),  // 27 L-SIG
];

/// Splits a captured frame into what its radiotap header says and the 802.11 frame, without FCS.
///
/// # Errors
///
/// The header is cut off or against the format, or says that the frame is damaged.
pub fn decode(captured: &[u8]) -> Result<(Radiotap, &[u8]), DecodeError> {
    let truncated = DecodeError::Truncated("radiotap header");
    let ([version, _pad, l0, l1], _) = captured.split_first_chunk().ok_or(truncated)?;
    if *version != 0 {
        return Err(DecodeError::RadiotapVersion(*version));
    }
    let claimed = u16::from_le_bytes([*l0, *l1]);
    let (header, frame) = captured
        .split_at_checked(usize::from(claimed))
        .filter(|(header, _)| header.len() >= 8)
        .ok_or(DecodeError::RadiotapLength { claimed, captured: captured.len() })?;

    let (radio, bad_fcs) = fields(header)?;
    if bad_fcs {
        return Err(DecodeError::BadFcs);
    }
    if !radio.fcs_at_end {
        return Ok((radio, frame));
    }
    let (frame, _fcs) = frame.split_last_chunk::<4>().ok_or(DecodeError::Truncated("FCS"))?;
    Ok((radio, frame))
}

/// Whose fields a present word counts.
#[derive(Clone, Copy)]
enum Namespace {
    /// The standard's own; the word's bit 0 is this field.
    Radiotap { first: u32 },
    /// A vendor's; its fields were skipped as one block when the namespace was entered.
    Vendor,
}

/// Reads the fields of a whole header; the second value is "bad FCS".
fn fields(header: &[u8]) -> Result<(Radiotap, bool), DecodeError> {
    let mut reader = Reader { header, at: 4 + 4 * present_words(header)? };
    let mut radio = Radiotap::default();
    let mut bad_fcs = false;
    let mut namespace = Namespace::Radiotap { first: 0 };
    let mut word_at = 4;
    loop {
        let word = u32::from_le_bytes(*Reader { header, at: word_at }.take::<4>(1)?);
        word_at += 4;
        if let Namespace::Radiotap { first } = namespace {
            for bit in (0..RADIOTAP_NAMESPACE).filter(|bit| word >> bit & 1 != 0) {
                match first + bit {
                    FLAGS => {
                        let [flags] = reader.take(1)?;
                        radio.fcs_at_end |= flags & FLAG_FCS_AT_END != 0;
                        bad_fcs |= flags & FLAG_BAD_FCS != 0;
                    }
                    CHANNEL => {
                        let [f0, f1, _, _] = reader.take(2)?;
                        radio.frequency.get_or_insert(u16::from_le_bytes([*f0, *f1]));
                    }
                    SIGNAL_DBM => {
                        let [dbm] = reader.take(1)?;
                        radio.signal.get_or_insert(Rssi(dbm.cast_signed()));
                    }
                    field => {
                        let Some((align, size)) =
                            usize::try_from(field).ok().and_then(|field| FIELDS.get(field))
                        else {
                            return Ok((radio, bad_fcs));
                        };
                        reader.skip(usize::from(*align), usize::from(*size))?;
                        radio.has_tx_flags |= field == TX_FLAGS;
                    }
                }
            }
        }
        if word >> MORE_WORDS & 1 == 0 {
            return Ok((radio, bad_fcs));
        }
        namespace = if word >> RADIOTAP_NAMESPACE & 1 != 0 {
            Namespace::Radiotap { first: 0 }
        } else if word >> VENDOR_NAMESPACE & 1 != 0 {
            // OUI, selector, then how many octets the vendor's fields take together.
            let [_, _, _, _, s0, s1] = reader.take(2)?;
            reader.skip(1, usize::from(u16::from_le_bytes([*s0, *s1])))?;
            Namespace::Vendor
        } else {
            match namespace {
                Namespace::Radiotap { first } => Namespace::Radiotap { first: first + 32 },
                Namespace::Vendor => Namespace::Vendor,
            }
        };
    }
}

/// Counts the present words: each but the last has its top bit set.
fn present_words(header: &[u8]) -> Result<usize, DecodeError> {
    let words = header.get(4..).unwrap_or_default().chunks_exact(4);
    let last = words
        .take(MAX_PRESENT_WORDS + 1)
        .position(|word| word.last().is_some_and(|top| top & 0x80 == 0))
        .ok_or(if header.len() > 4 * MAX_PRESENT_WORDS + 4 {
            DecodeError::RadiotapPresent
        } else {
            DecodeError::Truncated("radiotap present words")
        })?;
    if last >= MAX_PRESENT_WORDS { Err(DecodeError::RadiotapPresent) } else { Ok(last + 1) }
}

/// A place in the header.
struct Reader<'a> {
    header: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    /// The next `N` octets, from the next multiple of `align` on.
    fn take<const N: usize>(&mut self, align: usize) -> Result<&'a [u8; N], DecodeError> {
        self.at = self.at.next_multiple_of(align);
        let taken = self
            .header
            .get(self.at..)
            .and_then(|rest| rest.first_chunk())
            .ok_or(DecodeError::Truncated("radiotap fields"))?;
        self.at += N;
        Ok(taken)
    }

    fn skip(&mut self, align: usize, size: usize) -> Result<(), DecodeError> {
        self.at = self.at.next_multiple_of(align) + size;
        if self.at > self.header.len() {
            return Err(DecodeError::Truncated("radiotap fields"));
        }
        Ok(())
    }
}
