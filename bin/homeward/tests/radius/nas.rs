//! A NAS of our own, which writes down all that it sends and receives, and a device that logs in at
//! it by EAP.

use std::net::UdpSocket;
use std::sync::Arc;
use std::time::Duration;

use homeward_eap::Method;
use homeward_eap::pki_types::CertificateDer;
use homeward_eap::pki_types::pem::PemObject;
use homeward_eap::testing::Counted;
use homeward_eap::testing::peer::rustls::{
    ClientConfig, RootCertStore, SupportedProtocolVersion, crypto::ring,
};
use homeward_eap::testing::peer::{Binding, Device, Odd, Peer, Within};
use homeward_model::{Entropy, LookupForm, Secret};
use homeward_radius::dictionary::standard;
use homeward_radius::{Builder, Code, LookupRequest, Packet, SharedSecret};

use crate::core::{Core, MAC, SECRET};
use crate::dissector::capture::Capture;

/// A NAS that writes down all that it sends and receives.
pub(crate) struct Nas {
    pub(crate) socket: UdpSocket,
    secret: SharedSecret,
    entropy: Counted,
    pub(crate) id: u8,
    pub(crate) capture: Capture,
}

impl Nas {
    pub(crate) fn new(core: &Core) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.connect(&core.address).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        let secret = SharedSecret::new(&Secret::new(SECRET)).unwrap();
        Self { socket, secret, entropy: Counted(1), id: 0, capture: Capture::default() }
    }

    /// Asks; the answer's octets.
    pub(crate) fn ask(&mut self, code: Code, write: impl FnOnce(&mut Builder<'_>)) -> Vec<u8> {
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

    pub(crate) fn pap(&mut self, name: &str, password: &str, wanted: Code) {
        self.expect(wanted, |packet| {
            packet.text(standard::USER_NAME, name).unwrap();
            packet.user_password(password.as_bytes()).unwrap();
            packet.text(standard::NAS_IDENTIFIER, "oak").unwrap();
            packet.octets(standard::CHARGEABLE_USER_IDENTITY, &[0]).unwrap();
            packet.octets(standard::PROXY_STATE, b"comes back").unwrap();
        });
    }

    pub(crate) fn look_up(&mut self, ssid: &str, wanted: Code) {
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

    /// Logs in by EAP; whether it was let in, and whether on the strength of a session from before.
    pub(crate) fn eap(&mut self, peer: &Peer, mtu: u32) -> (bool, bool) {
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
                return (answer.code() == Code::AccessAccept, device.resumed());
            }
            let eap: Vec<u8> = answer.find_all(standard::EAP_MESSAGE).flatten().copied().collect();
            state = answer.find(standard::STATE).map(<[u8]>::to_vec);
            response = device.answer(&eap).unwrap();
        }
    }
}

fn tls(core: &Core, version: &'static SupportedProtocolVersion) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(core.file("ca.pem")).unwrap()).unwrap();
    let provider = Arc::new(ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[version])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    Arc::new(config)
}

/// A device that logs in as `phone@example.net`.
pub(crate) fn peer(
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
