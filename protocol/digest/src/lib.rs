//! Digest authentication as a server checks it, pure: text in, text and verdicts out.
//!
//! For SIP (RFC 3261 section 22, RFC 8760) and HTTP (RFC 7616): one and the same. Of what these leave
//! open, this takes the strict side: `qop=auth` alone, and a nonce counts up, so that nothing that was
//! recorded is believed again.
//!
//! ```text
//!   Nonces::issue ─► challenge ─► the client ─► Credentials::read ─► answers? ─► Nonces::take
//! ```
//!
//! | module | holds |
//! |---|---|
//! | [`algorithm`] | [`Algorithm`]: SHA-256 and MD5 |
//! | [`credentials`] | [`Credentials`]: what a client answers, and whether that is right |
//! | [`nonce`] | [`Nonces`]: what was asked, until when it is good, and how often it was used |
#![forbid(unsafe_code)]
#![deny(clippy::indexing_slicing, clippy::cast_possible_truncation)]

pub mod algorithm;
pub mod credentials;
mod hex;
pub mod nonce;
#[doc(hidden)]
pub mod testing;

pub use algorithm::Algorithm;
pub use credentials::{Credentials, Malformed};
pub use nonce::Nonces;

/// The value of a `WWW-Authenticate` or `Proxy-Authenticate` header. `stale` is whether the answer
/// before was right, but for its nonce: the client then asks its user nothing.
///
/// `realm` has neither quotation mark nor backslash in it.
pub fn challenge(realm: &str, nonce: &str, algorithm: Algorithm, stale: bool) -> String {
    let stale = if stale { ", stale=true" } else { "" };
    format!(r#"Digest realm="{realm}", nonce="{nonce}", algorithm={algorithm}, qop="auth"{stale}"#)
}
