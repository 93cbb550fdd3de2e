//! The same requests to us and to FreeRADIUS, which has the same users, get the same verdicts:
//! ten thousand by PAP and CHAP, right and wrong, in any order of attributes, and malformed.
//!
//! Where RFCs leave room the two differ, and nothing of it is asked here: of a password with a
//! NUL in it FreeRADIUS sees what precedes it; a request with no proof, with two, or with a name
//! that is not UTF-8, it rejects or takes its pick, while we are silent; it counts attributes of
//! no length as malformed only where it needs them.

pub(crate) mod peer;
pub(crate) mod requests;

use std::collections::BTreeMap;
use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use homeward_daemon::SystemClock;
use homeward_eap::testing::Counted;
use homeward_model::{Clock, Instant, Secret};
use homeward_radius::{Code, Packet, SharedSecret};

use crate::core::{Core, SECRET};
use peer::FreeRadius;
use requests::Request;

/// The same requests come of the same seed; another is tried with `HOMEWARD_SEED`.
const SEED: u64 = 20_260_701;
const REQUESTS: usize = 10_000;
/// Requests of one source port: an identifier for each, so that a late answer is known.
const PORT: usize = 250;
/// Requests under way at each source port.
const WINDOW: usize = 12;
/// After so long without an answer a request is sent again, as a NAS does: a server with too much
/// to do at once answers the repeated one.
const REPEAT: Duration = Duration::from_millis(500);
/// After so long without an answer there is none.
const PATIENCE: Duration = Duration::from_secs(10);

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Verdict {
    Accept,
    Reject,
    Silence,
}

#[test]
fn the_same_requests_get_the_same_verdicts_from_us_and_from_freeradius() {
    let seed = std::env::var("HOMEWARD_SEED").map_or(SEED, |seed| seed.parse().unwrap());
    println!("seed {seed}");
    // FreeRADIUS has no limits of this kind.
    let core = Core::start_with("wrong_tries = 0\nwrong_tries_of_all = 0\nlogins_per_second = 0\n");
    let users = requests::users(&core);
    let peer = FreeRadius::start(&users);
    let secret = SharedSecret::new(&Secret::new(SECRET)).unwrap();
    let mut entropy = Counted(seed);
    let requests: Vec<Request> = (0..REQUESTS)
        .map(|n| {
            let (id, last) = (n % PORT, n % PORT == PORT - 1);
            requests::make((u8::try_from(id).unwrap(), last), &users, &secret, &mut entropy)
        })
        .collect();
    let ours = ask(core.address.parse().unwrap(), &requests, &secret);
    let theirs = ask(peer.address, &requests, &secret);
    let mut counts = BTreeMap::new();
    let mut differ = Vec::new();
    for ((request, ours), theirs) in requests.iter().zip(&ours).zip(&theirs) {
        *counts.entry(*ours).or_insert(0) += 1;
        if ours != theirs {
            differ.push(format!("{}: we {ours:?}, FreeRADIUS {theirs:?}", request.what));
        }
        if request.malformed {
            assert_eq!(*ours, Verdict::Silence, "{}", request.what);
        }
    }
    println!("{counts:?}");
    let some = differ.iter().take(20).cloned().collect::<Vec<_>>().join("\n");
    assert!(differ.is_empty(), "{} of {REQUESTS} differ, seed {seed}:\n{some}", differ.len());
    for verdict in [Verdict::Accept, Verdict::Reject, Verdict::Silence] {
        let count = counts.get(&verdict).copied().unwrap_or(0);
        assert!(count > REQUESTS / 20, "of each kind there are many: {counts:?}");
    }
}

/// What became of a request.
#[derive(Clone, Copy)]
enum Fate {
    Waits,
    Sent { first: Instant, last: Instant },
    Over(Verdict),
}

/// Sends them all, many at a time; the verdicts in order. What is malformed is not waited for:
/// the last request of each source port is sound, and when that was answered, so were all.
fn ask(server: SocketAddr, requests: &[Request], secret: &SharedSecret) -> Vec<Verdict> {
    let mut lanes: Vec<Lane<'_>> =
        requests.chunks(PORT).map(|requests| Lane::new(server, requests)).collect();
    while lanes.iter().any(|lane| !lane.is_over()) {
        for lane in &mut lanes {
            lane.send();
            lane.receive(secret);
        }
    }
    lanes.iter().flat_map(Lane::verdicts).collect()
}

/// A source port.
struct Lane<'r> {
    socket: UdpSocket,
    requests: &'r [Request],
    fates: Vec<Fate>,
}

impl<'r> Lane<'r> {
    fn new(server: SocketAddr, requests: &'r [Request]) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.connect(server).unwrap();
        // Long enough not to spin, short enough not to matter.
        socket.set_read_timeout(Some(Duration::from_millis(1))).unwrap();
        Self { socket, requests, fates: vec![Fate::Waits; requests.len()] }
    }

    fn under_way(&self) -> usize {
        let sent = |(fate, request): &(&Fate, &Request)| {
            matches!(fate, Fate::Sent { .. }) && !request.malformed
        };
        self.fates.iter().zip(self.requests).filter(sent).count()
    }

    fn is_over(&self) -> bool {
        !self.fates.iter().any(|fate| matches!(fate, Fate::Waits)) && self.under_way() == 0
    }

    fn send(&mut self) {
        let now = SystemClock.now();
        for (fate, request) in self.fates.iter_mut().zip(self.requests) {
            let Fate::Sent { first, last } = fate else { continue };
            if now.since(*first) > PATIENCE {
                *fate = Fate::Over(Verdict::Silence);
            } else if now.since(*last) > REPEAT && !request.malformed {
                self.socket.send(&request.octets).unwrap();
                *last = now;
            }
        }
        for at in 0..self.fates.len() {
            if self.under_way() == WINDOW {
                break;
            }
            if matches!(self.fates[at], Fate::Waits) {
                self.socket.send(&self.requests[at].octets).unwrap();
                self.fates[at] = Fate::Sent { first: now, last: now };
            }
        }
    }

    fn receive(&mut self, secret: &SharedSecret) {
        let mut room = [0; 4096];
        while let Ok(len) = self.socket.recv(&mut room) {
            let answer = Packet::decode(&room[..len]).unwrap();
            let at = usize::from(answer.identifier());
            let request = &self.requests[at];
            secret.verify_answer(&answer, &request.authenticator).unwrap();
            let verdict = match answer.code() {
                Code::AccessAccept => Verdict::Accept,
                Code::AccessReject => Verdict::Reject,
                code => panic!("{}: {code}", request.what),
            };
            self.fates[at] = Fate::Over(verdict);
        }
    }

    fn verdicts(&self) -> impl Iterator<Item = Verdict> {
        self.fates.iter().map(|fate| match fate {
            Fate::Over(verdict) => *verdict,
            Fate::Waits | Fate::Sent { .. } => Verdict::Silence,
        })
    }
}
