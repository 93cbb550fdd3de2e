//! Connections that leave by one interface, whatever the routes say, or as the routes say.

use std::io;
use std::net::{IpAddr, SocketAddr};

use hyper::Uri;
use tokio::net::{TcpSocket, TcpStream, lookup_host};

/// Whom to ask for what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    /// The host: a name or an address.
    pub(crate) host: String,
    /// Its port.
    pub(crate) port: u16,
    /// As a request names the host.
    pub(crate) authority: String,
    /// The path and what follows it.
    pub(crate) path: String,
    /// Where the host is; empty: its name is looked up.
    addresses: Vec<SocketAddr>,
}

impl Target {
    /// Reads a URL of that scheme.
    ///
    /// # Errors
    ///
    /// Says what is wrong with it.
    pub(crate) fn parse(
        url: &str,
        scheme: &str,
        port: u16,
        addresses: &[SocketAddr],
    ) -> Result<Self, String> {
        let wrong = |what: &str| format!("{url:?} {what}: give {scheme}://HOST/PATH");
        let uri: Uri = url.parse().map_err(|_| wrong("is no URL"))?;
        if uri.scheme_str() != Some(scheme) {
            return Err(wrong("has another scheme"));
        }
        let authority = uri.authority().ok_or_else(|| wrong("names no host"))?;
        if authority.as_str().contains('@') {
            return Err(wrong("names a user"));
        }
        // What is behind the host is a port or a mistake.
        if authority.port_u16().is_none() && authority.as_str() != authority.host() {
            return Err(wrong("has no port that is one"));
        }
        let host = authority.host().trim_matches(['[', ']']);
        if host.is_empty() {
            return Err(wrong("names no host"));
        }
        Ok(Self {
            host: host.to_owned(),
            port: authority.port_u16().unwrap_or(port),
            authority: authority.as_str().to_owned(),
            path: uri.path_and_query().map_or("/", |path| path.as_str()).to_owned(),
            addresses: addresses.to_vec(),
        })
    }

    /// Reads `HOST:PORT`.
    ///
    /// # Errors
    ///
    /// Says what is wrong with it.
    pub(crate) fn host(text: &str, addresses: &[SocketAddr]) -> Result<Self, String> {
        let parts = text.rsplit_once(':').map(|(host, port)| (host, port.parse()));
        let Some((host, Ok(port))) = parts else {
            return Err(format!("{text:?} is no HOST:PORT"));
        };
        let bare = host.trim_matches(['[', ']']);
        if bare.is_empty() || bare.contains(['/', '@']) || (bare == host && host.contains(':')) {
            return Err(format!("{text:?} is no HOST:PORT"));
        }
        Ok(Self {
            host: bare.to_owned(),
            port,
            authority: text.to_owned(),
            path: String::new(),
            addresses: addresses.to_vec(),
        })
    }

    /// Connects by an interface, or as the routes say, to the first of the host's addresses that answers.
    ///
    /// # Errors
    ///
    /// The host has no address that the interface could reach, or none answers: the last one's
    /// reason.
    pub(crate) async fn connect(&self, by: Option<&Line>) -> io::Result<TcpStream> {
        let found: Vec<SocketAddr> = match &self.addresses[..] {
            [] => lookup_host((self.host.as_str(), self.port)).await?.collect(),
            given => given.to_vec(),
        };
        let none = "the host has no address of a family that the interface has one of";
        let mut last = io::Error::new(io::ErrorKind::AddrNotAvailable, none);
        let reached = |host| by.is_none_or(|line| line.reaches(host));
        for address in found.into_iter().filter(|address| reached(address.ip())) {
            match connect(by, address).await {
                Ok(stream) => return Ok(stream),
                Err(error) => last = error,
            }
        }
        Err(last)
    }
}

/// An interface, and the addresses that it has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// Its name.
    pub interface: String,
    /// Those by which traffic can leave.
    pub addresses: Vec<IpAddr>,
}

impl Line {
    fn reaches(&self, host: IpAddr) -> bool {
        self.addresses.iter().any(|own| own.is_ipv4() == host.is_ipv4())
    }

    fn bind(&self, socket: &TcpSocket, to: SocketAddr) -> io::Result<()> {
        // The interface decides the way; the address that it has decides who is asked for.
        socket.bind_device(Some(self.interface.as_bytes()))?;
        match self.addresses.iter().find(|own| own.is_ipv4() == to.is_ipv4()) {
            Some(own) => socket.bind(SocketAddr::new(*own, 0)),
            None => Ok(()),
        }
    }
}

async fn connect(by: Option<&Line>, to: SocketAddr) -> io::Result<TcpStream> {
    let socket = if to.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    by.map_or(Ok(()), |line| line.bind(&socket, to))?;
    let stream = socket.connect(to).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Waits for what an HTTP exchange comes to, while its connection is driven.
///
/// # Errors
///
/// Either's. A connection that ends in good order ends nothing: what was read before is still to
/// be had.
pub(crate) async fn drive<T>(
    exchange: impl Future<Output = io::Result<T>>,
    connection: impl Future<Output = hyper::Result<()>>,
) -> io::Result<T> {
    tokio::pin!(exchange, connection);
    tokio::select! {
        biased;
        outcome = &mut exchange => outcome,
        ended = &mut connection => match ended {
            Ok(()) => exchange.await,
            Err(error) => Err(io::Error::other(error)),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_taken_apart_and_brackets_are_no_part_of_an_address() {
        let target = Target::parse("https://[2001:db8::1]:8443/a?b", "https", 443, &[]).unwrap();
        assert_eq!((target.host.as_str(), target.port), ("2001:db8::1", 8443));
        assert_eq!(
            (target.authority.as_str(), target.path.as_str()),
            ("[2001:db8::1]:8443", "/a?b")
        );
        let target = Target::parse("http://check.example.net", "http", 80, &[]).unwrap();
        assert_eq!((target.port, target.path.as_str()), (80, "/"));
        let target = Target::host("[2001:db8::1]:7710", &[]).unwrap();
        assert_eq!((target.host.as_str(), target.port), ("2001:db8::1", 7710));
        for text in ["", "host", ":1", "host:", "host:99999", "2001:db8::1", "a/b:1", "[]:1"] {
            assert!(Target::host(text, &[]).is_err(), "{text}");
        }
        for url in ["https://u@host/", "ftp://host/", "/path", "https:///"] {
            assert!(Target::parse(url, "https", 443, &[]).is_err(), "{url}");
        }
    }
}
