//! The network's ePDG, which demands of each device the key of the network that it came from.
//!
//! strongSwan's charon, told by its VICI socket: the PPK of a hop (RFC 8784) is loaded before the device
//! hears that it is let in, and unloaded once the hop is over: the session has another one here, the
//! device has begun one elsewhere, or its time has passed. What is connected then stays.
//!
//! charon forgets what it was told when it is restarted, and when `swanctl --load-creds` reads its own
//! secrets anew. So it is asked now and then what it knows.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use homeward_charon::{Charon, CharonError};
use homeward_daemon::SystemClock;
use homeward_daemon::doctor::{Finding, Findings};
use homeward_keychain::key::PpkKey;
use homeward_keychain::{PpkId, SessionId, Visit};
use homeward_model::Clock;
use serde_json::{Value, json};
use tokio::sync::Notify;

use crate::config::EpdgConfig;
use crate::figures::Figures;
use crate::visits::At;

/// The ePDG, and what it is to demand.
#[derive(Debug)]
pub struct Epdg {
    charon: Charon,
    config: EpdgConfig,
    figures: Figures,
    keys: Mutex<Keys>,
    /// One command at a time, so that a key is not unloaded that was wanted meanwhile.
    turn: tokio::sync::Mutex<()>,
    wake: Notify,
    away: AtomicBool,
}

/// What it is to know, and what it is to know no more.
#[derive(Debug, Default)]
struct Keys {
    wanted: BTreeMap<PpkId, PpkKey>,
    stale: BTreeSet<PpkId>,
}

impl Keys {
    fn retire(&mut self, is: impl Fn(&PpkId) -> bool) {
        let over: Vec<PpkId> = self.wanted.keys().copied().filter(|id| is(id)).collect();
        for id in over {
            self.wanted.remove(&id);
            self.stale.insert(id);
        }
    }
}

/// A key that is demanded while a hop is being settled. Dropped, it is not demanded any more.
#[derive(Debug)]
#[must_use]
pub struct Demanding<'a> {
    epdg: &'a Epdg,
    at: At,
    key: Option<PpkKey>,
    settled: bool,
}

impl Demanding<'_> {
    /// The hop is settled: its key stays, and those of the session's hops before it go.
    pub fn settled(mut self) {
        self.settled = true;
        let (session, hop) = self.at;
        self.epdg.over(|id| id.session == session && id.hop != hop);
    }
}

impl Drop for Demanding<'_> {
    fn drop(&mut self) {
        // Another call of the same device may have begun the same hop since, with another key.
        let own = self.key.as_ref().filter(|_| !self.settled).map(PpkKey::expose);
        if let Some(own) = own {
            let (session, hop) = self.at;
            let id = PpkId { session, hop };
            let still = self.epdg.keys().wanted.get(&id).is_some_and(|key| key.expose() == own);
            self.epdg.over(|of| still && *of == id);
        }
    }
}

impl Epdg {
    /// One that demands nothing yet.
    pub fn new(config: EpdgConfig, figures: Figures) -> Self {
        let charon = Charon::new(config.vici.clone(), config.timeout.0);
        Self {
            charon,
            config,
            figures,
            keys: Mutex::default(),
            turn: tokio::sync::Mutex::default(),
            wake: Notify::new(),
            away: AtomicBool::new(false),
        }
    }

    fn keys(&self) -> MutexGuard<'_, Keys> {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes up a hop that was held over a restart, after all before it.
    pub fn take_up(&self, visit: &Visit) {
        let mut keys = self.keys();
        keys.retire(|id| id.session == visit.session());
        let Some(ppk) = visit.ppk() else { return };
        if visit.given_to().all(|name| name == visit.network()) {
            keys.wanted.insert(ppk.id, ppk.key.clone());
        } else {
            keys.stale.insert(ppk.id);
        }
    }

    /// Demands the key of a hop from now on, if it has one.
    ///
    /// # Errors
    /// The ePDG does not take it, and is required to.
    pub async fn demand(&self, visit: &Visit) -> Result<Demanding<'_>, CharonError> {
        let at = (visit.session(), visit.hop());
        let key = visit.ppk().map(|ppk| ppk.key.clone());
        let demanding = Demanding { epdg: self, at, key, settled: false };
        let Some(ppk) = visit.ppk() else { return Ok(demanding) };
        let turn = self.turn.lock().await;
        {
            let mut keys = self.keys();
            // A hop that was begun before, and not settled, is called the same.
            keys.stale.remove(&ppk.id);
            keys.wanted.insert(ppk.id, ppk.key.clone());
        }
        let loaded = self.charon.load_ppk(&ppk.id.to_string(), ppk.key.expose()).await;
        drop(turn);
        self.heard(&loaded);
        match loaded {
            Ok(()) => self.figures.epdg("demanded"),
            Err(error) => {
                self.figures.epdg("not_taken");
                if self.config.required {
                    return Err(error);
                }
                tracing::warn!(%error, "a device is let in whose key the ePDG does not demand yet");
            }
        }
        Ok(demanding)
    }

    /// The device has begun a hop elsewhere.
    pub fn leaves(&self, session: SessionId) {
        self.over(|id| id.session == session);
    }

    /// The time of these hops has passed.
    pub fn ended(&self, hops: &[At]) {
        if !hops.is_empty() {
            self.over(|id| hops.contains(&(id.session, id.hop)));
        }
    }

    fn over(&self, is: impl Fn(&PpkId) -> bool) {
        let mut keys = self.keys();
        keys.retire(is);
        if !keys.stale.is_empty() {
            self.wake.notify_one();
        }
    }

    /// Keeps what charon knows as it is to be.
    pub async fn keep_up(&self) {
        loop {
            let reconciled = self.reconcile().await;
            self.heard(&reconciled);
            let next = Some(SystemClock.now() + self.config.check.0);
            tokio::select! {
                () = SystemClock.until(next) => {}
                () = self.wake.notified() => {}
            }
        }
    }

    async fn reconcile(&self) -> Result<(), CharonError> {
        let stale: Vec<PpkId> = self.keys().stale.iter().copied().collect();
        for id in stale {
            let _turn = self.turn.lock().await;
            if self.keys().stale.contains(&id) {
                self.charon.unload(&id.to_string()).await?;
                self.keys().stale.remove(&id);
                self.figures.epdg("forgotten");
            }
        }
        let known = {
            let _turn = self.turn.lock().await;
            self.charon.shared().await?
        };
        let wanted: Vec<PpkId> = self.keys().wanted.keys().copied().collect();
        for id in wanted {
            let name = id.to_string();
            if known.contains(&name) {
                continue;
            }
            let _turn = self.turn.lock().await;
            let key = self.keys().wanted.get(&id).cloned();
            if let Some(key) = key {
                self.charon.load_ppk(&name, key.expose()).await?;
                self.figures.epdg("demanded_again");
                tracing::info!(session = %id.session, hop = id.hop, "the ePDG had forgotten a key");
            }
        }
        self.figures.demands(self.keys().wanted.len());
        Ok(())
    }

    /// Says once that it is away, and once that it is back.
    fn heard<T>(&self, said: &Result<T, CharonError>) {
        let away = said.is_err();
        self.figures.epdg_answers(!away);
        if self.away.swap(away, Ordering::Relaxed) == away {
            return;
        }
        match said {
            Err(error) => {
                let error = error.in_full();
                tracing::warn!(error, "the ePDG does not do what it is told");
            }
            Ok(_) => tracing::info!("the ePDG does what it is told again"),
        }
    }

    /// For the status socket.
    pub fn status(&self) -> Value {
        let keys = self.keys();
        json!({
            "vici": self.config.vici,
            "answers": !self.away.load(Ordering::Relaxed),
            "demands": keys.wanted.len(),
            "to_forget": keys.stale.len(),
        })
    }
}

/// Whether charon is there.
pub async fn doctor(config: &EpdgConfig) -> Vec<Finding> {
    let mut findings = Findings::default();
    let charon = Charon::new(config.vici.clone(), config.timeout.0);
    let asked = async {
        let version = charon.version().await?;
        charon.shared().await.map(|_| version)
    };
    match asked.await {
        Ok(version) => findings.ok(format!(
            "the ePDG answers at {}: {} {}",
            config.vici.display(),
            version.daemon,
            version.version
        )),
        Err(error @ CharonError::Connect { .. }) => findings.fail(
            error.in_full(),
            "is strongSwan running, with the plugin vici, and may this user write to its socket?",
        ),
        Err(error) => findings.fail(
            error.in_full(),
            "is [epdg] vici the socket of charon.plugins.vici.socket in strongswan.conf?",
        ),
    }
    findings.into_vec()
}
