//! From a gateway to its core: TCP, TLS, HTTP/2.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use homeward_model::{Clock, UnixTime};
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustls::{AlertDescription, CertificateError, ClientConfig};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tonic::Status;

use crate::error::{Error, REFUSAL, Refusal};
use crate::io::{Fault, Faults, Noted};
use crate::proto::control_client::ControlClient;
use crate::settings::ClientSettings;
use crate::tls;

/// An open connection to a core, nothing asked yet.
pub(crate) struct Dialled {
    pub(crate) client: ControlClient<Requests>,
    pub(crate) core: SocketAddr,
    pub(crate) local: SocketAddr,
    /// The first thing that went wrong with it; complete once it has ended.
    pub(crate) faults: Faults,
    /// Ends when the connection does.
    pub(crate) connection: Driver,
}

/// The task that drives a connection; it ends with this.
pub(crate) struct Driver(JoinHandle<()>);

impl Driver {
    /// Waits until the connection has ended.
    pub(crate) async fn ended(&mut self) {
        // It does not panic, and is not given up before this.
        let _ = (&mut self.0).await;
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Connects to one address, by an interface or as the routes say.
pub(crate) async fn dial(
    core: SocketAddr,
    by: Option<&str>,
    tls: Arc<ClientConfig>,
    settings: &ClientSettings,
    clock: &dyn Clock,
) -> Result<Dialled, Error> {
    let connect = connect(core, by);
    let stream = within(core, "accept a connection", settings.connect_timeout, connect).await?;
    let stream = stream.map_err(|source| Error::Connect { core, source })?;
    let failed = |source| Error::Connect { core, source };
    stream.set_nodelay(true).map_err(failed)?;
    let local = stream.local_addr().map_err(failed)?;
    let handshake = TlsConnector::from(tls).connect(tls::core_name(), stream);
    let after = settings.handshake_timeout;
    let stream = within(core, "answer in TLS", after, handshake).await?;
    let stream = stream.map_err(|e| of_fault(core, &Fault::of(&e), clock.unix()))?;
    if stream.get_ref().1.alpn_protocol() != Some(tls::ALPN) {
        return Err(Error::Tls { core, reason: "it does not speak HTTP/2".to_owned() });
    }
    let (stream, faults) = Noted::new(stream);
    let handshake = http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .keep_alive_interval(settings.keepalive)
        .keep_alive_timeout(settings.keepalive_timeout)
        .keep_alive_while_idle(true)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .handshake(TokioIo::new(stream));
    let opened = within(core, "answer in HTTP/2", after, handshake).await?;
    let (requests, connection) = opened.map_err(|e| match faults.get() {
        Some(fault) => of_fault(core, fault, clock.unix()),
        None => Error::Failed { core, reason: chain(&e) },
    })?;
    let noted = Arc::clone(&faults);
    let connection = Driver(tokio::spawn(async move {
        if let Err(error) = connection.await {
            note(&noted, &error);
        }
    }));
    let origin = http::Uri::from_static("https://core.homeward.internal");
    let client = ControlClient::with_origin(Requests(requests), origin)
        .max_decoding_message_size(settings.max_message)
        .max_encoding_message_size(settings.max_message);
    Ok(Dialled { client, core, local, faults, connection })
}

async fn connect(core: SocketAddr, by: Option<&str>) -> std::io::Result<TcpStream> {
    let socket = if core.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    if let Some(interface) = by {
        socket.bind_device(Some(interface.as_bytes()))?;
    }
    socket.connect(core).await
}

/// What may be in flight towards the gateway before it reads.
const STREAM_WINDOW: u32 = 256 * 1024;

/// The same for the connection. h2 derives from it how many small frames may wait to be read
/// before it takes them for an attack: this allows some 8,000.
const CONNECTION_WINDOW: u32 = 4 << 20;

/// What a failed call means. A call may fail because the connection did, and then that says more.
pub(crate) fn of_status(
    core: SocketAddr,
    status: &Status,
    faults: &Faults,
    now: UnixTime,
) -> Error {
    if let Some(refusal) = refusal(status) {
        let message = status.message().to_owned();
        return Error::Refused { core, refusal, message };
    }
    match faults.get() {
        Some(fault) => of_fault(core, fault, now),
        None => Error::Failed { core, reason: describe(status) },
    }
}

/// The refusal in a status, if it carries one.
fn refusal(status: &Status) -> Option<Refusal> {
    Refusal::from_word(status.metadata().get(REFUSAL)?.to_str().ok()?)
}

/// A status in words, with what lies behind it.
pub(crate) fn describe(status: &Status) -> String {
    match std::error::Error::source(status) {
        Some(source) => chain(source),
        None if status.message().is_empty() => status.code().description().to_owned(),
        None => status.message().to_owned(),
    }
}

/// What a broken connection means.
pub(crate) fn of_fault(core: SocketAddr, fault: &Fault, now: UnixTime) -> Error {
    use rustls::Error as Tls;
    let refused = |refusal| Error::Refused { core, refusal, message: String::new() };
    match fault {
        Fault::Tls(Tls::InvalidCertificate(error)) => match error {
            CertificateError::ExpiredContext { not_after, .. } => {
                Error::Clock { core, what: "ended", at: house_time(*not_after), now }
            }
            CertificateError::NotValidYetContext { not_before, .. } => {
                Error::Clock { core, what: "begins", at: house_time(*not_before), now }
            }
            _ => Error::NotOurCore { core },
        },
        // What the core said about our certificate.
        Fault::Tls(Tls::AlertReceived(alert)) => match alert {
            AlertDescription::UnknownCA
            | AlertDescription::BadCertificate
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::CertificateUnknown
            | AlertDescription::DecryptError
            | AlertDescription::AccessDenied => refused(Refusal::Certificate),
            AlertDescription::CertificateExpired => refused(Refusal::Lapsed),
            AlertDescription::CertificateRevoked => refused(Refusal::Revoked),
            AlertDescription::CertificateRequired => refused(Refusal::NoCertificate),
            _ => Error::Tls { core, reason: Tls::AlertReceived(*alert).to_string() },
        },
        Fault::Tls(error) => Error::Tls { core, reason: error.to_string() },
        Fault::Io(reason) => Error::Failed { core, reason: reason.clone() },
        Fault::Closed => Error::Failed { core, reason: "it closed the connection".to_owned() },
        Fault::Silent => Error::Failed { core, reason: "it fell silent".to_owned() },
    }
}

fn house_time(time: rustls::pki_types::UnixTime) -> UnixTime {
    UnixTime(i64::try_from(time.as_secs()).unwrap_or(i64::MAX).saturating_mul(1000))
}

/// An error with what lies behind it.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(": ");
        text.push_str(&error.to_string());
        source = error.source();
    }
    text
}

async fn within<F: Future>(
    core: SocketAddr,
    what: &'static str,
    after: Duration,
    work: F,
) -> Result<F::Output, Error> {
    timeout(after, work).await.map_err(|_| Error::Timeout { core, what, after })
}

/// Requests over one connection.
#[derive(Clone)]
pub(crate) struct Requests(SendRequest<tonic::body::Body>);

impl tower_service::Service<http::Request<tonic::body::Body>> for Requests {
    type Response = http::Response<hyper::body::Incoming>;
    type Error = hyper::Error;
    type Future =
        std::pin::Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: http::Request<tonic::body::Body>) -> Self::Future {
        Box::pin(self.0.send_request(request))
    }
}

/// Notes why a connection ended, where the stream below it has not said so already.
pub(crate) fn note(faults: &Faults, error: &hyper::Error) {
    let fault = if error.is_timeout() { Fault::Silent } else { Fault::Io(chain(error)) };
    // The first fault is the cause.
    let _ = faults.set(fault);
}
