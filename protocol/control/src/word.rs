//! The words that messages are made of.

use std::fmt;
use std::num::NonZeroU32;

use homeward_model::Entropy;
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::{DeniedReason, GoodbyeReason, TunnelState};

/// The number of a tunnel: random, never 0, the same at both ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TunnelId(pub u64);

impl fmt::Display for TunnelId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// Which end of a tunnel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Side {
    /// The end on the home LAN.
    Home,
    /// The end on a VAP.
    Foreign,
}

impl Side {
    /// The other end.
    pub const fn other(self) -> Self {
        match self {
            Self::Home => Self::Foreign,
            Self::Foreign => Self::Home,
        }
    }
}

/// An L2TPv3 Session ID of a data session: not 0 (RFC 3931 4.1.1.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionId(NonZeroU32);

impl SessionId {
    /// The session with that number; `None` for 0.
    pub const fn new(number: u32) -> Option<Self> {
        match NonZeroU32::new(number) {
            Some(number) => Some(Self(number)),
            None => None,
        }
    }

    /// The number.
    pub const fn get(self) -> u32 {
        self.0.get()
    }
}

/// An L2TPv3 cookie of 64 bits (RFC 3931 4.1): what keeps a blind sender out. Prints redacted,
/// compared in constant time.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct Cookie([u8; 8]);

/// A WireGuard pre-shared key. Prints redacted, compared in constant time.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct PresharedKey([u8; 32]);

/// A WireGuard (X25519) public key.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PublicKey(pub [u8; 32]);

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for octet in self.0.iter().take(4) {
            write!(f, "{octet:02x}")?;
        }
        f.write_str("…")
    }
}

macro_rules! secret {
    ($type:ident, $len:literal) => {
        impl $type {
            /// Takes these octets.
            pub const fn new(octets: [u8; $len]) -> Self {
                Self(octets)
            }

            /// Unpredictable ones.
            pub fn random(entropy: &mut dyn Entropy) -> Self {
                let mut fresh = Self([0; $len]);
                entropy.fill(&mut fresh.0);
                fresh
            }

            /// The octets. Whoever calls this keeps them out of logs.
            pub const fn expose(&self) -> &[u8; $len] {
                &self.0
            }
        }

        impl PartialEq for $type {
            fn eq(&self, other: &Self) -> bool {
                self.0.ct_eq(&other.0).into()
            }
        }

        impl Eq for $type {}

        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("[redacted]")
            }
        }
    };
}

secret!(Cookie, 8);
secret!(PresharedKey, 32);

/// `Display` and a list for an enum of reasons: the words for logs, status and metric labels.
macro_rules! words {
    ($($type:ident { $($variant:ident => $word:literal),+ $(,)? })+) => { $(
        impl $type {
            /// The word for logs, status and metrics.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }
        }

        impl std::fmt::Display for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }
    )+ };
}
pub(crate) use words;

words! {
    Side { Home => "home", Foreign => "foreign" }
    TunnelState {
        Ready => "ready", Up => "up", Unreachable => "unreachable", Failed => "failed",
    }
    GoodbyeReason {
        Version => "version", Revoked => "revoked", Replaced => "replaced",
        Unavailable => "unavailable", Protocol => "protocol", Other => "other",
    }
    DeniedReason {
        UnknownNetwork => "unknown-network", NoHomeGateway => "no-home-gateway",
        HomeGatewayAway => "home-gateway-away", Suspended => "suspended", Limit => "limit",
        NoHomeLan => "no-home-lan", AtHome => "at-home", LocalBreakout => "local-breakout",
        NotYours => "not-yours",        Other => "other",
    }
}
