//! One connection, from its PROXY header to its end.

use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use homeward_daemon::SystemClock;
use homeward_model::{Apn, Clock, Instant};
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::body::{Body as _, Bytes, Incoming};
use hyper::header::{CONNECTION, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::door::{Client, Id, Stage};
use super::tls::is_challenge;
use super::{Answer, Peer, Shared, proxy, quick};

/// Cuts a connection when it is dropped.
pub(super) type Cut = oneshot::Sender<()>;

/// The most that a head may have; what is read ahead of it is never more.
const MAX_HEAD: usize = 16 * 1024;

/// The most fields of a head.
const MAX_FIELDS: usize = 64;

/// What a connection is at, and until when it may be.
struct Life {
    id: Id,
    shared: Arc<Shared>,
    at: Mutex<(Stage, Option<Instant>)>,
}

impl Life {
    /// It is at something else from now on.
    fn enter(&self, stage: Stage) {
        let now = SystemClock.now();
        let deadline = self.shared.limits.of(stage).map(|limit| now + limit);
        *self.at.lock().unwrap_or_else(PoisonError::into_inner) = (stage, deadline);
        lock(&self.shared).enter(self.id, stage, now);
    }

    fn now(&self) -> (Stage, Option<Instant>) {
        *self.at.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Life {
    fn drop(&mut self) {
        lock(&self.shared).leave(self.id);
        self.shared.figures.open.dec();
    }
}

fn lock(shared: &Shared) -> std::sync::MutexGuard<'_, super::Door<Cut>> {
    shared.door.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Lets a connection in, or not; then, what serves it.
pub(super) fn begin(
    stream: TcpStream,
    from: SocketAddr,
    apn: Option<Apn>,
    shared: &Arc<Shared>,
) -> Option<impl Future<Output = ()> + Send + 'static> {
    shared.figures.accepted.inc();
    let (cut, cut_off) = oneshot::channel();
    let now = SystemClock.now();
    let arrived = lock(shared).arrive(cut, now);
    let Ok((id, shed)) = arrived else {
        shared.figures.turned_away.inc();
        return None;
    };
    if let Some(shed) = shed {
        shared.figures.shed(shed.stage);
    }
    shared.figures.open.inc();
    let deadline = Some(now + shared.limits.handshake);
    let at = Mutex::new((Stage::Handshake, deadline));
    let life = Arc::new(Life { id, shared: Arc::clone(shared), at });
    Some(serve(stream, from, apn, life, cut_off))
}

async fn serve(
    stream: TcpStream,
    from: SocketAddr,
    apn: Option<Apn>,
    life: Arc<Life>,
    mut cut_off: oneshot::Receiver<()>,
) {
    quick(&stream);
    let shared = Arc::clone(&life.shared);
    let opening = open(stream, from, apn, &life);
    let Some(Some((stream, peer))) = supervise(&life, &mut cut_off, pin!(opening)).await else {
        return;
    };
    let Some(certificates) = &shared.certificates else {
        return converse(stream, peer, life, cut_off).await;
    };
    let securing = secure(stream, certificates.now(), &life);
    let Some(Some(stream)) = supervise(&life, &mut cut_off, pin!(securing)).await else {
        return;
    };
    converse(stream, peer, life, cut_off).await;
}

/// HTTP, until the connection ends.
async fn converse<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    peer: Peer,
    life: Arc<Life>,
    mut cut_off: oneshot::Receiver<()>,
) {
    life.enter(Stage::Idle);
    let watched = Watched { stream, life: Arc::clone(&life) };
    let peer = Arc::new(peer);
    let service = service_fn(|request| {
        let (life, peer) = (Arc::clone(&life), Arc::clone(&peer));
        async move { answer(request, &life, &peer).await }
    });
    let serving = http1::Builder::new()
        .max_buf_size(MAX_HEAD)
        .max_headers(MAX_FIELDS)
        .serve_connection(TokioIo::new(watched), service);
    if let Some(Err(error)) = supervise(&life, &mut cut_off, pin!(serving)).await {
        tracing::debug!(%error, "a client's connection ended");
    }
}

/// The PROXY header, where there has to be one: whom the connection is from.
async fn open(
    mut stream: TcpStream,
    from: SocketAddr,
    apn: Option<Apn>,
    life: &Life,
) -> Option<(TcpStream, Peer)> {
    let shared = &life.shared;
    let mut address = from.ip().to_canonical();
    if shared.proxies.iter().any(|net| net.contains(&address)) {
        match proxy::read(&mut stream).await {
            // LOCAL: the proxy itself, which is nobody's bearer.
            Ok(None) => {}
            Ok(Some(source)) => address = source.to_canonical(),
            Err(error) => {
                shared.figures.not_believed.inc();
                tracing::warn!(proxy = %from.ip(), %error, "a proxy is not believed");
                return None;
            }
        }
    }
    let shed = lock(shared).belongs(life.id, Client::at(address));
    if let Some(shed) = shed {
        shared.figures.shed(shed.stage);
    }
    Some((stream, Peer { address, apn }))
}

/// TLS.
async fn secure(
    stream: TcpStream,
    config: Arc<ServerConfig>,
    life: &Life,
) -> Option<TlsStream<TcpStream>> {
    match TlsAcceptor::from(config).accept(stream).await {
        // An ACME server has seen by now what it came for.
        Ok(stream) if is_challenge(stream.get_ref().1.alpn_protocol()) => None,
        Ok(stream) => Some(stream),
        Err(error) => {
            life.shared.figures.handshakes_failed.inc();
            tracing::debug!(%error, "a TLS handshake failed");
            None
        }
    }
}

/// Does that until it is done, or the connection has to go: it took too long, it is shed, or the
/// process stops and nobody is being answered. `None` then.
async fn supervise<F: Future>(
    life: &Life,
    cut_off: &mut oneshot::Receiver<()>,
    mut work: Pin<&mut F>,
) -> Option<F::Output> {
    let shared = &life.shared;
    let (_, mut until) = life.now();
    let mut timer = pin!(SystemClock.until(until));
    let mut stop = pin!(shared.shutdown.requested());
    let mut stopping = false;
    poll_fn(|cx| {
        loop {
            if Pin::new(&mut *cut_off).poll(cx).is_ready() {
                return Poll::Ready(None);
            }
            if let Poll::Ready(output) = work.as_mut().poll(cx) {
                return Poll::Ready(Some(output));
            }
            stopping = stopping || stop.as_mut().poll(cx).is_ready();
            let (stage, deadline) = life.now();
            if stopping && !matches!(stage, Stage::Answering | Stage::Writing) {
                return Poll::Ready(None);
            }
            if deadline != until {
                until = deadline;
                timer.set(SystemClock.until(until));
            }
            if timer.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            if life.now().1 == until {
                shared.figures.timed_out(stage);
                return Poll::Ready(None);
            }
        }
    })
    .await
}

/// Reads a request and has it answered.
async fn answer(request: Request<Incoming>, life: &Life, peer: &Peer) -> io::Result<Answer> {
    let shared = &life.shared;
    shared.figures.requests.inc();
    let (head, body) = request.into_parts();
    let answer = if let Err(refused) = shared.handler.admit(peer, &head) {
        // What is left of the body is not read.
        if body.is_end_stream() { *refused } else { closing(*refused) }
    } else {
        life.enter(Stage::Body);
        let most = usize::try_from(shared.limits.body_octets).unwrap_or(usize::MAX);
        match Limited::new(body, most).collect().await {
            Ok(body) => {
                life.enter(Stage::Answering);
                shared.handler.answer(peer, head, body.to_bytes()).await
            }
            Err(error) if error.is::<LengthLimitError>() => closing(too_large()),
            Err(error) => return Err(io::Error::other(error)),
        }
    };
    life.enter(Stage::Writing);
    Ok(answer)
}

fn too_large() -> Answer {
    let mut answer = Response::new(Full::new(Bytes::new()));
    *answer.status_mut() = StatusCode::PAYLOAD_TOO_LARGE;
    answer
}

fn closing(mut answer: Answer) -> Answer {
    answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    answer
}

/// A stream that says when a request begins, and when an answer has been taken.
struct Watched<S> {
    stream: S,
    life: Arc<Life>,
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        room: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = room.filled().len();
        let outcome = Pin::new(&mut self.stream).poll_read(cx, room);
        if room.filled().len() > before && self.life.now().0 == Stage::Idle {
            self.life.enter(Stage::Head);
        }
        outcome
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        octets: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, octets)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let outcome = Pin::new(&mut self.stream).poll_flush(cx);
        if matches!(outcome, Poll::Ready(Ok(()))) && self.life.now().0 == Stage::Writing {
            self.life.enter(Stage::Idle);
        }
        outcome
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
