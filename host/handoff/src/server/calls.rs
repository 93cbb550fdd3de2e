//! The calls, as one connection may make them.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;

use async_trait::async_trait;
use homeward_keychain::key::HopShare;
use homeward_keychain::{
    Demand, DeviceKey, Fetch, Flow, Proof, Record, Response as Answer, SessionId,
};
use homeward_model::Name;
use tokio::sync::mpsc;
use tokio_stream::Stream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Request, Response, Status, Streaming};
use zeroize::Zeroizing;

use super::Answers;
use crate::directory::{Book, PublicKey};
use crate::error::Refused;
use crate::line::{Said, Told};
use crate::pb::devices_server::Devices;
use crate::pb::peers_server::Peers;
use crate::pb::{self, from_device, to_device};

/// A peer's calls.
pub(super) struct PeerCalls {
    key: PublicKey,
    book: Book,
    answers: Arc<dyn Answers>,
}

impl PeerCalls {
    pub(super) fn new(key: PublicKey, book: Book, answers: Arc<dyn Answers>) -> Self {
        Self { key, book, answers }
    }

    /// Who calls, as things stand: a connection may outlast the trust in who made it.
    fn from(&self) -> Result<Name, Status> {
        let directory = self.book.now();
        let gone = || Status::new(Code::PermissionDenied, "this key is trusted no more");
        directory.who(&self.key).cloned().ok_or_else(gone)
    }
}

fn refused(from: &Name, refused: &Refused) -> Status {
    tracing::info!(%from, reason = %refused, "refused");
    let code = match refused {
        Refused::Chain(_) | Refused::MayNot(_) => Code::FailedPrecondition,
        Refused::Malformed(_) => Code::InvalidArgument,
        Refused::NotHere => Code::Unimplemented,
        Refused::Later(_) => Code::ResourceExhausted,
        Refused::Older(_) => Code::AlreadyExists,
    };
    Status::new(code, refused.to_string())
}

#[async_trait]
impl Peers for PeerCalls {
    async fn fetch(&self, ask: Request<pb::Octets>) -> Result<Response<pb::Octets>, Status> {
        let from = self.from()?;
        let fetch = Fetch::decode(&ask.into_inner().octets);
        let fetch = fetch.map_err(|e| refused(&from, &e.into()))?;
        let fetched = self.answers.fetch(&from, fetch).await.map_err(|e| refused(&from, &e))?;
        Ok(Response::new(pb::Octets { octets: fetched.encode() }))
    }

    async fn extend(&self, tell: Request<pb::Hop>) -> Result<Response<pb::Done>, Status> {
        let from = self.from()?;
        let hop = tell.into_inner();
        let share = Zeroizing::new(hop.share);
        let record = Record::decode(&hop.record).map_err(|e| refused(&from, &e.into()))?;
        let bad = || Status::new(Code::InvalidArgument, "the share is not of 32 octets");
        let share = <[u8; 32]>::try_from(share.as_slice()).map_err(|_| bad())?;
        let told = self.answers.extend(&from, record, HopShare::new(share)).await;
        told.map_err(|e| refused(&from, &e))?;
        Ok(Response::new(pb::Done {}))
    }

    async fn prove(&self, ask: Request<pb::Octets>) -> Result<Response<pb::Octets>, Status> {
        let from = self.from()?;
        let demand = Demand::decode(&ask.into_inner().octets);
        let demand = demand.map_err(|e| refused(&from, &e.into()))?;
        let proof = self.answers.prove(&from, demand).await.map_err(|e| refused(&from, &e))?;
        Ok(Response::new(pb::Octets { octets: proof.encode() }))
    }

    async fn enrol(&self, tell: Request<pb::Enrolment>) -> Result<Response<pb::Done>, Status> {
        let from = self.from()?;
        let pb::Enrolment { device, version, key } = tell.into_inner();
        let key = Zeroizing::new(key);
        // As things stand: it may have been taken from who it was given to.
        if !self.book.now().may_enrol(&from) {
            return Err(refused(&from, &Refused::MayNot(from.clone())));
        }
        let bad = |what: &str| Status::new(Code::InvalidArgument, what);
        let device = device.parse().map_err(|_| bad("the device's name is none"))?;
        let key =
            <[u8; 32]>::try_from(key.as_slice()).map_err(|_| bad("the key is not of 32 octets"))?;
        if version == 0 {
            return Err(bad("the version is 0: the first is 1"));
        }
        let told = self.answers.enrol(&from, device, version, DeviceKey::new(key)).await;
        told.map_err(|e| refused(&from, &e))?;
        Ok(Response::new(pb::Done {}))
    }
}

/// A device's calls.
pub(super) struct DeviceCalls {
    from: SocketAddr,
    answers: Arc<dyn Answers>,
}

impl DeviceCalls {
    pub(super) fn new(from: SocketAddr, answers: Arc<dyn Answers>) -> Self {
        Self { from, answers }
    }
}

/// The other end of a device's line.
pub struct Caller {
    /// Where the device calls from.
    pub from: SocketAddr,
    said: Streaming<pb::FromDevice>,
    told: mpsc::Sender<Result<pb::ToDevice, Status>>,
}

/// What a device is told at a time may wait.
const QUEUE: usize = 2;

impl Caller {
    /// What the device says next; `None` when it has hung up, or says what cannot be read.
    pub async fn heard(&mut self) -> Option<Said> {
        let from = self.from;
        let what = match self.said.message().await {
            Ok(Some(pb::FromDevice { what: Some(what) })) => what,
            Ok(_) => return None,
            Err(error) => {
                tracing::debug!(%from, %error, "a device's line is lost");
                return None;
            }
        };
        let read = || -> Result<Said, String> {
            Ok(match what {
                from_device::What::Hello(pb::Hello {}) => Said::Hello,
                from_device::What::Response(octets) => {
                    Said::Response(Box::new(Answer::decode(&octets).map_err(|e| e.to_string())?))
                }
                from_device::What::Open(pb::Open { session, flow }) => {
                    let session = <[u8; 16]>::try_from(session.as_slice());
                    let session = session.map_err(|_| "no session".to_owned())?;
                    let flow: Flow = flow.parse().map_err(|_| "no flow".to_owned())?;
                    Said::Open(SessionId(session), flow)
                }
                from_device::What::Proof(octets) => {
                    Said::Proof(Proof::decode(&octets).map_err(|e| e.to_string())?)
                }
            })
        };
        read().map_err(|reason| tracing::debug!(%from, reason, "a device is not understood")).ok()
    }

    /// Tells the device. It may have hung up.
    pub async fn tell(&self, told: Told) {
        let what = Some(match told {
            Told::Challenge(challenge) => to_device::What::Challenge(challenge.encode()),
            Told::Welcome(welcome) => to_device::What::Welcome(welcome.encode()),
            Told::Demand(demand) => to_device::What::Demand(demand.encode()),
            Told::Admitted(hops, span) => to_device::What::Admitted(pb::Admitted {
                hops: hops.into(),
                seconds: u32::try_from(span.as_secs()).unwrap_or(u32::MAX),
            }),
            Told::Refused { again } => to_device::What::Refused(pb::Refused { again }),
        });
        // Whoever hung up is told nothing.
        let _ = self.told.send(Ok(pb::ToDevice { what })).await;
    }
}

#[async_trait]
impl Devices for DeviceCalls {
    type SpeakStream = Pin<Box<dyn Stream<Item = Result<pb::ToDevice, Status>> + Send>>;

    async fn speak(
        &self,
        said: Request<Streaming<pb::FromDevice>>,
    ) -> Result<Response<Self::SpeakStream>, Status> {
        let (told, telling) = mpsc::channel(QUEUE);
        let caller = Caller { from: self.from, said: said.into_inner(), told };
        let answers = Arc::clone(&self.answers);
        // It ends with the line: what it waits for comes by it, or has a deadline.
        tokio::spawn(async move { answers.device(caller).await });
        Ok(Response::new(Box::pin(ReceiverStream::new(telling))))
    }
}
