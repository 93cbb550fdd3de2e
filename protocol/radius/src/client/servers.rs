//! A client's servers: their identifiers, and whether they answer.

use std::collections::VecDeque;
use std::time::Duration;

use homeward_model::{Entropy, Instant};

use super::{ClientEvent, ClientSettings, RequestId, Transmit};
use crate::packet::Authenticator;
use crate::retransmit::jittered;
use crate::{Builder, Code, SharedSecret};

/// Identifiers per server and source socket.
const IDENTIFIERS: usize = 256;

/// Who uses an identifier.
#[derive(Debug, Clone, Copy)]
pub(super) enum Owner {
    Request(RequestId),
    /// A Status-Server with that Request Authenticator.
    Probe(Authenticator),
}

#[derive(Debug)]
pub(super) struct Servers {
    settings: ClientSettings,
    sockets: usize,
    list: Vec<Server>,
}

#[derive(Debug)]
struct Server {
    secret: SharedSecret,
    /// Socket × identifier. Neighbours are on different sockets.
    slots: Vec<Option<Owner>>,
    /// Where to look for a free slot: the one that was freed longest ago is not far.
    cursor: usize,
    /// Transmissions in a row that went unanswered.
    unanswered: u32,
    /// The first transmission since the last answer.
    silent_since: Option<Instant>,
    /// Set while the server is down.
    down: Option<Down>,
}

#[derive(Debug)]
struct Down {
    /// When to probe next.
    due: Instant,
    /// From that probe to the one after.
    interval: Duration,
    /// The slot of the probe that is outstanding.
    slot: Option<usize>,
}

impl Servers {
    pub(super) fn new(
        settings: &ClientSettings,
        secrets: impl IntoIterator<Item = SharedSecret>,
    ) -> Self {
        let sockets = usize::from(settings.sockets.max(1));
        let server = |secret| Server {
            secret,
            slots: vec![None; sockets * IDENTIFIERS],
            cursor: 0,
            unanswered: 0,
            silent_since: None,
            down: None,
        };
        Self { settings: *settings, sockets, list: secrets.into_iter().map(server).collect() }
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    pub(super) fn len(&self) -> u32 {
        u32::try_from(self.list.len()).unwrap_or(u32::MAX)
    }

    pub(super) fn secret(&self, server: usize) -> Option<&SharedSecret> {
        self.list.get(server).map(|s| &s.secret)
    }

    pub(super) fn is_up(&self, server: usize) -> Option<bool> {
        self.list.get(server).map(|s| s.down.is_none())
    }

    /// The server of that rank, modulo their number: those that are up, in order; if none is,
    /// all, in order.
    pub(super) fn choose(&self, rank: u32) -> Option<usize> {
        let up = self.list.iter().filter(|s| s.down.is_none()).count();
        let among = if up == 0 { self.list.len() } else { up };
        let rank = usize::try_from(rank).unwrap_or_default().checked_rem(among)?;
        let candidates = self.list.iter().enumerate().filter(|(_, s)| up == 0 || s.down.is_none());
        candidates.map(|(server, _)| server).nth(rank)
    }

    /// Takes a free identifier of a server.
    pub(super) fn take(&mut self, server: usize, owner: Owner) -> Option<usize> {
        let server = self.list.get_mut(server)?;
        let count = server.slots.len();
        let slot = (server.cursor..server.cursor + count)
            .map(|at| at % count)
            .find(|at| server.slots.get(*at).is_some_and(Option::is_none))?;
        *server.slots.get_mut(slot)? = Some(owner);
        server.cursor = (slot + 1) % count;
        Some(slot)
    }

    pub(super) fn free(&mut self, server: usize, slot: usize) {
        if let Some(server) = self.list.get_mut(server)
            && let Some(place) = server.slots.get_mut(slot)
        {
            *place = None;
        }
    }

    pub(super) fn owner(&self, server: usize, slot: usize) -> Option<Owner> {
        *self.list.get(server)?.slots.get(slot)?
    }

    /// The slot of an identifier on a socket; `None` if there is no such socket.
    pub(super) fn slot(&self, socket: u16, identifier: u8) -> Option<usize> {
        let socket = usize::from(socket);
        (socket < self.sockets).then_some(usize::from(identifier) * self.sockets + socket)
    }

    pub(super) fn socket(&self, slot: usize) -> u16 {
        u16::try_from(slot % self.sockets).unwrap_or_default()
    }

    pub(super) fn identifier(&self, slot: usize) -> u8 {
        u8::try_from(slot / self.sockets).unwrap_or_default()
    }

    /// Notes a transmission.
    pub(super) fn sent(&mut self, server: usize, now: Instant) {
        if let Some(server) = self.list.get_mut(server) {
            server.silent_since.get_or_insert(now);
        }
    }

    /// Notes an answer.
    pub(super) fn heard(&mut self, index: usize, events: &mut VecDeque<ClientEvent>) {
        let Some(server) = self.list.get_mut(index) else { return };
        server.unanswered = 0;
        server.silent_since = None;
        if let Some(down) = server.down.take() {
            if let Some(place) = down.slot.and_then(|slot| server.slots.get_mut(slot)) {
                *place = None;
            }
            events.push_back(ClientEvent::ServerUp { server: index });
        }
    }

    /// Notes that a transmission went unanswered.
    pub(super) fn missed(
        &mut self,
        index: usize,
        now: Instant,
        entropy: &mut impl Entropy,
        events: &mut VecDeque<ClientEvent>,
    ) {
        let settings = &self.settings;
        let Some(server) = self.list.get_mut(index) else { return };
        server.unanswered = server.unanswered.saturating_add(1);
        let silent = server.silent_since.map_or(Duration::ZERO, |since| now.since(since));
        if server.down.is_some()
            || server.unanswered < settings.down_after
            || silent < settings.down_silence
        {
            return;
        }
        let interval =
            if settings.status_server { settings.probe_first } else { settings.probe_longest };
        let due = now + jittered(interval, entropy);
        server.down = Some(Down { due, interval, slot: None });
        events.push_back(ClientEvent::ServerDown { server: index });
    }

    pub(super) fn next_probe(&self) -> Option<Instant> {
        self.list.iter().filter_map(|s| s.down.as_ref()).map(|down| down.due).min()
    }

    /// Sends the Status-Servers that are due (RFC 5997 4.2): each anew, for only the fact of an
    /// answer matters, not which one it is.
    pub(super) fn probe(
        &mut self,
        now: Instant,
        entropy: &mut impl Entropy,
        transmits: &mut VecDeque<Transmit>,
        events: &mut VecDeque<ClientEvent>,
    ) {
        for index in 0..self.list.len() {
            let due = self.list.get(index).and_then(|s| s.down.as_ref()).map(|down| down.due);
            if due.is_none_or(|due| due > now) {
                continue;
            }
            if !self.settings.status_server {
                self.heard(index, events);
                continue;
            }
            let authenticator = entropy.octets();
            if let Some(stale) = self.probe_slot(index).and_then(Option::take) {
                self.free(index, stale);
            }
            let slot = self.take(index, Owner::Probe(authenticator));
            if let (Some(slot), Some(secret)) = (slot, self.secret(index)) {
                let mut payload = Vec::with_capacity(38);
                let identifier = self.identifier(slot);
                Builder::request(
                    &mut payload,
                    secret,
                    Code::StatusServer,
                    identifier,
                    authenticator,
                )
                .finish();
                transmits.push_back(Transmit { server: index, socket: self.socket(slot), payload });
            }
            let longest = self.settings.probe_longest;
            if let Some(down) = self.list.get_mut(index).and_then(|s| s.down.as_mut()) {
                down.slot = slot;
                down.due = now + jittered(down.interval, entropy);
                down.interval = down.interval.saturating_mul(2).min(longest);
            }
        }
    }

    fn probe_slot(&mut self, index: usize) -> Option<&mut Option<usize>> {
        self.list.get_mut(index)?.down.as_mut().map(|down| &mut down.slot)
    }
}
