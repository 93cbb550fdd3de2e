//! A call that goes on from one network to the next: sipp as the phone, Kamailio as the edge, by the
//! file in `packaging/edge`, and sipp as who is called.
//!
//! ```text
//!   phone 127.0.0.1 ── Kamailio ── application 127.0.0.9
//!                         └──(/digest)── guard
//! ```

use std::net::{Ipv4Addr, UdpSocket};
use std::process::Command;

use homeward_call::sip::{self, in_call, register};
use homeward_digest::Algorithm;

use crate::edge::Program;
use crate::world::{World, comes_to};

/// A port that nobody has now.
fn free_port(address: &str) -> u16 {
    UdpSocket::bind((address, 0)).unwrap().local_addr().unwrap().port()
}

/// The edge and who is called behind it.
struct Sip {
    edge: Program,
    application: Program,
    edge_at: u16,
    application_at: u16,
    runs: u32,
}

impl Sip {
    async fn start(world: &World) -> Self {
        let (edge_at, application_at) = (free_port("127.0.0.1"), free_port("127.0.0.9"));
        let folder = world.path("");
        // Who is called answers two INVITEs and a BYE: what the edge refuses does not get there.
        let call = ["INVITE", "INVITE", "BYE"].map(sip::answers).concat();
        let application = sipp(world, "application", ("127.0.0.9", application_at), &call, &[]);
        // Kamailio's processes end with the first of a process namespace.
        let mut kamailio = Command::new("unshare");
        if !nix::unistd::geteuid().is_root() {
            kamailio.args(["--user", "--map-root-user"]);
        }
        let guard = world.verify_at.to_string();
        let at = |address: &str, port| (address.parse().unwrap(), port);
        let (own, behind) = (at("127.0.0.1", edge_at), at("127.0.0.9", application_at));
        kamailio.args(sip::kamailio(&folder, own, &guard, behind).unwrap());
        let edge = Program::start(&mut kamailio, world.path("kamailio.log"));
        let mut sip = Self { edge, application, edge_at, application_at, runs: 0 };
        comes_to(async || {
            assert!(sip.edge.runs() && sip.application.runs(), "{}", sip.edge.log());
            sip.bare("OPTIONS").is_some()
        })
        .await;
        sip
    }

    /// What the edge answers to somebody that has no credentials.
    fn bare(&self, method: &str) -> Option<String> {
        sip::bare(Ipv4Addr::LOCALHOST, ([127, 0, 0, 1], self.edge_at).into(), method)
    }

    /// The phone does something, as the device's session and with that password; whether all went
    /// as it is written.
    async fn phone(&mut self, world: &World, doing: &str, uri: &str, password: &str) -> bool {
        self.runs += 1;
        let session = world.device.session().to_string();
        let call = (!doing.contains("REGISTER")).then_some("call@a");
        let mut more = sip::phone(&session, password, uri, call, self.runs);
        more.push(format!("127.0.0.1:{}", self.edge_at));
        let name = format!("phone{}", self.runs);
        let own = ("127.0.0.1", free_port("127.0.0.1"));
        let mut running = sipp(world, &name, own, doing, &more);
        comes_to(async || !running.runs()).await;
        running.succeeded()
    }

    /// How the phone calls who is called, once the call is on.
    fn contact(&self) -> String {
        format!("b@127.0.0.9:{}", self.application_at)
    }
}

/// sipp, doing that once.
fn sipp(
    world: &World,
    name: &str,
    (own, port): (&str, u16),
    doing: &str,
    more: &[String],
) -> Program {
    let file = world.path(&format!("{name}.xml"));
    std::fs::write(&file, sip::scenario(name, doing)).unwrap();
    let words = sip::sipp(&file, own.parse().unwrap(), port, 15).unwrap();
    let mut sipp = Command::new(&words[0]);
    sipp.args(&words[1..]).args(more).current_dir(world.path(""));
    Program::start(&mut sipp, world.path(&format!("{name}.log")))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_goes_on_with_the_key_of_the_network_that_the_phone_is_in_and_no_other() {
    let md5 = |guard: &mut homeward_guard::Config| guard.digest.algorithms = vec![Algorithm::Md5];
    let mut world = World::with(2, |_| {}, md5).await;
    let flow = "udp 127.0.0.1".parse().unwrap();
    let mut sip = Sip::start(&world).await;
    let password = |world: &World| world.device.application("digest").unwrap().password();

    world.hop(0).await.unwrap();
    let unproven = sip.bare("OPTIONS").unwrap();
    assert!(unproven.starts_with("SIP/2.0 403 Not Proven"), "{unproven}");
    world.open(&flow).await.unwrap();
    let challenged = sip.bare("OPTIONS").unwrap();
    assert!(challenged.contains("\r\nProxy-Authenticate: Digest "), "{challenged}");
    let challenged = sip.bare("REGISTER").unwrap();
    assert!(challenged.contains("\r\nWWW-Authenticate: Digest "), "{challenged}");
    let old = password(&world);
    assert!(sip.phone(&world, &register(401), "sip.example", "hunter2").await);
    assert!(sip.phone(&world, &register(200), "sip.example", &old).await);
    let begin = in_call("INVITE", "sip:b@sip.example", false, 200);
    assert!(sip.phone(&world, &begin, "b@sip.example", &old).await);

    world.hop(1).await.unwrap();
    world.open(&flow).await.unwrap();
    let new = password(&world);
    assert_ne!(old, new);
    let (uri, contact) = (format!("sip:{}", sip.contact()), sip.contact());
    let refused = in_call("INVITE", &uri, true, 407);
    assert!(sip.phone(&world, &refused, &contact, &old).await, "the old key is refused");
    assert!(sip.phone(&world, &register(401), "sip.example", &old).await);
    assert!(sip.phone(&world, &register(200), "sip.example", &new).await);
    let goes_on = in_call("INVITE", &uri, true, 200) + &in_call("BYE", &uri, true, 200);
    assert!(sip.phone(&world, &goes_on, &contact, &new).await, "the new one is taken");
    comes_to(async || !sip.application.runs()).await;
    assert!(sip.application.succeeded(), "{}", sip.application.log());

    // What went through a network that is broken into is over.
    world.revoke(0);
    comes_to(async || sip.bare("OPTIONS").is_some_and(|said| said.contains(" 403 Not Proven")))
        .await;
    world.stop_guard().await;
    comes_to(async || sip.bare("OPTIONS").is_some_and(|said| said.contains(" 503 Guard Away")))
        .await;
}
