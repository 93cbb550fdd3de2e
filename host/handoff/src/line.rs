//! A device speaks to a module or a server.

use std::net::SocketAddr;
use std::time::Duration;

use homeward_keychain::{Challenge, Demand, Flow, Proof, Response, SessionId, Welcome};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

use crate::pb::devices_client::DevicesClient;
use crate::pb::{self, from_device, to_device};
use crate::peers::Requests;

/// What a device says.
#[derive(Debug, Clone)]
pub enum Said {
    /// To a module: it wants to be challenged.
    Hello,
    /// To a module: who it is.
    Response(Box<Response>),
    /// To a server: it wants a flow to be admitted.
    Open(SessionId, Flow),
    /// To a server: that it has all keys.
    Proof(Proof),
}

/// What a device is told.
#[derive(Debug, Clone)]
pub enum Told {
    /// Who are you?
    Challenge(Challenge),
    /// The hop is integrated.
    Welcome(Box<Welcome>),
    /// Prove that you have all keys.
    Demand(Demand),
    /// The flow is admitted: by a chain of so many hops, for so long.
    Admitted(u16, Duration),
    /// No. Whether it may be different in a moment is all that is said of it.
    Refused {
        /// Whether to ask again.
        again: bool,
    },
}

/// What a device says at a time may wait.
const QUEUE: usize = 4;

/// The largest message, in octets: that of 64 tags and more.
pub(crate) const MAX_MESSAGE: usize = 16 * 1024;

/// A device's end. Dropping it hangs up.
#[derive(Debug)]
pub struct Line {
    said: mpsc::Sender<pb::FromDevice>,
    told: Streaming<pb::ToDevice>,
    patience: Duration,
}

/// Why a device gets no answer.
#[derive(Debug, thiserror::Error)]
pub enum LineError {
    /// Nobody answers there.
    #[error("cannot connect to {address}")]
    Connect {
        /// Where.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// It takes too long.
    #[error("no answer within {0:?}")]
    Deadline(Duration),
    /// The connection was lost.
    #[error("the connection was lost: {0}")]
    Lost(String),
    /// It answers what cannot be read.
    #[error("the answer is none: {0}")]
    Malformed(#[from] homeward_keychain::message::Malformed),
}

impl Line {
    /// Calls a module or a server, over a connection that the caller has made. Each step may take
    /// as long as `patience`.
    ///
    /// # Errors
    /// [`LineError`].
    pub async fn over(stream: TcpStream, patience: Duration) -> Result<Self, LineError> {
        // It only costs time.
        let _ = stream.set_nodelay(true);
        let opening = async {
            let http = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await;
            let (requests, connection) = http.map_err(|e| LineError::Lost(e.to_string()))?;
            tokio::spawn(async move {
                if let Err(error) = connection.await {
                    tracing::debug!(%error, "a connection ended");
                }
            });
            let mut client = DevicesClient::with_origin(Requests(requests), origin())
                .max_decoding_message_size(MAX_MESSAGE)
                .max_encoding_message_size(MAX_MESSAGE);
            let (said, saying) = mpsc::channel(QUEUE);
            let told = client.speak(ReceiverStream::new(saying)).await.map_err(lost)?;
            Ok(Self { said, told: told.into_inner(), patience })
        };
        timeout(patience, opening).await.map_err(|_| LineError::Deadline(patience))?
    }

    /// Calls a module or a server.
    ///
    /// # Errors
    /// [`LineError`].
    pub async fn call(address: SocketAddr, patience: Duration) -> Result<Self, LineError> {
        let connect = |source| LineError::Connect { address, source };
        let connecting = timeout(patience, TcpStream::connect(address)).await;
        let connected = connecting.map_err(|_| LineError::Deadline(patience))?;
        Self::over(connected.map_err(connect)?, patience).await
    }

    /// Says something, and waits for what is answered.
    ///
    /// # Errors
    /// [`LineError`]. What was said may have arrived.
    pub async fn say(&mut self, said: Said) -> Result<Told, LineError> {
        let what = Some(match said {
            Said::Hello => from_device::What::Hello(pb::Hello {}),
            Said::Response(response) => from_device::What::Response(response.encode()),
            Said::Open(session, flow) => {
                let (session, flow) = (session.0.to_vec(), flow.to_string());
                from_device::What::Open(pb::Open { session, flow })
            }
            Said::Proof(proof) => from_device::What::Proof(proof.encode()),
        });
        let hung_up = || LineError::Lost("it hung up".to_owned());
        // Whoever has hung up may have said why before.
        let _ = self.said.send(pb::FromDevice { what }).await;
        let hearing = timeout(self.patience, self.told.message()).await;
        let heard = hearing.map_err(|_| LineError::Deadline(self.patience))?;
        let heard = heard.map_err(lost)?.and_then(|told| told.what).ok_or_else(hung_up)?;
        Ok(match heard {
            to_device::What::Challenge(octets) => Told::Challenge(Challenge::decode(&octets)?),
            to_device::What::Welcome(octets) => Told::Welcome(Box::new(Welcome::decode(&octets)?)),
            to_device::What::Demand(octets) => Told::Demand(Demand::decode(&octets)?),
            to_device::What::Admitted(pb::Admitted { hops, seconds }) => Told::Admitted(
                u16::try_from(hops).unwrap_or(u16::MAX),
                Duration::from_secs(seconds.into()),
            ),
            to_device::What::Refused(pb::Refused { again }) => Told::Refused { again },
        })
    }
}

/// What HTTP/2 wants to be asked for.
pub(crate) fn origin() -> http::Uri {
    http::Uri::from_static("http://handoff.homeward.internal")
}

#[expect(clippy::needless_pass_by_value, reason = "as `map_err` gives it")]
fn lost(status: Status) -> LineError {
    LineError::Lost(format!("{}: {}", status.code().description(), status.message()))
}
