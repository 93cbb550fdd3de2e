//! A listener that says who asked, and clients of it.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use homeward_daemon::Shutdown;
use homeward_http::{Answer, Certificates, Figures, Files, Handler, Limits, Listen, Peer, Server};
use http_body_util::Full;
use hyper::Response;
use hyper::body::Bytes;
use hyper::http::request::Parts;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// Says from where a request came, and how long its body was.
pub(crate) struct Echo {
    /// Requests to `/wait` are answered once one of these is there.
    pub(crate) gate: Semaphore,
    /// How many have come there.
    pub(crate) waiting: Semaphore,
}

#[async_trait]
impl Handler for Echo {
    async fn answer(&self, peer: &Peer, head: Parts, body: Bytes) -> Answer {
        if head.uri.path() == "/wait" {
            self.waiting.add_permits(1);
            self.gate.acquire().await.unwrap().forget();
        }
        if head.uri.path() == "/much" {
            return Response::new(Full::new(Bytes::from(vec![b'x'; 32 << 20])));
        }
        let apn = peer.apn.as_ref().map(|apn| apn.as_str()).unwrap_or("none");
        let said = format!("{} {} by {apn}", peer.address, body.len());
        Response::new(Full::new(Bytes::from(said)))
    }
}

pub(crate) struct World {
    pub(crate) folder: TempDir,
    pub(crate) address: SocketAddr,
    pub(crate) echo: Arc<Echo>,
    pub(crate) certificates: Certificates,
    pub(crate) figures: Figures,
    pub(crate) shutdown: Shutdown,
    pub(crate) serving: JoinHandle<()>,
}

pub(crate) type Client = TlsStream<TcpStream>;

/// Limits that no test runs into by chance.
pub(crate) fn wide() -> Limits {
    let hour = Duration::from_secs(3600);
    Limits {
        connections_per_client: 10_000,
        handshake: hour,
        head: hour,
        body: hour,
        write: hour,
        idle: hour,
        ..Limits::default()
    }
}

/// Only a failing test waits that long.
pub(crate) async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(30), what).await.expect("it never comes")
}

impl World {
    pub(crate) async fn start(limits: Limits, proxies: &[&str]) -> Self {
        Self::start_by(true, limits, proxies).await
    }

    /// With TLS, or in the clear.
    pub(crate) async fn start_by(tls: bool, limits: Limits, proxies: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let files = Files {
            section: "portal",
            certificate: folder.path().join("portal.pem"),
            key: folder.path().join("portal.key"),
        };
        make_certificate(&files);
        let certificates = Certificates::load(&files).unwrap();
        let listen = Listen {
            addresses: vec![("127.0.0.1:0".parse().unwrap(), Some("internet".parse().unwrap()))],
            proxies: proxies.iter().map(|net| net.parse().unwrap()).collect(),
        };
        let echo = Arc::new(Echo { gate: Semaphore::new(0), waiting: Semaphore::new(0) });
        let (figures, shutdown) = (Figures::default(), Shutdown::new());
        let handler: Arc<dyn Handler> = Arc::clone(&echo) as _;
        let server = Server::bind(
            listen,
            limits,
            tls.then(|| certificates.clone()),
            handler,
            figures.clone(),
            shutdown.clone(),
        );
        let server = server.await.unwrap();
        let address = server.local()[0];
        let serving = tokio::spawn(server.serve());
        Self { folder, address, echo, certificates, figures, shutdown, serving }
    }

    pub(crate) fn files(&self) -> Files {
        let at = |name: &str| -> PathBuf { self.folder.path().join(name) };
        Files { section: "portal", certificate: at("portal.pem"), key: at("portal.key") }
    }

    /// A TCP connection from that address.
    pub(crate) async fn tcp_from(&self, from: &str) -> TcpStream {
        let socket = TcpSocket::new_v4().unwrap();
        let from: IpAddr = from.parse().unwrap();
        socket.set_reuseaddr(true).unwrap();
        socket.bind(SocketAddr::new(from, 0)).unwrap();
        let stream = soon(socket.connect(self.address)).await.unwrap();
        stream.set_nodelay(true).unwrap();
        stream
    }

    /// TLS over it.
    pub(crate) async fn tls(&self, stream: TcpStream) -> std::io::Result<Client> {
        self.tls_trusting(&self.trust(), stream).await
    }

    /// Those who believe the certificate that is in the file now.
    pub(crate) fn trust(&self) -> TlsConnector {
        self.trust_and_offer(&[])
    }

    /// The same, and they offer these protocols (ALPN).
    pub(crate) fn trust_and_offer(&self, protocols: &[&str]) -> TlsConnector {
        let mut roots = RootCertStore::empty();
        let root = CertificateDer::from_pem_file(self.files().certificate).unwrap();
        roots.add(root).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = protocols.iter().map(|p| p.as_bytes().to_vec()).collect();
        TlsConnector::from(Arc::new(config))
    }

    pub(crate) async fn tls_trusting(
        &self,
        trust: &TlsConnector,
        stream: TcpStream,
    ) -> std::io::Result<Client> {
        let name = ServerName::try_from("portal.example.net").unwrap();
        soon(trust.connect(name, stream)).await
    }

    pub(crate) async fn client_from(&self, from: &str) -> Client {
        let stream = self.tcp_from(from).await;
        self.tls(stream).await.unwrap()
    }

    /// A whole visit: what was answered.
    pub(crate) async fn visit(&self, from: &str) -> String {
        let mut client = self.client_from(from).await;
        ask(&mut client, "/", "").await
    }
}

/// Asks on a connection that stays open; the answer's body.
pub(crate) async fn ask(client: &mut Client, path: &str, body: &str) -> String {
    let length = body.len();
    let text = format!("POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n{body}");
    client.write_all(text.as_bytes()).await.unwrap();
    answer(client).await
}

/// Reads an answer; its body, or its head where it has none.
pub(crate) async fn answer(client: &mut Client) -> String {
    let mut said = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&said).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let lower = head.to_ascii_lowercase();
            let length = lower.split_once("content-length: ").unwrap().1;
            let length: usize = length.split("\r\n").next().unwrap().parse().unwrap();
            if body.len() >= length {
                return if length == 0 { head.to_owned() } else { body.to_owned() };
            }
        }
        let read = soon(client.read_buf(&mut said)).await.unwrap();
        assert!(read > 0, "the connection ended after {text:?}");
    }
}

/// Waits until the other side has closed; what it said before.
pub(crate) async fn closed(client: &mut (impl AsyncReadExt + Unpin)) -> String {
    let mut said = Vec::new();
    // An end without TLS's own is an end as well.
    let _ = soon(client.read_to_end(&mut said)).await;
    String::from_utf8_lossy(&said).into_owned()
}

pub(crate) fn make_certificate(files: &Files) {
    let made = rcgen::generate_simple_self_signed(["portal.example.net".to_owned()]).unwrap();
    std::fs::write(&files.certificate, made.cert.pem()).unwrap();
    std::fs::write(&files.key, made.signing_key.serialize_pem()).unwrap();
}
