//! A stream that remembers why it broke: HTTP/2 passes on little more than "broken".

use std::io;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Why a stream broke.
#[derive(Debug, Clone)]
pub(crate) enum Fault {
    /// TLS said so: an alert of the other side, or what it sent.
    Tls(rustls::Error),
    /// The connection said so.
    Io(String),
    /// The other side closed it.
    Closed,
    /// The other side did not answer a PING.
    Silent,
}

impl Fault {
    pub(crate) fn of(error: &io::Error) -> Self {
        match error.get_ref().and_then(|e| e.downcast_ref::<rustls::Error>()) {
            Some(tls) => Self::Tls(tls.clone()),
            None if error.kind() == io::ErrorKind::UnexpectedEof => Self::Closed,
            None => Self::Io(error.to_string()),
        }
    }
}

/// The first fault of a stream.
pub(crate) type Faults = Arc<OnceLock<Fault>>;

/// A stream whose first fault is noted.
pub(crate) struct Noted<S> {
    stream: S,
    faults: Faults,
}

impl<S> Noted<S> {
    pub(crate) fn new(stream: S) -> (Self, Faults) {
        let faults = Faults::default();
        (Self { stream, faults: Arc::clone(&faults) }, faults)
    }

    fn note<T>(&self, outcome: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if let Poll::Ready(Err(error)) = &outcome {
            // A second fault says less than the first.
            let _ = self.faults.set(Fault::of(error));
        }
        outcome
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Noted<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        room: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = room.filled().len();
        let outcome = Pin::new(&mut self.stream).poll_read(cx, room);
        if matches!(outcome, Poll::Ready(Ok(())))
            && room.filled().len() == before
            && room.remaining() > 0
        {
            let _ = self.faults.set(Fault::Closed);
        }
        self.note(outcome)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Noted<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        octets: &[u8],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.stream).poll_write(cx, octets);
        self.note(outcome)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let outcome = Pin::new(&mut self.stream).poll_flush(cx);
        self.note(outcome)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Tls(error) => error.fmt(f),
            Self::Io(reason) => f.write_str(reason),
            Self::Closed => f.write_str("the connection was closed"),
            Self::Silent => f.write_str("it does not answer"),
        }
    }
}
