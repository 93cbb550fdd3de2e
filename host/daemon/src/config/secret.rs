//! Where a secret is to be read from. A secret itself is never part of a configuration.

use std::ffi::OsString;
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use homeward_model::Secret;
use serde::de::{self, Deserialize, Deserializer, MapAccess};
use serde::{Serialize, Serializer};
use zeroize::Zeroizing;

/// Larger files are refused.
const MAX_SECRET: usize = 64 * 1024;

/// How to write one, for every error that has to say it.
const HOW: &str = r#"{ file = "/path" } or { env = "NAME" }"#;

/// Where a secret is to be read from: `{ file = "/etc/homeward/radius.secret" }` or
/// `{ env = "HOMEWARD_RADIUS_SECRET" }`. A file's path is absolute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecretSource {
    /// A file that others may not read.
    File(PathBuf),
    /// An environment variable.
    Env(String),
}

/// Why a secret could not be read.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The file cannot be read.
    #[error("cannot read the secret file {path}")]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Everybody can read or replace it.
    #[error("the secret file {path} is open to others (mode {mode:04o}): run `chmod o= {path}`")]
    Open {
        /// Which.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// Nothing there.
    #[error("the secret in {0} is empty")]
    Empty(SecretSource),
    /// Too much there.
    #[error("the secret in {0} is longer than 64 KiB: is it the right one?")]
    TooLong(SecretSource),
    /// No such variable.
    #[error("the environment variable {0} is not set, and a secret is to be read from it")]
    NotSet(String),
}

impl SecretSource {
    /// Reads the secret. One newline at its end is left out: editors and `echo` put it there.
    ///
    /// # Errors
    ///
    /// [`SecretError`], naming the source and never the secret.
    pub fn read(&self) -> Result<Secret, SecretError> {
        let octets = match self {
            Self::File(path) => read_file(path)?,
            Self::Env(name) => match std::env::var_os(name) {
                Some(value) => Zeroizing::new(OsString::into_vec(value)),
                None => return Err(SecretError::NotSet(name.clone())),
            },
        };
        let secret = octets.strip_suffix(b"\n").unwrap_or(&octets);
        let secret =
            secret.strip_suffix(b"\r").filter(|s| s.len() + 2 == octets.len()).unwrap_or(secret);
        match secret.len() {
            0 => Err(SecretError::Empty(self.clone())),
            n if n > MAX_SECRET => Err(SecretError::TooLong(self.clone())),
            _ => Ok(Secret::new(secret)),
        }
    }
}

fn read_file(path: &PathBuf) -> Result<Zeroizing<Vec<u8>>, SecretError> {
    let failed = |source| SecretError::Read { path: path.clone(), source };
    let file = File::open(path).map_err(failed)?;
    // The open file is asked, not its name: the name may mean another file by now.
    let mode = file.metadata().map_err(failed)?.mode() & 0o7777;
    if mode & 0o007 != 0 {
        return Err(SecretError::Open { path: path.clone(), mode });
    }
    // Room for all from the start: a vector that grows leaves copies behind.
    let mut octets = Zeroizing::new(Vec::with_capacity(MAX_SECRET + 8));
    file.take(MAX_SECRET as u64 + 4).read_to_end(&mut octets).map_err(failed)?;
    Ok(octets)
}

impl fmt::Display for SecretSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "the file {}", path.display()),
            Self::Env(name) => write!(f, "the environment variable {name}"),
        }
    }
}

impl Serialize for SecretSource {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeMap;
        let mut map = s.serialize_map(Some(1))?;
        match self {
            Self::File(path) => map.serialize_entry("file", path)?,
            Self::Env(name) => map.serialize_entry("env", name)?,
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for SecretSource {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        d.deserialize_any(Source)
    }
}

/// Written by hand for the sake of its errors: serde's own repeat a value of the wrong type, and
/// that value may be the secret.
struct Source;

impl Source {
    fn written_down<T, E: de::Error>() -> Result<T, E> {
        Err(E::custom(format_args!("a secret is never written into the configuration: use {HOW}")))
    }
}

impl<'de> de::Visitor<'de> for Source {
    type Value = SecretSource;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(HOW)
    }

    fn visit_str<E: de::Error>(self, _: &str) -> Result<SecretSource, E> {
        Self::written_down()
    }

    fn visit_i64<E: de::Error>(self, _: i64) -> Result<SecretSource, E> {
        Self::written_down()
    }

    fn visit_f64<E: de::Error>(self, _: f64) -> Result<SecretSource, E> {
        Self::written_down()
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<SecretSource, A::Error> {
        use de::Error;
        let wrong = || A::Error::custom(format_args!("a secret comes from one place: use {HOW}"));
        let key: String = map.next_key()?.ok_or_else(wrong)?;
        if key != "file" && key != "env" {
            return Err(A::Error::unknown_field(&key, &["file", "env"]));
        }
        let Ok(text) = map.next_value::<String>() else {
            return Err(A::Error::custom(format_args!("the value of {key} is a text: use {HOW}")));
        };
        if map.next_key::<String>()?.is_some() {
            return Err(wrong());
        }
        match key.as_str() {
            "env" if text.is_empty() || text.contains(['=', '\0']) => Err(A::Error::custom(
                format_args!("{text:?} is no name of an environment variable"),
            )),
            "env" => Ok(SecretSource::Env(text)),
            _ if !text.starts_with('/') => {
                Err(A::Error::custom(format_args!("{text:?} is not an absolute path")))
            }
            _ => Ok(SecretSource::File(text.into())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;

    fn file(contents: &[u8], mode: u32) -> (tempfile::NamedTempFile, SecretSource) {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), contents).unwrap();
        fs::set_permissions(file.path(), Permissions::from_mode(mode)).unwrap();
        let source = SecretSource::File(file.path().to_owned());
        (file, source)
    }

    #[test]
    fn one_newline_at_the_end_is_left_out() {
        for (contents, secret) in [
            (&b"s3cret"[..], &b"s3cret"[..]),
            (b"s3cret\n", b"s3cret"),
            (b"s3cret\r\n", b"s3cret"),
            (b"s3cret\n\n", b"s3cret\n"),
            (b"s3cret\r", b"s3cret\r"),
            (b" s3cret ", b" s3cret "),
        ] {
            let (_file, source) = file(contents, 0o600);
            assert_eq!(source.read().unwrap().expose(), secret, "{}", contents.escape_ascii());
        }
    }

    #[test]
    fn a_file_that_others_can_read_or_write_is_refused() {
        for (mode, good) in [(0o600, true), (0o640, true), (0o644, false), (0o602, false)] {
            let (_file, source) = file(b"s3cret", mode);
            assert_eq!(source.read().is_ok(), good, "{mode:o}");
        }
        let (file, source) = file(b"s3cret", 0o644);
        let path = file.path().display();
        assert_eq!(
            source.read().unwrap_err().to_string(),
            format!("the secret file {path} is open to others (mode 0644): run `chmod o= {path}`")
        );
    }

    #[test]
    fn an_empty_secret_and_one_without_end_are_refused() {
        for contents in [&b""[..], b"\n"] {
            let (_file, source) = file(contents, 0o600);
            assert!(matches!(source.read(), Err(SecretError::Empty(_))));
        }
        let (_file, source) = file(&[b'x'; MAX_SECRET + 1], 0o600);
        assert!(matches!(source.read(), Err(SecretError::TooLong(_))));
        assert!(SecretSource::File("/dev/zero".into()).read().is_err());
    }

    #[test]
    fn a_variable_is_read_and_a_missing_one_named() {
        // Set by cargo for every test.
        let source = SecretSource::Env("CARGO_PKG_NAME".into());
        assert_eq!(source.read().unwrap().expose(), b"homeward-daemon");
        let missing = SecretSource::Env("HOMEWARD_NO_SUCH_SECRET".into());
        let error = missing.read().unwrap_err().to_string();
        assert!(error.contains("HOMEWARD_NO_SUCH_SECRET"), "{error}");
    }

    #[test]
    fn a_source_survives_toml() {
        #[derive(Debug, PartialEq, Serialize, serde::Deserialize)]
        struct Both {
            a: SecretSource,
            b: SecretSource,
        }
        let both = Both { a: SecretSource::File("/x".into()), b: SecretSource::Env("X".into()) };
        let text = toml::to_string(&both).unwrap();
        assert_eq!(toml::from_str::<Both>(&text).unwrap(), both, "{text}");
    }
}
