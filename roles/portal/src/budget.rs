//! How often a bearer may ask.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use homeward_model::{Imsi, Instant, Msisdn};

use homeward_http::Client;

/// The span that is counted in.
const MINUTE: Duration = Duration::from_secs(60);

/// The most that are counted at a time. Whoever comes beyond is not held to anything: an address
/// costs a handshake, and nobody has a million of them in a minute.
const MOST: usize = 1 << 20;

/// Who is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Asker {
    /// A subscriber, by whichever of its addresses it asks.
    Subscriber(Imsi),
    /// Somebody without a bearer.
    Client(Client),
    /// Who sends short messages from there.
    Number(Msisdn),
}

/// Counts requests in this minute and the one before: who has asked for `n` of the minute before
/// counts as having asked for as much of it as lies within the last 60 s.
#[derive(Debug)]
pub struct Budget {
    a_minute: u32,
    counts: Mutex<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    began: Option<Instant>,
    now: BTreeMap<Asker, u32>,
    before: BTreeMap<Asker, u32>,
}

impl Budget {
    /// So many requests a minute; 0: any number.
    pub fn new(a_minute: u32) -> Self {
        Self { a_minute, counts: Mutex::default() }
    }

    /// Whether one more may be answered; if so, it is counted.
    pub fn may(&self, asker: Asker, now: Instant) -> bool {
        if self.a_minute == 0 {
            return true;
        }
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let into = counts.turn(now);
        let before = counts.before.get(&asker).copied().unwrap_or(0);
        let left = 1.0 - into.as_secs_f64() / MINUTE.as_secs_f64();
        let counted = counts.now.get(&asker).copied().unwrap_or(0);
        let may = f64::from(before) * left + f64::from(counted) + 1.0 <= f64::from(self.a_minute);
        if may && (counts.now.len() < MOST || counted > 0) {
            counts.now.insert(asker, counted.saturating_add(1));
        }
        may
    }
}

impl Counts {
    /// Begins a new minute where one is over; how far into it `now` is.
    fn turn(&mut self, now: Instant) -> Duration {
        let began = *self.began.get_or_insert(now);
        let into = now.since(began);
        if into < MINUTE {
            return into;
        }
        self.before = std::mem::take(&mut self.now);
        let minutes = into.as_secs() / MINUTE.as_secs();
        if minutes > 1 {
            self.before.clear();
        }
        let began = began + Duration::from_secs(minutes * MINUTE.as_secs());
        self.began = Some(began);
        now.since(began)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::IpAddr;

    fn at(seconds: u64) -> Instant {
        Instant::from_nanos(seconds * 1_000_000_000)
    }

    fn client(last: u8) -> Asker {
        Asker::Client(Client::at(IpAddr::from([192, 0, 2, last])))
    }

    /// How many of a hundred requests may be.
    fn allowed(budget: &Budget, asker: Asker, now: Instant) -> usize {
        (0..100).filter(|_| budget.may(asker, now)).count()
    }

    #[test]
    fn a_bearer_may_ask_so_often_a_minute_and_another_as_often() {
        let budget = Budget::new(10);
        assert_eq!(allowed(&budget, client(1), at(5)), 10);
        assert_eq!(allowed(&budget, client(1), at(64)), 0);
        assert_eq!(allowed(&budget, client(2), at(64)), 10);
        // The minute is over, and half of another.
        assert_eq!(allowed(&budget, client(1), at(95)), 5);
        assert_eq!(allowed(&budget, client(1), at(400)), 10);
    }

    #[test]
    fn no_minute_has_more_wherever_it_begins() {
        let budget = Budget::new(10);
        let mut times = Vec::new();
        for second in 0..600 {
            if budget.may(client(1), at(second)) {
                times.push(second);
            }
        }
        for from in 0..540 {
            let within = times.iter().filter(|time| (from..from + 60).contains(*time)).count();
            assert!(within <= 11, "{within} from {from} on");
        }
        assert!(times.len() >= 80, "{}", times.len());
    }

    #[test]
    fn a_subscriber_is_one_whatever_its_addresses_and_zero_is_any_number() {
        let budget = Budget::new(1);
        let subscriber = Asker::Subscriber("999700123456789".parse().unwrap());
        assert!(budget.may(subscriber, at(1)));
        assert!(!budget.may(subscriber, at(1)));
        assert_eq!(allowed(&Budget::new(0), subscriber, at(1)), 100);
    }

    #[test]
    fn what_is_counted_is_forgotten() {
        let budget = Budget::new(10);
        for last in 0..=255 {
            budget.may(client(last), at(0));
        }
        budget.may(client(1), at(60));
        budget.may(client(1), at(120));
        let counts = budget.counts.lock().unwrap();
        assert_eq!((counts.now.len(), counts.before.len()), (1, 1));
    }
}
