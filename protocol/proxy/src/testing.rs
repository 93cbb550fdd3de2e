//! For tests and fuzzing: the bodies of the fuzz targets.

use std::net::{Ipv4Addr, SocketAddr};

use homeward_model::{Instant, Secret};
use homeward_radius::dictionary::standard::PROXY_STATE;
use homeward_radius::testing::Counted;
use homeward_radius::{Builder, Code, Packet, SharedSecret};

use crate::{
    Asker, Event, Filter, HomeServer, Key, OperatorName, Pool, Proxy, Route, Routed, Settings,
    Table, Target, nai,
};

/// The codes that a home server may answer with.
const CODES: [Code; 4] =
    [Code::AccessAccept, Code::AccessReject, Code::AccessChallenge, Code::AccountingResponse];

/// Target `proxy_hop`: a packet as a request that is forwarded, and other octets as the
/// attributes of an authentic answer to it. The first octet chooses the answer's code and the
/// filters; the second says how many of the rest, in sixteens, are the request's attributes.
pub fn fuzz_hop(data: &[u8]) {
    let _ = run_hop(data);
}

/// As [`fuzz_hop`]; gives what came of it, unless the request was not forwarded.
pub fn run_hop(data: &[u8]) -> Option<&'static str> {
    let ([choice, sixteens], rest) = data.split_first_chunk::<2>()?;
    let (ask, tell) = rest.split_at_checked(usize::from(*sixteens) * 16).unwrap_or((rest, &[]));
    hop(*choice, ask, tell)
}

/// Target `proxy_answer`: any octets as what came from a home server.
pub fn fuzz_answer(data: &[u8]) {
    let Some(mut at) = Fixture::new(0) else { return };
    let _ = at.ask(&[1, 13, b'f', b'@', b'e', b'x', b'.', b'e', b'x', b'a', b'm', b'p', b'l']);
    while at.proxy.poll_transmit().is_some() {}
    let server = crate::ServerId::at(0);
    at.proxy.handle_answer(Instant::ORIGIN, server, 0, data);
    while let Some(event) = at.proxy.poll_event() {
        assert!(matches!(event, Event::Dropped { .. }), "nobody else has the secret");
    }
}

/// Target `proxy_name`: any octets as a User-Name.
pub fn fuzz_name(data: &[u8]) {
    if let Ok(Some(realm)) = nai::realm(data) {
        assert!(realm.is_ascii() && !realm.is_empty(), "an A-label");
        assert_eq!(nai::canonical(&realm).as_deref(), Ok(&*realm), "it is canonical");
    }
    let mut name = data.to_vec();
    while let Some(next) = nai::undecorated(&name) {
        assert!(next.len() < name.len(), "it comes to an end");
        name = next.into_bytes();
    }
}

struct Fixture {
    proxy: Proxy<()>,
    entropy: Counted,
    nas: SharedSecret,
    home: SharedSecret,
}

impl Fixture {
    /// A proxy that sends everything on; `choice` sets the filters.
    fn new(choice: u8) -> Option<Self> {
        let secret = |text: &str| SharedSecret::new(&Secret::new(text)).ok();
        let (nas, home) = (secret("between the NAS and us")?, secret("between us and home")?);
        let mut table = Table::new();
        let server = table.server(HomeServer::datagram("home", home.clone()));
        let pool = table.pool(Pool::new("home", [server])).ok()?;
        let mut route = Route::to(pool);
        if choice & 0x10 != 0 {
            route.answers = Filter::all_but([]);
            route.requests = Filter::all_but([]);
        }
        let target = Target::from(route);
        for pattern in ["DEFAULT", "NULL"] {
            table.route(pattern.parse().ok()?, target.clone()).ok()?;
        }
        let operator = OperatorName::realm("homeward.example").ok();
        let salted = [(9, 200)].into();
        let settings = Settings { operator, salted, ..Settings::default() };
        let key = Key::new(&Secret::new([7; 32]));
        Some(Self { proxy: Proxy::new(settings, key, table), entropy: Counted(1), nas, home })
    }

    /// Has a request with these attributes forwarded, if it can be.
    fn ask(&mut self, attributes: &[u8]) -> Option<Vec<u8>> {
        let mut octets = Vec::new();
        let mut request = Builder::request(&mut octets, &self.nas, Code::AccessRequest, 1, [9; 16]);
        request.encoded(0, attributes).ok()?;
        request.finish();
        let packet = Packet::decode(&octets).ok()?;
        let source = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
        let asker = Asker { client: 1, source, secret: &self.nas };
        let now = Instant::ORIGIN;
        match self.proxy.request(now, &mut self.entropy, &asker, &packet, ()) {
            Routed::Forwarded => Some(octets),
            _ => None,
        }
    }
}

fn hop(choice: u8, ask: &[u8], tell: &[u8]) -> Option<&'static str> {
    let mut at = Fixture::new(choice)?;
    let asked = at.ask(ask)?;
    let asked = Packet::decode(&asked).ok()?;
    let sent = at.proxy.poll_transmit();
    assert!(sent.is_some(), "what is forwarded is sent");
    let sent = sent?;
    let onward = Packet::decode(&sent.payload);
    assert!(onward.is_ok(), "what is sent is a packet");
    let onward = onward.ok()?;
    assert!(at.home.verify_request(&onward).is_ok(), "and signed");
    let mut states: Vec<&[u8]> = onward.find_all(PROXY_STATE).collect();
    assert!(states.pop().is_some_and(|ours| ours.len() == 16), "ours is last");
    assert!(states.iter().copied().eq(asked.find_all(PROXY_STATE)), "others' are as they were");

    let code = *CODES.get(usize::from(choice & 3))?;
    let (id, authenticator) = (onward.identifier(), onward.authenticator());
    let mut octets = Vec::new();
    let mut answer = Builder::answer(&mut octets, &at.home, code, id, authenticator, 1);
    if choice & 0x20 != 0 {
        answer.vendor_salted(311, 17, &[1; 32]).ok()?;
        answer.tunnel_password(1, b"passphrase").ok()?;
    }
    answer.encoded(0, tell).ok()?;
    answer.finish();
    at.proxy.handle_answer(Instant::ORIGIN, sent.server, sent.lane, &octets);
    let came_to = match at.proxy.poll_event()? {
        Event::Answered { answer, .. } => {
            let mut out = Vec::new();
            let authenticator = asked.authenticator();
            let mut back = Builder::answer(&mut out, &at.nas, answer.code(), 1, authenticator, 1);
            assert!(answer.write_to(&mut back).is_ok(), "what was taken can be passed on");
            back.finish();
            let back = Packet::decode(&out);
            assert!(back.is_ok_and(|back| back.find(PROXY_STATE).is_none()), "ours stays here");
            "answered"
        }
        Event::Rejected { .. } => "rejected",
        Event::Dropped { .. } => "dropped",
        other => panic!("{other:?}"),
    };
    assert_eq!(at.proxy.outstanding() == 0, came_to != "dropped", "an outcome ends it");
    Some(came_to)
}
