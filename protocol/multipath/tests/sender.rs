//! The sender by hand: what it believes, what it shows.
#![cfg(test)]

use std::time::Duration;

use homeward_l2tp::Sequence;
use homeward_model::Instant;
use homeward_multipath::{
    DropReason, Event, Mode, PacketInfo, PathId, PathSettings, PathStatus, Received, Report, Route,
    Sender, Settings, Standing, Urgency,
};
use proptest::prelude::*;

const A: PathId = PathId::ALL[0];
const B: PathId = PathId::ALL[1];
const MS: Duration = Duration::from_millis(1);

fn at(ms: u64) -> Instant {
    Instant::from_nanos(ms * 1_000_000)
}

fn sender(mode: Mode) -> Sender {
    let mut sender = Sender::new(Settings::default(), at(0));
    sender.set_mode(mode);
    sender.set_path(A, PathSettings::default(), at(0));
    sender.set_path(B, PathSettings::default(), at(0));
    sender
}

fn route(sender: &mut Sender, octets: usize, now: Instant) -> Route {
    sender.route(PacketInfo { octets, urgency: Urgency::Bulk }, now)
}

fn status(sender: &Sender, path: PathId, now: Instant) -> PathStatus {
    sender.status(now).paths.into_iter().find(|status| status.path == path).unwrap()
}

/// A report that `packets` of 1,000 octets have arrived, the last one just now, on a clock that
/// stands still.
fn report(number: u32, highest: u32, packets: u32) -> Report {
    let received = Received {
        highest: Sequence::new(highest),
        packets,
        octets: u64::from(packets) * 1000,
        ..Received::default()
    };
    Report { number, received: Some(received), ..Report::default() }
}

#[test]
fn a_round_trip_is_from_sending_to_the_report_less_what_it_was_held() {
    let mut sender = sender(Mode::Single);
    sender.sent(A, Sequence::new(1), 1000, at(0));
    let mut late = report(1, 1, 1);
    late.received.as_mut().unwrap().held = 5 * MS;
    sender.handle_report(A, &late, at(25));
    assert_eq!(sender.rtt(A), Some(20 * MS));
    sender.handle_report(A, &report(2, 1, 1), at(90));
    assert_eq!(sender.rtt(A), Some(20 * MS), "nothing new");
}

#[test]
fn a_report_that_is_not_later_is_not_believed_and_is_no_sign_of_life() {
    let mut sender = sender(Mode::Single);
    sender.sent(A, Sequence::new(1), 1000, at(0));
    sender.sent(A, Sequence::new(2), 1000, at(0));
    sender.handle_report(A, &report(7, 1, 1), at(20));
    sender.handle_report(A, &report(7, 2, 2), at(500));
    sender.handle_report(A, &report(6, 2, 2), at(500));
    assert_eq!(sender.rtt(A), Some(20 * MS));
    for number in 3..20 {
        sender.sent(A, Sequence::new(number), 1000, at(510));
    }
    sender.handle_timeout(at(5000));
    assert_eq!(sender.poll_event(), Some(Event::Dead(A)));
    sender.handle_report(A, &report(7, 2, 2), at(5001));
    assert!(!sender.is_alive(A), "a replay");
    sender.handle_report(A, &report(8, 2, 2), at(5002));
    assert_eq!((sender.poll_event(), sender.is_alive(A)), (Some(Event::Alive(A)), true));
}

#[test]
fn a_report_of_what_was_not_sent_measures_nothing() {
    let mut sender = sender(Mode::Single);
    sender.sent(A, Sequence::new(1), 1000, at(0));
    sender.sent(B, Sequence::new(2), 1000, at(0));
    sender.handle_report(A, &report(1, 2, 500), at(20));
    let status = status(&sender, A, at(20));
    assert_eq!((status.rtt_us, status.rate, status.lost), (None, None, 0));
}

#[test]
fn loss_is_what_was_sent_before_the_highest_number_and_did_not_arrive() {
    let mut sender = sender(Mode::Single);
    for number in 0..100 {
        sender.sent(A, Sequence::new(number), 1000, at(0));
    }
    sender.handle_report(A, &report(1, 79, 60), at(20));
    assert_eq!(status(&sender, A, at(20)).lost, 20, "the last 20 may still come");
    sender.handle_report(A, &report(2, 99, 79), at(25));
    assert_eq!(status(&sender, A, at(25)).lost, 21);
    // The other end counts anew: 50 of the next hundred, 90 of those after.
    for number in 100..200 {
        sender.sent(A, Sequence::new(number), 1000, at(30));
    }
    sender.handle_report(A, &report(3, 199, 50), at(50));
    assert_eq!(status(&sender, A, at(50)).lost, 71);
    for number in 200..300 {
        sender.sent(A, Sequence::new(number), 1000, at(60));
    }
    sender.handle_report(A, &report(4, 299, 140), at(80));
    assert_eq!(status(&sender, A, at(80)).lost, 81);
}

/// So that its share moves before it is known to be dead.
#[test]
fn what_should_have_been_reported_counts_as_a_queue() {
    let mut sender = sender(Mode::Striped);
    sender.sent(A, Sequence::new(1), 1000, at(0));
    sender.handle_report(A, &report(1, 1, 1), at(20));
    for ms in 30u32..150 {
        sender.sent(A, Sequence::new(ms), 1000, at(ms.into()));
        let queue = status(&sender, A, at(ms.into())).queue_us;
        assert!(ms > 80 || queue < 1000, "{queue} us after {ms} ms: it may still be reported");
    }
    let queue = status(&sender, A, at(150)).queue_us;
    assert!((20_000..40_000).contains(&queue), "{queue} us of what was sent in 120 ms");
    assert!(sender.is_alive(A));
}

#[test]
fn a_clock_that_runs_fast_does_not_look_like_a_queue_that_grows() {
    let mut sender = sender(Mode::Single);
    for number in 0u32..100 {
        let ms = u64::from(number) * 10;
        sender.sent(A, Sequence::new(number), 1000, at(ms));
        let mut report = report(number + 1, number, number + 1);
        report.received.as_mut().unwrap().arrived = number * 11_000;
        sender.handle_report(A, &report, at(ms + 20));
    }
    let status = status(&sender, A, at(1010));
    assert!(!status.full, "each packet takes 20 ms there and back");
}

#[test]
fn a_path_that_lives_again_has_no_queue_from_before() {
    let mut sender = sender(Mode::Striped);
    sender.sent(A, Sequence::new(1), 1000, at(0));
    sender.handle_report(A, &report(1, 1, 1), at(20));
    for number in 10..210 {
        sender.sent(A, Sequence::new(number), 1500, at(100));
    }
    sender.handle_timeout(at(230));
    assert_eq!(sender.poll_event(), Some(Event::Dead(A)));
    sender.heard(A, at(231));
    assert_eq!(sender.poll_event(), Some(Event::Alive(A)));
    assert_eq!(status(&sender, A, at(231)).queue_us, 0);
}

#[test]
fn an_answered_probe_measures_an_idle_path() {
    let mut sender = sender(Mode::Single);
    let (path, probe) = sender.poll_transmit(at(0)).unwrap();
    assert_eq!((path, probe.request, probe.received), (A, true, None));
    let (path, other) = sender.poll_transmit(at(0)).unwrap();
    assert_eq!((path, other.number), (B, probe.number + 1));
    assert_eq!(sender.poll_transmit(at(0)), None);
    let answer = Report { number: 1, answer: Some(probe.number), ..Report::default() };
    sender.handle_report(A, &answer, at(30));
    assert_eq!((sender.rtt(A), sender.rtt(B)), (Some(30 * MS), None));
    sender.handle_report(A, &Report { number: 2, ..answer }, at(70));
    assert_eq!(sender.rtt(A), Some(30 * MS), "a probe is answered once");
    sender.handle_report(B, &Report { answer: Some(other.number), ..answer }, at(70));
    assert_eq!(sender.poll_timeout(), Some(at(1000)), "and the next is a second later");
    assert_eq!(sender.poll_transmit(at(999)), None);
    assert!(sender.poll_transmit(at(1000)).is_some());
}

#[test]
fn a_path_is_not_dead_for_want_of_one_answer() {
    let mut sender = sender(Mode::Single);
    sender.sent(A, Sequence::new(1), 1000, at(0));
    sender.handle_report(A, &report(1, 1, 1), at(20));
    sender.sent(A, Sequence::new(2), 1000, at(100));
    sender.handle_timeout(at(1000));
    assert_eq!(sender.poll_event(), None);
    // Overdue after 20 ms, four times 10 and 5; an eighth of that from one probe to the next.
    let mut probes = Vec::new();
    for ms in 100..400 {
        while let Some((path, _)) = sender.poll_transmit(at(ms)) {
            probes.extend((path == A).then_some(ms));
        }
        sender.handle_timeout(at(ms));
    }
    assert_eq!(probes[..4], [100, 165, 174, 183], "the first one as on any new path");
    assert_eq!(sender.poll_event(), Some(Event::Dead(A)));
}

#[test]
fn a_path_of_the_shortest_way_is_given_some_time_nevertheless() {
    let mut sender = sender(Mode::Single);
    for number in 0..50u32 {
        let ms = u64::from(number) * 10;
        sender.sent(A, Sequence::new(number), 1000, at(ms));
        sender.handle_report(A, &report(number + 1, number, number + 1), at(ms + 1));
    }
    for number in 50..60 {
        sender.sent(A, Sequence::new(number), 1000, at(1000));
    }
    sender.handle_timeout(at(1029));
    assert_eq!(sender.poll_event(), None);
    sender.handle_timeout(at(1030));
    assert_eq!(sender.poll_event(), Some(Event::Dead(A)));
}

/// The other end's packets come, and say nothing of this end's.
#[test]
fn a_path_that_only_brings_is_dead_after_a_while_and_lives_again_once_something_is_answered() {
    let mut sender = sender(Mode::Single);
    sender.sent(A, Sequence::new(0), 1000, at(0));
    sender.handle_report(A, &report(1, 0, 1), at(20));
    let mut dead = None;
    for ms in 100..1000u32 {
        let now = at(ms.into());
        sender.sent(A, Sequence::new(ms), 1000, now);
        sender.heard(A, now);
        sender.handle_timeout(now);
        while sender.poll_transmit(now).is_some() {}
        if let Some(event) = sender.poll_event() {
            assert_eq!(event, Event::Dead(A), "and nothing that is heard revives it");
            assert_eq!(dead.replace(ms), None);
        }
    }
    // Four times what silence is borne: two times 20 ms and four times 10, and 5.
    assert_eq!(dead, Some(100 + 4 * 125));
    assert!(!sender.is_alive(A));
    sender.handle_report(A, &report(2, 999, 2), at(1000));
    assert_eq!(sender.poll_event(), Some(Event::Alive(A)));
}

#[test]
fn without_a_path_packets_are_dropped_and_counted() {
    let mut sender = Sender::new(Settings::default(), at(0));
    assert_eq!(route(&mut sender, 1000, at(0)), Route::NONE);
    assert_eq!(sender.counters().dropped(DropReason::NoPath), 1);
    assert_eq!((sender.poll_timeout(), sender.poll_transmit(at(0))), (None, None));
    sender.set_path(B, PathSettings::default(), at(0));
    assert_eq!(route(&mut sender, 1000, at(0)), Route::only(B));
    sender.remove_path(B);
    assert_eq!(route(&mut sender, 1000, at(0)), Route::NONE);
}

#[test]
fn the_preferred_path_is_used_and_another_while_there_is_none() {
    let mut sender = sender(Mode::Single);
    sender.set_preferred(B);
    assert_eq!(route(&mut sender, 1000, at(0)), Route::only(B));
    sender.remove_path(B);
    assert_eq!(route(&mut sender, 1000, at(0)), Route::only(A));
}

#[test]
fn four_paths_are_mirrored_and_the_quickest_one_is_used_while_the_preferred_one_is_dead() {
    let mut sender = sender(Mode::Mirrored);
    for path in PathId::ALL {
        sender.set_path(path, PathSettings::default(), at(0));
        let rtt = [40, 30, 20, 50][usize::from(path.get())];
        sender.sent(path, Sequence::new(1), 1000, at(0));
        sender.handle_report(path, &report(1, 1, 1), at(rtt));
    }
    assert_eq!(route(&mut sender, 1000, at(50)).len(), 4);
    sender.set_mode(Mode::Single);
    for number in 2..20 {
        sender.sent(A, Sequence::new(number), 1000, at(50));
    }
    assert_eq!(route(&mut sender, 1000, at(50)), Route::only(A));
    assert_eq!(route(&mut sender, 1000, at(1000)), Route::only(PathId::ALL[2]));
    assert_eq!(sender.poll_event(), Some(Event::Dead(A)));
}

#[test]
fn what_is_known_beforehand_changes_without_what_was_measured() {
    let mut sender = sender(Mode::Single);
    sender.sent(A, Sequence::new(1), 1000, at(0));
    sender.handle_report(A, &report(1, 1, 1), at(20));
    let reserve = PathSettings { standing: Standing::Reserve, ..PathSettings::default() };
    sender.set_path(A, reserve, at(30));
    assert_eq!(sender.rtt(A), Some(20 * MS));
    assert_eq!(route(&mut sender, 1000, at(30)), Route::only(B));
    sender.remove_path(A);
    sender.set_path(A, PathSettings::default(), at(40));
    assert_eq!(sender.rtt(A), None);
}

/// A burst whose end is lost is not reported; what does not arrive in time is on its way no more.
#[test]
fn what_was_lost_at_the_end_does_not_queue_for_ever() {
    let mut sender = sender(Mode::Striped);
    for (path, rtt) in [(A, 20), (B, 60)] {
        sender.sent(path, Sequence::new(path.get().into()), 1000, at(0));
        sender.handle_report(path, &report(1, path.get().into(), 1), at(rtt));
    }
    for number in 10..210 {
        sender.sent(A, Sequence::new(number), 1500, at(100));
    }
    assert_eq!(route(&mut sender, 1000, at(100)), Route::only(B));
    sender.handle_report(A, &report(2, 10, 2), at(120));
    assert_eq!(route(&mut sender, 1000, at(140)), Route::only(B));
    sender.handle_report(A, &report(3, 11, 3), at(145));
    assert_eq!(route(&mut sender, 1000, at(150)), Route::only(B));
    assert_eq!(route(&mut sender, 1000, at(600)), Route::only(A));
}

#[test]
fn what_a_slow_path_lost_does_not_queue_for_long_either() {
    let mut sender = sender(Mode::Single);
    for number in 0..1000 {
        sender.sent(A, Sequence::new(number), 1000, at(0));
    }
    for number in 0..20 {
        let now = at(20 + u64::from(number) * 10); // 800 kbit/s
        let mut report = report(number + 1, number, number + 1);
        report.received.as_mut().unwrap().arrived = number * 10_000;
        sender.handle_report(A, &report, now);
    }
    let status = |ms| status(&sender, A, at(ms));
    assert_eq!((status(210).rate, status(210).full), (Some(800_000), true));
    assert_eq!((status(210).queue_us, status(2001).queue_us), (1_790_000, 0));
}

#[test]
fn octets_besides_count_for_the_quota() {
    let mut sender = sender(Mode::Single);
    let quota = PathSettings { quota: Some(1000), ..PathSettings::default() };
    sender.set_path(A, quota, at(0));
    sender.spent(A, 999, at(0));
    assert_eq!((sender.poll_event(), status(&sender, A, at(0)).quota), (None, Some(1)));
    sender.spent(A, 84, at(0));
    assert_eq!(sender.poll_event(), Some(Event::Exhausted(A)));
    assert_eq!(route(&mut sender, 1000, at(0)), Route::only(B));
    assert_eq!(sender.poll_event(), None, "once");
}

#[test]
fn the_status_is_what_it_is_in_json() {
    let mut sender = sender(Mode::Striped);
    sender.remove_path(B);
    sender.sent(A, Sequence::new(1), 1000, at(0));
    sender.handle_report(A, &report(1, 1, 1), at(20));
    let json = serde_json::to_value(sender.status(at(20))).unwrap();
    let path = serde_json::json!({
        "path": 0, "alive": true, "standing": "full",
        "rtt_us": 20_000, "least_rtt_us": 20_000, "jitter_us": 10_000,
        "loss_ppm": 0, "goodput": 0, "rate": null, "full": false, "queue_us": 0,
        "packets": 1, "octets": 1000, "lost": 0, "duplicates": 0, "quota": null,
    });
    let counters = serde_json::json!({
        "single": 0, "mirrored": 0, "over_budget": 0, "no_path": 0, "queue": 0, "rate": 0,
    });
    let expected = serde_json::json!({
        "mode": "striped", "preferred": 0, "paths": [path], "counters": counters,
    });
    assert_eq!(json, expected);
}

/// Anything that a caller, or the other end, may do.
#[derive(Debug, Clone)]
enum Step {
    Wait(u32),
    Send(usize, bool),
    Heard(usize),
    Report(usize, Report),
    Mode(usize),
    Path(usize, PathSettings),
    Remove(usize),
}

fn steps() -> impl Strategy<Value = Step> {
    let received = (any::<u32>(), 0u32..500, any::<u32>(), any::<u64>(), any::<u32>(), 0u8..8)
        .prop_map(|(highest, near, packets, octets, held, which)| Received {
            highest: Sequence::new(if which & 1 == 0 { near } else { highest }),
            packets: if which & 2 == 0 { packets % 500 } else { packets },
            octets: if which & 4 == 0 { octets % 500_000 } else { octets },
            held: Duration::from_micros(held.into()),
            arrived: held ^ highest,
            duplicates: 0,
        });
    let report = (any::<u32>(), any::<bool>(), 0u32..50, any::<bool>(), received).prop_map(
        |(number, request, answer, answers, received)| Report {
            course: None,
            number,
            request,
            answer: answers.then_some(answer),
            received: (!request).then_some(received),
        },
    );
    let standing = prop::sample::select(vec![Standing::Full, Standing::Reserve, Standing::Barred]);
    let path = (standing, proptest::option::of(any::<u64>()), proptest::option::of(0u64..100_000))
        .prop_map(|(standing, rate, quota)| PathSettings { standing, rate, quota });
    prop_oneof![
        4 => (0u32..200_000_000).prop_map(Step::Wait),
        12 => (0usize..9000, any::<bool>()).prop_map(|(octets, urgent)| Step::Send(octets, urgent)),
        2 => (0usize..4).prop_map(Step::Heard),
        4 => (0usize..4, report).prop_map(|(path, report)| Step::Report(path, report)),
        1 => (0usize..4).prop_map(Step::Mode),
        1 => (0usize..4, path).prop_map(|(id, path)| Step::Path(id, path)),
        1 => (0usize..4).prop_map(Step::Remove),
    ]
}

proptest! {
    #[test]
    fn nothing_that_is_done_or_reported_makes_it_panic_or_spin_or_exceed_a_quota(
        steps in proptest::collection::vec(steps(), 1..200),
    ) {
        let mut sender = sender(Mode::Automatic);
        let mut now = at(1);
        let mut number = Sequence::new(0);
        let mut left = [None::<u64>; 4];
        let mut paths = Route::only(A).with(B);
        for step in steps {
            match step {
                Step::Wait(nanos) => now = now + Duration::from_nanos(nanos.into()),
                Step::Send(octets, urgent) => {
                    let urgency = if urgent { Urgency::Urgent } else { Urgency::Bulk };
                    for path in sender.route(PacketInfo { octets, urgency }, now) {
                        prop_assert!(paths.contains(path));
                        if let Some(left) = &mut left[usize::from(path.get())] {
                            prop_assert!(octets as u64 <= *left, "{octets} of {left} octets");
                            *left -= octets as u64;
                        }
                        sender.sent(path, number, octets, now);
                    }
                    number = number.plus(1);
                }
                Step::Heard(path) => sender.heard(PathId::ALL[path], now),
                Step::Report(path, report) => {
                    sender.handle_report(PathId::ALL[path], &report, now);
                }
                Step::Mode(mode) => sender.set_mode(
                    [Mode::Single, Mode::Mirrored, Mode::Striped, Mode::Automatic][mode],
                ),
                Step::Path(path, settings) => {
                    sender.set_path(PathId::ALL[path], settings, now);
                    paths = paths.with(PathId::ALL[path]);
                    left[path] = settings.quota;
                }
                Step::Remove(path) => {
                    sender.remove_path(PathId::ALL[path]);
                    paths = paths.without(PathId::ALL[path]);
                    left[path] = None;
                }
            }
            sender.handle_timeout(now);
            for probes in 0.. {
                if sender.poll_transmit(now).is_none() {
                    break;
                }
                prop_assert!(probes < 4, "a probe a path");
            }
            while sender.poll_event().is_some() {}
            prop_assert!(sender.poll_timeout().is_none_or(|due| due > now), "nothing is due");
            sender.status(now);
        }
    }
}
