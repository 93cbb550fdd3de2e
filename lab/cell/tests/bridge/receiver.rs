//! Somebody who is told, and who can be hard of hearing.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Result, bail};
use homeward_cell::Sim;
use homeward_model::{Imei, Imsi, Msisdn, Secret};
use homeward_net::Namespace;
use homeward_net::wait::wait_for;
use homeward_radius::dictionary::{standard, threegpp};
use homeward_radius::{Builder, Code, Packet, SharedSecret};

/// Acct-Status-Type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Status {
    Start,
    Stop,
    Interim,
    On,
    Off,
}

/// A report as it was read.
#[derive(Debug, Clone)]
pub(crate) struct Heard {
    pub(crate) status: Status,
    pub(crate) address: Option<Ipv4Addr>,
    pub(crate) imsi: Option<Imsi>,
    pub(crate) imei: Option<Imei>,
    pub(crate) msisdn: Option<Msisdn>,
}

#[derive(Debug, Default)]
struct State {
    /// Each report once, in the order in which they were first heard.
    heard: Vec<Heard>,
    live: BTreeMap<Ipv4Addr, Imsi>,
    /// How often each datagram came from each port: a request is known by both (RFC 5080 2.2.2).
    copies: BTreeMap<(SocketAddr, Vec<u8>), u32>,
    refused: usize,
}

/// Receives until dropped.
pub(crate) struct Receiver {
    state: Arc<Mutex<State>>,
    stop: Arc<AtomicBool>,
    deaf: Arc<AtomicBool>,
}

impl Receiver {
    pub(crate) fn start(namespace: &Namespace, at: SocketAddr, secret: &str) -> Result<Self> {
        Self::start_slow(namespace, at, secret, 1)
    }

    /// Answers each datagram from the `nth` copy on.
    pub(crate) fn start_slow(
        namespace: &Namespace,
        at: SocketAddr,
        secret: &str,
        nth: u32,
    ) -> Result<Self> {
        let socket = namespace.enter(|| Ok(UdpSocket::bind(at)?))?;
        socket.set_read_timeout(Some(Duration::from_millis(20)))?;
        let secret = SharedSecret::new(&Secret::new(secret.as_bytes().to_vec()))?;
        let receiver = Self { state: Arc::default(), stop: Arc::default(), deaf: Arc::default() };
        let (state, stop) = (Arc::clone(&receiver.state), Arc::clone(&receiver.stop));
        let deaf = Arc::clone(&receiver.deaf);
        std::thread::spawn(move || {
            let mut room = [0; 4096];
            while !stop.load(Ordering::Relaxed) {
                let Ok((length, from)) = socket.recv_from(&mut room) else { continue };
                if deaf.load(Ordering::Relaxed) {
                    continue;
                }
                let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
                if let Some(answer) = state.take(from, &room[..length], &secret, nth) {
                    socket.send_to(&answer, from).unwrap();
                }
            }
        });
        Ok(receiver)
    }

    /// Whether it takes no notice of anything.
    pub(crate) fn set_deaf(&self, deaf: bool) {
        self.deaf.store(deaf, Ordering::Relaxed);
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn heard(&self) -> Vec<Heard> {
        self.state().heard.clone()
    }

    /// Whose each address is, by what was heard.
    pub(crate) fn live(&self) -> BTreeMap<Ipv4Addr, Imsi> {
        self.state().live.clone()
    }

    /// How many datagrams came that had come before.
    pub(crate) fn repeated(&self) -> u32 {
        self.state().copies.values().map(|copies| copies - 1).sum()
    }

    /// How many datagrams were not authentic.
    pub(crate) fn refused(&self) -> usize {
        self.state().refused
    }

    pub(crate) async fn hears(&self, status: Status, limit: Duration) -> Result<Heard> {
        wait_for(&format!("{status:?}"), limit, async || {
            Ok(self.heard().into_iter().find(|report| report.status == status))
        })
        .await
    }

    /// Waits until the live bearers are these.
    pub(crate) async fn live_is(&self, these: &[(Ipv4Addr, Sim)], limit: Duration) -> Result<()> {
        let these: BTreeMap<_, _> = these.iter().map(|(a, sim)| (*a, sim.imsi)).collect();
        let last = wait_for("bearers as they should be", limit, async || {
            Ok((self.live() == these).then_some(()))
        });
        match last.await {
            Ok(()) => Ok(()),
            Err(error) => bail!("{error:#}: {:?} in the place of {these:?}", self.live()),
        }
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

impl State {
    /// Takes a datagram; returns the answer, if it is answered.
    fn take(
        &mut self,
        from: SocketAddr,
        datagram: &[u8],
        secret: &SharedSecret,
        nth: u32,
    ) -> Option<Vec<u8>> {
        let packet = Packet::decode(datagram).expect("a malformed report");
        if secret.verify_request(&packet).is_err() {
            self.refused += 1;
            return None;
        }
        assert_eq!(packet.code(), Code::AccountingRequest);
        let copies = self.copies.entry((from, datagram.to_vec())).or_default();
        *copies += 1;
        let copies = *copies;
        if copies == 1 {
            self.hear(&packet);
        }
        if copies < nth {
            return None;
        }
        let mut answer = Vec::new();
        let (code, id) = (Code::AccountingResponse, packet.identifier());
        Builder::answer(&mut answer, secret, code, id, packet.authenticator(), 0).finish();
        Some(answer)
    }

    fn hear(&mut self, packet: &Packet<'_>) {
        fn word<T: std::str::FromStr>(value: Option<&[u8]>) -> Option<T> {
            std::str::from_utf8(value?).ok()?.parse().ok()
        }
        let vendor = |kind| packet.find_vendor(threegpp::VENDOR, kind);
        let four = |kind| <[u8; 4]>::try_from(packet.find(kind)?).ok();
        let address = four(standard::FRAMED_IP_ADDRESS).map(Ipv4Addr::from);
        let imsi: Option<Imsi> = word(vendor(threegpp::IMSI));
        let imei = word(vendor(threegpp::IMEISV));
        let msisdn = word(packet.find(standard::CALLING_STATION_ID));
        let status = match four(standard::ACCT_STATUS_TYPE).map(u32::from_be_bytes) {
            Some(1) => Status::Start,
            Some(2) => Status::Stop,
            Some(3) => Status::Interim,
            Some(7) => Status::On,
            Some(8) => Status::Off,
            other => panic!("Acct-Status-Type {other:?}"),
        };
        match (status, address, imsi) {
            (Status::On | Status::Off, ..) => self.live.clear(),
            (Status::Stop, Some(address), Some(_)) => drop(self.live.remove(&address)),
            (_, Some(address), Some(imsi)) => drop(self.live.insert(address, imsi)),
            other => panic!("{other:?}"),
        }
        self.heard.push(Heard { status, address, imsi, imei, msisdn });
    }
}
