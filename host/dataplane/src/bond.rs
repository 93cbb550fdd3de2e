//! What a tunnel of several paths has besides: which way packets go, and in which order they are
//! handed on.

use std::sync::atomic::{AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard};

use homeward_model::{BondingModes, Instant};
use homeward_multipath::{
    Course, Event as PathEvent, MAX_PATHS, Mode, PathId, PathSettings, Receiver, ReceiverSettings,
    Reorder, Route, Sender, Standing,
};

use crate::config::{BondConfig, TunnelId};
use crate::event::{Event, PathTurn};
use crate::status::{BondStatus, LegStatus};
use crate::table::lock;
use crate::timers::Slot;

/// The machines of a tunnel of several paths. Of the two locks, `sender` is the inner one. Neither is
/// held when WireGuard's is taken: the thread that sends takes them the other way round.
pub(crate) struct Bond {
    pub(crate) sender: Mutex<Sender>,
    pub(crate) arrivals: Mutex<Arrivals>,
    /// When they are to be looked at.
    pub(crate) slot: Slot,
    /// The paths by which the other end can be reached, as the sender was told last.
    open: AtomicU8,
    /// When each was heard last, if the sender does not know yet: nanoseconds on the clock, or 0.
    heard: [AtomicU64; MAX_PATHS],
    plans: Mutex<[Plan; MAX_PATHS]>,
    paths: usize,
    small: AtomicUsize,
    /// What of the other end's ways is followed, if it is.
    follows: Mutex<Option<BondingModes>>,
    /// How the other end said last that it sends.
    theirs: Mutex<Option<Course>>,
}

/// What a path is to be used for.
#[derive(Debug, Clone, Copy, Default)]
struct Plan {
    /// As it was told.
    wanted: PathSettings,
    /// With what is left of its quota, while it is closed.
    left: PathSettings,
}

/// What is received.
pub(crate) struct Arrivals {
    pub(crate) receiver: Receiver,
    pub(crate) reorder: Reorder,
}

impl Bond {
    /// With no path open.
    pub(crate) fn new(config: &BondConfig, now: Instant) -> Box<Self> {
        let mut sender = Sender::new(config.settings, now);
        let paths = (config.legs.len() + 1).min(MAX_PATHS);
        for path in PathId::ALL.into_iter().take(paths) {
            sender.set_path(path, closed(), now);
        }
        let receiver = Receiver::new(ReceiverSettings { report: config.settings.report });
        let arrivals = Arrivals { receiver, reorder: Reorder::new(config.reorder) };
        let bond = Self {
            sender: Mutex::new(sender),
            arrivals: Mutex::new(arrivals),
            slot: Slot::default(),
            open: AtomicU8::new(0),
            heard: Default::default(),
            plans: Mutex::default(),
            paths,
            small: config.small.into(),
            follows: Mutex::new(config.follows),
            theirs: Mutex::default(),
        };
        bond.configure(config, now);
        Box::new(bond)
    }

    /// Takes what may change while a tunnel is open.
    pub(crate) fn configure(&self, config: &BondConfig, now: Instant) {
        let mut plans = lock(&self.plans);
        let mut sender = lock(&self.sender);
        let open = self.open();
        let told = config.paths.iter().copied().chain(std::iter::repeat(PathSettings::default()));
        for ((plan, path), wanted) in plans.iter_mut().zip(PathId::ALL).zip(told).take(self.paths) {
            // What is left of a quota is not filled up by being told the same again.
            if plan.wanted == wanted {
                continue;
            }
            *plan = Plan { wanted, left: wanted };
            if open.contains(path) {
                sender.set_path(path, wanted, now);
            }
        }
        *lock(&self.follows) = config.follows;
        match (config.follows, *lock(&self.theirs)) {
            (Some(allowed), Some(theirs)) => follow(&mut sender, theirs, allowed),
            (allowed, _) => {
                sender
                    .set_mode(allowed.map_or(config.mode, |allowed| within(config.mode, allowed)));
                sender.set_preferred(config.preferred);
            }
        }
        self.small.store(config.small, Ordering::Relaxed);
    }

    /// Octets up to which a frame is urgent.
    pub(crate) fn small(&self) -> usize {
        self.small.load(Ordering::Relaxed)
    }

    /// Notes that something authentic came by a path. The lock of the sender is not taken for that,
    /// which the thread that sends holds for a batch.
    #[inline]
    pub(crate) fn heard(&self, path: PathId, now: Instant) {
        if let Some(heard) = self.heard.get(usize::from(path.get())) {
            heard.store(now.as_nanos(), Ordering::Relaxed);
        }
    }

    /// The sender, which knows of all that was heard.
    #[inline]
    pub(crate) fn sender(&self) -> MutexGuard<'_, Sender> {
        let mut sender = lock(&self.sender);
        for (path, heard) in PathId::ALL.into_iter().zip(&self.heard).take(self.paths) {
            // Each is told once: it ends a silence, and not the next one.
            let at = heard.swap(0, Ordering::Relaxed);
            if at != 0 {
                sender.heard(path, Instant::from_nanos(at));
            }
        }
        sender
    }

    /// Takes how the other end says that it sends. What it strips is put into order here, and where
    /// it is followed, this end does the same. The caller holds `arrivals` and `sender`.
    pub(crate) fn take_course(&self, reorder: &mut Reorder, sender: &mut Sender, course: Course) {
        if !sender.handle_course(course) {
            return;
        }
        reorder.set_mode(course.mode);
        *lock(&self.theirs) = Some(course);
        if let Some(allowed) = *lock(&self.follows) {
            follow(sender, course, allowed);
        }
    }

    /// Tells the sender which paths there are, if that is news.
    #[inline]
    pub(crate) fn note_open(&self, open: Route, now: Instant) {
        if open != self.open() {
            self.turn(open, now);
        }
    }

    #[cold]
    fn turn(&self, open: Route, now: Instant) {
        let mut plans = lock(&self.plans);
        let mut sender = lock(&self.sender);
        let before = self.open();
        let status = sender.status(now);
        for (path, plan) in PathId::ALL.into_iter().zip(plans.iter_mut()) {
            match (before.contains(path), open.contains(path)) {
                (false, true) => sender.set_path(path, plan.left, now),
                (true, false) => {
                    if let Some(known) = status.paths.iter().find(|known| known.path == path) {
                        plan.left.quota = known.quota;
                    }
                    sender.set_path(path, closed(), now);
                }
                _ => {}
            }
        }
        let bits = open.into_iter().fold(0, |bits, path| bits | 1 << path.get());
        self.open.store(bits, Ordering::Relaxed);
    }

    fn open(&self) -> Route {
        let bits = self.open.load(Ordering::Relaxed);
        PathId::ALL.into_iter().filter(|path| bits & 1 << path.get() != 0).collect()
    }

    /// How its paths fare.
    pub(crate) fn status(&self, legs: Vec<LegStatus>, now: Instant) -> BondStatus {
        let (reorder, patience) = {
            let arrivals = lock(&self.arrivals);
            (*arrivals.reorder.counters(), arrivals.reorder.patience())
        };
        BondStatus {
            legs,
            sends: lock(&self.sender).status(now),
            reorder,
            patience_ms: u64::try_from(patience.as_millis()).unwrap_or(u64::MAX),
        }
    }
}

/// Has a sender do as the other end does, as far as that is allowed.
fn follow(sender: &mut Sender, course: Course, allowed: BondingModes) {
    sender.set_mode(within(course.mode, allowed));
    sender.set_preferred(course.preferred);
}

/// What comes nearest to a mode of what is allowed.
fn within(mode: Mode, allowed: BondingModes) -> Mode {
    match (mode, allowed.mirrored, allowed.striped) {
        (Mode::Mirrored, true, _) | (Mode::Automatic, true, false) => Mode::Mirrored,
        (Mode::Striped, _, true) | (Mode::Automatic, false, true) => Mode::Striped,
        (Mode::Automatic, true, true) => Mode::Automatic,
        _ => Mode::Single,
    }
}

/// What a path without an outlet is used for.
fn closed() -> PathSettings {
    PathSettings { standing: Standing::Barred, ..PathSettings::default() }
}

/// Takes what happened to the paths; those that are not waited for any more release what was held.
pub(crate) fn take_events(tunnel: TunnelId, sender: &mut Sender, events: &mut Vec<Event>) {
    while let Some(event) = sender.poll_event() {
        let (path, turn) = match event {
            PathEvent::Alive(path) => (path, PathTurn::Alive),
            PathEvent::Dead(path) => (path, PathTurn::Dead),
            PathEvent::Exhausted(path) => (path, PathTurn::Exhausted),
        };
        events.push(Event::Path { tunnel, path, turn });
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use homeward_multipath::Course;

    use super::*;

    const NOW: Instant = Instant::from_nanos(1_000_000_000);

    fn bond(config: BondConfig) -> Box<Bond> {
        let session = crate::stranger::session_of(true);
        let leg = crate::config::LegConfig { peer: crate::config::PeerId(2), session };
        Bond::new(&BondConfig { legs: vec![leg], ..config }, NOW)
    }

    /// A report's word of how the other end sends.
    fn told(bond: &Bond, course: Course) {
        let mut arrivals = lock(&bond.arrivals);
        let mut sender = lock(&bond.sender);
        bond.take_course(&mut arrivals.reorder, &mut sender, course);
    }

    #[test]
    fn the_other_end_is_followed_as_far_as_the_class_of_service_allows() {
        let plain = BondConfig::new(Vec::new());
        for (mirrored, striped, wanted, used) in [
            (true, true, Mode::Automatic, Mode::Automatic),
            (true, false, Mode::Automatic, Mode::Mirrored),
            (false, true, Mode::Automatic, Mode::Striped),
            (false, true, Mode::Mirrored, Mode::Single),
            (true, false, Mode::Striped, Mode::Single),
            (false, false, Mode::Automatic, Mode::Single),
        ] {
            let follows = Some(BondingModes { mirrored, striped });
            let bond = bond(BondConfig { follows, ..plain.clone() });
            told(&bond, Course { version: 1, mode: wanted, preferred: PathId::ALL[1] });
            let course = lock(&bond.sender).course();
            assert_eq!((course.mode, course.preferred), (used, PathId::ALL[1]), "{wanted:?}");
            // A class that is changed meanwhile takes effect on what was told before.
            let none = Some(BondingModes { mirrored: false, striped: false });
            bond.configure(&BondConfig { follows: none, ..plain.clone() }, NOW);
            assert_eq!(lock(&bond.sender).course().mode, Mode::Single);
            bond.configure(&BondConfig { follows, ..plain.clone() }, NOW);
            assert_eq!(lock(&bond.sender).course().mode, used);
        }
    }

    #[test]
    fn an_end_that_leads_is_not_led_and_an_older_word_changes_nothing() {
        let leads = bond(BondConfig { mode: Mode::Striped, ..BondConfig::new(Vec::new()) });
        let course = |version, mode| Course { version, mode, preferred: PathId::ALL[1] };
        told(&leads, course(1, Mode::Mirrored));
        assert_eq!(lock(&leads.sender).course().mode, Mode::Striped);
        let both = Some(BondingModes { mirrored: true, striped: true });
        let led = bond(BondConfig { follows: both, ..BondConfig::new(Vec::new()) });
        told(&led, course(2, Mode::Striped));
        told(&led, course(1, Mode::Mirrored));
        assert_eq!(lock(&led.sender).course().mode, Mode::Striped);
    }

    #[test]
    fn what_was_heard_ends_a_silence_once() {
        let bond = bond(BondConfig::new(Vec::new()));
        let [path, ..] = PathId::ALL;
        bond.note_open(Route::only(path), NOW);
        bond.heard(path, NOW);
        let number = homeward_l2tp::Sequence::default();
        // Sent in vain, with the sender looked at each time: at last the path is dead.
        for millis in 1..5000 {
            let now = NOW + Duration::from_millis(millis.into());
            let mut sender = bond.sender();
            sender.sent(path, number.plus(millis), 100, now);
            sender.handle_timeout(now);
        }
        assert!(!lock(&bond.sender).is_alive(path));
    }

    #[test]
    fn what_is_left_of_a_quota_outlasts_a_path_that_closes_and_the_same_settings_told_again() {
        let quota = PathSettings { quota: Some(1000), ..PathSettings::default() };
        let config = BondConfig { paths: vec![quota], ..BondConfig::new(Vec::new()) };
        let bond = bond(config.clone());
        let [path, ..] = PathId::ALL;
        bond.note_open(Route::only(path), NOW);
        lock(&bond.sender).sent(path, homeward_l2tp::Sequence::default(), 400, NOW);
        let left = || {
            let status = lock(&bond.sender).status(NOW);
            status.paths.iter().find(|known| known.path == path).and_then(|known| known.quota)
        };
        assert_eq!(left(), Some(600));
        bond.note_open(Route::NONE, NOW);
        bond.configure(&config, NOW);
        bond.note_open(Route::only(path), NOW);
        assert_eq!(left(), Some(600));
        let more = PathSettings { quota: Some(5000), ..quota };
        bond.configure(&BondConfig { paths: vec![more], ..config }, NOW);
        assert_eq!(left(), Some(5000), "another quota is a new one");
    }
}
