//! A call that goes on from one network to the next: sipp as the phone, Kamailio as the edge, by the
//! file in `packaging/edge`, and sipp as who is called.
//!
//! ```text
//!   phone 127.0.0.1 ── Kamailio ── application 127.0.0.9
//!                         └──(/digest)── guard
//! ```

use std::net::UdpSocket;
use std::process::Command;
use std::time::Duration;

use homeward_digest::Algorithm;

use crate::edge::{Program, repository};
use crate::world::{World, comes_to};

/// What phone and application say; what is in brackets sipp puts there, or `-key`.
const REGISTER: &str = "REGISTER sip:sip.example SIP/2.0
Via: SIP/2.0/UDP [local_ip]:[local_port];branch=[branch]
Max-Forwards: 70
From: <sip:[user]@sip.example>;tag=phone[cseq]
To: <sip:[user]@sip.example>
Call-ID: [call_id]
CSeq: [cseq] REGISTER
Contact: <sip:[user]@[local_ip]:[local_port]>
Expires: 300
CREDENTIALS
Content-Length: 0
";
const IN_CALL: &str = "METHOD URI SIP/2.0
Via: SIP/2.0/UDP [local_ip]:[local_port];branch=[branch]
Max-Forwards: 70
ROUTE
From: <sip:[user]@sip.example>;tag=phone
To: <sip:b@sip.example>TAG
Call-ID: [call_id]
CSeq: [cseq] METHOD
Contact: <sip:[user]@[local_ip]:[local_port]>
CREDENTIALS
Content-Length: 0
";
const ANSWER: &str = "SIP/2.0 200 OK
[last_Via:]
[last_Record-Route:]
[last_From:]
To: <sip:b@sip.example>;tag=b
[last_Call-ID:]
[last_CSeq:]
Contact: <sip:b@[local_ip]:[local_port]>
Content-Length: 0
";

/// A port that nobody has now.
fn free_port(address: &str) -> u16 {
    UdpSocket::bind((address, 0)).unwrap().local_addr().unwrap().port()
}

fn send(message: &str) -> String {
    let lines: Vec<&str> = message.lines().filter(|line| !line.is_empty()).collect();
    format!("<send><![CDATA[\n{}\n\n]]></send>\n", lines.join("\n"))
}

fn answered(status: u16) -> String {
    let keep = match status {
        401 | 407 => "auth=\"true\"",
        _ => "rrs=\"true\"",
    };
    let first = "<recv response=\"100\" optional=\"true\"/>\n";
    format!("{first}<recv response=\"{status}\" {keep}/>\n")
}

fn asked(method: &str) -> String {
    format!("<recv request=\"{method}\"/>\n")
}

/// What the phone does in the call: once as it is, and again with an answer to the challenge.
fn in_call(method: &str, uri: &str, begun: bool, last: u16) -> String {
    let of = |method: &str, uri: &str, credentials: &str, tag: &str, route: bool| {
        let route = if route { "Route: <sip:[remote_ip]:[remote_port];lr>" } else { "" };
        let message = IN_CALL.replace("METHOD", method).replace("URI", uri).replace("TAG", tag);
        send(&message.replace("ROUTE", route).replace("CREDENTIALS", credentials))
    };
    let tag = if begun { ";tag=b" } else { "" };
    let request = |credentials| of(method, uri, credentials, tag, begun);
    // That of an error belongs to the transaction, three steps before; the other goes to who answered.
    let acknowledge = |status| match (method, status) {
        ("INVITE", 200) => of("ACK", "[next_url]", "", "[peer_tag_param]", true),
        ("INVITE", _) => {
            of("ACK", uri, "", "[peer_tag_param]", begun).replace("[branch]", "[branch-3]")
        }
        _ => String::new(),
    };
    [
        request(""),
        answered(407),
        acknowledge(407),
        request("[authentication]"),
        answered(last),
        acknowledge(last),
    ]
    .concat()
}

fn register(last: u16) -> String {
    let first = send(&REGISTER.replace("CREDENTIALS", ""));
    first
        + &answered(401)
        + &send(&REGISTER.replace("CREDENTIALS", "[authentication]"))
        + &answered(last)
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
        let call = [
            asked("INVITE") + &send(ANSWER) + &asked("ACK"),
            asked("INVITE") + &send(ANSWER) + &asked("ACK"),
            asked("BYE") + &send(ANSWER),
        ];
        let mut sipp = sipp(world, "application", &call.concat());
        sipp.args(["-i", "127.0.0.9", "-p", &application_at.to_string()]);
        let application = Program::start(&mut sipp, world.path("application.log"));
        // Kamailio's processes end with the first of a process namespace.
        let mut kamailio = Command::new("unshare");
        if !nix::unistd::geteuid().is_root() {
            kamailio.args(["--user", "--map-root-user"]);
        }
        kamailio.args(["--pid", "--fork", "--kill-child", "--", "/usr/sbin/kamailio", "-f"]);
        kamailio.arg(repository("packaging/edge/kamailio.cfg"));
        kamailio
            .args(["-DD", "-E", "-m", "16", "-M", "4", "-w"])
            .arg(&folder)
            .arg("-Y")
            .arg(&folder);
        for define in [
            format!("LISTEN=udp:127.0.0.1:{edge_at}"),
            format!("GUARD=\"http://{}\"", world.verify_at),
            format!("APPLICATION=\"sip:127.0.0.9:{application_at}\""),
        ] {
            kamailio.args(["-A", &define]);
        }
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
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
        let own = socket.local_addr().unwrap();
        let message = format!(
            "{method} sip:sip.example SIP/2.0\r\nVia: SIP/2.0/UDP {own};branch=z9hG4bK{0}\r\n\
             Max-Forwards: 70\r\nFrom: <sip:a@sip.example>;tag={0}\r\nTo: <sip:a@sip.example>\r\n\
             Call-ID: {0}@a\r\nCSeq: 1 {method}\r\nContent-Length: 0\r\n\r\n",
            own.port()
        );
        socket.send_to(message.as_bytes(), ("127.0.0.1", self.edge_at)).ok()?;
        let mut room = [0; 2048];
        let length = socket.recv(&mut room).ok()?;
        Some(String::from_utf8_lossy(&room[..length]).into_owned())
    }

    /// The phone does something, as the device's session and with that password; whether all went
    /// as it is written.
    async fn phone(&mut self, world: &World, doing: &str, uri: &str, password: &str) -> bool {
        self.runs += 1;
        let session = world.device.session().to_string();
        let mut sipp = sipp(world, &format!("phone{}", self.runs), doing);
        sipp.args(["-i", "127.0.0.1", "-p", &free_port("127.0.0.1").to_string()]);
        sipp.args(["-au", &session, "-ap", password, "-auth_uri", uri, "-key", "user", &session]);
        sipp.args(["-cid_str", if doing.contains("REGISTER") { "%u-%p@%s" } else { "call@a" }]);
        // Later in the call, later in its count.
        sipp.args(["-base_cseq", &(100 * self.runs).to_string()]);
        sipp.arg(format!("127.0.0.1:{}", self.edge_at));
        let log = world.path(&format!("phone{}.log", self.runs));
        let mut running = Program::start(&mut sipp, log);
        comes_to(async || !running.runs()).await;
        running.succeeded()
    }

    /// How the phone calls who is called, once the call is on.
    fn contact(&self) -> String {
        format!("b@127.0.0.9:{}", self.application_at)
    }
}

/// sipp, to do that once.
fn sipp(world: &World, name: &str, doing: &str) -> Command {
    let file = world.path(&format!("{name}.xml"));
    let text = format!("<?xml version=\"1.0\"?>\n<scenario name=\"{name}\">\n{doing}</scenario>\n");
    std::fs::write(&file, text).unwrap();
    let mut sipp = Command::new("sipp");
    sipp.env("TERM", "dumb").current_dir(world.path("")).arg("-sf").arg(file);
    sipp.args(["-m", "1", "-nostdin", "-timeout", "15s", "-timeout_error", "-trace_err"]);
    sipp
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
