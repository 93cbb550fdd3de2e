//! Who is in the model, what each keeps, and what a run may have in it.

use crate::terms::{T, Terms};

/// Networks. The third is the rogue.
pub(crate) const A: u8 = 0;
pub(crate) const B: u8 = 1;
pub(crate) const R: u8 = 2;
/// The server, and one that the rogue runs.
pub(crate) const S: u8 = 0;
pub(crate) const ROGUE_S: u8 = 1;
/// The flow that devices want, and one that somebody else wants.
pub(crate) const WANTED: u8 = 0;
pub(crate) const OTHER: u8 = 1;

/// A check or a part of a derivation that can be taken out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Guard {
    /// A network, the network before and S check the device's signature of the ticket.
    TicketSignature,
    /// The network before gives its key to who the ticket is for, by the channel.
    TicketIsForWhoAsks,
    /// Ticket tag and export have labels of their own.
    Labels,
    /// S is named in the session, the root, the share, the record and the proof.
    ServerIsNamed,
    /// A secret of the hop's shares goes into the hop key.
    Shares,
    /// A device integrates only what names its head.
    OwnHead,
    /// A device integrates only what the network of its answer welcomes it by.
    WelcomeTag,
    /// A device proves for its own flow only.
    Flow,
    /// What was demanded is in the proof.
    DemandInProof,
    /// A hop is on its way until the device proves it, or signs that it went on from there.
    OnItsWay,
    /// S wants a tag by the key of each hop.
    EveryTag,
    /// Who proves is named in the proof.
    Role,
    /// The export of the hop before goes into the key of a hop.
    Export,
    /// S asks the standing of each network at each check.
    StandingAtCheck,
    /// S takes a record from the network that it is of, by the channel.
    FromItsNetwork,
    /// A mark stays for the rest of the chain.
    MarksStay,
    /// The ticket is of the answer that it comes in: device, share and challenge.
    TicketIsOfItsAnswer,
}

/// What somebody does that the protocol does not have him do. A run has a few of these.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Twist {
    /// A device goes elsewhere than it was going, or answers anew.
    Turns,
    /// A network or server asks anew.
    AsksAgain,
    /// An old challenge or demand is played again.
    Replays,
    /// The rogue asks a device with what another asked, or in another's name.
    Relays,
    /// The rogue gives another export than its own: yesterday's, or none that is.
    GivesAnother,
    /// The rogue says another network before, head or hop in a record, or adds to it.
    Alters,
    /// The rogue makes up a hop without the device.
    MakesUp,
    /// The second device, in league with the rogue, answers a network in a session.
    Poses,
    /// Somebody has another flow demanded.
    WantsOther,
    /// A network before is away.
    IsAway,
    /// A module is revoked.
    Revokes,
    /// A device restarts from what it kept.
    Restarts,
    /// The keys of a device are stolen.
    Steals,
    /// A network asks S in the place of the network before, though that is there.
    AsksServer,
}

/// What the message is that is lost at the second hop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Lost {
    Challenge,
    Response,
    Fetched,
    Welcome,
    Told,
    Demand,
    Proof,
}

/// What must never be. Each is the name of a property.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    NotProven = 0,
    NotWalked,
    Leaked,
    Shrunk,
    Unmarked,
    RevokedIn,
    Disagreed,
    DoesNotFollow,
    NetworkDidNotProve,
    OtherKey,
    Skipped,
}

/// With what they are called.
pub(crate) const FAULTS: [(Fault, &str); 11] = [
    (Fault::NotProven, "S admits what the device proved: this chain, this flow, this demand"),
    (Fault::NotWalked, "S's chain is what the device walked, as it walked it"),
    (Fault::Leaked, "the rogue has no key of a hop that is not its own"),
    (Fault::Shrunk, "S's chain only grows at its end"),
    (Fault::Unmarked, "a hop without the key of the one before is marked"),
    (Fault::RevokedIn, "nothing is admitted through a module that S knows to be revoked"),
    (Fault::Disagreed, "what a device integrates at an honest network, that network integrated"),
    (Fault::DoesNotFollow, "what a device integrates follows what it integrated before"),
    (
        Fault::NetworkDidNotProve,
        "S admits what the network of the last hop proved, if it is honest",
    ),
    (Fault::OtherKey, "S and an honest network have one key of a hop"),
    (Fault::Skipped, "who is admitted without a mark has the key of the hop before"),
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Second {
    /// It is honest and goes its way to this server.
    Honest(u8),
    /// All its keys are the rogue's.
    Accomplice,
}

/// A model: who goes where, and how much may go wrong.
#[derive(Debug, Clone)]
pub(crate) struct Setup {
    /// Where each device goes.
    pub(crate) paths: [&'static [u8]; 2],
    pub(crate) second: Second,
    pub(crate) removed: &'static [Guard],
    /// Which twists there may be, and how many in one run.
    pub(crate) twists: &'static [Twist],
    pub(crate) most: u8,
    /// How many demands S may make of each device.
    pub(crate) demands: u8,
    /// The devices make their hops in turn, the first before the second.
    pub(crate) in_turn: bool,
    /// S and devices go on without the key of a hop before that is away.
    pub(crate) broken: bool,
    pub(crate) lost: Option<Lost>,
}

impl Setup {
    pub(crate) fn has(&self, guard: Guard) -> bool {
        !self.removed.contains(&guard)
    }

    pub(crate) fn is_honest(&self, device: u8) -> bool {
        device == 0 || self.second != Second::Accomplice
    }

    /// Whom a device is served by.
    pub(crate) fn server(&self, device: u8) -> u8 {
        match self.second {
            Second::Honest(server) if device == 1 => server,
            _ => S,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct State {
    pub(crate) devices: [Device; 2],
    /// The two that are honest.
    pub(crate) networks: [Network; 2],
    /// S's session with each device.
    pub(crate) servers: [Server; 2],
    /// What was sent where everybody hears it, in order of number: it may be had again at any time.
    pub(crate) air: Vec<T>,
    /// What the rogue knows, in order of number.
    pub(crate) known: Vec<T>,
    /// As bits.
    pub(crate) revoked: u8,
    pub(crate) stolen: bool,
    pub(crate) twisted: Vec<Twist>,
    pub(crate) lost: Option<Lost>,
    /// As bits.
    pub(crate) faults: u16,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(crate) struct Device {
    pub(crate) hops: Vec<Made>,
    pub(crate) pending: Option<Pending>,
    pub(crate) answers: u8,
    /// What it proved: demand and head.
    pub(crate) proved: Vec<(T, T)>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Made {
    pub(crate) network: u8,
    pub(crate) head: T,
    pub(crate) key: T,
    pub(crate) broken: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Pending {
    pub(crate) network: u8,
    pub(crate) answer: T,
    pub(crate) transcript: T,
    pub(crate) key: T,
    pub(crate) export: Option<T>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(crate) struct Network {
    pub(crate) asked: u8,
    /// The challenge that is open.
    pub(crate) open: Option<T>,
    pub(crate) visits: Vec<Visit>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Visit {
    /// Who it is, by the key that the two share.
    pub(crate) device: u8,
    pub(crate) key: T,
    pub(crate) server: u8,
    pub(crate) hop: u8,
    pub(crate) ticket: T,
    pub(crate) transcript: T,
    pub(crate) hop_key: T,
    pub(crate) done: Option<Integrated>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Integrated {
    pub(crate) key: T,
    pub(crate) share: T,
    pub(crate) record: T,
    pub(crate) head: T,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(crate) struct Server {
    pub(crate) hops: Vec<Followed>,
    pub(crate) next: Vec<Followed>,
    /// How many demands it made.
    pub(crate) asked: u8,
    pub(crate) open: Option<T>,
    /// How many hops the chain had that was admitted last.
    pub(crate) admitted: u8,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Followed {
    pub(crate) record: T,
    pub(crate) head: T,
    pub(crate) share: T,
    pub(crate) key: T,
}

/// The fields of a record, without times and epoch: the model has no clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) session: T,
    pub(crate) server: T,
    pub(crate) hop: T,
    pub(crate) network: T,
    pub(crate) signer: T,
    pub(crate) device: T,
    pub(crate) previous: T,
    pub(crate) before: T,
    pub(crate) answer: T,
    pub(crate) transcript: T,
    pub(crate) broken: T,
    /// What else its network writes into it: times, epoch.
    pub(crate) more: T,
    pub(crate) by_device: T,
}

impl Record {
    pub(crate) fn read(terms: &Terms, record: T) -> (Self, T) {
        let parts = terms.parts(record);
        let [session, server, hop, network, signer, device, ..] = parts[..] else { panic!() };
        let [previous, before, answer, transcript, broken, more, by_device, by_network] =
            parts[6..]
        else {
            panic!()
        };
        #[rustfmt::skip]
        let record = Self {
            session, server, hop, network, signer, device, previous, before, answer, transcript, broken,
            more, by_device,
        };
        (record, by_network)
    }

    fn parts(&self) -> Vec<T> {
        #[rustfmt::skip]
        let Self {
            session, server, hop, network, signer, device, previous, before, answer, transcript, broken,
            more, by_device,
        } = *self;
        #[rustfmt::skip]
        let parts = vec![
            session, server, hop, network, signer, device, previous, before, answer, transcript, broken,
            more, by_device,
        ];
        parts
    }

    pub(crate) fn said(&self, terms: &mut Terms) -> T {
        terms.list("hop record", &self.parts())
    }

    /// Signed with the key of that network.
    pub(crate) fn signed(&self, terms: &mut Terms, network: u8) -> T {
        let (seed, said) = (terms.secret("seed of network", network, 0), self.said(terms));
        let signature = terms.sealed("signature", &[seed, said]);
        let mut parts = self.parts();
        parts.push(signature);
        terms.list("record", &parts)
    }
}

/// The fields of a ticket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ticket {
    pub(crate) of: T,
    pub(crate) to: T,
    pub(crate) session: T,
    pub(crate) hop: T,
    pub(crate) head: T,
    pub(crate) answer: T,
}

impl Ticket {
    /// With its signature and tag.
    pub(crate) fn read(terms: &Terms, ticket: T) -> (Self, T, T) {
        let [of, to, session, hop, head, answer, signature, tag] = terms.parts(ticket)[..] else {
            panic!()
        };
        (Self { of, to, session, hop, head, answer }, signature, tag)
    }

    pub(crate) fn body(&self, terms: &mut Terms) -> T {
        let Self { of, to, session, hop, head, answer } = *self;
        terms.list("ticket body", &[of, to, session, hop, head, answer])
    }

    pub(crate) fn with(&self, terms: &mut Terms, signature: T, tag: T) -> T {
        let Self { of, to, session, hop, head, answer } = *self;
        terms.list("ticket", &[of, to, session, hop, head, answer, signature, tag])
    }

    /// That a record is of.
    pub(crate) fn of_record(record: &Record) -> Self {
        Self {
            of: record.previous,
            to: record.network,
            session: record.session,
            hop: record.hop,
            head: record.before,
            answer: record.answer,
        }
    }
}
