//! Who may use the administrators' API: bearer tokens (RFC 6750), known by their hashes.
//!
//! ```toml
//! [billing]
//! role = "read"
//! sha256 = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
//! ```
//!
//! A token is random, 128 bits or more: `openssl rand -hex 32`. Its hash is that of its characters,
//! without a newline: `printf %s "$TOKEN" | sha256sum`. With so much in it a plain hash is as good
//! as a slow one.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, anyhow};
use data_encoding::HEXLOWER_PERMISSIVE;
use homeward_daemon::config::{self, Invalid};
use homeward_daemon::{Exit, ExitContext};
use homeward_model::Name;
use homeward_store::Store;
use ring::digest;
use serde::Deserialize;
use subtle::{Choice, ConstantTimeEq};

/// The most tokens in a file.
const MOST: usize = 256;

/// What a token allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// To read.
    Read,
    /// To read and to change.
    Write,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    role: Role,
    sha256: String,
}

/// Somebody who may use the API.
pub struct User {
    /// What the operator calls the token.
    pub name: String,
    /// What it allows.
    pub role: Role,
    /// The datastore, in which this user does what is done through it.
    pub store: Arc<dyn Store>,
    digest: [u8; 32],
}

impl std::fmt::Debug for User {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("User").field("name", &self.name).field("role", &self.role).finish()
    }
}

/// All who may.
#[derive(Debug)]
pub struct Tokens(Vec<Arc<User>>);

impl Tokens {
    /// Reads the file.
    ///
    /// # Errors
    ///
    /// If it cannot be read, others may write to it, or something in it is no token.
    pub fn load(path: &Path, store: &dyn Store) -> anyhow::Result<Self> {
        let metadata = std::fs::metadata(path)
            .with_context(|| format!("portal.api.tokens: cannot read {}", path.display()))
            .exit(Exit::Config)?;
        let mode = metadata.mode() & 0o7777;
        if mode & 0o022 != 0 {
            let open = anyhow!(
                "portal.api.tokens: others may write to {} (mode {mode:04o}): run `chmod go-w {0}`",
                path.display()
            );
            return Err(open).exit(Exit::Config);
        }
        let entries: BTreeMap<Name, Entry> = config::load_with(path, check)?;
        let users = entries.into_iter().map(|(name, entry)| {
            let actor = format!("api:{name}").parse();
            let actor = actor.context("portal.api.tokens").exit(Exit::Config)?;
            let digest = digest_of(&entry.sha256).unwrap_or_default();
            let (name, role, store) = (name.to_string(), entry.role, store.acting_as(actor));
            Ok(Arc::new(User { name, role, store, digest }))
        });
        Ok(Self(users.collect::<anyhow::Result<_>>()?))
    }

    /// Whose that token is. All are looked at, whichever it is.
    pub fn user(&self, token: &str) -> Option<Arc<User>> {
        let given = digest::digest(&digest::SHA256, token.as_bytes());
        let mut found = None;
        for user in &self.0 {
            let same: Choice = user.digest.as_slice().ct_eq(given.as_ref());
            if bool::from(same) {
                found = Some(user);
            }
        }
        found.cloned()
    }
}

fn digest_of(hex: &str) -> Option<[u8; 32]> {
    HEXLOWER_PERMISSIVE.decode(hex.as_bytes()).ok()?.try_into().ok()
}

fn check(entries: &BTreeMap<Name, Entry>) -> Result<(), Invalid> {
    if entries.len() > MOST {
        return Err(Invalid::new("", format!("{} tokens; {MOST} at most", entries.len())));
    }
    let mut seen = BTreeMap::new();
    for (name, entry) in entries {
        let key = format!("{name}.sha256");
        let Some(digest) = digest_of(&entry.sha256) else {
            let how = "give 64 hex digits: printf %s \"$TOKEN\" | sha256sum";
            return Err(Invalid::new(key, how));
        };
        if let Some(other) = seen.insert(digest, name) {
            return Err(Invalid::new(key, format!("it is {other}'s too: give each its own")));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use homeward_store::MemoryStore;
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    fn load(text: &str, mode: u32) -> Result<Tokens, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tokens.toml");
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        let store = MemoryStore::new(Arc::new(homeward_daemon::SystemClock));
        Tokens::load(&path, &store).map_err(|e| format!("{e:#}"))
    }

    fn sha256(token: &str) -> String {
        let digest = digest::digest(&digest::SHA256, token.as_bytes());
        digest.as_ref().iter().map(|octet| format!("{octet:02x}")).collect()
    }

    fn entry(name: &str, role: &str, token: &str) -> String {
        format!("[{name}]\nrole = \"{role}\"\nsha256 = \"{}\"\n", sha256(token))
    }

    #[test]
    fn a_token_is_known_by_its_hash_and_no_other_is() {
        let text = entry("billing", "read", "first") + &entry("shop", "write", "second");
        let tokens = load(&text, 0o644).unwrap();
        let said = |token| tokens.user(token).map(|user| (user.name.clone(), user.role));
        assert_eq!(said("first"), Some(("billing".to_owned(), Role::Read)));
        assert_eq!(said("second"), Some(("shop".to_owned(), Role::Write)));
        for wrong in ["", "firs", "first ", "First", &sha256("first")] {
            assert_eq!(said(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_file_that_is_wrong_is_named_with_the_repair() {
        let good = entry("billing", "read", "first");
        assert!(load(&good, 0o666).unwrap_err().contains("chmod go-w"));
        assert!(load(&(good.clone() + &entry("b", "read", "first")), 0o600).is_err());
        assert!(load("[a]\nrole = \"read\"\nsha256 = \"00\"\n", 0o600).unwrap_err().contains("64"));
        assert!(load(&good.replace("read", "root"), 0o600).is_err());
        assert!(load(&good.replace("role", "rule"), 0o600).is_err());
        assert!(load(&good.replace("[billing]", "['bill ing']"), 0o600).is_err());
    }
}
