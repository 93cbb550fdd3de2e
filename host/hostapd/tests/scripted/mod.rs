//! A scripted peer: a Unix socket that answers commands as a test tells it to.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use tempfile::TempDir;
use tokio::net::UnixDatagram;
use tokio::task::JoinHandle;

/// A directory with a peer's socket and our run directory in it.
pub struct Place {
    dir: TempDir,
}

impl Place {
    pub fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    pub fn socket(&self) -> PathBuf {
        self.dir.path().join("peer")
    }

    pub fn run_dir(&self) -> PathBuf {
        self.dir.path().join("run")
    }

    /// Names in the run directory, sorted.
    pub fn left(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.run_dir()).unwrap();
        let mut names: Vec<_> =
            entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    /// Binds the peer's socket, in place of one that is there.
    pub fn peer(&self) -> Peer {
        // The old file is moved aside, not removed, so that the new one has another inode.
        let aside = tempfile::tempdir_in(self.dir.path()).unwrap().keep();
        let _ = std::fs::rename(self.socket(), aside.join("old"));
        Peer { socket: UnixDatagram::bind(self.socket()).unwrap() }
    }
}

/// The peer, driven step by step.
pub struct Peer {
    socket: UnixDatagram,
}

impl Peer {
    /// Waits for a command; returns it with the address of who asked.
    pub async fn hear(&self) -> (String, PathBuf) {
        let mut room = [0; 8192];
        let (length, from) = self.socket.recv_from(&mut room).await.unwrap();
        let from = from.as_pathname().unwrap().to_owned();
        (String::from_utf8(room[..length].to_vec()).unwrap(), from)
    }

    pub async fn say(&self, to: &PathBuf, text: &str) {
        self.socket.send_to(text.as_bytes(), to).await.unwrap();
    }

    /// Waits for `command` and answers it.
    pub async fn answer(&self, command: &str, reply: &str) -> PathBuf {
        let (heard, from) = self.hear().await;
        assert_eq!(heard, command);
        self.say(&from, reply).await;
        from
    }

    /// Answers by `rule` from now on, silence for `None`, and records what it hears.
    pub fn serve(
        self,
        mut rule: impl FnMut(&str) -> Option<String> + Send + 'static,
    ) -> (Heard, JoinHandle<()>) {
        let heard = Heard::default();
        let log = heard.clone();
        let task = tokio::spawn(async move {
            loop {
                let (command, from) = self.hear().await;
                let reply = rule(&command);
                log.0.lock().unwrap().push(command);
                if let Some(reply) = reply {
                    self.say(&from, &reply).await;
                }
            }
        });
        (heard, task)
    }
}

/// What a serving peer heard.
#[derive(Clone, Default)]
pub struct Heard(Arc<Mutex<Vec<String>>>);

impl Heard {
    /// All commands since the last call.
    pub fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}
