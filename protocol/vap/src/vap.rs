//! The states of a VAP, the slots that name VAPs, and their removal.
//!
//! ```text
//!            slot free          hostapd: OK
//!  Waiting ────────────► Adding ───────────► Up
//!     ▲                     │ FAIL            │ no member left, or the security changed
//!     │ still wanted        ▼                 ▼
//!     └───────────────── Going (REMOVE, again and again until it is gone)
//! ```
//!
//! What is being removed belongs to its slot, not to its network: the network may already wait
//! for a new one.

use std::collections::BTreeMap;

use homeward_model::{Anchor, Instant, Mac, NetworkId, Security, Ssid};

use crate::VapId;
use crate::roster::{Backoff, Roster, Station, Told};

/// What a BSS announces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Profile {
    pub(crate) ssid: Ssid,
    pub(crate) security: Security,
    pub(crate) anchor: Anchor,
}

/// One network's VAP. It has at least one member, or it is not there.
#[derive(Debug)]
pub(crate) struct Vap {
    /// What it should announce.
    pub(crate) profile: Profile,
    pub(crate) roster: Roster,
    /// Who waits longest gets a slot first.
    pub(crate) claim: u64,
    /// When the probe that asked for it was heard.
    pub(crate) requested: Instant,
    /// The wait after a failed ADD.
    pub(crate) backoff: Backoff,
    pub(crate) phase: Phase,
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum Phase {
    /// There is no BSS.
    Waiting { since: Instant },
    /// The ADD has no answer yet.
    Adding(OnAir),
    /// The BSS is there.
    Up(OnAir),
}

/// A BSS that hostapd has or is about to have.
#[derive(Debug, Clone, Copy)]
pub(crate) struct OnAir {
    pub(crate) id: VapId,
    pub(crate) since: Instant,
    /// What it announces.
    pub(crate) profile: Profile,
}

/// How often in a row a VAP's devices may be refused before it is made anew: a key that cannot
/// be withdrawn must not stay.
const MAX_SET_FAILURES: u32 = 3;

impl Vap {
    /// The BSS, if there may be one.
    pub(crate) fn on_air(&self) -> Option<OnAir> {
        match self.phase {
            Phase::Waiting { .. } => None,
            Phase::Adding(on_air) | Phase::Up(on_air) => Some(on_air),
        }
    }

    /// Whether hostapd still owes an answer.
    pub(crate) fn busy(&self) -> bool {
        matches!(self.phase, Phase::Adding(_)) || matches!(self.roster.told, Told::Sent { .. })
    }

    /// Whether the BSS announces what it no longer should.
    pub(crate) fn outdated(&self) -> bool {
        self.on_air().is_some_and(|on_air| on_air.profile != self.profile)
    }

    /// Whether the BSS does not take its devices.
    pub(crate) fn unsettable(&self) -> bool {
        matches!(self.phase, Phase::Up(_))
            && matches!(self.roster.told, Told::Unknown { failures } if failures >= MAX_SET_FAILURES)
    }

    /// Ends the BSS's part in the VAP: the stations go with it. Those connected until now were
    /// there until now, and keep the VAP wanted for as long.
    pub(crate) fn off_air(&mut self, now: Instant) -> Option<(OnAir, BTreeMap<Mac, Station>)> {
        let on_air = self.on_air()?;
        self.phase = Phase::Waiting { since: now };
        // The next BSS knows only the members of then.
        self.roster.leaving.clear();
        let stations = self.roster.reset();
        for mac in stations.keys() {
            if let Some(member) = self.roster.members.get_mut(mac) {
                member.heard = member.heard.max(now);
            }
        }
        Some((on_air, stations))
    }
}

/// A BSS on its way out.
#[derive(Debug)]
pub(crate) struct Removal {
    pub(crate) id: VapId,
    pub(crate) network: Option<NetworkId>,
    pub(crate) profile: Option<Profile>,
    /// Who was connected when the removal began, or came since.
    pub(crate) stations: BTreeMap<Mac, Station>,
    pub(crate) since: Instant,
    pub(crate) step: Step,
    pub(crate) backoff: Backoff,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// hostapd has not yet answered an ADD or a change of devices.
    Busy,
    /// hostapd was asked to remove it.
    Asked,
    /// hostapd did not; it will be asked again.
    Failed,
}

#[derive(Debug)]
pub(crate) enum Occupant {
    Vap(VapId, NetworkId),
    Going(Removal),
}

impl Occupant {
    fn id(&self) -> VapId {
        match self {
            Self::Vap(id, _) => *id,
            Self::Going(removal) => removal.id,
        }
    }
}

/// The slots that name VAPs.
#[derive(Debug, Default)]
pub(crate) struct Slots {
    slots: Vec<Slot>,
}

#[derive(Debug, Default)]
struct Slot {
    /// How many VAPs had it.
    generation: u32,
    occupant: Option<Occupant>,
}

impl Slots {
    /// Gives the lowest free slot below `max` to a network; `None` if as many as `max` are taken.
    pub(crate) fn allocate(&mut self, network: NetworkId, max: usize) -> Option<VapId> {
        if self.taken() >= max {
            return None;
        }
        let free = self.slots.iter().position(|slot| slot.occupant.is_none());
        let at = free.unwrap_or(self.slots.len());
        let number = u16::try_from(at).ok().filter(|_| at < max)?;
        if at == self.slots.len() {
            self.slots.push(Slot::default());
        }
        let slot = self.slots.get_mut(at)?;
        let id = VapId { slot: number, generation: slot.generation };
        slot.generation = slot.generation.wrapping_add(1);
        slot.occupant = Some(Occupant::Vap(id, network));
        Some(id)
    }

    /// How many slots are taken.
    pub(crate) fn taken(&self) -> usize {
        self.slots.iter().filter(|slot| slot.occupant.is_some()).count()
    }

    /// Who has that very name now.
    pub(crate) fn occupant(&mut self, id: VapId) -> Option<&mut Occupant> {
        let slot = self.slots.get_mut(usize::from(id.slot))?;
        slot.occupant.as_mut().filter(|occupant| occupant.id() == id)
    }

    /// The network whose VAP has that very name now.
    pub(crate) fn network(&mut self, id: VapId) -> Option<NetworkId> {
        match self.occupant(id)? {
            Occupant::Vap(_, network) => Some(*network),
            Occupant::Going(_) => None,
        }
    }

    /// The removal of what has that very name.
    pub(crate) fn removal(&mut self, id: VapId) -> Option<&mut Removal> {
        match self.occupant(id)? {
            Occupant::Going(removal) => Some(removal),
            Occupant::Vap(..) => None,
        }
    }

    /// Whether the slot was used before and is free now.
    pub(crate) fn is_vacant(&self, id: VapId) -> bool {
        self.slots.get(usize::from(id.slot)).is_some_and(|slot| slot.occupant.is_none())
    }

    /// Puts a removal into its slot, in place of whoever is there.
    pub(crate) fn retire(&mut self, removal: Removal) {
        if let Some(slot) = self.slots.get_mut(usize::from(removal.id.slot)) {
            slot.occupant = Some(Occupant::Going(removal));
        }
    }

    /// Empties a slot of the removal that is done.
    pub(crate) fn vacate(&mut self, id: VapId) -> Option<Removal> {
        self.removal(id)?;
        let slot = self.slots.get_mut(usize::from(id.slot))?;
        match slot.occupant.take() {
            Some(Occupant::Going(removal)) => Some(removal),
            _ => None,
        }
    }

    /// All BSSes are gone. What was being removed is given back, for its stations' sake.
    pub(crate) fn clear(&mut self) -> Vec<Removal> {
        let gone = self.slots.iter_mut().filter_map(|slot| slot.occupant.take());
        gone.filter_map(|occupant| match occupant {
            Occupant::Going(removal) => Some(removal),
            Occupant::Vap(..) => None,
        })
        .collect()
    }

    pub(crate) fn removals(&self) -> impl Iterator<Item = &Removal> {
        self.slots.iter().filter_map(|slot| match &slot.occupant {
            Some(Occupant::Going(removal)) => Some(removal),
            _ => None,
        })
    }

    pub(crate) fn removals_mut(&mut self) -> impl Iterator<Item = &mut Removal> {
        self.slots.iter_mut().filter_map(|slot| match &mut slot.occupant {
            Some(Occupant::Going(removal)) => Some(removal),
            _ => None,
        })
    }

    /// Whether a BSS of that network is still being removed.
    pub(crate) fn removing(&self, network: NetworkId) -> bool {
        self.removals().any(|removal| removal.network == Some(network))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn removal(id: VapId) -> Removal {
        Removal {
            id,
            network: None,
            profile: None,
            stations: BTreeMap::new(),
            since: Instant::ORIGIN,
            step: Step::Asked,
            backoff: Backoff::default(),
        }
    }

    #[test]
    fn a_slot_is_used_again_only_when_it_is_vacant_and_under_another_name() {
        let mut slots = Slots::default();
        let first = slots.allocate(NetworkId(1), 2).unwrap();
        slots.retire(removal(first));
        let second = slots.allocate(NetworkId(2), 2).unwrap();
        assert_eq!((first.slot(), second.slot()), (0, 1), "the first is still going");
        assert_eq!(slots.allocate(NetworkId(3), 2), None);

        assert!(slots.vacate(first).is_some());
        let third = slots.allocate(NetworkId(3), 2).unwrap();
        assert_eq!((third.slot(), third == first), (0, false));
        assert!(slots.occupant(first).is_none(), "a late result finds nobody");
    }
}
