//! The asking side of the status socket.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

use super::{Answer, ControlError, MAX_ANSWER, MAX_REQUEST, Request};
use crate::Exit;

/// How long a role may take to answer.
const PATIENCE: Duration = Duration::from_secs(15);

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// Nobody is there.
    #[error("no {role} is listening on {path}: is `homeward {role}` running?", role = Role(path))]
    NotListening {
        /// The socket.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Somebody is there, but not for us.
    #[error(
        "this user may not talk to the {role} on {path}: run this as the user that runs it, or as root",
        role = Role(path)
    )]
    NotAllowed {
        /// The socket.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It does not answer.
    #[error("the {role} on {path} does not answer within {} s", PATIENCE.as_secs(), role = Role(path))]
    Silent {
        /// The socket.
        path: PathBuf,
    },
    /// The connection broke.
    #[error("the connection to the {role} on {path} broke", role = Role(path))]
    Broken {
        /// The socket.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The answer makes no sense.
    #[error("the {role} on {path} answered something else than a JSON document: is it another version?", role = Role(path))]
    Nonsense {
        /// The socket.
        path: PathBuf,
        /// Why.
        source: serde_json::Error,
    },
    /// The request is too long to be sent.
    #[error("the request has {0} octets; {MAX_REQUEST} are the limit")]
    TooLong(usize),
    /// The role answered that it did not do it.
    #[error(transparent)]
    Refused(#[from] ControlError),
}

impl AskError {
    /// The exit status that it means.
    pub fn exit(&self) -> Exit {
        match self {
            Self::NotListening { .. } | Self::Silent { .. } | Self::Broken { .. } => {
                Exit::Unavailable
            }
            Self::NotAllowed { .. } => Exit::NoPermission,
            Self::Nonsense { .. } => Exit::Data,
            Self::TooLong(_) => Exit::Usage,
            Self::Refused(error) => match error.kind {
                super::Kind::UnknownCommand | super::Kind::BadRequest => Exit::Usage,
                super::Kind::NotFound => Exit::NoInput,
                super::Kind::Unavailable => Exit::Temporary,
                super::Kind::Failed | super::Kind::Other => Exit::Failure,
            },
        }
    }
}

/// Asks the role whose socket is `path`.
///
/// # Errors
///
/// [`AskError`]: nobody there, no answer within 15 s, or the role's own
/// [refusal](AskError::Refused).
pub async fn ask(path: &Path, request: &Request) -> Result<Value, AskError> {
    let owned = || path.to_owned();
    let broken = |source| AskError::Broken { path: owned(), source };
    let mut line = serde_json::to_vec(request).map_err(|e| broken(e.into()))?;
    line.push(b'\n');
    if line.len() > MAX_REQUEST {
        return Err(AskError::TooLong(line.len()));
    }
    let exchange = async {
        let mut stream = UnixStream::connect(path).await.map_err(|source| match source.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
                AskError::NotListening { path: owned(), source }
            }
            io::ErrorKind::PermissionDenied => AskError::NotAllowed { path: owned(), source },
            _ => broken(source),
        })?;
        stream.write_all(&line).await.map_err(broken)?;
        let mut text = Vec::new();
        stream.take(MAX_ANSWER as u64).read_to_end(&mut text).await.map_err(broken)?;
        if text.is_empty() {
            return Err(broken(io::ErrorKind::UnexpectedEof.into()));
        }
        Ok(text)
    };
    let text = match tokio::time::timeout(PATIENCE, exchange).await {
        Ok(text) => text?,
        Err(_) => return Err(AskError::Silent { path: owned() }),
    };
    match serde_json::from_slice(&text) {
        Ok(Answer::Result(value)) => Ok(value),
        Ok(Answer::Error(error)) => Err(error.into()),
        Err(source) => Err(AskError::Nonsense { path: owned(), source }),
    }
}

/// The role's name, taken from the socket's: `/run/homeward/gateway.sock` is a gateway's.
struct Role<'a>(&'a Path);

impl fmt::Display for Role<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.file_stem() {
            Some(stem) => write!(f, "{}", stem.to_string_lossy()),
            None => f.write_str("role"),
        }
    }
}
