//! A simple TCP: CUBIC (RFC 9438) with selective acknowledgements (RFC 2018, RFC 6675), one flow that
//! always has something to send, from end 0 to end 1.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use homeward_model::Instant;
use homeward_multipath::Urgency;

use super::world::{Application, Frame, MS, Payload};

/// Octets of a full segment on a path, and of an acknowledgement.
pub(crate) const SEGMENT: usize = 1514 + 50;
const ACK: usize = 66 + 50;

const BETA: f64 = 0.7;
const C: f64 = 0.4;
const DUP_THRESH: u64 = 3;

#[derive(Debug, Clone, Copy)]
struct Flight {
    sent: Instant,
    sacked: bool,
    lost: bool,
    again: bool,
}

#[derive(Debug)]
pub(crate) struct Tcp {
    // The sender.
    una: u64,
    flight: VecDeque<Flight>,
    window: f64,
    threshold: f64,
    highest_sacked: u64,
    /// Recovery ends when this is acknowledged; until then the window stays, but after a time-out.
    recover: Option<u64>,
    timed_out: bool,
    /// When something new was acknowledged last.
    progress: Instant,
    /// When the last of what was received was sent.
    newest: Instant,
    epoch: Option<Instant>,
    w_max: f64,
    srtt: f64,
    rttvar: f64,
    pub(crate) timeouts: u64,
    pub(crate) recoveries: u64,
    pub(crate) retransmitted: u64,
    // The receiver.
    next: u64,
    beyond: BTreeSet<u64>,
    unacked: u32,
    /// When each segment was first in order at the receiver: what the application gets.
    pub(crate) delivered: Vec<Instant>,
}

impl Tcp {
    pub(crate) fn new() -> Self {
        Self {
            una: 0,
            flight: VecDeque::new(),
            window: 10.0,
            threshold: f64::MAX,
            highest_sacked: 0,
            recover: None,
            timed_out: false,
            progress: Instant::ORIGIN,
            newest: Instant::ORIGIN,
            epoch: None,
            w_max: 0.0,
            srtt: 0.0,
            rttvar: 0.0,
            timeouts: 0,
            recoveries: 0,
            retransmitted: 0,
            next: 0,
            beyond: BTreeSet::new(),
            unacked: 0,
            delivered: Vec::new(),
        }
    }

    /// Bits per second of segments on the path that the application got, from one time to another.
    pub(crate) fn rate(&self, from: Instant, to: Instant) -> f64 {
        let count = self.delivered.iter().filter(|when| (from..to).contains(when)).count();
        (count * SEGMENT * 8) as f64 / to.since(from).as_secs_f64()
    }

    fn frame(number: u64) -> Frame {
        Frame { payload: Payload::Segment(number), octets: SEGMENT, urgency: Urgency::Bulk }
    }

    fn pipe(&self) -> f64 {
        let out =
            self.flight.iter().filter(|flight| !flight.sacked && (!flight.lost || flight.again));
        out.count() as f64
    }

    fn fill(&mut self, now: Instant, out: &mut Vec<Frame>) {
        let mut room = self.window - self.pipe();
        for (offset, flight) in self.flight.iter_mut().enumerate() {
            if room < 1.0 {
                return;
            }
            if flight.lost && !flight.again && !flight.sacked {
                (flight.again, flight.sent) = (true, now);
                out.push(Self::frame(self.una + offset as u64));
                self.retransmitted += 1;
                room -= 1.0;
            }
        }
        while room >= 1.0 {
            let number = self.una + self.flight.len() as u64;
            self.flight.push_back(Flight { sent: now, sacked: false, lost: false, again: false });
            out.push(Self::frame(number));
            room -= 1.0;
        }
    }

    fn reduce(&mut self) {
        // RFC 9438 4.6 and 4.7.
        self.w_max =
            if self.window < self.w_max { self.window * (1.0 + BETA) / 2.0 } else { self.window };
        self.window = (self.window * BETA).max(2.0);
        self.threshold = self.window;
        self.epoch = None;
    }

    fn grow(&mut self, acked: u64, now: Instant) {
        if self.window < self.threshold {
            self.window += acked as f64;
            return;
        }
        let epoch = *self.epoch.get_or_insert(now);
        let t = now.since(epoch).as_secs_f64();
        let k = ((self.w_max * (1.0 - BETA)).max(0.0) / C).cbrt();
        let cubic = C * (t + self.srtt - k).powi(3) + self.w_max;
        let alpha = 3.0 * (1.0 - BETA) / (1.0 + BETA);
        let friendly = self.threshold.min(self.w_max * BETA) + alpha * t / self.srtt.max(0.001);
        let target = cubic.max(friendly).clamp(self.window, 1.5 * self.window);
        self.window += acked as f64 * (target - self.window) / self.window;
    }

    fn sample(&mut self, rtt: Duration) {
        let rtt = rtt.as_secs_f64();
        if self.srtt == 0.0 {
            (self.srtt, self.rttvar) = (rtt, rtt / 2.0);
        } else {
            self.rttvar = 0.75 * self.rttvar + 0.25 * (self.srtt - rtt).abs();
            self.srtt = 0.875 * self.srtt + 0.125 * rtt;
        }
    }

    fn timeout(&self) -> Duration {
        if self.srtt == 0.0 {
            1000 * MS
        } else {
            Duration::from_secs_f64((self.srtt + 4.0 * self.rttvar).max(0.2))
        }
    }

    fn acknowledged(&mut self, ack: u64, sacks: &[(u64, u64)], now: Instant, out: &mut Vec<Frame>) {
        let mut newly = 0;
        if self.una < ack {
            self.progress = now;
        }
        while self.una < ack {
            let Some(flight) = self.flight.pop_front() else { break };
            self.una += 1;
            newly += u64::from(!flight.sacked);
            self.newest = self.newest.max(flight.sent);
            if !flight.again && !flight.sacked {
                self.sample(now.since(flight.sent));
            }
        }
        for &(from, to) in sacks {
            for number in from.max(self.una)..to {
                if let Some(flight) = self.flight.get_mut((number - self.una) as usize)
                    && !flight.sacked
                {
                    flight.sacked = true;
                    newly += 1;
                    self.newest = self.newest.max(flight.sent);
                    self.highest_sacked = self.highest_sacked.max(number);
                }
            }
        }
        if self.recover.is_some_and(|recover| self.una >= recover) {
            (self.recover, self.timed_out) = (None, false);
        }
        // RFC 6675: lost is what three segments beyond it were received. RFC 8985: lost again is what
        // something that was sent well after it was received.
        let reordering = Duration::from_secs_f64(self.srtt / 4.0);
        let mut above = 0;
        let mut lost = false;
        for flight in self.flight.iter_mut().rev() {
            if flight.sacked {
                above += 1;
            } else if above >= DUP_THRESH && !flight.lost {
                flight.lost = true;
                lost = true;
            } else if flight.again && flight.sent + reordering < self.newest {
                flight.again = false;
            }
        }
        if lost && self.recover.is_none() {
            self.recover = Some(self.una + self.flight.len() as u64);
            self.recoveries += 1;
            self.reduce();
        }
        if newly > 0 && (self.recover.is_none() || self.timed_out) {
            self.grow(newly, now);
        }
        self.fill(now, out);
    }
}

impl Application for Tcp {
    fn received(&mut self, end: usize, payload: &Payload, now: Instant, out: &mut Vec<Frame>) {
        match payload {
            Payload::Ack(ack, sacks) if end == 0 => self.acknowledged(*ack, sacks, now, out),
            Payload::Segment(number) if end == 1 => {
                let in_order = *number == self.next && self.beyond.is_empty();
                if *number >= self.next {
                    self.beyond.insert(*number);
                }
                while self.beyond.remove(&self.next) {
                    self.next += 1;
                    self.delivered.push(now);
                }
                self.unacked += 1;
                if in_order && self.unacked < 2 {
                    return;
                }
                self.unacked = 0;
                // All of it: the test's TCP has room in its header.
                let mut sacks: Vec<(u64, u64)> = Vec::new();
                for number in &self.beyond {
                    match sacks.last_mut() {
                        Some((_, to)) if *to == *number => *to += 1,
                        _ => sacks.push((*number, *number + 1)),
                    }
                }
                let payload = Payload::Ack(self.next, sacks);
                out.push(Frame { payload, octets: ACK, urgency: Urgency::Bulk });
            }
            other => panic!("{other:?} at {end}"),
        }
    }

    fn tick(&mut self, now: Instant, out: &mut Vec<Frame>) -> Option<Instant> {
        if let Some(first) = self.flight.front()
            && now.since(first.sent.max(self.progress)) > self.timeout()
        {
            self.timeouts += 1;
            self.reduce();
            (self.window, self.timed_out) = (1.0, true);
            self.recover = Some(self.una + self.flight.len() as u64);
            for flight in &mut self.flight {
                (flight.lost, flight.again) = (!flight.sacked, false);
            }
        }
        self.fill(now, out);
        Some(now + 10 * MS)
    }
}
