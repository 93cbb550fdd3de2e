//! `/digest`, asked by hand: what no well-behaved client does.

use homeward_digest::Credentials;
use homeward_keychain::SessionId;

use crate::world::World;

/// A client's answer to a challenge, hashed by `md5sum`, which is none of ours.
fn answer(who: &str, password: &str, nonce: &str, count: u32, method: &str, uri: &str) -> String {
    let md5 = |text: &str| {
        let script = "printf %s \"$1\" | md5sum";
        let done = std::process::Command::new("sh").args(["-c", script, "sh", text]).output();
        String::from_utf8(done.unwrap().stdout).unwrap()[..32].to_owned()
    };
    let (who_hash, what) =
        (md5(&format!("{who}:sip.example:{password}")), md5(&format!("{method}:{uri}")));
    let response = md5(&format!("{who_hash}:{nonce}:{count:08x}:c:auth:{what}"));
    let text = format!(
        "Digest username=\"{who}\", realm=\"sip.example\", nonce=\"{nonce}\", uri=\"{uri}\", \
         algorithm=MD5, qop=auth, nc={count:08x}, cnonce=\"c\", response=\"{response}\""
    );
    assert!(Credentials::read(&text).is_ok());
    text
}

const FLOW: &str = "X-Homeward-Flow: udp 127.0.0.1\r\n";
const WHAT: &str = "X-Homeward-Method: INVITE\r\nX-Homeward-URI: sip:b@sip.example\r\n";

async fn judged(world: &World, more: &str) -> (u16, String) {
    world.ask(&format!("GET /digest HTTP/1.1\r\n{FLOW}{WHAT}{more}")).await
}

async fn nonce(world: &World) -> String {
    let (status, said) = judged(world, "").await;
    assert_eq!(status, 401, "{said}");
    assert!(said.contains("www-authenticate: digest realm=\"sip.example\""), "{said}");
    let (_, body) = said.split_once("\r\n\r\n").unwrap();
    let algorithms: Vec<&str> =
        body.lines().filter_map(|line| line.split(", ").find(|p| p.starts_with("alg"))).collect();
    assert_eq!(algorithms, ["algorithm=sha-256", "algorithm=md5"], "the better first");
    let (_, nonce) = body.split_once("nonce=\"").unwrap();
    nonce.split_once('"').unwrap().0.to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_was_recorded_or_altered_is_asked_for_again() {
    let mut world = World::new(1).await;
    world.hop(0).await.unwrap();
    assert_eq!(judged(&world, "").await.0, 403, "nothing is admitted yet");
    world.open(&"udp 127.0.0.1".parse().unwrap()).await.unwrap();
    let session = world.device.session().to_string();
    let password = world.device.application("digest").unwrap().password();
    let by = |nonce: &str, count, method: &str, uri: &str| {
        let answer = answer(&session, &password, nonce, count, method, uri);
        format!("Authorization: {answer}\r\n")
    };
    let (asked, uri) = (nonce(&world).await, "sip:b@sip.example");
    let right = by(&asked, 1, "INVITE", uri);
    let (status, said) = judged(&world, &right).await;
    assert!(status == 200 && said.ends_with(&format!("\r\n\r\n{session}\n")), "{said}");
    let (status, said) = judged(&world, &right).await;
    assert!(status == 401 && said.contains("stale=true"), "it was recorded: {said}");
    assert_eq!(judged(&world, &by(&asked, 2, "INVITE", uri)).await.0, 200);
    for wrong in [
        by(&asked, 3, "BYE", uri),
        by(&asked, 3, "INVITE", "sip:c@sip.example"),
        by(&"00".repeat(32), 3, "INVITE", uri),
        by(&asked, 3, "INVITE", uri).replace("realm=\"sip", "realm=\"sop"),
        "Authorization: Basic YTpi\r\n".to_owned(),
    ] {
        let (status, said) = judged(&world, &wrong).await;
        assert_eq!(status, 401, "{wrong}: {said}");
    }
    let good = by(&asked, 3, "INVITE", uri);
    assert_eq!(judged(&world, &format!("{good}{good}")).await.0, 400);
    let nothing = world.ask(&format!("GET /digest HTTP/1.1\r\n{FLOW}")).await;
    assert_eq!(nothing.0, 400);
    // Another session's flow, though who asks has one of its own and knows its own password.
    let first = world.another_session();
    world.hop(0).await.unwrap();
    world.open(&"call 7".parse().unwrap()).await.unwrap();
    let (other, password): (SessionId, _) =
        (world.device.session(), world.device.application("digest").unwrap().password());
    assert_ne!(other, first.session());
    let answer = answer(&other.to_string(), &password, &asked, 4, "INVITE", uri);
    assert_eq!(judged(&world, &format!("Authorization: {answer}\r\n")).await.0, 401);
    assert_eq!(judged(&world, &good).await.0, 200);
}
