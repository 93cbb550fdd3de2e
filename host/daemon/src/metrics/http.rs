//! `GET /metrics` and `GET /health` over HTTP/1.1.
//!
//! Served by hyper: it costs the gateway's binary 150 KB, and reading HTTP is not for us to write
//! anew. No TLS and no log-in: bind it to loopback or to a management network.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use super::{MEDIA_TYPE, Metrics};
use crate::Shutdown;

/// Connections served at a time; others wait.
const MAX_CLIENTS: usize = 16;

/// How long a connection may last in all.
const PATIENCE: Duration = Duration::from_secs(10);

/// Why the endpoint could not be made.
#[derive(Debug, thiserror::Error)]
#[error("cannot serve metrics on {address}: set another `listen` for metrics, or none")]
pub struct EndpointError {
    /// The address.
    pub address: SocketAddr,
    /// Why.
    pub source: io::Error,
}

/// The HTTP endpoint of [`Metrics`].
#[derive(Debug)]
pub struct Endpoint {
    listener: TcpListener,
}

impl Endpoint {
    /// Listens on `address`.
    ///
    /// # Errors
    ///
    /// [`EndpointError`], naming the address.
    pub async fn bind(address: SocketAddr) -> Result<Self, EndpointError> {
        let listener =
            TcpListener::bind(address).await.map_err(|source| EndpointError { address, source })?;
        Ok(Self { listener })
    }

    /// The address it listens on, with the port that was given for port 0.
    ///
    /// # Errors
    ///
    /// If the kernel does not tell.
    pub fn local_address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Answers until a stop is requested. `/health` is 200 while `health` says `Ok`, else 503 with
    /// the reason.
    pub async fn serve<H>(self, metrics: Arc<Metrics>, health: H, shutdown: Shutdown)
    where
        H: Fn() -> Result<(), String> + Send + Sync + 'static,
    {
        let health = Arc::new(health);
        let mut clients = JoinSet::new();
        loop {
            while clients.try_join_next().is_some() {}
            let room = clients.len() < MAX_CLIENTS;
            tokio::select! {
                () = shutdown.requested() => return,
                Some(_) = clients.join_next(), if !room => {}
                accepted = self.listener.accept(), if room => match accepted {
                    Ok((stream, _)) => {
                        let (metrics, health) = (Arc::clone(&metrics), Arc::clone(&health));
                        clients.spawn(limited(async move {
                            let service = service_fn(|request| {
                                let answer = answer(&request, &metrics, &*health);
                                async { Ok::<_, Infallible>(answer) }
                            });
                            http1::Builder::new()
                                .timer(TokioTimer::new())
                                .header_read_timeout(PATIENCE)
                                .keep_alive(false)
                                .max_buf_size(16 * 1024)
                                .serve_connection(TokioIo::new(stream), service)
                                .await
                        }));
                    }
                    Err(error) => {
                        tracing::warn!(%error, "no metrics client accepted");
                        let pause = Duration::from_millis(100);
                        let _ = tokio::time::timeout(pause, shutdown.requested()).await;
                    }
                },
            }
        }
    }
}

async fn limited(connection: impl Future<Output = hyper::Result<()>>) {
    match tokio::time::timeout(PATIENCE, connection).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "metrics client lost"),
        Err(_) => tracing::debug!("metrics client too slow"),
    }
}

fn answer<B>(
    request: &Request<B>,
    metrics: &Metrics,
    health: &dyn Fn() -> Result<(), String>,
) -> Response<Full<Bytes>> {
    let plain = "text/plain; charset=utf-8";
    let (status, media, body) = match (request.method(), request.uri().path()) {
        (&Method::GET | &Method::HEAD, "/metrics") => (StatusCode::OK, MEDIA_TYPE, metrics.text()),
        (&Method::GET | &Method::HEAD, "/health") => match health() {
            Ok(()) => (StatusCode::OK, plain, "ok\n".to_owned()),
            Err(reason) => (StatusCode::SERVICE_UNAVAILABLE, plain, format!("{reason}\n")),
        },
        (_, "/metrics" | "/health") => (StatusCode::METHOD_NOT_ALLOWED, plain, String::new()),
        _ => (StatusCode::NOT_FOUND, plain, "there are /metrics and /health\n".to_owned()),
    };
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(media));
    if status == StatusCode::METHOD_NOT_ALLOWED {
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;

    async fn get(address: SocketAddr, request: &str) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream
            .write_all(format!("{request} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes())
            .await
            .unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).await.unwrap();
        text
    }

    #[tokio::test]
    async fn metrics_and_health_are_served_and_nothing_else() {
        let endpoint = Endpoint::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let address = endpoint.local_address().unwrap();
        let (shutdown, healthy) = (Shutdown::new(), Shutdown::new());
        let sick = healthy.clone();
        let health = move || match sick.is_requested() {
            false => Ok(()),
            true => Err("the core does not answer".to_owned()),
        };
        let metrics = Metrics::new("gateway", "1").share();
        let serving = tokio::spawn(endpoint.serve(metrics, health, shutdown.clone()));

        let text = get(address, "GET /metrics").await;
        assert!(
            text.starts_with("HTTP/1.1 200 ") && text.contains("homeward_build_info"),
            "{text}"
        );
        assert!(text.contains(&format!("content-type: {MEDIA_TYPE}\r\n")), "{text}");
        assert!(get(address, "GET /health").await.starts_with("HTTP/1.1 200 "));
        healthy.trigger();
        let text = get(address, "GET /health").await;
        assert!(text.starts_with("HTTP/1.1 503 ") && text.ends_with("does not answer\n"), "{text}");
        assert!(get(address, "GET /").await.starts_with("HTTP/1.1 404 "));
        assert!(get(address, "POST /metrics").await.starts_with("HTTP/1.1 405 "));
        assert!(get(address, "\u{1}\u{2}").await.starts_with("HTTP/1.1 400 "));

        shutdown.trigger();
        serving.await.unwrap();
        assert!(TcpStream::connect(address).await.is_err());
    }

    #[tokio::test]
    async fn an_address_that_is_taken_is_named() {
        let first = Endpoint::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let address = first.local_address().unwrap();
        let error = Endpoint::bind(address).await.unwrap_err();
        assert!(error.to_string().contains(&address.to_string()), "{error}");
    }
}
