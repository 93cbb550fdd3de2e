//! Upkeep: takes from the datastore what has had its time.
//!
//! What was issued and has run out is withdrawn. AAA lets nobody in by it from the moment it ran
//! out, and a NAS that heeds Session-Timeout has ended its sessions; with the record, a session
//! ends at any other NAS as well, by a Disconnect-Request. Entries of the audit trail go when they
//! have been kept for long enough.
//!
//! It runs in every core, with a portal or without: the trail grows by `homeward admin`, too.

use std::sync::Arc;
use std::time::Duration;

use homeward_daemon::{Invalid, Metrics, Part, Period, Shutdown, SystemClock};
use homeward_model::{Clock, UnixTime};
use homeward_store::Store;
use prometheus_client::metrics::counter::Counter;
use serde::Deserialize;
use serde_json::json;

/// The most that goes in one transaction: other writers wait as long as it takes.
const MOST: u32 = 500;

/// `[portal.upkeep]`: for how long things are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// How often what has had its time is looked for.
    pub every: Period,
    /// How long what was issued is kept after it ran out; until then, a NAS that pays no heed to
    /// Session-Timeout goes on with its session.
    pub keep_expired: Period,
    /// How long entries of the audit trail are kept.
    pub keep_audit: Period,
}

impl Default for Config {
    fn default() -> Self {
        let day = 86_400;
        Self {
            every: Period(Duration::from_secs(10)),
            keep_expired: Period(Duration::ZERO),
            keep_audit: Period(Duration::from_secs(800 * day)),
        }
    }
}

impl Config {
    /// Checks what the types cannot say.
    ///
    /// # Errors
    ///
    /// The first value that is not allowed.
    pub fn check(&self) -> Result<(), Invalid> {
        let day = Duration::from_secs(86_400);
        if !(Duration::from_secs(1)..=day).contains(&self.every.0) {
            return Err(Invalid::new("portal.upkeep.every", "use 1s to 1d"));
        }
        if self.keep_audit.0 < day {
            return Err(Invalid::new("portal.upkeep.keep_audit", "use at least 1d"));
        }
        Ok(())
    }
}

/// What went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Gone {
    /// Log-ins that were issued and ran out.
    pub issued: u64,
    /// Entries of the audit trail.
    pub audit: u64,
}

/// Does the upkeep of one datastore.
pub struct Upkeep {
    config: Config,
    store: Arc<dyn Store>,
    withdrawn: Counter,
    forgotten: Counter,
    failed: Counter,
}

impl Upkeep {
    /// One whose figures appear in `metrics`.
    pub fn new(config: Config, store: Arc<dyn Store>, metrics: &mut Metrics) -> Self {
        let (withdrawn, forgotten, failed) = Default::default();
        let this = Self { config, store, withdrawn, forgotten, failed };
        let registry = metrics.registry().sub_registry_with_prefix("upkeep");
        let help = "Log-ins that were issued, ran out and were withdrawn";
        registry.register("withdrawn", help, this.withdrawn.clone());
        let help = "Entries of the audit trail that were kept for long enough";
        registry.register("audit_forgotten", help, this.forgotten.clone());
        let help = "Times that the datastore did not let go of what has had its time";
        registry.register("failed", help, this.failed.clone());
        this
    }

    /// Takes all that has had its time at `now`, a part at a time.
    ///
    /// # Errors
    ///
    /// What the datastore says; what went until then is gone.
    pub async fn pass(&self, now: UnixTime) -> homeward_store::Result<Gone> {
        let before = |keep: Period| {
            let keep = i64::try_from(keep.0.as_millis()).unwrap_or(i64::MAX);
            now.0.saturating_sub(keep)
        };
        let mut gone = Gone::default();
        loop {
            // What runs out at this very moment is good no more.
            let ran_out = UnixTime(before(self.config.keep_expired).saturating_add(1));
            let some = self.store.withdraw_expired(ran_out, MOST).await?;
            self.withdrawn.inc_by(some);
            gone.issued += some;
            if some < u64::from(MOST) {
                break;
            }
        }
        loop {
            let old = UnixTime(before(self.config.keep_audit));
            let some = self.store.prune_audit(old, MOST).await?;
            self.forgotten.inc_by(some);
            gone.audit += some;
            if some < u64::from(MOST) {
                return Ok(gone);
            }
        }
    }

    async fn run(&self, shutdown: Shutdown) {
        loop {
            match self.pass(SystemClock.unix()).await {
                Ok(Gone { issued: 0, audit: 0 }) => {}
                Ok(Gone { issued, audit }) => {
                    tracing::info!(issued, audit, "what had its time is gone");
                }
                Err(error) => {
                    self.failed.inc();
                    let chain = format!("{:#}", anyhow::Error::from(error));
                    tracing::warn!(error = chain, "what has had its time stays; tried again");
                }
            }
            tokio::select! {
                () = shutdown.requested() => return,
                () = SystemClock.until(Some(SystemClock.now() + self.config.every.0)) => {}
            }
        }
    }
}

/// The upkeep of a datastore, until shutdown; the first at once, of what had its time while the
/// core was away.
pub fn start(
    config: Config,
    store: Arc<dyn Store>,
    metrics: &mut Metrics,
    shutdown: Shutdown,
) -> Part {
    let upkeep = Arc::new(Upkeep::new(config, store, metrics));
    let said = Arc::clone(&upkeep);
    let status = move || {
        let said = json!({
            "withdrawn": said.withdrawn.get(),
            "audit_forgotten": said.forgotten.get(),
            "failed": said.failed.get(),
        });
        async move { said }
    };
    let work = async move {
        upkeep.run(shutdown).await;
        Ok(())
    };
    Part::new(status, work).section("upkeep")
}

#[cfg(test)]
mod tests {
    use homeward_model::{Coverage, LoginId, Mac, Secret, ServiceTerms, Status, Uses, Verifier};
    use homeward_store::testing::ManualClock;
    use homeward_store::{
        AuditFilter, IssuedFilter, MemoryStore, NewAccount, NewClass, NewIssue, NewLogin,
        NewSubscriber, Page, Seq, Way,
    };

    use super::*;

    const DAY: i64 = 86_400_000;

    /// A datastore with an account, made by somebody who leaves a trail.
    struct World {
        clock: Arc<ManualClock>,
        store: Arc<dyn Store>,
        account: homeward_model::AccountId,
        metrics: Metrics,
    }

    impl World {
        async fn new() -> Self {
            let clock = Arc::new(ManualClock::at(0));
            let store = MemoryStore::new(clock.clone());
            let named = homeward_store::Audit::acting_as(&store, "admin:fred".parse().unwrap());
            let (coverage, terms) = (Coverage::default(), ServiceTerms::default());
            let class =
                NewClass { name: "gold".parse().unwrap(), coverage, terms, retention: None };
            let class = named.create_class(&class).await.unwrap().id;
            let (name, status) = ("smith".parse().unwrap(), Status::Active);
            clock.set(DAY);
            let account = named.create_account(&NewAccount { name, class, status }).await.unwrap();
            let store: Arc<dyn Store> = Arc::new(store);
            Self { clock, store, account: account.id, metrics: Metrics::new("core", "1") }
        }

        fn upkeep(&mut self, config: Config) -> Upkeep {
            Upkeep::new(config, Arc::clone(&self.store), &mut self.metrics)
        }

        /// Issues to subscriber `n`, until `expires`.
        async fn issue(&self, n: u16, expires: Option<i64>) {
            let imsi = format!("99970{n:010}").parse().unwrap();
            let (account, status) = (self.account, Status::Active);
            let (msisdn, label) = (None, String::new());
            let new = NewSubscriber { imsi, msisdn, account, label, status };
            self.store.create_subscriber(&new).await.unwrap();
            let [high, low] = n.to_be_bytes();
            let mac = Mac::new([2, 0, 0, 0, high, low]);
            let login = NewLogin {
                account,
                name: format!("u{n}@wlan.example.net").parse().unwrap(),
                verifier: Verifier::Password(Secret::new("of subscriber")),
                mac: Some(mac),
                expires: expires.map(UnixTime),
                uses: Uses::Any,
                label: String::new(),
                status,
            };
            let (issued, renew_from, way) = (UnixTime(0), None, Way::Https);
            let (imei, address) = (None, None);
            let new = NewIssue { login, imsi, imei, mac, address, issued, renew_from, way };
            self.store.issue(&[new]).await.unwrap().remove(0).unwrap();
        }

        async fn issued(&self) -> Vec<String> {
            let page: Page<LoginId> = Page { after: None, limit: 9 };
            let all = self.store.issued(&IssuedFilter::default(), page).await.unwrap();
            all.iter().map(|one| one.login.name.user().to_owned()).collect()
        }

        async fn trail(&self) -> usize {
            let any = AuditFilter::default();
            self.store.audit_after(Seq::ZERO, &any, 99).await.unwrap().len()
        }
    }

    #[tokio::test]
    async fn what_ran_out_is_withdrawn_at_that_moment_and_what_did_not_stays() {
        let mut world = World::new().await;
        for (n, expires) in [(1, Some(5000)), (2, Some(5001)), (3, None)] {
            world.issue(n, expires).await;
        }
        let upkeep = world.upkeep(Config::default());
        world.clock.set(4999);
        assert_eq!(upkeep.pass(world.clock.unix()).await.unwrap(), Gone::default());
        world.clock.set(5000);
        assert_eq!(upkeep.pass(world.clock.unix()).await.unwrap().issued, 1);
        assert_eq!(world.issued().await, ["u2", "u3"]);
        world.clock.set(i64::MAX);
        assert_eq!(upkeep.pass(world.clock.unix()).await.unwrap().issued, 1);
        assert_eq!(world.issued().await, ["u3"]);
        let text = world.metrics.text();
        assert!(text.contains("homeward_upkeep_withdrawn_total 2"), "{text}");
    }

    #[tokio::test]
    async fn what_ran_out_is_kept_for_as_long_as_is_set() {
        let mut world = World::new().await;
        world.issue(1, Some(5000)).await;
        let keep_expired = Period(Duration::from_secs(60));
        let upkeep = world.upkeep(Config { keep_expired, ..Config::default() });
        assert_eq!(upkeep.pass(UnixTime(64_999)).await.unwrap().issued, 0);
        assert_eq!(upkeep.pass(UnixTime(65_000)).await.unwrap().issued, 1);
    }

    #[tokio::test]
    async fn more_than_goes_at_a_time_goes_all_the_same() {
        let mut world = World::new().await;
        for n in 0..1001 {
            world.issue(n, Some(5000)).await;
        }
        let upkeep = world.upkeep(Config::default());
        assert_eq!(upkeep.pass(UnixTime(5000)).await.unwrap().issued, 1001);
        assert_eq!(world.issued().await, [""; 0]);
    }

    #[tokio::test]
    async fn the_trail_is_kept_for_as_long_as_is_set() {
        let mut world = World::new().await;
        let upkeep = world.upkeep(Config::default());
        assert_eq!(
            (upkeep.pass(UnixTime(800 * DAY)).await.unwrap(), world.trail().await),
            (Gone::default(), 2)
        );
        let one = Gone { issued: 0, audit: 1 };
        assert_eq!(upkeep.pass(UnixTime(800 * DAY + 1)).await.unwrap(), one);
        assert_eq!(world.trail().await, 1, "that of a day later stays");
    }

    #[test]
    fn what_is_not_allowed_is_named() {
        Config::default().check().unwrap();
        let wrong = |change: fn(&mut Config)| {
            let mut config = Config::default();
            change(&mut config);
            config.check().unwrap_err().to_string()
        };
        assert!(wrong(|c| c.every = Period::default()).starts_with("portal.upkeep.every"));
        let short = wrong(|c| c.keep_audit = Period(Duration::from_secs(3600)));
        assert!(short.starts_with("portal.upkeep.keep_audit"), "{short}");
    }
}
