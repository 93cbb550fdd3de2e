//! What becomes of a session, behaviour by behaviour.
#![cfg(test)]

use homeward_accounting::testing::{nas, record};
use homeward_accounting::{
    Applied, Cause, ClosingKind, End, Figures, Kind, News, Phase, Place, Record, Session, Settings,
};
use homeward_model::{Mac, UnixTime};

const BEGAN: UnixTime = UnixTime(1_800_000_000_000);

fn at(seconds: i64) -> UnixTime {
    UnixTime(BEGAN.0 + seconds * 1000)
}

fn report(kind: Kind, seconds: u32, octets: u64) -> Record {
    record(nas("gw-17"), "a-1", kind, BEGAN, seconds, (octets, 0))
}

/// A session, and a hand to apply records with. Each comes when it is sent.
struct World {
    session: Session,
    settings: Settings,
}

impl World {
    fn begin(first: &Record) -> Self {
        let settings = Settings::default();
        let (session, _) = Session::begin(first, first.event.unwrap_or(BEGAN), &settings);
        Self { session, settings }
    }

    fn started() -> Self {
        Self::begin(&report(Kind::Start, 0, 0))
    }

    fn apply(&mut self, record: &Record) -> Applied {
        self.session.apply(record, record.event.unwrap_or(BEGAN), &self.settings)
    }

    fn news(&mut self, kind: Kind, seconds: u32, octets: u64) -> News {
        self.apply(&report(kind, seconds, octets)).news
    }
}

#[test]
fn a_session_begins_goes_on_and_ends() {
    let mut world = World::started();
    assert_eq!(world.news(Kind::Interim, 60, 100), News::Progress);
    let stop = world.apply(&report(Kind::Stop, 90, 250));
    assert_eq!((stop.news, stop.delta.input, stop.delta.seconds), (News::Ended, 150, 30));
    let closing = stop.closing.unwrap();
    assert_eq!(closing.kind, ClosingKind::Close);
    assert_eq!(closing.end, End { at: at(90), cause: Cause::Stop(1) });
    assert_eq!((closing.delta, closing.total), (world.session.figures, world.session.figures));
    assert_eq!(world.session.phase, Phase::Closed);
}

#[test]
fn a_repeated_record_adds_and_ends_nothing() {
    let mut world = World::started();
    for (kind, seconds, octets) in
        [(Kind::Start, 0, 0), (Kind::Interim, 60, 100), (Kind::Stop, 90, 250)]
    {
        world.news(kind, seconds, octets);
        let again = world.apply(&report(kind, seconds, octets));
        assert_eq!((again.news, again.delta, again.closing), (News::Nothing, Figures::ZERO, None));
    }
    assert_eq!(world.session.closings, 1);
}

#[test]
fn an_interim_after_the_stop_neither_lowers_nor_reopens() {
    let mut world = World::started();
    world.news(Kind::Stop, 90, 250);
    assert_eq!(world.news(Kind::Interim, 60, 100), News::Nothing);
    assert_eq!((world.session.phase, world.session.figures.input), (Phase::Closed, 250));
}

#[test]
fn an_older_interim_never_lowers_figures() {
    let mut world = World::started();
    world.news(Kind::Interim, 120, 500);
    assert_eq!(world.news(Kind::Interim, 60, 100), News::Nothing);
    assert_eq!((world.session.figures.input, world.session.figures.seconds), (500, 120));
    assert_eq!(world.session.backwards, 0);
}

#[test]
fn a_stop_without_a_start_makes_a_session() {
    let (session, applied) =
        Session::begin(&report(Kind::Stop, 90, 250), at(90), &Settings::default());
    assert_eq!((applied.news, applied.delta.input), (News::Ended, 250));
    assert_eq!((session.began, session.phase, session.started), (BEGAN, Phase::Closed, false));
}

#[test]
fn a_start_that_comes_late_fills_in() {
    let mut world = World::begin(&report(Kind::Stop, 90, 250));
    let mut start = report(Kind::Start, 0, 0);
    start.station = Some(Mac::new([2, 0, 0x5e, 0x10, 0, 1]));
    let applied = world.session.apply(&start, at(100), &world.settings);
    assert_eq!(
        (applied.news, applied.delta, applied.closing),
        (News::Progress, Figures::ZERO, None)
    );
    assert!(world.session.started);
    assert_eq!((world.session.facts.station, world.session.phase), (start.station, Phase::Closed));
}

#[test]
fn a_counter_of_32_bits_that_wraps_is_followed() {
    let mut world = World::started();
    let mut told = Figures::ZERO;
    let mut report = |seconds, octets: u64| {
        let mut record = report(Kind::Interim, seconds, octets % (1 << 32));
        record.gigawords = false;
        record.figures.input_packets = 0;
        told = told.plus(world.apply(&record).delta);
        world.session.figures.input
    };
    for turn in 0..5u64 {
        for quarter in 1..=4u64 {
            let octets = (turn << 32) + (quarter << 30);
            let seconds = u32::try_from(turn * 4 + quarter).unwrap() * 60;
            assert_eq!(report(seconds, octets), octets, "turn {turn}");
        }
    }
    assert_eq!((told.input, world.session.backwards), (world.session.figures.input, 0));
}

#[test]
fn a_counter_that_runs_backwards_is_noticed_and_lowers_nothing() {
    let mut world = World::started();
    world.news(Kind::Interim, 60, 500);
    let applied = world.apply(&report(Kind::Interim, 120, 40));
    assert_eq!((applied.delta.input, applied.delta.seconds), (0, 60));
    assert_eq!((world.session.figures.input, world.session.backwards), (500, 1));
    assert_eq!(world.apply(&report(Kind::Interim, 180, 600)).delta.input, 100);
}

#[test]
fn silence_closes_a_session_once_at_its_last_figures() {
    let mut world = World::started();
    world.news(Kind::Interim, 60, 500);
    let silence = i64::try_from(world.settings.silence().as_secs()).unwrap();
    assert!(!world.session.is_silent(at(60 + silence), &world.settings));
    assert!(world.session.is_silent(at(61 + silence), &world.settings));
    let closing = world.session.close(Cause::Lost).unwrap();
    assert_eq!(closing.end, End { at: at(60), cause: Cause::Lost });
    assert_eq!((closing.kind, closing.total.input), (ClosingKind::Close, 500));
    assert_eq!(world.session.close(Cause::Lost), None);
    assert!(!world.session.is_silent(at(99_999), &world.settings));
}

#[test]
fn a_late_stop_corrects_a_lost_session_exactly_once() {
    let mut world = World::started();
    world.news(Kind::Interim, 60, 500);
    world.session.close(Cause::Lost).unwrap();
    let stop = report(Kind::Stop, 300, 800);
    let applied = world.apply(&stop);
    let closing = applied.closing.unwrap();
    assert_eq!((applied.news, applied.delta.input), (News::Corrected, 300));
    assert_eq!((closing.kind, closing.delta.input), (ClosingKind::Correction, 300));
    assert_eq!((closing.total.input, closing.end.cause), (800, Cause::Stop(1)));
    assert_eq!(world.apply(&stop).news, News::Nothing);
    assert_eq!(world.session.closings, 2);
}

#[test]
fn a_session_that_was_given_up_and_goes_on_is_told_once_when_it_ends() {
    let mut world = World::started();
    world.news(Kind::Interim, 60, 500);
    world.session.close(Cause::Lost).unwrap();
    // An old one is no sign of life.
    assert_eq!(world.news(Kind::Interim, 30, 200), News::Nothing);
    assert_eq!(world.session.phase, Phase::Closed);
    for (seconds, octets) in [(4000, 700), (4600, 900)] {
        let applied = world.apply(&report(Kind::Interim, seconds, octets));
        assert_eq!(
            (applied.news, applied.delta.input, applied.closing),
            (News::Progress, 200, None)
        );
        assert_eq!(world.session.phase, Phase::Resumed);
    }
    let again = world.session.close(Cause::Lost).unwrap();
    assert_eq!((again.kind, again.delta.input), (ClosingKind::Correction, 400));
    assert_eq!(again.end, End { at: at(4600), cause: Cause::Lost });
    assert_eq!(world.session.close(Cause::Lost), None);
}

#[test]
fn a_restart_ends_what_began_before_it_on_that_bss() {
    let bss = |n| Some(Mac::new([2, 0, 0, 0, n, 0]));
    let mut world = World::started();
    assert!(world.session.ends_with(at(10), None));
    assert!(!world.session.ends_with(at(0), None), "it began with the restart");
    assert!(world.session.ends_with(at(10), bss(1)), "its BSS is not known");
    world.session.facts.bssid = bss(1);
    assert!(world.session.ends_with(at(10), bss(1)) && !world.session.ends_with(at(10), bss(2)));
    let closing = world.session.close(Cause::Restart).unwrap();
    assert_eq!(closing.end.cause, Cause::Restart);
    assert!(!world.session.ends_with(at(20), None), "it has ended");
}

#[test]
fn an_identifier_used_anew_is_another_session() {
    let settings = Settings::default();
    let mut world = World::started();
    world.news(Kind::Interim, 600, 500);
    let place = |world: &World, kind, began: i64, seconds| {
        let record = record(nas("gw-17"), "a-1", kind, at(began), seconds, (10, 0));
        world.session.place(&record, record.event.unwrap(), &settings)
    };
    // While it is open: a Start, or less time than it has had.
    assert_eq!(place(&world, Kind::Start, 700, 0), Place::Later);
    assert_eq!(place(&world, Kind::Interim, 700, 60), Place::Later);
    assert_eq!(place(&world, Kind::Start, 0, 0), Place::Here);
    assert_eq!(place(&world, Kind::Interim, 0, 900), Place::Here);
    // The NAS set its clock; the session goes on.
    assert_eq!(place(&world, Kind::Interim, 5000, 1200), Place::Here);
    // Within what a repeated Start without a date may be off.
    assert_eq!(place(&world, Kind::Start, 650, 0), Place::Here);
    assert_eq!(place(&world, Kind::Stop, -500, 400), Place::Earlier);
    // After a restart of the NAS, at once.
    world.session.close(Cause::Restart).unwrap();
    assert_eq!(place(&world, Kind::Start, 601, 0), Place::Later);
    assert_eq!(place(&world, Kind::Start, 600, 0), Place::Here);
    assert_eq!(place(&world, Kind::Stop, 0, 700), Place::Here);
    // After a Stop, whatever time it has had.
    world.news(Kind::Stop, 610, 500);
    assert_eq!(place(&world, Kind::Interim, 700, 5000), Place::Later);
}

#[test]
fn a_nas_that_sends_no_session_time_is_timed_by_its_dates() {
    let mut world = World::started();
    let mut interim = report(Kind::Interim, 60, 100);
    interim.figures.seconds = 0;
    interim.timed = false;
    assert_eq!(world.apply(&interim).delta.seconds, 60);
    assert_eq!(world.session.began, BEGAN);
}
