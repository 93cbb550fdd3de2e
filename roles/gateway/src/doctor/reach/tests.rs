use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use homeward_channel::{
    Authority, Client, ClientSettings, Denial, Gatekeeper, Issue, Presented, Server,
    ServerSettings, Subject, Token, TokenHash,
};
use homeward_daemon::doctor::{Finding, Severity};
use homeward_daemon::{Control, Shutdown, SystemEntropy};
use homeward_model::GatewayId;

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

/// Lets everybody in who has a token.
struct OpenDoor;

#[async_trait]
impl Gatekeeper for OpenDoor {
    async fn admit(&self, _: &Presented) -> Result<Subject, Denial> {
        unreachable!("nobody connects")
    }

    async fn redeem(&self, _: TokenHash, _: &Issue) -> Result<Subject, Denial> {
        Ok(Subject { gateway: GatewayId(7), name: "gw-17".parse().unwrap(), device_of: None })
    }

    async fn renew(&self, _: &Presented, _: &Issue) -> Result<Subject, Denial> {
        unreachable!("nobody renews")
    }
}

/// A credential for thirty days from now, in that directory.
async fn enrol(directory: &Path) {
    let (mut entropy, clock) = (SystemEntropy::new(), Arc::new(SystemClock));
    let parts = Authority::generate(clock.unix(), &mut entropy).unwrap();
    let authority = Arc::new(Authority::load(&parts).unwrap());
    let token = Token::generate(authority.pin(), &mut entropy);
    let listen = [SocketAddr::from((Ipv4Addr::LOCALHOST, 0))];
    let settings = ServerSettings::default();
    let server = Server::bind(&listen, settings, authority, Arc::new(OpenDoor), clock.clone());
    let server = server.await.unwrap();
    let core = vec![server.local()[0].to_string()];
    let client = Client::new(core, directory.to_owned(), ClientSettings::default(), clock);
    client.enrol(&token).await.unwrap();
    server.stop(PATIENCE).await;
}

#[test]
fn a_credential_is_looked_at_for_its_time_and_a_token_gets_one() {
    const DAY: i64 = 86_400_000;
    let directory = tempfile::tempdir().unwrap();
    let own = directory.path().join("own");
    let mut channel = ChannelConfig { directory: own.clone(), ..Default::default() };
    let start = SystemClock.unix();
    let look = |channel: &ChannelConfig, day: i64| {
        the_one(|found| credential(channel, UnixTime(start.0 + day * DAY), found))
    };
    let is = |(severity, text): (Severity, String), expected: Severity, part: &str| {
        assert!(severity == expected && text.contains(part), "{severity:?} {text}");
    };
    is(look(&channel, 0), Severity::Fail, "`homeward admin gateway enrol NAME`");
    let token = directory.path().join("token");
    channel.token_file = Some(token.clone());
    is(look(&channel, 0), Severity::Fail, "token");
    homeward_daemon::private::write(
        &token,
        Token::generate(homeward_channel::Pin([7; 32]), &mut SystemEntropy::new())
            .expose()
            .as_bytes(),
    )
    .unwrap();
    is(look(&channel, 0), Severity::Ok, "gets one");

    run(enrol(&own));
    is(look(&channel, 0), Severity::Ok, "gw-17 is good until");
    is(look(&channel, 25), Severity::Warn, "its renewal is due");
    is(look(&channel, 31), Severity::Fail, "ended at");
    is(look(&channel, -1), Severity::Fail, "set this machine's clock");
    std::fs::write(own.join("gateway.pem"), "nothing").unwrap();
    is(look(&channel, 0), Severity::Fail, "gateway.pem");
}

#[test]
fn controllers_that_take_no_connection_are_named_and_one_that_does_is_enough() {
    run(async {
        let there = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let there = (there.local_addr().unwrap().to_string(), there);
        let gone = {
            let socket = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
            let address: SocketAddr = socket.local_addr().unwrap();
            address.to_string()
        };
        let look = async |core: &[&str]| {
            let core: Vec<String> = core.iter().map(|text| (*text).to_owned()).collect();
            let mut found = Findings::default();
            controllers(&core, &mut found).await;
            found.as_slice().iter().map(|finding| finding.severity).collect::<Vec<_>>()
        };
        assert_eq!(look(&[&there.0]).await, [Severity::Ok]);
        assert_eq!(look(&[&gone, &there.0]).await, [Severity::Ok, Severity::Warn]);
        assert_eq!(look(&[&gone]).await, [Severity::Fail]);
    });
}
