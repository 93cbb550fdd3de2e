//! A place between two ends that sees and may change every datagram.
//!
//! ```text
//!   [foreign] ── 192.0.2.1:1701 ── 192.0.2.1:a [relay] 192.0.2.2:b ── 192.0.2.2:1701 ── [home]
//! ```
//!
//! All of it in one namespace, where both data planes listen on addresses of their own.

use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

/// What was seen, in order: whether it goes home, and the octets.
pub(crate) type Seen = Vec<(bool, Vec<u8>)>;

/// Decides what becomes of a datagram: whether it goes home, its octets; `false` drops it.
type Rule = Box<dyn FnMut(bool, &mut Vec<u8>) -> bool + Send>;

pub(crate) struct Relay {
    /// Where the foreign end sends to, and where the home end does.
    pub(crate) for_foreign: SocketAddr,
    pub(crate) for_home: SocketAddr,
    pub(crate) seen: Arc<Mutex<Seen>>,
    rule: Arc<Mutex<Rule>>,
    to_home: Arc<UdpSocket>,
    home: SocketAddr,
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Relay {
    /// Between two addresses, in the calling thread's namespace.
    pub(crate) fn start(foreign: SocketAddr, home: SocketAddr) -> Self {
        let socket = || {
            let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
            socket.set_read_timeout(Some(Duration::from_millis(50))).expect("a socket");
            Arc::new(socket)
        };
        // What arrives at the first goes out of the second, and the other way round.
        let (at_foreign, at_home) = (socket(), socket());
        let address = |socket: &UdpSocket| socket.local_addr().expect("bound");
        let mut relay = Self {
            for_foreign: address(&at_foreign),
            for_home: address(&at_home),
            seen: Arc::default(),
            rule: Arc::new(Mutex::new(Box::new(|_, _| true))),
            to_home: Arc::clone(&at_home),
            home,
            stop: Arc::default(),
            threads: Vec::new(),
        };
        relay.pass(true, Arc::clone(&at_foreign), Arc::clone(&at_home), home);
        relay.pass(false, at_home, at_foreign, foreign);
        relay
    }

    /// Has all further datagrams judged by this.
    pub(crate) fn rule(&self, rule: impl FnMut(bool, &mut Vec<u8>) -> bool + Send + 'static) {
        *self.rule.lock().expect("no panic") = Box::new(rule);
    }

    /// What was seen on the way home that `wanted` likes.
    pub(crate) fn seen_home(&self, wanted: impl Fn(&[u8]) -> bool) -> Vec<Vec<u8>> {
        let seen = self.seen.lock().expect("no panic");
        seen.iter().filter(|(home, o)| *home && wanted(o)).map(|(_, o)| o.clone()).collect()
    }

    /// Sends a datagram home as if it had come from abroad just now.
    pub(crate) fn inject_home(&self, octets: &[u8]) {
        self.to_home.send_to(octets, self.home).expect("a socket");
    }

    fn pass(&mut self, home: bool, from: Arc<UdpSocket>, to: Arc<UdpSocket>, at: SocketAddr) {
        let (seen, rule) = (Arc::clone(&self.seen), Arc::clone(&self.rule));
        let stop = Arc::clone(&self.stop);
        self.threads.push(std::thread::spawn(move || {
            let mut room = vec![0; 65_536];
            while !stop.load(Ordering::Relaxed) {
                let Ok((len, _)) = from.recv_from(&mut room) else { continue };
                let mut octets = room[..len].to_vec();
                let passes = (rule.lock().expect("no panic"))(home, &mut octets);
                // Before it can have an answer.
                seen.lock().expect("no panic").push((home, octets.clone()));
                if passes {
                    let _ = to.send_to(&octets, at);
                }
            }
        }));
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}
