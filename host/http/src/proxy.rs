//! Whom a connection is from that a proxy passes on: the PROXY protocol, version 2.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use tokio::io::{AsyncRead, AsyncReadExt as _};

/// What a header begins with.
const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// What every header has: signature, version and command, family, and the length of the rest.
const FIXED: usize = 16;

/// The longest rest that is read: addresses, and what proxies say of themselves.
const MAX_REST: usize = 2048;

/// Why a proxy is not believed.
#[derive(Debug, thiserror::Error)]
pub enum ProxyError {
    /// The connection broke.
    #[error("no PROXY header came")]
    Io(#[from] io::Error),
    /// No header of version 2.
    #[error(
        "no PROXY header of version 2: have the proxy send one (HAProxy: send-proxy-v2), or take it out of `proxies`"
    )]
    Malformed,
    /// A header with too much in it.
    #[error("a PROXY header of {0} octets; at most {MAX_REST} are read")]
    TooLong(usize),
    /// A connection that is from nowhere on the Internet.
    #[error("a PROXY header without an IP address")]
    NoAddress,
}

/// Reads a header, and nothing of what follows it.
///
/// `None`: the proxy itself is asking, for its own purposes (LOCAL).
///
/// # Errors
///
/// [`ProxyError`]; the connection is then to be closed.
pub async fn read(stream: &mut (impl AsyncRead + Unpin)) -> Result<Option<IpAddr>, ProxyError> {
    let mut header = vec![0; FIXED];
    stream.read_exact(&mut header).await?;
    let rest = rest(&header).ok_or(ProxyError::Malformed)?;
    if rest > MAX_REST {
        return Err(ProxyError::TooLong(rest));
    }
    header.resize(FIXED + rest, 0);
    stream.read_exact(header.get_mut(FIXED..).unwrap_or_default()).await?;
    decode(&header)
}

/// How many octets follow the fixed part, if that is one.
fn rest(fixed: &[u8]) -> Option<usize> {
    let length = fixed.strip_prefix(SIGNATURE)?.get(2..4)?;
    Some(usize::from(u16::from_be_bytes(length.try_into().ok()?)))
}

/// What a whole header says: section 2.2 of the protocol's specification.
///
/// # Errors
///
/// As [`read`].
pub fn decode(header: &[u8]) -> Result<Option<IpAddr>, ProxyError> {
    let length = rest(header).ok_or(ProxyError::Malformed)?;
    let (fixed, rest) = header.split_at_checked(FIXED).ok_or(ProxyError::Malformed)?;
    let (command, family) = match fixed {
        [.., command, family, _, _] if rest.len() == length => (*command, *family),
        _ => return Err(ProxyError::Malformed),
    };
    let short = ProxyError::Malformed;
    match (command, family >> 4) {
        (0x20, _) => Ok(None),
        // Source and destination, then their ports.
        (0x21, 1) => match rest.first_chunk::<12>() {
            Some([a, b, c, d, ..]) => Ok(Some(Ipv4Addr::new(*a, *b, *c, *d).into())),
            None => Err(short),
        },
        (0x21, 2) => match (rest.first_chunk::<16>(), rest.first_chunk::<36>()) {
            (Some(source), Some(_)) => Ok(Some(IpAddr::V6(Ipv6Addr::from(*source)).to_canonical())),
            _ => Err(short),
        },
        (0x21, 0 | 3) => Err(ProxyError::NoAddress),
        _ => Err(ProxyError::Malformed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
        [SIGNATURE, &[command, family], &length, rest].concat()
    }

    async fn said(octets: &[u8]) -> (Result<Option<IpAddr>, String>, usize) {
        let mut rest = octets;
        let said = read(&mut rest).await.map_err(|e| e.to_string());
        (said, rest.len())
    }

    #[tokio::test]
    async fn the_source_is_read_and_what_follows_is_left() {
        let v4 = [10, 1, 0, 7, 10, 0, 0, 1, 0xc0, 0, 1, 0xbb];
        let mut octets = header(0x21, 0x11, &v4);
        octets.extend(b"\x16\x03\x01");
        assert_eq!(said(&octets).await, (Ok(Some("10.1.0.7".parse().unwrap())), 3));
        let mut v6 = [0; 36];
        v6[..2].copy_from_slice(&[0x20, 0x01]);
        v6[15] = 7;
        // A TLV of no meaning to us (PP2_TYPE_NOOP) behind the addresses.
        let octets = header(0x21, 0x21, &[&v6[..], &[4, 0, 1, 0]].concat());
        assert_eq!(said(&octets).await, (Ok(Some("2001::7".parse().unwrap())), 0));
        assert_eq!(said(&header(0x20, 0, &[])).await, (Ok(None), 0));
    }

    #[tokio::test]
    async fn what_is_no_header_of_version_2_is_refused() {
        for octets in [
            b"PROXY TCP4 10.1.0.7 10.0.0.1 1 2\r\n".to_vec(),
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\x00\x00\x00\x00\x00\x00".to_vec(),
            header(0x11, 0x11, &[0; 12]),
            header(0x22, 0x11, &[0; 12]),
            header(0x21, 0x11, &[0; 4]),
        ] {
            let (said, _) = said(&octets).await;
            assert!(said.unwrap_err().contains("version 2"), "{octets:02x?}");
        }
        for (octets, why) in [
            (header(0x21, 0x31, &[0; 216]), "without an IP address"),
            (header(0x21, 0x00, &[]), "without an IP address"),
            (header(0x21, 0x11, &[0; 2049]), "2049 octets"),
            (SIGNATURE.to_vec(), "no PROXY header came"),
        ] {
            let (said, _) = said(&octets).await;
            assert!(said.unwrap_err().contains(why), "{why}");
        }
    }
}
