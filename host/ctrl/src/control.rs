//! One control socket, of hostapd or of wpa_supplicant.
//!
//! Both speak the same protocol over Unix datagrams: a command in one datagram, its reply in one,
//! and, after `ATTACH`, events on the same socket. The peer answers to the address it was asked
//! from, so each client binds a socket file of its own.

use std::fmt;
use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::net::UnixDatagram;
use tokio::sync::{Mutex, mpsc};
use tokio::task::AbortHandle;
use tokio::time::timeout;
use zeroize::Zeroizing;

use crate::line::{self, Told};
use crate::{InterfaceName, files};

/// The longest command that hostapd's global socket takes; it cuts a longer one without a word.
pub const GLOBAL_LIMIT: usize = 255;

/// The longest command that the socket of one interface takes.
pub const INTERFACE_LIMIT: usize = 4095;

/// Events that wait for their reader; later ones are counted as lost.
const EVENT_QUEUE: usize = 4096;

/// Room for the longest datagram either daemon sends.
const DATAGRAM: usize = 8192;

/// A command. Only its verb shows in errors and logs: arguments name devices and hold keys.
pub struct Command {
    verb: &'static str,
    interface: Option<InterfaceName>,
    text: Zeroizing<String>,
}

impl Command {
    /// `verb arguments`; no arguments if empty.
    pub fn new(verb: &'static str, arguments: &str) -> Self {
        Self::build(None, verb, arguments)
    }

    /// `IFNAME=interface verb arguments`: for one BSS, over the global socket.
    pub fn on(interface: &InterfaceName, verb: &'static str, arguments: &str) -> Self {
        Self::build(Some(interface.clone()), verb, arguments)
    }

    fn build(interface: Option<InterfaceName>, verb: &'static str, arguments: &str) -> Self {
        let mut text = Zeroizing::new(String::with_capacity(32 + verb.len() + arguments.len()));
        if let Some(interface) = &interface {
            for part in ["IFNAME=", interface.as_str(), " "] {
                text.push_str(part);
            }
        }
        text.push_str(verb);
        if !arguments.is_empty() {
            text.push(' ');
            text.push_str(arguments);
        }
        Self { verb, interface, text }
    }
}

impl fmt::Debug for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Command")
            .field("verb", &self.verb)
            .field("interface", &self.interface)
            .finish_non_exhaustive()
    }
}

/// Why a command had no effect, or none that is known.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// There is no such socket.
    #[error("no control socket at {}: is its daemon running: hostapd started with -g, wpa_supplicant with ctrl_interface?", .socket.display())]
    NotRunning {
        /// The peer's socket.
        socket: PathBuf,
    },
    /// The peer that was there has ended; another may have taken its place, knowing nothing of
    /// what this one was told.
    #[error("the daemon behind {} has ended or was restarted", .socket.display())]
    Gone {
        /// The peer's socket.
        socket: PathBuf,
    },
    /// The socket may not be used.
    #[error("{} may not be used: run as root, or in the group that hostapd was given with -G, wpa_supplicant in ctrl_interface", .socket.display())]
    Permission {
        /// The peer's socket.
        socket: PathBuf,
    },
    /// No reply in time. The command may still have an effect.
    #[error("no reply to {verb} within {} ms", .after.as_millis())]
    Timeout {
        /// What was asked.
        verb: &'static str,
        /// How long was waited.
        after: Duration,
    },
    /// The peer answered `FAIL`, or that it does not know the command. Its own log says why.
    #[error("{verb} was refused ({reply}): see the daemon's log")]
    Refused {
        /// What was asked.
        verb: &'static str,
        /// The first word of the reply.
        reply: String,
    },
    /// The peer has no BSS on that interface.
    #[error("there is no BSS on {interface}")]
    NoSuchBss {
        /// The interface.
        interface: InterfaceName,
    },
    /// The command would be cut, or holds a control character.
    #[error("{verb} with {length} octets cannot be sent: at most {limit}, all printable")]
    Unsendable {
        /// What was to be asked.
        verb: &'static str,
        /// The length of the command, in octets.
        length: usize,
        /// The most that the peer takes.
        limit: usize,
    },
    /// Our own side of the socket cannot be made.
    #[error("cannot keep a socket in {}", .dir.display())]
    Local {
        /// The directory.
        dir: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Anything else.
    #[error("{verb} failed on its way to {}", .socket.display())]
    Io {
        /// What was asked.
        verb: &'static str,
        /// The peer's socket.
        socket: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl ControlError {
    /// Whether the daemon is not there, or not the one that was: what it was told is forgotten.
    pub const fn is_gone(&self) -> bool {
        matches!(self, Self::NotRunning { .. } | Self::Gone { .. })
    }
}

/// A client of one control socket. Commands go one at a time, in the order of their callers.
///
/// A call that is cancelled or times out leaves nothing behind: its socket is given up with the
/// late reply, and the next command opens a new one.
#[derive(Debug)]
pub struct Control {
    socket: PathBuf,
    run_dir: PathBuf,
    limit: usize,
    link: Mutex<Link>,
}

#[derive(Debug, Default)]
struct Link {
    local: Option<LocalSocket>,
    /// Device and inode of the peer's socket file: another file is another daemon.
    peer: Option<(u64, u64)>,
}

impl Control {
    /// A client of hostapd's global socket (`hostapd -g socket`). Our own end lives in `run_dir`,
    /// which becomes private; ends that dead processes left there are removed. Nothing is sent
    /// yet, so the peer need not run.
    ///
    /// # Errors
    /// [`ControlError::Local`].
    pub fn global(socket: &Path, run_dir: &Path) -> Result<Self, ControlError> {
        Self::new(socket, run_dir, GLOBAL_LIMIT)
    }

    /// A client of the socket of one interface (`ctrl_interface`), of hostapd or wpa_supplicant.
    ///
    /// # Errors
    /// [`ControlError::Local`].
    pub fn interface(socket: &Path, run_dir: &Path) -> Result<Self, ControlError> {
        Self::new(socket, run_dir, INTERFACE_LIMIT)
    }

    fn new(socket: &Path, run_dir: &Path, limit: usize) -> Result<Self, ControlError> {
        files::private_dir(run_dir)
            .and_then(|()| remove_stale(run_dir))
            .map_err(|source| ControlError::Local { dir: run_dir.to_owned(), source })?;
        Ok(Self {
            socket: socket.to_owned(),
            run_dir: run_dir.to_owned(),
            limit,
            link: Mutex::default(),
        })
    }

    /// Sends a command and returns the reply, without its last line feed.
    ///
    /// # Errors
    /// Any of [`ControlError`]; a reply that begins with `FAIL` or `UNKNOWN COMMAND` is one. After
    /// [`ControlError::Gone`] the next call speaks to whoever is there then.
    pub async fn request(
        &self,
        command: &Command,
        patience: Duration,
    ) -> Result<String, ControlError> {
        let verb = command.verb;
        let length = command.text.len();
        if length > self.limit || command.text.bytes().any(|c| c.is_ascii_control()) {
            return Err(ControlError::Unsendable { verb, length, limit: self.limit });
        }
        let mut link = self.link.lock().await;
        // Taken out for the time of the exchange: a caller that is cancelled drops it.
        let local = match link.local.take() {
            Some(local) => local,
            None => self.connect(&mut link, verb)?,
        };
        let exchange = async {
            local.socket.send(command.text.as_bytes()).await?;
            local.reply().await
        };
        let reply = match timeout(patience, exchange).await {
            Ok(Ok(reply)) => reply,
            Ok(Err(source)) => {
                link.peer = None;
                return Err(peer_error(&self.socket, verb, source));
            }
            Err(_) => return Err(ControlError::Timeout { verb, after: patience }),
        };
        link.local = Some(local);
        drop(link);
        if reply.starts_with("FAIL-NO-IFNAME-MATCH")
            && let Some(interface) = command.interface.clone()
        {
            return Err(ControlError::NoSuchBss { interface });
        }
        if reply.starts_with("FAIL") || reply.starts_with("UNKNOWN COMMAND") {
            let reply = reply.chars().take_while(|c| c.is_ascii_graphic()).take(32).collect();
            return Err(ControlError::Refused { verb, reply });
        }
        Ok(reply)
    }

    /// Sends a command whose only good reply is `OK`.
    ///
    /// # Errors
    /// As [`Self::request`]; another reply is [`ControlError::Refused`].
    pub async fn command(&self, command: &Command, patience: Duration) -> Result<(), ControlError> {
        self.expect(command, "OK", patience).await
    }

    /// Asks whether the peer lives. It is single-threaded: while it adds a BSS, the answer waits.
    ///
    /// # Errors
    /// As [`Self::request`].
    pub async fn ping(&self, patience: Duration) -> Result<(), ControlError> {
        self.expect(&Command::new("PING", ""), "PONG", patience).await
    }

    /// Listens to the peer's events, on a socket of their own.
    ///
    /// # Errors
    /// As [`Self::request`].
    pub async fn events<T: Told>(&self, patience: Duration) -> Result<Events<T>, ControlError> {
        Events::attach(&self.socket, &self.run_dir, patience).await
    }

    async fn expect(
        &self,
        command: &Command,
        good: &str,
        patience: Duration,
    ) -> Result<(), ControlError> {
        let reply = self.request(command, patience).await?;
        if reply == good {
            return Ok(());
        }
        let reply = reply.chars().take_while(|c| c.is_ascii_graphic()).take(32).collect();
        Err(ControlError::Refused { verb: command.verb, reply })
    }

    fn connect(&self, link: &mut Link, verb: &'static str) -> Result<LocalSocket, ControlError> {
        let found = std::fs::metadata(&self.socket);
        let local = LocalSocket::connect(&self.socket, &self.run_dir, verb);
        let (found, local) = match (found, local) {
            (Ok(found), Ok(local)) => (found, local),
            (Err(source), Ok(_)) => {
                link.peer = None;
                return Err(peer_error(&self.socket, verb, source));
            }
            (_, Err(error)) => {
                link.peer = None;
                return Err(error);
            }
        };
        let id = (found.dev(), found.ino());
        if link.peer.replace(id).is_some_and(|before| before != id) {
            link.local = Some(local);
            return Err(ControlError::Gone { socket: self.socket.clone() });
        }
        Ok(local)
    }
}

/// The events of a control socket, decoded.
///
/// A task of its own empties the socket: hostapd gives up on a listener whose queue stays full,
/// and does not tell.
#[derive(Debug)]
pub struct Events<T> {
    local: Arc<LocalSocket>,
    socket: PathBuf,
    events: mpsc::Receiver<T>,
    replies: mpsc::Receiver<bool>,
    lost: Arc<AtomicU64>,
    reader: AbortHandle,
}

impl<T: Told> Events<T> {
    /// Attaches to the peer behind `socket`; our own end lives in `run_dir`, which must exist.
    ///
    /// # Errors
    /// As [`Control::request`].
    pub async fn attach(
        socket: &Path,
        run_dir: &Path,
        patience: Duration,
    ) -> Result<Self, ControlError> {
        let local = Arc::new(LocalSocket::connect(socket, run_dir, "ATTACH")?);
        let (event_tx, events) = mpsc::channel(EVENT_QUEUE);
        let (reply_tx, replies) = mpsc::channel(4);
        let lost = Arc::new(AtomicU64::new(0));
        let reader = tokio::spawn(read(local.clone(), event_tx, reply_tx, lost.clone()));
        let reader = reader.abort_handle();
        let mut this = Self { local, socket: socket.to_owned(), events, replies, lost, reader };
        this.check(patience).await?;
        Ok(this)
    }

    /// Waits for the next event. Cancel-safe. That the peer has ended shows in [`Self::check`]
    /// only: a dead peer sends nothing.
    ///
    /// # Errors
    /// [`ControlError::Gone`] once our own end is broken; attach anew.
    pub async fn next(&mut self) -> Result<T, ControlError> {
        self.events.recv().await.ok_or_else(|| ControlError::Gone { socket: self.socket.clone() })
    }

    /// Asks whether the peer lives and still has us on its list, and puts us there again if not.
    /// To be called every few seconds.
    ///
    /// # Errors
    /// As [`Control::request`]. After [`ControlError::is_gone`] attach anew.
    pub async fn check(&mut self, patience: Duration) -> Result<(), ControlError> {
        while self.replies.try_recv().is_ok() {}
        let exchange = async {
            self.local.socket.send(b"ATTACH").await?;
            self.replies.recv().await.ok_or_else(|| io::Error::from(ErrorKind::ConnectionReset))
        };
        match timeout(patience, exchange).await {
            Ok(Ok(true)) => Ok(()),
            Ok(Ok(false)) => {
                Err(ControlError::Refused { verb: "ATTACH", reply: "FAIL".to_owned() })
            }
            Ok(Err(source)) => Err(peer_error(&self.socket, "ATTACH", source)),
            Err(_) => Err(ControlError::Timeout { verb: "ATTACH", after: patience }),
        }
    }

    /// How many events were dropped because nobody called [`Self::next`].
    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }
}

impl<T> Drop for Events<T> {
    fn drop(&mut self) {
        // Else the peer would find out by ten failed sends. Its reply has nowhere to go.
        let _ = self.local.socket.try_send(b"DETACH");
        self.reader.abort();
    }
}

async fn read<T: Told>(
    local: Arc<LocalSocket>,
    events: mpsc::Sender<T>,
    replies: mpsc::Sender<bool>,
    lost: Arc<AtomicU64>,
) {
    let mut room = vec![0; DATAGRAM];
    loop {
        let datagram = match local.socket.recv(&mut room).await {
            Ok(length) => room.get(..length).unwrap_or_default(),
            Err(error) => {
                tracing::warn!(%error, "event socket broken");
                return;
            }
        };
        match line::parse(datagram) {
            Some(line) => {
                tracing::trace!(interface = line.interface, "event");
                if events.try_send(T::decode(line)).is_err() {
                    lost.fetch_add(1, Ordering::Relaxed);
                }
            }
            None => {
                let _ = replies.try_send(datagram.starts_with(b"OK"));
            }
        }
    }
}

/// Our end: a bound socket file, removed on drop.
#[derive(Debug)]
struct LocalSocket {
    socket: UnixDatagram,
    _file: files::Transient,
}

impl LocalSocket {
    fn connect(peer: &Path, run_dir: &Path, verb: &'static str) -> Result<Self, ControlError> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = run_dir.join(format!("{PREFIX}{}.{number}", std::process::id()));
        // A file by that name is of an earlier process with our id.
        let socket = files::remove(&path)
            .and_then(|()| UnixDatagram::bind(&path))
            .map_err(|source| ControlError::Local { dir: run_dir.to_owned(), source })?;
        let local = Self { socket, _file: files::Transient::new(path) };
        local.socket.connect(peer).map_err(|source| peer_error(peer, verb, source))?;
        Ok(local)
    }

    /// The next datagram that is no event.
    async fn reply(&self) -> io::Result<String> {
        let mut room = vec![0; DATAGRAM];
        loop {
            let length = self.socket.recv(&mut room).await?;
            let datagram = room.get(..length).unwrap_or_default();
            if line::parse(datagram).is_none() {
                return Ok(String::from_utf8_lossy(datagram).trim_end_matches('\n').to_owned());
            }
        }
    }
}

/// File names of our ends: this, the process id, a number.
const PREFIX: &str = "ctl.";

/// Removes ends whose process is gone: it was killed.
fn remove_stale(run_dir: &Path) -> io::Result<()> {
    for entry in std::fs::read_dir(run_dir)? {
        let entry = entry?;
        let name = entry.file_name();
        let pid = name
            .to_str()
            .and_then(|name| name.strip_prefix(PREFIX))
            .and_then(|rest| rest.split_once('.'))
            .and_then(|(pid, _)| pid.parse::<u32>().ok());
        if pid.is_some_and(|pid| !Path::new("/proc").join(pid.to_string()).exists()) {
            files::remove(&entry.path())?;
        }
    }
    Ok(())
}

fn peer_error(socket: &Path, verb: &'static str, source: io::Error) -> ControlError {
    let socket = socket.to_owned();
    match source.kind() {
        ErrorKind::NotFound => ControlError::NotRunning { socket },
        ErrorKind::ConnectionRefused | ErrorKind::ConnectionReset | ErrorKind::NotConnected => {
            ControlError::Gone { socket }
        }
        ErrorKind::PermissionDenied => ControlError::Permission { socket },
        _ => ControlError::Io { verb, socket, source },
    }
}
