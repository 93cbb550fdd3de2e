//! Grants that are out: who was told to serve whom, so that they can be told to stop.
//!
//! A grant is remembered without its key: only a fingerprint under a process-private hash key,
//! enough to see that the key is another one now.

use std::collections::BTreeMap;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::net::IpAddr;
use std::time::Duration;

use homeward_model::{GatewayId, Grant, Instant, Mac, Ssid};

use crate::decision::decide;
use crate::projection::Projection;

/// A grant that a change of the datastore has made wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Revocation {
    /// The gateway that was told.
    pub gateway: GatewayId,
    /// Where its question came from; the Disconnect-Request goes to that host.
    pub host: IpAddr,
    /// The device.
    pub mac: Mac,
    /// The SSID it was granted under.
    pub ssid: Ssid,
}

/// The grants given by one worker, bounded in number and age.
#[derive(Debug)]
pub struct Grants {
    out: BTreeMap<(Mac, GatewayId, Ssid), Out>,
    most: usize,
    keep: Duration,
    hash: RandomState,
}

#[derive(Debug)]
struct Out {
    host: IpAddr,
    fingerprint: u64,
    at: Instant,
}

impl Grants {
    /// Remembers at most `most` grants, each for at most `keep` after it was last given.
    pub fn new(most: usize, keep: Duration) -> Self {
        Self { out: BTreeMap::new(), most: most.max(16), keep, hash: RandomState::new() }
    }

    /// How many grants are out.
    pub fn len(&self) -> usize {
        self.out.len()
    }

    /// Whether none is out.
    pub fn is_empty(&self) -> bool {
        self.out.is_empty()
    }

    /// Remembers that `gateway`, asking from `host`, was given `grant` for `mac`.
    pub fn record(
        &mut self,
        gateway: GatewayId,
        host: IpAddr,
        mac: Mac,
        grant: &Grant,
        now: Instant,
    ) {
        let fingerprint = self.fingerprint(grant);
        let key = (mac, gateway, grant.ssid);
        if self.out.len() >= self.most && !self.out.contains_key(&key) {
            self.make_room(now);
        }
        self.out.insert(key, Out { host, fingerprint, at: now });
    }

    /// Decides each grant again by the records as they are now; takes out and returns those that
    /// would not be given, or not with the same key and security.
    pub fn revoked(&mut self, p: &Projection) -> Vec<Revocation> {
        let mut revoked = Vec::new();
        let hash = &self.hash;
        self.out.retain(|(mac, gateway, ssid), out| {
            let still = p
                .gateway(*gateway)
                .and_then(|g| decide(p, g, *mac, ssid).ok())
                .is_some_and(|grant| fingerprint(hash, &grant) == out.fingerprint);
            if !still {
                revoked.push(Revocation {
                    gateway: *gateway,
                    host: out.host,
                    mac: *mac,
                    ssid: *ssid,
                });
            }
            still
        });
        revoked
    }

    fn fingerprint(&self, grant: &Grant) -> u64 {
        fingerprint(&self.hash, grant)
    }

    /// Drops what is too old; if that was nothing, the oldest sixteenth.
    fn make_room(&mut self, now: Instant) {
        let keep = self.keep;
        self.out.retain(|_, out| now.since(out.at) < keep);
        if self.out.len() < self.most {
            return;
        }
        let mut ages: Vec<_> = self.out.iter().map(|(key, out)| (out.at, *key)).collect();
        ages.sort_unstable();
        for (_, key) in ages.iter().take(self.most / 16 + 1) {
            self.out.remove(key);
        }
    }
}

fn fingerprint(hash: &RandomState, grant: &Grant) -> u64 {
    let passphrase = grant.key.passphrase().map(homeward_model::Passphrase::expose);
    hash.hash_one((
        grant.network,
        grant.security,
        grant.at_home,
        grant.key.psk().expose(),
        passphrase,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{self, GATEWAY, MAC};

    fn give(grants: &mut Grants, p: &Projection, now: u64) {
        let grant = decide(p, p.gateway(GATEWAY).unwrap(), MAC, &testing::ssid()).unwrap();
        grants.record(GATEWAY, testing::host(), MAC, &grant, Instant::from_nanos(now));
    }

    #[test]
    fn a_grant_is_revoked_when_the_account_is_suspended_and_only_once() {
        let mut p = testing::projection();
        let mut grants = Grants::new(100, Duration::from_secs(60));
        give(&mut grants, &p, 0);
        assert_eq!(grants.revoked(&p), []);
        p.put_account(testing::suspended_account());
        let gone = grants.revoked(&p);
        assert_eq!(gone.iter().map(|r| (r.gateway, r.mac)).collect::<Vec<_>>(), [(GATEWAY, MAC)]);
        assert_eq!(grants.revoked(&p), []);
    }

    #[test]
    fn a_grant_is_revoked_when_the_device_has_another_key() {
        let mut p = testing::projection();
        let mut grants = Grants::new(100, Duration::from_secs(60));
        give(&mut grants, &p, 0);
        let mut device = p.devices(MAC)[0].clone();
        device.key = Some(homeward_model::DeviceKey::Psk(homeward_model::Psk::new([9; 32])));
        p.put_device(device);
        assert_eq!(grants.revoked(&p).len(), 1);
    }

    #[test]
    fn a_change_that_does_not_concern_a_grant_leaves_it() {
        let mut p = testing::projection();
        let mut grants = Grants::new(100, Duration::from_secs(60));
        give(&mut grants, &p, 0);
        let mut device = p.devices(MAC)[0].clone();
        device.label = "renamed".into();
        p.put_device(device);
        assert_eq!(grants.revoked(&p), []);
    }

    #[test]
    fn the_number_of_grants_is_bounded_and_the_oldest_go_first() {
        let p = testing::projection();
        let grant = decide(&p, p.gateway(GATEWAY).unwrap(), MAC, &testing::ssid()).unwrap();
        let mut grants = Grants::new(32, Duration::from_secs(3600));
        for i in 0..200u8 {
            let mac = Mac::new([2, 0, 0, 0, 0, i]);
            grants.record(GATEWAY, testing::host(), mac, &grant, Instant::from_nanos(i.into()));
            assert!(grants.len() <= 32);
        }
        assert!(grants.out.keys().any(|(mac, ..)| mac.octets()[5] == 199));
        assert!(!grants.out.keys().any(|(mac, ..)| mac.octets()[5] == 0));
    }
}
