//! The three calls, as one connection may make them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use async_trait::async_trait;
use homeward_control::pb;
use homeward_daemon::SystemEntropy;
use homeward_model::UnixTime;
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;
use tonic::metadata::MetadataValue;
use tonic::{Code, Request, Response, Status, Streaming};

use super::handle::{Closed, Handle, Outgoing, Stage};
use super::{ConnectionId, Denial, Event, Issue, Shared, Subject};
use crate::authority::{SigningRequest, random_serial};
use crate::certificate::{CertificateError, Presented};
use crate::dial;
use crate::error::{REFUSAL, Refusal};
use crate::io::Faults;
use crate::proto::control_server::Control;
use crate::token::TokenHash;

/// A connection's calls.
pub(super) struct Calls {
    shared: Arc<Shared>,
    peer: SocketAddr,
    /// The certificate, if the gateway has one.
    presented: Option<Result<Presented, CertificateError>>,
    stage: watch::Sender<Stage>,
    line: Line,
}

/// What is known of the connection itself.
#[derive(Clone)]
pub(super) struct Line {
    /// The first thing that went wrong with it.
    pub(super) faults: Faults,
    /// Whether it has ended; then that is complete.
    pub(super) gone: watch::Receiver<bool>,
}

/// How long after the end of a call to see whether the connection ends too, and then why.
const GONE: Duration = Duration::from_millis(100);

impl Line {
    /// Whether the connection itself has ended, as far as that shows within a moment.
    async fn is_gone(&mut self) -> bool {
        timeout(GONE, self.gone.wait_for(|gone| *gone)).await.is_ok()
    }
}

impl Calls {
    pub(super) fn new(
        shared: Arc<Shared>,
        peer: SocketAddr,
        presented: Option<Result<Presented, CertificateError>>,
        stage: watch::Sender<Stage>,
        line: Line,
    ) -> Self {
        Self { shared, peer, presented, stage, line }
    }

    /// The gateway's certificate.
    fn presented(&self) -> Result<Presented, Status> {
        match &self.presented {
            None => Err(self.refuse(Refusal::NoCertificate)),
            Some(Err(error)) => {
                tracing::warn!(peer = %self.peer, %error, "a certificate of ours is no gateway's");
                Err(self.refuse(Refusal::Certificate))
            }
            Some(Ok(presented)) => Ok(*presented),
        }
    }

    fn refuse(&self, refusal: Refusal) -> Status {
        self.shared.counters.refused.fetch_add(1, Ordering::Relaxed);
        tracing::debug!(peer = %self.peer, refusal = refusal.as_str(), "refused");
        let code = match refusal {
            Refusal::Full => Code::ResourceExhausted,
            Refusal::BadRequest => Code::InvalidArgument,
            Refusal::NoCertificate | Refusal::Certificate => Code::Unauthenticated,
            _ => Code::PermissionDenied,
        };
        let mut status = Status::new(code, "");
        status.metadata_mut().insert(REFUSAL, MetadataValue::from_static(refusal.as_str()));
        status
    }

    fn deny(&self, denial: Denial) -> Status {
        match denial {
            Denial::Refused(refusal) => self.refuse(refusal),
            Denial::Failed(error) => {
                tracing::error!(error = dial::chain(&*error), "the datastore fails");
                Status::unavailable("the core's datastore fails")
            }
        }
    }

    fn bad(&self, reason: impl std::fmt::Display) -> Status {
        let refused = self.refuse(Refusal::BadRequest);
        let mut status = Status::invalid_argument(reason.to_string());
        *status.metadata_mut() = refused.metadata().clone();
        status
    }

    /// What a certificate signed now is to say.
    fn issue(&self) -> Issue {
        let issued = self.shared.clock.unix();
        let life = i64::try_from(self.shared.settings.certificate_lifetime.as_millis());
        let not_after = issued.0.saturating_add(life.unwrap_or(i64::MAX));
        // A certificate does not outlive the authority that signs it.
        let (_, last) = self.shared.authority.validity();
        let not_after = UnixTime(not_after.min(last.0));
        Issue { serial: random_serial(&mut SystemEntropy::new()), issued, not_after }
    }

    fn sign(
        &self,
        request: SigningRequest,
        subject: &Subject,
        issue: &Issue,
    ) -> Result<Response<pb::Credential>, Status> {
        let authority = &self.shared.authority;
        let validity = (issue.issued, issue.not_after);
        let signed = authority.sign_gateway(
            request,
            subject.gateway,
            subject.name.as_str(),
            issue.serial,
            validity,
        );
        let certificate = signed.map_err(|error| {
            tracing::error!(%error, "a certificate could not be signed");
            Status::internal("the certificate could not be signed")
        })?;
        Ok(Response::new(pb::Credential {
            certificate,
            authorities: vec![authority.certificate().to_vec()],
            gateway: subject.name.to_string(),
        }))
    }
}

#[async_trait]
impl Control for Calls {
    type ChannelStream = Outgoing;

    async fn enrol(
        &self,
        request: Request<pb::EnrolRequest>,
    ) -> Result<Response<pb::Credential>, Status> {
        if self.presented.is_some() {
            return Err(self.bad("enrolment goes without a certificate"));
        }
        let request = request.into_inner();
        // All that could fail comes before the token is used up.
        let signing = SigningRequest::read(&request.signing_request).map_err(|e| self.bad(e))?;
        let issue = self.issue();
        let token = TokenHash::of(&request.token);
        let subject = self.shared.gatekeeper.redeem(token, &issue).await;
        let subject = subject.map_err(|denial| self.deny(denial))?;
        let signed = self.sign(signing, &subject, &issue)?;
        self.shared.counters.enrolled.fetch_add(1, Ordering::Relaxed);
        tracing::info!(gateway = %subject.name, peer = %self.peer, "enrolled");
        Ok(signed)
    }

    async fn renew(
        &self,
        request: Request<pb::RenewRequest>,
    ) -> Result<Response<pb::Credential>, Status> {
        let presented = self.presented()?;
        let signing = SigningRequest::read(&request.into_inner().signing_request);
        let signing = signing.map_err(|e| self.bad(e))?;
        let issue = self.issue();
        let subject = self.shared.gatekeeper.renew(&presented, &issue).await;
        let subject = subject.map_err(|denial| self.deny(denial))?;
        let signed = self.sign(signing, &subject, &issue)?;
        self.shared.counters.renewed.fetch_add(1, Ordering::Relaxed);
        tracing::debug!(gateway = %subject.name, "renewed");
        Ok(signed)
    }

    async fn channel(
        &self,
        request: Request<Streaming<pb::FromGateway>>,
    ) -> Result<Response<Outgoing>, Status> {
        let presented = self.presented()?;
        // The handshake lets an expired certificate through, for its renewal.
        if self.shared.clock.unix() >= presented.not_after {
            return Err(self.refuse(Refusal::Expired));
        }
        let admitted = self.shared.gatekeeper.admit(&presented).await;
        let subject = admitted.map_err(|denial| self.deny(denial))?;
        let first = self.stage.send_if_modified(|stage| {
            let first = *stage == Stage::Idle;
            if first {
                *stage = Stage::Open;
            }
            first
        });
        if !first {
            return Err(self.bad("a connection carries one channel"));
        }
        let shared = &self.shared;
        let connection = ConnectionId(shared.next.fetch_add(1, Ordering::Relaxed));
        let (handle, outgoing) =
            Handle::new(shared.settings.queue, self.stage.clone(), Arc::clone(&shared.counters));
        let opened = Event::Opened {
            connection,
            gateway: subject.gateway,
            name: subject.name,
            device_of: subject.device_of,
            serial: presented.serial,
            peer: self.peer,
            handle,
        };
        if shared.events.send(opened).await.is_err() {
            return Err(Status::unavailable("the core is stopping"));
        }
        shared.counters.channels.fetch_add(1, Ordering::Relaxed);
        tokio::spawn(listen(
            connection,
            request.into_inner(),
            Arc::clone(shared),
            self.stage.clone(),
            self.line.clone(),
        ));
        Ok(Response::new(outgoing))
    }
}

/// Carries a gateway's messages to the role until the channel ends.
async fn listen(
    connection: ConnectionId,
    mut incoming: Streaming<pb::FromGateway>,
    shared: Arc<Shared>,
    stage: watch::Sender<Stage>,
    mut line: Line,
) {
    let mut changes = stage.subscribe();
    let why = loop {
        let message = tokio::select! {
            biased;
            over = changes.wait_for(|stage| stage.is_over()) => {
                break match over.map(|stage| *stage) {
                    Ok(Stage::Cut) => Closed::Overrun,
                    _ => Closed::ByUs,
                };
            }
            message = incoming.message() => message,
        };
        match message {
            Ok(Some(message)) => {
                shared.counters.messages_in.fetch_add(1, Ordering::Relaxed);
                if !deliver(&shared.events, &mut changes, Event::Message { connection, message })
                    .await
                {
                    // The next turn says why.
                    continue;
                }
            }
            // A connection that breaks may end the stream as if the gateway had.
            Ok(None) if !line.is_gone().await => break Closed::Left,
            Ok(None) => break Closed::Lost(lost(None, &line.faults)),
            Err(status) => {
                line.is_gone().await;
                break Closed::Lost(lost(Some(&status), &line.faults));
            }
        }
    };
    stage.send_if_modified(|stage| {
        let open = !stage.is_over();
        if open {
            *stage = Stage::Ended;
        }
        open
    });
    shared.counters.channels.fetch_sub(1, Ordering::Relaxed);
    // Nobody may be listening any more: the server stops.
    let _ = shared.events.send(Event::Closed { connection, why }).await;
}

/// Hands an event to the role, unless the channel is over before it takes it.
async fn deliver(
    events: &mpsc::Sender<Event>,
    changes: &mut watch::Receiver<Stage>,
    event: Event,
) -> bool {
    tokio::select! {
        biased;
        _ = changes.wait_for(|stage| stage.is_over()) => false,
        sent = events.send(event) => sent.is_ok(),
    }
}

fn lost(status: Option<&Status>, faults: &Faults) -> String {
    match (faults.get(), status) {
        (Some(fault), _) => fault.to_string(),
        (None, Some(status)) => dial::describe(status),
        (None, None) => "the connection ended".to_owned(),
    }
}
