//! Who a peer says it is: network access identifiers (RFC 7542).

use std::fmt;

/// The longest identity, in octets: what a User-Name holds (RFC 2865 5.1).
pub const MAX_LEN: usize = 253;

/// An identity as a peer gives it: UTF-8, at most 253 octets, no control characters; may be
/// empty, which is anonymous. Its `Debug` prints the realm only, for who it is belongs in no log
/// above DEBUG.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Identity(String);

/// Octets that are no identity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    /// Longer than a User-Name can be.
    #[error("an identity of {0} octets is longer than {MAX_LEN}")]
    Length(usize),
    /// Not UTF-8, or with control characters.
    #[error("an identity has to be UTF-8 without control characters")]
    Characters,
}

impl Identity {
    /// Reads the data of an EAP-Response/Identity, or a User-Name. What follows a NUL is no part
    /// of it (RFC 3748 5.1).
    ///
    /// # Errors
    /// See [`IdentityError`].
    pub fn decode(octets: &[u8]) -> Result<Self, IdentityError> {
        let octets = octets.split(|octet| *octet == 0).next().unwrap_or_default();
        if octets.len() > MAX_LEN {
            return Err(IdentityError::Length(octets.len()));
        }
        let text = std::str::from_utf8(octets).map_err(|_| IdentityError::Characters)?;
        if text.chars().any(char::is_control) {
            return Err(IdentityError::Characters);
        }
        Ok(Self(text.to_owned()))
    }

    /// The text as the peer gave it.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What is before the last `@`; all of it without one.
    pub fn user(&self) -> &str {
        self.0.rsplit_once('@').map_or(&self.0, |(user, _)| user)
    }

    /// What is behind the last `@`, in lower case: realms are compared so (RFC 7542 2.4).
    /// `None` without one, or if it is empty.
    pub fn realm(&self) -> Option<String> {
        let (_, realm) = self.0.rsplit_once('@')?;
        (!realm.is_empty()).then(|| realm.to_lowercase())
    }

    /// Whether it names nobody: an empty user, or `anonymous`.
    pub fn is_anonymous(&self) -> bool {
        self.user().is_empty() || self.user().eq_ignore_ascii_case("anonymous")
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.realm() {
            Some(realm) => write!(f, "[redacted]@{realm}"),
            None => f.write_str("[redacted]"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_realm_is_behind_the_last_at_sign_in_lower_case() {
        let identity = Identity::decode(b"a@b@Example.ORG").unwrap();
        assert_eq!((identity.user(), identity.realm().as_deref()), ("a@b", Some("example.org")));
        assert_eq!(Identity::decode(b"alice").unwrap().realm(), None);
        assert_eq!(Identity::decode(b"alice@").unwrap().realm(), None);
    }

    #[test]
    fn empty_and_anonymous_users_are_anonymous() {
        for (text, anonymous) in [
            ("", true),
            ("@example.org", true),
            ("Anonymous@example.org", true),
            ("alice@example.org", false),
        ] {
            assert_eq!(Identity::decode(text.as_bytes()).unwrap().is_anonymous(), anonymous);
        }
    }

    #[test]
    fn options_behind_a_nul_are_dropped_and_control_characters_refused() {
        assert_eq!(Identity::decode(b"alice\0networkid=x").unwrap().as_str(), "alice");
        assert_eq!(Identity::decode(b"al\nice"), Err(IdentityError::Characters));
        assert_eq!(Identity::decode(&[0xff]), Err(IdentityError::Characters));
        assert_eq!(Identity::decode(&[b'a'; 254]), Err(IdentityError::Length(254)));
    }

    #[test]
    fn an_identity_prints_its_realm_only() {
        let identity = Identity::decode(b"alice@example.org").unwrap();
        assert_eq!(format!("{identity:?}"), "[redacted]@example.org");
    }
}
