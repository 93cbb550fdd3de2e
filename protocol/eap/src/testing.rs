//! For tests and fuzzing: predictable entropy, and the bodies of the fuzz targets.

use std::sync::{Arc, OnceLock};

use homeward_model::{Entropy, Instant, UnixTime};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::avp::{self, Avps, Said};
use crate::fragment::{Assembly, TlsPacket};
use crate::method::{Env, peap, ttls};
use crate::mschapv2::{self, PeerPacket};
use crate::packet::{self, Code, Packet, kind};
use crate::tls::Tunnel;
use crate::tlv::PeerResult;
use crate::{
    Attempt, CheckedBy, Claim, ClientTrust, Context, Conversation, Decoy, Denied, Directory,
    Identity, Method, Origin, ServerCredential, SessionSettings, Sessions, Settings, Step,
};

/// Entropy that is none: a counter through a mixer. Same seed, same octets.
#[derive(Debug, Clone)]
pub struct Counted(pub u64);

impl Entropy for Counted {
    fn fill(&mut self, room: &mut [u8]) {
        for octet in room {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888);
            [*octet, ..] = self.0.to_be_bytes();
        }
    }
}

/// Alice has a machine-made password, Bob one with a slow hash; Carol is suspended.
struct Three;

impl Directory for Three {
    type Subject = &'static str;

    fn find(&self, claim: &Claim<'_>) -> Option<&'static str> {
        ["alice", "bob", "carol"].into_iter().find(|name| *name == claim.identity().user())
    }

    fn checked_by(&self, subject: &&'static str) -> CheckedBy {
        match *subject {
            "bob" => CheckedBy::Caller,
            _ => CheckedBy::NtHash(mschapv2::nt_hash("clientPass")),
        }
    }

    fn decoy(&self, identity: &Identity) -> Decoy {
        if identity.user().len().is_multiple_of(2) { Decoy::Caller } else { Decoy::NtHash }
    }

    fn stamp(&self, _: &&'static str) -> [u8; 16] {
        [0; 16]
    }

    fn may(&self, subject: &&'static str, _: &Attempt) -> Result<(), Denied> {
        if *subject == "carol" { Err(Denied::Suspended) } else { Ok(()) }
    }
}

pub mod peer;

const WALL: UnixTime = UnixTime(1_782_864_000_000);

/// A server with a key that is no secret.
fn context() -> &'static Arc<Context> {
    static CONTEXT: OnceLock<Option<Arc<Context>>> = OnceLock::new();
    let made = CONTEXT.get_or_init(|| {
        let certificate =
            CertificateDer::from(include_bytes!("testing/certificate.der").as_slice());
        let key = include_bytes!("testing/key.der").to_vec();
        let server = ServerCredential {
            chain: vec![certificate.clone()],
            key: PrivateKeyDer::Pkcs8(key.into()),
        };
        let trust = ClientTrust { roots: vec![certificate], revoked: Vec::new() };
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let sessions = Arc::new(Sessions::new(SessionSettings::default()));
        Context::new(Settings::default(), &provider, server, Some(trust), sessions)
            .map(Arc::new)
            .ok()
    });
    let Some(context) = made else { unreachable!("the fixture is sound") };
    context
}

/// Target `eap_packet`: packets, Naks, identities, fragments, PEAP's results.
pub fn fuzz_packet(data: &[u8]) {
    let _ = PeerResult::decode(data);
    if let Ok(tls) = TlsPacket::decode(data) {
        let mut assembly = Assembly::new(64);
        if let Ok(Some(whole)) = assembly.push(&tls) {
            assert!(whole.len() <= 64, "the limit holds");
        }
    }
    let Ok(packet) = Packet::decode(data) else { return };
    assert!(packet.wanted().count() <= packet.data.len());
    if let Ok(identity) = Identity::decode(packet.data) {
        assert!(identity.as_str().len() <= crate::identity::MAX_LEN);
        let _ = (identity.user(), identity.realm(), identity.is_anonymous());
    }
    let again = match packet.code {
        Code::Request => packet::request(packet.identifier, packet.kind, packet.data),
        Code::Response => packet::response(packet.identifier, packet.kind, packet.data),
        Code::Success => packet::success(packet.identifier),
        Code::Failure => packet::failure(packet.identifier),
    };
    assert_eq!(Packet::decode(&again), Ok(packet), "written and read again as the same");
}

/// The next message of an input: a length of two octets, and what it says.
fn message<'a>(input: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (length, rest) = input.split_first_chunk::<2>()?;
    let length = usize::from(u16::from_be_bytes(*length)).min(rest.len());
    let (message, rest) = rest.split_at_checked(length)?;
    *input = rest;
    Some(message)
}

/// Target `eap_conversation`: a first octet that chooses the method, then responses, each with
/// its type (0: the method's) before what it says. Nobody is let in, nothing grows past its
/// bounds.
pub fn fuzz_conversation(data: &[u8]) {
    let context = context();
    let Some((&choice, mut input)) = data.split_first() else { return };
    let mut methods = [Method::Ttls, Method::Peap, Method::Tls].into_iter().cycle();
    let Some(method) = methods.nth(usize::from(choice)) else { return };
    let origin = Origin { station: None, framed_mtu: Some(600), wall: WALL };
    let mut conversation = Conversation::new(context, origin, Instant::ORIGIN);
    let mut entropy = Counted(1);
    let mut response = packet::response(0, kind::IDENTITY, b"@example.org");
    let mut nak = true;
    loop {
        let step = conversation.handle(&response, &Three, Instant::ORIGIN, &mut entropy);
        let identifier = match step {
            Step::Challenge(request) => {
                assert!(request.len() <= 596, "the NAS's MTU holds");
                let packet = Packet::decode(&request);
                let Ok(packet) = packet else { unreachable!("a request is a packet") };
                if packet.kind != method.kind() && nak {
                    response = packet::response(packet.identifier, kind::NAK, &[method.kind()]);
                    nak = false;
                    continue;
                }
                packet.identifier
            }
            Step::Reject(rejected) => {
                assert!(rejected.rounds <= context.settings.max_rounds);
                let _ = (rejected.reason.to_string(), rejected.reason.label());
                return;
            }
            Step::Ignore(_) => return,
            Step::Accept(_) | Step::Check(_) => unreachable!("the peer has no password"),
        };
        let Some((&kind, data)) = message(&mut input).and_then(<[u8]>::split_first) else { return };
        let kind = if kind == 0 { method.kind() } else { kind };
        response = packet::response(identifier, kind, data);
    }
}

/// What a second phase needs from around it, and a tunnel whose keys cannot be had.
fn within(method: Method, mut body: impl FnMut(&Tunnel, &mut Env<'_, Three>)) {
    let context = context();
    let tunnel = Tunnel::new(context, method, Instant::ORIGIN, WALL);
    let Ok(tunnel) = tunnel else { unreachable!("the settings are sound") };
    let mut env = Env {
        context,
        directory: &Three,
        entropy: &mut Counted(1),
        outer: &Identity::default(),
        station: None,
        wall: WALL,
        method,
    };
    body(&tunnel, &mut env);
}

/// Target `eap_ttls_avps`: AVPs of any shape, and what EAP-TTLS makes of a series of them.
pub fn fuzz_ttls_avps(data: &[u8]) {
    let read: Vec<_> = Avps::new(data).map_while(Result::ok).collect();
    let mut again = Vec::new();
    for avp in &read {
        if avp.vendor != 0 || !data.is_empty() {
            avp::write(&mut again, avp.code, avp.vendor, avp.value);
        }
    }
    let values = |avps: Vec<avp::Avp<'_>>| {
        avps.into_iter().map(|avp| (avp.code, avp.vendor, avp.value.to_vec())).collect::<Vec<_>>()
    };
    let reread = Avps::new(&again).map_while(Result::ok).collect();
    assert_eq!(values(reread), values(read), "written and read again as the same");
    let _ = Said::decode(data);
    within(Method::Ttls, |tunnel, env| {
        let mut phase = ttls::Ttls::new();
        let mut input = data;
        while let Some(said) = message(&mut input) {
            match phase.handle(said, tunnel, env) {
                ttls::Next::Say(avps) => {
                    assert!(Avps::new(&avps).all(|avp| avp.is_ok()), "our own AVPs are sound");
                }
                ttls::Next::Check(..) | ttls::Next::Done(_) => break,
            }
        }
    });
}

/// Target `eap_mschapv2`: EAP-MSCHAPv2 packets of any shape, and what PEAP makes of a series of
/// messages.
pub fn fuzz_mschapv2(data: &[u8]) {
    if let Some(PeerPacket::Response { nt_response, peer_challenge, name, .. }) =
        PeerPacket::decode(data)
    {
        let exchange = mschapv2::Exchange { challenge: &[0; 16], peer_challenge, user: name };
        let hash = mschapv2::nt_hash("clientPass");
        let right = exchange.is_right(&hash, nt_response);
        assert_eq!(right, exchange.nt_response(&hash) == *nt_response);
        assert_eq!(exchange.authenticator_response(&hash, nt_response).len(), 42);
    }
    within(Method::Peap, |tunnel, env| {
        let mut phase = peap::Peap::new(env);
        let mut input = data;
        while let Some(said) = message(&mut input) {
            match phase.handle(said, tunnel, env) {
                peap::Next::Say(said) => assert!(!said.is_empty()),
                peap::Next::Check(..) | peap::Next::Done(_) => break,
            }
        }
    });
}
