//! Frames that wait until their peer is there: the first of whoever begins to speak. A device's
//! request for an address, lost while its tunnel is being set up, would be repeated only after a
//! second or more.

use std::collections::VecDeque;
use std::time::Duration;

use homeward_linux::tap::VNET_HEADER;
use homeward_model::Instant;

/// How many frames of a tunnel wait, and octets of them: what a device says within seconds, and
/// no more than a thousand tunnels may cost at once.
const FRAMES: usize = 32;
const OCTETS: usize = 32 * 1024;

/// The frames of one tunnel, in their order.
#[derive(Debug, Default)]
pub(crate) struct Hold {
    frames: VecDeque<Held>,
    octets: usize,
}

/// One of them, as it was read.
#[derive(Debug)]
pub(crate) struct Held {
    pub(crate) header: [u8; VNET_HEADER],
    pub(crate) frame: Box<[u8]>,
    since: Instant,
}

impl Hold {
    /// Has a frame wait, for no longer than `patience`; the oldest make room. Gives how many
    /// frames wait no more, that one included.
    pub(crate) fn push(
        &mut self,
        header: &[u8; VNET_HEADER],
        frame: &[u8],
        patience: Duration,
        now: Instant,
    ) -> u64 {
        let mut lost = self.expire(patience, now);
        if patience.is_zero() || frame.len() > OCTETS {
            return lost + 1;
        }
        while self.frames.len() >= FRAMES || self.octets + frame.len() > OCTETS {
            if self.take().is_none() {
                break;
            }
            lost += 1;
        }
        self.octets += frame.len();
        self.frames.push_back(Held { header: *header, frame: frame.into(), since: now });
        lost
    }

    /// Lets those go that have waited for `patience`. Gives how many.
    pub(crate) fn expire(&mut self, patience: Duration, now: Instant) -> u64 {
        let mut lost = 0;
        while self.frames.front().is_some_and(|held| now.since(held.since) >= patience) {
            self.take();
            lost += 1;
        }
        lost
    }

    /// The oldest.
    pub(crate) fn take(&mut self) -> Option<Held> {
        let held = self.frames.pop_front()?;
        self.octets -= held.frame.len();
        Some(held)
    }

    /// Lets all go. Gives how many.
    pub(crate) fn clear(&mut self) -> u64 {
        std::mem::take(self).frames.len() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: [u8; VNET_HEADER] = [0; VNET_HEADER];
    const PATIENCE: Duration = Duration::from_secs(3);

    fn at(millis: u64) -> Instant {
        Instant::ORIGIN + Duration::from_millis(millis)
    }

    /// What comes out: the first octet of each frame.
    fn out(hold: &mut Hold) -> Vec<u8> {
        std::iter::from_fn(|| hold.take()).map(|held| held.frame[0]).collect()
    }

    #[test]
    fn frames_come_out_as_they_went_in() {
        let mut hold = Hold::default();
        for number in 0..5u8 {
            let header = [number; VNET_HEADER];
            assert_eq!(hold.push(&header, &[number; 60], PATIENCE, at(0)), 0);
        }
        for number in 0..5u8 {
            let held = hold.take().unwrap();
            assert_eq!((held.header, &*held.frame), ([number; VNET_HEADER], &[number; 60][..]));
        }
        assert!(hold.take().is_none());
        assert_eq!(hold.octets, 0);
    }

    #[test]
    fn what_has_waited_for_too_long_goes_and_is_counted() {
        let mut hold = Hold::default();
        for (number, millis) in [(0, 0), (1, 1000), (2, 2000)] {
            assert_eq!(hold.push(&HEADER, &[number], PATIENCE, at(millis)), 0);
        }
        assert_eq!(hold.expire(PATIENCE, at(2999)), 0);
        assert_eq!(hold.expire(PATIENCE, at(3000)), 1);
        assert_eq!(hold.push(&HEADER, &[3], PATIENCE, at(4500)), 1, "the one of 1000");
        assert_eq!(out(&mut hold), [2, 3]);
    }

    #[test]
    fn the_oldest_make_room_for_the_newest() {
        let mut hold = Hold::default();
        let many = FRAMES as u8 + 8;
        let lost: u64 = (0..many).map(|n| hold.push(&HEADER, &[n], PATIENCE, at(0))).sum();
        assert_eq!(lost, 8);
        assert_eq!(out(&mut hold), (8..many).collect::<Vec<_>>());
        let half = OCTETS / 2;
        let lost: u64 = (0..3).map(|n| hold.push(&HEADER, &vec![n; half], PATIENCE, at(0))).sum();
        assert_eq!((lost, hold.octets), (1, OCTETS));
        assert_eq!(hold.push(&HEADER, &[9; OCTETS + 1], PATIENCE, at(0)), 1, "longer than all");
        assert_eq!(out(&mut hold), [1, 2]);
    }

    #[test]
    fn without_patience_nothing_waits() {
        let mut hold = Hold::default();
        assert_eq!(hold.push(&HEADER, &[1], Duration::ZERO, at(0)), 1);
        assert!(hold.take().is_none());
    }

    #[test]
    fn all_that_wait_may_be_let_go() {
        let mut hold = Hold::default();
        for number in 0..3 {
            hold.push(&HEADER, &[number], PATIENCE, at(0));
        }
        assert_eq!(hold.clear(), 3);
        assert_eq!((hold.take().is_none(), hold.octets), (true, 0));
    }
}
