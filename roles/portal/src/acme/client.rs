//! HTTP to an ACME server: a connection for each request, of which there is a handful in weeks.

use std::future::Future;
use std::io::{self, Cursor};
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::header::{CONNECTION, HOST, HeaderValue};
use hyper::{Request, Response, Uri};
use hyper_util::rt::TokioIo;
use instant_acme::{BodyWrapper, BytesResponse, HttpClient};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use homeward_http::provider;

/// The most octets of an answer. A chain of certificates is a few thousand.
const MOST: usize = 1 << 20;

/// Asks an ACME server. Clones are one and the same.
#[derive(Clone)]
pub(super) struct Http {
    tls: TlsConnector,
    timeout: Duration,
}

impl Http {
    /// One that believes whom the file's authorities vouch for.
    ///
    /// # Errors
    ///
    /// The file cannot be read, or has no authority in it.
    pub(super) fn new(ca: &Path, timeout: Duration) -> anyhow::Result<Self> {
        let tls = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()?
            .with_root_certificates(authorities(ca)?)
            .with_no_client_auth();
        Ok(Self { tls: TlsConnector::from(Arc::new(tls)), timeout })
    }

    async fn exchange(self, request: Request<BodyWrapper<Bytes>>) -> anyhow::Result<BytesResponse> {
        let url = request.uri().clone();
        let work = self.talk(&url, request);
        let limited = tokio::time::timeout(self.timeout, work).await;
        let seconds = self.timeout.as_secs_f32();
        let done = limited.unwrap_or_else(|_| Err(anyhow::anyhow!("no answer within {seconds} s")));
        done.with_context(|| format!("cannot ask {url}"))
    }

    async fn talk(
        &self,
        url: &Uri,
        mut request: Request<BodyWrapper<Bytes>>,
    ) -> anyhow::Result<BytesResponse> {
        anyhow::ensure!(url.scheme_str() == Some("https"), "it is no https: URL");
        let authority = url.authority().context("it names no host")?;
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        let name = ServerName::try_from(host.clone()).context("its host is no name")?;
        let port = authority.port_u16().unwrap_or(443);
        let stream = TcpStream::connect((host, port)).await.context("no connection")?;
        let stream = self.tls.connect(name, stream).await.context(
            "no TLS: portal.acme.ca is to name the file of who vouches for the ACME server",
        )?;
        let (mut sender, connection) =
            http1::Builder::new().handshake(TokioIo::new(stream)).await.context("no HTTP")?;
        let headers = request.headers_mut();
        headers.insert(HOST, HeaderValue::from_str(authority.as_str())?);
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
        let path = url.path_and_query().map_or("/", |path| path.as_str()).parse::<Uri>()?;
        *request.uri_mut() = path;
        let exchange = async move {
            let response = sender.send_request(request).await?;
            let (head, body) = response.into_parts();
            let body = Limited::new(body, MOST).collect().await.map_err(io::Error::other)?;
            Ok(BytesResponse::from(Response::from_parts(head, Full::new(body.to_bytes()))))
        };
        tokio::pin!(exchange, connection);
        tokio::select! {
            biased;
            outcome = &mut exchange => outcome,
            ended = &mut connection => match ended {
                // What was read before is still to be had.
                Ok(()) => exchange.await,
                Err(error) => Err(error.into()),
            },
        }
    }
}

impl HttpClient for Http {
    fn request(
        &self,
        request: Request<BodyWrapper<Bytes>>,
    ) -> Pin<Box<dyn Future<Output = Result<BytesResponse, instant_acme::Error>> + Send>> {
        let exchange = self.clone().exchange(request);
        Box::pin(
            async move { exchange.await.map_err(|error| instant_acme::Error::Other(error.into())) },
        )
    }
}

fn authorities(path: &Path) -> anyhow::Result<RootCertStore> {
    let shown = path.display();
    let pem = std::fs::read(path).with_context(|| {
        format!("portal.acme.ca: cannot read {shown}: install ca-certificates, or name a file of authorities")
    })?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_reader_iter(Cursor::new(pem)).collect();
    let found = found.with_context(|| format!("portal.acme.ca: {shown} is no PEM"))?;
    let mut roots = RootCertStore::empty();
    let (good, _) = roots.add_parsable_certificates(found);
    anyhow::ensure!(good > 0, "portal.acme.ca: {shown} has no authority in it");
    Ok(roots)
}
