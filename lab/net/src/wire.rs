//! One direction of an emulated link, purely: frames and times in, frames and times out.
//!
//! What happens to the nth frame is decided by the seed and by n alone, whatever the others'
//! times and whatever was set before: a run with the same frames has the same losses.

use std::collections::BTreeMap;
use std::time::Duration;

use homeward_model::Instant;

use crate::random::SplitMix;

/// Octets of an Ethernet header, which the MTU does not count.
const ETHERNET: usize = 14;

/// How many draws each frame has for itself.
const DRAWS: u64 = 4;

/// What a direction does to its frames. Chances are 0 to 1, each frame's own.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Impairment {
    /// How long each frame is on its way.
    pub delay: Duration,
    /// How much longer at most; evenly spread. Frames keep their order.
    pub jitter: Duration,
    /// The chance that a frame is lost.
    pub loss: f64,
    /// The chance that a frame arrives twice, the second right behind the first.
    pub duplicate: f64,
    /// The chance that a frame is held back and so overtaken by those behind it.
    pub reorder: f64,
    /// How long such a frame is held back.
    pub held_back: Duration,
    /// Bits a second, of Ethernet frames without preamble, check sequence and gap; `None` for as
    /// many as come.
    pub rate: Option<u64>,
    /// Octets that may wait for the rate; frames that find more waiting are dropped.
    pub queue: usize,
    /// Octets behind the Ethernet header above which a frame is dropped without a word.
    pub mtu: usize,
}

impl Impairment {
    /// None: a cable.
    pub const NONE: Self = Self {
        delay: Duration::ZERO,
        jitter: Duration::ZERO,
        loss: 0.0,
        duplicate: 0.0,
        reorder: 0.0,
        held_back: Duration::from_millis(5),
        rate: None,
        queue: 256 * 1024,
        mtu: usize::MAX,
    };

    /// A cable that takes `delay`.
    pub const fn delayed(delay: Duration) -> Self {
        Self { delay, ..Self::NONE }
    }

    /// A cable that loses this share of the frames.
    pub const fn lossy(loss: f64) -> Self {
        Self { loss, ..Self::NONE }
    }
}

impl Default for Impairment {
    fn default() -> Self {
        Self::NONE
    }
}

/// What a direction has done so far, in frames unless said otherwise.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// Came in.
    pub entered: u64,
    /// Octets that came in.
    pub entered_octets: u64,
    /// Went out, copies included.
    pub delivered: u64,
    /// Octets that went out.
    pub delivered_octets: u64,
    /// Lost by chance.
    pub lost: u64,
    /// Doubled.
    pub duplicated: u64,
    /// Held back.
    pub reordered: u64,
    /// Dropped for a full queue.
    pub overflowed: u64,
    /// Dropped as larger than the MTU.
    pub oversized: u64,
}

/// A direction. `T` is a frame, in whatever form its owner keeps it.
#[derive(Debug)]
pub struct Wire<T> {
    seed: u64,
    impairment: Impairment,
    counters: Counters,
    /// On their way, by the time of their arrival, and in the order they came where that is equal.
    /// Frames that had come when the impairment was set.
    since: u64,
    under_way: BTreeMap<(Instant, u64), (T, usize)>,
    /// Numbers what is under way; a copy has a number of its own.
    next: u64,
    /// When the rate lets the next frame begin.
    free: Instant,
    /// The last arrival of a frame that was not held back.
    last: Instant,
}

impl<T: Clone> Wire<T> {
    /// A cable without impairment.
    pub fn new(seed: u64) -> Self {
        Self {
            seed,
            impairment: Impairment::NONE,
            counters: Counters::default(),
            since: 0,
            under_way: BTreeMap::new(),
            next: 0,
            free: Instant::ORIGIN,
            last: Instant::ORIGIN,
        }
    }

    /// Sets what happens to frames that come from now on, by the seed's sequence from its start: how
    /// many came before is chance. Those under way arrive as was settled.
    pub fn set(&mut self, impairment: Impairment) {
        self.impairment = impairment;
        self.since = self.counters.entered;
    }

    /// What it has done so far.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// How many frames are under way.
    pub fn under_way(&self) -> usize {
        self.under_way.len()
    }

    /// A frame of `len` octets, its Ethernet header included, comes in.
    pub fn handle_frame(&mut self, frame: T, len: usize, now: Instant) {
        let mut random = SplitMix::at(self.seed, (self.counters.entered - self.since) * DRAWS);
        let [lost, doubled, held, late] = [(); 4].map(|()| random.fraction());
        self.counters.entered += 1;
        self.counters.entered_octets += len as u64;

        let what = self.impairment;
        if len.saturating_sub(ETHERNET) > what.mtu {
            self.counters.oversized += 1;
            return;
        }
        let Some(sent) = self.serialise(len, now) else {
            self.counters.overflowed += 1;
            return;
        };
        // Lost on the way: it has taken its time at the sender.
        if lost < what.loss {
            self.counters.lost += 1;
            return;
        }
        let due = sent + what.delay + what.jitter.mul_f64(late);
        let due = if held < what.reorder {
            self.counters.reordered += 1;
            due + what.held_back
        } else {
            self.last = self.last.max(due);
            self.last
        };
        if doubled < what.duplicate {
            self.counters.duplicated += 1;
            self.put(frame.clone(), len, due);
        }
        self.put(frame, len, due);
    }

    /// The next frame that has arrived by now.
    pub fn poll_transmit(&mut self, now: Instant) -> Option<T> {
        let first = self.under_way.first_entry()?;
        if first.key().0 > now {
            return None;
        }
        let (frame, len) = first.remove();
        self.counters.delivered += 1;
        self.counters.delivered_octets += len as u64;
        Some(frame)
    }

    /// When the next frame arrives.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.under_way.first_key_value().map(|((due, _), _)| *due)
    }

    /// When the sender has sent the frame's last bit; `None` if it finds the queue full.
    fn serialise(&mut self, len: usize, now: Instant) -> Option<Instant> {
        let Some(rate) = self.impairment.rate.filter(|rate| *rate > 0) else { return Some(now) };
        let waiting = self.free.since(now);
        let octets = waiting.as_nanos() * u128::from(rate) / 8_000_000_000;
        if octets > self.impairment.queue as u128 {
            return None;
        }
        let nanos = len as u128 * 8_000_000_000 / u128::from(rate);
        let begin = self.free.max(now);
        self.free = begin + Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
        Some(self.free)
    }

    fn put(&mut self, frame: T, len: usize, due: Instant) {
        self.under_way.insert((due, self.next), (frame, len));
        self.next += 1;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const FRAME: usize = 1514;

    fn at(micros: u64) -> Instant {
        Instant::from_nanos(micros * 1000)
    }

    /// Sends `count` frames, one every `every` µs; what arrives, with its time.
    fn run(
        impairment: Impairment,
        seed: u64,
        count: u64,
        every: u64,
    ) -> (Vec<(u64, Instant)>, Counters) {
        let mut wire = Wire::new(seed);
        wire.set(impairment);
        let mut arrived = Vec::new();
        for n in 0..count {
            let now = at(n * every);
            drain(&mut wire, now, &mut arrived);
            wire.handle_frame(n, FRAME, now);
        }
        drain(&mut wire, Instant::from_nanos(u64::MAX), &mut arrived);
        (arrived, wire.counters())
    }

    fn drain(wire: &mut Wire<u64>, until: Instant, into: &mut Vec<(u64, Instant)>) {
        while let Some(due) = wire.poll_timeout().filter(|due| *due <= until) {
            let nothing_early = due.as_nanos().checked_sub(1).map(Instant::from_nanos);
            assert_eq!(nothing_early.and_then(|early| wire.poll_transmit(early)), None);
            into.push((wire.poll_transmit(due).unwrap(), due));
        }
    }

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn a_cable_passes_everything_at_once_and_in_order() {
        let (arrived, counters) = run(Impairment::NONE, 1, 100, 10);
        let expected: Vec<_> = (0..100).map(|n| (n, at(n * 10))).collect();
        assert_eq!(arrived, expected);
        let octets = 100 * FRAME as u64;
        let expected = Counters {
            entered: 100,
            entered_octets: octets,
            delivered: 100,
            delivered_octets: octets,
            ..Counters::default()
        };
        assert_eq!(counters, expected);
    }

    #[test]
    fn a_delay_shifts_and_jitter_stays_within_its_bounds_and_keeps_the_order() {
        let impairment = Impairment { jitter: ms(5), ..Impairment::delayed(ms(20)) };
        let (arrived, _) = run(impairment, 3, 1000, 1000);
        let mut late = Vec::new();
        for (place, (n, due)) in arrived.iter().enumerate() {
            assert_eq!(*n, place as u64);
            late.push(*due - at(n * 1000));
        }
        assert!(late.iter().all(|late| (ms(20)..=ms(25)).contains(late)));
        let spread = *late.iter().max().unwrap() - *late.iter().min().unwrap();
        assert!(spread > ms(4), "{spread:?}");
    }

    #[test]
    fn a_share_of_the_frames_is_lost_doubled_or_held_back() {
        let impairment =
            Impairment { loss: 0.05, duplicate: 0.02, reorder: 0.1, ..Impairment::NONE };
        let (arrived, counters) = run(impairment, 5, 20_000, 100);
        assert!((900..1100).contains(&counters.lost), "{counters:?}");
        assert!((330..430).contains(&counters.duplicated), "{counters:?}");
        assert!((1800..2000).contains(&counters.reordered), "{counters:?}");
        assert_eq!(counters.delivered, 20_000 - counters.lost + counters.duplicated);
        assert_eq!(arrived.len() as u64, counters.delivered);
        let overtaken = arrived.windows(2).filter(|pair| pair[0].0 > pair[1].0).count();
        assert!(overtaken > 1000, "{overtaken}");
    }

    #[test]
    fn the_same_seed_loses_the_same_frames_whatever_their_times() {
        let impairment = Impairment::lossy(0.2);
        let numbers = |seed, every| -> Vec<u64> {
            run(impairment, seed, 500, every).0.into_iter().map(|(n, _)| n).collect()
        };
        assert_eq!(numbers(9, 10), numbers(9, 999));
        assert_ne!(numbers(9, 10), numbers(10, 10));
    }

    #[test]
    fn a_setting_holds_for_frames_that_come_after_it() {
        let mut wire = Wire::new(1);
        wire.set(Impairment::delayed(ms(10)));
        wire.handle_frame("slow", FRAME, at(0));
        wire.set(Impairment::lossy(1.0));
        wire.handle_frame("lost", FRAME, at(1));
        wire.set(Impairment { reorder: 1.0, held_back: ms(1), ..Impairment::NONE });
        wire.handle_frame("quick", FRAME, at(2));
        assert_eq!(wire.poll_transmit(at(1002)), Some("quick"));
        assert_eq!(wire.poll_transmit(at(9_999)), None);
        assert_eq!(wire.poll_transmit(at(10_000)), Some("slow"));
        assert_eq!((wire.poll_timeout(), wire.under_way()), (None, 0));
    }

    #[test]
    fn a_rate_spaces_frames_out_and_a_full_queue_drops() {
        // 1,514 octets at 12.112 Mbit/s take 1 ms; five frames' worth may wait.
        let impairment =
            Impairment { rate: Some(12_112_000), queue: 5 * FRAME, ..Impairment::NONE };
        let (arrived, counters) = run(impairment, 1, 10, 0);
        // The one being sent, those that find up to five waiting, and no more.
        let expected: Vec<_> = (0..6).map(|n| (n, at((n + 1) * 1000))).collect();
        assert_eq!(arrived, expected);
        assert_eq!(counters.overflowed, 4);
        let (arrived, counters) = run(impairment, 1, 100, 1000);
        assert_eq!((arrived.len(), counters.overflowed), (100, 0));
    }

    #[test]
    fn a_frame_larger_than_the_mtu_is_dropped() {
        let mut wire = Wire::new(1);
        wire.set(Impairment { mtu: 1400, ..Impairment::NONE });
        wire.handle_frame("fits", 1414, at(0));
        wire.handle_frame("too large", 1415, at(0));
        assert_eq!(wire.poll_transmit(at(0)), Some("fits"));
        assert_eq!((wire.poll_transmit(at(9)), wire.counters().oversized), (None, 1));
    }

    proptest! {
        #[test]
        fn every_frame_is_accounted_for_and_none_arrives_early(
            (delay, jitter, held_back, queue) in (0u64..50, 0u64..20, 0u64..30, 0usize..20_000),
            (loss, duplicate, reorder) in (0.0..1.0, 0.0..1.0, 0.0..1.0),
            rate in prop::option::of(1_000u64..1_000_000_000),
            seed: u64,
            every in 0u64..2_000,
        ) {
            let impairment = Impairment {
                delay: ms(delay), jitter: ms(jitter), held_back: ms(held_back),
                loss, duplicate, reorder, rate, queue, mtu: 1500,
            };
            let (arrived, c) = run(impairment, seed, 200, every);
            prop_assert_eq!(c.entered + c.duplicated, c.delivered + c.lost + c.overflowed + c.oversized);
            prop_assert_eq!(arrived.len() as u64, c.delivered);
            for (n, due) in arrived {
                prop_assert!(due >= at(n * every) + ms(delay));
            }
        }
    }
}
