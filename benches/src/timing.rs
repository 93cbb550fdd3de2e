//! Whether the time of an answer tells which names somebody has: names that nobody has beside names
//! that somebody has, each with a wrong password, by PAP, one at a time and in no order. Few of
//! the passwords were chosen by people: names whose passwords take long are compared with their
//! like, and how many there are of either.
//!
//! `order` is how often, of one of either, the name that nobody has took longer: 0.5 tells nothing.
//! Its error is what chance alone makes of so many samples.

use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use homeward_daemon::{SystemClock, SystemEntropy};
use homeward_model::{Clock, Entropy, Secret};
use homeward_radius::dictionary::standard;
use homeward_radius::{Builder, Code, Packet, SharedSecret};

use crate::figures::{Figure, percentile, say};
use crate::population::{Population, login, password};
use crate::world::{Core, GATEWAY, SECRET};

const LOGINS: Population = Population { people: 500, ..Population::logins(100_000) };
/// Of either kind, each name once.
const ASKED: u32 = 100_000;
/// A password that a person chose takes longer than that, and nothing else does.
const LONG: Duration = Duration::from_millis(4);

pub(crate) fn measure() -> Result<()> {
    let core = Core::start(LOGINS)?;
    let mut asker = Asker::new(core.address)?;
    // Some to warm up.
    for n in 0..10_000 {
        asker.ask(2 * LOGINS.logins + n)?;
    }
    let [mut nobodys, mut somebodys] = [(); 2].map(|()| Times::default());
    for n in 0..ASKED {
        let known = n.wrapping_mul(7919) % LOGINS.logins;
        let unknown = 3 * LOGINS.logins + n;
        if asker.entropy.octets::<1>()[0] & 1 == 0 {
            nobodys.take(asker.ask(unknown)?);
            somebodys.take(asker.ask(known)?);
        } else {
            somebodys.take(asker.ask(known)?);
            nobodys.take(asker.ask(unknown)?);
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

/// Who tries log-ins, one at a time.
struct Asker {
    socket: UdpSocket,
    secret: SharedSecret,
    entropy: SystemEntropy,
    packet: Vec<u8>,
    id: u8,
}

impl Asker {
    fn new(core: SocketAddr) -> Result<Self> {
        let socket = UdpSocket::bind("127.0.0.1:0")?;
        socket.connect(core)?;
        socket.set_read_timeout(Some(Duration::from_secs(2)))?;
        let (secret, entropy) = (SharedSecret::new(&Secret::new(SECRET))?, SystemEntropy::new());
        Ok(Self { socket, secret, entropy, packet: Vec::new(), id: 0 })
    }

    /// Tries a wrong password for the `n`th name, and gives how long it took to be told so.
    fn ask(&mut self, n: u32) -> Result<Duration> {
        self.id = self.id.wrapping_add(1);
        let (code, authenticator) = (Code::AccessRequest, self.entropy.octets());
        let mut builder =
            Builder::request(&mut self.packet, &self.secret, code, self.id, authenticator);
        builder.text(standard::USER_NAME, &login(n))?;
        builder.user_password(password(n ^ 1).as_bytes())?;
        builder.text(standard::NAS_IDENTIFIER, GATEWAY)?;
        builder.text(standard::CALLING_STATION_ID, "02-00-5E-20-00-07")?;
        builder.finish();
        let mut room = [0; 1024];
        let sent = SystemClock.now();
        self.socket.send(&self.packet)?;
        let octets = self.socket.recv(&mut room).context("not answered within 2 s")?;
        let took = SystemClock.now().since(sent);
        let answer = Packet::decode(room.get(..octets).unwrap_or_default())?;
        ensure!(answer.identifier() == self.id, "the answer to another question");
        ensure!(answer.code() == Code::AccessReject, "answered with {}", answer.code());
        Ok(took)
    }
}
