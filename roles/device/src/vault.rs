//! What is kept: credentials, sealed (AES-256-GCM) with a key beside them that only this user
//! reads; what the user has switched; and when short messages were sent.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use homeward_daemon::{SystemClock, SystemEntropy, private};
use homeward_model::{Clock, Imei, Imsi, Mac, Nai, Secret, UnixTime, WlanPolicy};
use homeward_offload::manager::{Stored, Switches};
use homeward_seal::{KeyFileError, KeyRing, Sealer, Slot};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::config::State;

/// A day, in milliseconds.
const DAY_MS: i64 = 86_400_000;

const SLOT: Slot = Slot { table: "device", column: "credentials", row: 1 };

/// Where things are kept.
#[derive(Debug)]
pub(crate) struct Vault {
    credentials: PathBuf,
    switches: PathBuf,
    messages: PathBuf,
    sealer: Sealer,
    entropy: SystemEntropy,
}

/// Credentials as they are before they are sealed.
#[derive(Serialize, Deserialize)]
struct Plain {
    username: Nai,
    password: Zeroizing<String>,
    expires: Option<UnixTime>,
    renew_from: Option<UnixTime>,
    one_time: bool,
    spent: bool,
    policy: WlanPolicy,
    imsi: Imsi,
    imei: Option<Imei>,
    mac: Mac,
    #[serde(default)]
    by_message: bool,
    date: Option<UnixTime>,
}

impl Vault {
    /// Opens the vault; makes directory and key where there are none.
    ///
    /// # Errors
    ///
    /// Others could read or replace what is in it; or the key file is none.
    pub(crate) fn open(config: &State) -> anyhow::Result<Self> {
        let mut entropy = SystemEntropy::new();
        let sealer = sealer(config, &mut entropy)?;
        Ok(Self {
            credentials: config.directory.join("credentials.sealed"),
            switches: config.directory.join("switches.json"),
            messages: config.directory.join("messages.json"),
            sealer,
            entropy,
        })
    }

    /// The credentials that were kept. What cannot be opened or read is no more than a reason to
    /// ask for others.
    pub(crate) fn credentials(&self) -> Option<Stored> {
        let read = || -> anyhow::Result<Option<Stored>> {
            let Some(sealed) = read(&self.credentials)? else { return Ok(None) };
            let plain = self.sealer.open(SLOT, &sealed)?;
            let plain: Plain = serde_json::from_slice(&plain)?;
            Ok(Some(plain.into()))
        };
        read().unwrap_or_else(|error| {
            tracing::warn!(error = format!("{error:#}"), "the kept credentials are of no use");
            None
        })
    }

    /// Keeps credentials, in place of others.
    ///
    /// # Errors
    ///
    /// They cannot be written; what was kept before still is.
    pub(crate) fn store(&mut self, stored: &Stored) -> anyhow::Result<()> {
        let plain = Zeroizing::new(serde_json::to_vec(&Plain::try_from(stored)?)?);
        let (key, _) = self.sealer.ring().newest().context("the key file has no key")?;
        let sealed = self.sealer.seal(SLOT, key, &plain, &mut self.entropy)?;
        Ok(private::write(&self.credentials, &sealed)?)
    }

    /// Keeps none any more.
    ///
    /// # Errors
    ///
    /// They are still there.
    pub(crate) fn forget(&self) -> io::Result<()> {
        match std::fs::remove_file(&self.credentials) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// What the user has switched.
    pub(crate) fn switches(&self) -> Switches {
        let read = || -> anyhow::Result<Option<Switches>> {
            let Some(text) = read(&self.switches)? else { return Ok(None) };
            Ok(Some(serde_json::from_slice(&text)?))
        };
        read().unwrap_or_default().unwrap_or_default()
    }

    /// Keeps what the user has switched.
    ///
    /// # Errors
    ///
    /// It cannot be written.
    pub(crate) fn keep_switches(&self, switches: Switches) -> anyhow::Result<()> {
        Ok(private::write(&self.switches, &serde_json::to_vec(&switches)?)?)
    }

    /// How long ago messages were sent within a day before `now`. One of the future, for the clock
    /// was set, was sent now.
    pub(crate) fn messages(&self, now: UnixTime) -> Vec<Duration> {
        let ages = self.sent(now).into_iter().map(|at| now.0.saturating_sub(at.0).max(0));
        ages.map(|ms| Duration::from_millis(ms.unsigned_abs())).collect()
    }

    /// Notes that a message is sent.
    ///
    /// # Errors
    ///
    /// It cannot be written.
    pub(crate) fn note_message(&self, now: UnixTime) -> anyhow::Result<()> {
        let mut sent = self.sent(now);
        sent.push(now);
        Ok(private::write(&self.messages, &serde_json::to_vec(&sent)?)?)
    }

    fn sent(&self, now: UnixTime) -> Vec<UnixTime> {
        let read = || -> anyhow::Result<Vec<UnixTime>> {
            let Some(text) = read(&self.messages)? else { return Ok(Vec::new()) };
            Ok(serde_json::from_slice(&text)?)
        };
        let mut sent = read().unwrap_or_else(|error| {
            let error = format!("{error:#}");
            tracing::warn!(error, "it is not known how many messages were sent before");
            Vec::new()
        });
        sent.retain(|at| now.0.saturating_sub(at.0) < DAY_MS);
        sent
    }
}

/// What seals; directory and key are made where there are none.
pub(crate) fn sealer(config: &State, entropy: &mut SystemEntropy) -> anyhow::Result<Sealer> {
    private::directory(&config.directory)?;
    let ring = match KeyRing::load(&config.key_file) {
        Err(KeyFileError::Missing(_)) => {
            KeyRing::generate(&config.key_file, entropy, SystemClock.unix())
        }
        other => other,
    };
    Ok(Sealer::new(ring.context("state.key_file")?))
}

/// What is in a file, if there is one.
pub(crate) fn read(path: &Path) -> anyhow::Result<Option<Vec<u8>>> {
    match std::fs::read(path) {
        Ok(octets) => Ok(Some(octets)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
    }
}

impl TryFrom<&Stored> for Plain {
    type Error = anyhow::Error;

    fn try_from(stored: &Stored) -> anyhow::Result<Self> {
        let password = std::str::from_utf8(stored.password.expose());
        Ok(Self {
            username: stored.username.clone(),
            password: Zeroizing::new(password.context("the password is no text")?.to_owned()),
            expires: stored.expires,
            renew_from: stored.renew_from,
            one_time: stored.one_time,
            spent: stored.spent,
            policy: stored.policy.clone(),
            imsi: stored.imsi,
            imei: stored.imei,
            mac: stored.mac,
            by_message: stored.by_message,
            date: stored.date,
        })
    }
}

impl From<Plain> for Stored {
    fn from(plain: Plain) -> Self {
        Self {
            username: plain.username,
            password: Secret::new(plain.password.as_bytes()),
            expires: plain.expires,
            renew_from: plain.renew_from,
            one_time: plain.one_time,
            spent: plain.spent,
            policy: plain.policy,
            imsi: plain.imsi,
            imei: plain.imei,
            mac: plain.mac,
            by_message: plain.by_message,
            date: plain.date,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored() -> Stored {
        let policy = r#"{"networks":[{"ssid":"Town"}],"server_name":"aaa.example.net"}"#;
        Stored {
            username: "p1@wifi.example.net".parse().unwrap(),
            password: Secret::new("correct horse battery"),
            expires: Some(UnixTime(7)),
            renew_from: None,
            one_time: true,
            spent: true,
            policy: serde_json::from_str(policy).unwrap(),
            imsi: "999700123456789".parse().unwrap(),
            imei: None,
            mac: Mac::new([2, 0, 0, 0, 0, 1]),
            by_message: true,
            date: Some(UnixTime(5)),
        }
    }

    fn state(directory: &Path) -> State {
        State { directory: directory.join("state"), key_file: directory.join("state/device.keys") }
    }

    #[test]
    fn credentials_are_there_after_a_restart_and_nobody_reads_them_off_the_disk() {
        let dir = tempfile::tempdir().unwrap();
        let state = state(dir.path());
        let mut vault = Vault::open(&state).unwrap();
        assert_eq!(vault.credentials(), None);
        vault.store(&stored()).unwrap();
        let again = Vault::open(&state).unwrap();
        assert_eq!(again.credentials(), Some(stored()));
        let sealed = std::fs::read(state.directory.join("credentials.sealed")).unwrap();
        for clear in ["horse", "p1@", "999700", "Town"] {
            assert!(!String::from_utf8_lossy(&sealed).contains(clear), "{clear}");
        }
        again.forget().unwrap();
        again.forget().unwrap();
        assert_eq!(again.credentials(), None);
    }

    #[test]
    fn what_was_altered_or_sealed_elsewhere_is_none() {
        let dir = tempfile::tempdir().unwrap();
        let state = state(dir.path());
        let mut vault = Vault::open(&state).unwrap();
        vault.store(&stored()).unwrap();
        let file = state.directory.join("credentials.sealed");
        let mut sealed = std::fs::read(&file).unwrap();
        *sealed.last_mut().unwrap() ^= 1;
        std::fs::write(&file, &sealed).unwrap();
        assert_eq!(vault.credentials(), None);
        std::fs::write(&file, b"nothing of the kind").unwrap();
        assert_eq!(vault.credentials(), None);
        vault.store(&stored()).unwrap();
        std::fs::remove_file(&state.key_file).unwrap();
        assert_eq!(Vault::open(&state).unwrap().credentials(), None);
    }

    #[test]
    fn messages_are_counted_over_restarts_for_a_day_whatever_the_clock_shows() {
        let dir = tempfile::tempdir().unwrap();
        let state = state(dir.path());
        let vault = Vault::open(&state).unwrap();
        let at = |hours: i64| UnixTime(1_796_000_000_000 + hours * 3_600_000);
        let hours = |vault: &Vault, now: i64| -> Vec<u64> {
            vault.messages(at(now)).into_iter().map(|age| age.as_secs() / 3600).collect()
        };
        assert_eq!(hours(&vault, 0), [0; 0]);
        vault.note_message(at(0)).unwrap();
        vault.note_message(at(20)).unwrap();
        let vault = Vault::open(&state).unwrap();
        assert_eq!(hours(&vault, 23), [23, 3]);
        assert_eq!(hours(&vault, 24), [4]);
        assert_eq!(hours(&vault, -1000), [0, 0], "the clock was set back");
        vault.note_message(at(25)).unwrap();
        assert_eq!(hours(&vault, 25), [5, 0]);
        std::fs::write(state.directory.join("messages.json"), "none").unwrap();
        assert_eq!(hours(&vault, 25), [0; 0]);
        vault.note_message(at(26)).unwrap();
        assert_eq!(hours(&vault, 26), [0]);
    }

    #[test]
    fn what_the_user_has_switched_is_kept() {
        let dir = tempfile::tempdir().unwrap();
        let vault = Vault::open(&state(dir.path())).unwrap();
        assert_eq!(vault.switches(), Switches::default());
        let switches = Switches { offload: false, metered: true };
        vault.keep_switches(switches).unwrap();
        assert_eq!(vault.switches(), switches);
    }
}
