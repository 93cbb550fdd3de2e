//! Directories and files for our eyes only.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use nix::unistd::geteuid;

/// Why a private directory or file could not be had.
#[derive(Debug, thiserror::Error)]
pub enum PrivateError {
    /// A directory cannot be made or looked at.
    #[error("cannot make the directory {path}")]
    Directory {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Something other than a directory is in the way.
    #[error("{0} is not a directory: move it away, or set another directory")]
    NotADirectory(PathBuf),
    /// Others could replace what we put there.
    #[error(
        "others may write to {path} (owner {owner}, mode {mode:04o}), so nothing private can be \
         kept there: give it to this user and run `chmod go-w {path}`"
    )]
    Open {
        /// Which.
        path: PathBuf,
        /// Its owner's user id.
        owner: u32,
        /// Its permission bits.
        mode: u32,
    },
    /// A file cannot be written.
    #[error("cannot write {path}")]
    Write {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// Sees to it that `path` is a directory that nobody else can write to. Missing ones are made
/// with mode 0700, their missing parents too. One that stands keeps its mode (a service manager
/// may have made it 0755), but must belong to this user or root and be writable for neither group
/// nor others.
///
/// # Errors
///
/// [`PrivateError`], naming the directory.
pub fn directory(path: &Path) -> Result<(), PrivateError> {
    let failed = |source| PrivateError::Directory { path: path.to_owned(), source };
    match DirBuilder::new().recursive(true).mode(0o700).create(path) {
        Ok(()) => {}
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
            return Err(PrivateError::NotADirectory(path.to_owned()));
        }
        Err(source) => return Err(failed(source)),
    }
    let found = fs::metadata(path).map_err(failed)?;
    let (owner, mode) = (found.uid(), found.mode() & 0o7777);
    if (owner != geteuid().as_raw() && owner != 0) || mode & 0o022 != 0 {
        return Err(PrivateError::Open { path: path.to_owned(), owner, mode });
    }
    Ok(())
}

/// Replaces the file `path` by `contents`, mode 0600, all or nothing: after a crash there is
/// either what was there before or what is there now.
///
/// # Errors
///
/// [`PrivateError::Write`], naming the file; what was there before still is.
pub fn write(path: &Path, contents: &[u8]) -> Result<(), PrivateError> {
    let failed = |source| PrivateError::Write { path: path.to_owned(), source };
    let parent = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let (temporary, mut file) = temporary(path, parent).map_err(failed)?;
    let written = file
        .write_all(contents)
        .and_then(|()| file.sync_all())
        .and_then(|()| fs::rename(&temporary, path));
    if let Err(source) = written {
        let _ = fs::remove_file(&temporary);
        return Err(failed(source));
    }
    // The new name is durable once the directory is.
    File::open(parent).and_then(|d| d.sync_all()).map_err(failed)
}

/// Makes a new file beside `path`; a name that is taken (a crash left it, or someone put a
/// symbolic link there) is never opened.
fn temporary(path: &Path, parent: &Path) -> io::Result<(PathBuf, File)> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?.to_string_lossy();
    loop {
        let count = NEXT.fetch_add(1, Ordering::Relaxed);
        let candidate = parent.join(format!(".{name}.{}.{count}.new", std::process::id()));
        match OpenOptions::new().write(true).create_new(true).mode(0o600).open(&candidate) {
            Ok(file) => return Ok((candidate, file)),
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
            Err(e) => return Err(e),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().mode() & 0o7777
    }

    #[test]
    fn a_missing_directory_is_made_for_us_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("run/homeward");
        directory(&path).unwrap();
        assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o700, 0o700));
        directory(&path).unwrap();
    }

    #[test]
    fn a_directory_that_others_may_write_to_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        for (bits, good) in [(0o755, true), (0o720, false), (0o702, false), (0o1777, false)] {
            fs::set_permissions(dir.path(), fs::Permissions::from_mode(bits)).unwrap();
            assert_eq!(directory(dir.path()).is_ok(), good, "{bits:o}");
        }
    }

    #[test]
    fn a_file_in_the_directorys_place_is_refused() {
        let file = tempfile::NamedTempFile::new().unwrap();
        assert!(matches!(directory(file.path()), Err(PrivateError::NotADirectory(_))));
    }

    #[test]
    fn a_written_file_is_private_whole_and_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        fs::write(&path, "a longer text than the new one").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        write(&path, b"new").unwrap();
        assert_eq!((fs::read(&path).unwrap().as_slice(), mode(&path)), (&b"new"[..], 0o600));
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_file_that_cannot_be_replaced_leaves_nothing_behind() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("taken");
        fs::create_dir(&path).unwrap();
        let error = write(&path, b"new").unwrap_err();
        assert_eq!(error.to_string(), format!("cannot write {}", path.display()));
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
