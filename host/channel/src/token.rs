//! The one-time token that lets a gateway enrol.
//!
//! `homeward admin gateway enrol` prints it once, as one word that is safe in a URL, a shell and a
//! QR code: `hw1_` and, in base64url (RFC 4648 section 5), 32 octets of secret, the 32 octets of
//! the [`Pin`], and 4 octets of check sum, so that a slip of the hand is not mistaken for a man in
//! the middle.

use std::fmt;
use std::str::FromStr;

use data_encoding::BASE64URL_NOPAD;
use homeward_model::{Entropy, Secret};
use ring::digest::{SHA256, digest};
use zeroize::Zeroizing;

/// What every token of this version begins with.
const PREFIX: &str = "hw1_";
const SECRET: usize = 32;
const PIN: usize = 32;
const CHECK: usize = 4;

/// Longer texts are no token; nothing of them is decoded.
const MAX_TEXT: usize = 256;

/// SHA-256 of an authority's public key, as the SubjectPublicKeyInfo of its certificate has it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pin(pub [u8; PIN]);

impl Pin {
    /// The pin of a public key, as SubjectPublicKeyInfo in DER.
    pub fn of(public_key: &[u8]) -> Self {
        Self(sha256(public_key))
    }
}

impl fmt::Display for Pin {
    /// 64 lower-case hex digits.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&data_encoding::HEXLOWER.encode(&self.0))
    }
}

impl fmt::Debug for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pin({self})")
    }
}

/// What is kept of a token: SHA-256 of its secret. The secret has 256 random bits, so that there
/// is nothing to guess and the hash needs no salt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TokenHash(pub [u8; 32]);

impl TokenHash {
    /// The hash of a token's secret.
    pub fn of(secret: &[u8]) -> Self {
        Self(sha256(secret))
    }
}

/// A one-time token.
#[derive(Clone, PartialEq, Eq)]
pub struct Token {
    secret: Secret,
    pin: Pin,
}

/// A text that is no token. The text itself is not repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// It does not begin as one.
    #[error("this is no enrolment token: one begins with {PREFIX}")]
    Prefix,
    /// It begins as one of a later version.
    #[error("this token is of a newer version; use a newer homeward on the gateway")]
    Version,
    /// It was not copied whole, or not as it was.
    #[error("the token was damaged in copying: copy it whole, it has {} characters", length())]
    Damaged,
}

/// How many characters a token has.
fn length() -> usize {
    PREFIX.len() + BASE64URL_NOPAD.encode_len(SECRET + PIN + CHECK)
}

impl Token {
    /// A new token for the authority with that pin.
    pub fn generate(pin: Pin, entropy: &mut impl Entropy) -> Self {
        Self { secret: Secret::new(entropy.octets::<SECRET>()), pin }
    }

    /// What the gateway proves itself with.
    pub fn secret(&self) -> &Secret {
        &self.secret
    }

    /// The authority that the gateway is to believe.
    pub fn pin(&self) -> Pin {
        self.pin
    }

    /// What the core keeps.
    pub fn hash(&self) -> TokenHash {
        TokenHash::of(self.secret.expose())
    }

    /// The token as text. Whoever calls this keeps it out of logs.
    pub fn expose(&self) -> Zeroizing<String> {
        let mut octets = Zeroizing::new(Vec::with_capacity(SECRET + PIN + CHECK));
        octets.extend_from_slice(self.secret.expose());
        octets.extend_from_slice(&self.pin.0);
        let check = check(&octets);
        octets.extend_from_slice(&check);
        let mut text = Zeroizing::new(String::with_capacity(length()));
        text.push_str(PREFIX);
        BASE64URL_NOPAD.encode_append(&octets, &mut text);
        text
    }
}

impl FromStr for Token {
    type Err = TokenError;

    /// White space around it is left out.
    fn from_str(text: &str) -> Result<Self, TokenError> {
        let text = text.trim();
        let Some(rest) = text.strip_prefix(PREFIX) else {
            let later = text.strip_prefix("hw").and_then(|t| t.split_once('_')).is_some_and(
                |(version, _)| !version.is_empty() && version.bytes().all(|c| c.is_ascii_digit()),
            );
            return Err(if later { TokenError::Version } else { TokenError::Prefix });
        };
        if text.len() > MAX_TEXT {
            return Err(TokenError::Damaged);
        }
        let octets = BASE64URL_NOPAD.decode(rest.as_bytes()).map_err(|_| TokenError::Damaged)?;
        let octets = Zeroizing::new(octets);
        let (body, sum) = octets.split_last_chunk::<CHECK>().ok_or(TokenError::Damaged)?;
        let (secret, pin) = body.split_last_chunk::<PIN>().ok_or(TokenError::Damaged)?;
        if secret.len() != SECRET || *sum != check(body) {
            return Err(TokenError::Damaged);
        }
        Ok(Self { secret: Secret::new(secret), pin: Pin(*pin) })
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Token({})", self.pin)
    }
}

fn check(body: &[u8]) -> [u8; CHECK] {
    let [a, b, c, d, ..] = sha256(body);
    [a, b, c, d]
}

fn sha256(octets: &[u8]) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest(&SHA256, octets).as_ref());
    hash
}

#[cfg(test)]
mod tests {
    use super::*;
    use homeward_daemon::SystemEntropy;
    use proptest::prelude::*;

    fn token() -> Token {
        Token::generate(Pin([7; 32]), &mut SystemEntropy::new())
    }

    #[test]
    fn a_token_survives_its_own_text() {
        let token = token();
        let text = token.expose();
        assert_eq!(text.parse::<Token>().unwrap(), token);
        assert_eq!(format!(" {}\n", text.as_str()).parse::<Token>().unwrap(), token);
        assert_eq!(text.len(), length());
        assert!(text.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'-' || c == b'_'));
    }

    #[test]
    fn two_tokens_differ() {
        assert_ne!(token().hash(), token().hash());
    }

    #[test]
    fn any_slip_of_the_hand_is_told_from_a_wrong_core() {
        let text = token().expose();
        for at in PREFIX.len()..text.len() {
            let mut slipped = text.as_bytes().to_vec();
            slipped[at] = if slipped[at] == b'A' { b'B' } else { b'A' };
            let slipped = String::from_utf8(slipped).unwrap();
            assert_eq!(slipped.parse::<Token>(), Err(TokenError::Damaged), "{at}");
        }
        assert_eq!(text[..text.len() - 1].parse::<Token>(), Err(TokenError::Damaged));
    }

    #[test]
    fn what_is_no_token_is_told_from_one_to_come() {
        assert_eq!("hunter2".parse::<Token>(), Err(TokenError::Prefix));
        assert_eq!("".parse::<Token>(), Err(TokenError::Prefix));
        assert_eq!("hw2_abc".parse::<Token>(), Err(TokenError::Version));
        assert_eq!("hw1_".parse::<Token>(), Err(TokenError::Damaged));
    }

    #[test]
    fn debug_shows_no_secret() {
        let token = token();
        let shown = format!("{token:?}");
        let secret = data_encoding::HEXLOWER.encode(token.secret().expose());
        assert!(!shown.contains(&secret) && !shown.contains(token.expose().as_str()), "{shown}");
    }

    proptest! {
        #[test]
        fn reading_a_token_never_panics(text in "\\PC{0,12}|hw1_[A-Za-z0-9_-]{0,120}") {
            let _ = text.parse::<Token>();
        }
    }
}
