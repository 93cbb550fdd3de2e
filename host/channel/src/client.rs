//! A gateway's end: enrolment, the channel, renewal.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use homeward_control::pb;
use homeward_daemon::{SecretSource, SystemClock};
use homeward_model::{Clock, Secret};
use rustls::pki_types::CertificateDer;
use tokio::sync::{Mutex, mpsc, oneshot};
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Status, Streaming};

use crate::authority;
use crate::certificate;
use crate::credential::Credential;
use crate::dial::{self, Dialled};
use crate::error::{Error, Refusal};
use crate::io::Fault;
use crate::settings::{ChannelConfig, ClientSettings};
use crate::tls::{self, Trust};
use crate::token::{Token, TokenHash};

/// The pause between two attempts to renew, at first and at last.
const RENEW_PAUSE: (Duration, Duration) = (Duration::from_secs(60), Duration::from_secs(3600));

/// How long a channel that has ended may take to say why.
const CLOSE: Duration = Duration::from_secs(1);

/// How often the wall clock is looked at while a renewal is far away: it may be set.
const LOOK: Duration = Duration::from_secs(600);

/// A gateway that is enrolled, or is to be. Clones are one and the same.
#[derive(Clone)]
pub struct Client(Arc<Inner>);

struct Inner {
    core: Vec<String>,
    directory: PathBuf,
    settings: ClientSettings,
    clock: Arc<dyn Clock>,
    /// Which of the cores answered last: it is asked first.
    preferred: AtomicUsize,
    /// By which interface connections leave, if that is not left to the routing table.
    interface: std::sync::Mutex<Option<String>>,
    /// Two changes of the credential at a time would overtake each other. Holds the token that
    /// this process has enrolled with.
    changing: Mutex<Option<TokenHash>>,
}

/// An open channel. Dropping it closes it.
pub struct Channel {
    /// What goes to the core. The channel closes once this is dropped.
    pub to_core: mpsc::Sender<pb::FromGateway>,
    /// What comes from the core; `None` once the channel has ended.
    pub from_core: mpsc::Receiver<pb::ToGateway>,
    /// The core that answered.
    pub core: SocketAddr,
    /// This end of the connection.
    pub local: SocketAddr,
    end: oneshot::Receiver<End>,
    _pump: Task,
}

/// Why a channel ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// The core said why before it closed the channel.
    Goodbye {
        /// Why.
        reason: pb::GoodbyeReason,
        /// For people.
        message: String,
    },
    /// The core closed it without a word.
    Closed,
    /// The core refused something.
    Refused {
        /// Why.
        refusal: Refusal,
        /// The core's own words; may be empty.
        message: String,
    },
    /// The core did not answer for longer than the keepalive allows.
    Silent,
    /// The connection broke.
    Lost(String),
    /// This end closed it.
    Left,
}

impl Channel {
    /// Waits until the channel has ended, and says why. What came before is still in `from_core`.
    /// Cancelling loses nothing but, after the first answer, says [`End::Left`].
    pub async fn ended(&mut self) -> End {
        (&mut self.end).await.unwrap_or(End::Left)
    }
}

impl Client {
    /// A client with the credential in `directory`; whether there is one shows when it connects.
    /// `core` is one or more `HOST:PORT`, first choice first.
    pub fn new(
        core: Vec<String>,
        directory: PathBuf,
        settings: ClientSettings,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let (preferred, changing) = (AtomicUsize::new(0), Mutex::new(None));
        let interface = std::sync::Mutex::default();
        Self(Arc::new(Inner { core, directory, settings, clock, preferred, interface, changing }))
    }

    /// Has connections leave by this interface from now on, whatever the routing table prefers;
    /// `None` leaves it to that. Whether that is news.
    pub fn leave_by(&self, interface: Option<String>) -> bool {
        let mut known = self.0.interface.lock().unwrap_or_else(PoisonError::into_inner);
        let news = *known != interface;
        *known = interface;
        news
    }

    /// A client as configured. A gateway without a credential, with a token file, enrols now.
    ///
    /// # Errors
    ///
    /// [`Error`]. [`Error::NotEnrolled`] if there is neither; a failed enrolment may be tried
    /// again unless it [is refused](Error::refusal).
    pub async fn start(config: &ChannelConfig, clock: Arc<dyn Clock>) -> Result<Self, Error> {
        let client =
            Self::new(config.core.clone(), config.directory.clone(), config.settings(), clock);
        match (client.credential()?, &config.token_file) {
            (Some(_), _) => {}
            (None, None) => return Err(Error::NotEnrolled(config.directory.clone())),
            (None, Some(path)) => {
                client.enrol(&read_token(path)?).await?;
            }
        }
        Ok(client)
    }

    /// Where the credential is kept.
    pub fn directory(&self) -> &Path {
        &self.0.directory
    }

    /// The credential on disk, if there is one.
    ///
    /// # Errors
    ///
    /// [`Error::Read`], [`Error::Damaged`].
    pub fn credential(&self) -> Result<Option<Credential>, Error> {
        Credential::load(&self.0.directory)
    }

    /// Trades a token for a credential, and keeps that in the directory, in place of an earlier
    /// one. Once begun it goes on by itself: a future that is dropped half-way would lose the
    /// token. Asked again with the same token, it gives what the token became.
    ///
    /// # Errors
    ///
    /// [`Error`]; an earlier credential is as it was.
    pub async fn enrol(&self, token: &Token) -> Result<Credential, Error> {
        let (client, token) = (self.clone(), token.clone());
        detached(async move {
            let mut enrolled_with = client.0.changing.lock().await;
            if *enrolled_with == Some(token.hash())
                && let Some(credential) = client.credential()?
            {
                return Ok(credential);
            }
            let credential = client.enrol_now(&token).await?;
            *enrolled_with = Some(token.hash());
            Ok(credential)
        })
        .await
    }

    async fn enrol_now(&self, token: &Token) -> Result<Credential, Error> {
        // Before the token is used up: can the credential be kept at all?
        homeward_daemon::private::directory(&self.0.directory)?;
        let key = authority::new_key()?;
        let signing_request = authority::signing_request(&key)?;
        let mut dialled = self.reach(Trust::Pinned(token.pin()), None).await?;
        let request = pb::EnrolRequest { token: token.secret().expose().into(), signing_request };
        let answer =
            self.answer(&dialled.faults, dialled.core, dialled.client.enrol(Request::new(request)));
        let answer = answer.await?;
        let core = dialled.core;
        let credential = received(core, Secret::new(key.serialize_der()), answer)?;
        // The second authority of a roll-over is vouched for by the first, which signed this TLS.
        if !credential.authorities.iter().any(|c| certificate::pin_of(c) == Some(token.pin())) {
            let reason = "it is not of the authority that the token names".to_owned();
            return Err(Error::BadCredential { core, reason });
        }
        self.keep(&credential)?;
        tracing::info!(gateway = credential.name(), %core, "enrolled");
        Ok(credential)
    }

    /// Opens the channel. The cores are tried in their order, beginning with the one that
    /// answered last. The credential is read anew, and renewed first where that is due.
    ///
    /// # Errors
    ///
    /// [`Error`] of the core that came nearest to answering.
    pub async fn connect(&self) -> Result<Channel, Error> {
        let mut credential = self.need_credential()?;
        let now = self.0.clock.unix();
        if now >= credential.renew_at() {
            credential = match self.renew().await {
                Ok(renewed) => renewed,
                // As long as the old one is good, it is used.
                Err(_) if now < credential.facts().not_after => credential,
                Err(error) => return Err(error),
            };
        }
        let trust = Trust::Authorities(credential.authorities.clone());
        let mut dialled = self.reach(trust, Some(&credential)).await?;
        let (to_core, outgoing) = mpsc::channel(self.0.settings.queue);
        let call = dialled.client.channel(ReceiverStream::new(outgoing));
        let incoming = self.answer(&dialled.faults, dialled.core, call).await?;
        Ok(self.open(dialled, to_core, incoming))
    }

    /// Trades the credential for a new one, with a new key, if that is due. Once begun it goes on
    /// by itself.
    ///
    /// # Errors
    ///
    /// [`Error`]; the old credential is as it was.
    pub async fn renew(&self) -> Result<Credential, Error> {
        let client = self.clone();
        detached(async move {
            let _alone = client.0.changing.lock().await;
            let old = client.need_credential()?;
            if client.0.clock.unix() < old.renew_at() {
                // Somebody else was faster.
                return Ok(old);
            }
            client.renew_now(&old).await
        })
        .await
    }

    async fn renew_now(&self, old: &Credential) -> Result<Credential, Error> {
        let key = authority::new_key()?;
        let signing_request = authority::signing_request(&key)?;
        let trust = Trust::Authorities(old.authorities.clone());
        let mut dialled = self.reach(trust, Some(old)).await?;
        let request = Request::new(pb::RenewRequest { signing_request });
        let core = dialled.core;
        let answer = self.answer(&dialled.faults, core, dialled.client.renew(request)).await?;
        let new = received(core, Secret::new(key.serialize_der()), answer)?;
        if new.facts().gateway != old.facts().gateway {
            let reason = "it is another gateway's".to_owned();
            return Err(Error::BadCredential { core, reason });
        }
        self.keep(&new)?;
        tracing::info!(until = %new.facts().not_after, "credential renewed");
        Ok(new)
    }

    /// Renews the credential whenever it is due, for ever. Failures are logged, and tried again
    /// with growing pauses.
    pub async fn keep_renewed(&self) -> std::convert::Infallible {
        let (first, last) = RENEW_PAUSE;
        let mut pause = first;
        loop {
            let wait = match self.credential() {
                Ok(Some(credential)) => {
                    let until = credential.renew_at().0.saturating_sub(self.0.clock.unix().0);
                    Duration::from_millis(u64::try_from(until).unwrap_or(0))
                }
                // Somebody may enrol it meanwhile.
                Ok(None) | Err(_) => LOOK,
            };
            if !wait.is_zero() {
                pause_for(wait.min(LOOK)).await;
                continue;
            }
            match self.renew().await {
                Ok(_) => pause = first,
                Err(error) => {
                    tracing::warn!(%error, "the credential could not be renewed");
                    pause_for(pause).await;
                    pause = (pause * 2).min(last);
                }
            }
        }
    }

    fn need_credential(&self) -> Result<Credential, Error> {
        self.credential()?.ok_or_else(|| Error::NotEnrolled(self.0.directory.clone()))
    }

    fn keep(&self, credential: &Credential) -> Result<(), Error> {
        credential.save(&self.0.directory).map(drop)
    }

    /// Connects to the first core that lets itself be connected to.
    async fn reach(&self, trust: Trust, credential: Option<&Credential>) -> Result<Dialled, Error> {
        let inner = &*self.0;
        let tls = tls::client(trust, credential, Arc::clone(&inner.clock)).map_err(|e| {
            let path = inner.directory.join(crate::credential::FILE);
            Error::Damaged { path, reason: e.to_string() }
        })?;
        let tls = Arc::new(tls);
        let preferred = inner.preferred.load(Ordering::Relaxed);
        let mut nearest: Option<Error> = None;
        for offset in 0..inner.core.len() {
            let index = (preferred + offset) % inner.core.len();
            let Some(core) = inner.core.get(index) else { continue };
            match self.reach_one(core, &tls).await {
                Ok(dialled) => {
                    inner.preferred.store(index, Ordering::Relaxed);
                    return Ok(dialled);
                }
                Err(error) => {
                    tracing::debug!(%core, %error, "no connection to the core");
                    // A core that answers wrongly is worth more words than one that is away.
                    nearest = Some(match nearest {
                        Some(old) if progress(&old) >= progress(&error) => old,
                        _ => error,
                    });
                }
            }
        }
        Err(nearest.unwrap_or(Error::NoCore))
    }

    /// Connects to one core, by whichever of its addresses answers first in their order.
    async fn reach_one(
        &self,
        core: &str,
        tls: &Arc<rustls::ClientConfig>,
    ) -> Result<Dialled, Error> {
        let inner = &*self.0;
        let resolve = |source| Error::Resolve { core: core.to_owned(), source };
        let looked_up = timeout(inner.settings.connect_timeout, tokio::net::lookup_host(core));
        let addresses = match looked_up.await {
            Ok(found) => found.map_err(resolve)?,
            Err(_) => return Err(resolve(std::io::ErrorKind::TimedOut.into())),
        };
        let mut last = resolve(std::io::ErrorKind::NotFound.into());
        for address in addresses {
            let by = inner.interface.lock().unwrap_or_else(PoisonError::into_inner).clone();
            let tls = Arc::clone(tls);
            match dial::dial(address, by.as_deref(), tls, &inner.settings, &*inner.clock).await {
                Ok(dialled) => return Ok(dialled),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// Waits for the answer to a call.
    async fn answer<T>(
        &self,
        faults: &crate::io::Faults,
        core: SocketAddr,
        call: impl Future<Output = Result<tonic::Response<T>, Status>>,
    ) -> Result<T, Error> {
        let after = self.0.settings.handshake_timeout;
        match timeout(after, call).await {
            Ok(Ok(answer)) => Ok(answer.into_inner()),
            Ok(Err(status)) => Err(dial::of_status(core, &status, faults, self.0.clock.unix())),
            Err(_) => Err(Error::Timeout { core, what: "answer", after }),
        }
    }

    fn open(
        &self,
        dialled: Dialled,
        to_core: mpsc::Sender<pb::FromGateway>,
        incoming: Streaming<pb::ToGateway>,
    ) -> Channel {
        let (arrived, from_core) = mpsc::channel(self.0.settings.queue);
        let (ended, end) = oneshot::channel();
        let (core, local) = (dialled.core, dialled.local);
        let clock = Arc::clone(&self.0.clock);
        let pump = tokio::spawn(async move {
            let end = pump(dialled, incoming, arrived, &*clock).await;
            // Nobody may be waiting for it.
            let _ = ended.send(end);
        });
        Channel { to_core, from_core, core, local, end, _pump: Task(pump) }
    }
}

/// Carries messages in until the channel ends, and says why it did.
async fn pump(
    mut dialled: Dialled,
    mut incoming: Streaming<pb::ToGateway>,
    arrived: mpsc::Sender<pb::ToGateway>,
    clock: &dyn Clock,
) -> End {
    let mut goodbye: Option<End> = None;
    let status = loop {
        match incoming.message().await {
            Ok(Some(message)) => {
                if let Some(pb::to_gateway::Body::Goodbye(said)) = &message.body {
                    let (reason, message) = (said.reason(), said.message.clone());
                    goodbye = Some(End::Goodbye { reason, message });
                }
                if arrived.send(message).await.is_err() {
                    return End::Left;
                }
            }
            Ok(None) => return goodbye.unwrap_or(End::Closed),
            Err(status) => break status,
        }
    };
    if let Some(end) = goodbye {
        return end;
    }
    // With nothing asked of it any more, the connection ends; then it is known why.
    drop((incoming, dialled.client));
    let _ = timeout(CLOSE, dialled.connection.ended()).await;
    if let Some(Fault::Silent) = dialled.faults.get() {
        return End::Silent;
    }
    match dial::of_status(dialled.core, &status, &dialled.faults, clock.unix()) {
        Error::Refused { refusal, message, .. } => End::Refused { refusal, message },
        error => End::Lost(error.to_string()),
    }
}

/// How far a failed attempt came.
fn progress(error: &Error) -> u8 {
    match error {
        Error::Resolve { .. } | Error::NoCore => 0,
        Error::Connect { .. } | Error::Timeout { .. } => 1,
        Error::Failed { .. } | Error::Tls { .. } => 2,
        _ => 3,
    }
}

/// A credential out of what the core sent, with the key that it was asked for with.
fn received(core: SocketAddr, key: Secret, sent: pb::Credential) -> Result<Credential, Error> {
    let authorities = sent.authorities.into_iter().map(CertificateDer::from).collect();
    Credential::new(key, CertificateDer::from(sent.certificate), authorities)
        .map_err(|reason| Error::BadCredential { core, reason })
}

/// Reads a token out of a private file.
///
/// # Errors
///
/// [`Error::TokenFile`].
pub fn read_token(path: &Path) -> Result<Token, Error> {
    let wrong = |reason| Error::TokenFile { path: path.to_owned(), reason };
    let secret = SecretSource::File(path.to_owned()).read().map_err(|e| wrong(dial::chain(&e)))?;
    let text = std::str::from_utf8(secret.expose()).map_err(|e| wrong(e.to_string()))?;
    text.parse().map_err(|e: crate::TokenError| wrong(e.to_string()))
}

/// Runs `work` to its end, whether or not anybody waits for it.
async fn detached<T, F>(work: F) -> Result<T, Error>
where
    T: Send + 'static,
    F: Future<Output = Result<T, Error>> + Send + 'static,
{
    let ended = tokio::spawn(work).await;
    ended.unwrap_or_else(|e| {
        Err(Error::Make { what: "credential", reason: format!("the attempt was given up: {e}") })
    })
}

async fn pause_for(span: Duration) {
    SystemClock.until(Some(SystemClock.now() + span)).await;
}

/// A task that ends with this.
struct Task(tokio::task::JoinHandle<()>);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}
