//! The bodies of the fuzz targets.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use homeward_l2tp::Sequence;
use homeward_model::Instant;

use crate::{Mode, PathId, Reorder, ReorderSettings, Report, Verdict};

/// Target `multipath_report`: what is read is written as the same, but for what is ignored.
pub fn fuzz_report(data: &[u8]) {
    let Ok(report) = Report::decode(data) else { return };
    let octets = report.encode();
    assert!(octets.len() <= data.len(), "no longer than it was");
    assert_eq!(Report::decode(&octets), Ok(report), "and read again as the same");
}

/// The settings that the corpus of `multipath_reorder` is for; the first octet has
/// [`path_reorder`](field@ReorderSettings::path_reorder) in its low three bits.
pub fn settings(first: u8) -> ReorderSettings {
    ReorderSettings {
        wait: Duration::from_millis(50),
        octets: 8 * 2048,
        numbers: 64,
        path_reorder: usize::from(first & 7),
        idle: Duration::from_millis(100),
        ..ReorderSettings::default()
    }
}

/// Target `multipath_reorder`: after the first octet, what happens in a row. The low three bits of an
/// octet say what, the two above which path:
///
/// | bits | what | octets that follow |
/// |---|---|---|
/// | 0 to 2 | a frame comes | its number from the next to come, signed |
/// | 3 | a fragment comes | the same |
/// | 4 | time passes | in milliseconds, about |
/// | 5 | a duplicate comes | how far behind the next to come |
/// | 6 | the path lives, or is dead, if bit 5 is set | none |
/// | 7 | the mode changes, or, if bit 5 is set, a frame comes from far ahead | mode; in 2^16 numbers |
pub fn fuzz_reorder(data: &[u8]) {
    let Some((first, mut data)) = data.split_first() else { return };
    let mut watch = Watch::new(settings(*first));
    while let Some((what, rest)) = data.split_first() {
        data = rest;
        let Some(path) = PathId::new(what >> 3 & 3) else { return };
        if what & 7 == 6 {
            watch.live(path, what & 0x20 == 0);
            continue;
        }
        let Some((value, rest)) = data.split_first() else { break };
        data = rest;
        let near = i32::from(value.cast_signed());
        match what & 7 {
            0..=2 => watch.frame(path, near),
            3 => watch.fragment(path, near),
            4 => watch.pass_time(Duration::from_nanos(u64::from(*value) * 1_000_337)),
            5 => watch.duplicate(path, i32::from(*value)),
            _ if what & 0x20 != 0 => watch.frame(path, i32::from(value & 0x7f) << 16),
            _ => watch.mode(*value),
        }
    }
    watch.pass_time(watch.settings.wait + Duration::from_millis(1));
    assert_eq!(watch.reorder.held(), 0, "nothing is held for ever");
    assert_eq!(watch.reorder.poll_timeout(), None, "nor waited for");
    assert!(watch.held.is_empty(), "each frame comes out: {:?}", watch.held);
}

/// The machine, and what must be true of it.
#[derive(Debug)]
struct Watch {
    settings: ReorderSettings,
    reorder: Reorder,
    now: Instant,
    /// One more than the highest number that came.
    next: Sequence,
    /// The numbers that came, as a window would have it, and when each frame did that is held.
    seen: BTreeSet<u32>,
    held: BTreeMap<u32, Instant>,
    /// The highest number that came out.
    out: Option<Sequence>,
}

impl Watch {
    fn new(settings: ReorderSettings) -> Self {
        let mut reorder = Reorder::new(settings);
        reorder.set_mode(Mode::Striped);
        let next = Sequence::new(0xff_fff0);
        let now = Instant::from_nanos(u64::from(u32::MAX - 30_000) * 1000 + 999);
        let (seen, held) = (BTreeSet::new(), BTreeMap::new());
        Self { settings, reorder, now, next, seen, held, out: None }
    }

    /// The number, if a window would let it pass.
    fn number(&mut self, ahead: i32) -> Option<Sequence> {
        let number = Sequence::new(self.next.get().wrapping_add_signed(ahead));
        if !self.seen.insert(number.get()) {
            return None;
        }
        if ahead >= 0 {
            self.next = number.plus(1);
        }
        Some(number)
    }

    fn frame(&mut self, path: PathId, ahead: i32) {
        let Some(number) = self.number(ahead) else { return };
        let frame = number.get().to_be_bytes();
        let late = self.reorder.counters().late;
        match self.reorder.accept(path, number, Some(&frame), self.now) {
            Verdict::Pass => {
                let late = self.reorder.counters().late > late;
                let in_order = self.out.is_none_or(|out| number.ahead_of(out) > 0);
                assert!(in_order || late, "{number:?} passes after {:?}", self.out);
                if in_order {
                    self.out = Some(number);
                }
            }
            Verdict::Held => drop(self.held.insert(number.get(), self.now)),
        }
        self.pop();
    }

    fn fragment(&mut self, path: PathId, ahead: i32) {
        let Some(number) = self.number(ahead) else { return };
        let verdict = self.reorder.accept(path, number, None, self.now);
        assert_eq!(verdict, Verdict::Pass, "there is nothing to hold");
        self.pop();
    }

    fn duplicate(&mut self, path: PathId, behind: i32) {
        let number = Sequence::new(self.next.get().wrapping_add_signed(-behind - 1));
        self.reorder.duplicate(path, number, self.now);
        self.pop();
    }

    fn live(&mut self, path: PathId, live: bool) {
        self.reorder.set_live(path, live, self.now);
        self.pop();
    }

    fn mode(&mut self, value: u8) {
        let modes = [Mode::Single, Mode::Mirrored, Mode::Striped, Mode::Automatic];
        if let Some(mode) = modes.get(usize::from(value & 3)) {
            self.reorder.set_mode(*mode);
            self.pop();
            assert!(mode.stripes() || self.reorder.held() == 0, "nothing is held in {mode:?}");
        }
    }

    /// Lets time pass, and the machine do what is due meanwhile.
    fn pass_time(&mut self, span: Duration) {
        let until = self.now + span;
        while let Some(due) = self.reorder.poll_timeout().filter(|due| *due <= until) {
            assert!(due > self.now, "what was due at {due:?} was not done");
            self.now = due;
            self.reorder.handle_timeout(due);
            self.pop();
        }
        self.now = until;
    }

    fn pop(&mut self) {
        while let Some(frame) = self.reorder.pop() {
            let number = frame.first_chunk().map(|octets| u32::from_be_bytes(*octets));
            let Some(number) = number else { panic!("a frame of {} octets", frame.len()) };
            let Some(came) = self.held.remove(&number) else { panic!("{number} was not held") };
            let waited = self.now.since(came);
            let most = self.settings.wait + Duration::from_micros(2);
            assert!(waited <= most, "{number} was held for {waited:?}");
            let number = Sequence::new(number);
            assert!(self.out.is_none_or(|out| number.ahead_of(out) > 0), "popped out of order");
            self.out = Some(number);
        }
        assert_eq!(self.held.len(), self.reorder.held(), "frames that are held");
        assert!(self.reorder.memory() <= self.settings.octets, "{}", self.reorder.memory());
    }
}
