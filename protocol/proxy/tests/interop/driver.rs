//! The machine with sockets, on a thread of its own.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use homeward_daemon::{SystemClock, SystemEntropy};
use homeward_model::{Clock, Secret};
use homeward_proxy::{Asker, Event, Key, Proxy, Routed, ServerId, Settings, Table};
use homeward_radius::{
    Builder, Code, EncodeError, Packet, Policy, Port, Received, Server, ServerSettings,
    SharedSecret, Ticket,
};

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) fn shared(text: &str) -> SharedSecret {
    SharedSecret::new(&Secret::new(text)).unwrap()
}

/// Two addresses that were free a moment ago.
pub(crate) fn free_addresses() -> [SocketAddr; 2] {
    let sockets = [(), ()].map(|()| UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap());
    sockets.map(|socket| socket.local_addr().unwrap())
}

enum Input {
    Nas { port: usize, source: SocketAddr, octets: Vec<u8> },
    Home { server: ServerId, lane: u16, octets: Vec<u8> },
    Refused { server: ServerId, lane: u16 },
    Stop,
}

/// What happened, in lines.
#[derive(Default)]
struct Notes {
    lines: Mutex<Vec<String>>,
    more: Condvar,
}

/// A proxy that listens.
pub(crate) struct Wired {
    /// Where it takes Access-Requests.
    pub(crate) access: SocketAddr,
    /// Where it takes Accounting-Requests.
    pub(crate) accounting: SocketAddr,
    notes: Arc<Notes>,
    input: Sender<Input>,
    /// Tells the readers to end.
    over: Arc<AtomicBool>,
    machine: Option<JoinHandle<()>>,
}

impl Drop for Wired {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        // Both fail only if the machine has panicked.
        let _ = self.input.send(Input::Stop);
        let _ = self.machine.take().map(JoinHandle::join);
    }
}

impl Wired {
    /// For NASes with that secret. Servers are at `addresses`, by their place in the table.
    pub(crate) fn start(nas_secret: &str, table: Table, addresses: &[SocketAddr]) -> Self {
        let (input, inputs) = channel();
        let (notes, over) = (Arc::new(Notes::default()), Arc::new(AtomicBool::new(false)));
        let bind = || UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let ports = [bind(), bind()];
        let [access, accounting] = [&ports[0], &ports[1]].map(|s| s.local_addr().unwrap());
        for (port, socket) in ports.iter().enumerate() {
            let input = input.clone();
            listen(socket, &over, move |received| match received {
                Ok((source, octets)) => input.send(Input::Nas { port, source, octets }).is_ok(),
                Err(_) => input.send(Input::Stop).is_ok(),
            });
        }
        let mut lanes = BTreeMap::new();
        for (server, address) in addresses.iter().enumerate() {
            let server = ServerId::at(server);
            for lane in 0..4 {
                let socket = bind();
                socket.connect(address).unwrap();
                let input = input.clone();
                listen(&socket, &over, move |received| {
                    let sent = match received {
                        Ok((_, octets)) => input.send(Input::Home { server, lane, octets }),
                        Err(_) => input.send(Input::Refused { server, lane }),
                    };
                    sent.is_ok()
                });
                lanes.insert((server, lane), socket);
            }
        }
        let secret = shared(nas_secret);
        let written = Arc::clone(&notes);
        let machine = std::thread::spawn(move || {
            let server = |port| Server::new(port, ServerSettings::default());
            let key = Key::new(&Secret::new([7; 32]));
            let mut machine = Machine {
                proxy: Proxy::new(Settings::default(), key, table),
                servers: [server(Port::Authentication), server(Port::Accounting)],
                ports,
                lanes,
                secret,
                entropy: SystemEntropy::new(),
                notes: written,
            };
            loop {
                let now = SystemClock.now();
                let wait = machine.proxy.poll_timeout().map_or(PATIENCE, |due| due.since(now));
                match inputs.recv_timeout(wait) {
                    Ok(Input::Stop) | Err(RecvTimeoutError::Disconnected) => return,
                    Ok(input) => machine.take(input),
                    Err(RecvTimeoutError::Timeout) => {}
                }
                machine.turn();
            }
        });
        Self { access, accounting, notes, input, over, machine: Some(machine) }
    }

    /// How many lines there are by now.
    pub(crate) fn mark(&self) -> usize {
        self.notes.lines.lock().unwrap().len()
    }

    /// Waits for a line after the first `mark` ones.
    #[track_caller]
    pub(crate) fn wait_for(&self, mark: usize, line: &str) {
        let lines = self.notes.lines.lock().unwrap();
        let waits = |lines: &mut Vec<String>| !lines[mark..].iter().any(|l| l == line);
        let (lines, _) = self.notes.more.wait_timeout_while(lines, PATIENCE, waits).unwrap();
        assert!(lines[mark..].iter().any(|l| l == line), "no {line:?} in {:?}", &lines[mark..]);
    }
}

/// Reads a socket on a thread until it is over, or `took` says that nobody listens any more.
fn listen(
    socket: &UdpSocket,
    over: &Arc<AtomicBool>,
    took: impl Fn(Result<(SocketAddr, Vec<u8>), ErrorKind>) -> bool + Send + 'static,
) {
    let (socket, over) = (socket.try_clone().unwrap(), Arc::clone(over));
    socket.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    std::thread::spawn(move || {
        let mut room = [0; 4096];
        loop {
            let received = match socket.recv_from(&mut room) {
                Ok((octets, source)) => Ok((source, room[..octets].to_vec())),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    if over.load(Ordering::Relaxed) {
                        return;
                    }
                    continue;
                }
                Err(error) => Err(error.kind()),
            };
            if !took(received) {
                return;
            }
        }
    });
}

struct Machine {
    proxy: Proxy<(usize, Ticket)>,
    servers: [Server; 2],
    ports: [UdpSocket; 2],
    lanes: BTreeMap<(ServerId, u16), UdpSocket>,
    secret: SharedSecret,
    entropy: SystemEntropy,
    notes: Arc<Notes>,
}

impl Machine {
    fn take(&mut self, input: Input) {
        let now = SystemClock.now();
        match input {
            Input::Nas { port, source, octets } => self.request(port, source, &octets),
            Input::Home { server, lane, octets } => {
                self.proxy.handle_answer(now, server, lane, &octets);
            }
            Input::Refused { server, lane } => {
                self.proxy.refused(now, &mut self.entropy, server, lane);
            }
            Input::Stop => {}
        }
    }

    fn request(&mut self, port: usize, source: SocketAddr, octets: &[u8]) {
        let now = SystemClock.now();
        let secret = self.secret.clone();
        match self.servers[port].handle(source, &secret, Policy::Required, octets, now) {
            Received::Request { packet, ticket, .. } => {
                let asker = Asker { client: 1, source, secret: &secret };
                let entropy = &mut self.entropy;
                match self.proxy.request(now, entropy, &asker, &packet, (port, ticket)) {
                    Routed::Rejected((port, ticket), rejection) => {
                        self.note(format!("rejected: {}", rejection.reason.label()));
                        self.respond(port, &ticket, Code::AccessReject, |b| rejection.write_to(b));
                    }
                    Routed::Local((port, ticket)) | Routed::Silent((port, ticket), _) => {
                        self.servers[port].abandon(&ticket);
                    }
                    Routed::Forwarded | Routed::Duplicate(_) => {}
                }
            }
            Received::Reply { octets, .. } => {
                self.ports[port].send_to(octets, source).unwrap();
            }
            Received::InProgress => {
                let packet = Packet::decode(octets).unwrap();
                self.proxy.repeat(now, &mut self.entropy, source, &packet);
            }
            Received::Dropped(reason) => self.note(format!("dropped: {reason}")),
        }
    }

    fn turn(&mut self) {
        self.proxy.handle_timeout(SystemClock.now(), &mut self.entropy);
        while let Some(transmit) = self.proxy.poll_transmit() {
            let place = (transmit.server, transmit.lane);
            // What an earlier datagram caused is said now: the reader hears it too.
            if self.lanes[&place].send(&transmit.payload).is_err() {
                let now = SystemClock.now();
                self.proxy.refused(now, &mut self.entropy, transmit.server, transmit.lane);
            }
        }
        while let Some(event) = self.proxy.poll_event() {
            match event {
                Event::Answered { ticket: (port, ticket), answer } => {
                    let name = self.proxy.table().servers()[answer.server().index()].name.clone();
                    self.note(format!("{} by {name}", answer.code()));
                    let (server, entropy) = (&mut self.servers[port], &mut self.entropy);
                    let octets = server
                        .respond(&ticket, &self.secret, answer.code(), entropy, |b| {
                            answer.write_to(b)
                        })
                        .unwrap();
                    self.ports[port].send_to(octets, ticket.source()).unwrap();
                }
                Event::Rejected { ticket: (port, ticket), rejection } => {
                    self.note(format!("rejected: {}", rejection.reason.label()));
                    self.respond(port, &ticket, Code::AccessReject, |b| rejection.write_to(b));
                }
                Event::Abandoned { ticket: (port, ticket), .. } => {
                    self.servers[port].abandon(&ticket);
                }
                Event::Health { server, is, .. } => {
                    let name = &self.proxy.table().servers()[server.index()].name;
                    let line = format!("{name} is {}", is.label());
                    self.note(line);
                }
                Event::Dropped { reason, .. } => self.note(format!("dropped: {reason}")),
                Event::FailedOver { .. } | Event::Stalled { .. } => {}
            }
        }
    }

    fn respond(
        &mut self,
        port: usize,
        ticket: &Ticket,
        code: Code,
        fill: impl FnOnce(&mut Builder<'_>) -> Result<(), EncodeError>,
    ) {
        let (server, entropy) = (&mut self.servers[port], &mut self.entropy);
        let octets = server.respond(ticket, &self.secret, code, entropy, fill).unwrap();
        self.ports[port].send_to(octets, ticket.source()).unwrap();
    }

    fn note(&self, line: String) {
        self.notes.lines.lock().unwrap().push(line);
        self.notes.more.notify_all();
    }
}
