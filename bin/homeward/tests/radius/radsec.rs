//! RADIUS over TLS: radsecproxy before the core, and a client of RADIUS/1.1.
//!
//! ```text
//!   radclient, eapol_test ──UDP──► radsecproxy ──TLS──► homeward core
//!   a client of RADIUS/1.1 ─────────────────────TLS──►
//! ```

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use homeward_radius::dictionary::standard;
use homeward_radius::hide::open_tunnel_password;
use homeward_radius::{Builder, Code, Packet, SharedSecret};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use crate::core::{Core, MAC, PASSPHRASE, SECRET, SSID};

/// Certificates: an authority, a core's, one each of two clients, and another server's, in PEM.
pub(crate) struct Certificates {
    ca: String,
    pub(crate) files: Vec<(String, String)>,
}

impl Certificates {
    pub(crate) fn make() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        // OpenSSL takes who is called as its issuer for its own issuer.
        params.distinguished_name.push(DnType::CommonName, "Example authority");
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let mut files = vec![("radsec-ca.pem".to_owned(), authority.pem())];
        for (file, name, usage) in [
            ("radsec", "core.example.net", ExtendedKeyUsagePurpose::ServerAuth),
            ("other", "other.example.net", ExtendedKeyUsagePurpose::ServerAuth),
            ("proxy", "proxy.example.net", ExtendedKeyUsagePurpose::ClientAuth),
            ("stranger", "stranger.example.net", ExtendedKeyUsagePurpose::ClientAuth),
        ] {
            let key = KeyPair::generate().unwrap();
            let mut params = CertificateParams::new([name.to_owned()]).unwrap();
            params.extended_key_usages = vec![usage];
            params.distinguished_name.push(DnType::CommonName, name);
            let signed = params.signed_by(&key, &authority).unwrap();
            files.push((format!("{file}.pem"), signed.pem()));
            files.push((format!("{file}.key"), key.serialize_pem()));
        }
        Self { ca: authority.pem(), files }
    }
}

/// A core that serves RADIUS over TLS too, and where. The proxy's certificate is elm's, which has
/// no address.
fn start() -> (Core, u16, Certificates) {
    let certificates = Certificates::make();
    let port = free_tcp();
    let section = format!(
        "[aaa.radsec]\nlisten = [\"127.0.0.1:{port}\"]\ncertificate = \"FOLDER/radsec.pem\"\n\
         key = \"FOLDER/radsec.key\"\nclient_ca = \"FOLDER/radsec-ca.pem\"\n\
         [aaa.radsec.peers]\n\"proxy.example.net\" = \"elm\"\n"
    );
    let files: Vec<(&str, &str)> =
        certificates.files.iter().map(|(file, pem)| (file.as_str(), pem.as_str())).collect();
    // Behind [aaa.eap], which has nothing more.
    (Core::start_with_files("", &section, &files), port, certificates)
}

pub(crate) fn free_tcp() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn free_udp() -> u16 {
    UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// radsecproxy, from UDP to TLS.
struct Proxy(Child);

impl Drop for Proxy {
    fn drop(&mut self) {
        // Both fail only if it is gone already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts one before that core, which is asked through it from then on.
fn before(core: &mut Core, port: u16, certificate: &str) -> Proxy {
    let listen = free_udp();
    let config = format!(
        "IPv4Only on\nListenUDP 127.0.0.1:{listen}\n\
         tls default {{\n CACertificateFile {ca}\n CertificateFile {pem}\n \
         CertificateKeyFile {key}\n}}\n\
         client 127.0.0.1 {{\n type udp\n secret \"{SECRET}\"\n}}\n\
         server core {{\n host 127.0.0.1\n port {port}\n type tls\n secret radsec\n \
         statusServer on\n certificateNameCheck off\n}}\n\
         realm * {{\n server core\n accountingServer core\n}}\n",
        ca = core.file("radsec-ca.pem"),
        pem = core.file(&format!("{certificate}.pem")),
        key = core.file(&format!("{certificate}.key")),
    );
    let file = core.file("radsecproxy.conf");
    fs::write(&file, config).unwrap();
    let proxy = Command::new("/usr/sbin/radsecproxy")
        .args(["-f", "-d", "1", "-c", &file, "-i", &core.file("radsecproxy.pid")])
        .stdout(Stdio::null())
        .stderr(fs::File::create(core.file("radsecproxy.log")).unwrap())
        .spawn()
        .expect("radsecproxy is missing: `make setup` installs it");
    core.address = format!("127.0.0.1:{listen}");
    core.accounting.clone_from(&core.address);
    Proxy(proxy)
}

#[test]
fn look_ups_log_ins_and_records_come_through_radsecproxy() {
    let (mut core, port, _) = start();
    let phone = core.login("phone@example.net", &[]);
    core.pap_soon(phone.name, &phone.password, "Received Access-Accept");
    let _proxy = before(&mut core, port, "proxy");
    core.answers_soon("Received Access-Accept");
    // radsecproxy has read the key and hidden it anew.
    let answer = core.ask(MAC, SSID);
    assert!(answer.contains(psk().as_str()), "{answer}");
    let answer = core.ask("02:00:5e:20:00:09", SSID);
    assert!(answer.contains("Received Access-Reject"), "{answer}");
    let answer = core.pap(phone.name, &phone.password, "");
    assert!(answer.contains("Received Access-Accept"), "{answer}");
    core.eapol_comes_in(&phone, "@example.net");
    // A password that takes long is answered late.
    let person = core.persons("person@example.net", "correct horse battery");
    core.pap_soon(person.name, &person.password, "Received Access-Accept");
    let record = "Acct-Status-Type = Start, Acct-Session-Id = \"one\", User-Name = \"x@y\", \
                  NAS-Identifier = \"oak\"\n";
    let answer = core.radclient("acct", record, SECRET);
    assert!(answer.contains("Received Accounting-Response"), "{answer}");
}

#[test]
fn a_certificate_that_is_nobodys_is_not_served() {
    let (core, port, certificates) = start();
    let mut stream = connect(&core, &certificates, port, "stranger");
    let request = look_up(1);
    // In TLS 1.3 the client is through before the server has looked.
    let _ = stream.write_all(&request).and_then(|()| stream.flush());
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest);
    assert!(rest.is_empty(), "{rest:?}");
    let mut stream = connect(&core, &certificates, port, "proxy");
    stream.write_all(&request).unwrap();
    assert_eq!(Packet::decode(&answer(&mut stream)).unwrap().code(), Code::AccessAccept);
}

/// The device's key, as it is sent.
fn psk() -> String {
    let psk = homeward_dot11::psk(&PASSPHRASE.parse().unwrap(), &SSID.parse().unwrap());
    psk.to_hex().as_str().to_owned()
}

type Stream = StreamOwned<ClientConnection, TcpStream>;

/// A connection of RADIUS/1.1.
fn connect(core: &Core, certificates: &Certificates, port: u16, certificate: &str) -> Stream {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(certificates.ca.as_bytes()).unwrap()).unwrap();
    let chain = CertificateDer::from_pem_file(core.file(&format!("{certificate}.pem"))).unwrap();
    let key = PrivateKeyDer::from_pem_file(core.file(&format!("{certificate}.key"))).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_client_auth_cert(vec![chain], key)
        .unwrap();
    config.alpn_protocols = vec![b"radius/1.1".to_vec()];
    let name = ServerName::try_from("core.example.net").unwrap();
    let socket = TcpStream::connect(("127.0.0.1", port)).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    StreamOwned::new(ClientConnection::new(Arc::new(config), name).unwrap(), socket)
}

fn token(number: u32) -> [u8; 16] {
    let mut token = [0; 16];
    token[..4].copy_from_slice(&number.to_be_bytes());
    token
}

fn look_up(number: u32) -> Vec<u8> {
    let mut out = Vec::new();
    let transport = SharedSecret::transport();
    let mut packet = Builder::request(&mut out, &transport, Code::AccessRequest, 0, token(number));
    packet.text(standard::USER_NAME, &MAC.replace(':', "")).unwrap();
    packet.user_password(SSID.as_bytes()).unwrap();
    packet.text(standard::NAS_IDENTIFIER, "elm").unwrap();
    packet.finish();
    out
}

fn answer(stream: &mut Stream) -> Vec<u8> {
    let mut answer = vec![0; 4];
    stream.read_exact(&mut answer).unwrap();
    answer.resize(usize::from(u16::from_be_bytes([answer[2], answer[3]])), 0);
    stream.read_exact(&mut answer[4..]).unwrap();
    answer
}

#[test]
fn by_radius_1_1_two_thousand_look_ups_are_outstanding_and_each_gets_its_key_in_the_clear() {
    let (core, port, certificates) = start();
    let mut stream = connect(&core, &certificates, port, "proxy");
    let all: Vec<u8> = (0..2000).flat_map(look_up).collect();
    // What comes between them is nonsense in a sound frame, and disturbs nobody.
    let nonsense = [&[222, 0, 0, 24][..], &[7; 20]].concat();
    stream.write_all(&[&nonsense[..], &all, &nonsense].concat()).unwrap();
    assert_eq!(stream.conn.alpn_protocol(), Some(&b"radius/1.1"[..]));
    let (transport, psk) = (SharedSecret::transport(), psk());
    let mut tokens: Vec<u32> = (0..2000)
        .map(|_| {
            let octets = answer(&mut stream);
            let answer = Packet::decode(&octets).unwrap();
            assert_eq!(answer.code(), Code::AccessAccept);
            let key = answer.find(standard::TUNNEL_PASSWORD).unwrap();
            let key = open_tunnel_password(&transport, &token(0), key).unwrap();
            assert_eq!(key.password.expose(), psk.as_bytes());
            assert_eq!(answer.find(standard::MESSAGE_AUTHENTICATOR), None);
            answer.token()
        })
        .collect();
    tokens.sort_unstable();
    assert!(tokens.into_iter().eq(0..2000));
}
