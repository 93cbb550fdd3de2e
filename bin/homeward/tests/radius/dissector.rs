//! Wireshark's dissector as a judge of what the core sends: look-ups, log-ins by PAP and EAP,
//! Status-Server, Disconnect. It finds nothing malformed, and every authenticator right.
//!
//! No capture needs rights: the datagrams that the test's client sends and receives are written
//! to a file as if they had been captured.

mod capture;

use std::net::UdpSocket;
use std::time::Duration;

use homeward_eap::Method;
use homeward_eap::pki_types::CertificateDer;
use homeward_eap::pki_types::pem::PemObject;
use homeward_eap::testing::Counted;
use homeward_eap::testing::peer::rustls::{
    ClientConfig, RootCertStore, SupportedProtocolVersion, crypto::ring, version,
};
use homeward_eap::testing::peer::{Binding, Device, Odd, Peer, Within};
use homeward_model::{Entropy, LookupForm, Secret};
use homeward_radius::dictionary::standard;
use homeward_radius::{Builder, Code, LookupRequest, Packet, SharedSecret};

use crate::core::{Core, MAC, SECRET, SSID};
use capture::{Capture, Judged};

/// A NAS that writes down all that it sends and receives.
struct Nas {
    socket: UdpSocket,
    secret: SharedSecret,
    entropy: Counted,
    id: u8,
    capture: Capture,
}

impl Nas {
    fn new(core: &Core) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.connect(&core.address).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        let secret = SharedSecret::new(&Secret::new(SECRET)).unwrap();
        Self { socket, secret, entropy: Counted(1), id: 0, capture: Capture::default() }
    }

    /// Asks; the answer's octets.
    fn ask(&mut self, code: Code, write: impl FnOnce(&mut Builder<'_>)) -> Vec<u8> {
        self.id += 1;
        let (mut octets, authenticator) = (Vec::new(), self.entropy.octets());
        let mut packet = Builder::request(&mut octets, &self.secret, code, self.id, authenticator);
        write(&mut packet);
        packet.finish();
        let (here, there) = (self.socket.local_addr().unwrap(), self.socket.peer_addr().unwrap());
        self.capture.add(here, there, &octets);
        self.socket.send(&octets).unwrap();
        let mut room = [0; 4096];
        let len = self.socket.recv(&mut room).expect("an answer");
        self.capture.add(there, here, &room[..len]);
        room[..len].to_vec()
    }

    #[track_caller]
    fn expect(&mut self, wanted: Code, write: impl FnOnce(&mut Builder<'_>)) {
        let answer = self.ask(Code::AccessRequest, write);
        assert_eq!(Packet::decode(&answer).unwrap().code(), wanted);
    }

    fn pap(&mut self, name: &str, password: &str, wanted: Code) {
        self.expect(wanted, |packet| {
            packet.text(standard::USER_NAME, name).unwrap();
            packet.user_password(password.as_bytes()).unwrap();
            packet.text(standard::NAS_IDENTIFIER, "oak").unwrap();
            packet.octets(standard::CHARGEABLE_USER_IDENTITY, &[0]).unwrap();
            packet.octets(standard::PROXY_STATE, b"comes back").unwrap();
        });
    }

    fn look_up(&mut self, ssid: &str, wanted: Code) {
        self.expect(wanted, |packet| {
            let question = LookupRequest {
                mac: MAC.parse().unwrap(),
                ssid: ssid.parse().unwrap(),
                nas_identifier: Some("oak"),
                bssid: None,
                signal: None,
            };
            let attributes = question.attributes(LookupForm::Homeward).unwrap();
            attributes.write_to(packet).unwrap();
        });
    }

    /// Logs in by EAP; whether it was let in.
    fn eap(&mut self, peer: &Peer, mtu: u32) -> bool {
        let mut device = Device::new(peer).unwrap();
        let (mut response, mut state) = (device.identity(), None::<Vec<u8>>);
        loop {
            let answer = self.ask(Code::AccessRequest, |packet| {
                packet.text(standard::USER_NAME, &peer.outer).unwrap();
                packet.text(standard::CALLING_STATION_ID, "02-00-5E-20-00-07").unwrap();
                packet.integer(standard::FRAMED_MTU, mtu).unwrap();
                for part in response.chunks(253) {
                    packet.octets(standard::EAP_MESSAGE, part).unwrap();
                }
                if let Some(state) = &state {
                    packet.octets(standard::STATE, state).unwrap();
                }
            });
            let answer = Packet::decode(&answer).unwrap();
            if answer.code() != Code::AccessChallenge {
                return answer.code() == Code::AccessAccept;
            }
            let eap: Vec<u8> = answer.find_all(standard::EAP_MESSAGE).flatten().copied().collect();
            state = answer.find(standard::STATE).map(<[u8]>::to_vec);
            response = device.answer(&eap).unwrap();
        }
    }
}

fn tls(core: &Core, version: &'static SupportedProtocolVersion) -> std::sync::Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(core.file("ca.pem")).unwrap()).unwrap();
    let provider = std::sync::Arc::new(ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[version])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    std::sync::Arc::new(config)
}

fn peer(
    core: &Core,
    (method, within): (Method, Within),
    version: &'static SupportedProtocolVersion,
    password: &str,
) -> Peer {
    Peer {
        method,
        within,
        outer: "anonymous@example.net".to_owned(),
        identity: "phone@example.net".to_owned(),
        domain: "",
        password: password.to_owned(),
        server: "eap.example.net",
        fragment: 1000,
        binding: Binding::Answered,
        eager: false,
        repeats: false,
        believes: true,
        odd: Odd::Nothing,
        tls: tls(core, version),
    }
}

#[test]
fn wireshark_finds_nothing_malformed_in_answers_to_look_ups_and_log_ins() {
    let core = Core::start();
    let phone = core.login("phone@example.net", &[]);
    core.pap_soon(phone.name, &phone.password, "Received Access-Accept");
    let mut nas = Nas::new(&core);
    nas.look_up(SSID, Code::AccessAccept);
    nas.look_up("Elm Street 18", Code::AccessReject);
    nas.pap(phone.name, &phone.password, Code::AccessAccept);
    nas.pap(phone.name, "wrong", Code::AccessReject);
    let status = nas.ask(Code::StatusServer, |_| {});
    assert_eq!(Packet::decode(&status).unwrap().code(), Code::AccessAccept);
    // Of Status-Server and its answer it checks the form only.
    judge(&mut nas.capture, 4);
    let methods = [
        (Method::Ttls, Within::Pap),
        (Method::Ttls, Within::MsChapV2),
        (Method::Ttls, Within::EapMsChapV2),
        (Method::Ttls, Within::EapGtc),
        (Method::Peap, Within::EapMsChapV2),
        (Method::Peap, Within::EapGtc),
    ];
    for method in methods {
        for version in [&version::TLS12, &version::TLS13] {
            for mtu in [200, 1400] {
                let good = peer(&core, method, version, &phone.password);
                // In full, resumed, and with a wrong password.
                assert!(nas.eap(&good, mtu) && nas.eap(&good, mtu), "{method:?}");
                assert!(!nas.eap(&peer(&core, method, version, "wrong"), mtu), "{method:?}");
            }
            nas.id = 0;
            let packets = nas.capture.packets();
            judge(&mut nas.capture, packets / 2);
        }
    }
}

/// Has the dissector look at what was written down, of which so many have an authenticator that
/// can be checked; begins anew.
#[track_caller]
fn judge(capture: &mut Capture, signed: usize) {
    let packets = capture.packets();
    let Judged { radius, proven, complaints } = std::mem::take(capture).judge(SECRET);
    assert_eq!(complaints, Vec::<String>::new());
    assert_eq!(radius, packets, "it knows every packet as RADIUS");
    assert_eq!(proven, signed, "it finds every authenticator right");
}

#[test]
fn wireshark_finds_nothing_malformed_in_a_disconnect_request() {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    let here = socket.local_addr().unwrap();
    let aaa = format!("disconnect_port = {}\n", here.port());
    let core = Core::start_with(&aaa);
    let mut nas = Nas::new(&core);
    nas.look_up(SSID, Code::AccessAccept);
    core.admin(&["account", "suspend", "smith"]);
    let mut room = [0; 4096];
    let (len, core) = socket.recv_from(&mut room).expect("a Disconnect-Request");
    assert_eq!(Packet::decode(&room[..len]).unwrap().code(), Code::DisconnectRequest);
    // Wireshark looks for this kind at its own port.
    let mut capture = Capture::default();
    capture.add(core, ([127, 0, 0, 1], 3799).into(), &room[..len]);
    judge(&mut capture, 0);
}

#[test]
fn wireshark_would_find_what_is_malformed_or_signed_wrongly() {
    let core = Core::start();
    let mut nas = Nas::new(&core);
    let (here, there) = (nas.socket.local_addr().unwrap(), nas.socket.peer_addr().unwrap());
    nas.pap("nobody", "wrong", Code::AccessReject);
    let answer = nas.capture.last().to_vec();
    let mut long = answer.clone();
    *long.get_mut(21).unwrap() += 1;
    let mut forged = answer;
    forged[5] ^= 1;
    assert_eq!(nas.capture.judge(SECRET).proven, 1);
    for spoiled in [long, forged] {
        let mut capture = nas.capture.clone();
        capture.replace_last(there, here, &spoiled);
        let judged = capture.judge(SECRET);
        assert!(!judged.complaints.is_empty() || judged.proven == 0, "{spoiled:?}");
    }
}
