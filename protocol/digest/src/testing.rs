//! For tests and fuzzing.

use homeward_model::Entropy;

use crate::Credentials;

/// Octets that count up.
#[derive(Debug, Default)]
pub struct Counted(u8);

impl Entropy for Counted {
    fn fill(&mut self, room: &mut [u8]) {
        for octet in room {
            self.0 = self.0.wrapping_add(1);
            *octet = self.0;
        }
    }
}

/// The body of the fuzz target: any text as credentials.
///
/// # Panics
/// If what is read is not what a client could have meant.
pub fn fuzz_credentials(octets: &[u8]) {
    let Ok(text) = std::str::from_utf8(octets) else { return };
    let Ok(read) = Credentials::read(text) else { return };
    for value in [read.username, read.realm, read.nonce, read.uri] {
        assert!(text.contains(value) && !value.contains(['"', '\\']));
    }
    // Nobody has guessed it.
    assert!(!read.answer("REGISTER", "a password of nobody's"));
}
