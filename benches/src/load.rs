//! A load generator: look-ups, so many outstanding at a time, each checked.

use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use homeward_daemon::{SystemClock, SystemEntropy};
use homeward_model::{Clock, Entropy, LookupForm, Secret};
use homeward_radius::{Builder, Code, LookupRequest, Packet, SharedSecret};

use crate::world::{GATEWAY, SECRET, mac, ssid};

/// Sockets; a server's workers share clients by source port.
const SOCKETS: usize = 8;
/// Outstanding on each.
const WINDOW: u8 = 16;

/// What a run came to.
pub(crate) struct Outcome {
    pub(crate) answers: u64,
    pub(crate) span: Duration,
}

/// Asks `server` about `homes` homes' devices in turn, for `span`. Every answer must be an Accept
/// whose authenticator is right.
pub(crate) fn run(server: SocketAddr, homes: u32, span: Duration) -> Result<Outcome> {
    let secret = SharedSecret::new(&Secret::new(SECRET))?;
    let mut entropy = SystemEntropy::new();
    let mut lanes = Vec::new();
    for _ in 0..SOCKETS {
        let socket = UdpSocket::bind("127.0.0.1:0")?;
        socket.connect(server)?;
        socket.set_read_timeout(Some(Duration::from_secs(1)))?;
        lanes.push(Lane { socket, authenticators: [[0; 16]; WINDOW as usize] });
    }
    let mut next = 0u32;
    let mut packet = Vec::new();
    let began = SystemClock.now();
    let mut answers = 0u64;
    for lane in &mut lanes {
        for id in 0..WINDOW {
            lane.ask(id, next % homes, &secret, &mut entropy, &mut packet)?;
            next += 1;
        }
    }
    let mut room = [0u8; 4096];
    loop {
        for lane in &mut lanes {
            // A batch a socket: what is there, and at least one.
            for _ in 0..WINDOW {
                let len =
                    lane.socket.recv(&mut room).context("a look-up was not answered within 1 s")?;
                let id = lane.check(room.get(..len).unwrap_or_default(), &secret)?;
                answers += 1;
                lane.ask(id, next % homes, &secret, &mut entropy, &mut packet)?;
                next += 1;
            }
        }
        let elapsed = SystemClock.now().since(began);
        if elapsed >= span {
            return Ok(Outcome { answers, span: elapsed });
        }
    }
}

struct Lane {
    socket: UdpSocket,
    authenticators: [[u8; 16]; WINDOW as usize],
}

impl Lane {
    fn ask(
        &mut self,
        id: u8,
        home: u32,
        secret: &SharedSecret,
        entropy: &mut SystemEntropy,
        packet: &mut Vec<u8>,
    ) -> Result<()> {
        let question = LookupRequest {
            mac: mac(home),
            ssid: ssid(home),
            nas_identifier: Some(GATEWAY),
            bssid: None,
            signal: None,
        };
        let authenticator = entropy.octets();
        let mut builder = Builder::request(packet, secret, Code::AccessRequest, id, authenticator);
        question.attributes(LookupForm::Homeward)?.write_to(&mut builder)?;
        builder.finish();
        self.socket.send(packet)?;
        *self.authenticators.get_mut(usize::from(id)).context("no such identifier")? =
            authenticator;
        Ok(())
    }

    fn check(&self, octets: &[u8], secret: &SharedSecret) -> Result<u8> {
        let answer = Packet::decode(octets)?;
        ensure!(
            answer.code() == Code::AccessAccept,
            "a look-up was answered with {}",
            answer.code()
        );
        let id = answer.identifier();
        let authenticator =
            self.authenticators.get(usize::from(id)).context("an identifier nobody used")?;
        secret.verify_answer(&answer, authenticator)?;
        Ok(id)
    }
}
