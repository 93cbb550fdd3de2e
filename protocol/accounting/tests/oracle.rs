//! Whatever order records come in, however often, and whichever are lost: the sums over what they
//! add are what a naive oracle says of the set that came.
#![cfg(test)]

use homeward_accounting::testing::{nas, record};
use homeward_accounting::{
    Applied, Cause, ClosingKind, Figures, Kind, News, Phase, Record, Session, Settings,
};
use homeward_model::UnixTime;
use proptest::prelude::*;

const BEGAN: UnixTime = UnixTime(1_800_000_000_000);

/// What happens to a session: its records by number, and closings that are no Stop.
#[derive(Debug, Clone, Copy)]
enum Step {
    Record(usize),
    Lost,
    Restart,
}

/// What a NAS would have sent, in order: a Start, some Interims, a Stop.
fn life() -> impl Strategy<Value = Vec<Record>> {
    proptest::collection::vec((1u32..900, 0u64..9_000_000_000, 0u64..9_000_000_000), 1..8).prop_map(
        |steps| {
            let (mut seconds, mut octets) = (0, (0, 0));
            let mut sent = vec![record(nas("gw"), "a", Kind::Start, BEGAN, seconds, octets)];
            let last = steps.len() - 1;
            for (i, (s, input, output)) in steps.into_iter().enumerate() {
                (seconds, octets) = (seconds + s, (octets.0 + input, octets.1 + output));
                let kind = if i == last { Kind::Stop } else { Kind::Interim };
                sent.push(record(nas("gw"), "a", kind, BEGAN, seconds, octets));
            }
            sent
        },
    )
}

/// A life, and a history of what reached us of it.
fn history() -> impl Strategy<Value = (Vec<Record>, Vec<Step>)> {
    life().prop_flat_map(|sent| {
        let step = prop_oneof![
            8 => (0..sent.len()).prop_map(Step::Record),
            1 => Just(Step::Lost),
            1 => Just(Step::Restart),
        ];
        (Just(sent), proptest::collection::vec(step, 1..24))
    })
}

/// Runs a history; gives the session and what was told on the way.
fn run(sent: &[Record], steps: &[Step]) -> Option<(Session, Vec<Applied>, Vec<ClosingTold>)> {
    let settings = Settings::default();
    let mut session: Option<Session> = None;
    let (mut applied, mut told) = (Vec::new(), Vec::new());
    for step in steps {
        let closing = match (*step, &mut session) {
            (Step::Record(i), Some(session)) => {
                let done = session.apply(&sent[i], sent[i].event.unwrap(), &settings);
                applied.push(done);
                done.closing
            }
            (Step::Record(i), none) => {
                let (new, done) = Session::begin(&sent[i], sent[i].event.unwrap(), &settings);
                *none = Some(new);
                applied.push(done);
                done.closing
            }
            (Step::Lost, Some(session)) => session.close(Cause::Lost),
            (Step::Restart, Some(session)) => session.close(Cause::Restart),
            (_, None) => None,
        };
        told.extend(closing.map(|c| (c.kind, c.delta, c.total)));
    }
    session.map(|session| (session, applied, told))
}

type ClosingTold = (ClosingKind, Figures, Figures);

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn the_sum_of_what_records_add_is_the_greatest_of_what_came((sent, steps) in history()) {
        let Some((session, applied, told)) = run(&sent, &steps) else { return Ok(()) };
        let came = steps.iter().filter_map(|s| match s { Step::Record(i) => Some(*i), _ => None });
        let came: Vec<usize> = came.collect();
        let greatest = came.iter().map(|i| sent[*i].figures).fold(Figures::ZERO, Figures::join);
        prop_assert_eq!(session.figures, greatest);
        let sum = applied.iter().map(|a| a.delta).fold(Figures::ZERO, Figures::plus);
        prop_assert_eq!(sum, greatest);
        // Billing is told of one end, then of corrections, and of each octet once.
        let told_of = told.iter().map(|t| t.1).fold(Figures::ZERO, Figures::plus);
        prop_assert_eq!(told_of, session.told);
        if session.phase == Phase::Closed {
            prop_assert_eq!(session.told, session.figures);
        }
        for (i, (kind, _, total)) in told.iter().enumerate() {
            prop_assert_eq!(*kind == ClosingKind::Close, i == 0);
            let before = told[..=i].iter().map(|t| t.1).fold(Figures::ZERO, Figures::plus);
            prop_assert_eq!(*total, before);
        }
        // What came before adds nothing when it comes again.
        for (nth, i) in came.iter().enumerate() {
            if came[..nth].contains(i) {
                prop_assert_eq!(applied[nth].delta, Figures::ZERO);
            }
        }
        // The Stop is the last word, whatever was given up before.
        let stop = sent.len() - 1;
        if came.contains(&stop) {
            let closed = session.phase == Phase::Closed;
            let by_stop = session.end.is_some_and(|e| e.cause == Cause::Stop(1));
            prop_assert!(closed && by_stop, "{session:?}");
        }
        prop_assert_eq!(session.started, came.contains(&0));
    }

    #[test]
    fn any_order_of_the_same_records_comes_to_the_same(
        (sent, order) in life().prop_flat_map(|sent| {
            let order: Vec<usize> = (0..sent.len()).collect();
            (Just(sent), Just(order).prop_shuffle())
        }),
    ) {
        let steps = |order: &[usize]| order.iter().map(|i| Step::Record(*i)).collect::<Vec<_>>();
        let in_order = steps(&(0..sent.len()).collect::<Vec<_>>());
        let (mut one, ..) = run(&sent, &in_order).unwrap();
        let (mut other, applied, _) = run(&sent, &steps(&order)).unwrap();
        // Which closings there were on the way is history.
        for session in [&mut one, &mut other] {
            session.closings = 0;
        }
        prop_assert_eq!(one, other);
        let ended = applied.iter().filter(|a| a.news == News::Ended).count();
        prop_assert_eq!(ended, 1, "it ended once");
    }

    #[test]
    fn counters_of_32_bits_are_followed_in_order_with_repetitions(
        steps in proptest::collection::vec((0u64..1 << 31, any::<bool>()), 1..40),
    ) {
        let settings = Settings::default();
        let mut session: Option<Session> = None;
        let (mut octets, mut sum) = (0u64, 0);
        for (i, (step, twice)) in (1u32..).zip(steps) {
            octets += step;
            let mut report =
                record(nas("gw"), "a", Kind::Interim, BEGAN, i * 60, (octets % (1 << 32), 0));
            report.gigawords = false;
            for _ in 0..=u8::from(twice) {
                let received = report.event.unwrap();
                let done = match &mut session {
                    Some(session) => session.apply(&report, received, &settings),
                    none => {
                        let (new, done) = Session::begin(&report, received, &settings);
                        *none = Some(new);
                        done
                    }
                };
                sum += done.delta.input;
            }
            prop_assert_eq!(session.as_ref().unwrap().figures.input, octets);
        }
        prop_assert_eq!(sum, octets);
    }
}
