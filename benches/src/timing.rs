//! Whether the time of an answer tells which names somebody has: names that nobody has beside names
//! that somebody has, each with a wrong password, by PAP, one at a time and in no order. Few of
//! the passwords were chosen by people: names whose passwords take long are compared with their
//! like, and how many there are of either.
//!
//! `order` is how often, of one of either, the name that nobody has took longer: 0.5 tells nothing.
//! Its error is what chance alone makes of so many samples.

use std::time::Duration;

use anyhow::Result;
use homeward_daemon::SystemEntropy;
use homeward_model::Entropy;
use homeward_radius::Code;
use homeward_radius::dictionary::standard;

use crate::asker::Asker;
use crate::figures::{Figure, percentile, say};
use crate::population::{Population, login, password};
use crate::world::{Core, GATEWAY};

const LOGINS: Population = Population { people: 500, ..Population::logins(100_000) };
/// Of either kind, each name once.
const ASKED: u32 = 100_000;
/// A password that a person chose takes longer than that, and nothing else does.
const LONG: Duration = Duration::from_millis(4);

pub(crate) fn measure() -> Result<()> {
    let core = Core::start(LOGINS)?;
    let (mut asker, mut entropy) = (Asker::new(core.address)?, SystemEntropy::new());
    // Some to warm up.
    for n in 0..10_000 {
        tried(&mut asker, 2 * LOGINS.logins + n)?;
    }
    let [mut nobodys, mut somebodys] = [(); 2].map(|()| Times::default());
    for n in 0..ASKED {
        let known = n.wrapping_mul(7919) % LOGINS.logins;
        let unknown = 3 * LOGINS.logins + n;
        if entropy.octets::<1>()[0] & 1 == 0 {
            nobodys.take(tried(&mut asker, unknown)?);
            somebodys.take(tried(&mut asker, known)?);
        } else {
            somebodys.take(tried(&mut asker, known)?);
            nobodys.take(tried(&mut asker, unknown)?);
        }
    }
    for (of, unit, scale, nobodys, somebodys) in [
        ("made", "us", 1e6, &mut nobodys.short, &mut somebodys.short),
        ("chosen", "ms", 1e3, &mut nobodys.long, &mut somebodys.long),
    ] {
        let runs = nobodys.len();
        Figure::alone(&format!("timing/{of}/share"), "%", share(runs), runs)
            .beside("somebody's", share(somebodys.len()))
            .record()?;
        for p in [50, 95] {
            let (ours, theirs) = (percentile(nobodys, p) * scale, percentile(somebodys, p) * scale);
            Figure::alone(&format!("timing/{of}/p{p}"), unit, ours, runs)
                .beside("somebody's", theirs)
                .record()?;
        }
        let (order, error) = order(nobodys, somebodys);
        Figure::alone(&format!("timing/{of}/order"), "", order, runs).record()?;
        say(&format!("  {:.1} times the error of {error:.4}", (order - 0.5).abs() / error));
    }
    Ok(())
}

fn share(of: usize) -> f64 {
    of as f64 / f64::from(ASKED) * 100.0
}

/// Seconds, by whether they are many.
#[derive(Default)]
struct Times {
    short: Vec<f64>,
    long: Vec<f64>,
}

impl Times {
    fn take(&mut self, time: Duration) {
        let kind = if time > LONG { &mut self.long } else { &mut self.short };
        kind.push(time.as_secs_f64());
    }
}

/// How often one of `ones` is more than one of `others`, and the standard error of that if they
/// are alike: the statistic of Mann and Whitney, out of all pairs. Both are in order.
fn order(ones: &[f64], others: &[f64]) -> (f64, f64) {
    let (mut more, mut below) = (0.0, 0);
    for one in ones {
        below += others.get(below..).unwrap_or_default().iter().take_while(|o| *o < one).count();
        let same = others.get(below..).unwrap_or_default().iter().take_while(|o| *o == one);
        more += below as f64 + same.count() as f64 / 2.0;
    }
    let (n, m) = (ones.len() as f64, others.len() as f64);
    (more / (n * m), ((n + m + 1.0) / (12.0 * n * m)).sqrt())
}

/// Tries a wrong password for the `n`th name, and gives how long it took to be told so.
fn tried(asker: &mut Asker, n: u32) -> Result<Duration> {
    asker.ask(Code::AccessRequest, Code::AccessReject, |packet| {
        packet.text(standard::USER_NAME, &login(n))?;
        packet.user_password(password(n ^ 1).as_bytes())?;
        packet.text(standard::NAS_IDENTIFIER, GATEWAY)?;
        packet.text(standard::CALLING_STATION_ID, "02-00-5E-20-00-07")?;
        Ok(())
    })
}
