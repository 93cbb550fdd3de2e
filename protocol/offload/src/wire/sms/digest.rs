//! Which policy it is.

use std::fmt;
use std::str::FromStr;

use data_encoding::BASE32_NOPAD;
use homeward_model::WlanPolicy;

use crate::wire::{Invalid, form};

/// What tells one policy from another: the first 64 bits of the SHA-256 of its JSON form. It says
/// whether a device has a policy already; it vouches for nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Digest([u8; 8]);

impl Digest {
    /// That of a policy, with its authority.
    pub fn of(policy: &WlanPolicy) -> Self {
        let json = crate::wire::json::encode_policy(&form::of_policy(policy));
        let whole = ring::digest::digest(&ring::digest::SHA256, &json);
        Self(whole.as_ref().first_chunk().copied().unwrap_or_default())
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&BASE32_NOPAD.encode(&self.0).to_ascii_lowercase())
    }
}

impl FromStr for Digest {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let octets = BASE32_NOPAD.decode(text.to_ascii_uppercase().as_bytes()).ok();
        let octets = octets.and_then(|octets| octets.try_into().ok());
        octets.map(Self).ok_or_else(|| Invalid::new("digest", "give 13 characters of base 32"))
    }
}
