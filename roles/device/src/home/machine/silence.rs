//! Accesses that fall silent. A station that listens elsewhere for a moment is silent, too: one that is
//! back at once had not gone, and nobody is told. (The data plane has sent by the other one meanwhile.)

use std::time::Duration;

use homeward_model::Instant;

use super::Access;

/// A shorter silence is none.
const BLIP: Duration = Duration::from_millis(300);

/// How an access does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Works,
    Silent(Instant),
    Dead,
}

/// How each does.
#[derive(Debug)]
pub(super) struct Silences([State; 2]);

impl Silences {
    /// Both work.
    pub(super) const fn new() -> Self {
        Self([State::Works; 2])
    }

    fn of(&mut self, access: Access) -> &mut State {
        let [wifi, cellular] = &mut self.0;
        match access {
            Access::Wifi => wifi,
            Access::Cellular => cellular,
        }
    }

    /// One has fallen silent. Whether it stays so shows later.
    pub(super) fn silent(&mut self, access: Access, now: Instant) {
        let state = self.of(access);
        if *state == State::Works {
            *state = State::Silent(now);
        }
    }

    /// One answers; whether it was dead.
    pub(super) fn answers(&mut self, access: Access) -> bool {
        std::mem::replace(self.of(access), State::Works) == State::Dead
    }

    /// Whether one is dead.
    pub(super) fn is_dead(&self, access: Access) -> bool {
        let [wifi, cellular] = self.0;
        State::Dead == if access == Access::Wifi { wifi } else { cellular }
    }

    /// Those that have stayed silent.
    pub(super) fn handle_timeout(&mut self, now: Instant) -> Vec<Access> {
        let stays = |state: &State| matches!(state, State::Silent(at) if now - *at >= BLIP);
        let dead: Vec<_> =
            Access::ALL.into_iter().filter(|access| stays(self.of(*access))).collect();
        for access in &dead {
            *self.of(*access) = State::Dead;
        }
        dead
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let due = self.0.iter().filter_map(|state| match state {
            State::Silent(at) => Some(*at + BLIP),
            State::Works | State::Dead => None,
        });
        due.min()
    }
}
