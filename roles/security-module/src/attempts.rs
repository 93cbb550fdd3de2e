//! Who has failed too often. A key of 32 octets is not guessed; but each try costs the module a
//! conversation, and a look into its log.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use homeward_model::Instant;

/// So many addresses are remembered; whoever has failed longest ago is forgotten first.
const MOST: usize = 10_000;

/// Failures by address.
#[derive(Debug)]
pub struct Attempts {
    most: u32,
    period: Duration,
    failed: HashMap<IpAddr, (u32, Instant)>,
}

impl Attempts {
    /// `most` failures within `period` of the first, and an address has to wait until that is over.
    pub fn new(most: u32, period: Duration) -> Self {
        Self { most, period, failed: HashMap::new() }
    }

    /// Whether who calls from there is heard.
    pub fn may(&self, from: IpAddr, now: Instant) -> bool {
        let found = self.failed.get(&site(from));
        found.is_none_or(|(count, since)| *count < self.most || *since + self.period <= now)
    }

    /// Who called from there was not authorised.
    pub fn failed(&mut self, from: IpAddr, now: Instant) {
        let from = site(from);
        if !self.failed.contains_key(&from) && self.failed.len() >= MOST {
            let period = self.period;
            self.failed.retain(|_, (_, since)| *since + period > now);
            if self.failed.len() >= MOST {
                let oldest = self.failed.iter().min_by_key(|(_, (_, since))| *since);
                if let Some(oldest) = oldest.map(|(from, _)| *from) {
                    self.failed.remove(&oldest);
                }
            }
        }
        let (count, since) = self.failed.entry(from).or_insert((0, now));
        if *since + self.period <= now {
            (*count, *since) = (0, now);
        }
        *count = count.saturating_add(1);
    }
}

/// An IPv4 address, or the /64 that a host has of IPv6.
fn site(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() & (u128::MAX << 64)).into(),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Instant {
        Instant::from_nanos(seconds * 1_000_000_000)
    }

    #[test]
    fn who_has_failed_too_often_waits_and_nobody_else() {
        let (bad, good) = ("192.0.2.1".parse().unwrap(), "192.0.2.2".parse().unwrap());
        let mut attempts = Attempts::new(2, Duration::from_secs(60));
        attempts.failed(bad, at(0));
        assert!(attempts.may(bad, at(1)));
        attempts.failed(bad, at(30));
        assert!(!attempts.may(bad, at(59)) && attempts.may(good, at(59)));
        assert!(attempts.may(bad, at(60)));
        attempts.failed(bad, at(61));
        assert!(attempts.may(bad, at(61)), "it is counted anew");
    }

    #[test]
    fn a_host_has_one_try_with_all_its_addresses() {
        let mut attempts = Attempts::new(1, Duration::from_secs(60));
        attempts.failed("2001:db8::1".parse().unwrap(), at(0));
        assert!(!attempts.may("2001:db8::ffff:1".parse().unwrap(), at(1)));
        assert!(attempts.may("2001:db8:0:1::1".parse().unwrap(), at(1)));
        attempts.failed("::ffff:192.0.2.1".parse().unwrap(), at(0));
        assert!(!attempts.may("192.0.2.1".parse().unwrap(), at(1)));
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut attempts = Attempts::new(1, Duration::from_secs(60));
        for n in 0..20_000u32 {
            attempts.failed(IpAddr::from(n.to_be_bytes()), at(u64::from(n) / 1000));
        }
        assert_eq!(attempts.failed.len(), MOST);
        assert!(!attempts.may(IpAddr::from(19_999u32.to_be_bytes()), at(20)));
    }
}
