//! The role's side of the status socket.

use std::fs::{self, File, Permissions, TryLockError};
use std::future::Future;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::os::unix::net as unix;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use nix::sys::socket::{self, AddressFamily, Backlog, SockFlag, SockType, UnixAddr};
use nix::sys::stat::{Mode, fchmod};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinSet;

use super::{Answer, ControlError, Kind, MAX_REQUEST, Request};
use crate::Shutdown;
use crate::private::{self, PrivateError};

/// How the socket is kept.
#[derive(Debug, Clone)]
pub struct ControlOptions {
    /// The socket's permission bits; 0600.
    pub mode: u32,
    /// Clients served at a time; 16. Others wait.
    pub max_clients: usize,
    /// How long a client may take, from connection to answer; 10 s.
    pub timeout: Duration,
}

impl Default for ControlOptions {
    fn default() -> Self {
        Self { mode: 0o600, max_clients: 16, timeout: Duration::from_secs(10) }
    }
}

/// Why the socket could not be made.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Another process serves it.
    #[error("another process serves {path}: stop it first, or set another control socket")]
    Taken {
        /// The socket.
        path: PathBuf,
    },
    /// A file that is no socket is in the way.
    #[error(
        "{path} is no socket, so it is not replaced: move it away, or set another control socket"
    )]
    NotASocket {
        /// The file.
        path: PathBuf,
    },
    /// The directory is not fit.
    #[error(transparent)]
    Directory(#[from] PrivateError),
    /// The system refuses.
    #[error("cannot make the control socket {path}")]
    System {
        /// The socket.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// The status socket. The file goes when this is dropped.
#[derive(Debug)]
pub struct Control {
    listener: UnixListener,
    options: ControlOptions,
    _file: SocketFile,
}

impl Control {
    /// Makes the socket `path`, and its directory if that is missing.
    ///
    /// Beside it stays a file `<path>.lock`, locked as long as we live: so a socket that a dead
    /// process left behind is told from a live one without a race.
    ///
    /// # Errors
    ///
    /// [`BindError`], naming the socket.
    ///
    /// # Panics
    ///
    /// Outside a Tokio runtime.
    pub fn bind(path: &Path, options: ControlOptions) -> Result<Self, BindError> {
        let path = path.to_owned();
        let system = |source| BindError::System { path: path.clone(), source };
        if let Some(parent) = path.parent().filter(|p| !p.as_os_str().is_empty()) {
            private::directory(parent)?;
        }
        let lock = lock(&path)?;
        clear(&path)?;
        let listener = listen(&path, options.mode).map_err(system)?;
        let inode = fs::symlink_metadata(&path).map_err(system)?.ino();
        let file = SocketFile { path: path.clone(), inode, _lock: lock };
        listener.set_nonblocking(true).map_err(system)?;
        let listener = UnixListener::from_std(listener).map_err(system)?;
        Ok(Self { listener, options, _file: file })
    }

    /// Answers clients with `handler` until a stop is requested; those being answered then are
    /// still answered. Drop the future to end it sooner.
    ///
    /// The handler runs in a task per client. A role whose state lives in its event loop sends the
    /// request there and awaits the answer.
    pub async fn serve<H, F>(self, handler: H, shutdown: Shutdown)
    where
        H: Fn(Request) -> F + Send + Sync + 'static,
        F: Future<Output = Result<Value, ControlError>> + Send + 'static,
    {
        let handler = Arc::new(handler);
        let mut clients = JoinSet::new();
        loop {
            while clients.try_join_next().is_some() {}
            let room = clients.len() < self.options.max_clients;
            tokio::select! {
                () = shutdown.requested() => break,
                Some(_) = clients.join_next(), if !room => {}
                accepted = self.listener.accept(), if room => match accepted {
                    Ok((stream, _)) => {
                        let (handler, timeout) = (Arc::clone(&handler), self.options.timeout);
                        clients.spawn(async move {
                            match tokio::time::timeout(timeout, answer(stream, &*handler)).await {
                                Ok(Ok(())) => {}
                                Ok(Err(error)) => tracing::debug!(%error, "control client lost"),
                                Err(_) => tracing::debug!(?timeout, "control client too slow"),
                            }
                        });
                    }
                    Err(error) => {
                        // Out of descriptors, most likely: to try again at once would spin.
                        tracing::warn!(%error, "no control client accepted");
                        let pause = Duration::from_millis(100);
                        let _ = tokio::time::timeout(pause, shutdown.requested()).await;
                    }
                },
            }
        }
        while clients.join_next().await.is_some() {}
    }
}

async fn answer<H, F>(mut stream: UnixStream, handler: &H) -> io::Result<()>
where
    H: Fn(Request) -> F,
    F: Future<Output = Result<Value, ControlError>>,
{
    let (reader, mut writer) = stream.split();
    let mut line = Vec::new();
    BufReader::new(reader).take(MAX_REQUEST as u64).read_until(b'\n', &mut line).await?;
    if line.is_empty() {
        return Ok(());
    }
    let result = match parse(&line) {
        Ok(request) => {
            tracing::debug!(command = request.command, "control request");
            handler(request).await
        }
        Err(error) => Err(error),
    };
    let answer = match result {
        Ok(value) => Answer::Result(value),
        Err(error) => Answer::Error(error),
    };
    let mut text = serde_json::to_vec(&answer)?;
    text.push(b'\n');
    writer.write_all(&text).await?;
    writer.shutdown().await
}

fn parse(line: &[u8]) -> Result<Request, ControlError> {
    let bad = |message| Err(ControlError::new(Kind::BadRequest, message));
    if line.last() != Some(&b'\n') {
        return match line.len() {
            MAX_REQUEST.. => bad(format!("a request has at most {MAX_REQUEST} octets")),
            _ => bad("a request ends in a newline".to_owned()),
        };
    }
    serde_json::from_slice(line).or_else(|e| {
        bad(format!("a request is one JSON object, such as {{\"command\":\"status\"}}: {e}"))
    })
}

/// The socket's name, removed at the end if it still means our socket.
#[derive(Debug)]
struct SocketFile {
    path: PathBuf,
    inode: u64,
    _lock: File,
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if fs::symlink_metadata(&self.path).is_ok_and(|m| m.ino() == self.inode) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Takes the lock beside the socket. It ends with the process, however that ends.
fn lock(path: &Path) -> Result<File, BindError> {
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    let file =
        fs::OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(name);
    let locked = file.and_then(|file| match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(error),
    });
    match locked {
        Ok(Some(file)) => Ok(file),
        Ok(None) => Err(BindError::Taken { path: path.to_owned() }),
        Err(source) => Err(BindError::System { path: path.to_owned(), source }),
    }
}

/// Removes what a dead process left; leaves alone whatever is not that.
fn clear(path: &Path) -> Result<(), BindError> {
    let owned = || path.to_owned();
    match fs::symlink_metadata(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(source) => Err(BindError::System { path: owned(), source }),
        Ok(found) if !found.file_type().is_socket() => Err(BindError::NotASocket { path: owned() }),
        // Nobody of ours has it, but another program may.
        Ok(_) if unix::UnixStream::connect(path).is_ok() => Err(BindError::Taken { path: owned() }),
        Ok(_) => {
            fs::remove_file(path).map_err(|source| BindError::System { path: owned(), source })
        }
    }
}

fn listen(path: &Path, mode: u32) -> io::Result<unix::UnixListener> {
    let flags = SockFlag::SOCK_CLOEXEC;
    let fd: OwnedFd = socket::socket(AddressFamily::Unix, SockType::Stream, flags, None)?;
    // Linux gives a socket's file the mode of its descriptor: so it is private from the first
    // moment on, without a process-wide umask.
    fchmod(&fd, Mode::from_bits_truncate(mode & 0o600))?;
    socket::bind(fd.as_raw_fd(), &UnixAddr::new(path)?)?;
    fs::set_permissions(path, Permissions::from_mode(mode & 0o777))?;
    socket::listen(&fd, Backlog::new(64)?)?;
    Ok(fd.into())
}
