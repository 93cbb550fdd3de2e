//! `[handoff]`: what modules and servers are told alike.

use std::net::SocketAddr;
use std::path::PathBuf;

use homeward_daemon::{Invalid, Period, SystemEntropy};
use homeward_model::Name;
use serde::Deserialize;

use crate::directory::{Book, Directory, Peer};
use crate::identity::{Identity, IdentityError};
use crate::peers::PeerSettings;
use crate::server::{Listen, ServerSettings};

/// Who this is, where it listens, and whom it deals with.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HandoffConfig {
    /// What it is called: the network's name, or the server's.
    pub name: Name,
    /// Where peers come to: modules and servers, over mutual TLS.
    #[serde(default)]
    pub listen: Vec<SocketAddr>,
    /// Where devices come to.
    #[serde(default)]
    pub devices: Vec<SocketAddr>,
    /// Its key (Ed25519), 64 hexadecimal digits; made where there is none. `show-key` prints the
    /// public half, by which others know it.
    pub key_file: PathBuf,
    /// What is kept over a restart, sealed.
    pub state: PathBuf,
    /// The key that it is sealed by; made where there is none.
    pub state_key_file: PathBuf,
    /// Grows with each revocation: hops that a module vouches for which had not heard of it are
    /// refused.
    #[serde(default)]
    pub epoch: u64,
    /// Whom it deals with.
    #[serde(default)]
    pub peers: Vec<Peer>,
    /// How long a peer has to answer, with connecting and repeating.
    #[serde(default = "deadline")]
    pub deadline: Period,
    /// How long a device's call may last in all.
    #[serde(default = "patience")]
    pub patience: Period,
    /// The most connections at a time.
    #[serde(default = "connections")]
    pub connections: usize,
}

fn deadline() -> Period {
    Period(PeerSettings::default().deadline)
}

fn patience() -> Period {
    Period(ServerSettings::default().device)
}

fn connections() -> usize {
    ServerSettings::default().connections
}

impl HandoffConfig {
    /// Checks what its types do not say.
    ///
    /// # Errors
    /// Names the first key that is wrong.
    pub fn check(&self) -> Result<(), Invalid> {
        self.directory().map_err(|e| Invalid::new("handoff.peers", e))?;
        if self.peers.iter().any(|peer| peer.name == self.name) {
            let message = format!("{} is this one itself: it is not its own peer", self.name);
            return Err(Invalid::new("handoff.peers", message));
        }
        if let Some(at) = self.peers.iter().filter_map(|peer| peer.address.as_ref()).find(|at| {
            let port = at.rsplit_once(':').map(|(host, port)| (host, port.parse::<u16>()));
            !matches!(port, Some((host, Ok(_))) if !host.is_empty())
        }) {
            return Err(Invalid::new("handoff.peers", format!("{at:?} is no HOST:PORT")));
        }
        for (key, period) in [("deadline", self.deadline), ("patience", self.patience)] {
            if !(100..=600_000).contains(&period.0.as_millis()) {
                return Err(Invalid::new(format!("handoff.{key}"), "give 100ms to 10m"));
            }
        }
        if self.connections == 0 {
            return Err(Invalid::new("handoff.connections", "give 1 or more"));
        }
        Ok(())
    }

    /// Whom it deals with, as the file has it.
    ///
    /// # Errors
    /// Two entries say different things; `check` finds that, too.
    pub fn directory(&self) -> Result<Directory, String> {
        Directory::new(self.peers.iter().cloned(), self.epoch).map_err(|e| e.to_string())
    }

    /// Who this is; the key is made where there is none.
    ///
    /// # Errors
    /// [`IdentityError`].
    pub fn identity(&self) -> Result<Identity, IdentityError> {
        Identity::load(self.name.clone(), &self.key_file, &mut SystemEntropy::new())
    }

    /// Whom it deals with, itself among them: it believes what it vouched for.
    pub fn book(&self, own: &Identity) -> Book {
        Book::new(self.known(own))
    }

    /// Puts into `book` what the configuration says now.
    pub fn fill(&self, book: &Book, own: &Identity) {
        book.replace(self.known(own));
    }

    fn known(&self, own: &Identity) -> Directory {
        let itself = Peer {
            name: self.name.clone(),
            key: own.key(),
            address: None,
            revoked: false,
            enrols: false,
        };
        let all = self.peers.iter().cloned().chain([itself]);
        // It was checked when it was read; without peers it believes nobody but itself.
        Directory::new(all, self.epoch).unwrap_or_else(|error| {
            tracing::error!(%error, "the list of peers cannot be used");
            Directory::default()
        })
    }

    /// Where it listens.
    pub fn listen(&self) -> Listen {
        Listen { peers: self.listen.clone(), devices: self.devices.clone() }
    }

    /// Its limits.
    pub fn server_settings(&self) -> ServerSettings {
        let (connections, device) = (self.connections, self.patience.0);
        ServerSettings { connections, device, ..ServerSettings::default() }
    }

    /// How it asks others.
    pub fn peer_settings(&self) -> PeerSettings {
        PeerSettings { deadline: self.deadline.0, ..PeerSettings::default() }
    }
}
