//! Who asks by RADIUS, one question at a time.

use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use homeward_daemon::{SystemClock, SystemEntropy};
use homeward_model::{Clock, Entropy, Secret};
use homeward_radius::{Builder, Code, Packet, SharedSecret};

use crate::world::SECRET;

const PATIENCE: Duration = Duration::from_secs(5);

pub(crate) struct Asker {
    socket: UdpSocket,
    secret: SharedSecret,
    entropy: SystemEntropy,
    packet: Vec<u8>,
    id: u8,
}

impl Asker {
    pub(crate) fn new(to: SocketAddr) -> Result<Self> {
        let socket = UdpSocket::bind("127.0.0.1:0")?;
        socket.connect(to)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        let (secret, entropy) = (SharedSecret::new(&Secret::new(SECRET))?, SystemEntropy::new());
        Ok(Self { socket, secret, entropy, packet: Vec::new(), id: 0 })
    }

    /// Asks what `write` writes, which is to be answered as `wanted`; how long the answer took.
    pub(crate) fn ask(
        &mut self,
        code: Code,
        wanted: Code,
        write: impl FnOnce(&mut Builder<'_>) -> Result<()>,
    ) -> Result<Duration> {
        self.id = self.id.wrapping_add(1);
        let authenticator = self.entropy.octets();
        let mut builder =
            Builder::request(&mut self.packet, &self.secret, code, self.id, authenticator);
        write(&mut builder)?;
        builder.finish();
        let mut room = [0; 4096];
        let sent = SystemClock.now();
        self.socket.send(&self.packet)?;
        let octets = self.socket.recv(&mut room).context("not answered within 5 s")?;
        let took = SystemClock.now().since(sent);
        let answer = Packet::decode(room.get(..octets).unwrap_or_default())?;
        ensure!(answer.identifier() == self.id, "the answer to another question");
        ensure!(answer.code() == wanted, "answered with {}", answer.code());
        Ok(took)
    }
}
