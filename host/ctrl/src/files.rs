//! The files that the daemons read: private to us, replaced whole, gone when no longer needed.

use std::fs::{self, DirBuilder, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Makes `dir` a directory that only we can enter (0700), with its parents (0755 less umask).
///
/// # Errors
/// It cannot be made, is no directory, or is somebody else's.
pub fn private_dir(dir: &Path) -> io::Result<()> {
    if let Some(parent) = dir.parent() {
        fs::create_dir_all(parent)?;
    }
    match DirBuilder::new().mode(0o700).create(dir) {
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
        other => return other,
    }
    let found = fs::symlink_metadata(dir)?;
    if !found.is_dir() {
        return Err(io::Error::from(io::ErrorKind::NotADirectory));
    }
    if found.permissions().mode() & 0o077 != 0 {
        fs::set_permissions(dir, Permissions::from_mode(0o700))?;
    }
    Ok(())
}

/// Replaces `path` by a file with `content` that only its owner can read (0600). A reader sees
/// the old content or the new, never a part.
///
/// # Errors
/// Those of the file system; `path` is then as it was.
pub fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    let name = path.file_name().ok_or_else(|| io::Error::from(io::ErrorKind::InvalidFilename))?;
    let mut draft = std::ffi::OsString::from(".");
    draft.push(name);
    draft.push(format!(".{}", std::process::id()));
    let draft = Transient::new(path.with_file_name(draft));
    remove(draft.path())?;
    let mut file =
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(draft.path())?;
    file.write_all(content)?;
    fs::rename(draft.path(), path)
}

/// Removes a file that may be missing.
///
/// # Errors
/// Those of the file system, except that it is missing.
pub fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
        _ => Ok(()),
    }
}

/// A file that is removed when this is dropped.
#[derive(Debug)]
pub struct Transient(PathBuf);

impl Transient {
    /// Takes charge of `path`, which may not exist yet.
    pub fn new(path: PathBuf) -> Self {
        Self(path)
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Transient {
    fn drop(&mut self) {
        if let Err(error) = remove(&self.0) {
            tracing::warn!(path = %self.0.display(), %error, "file left behind");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o7777
    }

    #[test]
    fn a_private_directory_is_closed_to_others_even_if_it_was_open() {
        let base = tempfile::tempdir().unwrap();
        let dir = base.path().join("a/b");
        private_dir(&dir).unwrap();
        assert_eq!(mode(&dir), 0o700);
        fs::set_permissions(&dir, Permissions::from_mode(0o755)).unwrap();
        private_dir(&dir).unwrap();
        assert_eq!(mode(&dir), 0o700);
    }

    #[test]
    fn a_link_in_place_of_the_directory_is_refused() {
        let base = tempfile::tempdir().unwrap();
        let link = base.path().join("link");
        std::os::unix::fs::symlink(base.path(), &link).unwrap();
        assert!(private_dir(&link).is_err());
    }

    #[test]
    fn a_replaced_file_is_private_whole_and_alone() {
        let base = tempfile::tempdir().unwrap();
        let path = base.path().join("keys");
        fs::write(&path, "old, open to all").unwrap();
        replace(&path, b"new").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert_eq!(mode(&path), 0o600);
        assert_eq!(fs::read_dir(base.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_transient_file_goes_with_its_owner() {
        let base = tempfile::tempdir().unwrap();
        let file = Transient::new(base.path().join("conf"));
        replace(file.path(), b"x").unwrap();
        drop(file);
        assert_eq!(fs::read_dir(base.path()).unwrap().count(), 0);
    }
}
