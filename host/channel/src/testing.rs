//! For tests only: clients that do what ours never would.

use std::net::SocketAddr;
use std::sync::Arc;

use homeward_control::pb;
use homeward_daemon::SystemClock;
use homeward_model::{Clock, UnixTime};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Request;

use crate::credential::Credential;
use crate::dial::{self, Dialled};
use crate::error::Error;
use crate::settings::ClientSettings;
use crate::tls::{self, Trust};
use crate::token::{Pin, Token};

/// The machine's clock, with a wall clock that stands.
struct Stopped(UnixTime);

impl Clock for Stopped {
    fn now(&self) -> homeward_model::Instant {
        SystemClock.now()
    }

    fn unix(&self) -> UnixTime {
        self.0
    }
}

/// An open connection over which nothing is asked.
pub struct Idle(Dialled);

impl Idle {
    /// Waits until it is closed.
    pub async fn ended(&mut self) {
        self.0.connection.ended().await;
    }
}

async fn dial(
    core: SocketAddr,
    pin: Pin,
    credential: Option<&Credential>,
) -> Result<Dialled, Error> {
    // Some moment at which the core's certificate is good: it is not what is tested.
    let settings = ClientSettings::default();
    let mut last = None;
    for days in 0..400 {
        let now = UnixTime(crate::testing::NOON + days * 86_400_000);
        let clock: Arc<dyn Clock> = Arc::new(Stopped(now));
        let tls = tls::client(Trust::Pinned(pin), credential, Arc::clone(&clock));
        let tls = Arc::new(tls.map_err(|e| Error::Make { what: "test", reason: e.to_string() })?);
        match dial::dial(core, None, tls, &settings, &*clock).await {
            Err(error @ Error::Clock { .. }) => last = Some(error),
            outcome => return outcome,
        }
    }
    Err(last.unwrap_or(Error::NoCore))
}

/// When the tests' world begins: 2026-06-01 12:00 UTC.
pub const NOON: i64 = 1_780_315_200_000;

/// Connects, and asks nothing.
///
/// # Errors
///
/// As a client's.
pub async fn connect(core: SocketAddr, pin: Pin) -> Result<Idle, Error> {
    dial(core, pin, None).await.map(Idle)
}

/// Enrols with whatever for a signing request.
///
/// # Errors
///
/// As a client's.
pub async fn enrol_with(
    core: SocketAddr,
    token: &Token,
    signing_request: Vec<u8>,
) -> Result<pb::Credential, Error> {
    enrol_as(core, token, None, signing_request).await
}

/// The same, showing a certificate.
///
/// # Errors
///
/// As a client's.
pub async fn enrol_as(
    core: SocketAddr,
    token: &Token,
    credential: Option<&Credential>,
    signing_request: Vec<u8>,
) -> Result<pb::Credential, Error> {
    let mut dialled = dial(core, token.pin(), credential).await?;
    let request = pb::EnrolRequest { token: token.secret().expose().into(), signing_request };
    let answer = dialled.client.enrol(Request::new(request)).await;
    let answer = answer.map_err(|s| dial::of_status(core, &s, &dialled.faults, UnixTime(0)));
    Ok(answer?.into_inner())
}

/// Asks for a channel with a credential, whatever its authorities and its end.
///
/// # Errors
///
/// As a client's.
pub async fn channel_with(
    core: SocketAddr,
    credential: &Credential,
    pin: Pin,
) -> Result<(), Error> {
    channel(core, dial(core, pin, Some(credential)).await?).await
}

/// Asks for a channel without a certificate.
///
/// # Errors
///
/// As a client's.
pub async fn channel_without(core: SocketAddr, pin: Pin) -> Result<(), Error> {
    channel(core, dial(core, pin, None).await?).await
}

/// Asks for two channels on one connection; gives the answer to the second.
///
/// # Errors
///
/// As a client's.
pub async fn two_channels(
    core: SocketAddr,
    credential: &Credential,
    pin: Pin,
) -> Result<(), Error> {
    let mut dialled = dial(core, pin, Some(credential)).await?;
    let (_to_core, outgoing) = mpsc::channel(1);
    let first = dialled.client.channel(ReceiverStream::new(outgoing)).await;
    let _first = first.map_err(|s| dial::of_status(core, &s, &dialled.faults, UnixTime(0)))?;
    channel(core, dialled).await
}

async fn channel(core: SocketAddr, mut dialled: Dialled) -> Result<(), Error> {
    let (_to_core, outgoing) = mpsc::channel(1);
    let answer = dialled.client.channel(ReceiverStream::new(outgoing)).await;
    answer.map(drop).map_err(|s| dial::of_status(core, &s, &dialled.faults, UnixTime(0)))
}

/// Target `channel_token`: a token as text.
pub fn fuzz_token(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(token) = text.parse::<Token>() {
        let again = token.expose();
        assert_eq!(again.as_str(), text.trim(), "a token has one spelling");
        assert_eq!(again.parse(), Ok(token), "and is read again as the same");
    }
}

/// Target `channel_certificate`: what a certificate says, and its pin.
pub fn fuzz_certificate(data: &[u8]) {
    let _ = crate::certificate::pin_of(data);
    let _ = crate::certificate::validity_of(data);
    let _ = crate::certificate::common_name_of(data);
    if let Ok(presented) = crate::Presented::read(data) {
        assert!(presented.gateway.0 > 0, "a gateway's number is positive");
    }
}

/// Target `channel_request`: a signing request.
pub fn fuzz_signing_request(data: &[u8]) {
    let _ = crate::SigningRequest::read(data);
}
