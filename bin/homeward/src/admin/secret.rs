//! Secrets: read from files, and made.

use std::path::Path;

use anyhow::{Context as _, anyhow};
use homeward_daemon::{Exit, ExitContext, SecretSource};
use homeward_model::{DeviceKey, Entropy, Passphrase, Psk, Secret, Ssid};

/// The 64 characters that need no escaping in a URL, a shell or a configuration (RFC 4648 5).
const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
/// 192 random bits.
const LENGTH: usize = 32;

/// Makes up a RADIUS secret or a log-in's password: 32 URL-safe characters, 192 random bits.
pub(super) fn generate(entropy: &mut impl Entropy) -> String {
    let random = entropy.octets::<LENGTH>();
    let characters = random.iter().map(|octet| ALPHABET.get(usize::from(octet & 63)).copied());
    characters.map(|c| char::from(c.unwrap_or(b'-'))).collect()
}

/// Reads a RADIUS secret from a file that others may not read.
pub(super) fn read_radius(path: &Path) -> anyhow::Result<Secret> {
    Ok(SecretSource::File(path.to_owned()).read()?)
}

/// Reads a device's passphrase from a file that others may not read.
pub(super) fn read_passphrase(path: &Path) -> anyhow::Result<Passphrase> {
    let secret = SecretSource::File(path.to_owned()).read()?;
    let text = std::str::from_utf8(secret.expose())
        .map_err(|_| anyhow!("a passphrase has printable ASCII characters only"));
    text.and_then(|text| Ok(text.parse::<Passphrase>()?))
        .with_context(|| format!("in {}", path.display()))
        .exit(Exit::Data)
}

/// Reads a log-in's password from a file that others may not read.
pub(super) fn read_password(path: &Path) -> anyhow::Result<Secret> {
    Ok(SecretSource::File(path.to_owned()).read()?)
}

/// Reads a raw PSK in hex from a file that others may not read.
pub(super) fn read_psk(path: &Path) -> anyhow::Result<Psk> {
    let secret = SecretSource::File(path.to_owned()).read()?;
    std::str::from_utf8(secret.expose())
        .ok()
        .and_then(Psk::from_hex)
        .ok_or_else(|| anyhow!("{} holds no PSK: 64 hex digits are one", path.display()))
        .exit(Exit::Data)
}

/// A device's key out of the files that were given; `None` if none was.
pub(super) fn given_key(
    passphrase: Option<&Path>,
    psk: Option<&Path>,
    ssid: &Ssid,
) -> anyhow::Result<Option<DeviceKey>> {
    match (passphrase, psk) {
        (Some(path), _) => Ok(Some(homeward_dot11::device_key(read_passphrase(path)?, ssid))),
        (None, Some(path)) => Ok(Some(DeviceKey::Psk(read_psk(path)?))),
        (None, None) => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use homeward_daemon::SystemEntropy;

    #[test]
    fn a_made_secret_has_32_url_safe_characters_and_is_new_each_time() {
        let mut entropy = SystemEntropy::new();
        let (one, two) = (generate(&mut entropy), generate(&mut entropy));
        assert_eq!(one.len(), 32);
        assert!(one.bytes().all(|c| ALPHABET.contains(&c)), "{one}");
        assert_ne!(one, two);
    }
}
