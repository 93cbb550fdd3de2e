//! A load generator of log-ins by EAP: several hundred at a time, spread over source ports, each
//! by a peer of its own that checks what it is told and what keys the access point would get.

use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use homeward_daemon::{SystemClock, SystemEntropy};
use homeward_eap::Method;
use homeward_eap::pki_types::CertificateDer;
use homeward_eap::testing::peer::rustls::client::Resumption;
use homeward_eap::testing::peer::rustls::crypto::ring;
use homeward_eap::testing::peer::rustls::{
    ClientConfig, RootCertStore, SupportedProtocolVersion, crypto::CryptoProvider, version,
};
use homeward_eap::testing::peer::{Binding, Device, Odd, Peer, Within};
use homeward_model::{Clock, Entropy, Instant, Secret};
use homeward_radius::dictionary::{microsoft, standard};
use homeward_radius::hide::open_salted;
use homeward_radius::{Builder, Code, Packet, SharedSecret};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::population::{Population, login, password};
use crate::world::{GATEWAY, SECRET};

/// Source ports, and log-ins under way at each.
const LANES: usize = 32;
const SLOTS: usize = 8;
/// Identifiers of each.
const IDS: u8 = (256 / SLOTS) as u8;
/// How long an answer may take, and how often one is asked for again.
const PATIENCE: Duration = Duration::from_secs(1);
const TRIES: u32 = 6;

/// Log-ins under way at a time.
pub(crate) const AT_A_TIME: usize = LANES * SLOTS;

/// The server's name in its certificate.
pub(crate) const SERVER: &str = "eap.example.net";

/// What is spoken.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Spoken {
    pub(crate) method: Method,
    pub(crate) within: Within,
    pub(crate) tls: &'static SupportedProtocolVersion,
}

/// What a run came to.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) log_ins: u32,
    /// Those that went on with a session from before.
    pub(crate) resumed: u32,
    /// Requests that were sent again.
    pub(crate) again: u32,
}

/// The devices that log in.
pub(crate) struct EapLoad {
    peers: Vec<Peer>,
    secret: SharedSecret,
}

impl EapLoad {
    /// Devices that speak so and trust that certificate; those that resume keep their sessions
    /// from run to run.
    pub(crate) fn new(
        population: Population,
        certificate: &CertificateDer<'static>,
        spoken: Spoken,
        resume: bool,
    ) -> Result<Self> {
        let mut peers = Vec::new();
        for n in 0..u32::try_from(AT_A_TIME)? {
            let n = n % population.logins;
            peers.push(Peer {
                method: spoken.method,
                within: spoken.within,
                outer: "anonymous@example.net".to_owned(),
                identity: login(n),
                domain: "",
                password: password(n),
                server: SERVER,
                fragment: 1000,
                binding: Binding::Answered,
                eager: false,
                repeats: false,
                believes: true,
                odd: Odd::Nothing,
                tls: tls(certificate, spoken.tls, resume)?,
            });
        }
        Ok(Self { peers, secret: SharedSecret::new(&Secret::new(SECRET))? })
    }

    /// Logs one device in.
    pub(crate) fn warm_up(&self, server: SocketAddr) -> Result<()> {
        let peers = self.peers.get(..1).unwrap_or_default();
        Run::new(self, peers, server, 1)?.go().map(drop)
    }

    /// Logs every device in so many times.
    pub(crate) fn run(&self, server: SocketAddr, times: u32) -> Result<Outcome> {
        Run::new(self, &self.peers, server, times)?.go()
    }
}

/// A device's side of TLS, which leaves the server no choice: so both are measured with the same.
fn tls(
    certificate: &CertificateDer<'static>,
    version: &'static SupportedProtocolVersion,
    resume: bool,
) -> Result<Arc<ClientConfig>> {
    let provider = CryptoProvider {
        cipher_suites: vec![
            ring::cipher_suite::TLS13_AES_128_GCM_SHA256,
            ring::cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
        ],
        // The second is for the certificate: OpenSSL wants its curve to be known.
        kx_groups: vec![ring::kx_group::X25519, ring::kx_group::SECP256R1],
        ..ring::default_provider()
    };
    let mut roots = RootCertStore::empty();
    roots.add(certificate.clone())?;
    let mut config = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[version])?
        .with_root_certificates(roots)
        .with_no_client_auth();
    if !resume {
        config.resumption = Resumption::disabled();
    }
    Ok(Arc::new(config))
}

/// TLS 1.2 and 1.3.
pub(crate) const VERSIONS: [(&str, &SupportedProtocolVersion); 2] =
    [("tls1.2", &version::TLS12), ("tls1.3", &version::TLS13)];

/// A run: what is under way at each source port.
struct Run<'p> {
    secret: &'p SharedSecret,
    entropy: SystemEntropy,
    lanes: Vec<(UdpSocket, Vec<Slot<'p>>)>,
    outcome: Outcome,
}

/// A device that logs in again and again.
struct Slot<'p> {
    peer: &'p Peer,
    device: Option<Device<'p>>,
    state: Vec<u8>,
    /// Its first identifier, and how many it has used.
    first: u8,
    used: u8,
    authenticator: [u8; 16],
    packet: Vec<u8>,
    sent: Instant,
    tries: u32,
    /// Log-ins still to come.
    left: u32,
}

impl<'p> Run<'p> {
    fn new(load: &'p EapLoad, peers: &'p [Peer], server: SocketAddr, times: u32) -> Result<Self> {
        let mut lanes = Vec::new();
        for peers in peers.chunks(SLOTS) {
            let socket = UdpSocket::bind("127.0.0.1:0")?;
            socket.connect(server)?;
            socket.set_nonblocking(true)?;
            let slot = |(n, peer): (u8, &'p Peer)| Slot {
                peer,
                device: None,
                state: Vec::new(),
                first: n * IDS,
                used: 0,
                authenticator: [0; 16],
                packet: Vec::new(),
                sent: Instant::ORIGIN,
                tries: 0,
                left: times,
            };
            lanes.push((socket, (0u8..).zip(peers).map(slot).collect()));
        }
        let entropy = SystemEntropy::new();
        let outcome = Outcome { log_ins: 0, resumed: 0, again: 0 };
        Ok(Self { secret: &load.secret, entropy, lanes, outcome })
    }

    fn go(mut self) -> Result<Outcome> {
        let (secret, entropy) = (self.secret, &mut self.entropy);
        for (socket, slots) in &mut self.lanes {
            for slot in slots {
                slot.begin(socket, secret, entropy)?;
            }
        }
        let mut room = [0u8; 4096];
        let mut checked = SystemClock.now();
        loop {
            let mut idle = true;
            for (socket, slots) in &mut self.lanes {
                while let Ok(len) = socket.recv(&mut room) {
                    idle = false;
                    let answer = Packet::decode(room.get(..len).unwrap_or_default())?;
                    let at = usize::from(answer.identifier() / IDS);
                    let slot = slots.get_mut(at).context("an identifier nobody used")?;
                    if let Some(resumed) = slot.take(socket, &answer, secret, entropy)? {
                        self.outcome.log_ins += 1;
                        self.outcome.resumed += u32::from(resumed);
                    }
                }
            }
            if self.lanes.iter().all(|(_, slots)| slots.iter().all(|slot| slot.left == 0)) {
                return Ok(self.outcome);
            }
            if idle {
                let mut waits: Vec<_> = self
                    .lanes
                    .iter()
                    .map(|(socket, _)| PollFd::new(socket.as_fd(), PollFlags::POLLIN))
                    .collect();
                poll(&mut waits, PollTimeout::from(100u8))?;
            }
            let now = SystemClock.now();
            if now.since(checked) > PATIENCE / 4 {
                checked = now;
                for (socket, slots) in &mut self.lanes {
                    for slot in slots {
                        self.outcome.again += u32::from(slot.send_again(socket, now)?);
                    }
                }
            }
        }
    }
}

impl<'p> Slot<'p> {
    fn begin(
        &mut self,
        socket: &UdpSocket,
        secret: &SharedSecret,
        entropy: &mut SystemEntropy,
    ) -> Result<()> {
        let device = Device::new(self.peer)?;
        let identity = device.identity();
        self.device = Some(device);
        self.state.clear();
        self.send(socket, &identity, secret, entropy)
    }

    fn identifier(&self) -> u8 {
        self.first + self.used % IDS
    }

    fn send(
        &mut self,
        socket: &UdpSocket,
        eap: &[u8],
        secret: &SharedSecret,
        entropy: &mut SystemEntropy,
    ) -> Result<()> {
        self.used = (self.used + 1) % IDS;
        self.authenticator = entropy.octets();
        let (id, authenticator) = (self.identifier(), self.authenticator);
        let mut packet =
            Builder::request(&mut self.packet, secret, Code::AccessRequest, id, authenticator);
        packet.text(standard::USER_NAME, &self.peer.outer)?;
        packet.text(standard::NAS_IDENTIFIER, GATEWAY)?;
        packet.text(standard::CALLING_STATION_ID, "02-00-5E-20-00-07")?;
        for part in eap.chunks(253) {
            packet.octets(standard::EAP_MESSAGE, part)?;
        }
        if !self.state.is_empty() {
            packet.octets(standard::STATE, &self.state)?;
        }
        packet.finish();
        socket.send(&self.packet)?;
        self.sent = SystemClock.now();
        self.tries = 1;
        Ok(())
    }

    fn send_again(&mut self, socket: &UdpSocket, now: Instant) -> Result<bool> {
        let due = self.left > 0 && now.since(self.sent) > PATIENCE;
        if due {
            ensure!(self.tries < TRIES, "a log-in was not answered");
            socket.send(&self.packet)?;
            self.sent = now;
            self.tries += 1;
        }
        Ok(due)
    }

    /// Takes an answer; if it ended the log-in, whether that went on with a session from before.
    fn take(
        &mut self,
        socket: &UdpSocket,
        answer: &Packet<'_>,
        secret: &SharedSecret,
        entropy: &mut SystemEntropy,
    ) -> Result<Option<bool>> {
        // The second answer to a question that was asked twice.
        if answer.identifier() != self.identifier() || self.left == 0 {
            return Ok(None);
        }
        secret.verify_answer(answer, &self.authenticator)?;
        let device = self.device.as_mut().context("nobody logs in")?;
        match answer.code() {
            Code::AccessChallenge => {
                let eap: Vec<u8> =
                    answer.find_all(standard::EAP_MESSAGE).flatten().copied().collect();
                let response = device.answer(&eap)?;
                self.state = answer.find(standard::STATE).context("no State")?.to_vec();
                self.send(socket, &response, secret, entropy)?;
                Ok(None)
            }
            Code::AccessAccept => {
                let key = answer
                    .find_vendor(microsoft::VENDOR, microsoft::MPPE_RECV_KEY)
                    .context("no keys")?;
                let key = open_salted(secret, &self.authenticator, key)?;
                let msk = device.msk().context("no tunnel")?;
                ensure!(msk.starts_with(key.expose()), "the keys are not the same at both ends");
                let resumed = device.resumed();
                self.left -= 1;
                if self.left > 0 {
                    self.begin(socket, secret, entropy)?;
                }
                Ok(Some(resumed))
            }
            code => bail!("a log-in was answered with {code}"),
        }
    }
}
