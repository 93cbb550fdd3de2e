//! The realm of a User-Name (RFC 7542).

use std::borrow::Cow;

/// A User-Name that is no network access identifier. The name itself is not repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Not UTF-8 (RFC 7542 2.2).
    #[error("the User-Name is not UTF-8")]
    Utf8,
    /// A control character.
    #[error("the User-Name has a control character")]
    Control,
    /// An `@` with nothing after it.
    #[error("the User-Name has an @ and no realm after it")]
    NoRealm,
    /// A realm that is no domain name (RFC 7542 2.2): an empty label, a space, an underscore…
    #[error("the realm is no domain name")]
    Realm,
}

/// The realm of a User-Name as it is compared: what follows the last `@`, in lower case, an
/// international one as A-labels (RFC 7542 2.2, RFC 5891). `None` if there is no `@`.
///
/// # Errors
/// If the name has no realm behind its `@`, or the realm is no domain name.
pub fn realm(user_name: &[u8]) -> Result<Option<Cow<'_, str>>, NameError> {
    let name = text(user_name)?;
    name.rsplit_once('@').map(|(_, realm)| canonical(realm)).transpose()
}

/// A realm as it is compared.
///
/// # Errors
/// If it is no domain name.
pub fn canonical(realm: &str) -> Result<Cow<'_, str>, NameError> {
    if realm.is_empty() {
        return Err(NameError::NoRealm);
    }
    let realm = if !realm.is_ascii() {
        Cow::Owned(idna::domain_to_ascii_strict(realm).map_err(|_| NameError::Realm)?)
    } else if realm.bytes().any(|b| b.is_ascii_uppercase()) {
        Cow::Owned(realm.to_ascii_lowercase())
    } else {
        Cow::Borrowed(realm)
    };
    // RFC 7542 wants two labels at least; one is let through, for a table can only name it if
    // somebody put it there.
    let sound = realm.len() <= 253 && realm.split('.').all(is_label);
    sound.then_some(realm).ok_or(NameError::Realm)
}

/// The name that a decorated one becomes at the realm that it led to (RFC 4282 2.7, RFC 7542
/// 3.3.1): `home!user@visited` becomes `user@home`, and `a!b!user@visited` becomes `b!user@a`.
/// `None` if the name is not decorated.
pub fn undecorated(user_name: &[u8]) -> Option<String> {
    let (user, _) = text(user_name).ok()?.rsplit_once('@')?;
    let (next, rest) = user.split_once('!')?;
    Some(format!("{rest}@{next}"))
}

fn text(user_name: &[u8]) -> Result<&str, NameError> {
    let name = std::str::from_utf8(user_name).map_err(|_| NameError::Utf8)?;
    if name.chars().any(char::is_control) { Err(NameError::Control) } else { Ok(name) }
}

/// Letters, digits and inner hyphens, 1 to 63 of them.
fn is_label(label: &str) -> bool {
    let inner = |b: u8| b.is_ascii_alphanumeric() || b == b'-';
    (1..=63).contains(&label.len())
        && label.bytes().all(inner)
        && !label.starts_with('-')
        && !label.ends_with('-')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is(name: &str, realm_is: &str) {
        assert_eq!(realm(name.as_bytes()).unwrap().as_deref(), Some(realm_is), "{name}");
    }

    #[test]
    fn the_realm_is_what_follows_the_last_at() {
        is("fred@example.org", "example.org");
        is("fred@example.net@example.org", "example.org");
        is("@example.org", "example.org");
        is("EXAMPLE\\fred@example.org", "example.org");
        assert_eq!(realm(b"fred"), Ok(None));
        assert_eq!(realm(b""), Ok(None));
    }

    #[test]
    fn realms_know_no_case_and_are_compared_as_a_labels() {
        is("fred@Example.ORG", "example.org");
        is("fred@bücher.example", "xn--bcher-kva.example");
        is("fred@BÜCHER.example", "xn--bcher-kva.example");
        is("fred@XN--BCHER-KVA.example", "xn--bcher-kva.example");
    }

    #[test]
    fn what_is_no_domain_name_is_no_realm() {
        for name in [
            "fred@",
            "fred@example..org",
            "fred@.example.org",
            "fred@example.org.",
            "fred@example.org ",
            "fred@exa mple.org",
            "fred@-example.org",
            "fred@example-.org",
            "fred@ex_ample.org",
            "fred@bü_cher.example",
            "fred@example.org\n",
            "fr\u{7f}ed@example.org",
        ] {
            assert!(realm(name.as_bytes()).is_err(), "{name:?}");
        }
        assert_eq!(realm(&[b'f', 0xff, b'@', b'a']), Err(NameError::Utf8));
        assert_eq!(realm(format!("f@{}.org", "x".repeat(64)).as_bytes()), Err(NameError::Realm));
    }

    #[test]
    fn a_decorated_name_leads_on_to_the_next_realm() {
        assert_eq!(undecorated(b"home.org!fred@visited.net").as_deref(), Some("fred@home.org"));
        assert_eq!(undecorated(b"a.org!b.org!fred@c.org").as_deref(), Some("b.org!fred@a.org"));
        assert_eq!(undecorated(b"fred@c.org"), None);
        assert_eq!(undecorated(b"c.org!fred"), None);
    }
}
