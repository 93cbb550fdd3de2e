//! Passwords that follow the chain: digest authentication (RFC 7616, RFC 8760 for SIP), checked here
//! so that no key leaves the guard.
//!
//! The user is the session, its password the application key of the hop that it proved last. Both are
//! asked for together with a flow, which that session has to have admitted.

use homeward_daemon::{SystemClock, SystemEntropy};
use homeward_digest::{Credentials, Nonces, challenge};
use homeward_keychain::{Flow, SessionId};
use homeward_model::{Clock, Entropy, Name};
use tokio::sync::Mutex;

use crate::admitted::Admission;
use crate::config::DigestConfig;
use crate::guard::Guard;

/// What the password's key is for.
pub const PURPOSE: &str = "digest";

/// A request that somebody in front of the service wants judged.
#[derive(Debug, Clone)]
pub struct Request<'a> {
    /// What it belongs to.
    pub flow: Flow,
    /// Its method.
    pub method: &'a str,
    /// What it asks for, as it came in.
    pub uri: &'a str,
    /// The value of its `Authorization` or `Proxy-Authorization` header.
    pub credentials: Option<&'a str>,
}

/// What is to become of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It is by who has that flow admitted.
    Passes(Admission),
    /// It is to be asked for again, with an answer to one of these challenges.
    Challenge(Vec<String>),
    /// The flow is not admitted: the device has to prove first.
    Refused,
}

/// Who judges.
#[derive(Debug)]
pub struct Digest {
    config: DigestConfig,
    realm: String,
    nonces: Mutex<Nonces>,
}

/// Why an answer is none.
enum Wrong {
    /// There is none, or it is not right.
    Answer,
    /// It is right, but the nonce is good no longer.
    Stale,
}

impl Digest {
    /// For the server of that name, if the configuration names no other realm.
    pub fn new(config: DigestConfig, server: &Name) -> Self {
        let realm = config.realm.clone().unwrap_or_else(|| server.to_string());
        let key = SystemEntropy::new().octets();
        let nonces = Mutex::new(Nonces::new(key, config.nonce.0, config.nonces));
        Self { config, realm, nonces }
    }

    /// Judges a request.
    pub async fn judge(&self, guard: &Guard, request: &Request<'_>) -> Verdict {
        let Some(admission) = guard.passes(&request.flow).await else { return Verdict::Refused };
        let outcome = self.right(guard, &admission, request).await;
        guard.figures().digest(match outcome {
            Ok(()) => "right",
            Err(Wrong::Answer) if request.credentials.is_none() => "asked",
            Err(Wrong::Answer) => "wrong",
            Err(Wrong::Stale) => "stale",
        });
        match outcome {
            Ok(()) => Verdict::Passes(admission),
            Err(wrong) => self.challenges(matches!(wrong, Wrong::Stale)).await,
        }
    }

    async fn challenges(&self, stale: bool) -> Verdict {
        let nonce = self.nonces.lock().await.issue(SystemClock.unix(), &mut SystemEntropy::new());
        let by = |algorithm: &_| challenge(&self.realm, &nonce, *algorithm, stale);
        Verdict::Challenge(self.config.algorithms.iter().map(by).collect())
    }

    async fn right(
        &self,
        guard: &Guard,
        admission: &Admission,
        request: &Request<'_>,
    ) -> Result<(), Wrong> {
        let text = request.credentials.ok_or(Wrong::Answer)?;
        let read = Credentials::read(text).map_err(|error| {
            tracing::debug!(%error, "credentials");
            Wrong::Answer
        })?;
        let session: SessionId = read.username.parse().map_err(|_| Wrong::Answer)?;
        if session != admission.session
            || read.realm != self.realm
            || read.uri != request.uri
            || !self.config.algorithms.contains(&read.algorithm)
        {
            return Err(Wrong::Answer);
        }
        let key = guard.application(session, PURPOSE).await.ok_or(Wrong::Answer)?;
        let password = key.password();
        if !read.answer(request.method, &password) {
            return Err(Wrong::Answer);
        }
        let now = SystemClock.unix();
        let good = self.nonces.lock().await.take(read.nonce, read.count, now);
        if good { Ok(()) } else { Err(Wrong::Stale) }
    }
}
