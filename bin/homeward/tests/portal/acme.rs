//! The portal's certificate by ACME, issued by Pebble.

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use homeward_net::lab;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use serde_json::{Value, json};

use crate::cell::{Given, request};
use crate::core::{World, folder, soon};

const NAME: &str = "portal.example.net";
const DIRECTORY: &str = "https://127.0.0.1:14000/dir";
const HOUR: u32 = 3600;

/// An ACME server, and the DNS by which it finds the portal.
struct Pebble {
    folder: PathBuf,
    dns: Child,
    server: Option<Child>,
}

impl Drop for Pebble {
    fn drop(&mut self) {
        self.goes_away();
        // Both fail only if it is gone already.
        let _ = self.dns.kill();
        let _ = self.dns.wait();
    }
}

fn spawn(folder: &Path, name: &str, words: &[&str], reject: u32) -> Child {
    let log = File::create(folder.join(format!("{name}.log"))).unwrap();
    Command::new(name)
        .args(words)
        .env("PEBBLE_VA_NOSLEEP", "1")
        .env("PEBBLE_WFE_NONCEREJECT", reject.to_string())
        .env("PEBBLE_AUTHZREUSE", "0")
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .stdin(Stdio::null())
        .spawn()
        .unwrap_or_else(|e| panic!("{name} is missing ({e}): `make setup` installs pebble"))
}

impl Pebble {
    /// Everything but the server itself.
    fn prepare(folder: &Path) -> Self {
        let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
        fs::write(folder.join("pebble.pem"), made.cert.pem()).unwrap();
        fs::write(folder.join("pebble.key"), made.signing_key.serialize_pem()).unwrap();
        let words = [
            "-defaultIPv4",
            "10.64.0.1",
            "-defaultIPv6",
            "",
            "-dns01",
            "127.0.0.1:8053",
            "-http01",
            "",
            "-https01",
            "",
            "-tlsalpn01",
            "",
            "-management",
            "127.0.0.1:8055",
        ];
        let dns = spawn(folder, "pebble-challtestsrv", &words, 0);
        Self { folder: folder.to_owned(), dns, server: None }
    }

    /// Begins: certificates are good for so many seconds, so many of a hundred good nonces are
    /// rejected, `more` is besides in its configuration.
    fn comes(&mut self, life: u32, reject: u32, more: Value) {
        let at = |name: &str| self.folder.join(name).display().to_string();
        let mut config = json!({
            "listenAddress": "127.0.0.1:14000", "managementListenAddress": "127.0.0.1:15000",
            "certificate": at("pebble.pem"), "privateKey": at("pebble.key"),
            "httpPort": 5002, "tlsPort": 5001, "ocspResponderURL": "",
            "externalAccountBindingRequired": false, "certificateValidityPeriod": life,
            "domainBlocklist": ["blocked.example.net"],
        });
        for (key, value) in more.as_object().unwrap() {
            config[key] = value.clone();
        }
        fs::write(at("pebble.json"), json!({ "pebble": config }).to_string()).unwrap();
        let words = ["-config", &at("pebble.json"), "-dnsserver", "127.0.0.1:8053"];
        self.server = Some(spawn(&self.folder, "pebble", &words, reject));
        soon("Pebble", || TcpStream::connect("127.0.0.1:15000").is_ok());
        let url = "https://127.0.0.1:15000/roots/0";
        let root = Command::new("curl")
            .args(["--silent", "--show-error", "--cacert", &at("pebble.pem"), url])
            .output()
            .unwrap();
        assert!(root.status.success(), "{}", String::from_utf8_lossy(&root.stderr));
        fs::write(at("root.pem"), root.stdout).unwrap();
    }

    fn goes_away(&mut self) {
        if let Some(mut server) = self.server.take() {
            let _ = server.kill();
            let _ = server.wait();
        }
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.join("pebble.log")).unwrap()
    }
}

/// What `[portal.acme]` says, besides where Pebble is.
const PLAIN: &str = "names = [\"portal.example.net\"]\nretry = \"1s\"\nlongest_retry = \"2s\"\n";

/// Runs `body` with a core whose certificate comes from Pebble, which `begin` starts or does not.
#[track_caller]
fn by_acme(
    acme: &str,
    begin: impl FnOnce(&mut Pebble) + Send,
    body: impl FnOnce(&mut World, &mut Pebble) + Send,
) {
    lab(|lab| async move {
        let here = lab.namespace("all")?;
        here.ip("addr add 10.64.0.1/32 dev lo\naddr add 10.45.0.1/16 dev lo")?;
        here.enter(|| {
            let folder = folder();
            let at = |name: &str| folder.path().join(name);
            let mut pebble = Pebble::prepare(folder.path());
            begin(&mut pebble);
            let settings = format!(
                "listen = [\"10.64.0.1:5001\"]\nidle_timeout = \"1m\"\n\
                 [portal.acme]\ndirectory = {DIRECTORY:?}\nca = {:?}\nfolder = {:?}\n\
                 terms_agreed = true\n{acme}",
                at("pebble.pem"),
                at("acme"),
            );
            let mut world = World::start(folder, &settings, "");
            body(&mut world, &mut pebble);
            Ok(())
        })
    });
}

/// A connection, and the certificate that it was shown.
struct Open {
    stream: StreamOwned<ClientConnection, TcpStream>,
    shown: CertificateDer<'static>,
}

impl Open {
    /// To the portal, by its name, as whoever trusts Pebble's root.
    fn new(world: &World) -> Result<Self, String> {
        let mut roots = RootCertStore::empty();
        let pem = fs::read(world.file("root.pem")).map_err(|e| e.to_string())?;
        for root in CertificateDer::pem_slice_iter(&pem) {
            roots.add(root.unwrap()).unwrap();
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tls = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let name = ServerName::try_from(NAME).unwrap();
        let tls = ClientConnection::new(Arc::new(tls), name).unwrap();
        let tcp = TcpStream::connect("10.64.0.1:5001").map_err(|e| e.to_string())?;
        let mut stream = StreamOwned::new(tls, tcp);
        stream.conn.complete_io(&mut stream.sock).map_err(|e| e.to_string())?;
        let shown = stream.conn.peer_certificates().unwrap()[0].clone().into_owned();
        Ok(Self { stream, shown })
    }

    /// Asks for something by it; the first line of the answer.
    fn asks(&mut self) -> String {
        let head = format!("GET /nothing HTTP/1.1\r\nHost: {NAME}\r\n\r\n");
        self.stream.write_all(head.as_bytes()).unwrap();
        let mut said = Vec::new();
        while !said.windows(4).any(|end| end == b"\r\n\r\n") {
            let mut octet = [0];
            self.stream.read_exact(&mut octet).unwrap();
            said.extend(octet);
        }
        String::from_utf8(said).unwrap().lines().next().unwrap().to_owned()
    }
}

impl World {
    #[track_caller]
    fn gets_its_certificate(&self) {
        let mut seen = Value::Null;
        soon("a certificate", || {
            let acme = self.acme();
            if acme["trouble"] != seen {
                seen = acme["trouble"].clone();
                eprintln!("{acme}");
            }
            acme["expires"].is_string()
        });
    }

    fn acme(&self) -> Value {
        self.status()["portal"]["acme"].clone()
    }

    /// The trouble with the certificate, once there is some.
    #[track_caller]
    fn trouble(&self) -> String {
        soon("trouble", || self.acme()["trouble"].is_string());
        self.acme()["trouble"].as_str().unwrap().to_owned()
    }

    /// How many certificates this core was issued since it began.
    fn obtained(&self) -> String {
        let metrics = self.says(&["core", "metrics"]);
        let line = metrics.lines().find(|line| line.contains("portal_acme_obtained_total"));
        line.unwrap().rsplit_once(' ').unwrap().1.to_owned()
    }

    /// A device asks by the portal's name for credentials, and trusts Pebble's root alone.
    #[track_caller]
    fn is_given_by_name(&self, from: &str) -> Given {
        let output = Command::new("curl")
            .args(["--silent", "--show-error", "--max-time", "20", "--interface", from])
            .args(["--cacert", &self.file("root.pem")])
            .args(["--resolve", &format!("{NAME}:5001:10.64.0.1")])
            .args(["--header", "Content-Type: application/json"])
            .args(["--data-raw", &request(1, 1).to_string()])
            .arg(format!("https://{NAME}:5001/offload/v1/credentials"))
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Given::of(serde_json::from_slice(&output.stdout).unwrap())
    }
}

#[test]
fn a_device_is_given_credentials_under_a_certificate_by_acme_and_a_restart_asks_for_none() {
    by_acme(
        PLAIN,
        |pebble| pebble.comes(HOUR, 5, json!({})),
        |w, pebble| {
            w.gets_its_certificate();
            w.attaches(1, "10.45.0.7");
            let given = w.is_given_by_name("10.45.0.7");
            assert!(given.name.ends_with("@wlan.example.net"), "{}", given.name);
            assert_eq!(w.obtained(), "1");
            for file in ["acme/account.json", "acme/certificate.pem"] {
                let mode = fs::metadata(w.file(file)).unwrap().mode();
                assert_eq!(mode & 0o777, 0o600, "{file}");
            }
            let shown = Open::new(w).unwrap().shown;
            // The server is not there to be asked.
            pebble.goes_away();
            w.stops_and_starts_again();
            assert_eq!(Open::new(w).unwrap().shown, shown);
            assert_eq!((w.obtained(), w.acme()["failures"].clone()), ("0".to_owned(), json!(0)));
            let doctor = w.says(&["doctor", "core"]);
            assert!(
                doctor.contains("ok    core     the portal's certificate by ACME ends at"),
                "{doctor}"
            );
        },
    );
}

#[test]
fn a_certificate_is_renewed_while_a_connection_stays_open() {
    by_acme(
        PLAIN,
        |pebble| pebble.comes(9, 5, json!({})),
        |w, _| {
            w.gets_its_certificate();
            let mut open = Open::new(w).unwrap();
            assert_eq!(open.asks(), "HTTP/1.1 404 Not Found");
            let ended = w.acme()["expires"].clone();
            soon("a renewal", || w.acme()["expires"] != ended);
            let new = Open::new(w).unwrap();
            assert_ne!(new.shown, open.shown);
            assert_eq!(open.asks(), "HTTP/1.1 404 Not Found");
            assert!(w.obtained().parse::<u32>().unwrap() >= 2);
        },
    );
}

#[test]
fn a_portal_without_a_certificate_says_so_and_has_one_once_the_server_is_there() {
    by_acme(
        PLAIN,
        |_| {},
        |w, pebble| {
            let trouble = w.trouble();
            assert!(trouble.contains("cannot ask https://127.0.0.1:14000/dir"), "{trouble}");
            fs::copy(w.file("pebble.pem"), w.file("root.pem")).unwrap();
            assert!(Open::new(w).is_err(), "there is nothing to be shown");
            let status = w.says(&["core", "status"]);
            assert!(status.contains("none yet, so TLS is not answered"), "{status}");
            let doctor = w.says(&["doctor", "core"]);
            assert!(
                doctor.contains("warn  core     there is no certificate, and no TLS without one: "),
                "{doctor}"
            );
            let again = w.acme()["failures"].as_u64().unwrap();
            soon("another try", || w.acme()["failures"].as_u64().unwrap() > again);
            // Of the nonces that are good, it says of every fourth that it is not.
            pebble.comes(HOUR, 25, json!({}));
            w.gets_its_certificate();
            Open::new(w).unwrap();
            assert_eq!(w.acme()["trouble"], Value::Null);
        },
    );
}

#[test]
fn a_reload_ends_the_pause_after_a_failure() {
    let slow = "names = [\"portal.example.net\"]\nretry = \"1h\"\n";
    by_acme(
        slow,
        |_| {},
        |w, pebble| {
            w.trouble();
            pebble.comes(HOUR, 5, json!({}));
            assert_eq!(
                (w.acme()["expires"].clone(), w.acme()["failures"].clone()),
                (Value::Null, json!(1))
            );
            w.reloads();
            w.gets_its_certificate();
        },
    );
}

#[test]
fn a_server_that_has_lost_the_account_gets_a_new_one() {
    by_acme(
        PLAIN,
        |pebble| pebble.comes(HOUR, 5, json!({})),
        |w, pebble| {
            w.gets_its_certificate();
            let account = fs::read_to_string(w.file("acme/account.json")).unwrap();
            // It has all it knows in memory.
            pebble.goes_away();
            pebble.comes(HOUR, 5, json!({}));
            fs::remove_file(w.file("acme/certificate.pem")).unwrap();
            w.stops_and_starts_again();
            assert!(w.trouble().contains("knows the account no more"), "{}", w.trouble());
            w.gets_its_certificate();
            Open::new(w).unwrap();
            assert_ne!(fs::read_to_string(w.file("acme/account.json")).unwrap(), account);
        },
    );
}

#[test]
fn a_certificate_for_other_names_is_shown_until_the_right_one_is_there() {
    by_acme(
        PLAIN,
        |pebble| pebble.comes(HOUR, 5, json!({})),
        |w, pebble| {
            w.gets_its_certificate();
            let old = Open::new(w).unwrap().shown;
            pebble.goes_away();
            let config = fs::read_to_string(w.file("core.toml")).unwrap();
            let more = "names = [\"portal.example.net\", \"wlan.example.net\"]";
            let config = config.replace("names = [\"portal.example.net\"]", more);
            fs::write(w.file("core.toml"), config).unwrap();
            w.stops_and_starts_again();
            w.trouble();
            assert_eq!(Open::new(w).unwrap().shown, old);
            pebble.comes(HOUR, 5, json!({}));
            soon("the right one", || w.obtained() == "1");
            assert_ne!(Open::new(w).unwrap().shown, old);
        },
    );
}

#[test]
fn the_names_are_shown_to_be_ours_by_http_as_well() {
    let http = "names = [\"portal.example.net\", \"wlan.example.net\"]\n\
                retry = \"1s\"\nchallenge = \"http-01\"\nlisten = [\"10.64.0.1:5002\"]\n";
    by_acme(
        http,
        |pebble| pebble.comes(HOUR, 5, json!({})),
        |w, pebble| {
            w.gets_its_certificate();
            assert_eq!(Open::new(w).unwrap().asks(), "HTTP/1.1 404 Not Found");
            assert!(pebble.log().contains("/.well-known/acme-challenge/"), "{}", pebble.log());
        },
    );
}

#[test]
fn a_name_that_the_server_refuses_is_named_with_the_repair() {
    let blocked = "names = [\"portal.example.net\", \"blocked.example.net\"]\nretry = \"1s\"\n";
    by_acme(
        blocked,
        |pebble| pebble.comes(HOUR, 5, json!({})),
        |w, _| {
            soon("a refusal", || w.trouble().contains("portal.acme.names"));
            let trouble = w.trouble();
            assert!(trouble.contains("\"blocked.example.net\""), "{trouble}");
            assert!(trouble.contains("correct the name"), "{trouble}");
        },
    );
}

#[test]
fn a_name_that_does_not_lead_to_the_portal_is_named_with_the_port() {
    // Port 80 is asked, and nobody is there.
    let http = "names = [\"portal.example.net\"]\nretry = \"1s\"\nchallenge = \"http-01\"\nlisten = [\"10.64.0.1:5003\"]\n";
    by_acme(
        http,
        |pebble| pebble.comes(HOUR, 5, json!({})),
        |w, _| {
            soon("a refusal", || w.trouble().contains("is ours"));
            let trouble = w.trouble();
            assert!(
                trouble.contains("could not see by http-01 that \"portal.example.net\" is ours"),
                "{trouble}"
            );
            assert!(
                trouble.ends_with("see that port 80 of that name leads to portal.acme.listen"),
                "{trouble}"
            );
        },
    );
}

#[test]
fn a_server_that_wants_an_external_account_is_told_of_it() {
    let key = "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W";
    let bound = json!({
        "externalAccountBindingRequired": true,
        "externalAccountMACKeys": { "kid-1": key },
    });
    by_acme(
        PLAIN,
        |pebble| pebble.comes(HOUR, 5, bound),
        |w, _| {
            soon("a refusal", || w.trouble().contains("makes no account"));
            assert!(w.trouble().contains("set portal.acme.external_account"), "{}", w.trouble());
            let key = w.write("eab.key", key);
            let config = fs::read_to_string(w.file("core.toml")).unwrap();
            let more = format!(
                "[portal.acme.external_account]\nid = \"kid-1\"\nkey = {{ file = {key:?} }}\n"
            );
            fs::write(w.file("core.toml"), config + &more).unwrap();
            w.stops_and_starts_again();
            w.gets_its_certificate();
            Open::new(w).unwrap();
        },
    );
}
