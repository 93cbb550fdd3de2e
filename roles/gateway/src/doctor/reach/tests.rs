use std::net::Ipv4Addr;
use std::path::PathBuf;

use homeward_daemon::doctor::{Finding, Severity};
use homeward_daemon::{Control, Shutdown};

use super::*;
use crate::testing::{config, in_namespace, ip, run};

fn findings(look: impl FnOnce(&mut Findings)) -> Vec<Finding> {
    let mut found = Findings::default();
    look(&mut found);
    for finding in found.as_slice() {
        assert_eq!(finding.repair.is_none(), finding.severity == Severity::Ok, "{finding:?}");
    }
    found.into_vec()
}

/// The one finding, as severity and both texts.
fn the_one(look: impl FnOnce(&mut Findings)) -> (Severity, String) {
    let findings = findings(look);
    let [Finding { severity, what, repair }] = &findings[..] else { panic!("{findings:?}") };
    (*severity, format!("{what} -> {}", repair.as_deref().unwrap_or_default()))
}

#[test]
fn a_machine_without_nft_is_told_what_to_install_where_rules_are_needed() {
    let missing = Firewall::new("/nowhere/nft");
    let tunnels = config("[channel]\ncore = [\"core.example:4719\"]\n");
    let (severity, text) = the_one(|found| firewall(&tunnels, &missing, found));
    assert_eq!(severity, Severity::Fail);
    assert!(text.contains("install nftables"), "{text}");
    let breakout = config("[roam]\nbridge = \"br-roam\"\nuplinks = [\"eth0\"]\n");
    assert_eq!(the_one(|found| firewall(&breakout, &missing, found)).0, Severity::Fail);
    assert_eq!(findings(|found| firewall(&config(""), &missing, found)), []);
}

#[test]
fn interfaces_that_are_not_there_or_down_are_named_with_what_to_do() {
    let name =
        "doctor::reach::tests::interfaces_that_are_not_there_or_down_are_named_with_what_to_do";
    in_namespace(name, || {
        ip("link add br-lan type bridge");
        ip("link add eth0 type veth peer name eth1");
        let home = |bridge: &str| {
            let text = format!(
                "[channel]\ncore = [\"core.example:4719\"]\n[home]\nbridge = \"{bridge}\"\n"
            );
            the_one(|found| home_bridge(&config(&text), found))
        };
        let uplink = |name: &str| the_one(|found| uplink_of("owner.uplink", name, found));
        let fails = |(severity, text): (Severity, String), part: &str| {
            assert!(severity == Severity::Fail && text.contains(part), "{severity:?} {text}");
        };
        fails(home("br-none"), "no bridge br-none");
        fails(home("eth0"), "eth0 (home.bridge) is no bridge");
        fails(home("br-lan"), "`ip link set br-lan up`");
        fails(uplink("ppp0"), "no uplink ppp0 (owner.uplink)");
        let (severity, text) = uplink("eth0");
        assert!(severity == Severity::Warn && text.contains("`ip link set eth0 up`"), "{text}");
        ip("link set br-lan up");
        ip("link set eth0 up");
        assert_eq!(home("br-lan").0, Severity::Ok);
        assert_eq!(uplink("eth0").0, Severity::Ok);
        let alone = config("[home]\nbridge = \"br-lan\"\n");
        assert_eq!(the_one(|found| home_bridge(&alone, found)).0, Severity::Warn);
    });
}

#[test]
fn a_port_that_somebody_else_has_is_told_from_one_that_the_gateway_has() {
    let taken = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = taken.local_addr().unwrap();
    let directory = tempfile::tempdir().unwrap();
    let socket: PathBuf = directory.path().join("gateway.sock");
    let config = config(&format!(
        "[channel]\ncore = [\"core.example:4719\"]\n[tunnel]\nlisten = [\"{address}\"]\n[control]\nsocket = {socket:?}\n"
    ));
    let look = || {
        let mut found = Findings::default();
        async {
            port(&config, &mut found).await;
            found.into_vec()
        }
    };
    run(async {
        let [finding] = &look().await[..] else { panic!("not one finding") };
        assert_eq!(finding.severity, Severity::Fail, "{finding:?}");
        assert!(finding.repair.as_ref().unwrap().contains("ss -lunp"), "{finding:?}");

        let other = SocketAddr::new(address.ip(), address.port() ^ 1);
        for (listen, severity) in [(other, Severity::Fail), (address, Severity::Ok)] {
            let shutdown = Shutdown::new();
            let control = Control::bind(&socket, Default::default()).unwrap();
            let answer = move |_| async move { Ok(serde_json::json!({ "listen": [listen] })) };
            let serving = tokio::spawn(control.serve(answer, shutdown.clone()));
            assert_eq!(look().await[0].severity, severity, "the gateway has {listen}");
            shutdown.trigger();
            serving.await.unwrap();
        }

        drop(taken);
        assert_eq!(look().await[0].severity, Severity::Ok);
    });
}
