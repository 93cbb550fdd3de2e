//! The daemon, as whoever tells it something sees it.

use std::collections::BTreeSet;
use std::io::{Error, ErrorKind};
use std::path::{Path, PathBuf};
use std::time::Duration;

use homeward_vici::command::{Command, shared_ids};
use homeward_vici::packet::{self, HEADER};
use homeward_vici::{Packet, Section};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::time::timeout;
use zeroize::Zeroizing;

use crate::CharonError;

/// What it calls itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    /// `charon`, or what was built in its place, such as `charon-systemd`.
    pub daemon: String,
    /// Such as `5.9.8`.
    pub version: String,
}

/// A daemon.
#[derive(Debug, Clone)]
pub struct Charon {
    socket: PathBuf,
    patience: Duration,
}

impl Charon {
    /// The one that listens there (`charon.plugins.vici.socket` of `strongswan.conf`); it has so long
    /// for each command.
    pub fn new(socket: PathBuf, patience: Duration) -> Self {
        Self { socket, patience }
    }

    /// Where it listens.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// Who it is.
    ///
    /// # Errors
    /// [`CharonError`].
    pub async fn version(&self) -> Result<Version, CharonError> {
        let said = self.tell(Command::version()).await?;
        let of = |name| said.text(name).unwrap_or("?").to_owned();
        Ok(Version { daemon: of("daemon"), version: of("version") })
    }

    /// Has it demand, or bring, that key (RFC 8784) of whoever calls it so. What is connected stays.
    ///
    /// # Errors
    /// [`CharonError`].
    pub async fn load_ppk(&self, id: &str, key: &[u8]) -> Result<(), CharonError> {
        self.tell(Command::load_ppk(id, key)).await.map(drop)
    }

    /// Has it forget a key. What is connected stays, and to forget what it does not know is no error.
    ///
    /// # Errors
    /// [`CharonError`].
    pub async fn unload(&self, id: &str) -> Result<(), CharonError> {
        self.tell(Command::unload_shared(id)).await.map(drop)
    }

    /// The ids of all shared keys that it knows, of PPKs and others, and by whomever they were loaded.
    ///
    /// # Errors
    /// [`CharonError`].
    pub async fn shared(&self) -> Result<BTreeSet<String>, CharonError> {
        let said = self.tell(Command::get_shared()).await?;
        Ok(shared_ids(&said).into_iter().collect())
    }

    /// Has a connection be as it is described. What is connected by the one before stays.
    ///
    /// # Errors
    /// [`CharonError`].
    pub async fn load_connection(&self, name: &str, of: Section) -> Result<(), CharonError> {
        self.tell(Command::load_connection(name, of)).await.map(drop)
    }

    /// Connects, and waits until traffic of `child` passes.
    ///
    /// # Errors
    /// [`CharonError`]: not connected, or not in time.
    pub async fn initiate(&self, connection: &str, child: &str) -> Result<(), CharonError> {
        // It is to give up before it is given up on.
        let within = self.patience.saturating_sub(self.patience / 10).as_millis();
        let within = u64::try_from(within).unwrap_or(u64::MAX).max(1);
        self.tell(Command::initiate(connection, child, within)).await.map(drop)
    }

    /// Ends what is connected; whether there was anything.
    ///
    /// # Errors
    /// [`CharonError`].
    pub async fn terminate(&self, connection: &str) -> Result<bool, CharonError> {
        match self.tell(Command::terminate(connection)).await {
            Ok(_) => Ok(true),
            Err(CharonError::Failed(_)) => Ok(false),
            Err(error) => Err(error),
        }
    }

    async fn tell(&self, command: Command) -> Result<Section, CharonError> {
        let name = command.name();
        let late = |_| CharonError::Deadline {
            socket: self.socket.clone(),
            command: name,
            after: self.patience,
        };
        timeout(self.patience, self.converse(command)).await.map_err(late)?
    }

    async fn converse(&self, command: Command) -> Result<Section, CharonError> {
        let socket = || self.socket.clone();
        let connect = |source| CharonError::Connect { socket: socket(), source };
        let lost = |source| CharonError::Lost { socket: socket(), source };
        let malformed = |source| CharonError::Malformed { socket: socket(), source };
        let name = command.name();
        let request = command.request().encode()?;
        let mut stream = UnixStream::connect(&self.socket).await.map_err(connect)?;
        stream.write_all(&request).await.map_err(lost)?;
        loop {
            let mut header = [0; HEADER];
            stream.read_exact(&mut header).await.map_err(lost)?;
            let length = packet::length(header).map_err(malformed)?;
            // As it comes, so that nobody has room made for what is never sent.
            let mut body = Zeroizing::new(Vec::new());
            let mut sending = (&mut stream).take(length as u64);
            let read = sending.read_to_end(&mut body).await.map_err(lost)?;
            if read < length {
                return Err(lost(Error::from(ErrorKind::UnexpectedEof)));
            }
            let packet = Packet::decode(&body).map_err(malformed)?;
            if let Some(answer) = Command::answered(name, packet) {
                return answer.map_err(CharonError::Failed);
            }
        }
    }
}
