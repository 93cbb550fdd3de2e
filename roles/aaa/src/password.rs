//! Passwords: held against what is stored, and made ready to be stored.

use argon2::password_hash::phc::PasswordHash;
use argon2::{Algorithm, Argon2, Params, PasswordHasher, PasswordVerifier, Version};
use homeward_eap::mschapv2::{is_hash_of, nt_hash};
use homeward_model::{Entropy, NtHash, Secret, Verifier};
use subtle::ConstantTimeEq;

/// Octets of salt in an Argon2id hash that is made here.
const SALT: usize = 16;
/// Its memory in KiB, passes and lanes: the first choice of OWASP and of RFC 9106 4 for little
/// memory.
const COST: (u32, u32, u32) = (19 * 1024, 2, 1);

/// The verifier of a password that a machine made: random, so that its hash tells nobody the
/// password.
pub fn machine_made(password: &str) -> Verifier {
    Verifier::NtHash(nt_hash(password))
}

/// The verifier of a password that a person chose. Takes some hundredths of a second and 19 MiB.
///
/// # Errors
///
/// If the library refuses the password, for it is longer than 2^32 octets.
pub fn of_a_person(password: &[u8], entropy: &mut impl Entropy) -> anyhow::Result<Verifier> {
    let (memory, passes, lanes) = COST;
    let params = Params::new(memory, passes, lanes, None)?;
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    let salt: [u8; SALT] = entropy.octets();
    let hash: PasswordHash = argon2.hash_password_with_salt(password, &salt)?;
    Ok(Verifier::Argon2id(Secret::new(hash.to_string())))
}

/// Whether a password is right, where that is found out at once; `None` where it takes long, and
/// [`is_slowly_right`] is to be asked elsewhere.
pub fn is_right(verifier: &Verifier, password: &[u8]) -> Option<bool> {
    match verifier {
        Verifier::NtHash(hash) => Some(is_hash_of(hash, password)),
        Verifier::Password(right) => {
            // As much work as where a hash is kept.
            std::hint::black_box(is_hash_of(&NtHash::new([0; 16]), password));
            Some(right.expose().ct_eq(password).into())
        }
        Verifier::Argon2id(_) => None,
    }
}

/// Whether a password is that of an Argon2id hash. Takes long.
pub fn is_slowly_right(hash: &Secret, password: &[u8]) -> bool {
    let text = std::str::from_utf8(hash.expose()).ok();
    let hash = text.and_then(|text| PasswordHash::new(text).ok());
    hash.is_some_and(|hash| Argon2::default().verify_password(password, &hash).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use homeward_daemon::SystemEntropy;

    #[test]
    fn a_persons_password_is_salted_and_found_right_by_its_own_hash_only() {
        let mut entropy = SystemEntropy::new();
        let [one, two] = [0; 2].map(|_| of_a_person(b"correct horse", &mut entropy).unwrap());
        assert_ne!(one, two);
        for verifier in [&one, &two] {
            let Verifier::Argon2id(hash) = verifier else { panic!("{verifier:?}") };
            assert!(hash.expose().starts_with(b"$argon2id$v=19$m=19456,t=2,p=1$"));
            assert!(is_slowly_right(hash, b"correct horse"));
            assert!(!is_slowly_right(hash, b"correct house"));
            assert_eq!(is_right(verifier, b"correct horse"), None);
        }
        assert!(!is_slowly_right(&Secret::new("no hash"), b""));
    }

    #[test]
    fn a_made_password_is_checked_at_once() {
        let verifier = machine_made("kJ8-fresh");
        assert_eq!(is_right(&verifier, b"kJ8-fresh"), Some(true));
        assert_eq!(is_right(&verifier, b"kJ8-fresi"), Some(false));
        let plain = Verifier::Password(Secret::new("kJ8-fresh"));
        assert_eq!(is_right(&plain, b"kJ8-fresh"), Some(true));
        assert_eq!(is_right(&plain, b"kJ8-fres"), Some(false));
        assert_eq!(is_right(&plain, b""), Some(false));
    }
}
