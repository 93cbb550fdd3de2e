//! A peer: what a device's supplicant does, over the TLS library's client side. Its keys and its
//! crypto-binding are computed here anew, so that they prove the server's.

use std::io::{Read as _, Write as _};
use std::sync::Arc;

use hmac::{Hmac, KeyInit, Mac as _};
use homeward_eap::avp::{self, Said, code};
use homeward_eap::mschapv2::{self, Exchange};
use homeward_eap::packet::{self, Code, Packet, kind};
use homeward_eap::{Accepted, Context, Conversation, Ignored, Method, Origin, Rejected, Step};
use homeward_model::Instant;
use rustls::{ClientConfig, ClientConnection, RootCertStore};
use sha1::Sha1;

use crate::world::{ALICE, Authority, Certified, Counted, PASSWORD, People};

/// What a peer says within the tunnel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Within {
    Nothing,
    Pap,
    MsChapV2,
    EapMsChapV2,
    EapGtc,
    Chap,
}

/// What a peer does about PEAP's crypto-binding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Binding {
    Ignored,
    Answered,
    Forged,
}

/// What is odd about a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Odd {
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
#[derive(Clone)]
pub(crate) struct Peer {
    pub(crate) method: Method,
    pub(crate) within: Within,
    pub(crate) outer: String,
    pub(crate) identity: String,
    pub(crate) password: String,
    /// The most octets of TLS in a packet.
    pub(crate) fragment: usize,
    pub(crate) binding: Binding,
    /// Whether it sends its AVPs along with its Finished (TLS 1.3).
    pub(crate) eager: bool,
    /// Whether it repeats every response.
    pub(crate) repeats: bool,
    /// Whether it believes the server's proof of the password.
    pub(crate) believes: bool,
    pub(crate) odd: Odd,
    pub(crate) tls: Arc<ClientConfig>,
}

/// How a conversation went.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) result: Result<Box<Accepted<String>>, Box<Rejected>>,
    /// The lengths of the requests.
    pub(crate) requests: Vec<usize>,
    /// The peer's MSK, if its tunnel stood.
    pub(crate) msk: Option<[u8; 64]>,
    /// Whether the peer heard a protected yes (RFC 9190, or PEAP's result).
    pub(crate) heard: Option<bool>,
}

impl Outcome {
    #[track_caller]
    pub(crate) fn accepted(&self) -> &Accepted<String> {
        self.result.as_ref().unwrap()
    }

    #[track_caller]
    pub(crate) fn rejected(&self) -> &Rejected {
        self.result.as_ref().unwrap_err()
    }
}

/// The client side of TLS, trusting `authority`.
pub(crate) fn tls(
    authority: &Authority,
    client: Option<&Certified>,
    versions: &[&'static rustls::SupportedProtocolVersion],
) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(authority.root.clone()).unwrap();
    let builder =
        ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_protocol_versions(versions)
            .unwrap()
            .with_root_certificates(roots);
    Arc::new(match client {
        Some(client) => {
            builder.with_client_auth_cert(vec![client.certificate.clone()], client.key()).unwrap()
        }
        None => builder.with_no_client_auth(),
    })
}

impl Peer {
    pub(crate) fn new(method: Method, within: Within, tls: Arc<ClientConfig>) -> Self {
        Self {
            method,
            within,
            outer: "anonymous@example.org".to_owned(),
            identity: ALICE.to_owned(),
            password: PASSWORD.to_owned(),
            fragment: 1000,
            binding: Binding::Answered,
            eager: false,
            repeats: false,
            believes: true,
            odd: Odd::Nothing,
            tls,
        }
    }

    /// Logs in.
    pub(crate) fn run(
        &self,
        context: &Arc<Context>,
        origin: Origin,
        people: &People,
        now: Instant,
    ) -> Outcome {
        let mut conversation = Conversation::new(context, origin, now);
        let outcome = self.converse(&mut conversation, people, now, usize::MAX);
        outcome.expect("the conversation came to its end")
    }

    /// Begins to log in, and falls silent when it has got this many requests.
    pub(crate) fn run_until(
        &self,
        context: &Arc<Context>,
        origin: Origin,
        people: &People,
        requests: usize,
    ) -> Conversation<String> {
        let mut conversation = Conversation::new(context, origin, Instant::ORIGIN);
        let outcome = self.converse(&mut conversation, people, Instant::ORIGIN, requests);
        assert!(outcome.is_none(), "{outcome:?}");
        conversation
    }

    fn converse(
        &self,
        conversation: &mut Conversation<String>,
        people: &People,
        now: Instant,
        most: usize,
    ) -> Option<Outcome> {
        let mut entropy = Counted(7);
        let mut device = Device::new(self);
        let mut requests = Vec::new();
        let mut response = packet::response(0, kind::IDENTITY, self.outer.as_bytes());
        loop {
            let mut step = conversation.handle(&response, people, now, &mut entropy);
            if let Step::Check(check) = &step {
                if self.repeats {
                    let again = conversation.handle(&response, people, now, &mut entropy);
                    assert!(matches!(again, Step::Ignore(Ignored::Checking)), "{again:?}");
                }
                let password =
                    check.subject.as_ref().map(|subject| people.users[subject].password.clone());
                let right = password.is_some_and(|p| p.as_bytes() == check.password.expose());
                step = conversation.checked(right);
            }
            let request = match step {
                Step::Challenge(request) => request,
                Step::Accept(accepted) => {
                    assert_eq!(accepted.packet, packet::success(response[1]));
                    return Some(device.outcome(Ok(accepted), requests));
                }
                Step::Reject(rejected) => {
                    assert_eq!(rejected.packet, packet::failure(response[1]));
                    return Some(device.outcome(Err(rejected), requests));
                }
                step => panic!("{step:?}"),
            };
            if self.repeats {
                let again = conversation.handle(&response, people, now, &mut entropy);
                assert!(matches!(again, Step::Challenge(again) if again == request));
            }
            requests.push(request.len());
            if requests.len() == most {
                return None;
            }
            response = device.answer(&request);
        }
    }
}

/// One conversation on the peer's side.
struct Device<'p> {
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
    fn new(peer: &'p Peer) -> Self {
        let name = "radius.example.org".try_into().unwrap();
        let connection = ClientConnection::new(Arc::clone(&peer.tls), name).unwrap();
        Self {
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
        }
    }

    fn outcome(
        self,
        result: Result<Box<Accepted<String>>, Box<Rejected>>,
        requests: Vec<usize>,
    ) -> Outcome {
        let stood = !self.connection.is_handshaking();
        let msk = self.msk.or_else(|| stood.then(|| self.tunnel_msk()).flatten());
        Outcome { result, requests, msk, heard: self.heard }
    }

    fn is_13(&self) -> bool {
        self.connection.protocol_version() == Some(rustls::ProtocolVersion::TLSv1_3)
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
    fn answer(&mut self, request: &[u8]) -> Vec<u8> {
        let packet = Packet::decode(request).unwrap();
        assert_eq!(packet.code, Code::Request);
        let wanted = self.peer.method.kind();
        if packet.kind != wanted {
            return packet::response(packet.identifier, kind::NAK, &[wanted]);
        }
        let data = self.tls_answer(packet.data);
        packet::response(packet.identifier, wanted, &data)
    }

    fn tls_answer(&mut self, data: &[u8]) -> Vec<u8> {
        let flags = data[0];
        if self.sent < self.outgoing.len() {
            assert_eq!(data, [0], "an acknowledgement");
            return self.next_fragment();
        }
        let body = if flags & 0x80 == 0 { &data[1..] } else { &data[5..] };
        self.incoming.extend(body);
        if flags & 0x40 != 0 {
            return vec![0];
        }
        let message = std::mem::take(&mut self.incoming);
        let plain = self.feed(&message);
        if !self.connection.is_handshaking() {
            self.speak(&plain, message.is_empty());
        }
        self.outgoing.clear();
        self.sent = 0;
        while self.connection.wants_write() {
            self.connection.write_tls(&mut self.outgoing).unwrap();
        }
        self.next_fragment()
    }

    fn next_fragment(&mut self) -> Vec<u8> {
        let left = &self.outgoing[self.sent..];
        let data = &left[..left.len().min(self.peer.fragment)];
        let more = data.len() < left.len();
        let first = self.sent == 0 && more;
        let mut packet = vec![u8::from(first) << 7 | u8::from(more) << 6];
        if first {
            packet.extend(u32::try_from(self.outgoing.len()).unwrap().to_be_bytes());
        }
        packet.extend(data);
        self.sent += data.len();
        packet
    }

    fn feed(&mut self, mut message: &[u8]) -> Vec<u8> {
        let mut plain = Vec::new();
        while !message.is_empty() {
            self.connection.read_tls(&mut message).unwrap();
            match self.connection.process_new_packets() {
                Ok(state) => {
                    let at = plain.len();
                    plain.resize(at + state.plaintext_bytes_to_read(), 0);
                    self.connection.reader().read_exact(&mut plain[at..]).unwrap();
                }
                // The alert about it is on its way.
                Err(_) => break,
            }
        }
        plain
    }

    fn say(&mut self, plain: &[u8]) {
        if self.peer.odd == Odd::Floods {
            self.connection.writer().write_all(&[0; 20_000]).unwrap();
        }
        self.connection.writer().write_all(plain).unwrap();
    }

    fn resumed(&self) -> bool {
        self.connection.handshake_kind() == Some(rustls::HandshakeKind::Resumed)
    }

    /// Speaks inside the tunnel.
    fn speak(&mut self, plain: &[u8], silent: bool) {
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
                    self.ttls_continue(plain);
                } else if self.peer.eager || !finished_waits {
                    self.began = true;
                    let avps = self.ttls_first();
                    self.say(&avps);
                }
            }
            Method::Peap => {
                if !silent && !plain.is_empty() {
                    self.peap(plain);
                }
            }
        }
    }

    fn ttls_first(&mut self) -> Vec<u8> {
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
                        let (response, challenge, id) = self.ttls_mschapv2();
                        let value = [&[id, 0][..], &PEER_CHALLENGE, &[0; 8], &response].concat();
                        avp::write(&mut avps, code::MS_CHAP_CHALLENGE, avp::MICROSOFT, &challenge);
                        avp::write(&mut avps, code::MS_CHAP2_RESPONSE, avp::MICROSOFT, &value);
                    }
                    _ => avp::write(&mut avps, code::CHAP_PASSWORD, 0, &[0; 17]),
                }
            }
        }
        avps
    }

    fn ttls_mschapv2(&mut self) -> ([u8; 24], [u8; 16], u8) {
        let implicit =
            self.connection.export_keying_material([0u8; 17], b"ttls challenge", None).unwrap();
        let mut challenge: [u8; 16] = implicit[..16].try_into().unwrap();
        let mut id = implicit[16];
        challenge[0] ^= u8::from(self.peer.odd == Odd::ForeignChallenge);
        id ^= u8::from(self.peer.odd == Odd::ForeignIdentifier);
        (self.prove(&challenge, self.peer.identity.clone().as_bytes()), challenge, id)
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

    fn ttls_continue(&mut self, plain: &[u8]) {
        let octets = Said::decode(plain).map(|said| said.eap.to_vec());
        match octets {
            Ok(eap) if !eap.is_empty() => {
                let request = Packet::decode(&eap).unwrap();
                let (kind, data) = self.eap(request.kind, request.data);
                let mut avps = Vec::new();
                let response = packet::response(request.identifier, kind, &data);
                avp::write(&mut avps, code::EAP_MESSAGE, 0, &response);
                self.say(&avps);
            }
            // MS-CHAP2-Success: 12 octets of header, the identifier, the proof.
            _ => {
                assert_eq!(&plain[13..13 + self.proof.len()], self.proof.as_bytes());
                if !self.peer.believes {
                    self.say(&[0; 8]);
                }
            }
        }
    }

    /// Type and data of the response to a request within.
    fn eap(&mut self, kind: u8, data: &[u8]) -> (u8, Vec<u8>) {
        match (kind, self.peer.within) {
            (kind::IDENTITY, _) => (kind::IDENTITY, self.peer.identity.clone().into_bytes()),
            (kind::GTC, Within::EapGtc) => (kind::GTC, self.peer.password.clone().into_bytes()),
            (kind::MSCHAPV2, Within::EapMsChapV2) => {
                let answer = match data[0] {
                    1 => {
                        let challenge: [u8; 16] = data[5..21].try_into().unwrap();
                        let user = format!("HOME\\{}", self.peer.identity);
                        let response = self.prove(&challenge, user.as_bytes());
                        let mut answer = vec![2, data[1], 0, 0, 49];
                        answer.extend([&PEER_CHALLENGE[..], &[0; 8], &response, &[0]].concat());
                        answer.extend(user.into_bytes());
                        answer
                    }
                    3 => {
                        assert_eq!(&data[4..46], self.proof.as_bytes());
                        vec![if self.peer.believes { 3 } else { 4 }]
                    }
                    code => vec![code],
                };
                (kind::MSCHAPV2, answer)
            }
            (_, Within::EapGtc) => (kind::NAK, vec![kind::GTC]),
            (_, Within::EapMsChapV2) => (kind::NAK, vec![kind::MSCHAPV2]),
            _ => (kind::NAK, vec![0]),
        }
    }

    fn peap(&mut self, plain: &[u8]) {
        if plain.get(4) != Some(&kind::TLV) {
            let (kind, data) = self.eap(plain[0], &plain[1..]);
            self.say(&[&[kind][..], &data].concat());
            return;
        }
        let request = Packet::decode(plain).unwrap();
        assert_eq!(request.data[..5], [0x80, 3, 0, 2, 0]);
        self.heard = Some(request.data[5] == 1);
        let mut answer = request.data[..6].to_vec();
        if self.peer.odd == Odd::RefusesResult {
            answer[5] = 2;
        }
        if let (Some(theirs), true) =
            (request.data.get(6..66), self.peer.binding != Binding::Ignored)
        {
            answer.extend(self.bind(theirs));
        }
        let response = packet::response(request.identifier, kind::TLV, &answer);
        self.say(&response);
    }

    /// Checks the server's crypto-binding and answers it.
    fn bind(&mut self, theirs: &[u8]) -> Vec<u8> {
        let tunnel = self.tunnel_msk().unwrap();
        let both: Vec<u8> = if self.resumed() {
            tunnel[..60].to_vec()
        } else {
            prf_plus(&tunnel[..40], b"Inner Methods Compound Keys", &self.key, 60)
        };
        let (ipmk, cmk) = both.split_at(40);
        let mac = |tlv: &[u8]| hmac(cmk, &[tlv, &[25]]);
        let mut zeroed = theirs.to_vec();
        zeroed[40..].fill(0);
        assert_eq!(&theirs[40..], mac(&zeroed), "the server's binding");
        zeroed[7] = 1;
        let mut ours = mac(&zeroed);
        if self.peer.binding == Binding::Forged {
            ours[0] ^= 1;
        }
        zeroed[40..].copy_from_slice(&ours);
        let session = prf_plus(ipmk, b"Session Key Generating Function", &[0], 128);
        self.msk = Some(session[..64].try_into().unwrap());
        zeroed
    }
}

fn hmac(key: &[u8], parts: &[&[u8]]) -> Vec<u8> {
    let mut mac = Hmac::<Sha1>::new_from_slice(key).unwrap();
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
