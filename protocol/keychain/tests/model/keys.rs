//! Derivations, as `src/key.rs` and `docs/keychain.md` have them.

use crate::state::{Guard, Record, Setup, Ticket, Twist};
use crate::terms::{T, Terms};

/// What derives: the terms there are, and which guards stand.
pub(crate) struct Keys<'a> {
    pub(crate) terms: &'a mut Terms,
    pub(crate) setup: &'a Setup,
    /// Whether the run may have one more twist.
    pub(crate) spare: bool,
}

impl Keys<'_> {
    pub(crate) fn may(&self, twist: Twist) -> bool {
        self.spare && self.setup.twists.contains(&twist)
    }

    pub(crate) fn network(&mut self, network: u8) -> T {
        self.terms.word("net", network)
    }

    pub(crate) fn none(&mut self) -> T {
        self.terms.word("none", 0)
    }

    pub(crate) fn hop_number(&mut self, hop: u8) -> T {
        self.terms.word("", hop)
    }

    /// K(D,N).
    pub(crate) fn device_key(&mut self, device: u8, network: u8) -> T {
        self.terms.secret("K", device, network)
    }

    pub(crate) fn seed(&mut self, device: u8) -> T {
        self.terms.secret("seed of device", device, 0)
    }

    pub(crate) fn signature(&mut self, seed: T, body: T) -> T {
        self.terms.sealed("signature", &[seed, body])
    }

    /// Whether that is a signature of it by that key.
    pub(crate) fn verify(&mut self, public: T, said: T, signature: T) -> bool {
        self.terms.is(public, "public") && {
            let seed = self.terms.parts(public)[0];
            self.signature(seed, said) == signature
        }
    }

    /// `SessionId::of`.
    pub(crate) fn session(&mut self, public: T, server: u8) -> T {
        let server = self.server(server);
        self.terms.sealed("session", &[public, server])
    }

    /// S, where it is named.
    pub(crate) fn server(&mut self, server: u8) -> T {
        let named = self.setup.has(Guard::ServerIsNamed);
        self.terms.word("server", if named { server } else { u8::MAX })
    }

    /// `Record::root`.
    pub(crate) fn root(&mut self, session: T, server: u8) -> T {
        let server = self.server(server);
        self.terms.sealed("root", &[session, server])
    }

    pub(crate) fn digest(&mut self, record: T) -> T {
        self.terms.sealed("digest", &[record])
    }

    /// `Response::transcript`. `said` is the response without its tag.
    pub(crate) fn transcript(&mut self, challenge: T, said: &[T]) -> T {
        let said = self.terms.list("said", said);
        self.terms.sealed("transcript", &[challenge, said])
    }

    /// `Response::answer`: what a ticket is of.
    pub(crate) fn answer(&mut self, challenge: T, device: T, share: T) -> T {
        if self.setup.has(Guard::TicketIsOfItsAnswer) {
            self.terms.sealed("answer", &[challenge, device, share])
        } else {
            self.terms.parts(challenge)[1]
        }
    }

    /// `DeviceKey::authorise`.
    pub(crate) fn authorise(&mut self, key: T, transcript: T) -> T {
        let key = self.terms.sealed("key: authorise", &[key]);
        self.terms.sealed("tag: authorise", &[key, transcript])
    }

    /// `DeviceKey::hop`, by one's own half and the other's public part.
    pub(crate) fn hop(&mut self, key: T, nonce: T, half: T, other: T, transcript: T) -> T {
        let shared = if self.setup.has(Guard::Shares) {
            self.terms.shared(half, other)
        } else {
            self.none()
        };
        self.terms.sealed("H", &[key, shared, nonce, transcript])
    }

    /// `HopKey::welcome`.
    pub(crate) fn welcome(&mut self, hop_key: T, record: T) -> T {
        let key = self.terms.sealed("key: welcome", &[hop_key]);
        self.terms.sealed("tag: welcome", &[key, record])
    }

    /// `HopKey::share`.
    pub(crate) fn share(&mut self, hop_key: T, server: u8) -> T {
        let server = self.server(server);
        self.terms.sealed("X", &[hop_key, server])
    }

    /// `HopShare::integrate`.
    pub(crate) fn integrate(&mut self, share: T, before: Before, head: T) -> T {
        match before {
            Before::Nothing => self.terms.sealed("I: first", &[share, head]),
            Before::Export(export) if self.setup.has(Guard::Export) => {
                self.terms.sealed("I", &[share, export, head])
            }
            Before::Export(_) => self.terms.sealed("I", &[share, head]),
            Before::Broken => self.terms.sealed("I: broken", &[share, head]),
        }
    }

    /// `ChainKey::ticket`.
    pub(crate) fn ticket_tag(&mut self, key: T, body: T) -> T {
        if !self.setup.has(Guard::Labels) {
            return self.export(key, body);
        }
        let key = self.terms.sealed("key: ticket", &[key]);
        self.terms.sealed("tag: ticket", &[key, body])
    }

    /// `ChainKey::export`.
    pub(crate) fn export(&mut self, key: T, body: T) -> T {
        self.terms.sealed("E", &[key, body])
    }

    /// `ChainKey::confirm`.
    pub(crate) fn confirm(&mut self, key: T) -> T {
        self.terms.sealed("Kc", &[key])
    }

    /// `ChainKey::traffic`.
    pub(crate) fn traffic(&mut self, key: T) -> T {
        self.terms.sealed("traffic", &[key])
    }

    /// `ConfirmKey::prove`, of what `proven` says.
    pub(crate) fn prove(
        &mut self,
        key: T,
        side: Side,
        server: u8,
        hop: u8,
        head: T,
        demand: T,
    ) -> T {
        let side = if self.setup.has(Guard::Role) { side as u8 } else { u8::MAX };
        let confirm = self.confirm(key);
        let (side, server) = (self.terms.word("side", side), self.server(server));
        let hop = self.hop_number(hop);
        let demand = if self.setup.has(Guard::DemandInProof) { demand } else { self.none() };
        self.terms.sealed("tag: prove", &[confirm, side, server, hop, head, demand])
    }

    /// The device's ticket for who asks by that challenge.
    pub(crate) fn ticket(&mut self, seed: T, ticket: &Ticket, before: Option<T>) -> T {
        let body = ticket.body(self.terms);
        let signature = self.signature(seed, body);
        let tag = match before {
            Some(key) => self.ticket_tag(key, body),
            None => self.none(),
        };
        ticket.with(self.terms, signature, tag)
    }

    /// The records from the first to that of this head. What is fixed by hashes is not sent in the
    /// model: who has the head has what it is of.
    pub(crate) fn records(&mut self, mut head: T) -> Vec<(Record, T)> {
        let mut records = Vec::new();
        while self.terms.is(head, "digest") {
            let record = self.terms.parts(head)[0];
            records.push((Record::read(self.terms, record).0, record));
            head = records[records.len() - 1].0.before;
        }
        records.reverse();
        records
    }
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum Before {
    Nothing,
    Export(T),
    Broken,
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum Side {
    Device = 1,
    Network = 2,
}
