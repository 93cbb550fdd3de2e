//! Tells stations that have just connected where their router is, before they ask.
//!
//! A Linux station forgets its neighbours when it loses its carrier (`arp_evict_nocarrier`), asks
//! once when it has the next packet to send, and then waits a second before it asks again: all
//! too often into the air of the roam. What arrives unasked while it waits is believed. When it
//! will ask is not known, so it is told several times over a quarter of a second.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use homeward_control::Router;
use homeward_model::{Instant, Mac};

use crate::frames;

/// When a station is told, counted from its connection.
const TIMES_MS: [u64; 7] = [0, 10, 30, 60, 100, 150, 250];

/// The greetings under way, each to one station at one place `P`.
#[derive(Debug)]
pub(crate) struct Greeter<P> {
    under_way: BTreeMap<(P, Mac), Greeting>,
    frames: VecDeque<(P, Vec<u8>)>,
}

#[derive(Debug)]
struct Greeting {
    began: Instant,
    told: usize,
    routers: Vec<Router>,
}

impl Greeting {
    fn due(&self) -> Option<Instant> {
        TIMES_MS.get(self.told).map(|ms| self.began + Duration::from_millis(*ms))
    }
}

impl<P: Copy + Ord> Greeter<P> {
    pub(crate) fn new() -> Self {
        Self { under_way: BTreeMap::new(), frames: VecDeque::new() }
    }

    /// A station connected at a place whose routers are these. Replaces an earlier greeting.
    pub(crate) fn greet(&mut self, place: P, station: Mac, routers: &[Router], now: Instant) {
        self.stop(place, station);
        if !routers.is_empty() {
            let greeting = Greeting { began: now, told: 0, routers: routers.to_vec() };
            self.under_way.insert((place, station), greeting);
            self.handle_timeout(now);
        }
    }

    /// The station has gone.
    pub(crate) fn stop(&mut self, place: P, station: Mac) {
        self.under_way.remove(&(place, station));
    }

    /// Whoever is at a place has gone.
    pub(crate) fn clear(&mut self, place: P) {
        self.under_way.retain(|(at, _), _| *at != place);
    }

    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        let Self { under_way, frames } = self;
        under_way.retain(|(place, station), greeting| {
            while let Some(due) = greeting.due() {
                if due > now {
                    return true;
                }
                greeting.told += 1;
                for router in &greeting.routers {
                    let frame = frames::router_is_at(router.address, router.mac, *station);
                    frames.push_back((*place, frame));
                }
            }
            false
        });
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.under_way.values().filter_map(Greeting::due).min()
    }

    /// The next frame to send, and where.
    pub(crate) fn poll_frame(&mut self) -> Option<(P, Vec<u8>)> {
        self.frames.pop_front()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PHONE: Mac = Mac::new([2, 0, 0, 0, 0, 1]);

    fn at(ms: u64) -> Instant {
        Instant::from_nanos(ms * 1_000_000)
    }

    fn routers() -> Vec<Router> {
        vec![Router { address: "10.1.0.1".parse().unwrap(), mac: Mac::new([2, 0, 0, 0, 9, 9]) }]
    }

    /// When frames come if the greeter is woken as it asks.
    fn heard(greeter: &mut Greeter<u8>) -> Vec<(u64, u8)> {
        let mut heard = Vec::new();
        let mut now = at(0);
        loop {
            while let Some((place, _)) = greeter.poll_frame() {
                heard.push((now.as_nanos() / 1_000_000, place));
            }
            let Some(due) = greeter.poll_timeout() else { return heard };
            now = due;
            greeter.handle_timeout(now);
        }
    }

    #[test]
    fn a_station_is_told_seven_times_over_a_quarter_of_a_second() {
        let mut greeter = Greeter::new();
        greeter.greet(1, PHONE, &routers(), at(0));
        assert_eq!(heard(&mut greeter), TIMES_MS.map(|ms| (ms, 1)));
    }

    #[test]
    fn a_station_that_leaves_is_told_nothing_more_and_one_that_comes_again_all_anew() {
        let mut greeter = Greeter::new();
        greeter.greet(1, PHONE, &routers(), at(0));
        greeter.stop(1, PHONE);
        assert_eq!(heard(&mut greeter), [(0, 1)]);
        greeter.greet(1, PHONE, &routers(), at(0));
        greeter.greet(1, PHONE, &routers(), at(0));
        assert_eq!(heard(&mut greeter).len(), TIMES_MS.len() + 1);
    }

    #[test]
    fn where_no_router_is_known_nothing_is_said() {
        let mut greeter = Greeter::new();
        greeter.greet(1, PHONE, &[], at(0));
        assert_eq!(heard(&mut greeter), []);
        assert_eq!(greeter.poll_timeout(), None);
    }

    #[test]
    fn a_late_wake_up_tells_what_was_missed_and_ends() {
        let mut greeter = Greeter::new();
        greeter.greet(1, PHONE, &routers(), at(0));
        greeter.handle_timeout(at(5000));
        assert_eq!(heard(&mut greeter).len(), TIMES_MS.len());
    }
}
