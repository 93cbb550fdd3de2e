//! Servers that ask the guard, as their operators set them up: by the files in `packaging/edge`.
//!
//! ```text
//!   curl ── nginx, Envoy ──(what passed)── an application
//!                └──(/verify)── guard
//! ```

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use homeward_digest::Algorithm;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::world::{World, comes_to};

/// A file of the repository.
pub(crate) fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path)
}

/// A port that nobody has now.
fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// A server that runs; killed when dropped, with its log shown if the test fails.
pub(crate) struct Program {
    child: Child,
    log: PathBuf,
}

impl Program {
    pub(crate) fn start(command: &mut Command, log: PathBuf) -> Self {
        let file = std::fs::File::create(&log).unwrap();
        command.stdin(Stdio::null()).stdout(file.try_clone().unwrap()).stderr(file);
        let program = command.get_program().to_owned();
        let child = command.spawn().unwrap_or_else(|e| {
            panic!("cannot run {program:?}: {e}; `make setup` and `make python` install it")
        });
        Self { child, log }
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Whether it has done what it was to.
    pub(crate) fn succeeded(&mut self) -> bool {
        let succeeded = self.child.wait().unwrap().success();
        if !succeeded {
            eprintln!("{}", self.log());
        }
        succeeded
    }

    /// Whether it still runs.
    pub(crate) fn runs(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // Both fail only if it is gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("{}", self.log());
        }
    }
}

/// The application: it answers with what it was asked.
async fn application() -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut head = Vec::new();
            let mut room = [0; 4096];
            while !head.windows(4).any(|four| four == b"\r\n\r\n") {
                match stream.read(&mut room).await {
                    Ok(n @ 1..) => head.extend_from_slice(&room[..n]),
                    _ => break,
                }
            }
            let begin = format!(
                "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
                head.len()
            );
            let _ = stream.write_all(&[begin.as_bytes(), &head].concat()).await;
        }
    });
    at
}

/// A server in front of an application, asking the guard of a world.
struct Edge {
    server: Program,
    at: u16,
    path: &'static str,
}

impl Edge {
    /// Starts what `command` makes of the shipped file, with its addresses being those of the test.
    async fn start(
        world: &World,
        shipped: &str,
        command: impl FnOnce(&str, &Path) -> Command,
    ) -> Self {
        let (at, application) = (free_port(), application().await);
        let text = std::fs::read_to_string(repository(shipped)).unwrap();
        let replaced = |text: String, from: u16, to: u16| {
            let count = text.matches(&from.to_string()).count();
            assert!(count > 0, "{shipped} has no {from}");
            text.replace(&from.to_string(), &to.to_string())
        };
        let text = replaced(text, 8443, at);
        let text = replaced(text, 7081, world.verify_at.port());
        let text = replaced(text, 8080, application.port());
        let log = world.path("edge.log");
        let mut server = Program::start(&mut command(&text, &world.path("")), log);
        comes_to(async || {
            assert!(server.runs(), "{}", server.log());
            TcpStream::connect(("127.0.0.1", at)).await.is_ok()
        })
        .await;
        Self { server, at, path: "/a/page?flow=tcp%20127.0.0.1" }
    }

    /// What curl gets from there: status and body.
    async fn curl(&self, from: &str, more: &[&str]) -> (u16, String) {
        let url = format!("http://127.0.0.1:{}{}", self.at, self.path);
        let mut curl = tokio::process::Command::new("curl");
        curl.args(["-s", "--interface", from, "-w", "\n%{http_code}"]).args(more).arg(&url);
        let said = String::from_utf8(curl.output().await.unwrap().stdout).unwrap();
        let (body, status) = said.rsplit_once('\n').unwrap();
        (status.parse().unwrap(), body.to_lowercase())
    }
}

/// What an operator gets of it, whichever server it is.
async fn only_what_proved_gets_through(mut world: World, edge: Edge) {
    let session = world.device.session().to_string();
    let forged =
        ["-HX-Homeward-Flow: tcp 127.0.0.1", "-HX-Homeward-Session: 7", "-HX-Homeward-Broken: 1"];
    assert_eq!(edge.curl("127.0.0.1", &[]).await.0, 403);
    world.hop(0).await.unwrap();
    world.hop(1).await.unwrap();
    world.open(&"tcp 127.0.0.1".parse().unwrap()).await.unwrap();
    for more in [&[][..], &forged, &["-d", "a form"]] {
        let (status, heard) = edge.curl("127.0.0.1", more).await;
        assert_eq!(status, 200, "{}", edge.server.log());
        assert!(heard.contains(&format!("x-homeward-session: {session}\r\n")), "{heard}");
        assert!(heard.contains("x-homeward-hops: 2\r\n"), "{heard}");
        assert!(!heard.contains("x-homeward-session: 7\r\n"), "{heard}");
        assert!(!heard.contains("x-homeward-broken"), "{heard}");
    }
    for more in [&[][..], &forged] {
        assert_eq!(edge.curl("127.0.0.2", more).await.0, 403, "another's address");
    }
    world.revoke(0);
    comes_to(async || edge.curl("127.0.0.1", &[]).await.0 == 403).await;
    world.stop_guard().await;
    let (status, _) = edge.curl("127.0.0.1", &[]).await;
    assert!(status >= 400, "nobody says yes, and it is let through: {status}");
}

/// nginx, with that site.
fn nginx(site: &str, folder: &Path) -> Command {
    std::fs::write(folder.join("site.conf"), site).unwrap();
    let main = format!(
        "daemon off; master_process off; pid {0}/nginx.pid; error_log stderr;\n\
         events {{}}\n\
         http {{\n access_log off;\n client_body_temp_path {0}/body;\n proxy_temp_path {0}/proxy;\n\
         fastcgi_temp_path {0}/f;\n uwsgi_temp_path {0}/u;\n scgi_temp_path {0}/s;\n\
         include {0}/site.conf;\n}}\n",
        folder.display()
    );
    std::fs::write(folder.join("nginx.conf"), main).unwrap();
    let mut nginx = Command::new("/usr/sbin/nginx");
    nginx.arg("-p").arg(folder).args(["-e", "stderr", "-c", "nginx.conf"]);
    nginx
}

const NGINX: &str = "packaging/edge/nginx.conf";

#[tokio::test(flavor = "multi_thread")]
async fn nginx_lets_through_what_the_guard_admits() {
    let world = World::new(2).await;
    let edge = Edge::start(&world, NGINX, nginx).await;
    only_what_proved_gets_through(world, edge).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_behind_nginx_needs_the_password_of_the_hop_that_was_proven_last() {
    // Debian's nginx passes on one challenge.
    let sha =
        |guard: &mut homeward_guard::Config| guard.digest.algorithms = vec![Algorithm::Sha256];
    let mut world = World::with(2, |_| {}, sha).await;
    let mut edge = Edge::start(&world, NGINX, nginx).await;
    edge.path = "/account/?of=7";
    let session = world.device.session().to_string();
    let mut passwords = Vec::new();
    for n in 0..2 {
        world.hop(n).await.unwrap();
        world.open(&"tcp 127.0.0.1".parse().unwrap()).await.unwrap();
        assert_eq!(edge.curl("127.0.0.1", &[]).await.0, 401, "an address is not enough");
        let password = world.device.application("digest").unwrap().password();
        passwords.push(format!("{session}:{}", *password));
    }
    let (old, new) = (&passwords[0], &passwords[1]);
    let (status, heard) = edge.curl("127.0.0.1", &["--digest", "-u", new]).await;
    assert_eq!(status, 200, "{}", edge.server.log());
    assert!(heard.contains(&format!("x-homeward-session: {session}\r\n")), "{heard}");
    assert_eq!(edge.curl("127.0.0.1", &["--digest", "-u", new, "-d", "a form"]).await.0, 200);
    let other = new.replace(&session, &"0".repeat(32));
    for wrong in [old, &other, &format!("{session}:hunter2")] {
        assert_eq!(edge.curl("127.0.0.1", &["--digest", "-u", wrong]).await.0, 401);
    }
    let (status, _) = edge.curl("127.0.0.2", &["--digest", "-u", new]).await;
    assert_eq!(status, 403, "that flow is not admitted");
}

#[tokio::test(flavor = "multi_thread")]
async fn envoy_lets_through_what_the_guard_admits() {
    let world = World::new(2).await;
    let edge = Edge::start(&world, "packaging/edge/envoy.yaml", |text, folder| {
        std::fs::write(folder.join("envoy.yaml"), text).unwrap();
        let mut envoy = Command::new(repository("target/tools/python/bin/envoy"));
        envoy.arg("-c").arg(folder.join("envoy.yaml"));
        envoy.args(["--disable-hot-restart", "--concurrency", "1", "-l", "warning"]);
        envoy
    })
    .await;
    only_what_proved_gets_through(world, edge).await;
}
