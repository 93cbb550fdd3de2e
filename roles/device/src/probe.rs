//! Looks whether the Internet is reached over Wi-Fi: a page that answers 204 and nothing else.

use std::io;
use std::time::Duration;

use homeward_offload::manager::Connectivity;
use http_body_util::Empty;
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::{Request, StatusCode, header};
use hyper_util::rt::TokioIo;

use crate::dial::{Line, Target, drive};

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
    let stream = target.connect(Some(by)).await?;
    let (mut sender, connection) =
        http1::handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
    let request = Request::get(&target.path)
        .header(header::HOST, &target.authority)
        .header(header::CONNECTION, "close")
        .header(header::USER_AGENT, "homeward")
        .body(Empty::<Bytes>::new())
        .map_err(io::Error::other)?;
    // The connection goes with this: nobody reads what else comes.
    let answer = async { sender.send_request(request).await.map_err(io::Error::other) };
    Ok(drive(answer, connection).await?.status())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{IpAddr, Ipv4Addr, SocketAddr};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    const OWN: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    /// What a look finds where a request is answered with these octets and the end.
    async fn found(answer: &'static [u8]) -> Connectivity {
        let listener = TcpListener::bind((OWN, 0)).await.unwrap();
        let at = listener.local_addr().unwrap();
        let server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                assert_ne!(stream.read_buf(&mut head).await.unwrap(), 0);
            }
            stream.write_all(answer).await.unwrap();
            String::from_utf8(head).unwrap()
        });
        let found = look(&target(&[at]), &line()).await;
        let head = server.await.unwrap();
        assert!(head.starts_with("GET /generate_204 HTTP/1.1\r\n"), "{head}");
        assert!(head.contains("host: check.example.net\r\n"), "{head}");
        found
    }

    fn target(at: &[SocketAddr]) -> Target {
        Target::parse("http://check.example.net/generate_204", "http", 80, at).unwrap()
    }

    fn line() -> Line {
        Line { interface: "lo".to_owned(), addresses: vec![OWN] }
    }

    #[tokio::test]
    async fn only_204_is_the_internet_and_what_else_is_said_is_somebody_in_between() {
        assert_eq!(found(b"HTTP/1.1 204 No Content\r\n\r\n").await, Connectivity::Open);
        for other in [
            &b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"[..],
            b"HTTP/1.1 302 Found\r\nLocation: http://pay.example.com/\r\n\r\n",
            b"HTTP/1.1 511 Network Authentication Required\r\n\r\n",
        ] {
            assert_eq!(found(other).await, Connectivity::Captive);
        }
        for none in [&b""[..], b"HTTP/1.1 ", b"220 mail.example.com ESMTP\r\n"] {
            assert_eq!(found(none).await, Connectivity::Dead);
        }
    }

    #[tokio::test]
    async fn nobody_there_is_no_internet() {
        let listener = TcpListener::bind((OWN, 0)).await.unwrap();
        let at = listener.local_addr().unwrap();
        drop(listener);
        assert_eq!(look(&target(&[at]), &line()).await, Connectivity::Dead);
        let v6 = SocketAddr::from((std::net::Ipv6Addr::LOCALHOST, at.port()));
        assert_eq!(look(&target(&[v6]), &line()).await, Connectivity::Dead);
    }

    #[tokio::test]
    async fn a_look_goes_by_the_interface_that_it_is_told_and_by_no_other() {
        let listener = TcpListener::bind((OWN, 0)).await.unwrap();
        let at = listener.local_addr().unwrap();
        let elsewhere = Line { interface: "nosuch0".to_owned(), addresses: vec![OWN] };
        assert_eq!(look(&target(&[at]), &elsewhere).await, Connectivity::Dead);
    }
}
