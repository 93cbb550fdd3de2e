//! Sessions at rest, sealed (AES-256-GCM) as credentials are.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::Context;
use homeward_daemon::{SystemEntropy, private};
use homeward_keychain::Saved;
use homeward_model::Name;
use homeward_seal::{Sealer, Slot};
use zeroize::Zeroizing;

use crate::config::State;
use crate::vault;

const SLOT: Slot = Slot { table: "device", column: "sessions", row: 1 };

/// One session for each server.
#[derive(Debug)]
pub(crate) struct Sessions {
    path: PathBuf,
    sealer: Sealer,
    entropy: SystemEntropy,
    held: BTreeMap<Name, Saved>,
}

impl Sessions {
    /// Those that were kept. What cannot be opened or read is no more than a reason to begin anew.
    ///
    /// # Errors
    ///
    /// Others could read or replace what is kept; or the key file is none.
    pub(crate) fn open(config: &State) -> anyhow::Result<Self> {
        let mut entropy = SystemEntropy::new();
        let sealer = vault::sealer(config, &mut entropy)?;
        let path = config.directory.join("sessions.sealed");
        let mut this = Self { path, sealer, entropy, held: BTreeMap::new() };
        match this.read() {
            Ok(held) => this.held = held,
            Err(error) => {
                let error = format!("{error:#}");
                tracing::warn!(error, "the kept sessions are of no use: they begin anew");
            }
        }
        Ok(this)
    }

    fn read(&self) -> anyhow::Result<BTreeMap<Name, Saved>> {
        let Some(sealed) = vault::read(&self.path)? else { return Ok(BTreeMap::new()) };
        let plain = self.sealer.open(SLOT, &sealed)?;
        let held: BTreeMap<Name, Zeroizing<Vec<u8>>> = serde_json::from_slice(&plain)?;
        Ok(held)
    }

    /// The session with that server.
    pub(crate) fn of(&self, server: &Name) -> Option<&Saved> {
        self.held.get(server)
    }

    /// Keeps a session, in place of the one that the server had.
    ///
    /// # Errors
    ///
    /// It cannot be written; what was kept before still is.
    pub(crate) fn keep(&mut self, server: Name, saved: Saved) -> anyhow::Result<()> {
        self.held.insert(server, saved);
        let plain = Zeroizing::new(serde_json::to_vec(&self.held)?);
        let (key, _) = self.sealer.ring().newest().context("the key file has no key")?;
        let sealed = self.sealer.seal(SLOT, key, &plain, &mut self.entropy)?;
        Ok(private::write(&self.path, &sealed)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sessions_are_there_after_a_restart_and_nobody_reads_them_off_the_disk() {
        let dir = tempfile::tempdir().unwrap();
        let directory = dir.path().join("state");
        let state = State { key_file: directory.join("device.keys"), directory };
        let server = |text: &str| text.parse::<Name>().unwrap();
        let mut sessions = Sessions::open(&state).unwrap();
        assert!(sessions.of(&server("sip.example")).is_none());
        sessions.keep(server("sip.example"), Zeroizing::new(b"of sip".to_vec())).unwrap();
        sessions.keep(server("vpn.example"), Zeroizing::new(b"of vpn".to_vec())).unwrap();
        sessions.keep(server("sip.example"), Zeroizing::new(b"another".to_vec())).unwrap();
        let again = Sessions::open(&state).unwrap();
        assert_eq!(again.of(&server("sip.example")).unwrap().as_slice(), b"another");
        assert_eq!(again.of(&server("vpn.example")).unwrap().as_slice(), b"of vpn");
        let file = state.directory.join("sessions.sealed");
        let mut sealed = std::fs::read(&file).unwrap();
        assert!(!String::from_utf8_lossy(&sealed).contains("example"));
        *sealed.last_mut().unwrap() ^= 1;
        std::fs::write(&file, &sealed).unwrap();
        assert!(Sessions::open(&state).unwrap().of(&server("sip.example")).is_none());
    }
}
