//! A proxy as a worker runs it, and what stands around it.

use std::net::SocketAddr;
use std::time::Duration;

use homeward_model::{Instant, Secret};
use homeward_proxy::{
    Asker, Event, Health, HomeServer, Key, Pool, PoolId, Proxy, Reason, Route, Routed, ServerId,
    Settings, Table, Target, Transmit,
};
use homeward_radius::dictionary::standard::{PROXY_STATE, REPLY_MESSAGE};
use homeward_radius::testing::Counted;
use homeward_radius::{
    Builder, Code, EncodeError, Packet, Policy, Port, Received, Server, ServerSettings,
    SharedSecret, Ticket,
};

pub(crate) const T0: Instant = Instant::from_nanos(1_000_000_000_000);

pub(crate) fn after(millis: u64) -> Instant {
    T0 + Duration::from_millis(millis)
}

pub(crate) fn secret(text: &str) -> SharedSecret {
    SharedSecret::new(&Secret::new(text)).unwrap()
}

pub(crate) fn nas() -> SharedSecret {
    secret("between the NAS and us")
}

pub(crate) fn home(n: usize) -> SharedSecret {
    secret(&format!("between us and home server {n}"))
}

pub(crate) fn key() -> Key {
    Key::new(&Secret::new([7; 32]))
}

pub(crate) fn source(port: u16) -> SocketAddr {
    SocketAddr::new([192, 0, 2, 1].into(), port)
}

/// A request of the NAS's, signed.
pub(crate) fn request(
    code: Code,
    identifier: u8,
    fill: impl FnOnce(&mut Builder<'_>) -> Result<(), EncodeError>,
) -> Vec<u8> {
    let mut out = Vec::new();
    let authenticator = [identifier.wrapping_mul(31).wrapping_add(5); 16];
    let secret = nas();
    let mut packet = Builder::request(&mut out, &secret, code, identifier, authenticator);
    fill(&mut packet).unwrap();
    packet.finish();
    out
}

/// An Access-Request with a password.
pub(crate) fn login(identifier: u8, name: &str) -> Vec<u8> {
    request(Code::AccessRequest, identifier, |b| {
        b.text(1, name)?;
        b.user_password(b"correct horse")
    })
}

/// What a home server answers to a packet that was sent to it, the Proxy-States as they came.
pub(crate) fn answered(
    sent: &Transmit,
    code: Code,
    fill: impl FnOnce(&mut Builder<'_>) -> Result<(), EncodeError>,
) -> Vec<u8> {
    answer_with(&home(sent.server.index()), &sent.payload, code, fill)
}

pub(crate) fn answer_with(
    secret: &SharedSecret,
    to: &[u8],
    code: Code,
    fill: impl FnOnce(&mut Builder<'_>) -> Result<(), EncodeError>,
) -> Vec<u8> {
    let request = Packet::decode(to).unwrap();
    let mut out = Vec::new();
    let (id, authenticator) = (request.identifier(), request.authenticator());
    let mut packet = Builder::answer(&mut out, secret, code, id, authenticator, 0x4321);
    fill(&mut packet).unwrap();
    for state in request.find_all(PROXY_STATE) {
        packet.octets(PROXY_STATE, state).unwrap();
    }
    packet.finish();
    out
}

pub(crate) fn nothing(_: &mut Builder<'_>) -> Result<(), EncodeError> {
    Ok(())
}

/// All attributes of a packet.
pub(crate) fn attributes(packet: &[u8]) -> Vec<(u8, Vec<u8>)> {
    let packet = Packet::decode(packet).unwrap();
    packet.attributes().map(|a| (a.kind, a.value.to_vec())).collect()
}

pub(crate) fn find(packet: &[u8], kind: u8) -> Option<Vec<u8>> {
    attributes(packet).into_iter().find(|(k, _)| *k == kind).map(|(_, value)| value)
}

pub(crate) fn all(packet: &[u8], kind: u8) -> Vec<Vec<u8>> {
    attributes(packet).into_iter().filter(|(k, _)| *k == kind).map(|(_, value)| value).collect()
}

/// A table with `count` servers over UDP in one pool, for example.org.
pub(crate) fn servers(count: usize, each: impl Fn(&mut HomeServer)) -> (Table, PoolId) {
    let mut table = Table::new();
    let servers: Vec<_> = (0..count)
        .map(|n| {
            let mut server = HomeServer::datagram(&format!("home-{n}"), home(n));
            each(&mut server);
            table.server(server)
        })
        .collect();
    let pool = table.pool(Pool::new("example", servers)).unwrap();
    (table, pool)
}

pub(crate) fn route(table: &mut Table, pattern: &str, target: impl Into<Target>) {
    table.route(pattern.parse().unwrap(), target.into()).unwrap();
}

/// Something that happened, in short.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Note {
    Local,
    Rejected(Reason),
    Silent(Reason),
    Answered(Code),
    FailedOver(usize, usize),
    Health(usize, Health),
    Stalled(usize, u16),
    Dropped(&'static str),
}

/// The server that receives and the proxy behind it.
pub(crate) struct Hop {
    port: Server,
    pub(crate) secret: SharedSecret,
    decorated: bool,
    pub(crate) proxy: Proxy<Ticket>,
    pub(crate) entropy: Counted,
    /// What is to be sent to home servers.
    pub(crate) sent: Vec<Transmit>,
    /// What is to be sent to NASes.
    pub(crate) replies: Vec<(SocketAddr, Vec<u8>)>,
    pub(crate) notes: Vec<Note>,
}

impl Hop {
    pub(crate) fn new(table: Table) -> Self {
        Self::with(Settings::default(), table)
    }

    pub(crate) fn with(settings: Settings, table: Table) -> Self {
        Self::of(settings, key(), nas(), table, 1)
    }

    pub(crate) fn of(
        settings: Settings,
        key: Key,
        secret: SharedSecret,
        table: Table,
        seed: u64,
    ) -> Self {
        Self {
            port: Server::new(Port::Authentication, ServerSettings::default()),
            secret,
            decorated: settings.decorated,
            proxy: Proxy::new(settings, key, table),
            entropy: Counted(seed),
            sent: Vec::new(),
            replies: Vec::new(),
            notes: Vec::new(),
        }
    }

    /// One server for example.org, all filters off.
    pub(crate) fn plain() -> Self {
        let (mut table, pool) = servers(1, |_| {});
        route(&mut table, "example.org", Route::to(pool));
        Self::new(table)
    }

    /// For accounting.
    pub(crate) fn accounting(mut self) -> Self {
        self.port = Server::new(Port::Accounting, ServerSettings::default());
        self
    }

    /// Remembers what it answered for as long as a NAS may ask.
    pub(crate) fn patient(mut self) -> Self {
        let remember = Duration::from_secs(60);
        let settings = ServerSettings { remember, ..ServerSettings::default() };
        self.port = Server::new(Port::Authentication, settings);
        self
    }

    pub(crate) fn receive(&mut self, now: Instant, source: SocketAddr, datagram: &[u8]) {
        let received =
            self.port.handle(source, &self.secret.clone(), Policy::Required, datagram, now);
        match received {
            Received::Request { packet, ticket, .. } => {
                let secret = self.secret.clone();
                let asker = Asker { client: u64::from(source.port()), source, secret: &secret };
                let is_local = self.proxy.table().is_local(&packet, self.decorated);
                let routed = self.proxy.request(now, &mut self.entropy, &asker, &packet, ticket);
                assert_eq!(is_local, matches!(routed, Routed::Local(_)));
                match routed {
                    Routed::Local(ticket) => {
                        self.notes.push(Note::Local);
                        let code = match ticket.code() {
                            Code::AccountingRequest => Code::AccountingResponse,
                            _ => Code::AccessAccept,
                        };
                        self.respond(&ticket, code, |b| b.text(REPLY_MESSAGE, "here"));
                    }
                    Routed::Rejected(ticket, rejection) => {
                        self.notes.push(Note::Rejected(rejection.reason));
                        self.respond(&ticket, Code::AccessReject, |b| rejection.write_to(b));
                    }
                    Routed::Silent(ticket, reason) => {
                        self.notes.push(Note::Silent(reason));
                        self.port.abandon(&ticket);
                    }
                    Routed::Forwarded => {}
                    // The server in front forgets a request after 5 s; we do not.
                    Routed::Duplicate(_) => {}
                }
            }
            Received::Reply { octets, .. } => {
                let octets = octets.to_vec();
                self.replies.push((source, octets));
            }
            Received::InProgress => {
                let packet = Packet::decode(datagram).unwrap();
                assert!(self.proxy.repeat(now, &mut self.entropy, source, &packet));
            }
            Received::Dropped(reason) => panic!("{reason}"),
        }
        self.turn();
    }

    pub(crate) fn answer(&mut self, now: Instant, to: &Transmit, octets: &[u8]) {
        self.proxy.handle_answer(now, to.server, to.lane, octets);
        self.turn();
    }

    pub(crate) fn tick(&mut self, now: Instant) {
        self.proxy.handle_timeout(now, &mut self.entropy);
        self.turn();
    }

    /// Lets time pass, doing what is due when it is.
    pub(crate) fn run_until(&mut self, end: Instant) {
        while let Some(due) = self.proxy.poll_timeout().filter(|due| *due <= end) {
            self.tick(due);
        }
    }

    /// Lets time pass while these servers answer Status-Server; gives what else was sent.
    pub(crate) fn run_alive(&mut self, end: Instant, alive: &[usize]) {
        while let Some(due) = self.proxy.poll_timeout().filter(|due| *due <= end) {
            self.tick(due);
            self.answer_checks(due, alive);
        }
    }

    pub(crate) fn answer_checks(&mut self, now: Instant, alive: &[usize]) {
        for check in self.checks() {
            if alive.contains(&check.server.index()) {
                let octets = answered(&check, Code::AccessAccept, nothing);
                self.answer(now, &check, &octets);
            }
        }
    }

    /// Takes the Status-Servers out of what was sent.
    pub(crate) fn checks(&mut self) -> Vec<Transmit> {
        self.sent.extract_if(.., |t| t.payload[0] == Code::StatusServer as u8).collect()
    }

    pub(crate) fn turn(&mut self) {
        while let Some(transmit) = self.proxy.poll_transmit() {
            self.sent.push(transmit);
        }
        while let Some(event) = self.proxy.poll_event() {
            self.happened(event);
        }
    }

    fn happened(&mut self, event: Event<Ticket>) {
        let note = match event {
            Event::Answered { ticket, answer } => {
                let source = ticket.source();
                let (server, entropy) = (&mut self.port, &mut self.entropy);
                let octets = server
                    .respond(&ticket, &self.secret, answer.code(), entropy, |b| answer.write_to(b))
                    .unwrap()
                    .to_vec();
                self.replies.push((source, octets));
                Note::Answered(answer.code())
            }
            Event::Rejected { ticket, rejection } => {
                self.respond(&ticket, Code::AccessReject, |b| rejection.write_to(b));
                Note::Rejected(rejection.reason)
            }
            Event::Abandoned { ticket, reason } => {
                self.port.abandon(&ticket);
                Note::Silent(reason)
            }
            Event::FailedOver { from, to } => Note::FailedOver(from.index(), to.index()),
            Event::Health { server, is, .. } => Note::Health(server.index(), is),
            Event::Stalled { server, lane } => Note::Stalled(server.index(), lane),
            Event::Dropped { reason, .. } => Note::Dropped(reason.label()),
        };
        self.notes.push(note);
    }

    fn respond(
        &mut self,
        ticket: &Ticket,
        code: Code,
        fill: impl FnOnce(&mut Builder<'_>) -> Result<(), EncodeError>,
    ) {
        let (server, entropy) = (&mut self.port, &mut self.entropy);
        let octets = server.respond(ticket, &self.secret, code, entropy, fill).unwrap().to_vec();
        self.replies.push((ticket.source(), octets));
    }

    /// The one packet that was sent.
    #[track_caller]
    pub(crate) fn one_sent(&mut self) -> Transmit {
        assert_eq!(self.sent.len(), 1, "{:?}", self.notes);
        self.sent.pop().unwrap()
    }

    /// The one reply.
    #[track_caller]
    pub(crate) fn one_reply(&mut self) -> Vec<u8> {
        assert_eq!(self.replies.len(), 1, "{:?}", self.notes);
        self.replies.pop().unwrap().1
    }

    pub(crate) fn health(&self, server: usize) -> Health {
        self.proxy.health(ServerId::at(server)).unwrap()
    }
}
