//! What the process's exit status says.
//!
//! Beyond 0, 1 and 2 the numbers are those of `sysexits.h`, which service managers and scripts
//! know.

use std::error::Error;
use std::fmt;
use std::io;
use std::process::{ExitCode, Termination};

use crate::config::{ConfigError, SecretError};
use crate::control::{AskError, BindError};
use crate::lifecycle::Overdue;
use crate::private::PrivateError;

/// An exit status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Exit {
    /// 0: done.
    Ok = 0,
    /// 1: it failed, for a reason that has no number of its own.
    Failure = 1,
    /// 2: the command line was not understood (clap's own status).
    Usage = 2,
    /// 65 (`EX_DATAERR`): what was to be read (a CSV file, a database) is damaged.
    Data = 65,
    /// 66 (`EX_NOINPUT`): what was named does not exist: a file, or a record.
    NoInput = 66,
    /// 69 (`EX_UNAVAILABLE`): something this depends on is away or taken: a server, an address, a
    /// running role.
    Unavailable = 69,
    /// 70 (`EX_SOFTWARE`): a defect of this program.
    Software = 70,
    /// 71 (`EX_OSERR`): the system refused what it should give: a thread, a descriptor, memory.
    System = 71,
    /// 73 (`EX_CANTCREAT`): an output file cannot be made.
    CannotCreate = 73,
    /// 75 (`EX_TEMPFAIL`): try again later; stopped without grace.
    Temporary = 75,
    /// 77 (`EX_NOPERM`): permission denied.
    NoPermission = 77,
    /// 78 (`EX_CONFIG`): the configuration is wrong. A restart will not help.
    Config = 78,
}

impl Exit {
    /// The number.
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// The status for an error: the outermost that was [given one](ExitContext), else what the
    /// errors along the chain of sources are known to mean, outermost first.
    pub fn of(error: &anyhow::Error) -> Self {
        let given = error.chain().find_map(|e| e.downcast_ref::<Classified>().map(|c| c.exit));
        given.or_else(|| error.chain().find_map(known)).unwrap_or(Self::Failure)
    }
}

impl Termination for Exit {
    fn report(self) -> ExitCode {
        ExitCode::from(self.code())
    }
}

/// Gives an error the exit status it means, without changing what it says.
pub trait ExitContext<T> {
    /// `bind().exit(Exit::Unavailable)?`
    ///
    /// # Errors
    ///
    /// The error that was there, marked.
    fn exit(self, exit: Exit) -> anyhow::Result<T>;
}

impl<T, E: Into<anyhow::Error>> ExitContext<T> for Result<T, E> {
    fn exit(self, exit: Exit) -> anyhow::Result<T> {
        self.map_err(|error| Classified { exit, error: error.into() }.into())
    }
}

/// An error with its status; says what the error says.
#[derive(Debug)]
struct Classified {
    exit: Exit,
    error: anyhow::Error,
}

impl fmt::Display for Classified {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.error, f)
    }
}

impl Error for Classified {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.error.source()
    }
}

fn known(error: &(dyn Error + 'static)) -> Option<Exit> {
    if error.is::<ConfigError>() || error.is::<SecretError>() {
        return Some(Exit::Config);
    }
    if error.is::<Overdue>() {
        return Some(Exit::Temporary);
    }
    if let Some(error) = error.downcast_ref::<AskError>() {
        return Some(error.exit());
    }
    match error.downcast_ref::<BindError>() {
        Some(BindError::Taken { .. }) => return Some(Exit::Unavailable),
        Some(BindError::NotASocket { .. }) => return Some(Exit::Config),
        Some(BindError::Directory(inner)) => return known(inner),
        Some(BindError::System { .. }) | None => {}
    }
    if let Some(PrivateError::NotADirectory(_) | PrivateError::Open { .. }) = error.downcast_ref() {
        return Some(Exit::Config);
    }
    match error.downcast_ref::<io::Error>()?.kind() {
        io::ErrorKind::PermissionDenied => Some(Exit::NoPermission),
        io::ErrorKind::NotFound => Some(Exit::NoInput),
        io::ErrorKind::AddrInUse
        | io::ErrorKind::AddrNotAvailable
        | io::ErrorKind::ConnectionRefused
        | io::ErrorKind::HostUnreachable
        | io::ErrorKind::NetworkUnreachable
        | io::ErrorKind::NetworkDown
        | io::ErrorKind::TimedOut => Some(Exit::Unavailable),
        io::ErrorKind::OutOfMemory => Some(Exit::System),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::{Context, anyhow};

    #[test]
    fn an_error_that_was_given_a_status_says_what_it_said() {
        let inner: anyhow::Result<()> = Err(anyhow!("the disk is full")).context("cannot export");
        let error = inner.exit(Exit::CannotCreate).context("admin export").unwrap_err();
        assert_eq!(Exit::of(&error), Exit::CannotCreate);
        assert_eq!(format!("{error:#}"), "admin export: cannot export: the disk is full");
    }

    #[test]
    fn the_outermost_status_that_was_given_wins() {
        let inner: anyhow::Result<()> = Err(anyhow!("no")).exit(Exit::Data);
        let error = inner.exit(Exit::Temporary).unwrap_err();
        assert_eq!(Exit::of(&error), Exit::Temporary);
    }

    #[test]
    fn known_errors_have_their_status() {
        let io = |kind| anyhow::Error::new(io::Error::from(kind)).context("doing something");
        assert_eq!(Exit::of(&io(io::ErrorKind::PermissionDenied)), Exit::NoPermission);
        assert_eq!(Exit::of(&io(io::ErrorKind::AddrInUse)), Exit::Unavailable);
        assert_eq!(Exit::of(&io(io::ErrorKind::BrokenPipe)), Exit::Failure);
        assert_eq!(Exit::of(&anyhow!("something")), Exit::Failure);
        assert_eq!(Exit::of(&Overdue::Asked.into()), Exit::Temporary);
    }

    #[test]
    fn a_control_sockets_error_has_the_status_of_its_cause() {
        let path = std::path::PathBuf::from("/run/x");
        let of = |error: BindError| Exit::of(&error.into());
        assert_eq!(of(BindError::Taken { path: path.clone() }), Exit::Unavailable);
        assert_eq!(of(PrivateError::NotADirectory(path.clone()).into()), Exit::Config);
        let source = || io::Error::from(io::ErrorKind::PermissionDenied);
        let directory = PrivateError::Directory { path: path.clone(), source: source() };
        assert_eq!(of(directory.into()), Exit::NoPermission);
        assert_eq!(of(BindError::System { path, source: source() }), Exit::NoPermission);
    }

    #[test]
    fn the_configurations_error_counts_before_the_files() {
        let missing = crate::config::load::<toml::Table>("/nonexistent/homeward.toml".as_ref());
        assert_eq!(Exit::of(&missing.unwrap_err().into()), Exit::Config);
    }
}
