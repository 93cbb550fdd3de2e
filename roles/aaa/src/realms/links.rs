//! The ways to partners' servers: datagrams and TLS behind one door.

use std::io::ErrorKind;

use homeward_daemon::SystemEntropy;
use homeward_proxy::ServerId;
use homeward_transport::radsec::Version;
use homeward_transport::radsec::client::{self, ClientLimits, State};
use homeward_transport::{Endpoint, RadsecClient, UdpClient, client as udp};

/// How a server is reached.
#[derive(Debug, Clone)]
pub(crate) enum Way {
    /// By datagrams.
    Datagrams(Endpoint),
    /// By TLS.
    Tls(client::Server),
}

/// What happened on a socket or connection.
#[derive(Debug)]
pub(crate) enum News {
    /// Octets came.
    Heard(Vec<u8>),
    /// Nobody is at the server's port.
    Refused,
    /// A connection is up.
    Up(Version),
    /// A connection that was up has ended, or none could be made.
    Down(String),
}

/// The ways to all servers, in the order of their numbers.
#[derive(Debug)]
pub(crate) struct Links {
    udp: UdpClient,
    /// The server that each of `udp`'s is.
    of_udp: Vec<usize>,
    /// The number that each server has in `udp`, if any.
    in_udp: Vec<Option<usize>>,
    tls: RadsecClient,
}

impl Links {
    /// Opens them; inside a Tokio runtime.
    pub(crate) fn open(ways: Vec<Way>, limits: ClientLimits, entropy: &mut SystemEntropy) -> Self {
        let (mut datagrams, mut of_udp, mut in_udp, mut tls) = (vec![], vec![], vec![], vec![]);
        for (at, way) in ways.into_iter().enumerate() {
            match way {
                Way::Datagrams(endpoint) => {
                    in_udp.push(Some(of_udp.len()));
                    of_udp.push(at);
                    datagrams.push(endpoint);
                }
                Way::Tls(server) => {
                    in_udp.push(None);
                    tls.push((at, server));
                }
            }
        }
        let tls = RadsecClient::new(tls, limits, entropy);
        Self { udp: UdpClient::new(datagrams), of_udp, in_udp, tls }
    }

    /// Sends a packet. What is lost is as good as a lost datagram.
    pub(crate) fn send(&mut self, server: ServerId, lane: u16, packet: &[u8]) {
        match self.in_udp.get(server.index()) {
            Some(Some(at)) => self.udp.send(*at, usize::from(lane), packet),
            _ if self.tls.send(server.index(), lane, packet) => {}
            _ => tracing::debug!(server = server.index(), lane, "a request was not sent"),
        }
    }

    /// Looks the name of a server that does not answer up again: it may have moved.
    pub(crate) fn look_up(&self, server: ServerId) {
        if let Some(Some(at)) = self.in_udp.get(server.index()) {
            self.udp.refresh(*at);
        }
    }

    /// Closes a connection that is silent, and has another one made.
    pub(crate) fn renew(&mut self, server: ServerId, lane: u16) {
        self.tls.renew(server.index(), lane);
    }

    /// How many connections to a server are up; `None` if it is reached by datagrams.
    pub(crate) fn connections(&self, server: ServerId) -> Option<usize> {
        let by_tls = self.in_udp.get(server.index()).is_some_and(Option::is_none);
        let up = |state: &&State| matches!(state, State::Up(_));
        by_tls.then(|| self.tls.states(server.index()).filter(up).count())
    }

    /// Waits for what happens next. Cancelling it loses nothing.
    pub(crate) async fn news(&mut self) -> (ServerId, u16, News) {
        loop {
            let (server, lane, news) = tokio::select! {
                event = self.udp.event() => {
                    let (at, socket, news) = match event {
                        udp::Event::Datagram { server, socket, bytes } => {
                            (server, socket, News::Heard(bytes))
                        }
                        udp::Event::Unreachable { server, socket, error }
                            if error.kind() == ErrorKind::ConnectionRefused =>
                        {
                            (server, socket, News::Refused)
                        }
                        // As good as a lost datagram: the machine sees that nothing comes.
                        udp::Event::Unreachable { error, .. } => {
                            tracing::debug!(%error, "a partner's host is not reached");
                            continue;
                        }
                        // Told of where it happens.
                        udp::Event::Moved { .. } | udp::Event::NotFound { .. } => continue,
                    };
                    let Some(server) = self.of_udp.get(at) else { continue };
                    let Ok(lane) = u16::try_from(socket) else { continue };
                    (*server, lane, news)
                }
                event = self.tls.event() => match event {
                    client::Event::Up { server, lane, version } => (server, lane, News::Up(version)),
                    client::Event::Packet { server, lane, bytes } => {
                        (server, lane, News::Heard(bytes))
                    }
                    client::Event::Down { server, lane, why } => (server, lane, News::Down(why)),
                },
            };
            return (ServerId::at(server), lane, news);
        }
    }
}
