//! The status socket, from both ends.
#![expect(clippy::unwrap_used, reason = "helpers of a test may fail it")]

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net as unix;
use std::path::{Path, PathBuf};
use std::time::Duration;

use homeward_daemon::control::{
    AskError, BindError, Control, ControlError, ControlOptions, Kind, MAX_REQUEST, Request, ask,
};
use homeward_daemon::{Exit, Shutdown};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::task::JoinHandle;

/// A gateway that knows `status` and `echo`, and `hang`, which never answers.
struct Gateway {
    path: PathBuf,
    shutdown: Shutdown,
    serving: JoinHandle<()>,
    _directory: tempfile::TempDir,
}

impl Gateway {
    fn start(options: ControlOptions) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("run/gateway.sock");
        let shutdown = Shutdown::new();
        let control = Control::bind(&path, options).unwrap();
        let serving = tokio::spawn(control.serve(handle, shutdown.clone()));
        Self { path, shutdown, serving, _directory: directory }
    }

    async fn raw(&self, octets: &[u8]) -> Value {
        let mut stream = UnixStream::connect(&self.path).await.unwrap();
        stream.write_all(octets).await.unwrap();
        stream.shutdown().await.unwrap();
        let mut text = Vec::new();
        stream.read_to_end(&mut text).await.unwrap();
        serde_json::from_slice(&text).unwrap()
    }

    async fn stop(self) {
        self.shutdown.trigger();
        self.serving.await.unwrap();
        assert!(!self.path.exists());
    }
}

async fn handle(request: Request) -> Result<Value, ControlError> {
    #[derive(serde::Deserialize)]
    struct Echo {
        text: String,
    }
    match request.command.as_str() {
        "status" => Ok(json!({ "vaps": [] })),
        "echo" => request.parse().map(|e: Echo| e.text.into()),
        "hang" => std::future::pending().await,
        other => Err(ControlError::unknown(other, &["status", "echo"])),
    }
}

#[tokio::test]
async fn a_command_is_answered_with_its_result() {
    let gateway = Gateway::start(ControlOptions::default());
    let status = ask(&gateway.path, &Request::new("status")).await.unwrap();
    assert_eq!(status, json!({ "vaps": [] }));
    let echo = ask(&gateway.path, &Request::new("echo").with("text", "hello")).await.unwrap();
    assert_eq!(echo, "hello");
    gateway.stop().await;
}

#[tokio::test]
async fn a_refusal_arrives_with_its_kind_and_message() {
    let gateway = Gateway::start(ControlOptions::default());
    let unknown = ask(&gateway.path, &Request::new("dance")).await.unwrap_err();
    assert_eq!(unknown.to_string(), "there is no command \"dance\"; there are: status, echo");
    assert_eq!(unknown.exit(), Exit::Usage);
    let AskError::Refused(missing) = ask(&gateway.path, &Request::new("echo")).await.unwrap_err()
    else {
        panic!("not refused")
    };
    assert_eq!(missing, ControlError::new(Kind::BadRequest, "echo: missing field `text`"));
    gateway.stop().await;
}

#[tokio::test]
async fn requests_that_make_no_sense_are_answered_too() {
    let gateway = Gateway::start(ControlOptions::default());
    for bad in
        [&b"hello\n"[..], b"{}\n", b"{\"command\":7}\n", b"\xff\n", b"{\"command\":\"status\"}"]
    {
        assert_eq!(
            gateway.raw(bad).await["error"]["kind"],
            "bad-request",
            "{}",
            bad.escape_ascii()
        );
    }
    // As much as is read of it: what is left unread would cut the answer off.
    let long = vec![b'x'; MAX_REQUEST];
    let message = gateway.raw(&long).await["error"]["message"].clone();
    assert_eq!(message, "a request has at most 65536 octets");
    gateway.stop().await;
}

#[tokio::test]
async fn a_client_that_says_nothing_is_dropped_and_the_next_one_served() {
    let gateway = Gateway::start(ControlOptions {
        max_clients: 1,
        timeout: Duration::from_millis(50),
        ..ControlOptions::default()
    });
    let mut silent = UnixStream::connect(&gateway.path).await.unwrap();
    ask(&gateway.path, &Request::new("status")).await.unwrap();
    assert_eq!(silent.read(&mut [0; 8]).await.unwrap(), 0);
    let hung = ask(&gateway.path, &Request::new("hang")).await.unwrap_err();
    assert!(matches!(hung, AskError::Broken { .. }), "{hung:?}");
    gateway.stop().await;
}

#[tokio::test]
async fn clients_beyond_the_limit_wait_their_turn() {
    let gateway = Gateway::start(ControlOptions { max_clients: 1, ..ControlOptions::default() });
    let first = UnixStream::connect(&gateway.path).await.unwrap();
    let (path, status) = (gateway.path.clone(), Request::new("status"));
    let mut second = std::pin::pin!(ask(&path, &status));
    let early = tokio::time::timeout(Duration::from_millis(50), second.as_mut()).await;
    assert!(early.is_err(), "{early:?}");
    drop(first);
    second.await.unwrap();
    gateway.stop().await;
}

#[tokio::test]
async fn the_socket_is_private_and_its_directory_too() {
    let gateway = Gateway::start(ControlOptions::default());
    let mode = |path: &Path| fs::metadata(path).unwrap().mode() & 0o777;
    assert_eq!(mode(&gateway.path), 0o600);
    assert_eq!(mode(gateway.path.parent().unwrap()), 0o700);
    gateway.stop().await;
    let open = Gateway::start(ControlOptions { mode: 0o660, ..ControlOptions::default() });
    assert_eq!(mode(&open.path), 0o660);
    open.stop().await;
}

#[tokio::test]
async fn a_socket_that_is_served_is_not_taken_over() {
    let gateway = Gateway::start(ControlOptions::default());
    let error = Control::bind(&gateway.path, ControlOptions::default()).unwrap_err();
    assert!(matches!(error, BindError::Taken { .. }), "{error:?}");
    let path = gateway.path.display();
    assert_eq!(
        error.to_string(),
        format!("another process serves {path}: stop it first, or set another control socket")
    );
    ask(&gateway.path, &Request::new("status")).await.unwrap();
    // Not even if somebody removed its file: two roles would run, and one could not be asked.
    fs::remove_file(&gateway.path).unwrap();
    let error = Control::bind(&gateway.path, ControlOptions::default()).unwrap_err();
    assert!(matches!(error, BindError::Taken { .. }), "{error:?}");
    gateway.stop().await;
}

#[tokio::test]
async fn a_socket_of_another_program_is_not_taken_over() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("gateway.sock");
    let _other = unix::UnixListener::bind(&path).unwrap();
    let error = Control::bind(&path, ControlOptions::default()).unwrap_err();
    assert!(matches!(error, BindError::Taken { .. }), "{error:?}");
}

#[tokio::test]
async fn a_dead_processs_socket_is_replaced() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("gateway.sock");
    drop(unix::UnixListener::bind(&path).unwrap());
    assert!(path.exists());
    let shutdown = Shutdown::new();
    let control = Control::bind(&path, ControlOptions::default()).unwrap();
    let serving = tokio::spawn(control.serve(handle, shutdown.clone()));
    ask(&path, &Request::new("status")).await.unwrap();
    shutdown.trigger();
    serving.await.unwrap();
    // And once more, over the lock that stayed.
    Control::bind(&path, ControlOptions::default()).unwrap();
}

#[tokio::test]
async fn a_file_that_is_no_socket_is_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("gateway.sock");
    fs::write(&path, "a letter").unwrap();
    let error = Control::bind(&path, ControlOptions::default()).unwrap_err();
    assert!(matches!(error, BindError::NotASocket { .. }), "{error:?}");
    assert_eq!(fs::read(&path).unwrap(), b"a letter");
}

#[tokio::test]
async fn a_role_that_does_not_run_is_named() {
    let path = Path::new("/nonexistent/homeward/gateway.sock");
    let error = ask(path, &Request::new("status")).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "no gateway is listening on /nonexistent/homeward/gateway.sock: is `homeward gateway` running?"
    );
    assert_eq!(Exit::of(&error.into()), Exit::Unavailable);
}
