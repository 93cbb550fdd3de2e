//! Every method, version of TLS and size of fragments, by wpa_supplicant's EAP: let in, resumed,
//! and refused for each reason that there is; and that who was let in once does not resume what
//! has been taken away since.

mod certificates;

use homeward_eap::Method;
use homeward_eap::testing::peer::Within;
use homeward_eap::testing::peer::rustls::version;

use crate::core::Core;
use crate::nas::{Nas, peer};
use certificates::Authority;

/// Every way in which a password may be proven inside TLS.
const METHODS: [(&str, &str); 6] = [
    ("TTLS", "auth=PAP"),
    ("TTLS", "auth=MSCHAPV2"),
    ("TTLS", "autheap=MSCHAPV2"),
    ("TTLS", "autheap=GTC"),
    ("PEAP", "auth=MSCHAPV2"),
    ("PEAP", "auth=GTC"),
];

/// Octets that the access point passes on, and that the device sends at a time.
const SIZES: [u32; 3] = [200, 576, 1400];

/// How the device says that it speaks TLS 1.3 (wpa_supplicant 2.10 does not unless told to).
const VERSIONS: [(&str, &str); 2] =
    [("1.2", "tls_disable_tlsv1_3=1"), ("1.3", "tls_disable_tlsv1_3=0")];

impl Core {
    /// Of log-ins let in: all, and those that were resumed.
    fn let_in(&self) -> (u64, u64) {
        let all = self.counted("logins_total{");
        (all, self.counted_of("logins_total{", "resumed=\"1\""))
    }

    /// Of refusals, those for that reason.
    fn refused(&self, reason: &str) -> u64 {
        self.counted_of("login_rejections_total{", &format!("reason=\"{reason}\""))
    }

    fn counted(&self, name: &str) -> u64 {
        self.counted_of(name, "")
    }

    fn counted_of(&self, name: &str, label: &str) -> u64 {
        let metrics = self.status("metrics");
        let lines = metrics.lines().filter(|line| line.contains(name) && line.contains(label));
        lines.map(|line| line.rsplit_once(' ').unwrap().1.parse::<u64>().unwrap()).sum()
    }

    /// Is refused, for that reason and no other.
    #[track_caller]
    fn is_refused(&self, network: &str, size: u32, reason: &str) {
        let before = self.refused(reason);
        let said = self.eapol(network, &["-N", &format!("12:d:{size}")]);
        assert!(said.lines().rev().take(4).any(|line| line == "FAILURE"), "{network}: {said}");
        assert_eq!(self.refused(reason), before + 1, "{reason}: {network}");
    }

    /// Is let in, and by a session from before the next time.
    #[track_caller]
    fn is_let_in_and_resumes(&self, network: &str, size: u32, version: &str) {
        let (all, resumed) = self.let_in();
        let said = self.eapol_succeeds(network, &["-N", &format!("12:d:{size}"), "-r", "1"]);
        assert!(said.contains(&format!("Using TLS version TLSv{version}")), "{network}: {said}");
        assert_eq!(self.let_in(), (all + 2, resumed + 1), "{network}");
    }
}

/// A network block.
fn block(method: &str, phase1: &str, size: u32, name: &str, more: &str) -> String {
    let fragment = size - 100;
    format!(
        "eap={method}\n phase1=\"{phase1}\"\n fragment_size={fragment}\n identity=\"{name}\"\n \
         {more}"
    )
}

fn password(method: (&str, &str), phase1: &str, size: u32, name: &str, password: &str) -> String {
    let more = format!(
        "anonymous_identity=\"anonymous@example.net\"\n phase2=\"{}\"\n password=\"{password}\"",
        method.1
    );
    block(method.0, phase1, size, name, &more)
}

#[test]
fn every_method_by_password_lets_in_resumes_and_refuses_as_it_should() {
    // Many are refused here, and nobody guesses.
    let core = Core::start_with("wrong_tries = 0\nwrong_tries_of_all = 0\n");
    let phone = core.login("phone@example.net", &[]);
    let old = core.login("old@example.net", &["--expires-in", "0s"]);
    let bound = core.login("bound@example.net", &["--mac", "02:00:5e:20:00:08"]);
    let here = core.login("here@example.net", &["--mac", "02:00:5e:20:00:07"]);
    let revoked = core.login("revoked@example.net", &[]);
    core.admin(&["login", "suspend", revoked.name]);
    core.pap_soon(here.name, &here.password, "Received Access-Accept");
    for method in METHODS {
        for (version, phase1) in VERSIONS {
            for size in SIZES {
                for good in [&phone, &here] {
                    let network = password(method, phase1, size, good.name, &good.password);
                    core.is_let_in_and_resumes(&network, size, version);
                }
                for (name, word, reason) in [
                    (phone.name, "wrong", "wrong_password"),
                    ("nobody@example.net", "wrong", "unknown_identity"),
                    (old.name, &old.password, "expired"),
                    (revoked.name, &revoked.password, "suspended"),
                    (bound.name, &bound.password, "wrong_station"),
                ] {
                    core.is_refused(&password(method, phase1, size, name, word), size, reason);
                }
            }
        }
    }
}

#[test]
fn a_certificate_lets_in_resumes_and_is_refused_as_it_should() {
    let (ours, strangers) = (Authority::new("Devices"), Authority::new("Strangers"));
    let (ca, list) = (ours.certificate(), ours.revoke(&[7]));
    let core = Core::start_with_files(
        "",
        "client_ca = \"FOLDER/devices.pem\"\nclient_crl = \"FOLDER/revoked.pem\"\n",
        &[("devices.pem", &ca), ("revoked.pem", &list)],
    );
    for (name, more) in [
        ("phone@example.net", &[][..]),
        ("old@example.net", &["--expires-in", "0s"]),
        ("bound@example.net", &["--mac", "02:00:5e:20:00:08"]),
        ("revoked@example.net", &[]),
    ] {
        core.login(name, more);
    }
    core.admin(&["login", "suspend", "revoked@example.net"]);
    let last = core.login("last", &[]);
    core.pap_soon(last.name, &last.password, "Received Access-Accept");
    let network = |made: &certificates::Made, phase1, size, name: &str| {
        let certificate = core.secret_file("client.pem", &made.certificate);
        let key = core.secret_file("client.key", &made.key);
        let more = format!("client_cert=\"{certificate}\"\n private_key=\"{key}\"");
        block("TLS", phase1, size, name, &more)
    };
    for (version, phase1) in VERSIONS {
        for size in SIZES {
            let phone = ours.client("phone@example.net", 1, 2040);
            let good = network(&phone, phase1, size, "phone@example.net");
            core.is_let_in_and_resumes(&good, size, version);
            for (name, made, reason) in [
                (
                    "nobody@example.net",
                    ours.client("nobody@example.net", 2, 2040),
                    "unknown_identity",
                ),
                ("old@example.net", ours.client("old@example.net", 3, 2040), "expired"),
                ("revoked@example.net", ours.client("revoked@example.net", 4, 2040), "suspended"),
                ("bound@example.net", ours.client("bound@example.net", 5, 2040), "wrong_station"),
                ("phone@example.net", ours.client("phone@example.net", 6, 2020), "certificate"),
                ("phone@example.net", ours.client("phone@example.net", 7, 2040), "certificate"),
                (
                    "phone@example.net",
                    strangers.client("phone@example.net", 8, 2040),
                    "certificate",
                ),
            ] {
                core.is_refused(&network(&made, phase1, size, name), size, reason);
            }
        }
    }
}

#[test]
fn what_was_taken_away_since_is_not_resumed() {
    let takings: [(&[&str], &str); 4] = [
        (&["login", "suspend", "phone@example.net"], "suspended"),
        (&["account", "suspend", "smith"], "suspended"),
        (&["login", "set", "phone@example.net", "--expires-in", "0s"], "expired"),
        (&["login", "set", "phone@example.net", "--mac", "02:00:5e:20:00:08"], "wrong_station"),
    ];
    for (taking, reason) in takings {
        let core = Core::start();
        let phone = core.login("phone@example.net", &[]);
        core.pap_soon(phone.name, &phone.password, "Received Access-Accept");
        let mut nas = Nas::new(&core);
        let methods = [
            (Method::Ttls, Within::Pap),
            (Method::Ttls, Within::MsChapV2),
            (Method::Peap, Within::EapMsChapV2),
        ];
        let mut devices = Vec::new();
        for method in methods {
            for version in [&version::TLS12, &version::TLS13] {
                let device = peer(&core, method, version, &phone.password);
                assert_eq!(nas.eap(&device, 1400), (true, false));
                assert_eq!(nas.eap(&device, 1400), (true, true));
                devices.push(device);
            }
        }
        core.admin(taking);
        core.pap_soon(phone.name, &phone.password, "Received Access-Reject");
        for device in devices {
            let before = core.refused(reason);
            let (let_in, resumed) = nas.eap(&device, 1400);
            assert!(!let_in && resumed, "{taking:?}, {:?}", device.method);
            assert_eq!(core.refused(reason), before + 1, "{taking:?}, {:?}", device.method);
        }
    }
}
