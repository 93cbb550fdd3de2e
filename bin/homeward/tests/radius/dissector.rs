//! Wireshark's dissector as a judge of what the core sends: look-ups, log-ins by PAP and EAP,
//! Status-Server, Disconnect. It finds nothing malformed, and every authenticator right.
//!
//! No capture needs rights: the datagrams that the test's client sends and receives are written
//! to a file as if they had been captured.

pub(crate) mod capture;

use std::net::UdpSocket;
use std::time::Duration;

use homeward_eap::Method;
use homeward_eap::testing::peer::Within;
use homeward_eap::testing::peer::rustls::version;
use homeward_radius::{Code, Packet};

use crate::core::{Core, SECRET, SSID};
use crate::nas::{Nas, peer};
use capture::{Capture, Judged};

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
                assert_eq!(nas.eap(&good, mtu), (true, false), "{method:?}");
                assert_eq!(nas.eap(&good, mtu), (true, true), "{method:?}");
                let bad = peer(&core, method, version, "wrong");
                assert_eq!(nas.eap(&bad, mtu), (false, false), "{method:?}");
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
