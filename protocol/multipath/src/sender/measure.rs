//! What reports show of a path: round trips, rate, loss.

use std::time::Duration;

use homeward_model::Instant;

/// Nanoseconds in a second.
pub(super) const SECOND: u64 = 1_000_000_000;

/// A span in nanoseconds.
pub(super) fn nanos(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)
}

/// How long `octets` take at `rate` bits per second.
#[inline]
pub(super) const fn time(octets: u64, rate: u64) -> Duration {
    match octets.saturating_mul(8 * SECOND).checked_div(rate) {
        Some(nanos) => Duration::from_nanos(nanos),
        None => Duration::MAX,
    }
}

/// The rate in bits per second at which `octets` take `span`.
pub(super) fn rate(octets: u64, span: Duration) -> u64 {
    let bits = u128::from(octets) * u128::from(8 * SECOND);
    let rate = bits / span.as_nanos().max(1);
    u64::try_from(rate).unwrap_or(u64::MAX)
}

/// Samples that are taken within so short a time were released together, by whatever held them up:
/// reports come further apart.
const BURST: Duration = Duration::from_millis(1);

/// Smoothed round-trip time and its mean deviation (RFC 6298 2), and the shortest one of late.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct RoundTrip {
    /// SRTT and RTTVAR, once there was a sample.
    smooth: Option<(Duration, Duration)>,
    /// The last samples, as far as they came together.
    burst: Option<Burst>,
    /// The shortest, and when it was measured.
    least: Option<(Duration, Instant)>,
}

/// Samples that came together. They tell of one stall, and count as one: the shortest, which is of what
/// was sent last, and says most of how the path is now.
#[derive(Debug, Clone, Copy)]
struct Burst {
    /// When the first came.
    at: Instant,
    least: Duration,
    /// What was known before it.
    before: Option<(Duration, Duration)>,
}

impl RoundTrip {
    /// Takes a sample. If its packet queued at this end's doing it says nothing of the shortest time,
    /// but that it is no longer.
    pub(super) fn sample(&mut self, rtt: Duration, queued: bool, window: Duration, now: Instant) {
        let burst = match self.burst {
            Some(burst) if now.since(burst.at) < BURST => {
                Burst { least: burst.least.min(rtt), ..burst }
            }
            _ => Burst { at: now, least: rtt, before: self.smooth },
        };
        self.burst = Some(burst);
        self.smooth = Some(match burst.before {
            None => (burst.least, burst.least / 2),
            Some((mean, deviation)) => {
                (mean * 7 / 8 + burst.least / 8, deviation * 3 / 4 + mean.abs_diff(burst.least) / 4)
            }
        });
        self.least = match self.least {
            Some((least, at)) if rtt > least && (queued || now.since(at) <= window) => {
                Some((least, at))
            }
            _ => Some((rtt, now)),
        };
    }

    pub(super) fn mean(&self) -> Option<Duration> {
        self.smooth.map(|(mean, _)| mean)
    }

    pub(super) fn deviation(&self) -> Option<Duration> {
        self.smooth.map(|(_, deviation)| deviation)
    }

    pub(super) fn least(&self) -> Option<Duration> {
        self.least.map(|(least, _)| least)
    }
}

/// How long packets queue on the way there, whatever the way back takes: they arrive later, on the
/// other end's clock, than ones that did not queue. The two clocks need not agree, only run at one pace.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Outward {
    /// The least difference of the clocks of late, in microseconds modulo 2^32, and when it was seen.
    least: Option<(u32, Instant)>,
}

impl Outward {
    /// A difference that is larger by more than this is another clock's.
    const LONGEST: u32 = 10_000_000;

    /// Takes the difference between when a packet arrived, on the other end's clock, and when it was
    /// sent; says how long it queued. If it `queued` at this end's doing it does not end the window.
    pub(super) fn sample(
        &mut self,
        difference: u32,
        queued: bool,
        window: Duration,
        now: Instant,
    ) -> Duration {
        let more = self.least.map_or(0, |(least, _)| difference.wrapping_sub(least));
        let kept = self.least.is_some_and(|(_, at)| {
            (1..=Self::LONGEST).contains(&more) && (queued || now.since(at) <= window)
        });
        if !kept {
            self.least = Some((difference, now));
            return Duration::ZERO;
        }
        Duration::from_micros(more.into())
    }
}

/// How much a path carries: the highest rate of late at which packets arrived. If the path was not full
/// it only counts if it is higher than what was known, so that the estimate never shrinks to
/// what happens to be sent.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Rate {
    /// The highest of this half of the window, and of the half before.
    halves: [u64; 2],
    /// When this half began.
    since: Instant,
    full: bool,
}

impl Rate {
    pub(super) fn sample(&mut self, rate: u64, full: bool, window: Duration, now: Instant) {
        let [current, before] = self.halves;
        self.full |= full;
        if full && now.since(self.since) > window / 2 {
            (self.halves, self.since) = ([rate, current], now);
        } else {
            self.halves = [current.max(rate), before];
        }
    }

    /// In bits per second, once there was a sample: what the path carries, or at least that.
    #[inline]
    pub(super) fn get(&self) -> Option<u64> {
        let [current, before] = self.halves;
        Some(current.max(before)).filter(|rate| *rate > 0)
    }

    /// Whether the path was ever seen to be full: what it carries is known, not only that it is no
    /// less.
    pub(super) const fn is_known(&self) -> bool {
        self.full
    }
}

/// When what had arrived: enough of the past for a rate over a round trip.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Progress {
    marks: [Mark; 32],
    next: usize,
}

/// What had arrived at a time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Mark {
    /// When the last packet of it arrived, on this end's clock, give or take the way back.
    pub(super) arrived: Instant,
    /// When that was sent.
    pub(super) sent: Instant,
    /// Octets that had arrived.
    pub(super) octets: u64,
    /// How long it queued.
    pub(super) queued: Duration,
}

impl Progress {
    pub(super) fn clear(&mut self) {
        self.next = 0;
    }

    /// Notes a mark, and says at which rate packets have arrived over the `span` before it, and whether
    /// the path was full, so that it carries no more; `None` if that is too short a time to say. It was
    /// if a packet has queued all the while, and for `least` at least, lest jitter be taken for it.
    pub(super) fn note(
        &mut self,
        mark: Mark,
        span: Duration,
        least: Duration,
    ) -> Option<(u64, bool)> {
        let count = self.marks.len();
        let known = self.next.min(count);
        let mut found = None;
        let (mut after, mut gap) = (mark, Duration::ZERO);
        for back in 1..=known {
            let Some(base) = self.marks.get((self.next - back) % count) else { break };
            gap = gap.max(after.arrived.since(base.arrived));
            after = *base;
            let taken = mark.arrived.since(base.arrived);
            if taken < span {
                continue;
            }
            // What a pause makes of the rate is not what the path carries.
            let steady = gap <= taken * 3 / 4;
            let full = steady && mark.queued >= taken.max(least);
            // At most as quick as it was sent: what came in a heap had been held up.
            let taken = taken.max(mark.sent.since(base.sent));
            let octets = mark.octets.saturating_sub(base.octets);
            found = Some((rate(octets, taken), full));
            if back > 1 {
                break;
            }
        }
        if let Some(place) = self.marks.get_mut(self.next % count) {
            *place = mark;
        }
        self.next += 1;
        found
    }
}

/// Packets lost.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Loss {
    /// In millionths, of late.
    mean: u32,
    /// In all.
    total: u64,
}

impl Loss {
    /// The packets that the mean remembers.
    const MEMORY: u64 = 256;

    /// Notes that of `sent` packets more `received` arrived, and that `total` are missing now.
    pub(super) fn note(&mut self, sent: u64, received: u64, total: u64) {
        self.total = total;
        if sent == 0 {
            return;
        }
        let share = sent.saturating_sub(received) * 1_000_000 / sent;
        let weight = sent.min(Self::MEMORY);
        let mean = u64::from(self.mean) * (Self::MEMORY - weight) + share * weight;
        self.mean = u32::try_from(mean / Self::MEMORY).unwrap_or(1_000_000);
    }

    pub(super) const fn mean(&self) -> u32 {
        self.mean
    }

    pub(super) const fn total(&self) -> u64 {
        self.total
    }
}

/// Octets that arrive, by the second.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Goodput {
    since: Instant,
    octets: u64,
    rate: u64,
}

impl Goodput {
    /// The least time that a rate is taken over.
    const SPAN: Duration = Duration::from_millis(500);
    /// After this long without a report nothing arrives.
    const STALE: Duration = Duration::from_secs(2);

    /// Notes that so many octets have arrived in all.
    pub(super) fn note(&mut self, octets: u64, now: Instant) {
        let span = now.since(self.since);
        if span >= Self::SPAN {
            let more = octets.saturating_sub(self.octets);
            self.rate = if span > Self::STALE { 0 } else { rate(more, span) };
            (self.since, self.octets) = (now, octets);
        }
    }

    pub(super) fn get(&self, now: Instant) -> u64 {
        if now.since(self.since) > Self::STALE { 0 } else { self.rate }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn at(ms: u64) -> Instant {
        Instant::from_nanos(ms * 1_000_000)
    }

    #[test]
    fn round_trips_are_smoothed_as_rfc_6298_says() {
        let mut rtt = RoundTrip::default();
        rtt.sample(80 * MS, false, 1000 * MS, at(0));
        assert_eq!((rtt.mean(), rtt.deviation()), (Some(80 * MS), Some(40 * MS)));
        rtt.sample(40 * MS, false, 1000 * MS, at(1));
        assert_eq!((rtt.mean(), rtt.deviation()), (Some(75 * MS), Some(40 * MS)));
    }

    #[test]
    fn what_a_stall_released_together_counts_once_and_as_the_shortest() {
        let mut rtt = RoundTrip::default();
        for ms in 0..50 {
            rtt.sample(10 * MS, false, 1000 * MS, at(10 * ms));
        }
        let (mean, steady) = (rtt.mean(), rtt.deviation().unwrap());
        for late in (314..350).rev() {
            rtt.sample(late * MS, false, 1000 * MS, at(1000));
        }
        assert_eq!(mean, Some(10 * MS));
        assert_eq!(rtt.mean(), Some(10 * MS * 7 / 8 + 314 * MS / 8));
        assert_eq!(rtt.deviation(), Some(steady * 3 / 4 + 304 * MS / 4));
        // Neither is forgotten that there was one before, nor does the next wait for long.
        rtt.sample(10 * MS, false, 1000 * MS, at(1001));
        assert!(rtt.mean() > Some(40 * MS));
        for ms in 0..30 {
            rtt.sample(10 * MS, false, 1000 * MS, at(1005 + 5 * ms));
        }
        assert!(rtt.mean() < Some(12 * MS) && rtt.deviation() < Some(4 * MS), "{rtt:?}");
    }

    #[test]
    fn the_shortest_time_outlives_its_window_only_while_packets_queue() {
        let mut rtt = RoundTrip::default();
        rtt.sample(20 * MS, false, 1000 * MS, at(0));
        rtt.sample(30 * MS, false, 1000 * MS, at(1000));
        assert_eq!(rtt.least(), Some(20 * MS), "within the window");
        rtt.sample(30 * MS, true, 1000 * MS, at(1001));
        assert_eq!(rtt.least(), Some(20 * MS), "packets queue");
        rtt.sample(30 * MS, false, 1000 * MS, at(1002));
        assert_eq!(rtt.least(), Some(30 * MS));
        rtt.sample(25 * MS, true, 1000 * MS, at(1003));
        assert_eq!(rtt.least(), Some(25 * MS), "shorter in spite of a queue");
    }

    #[test]
    fn a_queue_is_what_packets_arrive_later_whatever_the_clocks_say() {
        for offset in [0, 5, u32::MAX - 21_000] {
            let mut outward = Outward::default();
            let mut sample = |took: u32, queued, ms| {
                let queued = outward.sample(offset.wrapping_add(took), queued, 1000 * MS, at(ms));
                queued.as_micros()
            };
            assert_eq!(sample(20_000, false, 0), 0);
            assert_eq!(sample(25_000, false, 10), 5000);
            assert_eq!(sample(19_000, false, 20), 0);
            assert_eq!(sample(29_000, false, 1020), 10_000, "within the window");
            assert_eq!(sample(29_000, true, 2000), 10_000, "packets queue");
            assert_eq!(sample(29_000, false, 2000), 0, "the path has changed");
            assert_eq!(sample(20_000_000, true, 2001), 0, "the clock has changed");
        }
    }

    #[test]
    fn a_rate_grows_at_once_and_shrinks_only_for_a_full_path() {
        let mut rate = Rate::default();
        assert_eq!(rate.get(), None);
        for (sample, full, ms, known) in [
            (10, false, 0, 10),
            (30, false, 10, 30),
            (5, false, 5000, 30), // too little was sent
            (20, true, 5010, 30), // the window of 30 is over with the next half
            (20, true, 5400, 30),
            (20, true, 5511, 20),
            (5, false, 9000, 20),
            (5, false, 9600, 20),
        ] {
            assert_eq!(rate.is_known(), ms > 5010, "at {ms} ms");
            rate.sample(sample, full, 1000 * MS, at(ms));
            assert_eq!(rate.get(), Some(known), "{sample} at {ms} ms");
        }
    }

    #[test]
    fn a_rate_is_taken_over_the_span_and_not_quicker_than_it_was_sent() {
        let mut progress = Progress::default();
        let mark = |arrived, sent, octets, queued| Mark {
            arrived: at(arrived),
            sent: at(sent),
            octets,
            queued: queued * MS,
        };
        let mut note = |mark| progress.note(mark, 10 * MS, 15 * MS);
        assert_eq!(note(mark(10, 0, 1000, 50)), None);
        assert_eq!(note(mark(15, 5, 2000, 50)), None, "too short");
        assert_eq!(note(mark(20, 10, 2000, 15)), Some((800_000, true)));
        assert_eq!(note(mark(26, 25, 4000, 1)), Some((800_000, false)), "not 2000 in 11 ms");
        for n in 0..100 {
            note(mark(100 + n, 100 + n, 5000 + n * 125, 0));
        }
        assert_eq!(note(mark(200, 200, 5000 + 100 * 125, 14)), Some((1_000_000, false)), "jitter");
        assert_eq!(note(mark(201, 201, 5000 + 101 * 125, 15)), Some((1_000_000, true)));
        let pause = note(mark(300, 202, 5000 + 103 * 125, 100)).unwrap();
        assert_eq!(pause, (30_000, false), "375 octets in 100 ms, of which 99 were a pause");
    }

    #[test]
    fn loss_is_a_mean_over_packets() {
        let mut loss = Loss::default();
        loss.note(0, 0, 0);
        loss.note(256, 128, 128);
        assert_eq!((loss.mean(), loss.total()), (500_000, 128));
        loss.note(64, 64, 128);
        assert_eq!(loss.mean(), 375_000);
        loss.note(1, 2, 127);
        assert_eq!((loss.mean(), loss.total()), (373_535, 127), "one that changed places");
        loss.note(100_000, 0, 100_127);
        assert_eq!(loss.mean(), 1_000_000);
    }

    #[test]
    fn goodput_is_of_late() {
        let mut goodput = Goodput::default();
        goodput.note(0, at(0));
        goodput.note(125_000, at(499));
        assert_eq!(goodput.get(at(499)), 0);
        goodput.note(125_000, at(500));
        assert_eq!((goodput.get(at(500)), goodput.get(at(2501))), (2_000_000, 0));
    }
}
