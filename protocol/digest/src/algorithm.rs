//! What is hashed by.

use std::fmt;

use md5::{Digest as _, Md5};
use ring::digest;
use serde::Deserialize;

use crate::hex;

/// A hash of those that RFC 8760 has for SIP and RFC 7616 for HTTP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
pub enum Algorithm {
    /// SHA-256.
    #[serde(rename = "SHA-256")]
    Sha256,
    /// MD5: many phones have nothing else. It stands where the password is random and long.
    #[serde(rename = "MD5")]
    Md5,
}

impl Algorithm {
    /// All of them, the better first.
    pub const ALL: [Self; 2] = [Self::Sha256, Self::Md5];

    /// What it is called.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sha256 => "SHA-256",
            Self::Md5 => "MD5",
        }
    }

    /// The one that is called that, in capitals or not.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|one| one.name().eq_ignore_ascii_case(name))
    }

    /// How many hexadecimal digits a hash has.
    pub(crate) const fn digits(self) -> usize {
        match self {
            Self::Sha256 => 64,
            Self::Md5 => 32,
        }
    }

    /// H of the parts with colons between them, in hexadecimal.
    pub(crate) fn hash(self, parts: &[&str]) -> String {
        let joined = parts.join(":");
        match self {
            Self::Sha256 => {
                hex::digits(digest::digest(&digest::SHA256, joined.as_bytes()).as_ref())
            }
            Self::Md5 => hex::digits(&Md5::digest(joined.as_bytes())),
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
