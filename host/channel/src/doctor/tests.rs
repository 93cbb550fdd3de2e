use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use async_trait::async_trait;
use homeward_daemon::SystemEntropy;
use homeward_daemon::doctor::{Finding, Severity};
use homeward_model::GatewayId;

use super::*;
use crate::{
    Authority, Client, ClientSettings, Denial, Gatekeeper, Issue, Presented, Server,
    ServerSettings, Subject, Token, TokenHash,
};

const WHO: Who =
    Who { role: "gateway", key: "channel.core", enrol: "`homeward admin gateway enrol NAME`" };

fn run<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
}

/// The one finding, as severity and both texts.
fn the_one(look: impl FnOnce(&mut Findings)) -> (Severity, String) {
    let mut found = Findings::default();
    look(&mut found);
    let findings = found.into_vec();
    let [Finding { severity, what, repair }] = &findings[..] else { panic!("{findings:?}") };
    assert_eq!(repair.is_none(), *severity == Severity::Ok, "{what}");
    (*severity, format!("{what} -> {}", repair.as_deref().unwrap_or_default()))
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
        the_one(|found| credential(channel, &WHO, UnixTime(start.0 + day * DAY), found))
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
        Token::generate(crate::Pin([7; 32]), &mut SystemEntropy::new()).expose().as_bytes(),
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
            controllers(&core, WHO.key, &mut found).await;
            found.as_slice().iter().map(|finding| finding.severity).collect::<Vec<_>>()
        };
        assert_eq!(look(&[&there.0]).await, [Severity::Ok]);
        assert_eq!(look(&[&gone, &there.0]).await, [Severity::Ok, Severity::Warn]);
        assert_eq!(look(&[&gone]).await, [Severity::Fail]);
    });
}
