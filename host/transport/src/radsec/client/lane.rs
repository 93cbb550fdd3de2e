//! One connection: made, used until it ends, and made again.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use homeward_radius::Packets;
use homeward_radius::stream::LostStream;
use rustls::ProtocolVersion::TLSv1_3;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::super::wire::{self, BATCH};
use super::super::{ClientTls, Version, keep_alive, tls};
use super::{ClientLimits, Message, Server};

/// A connection.
pub(super) struct Link {
    pub(super) server: Server,
    pub(super) limits: ClientLimits,
    /// What pauses are multiplied by.
    pub(super) spread: f64,
    pub(super) place: (usize, u16),
    pub(super) outbox: mpsc::Sender<(usize, u16, Message)>,
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
enum NoConnection {
    #[error("there is no certificate to show: {0}")]
    Credentials(String),
    #[error("host name not found: {0}")]
    NotFound(io::Error),
    #[error("it is not reached: {0}")]
    Unreached(io::Error),
    #[error("TLS failed: {0}")]
    Tls(io::Error),
    #[error("{0} took too long")]
    Timeout(String),
    #[error("the server wants RADIUS/1.1 over TLS 1.2: RFC 9765 3.4 forbids that")]
    Version,
}

/// Why a connection ended.
#[derive(Debug, thiserror::Error)]
enum End {
    #[error("the server closed it")]
    Closed,
    #[error("the server closed it at once: does it know this certificate?")]
    Refused,
    #[error("the server takes nothing")]
    Stalled,
    #[error("it was closed here")]
    Left,
    #[error(transparent)]
    Lost(#[from] LostStream),
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl Link {
    /// Makes the connection again and again.
    pub(super) async fn keep_up(self) {
        let mut pause = self.limits.retry;
        loop {
            let (why, served) = match self.connect().await {
                Ok((stream, version)) => {
                    let (packets, queue) = mpsc::channel(self.limits.queue.clamp(1, 1 << 20));
                    if !self.tell(Message::Up { version, packets }).await {
                        return;
                    }
                    let (end, served) = self.serve(stream, queue).await;
                    (end.to_string(), served)
                }
                Err(error) => (error.to_string(), false),
            };
            if !self.tell(Message::Down { why }).await {
                return;
            }
            // Who lets us in and answers nothing is not asked at once again.
            pause = if served { self.limits.retry } else { pause };
            let _ = timeout(pause.mul_f64(self.spread), std::future::pending::<()>()).await;
            pause = pause.saturating_mul(2).min(self.limits.retry_most);
        }
    }

    /// Whether anybody listens.
    async fn tell(&self, message: Message) -> bool {
        let (server, lane) = self.place;
        self.outbox.send((server, lane, message)).await.is_ok()
    }

    async fn connect(&self) -> Result<(TlsStream<TcpStream>, Version), NoConnection> {
        let credentials = self.server.credentials.now();
        let shown = credentials.map_err(|e| NoConnection::Credentials(e.to_string()))?;
        let endpoint = &self.server.endpoint;
        let host = endpoint.host();
        let found = timeout(
            self.limits.handshake,
            tokio::net::lookup_host((host.as_str(), endpoint.port())),
        );
        let addresses = found.await.map_err(|_| NoConnection::Timeout(host.clone()))?;
        let mut failed = NoConnection::NotFound(io::ErrorKind::NotFound.into());
        for address in addresses.map_err(NoConnection::NotFound)? {
            match self.dial(address, &shown).await {
                Ok(connected) => return Ok(connected),
                Err(error) => failed = error,
            }
        }
        Err(failed)
    }

    /// Tries one address. A host that says nothing keeps the next one from being tried for a
    /// quarter of the time that a handshake may take.
    async fn dial(
        &self,
        address: SocketAddr,
        shown: &ClientTls,
    ) -> Result<(TlsStream<TcpStream>, Version), NoConnection> {
        let late = |_| NoConnection::Timeout(address.to_string());
        let connecting = timeout(self.limits.handshake / 4, TcpStream::connect(address));
        let stream = connecting.await.map_err(late)?.map_err(NoConnection::Unreached)?;
        keep_alive(&stream).map_err(NoConnection::Unreached)?;
        let connector = TlsConnector::from(Arc::clone(&shown.config));
        let shaking = timeout(self.limits.handshake, connector.connect(shown.name.clone(), stream));
        let stream = shaking.await.map_err(late)?.map_err(NoConnection::Tls)?;
        let version = agreed(&stream)?;
        Ok((stream, version))
    }

    /// Sends and takes packets until the connection ends; also, whether any came.
    async fn serve(
        &self,
        stream: TlsStream<TcpStream>,
        queue: mpsc::Receiver<Vec<u8>>,
    ) -> (End, bool) {
        let (reader, mut writer) = tokio::io::split(stream);
        let mut served = false;
        let end = tokio::select! {
            end = self.read(reader, &mut served) => end,
            end = write(queue, &mut writer, self.limits.stall) => end,
        };
        let end = match end {
            End::Closed if !served => End::Refused,
            end => end,
        };
        wire::leave(&mut writer).await;
        (end, served)
    }

    async fn read(&self, mut reader: impl AsyncRead + Unpin, served: &mut bool) -> End {
        let mut packets = Packets::new();
        loop {
            match wire::fill(&mut reader, &mut packets).await {
                Ok(true) => {}
                Ok(false) => return End::Closed,
                Err(error) => return error.into(),
            }
            loop {
                let packet = match packets.next_packet() {
                    Ok(Some(packet)) => packet.to_vec(),
                    Ok(None) => break,
                    Err(lost) => return lost.into(),
                };
                *served = true;
                if !self.tell(Message::Packet(packet)).await {
                    return End::Left;
                }
            }
        }
    }
}

/// What is spoken (RFC 9765 3.3).
fn agreed(stream: &TlsStream<TcpStream>) -> Result<Version, NoConnection> {
    let (_, session) = stream.get_ref();
    match session.alpn_protocol() {
        Some(tls::V1_1) if session.protocol_version() != Some(TLSv1_3) => {
            Err(NoConnection::Version)
        }
        Some(tls::V1_1) => Ok(Version::V1_1),
        _ => Ok(Version::V1_0),
    }
}

/// Writes what is sent, in the order in which it is.
async fn write(
    mut queue: mpsc::Receiver<Vec<u8>>,
    writer: &mut (impl AsyncWrite + Unpin),
    stall: Duration,
) -> End {
    let (mut batch, mut octets) = (Vec::with_capacity(BATCH), Vec::new());
    loop {
        if queue.recv_many(&mut batch, BATCH).await == 0 {
            return End::Left;
        }
        octets.clear();
        for packet in batch.drain(..) {
            octets.extend_from_slice(&packet);
        }
        match wire::put(writer, &octets, stall).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return error.into(),
            Err(_) => return End::Stalled,
        }
    }
}
