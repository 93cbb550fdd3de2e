//! What ties an answer to its request.

use std::fmt;
use std::str::FromStr;

use data_encoding::BASE32_NOPAD;

use crate::wire::Invalid;

/// What a word that is a nonce begins with.
const MARK: char = '#';

/// 40 bits that whoever asks chooses by chance and that the portal repeats in its answer. Senders
/// of messages can be forged: by it a device tells an answer from what somebody made up who did
/// not see the request. Spelled as `#` and 8 characters of base 32.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Nonce([u8; 5]);

impl Nonce {
    /// That of these octets, which are from a generator fit for keys.
    pub const fn new(octets: [u8; 5]) -> Self {
        Self(octets)
    }

    /// Whether a word is meant to be one.
    pub(super) fn is_meant(word: &str) -> bool {
        word.starts_with(MARK)
    }
}

impl fmt::Display for Nonce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{MARK}{}", BASE32_NOPAD.encode(&self.0).to_ascii_lowercase())
    }
}

impl fmt::Debug for Nonce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Nonce(..)")
    }
}

impl FromStr for Nonce {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let digits = text.strip_prefix(MARK).unwrap_or_default().to_ascii_uppercase();
        let octets = BASE32_NOPAD.decode(digits.as_bytes()).ok();
        let octets = octets.and_then(|octets| octets.try_into().ok());
        let what = "give # and 8 characters of base 32, or leave it out";
        octets.map(Self).ok_or_else(|| Invalid::new("nonce", what))
    }
}
