//! Asks the operator's portal for credentials, over cellular and nothing else.

use std::fmt;
use std::io::{self, Cursor};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, UNIX_EPOCH};

use anyhow::Context;
use homeward_daemon::SystemClock;
use homeward_model::{Clock, UnixTime};
use homeward_offload::manager::{Answer, Failure, Request};
use homeward_offload::wire::{CredentialAnswer, CredentialRequest, Limits, Reply, json};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::{HeaderMap, StatusCode, header};
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime as TlsTime};
use rustls::time_provider::TimeProvider;
use rustls::{ClientConfig, RootCertStore};
use tokio_rustls::TlsConnector;

use crate::config;
use crate::dial::{Line, Target, drive};

/// The portal, as it is reached.
#[derive(Clone)]
pub(crate) struct Portal {
    target: Target,
    name: ServerName<'static>,
    connector: TlsConnector,
    timeout: Duration,
    floor: Arc<Floor>,
}

/// What time it is for certificates: what the wall shows, but never earlier than a portal once
/// said. A device whose clock begins in 1970 could not ask otherwise, and never learn the time.
#[derive(Debug)]
struct Floor(AtomicI64);

impl TimeProvider for Floor {
    fn current_time(&self) -> Option<TlsTime> {
        let ms = SystemClock.unix().0.max(self.0.load(Ordering::Relaxed));
        let seconds = u64::try_from(UnixTime(ms).seconds()).unwrap_or(0);
        Some(TlsTime::since_unix_epoch(Duration::from_secs(seconds)))
    }
}

impl fmt::Debug for Portal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Portal").field("target", &self.target).finish_non_exhaustive()
    }
}

impl Portal {
    /// The portal of the configuration. It was never earlier than `date`.
    ///
    /// # Errors
    ///
    /// The file of authorities cannot be read, or has none in it.
    pub(crate) fn new(config: &config::Portal, date: Option<UnixTime>) -> anyhow::Result<Self> {
        let target = config.target().map_err(anyhow::Error::msg).context("portal.url")?;
        let name = ServerName::try_from(target.host.clone())
            .with_context(|| format!("portal.url: {:?} is no host name", target.host))?;
        let floor = Arc::new(Floor(AtomicI64::new(date.map_or(0, |date| date.0))));
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let time: Arc<dyn TimeProvider> = Arc::clone(&floor) as Arc<dyn TimeProvider>;
        let tls = ClientConfig::builder_with_details(provider, time)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(authorities(&config.ca)?)
            .with_no_client_auth();
        let connector = TlsConnector::from(Arc::new(tls));
        Ok(Self { target, name, connector, timeout: config.timeout.0, floor })
    }

    /// The latest time that a portal is known to have said.
    pub(crate) fn date(&self) -> UnixTime {
        UnixTime(self.floor.0.load(Ordering::Relaxed))
    }

    /// Looks whether it is there: a TLS handshake and no more.
    ///
    /// # Errors
    ///
    /// Says what stands in the way.
    pub(crate) async fn look(&self, by: &Line) -> io::Result<()> {
        let look = async {
            let stream = self.target.connect(Some(by)).await?;
            self.connector.connect(self.name.clone(), stream).await.map(drop)
        };
        match tokio::time::timeout(self.timeout, look).await {
            Ok(looked) => looked,
            Err(_) => Err(io::ErrorKind::TimedOut.into()),
        }
    }

    /// Asks once.
    ///
    /// # Errors
    ///
    /// What the machine has to know of it.
    pub(crate) async fn ask(&self, request: Request, by: Line) -> Result<Answer, Failure> {
        let answer = match tokio::time::timeout(self.timeout, self.exchange(request, by)).await {
            Ok(answer) => answer?,
            Err(_) => {
                let seconds = self.timeout.as_secs_f32();
                return Err(Failure::Away(format!("no answer within {seconds} s")));
            }
        };
        if let Some(date) = answer.date {
            self.floor.0.fetch_max(date.0, Ordering::Relaxed);
        }
        Ok(answer)
    }

    async fn exchange(&self, request: Request, by: Line) -> Result<Answer, Failure> {
        let away = |what: &str, error: &dyn fmt::Display| {
            Failure::Away(format!("{what} {}: {error}", self.target.authority))
        };
        let stream = self.target.connect(Some(&by)).await.map_err(|e| away("cannot reach", &e))?;
        let stream = self
            .connector
            .connect(self.name.clone(), stream)
            .await
            .map_err(|e| away("no TLS with", &e))?;
        let (mut sender, connection) = http1::Builder::new()
            .max_headers(64)
            .max_buf_size(16 * 1024)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(|e| away("no HTTP with", &e))?;
        let Request { imsi, imei, mac, previous, handoff } = request;
        let asked = CredentialRequest { imsi, imei, mac, previous, handoff };
        let body = json::encode_request(&asked);
        let request = hyper::Request::post(&self.target.path)
            .header(header::HOST, &self.target.authority)
            .header(header::CONTENT_TYPE, json::MEDIA_TYPE)
            .header(header::ACCEPT, json::MEDIA_TYPE)
            .header(header::CONNECTION, "close")
            .header(header::USER_AGENT, "homeward")
            .body(Full::new(Bytes::copy_from_slice(&body)))
            .map_err(|e| away("no request for", &e))?;
        let exchange = async {
            let response = sender.send_request(request).await.map_err(io::Error::other)?;
            let (head, body) = response.into_parts();
            let body = Limited::new(body, Limits::REPLY.octets).collect().await;
            Ok((head, body.map_err(io::Error::other)?.to_bytes()))
        };
        let outcome = drive(exchange, connection).await;
        let (head, body) = outcome.map_err(|e| away("no answer from", &e))?;
        understand(head.status, &head.headers, &body)
    }
}

/// What an answer means.
fn understand(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Result<Answer, Failure> {
    match status {
        StatusCode::OK => {}
        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
            let after = headers.get(header::RETRY_AFTER).and_then(|value| value.to_str().ok());
            let after = after.and_then(|text| text.trim().parse().ok()).map(Duration::from_secs);
            return Err(Failure::Busy(after));
        }
        StatusCode::FORBIDDEN => return Err(Failure::Refused),
        status if status.is_server_error() => return Err(Failure::Away(status.to_string())),
        status => return Err(Failure::Invalid(format!("the portal says {status}"))),
    }
    let reply = json::decode_reply(body, Limits::REPLY);
    match reply.map_err(|invalid| Failure::Invalid(invalid.to_string()))? {
        Reply::Refused => Err(Failure::Refused),
        Reply::Invalid(what) => Err(Failure::Invalid(what)),
        Reply::Credentials(answer) => {
            let CredentialAnswer {
                username,
                password,
                expires,
                renew_from,
                one_time,
                policy,
                handoff,
            } = *answer;
            let date = date(headers);
            Ok(Answer { username, password, expires, renew_from, one_time, policy, date, handoff })
        }
    }
}

fn date(headers: &HeaderMap) -> Option<UnixTime> {
    let text = headers.get(header::DATE)?.to_str().ok()?;
    let since = httpdate::parse_http_date(text).ok()?.duration_since(UNIX_EPOCH).ok()?;
    Some(UnixTime(i64::try_from(since.as_millis()).ok()?))
}

pub(crate) fn authorities(path: &Path) -> anyhow::Result<RootCertStore> {
    let pem = std::fs::read(path);
    let pem = pem.with_context(|| format!("portal.ca: cannot read {}", path.display()))?;
    roots("portal.ca", path, &pem)
}

/// The authorities of that setting's file, in PEM.
///
/// # Errors
///
/// It cannot be read, or has none in it.
pub(crate) fn pem(key: &str, path: &Path) -> anyhow::Result<String> {
    let shown = path.display();
    let pem = std::fs::read_to_string(path);
    let pem = pem.with_context(|| format!("{key}: cannot read {shown}"))?;
    roots(key, path, pem.as_bytes())?;
    Ok(pem)
}

fn roots(key: &str, path: &Path, pem: &[u8]) -> anyhow::Result<RootCertStore> {
    let shown = path.display();
    let mut roots = RootCertStore::empty();
    let found: Result<Vec<_>, _> = CertificateDer::pem_reader_iter(Cursor::new(pem)).collect();
    let found = found.with_context(|| format!("{key}: {shown} is no PEM"))?;
    let (good, bad) = roots.add_parsable_certificates(found);
    if bad > 0 {
        tracing::debug!(good, bad, "authorities that TLS cannot use");
    }
    anyhow::ensure!(good > 0, "{key}: {shown} has no authority in it");
    Ok(roots)
}

#[cfg(test)]
mod tests;
