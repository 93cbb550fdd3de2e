//! Somebody who types over TCP, as by SSH: a key now and then, and its echo.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddrV4, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use homeward_model::Instant;

use crate::namespace::Namespace;
use crate::wait::{now, pause};

/// From one key to the next.
pub const PERIOD: Duration = Duration::from_millis(200);

/// What SSH makes of a key, more or less: its number, and padding.
const KEY: usize = 36;

/// A session of such a kind, until dropped.
#[derive(Debug)]
pub struct Trickle {
    shared: Arc<Shared>,
    from: Ipv4Addr,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    stop: AtomicBool,
}

#[derive(Debug, Default)]
struct State {
    /// When each key was sent.
    sent: Vec<Instant>,
    /// When its echo came; as many as there were.
    answered: Vec<Instant>,
    end: Option<String>,
}

impl Trickle {
    /// Begins to type at `client`, to one who echoes at `address` of `server`.
    ///
    /// # Errors
    /// If the port is taken, or the client does not reach it within five seconds.
    pub async fn start(
        server: &Namespace,
        client: &Namespace,
        address: Ipv4Addr,
        port: u16,
    ) -> Result<Self> {
        let to = SocketAddrV4::new(address, port);
        let listener =
            server.enter(|| TcpListener::bind(to).with_context(|| format!("bind {to}")))?;
        std::thread::Builder::new().name("trickle-echo".into()).spawn(move || {
            if let Ok((stream, _)) = listener.accept() {
                // Whoever goes away wants no more echo; the client says why.
                echo(stream).ok();
            }
        })?;
        let stream = client
            .run(move || {
                TcpStream::connect_timeout(&to.into(), Duration::from_secs(5))
                    .with_context(|| format!("cannot connect to {to}"))
            })
            .await?;
        stream.set_nodelay(true)?;
        let IpAddr::V4(from) = stream.local_addr()?.ip() else { bail!("an IPv6 address") };
        let shared = Arc::<Shared>::default();
        let (own, mut writes) = (Arc::clone(&shared), stream.try_clone()?);
        std::thread::Builder::new().name("trickle-out".into()).spawn(move || {
            while !own.stop.load(Ordering::Relaxed) {
                own.state().sent.push(now());
                if let Err(error) = writes.write_all(&[0; KEY]) {
                    own.state().end.get_or_insert(error.to_string());
                    return;
                }
                pause(PERIOD);
            }
            // Then the echo ends, and whoever waits for it.
            writes.shutdown(std::net::Shutdown::Both).ok();
        })?;
        let (own, mut reads) = (Arc::clone(&shared), stream);
        std::thread::Builder::new().name("trickle-in".into()).spawn(move || {
            let mut room = [0; KEY];
            let end = loop {
                match reads.read_exact(&mut room) {
                    Ok(()) => own.state().answered.push(now()),
                    Err(error) => break error.to_string(),
                }
            };
            own.state().end.get_or_insert(end);
        })?;
        Ok(Self { shared, from })
    }

    /// The address that it was begun from.
    pub const fn from(&self) -> Ipv4Addr {
        self.from
    }

    /// Why it has ended; `None` while it goes on.
    pub fn end(&self) -> Option<String> {
        self.shared.state().end.clone()
    }

    /// How many keys were echoed so far.
    pub fn echoed(&self) -> usize {
        self.shared.state().answered.len()
    }

    /// The longest that the echo of a key took that was typed from `since` on; for one that had none by
    /// `until`, until then.
    pub fn longest(&self, since: Instant, until: Instant) -> Duration {
        let state = self.shared.state();
        longest(&state.sent, &state.answered, since, until)
    }
}

impl Shared {
    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Trickle {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
    }
}

fn echo(mut stream: TcpStream) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut room = [0; KEY];
    loop {
        stream.read_exact(&mut room)?;
        stream.write_all(&room)?;
    }
}

fn longest(sent: &[Instant], answered: &[Instant], since: Instant, until: Instant) -> Duration {
    let answers = answered.iter().copied().map(Some).chain(std::iter::repeat(None));
    let typed = sent.iter().zip(answers).filter(|(sent, _)| **sent >= since && **sent <= until);
    let waits = typed.map(|(sent, answer)| answer.unwrap_or(until).min(until) - *sent);
    waits.max().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_wait_is_that_of_a_key_without_an_echo_too() {
        let ms = |ms: u64| Instant::from_nanos(ms * 1_000_000);
        let (sent, answered) = ([0, 200, 400].map(ms), [90, 210].map(ms));
        let waited = |since, until| longest(&sent, &answered, ms(since), ms(until)).as_millis();
        assert_eq!(waited(0, 410), 90);
        assert_eq!(waited(100, 410), 10);
        assert_eq!(waited(100, 600), 200);
        assert_eq!(waited(500, 600), 0);
    }
}
