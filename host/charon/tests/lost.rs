//! What becomes of a command where the daemon is away, hangs up, is silent, or is none. What a real one
//! does with commands is seen where an ePDG is: `bin/homeward/tests/epdg`.
#![cfg(test)]

use std::path::Path;
use std::time::Duration;

use homeward_charon::{Charon, CharonError};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixListener;
use tokio::task::JoinHandle;

/// `version`, as it is asked.
const ASKED: &[u8] = b"\x00\x00\x00\x09\x00\x07version";

fn charon(at: &Path, patience: Duration) -> Charon {
    Charon::new(at.join("vici"), patience)
}

const LONG: Duration = Duration::from_secs(20);

/// Somebody who listens there, hears `version` once, and says `answer`; then hangs up if `ends`, or
/// waits until the other side does.
fn listens(at: &TempDir, answer: Vec<u8>, ends: bool) -> JoinHandle<()> {
    let listener = UnixListener::bind(at.path().join("vici")).unwrap();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut asked = vec![0; ASKED.len()];
        stream.read_exact(&mut asked).await.unwrap();
        assert_eq!(asked, ASKED);
        stream.write_all(&answer).await.unwrap();
        if !ends {
            let _ = stream.read(&mut [0]).await;
        }
    })
}

fn packet(octets: &[u8]) -> Vec<u8> {
    [&u32::try_from(octets.len()).unwrap().to_be_bytes(), octets].concat()
}

async fn fails(answer: Vec<u8>, ends: bool, patience: Duration) -> CharonError {
    let folder = tempfile::tempdir().unwrap();
    let listening = listens(&folder, answer, ends);
    let error = charon(folder.path(), patience).version().await.unwrap_err();
    listening.await.unwrap();
    error
}

#[tokio::test]
async fn who_is_away_hangs_up_or_is_silent_may_do_it_later() {
    let folder = tempfile::tempdir().unwrap();
    let error = charon(folder.path(), LONG).version().await.unwrap_err();
    assert!(matches!(error, CharonError::Connect { .. }) && error.is_away(), "{error}");
    assert!(error.to_string().ends_with("/vici"), "{error}");
    for part in [&b""[..], b"\x00\x00", b"\x00\x00\x00\x05\x01\x03"] {
        let error = fails(part.to_vec(), true, LONG).await;
        assert!(matches!(error, CharonError::Lost { .. }) && error.is_away(), "{error}");
    }
    let error = fails(Vec::new(), false, Duration::from_millis(50)).await;
    assert!(matches!(error, CharonError::Deadline { .. }) && error.is_away(), "{error}");
    assert!(error.to_string().contains("did not answer version within 50ms"), "{error}");
}

#[tokio::test]
async fn who_is_no_charon_is_told_from_one_that_says_no() {
    for garbage in [b"HTTP/1.1 400 Bad".to_vec(), packet(b"\x09"), vec![0; 4]] {
        let error = fails(garbage, false, LONG).await;
        assert!(matches!(error, CharonError::Malformed { .. }) && !error.is_away(), "{error}");
    }
    let error = fails(packet(b"\x02"), false, LONG).await;
    assert!(matches!(error, CharonError::Failed(_)) && !error.is_away(), "{error}");
}

#[tokio::test]
async fn an_answer_is_waited_for_past_what_else_happens() {
    let folder = tempfile::tempdir().unwrap();
    let said = b"\x01\x03\x06daemon\x00\x06charon\x03\x07version\x00\x055.9.8";
    let both = [packet(b"\x07\x0bcontrol-log"), packet(said)].concat();
    let listening = listens(&folder, both, false);
    let version = charon(folder.path(), LONG).version().await.unwrap();
    assert_eq!((version.daemon.as_str(), version.version.as_str()), ("charon", "5.9.8"));
    listening.await.unwrap();
}
