//! How many credentials a datastore issues a second, durable before they are handed out, by how
//! many are issued in a transaction: to subscribers who have none, and to those who have one.

use std::sync::Arc;

use anyhow::{Result, ensure};
use homeward_daemon::{SystemClock, SystemEntropy};
use homeward_model::{
    AccountId, Clock, Coverage, Mac, Secret, ServiceTerms, Status, UnixTime, Uses, Verifier,
};
use homeward_seal::KeyRing;
use homeward_store::{
    Accounts, Classes, Issuing, NewAccount, NewClass, NewIssue, NewLogin, NewSubscriber,
    SqliteStore, Subscribers, Way,
};

use crate::figures::{Figure, median};

const SUBSCRIBERS: u32 = 100_000;
const RUNS: usize = 5;
/// Transactions of one run.
const ROUNDS: u32 = 50;

pub(crate) fn measure() -> Result<()> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
        let place = tempfile::tempdir_in("target")?;
        let clock = SystemClock;
        let keys = place.path().join("keys");
        let ring = KeyRing::generate(&keys, &mut SystemEntropy::new(), clock.unix())?;
        let entropy = Box::new(SystemEntropy::new());
        let store =
            SqliteStore::open(&place.path().join("db"), ring, Arc::new(SystemClock), entropy)
                .await?;
        let account = fill(&store).await?;
        let (mut next, mut serial) = (0, 0);
        for batch in [1, 8, 64] {
            for what in ["first", "again"] {
                let mut rates = Vec::new();
                for _ in 0..RUNS {
                    let begin = next;
                    let start = clock.now();
                    for round in 0..ROUNDS {
                        let first = begin + round * batch;
                        let new: Vec<NewIssue> = (first..first + batch)
                            .map(|n| {
                                serial += 1;
                                issue(account, n, serial, clock.unix())
                            })
                            .collect::<Result<_>>()?;
                        let made = store.issue(&new).await?;
                        ensure!(made.iter().all(Result::is_ok), "a credential was refused");
                    }
                    let took = clock.now().since(start).as_secs_f64();
                    rates.push(f64::from(ROUNDS * batch) / took);
                    // "again" goes over those that "first" issued to.
                    next = begin + ROUNDS * batch;
                }
                let name = format!("issuing/{batch}-at-a-time/{what}");
                Figure::alone(&name, "1/s", median(&mut rates), RUNS).record()?;
                if what == "first" {
                    next -= RUNS as u32 * ROUNDS * batch;
                }
            }
        }
        store.close().await;
        Ok(())
    })
}

async fn fill(store: &SqliteStore) -> Result<AccountId> {
    let (coverage, terms) = (Coverage::Everywhere, ServiceTerms::default());
    let new = NewClass { name: "standard".parse()?, coverage, terms, retention: None };
    let class = store.create_class(&new).await?.id;
    let new = NewAccount { name: "account".parse()?, class, status: Status::Active };
    let account = store.create_account(&new).await?.id;
    let mut all = Vec::new();
    for n in 0..SUBSCRIBERS {
        let imsi = format!("99970{n:010}").parse()?;
        let (label, status) = (String::new(), Status::Active);
        all.push(NewSubscriber { imsi, msisdn: None, account, label, status });
    }
    for some in all.chunks(10_000) {
        store.create_subscribers(some).await?;
    }
    Ok(account)
}

fn issue(account: AccountId, n: u32, serial: u64, now: UnixTime) -> Result<NewIssue> {
    let [_, a, b, c] = n.to_be_bytes();
    let mac = Mac::new([2, 0, 0, a, b, c]);
    let login = NewLogin {
        account,
        name: format!("{serial:020}@wlan.example.net").parse()?,
        verifier: Verifier::Password(Secret::new(format!("{serial:026}"))),
        mac: Some(mac),
        expires: Some(UnixTime(now.0 + 604_800_000)),
        uses: Uses::Any,
        label: String::new(),
        status: Status::Active,
    };
    Ok(NewIssue {
        login,
        imsi: format!("99970{n:010}").parse()?,
        imei: Some("3569380356438001".parse()?),
        mac,
        address: Some("10.11.12.13".parse()?),
        issued: now,
        renew_from: Some(UnixTime(now.0 + 518_400_000)),
        way: Way::Https,
    })
}
