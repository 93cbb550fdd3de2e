//! A load generator: look-ups and log-ins by PAP, so many outstanding at a time, each checked.

use std::io::{IoSlice, IoSliceMut};
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use homeward_daemon::{SystemClock, SystemEntropy};
use homeward_model::{Clock, Entropy, LookupForm, Secret};
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
}

impl Ask {
    /// Writes the `n`th question: neighbours in time are none in memory.
    fn write(self, n: u32, packet: &mut Builder<'_>) -> Result<()> {
        let n = n.wrapping_mul(0x9e37_79b1);
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
        }
        Ok(())
    }
}

/// What a run came to.
pub(crate) struct Outcome {
    pub(crate) answers: u64,
    pub(crate) span: Duration,
}

/// Asks `server` for `span`. Every answer must be an Accept; of one in eight the authenticator is
/// checked, so that the generator leaves the server as much of the machine as it can.
pub(crate) fn run(server: SocketAddr, ask: Ask, span: Duration) -> Result<Outcome> {
    let secret = SharedSecret::new(&Secret::new(SECRET))?;
    let mut entropy = SystemEntropy::new();
    let mut lanes = Vec::new();
    for _ in 0..SOCKETS {
        let socket = UdpSocket::bind("127.0.0.1:0")?;
        socket.connect(server)?;
        socket.set_read_timeout(Some(Duration::from_secs(1)))?;
        lanes.push(Lane::new(socket));
    }
    let mut next = 0u32;
    let mut fresh = |lane: &mut Lane, ids: &[u8]| -> Result<()> {
        for id in ids {
            lane.write(*id, (ask, next), &secret, &mut entropy)?;
            next = next.wrapping_add(1);
        }
        lane.send(ids)
    };
    let began = SystemClock.now();
    let mut answers = 0u64;
    let all: Vec<u8> = (0..WINDOW).collect();
    for lane in &mut lanes {
        fresh(lane, &all)?;
    }
    loop {
        for lane in &mut lanes {
            // What is there, and at least one.
            let ids = lane.receive(&secret)?;
            answers += ids.len() as u64;
            fresh(lane, &ids)?;
        }
        let elapsed = SystemClock.now().since(began);
        if elapsed >= span {
            return Ok(Outcome { answers, span: elapsed });
        }
    }
}

/// A source port, and what is outstanding on it.
struct Lane {
    socket: UdpSocket,
    headers: MultiHeaders<SockaddrStorage>,
    authenticators: [[u8; 16]; WINDOW as usize],
    packets: [Vec<u8>; WINDOW as usize],
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
        let authenticator = entropy.octets();
        let mut builder = Builder::request(packet, secret, Code::AccessRequest, id, authenticator);
        ask.write(n, &mut builder)?;
        builder.finish();
        *self.authenticators.get_mut(at).context("no such identifier")? = authenticator;
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
        Ok(())
    }

    /// Waits for an answer, and takes what others there are; their identifiers.
    fn receive(&mut self, secret: &SharedSecret) -> Result<Vec<u8>> {
        let mut rooms = self.room.chunks_exact_mut(ROOM);
        let mut slices: [[IoSliceMut<'_>; 1]; WINDOW as usize] =
            std::array::from_fn(|_| [IoSliceMut::new(rooms.next().unwrap_or_default())]);
        let fd = self.socket.as_raw_fd();
        let flags = MsgFlags::MSG_WAITFORONE;
        let batch = recvmmsg(fd, &mut self.headers, slices.iter_mut(), flags, None)
            .context("a request was not answered within 1 s")?;
        let mut ids = Vec::new();
        for message in batch {
            let answer = Packet::decode(message.iovs().next().unwrap_or_default())?;
            let (id, code) = (answer.identifier(), answer.code());
            ensure!(code == Code::AccessAccept, "a request was answered with {code}");
            let authenticator =
                self.authenticators.get(usize::from(id)).context("an identifier nobody used")?;
            if authenticator[0].is_multiple_of(8) {
                secret.verify_answer(&answer, authenticator)?;
            }
            ids.push(id);
        }
        Ok(ids)
    }
}
