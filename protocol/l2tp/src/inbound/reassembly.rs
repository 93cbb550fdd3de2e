//! Putting frames together again (RFC 4623 4.1): their fragments have consecutive numbers.
//!
//! What is held are runs of fragments whose numbers follow one another. A fragment lengthens a
//! run at its end or its beginning, or joins two; a run with a first and a last fragment is a
//! frame. So the order of arrival does not matter, and in the usual order every octet is copied
//! once.

use homeward_model::Instant;

use super::{InboundCounters, InboundSettings};
use crate::codec::{Fragment, MAX_FRAGMENTS, Sequence};
use crate::error::Discard;

/// Consecutive fragments, and their octets.
#[derive(Debug)]
struct Run {
    first: Sequence,
    count: u32,
    /// Whether the first of them begins the frame, and the last ends it.
    begins: bool,
    ends: bool,
    /// When the run's first fragment came.
    since: Instant,
    octets: Vec<u8>,
}

/// Frames that are not whole yet. Exists only while fragments are in flight, and a little longer.
#[derive(Debug, Default)]
pub(super) struct Reassembly {
    /// Ordered by `since`.
    runs: Vec<Run>,
    /// Octets in all runs.
    held: usize,
    /// The last frame that became whole, lent to the caller until the next packet.
    whole: Vec<u8>,
    /// An empty buffer, so that a steady stream of fragments allocates nothing.
    spare: Vec<u8>,
    /// When a fragment last came.
    used: Instant,
}

impl Reassembly {
    /// Takes a fragment whose number was not seen before; whether it made a frame
    /// [`whole`](Self::whole).
    pub(super) fn accept(
        &mut self,
        number: Sequence,
        fragment: Fragment,
        payload: &[u8],
        now: Instant,
        settings: &InboundSettings,
        counters: &mut InboundCounters,
    ) -> Result<bool, Discard> {
        self.used = now;
        self.expire(now, settings, counters);
        if payload.is_empty() {
            return Err(Discard::Fragment);
        }
        let before = self.find(|run| run.first.plus(run.count) == number);
        let after = self.find(|run| run.first == number.plus(1));
        // A neighbour that ends where this fragment would go on, or the other way about, belongs
        // to another frame.
        let before = before.filter(|(_, run)| !run.ends && !fragment.begins());
        let after = after.filter(|(_, run)| !run.begins && !fragment.ends());
        let (before, after) = (before.map(|(at, _)| at), after.map(|(at, _)| at));
        let at = match (before, after) {
            (Some(before), after) => {
                self.append(before, fragment, payload);
                match after {
                    Some(after) => self.join(before, after),
                    None => before,
                }
            }
            (None, Some(after)) => {
                self.prepend(after, number, fragment, payload);
                after
            }
            (None, None) => self.begin(number, fragment, payload, now),
        };
        self.finish(at, settings, counters)
    }

    /// The frame that [`accept`](Self::accept) said is whole.
    pub(super) fn whole(&self) -> &[u8] {
        &self.whole
    }

    /// Gives up runs older than the time-out.
    pub(super) fn expire(
        &mut self,
        now: Instant,
        settings: &InboundSettings,
        counters: &mut InboundCounters,
    ) {
        while let Some(oldest) = self.runs.first()
            && now >= oldest.since + settings.timeout
        {
            self.drop_run(0);
            counters.timed_out += 1;
        }
    }

    /// Whether nothing is held and nothing came for the time-out.
    pub(super) fn is_idle(&self, now: Instant, settings: &InboundSettings) -> bool {
        self.runs.is_empty() && now >= self.used + settings.timeout
    }

    /// When [`expire`](Self::expire) or [`is_idle`](Self::is_idle) will have something to say.
    pub(super) fn due(&self, settings: &InboundSettings) -> Instant {
        self.runs.first().map_or(self.used, |oldest| oldest.since) + settings.timeout
    }

    /// Octets held for frames that are not whole.
    pub(super) const fn held(&self) -> usize {
        self.held
    }

    fn find(&self, wanted: impl Fn(&Run) -> bool) -> Option<(usize, &Run)> {
        self.runs.iter().enumerate().find(|(_, run)| wanted(run))
    }

    fn begin(
        &mut self,
        number: Sequence,
        fragment: Fragment,
        payload: &[u8],
        now: Instant,
    ) -> usize {
        let mut octets = std::mem::take(&mut self.spare);
        octets.clear();
        octets.extend_from_slice(payload);
        self.held += payload.len();
        self.runs.push(Run {
            first: number,
            count: 1,
            begins: fragment.begins(),
            ends: fragment.ends(),
            since: now,
            octets,
        });
        self.runs.len() - 1
    }

    fn append(&mut self, at: usize, fragment: Fragment, payload: &[u8]) {
        if let Some(run) = self.runs.get_mut(at) {
            run.octets.extend_from_slice(payload);
            run.count += 1;
            run.ends = fragment.ends();
            self.held += payload.len();
        }
    }

    fn prepend(&mut self, at: usize, number: Sequence, fragment: Fragment, payload: &[u8]) {
        if let Some(run) = self.runs.get_mut(at) {
            run.octets.splice(..0, payload.iter().copied());
            run.first = number;
            run.count += 1;
            run.begins = fragment.begins();
            self.held += payload.len();
        }
    }

    /// Appends the run at `after` to the one at `before`; where the longer one is now.
    fn join(&mut self, before: usize, after: usize) -> usize {
        let tail = self.runs.remove(after);
        let before = if after < before { before - 1 } else { before };
        if let Some(run) = self.runs.get_mut(before) {
            run.octets.extend_from_slice(&tail.octets);
            run.count += tail.count;
            run.ends = tail.ends;
        }
        self.recycle(tail.octets);
        before
    }

    /// Hands out the run at `at` if it is a frame; enforces the limits if not.
    fn finish(
        &mut self,
        at: usize,
        settings: &InboundSettings,
        counters: &mut InboundCounters,
    ) -> Result<bool, Discard> {
        let Some(run) = self.runs.get(at) else { return Ok(false) };
        if run.octets.len() > settings.max_frame || run.count as usize > MAX_FRAGMENTS {
            self.drop_run(at);
            return Err(Discard::Fragment);
        }
        if run.begins && run.ends {
            let run = self.runs.remove(at);
            self.held -= run.octets.len();
            let last = std::mem::replace(&mut self.whole, run.octets);
            self.recycle(last);
            counters.reassembled += 1;
            return Ok(true);
        }
        // The newest is kept: it is as likely as any to become whole, and the oldest has waited
        // longest in vain.
        while self.runs.len() > settings.max_runs.max(1) || self.held > settings.max_held() {
            self.drop_run(0);
            counters.evicted += 1;
        }
        Ok(false)
    }

    fn drop_run(&mut self, at: usize) {
        if at < self.runs.len() {
            let run = self.runs.remove(at);
            self.held -= run.octets.len();
            self.recycle(run.octets);
        }
    }

    /// Keeps the larger of a buffer that is no longer needed and the spare one.
    fn recycle(&mut self, buffer: Vec<u8>) {
        if buffer.capacity() > self.spare.capacity() {
            self.spare = buffer;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What an allocator gives back may lie where it lay before, so look at the buffers here.
    #[test]
    fn buffers_go_round() {
        let (settings, mut counters) = (InboundSettings::default(), InboundCounters::default());
        let mut reassembly = Reassembly::default();
        for number in (0..20).step_by(2) {
            let parts = [(number, Fragment::First), (number + 1, Fragment::Last)];
            for (number, part) in parts {
                let number = Sequence::new(number);
                let now = Instant::ORIGIN;
                let taken =
                    reassembly.accept(number, part, &[7; 700], now, &settings, &mut counters);
                assert_eq!(taken, Ok(part == Fragment::Last));
            }
            assert_eq!(reassembly.whole(), [7; 1400]);
            assert_eq!(reassembly.held(), 0);
            if number >= 2 {
                assert!(reassembly.spare.capacity() >= 1400, "the last one waits for the next");
            }
        }
    }
}
