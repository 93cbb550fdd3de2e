//! Looks whether the Internet is reached over Wi-Fi: a page that answers 204 and nothing else.

use std::io;
use std::time::Duration;

use homeward_offload::manager::Connectivity;
use http_body_util::Empty;
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::{Request, StatusCode, header};
use hyper_util::rt::TokioIo;

use crate::dial::{Line, Target};

/// A check may take that long; the machine waits a little longer.
const PATIENCE: Duration = Duration::from_secs(7);

/// Looks once.
pub(crate) async fn look(target: &Target, by: &Line) -> Connectivity {
    match tokio::time::timeout(PATIENCE, ask(target, by)).await {
        Ok(Ok(StatusCode::NO_CONTENT)) => Connectivity::Open,
        Ok(Ok(status)) => {
            tracing::debug!(%status, "the check was answered by somebody else");
            Connectivity::Captive
        }
        Ok(Err(error)) => {
            tracing::debug!(%error, "the check came to nothing");
            Connectivity::Dead
        }
        Err(_) => Connectivity::Dead,
    }
}

async fn ask(target: &Target, by: &Line) -> io::Result<StatusCode> {
    let stream = target.connect(by).await?;
    let (mut sender, connection) =
        http1::handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
    let request = Request::get(&target.path)
        .header(header::HOST, &target.authority)
        .header(header::CONNECTION, "close")
        .header(header::USER_AGENT, "homeward")
        .body(Empty::<Bytes>::new())
        .map_err(io::Error::other)?;
    // Dropped with this: nobody reads what else comes.
    tokio::select! {
        answer = sender.send_request(request) => Ok(answer.map_err(io::Error::other)?.status()),
        ended = connection => {
            ended.map_err(io::Error::other)?;
            Err(io::ErrorKind::UnexpectedEof.into())
        }
    }
}
