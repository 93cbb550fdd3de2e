//! Who is connected, and who has to go when there is no room: whoever has waited longest without
//! being answered, never a newcomer.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv6Addr};

use homeward_model::Instant;

/// Whom connections are counted for: an IPv4 address, or the /64 that a bearer has of IPv6
/// (3GPP TS 23.401 5.3.1.2.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Client(IpAddr);

impl Client {
    /// The one at that address.
    pub fn at(address: IpAddr) -> Self {
        Self(match address.to_canonical() {
            IpAddr::V6(v6) => {
                let network = v6.to_bits() & (u128::MAX << 64);
                IpAddr::V6(Ipv6Addr::from_bits(network))
            }
            v4 => v4,
        })
    }
}

/// A connection, for as long as the door stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Id(u64);

/// What a connection is at, in the order in which it is let go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Stage {
    /// Nothing: no request has begun.
    Idle,
    /// TLS, and before it the PROXY header.
    Handshake,
    /// The head of a request has begun.
    Head,
    /// Its body is awaited.
    Body,
    /// Its answer is being sent.
    Writing,
    /// Its answer is being made. Such a one is never let go.
    Answering,
}

impl Stage {
    /// The word for metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Handshake => "handshake",
            Self::Head => "head",
            Self::Body => "body",
            Self::Writing => "writing",
            Self::Answering => "answering",
        }
    }

    /// Idle ones go first, whoever is answered never; of the others, the one that is slowest
    /// whatever it does.
    const fn rank(self) -> Option<u8> {
        match self {
            Self::Idle => Some(0),
            Self::Handshake | Self::Head | Self::Body | Self::Writing => Some(1),
            Self::Answering => None,
        }
    }
}

struct Open<C> {
    stage: Stage,
    since: Instant,
    client: Option<Client>,
    cut: C,
}

impl<C> Open<C> {
    fn place(&self, id: Id) -> Option<(u8, Instant, Id)> {
        self.stage.rank().map(|rank| (rank, self.since, id))
    }
}

/// A connection that has to go: drop `cut` to cut it.
#[derive(Debug, PartialEq, Eq)]
pub struct Shed<C> {
    /// What it was at.
    pub stage: Stage,
    /// What cuts it.
    pub cut: C,
}

/// The connections of a listener. `C` is what cuts one.
pub struct Door<C> {
    most: usize,
    most_per_client: usize,
    next: u64,
    open: BTreeMap<Id, Open<C>>,
    order: BTreeSet<(u8, Instant, Id)>,
    clients: BTreeMap<Client, Vec<Id>>,
}

impl<C> Door<C> {
    /// One that lets in so many, and so many of each client.
    pub fn new(most: usize, most_per_client: usize) -> Self {
        Self {
            most,
            most_per_client,
            next: 0,
            open: BTreeMap::new(),
            order: BTreeSet::new(),
            clients: BTreeMap::new(),
        }
    }

    /// How many are open.
    pub fn len(&self) -> usize {
        self.open.len()
    }

    /// Whether none is open.
    pub fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    /// A connection comes. Where there is no room, another goes for it; where none can go, this
    /// one is not let in: `Err` gives `cut` back.
    pub fn arrive(&mut self, cut: C, now: Instant) -> Result<(Id, Option<Shed<C>>), C> {
        let mut shed = None;
        if self.open.len() >= self.most {
            let Some((_, _, oldest)) = self.order.first().copied() else { return Err(cut) };
            shed = self.leave(oldest);
        }
        let id = Id(self.next);
        self.next += 1;
        let open = Open { stage: Stage::Handshake, since: now, client: None, cut };
        self.order.extend(open.place(id));
        self.open.insert(id, open);
        Ok((id, shed))
    }

    /// A connection turns out to be that client's. Where it has as many already, one of them goes;
    /// where none of them can, this one does.
    pub fn belongs(&mut self, id: Id, client: Client) -> Option<Shed<C>> {
        self.open.get_mut(&id)?.client = Some(client);
        let of_client = self.clients.entry(client).or_default();
        of_client.push(id);
        if of_client.len() <= self.most_per_client {
            return None;
        }
        let others = of_client.iter().filter(|other| **other != id);
        let places = others.filter_map(|other| self.open.get(other)?.place(*other));
        let slowest = places.min().map_or(id, |(_, _, slowest)| slowest);
        self.leave(slowest)
    }

    /// A connection is at something else now; `since` when, for the order.
    pub fn enter(&mut self, id: Id, stage: Stage, since: Instant) {
        let Some(open) = self.open.get_mut(&id) else { return };
        if let Some(place) = open.place(id) {
            self.order.remove(&place);
        }
        (open.stage, open.since) = (stage, since);
        self.order.extend(open.place(id));
    }

    /// A connection is gone, or has to go. `None` if it went before.
    pub fn leave(&mut self, id: Id) -> Option<Shed<C>> {
        let open = self.open.remove(&id)?;
        if let Some(place) = open.place(id) {
            self.order.remove(&place);
        }
        if let Some(client) = open.client
            && let Some(of_client) = self.clients.get_mut(&client)
        {
            of_client.retain(|other| *other != id);
            if of_client.is_empty() {
                self.clients.remove(&client);
            }
        }
        Some(Shed { stage: open.stage, cut: open.cut })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(seconds: u64) -> Instant {
        Instant::from_nanos(seconds * 1_000_000_000)
    }

    fn client(text: &str) -> Client {
        Client::at(text.parse().unwrap())
    }

    #[test]
    fn a_newcomer_takes_the_place_of_whoever_was_silent_longest() {
        let mut door = Door::new(3, 3);
        let (a, _) = door.arrive("a", at(1)).unwrap();
        let (b, _) = door.arrive("b", at(2)).unwrap();
        let (c, _) = door.arrive("c", at(3)).unwrap();
        door.enter(b, Stage::Idle, at(4));
        door.enter(c, Stage::Idle, at(5));
        let shed = |door: &mut Door<_>, name| door.arrive(name, at(9)).unwrap().1.unwrap();
        assert_eq!(shed(&mut door, "d"), Shed { stage: Stage::Idle, cut: "b" });
        assert_eq!(shed(&mut door, "e"), Shed { stage: Stage::Idle, cut: "c" });
        // None is idle: the slowest goes.
        assert_eq!(shed(&mut door, "f"), Shed { stage: Stage::Handshake, cut: "a" });
        assert_eq!(door.leave(a), None, "it went before");
        assert_eq!(door.len(), 3);
    }

    #[test]
    fn nobody_who_is_being_answered_goes() {
        let mut door = Door::new(1, 1);
        let (a, _) = door.arrive("a", at(1)).unwrap();
        door.enter(a, Stage::Answering, at(1));
        assert_eq!(door.arrive("b", at(99)).unwrap_err(), "b");
        door.enter(a, Stage::Writing, at(2));
        assert_eq!(door.arrive("b", at(99)).unwrap().1.unwrap().cut, "a");
    }

    #[test]
    fn a_client_that_has_too_many_loses_its_own_and_none_of_anothers() {
        let mut door = Door::new(100, 2);
        let mut come = |name, from: &str, now| {
            let (id, shed) = door.arrive(name, at(now)).unwrap();
            assert_eq!(shed, None);
            (id, door.belongs(id, client(from)).map(|shed| shed.cut))
        };
        assert_eq!(come("old", "192.0.2.9", 0).1, None);
        assert_eq!(come("a", "192.0.2.1", 1).1, None);
        assert_eq!(come("b", "192.0.2.1", 2).1, None);
        assert_eq!(come("c", "192.0.2.1", 3).1, Some("a"));
        // All of an IPv6 bearer's addresses are its.
        assert_eq!(come("d", "2001:db8::1", 4).1, None);
        assert_eq!(come("e", "2001:db8::2", 5).1, None);
        assert_eq!(come("f", "2001:db8::ffff:3", 6).1, Some("d"));
        assert_eq!(come("g", "2001:db8:0:1::1", 7).1, None);
        assert_eq!(come("h", "::ffff:192.0.2.1", 8).1, Some("b"));
    }

    #[test]
    fn a_client_all_of_whose_connections_are_answered_gets_no_more() {
        let mut door = Door::new(100, 1);
        let (a, _) = door.arrive("a", at(1)).unwrap();
        assert_eq!(door.belongs(a, client("192.0.2.1")), None);
        door.enter(a, Stage::Answering, at(1));
        let (b, _) = door.arrive("b", at(2)).unwrap();
        assert_eq!(door.belongs(b, client("192.0.2.1")).unwrap().cut, "b");
        assert_eq!(door.leave(b), None);
        assert_eq!(door.len(), 1);
    }

    proptest! {
        #[test]
        fn whatever_comes_and_goes_there_are_never_more_than_allowed_and_nothing_is_left_over(
            steps in prop::collection::vec((0u8..4, 0u64..20, 0u8..6), 0..200)
        ) {
            let mut door = Door::new(8, 3);
            let mut ids = Vec::new();
            for (n, (what, which, stage)) in steps.into_iter().enumerate() {
                let now = at(n as u64);
                let of = ids.get(which as usize % ids.len().max(1)).copied();
                match (what, of) {
                    (0, _) => ids.extend(door.arrive((), now).ok().map(|(id, _)| id)),
                    (1, Some(id)) => {
                        let open = door.open.get(&id).is_some_and(|open| open.client.is_none());
                        if open {
                            let _ = door.belongs(id, Client::at(IpAddr::from([192, 0, 2, stage])));
                        }
                    }
                    (2, Some(id)) => {
                        let stages = [Stage::Idle, Stage::Head, Stage::Body, Stage::Writing,
                            Stage::Answering, Stage::Handshake];
                        door.enter(id, stages[stage as usize], now);
                    }
                    (_, Some(id)) => {
                        let _ = door.leave(id);
                    }
                    _ => {}
                }
                prop_assert!(door.len() <= 8);
                prop_assert!(door.clients.values().all(|ids| (1..=3).contains(&ids.len())));
                let ranked = door.open.values().filter(|o| o.stage.rank().is_some()).count();
                prop_assert_eq!(door.order.len(), ranked);
            }
            for id in ids {
                door.leave(id);
            }
            prop_assert!(door.is_empty() && door.order.is_empty() && door.clients.is_empty());
        }
    }
}
