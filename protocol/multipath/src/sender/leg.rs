//! A path as its sender knows it.
//!
//! **Rate.** Reports say what arrived, and when; over a round trip that is a rate. The highest one
//! of late is what the path carries at least. Whether it carries no more is seen where packets have
//! queued all the while: then the path is full.
//!
//! **Queue.** Each packet takes its time at that rate, and waits for those before it. That count is
//! put right with each report, which says how long a packet queued on the way there, so that what was
//! sent since then queues behind it.

use std::time::Duration;

use homeward_l2tp::Sequence;
use homeward_model::Instant;

use super::life::{Life, Patience};
use super::log::{Load, Log, Sent, low};
use super::measure::{Goodput, Loss, Mark, Outward, Progress, Rate, RoundTrip, nanos, time};
use crate::path::PathId;
use crate::report::{Received, Report, is_later, micros};
use crate::settings::{PathSettings, Settings, Standing};
use crate::status::PathStatus;

/// The one-way delay that a path is taken to have before it was measured.
const UNKNOWN_DELAY: Duration = Duration::from_millis(100);

/// The least time that a rate is taken over, and the longest: between the two it is a round trip.
const RATE_SPAN: [Duration; 2] = [Duration::from_millis(10), Duration::from_millis(100)];

/// What is sent on a path that nothing is known of before it has shown more, in octets: ten
/// packets, as a TCP begins (RFC 6928).
const FIRST: u64 = 15_000;

/// A time to queue that is none: timers are not exact.
const NO_QUEUE: Duration = Duration::from_millis(2);

/// What has not arrived so long after it was sent is lost, and does not queue.
const LONGEST_QUEUE: Duration = Duration::from_secs(2);

/// A report on what arrived longer ago says nothing of the round-trip time.
const LONGEST_HELD: Duration = Duration::from_secs(1);

/// A probe whose answer has not come.
#[derive(Debug, Clone, Copy)]
struct Probe {
    number: u32,
    at: Instant,
    /// What was sent before it.
    packets: u64,
    octets: u64,
    queued: bool,
}

#[derive(Debug)]
pub(super) struct Leg {
    pub(super) standing: Standing,
    cap: Option<u64>,
    quota: Option<u64>,
    exhausted: bool,
    log: Log,
    pub(super) life: Life,
    rtt: RoundTrip,
    outward: Outward,
    /// When the packet that was reported last had queued.
    queued_until: Instant,
    /// These four follow from the round-trip time.
    pub(super) patience: Patience,
    /// How long what is sent is on its way until that is known, without a queue; before it is known,
    /// for ever.
    pipe: Duration,
    variation: Duration,
    delay: Duration,
    rate: Rate,
    /// What packets are taken to be carried at, in bits per second.
    carries: u64,
    progress: Progress,
    loss: Loss,
    goodput: Goodput,
    /// When it has carried what was sent.
    busy: Instant,
    /// By how much that was put right, downwards, in microseconds.
    corrected: u32,
    /// When it would have, at the rate that it is held to.
    paid: Instant,
    last_sent: Instant,
    /// Octets sent before the last packet that arrived, and packets.
    decided: (u64, u64),
    /// Packets that arrived; `None` before the first report.
    arrived: Option<Arrived>,
    /// The last reports: with and without what was received.
    reported: Option<u32>,
    asked: Option<u32>,
    probes: [Option<Probe>; 8],
    next_probe: usize,
}

/// What the last report said.
#[derive(Debug, Clone, Copy)]
struct Arrived {
    highest: Sequence,
    /// As reported.
    packets: u32,
    /// Of those that this machine sent.
    total: u64,
    octets: u64,
    duplicates: u32,
}

impl Leg {
    pub(super) fn new(settings: &Settings, now: Instant) -> Self {
        let rtt = RoundTrip::default();
        Self {
            standing: Standing::Full,
            cap: None,
            quota: None,
            exhausted: false,
            log: Log::new(settings.log),
            life: Life::new(now),
            patience: Patience::new(&rtt, settings),
            pipe: Duration::MAX,
            variation: Duration::ZERO,
            delay: UNKNOWN_DELAY,
            rtt,
            outward: Outward::default(),
            queued_until: now,
            rate: Rate::default(),
            carries: settings.first_rate.max(1),
            progress: Progress::default(),
            loss: Loss::default(),
            goodput: Goodput::default(),
            busy: now,
            corrected: 0,
            paid: now,
            last_sent: now,
            decided: (0, 0),
            arrived: None,
            reported: None,
            asked: None,
            probes: [None; 8],
            next_probe: 0,
        }
    }

    pub(super) fn set(&mut self, path: PathSettings, settings: &Settings) {
        let PathSettings { standing, rate, quota } = path;
        (self.standing, self.cap, self.quota) = (standing, rate, quota);
        self.exhausted = false;
        if standing == Standing::Barred {
            self.life.rest();
        }
        self.set_carries(settings);
    }

    /// Its standing, with the quota in mind.
    #[inline]
    pub(super) fn standing(&self) -> Standing {
        if self.exhausted { Standing::Barred } else { self.standing }
    }

    pub(super) fn rtt(&self) -> Option<Duration> {
        self.rtt.mean()
    }

    /// Bars the path if its quota does not suffice for this; says whether that has just happened.
    #[inline]
    pub(super) fn exhaust(&mut self, octets: u64) -> bool {
        let lacks = self.quota.is_some_and(|left| left < octets.max(1));
        if lacks && !self.exhausted {
            self.exhausted = true;
            self.life.rest();
            return self.standing != Standing::Barred;
        }
        false
    }

    pub(super) fn spend(&mut self, octets: u64) {
        self.quota = self.quota.map(|left| left.saturating_sub(octets));
    }

    /// Whether it is held to a rate, and has that.
    #[inline]
    pub(super) fn is_capped(&self, settings: &Settings, now: Instant) -> bool {
        self.cap.is_some() && self.paid.since(now) > settings.burst
    }

    /// Whether what it carries is known, so that its queue is.
    #[inline]
    pub(super) fn is_known(&self) -> bool {
        self.rate.is_known()
    }

    /// Whether it has twice of what it is known to carry, or more than a few packets if that is
    /// nothing: what more it carries is to be seen first.
    #[inline]
    pub(super) fn is_tried(&self, now: Instant) -> bool {
        if self.rate.is_known() || self.in_flight() <= FIRST {
            return false;
        }
        let all = self.backlog();
        if now >= self.last_sent + all + self.pipe.saturating_add(self.variation) {
            return false; // What is not reported by now is lost.
        }
        self.rate
            .get()
            .is_none_or(|rate| time(self.in_flight(), rate) > self.pipe.saturating_mul(2))
    }

    /// How long a packet waits for those before it.
    #[inline]
    pub(super) fn queue(&self, now: Instant) -> Duration {
        let all = self.backlog();
        // What should have been reported by now, and was not, queues.
        let overdue = now + all.saturating_sub(self.pipe.saturating_add(self.variation));
        let soonest = overdue.max(self.queued_until + all);
        self.busy.max(soonest).min(self.last_sent + all).since(now)
    }

    /// How long until a packet of so many octets arrives.
    #[inline]
    pub(super) fn arrival(&self, queue: Duration, octets: u64) -> Duration {
        queue + self.delay + time(octets, self.carries)
    }

    #[inline]
    pub(super) fn sent(&mut self, number: Sequence, octets: usize, s: &Settings, now: Instant) {
        let load = self.load(now);
        self.log.note(number, octets, load, now);
        let octets = octets as u64;
        self.busy = self.busy.max(now) + time(octets, self.carries);
        if let Some(cap) = self.cap {
            self.paid = self.paid.max(now) + time(octets, cap);
        }
        self.last_sent = now;
        self.spend(octets);
        self.life.sent(s, now);
    }

    /// How busy it is.
    #[inline]
    fn load(&self, now: Instant) -> Load {
        let queue = self.queue(now);
        Load {
            queued: self.is_queued(queue),
            expected: low(whole_micros(queue)).wrapping_add(self.corrected),
        }
    }

    #[inline]
    fn is_queued(&self, queue: Duration) -> bool {
        queue > NO_QUEUE.max(self.delay / 4)
    }

    /// Octets on their way, as far as is known.
    #[inline]
    fn in_flight(&self) -> u64 {
        self.log.octets().saturating_sub(self.decided.0)
    }

    /// How long what is on its way takes.
    #[inline]
    fn backlog(&self) -> Duration {
        time(self.in_flight(), self.carries).min(LONGEST_QUEUE)
    }

    /// A probe, with this number.
    pub(super) fn probe(&mut self, number: u32, settings: &Settings, now: Instant) -> Report {
        let probe = Probe {
            number,
            at: now,
            packets: self.log.packets(),
            octets: self.log.octets(),
            queued: self.is_queued(self.queue(now)),
        };
        let place = self.next_probe % self.probes.len();
        if let Some(place) = self.probes.get_mut(place) {
            *place = Some(probe);
        }
        self.next_probe += 1;
        self.life.probed(settings, now);
        Report { number, request: true, ..Report::default() }
    }

    pub(super) fn die(&mut self, settings: &Settings, now: Instant) {
        self.life.die(self.patience, settings, now);
        // What was on its way is lost, or will be reported.
        self.decided = (self.log.octets(), self.log.packets());
        self.busy = now;
        self.progress.clear();
    }

    /// Takes a report; says whether it revives the path.
    pub(super) fn handle_report(
        &mut self,
        report: &Report,
        s: &Settings,
        now: Instant,
    ) -> Option<bool> {
        let last = match report.received {
            Some(_) => &mut self.reported,
            None => &mut self.asked,
        };
        if !is_later(report.number, *last) {
            return None;
        }
        *last = Some(report.number);
        let mut revived = self.life.heard(now);
        let probe = report.answer.and_then(|number| {
            self.probes
                .iter_mut()
                .find(|probe| probe.is_some_and(|probe| probe.number == number))
                .and_then(Option::take)
        });
        let progressed = match report.received {
            Some(received) => self.learn(&received, probe, s, now),
            None => false,
        };
        if probe.is_some() || progressed {
            revived |= self.life.answered(now);
        }
        if let (Some(probe), false) = (probe, progressed) {
            self.round_trip(now.since(probe.at), Duration::ZERO, probe.queued, s, now);
        }
        Some(revived)
    }

    /// Takes what the other end has received; says whether that is more than before.
    fn learn(
        &mut self,
        received: &Received,
        probe: Option<Probe>,
        settings: &Settings,
        now: Instant,
    ) -> bool {
        let before = self.arrived;
        // Fewer than before: the other end counts anew.
        let more = received.packets.wrapping_sub(before.map_or(0, |before| before.packets));
        let more = if more > u32::MAX / 2 { received.packets } else { more };
        let sent = self.log.get(received.highest, now);
        let new = sent.filter(|_| before.is_none_or(|before| before.highest != received.highest));
        let queued = new.and_then(|sent| self.way(received, &sent, settings, now));
        // A path keeps the order: what was sent before this is there, or lost.
        let decided = (sent.map(|sent| (sent.octets, sent.packets)))
            .max(probe.map(|probe| (probe.octets, probe.packets)))
            .unwrap_or_default();
        let total = match before {
            Some(before) => before.total.saturating_add(more.into()),
            None => u64::from(more).min(decided.1),
        };
        if decided > (0, 0) {
            let newly = decided.1.saturating_sub(self.decided.1);
            self.loss.note(newly, more.into(), decided.1.saturating_sub(total));
            self.decided = self.decided.max(decided);
        }
        self.arrived = Some(Arrived {
            highest: received.highest,
            packets: received.packets,
            total,
            octets: received.octets,
            duplicates: received.duplicates,
        });
        self.goodput.note(received.octets, now);
        if before.is_some_and(|before| received.octets < before.octets) {
            self.progress.clear();
        } else if let (Some(sent), Some(queued)) = (new, queued) {
            self.measure_rate(received, &sent, queued, settings, now);
        }
        if let (Some(sent), Some(queued)) = (new, queued) {
            self.correct_queue(&sent, queued, now);
        }
        more > 0
    }

    /// Measures the way of a packet there and back; says how long it queued on the way there.
    fn way(
        &mut self,
        received: &Received,
        sent: &Sent,
        s: &Settings,
        now: Instant,
    ) -> Option<Duration> {
        let rtt = now.since(sent.at).saturating_sub(received.held);
        if received.held > LONGEST_HELD || rtt == Duration::ZERO {
            return None;
        }
        let difference = received.arrived.wrapping_sub(micros(sent.at));
        let later = self.outward.sample(difference, sent.load.queued, s.rtt_window, now);
        let queued = later.min(rtt.saturating_sub(self.rtt.least().unwrap_or(rtt)));
        self.round_trip(rtt, queued, sent.load.queued, s, now);
        Some(queued)
    }

    fn measure_rate(
        &mut self,
        received: &Received,
        sent: &Sent,
        queued: Duration,
        s: &Settings,
        now: Instant,
    ) {
        let mark = Mark {
            arrived: sooner(now, received.held),
            sent: sent.at,
            octets: received.octets,
            queued,
        };
        let [shortest, longest] = RATE_SPAN;
        let span = self.rtt.least().unwrap_or_default().clamp(shortest, longest);
        if let Some((rate, full)) = self.progress.note(mark, span, s.queue / 2) {
            self.rate.sample(rate, full, s.rate_window, now);
            self.set_carries(s);
        }
    }

    /// Puts the queue right: a packet has `queued`, and what was sent after it is behind it.
    fn correct_queue(&mut self, sent: &Sent, queued: Duration, now: Instant) {
        // By how much it was expected to queue longer, but for what was put right meanwhile.
        let expected = sent.load.expected.wrapping_sub(self.corrected).cast_signed();
        let expected = u64::try_from(expected).unwrap_or_default();
        let excess = expected.saturating_sub(whole_micros(queued));
        let excess = excess.min(whole_micros(self.busy.since(now)));
        self.corrected = self.corrected.wrapping_add(low(excess));
        self.busy = sooner(self.busy, Duration::from_micros(excess));
        self.queued_until = sent.at + queued;
    }

    fn set_carries(&mut self, settings: &Settings) {
        let measured = self.rate.get().unwrap_or_default();
        let least = if self.rate.is_known() { 1 } else { settings.first_rate.max(1) };
        let carries = measured.max(least);
        self.carries = self.cap.map_or(carries, |cap| carries.min(cap.max(1)));
    }

    fn round_trip(
        &mut self,
        rtt: Duration,
        queued: Duration,
        loaded: bool,
        settings: &Settings,
        now: Instant,
    ) {
        self.rtt.sample(rtt, loaded, settings.rtt_window, now);
        self.patience = Patience::new(&self.rtt, settings);
        if let (Some(least), Some(mean)) = (self.rtt.least(), self.rtt.mean()) {
            self.delay = least / 2;
            self.pipe = mean.saturating_sub(queued).max(least) + settings.report.delay(Some(mean));
            self.variation = self.rtt.deviation().unwrap_or_default() * 4;
        }
    }

    pub(super) fn status(&self, path: PathId, now: Instant) -> PathStatus {
        PathStatus {
            path,
            alive: self.life.is_alive(),
            standing: self.standing(),
            rtt_us: self.rtt.mean().map(whole_micros),
            least_rtt_us: self.rtt.least().map(whole_micros),
            jitter_us: self.rtt.deviation().map(whole_micros),
            loss_ppm: self.loss.mean(),
            goodput: self.goodput.get(now),
            rate: self.rate.get(),
            full: self.rate.is_known(),
            queue_us: whole_micros(self.queue(now)),
            packets: self.log.packets(),
            octets: self.log.octets(),
            lost: self.loss.total(),
            duplicates: self.arrived.map_or(0, |arrived| arrived.duplicates),
            quota: self.quota,
        }
    }
}

fn whole_micros(span: Duration) -> u64 {
    u64::try_from(span.as_micros()).unwrap_or(u64::MAX)
}

fn sooner(at: Instant, by: Duration) -> Instant {
    Instant::from_nanos(at.as_nanos().saturating_sub(nanos(by)))
}
