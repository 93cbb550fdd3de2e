//! A load generator: look-ups, log-ins by PAP and accounting records, so many outstanding at a time,
//! each checked.

use std::io::{IoSlice, IoSliceMut};
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use homeward_daemon::{SystemClock, SystemEntropy};
use homeward_model::{Clock, Entropy, Instant, LookupForm, Secret};
use homeward_radius::dictionary::standard;
use homeward_radius::{Builder, Code, LookupRequest, Packet, SharedSecret};
use nix::sys::socket::{MsgFlags, MultiHeaders, SockaddrStorage, recvmmsg, sendmmsg};

use crate::population::{Population, login, password};
use crate::world::{GATEWAY, SECRET};

/// Sockets; a server's workers share clients by source port.
const SOCKETS: usize = 8;
/// Outstanding on each.
const WINDOW: u8 = 16;

/// What is asked.
#[derive(Clone, Copy)]
pub(crate) enum Ask {
    /// Look-ups of its devices in turn.
    LookUps(Population),
    /// Its log-ins in turn, by PAP.
    LogIns(Population),
    /// Interim records of its log-ins, so many sessions in turn, with counters that grow.
    Records(Population),
}

/// Sessions that records are of.
const SESSIONS: u32 = 20_000;

impl Ask {
    /// What it is asked by, and what it is to be answered by.
    const fn codes(self) -> (Code, Code) {
        match self {
            Self::LookUps(_) | Self::LogIns(_) => (Code::AccessRequest, Code::AccessAccept),
            Self::Records(_) => (Code::AccountingRequest, Code::AccountingResponse),
        }
    }

    /// Writes the `n`th question: neighbours in time are none in memory.
    fn write(self, n: u32, packet: &mut Builder<'_>) -> Result<()> {
        let turn = n / SESSIONS;
        let n = match self {
            // Each session once a turn.
            Self::Records(_) => (n % SESSIONS) * 7919 % SESSIONS,
            _ => n.wrapping_mul(0x9e37_79b1),
        };
        match self {
            Self::LookUps(population) => {
                let (mac, ssid) = population.device(n);
                let question = LookupRequest {
                    mac,
                    ssid,
                    nas_identifier: Some(GATEWAY),
                    bssid: None,
                    signal: None,
                };
                question.attributes(LookupForm::Homeward)?.write_to(packet)?;
            }
            Self::LogIns(population) => {
                let n = n % population.logins;
                packet.text(standard::USER_NAME, &login(n))?;
                packet.user_password(password(n).as_bytes())?;
                packet.text(standard::NAS_IDENTIFIER, GATEWAY)?;
                packet.text(standard::CALLING_STATION_ID, "02-00-5E-20-00-07")?;
            }
            Self::Records(population) => {
                packet.integer(standard::ACCT_STATUS_TYPE, INTERIM_UPDATE)?;
                packet.text(standard::ACCT_SESSION_ID, &format!("5F00{n:08X}"))?;
                packet.text(standard::USER_NAME, &login(n % population.logins))?;
                packet.text(standard::NAS_IDENTIFIER, GATEWAY)?;
                packet.ipv4(standard::NAS_IP_ADDRESS, Ipv4Addr::LOCALHOST)?;
                packet.text(standard::CALLING_STATION_ID, &format!("02-00-{}", octets(n)))?;
                packet.integer(standard::ACCT_SESSION_TIME, 60 * (turn + 1))?;
                packet.integer(standard::ACCT_INPUT_OCTETS, 1000 * (turn + 1))?;
                packet.integer(standard::ACCT_OUTPUT_OCTETS, 9000 * (turn + 1))?;
            }
        }
        Ok(())
    }
}

/// Acct-Status-Type "Interim-Update" (RFC 2866 5.1).
const INTERIM_UPDATE: u32 = 3;

/// A number in hexadecimal, as the end of a MAC has it.
fn octets(n: u32) -> String {
    let [a, b, c, d] = n.to_be_bytes();
    format!("{a:02X}-{b:02X}-{c:02X}-{d:02X}")
}

/// What a run came to.
pub(crate) struct Outcome {
    pub(crate) answers: u64,
    pub(crate) span: Duration,
    /// How long each answer took, in ms.
    pub(crate) waits: Vec<f64>,
}

/// Asks `server` for `span`. Every answer must say yes; of one in eight the authenticator is
/// checked, so that the generator leaves the server as much of the machine as it can.
pub(crate) fn run(server: SocketAddr, ask: Ask, span: Duration) -> Result<Outcome> {
    run_on(server, ask, span, &mut 0)
}

/// The same, going on with the question of that number.
pub(crate) fn run_on(
    server: SocketAddr,
    ask: Ask,
    span: Duration,
    next: &mut u32,
) -> Result<Outcome> {
    let secret = SharedSecret::new(&Secret::new(SECRET))?;
    let mut entropy = SystemEntropy::new();
    let mut lanes = Vec::new();
    for _ in 0..SOCKETS {
        let socket = UdpSocket::bind("127.0.0.1:0")?;
        socket.connect(server)?;
        socket.set_read_timeout(Some(Duration::from_secs(1)))?;
        lanes.push(Lane::new(socket));
    }
    let mut fresh = |lane: &mut Lane, ids: &[u8]| -> Result<()> {
        for id in ids {
            lane.write(*id, (ask, *next), &secret, &mut entropy)?;
            *next = next.wrapping_add(1);
        }
        lane.send(ids)
    };
    let began = SystemClock.now();
    let (mut answers, mut waits) = (0u64, Vec::new());
    let all: Vec<u8> = (0..WINDOW).collect();
    for lane in &mut lanes {
        fresh(lane, &all)?;
    }
    loop {
        for lane in &mut lanes {
            // What is there, and at least one.
            let ids = lane.receive(&secret, ask, &mut waits)?;
            answers += ids.len() as u64;
            fresh(lane, &ids)?;
        }
        let elapsed = SystemClock.now().since(began);
        if elapsed >= span {
            return Ok(Outcome { answers, span: elapsed, waits });
        }
    }
}

/// A source port, and what is outstanding on it.
struct Lane {
    socket: UdpSocket,
    headers: MultiHeaders<SockaddrStorage>,
    authenticators: [[u8; 16]; WINDOW as usize],
    packets: [Vec<u8>; WINDOW as usize],
    /// When each was sent.
    sent: [Instant; WINDOW as usize],
    room: Vec<u8>,
}

/// Octets of the longest answer.
const ROOM: usize = 1024;

impl Lane {
    fn new(socket: UdpSocket) -> Self {
        Self {
            socket,
            headers: MultiHeaders::preallocate(usize::from(WINDOW), None),
            authenticators: [[0; 16]; WINDOW as usize],
            packets: Default::default(),
            sent: [Instant::ORIGIN; WINDOW as usize],
            room: vec![0; ROOM * usize::from(WINDOW)],
        }
    }

    fn write(
        &mut self,
        id: u8,
        (ask, n): (Ask, u32),
        secret: &SharedSecret,
        entropy: &mut SystemEntropy,
    ) -> Result<()> {
        let at = usize::from(id);
        let packet = self.packets.get_mut(at).context("no such identifier")?;
        let (code, _) = ask.codes();
        let mut builder = Builder::request(packet, secret, code, id, entropy.octets());
        ask.write(n, &mut builder)?;
        builder.finish();
        // Of a record it is a digest, known only now.
        let written = packet.get(4..20).and_then(|octets| octets.try_into().ok());
        *self.authenticators.get_mut(at).context("no such identifier")? =
            written.context("a request without a header")?;
        Ok(())
    }

    fn send(&mut self, ids: &[u8]) -> Result<()> {
        let slices: Vec<[IoSlice<'_>; 1]> = ids
            .iter()
            .filter_map(|id| Some([IoSlice::new(self.packets.get(usize::from(*id))?)]))
            .collect();
        let targets: Vec<Option<SockaddrStorage>> = vec![None; slices.len()];
        let fd = self.socket.as_raw_fd();
        let sent = sendmmsg(fd, &mut self.headers, &slices, &targets, [], MsgFlags::empty())?;
        ensure!(sent.count() == ids.len(), "requests could not be sent");
        let now = SystemClock.now();
        for id in ids {
            *self.sent.get_mut(usize::from(*id)).context("no such identifier")? = now;
        }
        Ok(())
    }

    /// Waits for an answer, and takes what others there are; their identifiers.
    fn receive(
        &mut self,
        secret: &SharedSecret,
        ask: Ask,
        waits: &mut Vec<f64>,
    ) -> Result<Vec<u8>> {
        let mut rooms = self.room.chunks_exact_mut(ROOM);
        let mut slices: [[IoSliceMut<'_>; 1]; WINDOW as usize] =
            std::array::from_fn(|_| [IoSliceMut::new(rooms.next().unwrap_or_default())]);
        let fd = self.socket.as_raw_fd();
        let flags = MsgFlags::MSG_WAITFORONE;
        let batch = recvmmsg(fd, &mut self.headers, slices.iter_mut(), flags, None)
            .context("a request was not answered within 1 s")?;
        let (now, (_, yes)) = (SystemClock.now(), ask.codes());
        let mut ids = Vec::new();
        for message in batch {
            let answer = Packet::decode(message.iovs().next().unwrap_or_default())?;
            let (id, code) = (answer.identifier(), answer.code());
            ensure!(code == yes, "a request was answered with {code}");
            let authenticator =
                self.authenticators.get(usize::from(id)).context("an identifier nobody used")?;
            if authenticator[0].is_multiple_of(8) {
                secret.verify_answer(&answer, authenticator)?;
            }
            let sent = self.sent.get(usize::from(id)).context("an identifier nobody used")?;
            waits.push(now.since(*sent).as_secs_f64() * 1e3);
            ids.push(id);
        }
        Ok(ids)
    }
}
