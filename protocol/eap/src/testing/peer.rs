//! A peer: what a device's supplicant does, over the TLS library's client side. Its keys and its
//! crypto-binding are computed here anew, so that they prove the server's. Tests drive it in
//! memory, the benchmarks' load generator over RADIUS.

use std::io::{Read as _, Write as _};
use std::sync::Arc;

use hmac::{Hmac, KeyInit, Mac as _};
use rustls::{ClientConfig, ClientConnection, HandshakeKind, ProtocolVersion};
use sha1::Sha1;

use crate::Method;
use crate::avp::{self, Said, code};
use crate::mschapv2::{self, Exchange};
use crate::packet::{self, Code, Packet, kind};

pub use rustls;

/// What a peer says within the tunnel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the methods' own names")]
pub enum Within {
    Nothing,
    Pap,
    MsChapV2,
    EapMsChapV2,
    EapGtc,
    Chap,
}

/// What a peer does about PEAP's crypto-binding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Binding {
    /// Nothing.
    Ignored,
    /// It answers it.
    Answered,
    /// It answers it wrongly.
    Forged,
}

/// What is odd about a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Odd {
    /// Nothing.
    Nothing,
    /// Its MSCHAPv2 response within EAP-TTLS is sound, to a challenge that is not the tunnel's.
    ForeignChallenge,
    /// As above, to an identifier that is not the tunnel's.
    ForeignIdentifier,
    /// It answers PEAP's yes with a no.
    RefusesResult,
    /// It says more inside the tunnel than anybody needs to.
    Floods,
}

/// A peer and how it behaves.
#[derive(Debug, Clone)]
pub struct Peer {
    /// The method that it insists on.
    pub method: Method,
    /// What it says within.
    pub within: Within,
    /// Its outer identity.
    pub outer: String,
    /// Its inner one.
    pub identity: String,
    /// What it writes before its identity in EAP-MSCHAPv2, as Windows does.
    pub domain: &'static str,
    /// Its password.
    pub password: String,
    /// The server's name, for TLS.
    pub server: &'static str,
    /// The most octets of TLS in a packet.
    pub fragment: usize,
    /// What it does about crypto-binding.
    pub binding: Binding,
    /// Whether it sends its AVPs along with its Finished (TLS 1.3).
    pub eager: bool,
    /// Whether it repeats every response.
    pub repeats: bool,
    /// Whether it believes the server's proof of the password.
    pub believes: bool,
    /// What is odd about it.
    pub odd: Odd,
    /// Its side of TLS, with the sessions that it can resume.
    pub tls: Arc<ClientConfig>,
}

/// What a peer cannot make sense of, or does not put up with.
#[derive(Debug, thiserror::Error)]
#[error("the peer: {0}")]
pub struct Fault(String);

impl From<rustls::Error> for Fault {
    fn from(error: rustls::Error) -> Self {
        Self(error.to_string())
    }
}

impl From<std::io::Error> for Fault {
    fn from(error: std::io::Error) -> Self {
        Self(error.to_string())
    }
}

fn fault<T>(what: &str) -> Result<T, Fault> {
    Err(Fault(what.to_owned()))
}

/// Octets that have to be there.
fn part(
    octets: &[u8],
    range: impl std::slice::SliceIndex<[u8], Output = [u8]>,
) -> Result<&[u8], Fault> {
    octets.get(range).map_or_else(|| fault("a message is too short"), Ok)
}

fn array<const N: usize>(octets: &[u8], at: usize) -> Result<[u8; N], Fault> {
    let octets = part(octets, at..)?.first_chunk();
    octets.copied().map_or_else(|| fault("a message is too short"), Ok)
}

/// One conversation on the peer's side.
#[derive(Debug)]
pub struct Device<'p> {
    peer: &'p Peer,
    connection: ClientConnection,
    incoming: Vec<u8>,
    outgoing: Vec<u8>,
    sent: usize,
    began: bool,
    heard: Option<bool>,
    msk: Option<[u8; 64]>,
    key: [u8; 32],
    proof: String,
}

const PEER_CHALLENGE: [u8; 16] = [0x42; 16];

impl<'p> Device<'p> {
    /// Begins.
    ///
    /// # Errors
    ///
    /// If the TLS library refuses.
    pub fn new(peer: &'p Peer) -> Result<Self, Fault> {
        let name = peer.server.try_into().or_else(|_| fault("the server's name is none"))?;
        let connection = ClientConnection::new(Arc::clone(&peer.tls), name)?;
        Ok(Self {
            peer,
            connection,
            incoming: Vec::new(),
            outgoing: Vec::new(),
            sent: 0,
            began: false,
            heard: None,
            msk: None,
            key: [0; 32],
            proof: String::new(),
        })
    }

    /// What it says first, unasked: who it is, outside.
    pub fn identity(&self) -> Vec<u8> {
        packet::response(0, kind::IDENTITY, self.peer.outer.as_bytes())
    }

    /// Its master session key, if its tunnel stands.
    pub fn msk(&self) -> Option<[u8; 64]> {
        let stood = !self.connection.is_handshaking();
        self.msk.or_else(|| stood.then(|| self.tunnel_msk()).flatten())
    }

    /// Whether it heard a protected yes (RFC 9190, or PEAP's result), or a no.
    pub fn heard(&self) -> Option<bool> {
        self.heard
    }

    /// Whether its TLS session is one from before.
    pub fn resumed(&self) -> bool {
        self.connection.handshake_kind() == Some(HandshakeKind::Resumed)
    }

    /// The cipher suite that was agreed on.
    pub fn cipher(&self) -> Option<rustls::CipherSuite> {
        self.connection.negotiated_cipher_suite().map(|suite| suite.suite())
    }

    fn is_13(&self) -> bool {
        self.connection.protocol_version() == Some(ProtocolVersion::TLSv1_3)
    }

    fn tunnel_msk(&self) -> Option<[u8; 64]> {
        let kind = [self.peer.method.kind()];
        let (label, context) = match (self.is_13(), self.peer.method) {
            (true, _) => ("EXPORTER_EAP_TLS_Key_Material", Some(&kind[..])),
            (false, Method::Ttls) => ("ttls keying material", None),
            (false, _) => ("client EAP encryption", None),
        };
        let both =
            self.connection.export_keying_material([0u8; 128], label.as_bytes(), context).ok()?;
        both.first_chunk().copied()
    }

    /// The response to a request.
    ///
    /// # Errors
    ///
    /// If the request is none that a sound server would send now.
    pub fn answer(&mut self, request: &[u8]) -> Result<Vec<u8>, Fault> {
        let Ok(packet) = Packet::decode(request) else { return fault("no EAP packet") };
        if packet.code != Code::Request {
            return fault("no request");
        }
        let wanted = self.peer.method.kind();
        if packet.kind != wanted {
            return Ok(packet::response(packet.identifier, kind::NAK, &[wanted]));
        }
        let data = self.tls_answer(packet.data)?;
        Ok(packet::response(packet.identifier, wanted, &data))
    }

    fn tls_answer(&mut self, data: &[u8]) -> Result<Vec<u8>, Fault> {
        let [flags] = array(data, 0)?;
        if self.sent < self.outgoing.len() {
            return if data == [0] { self.next_fragment() } else { fault("no acknowledgement") };
        }
        self.incoming.extend(part(data, if flags & 0x80 == 0 { 1 } else { 5 }..)?);
        if flags & 0x40 != 0 {
            return Ok(vec![0]);
        }
        let message = std::mem::take(&mut self.incoming);
        let plain = self.feed(&message)?;
        if !self.connection.is_handshaking() {
            self.speak(&plain, message.is_empty())?;
        }
        self.outgoing.clear();
        self.sent = 0;
        while self.connection.wants_write() {
            self.connection.write_tls(&mut self.outgoing)?;
        }
        self.next_fragment()
    }

    fn next_fragment(&mut self) -> Result<Vec<u8>, Fault> {
        let left = part(&self.outgoing, self.sent..)?;
        let data = part(left, ..left.len().min(self.peer.fragment))?;
        let more = data.len() < left.len();
        let first = self.sent == 0 && more;
        let mut packet = vec![u8::from(first) << 7 | u8::from(more) << 6];
        if first {
            let length = u32::try_from(self.outgoing.len()).unwrap_or(u32::MAX);
            packet.extend(length.to_be_bytes());
        }
        packet.extend(data);
        self.sent += data.len();
        Ok(packet)
    }

    fn feed(&mut self, mut message: &[u8]) -> Result<Vec<u8>, Fault> {
        let mut plain = Vec::new();
        while !message.is_empty() {
            self.connection.read_tls(&mut message)?;
            // Of an error the alert is on its way.
            let Ok(state) = self.connection.process_new_packets() else { break };
            let mut fresh = vec![0; state.plaintext_bytes_to_read()];
            self.connection.reader().read_exact(&mut fresh)?;
            plain.append(&mut fresh);
        }
        Ok(plain)
    }

    fn say(&mut self, plain: &[u8]) -> Result<(), Fault> {
        if self.peer.odd == Odd::Floods {
            self.connection.writer().write_all(&[0; 20_000])?;
        }
        Ok(self.connection.writer().write_all(plain)?)
    }

    /// Speaks inside the tunnel.
    fn speak(&mut self, plain: &[u8], silent: bool) -> Result<(), Fault> {
        match self.peer.method {
            Method::Tls => {
                if plain == [0] {
                    self.heard = Some(true);
                }
            }
            Method::Ttls if self.resumed() => {
                if plain == [0] {
                    self.heard = Some(true);
                }
            }
            Method::Ttls => {
                let finished_waits = self.is_13() && self.connection.wants_write();
                if self.began {
                    self.ttls_continue(plain)?;
                } else if self.peer.eager || !finished_waits {
                    self.began = true;
                    let avps = self.ttls_first()?;
                    self.say(&avps)?;
                }
            }
            Method::Peap => {
                if !silent && !plain.is_empty() {
                    self.peap(plain)?;
                }
            }
        }
        Ok(())
    }

    fn ttls_first(&mut self) -> Result<Vec<u8>, Fault> {
        let mut avps = Vec::new();
        let user = self.peer.identity.as_bytes();
        match self.peer.within {
            Within::EapMsChapV2 | Within::EapGtc => {
                let identity = packet::response(0, kind::IDENTITY, user);
                avp::write(&mut avps, code::EAP_MESSAGE, 0, &identity);
            }
            within => {
                avp::write(&mut avps, code::USER_NAME, 0, user);
                match within {
                    Within::Pap => {
                        let mut password = self.peer.password.clone().into_bytes();
                        password.resize(password.len().next_multiple_of(16), 0);
                        avp::write(&mut avps, code::USER_PASSWORD, 0, &password);
                    }
                    Within::MsChapV2 => {
                        let (response, challenge, id) = self.ttls_mschapv2()?;
                        let value = [&[id, 0][..], &PEER_CHALLENGE, &[0; 8], &response].concat();
                        avp::write(&mut avps, code::MS_CHAP_CHALLENGE, avp::MICROSOFT, &challenge);
                        avp::write(&mut avps, code::MS_CHAP2_RESPONSE, avp::MICROSOFT, &value);
                    }
                    _ => avp::write(&mut avps, code::CHAP_PASSWORD, 0, &[0; 17]),
                }
            }
        }
        Ok(avps)
    }

    fn ttls_mschapv2(&mut self) -> Result<([u8; 24], [u8; 16], u8), Fault> {
        let implicit =
            self.connection.export_keying_material([0u8; 17], b"ttls challenge", None)?;
        let [mut challenge @ .., mut id] = implicit;
        let [first, ..] = &mut challenge;
        *first ^= u8::from(self.peer.odd == Odd::ForeignChallenge);
        id ^= u8::from(self.peer.odd == Odd::ForeignIdentifier);
        Ok((self.prove(&challenge, self.peer.identity.as_bytes()), challenge, id))
    }

    /// An NT response; the server's proof that is due is kept.
    fn prove(&mut self, challenge: &[u8; 16], user: &[u8]) -> [u8; 24] {
        let exchange = Exchange { challenge, peer_challenge: &PEER_CHALLENGE, user };
        let hash = mschapv2::nt_hash(&self.peer.password);
        let response = exchange.nt_response(&hash);
        self.proof = exchange.authenticator_response(&hash, &response);
        self.key = *mschapv2::session_keys(&hash, &response);
        response
    }

    /// Whether the server has the password, too.
    fn check_proof(&self, octets: &[u8]) -> Result<(), Fault> {
        let right = !self.proof.is_empty() && octets.starts_with(self.proof.as_bytes());
        if right { Ok(()) } else { fault("the server's proof of the password is wrong") }
    }

    fn ttls_continue(&mut self, plain: &[u8]) -> Result<(), Fault> {
        let eap = Said::decode(plain).map(|said| said.eap.to_vec()).unwrap_or_default();
        if eap.is_empty() {
            // MS-CHAP2-Success: 12 octets of header, the identifier, the proof.
            self.check_proof(part(plain, 13..)?)?;
            return if self.peer.believes { Ok(()) } else { self.say(&[0; 8]) };
        }
        let Ok(request) = Packet::decode(&eap) else { return fault("no EAP packet within") };
        let (kind, data) = self.eap(request.kind, request.data)?;
        let mut avps = Vec::new();
        let response = packet::response(request.identifier, kind, &data);
        avp::write(&mut avps, code::EAP_MESSAGE, 0, &response);
        self.say(&avps)
    }

    /// Type and data of the response to a request within.
    fn eap(&mut self, kind: u8, data: &[u8]) -> Result<(u8, Vec<u8>), Fault> {
        Ok(match (kind, self.peer.within) {
            (kind::IDENTITY, _) => (kind::IDENTITY, self.peer.identity.clone().into_bytes()),
            (kind::GTC, Within::EapGtc) => (kind::GTC, self.peer.password.clone().into_bytes()),
            (kind::MSCHAPV2, Within::EapMsChapV2) => (kind::MSCHAPV2, self.eap_mschapv2(data)?),
            (_, Within::EapGtc) => (kind::NAK, vec![kind::GTC]),
            (_, Within::EapMsChapV2) => (kind::NAK, vec![kind::MSCHAPV2]),
            _ => (kind::NAK, vec![0]),
        })
    }

    fn eap_mschapv2(&mut self, data: &[u8]) -> Result<Vec<u8>, Fault> {
        let [code, identifier] = array(data, 0)?;
        match code {
            1 => {
                let challenge = array(data, 5)?;
                let user = format!("{}{}", self.peer.domain, self.peer.identity);
                let response = self.prove(&challenge, user.as_bytes());
                let value = [&PEER_CHALLENGE[..], &[0; 8], &response, &[0]].concat();
                let length = u16::try_from(5 + value.len() + user.len()).unwrap_or(u16::MAX);
                let [high, low] = length.to_be_bytes();
                Ok([&[2, identifier, high, low, 49], &value[..], user.as_bytes()].concat())
            }
            3 => {
                self.check_proof(part(data, 4..)?)?;
                Ok(vec![if self.peer.believes { 3 } else { 4 }])
            }
            code => Ok(vec![code]),
        }
    }

    fn peap(&mut self, plain: &[u8]) -> Result<(), Fault> {
        if plain.get(4) != Some(&kind::TLV) {
            let [kind] = array(plain, 0)?;
            let (kind, data) = self.eap(kind, part(plain, 1..)?)?;
            return self.say(&[&[kind][..], &data].concat());
        }
        let Ok(request) = Packet::decode(plain) else { return fault("no EAP packet within") };
        let [0x80, 3, 0, 2, 0, result] = array(request.data, 0)? else {
            return fault("no result");
        };
        self.heard = Some(result == 1);
        let said = if self.peer.odd == Odd::RefusesResult { 2 } else { result };
        let mut answer = vec![0x80, 3, 0, 2, 0, said];
        if self.peer.binding != Binding::Ignored && request.data.len() >= 66 {
            answer.extend(self.bind(array(request.data, 6)?)?);
        }
        let response = packet::response(request.identifier, kind::TLV, &answer);
        self.say(&response)
    }

    /// Checks the server's crypto-binding and answers it.
    fn bind(&mut self, theirs: [u8; 60]) -> Result<Vec<u8>, Fault> {
        let Some(tunnel) = self.tunnel_msk() else { return fault("there are no keys yet") };
        let both: Vec<u8> = if self.resumed() {
            part(&tunnel, ..60)?.to_vec()
        } else {
            prf_plus(part(&tunnel, ..40)?, b"Inner Methods Compound Keys", &self.key, 60)
        };
        let (ipmk, cmk) = both.split_at(40);
        let (head, their_mac) = theirs.split_at(40);
        let [before @ .., _] = array::<8>(head, 0)?;
        let nonces = part(head, 8..)?;
        let tlv = |kind: u8, mac: &[u8]| [&before[..], &[kind], nonces, mac].concat();
        let mac = |tlv: &[u8]| hmac(cmk, &[tlv, &[25]]);
        if their_mac != mac(&[head, &[0; 20]].concat()) {
            return fault("the server's crypto-binding is wrong");
        }
        let mut ours = mac(&tlv(1, &[0; 20]));
        if let (Some(first), Binding::Forged) = (ours.first_mut(), self.peer.binding) {
            *first ^= 1;
        }
        let session = prf_plus(ipmk, b"Session Key Generating Function", &[0], 128);
        self.msk = Some(array(&session, 0)?);
        Ok(tlv(1, &ours))
    }
}

fn hmac(key: &[u8], parts: &[&[u8]]) -> Vec<u8> {
    let Ok(mut mac) = Hmac::<Sha1>::new_from_slice(key) else { unreachable!("any key does") };
    parts.iter().for_each(|part| mac.update(part));
    mac.finalize().into_bytes().to_vec()
}

fn prf_plus(key: &[u8], label: &[u8], seed: &[u8], length: usize) -> Vec<u8> {
    let (mut all, mut block) = (Vec::new(), Vec::new());
    for n in 1u8.. {
        block = hmac(key, &[&block, label, seed, &[n], &[0, 0]]);
        all.extend(&block);
        if all.len() >= length {
            break;
        }
    }
    all.truncate(length);
    all
}
