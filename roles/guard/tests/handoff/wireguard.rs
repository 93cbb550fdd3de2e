//! WireGuard (wireguard-go) between a device and a server, by a pre-shared key that is another with
//! each hop.
//!
//! ```text
//!   device 10.0.0.1 ──── a cable ──── 10.0.0.2 server       wg: 10.9.0.1 ──── 10.9.0.2
//! ```

use std::net::Ipv4Addr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::Duration;

use data_encoding::BASE64;
use homeward_net::namespace::Namespace;
use homeward_net::tool::{feed_tool, run_tool};

use crate::world::{World, comes_to, flow};

const LIMIT: Duration = Duration::from_secs(10);

/// An end: wireguard-go, with a /run of its own, where its control socket is.
struct End {
    namespace: Namespace,
    program: Child,
    secret: PathBuf,
    public: String,
    folder: PathBuf,
}

impl Drop for End {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.program.kill();
        let _ = self.program.wait();
    }
}

impl End {
    async fn start(name: &str, namespace: Namespace, folder: &Path) -> Self {
        let script = "mount -t tmpfs none /run && mkdir /run/wireguard && \
                      exec env LOG_LEVEL=error wireguard-go -f wg0";
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-c", script]);
        let program = namespace.spawn(command).unwrap();
        let socket = format!("/proc/{}/root/run/wireguard/wg0.sock", program.id());
        let text = run_tool("wg", &["genkey"]).unwrap();
        let public = feed_tool("wg", &["pubkey"], &text).unwrap().trim().to_owned();
        let secret = folder.join(format!("{name}.key"));
        write(&secret, &text);
        comes_to(async || Path::new(&socket).exists()).await;
        Self { namespace, program, secret, public, folder: folder.join(name) }
    }

    fn wg(&self, words: &[&str]) {
        let pid = self.program.id().to_string();
        let inside = ["--target", &pid, "--mount", "--", "wg", "set", "wg0"];
        self.namespace.run_tool("nsenter", &[&inside, words].concat()).unwrap();
    }

    /// Begins anew with the other end, by this key.
    fn keyed(&self, other: &Self, at: &str, key: &[u8]) {
        write(&self.folder, &BASE64.encode(key));
        let (file, secret) = (self.folder.to_string_lossy(), self.secret.to_string_lossy());
        self.wg(&["private-key", &secret, "listen-port", "51820"]);
        self.wg(&["peer", &other.public, "remove"]);
        let endpoint = format!("{at}:51820");
        let peer = ["allowed-ips", "0.0.0.0/0", "endpoint", &endpoint, "preshared-key", &file];
        self.wg(&[&["peer", &other.public][..], &peer].concat());
    }
}

fn write(path: &Path, text: &str) {
    std::fs::write(path, text).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn wireguard_between_device_and_server_takes_the_key_of_the_last_hop_and_no_other() {
    let mut world = World::new(2).await;
    let [device, server] = ["device", "server"].map(|name| Namespace::create(name).unwrap());
    device.join("line", &server, "line").unwrap();
    device.ip("addr add 10.0.0.1/24 dev line").unwrap();
    server.ip("addr add 10.0.0.2/24 dev line").unwrap();
    let device = End::start("device", device, world.folder.path()).await;
    let server = End::start("server", server, world.folder.path()).await;
    device.namespace.ip("addr add 10.9.0.1/24 dev wg0\nlink set wg0 up").unwrap();
    server.namespace.ip("addr add 10.9.0.2/24 dev wg0\nlink set wg0 up").unwrap();
    let to = Ipv4Addr::new(10, 9, 0, 2);

    for n in [0, 1] {
        world.hop(n).await.unwrap();
        world.open(&flow(1)).await.unwrap();
        let own = world.device.application("wireguard").unwrap();
        device.keyed(&server, "10.0.0.2", own.expose());
        if n > 0 {
            let once = ["-c", "1", "-W", "1", "10.9.0.2"];
            assert!(
                device.namespace.run_tool("ping", &once).is_err(),
                "the server has the old one"
            );
            device.keyed(&server, "10.0.0.2", own.expose());
        }
        let session = world.device.session();
        let theirs = world.guard().application(session, "wireguard").await.unwrap();
        server.keyed(&device, "10.0.0.1", theirs.expose());
        device.namespace.ping(to, LIMIT).await.unwrap();
    }
    world.revoke(0);
    let session = world.device.session();
    assert!(world.guard().application(session, "wireguard").await.is_none());
}
