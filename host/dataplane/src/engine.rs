//! What the two threads and the handle share.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use homeward_l2tp::PathSettings;
use homeward_linux::{AddressWatch, UdpSocket};
use homeward_model::{Clock, Entropy, Instant};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags};
use nix::sys::eventfd::{EfdFlags, EventFd};

use crate::config::{ReflexiveConfig, TunnelId};
use crate::event::Event;
use crate::reflexive::Reflexive;
use crate::table::{Table, lock};
use crate::timers::{Slot, Timers};
use crate::wireguard::Identity;

/// What an epoll entry that is no interface or socket has for data.
pub(crate) const WAKE: u64 = u64::MAX;

/// What the watch of the machine's addresses has.
pub(crate) const ADDRESSES: u64 = u64::MAX - 1;

/// How often WireGuard's timers are looked at while a peer sends or receives.
pub(crate) const CORE_TICK: Duration = Duration::from_millis(500);
/// How often while it is idle and has keys, which are to be forgotten in time.
pub(crate) const CORE_IDLE_TICK: Duration = Duration::from_secs(30);
/// After how long it is idle: longer than any of WireGuard's timers that follow a packet.
pub(crate) const CORE_IDLE: Duration = Duration::from_secs(25);

/// What comes up in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Timer {
    /// The path of a peer's link: the peer's place, and whether it is the encrypted one.
    Link(usize, bool),
    /// A peer's WireGuard.
    Cores(usize),
    /// A tunnel's fragments.
    Fragments(usize),
    /// A tunnel's paths: reports and probes, and what was held for its order.
    Bond(usize),
    /// Who asks how the Internet sees us.
    Reflexive,
}

/// What the two threads and the handle share.
pub(crate) struct Shared {
    pub(crate) identity: Arc<Identity>,
    pub(crate) path: PathSettings,
    pub(crate) reflexive: Reflexive,
    /// For how long a frame waits for its peer.
    pub(crate) hold: Duration,
    pub(crate) timers: Timers<Timer>,
    /// The interfaces, for the thread that sends.
    pub(crate) interfaces: Epoll,
    pub(crate) stopping: AtomicBool,
    pub(crate) refused: Refused,
    table: RwLock<Table>,
    clock: Box<dyn Clock>,
    tell: Box<dyn Fn(Event) + Send + Sync>,
    /// Tunnels whose peer came or went, since the thread that sends has looked.
    turned: Mutex<Vec<TunnelId>>,
    wake_sender: EventFd,
    wake_receiver: EventFd,
}

/// Datagrams that belong to no tunnel.
#[derive(Debug, Default)]
pub(crate) struct Refused {
    /// Neither L2TP nor WireGuard, or for no session or core of ours.
    pub(crate) unknown: AtomicU64,
    /// WireGuard messages that did not open: replayed, forged, or of a session that is over.
    pub(crate) wireguard: AtomicU64,
}

impl Shared {
    pub(crate) fn new(
        identity: Identity,
        path: PathSettings,
        reflexive: &ReflexiveConfig,
        hold: Duration,
        clock: Box<dyn Clock>,
        tell: Box<dyn Fn(Event) + Send + Sync>,
    ) -> nix::Result<Self> {
        let wake = || EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK);
        let interfaces = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        let (wake_sender, wake_receiver) = (wake()?, wake()?);
        interfaces.add(&wake_sender, EpollEvent::new(EpollFlags::EPOLLIN, WAKE))?;
        Ok(Self {
            identity: Arc::new(identity),
            path,
            reflexive: Reflexive::new(reflexive),
            hold,
            timers: Timers::default(),
            interfaces,
            stopping: AtomicBool::new(false),
            refused: Refused::default(),
            table: RwLock::default(),
            clock,
            tell,
            turned: Mutex::default(),
            wake_sender,
            wake_receiver,
        })
    }

    /// What the thread that receives waits for: the sockets, each with its place for data, and the
    /// machine's addresses.
    pub(crate) fn arrivals(
        &self,
        sockets: &[UdpSocket],
        addresses: &AddressWatch,
    ) -> nix::Result<Epoll> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        epoll.add(&self.wake_receiver, EpollEvent::new(EpollFlags::EPOLLIN, WAKE))?;
        epoll.add(addresses, EpollEvent::new(EpollFlags::EPOLLIN, ADDRESSES))?;
        for (at, socket) in sockets.iter().enumerate() {
            epoll.add(socket, EpollEvent::new(EpollFlags::EPOLLIN, at as u64))?;
        }
        Ok(epoll)
    }

    /// The settings of a path that begins now.
    pub(crate) fn path_settings(&self) -> PathSettings {
        PathSettings { keepalive: self.keepalive(), ..self.path.clone() }
    }

    /// After how long a silence a peer is sent something: as is set, or as the NAT takes that we are
    /// behind.
    pub(crate) fn keepalive(&self) -> Option<Duration> {
        self.path.keepalive.or_else(|| self.reflexive.keepalive())
    }

    pub(crate) fn now(&self) -> Instant {
        self.clock.now()
    }

    pub(crate) fn table(&self) -> RwLockReadGuard<'_, Table> {
        self.table.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn table_mut(&self) -> RwLockWriteGuard<'_, Table> {
        self.table.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells what happened; what waits for a peer learns first that it came or went. Without a
    /// lock held: who is told may ask for something.
    pub(crate) fn tell(&self, events: &mut Vec<Event>) {
        if events.iter().any(|event| matches!(event, Event::Unreachable { .. })) {
            let table = self.table();
            events.retain(|event| match event {
                Event::Unreachable { tunnel } => !table.is_reachable(*tunnel),
                _ => true,
            });
        }
        let mut turned = events.iter().filter_map(Event::turned).peekable();
        if turned.peek().is_some() {
            lock(&self.turned).extend(turned);
            self.wake_sender();
        }
        for event in events.drain(..) {
            (self.tell)(event);
        }
    }

    /// Has something come up in time, for any thread but the receiving one.
    pub(crate) fn arm(&self, slot: &Slot, timer: Timer, due: Option<Instant>) {
        if let Some(due) = due
            && self.timers.arm(slot, timer, due)
        {
            self.wake_receiver();
        }
    }

    /// Has the receiving thread look at the time, or at whether to stop. A write cannot fail: the
    /// number that it adds to is read long before it is full.
    pub(crate) fn wake_receiver(&self) {
        let _ = self.wake_receiver.write(1);
    }

    /// Ends both threads.
    pub(crate) fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
        self.wake_sender();
        self.wake_receiver();
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    fn wake_sender(&self) {
        let _ = self.wake_sender.write(1);
    }

    /// Takes back the wake-ups of the sending thread. Gives the tunnels to look at again.
    pub(crate) fn sender_woke(&self) -> Vec<TunnelId> {
        let _ = self.wake_sender.read();
        std::mem::take(&mut lock(&self.turned))
    }

    /// Takes back the wake-ups of the receiving thread.
    pub(crate) fn receiver_woke(&self) {
        let _ = self.wake_receiver.read();
    }
}

/// Held by each of the two threads. If one ends by itself, the other would carry half of the
/// traffic: it ends too, and every tunnel's interface counts as gone.
pub(crate) struct Alarm(pub(crate) Arc<Shared>);

impl Drop for Alarm {
    fn drop(&mut self) {
        let shared = &self.0;
        if shared.is_stopping() {
            return;
        }
        tracing::error!("a thread of the data plane ended: this is a defect of Homeward");
        shared.stop();
        let mut events = Vec::new();
        for (_, tunnel) in &shared.table().tunnels {
            tunnel.gone.store(true, Ordering::Relaxed);
            events.push(Event::Gone { tunnel: tunnel.id });
        }
        shared.tell(&mut events);
    }
}

/// An entropy of unknown kind.
pub(crate) struct AnyEntropy(pub(crate) Box<dyn Entropy + Send>);

impl Entropy for AnyEntropy {
    fn fill(&mut self, room: &mut [u8]) {
        self.0.fill(room);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use homeward_model::UnixTime;

    use super::*;
    use crate::key::Key;

    struct Still;

    impl Clock for Still {
        fn now(&self) -> Instant {
            Instant::ORIGIN
        }

        fn unix(&self) -> UnixTime {
            UnixTime(0)
        }
    }

    #[test]
    fn a_thread_that_ends_by_itself_ends_the_other() {
        let told: Arc<Mutex<usize>> = Arc::default();
        let tell = Arc::clone(&told);
        let identity = Identity::new(&Key::new([1; 32]));
        let tell = Box::new(move |_| *tell.lock().unwrap() += 1);
        let (path, reflexive) = (PathSettings::default(), ReflexiveConfig::default());
        let shared = Shared::new(identity, path, &reflexive, Duration::ZERO, Box::new(Still), tell);
        let shared = Arc::new(shared.unwrap());
        let alarm = Alarm(Arc::clone(&shared));
        let dies = std::thread::spawn(move || {
            let _alarm = alarm;
            panic!("on purpose");
        });
        assert!(dies.join().is_err());
        assert!(shared.is_stopping());
        // Both threads have something to wake up for.
        let mut ready = [EpollEvent::empty(); 2];
        assert_eq!(shared.interfaces.wait(&mut ready, 0u8), Ok(1));
        assert_eq!(*told.lock().unwrap(), 0, "there was no tunnel");
    }
}
