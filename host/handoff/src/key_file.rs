//! Keys of 32 octets in files for their owner's eyes only: 64 hexadecimal digits and a newline.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use homeward_daemon::private::{self, PrivateError};
use homeward_model::Entropy;
use zeroize::Zeroizing;

/// A key.
pub type Octets = Zeroizing<[u8; 32]>;

/// Why there is none.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    /// The file cannot be read.
    #[error("cannot read the key {}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It cannot be made.
    #[error(transparent)]
    Private(#[from] PrivateError),
    /// Something else is in it.
    #[error("{} is no key: it takes 64 hexadecimal digits", .0.display())]
    Malformed(PathBuf),
    /// Others can read it.
    #[error("the key {} can be read by others (mode {mode:o}): chmod 600 it", path.display())]
    Open {
        /// Which.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
}

/// Reads the digits; `None` if it is no key. White space around them is nothing.
pub fn parse(text: &str) -> Option<Octets> {
    let octets = data_encoding::HEXLOWER_PERMISSIVE.decode(text.trim().as_bytes()).ok();
    let octets = octets.map(Zeroizing::new)?;
    <[u8; 32]>::try_from(octets.as_slice()).ok().map(Zeroizing::new)
}

/// The digits.
pub fn text(key: &[u8; 32]) -> Zeroizing<String> {
    Zeroizing::new(data_encoding::HEXLOWER.encode(key))
}

/// The key in a file.
///
/// # Errors
/// [`KeyFileError`].
pub fn load(path: &Path) -> Result<Octets, KeyFileError> {
    let read = |source| KeyFileError::Read { path: path.to_owned(), source };
    let digits = Zeroizing::new(std::fs::read_to_string(path).map_err(read)?);
    let mode = std::fs::metadata(path).map_err(read)?.permissions().mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(KeyFileError::Open { path: path.to_owned(), mode });
    }
    parse(&digits).ok_or_else(|| KeyFileError::Malformed(path.to_owned()))
}

/// Makes a key, and a file with it in place of one that is there.
///
/// # Errors
/// It cannot be written.
pub fn make(path: &Path, entropy: &mut impl Entropy) -> Result<Octets, KeyFileError> {
    let key = Zeroizing::new(entropy.octets::<32>());
    let digits = Zeroizing::new(format!("{}\n", *text(&key)));
    private::write(path, digits.as_bytes())?;
    Ok(key)
}

/// The key in a file, which is made where there is none.
///
/// # Errors
/// [`KeyFileError`].
pub fn load_or_make(path: &Path, entropy: &mut impl Entropy) -> Result<Octets, KeyFileError> {
    match load(path) {
        Err(KeyFileError::Read { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
            let key = make(path, entropy)?;
            tracing::info!(path = %path.display(), "key made");
            Ok(key)
        }
        loaded => loaded,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use homeward_daemon::SystemEntropy;

    #[test]
    fn a_key_is_made_once_for_its_owner_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        let mut entropy = SystemEntropy::new();
        assert!(matches!(load(&path), Err(KeyFileError::Read { .. })));
        let made = load_or_make(&path, &mut entropy).unwrap();
        assert_eq!(load_or_make(&path, &mut entropy).unwrap(), made);
        assert_eq!(*load(&path).unwrap(), *made);
        let mode = |mode| std::fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        mode(0o640);
        let error = load_or_make(&path, &mut entropy).unwrap_err().to_string();
        assert!(error.contains("chmod 600"), "{error}");
        mode(0o600);
        std::fs::write(&path, "hunter2").unwrap();
        let error = load_or_make(&path, &mut entropy).unwrap_err().to_string();
        assert!(error.contains("64 hexadecimal digits"), "{error}");
        assert!(!error.contains("hunter2"), "{error}");
    }

    #[test]
    fn what_is_written_is_read_and_nothing_else_is() {
        let key = [0xa5; 32];
        assert_eq!(parse(&text(&key)).as_deref(), Some(&key));
        assert_eq!(parse(&format!(" {}\n", text(&key).to_uppercase())).as_deref(), Some(&key));
        for wrong in ["", "a5", &"a5".repeat(33), &"g5".repeat(32), &"a".repeat(63)] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }
}
