//! What is held, for how long, and what is not.
#![cfg(test)]

use std::time::Duration;

use homeward_l2tp::Sequence;
use homeward_model::Instant;
use homeward_multipath::{Mode, PathId, Reorder, ReorderSettings, Verdict};

const A: PathId = PathId::ALL[0];
const B: PathId = PathId::ALL[1];
const MS: Duration = Duration::from_millis(1);

/// A machine with frames that say their numbers.
struct Order {
    machine: Reorder,
    ms: u64,
    out: Vec<u32>,
}

impl Order {
    fn new(mode: Mode) -> Self {
        Self::with(mode, ReorderSettings::default())
    }

    fn with(mode: Mode, settings: ReorderSettings) -> Self {
        let mut machine = Reorder::new(settings);
        machine.set_mode(mode);
        Self { machine, ms: 1000, out: Vec::new() }
    }

    /// Two paths in use that have come to 10, and were never late.
    fn two_paths(settings: ReorderSettings) -> Self {
        let mut order = Self::with(Mode::Striped, settings);
        for number in 0..10 {
            order.come(if number % 2 == 0 { A } else { B }, number);
        }
        assert_eq!(order.taken(), (0..10).collect::<Vec<_>>());
        order
    }

    fn now(&self) -> Instant {
        Instant::from_nanos(self.ms * 1_000_000)
    }

    fn frame(&mut self, path: PathId, number: u32, frame: &[u8]) -> Verdict {
        let verdict = self.machine.accept(path, Sequence::new(number), Some(frame), self.now());
        if verdict == Verdict::Pass {
            self.out.push(number);
        }
        self.pop();
        verdict
    }

    fn come(&mut self, path: PathId, number: u32) -> Verdict {
        let mut frame = [0; 100];
        frame[..4].copy_from_slice(&number.to_be_bytes());
        self.frame(path, number, &frame)
    }

    fn wait(&mut self, ms: u64) {
        self.ms += ms;
        self.machine.handle_timeout(self.now());
        self.pop();
    }

    fn pop(&mut self) {
        while let Some(frame) = self.machine.pop() {
            self.out.push(u32::from_be_bytes(*frame.first_chunk().unwrap()));
        }
    }

    /// What came out since the last time.
    fn taken(&mut self) -> Vec<u32> {
        std::mem::take(&mut self.out)
    }
}

#[test]
fn a_frame_that_came_early_comes_out_behind_the_one_before_it() {
    let mut order = Order::two_paths(ReorderSettings::default());
    assert_eq!(order.come(A, 11), Verdict::Held);
    assert_eq!(order.come(A, 12), Verdict::Held);
    assert_eq!(order.taken(), []);
    assert_eq!(order.come(B, 10), Verdict::Pass);
    assert_eq!(order.taken(), [10, 11, 12]);
    assert_eq!(order.come(A, 13), Verdict::Pass);
    assert_eq!(order.machine.counters().held, 2);
}

#[test]
fn a_lost_packet_holds_nothing_where_one_path_is_in_use() {
    for path_reorder in [0, 3] {
        let mut order =
            Order::with(Mode::Striped, ReorderSettings { path_reorder, ..Default::default() });
        for number in [1, 2, 4, 5, 9] {
            assert_eq!(order.come(A, number), Verdict::Pass, "{number}");
        }
        assert_eq!(order.machine.counters().given_up, 4);
        assert_eq!((order.machine.poll_timeout(), order.machine.memory()), (None, 0));
    }
}

#[test]
fn nothing_is_held_where_the_other_end_does_not_stripe() {
    for mode in [Mode::Single, Mode::Mirrored] {
        let mut order = Order::new(mode);
        for (path, number) in [(A, 1), (B, 2), (A, 4), (B, 3), (A, 7)] {
            assert_eq!(order.come(path, number), Verdict::Pass, "{mode:?} {number}");
        }
        assert_eq!(order.machine.counters().late, 1);
    }
}

#[test]
fn a_number_is_given_up_as_soon_as_each_path_has_delivered_a_higher_one() {
    let mut order = Order::two_paths(ReorderSettings::default());
    assert_eq!(order.come(A, 11), Verdict::Held);
    assert_eq!(order.come(A, 13), Verdict::Held);
    assert_eq!(order.come(B, 12), Verdict::Held, "it comes out at once, behind 11");
    assert_eq!(order.taken(), [11, 12, 13], "no packet can come between them");
    assert_eq!(order.machine.counters().given_up, 1);
    assert_eq!(order.machine.counters().longest_wait_us, 0, "no time has passed");
}

#[test]
fn what_comes_late_shows_how_far_its_path_is_as_well() {
    let mut order = Order::two_paths(ReorderSettings { path_reorder: 1, ..Default::default() });
    for (path, number) in [(A, 12), (B, 14), (A, 15)] {
        order.come(path, number);
    }
    order.wait(10);
    assert_eq!(order.taken(), [12, 14, 15], "10, 11 and 13 are given up");
    for (path, number) in [(A, 17), (A, 18), (B, 20)] {
        assert_eq!(order.come(path, number), Verdict::Held);
    }
    order.wait(9);
    assert_eq!(order.taken(), []);
    order.ms += 200;
    assert_eq!(order.come(B, 13), Verdict::Pass);
    assert_eq!(order.taken(), [13, 17, 18, 20], "it is time for these, too");
}

#[test]
fn paths_that_do_not_keep_the_order_are_given_some_packets_more() {
    let mut order = Order::two_paths(ReorderSettings { path_reorder: 2, ..Default::default() });
    for (path, number) in [(A, 11), (B, 12), (A, 13), (B, 14), (A, 15)] {
        assert_eq!(order.come(path, number), Verdict::Held, "{number}");
    }
    assert_eq!(order.taken(), []);
    order.come(B, 16);
    assert_eq!(order.taken(), [11, 12, 13, 14, 15, 16], "three of each path");
}

#[test]
fn a_copy_that_is_dropped_shows_how_far_its_path_is() {
    let mut order = Order::two_paths(ReorderSettings::default());
    order.come(A, 11);
    order.machine.duplicate(B, Sequence::new(11), order.now());
    order.pop();
    assert_eq!(order.taken(), [11]);
}

#[test]
fn the_wait_is_the_lateness_that_was_measured_and_a_margin() {
    let mut order = Order::two_paths(ReorderSettings::default());
    order.come(A, 11);
    let due = order.machine.poll_timeout().unwrap().since(order.now());
    assert!((10 * MS..11 * MS).contains(&due), "nothing was late so far: {due:?}");
    order.wait(9);
    assert_eq!(order.taken(), []);
    order.wait(1);
    assert_eq!(order.taken(), [11]);
    order.wait(30);
    order.come(B, 10);
    assert_eq!(order.taken(), [10], "what was given up passes nevertheless");
    assert_eq!(order.machine.counters().late, 1);
    // It was 40 ms late where 0 was the mean: 5 ms, and four times 10.
    assert_eq!(order.machine.patience(), 55 * MS);
    order.come(A, 13);
    order.wait(54);
    assert_eq!(order.taken(), []);
    order.wait(1);
    assert_eq!(order.taken(), [13]);
}

#[test]
fn no_wait_is_longer_than_the_setting() {
    let mut order = Order::two_paths(ReorderSettings { wait: 50 * MS, ..Default::default() });
    for round in 0..20 {
        let number = 11 + 2 * round;
        order.come(A, number);
        order.wait(900);
        order.come(B, number - 1);
    }
    assert_eq!(order.machine.patience(), 50 * MS);
    order.come(A, 100);
    order.taken();
    order.wait(50);
    assert_eq!(order.taken(), [100]);
}

#[test]
fn a_path_that_lives_is_waited_for_before_it_has_delivered_anything() {
    let mut order = Order::new(Mode::Striped);
    order.machine.set_live(A, true, order.now());
    order.machine.set_live(B, true, order.now());
    order.come(A, 0);
    assert_eq!(order.come(A, 2), Verdict::Held);
    let due = order.machine.poll_timeout().unwrap().since(order.now());
    assert!(
        (200 * MS..201 * MS).contains(&due),
        "as long as may be, for nothing is known: {due:?}"
    );
    order.wait(20);
    order.come(B, 1);
    assert_eq!(order.taken(), [0, 1, 2]);
    assert_eq!(order.machine.patience(), (20 + 4 * 10 + 10) * MS, "and measured with that");
}

#[test]
fn a_path_that_has_delivered_nothing_is_expected_as_late_as_its_round_trips_say() {
    let mut order = Order::new(Mode::Striped);
    for (path, rtt) in [(A, 20 * MS), (B, 120 * MS)] {
        order.machine.set_live(path, true, order.now());
        order.machine.set_rtt(path, rtt);
    }
    order.come(A, 0);
    order.come(A, 2);
    order.wait(59);
    assert_eq!(order.taken(), [0]);
    order.wait(1);
    assert_eq!(order.taken(), [2]);
}

/// Its last number would count as ahead by now.
#[test]
fn a_path_that_lives_is_waited_for_when_the_number_space_has_gone_around_meanwhile() {
    let mut order = Order::two_paths(ReorderSettings::default());
    order.machine.set_live(B, true, order.now());
    order.wait(501);
    for step in 1..4 {
        order.come(A, step << 22);
    }
    assert_eq!(order.come(A, (3 << 22) + 2), Verdict::Held);
}

#[test]
fn a_path_that_was_silent_for_long_has_to_be_told_to_live() {
    let mut order = Order::two_paths(ReorderSettings::default());
    order.wait(501);
    assert_eq!(order.come(A, 11), Verdict::Pass);
    order.machine.set_live(B, true, order.now());
    assert_eq!(order.come(A, 13), Verdict::Held);
}

#[test]
fn a_dead_path_is_not_waited_for() {
    let mut order = Order::two_paths(ReorderSettings::default());
    order.come(A, 11);
    order.machine.set_live(B, false, order.now());
    order.pop();
    assert_eq!(order.taken(), [11]);
    assert_eq!(order.come(A, 13), Verdict::Pass);
    order.come(B, 12);
    assert_eq!(order.come(A, 15), Verdict::Held, "something came by it");
}

#[test]
fn a_fragment_fills_its_place_and_its_frame_comes_with_the_last() {
    let mut order = Order::two_paths(ReorderSettings::default());
    let none = |order: &mut Order, path, number| {
        let now = order.now();
        assert_eq!(order.machine.accept(path, Sequence::new(number), None, now), Verdict::Pass);
        order.pop();
    };
    none(&mut order, A, 11);
    assert_eq!(order.come(A, 12), Verdict::Held);
    order.come(B, 10);
    assert_eq!(order.taken(), [10, 12], "11 is no gap");
    none(&mut order, A, 13);
    assert_eq!(order.machine.poll_timeout(), None);
    assert_eq!(order.come(A, 14), Verdict::Pass);
}

#[test]
fn what_there_is_no_room_for_gives_up_what_is_missing() {
    let settings = ReorderSettings { octets: 3 * 2048, ..Default::default() };
    let mut order = Order::two_paths(settings);
    for number in 11..14 {
        assert_eq!(order.come(A, number), Verdict::Held);
    }
    assert_eq!((order.taken(), order.machine.memory()), (vec![], 3 * 2048));
    assert_eq!(order.come(A, 15), Verdict::Held);
    assert_eq!(order.taken(), [11, 12, 13, 15]);
    assert_eq!((order.machine.held(), order.machine.memory()), (0, 3 * 2048));
    assert_eq!(order.machine.counters().overflows, 1);
}

#[test]
fn numbers_that_there_are_no_slots_for_give_up_what_is_missing() {
    let mut order = Order::two_paths(ReorderSettings { numbers: 64, ..Default::default() });
    order.come(A, 11);
    assert_eq!(order.come(A, 10 + 63), Verdict::Held);
    assert_eq!(order.taken(), []);
    assert_eq!(order.come(A, 10 + 64), Verdict::Held);
    assert_eq!(order.taken(), [11, 73, 74]);
    assert_eq!(order.come(A, 75), Verdict::Pass);
    assert_eq!(order.machine.counters().given_up, 1 + 61);
}

#[test]
fn a_leap_ahead_holds_nothing_and_is_followed() {
    let mut order = Order::two_paths(ReorderSettings::default());
    assert_eq!(order.come(A, 1 << 20), Verdict::Pass);
    order.come(A, (1 << 20) + 2);
    assert_eq!(order.come(A, 1 << 21), Verdict::Held, "behind what is held");
    assert_eq!(order.taken(), [1 << 20, (1 << 20) + 2, 1 << 21]);
    assert_eq!((order.machine.held(), order.machine.poll_timeout()), (0, None));
    assert_eq!(order.come(A, (1 << 21) + 1), Verdict::Pass);
    assert_eq!(order.come(B, 5000), Verdict::Pass, "late");
    assert_eq!(order.machine.counters().given_up, u64::from((1u32 << 21) - 10 - 2));
}

#[test]
fn memory_is_used_again() {
    let mut order = Order::two_paths(ReorderSettings::default());
    for round in 0..1000 {
        let number = 10 + round * 3;
        order.come(A, number + 1);
        order.frame(A, number + 2, &[0xff; 1514]);
        order.come(B, number);
        assert_eq!(order.taken().len(), 3);
    }
    assert_eq!(order.machine.memory(), 2 * 2048);
}

#[test]
fn frames_come_out_at_once_when_the_mode_changes() {
    let mut order = Order::two_paths(ReorderSettings::default());
    order.come(A, 11);
    order.machine.set_mode(Mode::Mirrored);
    order.pop();
    assert_eq!(order.taken(), [11]);
    assert_eq!(order.come(A, 13), Verdict::Pass);
    order.machine.set_mode(Mode::Striped);
    assert_eq!(order.come(A, 14), Verdict::Pass);
    assert_eq!(order.come(A, 16), Verdict::Held);
}
