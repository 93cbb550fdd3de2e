//! The key file: a small ring of sealing keys, outside the database.
//!
//! A text file of mode 0600: a first line `homeward-keys 1`, then one line per key, oldest first:
//! `key <id, 16 hex digits> <created, ms since 1970> <32 octets in hex>`. Lines that begin with
//! `#` are comments. All keys open; which one seals, the datastore says.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use aes_gcm::{Aes256Gcm, KeyInit};
use homeward_model::address::decode_hex;
use homeward_model::{Entropy, UnixTime};
use ring::hmac;
use zeroize::Zeroizing;

/// The name of a sealing key: random, no secret.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyId([u8; 8]);

impl KeyId {
    /// How many octets it has.
    pub const LEN: usize = 8;

    /// The id with these octets.
    pub const fn new(octets: [u8; Self::LEN]) -> Self {
        Self(octets)
    }

    /// Its octets.
    pub const fn octets(self) -> [u8; Self::LEN] {
        self.0
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", u64::from_be_bytes(self.0))
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Why a key file could not be read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyFileError {
    /// There is none.
    #[error("no key file at {}; restore it from its backup, or for a new datastore create one with `homeward admin key create`", .0.display())]
    Missing(PathBuf),
    /// There is one already, and it may be all that opens a datastore.
    #[error("{} exists already; it is not overwritten", .0.display())]
    Exists(PathBuf),
    /// Others may read it.
    #[error("key file {path} may be read or written by others (mode {mode:04o}); run `chmod 600 {path}`", path = path.display())]
    Mode {
        /// The file.
        path: PathBuf,
        /// Its mode, the permission bits.
        mode: u32,
    },
    /// It is no key file.
    #[error("{path} line {line} is no part of a key file: {what}", path = path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: usize,
        /// What is wrong with it. Never the line itself.
        what: &'static str,
    },
    /// The file system refused.
    #[error("cannot {action} {path}", path = path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which file or directory.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

/// The keys of one key file.
pub struct KeyRing {
    path: PathBuf,
    keys: Vec<Key>,
}

struct Key {
    id: KeyId,
    created: UnixTime,
    octets: Zeroizing<[u8; 32]>,
    cipher: Aes256Gcm,
}

impl fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ids: Vec<KeyId> = self.ids().collect();
        f.debug_struct("KeyRing").field("path", &self.path).field("keys", &ids).finish()
    }
}

impl KeyRing {
    /// Writes a new key file with one key. Refused where a file is already.
    pub fn generate(
        path: &Path,
        entropy: &mut dyn Entropy,
        now: UnixTime,
    ) -> Result<Self, KeyFileError> {
        let lock = Lock::of(path)?;
        if path.symlink_metadata().is_ok() {
            return Err(KeyFileError::Exists(path.to_owned()));
        }
        let ring = Self { path: path.to_owned(), keys: vec![Key::random(entropy, now)] };
        ring.write(&lock)?;
        Ok(ring)
    }

    /// Reads a key file. Refused where others than its owner may read or write it.
    pub fn load(path: &Path) -> Result<Self, KeyFileError> {
        let fail = |action| move |source| io_error(action, path, source);
        let file = File::open(path).map_err(|e| match e.kind() {
            io::ErrorKind::NotFound => KeyFileError::Missing(path.to_owned()),
            _ => io_error("open", path, e),
        })?;
        let mode = file.metadata().map_err(fail("inspect"))?.permissions().mode() & 0o7777;
        if mode & 0o077 != 0 {
            return Err(KeyFileError::Mode { path: path.to_owned(), mode });
        }
        // A limit, so that a wrong path (a disk image, a log) is refused and not swallowed.
        let mut text = Zeroizing::new(String::with_capacity(LIMIT));
        file.take(LIMIT as u64).read_to_string(&mut text).map_err(fail("read"))?;
        let keys = match text.len() {
            LIMIT => Err((1, "it is too long to be a key file")),
            _ => parse(&text),
        };
        let keys = keys.map_err(|(line, what)| KeyFileError::Malformed {
            path: path.to_owned(),
            line,
            what,
        })?;
        Ok(Self { path: path.to_owned(), keys })
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The ids of its keys, oldest first.
    pub fn ids(&self) -> impl Iterator<Item = KeyId> + '_ {
        self.keys.iter().map(|k| k.id)
    }

    /// The newest key, which seals a new datastore, and when it was made.
    pub fn newest(&self) -> Option<(KeyId, UnixTime)> {
        self.keys.last().map(|k| (k.id, k.created))
    }

    /// A key for that purpose from each of the ring's, the newest first: what is made with one
    /// is known again for as long as its key is in the ring, by every process that has it.
    /// HMAC-SHA-256 of the purpose under the key.
    pub fn derive(&self, purpose: &str) -> Vec<Zeroizing<[u8; 32]>> {
        let derived = self.keys.iter().rev().map(|key| {
            let key = hmac::Key::new(hmac::HMAC_SHA256, &key.octets[..]);
            let mut derived = Zeroizing::new([0; 32]);
            derived.copy_from_slice(hmac::sign(&key, purpose.as_bytes()).as_ref());
            derived
        });
        derived.collect()
    }

    pub(crate) fn cipher(&self, id: KeyId) -> Option<&Aes256Gcm> {
        self.keys.iter().find(|k| k.id == id).map(|k| &k.cipher)
    }

    /// The keys of `read`, after those that only `self` has.
    pub(crate) fn merged(&self, read: Self) -> Self {
        let mut keys: Vec<Key> =
            self.keys.iter().filter(|k| read.cipher(k.id).is_none()).map(Key::copy).collect();
        keys.extend(read.keys);
        Self { path: read.path, keys }
    }

    /// Adds a new key to the file, as the newest.
    pub fn add(
        lock: &Lock,
        path: &Path,
        entropy: &mut dyn Entropy,
        now: UnixTime,
    ) -> Result<KeyId, KeyFileError> {
        let mut ring = Self::load(path)?;
        let key = Key::random(entropy, now);
        let id = key.id;
        ring.keys.push(key);
        ring.write(lock)?;
        Ok(id)
    }

    /// Drops every key but `keep` from the file.
    pub fn retain(lock: &Lock, path: &Path, keep: KeyId) -> Result<(), KeyFileError> {
        let mut ring = Self::load(path)?;
        ring.keys.retain(|k| k.id == keep);
        ring.write(lock)
    }

    /// Replaces the file in one step: whoever reads it, and whatever crash there is, finds the
    /// old one or the new one.
    fn write(&self, lock: &Lock) -> Result<(), KeyFileError> {
        let temporary = self.path.with_added_extension("new");
        let fail = |action| {
            let path = temporary.clone();
            move |source| io_error(action, &path, source)
        };
        // A leftover of a crash; under the lock nobody else writes one.
        match fs::remove_file(&temporary) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(fail("remove")(e)),
            _ => {}
        }
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&temporary)
            .map_err(fail("create"))?;
        file.write_all(self.text().as_bytes()).map_err(fail("write"))?;
        file.sync_all().map_err(fail("sync"))?;
        fs::rename(&temporary, &self.path).map_err(|e| io_error("replace", &self.path, e))?;
        lock.directory.sync_all().map_err(|e| io_error("sync the directory of", &self.path, e))
    }

    fn text(&self) -> Zeroizing<String> {
        use fmt::Write;
        let mut text = Zeroizing::new(String::with_capacity(LIMIT));
        text.push_str(HEADER);
        text.push_str("\n# Keep this file secret, and back it up apart from the database.\n");
        for key in &self.keys {
            let _ = write!(text, "key {} {} ", key.id, key.created.0);
            for octet in key.octets.iter() {
                let _ = write!(text, "{octet:02x}");
            }
            text.push('\n');
        }
        text
    }
}

impl Key {
    fn new(id: KeyId, created: UnixTime, octets: Zeroizing<[u8; 32]>) -> Self {
        let cipher = Aes256Gcm::new(&(*octets).into());
        Self { id, created, octets, cipher }
    }

    fn random(entropy: &mut dyn Entropy, now: UnixTime) -> Self {
        let mut id = [0; KeyId::LEN];
        entropy.fill(&mut id);
        let mut octets = Zeroizing::new([0; 32]);
        entropy.fill(octets.as_mut_slice());
        Self::new(KeyId(id), now, octets)
    }

    fn copy(&self) -> Self {
        Self::new(self.id, self.created, self.octets.clone())
    }
}

/// The right to replace a key file: a lock on its directory, so that no other file is needed and
/// replacing the file does not lose the lock. Freed when dropped.
#[derive(Debug)]
pub struct Lock {
    directory: File,
}

impl Lock {
    /// Waits for the lock.
    pub fn of(path: &Path) -> Result<Self, KeyFileError> {
        let directory = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        let fail = |action| move |source| io_error(action, directory, source);
        let directory = File::open(directory).map_err(fail("open the directory"))?;
        directory.lock().map_err(fail("lock the directory"))?;
        Ok(Self { directory })
    }
}

const HEADER: &str = "homeward-keys 1";
const LIMIT: usize = 64 * 1024;

fn parse(text: &str) -> Result<Vec<Key>, (usize, &'static str)> {
    let mut lines = text.lines().zip(1..);
    match lines.next() {
        Some((HEADER, _)) => {}
        _ => return Err((1, "the first line is not `homeward-keys 1`")),
    }
    let mut keys: Vec<Key> = Vec::new();
    let mut last = 1;
    for (line, number) in lines {
        last = number;
        if line.trim().is_empty() || line.starts_with('#') {
            continue;
        }
        let key = parse_key(line).ok_or((number, "not `key <id> <created> <64 hex digits>`"))?;
        if keys.iter().any(|k| k.id == key.id) {
            return Err((number, "a key with that id is there already"));
        }
        keys.push(key);
    }
    if keys.is_empty() { Err((last, "the file holds no key")) } else { Ok(keys) }
}

fn parse_key(line: &str) -> Option<Key> {
    let mut words = line.split_ascii_whitespace();
    let (word, id, created, octets) = (words.next()?, words.next()?, words.next()?, words.next()?);
    if word != "key" || words.next().is_some() {
        return None;
    }
    let id = KeyId(decode_hex(id)?.try_into().ok()?);
    let octets = Zeroizing::new(decode_hex(octets)?);
    let octets = Zeroizing::new(<[u8; 32]>::try_from(octets.as_slice()).ok()?);
    Some(Key::new(id, UnixTime(created.parse().ok()?), octets))
}

fn io_error(action: &'static str, path: &Path, source: io::Error) -> KeyFileError {
    KeyFileError::Io { action, path: path.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::XorshiftEntropy;
    use tempfile::TempDir;

    fn place() -> (TempDir, PathBuf) {
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("homeward.keys");
        (directory, path)
    }

    fn generate(path: &Path) -> Result<KeyRing, KeyFileError> {
        KeyRing::generate(path, &mut XorshiftEntropy::new(1), UnixTime(5))
    }

    #[test]
    fn a_generated_file_is_the_owners_alone_and_loads() {
        let (_directory, path) = place();
        let made = generate(&path).unwrap();
        let mode = fs::metadata(&path).unwrap().permissions().mode() & 0o7777;
        assert_eq!(mode, 0o600);
        let read = KeyRing::load(&path).unwrap();
        assert_eq!(read.newest(), made.newest());
        assert_eq!(read.newest().unwrap().1, UnixTime(5));
        assert_eq!(*read.keys[0].octets, *made.keys[0].octets);
    }

    #[test]
    fn keys_for_other_purposes_are_known_again_and_tell_nothing_of_each_other() {
        let (_directory, path) = place();
        let ring = generate(&path).unwrap();
        let one = ring.derive("one");
        assert_eq!((one.len(), &one), (1, &KeyRing::load(&path).unwrap().derive("one")));
        assert!(one != ring.derive("two") && *one[0] != *ring.keys[0].octets);
        let second = Key::random(&mut XorshiftEntropy::new(2), UnixTime(6));
        let mut keys = ring.keys;
        keys.push(second);
        let two = KeyRing { path, keys };
        assert_eq!(two.derive("one")[1..], one, "the newest first");
    }

    #[test]
    fn a_file_is_never_generated_over_another() {
        let (_directory, path) = place();
        let first = generate(&path).unwrap();
        let error = generate(&path).unwrap_err();
        let shown = path.display();
        assert_eq!(error.to_string(), format!("{shown} exists already; it is not overwritten"));
        assert_eq!(KeyRing::load(&path).unwrap().newest(), first.newest());
    }

    #[test]
    fn a_file_that_others_may_read_is_refused_with_the_repair() {
        let (_directory, path) = place();
        generate(&path).unwrap();
        for mode in [0o640, 0o604, 0o620, 0o644] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            let shown = path.display();
            assert_eq!(
                KeyRing::load(&path).unwrap_err().to_string(),
                format!(
                    "key file {shown} may be read or written by others (mode {mode:04o}); run `chmod 600 {shown}`"
                )
            );
        }
        fs::set_permissions(&path, fs::Permissions::from_mode(0o400)).unwrap();
        assert!(KeyRing::load(&path).is_ok());
    }

    #[test]
    fn a_missing_file_is_named_with_the_repair() {
        let (_directory, path) = place();
        let error = KeyRing::load(&path).unwrap_err();
        assert!(error.to_string().starts_with(&format!("no key file at {}", path.display())));
    }

    #[test]
    fn what_is_no_key_file_is_refused_by_line_and_never_repeated() {
        let key = "key 0000000000000001 5 ";
        let good = "42".repeat(32);
        for (text, line, what) in [
            (String::new(), 1, "the first line is not `homeward-keys 1`"),
            (
                format!("homeward-keys 2\n{key}{good}\n"),
                1,
                "the first line is not `homeward-keys 1`",
            ),
            (format!("{HEADER}\n# none\n"), 2, "the file holds no key"),
            (
                format!("{HEADER}\n{key}{}\n", &good[2..]),
                2,
                "not `key <id> <created> <64 hex digits>`",
            ),
            (format!("{HEADER}\n{key}{good} x\n"), 2, "not `key <id> <created> <64 hex digits>`"),
            (
                format!("{HEADER}\n\n{key}{good}\n{key}{good}\n"),
                4,
                "a key with that id is there already",
            ),
            ("x".repeat(LIMIT), 1, "it is too long to be a key file"),
        ] {
            let error = parse_text(&text);
            assert_eq!(error, format!("line {line} is no part of a key file: {what}"));
        }
        assert_eq!(parse_text(&format!("{HEADER}\n{key}{good}")), "good");
    }

    fn parse_text(text: &str) -> String {
        let (_directory, path) = place();
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        match KeyRing::load(&path) {
            Ok(_) => "good".to_owned(),
            Err(e) => e.to_string().replace(&format!("{} ", path.display()), ""),
        }
    }

    #[test]
    fn a_leftover_of_a_crash_while_writing_is_in_nobodys_way() {
        let (_directory, path) = place();
        let first = generate(&path).unwrap();
        let temporary = path.with_added_extension("new");
        fs::write(&temporary, "homeward-keys 1\nkey 00").unwrap();
        assert_eq!(KeyRing::load(&path).unwrap().newest(), first.newest());
        let lock = Lock::of(&path).unwrap();
        let added = KeyRing::add(&lock, &path, &mut XorshiftEntropy::new(2), UnixTime(6)).unwrap();
        let ids: Vec<KeyId> = KeyRing::load(&path).unwrap().ids().collect();
        assert_eq!(ids, [first.newest().unwrap().0, added]);
        assert!(!temporary.exists());
        KeyRing::retain(&lock, &path, added).unwrap();
        assert_eq!(KeyRing::load(&path).unwrap().ids().collect::<Vec<_>>(), [added]);
        let mode = fs::metadata(&path).unwrap().permissions().mode() & 0o7777;
        assert_eq!(mode, 0o600);
    }

    #[test]
    fn the_octets_of_a_key_are_not_printed() {
        let (_directory, path) = place();
        let ring = generate(&path).unwrap();
        let id = ring.newest().unwrap().0;
        assert_eq!(format!("{ring:?}"), format!("KeyRing {{ path: {path:?}, keys: [{id}] }}"));
    }
}
