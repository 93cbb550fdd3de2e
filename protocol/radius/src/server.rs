//! The answering machine: verified requests in, signed answers out, duplicates answered alike.
//!
//! For each datagram from a known client, call [`Server::handle`]; send what
//! [`Received::Reply`] holds, and answer a [`Received::Request`] with [`Server::respond`], at
//! once or later. Clients that nobody knows are the caller's to drop. Requests that come together
//! may be opened, and their answers drafted, together ([`crate`] says how).

mod duplicates;

use std::net::SocketAddr;
use std::time::Duration;

use homeward_model::{Entropy, Instant};

use crate::auth::Signature;
use crate::dictionary::standard::{EAP_MESSAGE, PROXY_STATE};
use crate::hide::Pads;
use crate::many::{Opened, Unsigned, sign_all};
use crate::packet::{Authenticator, Packet};
use crate::{AuthError, Builder, Code, DecodeError, EncodeError, SharedSecret};
use duplicates::{Duplicates, Seen};

/// What a [`Server`] serves; each has a UDP port of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Port {
    /// Access-Request and Status-Server; 1812.
    Authentication,
    /// Accounting-Request and Status-Server; 1813.
    Accounting,
    /// Disconnect-Request and CoA-Request (RFC 5176); 3799.
    DynamicAuthorization,
}

impl Port {
    /// Whether such requests are served here.
    pub const fn serves(self, code: Code) -> bool {
        match self {
            Self::Authentication => matches!(code, Code::AccessRequest | Code::StatusServer),
            Self::Accounting => matches!(code, Code::AccountingRequest | Code::StatusServer),
            Self::DynamicAuthorization => {
                matches!(code, Code::DisconnectRequest | Code::CoaRequest)
            }
        }
    }
}

/// What a client's requests must have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Policy {
    /// A Message-Authenticator, on whatever has one defined: everything but Accounting.
    #[default]
    Required,
    /// A Message-Authenticator where it is there, and for lack of it no Proxy-State, which is
    /// what forging an answer needs (CVE-2024-3596), and no EAP-Message (RFC 3579 3.1). For
    /// clients that cannot be made to sign.
    Auto,
    /// A Message-Authenticator only with EAP-Message: who sent a packet and that nobody changed it
    /// is known by the connection, which is TLS (RFC 6614).
    Secured,
}

/// How a [`Server`] behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ServerSettings {
    /// How long a request is remembered (RFC 5080 2.2.2). 5 s unless set.
    pub remember: Duration,
    /// The most requests remembered; the oldest go first. 65,536 unless set.
    pub remembered: usize,
}

impl Default for ServerSettings {
    fn default() -> Self {
        Self { remember: Duration::from_secs(5), remembered: 65_536 }
    }
}

/// What a datagram turned out to be.
#[derive(Debug)]
pub enum Received<'s, 'd> {
    /// A request to answer.
    Request {
        /// The request.
        packet: Packet<'d>,
        /// What [`Server::respond`] needs to answer it.
        ticket: Ticket,
        /// Whether it has a Message-Authenticator.
        signature: Signature,
        /// What its User-Password is hidden with, where that is known already.
        pads: Pads,
    },
    /// Nothing to decide: send these octets back.
    Reply {
        /// The answer.
        octets: &'s [u8],
        /// Why it is known already.
        kind: ReplyKind,
    },
    /// A duplicate of a request that is being worked on; it will be answered once.
    InProgress,
    /// Nothing to answer.
    Dropped(DropReason),
}

/// Why the machine answers by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReplyKind {
    /// The request was answered before; the answer is the same (RFC 5080 2.2.2).
    Duplicate,
    /// It was Status-Server.
    Status,
}

/// A request on its way to being answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ticket {
    source: SocketAddr,
    code: Code,
    identifier: u8,
    authenticator: Authenticator,
    /// Its number among those that are remembered, if it is.
    number: Option<u64>,
    /// The request's Proxy-State attributes as they came, to be copied back (RFC 2865 5.33).
    proxy_states: Vec<u8>,
}

impl Ticket {
    /// Where the answer goes.
    pub const fn source(&self) -> SocketAddr {
        self.source
    }

    /// What is asked.
    pub const fn code(&self) -> Code {
        self.code
    }

    /// The request's authenticator.
    pub const fn authenticator(&self) -> &Authenticator {
        &self.authenticator
    }
}

/// Why a datagram is dropped, silently as far as its sender is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DropReason {
    /// No RADIUS packet.
    #[error("malformed packet")]
    Malformed(#[source] DecodeError),
    /// A code that this port does not serve.
    #[error("{code} is not served on the {port:?} port")]
    WrongCode {
        /// What came.
        code: Code,
        /// Where.
        port: Port,
    },
    /// Not from who holds the secret.
    #[error("a request that is not authentic")]
    NotAuthentic(#[source] AuthError),
    /// No Message-Authenticator, which the policy or the code demands.
    #[error(
        "no Message-Authenticator: have the client send it, or set its policy to auto (CVE-2024-3596)"
    )]
    NoMessageAuthenticator,
    /// Proxy-State without Message-Authenticator.
    #[error("Proxy-State without Message-Authenticator: answering could be abused (CVE-2024-3596)")]
    UnsignedProxyState,
    /// EAP-Message without Message-Authenticator (RFC 3579 3.1).
    #[error("EAP-Message without Message-Authenticator")]
    UnsignedEap,
    /// A Status-Server whose answer would not fit a packet, for all its Proxy-States.
    #[error("the answer to Status-Server has no room for its Proxy-States")]
    NoRoom(#[source] EncodeError),
}

impl DropReason {
    /// The word for metrics.
    pub const fn label(&self) -> &'static str {
        match self {
            Self::Malformed(_) => "malformed",
            Self::WrongCode { .. } => "wrong-code",
            Self::NotAuthentic(AuthError::RequestAuthenticator) => "bad-request-authenticator",
            Self::NotAuthentic(AuthError::RepeatedMessageAuthenticator) => {
                "repeated-message-authenticator"
            }
            Self::NotAuthentic(_) => "bad-message-authenticator",
            Self::NoMessageAuthenticator => "no-message-authenticator",
            Self::UnsignedProxyState => "unsigned-proxy-state",
            Self::UnsignedEap => "unsigned-eap",
            Self::NoRoom(_) => "no-room",
        }
    }
}

/// How many buffers are kept for drafts.
const SPARE: usize = 64;

/// The machine.
#[derive(Debug)]
pub struct Server {
    port: Port,
    duplicates: Duplicates,
    /// The last answer that is not remembered.
    scratch: Vec<u8>,
    /// Answers that are to be signed.
    drafts: Vec<Draft>,
    /// Buffers for others.
    spare: Vec<Vec<u8>>,
}

/// An answer that is written, and not signed yet.
#[derive(Debug)]
struct Draft {
    octets: Vec<u8>,
    secret: SharedSecret,
    is_signed: bool,
    number: Option<u64>,
    authenticator: Authenticator,
    place: usize,
}

impl Server {
    /// A server on that port.
    pub fn new(port: Port, settings: ServerSettings) -> Self {
        let duplicates = Duplicates::new(settings);
        Self { port, duplicates, scratch: Vec::new(), drafts: Vec::new(), spare: Vec::new() }
    }

    /// Takes a datagram from a client whose secret and policy are these.
    pub fn handle<'d>(
        &mut self,
        source: SocketAddr,
        secret: &SharedSecret,
        policy: Policy,
        datagram: &'d [u8],
        now: Instant,
    ) -> Received<'_, 'd> {
        self.handle_opened(source, policy, Opened::new(secret, datagram), now)
    }

    /// Takes a datagram that was opened, perhaps together with others ([`prepare`](crate::prepare)).
    pub fn handle_opened<'d>(
        &mut self,
        source: SocketAddr,
        policy: Policy,
        mut opened: Opened<'d, '_>,
        now: Instant,
    ) -> Received<'_, 'd> {
        let (secret, pads) = (opened.secret, std::mem::take(&mut opened.pads));
        let (packet, signature) = match self.verify(policy, opened) {
            Ok(verified) => verified,
            Err(reason) => return Received::Dropped(reason),
        };
        let proxy_states = copy_proxy_states(&packet);
        let mut ticket = Ticket {
            source,
            code: packet.code(),
            identifier: packet.identifier(),
            authenticator: *packet.authenticator(),
            number: None,
            proxy_states,
        };
        // Not remembered: each is answered alike anyway (RFC 5997 4.5).
        if packet.code() == Code::StatusServer {
            return match self.answer_status(&ticket, secret) {
                Ok(octets) => Received::Reply { octets, kind: ReplyKind::Status },
                Err(error) => Received::Dropped(DropReason::NoRoom(error)),
            };
        }
        // Whoever asks by RADIUS/1.1 asks once: the connection repeats what is lost (RFC 9765 4.2).
        if secret.is_transport() {
            return Received::Request { packet, ticket, signature, pads };
        }
        match self.duplicates.see(source, packet.identifier(), packet.authenticator(), now) {
            Seen::New(number) => {
                ticket.number = Some(number);
                Received::Request { packet, ticket, signature, pads }
            }
            Seen::InProgress => Received::InProgress,
            Seen::Answered(octets) => Received::Reply { octets, kind: ReplyKind::Duplicate },
        }
    }

    /// Answers a request: `fill` adds the attributes, the machine the Proxy-States, the signature
    /// and its memory of it. Gives the datagram for [`Ticket::source`].
    ///
    /// # Errors
    /// What `fill` says; that the code does not answer the request; that the packet is full. The
    /// request can then still be answered otherwise.
    pub fn respond<E: From<EncodeError>>(
        &mut self,
        ticket: &Ticket,
        secret: &SharedSecret,
        code: Code,
        entropy: &mut impl Entropy,
        fill: impl FnOnce(&mut Builder<'_>) -> Result<(), E>,
    ) -> Result<&[u8], E> {
        let salt = u16::from_be_bytes(entropy.octets());
        write(&mut self.scratch, ticket, secret, code, salt, fill)?.finish();
        match ticket.number {
            Some(n) => Ok(self.duplicates.answer(n, &ticket.authenticator, &mut self.scratch)),
            None => Ok(&self.scratch),
        }
    }

    /// Answers a request like [`Self::respond`], together with others: [`Self::sign`], which is to
    /// be called before anything is sent, gives the datagrams, this one under the number `place`. To sign several at a time takes half as long
    /// or less.
    ///
    /// # Errors
    /// As [`Self::respond`].
    pub fn draft<E: From<EncodeError>>(
        &mut self,
        ticket: &Ticket,
        secret: &SharedSecret,
        (code, place): (Code, usize),
        entropy: &mut impl Entropy,
        fill: impl FnOnce(&mut Builder<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let salt = u16::from_be_bytes(entropy.octets());
        let mut octets = self.spare.pop().unwrap_or_default();
        write(&mut octets, ticket, secret, code, salt, fill)?.finish_unsigned();
        self.drafts.push(Draft {
            octets,
            secret: secret.clone(),
            is_signed: code.is_signed(),
            number: ticket.number,
            authenticator: ticket.authenticator,
            place,
        });
        Ok(())
    }

    /// Signs what was drafted since the last time, and gives `each` datagram with its number.
    pub fn sign(&mut self, mut each: impl FnMut(usize, &[u8])) {
        let to_sign = self.drafts.iter_mut().filter(|draft| !draft.secret.is_transport());
        let mut unsigned: Vec<Unsigned<'_>> = to_sign
            .map(|Draft { octets, secret, is_signed, .. }| Unsigned {
                packet: octets,
                secret,
                is_signed: *is_signed,
            })
            .collect();
        sign_all(&mut unsigned);
        for mut draft in self.drafts.drain(..) {
            match draft.number {
                Some(number) => {
                    let authenticator = &draft.authenticator;
                    let octets = self.duplicates.answer(number, authenticator, &mut draft.octets);
                    each(draft.place, octets);
                }
                None => each(draft.place, &draft.octets),
            }
            if self.spare.len() < SPARE {
                self.spare.push(draft.octets);
            }
        }
    }

    /// Gives a request up unanswered, so that its next retransmission counts as a new request.
    pub fn abandon(&mut self, ticket: &Ticket) {
        self.duplicates.forget(ticket.source, ticket.identifier, &ticket.authenticator);
    }

    fn verify<'d>(
        &self,
        policy: Policy,
        opened: Opened<'d, '_>,
    ) -> Result<(Packet<'d>, Signature), DropReason> {
        let Opened { packet, secret, right, .. } = opened;
        let packet = packet.map_err(DropReason::Malformed)?;
        let code = packet.code();
        if !self.port.serves(code) {
            return Err(DropReason::WrongCode { code, port: self.port });
        }
        let verified = match right {
            Some(right) => secret.verify_against(&packet, &right),
            None => secret.verify_request(&packet),
        };
        let signature = verified.map_err(DropReason::NotAuthentic)?;
        if signature == Signature::Present || !code.is_signed() {
            return Ok((packet, signature));
        }
        if policy == Policy::Secured {
            let unsigned_eap = packet.find(EAP_MESSAGE).is_some();
            let verified = (packet, signature);
            return if unsigned_eap { Err(DropReason::UnsignedEap) } else { Ok(verified) };
        }
        // Status-Server has no other proof of origin (RFC 5997 3).
        if policy == Policy::Required || code == Code::StatusServer {
            return Err(DropReason::NoMessageAuthenticator);
        }
        if code == Code::AccessRequest && packet.find(PROXY_STATE).is_some() {
            return Err(DropReason::UnsignedProxyState);
        }
        if packet.find(EAP_MESSAGE).is_some() {
            return Err(DropReason::UnsignedEap);
        }
        Ok((packet, signature))
    }

    /// Answers a Status-Server: "alive", as the port says it (RFC 5997 3).
    fn answer_status(
        &mut self,
        ticket: &Ticket,
        secret: &SharedSecret,
    ) -> Result<&[u8], EncodeError> {
        let code = match self.port {
            Port::Accounting => Code::AccountingResponse,
            Port::Authentication | Port::DynamicAuthorization => Code::AccessAccept,
        };
        let nothing = |_: &mut Builder<'_>| Ok::<_, EncodeError>(());
        write(&mut self.scratch, ticket, secret, code, 0, nothing)?.finish();
        Ok(&self.scratch)
    }
}

/// Writes an answer into a buffer, all but what [`Builder::finish`] adds.
fn write<'b, E: From<EncodeError>>(
    out: &'b mut Vec<u8>,
    ticket: &Ticket,
    secret: &'b SharedSecret,
    code: Code,
    salt: u16,
    fill: impl FnOnce(&mut Builder<'_>) -> Result<(), E>,
) -> Result<Builder<'b>, E> {
    if !code.answers(ticket.code) {
        return Err(EncodeError::WrongAnswer { answer: code, request: ticket.code }.into());
    }
    let (id, authenticator) = (ticket.identifier, &ticket.authenticator);
    let mut packet = Builder::answer(out, secret, code, id, authenticator, salt);
    fill(&mut packet)?;
    packet.encoded(PROXY_STATE, &ticket.proxy_states)?;
    Ok(packet)
}

/// The Proxy-State attributes, type and length included.
fn copy_proxy_states(packet: &Packet<'_>) -> Vec<u8> {
    let mut copy = Vec::new();
    for (at, value) in packet.offsets(PROXY_STATE) {
        let whole = packet.as_bytes().get(at - 2..at + value.len());
        copy.extend_from_slice(whole.unwrap_or_default());
    }
    copy
}
